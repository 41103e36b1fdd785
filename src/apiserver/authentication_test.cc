// Whose bearer token it is: the token file, issuers of JWTs, webhooks.
#include <gtest/gtest.h>

#include "apiserver/authentication/authenticator.h"
#include "apiserver/authentication/oidc.h"
#include "apiserver/authentication/token_file.h"
#include "apiserver/authentication/token_webhook.h"
#include "apiserver/authorization/access.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::apiserver {
namespace {

TEST(TokenFile, ALineIsATokenAUserHisUidAndHisGroups) {
  std::vector<std::string> warnings;
  auto t = parse_token_file("abc,jane,u1,\"devs,ops\"\n\ndef,\"a \"\"b\"\", c\",u2\r\nghi,joe,,one\n", warnings);
  ASSERT_TRUE(t.ok()) << t.error().message;
  ASSERT_EQ(t->size(), 3u);
  EXPECT_EQ((*t)[0].token, "abc");
  EXPECT_EQ((*t)[0].user.name, "jane");
  EXPECT_EQ((*t)[0].user.uid, "u1");
  EXPECT_EQ((*t)[0].user.groups, (std::vector<std::string>{"devs", "ops"}));
  EXPECT_EQ((*t)[1].user.name, "a \"b\", c");
  EXPECT_TRUE((*t)[1].user.groups.empty());
  EXPECT_EQ((*t)[2].user.groups, (std::vector<std::string>{"one"}));
  EXPECT_TRUE(warnings.empty());
}

TEST(TokenFile, ErrorsNameLinesAndNeverTokens) {
  std::vector<std::string> warnings;
  auto two = parse_token_file("good,jane,u1\n\nsecret,joe\n", warnings);
  ASSERT_FALSE(two.ok());
  EXPECT_EQ(two.error().message, "line 3: must have at least 3 columns (token, user name, user uid), found 2");
  auto quote = parse_token_file("good,jane,u1\nsecret,\"joe,u2\n", warnings);
  ASSERT_FALSE(quote.ok());
  EXPECT_EQ(quote.error().message.find("secret"), std::string::npos);
  EXPECT_NE(quote.error().message.find("line 2"), std::string::npos);
  EXPECT_FALSE(parse_token_file("se\"cret,joe,u\n", warnings).ok());
}

TEST(TokenFile, ATokenThatComesAgainCountsAsItsLastLineSays) {
  std::vector<std::string> warnings;
  auto t = parse_token_file("abc,jane,u1\n,joe,u2\nabc,jim,u3\n", warnings);
  ASSERT_TRUE(t.ok());
  ASSERT_EQ(t->size(), 1u);
  EXPECT_EQ((*t)[0].user.name, "jim");
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_EQ(warnings[0], "line 2: empty token, the line is skipped");
  EXPECT_EQ(warnings[1].find("abc"), std::string::npos);
}

using json::Value;

// The far end of the wire: counts what is asked and answers from a table.
struct FarEnd {
  std::map<std::string, std::string> pages;
  std::vector<std::string> asked, bodies;
  int status = 200;
  Task<Result<net::ClientResponse>> answer(net::ClientRequest q) {
    asked.push_back(q.url);
    bodies.push_back(q.body);
    net::ClientResponse r;
    auto it = pages.find(q.url);
    r.status = it == pages.end() ? 404 : status;
    if (it != pages.end()) r.body = it->second;
    co_return r;
  }
  Exchange exchange() {
    return [this](net::ClientRequest q) { return answer(std::move(q)); };
  }
};

class OidcTest : public testing::Test {
 protected:
  VirtualExecutor ex{7};
  FarEnd far;
  std::string key = *net::generate_key(net::KeyType::kEcdsaP256), rsa = *net::generate_key(net::KeyType::kRsa2048);
  JwtIssuer issuer;
  std::unique_ptr<OidcAuthenticator> oidc;

  void SetUp() override {
    issuer.url = "https://id.example";
    issuer.audiences = {"kube"};
    issuer.username.claim = "sub";
    issuer.username.prefix = "id:";
    issuer.groups.claim = "groups";
    issuer.groups.prefix = "g:";
    far.pages["https://id.example/.well-known/openid-configuration"] = R"({"issuer":"https://id.example","jwks_uri":"https://id.example/keys"})";
    publish({{"k1", key}});
    make();
  }
  void make() { oidc = std::make_unique<OidcAuthenticator>(ex, issuer, far.exchange()); }
  void publish(std::vector<std::pair<std::string, std::string>> keys) {
    Value set = Value::object();
    set["keys"] = Value::array();
    for (auto& [kid, pem] : keys) {
      Value jwk = *json::parse(*net::public_jwk(pem));
      jwk["kid"] = kid;
      jwk["use"] = "sig";
      set["keys"].push_back(std::move(jwk));
    }
    far.pages["https://id.example/keys"] = json::dump(set);
  }
  std::string token(std::string claims, std::string kid = "k1", std::string alg = "ES256", std::string signer = "") {
    std::string all = R"({"iss":"https://id.example","aud":"kube","sub":"jane","exp":)" + std::to_string(ex.now().seconds() + 60) + (claims.empty() ? "" : "," + claims) + "}";
    std::string text = base64url_encode(R"({"alg":")" + alg + R"(","kid":")" + kid + R"("})") + "." + base64url_encode(all);
    return text + "." + base64url_encode(*net::jose_sign(alg, signer.empty() ? key : signer, text));
  }
  TokenAnswer ask(std::string t) { return run_task(ex, oidc->authenticate(std::move(t), {})); }
};

TEST_F(OidcTest, AVerifiedTokenIsTheUserOfItsClaims) {
  TokenAnswer a = ask(token(R"("groups":["dev","ops"],"jti":"77")"));
  ASSERT_TRUE(a.user) << a.error;
  EXPECT_EQ(a.user->name, "id:jane");
  EXPECT_EQ(a.user->groups, (std::vector<std::string>{"g:dev", "g:ops", "system:authenticated"}));
  EXPECT_EQ(a.user->extra.at("authentication.kubernetes.io/credential-id"), (std::vector<std::string>{"JTI=77"}));
  EXPECT_EQ(ask(token(R"("groups":"one")")).user->groups.front(), "g:one");
  EXPECT_EQ(far.asked.size(), 2u) << "the keys are fetched once";
}

TEST_F(OidcTest, KeysAreFetchedAgainWhenATokenNamesOneThatIsNotKnown) {
  ASSERT_TRUE(ask(token("")).user);
  publish({{"k1", key}, {"k2", rsa}});
  ex.run_for(std::chrono::seconds(5));
  TokenAnswer a = ask(token("", "k2", "RS256", rsa));
  ASSERT_TRUE(a.user) << a.error;
  EXPECT_EQ(far.asked.size(), 3u);
  TokenAnswer forged = ask(token("", "k2", "ES256"));
  EXPECT_FALSE(forged.user);
  EXPECT_NE(forged.error.find("failed to verify"), std::string::npos) << forged.error;
}

TEST_F(OidcTest, WhatIsWrongWithATokenIsSaid) {
  auto why = [&](std::string claims) {
    TokenAnswer a = ask(token(std::move(claims)));
    EXPECT_FALSE(a.user);
    return a.error;
  };
  EXPECT_EQ(why(R"("aud":"other")"), "oidc: verify token: oidc: expected audience \"kube\" got \"other\"");
  EXPECT_NE(why(R"("exp":1000)").find("token is expired"), std::string::npos);
  EXPECT_NE(why(R"("groups":7)").find("groups claim"), std::string::npos);
  issuer.claim_rules.resize(1);
  issuer.claim_rules[0].claim = "hd";
  issuer.claim_rules[0].required_value = "acme";
  make();
  EXPECT_EQ(why(""), "oidc: required claim hd not present in ID token");
  EXPECT_EQ(why(R"("hd":"x")"), "oidc: required claim hd value does not match. Got = x, want = acme");
  EXPECT_TRUE(ask(token(R"("hd":"acme")")).user);
  issuer.username.claim = "email";
  issuer.claim_rules.clear();
  make();
  EXPECT_EQ(why(R"("email":"j@x","email_verified":false)"), "oidc: email not verified");
  EXPECT_TRUE(ask("abc.def").error.empty()) << "no JWT: somebody else's";
}

TEST_F(OidcTest, ClaimsBecomeUsersByExpressions) {
  auto config = parse_authentication_config(R"(
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: https://id.example, audiences: [a, kube], audienceMatchPolicy: MatchAny}
  claimMappings:
    username: {expression: 'claims.sub + ":x"'}
    groups: {expression: 'claims.roles.split(",")'}
    uid: {claim: oid}
    extra: [{key: acme.io/team, valueExpression: 'claims.team'}]
  claimValidationRules: [{expression: 'claims.level > 2', message: too low}]
  userValidationRules: [{expression: '!user.username.startsWith("system:")', message: reserved}]
anonymous: {enabled: true, conditions: [{path: /livez}]}
)",
                                            "");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->anonymous_paths, (std::vector<std::string>{"/livez"}));
  issuer = config->issuers[0];
  make();
  TokenAnswer a = ask(token(R"("roles":"r1,r2","oid":"o-7","team":"blue","level":3)"));
  ASSERT_TRUE(a.user) << a.error;
  EXPECT_EQ(a.user->name, "jane:x");
  EXPECT_EQ(a.user->groups, (std::vector<std::string>{"r1", "r2", "system:authenticated"}));
  EXPECT_EQ(a.user->uid, "o-7");
  EXPECT_EQ(a.user->extra.at("acme.io/team"), (std::vector<std::string>{"blue"}));
  EXPECT_NE(ask(token(R"("roles":"r","oid":"o","team":"b","level":1)")).error.find("failed: too low"), std::string::npos);
  EXPECT_NE(ask(token(R"("sub":"system:admin","roles":"r","oid":"o","team":"b","level":5)")).error.find("failed: reserved"), std::string::npos);
}

TEST(AuthenticationConfig, MistakesAreNamedByTheirField) {
  auto why = [](std::string jwt) {
    auto c = parse_authentication_config("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [" + jwt + "]\n", "https://own");
    return c.ok() ? std::string() : c.error().message;
  };
  EXPECT_EQ(why("{issuer: {url: 'http://x'}}"), "jwt[0].issuer.url: Invalid value: \"http://x\": URL scheme must be https");
  EXPECT_EQ(why("{issuer: {url: 'https://x'}}"), "jwt[0].issuer.audiences: Required value: at least one issuer.audiences is required");
  EXPECT_EQ(why("{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub}}}").substr(0, 63), "jwt[0].claimMappings.username.prefix: Required value: prefix is");
  EXPECT_NE(why("{issuer: {url: 'https://own', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}").find("disallowed issuers"), std::string::npos);
  EXPECT_NE(why("{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {expression: claims.email}}}").find("email_verified must be used"), std::string::npos);
  EXPECT_EQ(why("{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}"), "");
}

TEST(TokenWebhookTest, AnswersAreKeptForTheirTime) {
  VirtualExecutor ex{3};
  FarEnd far;
  far.pages["https://hook/"] = R"({"status":{"authenticated":true,"user":{"username":"jane","uid":"7","groups":["dev"],"extra":{"k":["v"]}}}})";
  WebhookEndpoint to;
  to.url = "https://hook/";
  TokenWebhook hook(ex, to, far.exchange(), std::chrono::minutes(2), {"api"});
  TokenAnswer a = run_task(ex, hook.authenticate("secret", {}));
  ASSERT_TRUE(a.user) << a.error;
  EXPECT_EQ(a.user->name, "jane");
  EXPECT_EQ(a.user->groups, (std::vector<std::string>{"dev", "system:authenticated"}));
  Value sent = *json::parse(far.bodies[0]);
  EXPECT_EQ(sent["apiVersion"].as_string(), "authentication.k8s.io/v1");
  EXPECT_EQ(sent["spec"]["token"].as_string(), "secret");
  EXPECT_EQ(sent["spec"]["audiences"].at(0).as_string(), "api");
  run_task(ex, hook.authenticate("secret", {}));
  EXPECT_EQ(far.asked.size(), 1u);
  ex.run_for(std::chrono::minutes(3));
  far.status = 503;  // asked again with pauses, not kept
  a = run_task(ex, hook.authenticate("secret", {}));
  EXPECT_FALSE(a.user);
  EXPECT_EQ(far.asked.size(), 6u);
  EXPECT_EQ(a.error.find("secret"), std::string::npos);
  far.status = 200;
  EXPECT_TRUE(run_task(ex, hook.authenticate("secret", {})).user);
}

class AccessWebhookTest : public testing::Test {
 protected:
  VirtualExecutor ex{3};
  FarEnd far;
  WebhookAuthorizer config;
  User jane;
  Verdict ask(AccessWebhook& w, std::string verb = "get") {
    Attributes a;
    a.user = &jane;
    a.verb = verb;
    a.plural = "pods";
    a.version = "v1";
    a.ns = "default";
    return run_task(ex, w.ask(std::make_shared<const AccessQuestion>(a)));
  }
  AccessWebhook make() {
    WebhookEndpoint to;
    to.url = "https://hook/";
    return AccessWebhook(ex, config, to, far.exchange());
  }
  void SetUp() override { jane.name = "jane"; }
};

TEST_F(AccessWebhookTest, ConsentRefusalAndNoOpinionAreKeptForTheirTimes) {
  AccessWebhook w = make();
  far.pages["https://hook/"] = R"({"status":{"allowed":true,"reason":"because"}})";
  EXPECT_EQ(ask(w).what, Verdict::kAllow);
  Value sent = *json::parse(far.bodies[0]);
  EXPECT_EQ(sent["apiVersion"].as_string(), "authorization.k8s.io/v1");
  EXPECT_EQ(json::dump(std::as_const(sent)["spec"]), R"({"resourceAttributes":{"namespace":"default","verb":"get","version":"v1","resource":"pods"},"user":"jane"})");
  far.pages["https://hook/"] = R"({"status":{"allowed":false,"denied":true,"reason":"no"}})";
  EXPECT_EQ(ask(w).what, Verdict::kAllow) << "kept";
  EXPECT_EQ(ask(w, "list").what, Verdict::kDeny);
  far.pages["https://hook/"] = R"({"status":{"allowed":false}})";
  ex.run_for(std::chrono::seconds(31));
  EXPECT_EQ(ask(w, "list").what, Verdict::kNoOpinion);
  EXPECT_EQ(ask(w).what, Verdict::kAllow) << "consents are kept longer";
}

TEST_F(AccessWebhookTest, AFailureIsWhatThePolicySays) {
  AccessWebhook lenient = make();
  EXPECT_EQ(ask(lenient).what, Verdict::kNoOpinion);
  config.deny_on_failure = true;
  AccessWebhook strict = make();
  EXPECT_EQ(ask(strict).what, Verdict::kDeny);
}

TEST(AuthorizationConfig, OnlyWebhooksMayComeAndGoWhileTheServerRuns) {
  auto types = [](std::vector<AuthorizerType> list) {
    std::vector<AuthorizerConfig> out;
    for (auto t : list) {
      out.emplace_back();
      out.back().type = t;
    }
    return out;
  };
  using T = AuthorizerType;
  EXPECT_TRUE(keeps_authorizers(types({T::kNode, T::kRbac}), types({T::kWebhook, T::kRbac, T::kNode})).ok());
  EXPECT_TRUE(keeps_authorizers(types({T::kWebhook, T::kRbac}), types({T::kRbac})).ok());
  EXPECT_FALSE(keeps_authorizers(types({T::kNode, T::kRbac}), types({T::kWebhook, T::kNode})).ok());
}

// Says yes to one token.
struct OneToken final : TokenAuthenticator {
  explicit OneToken(std::string t) : token(std::move(t)) {}
  std::string token;
  Task<TokenAnswer> authenticate(std::string asked, std::vector<std::string>) override {
    TokenAnswer a;
    if (asked == token) a.user = make_user("jane", {});
    co_return a;
  }
};

TEST(Issuers, AreReplacedForTheNextTokenAndOthersStay) {
  VirtualExecutor ex{1};
  auto store = store::make_memory_store(ex);
  Core core(ex, *store);
  Authenticator a(core, nullptr);
  auto issuers = [](std::string token) {
    Authenticator::Issuers list;
    list.push_back(std::make_unique<OneToken>(std::move(token)));
    return list;
  };
  a.set_issuers(issuers("first"));
  a.add(std::make_unique<OneToken>("webhook"));
  auto knows = [&](const char* token) { return run_task(ex, a.authenticate_token(token, {}, nullptr)).ok(); };
  EXPECT_TRUE(knows("first") && knows("webhook"));
  a.set_issuers(issuers("second"));
  EXPECT_TRUE(knows("second") && knows("webhook"));
  EXPECT_FALSE(knows("first"));
}

TEST(AuthorizationConfig, TheOrderAndTheConditionsAreTheFiles) {
  auto c = parse_authorization_config(R"(
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: Webhook, name: w, webhook: {timeout: 3s, authorizedTTL: 1m, unauthorizedTTL: 10s, subjectAccessReviewVersion: v1, matchConditionSubjectAccessReviewVersion: v1,
   failurePolicy: Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: /k}, matchConditions: [{expression: "request.resourceAttributes.namespace == 'kube-system'"}]}}
- {type: RBAC, name: r}
)");
  ASSERT_TRUE(c.ok()) << c.error().message;
  ASSERT_EQ(c->size(), 2u);
  EXPECT_EQ((*c)[0].type, AuthorizerType::kWebhook);
  EXPECT_EQ((*c)[0].webhook.keep_allowed, Duration(std::chrono::minutes(1)));
  EXPECT_TRUE((*c)[0].webhook.deny_on_failure);
  EXPECT_EQ((*c)[1].type, AuthorizerType::kRbac);
  auto bad = parse_authorization_config("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: [{type: RBAC, name: a}, {type: RBAC, name: b}]\n");
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message, "authorizers[1].type: Duplicate value: \"RBAC\"");
  VirtualExecutor ex{1};
  FarEnd far;
  WebhookEndpoint to;
  to.url = "https://hook/";
  AccessWebhook w(ex, (*c)[0].webhook, to, far.exchange());
  User u;
  u.name = "jane";
  Attributes a;
  a.user = &u;
  a.verb = "get";
  a.plural = "pods";
  a.ns = "default";
  EXPECT_EQ(run_task(ex, w.ask(std::make_shared<const AccessQuestion>(a))).what, Verdict::kNoOpinion);
  EXPECT_TRUE(far.asked.empty()) << "the condition keeps it from being asked";
}

}  // namespace
}  // namespace caravel::apiserver
