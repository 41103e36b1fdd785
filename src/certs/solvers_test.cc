// Which solver answers a challenge, and the objects that an HTTP-01 solver is made of.
#include "certs/solvers.h"

#include <gtest/gtest.h>

namespace caravel::certs {
namespace {

// An issuer's solvers, each http01 (unless "dns01" is given) with its class as its name.
json::Value issuer_with(std::initializer_list<std::pair<const char*, const char*>> named_selectors) {
  json::Value issuer = json::Value::object();
  for (auto& [name, selector] : named_selectors) {
    json::Value s = json::Value::object();
    bool dns = std::string_view(name).starts_with("dns");
    s[dns ? "dns01" : "http01"]["ingress"]["class"] = name;
    if (*selector) s["selector"] = *json::parse(selector);
    issuer["spec"]["acme"]["solvers"].push_back(std::move(s));
  }
  return issuer;
}

json::Value authorization_for(const char* name, bool wildcard = false) {
  json::Value a = json::Value::object();
  a["identifier"] = name;
  a["wildcard"] = wildcard;
  a["challenges"] = *json::parse(wildcard ? R"([{"type": "dns-01", "token": "d"}])" : R"([{"type": "http-01", "token": "h"}, {"type": "dns-01", "token": "d"}])");
  return a;
}

std::string chosen(const json::Value& issuer, const json::Value& authorization, const char* labels = "{}") {
  json::Value order = json::Value::object();
  order["metadata"]["labels"] = *json::parse(labels);
  auto r = choose_solver(issuer, order, authorization);
  if (!r.ok()) return r.error().message;
  const json::Value& s = r->solver;
  return (s["http01"].is_object() ? s["http01"] : s["dns01"]).path({"ingress", "class"}).as_string();
}

TEST(ChooseSolver, ExactNamesBeatZonesBeatLabelsBeatNothing) {
  json::Value issuer = issuer_with({{"any", ""},
                                    {"labels", R"({"matchLabels": {"team": "a"}})"},
                                    {"zone", R"({"dnsZones": ["example.com"]})"},
                                    {"name", R"({"dnsNames": ["shop.example.com"]})"}});
  const char* team = R"({"team": "a"})";
  EXPECT_EQ(chosen(issuer, authorization_for("shop.example.com"), team), "name");
  EXPECT_EQ(chosen(issuer, authorization_for("api.example.com"), team), "zone");
  EXPECT_EQ(chosen(issuer, authorization_for("example.org"), team), "labels");
  EXPECT_EQ(chosen(issuer, authorization_for("example.org")), "any");
}

TEST(ChooseSolver, TheMostSpecificZoneWins) {
  json::Value issuer = issuer_with({{"wide", R"({"dnsZones": ["example.com"]})"}, {"narrow", R"({"dnsZones": ["dev.example.com", "org"]})"}});
  EXPECT_EQ(chosen(issuer, authorization_for("a.dev.example.com")), "narrow");
  EXPECT_EQ(chosen(issuer, authorization_for("dev.example.com")), "narrow") << "a zone holds its own name";
  EXPECT_EQ(chosen(issuer, authorization_for("notdev.example.com")), "wide");
  EXPECT_EQ(chosen(issuer, authorization_for("notexample.com")), "no configured challenge solvers can be used for this challenge: domain \"notexample.com\"");
}

TEST(ChooseSolver, AmongEqualsMoreLabelsWinThenTheFirst) {
  json::Value issuer = issuer_with({{"first", R"({"dnsZones": ["example.com"]})"},
                                    {"second", R"({"dnsZones": ["example.com"]})"},
                                    {"one", R"({"dnsZones": ["example.com"], "matchLabels": {"team": "a"}})"},
                                    {"two", R"({"dnsZones": ["example.com"], "matchLabels": {"team": "a", "env": "dev"}})"}});
  EXPECT_EQ(chosen(issuer, authorization_for("example.com")), "first");
  EXPECT_EQ(chosen(issuer, authorization_for("example.com"), R"({"team": "a"})"), "one");
  EXPECT_EQ(chosen(issuer, authorization_for("example.com"), R"({"team": "a", "env": "dev"})"), "two");
}

TEST(ChooseSolver, EveryPartOfASelectorMustMatch) {
  json::Value issuer = issuer_with({{"both", R"({"dnsNames": ["a.example.com"], "matchLabels": {"team": "a"}})"}, {"any", ""}});
  EXPECT_EQ(chosen(issuer, authorization_for("a.example.com"), R"({"team": "b"})"), "any");
  EXPECT_EQ(chosen(issuer, authorization_for("a.example.com"), R"({"team": "a"})"), "both");
}

TEST(ChooseSolver, AWildcardIsMatchedByItsOwnNameAndNeedsDns) {
  json::Value issuer = issuer_with({{"http", ""}, {"dns-any", ""}, {"dns-star", R"({"dnsNames": ["*.example.com"]})"}, {"dns-zone", R"({"dnsZones": ["example.org"]})"}, {"dns-bare", R"({"dnsNames": ["example.com"]})"}});
  EXPECT_EQ(chosen(issuer, authorization_for("example.com", true)), "dns-star");
  EXPECT_EQ(chosen(issuer, authorization_for("example.com")), "dns-bare");
  EXPECT_EQ(chosen(issuer, authorization_for("example.org", true)), "dns-zone");
  EXPECT_EQ(chosen(issuer, authorization_for("example.net", true)), "dns-any");
  EXPECT_EQ(chosen(issuer_with({{"http", ""}}), authorization_for("example.net", true)),
            "no configured challenge solvers can be used for this challenge: domain \"*.example.net\"");
}

TEST(ChooseSolver, TakesTheChallengeOfTheSolversKind) {
  auto r = choose_solver(issuer_with({{"dns", ""}}), json::Value(), authorization_for("example.com"));
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(std::as_const(r->challenge)["token"].as_string(), "d");
}

json::Value http_challenge(const char* ingress = R"({"ingressClassName": "nginx"})") {
  json::Value c = *json::parse(R"({"apiVersion": "acme.cert-manager.io/v1", "kind": "Challenge", "metadata": {"name": "c", "namespace": "ns", "uid": "c1"},
      "spec": {"dnsName": "shop.example.com", "token": "tok", "key": "tok.print"}})");
  c["spec"]["solver"]["http01"]["ingress"] = *json::parse(ingress);
  return c;
}

TEST(HttpSolver, IngressLeadsToServiceLeadsToPod) {
  json::Value c = http_challenge();
  Settings settings;
  const json::Value pod = solver_pod(c, settings), service = solver_service(c), ingress = solver_ingress(c);
  for (auto* o : {&pod, &service, &ingress}) {
    EXPECT_EQ(kube::namespace_of(*o), "ns");
    EXPECT_TRUE(kube::is_owned_by(*o, "c1"));
    EXPECT_EQ(kube::label(*o, "acme.cert-manager.io/http01-solver"), "true");
  }
  const json::Value& rule = ingress.path({"spec", "rules"}).at(0);
  EXPECT_EQ(rule["host"].as_string(), "shop.example.com");
  const json::Value& path = rule["http"]["paths"].at(0);
  EXPECT_EQ(path["path"].as_string(), "/.well-known/acme-challenge/tok");
  EXPECT_EQ(path["pathType"].as_string(), "Exact");
  const json::Value& backend = path["backend"]["service"];
  EXPECT_EQ(backend["name"].as_string(), kube::name_of(service));
  const json::Value& port = service["spec"]["ports"].at(0);
  EXPECT_EQ(backend["port"]["number"], port["port"]);
  EXPECT_EQ(service["spec"]["selector"], pod["metadata"]["labels"]);
  const json::Value& container = pod["spec"]["containers"].at(0);
  EXPECT_EQ(port["targetPort"], container["ports"].at(0)["containerPort"]);
  EXPECT_EQ(container["image"].as_string(), settings.solver_image);
  EXPECT_EQ(container["args"], json::Value::array({"acmesolver", "--listen-port=8089", "--domain=shop.example.com", "--token=tok", "--key=tok.print"}));
}

TEST(HttpSolver, TwoChallengesShareNothing) {
  json::Value a = http_challenge(), b = http_challenge();
  b["metadata"]["uid"] = "c2";
  b["spec"]["token"] = "other";
  EXPECT_NE(kube::name_of(solver_pod(a, {})), kube::name_of(solver_pod(b, {})));
  EXPECT_NE(solver_service(a).path({"spec", "selector"}), solver_service(b).path({"spec", "selector"}));
}

TEST(HttpSolver, TheClassIsAFieldOrTheOldAnnotation) {
  const json::Value by_name = solver_ingress(http_challenge());
  EXPECT_EQ(by_name["spec"]["ingressClassName"].as_string(), "nginx");
  EXPECT_EQ(kube::annotation(by_name, "kubernetes.io/ingress.class"), "");
  const json::Value by_class = solver_ingress(http_challenge(R"({"class": "nginx"})"));
  EXPECT_FALSE(by_class["spec"].contains("ingressClassName"));
  EXPECT_EQ(kube::annotation(by_class, "kubernetes.io/ingress.class"), "nginx");
}

TEST(HttpSolver, TheServiceIsANodePortUnlessAskedOtherwise) {
  EXPECT_EQ(solver_service(http_challenge()).path({"spec", "type"}).as_string(), "NodePort");
  EXPECT_EQ(solver_service(http_challenge(R"({"serviceType": "ClusterIP"})")).path({"spec", "type"}).as_string(), "ClusterIP");
}

TEST(HttpSolver, TemplatesAddToPodAndIngress) {
  json::Value c = http_challenge(R"({"podTemplate": {"metadata": {"labels": {"a": "1"}}, "spec": {"nodeSelector": {"zone": "b"}}},
                                     "ingressTemplate": {"metadata": {"annotations": {"note": "2"}}}})");
  const json::Value pod = solver_pod(c, {}), ingress = solver_ingress(c);
  EXPECT_EQ(kube::label(pod, "a"), "1");
  EXPECT_EQ(pod.path({"spec", "nodeSelector", "zone"}).as_string(), "b");
  EXPECT_EQ(pod["spec"]["containers"].size(), 1u);
  EXPECT_EQ(kube::annotation(ingress, "note"), "2");
}

}  // namespace
}  // namespace caravel::certs
