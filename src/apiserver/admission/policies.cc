#include "apiserver/admission/policies.h"

#include <algorithm>

#include "apiserver/audit.h"
#include "apiserver/authorization/answers.h"
#include "apiserver/object_meta.h"
#include "apiserver/rest.h"
#include "base/strings.h"
#include "kube/patch.h"

namespace caravel::apiserver {

namespace {

namespace cel = kube::cel;
using json::Value;

constexpr std::string_view kGroup = "admissionregistration.k8s.io";
constexpr int64_t kPolicyCost = 10'000'000;  // of one application of a policy
constexpr size_t kMessageMax = 5 * 1024;     // of what a messageExpression gives
constexpr std::string_view kMutationManager = "mutating-admission-policy";

// `variables`: each is evaluated when it is first used, and then kept.
class LazyVariables final : public cel::Opaque, public std::enable_shared_from_this<LazyVariables> {
 public:
  LazyVariables(const Policy* policy, std::vector<cel::Variable> given, cel::Budget* budget) : policy_(policy), given_(std::move(given)), budget_(budget) {}
  std::string type_name() const override { return "kubernetes.variables"; }
  bool has(std::string_view field) const override { return find(field) != nullptr; }
  Result<cel::Value> select(std::string_view field) const override {
    if (auto it = known_.find(field); it != known_.end()) return it->second;
    const PolicyExpression* e = find(field);
    if (!e) return cel::Opaque::select(field);
    Result<cel::Value> r = e->program.run(all(), *budget_);
    if (!r.ok()) r = invalid("composited variable \"" + e->name + "\" fails to evaluate: " + r.error().message);
    known_.emplace(std::string(field), r);
    return r;
  }
  // What the policy's expressions may name.
  std::vector<cel::Variable> all() const {
    std::vector<cel::Variable> out = given_;
    out.push_back({"variables", cel::Value::opaque(shared_from_this())});
    return out;
  }

 private:
  const PolicyExpression* find(std::string_view name) const {
    for (auto& v : policy_->variables)
      if (v.name == name) return &v;
    return nullptr;
  }
  const Policy* policy_;
  std::vector<cel::Variable> given_;
  cel::Budget* budget_;
  mutable std::map<std::string, Result<cel::Value>, std::less<>> known_;
};

struct Failure {
  std::string message, reason;
  size_t expression = 0;
};

std::string failed_expression(const std::string& text, const Error& e) { return "expression '" + text + "' resulted in error: " + e.message; }

// The message of a validation that does not hold.
std::string message_of(const PolicyValidation& v, const std::vector<cel::Variable>& variables, cel::Budget& budget) {
  if (v.message_program) {
    auto r = v.message_program->run(variables, budget);
    if (r.ok() && r->is(cel::Kind::kString)) {
      std::string text(trim(r->s()));
      if (!text.empty() && text.size() <= kMessageMax && text.find_first_of("\r\n") == text.npos) return text;
    }
  }
  std::string message(trim(v.message));
  return message.empty() ? "failed expression: " + std::string(trim(v.text)) : message;
}

struct Judgement {
  std::vector<Failure> failures;
  std::vector<std::pair<std::string, std::string>> annotations;
  std::vector<std::string> annotation_errors;
};

// One application: policy, binding, parameter.
Judgement judge(const Policy& p, const std::vector<cel::Variable>& given) {
  Judgement out;
  cel::Budget budget;
  budget.limit = kPolicyCost;
  auto lazy = std::make_shared<LazyVariables>(&p, given, &budget);
  const std::vector<cel::Variable> variables = lazy->all();
  auto hold = conditions_hold(p.conditions, variables);
  if (!hold.ok()) {
    if (!p.ignore_failures) out.failures.push_back({hold.error().message, "", 0});
    return out;
  }
  if (!*hold) return out;
  for (size_t i = 0; i < p.validations.size(); ++i) {
    const PolicyValidation& v = p.validations[i];
    auto r = v.program.run(variables, budget);
    if (!r.ok()) {
      if (!p.ignore_failures) out.failures.push_back({failed_expression(v.text, r.error()), "", i});
    } else if (!r->is_true()) {
      out.failures.push_back({message_of(v, variables, budget), v.reason, i});
    }
  }
  for (auto& a : p.annotations) {
    auto r = a.program.run(variables, budget);
    if (!r.ok()) {
      if (!p.ignore_failures) out.annotation_errors.push_back(failed_expression(a.text, r.error()));
    } else if (r->is(cel::Kind::kString) && !trim(r->s()).empty()) {
      out.annotations.emplace_back(a.name, trim(r->s()));
    }
  }
  return out;
}

int code_of(const std::string& reason) {
  if (reason == "Forbidden") return 403;
  if (reason == "Unauthorized") return 401;
  if (reason == "RequestEntityTooLarge") return 413;
  return 422;
}

Error denied(const AdmissionRequest& a, const std::string& message, std::string reason) {
  if (reason.empty()) reason = "Invalid";
  std::string name = a.name;
  if (a.object && a.name_generated) name = meta_string(*a.object, "generateName");
  Value details = Value::object();
  if (!name.empty()) details["name"] = name;
  if (!a.type->resource.group.empty()) details["group"] = a.type->resource.group;
  details["kind"] = a.type->resource.plural;
  Value cause = Value::object();
  cause["message"] = message;
  details["causes"] = Value::array({cause});
  std::string what = a.type->resource.group_resource() + (name.empty() ? "" : " " + json::quote(name));
  return status::make(code_of(reason), reason, what + " is forbidden: " + message, std::move(details));
}

// Views of the request by version, made once each.
class Views {
 public:
  Views(Core* core, AdmissionRequest* a, bool mutating) : core_(core), request_(a), mutating_(mutating) {}
  Task<Result<std::shared_ptr<const std::vector<cel::Variable>>>> variables(ServedTypePtr as) {
    if (auto it = known_.find(as.get()); it != known_.end()) co_return it->second;
    auto view = co_await admission_view(*core_, *request_, as, mutating_);
    if (!view.ok()) co_return status::internal(view.error().message);
    auto made = std::make_shared<const std::vector<cel::Variable>>(admission_variables(*core_, *request_, *view));
    known_[as.get()] = made;
    co_return made;
  }

 private:
  Core* core_;
  AdmissionRequest* request_;
  bool mutating_;
  std::map<const ServedType*, std::shared_ptr<const std::vector<cel::Variable>>> known_;
};

std::vector<cel::Variable> with_params(const std::vector<cel::Variable>& given, const Policy& p, const ValuePtr& param) {
  std::vector<cel::Variable> out = given;
  if (p.has_params) out.push_back({"params", param ? cel::from_json(*param) : cel::Value()});
  return out;
}

// The audit event tells of failures even where nothing is denied.
void note_failure(const AdmissionRequest& a, const Policy& p, const PolicyBinding& b, const Failure& f) {
  if (!a.trail) return;
  Value note = Value::object();
  note["message"] = f.message;
  note["policy"] = p.name;
  note["binding"] = b.name;
  note["expressionIndex"] = static_cast<int64_t>(f.expression);
  Value actions = Value::array();
  for (auto& x : b.actions) actions.push_back(x);
  note["validationActions"] = std::move(actions);
  a.trail->annotate("validation.policy.admission.k8s.io/validation_failure", json::dump(Value::array({note})));
}

Result<Value> mutated(const Policy& p, const PolicyMutation& m, const ServedType& as, const Value& object, const std::vector<cel::Variable>& given, Time now) {
  cel::Budget budget;
  budget.limit = kPolicyCost;
  auto lazy = std::make_shared<LazyVariables>(&p, given, &budget);
  auto r = m.expression.program.run(lazy->all(), budget);
  if (!r.ok()) return invalid(failed_expression(m.expression.text, r.error()));
  Value change = cel::to_json(*r);
  if (m.json_patch) {
    if (!change.is_array()) return invalid("type of JSONPatch expression result is not a list");
    auto patched = kube::json_patch(object, change);
    if (!patched.ok()) return invalid("JSON Patch: " + patched.error().message);
    return patched;
  }
  if (!change.is_object()) return invalid("unexpected evaluation type for ApplyConfiguration, expected an Object");
  for (const char* f : {"apiVersion", "kind"}) change[f] = object[f];
  for (const char* f : {"name", "namespace", "generateName"})
    if (const Value* v = object["metadata"].find(f)) change["metadata"][f] = *v;
  Writer w;
  w.manager = std::string(kMutationManager);
  w.now = now;
  Value fields = object["metadata"]["managedFields"];
  TRY(Value merged, as.model->apply(&object, change, w, true));
  if (fields.is_null()) merged["metadata"].erase("managedFields");
  else merged["metadata"]["managedFields"] = std::move(fields);
  return merged;
}

}  // namespace

Policies::Policies(Core& core) : core_(&core) {
  auto cache = [&](std::string_view plural) { return core.types.find(kGroup, "v1", plural)->storage->cache; };
  validating_.policies = cache("validatingadmissionpolicies");
  validating_.bindings = cache("validatingadmissionpolicybindings");
  mutating_.policies = cache("mutatingadmissionpolicies");
  mutating_.bindings = cache("mutatingadmissionpolicybindings");
  for (Source* s : {&validating_, &mutating_})
    for (WatchCache* c : {s->policies, s->bindings}) c->add_listener([s](const CacheEvent&) { s->dirty = true; });
}

const std::shared_ptr<const Policies::List>& Policies::current(Source& s) {
  if (!s.dirty) return s.list;
  auto list = std::make_shared<List>();
  for (auto& [key, o] : s.policies->objects()) {
    BoundPolicy bound;
    for (auto& [k, b] : s.bindings->objects()) {
      auto binding = parse_binding(*b->value());
      if (binding.ok() && (*binding)->policy == o->name) bound.bindings.push_back(std::move(*binding));
    }
    if (bound.bindings.empty()) continue;
    auto policy = parse_policy(*o->value());
    if (!policy.ok()) {
      core_->log.warn("a policy is left out", {{"policy", o->name}, {"error", policy.error().message}});
      continue;
    }
    bound.policy = std::move(*policy);
    list->push_back(std::move(bound));
  }
  s.list = std::move(list);
  s.dirty = false;
  return s.list;
}

bool Policies::interested(Source& s, const AdmissionRequest& a) {
  if (s.policies->size() == 0 || s.bindings->size() == 0) return false;
  for (auto& b : *current(s))
    if (b.policy->criteria.match_rules(*core_, a)) return true;
  return false;
}
bool Policies::mutating(const AdmissionRequest& a) { return a.object && interested(mutating_, a); }
bool Policies::validating(const AdmissionRequest& a) { return interested(validating_, a); }

Result<bool> Policies::bound(const PolicyBinding& b, const AdmissionRequest& a) const {
  if (!b.criteria) return true;
  TRY(bool selected, b.criteria->match_selectors(*core_, a));
  return selected && (b.criteria->rules.empty() ? !b.criteria->excludes(*core_, a) : b.criteria->match_rules(*core_, a) != nullptr);
}

Result<std::vector<ValuePtr>> Policies::params(const Policy& p, const PolicyBinding& b, const AdmissionRequest& a) const {
  std::vector<ValuePtr> out;
  if (!p.has_params || !b.has_param_ref) {
    out.push_back(nullptr);
    return out;
  }
  ServedTypePtr t = core_->types.find_kind(p.param_version.group, p.param_version.version, p.param_kind);
  if (!t || !t->storage) return invalid("paramKind kind `" + (p.param_version.group.empty() ? "" : p.param_version.group + "/") + p.param_version.version + ", Kind=" + p.param_kind + "` not known");
  std::string ns = a.ns;
  if (!t->resource.namespaced) {
    if (!b.param_ns.empty()) return invalid("paramRef.namespace must not be provided for a cluster-scoped `paramKind`");
    ns.clear();
  } else if (!b.param_ns.empty()) {
    ns = b.param_ns;
  } else if (ns.empty()) {
    return invalid("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources");
  }
  if (!b.param_name.empty()) {
    if (ObjectPtr o = t->storage->cache->get(ns, b.param_name)) out.push_back(served_value(*t, *o));
  } else {
    for (auto& [key, o] : t->storage->cache->objects()) {
      if (o->ns != ns) continue;
      ValuePtr v = served_value(*t, *o);
      if (!b.param_selector || b.param_selector->matches((*v)["metadata"]["labels"])) out.push_back(std::move(v));
    }
  }
  if (out.empty() && b.params_needed) return invalid("no params found for policy binding with `Deny` parameterNotFoundAction");
  return out;
}

Task<Status> Policies::validate(AdmissionRequest& a) {
  std::shared_ptr<const List> list = current(validating_);
  Views views(core_, &a, false);
  std::optional<Error> first;
  auto deny = [&](const Policy& p, const PolicyBinding* b, const std::string& message, const std::string& reason) {
    if (first) return;
    std::string with = b ? " with binding '" + b->name + "'" : "";
    first = denied(a, "ValidatingAdmissionPolicy '" + p.name + "'" + with + " denied request: " + message, reason);
  };
  for (auto& bound_policy : *list) {
    const Policy& p = *bound_policy.policy;
    auto selected = p.criteria.match_selectors(*core_, a);
    if (!selected.ok()) {
      if (!p.ignore_failures) deny(p, nullptr, "failed to configure policy: " + selected.error().message, "");
      continue;
    }
    ServedTypePtr as = *selected ? p.criteria.match_rules(*core_, a) : nullptr;
    if (!as) continue;
    auto given = co_await views.variables(as);
    if (!given.ok()) co_return std::move(given).error();
    for (auto& b : bound_policy.bindings) {
      auto applies = bound(*b, a);
      if (applies.ok() && !*applies) continue;
      auto objects = applies.ok() ? params(p, *b, a) : Result<std::vector<ValuePtr>>(applies.error());
      if (!objects.ok()) {
        if (!p.ignore_failures) deny(p, b.get(), "failed to configure binding: " + objects.error().message, "");
        continue;
      }
      for (auto& param : *objects) {
        const std::vector<cel::Variable> variables = with_params(**given, p, param);
        Judgement j = judge(p, variables);
        for (int i = 0; i < kRounds; ++i) {
          bool again = co_await answer_open_questions(core_, &a);
          if (!again) break;
          j = judge(p, variables);
        }
        for (auto& f : j.failures)
          for (auto& action : b->actions) {
            if (action == "Deny") deny(p, b.get(), f.message, f.reason);
            if (action == "Warn" && a.warnings) a.warnings->push_back("Validation failed for ValidatingAdmissionPolicy '" + p.name + "' with binding '" + b->name + "': " + f.message);
            if (action == "Audit") note_failure(a, p, *b, f);
          }
        for (auto& m : j.annotation_errors) deny(p, b.get(), m, "");
        if (a.trail)
          for (auto& [k, v] : j.annotations) a.trail->annotate(p.name + "/" + k, v);
      }
    }
  }
  if (first) co_return std::move(*first);
  co_return ok();
}

Task<Status> Policies::mutate(AdmissionRequest& a, Reinvocation& state, bool again) {
  std::shared_ptr<const List> list = current(mutating_);
  for (auto& bound_policy : *list) {
    const Policy& p = *bound_policy.policy;
    if (!a.object || (again && !state.due(&p))) continue;
    auto refuse = [&](const PolicyBinding& b, const std::string& why) { return denied(a, "policy '" + p.name + "' with binding '" + b.name + "' denied request: " + why, ""); };
    auto selected = p.criteria.match_selectors(*core_, a);
    if (!selected.ok()) co_return std::move(selected).error();
    ServedTypePtr as = *selected ? p.criteria.match_rules(*core_, a) : nullptr;
    if (!as) continue;
    for (auto& b : bound_policy.bindings) {
      auto applies = bound(*b, a);
      if (applies.ok() && !*applies) continue;
      auto objects = applies.ok() ? params(p, *b, a) : Result<std::vector<ValuePtr>>(applies.error());
      if (!objects.ok()) {
        if (p.ignore_failures) continue;
        co_return refuse(*b, "failed to configure binding: " + objects.error().message);
      }
      for (auto& param : *objects) {
        bool first = true;
        for (auto& m : p.mutations) {
          // Each change sees what the one before has made.
          auto view = co_await admission_view(*core_, a, as, true);
          if (!view.ok()) co_return status::internal(view.error().message);
          const std::vector<cel::Variable> given = with_params(admission_variables(*core_, a, *view), p, param);
          if (std::exchange(first, false)) {
            cel::Budget budget;
            auto lazy = std::make_shared<LazyVariables>(&p, given, &budget);
            auto hold = conditions_hold(p.conditions, lazy->all());
            for (int i = 0; i < kRounds; ++i) {
              bool again = co_await answer_open_questions(core_, &a);
              if (!again) break;
              cel::Budget fresh;
              auto once_more = std::make_shared<LazyVariables>(&p, given, &fresh);
              hold = conditions_hold(p.conditions, once_more->all());
            }
            if (!hold.ok() && !p.ignore_failures) co_return refuse(*b, hold.error().message);
            if (!hold.ok() || !*hold) break;
          }
          auto change = [&] { return a.plain || m.json_patch ? mutated(p, m, *as, view->object, given, core_->ex.now()) : Result<Value>(invalid("ApplyConfiguration does not apply to this subresource")); };
          Result<Value> object = change();
          for (int i = 0; i < kRounds; ++i) {
            bool again = co_await answer_open_questions(core_, &a);
            if (!again) break;
            object = change();
          }
          if (!object.ok()) {
            if (p.ignore_failures) continue;
            co_return refuse(*b, object.error().message);
          }
          auto changed = co_await take_changed(*core_, &a, as, std::move(*object));
          if (!changed.ok()) co_return std::move(changed).error();
          if (*changed) state.changed();
        }
      }
    }
    if (p.reinvoke) state.called(&p);
  }
  co_return ok();
}

}  // namespace caravel::apiserver
