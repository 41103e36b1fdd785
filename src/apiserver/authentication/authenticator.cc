#include "apiserver/authentication/authenticator.h"

#include <algorithm>

#include "apiserver/authorization/access.h"
#include "apiserver/status.h"
#include "base/hash.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::apiserver {

namespace {
constexpr size_t kCertificatesMax = 4'096;
constexpr std::string_view kAuthenticated = "system:authenticated";

std::string secret_text(const json::Value& secret, std::string_view key) {
  auto v = base64_decode(secret["data"][key].as_string());
  return v ? *v : "";
}
}  // namespace

UserPtr Authenticator::anonymous() {
  static const UserPtr user = make_user("system:anonymous", {"system:unauthenticated"});
  return user;
}

void Authenticator::add_static_token(std::string token, User user) {
  if (!user.in_group(kAuthenticated)) user.groups.emplace_back(kAuthenticated);
  static_tokens_[std::move(token)] = std::make_shared<User>(std::move(user));
}

Result<UserPtr> Authenticator::from_certificate(const std::string& pem) {
  auto it = certificates_.find(pem);
  if (it == certificates_.end()) {
    TRY(net::CertificateInfo info, net::parse_certificate(pem));
    if (!info.key_usages.empty() && std::find(info.key_usages.begin(), info.key_usages.end(), "client auth") == info.key_usages.end())
      return make_error(Code::kUnauthorized, "the certificate is not for client authentication");
    auto u = std::make_shared<User>();
    u->name = info.names.common_name;
    u->groups = info.names.organizations;
    u->groups.emplace_back(kAuthenticated);
    u->extra["authentication.kubernetes.io/credential-id"] = {"X509SHA256=" + sha256_hex(pem)};
    if (certificates_.size() >= kCertificatesMax) certificates_.clear();
    it = certificates_.emplace(pem, Certified{std::move(u), info.not_after}).first;
  }
  if (core_->ex.now() >= it->second.not_after) return make_error(Code::kUnauthorized, "the client certificate has expired");
  return it->second.user;
}

Result<UserPtr> Authenticator::from_bootstrap_token(const std::string& id, const std::string& secret) {
  auto bad = [] { return make_error(Code::kUnauthorized, "invalid bootstrap token"); };
  ServedTypePtr t = core_->types.find("", "v1", "secrets");
  ObjectPtr o = t ? t->storage->cache->get("kube-system", "bootstrap-token-" + id) : nullptr;
  if (!o) return bad();
  ValuePtr v = o->value();
  if ((*v)["type"].as_string() != "bootstrap.kubernetes.io/token" || !v->path({"metadata", "deletionTimestamp"}).is_null()) return bad();
  if (secret_text(*v, "token-id") != id || !equal_secret(secret_text(*v, "token-secret"), secret)) return bad();
  if (secret_text(*v, "usage-bootstrap-authentication") != "true") return bad();
  if (std::string expiry = secret_text(*v, "expiration"); !expiry.empty()) {
    auto when = parse_rfc3339(expiry);
    if (!when.ok() || core_->ex.now() >= *when) return bad();
  }
  auto u = std::make_shared<User>();
  u->name = "system:bootstrap:" + id;
  u->groups = {"system:bootstrappers"};
  for (auto& g : split(secret_text(*v, "auth-extra-groups"), ','))
    if (!g.empty()) u->groups.push_back(g);
  u->groups.emplace_back(kAuthenticated);
  return UserPtr(std::move(u));
}

Result<UserPtr> Authenticator::from_known_token(const std::string& token, const std::vector<std::string>& audiences, std::vector<std::string>* matched) {
  if (auto it = static_tokens_.find(token); it != static_tokens_.end()) return it->second;
  if (token.size() == 23 && token[6] == '.') return from_bootstrap_token(token.substr(0, 6), token.substr(7));
  if (tokens_) {
    auto v = tokens_->verify(token, audiences);
    if (!v.ok()) return std::move(v).error();
    if (matched) *matched = v->audiences;
    return v->user;
  }
  return make_error(Code::kUnauthorized, "unknown bearer token");
}

Task<Result<UserPtr>> Authenticator::authenticate_token(std::string token, std::vector<std::string> audiences, std::vector<std::string>* matched) {
  auto known = from_known_token(token, audiences, matched);
  const std::shared_ptr<const Issuers> issuers = issuers_;
  if (known.ok() || (remote_.empty() && issuers->empty())) co_return known;
  std::vector<std::string> problems = {known.error().message};
  const size_t all = issuers->size() + remote_.size();
  for (size_t i = 0; i < all; ++i) {
    TokenAuthenticator* a = i < issuers->size() ? (*issuers)[i].get() : remote_[i - issuers->size()].get();
    TokenAnswer answer = co_await a->authenticate(token, audiences);
    if (answer.user) {
      if (matched) *matched = std::move(answer.audiences);
      co_return std::move(answer.user);
    }
    if (!answer.error.empty()) problems.push_back(std::move(answer.error));
  }
  co_return make_error(Code::kUnauthorized, problems.size() == 1 ? problems[0] : "[" + join(problems, ", ") + "]");
}

namespace {

// One question that must be answered with yes before somebody takes another's place.
struct Place {
  std::string group, plural, subresource, ns, name;
};

std::vector<Place> places_of(const Credentials& c) {
  std::vector<Place> out;
  auto parts = split(c.impersonate_user, ':');
  if (parts.size() == 4 && parts[0] == "system" && parts[1] == "serviceaccount") out.push_back({"", "serviceaccounts", "", parts[2], parts[3]});
  else out.push_back({"", "users", "", "", c.impersonate_user});
  for (auto& g : c.impersonate_groups) out.push_back({"", "groups", "", "", g});
  for (auto& [key, values] : c.impersonate_extra)
    for (auto& v : values) out.push_back({"authentication.k8s.io", "userextras", key, "", v});
  if (!c.impersonate_uid.empty()) out.push_back({"authentication.k8s.io", "uids", "", "", c.impersonate_uid});
  return out;
}

UserPtr impersonated(const UserPtr& real, const Credentials& c) {
  auto u = std::make_shared<User>();
  u->name = c.impersonate_user;
  u->impersonator = real;
  u->groups = c.impersonate_groups;
  u->extra = c.impersonate_extra;
  u->uid = c.impersonate_uid;
  auto parts = split(u->name, ':');
  if (parts.size() == 4 && parts[0] == "system" && parts[1] == "serviceaccount" && u->groups.empty())
    u->groups = {"system:serviceaccounts", "system:serviceaccounts:" + parts[2]};
  if (u->name == "system:anonymous") {
    if (u->groups.empty()) u->groups = {"system:unauthenticated"};
  } else if (!u->in_group(kAuthenticated) && !u->in_group("system:unauthenticated")) {
    u->groups.emplace_back(kAuthenticated);
  }
  return u;
}

}  // namespace

Task<Result<UserPtr>> Authenticator::impersonate(UserPtr real, const Credentials& c) {
  if (c.impersonate_user.empty()) co_return status::bad_request("requested [{groups, extra or uid}] without impersonating a user");
  std::vector<Place> places = places_of(c);
  for (const Place& p : places) {
    Attributes a;
    a.user = real.get();
    a.verb = "impersonate";
    a.group = p.group;
    a.version = "v1";
    a.plural = p.plural;
    a.subresource = p.subresource;
    a.ns = p.ns;
    a.name = p.name;
    Decision d;
    if (core_->access) d = co_await core_->access->decide(a);
    else d = core_->authorizer->authorize(a);
    if (d.allowed) continue;
    kube::Resource r;
    r.group = p.group;
    r.plural = p.plural;
    std::string what = p.plural + (p.subresource.empty() ? "" : "/" + p.subresource);
    co_return status::forbidden(r, p.name, "User \"" + real->name + "\" cannot impersonate resource \"" + what + "\" in API group \"" + p.group + "\" at the cluster scope");
  }
  co_return impersonated(real, c);
}

bool Authenticator::may_be_anonymous(std::string_view path) const {
  if (!anonymous_.enabled) return false;
  return anonymous_.paths.empty() || std::find(anonymous_.paths.begin(), anonymous_.paths.end(), path) != anonymous_.paths.end();
}

Task<Result<UserPtr>> Authenticator::authenticate(const Credentials& c, std::string_view path, UserPtr* real) {
  UserPtr user;
  if (!c.certificate.empty()) {
    auto u = from_certificate(c.certificate);
    if (u.ok()) user = *u;
    else if (c.authorization.empty()) co_return status::unauthorized();
  }
  if (!user && !c.authorization.empty()) {
    std::string_view a = c.authorization;
    if (a.size() > 7 && equals_ignore_case(a.substr(0, 7), "bearer ")) {
      std::string token(trim(a.substr(7)));
      std::vector<std::string> any;
      auto u = co_await authenticate_token(std::move(token), std::move(any), nullptr);
      if (!u.ok()) co_return status::unauthorized();
      user = *u;
    }
  }
  if (!user) {
    if (!may_be_anonymous(path)) co_return status::unauthorized();
    user = anonymous();
  }
  if (real) *real = user;
  if (!c.impersonates()) co_return user;
  auto taken = co_await impersonate(user, c);
  co_return taken;
}

}  // namespace caravel::apiserver
