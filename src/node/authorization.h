// Who may use the node's API: upstream's webhook modes (authentication.webhook, authorization.mode Webhook).
//
// A bearer token is shown to the API server (TokenReview), what its user wants to do is asked of it
// (SubjectAccessReview on the node and a subresource named after the path); so metrics-server, Prometheus
// and people use their ServiceAccounts and RBAC rules for nodes/metrics, nodes/stats, nodes/log, nodes/pods,
// nodes/healthz or nodes/proxy. A client certificate of the cluster's CA names its user itself; the API server's own, and those of
// system:masters, need not be asked about. Answers are kept for a while: tokens two minutes, yes five minutes, no thirty seconds.
// Threading: one executor.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kube/client.h"
#include "kube/types/authentication.h"
#include "net/http.h"

namespace caravel::node {

// What a request is, as RBAC rules name it: any one of the subresources suffices.
struct NodeApiAccess {
  std::string verb;
  std::vector<std::string> subresources;
};
NodeApiAccess access_of(const std::string& method, const std::vector<std::string>& path);

class NodeAuthorizer {
 public:
  NodeAuthorizer(Executor& ex, kube::Client client, std::string node) : ex_(ex), client_(std::move(client)), node_(std::move(node)) {}
  // Ok, kUnauthorized or kForbidden, worded as upstream.
  Task<Status> judge(const net::ServerRequest& request);

 private:
  using UserInfo = kube::authentication::UserInfo;
  struct KnownUser {
    std::optional<UserInfo> user;  // none: the token is no good
    Time until;
  };
  struct KnownAnswer {
    bool allowed = false;
    Time until;
  };
  Task<std::optional<UserInfo>> user_of_token(std::string token);
  Task<bool> may(UserInfo user, std::string verb, std::string subresource);

  Executor& ex_;
  kube::Client client_;
  std::string node_;
  std::map<std::string, KnownUser> users_;  // by the token's hash
  std::map<std::string, KnownAnswer> answers_;
};

}  // namespace caravel::node
