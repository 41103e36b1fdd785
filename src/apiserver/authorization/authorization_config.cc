#include "apiserver/authorization/authorization_config.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::apiserver {

namespace {

using json::Value;

Status only(const Value& v, const std::string& at, std::initializer_list<std::string_view> names) {
  for (auto& m : v.as_object())
    if (std::find(names.begin(), names.end(), std::string_view(m.key)) == names.end()) return invalid("strict decoding error: unknown field \"" + (at.empty() ? "" : at + ".") + m.key + "\"");
  return ok();
}

Error required(const std::string& at) { return invalid(at + ": Required value"); }

Result<Duration> duration_of(const Value& v, const std::string& at, Duration otherwise) {
  if (v.is_null()) return otherwise;
  auto d = parse_duration(v.as_string());
  if (!d.ok()) return invalid(at + ": Invalid value: " + json::quote(v.as_string()) + ": " + d.error().message);
  return d;
}

Result<WebhookAuthorizer> read_webhook(const Value& v, const std::string& name, const std::string& at) {
  TRY_VOID(only(v, at, {"timeout", "authorizedTTL", "unauthorizedTTL", "cacheAuthorizedRequests", "cacheUnauthorizedRequests", "subjectAccessReviewVersion", "matchConditionSubjectAccessReviewVersion", "failurePolicy", "connectionInfo", "matchConditions"}));
  WebhookAuthorizer w;
  w.name = name;
  if (v["timeout"].is_null()) return required(at + ".timeout");
  TRY(w.timeout, duration_of(v["timeout"], at + ".timeout", w.timeout));
  if (w.timeout <= Duration(0) || w.timeout > std::chrono::seconds(30)) return invalid(at + ".timeout: Invalid value: " + json::quote(v["timeout"].as_string()) + ": must be > 0s and <= 30s");
  TRY(w.keep_allowed, duration_of(v["authorizedTTL"], at + ".authorizedTTL", w.keep_allowed));
  TRY(w.keep_refused, duration_of(v["unauthorizedTTL"], at + ".unauthorizedTTL", w.keep_refused));
  if (!v["cacheAuthorizedRequests"].as_bool(true)) w.keep_allowed = Duration(0);
  if (!v["cacheUnauthorizedRequests"].as_bool(true)) w.keep_refused = Duration(0);
  w.version = v["subjectAccessReviewVersion"].as_string();
  if (w.version.empty()) return required(at + ".subjectAccessReviewVersion");
  if (w.version != "v1" && w.version != "v1beta1")
    return invalid(at + ".subjectAccessReviewVersion: Unsupported value: " + json::quote(w.version) + ": supported values: \"v1\", \"v1beta1\"");
  const std::string& policy = v["failurePolicy"].as_string();
  if (policy.empty()) return required(at + ".failurePolicy");
  if (policy != "NoOpinion" && policy != "Deny") return invalid(at + ".failurePolicy: Unsupported value: " + json::quote(policy) + ": supported values: \"Deny\", \"NoOpinion\"");
  w.deny_on_failure = policy == "Deny";
  const Value& c = v["connectionInfo"];
  const std::string& type = c["type"].as_string();
  if (type.empty()) return required(at + ".connectionInfo.type");
  if (type != "KubeConfigFile") return invalid(at + ".connectionInfo.type: Unsupported value: " + json::quote(type) + ": supported values: \"KubeConfigFile\"");
  w.kubeconfig = c["kubeConfigFile"].as_string();
  if (w.kubeconfig.empty()) return required(at + ".connectionInfo.kubeConfigFile");
  if (w.kubeconfig[0] != '/') return invalid(at + ".connectionInfo.kubeConfigFile: Invalid value: " + json::quote(w.kubeconfig) + ": must be an absolute path");
  const Value& conditions = v["matchConditions"];
  if (conditions.size() && v["matchConditionSubjectAccessReviewVersion"].as_string() != "v1")
    return invalid(at + ".matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified; the only one is v1");
  if (conditions.size() > 64) return invalid(at + ".matchConditions: Too many: " + std::to_string(conditions.size()) + ": must have at most 64 items");
  for (size_t i = 0; i < conditions.size(); ++i) {
    const std::string x = at + ".matchConditions[" + std::to_string(i) + "].expression", &text = conditions.at(i)["expression"].as_string();
    if (text.empty()) return required(x);
    kube::cel::Environment env;
    env.variables.emplace_back("request", kube::cel::simple_type(kube::cel::Type::Kind::kDyn));
    auto program = kube::cel::Program::compile(text, env);
    if (!program.ok()) return invalid(x + ": Invalid value: " + json::quote(text) + ": compilation failed: " + program.error().message);
    auto kind = program->type().kind;
    if (kind != kube::cel::Type::Kind::kBool && kind != kube::cel::Type::Kind::kDyn)
      return invalid(x + ": Invalid value: " + json::quote(text) + ": compilation failed: must evaluate to bool");
    w.conditions.push_back({text, std::move(*program)});
  }
  return w;
}

}  // namespace

Result<AuthorizerType> authorizer_type(std::string_view name) {
  if (name == "Node") return AuthorizerType::kNode;
  if (name == "RBAC") return AuthorizerType::kRbac;
  if (name == "Webhook") return AuthorizerType::kWebhook;
  if (name == "AlwaysAllow") return AuthorizerType::kAlwaysAllow;
  if (name == "AlwaysDeny") return AuthorizerType::kAlwaysDeny;
  return invalid(json::quote(name) + " is not a valid mode; the modes are AlwaysAllow, AlwaysDeny, Node, RBAC and Webhook");
}

Status keeps_authorizers(const std::vector<AuthorizerConfig>& before, const std::vector<AuthorizerConfig>& after) {
  constexpr std::string_view kNames[] = {"Node", "RBAC", "Webhook", "AlwaysAllow", "AlwaysDeny"};
  for (auto& b : before) {
    if (b.type == AuthorizerType::kWebhook) continue;
    if (std::none_of(after.begin(), after.end(), [&](const AuthorizerConfig& a) { return a.type == b.type; }))
      return invalid("authorizers: Required value: an authorizer of type " + std::string(kNames[static_cast<int>(b.type)]) + " was configured at the start and must stay");
  }
  return ok();
}

Result<std::vector<AuthorizerConfig>> parse_authorization_modes(std::string_view modes, const WebhookAuthorizer& webhook) {
  std::vector<AuthorizerConfig> out;
  std::set<std::string> seen;
  for (auto& m : split(modes, ',')) {
    std::string name(trim(m));
    AuthorizerConfig a;
    TRY(a.type, authorizer_type(name));
    if (!seen.insert(name).second) return invalid("the mode " + json::quote(name) + " has been given more than once");
    if (a.type == AuthorizerType::kWebhook) a.webhook = webhook;
    out.push_back(std::move(a));
  }
  return out;
}

Result<std::vector<AuthorizerConfig>> parse_authorization_config(std::string_view text) {
  TRY(const Value config, yaml::parse_json_or_yaml(std::string(text)));
  const std::string& version = config["apiVersion"].as_string();
  if (config["kind"].as_string() != "AuthorizationConfiguration" || (version != "apiserver.config.k8s.io/v1" && version != "apiserver.config.k8s.io/v1beta1"))
    return invalid("the file is not an AuthorizationConfiguration of apiserver.config.k8s.io/v1");
  TRY_VOID(only(config, "", {"apiVersion", "kind", "authorizers"}));
  const Value& list = config["authorizers"];
  if (list.size() == 0) return invalid("authorizers: Required value: at least one authorization mode must be defined");
  std::vector<AuthorizerConfig> out;
  std::set<std::string> types, names;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    const std::string at = "authorizers[" + std::to_string(i) + "]";
    TRY_VOID(only(v, at, {"type", "name", "webhook"}));
    const std::string &type = v["type"].as_string(), &name = v["name"].as_string();
    if (type.empty()) return required(at + ".type");
    AuthorizerConfig a;
    auto known = authorizer_type(type);
    if (!known.ok()) return invalid(at + ".type: Unsupported value: " + json::quote(type) + ": supported values: \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"");
    a.type = *known;
    if (name.empty()) return required(at + ".name");
    if (!names.insert(name).second) return invalid(at + ".name: Duplicate value: " + json::quote(name));
    if (a.type == AuthorizerType::kWebhook) {
      if (!v["webhook"].is_object()) return required(at + ".webhook");
      TRY(a.webhook, read_webhook(v["webhook"], name, at + ".webhook"));
    } else {
      if (!types.insert(type).second) return invalid(at + ".type: Duplicate value: " + json::quote(type));
      if (v["webhook"].is_object()) return invalid(at + ".webhook: Invalid value: \"non-null\": may only be specified when type=Webhook");
    }
    out.push_back(std::move(a));
  }
  return out;
}

}  // namespace caravel::apiserver
