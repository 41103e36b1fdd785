// Policies and bindings from their objects: everything compiled, ready to be applied.
#include "apiserver/admission/policies.h"

#include "apiserver/object_meta.h"
#include "base/strings.h"
#include "kube/cel/admission.h"

namespace caravel::apiserver {

namespace {

using json::Value;

Result<PolicyExpression> expression(const kube::cel::PolicyCompiler& compiler, const std::string& name, const Value& text) {
  PolicyExpression e;
  e.name = name;
  e.text = text.as_string();
  TRY(e.program, compiler.compile(e.text));
  return e;
}

}  // namespace

Result<std::shared_ptr<const Policy>> parse_policy(const Value& o) {
  const Value& s = o["spec"];
  auto p = std::make_shared<Policy>();
  p->name = meta_string(o, "name");
  TRY(p->criteria, MatchCriteria::parse(s["matchConstraints"], "resourceRules", "excludeResourceRules"));
  p->ignore_failures = s["failurePolicy"].as_string() == "Ignore";
  p->reinvoke = s["reinvocationPolicy"].as_string() == "IfNeeded";
  p->has_params = s["paramKind"].is_object();
  p->param_version = kube::parse_group_version(s["paramKind"]["apiVersion"].as_string());
  p->param_kind = s["paramKind"]["kind"].as_string();
  kube::cel::PolicyCompiler compiler(p->has_params);
  if (s["mutations"].size()) compiler.allow_mutations();
  TRY(p->conditions, parse_conditions(compiler, s["matchConditions"]));
  for (auto& v : s["variables"].as_array()) {
    TRY(PolicyExpression e, expression(compiler, v["name"].as_string(), v["expression"]));
    compiler.add_variable(e.name, e.program.shared_type());
    p->variables.push_back(std::move(e));
  }
  for (auto& v : s["validations"].as_array()) {
    PolicyValidation out;
    out.text = v["expression"].as_string();
    out.message = v["message"].as_string();
    out.reason = v["reason"].as_string();
    TRY(out.program, compiler.compile(out.text));
    if (const std::string& text = v["messageExpression"].as_string(); !text.empty()) {
      TRY(out.message_program, compiler.compile(text));
    }
    p->validations.push_back(std::move(out));
  }
  for (auto& a : s["auditAnnotations"].as_array()) {
    TRY(PolicyExpression e, expression(compiler, a["key"].as_string(), a["valueExpression"]));
    p->annotations.push_back(std::move(e));
  }
  for (auto& m : s["mutations"].as_array()) {
    PolicyMutation out;
    out.json_patch = m["patchType"].as_string() == "JSONPatch";
    TRY(out.expression, expression(compiler, "", m[out.json_patch ? "jsonPatch" : "applyConfiguration"]["expression"]));
    p->mutations.push_back(std::move(out));
  }
  return std::shared_ptr<const Policy>(std::move(p));
}

Result<std::shared_ptr<const PolicyBinding>> parse_binding(const Value& o) {
  const Value& s = o["spec"];
  auto b = std::make_shared<PolicyBinding>();
  b->name = meta_string(o, "name");
  b->policy = s["policyName"].as_string();
  if (s["matchResources"].is_object()) {
    TRY(b->criteria, MatchCriteria::parse(s["matchResources"], "resourceRules", "excludeResourceRules"));
  }
  const Value& ref = s["paramRef"];
  b->has_param_ref = ref.is_object();
  b->param_name = ref["name"].as_string();
  b->param_ns = ref["namespace"].as_string();
  b->params_needed = ref["parameterNotFoundAction"].as_string() == "Deny";
  if (ref["selector"].is_object()) {
    TRY(b->param_selector, kube::LabelSelector::from_json(ref["selector"]));
  }
  for (auto& a : s["validationActions"].as_array()) b->actions.push_back(a.as_string());
  return std::shared_ptr<const PolicyBinding>(std::move(b));
}

}  // namespace caravel::apiserver
