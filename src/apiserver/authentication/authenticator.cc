#include "apiserver/authentication/authenticator.h"

#include <algorithm>

#include "apiserver/authorization/authorizer.h"
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
  static const UserPtr user = [] {
    auto u = std::make_shared<User>();
    u->name = "system:anonymous";
    u->groups = {"system:unauthenticated"};
    return u;
  }();
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

Result<UserPtr> Authenticator::authenticate_token(const std::string& token, const std::vector<std::string>& audiences, std::vector<std::string>* matched) {
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

Result<UserPtr> Authenticator::impersonate(const UserPtr& real, const Credentials& c) {
  if (c.impersonate_user.empty()) return status::bad_request("requested [{groups, extra or uid}] without impersonating a user");
  auto check = [&](std::string_view group, std::string_view plural, std::string_view sub, std::string_view ns, std::string_view name) -> Status {
    Attributes a;
    a.user = real.get();
    a.verb = "impersonate";
    a.group = group;
    a.version = "v1";
    a.plural = plural;
    a.subresource = sub;
    a.ns = ns;
    a.name = name;
    if (core_->authorizer->authorize(a).allowed) return ok();
    kube::Resource r;
    r.group = group;
    r.plural = plural;
    std::string what = std::string(plural) + (sub.empty() ? "" : "/" + std::string(sub));
    return status::forbidden(r, name, "User \"" + real->name + "\" cannot impersonate resource \"" + what + "\" in API group \"" + std::string(group) + "\" at the cluster scope");
  };
  auto u = std::make_shared<User>();
  u->name = c.impersonate_user;
  u->impersonator = real;
  auto parts = split(u->name, ':');
  if (parts.size() == 4 && parts[0] == "system" && parts[1] == "serviceaccount") {
    TRY_VOID(check("", "serviceaccounts", "", parts[2], parts[3]));
    if (c.impersonate_groups.empty()) u->groups = {"system:serviceaccounts", "system:serviceaccounts:" + parts[2]};
  } else {
    TRY_VOID(check("", "users", "", "", u->name));
  }
  for (auto& g : c.impersonate_groups) {
    TRY_VOID(check("", "groups", "", "", g));
    u->groups.push_back(g);
  }
  for (auto& [key, values] : c.impersonate_extra)
    for (auto& v : values) {
      TRY_VOID(check("authentication.k8s.io", "userextras", key, "", v));
      u->extra[key].push_back(v);
    }
  if (!c.impersonate_uid.empty()) {
    TRY_VOID(check("authentication.k8s.io", "uids", "", "", c.impersonate_uid));
    u->uid = c.impersonate_uid;
  }
  if (u->name == "system:anonymous") {
    if (u->groups.empty()) u->groups = {"system:unauthenticated"};
  } else if (!u->in_group(kAuthenticated) && !u->in_group("system:unauthenticated")) {
    u->groups.emplace_back(kAuthenticated);
  }
  return UserPtr(std::move(u));
}

Result<UserPtr> Authenticator::authenticate(const Credentials& c, UserPtr* real) {
  UserPtr user;
  if (!c.certificate.empty()) {
    auto u = from_certificate(c.certificate);
    if (u.ok()) user = *u;
    else if (c.authorization.empty()) return status::unauthorized();
  }
  if (!user && !c.authorization.empty()) {
    std::string_view a = c.authorization;
    if (a.size() > 7 && equals_ignore_case(a.substr(0, 7), "bearer ")) {
      auto u = authenticate_token(std::string(trim(a.substr(7))), {}, nullptr);
      if (!u.ok()) return status::unauthorized();
      user = *u;
    }
  }
  if (!user) user = anonymous();
  if (real) *real = user;
  if (c.impersonates()) return impersonate(user, c);
  return user;
}

}  // namespace caravel::apiserver
