#include "kube/cel/admission.h"

namespace caravel::kube::cel {

namespace {

using K = Type::Kind;

TypePtr text() { return simple_type(K::kString); }
TypePtr truth() { return simple_type(K::kBool); }
TypePtr anything() { return simple_type(K::kDyn); }

TypePtr object(std::string name, std::map<std::string, TypePtr> fields) {
  auto t = std::make_shared<Type>();
  t->kind = K::kObject;
  t->name = std::move(name);
  t->fields = std::move(fields);
  return t;
}
TypePtr opaque(std::string name, std::map<std::string, Type::Method> methods, std::map<std::string, TypePtr> fields = {}) {
  auto t = std::make_shared<Type>();
  t->kind = K::kOpaque;
  t->name = std::move(name);
  t->methods = std::move(methods);
  t->fields = std::move(fields);
  return t;
}

TypePtr decision() {
  static const TypePtr t = opaque("kubernetes.authorization.Decision", {{"allowed", {"", truth}}, {"reason", {"", text}}, {"errored", {"", truth}}, {"error", {"", text}}});
  return t;
}
TypePtr path_check() {
  static const TypePtr t = opaque("kubernetes.authorization.PathCheck", {{"check", {"s", decision}}});
  return t;
}
TypePtr resource_check() {
  static const TypePtr t = opaque("kubernetes.authorization.ResourceCheck", {{"subresource", {"s", resource_check}}, {"namespace", {"s", resource_check}}, {"name", {"s", resource_check}}, {"fieldSelector", {"s", resource_check}}, {"labelSelector", {"s", resource_check}}, {"check", {"s", decision}}});
  return t;
}
TypePtr group_check() {
  static const TypePtr t = opaque("kubernetes.authorization.GroupCheck", {{"resource", {"s", resource_check}}});
  return t;
}

TypePtr request_type() {
  static const TypePtr t = [] {
    TypePtr kind = object("kubernetes.GroupVersionKind", {{"group", text()}, {"version", text()}, {"kind", text()}});
    TypePtr resource = object("kubernetes.GroupVersionResource", {{"group", text()}, {"version", text()}, {"resource", text()}});
    TypePtr user = object("kubernetes.UserInfo", {{"username", text()}, {"uid", text()}, {"groups", list_type(text())}, {"extra", map_type(text(), list_type(text()))}});
    return object("kubernetes.AdmissionRequest",
                  {{"kind", kind}, {"resource", resource}, {"subResource", text()}, {"requestKind", kind}, {"requestResource", resource}, {"requestSubResource", text()}, {"name", text()}, {"namespace", text()}, {"operation", text()}, {"userInfo", user}, {"dryRun", truth()}, {"options", anything()}});
  }();
  return t;
}
TypePtr namespace_type() {
  static const TypePtr t = [] {
    TypePtr texts = map_type(text(), text());
    TypePtr metadata = object("kubernetes.NamespaceMetadata",
                              {{"name", text()}, {"generateName", text()}, {"namespace", text()}, {"labels", texts}, {"annotations", texts}, {"UID", text()}, {"creationTimestamp", simple_type(K::kTimestamp)}, {"deletionGracePeriodSeconds", simple_type(K::kInt)}, {"deletionTimestamp", simple_type(K::kTimestamp)}, {"generation", simple_type(K::kInt)}, {"resourceVersion", text()}, {"finalizers", list_type(text())}});
    TypePtr condition = object("kubernetes.NamespaceCondition",
                               {{"status", text()}, {"type", text()}, {"lastTransitionTime", simple_type(K::kTimestamp)}, {"message", text()}, {"reason", text()}});
    return object("kubernetes.Namespace", {{"metadata", metadata},
                                           {"spec", object("kubernetes.NamespaceSpec", {{"finalizers", list_type(text())}})},
                                           {"status", object("kubernetes.NamespaceStatus", {{"conditions", list_type(condition)}, {"phase", text()}})}});
  }();
  return t;
}

}  // namespace

TypePtr authorizer_type() {
  static const TypePtr t = opaque("kubernetes.authorization.Authorizer",
                                  {{"path", {"s", path_check}}, {"group", {"s", group_check}}, {"serviceAccount", {"ss", authorizer_type}}}, {{"requestResource", resource_check()}});
  return t;
}

Environment admission_environment(const AdmissionVariables& wanted) {
  Environment env;
  env.variables = {{"object", anything()}, {"oldObject", anything()}, {"request", request_type()}, {"namespaceObject", namespace_type()}};
  if (wanted.params) env.variables.emplace_back("params", anything());
  if (wanted.authorizer) env.variables.emplace_back("authorizer", authorizer_type());
  if (wanted.variables) env.variables.emplace_back("variables", wanted.variables);
  return env;
}

PolicyCompiler::PolicyCompiler(bool params, TypePtr object) : variables_(std::make_shared<Type>()) {
  variables_->kind = K::kOpaque;
  variables_->name = "kubernetes.variables";
  AdmissionVariables wanted;
  wanted.params = params;
  wanted.variables = variables_;
  env_ = admission_environment(wanted);
  if (object)
    for (auto& [name, type] : env_.variables)
      if (name == "object" || name == "oldObject") type = object;
}

}  // namespace caravel::kube::cel
