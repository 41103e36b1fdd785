// Who may do what, by several authorizers in the order of --authorization-mode or AuthorizationConfiguration:
// the first that allows or denies decides; what nobody decides is not allowed. system:masters may everything.
// Without a webhook among them the answer is at hand at once.
// Threading: one executor.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "apiserver/authentication/token_webhook.h"
#include "apiserver/authorization/authorization_config.h"
#include "apiserver/authorization/authorizer.h"
#include "apiserver/exchange.h"
#include "base/executor.h"
#include "base/log.h"

namespace caravel::apiserver {

// The attributes of a question with their texts, for questions that outlive the request's.
struct AccessQuestion {
  explicit AccessQuestion(const Attributes& a);
  AccessQuestion(const AccessQuestion&) = delete;
  AccessQuestion& operator=(const AccessQuestion&) = delete;
  User user;
  std::string verb, group, version, plural, subresource, ns, name, path;
  bool is_resource = true;
  json::Value field_selector, label_selector;
  Attributes attributes() const;
};
// Requirements of a selector's text, as a review lists them; null when it has none or makes no sense.
json::Value field_requirements(std::string_view selector);
json::Value label_requirements(std::string_view selector);

// SubjectAccessReview, without kind and status.
json::Value review_spec(const AccessQuestion& q);

class AccessWebhook {
 public:
  AccessWebhook(Executor& ex, WebhookAuthorizer config, WebhookEndpoint to, Exchange exchange)
      : ex_(&ex), config_(std::move(config)), to_(std::move(to)), exchange_(std::move(exchange)) {}
  Task<Verdict> ask(std::shared_ptr<const AccessQuestion> q);

 private:
  struct Kept {
    Verdict verdict;
    Time until;
  };
  // Whether the match conditions want the webhook asked; nullopt: they failed.
  std::optional<bool> matches(const json::Value& review) const;
  Verdict failed(std::string why) const;
  Executor* ex_;
  WebhookAuthorizer config_;
  WebhookEndpoint to_;
  Exchange exchange_;
  std::unordered_map<std::string, Kept> kept_;
  Log log_{"apiserver"};
};

class AccessChain {
 public:
  struct Link {
    AuthorizerType type = AuthorizerType::kRbac;
    std::unique_ptr<AccessWebhook> webhook;
  };
  AccessChain(Authorizer& local, std::vector<Link> links) : local_(&local) { set(std::move(links)); }
  Task<Decision> decide(const Attributes& a);
  // From the next question on; those being answered go on with the links that they began with.
  void set(std::vector<Link> links) { links_ = std::make_shared<const std::vector<Link>>(std::move(links)); }

 private:
  Authorizer* local_;
  std::shared_ptr<const std::vector<Link>> links_;
};

}  // namespace caravel::apiserver
