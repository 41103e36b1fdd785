#include "apiserver/admission/policy_status.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "apiserver/object_meta.h"
#include "base/strings.h"
#include "kube/cel/admission.h"
#include "kube/cel/schema_type.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr size_t kTypesMax = 10;  // that one policy is checked against
constexpr Duration kRetry = std::chrono::seconds(1);

UserPtr self() {
  static const UserPtr user = make_user("system:apiserver", {"system:masters"});
  return user;
}

bool has_wildcard(const Value& names) {
  for (auto& n : names.as_array())
    if (n.as_string().find('*') != std::string::npos) return true;
  return false;
}

// The types that rules name outright, each once, by group, version and kind.
std::vector<ServedTypePtr> named_types(const Core& core, const Value& constraints) {
  std::map<std::tuple<std::string, std::string, std::string>, ServedTypePtr> found;
  for (auto& rule : constraints["resourceRules"].as_array()) {
    if (has_wildcard(rule["apiGroups"]) || has_wildcard(rule["apiVersions"])) continue;
    for (auto& g : rule["apiGroups"].as_array())
      for (auto& v : rule["apiVersions"].as_array())
        for (auto& r : rule["resources"].as_array()) {
          ServedTypePtr t = core.types.find(g.as_string(), v.as_string(), r.as_string());
          if (!t || !t->model || !t->model->schema() || found.size() >= kTypesMax) continue;
          auto key = std::make_tuple(t->resource.group, t->resource.version, t->resource.kind);
          found.emplace(std::move(key), std::move(t));
        }
  }
  std::vector<ServedTypePtr> out;
  for (auto& [key, t] : found) out.push_back(t);
  return out;
}

// In the order of the policy: where, and what is wrong there.
using Problems = std::vector<std::pair<std::string, std::string>>;

// What is wrong with each expression for objects of one type. Upstream ends every message with a line of its own.
void check(const Value& spec, const ServedType& t, Problems& out) {
  kube::cel::PolicyCompiler compiler(spec["paramKind"].is_object(), kube::cel::type_of_schema(*t.model->schema()));
  const std::string prefix = t.resource.api_version() + ", Kind=" + t.resource.kind + ": ";
  auto judge = [&](const std::string& field, const std::string& text) {
    auto program = compiler.compile(text);
    auto at = std::find_if(out.begin(), out.end(), [&](auto& p) { return p.first == field; });
    if (at == out.end()) at = out.emplace(at, field, "");
    if (!program.ok()) at->second += (at->second.empty() ? "" : "\n") + prefix + program.error().message + "\n";
  };
  for (auto& v : spec["variables"].as_array()) {
    auto program = compiler.compile(v["expression"].as_string());
    compiler.add_variable(v["name"].as_string(), program.ok() ? program->shared_type() : kube::cel::simple_type(kube::cel::Type::Kind::kDyn));
  }
  for (size_t i = 0; i < spec["validations"].size(); ++i) {
    const Value& v = spec["validations"].at(i);
    std::string at = "spec.validations[" + std::to_string(i) + "].";
    judge(at + "expression", v["expression"].as_string());
    if (const std::string& m = v["messageExpression"].as_string(); !m.empty()) judge(at + "messageExpression", m);
  }
}

Rest::Transform observed(int64_t generation, Value checked) {
  return [generation, checked = std::move(checked)](const Value& live) -> Result<Value> {
    Value out = live;
    out["status"]["observedGeneration"] = generation;
    out["status"]["typeChecking"] = checked;
    return out;
  };
}

}  // namespace

Value check_policy_types(const Core& core, const Value& policy) {
  const Value& spec = policy["spec"];
  Problems problems;
  for (auto& t : named_types(core, spec["matchConstraints"])) check(spec, *t, problems);
  Value out = Value::object();
  for (auto& [field, text] : problems) {
    if (text.empty()) continue;
    Value w = Value::object();
    w["fieldRef"] = field;
    w["warning"] = text;
    out["expressionWarnings"].push_back(std::move(w));
  }
  return out;
}

PolicyStatus::PolicyStatus(Core& core, Rest& rest)
    : core_(&core), rest_(&rest), queue_(core.ex, "policy-status", [this](std::string name) { return reconcile(std::move(name)); }) {}

void PolicyStatus::start(TaskScope& scope) {
  policies_ = core_->types.find("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies");
  for (auto& [key, o] : policies_->storage->cache->objects()) queue_.enqueue(o->name);
  policies_->storage->cache->add_listener([this](const CacheEvent& e) {
    if (e.change != Change::kDeleted) queue_.enqueue(e.object->name);
  });
  queue_.start(scope);
}

Task<Result<kube::Requeue>> PolicyStatus::reconcile(std::string name) {
  Status s = co_await sync(name);
  if (s.ok() || s.error().code == Code::kNotFound) co_return kube::Requeue::never();
  core_->log.warn("cannot write the status of a policy", {{"policy", name}, {"error", s.error().message}});
  co_return kube::Requeue::in(kRetry);
}

Task<Status> PolicyStatus::sync(std::string name) {
  ObjectPtr o = rest_->find(*policies_, "", name);
  if (!o) co_return ok();
  ValuePtr policy = o->value();
  int64_t generation = policy->path({"metadata", "generation"}).as_int();
  if (policy->path({"status", "observedGeneration"}).as_int() == generation) co_return ok();
  WriteCall call;
  call.type = policies_;
  call.name = std::move(name);
  call.subresource = "status";
  call.user = self();
  call.manager = "kube-controller-manager";
  Value checked = check_policy_types(*core_, *policy);
  auto r = co_await rest_->update_object(&call, observed(generation, std::move(checked)), true);
  if (!r.ok()) co_return std::move(r).error();
  co_return ok();
}

}  // namespace caravel::apiserver
