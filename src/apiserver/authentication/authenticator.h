// Who is asking: client certificate, bearer token (ServiceAccount, bootstrap, static), else anonymous;
// then impersonation.
#pragma once

#include <map>
#include <string>
#include <unordered_map>

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
  // An error is 401, or 403 when he may not take somebody's place; `real` is then who he is.
  Result<UserPtr> authenticate(const Credentials& c, UserPtr* real = nullptr);
  Result<UserPtr> authenticate_token(const std::string& token, const std::vector<std::string>& audiences, std::vector<std::string>* matched);
  static UserPtr anonymous();

 private:
  Result<UserPtr> from_certificate(const std::string& pem);
  Result<UserPtr> from_bootstrap_token(const std::string& id, const std::string& secret);
  Result<UserPtr> impersonate(const UserPtr& real, const Credentials& c);
  Core* core_;
  TokenIssuer* tokens_;
  struct Certified {
    UserPtr user;
    Time not_after;
  };
  std::unordered_map<std::string, Certified> certificates_;
  std::unordered_map<std::string, UserPtr> static_tokens_;
};

}  // namespace caravel::apiserver
