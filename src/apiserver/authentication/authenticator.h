// Who is asking: client certificate, bearer token (static, ServiceAccount, bootstrap; then issuers and
// webhooks, which have to be waited for), else anonymous; then impersonation.
#pragma once

#include <map>
#include <string>
#include <unordered_map>

#include "apiserver/authentication/token_authenticator.h"
#include "apiserver/authentication/token_issuer.h"
#include "apiserver/core.h"

namespace caravel::apiserver {

// Headers of a request that say who it is from, by lower-case name.
struct Credentials {
  std::string certificate;  // PEM of the verified client certificate
  std::string authorization;
  std::string impersonate_user, impersonate_uid;
  std::vector<std::string> impersonate_groups;
  std::map<std::string, std::vector<std::string>> impersonate_extra;
  bool impersonates() const { return !impersonate_user.empty() || !impersonate_groups.empty() || !impersonate_uid.empty() || !impersonate_extra.empty(); }
};

class Authenticator {
 public:
  Authenticator(Core& core, TokenIssuer* tokens) : core_(&core), tokens_(tokens) {}
  void add_static_token(std::string token, User user);
  using Issuers = std::vector<std::unique_ptr<TokenAuthenticator>>;
  // Asked after all that know at once: the issuers, then those added, in this order. Other issuers may take their
  // place at any time; a token that is being looked at goes on with those that it began with.
  void set_issuers(Issuers issuers) { issuers_ = std::make_shared<const Issuers>(std::move(issuers)); }
  void add(std::unique_ptr<TokenAuthenticator> a) { remote_.push_back(std::move(a)); }
  // Who may come without credentials; until called: everybody.
  void limit_anonymous(bool enabled, std::vector<std::string> paths) { anonymous_ = {enabled, std::move(paths)}; }
  // An error is 401, or 403 when he may not take somebody's place; `real` is then who he is. `path` is what
  // the request asks for. The credentials live as long as the task.
  Task<Result<UserPtr>> authenticate(const Credentials& c, std::string_view path, UserPtr* real = nullptr);
  Task<Result<UserPtr>> authenticate_token(std::string token, std::vector<std::string> audiences, std::vector<std::string>* matched);
  static UserPtr anonymous();

 private:
  Result<UserPtr> from_certificate(const std::string& pem);
  Result<UserPtr> from_bootstrap_token(const std::string& id, const std::string& secret);
  Result<UserPtr> from_known_token(const std::string& token, const std::vector<std::string>& audiences, std::vector<std::string>* matched);
  Task<Result<UserPtr>> impersonate(UserPtr real, const Credentials& c);
  bool may_be_anonymous(std::string_view path) const;
  Core* core_;
  TokenIssuer* tokens_;
  struct Certified {
    UserPtr user;
    Time not_after;
  };
  std::unordered_map<std::string, Certified> certificates_;
  std::unordered_map<std::string, UserPtr> static_tokens_;
  std::shared_ptr<const Issuers> issuers_ = std::make_shared<const Issuers>();
  Issuers remote_;
  struct Anonymous {
    bool enabled = true;
    std::vector<std::string> paths;  // empty: all
  };
  Anonymous anonymous_;
};

}  // namespace caravel::apiserver
