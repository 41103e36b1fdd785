#include "server/access_flags.h"

#include "apiserver/authentication/oidc.h"
#include "apiserver/authorization/access.h"
#include "base/log.h"
#include "base/strings.h"
#include "net/process.h"
#include "server/webhook_client.h"

namespace caravel::server {

namespace {

Result<bool> read_bool(const Flags& flags, const char* name) {
  std::string v = flags.get(name);
  if (v == "true" || v == "false") return v == "true";
  return invalid("--" + std::string(name) + " is true or false, not " + v);
}

// The text of the file that a flag names.
Result<std::string> read_named(const Flags& flags, const char* name) {
  auto text = net::read_file(flags.get(name));
  if (!text.ok()) return wrap(std::move(text).error(), "--" + std::string(name));
  return text;
}

Result<std::string> read_version(const Flags& flags, const char* name) {
  std::string v = flags.get(name);
  if (v == "v1" || v == "v1beta1") return v;
  return invalid("--" + std::string(name) + " is v1 or v1beta1, not " + v);
}

// --oidc-*: one issuer.
Result<apiserver::JwtIssuer> issuer_of_flags(const Flags& flags) {
  apiserver::JwtIssuer j;
  j.url = flags.get("oidc-issuer-url");
  if (!j.url.starts_with("https://")) return invalid("--oidc-issuer-url " + j.url + " must be an https URL");
  if (flags.get("oidc-client-id").empty()) return invalid("--oidc-issuer-url and --oidc-client-id must be specified together");
  j.audiences = {flags.get("oidc-client-id")};
  if (flags.given("oidc-ca-file")) {
    TRY(j.ca, read_named(flags, "oidc-ca-file"));
  }
  j.username.claim = flags.get("oidc-username-claim");
  std::string prefix = flags.get("oidc-username-prefix");
  if (prefix.empty() && j.username.claim != "email") prefix = j.url + "#";
  j.username.prefix = prefix == "-" ? "" : prefix;
  j.groups.claim = flags.get("oidc-groups-claim");
  j.groups.prefix = flags.get("oidc-groups-prefix");
  j.algorithms.clear();
  for (auto& a : split(flags.get("oidc-signing-algs"), ',')) {
    std::string alg(trim(a));
    if (!apiserver::known_signing_alg(alg)) return invalid("--oidc-signing-algs: unsupported signing alg " + json::quote(alg));
    j.algorithms.push_back(alg);
  }
  for (auto& pair : flags.all("oidc-required-claim")) {
    size_t eq = pair.find('=');
    if (eq == pair.npos || eq == 0) return invalid("--oidc-required-claim " + pair + ": it has the form key=value");
    apiserver::ClaimRule r;
    r.claim = pair.substr(0, eq);
    r.required_value = pair.substr(eq + 1);
    j.claim_rules.push_back(std::move(r));
  }
  return j;
}

}  // namespace

std::vector<Flag> access_flags() {
  return {
      {"anonymous-auth", "true|false", "whether requests without credentials are those of system:anonymous", "true"},
      {"token-auth-file", "FILE", "bearer tokens: lines of token,user,uid,\"group1,group2\""},
      {"authentication-config", "FILE", "AuthenticationConfiguration: issuers of JWTs and how their claims become users"},
      {"oidc-issuer-url", "URL", "OpenID Connect issuer whose ID tokens are bearer tokens; https only"},
      {"oidc-client-id", "ID", "the audience that its tokens must be for"},
      {"oidc-username-claim", "CLAIM", "claim that is the user's name", "sub"},
      {"oidc-username-prefix", "TEXT", "put before user names; - for none; default: the issuer's URL and #, unless the claim is email"},
      {"oidc-groups-claim", "CLAIM", "claim that lists the user's groups"},
      {"oidc-groups-prefix", "TEXT", "put before groups"},
      {"oidc-required-claim", "KEY=VALUE", "a claim that tokens must have with this value", "", true},
      {"oidc-signing-algs", "LIST", "accepted signatures: RS, ES or PS with 256, 384 or 512, comma-separated", "RS256"},
      {"oidc-ca-file", "FILE", "certificate authority of the issuer's server; default: the system's"},
      {"authentication-token-webhook-config-file", "FILE", "kubeconfig of a webhook that is sent TokenReviews for bearer tokens"},
      {"authentication-token-webhook-version", "VERSION", "of the TokenReview: v1 or v1beta1", "v1"},
      {"authentication-token-webhook-cache-ttl", "DURATION", "how long its answers are kept", "2m"},
      {"authorization-mode", "LIST", "authorizers in their order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny", "Node,RBAC"},
      {"authorization-config", "FILE", "AuthorizationConfiguration: authorizers in their order, instead of --authorization-mode"},
      {"authorization-webhook-config-file", "FILE", "kubeconfig of the webhook of the mode Webhook, which is sent SubjectAccessReviews"},
      {"authorization-webhook-version", "VERSION", "of the SubjectAccessReview: v1 or v1beta1", "v1"},
      {"authorization-webhook-cache-authorized-ttl", "DURATION", "how long its consents are kept", "5m"},
      {"authorization-webhook-cache-unauthorized-ttl", "DURATION", "how long its refusals are kept", "30s"},
  };
}

Status AccessSettings::read_tokens(const Flags& flags) {
  if (!flags.given("token-auth-file")) return ok();
  TRY(std::string text, read_named(flags, "token-auth-file"));
  std::vector<std::string> warnings;
  auto tokens = apiserver::parse_token_file(text, warnings);
  if (!tokens.ok()) return wrap(std::move(tokens).error(), "--token-auth-file " + flags.get("token-auth-file"));
  Log log("server");
  for (auto& w : warnings) log.warn("token file", {{"file", flags.get("token-auth-file")}, {"warning", w}});
  tokens_ = std::move(*tokens);
  return ok();
}

Status AccessSettings::read_issuers(const Flags& flags) {
  const bool by_flags = flags.given("oidc-issuer-url") || flags.given("oidc-client-id");
  if (flags.given("authentication-config")) {
    if (by_flags) return invalid("--authentication-config and the --oidc-* flags are mutually exclusive");
    TRY(std::string text, read_named(flags, "authentication-config"));
    authentication_file_ = flags.get("authentication-config");
    authentication_text_ = text;
    own_issuer_ = flags.get("service-account-issuer");
    auto c = apiserver::parse_authentication_config(text, own_issuer_);
    if (!c.ok()) return wrap(std::move(c).error(), "--authentication-config " + flags.get("authentication-config"));
    if (c->has_anonymous && flags.given("anonymous-auth")) return invalid("--anonymous-auth and the field anonymous of --authentication-config are mutually exclusive");
    authentication_ = std::move(*c);
  } else if (by_flags) {
    TRY(auto issuer, issuer_of_flags(flags));
    authentication_.issuers.push_back(std::move(issuer));
  }
  if (!authentication_.has_anonymous) {
    TRY(authentication_.anonymous, read_bool(flags, "anonymous-auth"));
  }
  return ok();
}

Status AccessSettings::read_token_webhook(const Flags& flags) {
  const char* file = "authentication-token-webhook-config-file";
  if (!flags.given(file)) return ok();
  TRY(token_webhook_, read_client(flags.get(file), file));
  TRY(token_webhook_version_, read_version(flags, "authentication-token-webhook-version"));
  TRY(token_webhook_keep_, read_duration(flags, "authentication-token-webhook-cache-ttl"));
  return ok();
}

Status AccessSettings::read_authorizers(const Flags& flags) {
  const char* file = "authorization-webhook-config-file";
  if (flags.given("authorization-config")) {
    if (flags.given("authorization-mode") || flags.given(file)) return invalid("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are");
    TRY(std::string text, read_named(flags, "authorization-config"));
    authorization_file_ = flags.get("authorization-config");
    authorization_text_ = text;
    auto list = apiserver::parse_authorization_config(text);
    if (!list.ok()) return wrap(std::move(list).error(), "--authorization-config " + flags.get("authorization-config"));
    authorizers_ = std::move(*list);
  } else if (flags.given("authorization-mode") || flags.given(file)) {
    apiserver::WebhookAuthorizer w;
    w.name = "default";
    w.kubeconfig = flags.get(file);
    TRY(w.version, read_version(flags, "authorization-webhook-version"));
    TRY(w.keep_allowed, read_duration(flags, "authorization-webhook-cache-authorized-ttl"));
    TRY(w.keep_refused, read_duration(flags, "authorization-webhook-cache-unauthorized-ttl"));
    auto list = apiserver::parse_authorization_modes(flags.get("authorization-mode"), w);
    if (!list.ok()) return wrap(std::move(list).error(), "--authorization-mode");
    authorizers_ = std::move(*list);
    bool webhook = false;
    for (auto& a : authorizers_) webhook = webhook || a.type == apiserver::AuthorizerType::kWebhook;
    if (webhook && w.kubeconfig.empty()) return invalid("authorization-mode Webhook's authorization config file not passed: give --authorization-webhook-config-file");
    if (!webhook && !w.kubeconfig.empty()) return invalid("cannot specify --authorization-webhook-config-file without mode Webhook: add Webhook to --authorization-mode");
  }
  for (auto& a : authorizers_) {
    kube::ClientConfig c;
    if (a.type == apiserver::AuthorizerType::kWebhook) {
      TRY(c, read_client(a.webhook.kubeconfig, flags.given(file) ? file : "authorization-config"));
    }
    authorizer_clients_.push_back(std::move(c));
  }
  return ok();
}

Result<AccessSettings> AccessSettings::read(const Flags& flags) {
  AccessSettings s;
  TRY_VOID(s.read_tokens(flags));
  TRY_VOID(s.read_issuers(flags));
  TRY_VOID(s.read_token_webhook(flags));
  TRY_VOID(s.read_authorizers(flags));
  return s;
}

namespace {

Result<std::vector<apiserver::AccessChain::Link>> make_links(net::EventLoop& loop, const std::vector<apiserver::AuthorizerConfig>& authorizers, const std::vector<kube::ClientConfig>& clients) {
  std::vector<apiserver::AccessChain::Link> links;
  for (size_t i = 0; i < authorizers.size(); ++i) {
    apiserver::AccessChain::Link link;
    link.type = authorizers[i].type;
    if (link.type == apiserver::AuthorizerType::kWebhook) {
      TRY(auto exchange, exchange_with(loop, clients[i]));
      const apiserver::WebhookAuthorizer& w = authorizers[i].webhook;
      apiserver::WebhookEndpoint to = endpoint_of(clients[i], w.version);
      to.timeout = w.timeout;
      link.webhook = std::make_unique<apiserver::AccessWebhook>(loop, w, std::move(to), std::move(exchange));
    }
    links.push_back(std::move(link));
  }
  return links;
}

}  // namespace

Status AccessSettings::apply(net::EventLoop& loop, apiserver::ApiServer& api) const {
  apiserver::Authenticator& a = api.authenticator();
  a.limit_anonymous(authentication_.anonymous, authentication_.anonymous_paths);
  for (auto& t : tokens_) a.add_static_token(t.token, t.user);
  TRY_VOID(apply_issuers(loop, api, authentication_.issuers));
  if (token_webhook_) {
    TRY(auto exchange, exchange_with(loop, *token_webhook_));
    std::vector<std::string> audiences;
    if (api.core().tokens) audiences = api.core().tokens->api_audiences();
    a.add(std::make_unique<apiserver::TokenWebhook>(loop, endpoint_of(*token_webhook_, token_webhook_version_), std::move(exchange), token_webhook_keep_, std::move(audiences)));
  }
  if (authorizers_.empty()) return ok();
  TRY(auto links, make_links(loop, authorizers_, authorizer_clients_));
  api.set_access(std::make_unique<apiserver::AccessChain>(*api.core().authorizer, std::move(links)));
  return ok();
}

Status AccessSettings::apply_issuers(net::EventLoop& loop, apiserver::ApiServer& api, const std::vector<apiserver::JwtIssuer>& issuers) const {
  apiserver::Authenticator::Issuers made;
  for (auto& issuer : issuers) {
    net::TlsClientOptions t;
    t.ca = issuer.ca;
    TRY(auto exchange, apiserver::make_exchange(loop, t));
    made.push_back(std::make_unique<apiserver::OidcAuthenticator>(loop, issuer, std::move(exchange)));
  }
  api.authenticator().set_issuers(std::move(made));
  return ok();
}

// Issuers change; who may come without credentials is as it was at the start.
Task<Status> AccessSettings::change_issuers(net::EventLoop* loop, apiserver::ApiServer* api, std::string text) {
  CO_TRY(auto c, apiserver::parse_authentication_config(text, own_issuer_));
  co_return apply_issuers(*loop, *api, c.issuers);
}

Task<Status> AccessSettings::change_authorizers(net::EventLoop* loop, apiserver::ApiServer* api, std::string text) {
  CO_TRY(auto list, apiserver::parse_authorization_config(text));
  CO_TRY_VOID(apiserver::keeps_authorizers(authorizers_, list));
  std::vector<kube::ClientConfig> clients;
  for (auto& a : list) {
    kube::ClientConfig c;
    if (a.type == apiserver::AuthorizerType::kWebhook) {
      CO_TRY(c, read_client(a.webhook.kubeconfig, "authorization-config"));
    }
    clients.push_back(std::move(c));
  }
  CO_TRY(auto links, make_links(*loop, list, clients));
  api->access()->set(std::move(links));
  co_return ok();
}

void AccessSettings::follow(net::EventLoop& loop, apiserver::ApiServer& api, const std::string& server_id, TaskScope& scope) {
  auto add = [&](const char* kind, const std::string& file, const std::string& text, FileReload::Apply apply) {
    if (file.empty()) return;
    reloads_.push_back(std::make_unique<FileReload>(
        loop, api.core().metrics, kind, server_id, text, [file] { return net::read_file(file); }, std::move(apply)));
    scope.spawn(reloads_.back()->keep());
  };
  add("authentication", authentication_file_, authentication_text_, [this, l = &loop, a = &api](std::string text) { return change_issuers(l, a, std::move(text)); });
  add("authorization", authorization_file_, authorization_text_, [this, l = &loop, a = &api](std::string text) { return change_authorizers(l, a, std::move(text)); });
}

}  // namespace caravel::server
