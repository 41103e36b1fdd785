// AuthorizationConfiguration of apiserver.config.k8s.io/v1: which authorizers are asked, in which order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "kube/cel/program.h"

namespace caravel::apiserver {

// What one authorizer says.
struct Verdict {
  enum What { kNoOpinion,
              kAllow,
              kDeny } what = kNoOpinion;
  std::string reason;
};

enum class AuthorizerType { kNode,
                            kRbac,
                            kWebhook,
                            kAlwaysAllow,
                            kAlwaysDeny };

struct WebhookAuthorizer {
  std::string name, kubeconfig;  // path; "" with InClusterConfig
  std::string version = "v1";    // of SubjectAccessReview
  Duration timeout = std::chrono::seconds(30);
  Duration keep_allowed = std::chrono::minutes(5), keep_refused = std::chrono::seconds(30);
  bool deny_on_failure = false;  // failurePolicy Deny
  struct Condition {
    std::string text;
    kube::cel::Program program;
  };
  std::vector<Condition> conditions;  // all must be true for it to be asked
};

struct AuthorizerConfig {
  AuthorizerType type = AuthorizerType::kRbac;
  WebhookAuthorizer webhook;
};

// Errors are field paths with upstream's words.
Result<std::vector<AuthorizerConfig>> parse_authorization_config(std::string_view text);
// "Node,RBAC,Webhook" of --authorization-mode; `webhook` is what Webhook means.
Result<std::vector<AuthorizerConfig>> parse_authorization_modes(std::string_view modes, const WebhookAuthorizer& webhook);
// A configuration that takes another's place may change webhooks only: authorizers of other types must stay.
Status keeps_authorizers(const std::vector<AuthorizerConfig>& before, const std::vector<AuthorizerConfig>& after);
Result<AuthorizerType> authorizer_type(std::string_view name);

}  // namespace caravel::apiserver
