// The flags of `caravel server` that say who may come in and what he may do: files are read and checked before
// anything is served, then handed to the API server.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/api_server.h"
#include "apiserver/authentication/jwt_config.h"
#include "apiserver/authentication/token_file.h"
#include "apiserver/authentication/token_webhook.h"
#include "apiserver/authorization/authorization_config.h"
#include "base/flags.h"
#include "kube/kubeconfig.h"
#include "net/event_loop.h"
#include "server/file_reload.h"

namespace caravel::server {

std::vector<Flag> access_flags();

class AccessSettings {
 public:
  // Reads the files that the flags name. Errors name the flag, the file and what is wrong in it.
  static Result<AccessSettings> read(const Flags& flags);
  // Puts it to work. The loop outlives the API server.
  Status apply(net::EventLoop& loop, apiserver::ApiServer& api) const;
  // Follows --authentication-config and --authorization-config from now on, within the scope. This object outlives it.
  void follow(net::EventLoop& loop, apiserver::ApiServer& api, const std::string& server_id, TaskScope& scope);

 private:
  Status apply_issuers(net::EventLoop& loop, apiserver::ApiServer& api, const std::vector<apiserver::JwtIssuer>& issuers) const;
  Task<Status> change_issuers(net::EventLoop* loop, apiserver::ApiServer* api, std::string text);
  Task<Status> change_authorizers(net::EventLoop* loop, apiserver::ApiServer* api, std::string text);
  Status read_tokens(const Flags& flags);
  Status read_issuers(const Flags& flags);
  Status read_token_webhook(const Flags& flags);
  Status read_authorizers(const Flags& flags);

  std::vector<apiserver::StaticToken> tokens_;
  // "": none; the text as it was read.
  std::string authentication_file_, authentication_text_, authorization_file_, authorization_text_, own_issuer_;
  std::vector<std::unique_ptr<FileReload>> reloads_;
  apiserver::AuthenticationSettings authentication_;
  std::optional<kube::ClientConfig> token_webhook_;
  std::string token_webhook_version_;
  Duration token_webhook_keep_ = Duration(0);
  // Empty: Node and RBAC. One kubeconfig for each, those that are no webhook have an empty one.
  std::vector<apiserver::AuthorizerConfig> authorizers_;
  std::vector<kube::ClientConfig> authorizer_clients_;
};

}  // namespace caravel::server
