// Applies the rules of a CRD's schema to objects. crd_rules_compile.cc makes them.
#include "kube/crd_rules.h"

#include "base/strings.h"
#include "kube/crd_rules_node.h"

namespace caravel::kube {

namespace {

constexpr size_t kMaxMessageBytes = 5 * 1024;
constexpr std::string_view kOutOfBudget = "validation failed due to running out of cost budget, no further validation rules will be run";

std::string rule_text(const Rule& r) { return std::string(trim(r.message.empty() ? r.rule : r.message)); }
std::string message_or_default(const Rule& r) { return r.message.empty() ? "failed rule: " + rule_text(r) : std::string(trim(r.message)); }

// The nearest value that has an old one to compare with.
struct Correlated {
  const json::Value* now = nullptr;
  const json::Value* old = nullptr;
  bool unchanged() const { return old && *now == *old; }
};

class Walk {
 public:
  explicit Walk(FieldErrors& errors) : errors_(errors) {}

  void node(const CrdRules::Node& n, const json::Value& v, const json::Value* old, Correlated nearest, const FieldPath& path) {
    if (!n.any_rules || v.is_null() || stopped_) return;
    if (old && old->is_null()) old = nullptr;
    if (old) nearest = {&v, old};
    if (!n.rules.empty()) rules(n, v, old, nearest, path);
    if (v.is_object()) object(n, v, old, nearest, path);
    if (v.is_array() && n.items) list(n, v, old, nearest, path);
  }

 private:
  void object(const CrdRules::Node& n, const json::Value& v, const json::Value* old, const Correlated& nearest, const FieldPath& path) {
    for (auto& m : v.as_object()) {
      const json::Value* before = old ? old->find(m.key) : nullptr;
      auto it = n.properties.find(m.key);
      if (it != n.properties.end()) node(*it->second, m.value, before, nearest, path.child(m.key));
      else if (n.additional) node(*n.additional, m.value, before, nearest, path.key(m.key));
    }
  }
  void list(const CrdRules::Node& n, const json::Value& v, const json::Value* old, const Correlated& nearest, const FieldPath& path) {
    for (size_t i = 0; i < v.size(); ++i) {
      const json::Value* before = nullptr;
      if (old && !n.schema->atomic)
        for (auto& o : old->as_array()) {
          bool same = o.is_object() && v.at(i).is_object();
          for (auto& k : n.schema->list_keys) same = same && o[k] == v.at(i)[k];
          if (same) before = &o;
        }
      node(*n.items, v.at(i), before, nearest, path.index(i));
    }
  }

  void stop(FieldError e) {
    errors_.push_back(std::move(e));
    stopped_ = true;
  }
  void rules(const CrdRules::Node& n, const json::Value& v, const json::Value* old, const Correlated& nearest, const FieldPath& at) {
    FieldPath path = at.text().empty() ? FieldPath("<nil>") : at;
    auto wrong = [&](const std::string& detail) { return invalid_error(path, n.schema->type, detail); };
    cel::Value self = cel::to_cel(*n.schema, v), old_self = old ? cel::to_cel(*n.schema, *old) : cel::Value();
    for (const Rule& r : n.rules) {
      if (stopped_) return;
      if (r.uses_old && !old && !r.optional_old_self) continue;
      std::vector<cel::Variable> variables = {{"self", self}};
      if (r.optional_old_self) variables.push_back({"oldSelf", old ? cel::Value::some(old_self) : cel::Value::none()});
      else if (old) variables.push_back({"oldSelf", old_self});
      cel::Budget budget;
      auto result = r.program.run(variables, budget);
      left_ -= budget.spent;
      if (!result.ok()) {
        std::string what = result.error().message;
        if (what.starts_with("no such overload")) {
          errors_.push_back(wrong("'" + what + "': call arguments did not match a supported operator, function or macro signature for rule: " + rule_text(r)));
        } else if (result.error().code == Code::kTooLarge) {
          stop(wrong("'" + what + "': no further validation rules will be run due to call cost exceeds limit for rule: " + rule_text(r)));
        } else {
          errors_.push_back(wrong(what + " evaluating rule: " + rule_text(r)));
        }
        continue;
      }
      if (left_ < 0) {
        stop(wrong(std::string(kOutOfBudget)));
        return;
      }
      if (result->is_true()) continue;
      if (!r.uses_old && nearest.unchanged()) continue;
      FieldPath where = r.field_path.empty() ? path : at.child(r.field_path);
      failed(n, r, where, detail(r, variables));
    }
  }
  std::string detail(const Rule& r, const std::vector<cel::Variable>& variables) {
    if (!r.message_program) return message_or_default(r);
    cel::Budget budget;
    auto m = r.message_program->run(variables, budget);
    left_ -= budget.spent;
    if (!m.ok() || !m->is(cel::Kind::kString)) return message_or_default(r);
    std::string text(trim(m->s()));
    if (text.empty() || text.find_first_of("\r\n") != text.npos || text.size() > kMaxMessageBytes) return message_or_default(r);
    return text;
  }
  void failed(const CrdRules::Node& n, const Rule& r, const FieldPath& where, const std::string& detail) {
    if (r.reason == "FieldValueRequired") errors_.push_back(required_error(where, detail));
    else if (r.reason == "FieldValueForbidden") errors_.push_back(forbidden_error(where, detail));
    else if (r.reason == "FieldValueDuplicate") errors_.push_back(duplicate_error(where, n.schema->type));
    else errors_.push_back(invalid_error(where, n.schema->type, detail));
  }

  FieldErrors& errors_;
  int64_t left_ = cel::kCostPerObject;
  bool stopped_ = false;
};

}  // namespace

void CrdRules::validate(const json::Value& object, const json::Value* old, FieldErrors& errors) const {
  Walk(errors).node(*root_, object, old, {}, FieldPath());
}

}  // namespace caravel::kube
