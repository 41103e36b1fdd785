// Reads and checks the rules of a CRD's schema, with upstream's messages.
#include <algorithm>
#include <cstdio>

#include "base/strings.h"
#include "kube/cel/cost.h"
#include "kube/crd_rules_node.h"

namespace caravel::kube {

namespace {

using NodePtr = std::shared_ptr<const CrdRules::Node>;

constexpr int kMaxSchemaDepth = 100;

bool has_newline(std::string_view s) { return s.find_first_of("\r\n") != s.npos; }

// The rule as upstream shows it as the invalid value: its own struct in JSON.
std::string shown(const json::Value& rule) {
  auto text = [&](const char* key) {  // Go's way, safe within HTML
    return replace_all(replace_all(replace_all(json::quote(rule[key].as_string()), "&", "\\u0026"), "<", "\\u003c"), ">", "\\u003e");
  };
  const std::string reason = rule.find("reason") ? text("reason") : "null";
  const std::string optional = rule.find("optionalOldSelf") ? (rule["optionalOldSelf"].as_bool() ? "true" : "false") : "null";
  return "{\"Rule\":" + text("rule") + ",\"Message\":" + text("message") + ",\"MessageExpression\":" + text("messageExpression") + ",\"Reason\":" + reason +
         ",\"FieldPath\":" + text("fieldPath") + ",\"OptionalOldSelf\":" + optional + "}";
}
FieldError bad_rule(const FieldPath& p, const json::Value& rule, const std::string& why) {
  return {p.text(), "FieldValueInvalid", "Invalid value: " + shown(rule) + ": " + why};
}

// ".spec.replicas" or ".labels['a.b']": "spec.replicas", "labels[a.b]"; nullopt when the schema has no such field.
std::optional<std::string> normal_field_path(const cel::ObjectSchema& root, std::string_view path) {
  const cel::ObjectSchema* at = &root;
  FieldPath out;
  while (!path.empty()) {
    std::string name;
    bool quoted = path.starts_with("['");
    if (quoted) {
      size_t end = path.find("']");
      if (end == path.npos) return std::nullopt;
      name = path.substr(2, end - 2);
      path.remove_prefix(end + 2);
    } else if (path[0] == '.') {
      path.remove_prefix(1);
      size_t end = std::min(path.find_first_of(".["), path.size());
      name = path.substr(0, end);
      path.remove_prefix(end);
    } else {
      return std::nullopt;
    }
    if (auto* p = at->property(name)) {
      out = out.child(name);
      at = p->schema.get();
    } else if (quoted && at->additional) {
      out = out.key(name);
      at = at->additional.get();
    } else {
      return std::nullopt;
    }
  }
  return out.text();
}

constexpr uint64_t kMaxRuleCost = 10'000'000, kMaxCrdCost = 100'000'000;

std::string over_budget(const std::string& what, uint64_t cost, uint64_t limit) {
  double factor = static_cast<double>(cost) / static_cast<double>(limit);
  char text[64];
  std::snprintf(text, sizeof text, factor < 1.5 ? "%fx" : "%.1fx", factor);
  return what + " exceeds budget by factor of " + (factor > 100 ? "more than 100x" : text) +
         " (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
}

// How often a schema's children may occur in one of its values; nullopt: without bound.
std::optional<uint64_t> children_per_value(const json::Value& schema) {
  const std::string& type = schema["type"].as_string();
  const char* bound = type == "array" ? "maxItems" : type == "object" && !schema["additionalProperties"].is_null() ? "maxProperties"
                                                                                                                   : nullptr;
  if (!bound) return 1;
  if (!schema.find(bound)) return std::nullopt;
  return static_cast<uint64_t>(std::max<int64_t>(schema[bound].as_int(), 0));
}

class Compiler {
 public:
  Compiler(FieldErrors& errors, bool bound_each) : errors_(errors), bound_each_(bound_each) {}

  NodePtr root(const json::Value& v, const FieldPath& path) {
    NodePtr out = node(v, path, true, nullptr);
    if (total_ <= kMaxCrdCost) return out;
    for (auto& [cost, where] : expensive_) errors_.push_back(forbidden_error(where, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"));
    errors_.push_back(forbidden_error(path, over_budget("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", total_, kMaxCrdCost)));
    return out;
  }

 private:
  // `uncorrelatable` is the path of the list above whose items have no old counterparts.
  NodePtr node(const json::Value& v, const FieldPath& path, bool root, const FieldPath* uncorrelatable, int depth = 0) {
    if (!v.is_object() || depth > kMaxSchemaDepth) return nullptr;
    const std::optional<uint64_t> here = occurrences_;
    const std::optional<uint64_t> per_value = children_per_value(v);
    occurrences_ = here && per_value ? std::optional(cel::saturating_multiply(*here, *per_value)) : std::nullopt;
    auto out = std::make_shared<CrdRules::Node>();
    auto schema = std::make_shared<cel::ObjectSchema>(cel::read_schema_node(v));
    for (auto& m : v["properties"].as_object()) {
      NodePtr child = node(m.value, path.child("properties").key(m.key), false, uncorrelatable, depth + 1);
      if (!child) continue;
      schema->properties.push_back({m.key, cel::escape_property(m.key), child->schema});
      out->any_rules = out->any_rules || child->any_rules;
      out->properties[m.key] = std::move(child);
    }
    if (NodePtr child = node(v["additionalProperties"], path.child("additionalProperties"), false, uncorrelatable, depth + 1)) {
      schema->additional = child->schema;
      out->any_rules = out->any_rules || child->any_rules;
      out->additional = std::move(child);
    }
    const FieldPath* below = uncorrelatable ? uncorrelatable : schema->atomic ? &path
                                                                              : nullptr;
    if (NodePtr child = node(v["items"], path.child("items"), false, below, depth + 1)) {
      schema->items = child->schema;
      out->any_rules = out->any_rules || child->any_rules;
      out->items = std::move(child);
    }
    if (root || v["x-kubernetes-embedded-resource"].as_bool()) cel::add_object_fields(*schema);
    cel::finish_schema_node(*schema);
    out->schema = schema;
    occurrences_ = here;
    const json::Value& rules = v["x-kubernetes-validations"];
    for (size_t i = 0; i < rules.size(); ++i) rule(*out, rules.at(i), path.child("x-kubernetes-validations").index(i), uncorrelatable);
    out->any_rules = out->any_rules || !out->rules.empty();
    return out;
  }

  // A rule (or the expression of its message, which runs once) may cost this much.
  void cost(const char* what, uint64_t cost, const FieldPath& where) {
    if (bound_each_ && cost > kMaxRuleCost) errors_.push_back(forbidden_error(where, over_budget(what, cost, kMaxRuleCost)));
    total_ = cel::saturating_add(total_, cost);
    if (cost < kMaxCrdCost / 100) return;
    expensive_.emplace_back(cost, where);
    std::stable_sort(expensive_.begin(), expensive_.end(), [](auto& a, auto& b) { return a.first > b.first; });
    if (expensive_.size() > 4) expensive_.pop_back();
  }

  bool texts_are_good(const json::Value& v, const FieldPath& path) {
    size_t before = errors_.size();
    std::string text(trim(v["rule"].as_string()));
    const std::string& message = v["message"].as_string();
    std::string trimmed(trim(message));
    if (text.empty()) errors_.push_back(required_error(path.child("rule"), "rule is not specified"));
    else if (!message.empty() && trimmed.empty()) errors_.push_back(invalid_error(path.child("message"), message, "must be non-empty if specified"));
    else if (has_newline(trimmed)) errors_.push_back(invalid_error(path.child("message"), message, "must not contain line breaks"));
    else if (has_newline(text) && trimmed.empty()) errors_.push_back(required_error(path.child("message"), "message must be specified if rule contains line breaks"));
    const std::string& expression = v["messageExpression"].as_string();
    if (!expression.empty() && trim(expression).empty())
      errors_.push_back(required_error(path.child("messageExpression"), "messageExpression must be non-empty if specified"));
    static const std::vector<std::string> kReasons = {"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"};
    if (v.find("reason") && std::find(kReasons.begin(), kReasons.end(), v["reason"].as_string()) == kReasons.end())
      errors_.push_back(not_supported(path.child("reason"), v["reason"], kReasons));
    const std::string& field = v["fieldPath"].as_string();
    if (!field.empty() && trim(field).empty()) errors_.push_back(invalid_error(path.child("fieldPath"), field, "must be non-empty if specified"));
    else if (has_newline(field)) errors_.push_back(invalid_error(path.child("fieldPath"), field, "must not contain line breaks"));
    return errors_.size() == before;
  }

  void rule(CrdRules::Node& n, const json::Value& v, const FieldPath& path, const FieldPath* uncorrelatable) {
    if (!texts_are_good(v, path)) return;
    if (!n.schema->cel_type) {
      errors_.push_back(bad_rule(path.child("rule"), v, "rule declared on schema that does not support validation rules type: '" + n.schema->type + "' x-kubernetes-preserve-unknown-fields: '" + (n.schema->preserve_unknown ? "true" : "false") + "'"));
      return;
    }
    Rule r;
    r.rule = v["rule"].as_string();
    r.message = v["message"].as_string();
    r.reason = v["reason"].as_string();
    r.optional_old_self = v["optionalOldSelf"].as_bool();
    if (const std::string& field = v["fieldPath"].as_string(); !field.empty()) {
      auto normal = normal_field_path(*n.schema, trim(field));
      if (!normal) {
        errors_.push_back(invalid_error(path.child("fieldPath"), field, "must be a valid path"));
        return;
      }
      r.field_path = *normal;
    }
    cel::Environment env;
    env.variables = {{"self", n.schema->cel_type}, {"oldSelf", r.optional_old_self ? cel::optional_type(n.schema->cel_type) : n.schema->cel_type}};
    env.self = n.schema.get();
    auto program = cel::Program::compile(r.rule, env);
    if (!program.ok()) {
      errors_.push_back(bad_rule(path.child("rule"), v, "compilation failed: " + program.error().message));
      return;
    }
    if (program->type().kind != cel::Type::Kind::kBool && program->type().kind != cel::Type::Kind::kDyn) {
      errors_.push_back(bad_rule(path.child("rule"), v, "cel expression must evaluate to a bool"));
      return;
    }
    r.program = std::move(*program);
    const uint64_t times = occurrences_ ? *occurrences_ : cel::kMaxRequestBytes / (n.schema->min_bytes + 1);
    cost("estimated rule cost", cel::saturating_multiply(r.program.worst_cost(), times), path.child("rule"));
    r.uses_old = r.program.uses("oldSelf");
    if (r.uses_old && uncorrelatable) {
      errors_.push_back(invalid_error(path.child("rule"), v["rule"], "oldSelf cannot be used on the uncorrelatable portion of the schema within " + uncorrelatable->text()));
      return;
    }
    if (!r.uses_old && r.optional_old_self) {
      errors_.push_back(invalid_error(path.child("optionalOldSelf"), v["optionalOldSelf"], "may not be set if oldSelf is not used in rule"));
      return;
    }
    if (const std::string& expression = v["messageExpression"].as_string(); !expression.empty()) {
      auto message = cel::Program::compile(expression, env);
      if (!message.ok()) {
        errors_.push_back(bad_rule(path.child("messageExpression"), v, "messageExpression compilation failed: " + message.error().message));
        return;
      }
      if (message->type().kind != cel::Type::Kind::kString && message->type().kind != cel::Type::Kind::kDyn) {
        errors_.push_back(bad_rule(path.child("messageExpression"), v, "messageExpression must evaluate to a string"));
        return;
      }
      r.message_program = std::move(*message);
      cost("estimated messageExpression cost", r.message_program->worst_cost(), path.child("messageExpression"));
    }
    n.rules.push_back(std::move(r));
  }

  FieldErrors& errors_;
  bool bound_each_;
  std::optional<uint64_t> occurrences_ = 1;  // of the schema at hand, in one object; nullopt: without bound
  uint64_t total_ = 0;
  std::vector<std::pair<uint64_t, FieldPath>> expensive_;  // the worst first
};

}  // namespace

std::shared_ptr<const CrdRules> CrdRules::make(const json::Value& schema, const FieldPath& path, FieldErrors& errors, bool bound_each) {
  NodePtr root = Compiler(errors, bound_each).root(schema, path);
  if (!root || !root->any_rules) return nullptr;
  auto out = std::make_shared<CrdRules>();
  out->root_ = std::move(root);
  return out;
}

void validate_crd_rules(const json::Value& crd, const json::Value* old, FieldErrors& errors) {
  const json::Value& versions = crd["spec"]["versions"];
  // Upstream names one schema that all versions share by where it once stood.
  bool shared = true;
  for (auto& v : versions.as_array()) shared = shared && v["schema"] == versions.at(0)["schema"];
  for (size_t i = 0; i < versions.size(); ++i) {
    FieldPath path = shared ? FieldPath("spec.validation") : FieldPath("spec").child("versions").index(i).child("schema");
    bool changed = true;
    if (old)
      for (auto& was : (*old)["spec"]["versions"].as_array())
        if (was["name"] == versions.at(i)["name"]) changed = !(was["schema"] == versions.at(i)["schema"]);
    CrdRules::make(versions.at(i)["schema"]["openAPIV3Schema"], path.child("openAPIV3Schema"), errors, changed);
    if (shared) break;
  }
}

}  // namespace caravel::kube
