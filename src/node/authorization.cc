#include "node/authorization.h"

#include <algorithm>

#include "base/hash.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/types/authorization.h"
#include "net/x509.h"

namespace caravel::node {
namespace {

const Log kAuthLog{"node-server"};
constexpr Duration kTokenKept = std::chrono::minutes(2), kYesKept = std::chrono::minutes(5), kNoKept = std::chrono::seconds(30);
constexpr size_t kKnownMax = 1'000;  // of each; what is full is forgotten

bool is_own_server(const std::string& name, const std::vector<std::string>& groups) {
  return name == "kube-apiserver-kubelet-client" || std::count(groups.begin(), groups.end(), "system:masters") > 0;
}

}  // namespace

NodeApiAccess access_of(const std::string& method, const std::vector<std::string>& path) {
  static const std::pair<std::string_view, std::string_view> verbs[] = {{"GET", "get"}, {"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
  // Paths whose users may be given just that; all but the second kind are also open to nodes/proxy.
  static const std::pair<std::string_view, std::string_view> fine[] = {{"pods", "pods"}, {"runningpods", "pods"}, {"healthz", "healthz"}, {"configz", "configz"}};
  static const std::pair<std::string_view, std::string_view> own[] = {{"stats", "stats"}, {"metrics", "metrics"}, {"logs", "log"}, {"checkpoint", "checkpoint"}, {"statusz", "statusz"}, {"flagz", "configz"}};
  NodeApiAccess out;
  for (auto& [m, verb] : verbs)
    if (m == method) out.verb = verb;
  const std::string first = path.empty() ? "" : path[0];
  for (auto& [p, subresource] : fine)
    if (p == first) out.subresources.emplace_back(subresource);
  auto whole = std::find_if(std::begin(own), std::end(own), [&](auto& o) { return o.first == first; });
  out.subresources.emplace_back(whole == std::end(own) ? "proxy" : whole->second);
  return out;
}

Task<Status> NodeAuthorizer::judge(const net::ServerRequest& request) {
  const NodeApiAccess access = access_of(request.method, request.target.segments());
  UserInfo user;
  const std::string header = request.headers.get("authorization");
  auto certificate = request.peer_certificate.empty() ? Result<net::CertificateInfo>(not_found("none")) : net::parse_certificate(request.peer_certificate);
  if (certificate.ok()) {
    user.username = certificate->names.common_name;
    user.groups = certificate->names.organizations;
    if (is_own_server(user.username, user.groups)) co_return ok();
    user.groups.push_back("system:authenticated");
  } else if (header.starts_with("Bearer ")) {
    std::optional<UserInfo> known = co_await user_of_token(header.substr(7));
    if (!known) co_return make_error(Code::kUnauthorized, "Unauthorized");
    user = std::move(*known);
  } else {
    co_return make_error(Code::kUnauthorized, "Unauthorized");
  }
  for (const std::string& subresource : access.subresources) {
    const bool allowed = co_await may(user, access.verb, subresource);
    if (allowed) co_return ok();
  }
  co_return make_error(Code::kForbidden, "Forbidden (user=" + user.username + ", verb=" + access.verb + ", resource=nodes, subresource(s)=[" + join(access.subresources, " ") + "])");
}

Task<std::optional<NodeAuthorizer::UserInfo>> NodeAuthorizer::user_of_token(std::string token) {
  const std::string key = sha256_hex(token);
  auto known = users_.find(key);
  if (known != users_.end() && known->second.until > ex_.now()) co_return known->second.user;
  kube::authentication::TokenReview review;
  review.spec.token = std::move(token);
  auto answer = co_await client_.create(std::move(review));
  if (!answer.ok()) {
    kAuthLog.warn("a token could not be reviewed", {{"error", answer.error().message}});
    co_return std::nullopt;
  }
  std::optional<UserInfo> user;
  if (answer->status.authenticated) user = std::move(answer->status.user);
  if (users_.size() >= kKnownMax) users_.clear();
  users_[key] = {user, ex_.now() + (user ? kTokenKept : kNoKept)};
  co_return user;
}

Task<bool> NodeAuthorizer::may(UserInfo user, std::string verb, std::string subresource) {
  const std::string key = json::dump(kube::to_json(user)) + " " + verb + " " + subresource;
  auto known = answers_.find(key);
  if (known != answers_.end() && known->second.until > ex_.now()) co_return known->second.allowed;
  kube::authorization::SubjectAccessReview review;
  review.spec.user = user.username;
  review.spec.uid = user.uid;
  review.spec.groups = user.groups;
  review.spec.extra = user.extra;
  auto& wanted = review.spec.resource_attributes.emplace();
  wanted.verb = std::move(verb);
  wanted.version = "v1";
  wanted.resource = "nodes";
  wanted.subresource = std::move(subresource);
  wanted.name = node_;
  auto answer = co_await client_.create(std::move(review));
  if (!answer.ok()) {
    kAuthLog.warn("an access could not be reviewed", {{"user", user.username}, {"error", answer.error().message}});
    co_return false;
  }
  const bool allowed = answer->status.allowed;
  if (answers_.size() >= kKnownMax) answers_.clear();
  answers_[key] = {allowed, ex_.now() + (allowed ? kYesKept : kNoKept)};
  co_return allowed;
}

}  // namespace caravel::node
