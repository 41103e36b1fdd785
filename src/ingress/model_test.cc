// From Ingresses, Services, endpoints and Secrets to servers, locations and upstreams.
#include "ingress/model.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/yaml.h"
#include "net/x509.h"

namespace caravel::ingress {
namespace {

using Names = std::vector<std::string>;

void add(Objects& to, std::string_view text) {
  auto v = yaml::parse(text);
  ASSERT_TRUE(v.ok()) << text;
  to.push_back(std::make_shared<const json::Value>(*v));
}

Inputs world() {
  Inputs in;
  add(in.classes, "{metadata: {name: nginx}, spec: {controller: k8s.io/ingress-nginx}}");
  for (auto name : {"web", "api"}) {
    add(in.services, std::string("{metadata: {name: ") + name + ", namespace: demo}, spec: {clusterIP: 10.100.0.1, ports: [{name: http, port: 80, targetPort: 8080}, {name: metrics, port: 9090}]}}");
    add(in.slices, std::string("{metadata: {name: ") + name + "-1, namespace: demo, labels: {kubernetes.io/service-name: " + name + "}}, ports: [{name: metrics, port: 9090}, {name: http, port: 8080}], endpoints: [{addresses: [10.0.0.2], conditions: {ready: true}}, {addresses: [10.0.0.1], conditions: {}}]}");
  }
  return in;
}

constexpr char kWeb[] = "{service: {name: web, port: {number: 80}}}", kApi[] = "{service: {name: api, port: {number: 80}}}";

std::string path(const std::string& p, const std::string& type, const std::string& backend = kWeb) { return "{path: '" + p + "', pathType: " + type + ", backend: " + backend + "}"; }
std::string rule(const std::string& host, const std::string& paths) { return "{" + (host.empty() ? "" : "host: '" + host + "', ") + "http: {paths: [" + paths + "]}}"; }

// `spec` beside the class; `minute` is the age: smaller is older.
void ingress(Inputs& in, const std::string& name, const std::string& spec, int minute = 0, const std::string& annotations = "", const std::string& ns = "demo") {
  std::string at = "2026-01-01T00:" + std::to_string(10 + minute) + ":00Z";
  add(in.ingresses, "{metadata: {name: " + name + ", namespace: " + ns + ", creationTimestamp: '" + at + "', annotations: {" + annotations + "}}, spec: {ingressClassName: nginx, " + spec + "}}");
}

const Server& server(const Model& m, const std::string& host) {
  for (auto& s : m.servers)
    if (s.host == host) return s;
  ADD_FAILURE() << "no server " << host;
  return m.servers.front();
}
bool has_server(const Model& m, const std::string& host) {
  for (auto& s : m.servers)
    if (s.host == host) return true;
  return false;
}

// "=/a web" Exact, "/a web" Prefix, "~/a web" ImplementationSpecific; in the order of matching.
Names locations(const Model& m, const std::string& host) {
  Names out;
  for (auto& l : server(m, host).locations) out.push_back((l.exact ? "=" : l.plain ? "~"
                                                                                   : "") +
                                                          l.path + " " + l.service);
  return out;
}
Names addresses(const Model& m, const std::string& upstream) {
  for (auto& u : m.upstreams)
    if (u.name == upstream) return u.servers;
  return {"no such upstream"};
}
std::string problems(const Model& m) {
  std::string out;
  for (auto& p : m.problems) out += p.ingress.text() + ": " + p.message + "\n";
  return out;
}

TEST(Class, IsNamedByTheIngressOrIsTheDefault) {
  Inputs in = world();
  add(in.classes, "{metadata: {name: alb}, spec: {controller: ingress.k8s.aws/alb}}");
  auto ours = [&](std::string_view text) { return is_ours(*yaml::parse(text), in); };
  EXPECT_TRUE(ours("{spec: {ingressClassName: nginx}}"));
  EXPECT_FALSE(ours("{spec: {ingressClassName: alb}}"));
  EXPECT_FALSE(ours("{spec: {ingressClassName: nowhere}}"));
  EXPECT_TRUE(ours("{metadata: {annotations: {kubernetes.io/ingress.class: nginx}}}"));
  EXPECT_FALSE(ours("{metadata: {annotations: {kubernetes.io/ingress.class: alb}}}"));
  EXPECT_FALSE(ours("{spec: {}}")) << "no class, and none is the default";
  add(in.classes, "{metadata: {name: main, annotations: {ingressclass.kubernetes.io/is-default-class: 'true'}}, spec: {controller: k8s.io/ingress-nginx}}");
  EXPECT_TRUE(ours("{spec: {}}"));
  EXPECT_FALSE(ours("{spec: {ingressClassName: alb}}"));
}

TEST(Class, IngressesOfOthersLeaveNoTrace) {
  Inputs in = world();
  add(in.ingresses, "{metadata: {name: i, namespace: demo}, spec: {ingressClassName: alb, rules: [" + rule("a.example", path("/", "Prefix")) + "]}}");
  Model m = build_model(in);
  EXPECT_FALSE(has_server(m, "a.example"));
  EXPECT_TRUE(m.ours.empty());
  EXPECT_TRUE(has_server(m, "_")) << "the catch-all is always there";
}

TEST(Class, IngressesThatAreBeingDeletedServeNoMore) {
  Inputs in = world();
  add(in.ingresses, "{metadata: {name: i, namespace: demo, deletionTimestamp: '2026-01-01T00:00:00Z'}, spec: {ingressClassName: nginx, rules: [" + rule("a.example", path("/", "Prefix")) + "]}}");
  EXPECT_FALSE(has_server(build_model(in), "a.example"));
}

TEST(Locations, LongerPathsFirstAndExactBeforePrefix) {
  Inputs in = world();
  ingress(in, "i", "rules: [" + rule("a.example", path("/", "Prefix") + "," + path("/app", "Prefix") + "," + path("/app", "Exact", kApi) + "," + path("/app/long", "Prefix") + "," + path("/appl", "ImplementationSpecific")) + "]");
  EXPECT_EQ(locations(build_model(in), "a.example"), (Names{"/app/long web", "~/appl web", "=/app api", "/app web", "/ web"}));
}

TEST(Locations, TheOldestIngressHasAHostAndPath) {
  Inputs in = world();
  ingress(in, "young", "rules: [" + rule("a.example", path("/", "Prefix", kApi) + "," + path("/young", "Prefix", kApi)) + "]", 2);
  ingress(in, "old", "rules: [" + rule("A.Example", path("/", "Prefix")) + "]", 1);
  EXPECT_EQ(locations(build_model(in), "a.example"), (Names{"/young api", "/ web"})) << "and both share the host, whatever its case";
}

TEST(Locations, APrefixWithAndWithoutASlashAtItsEndIsOne) {
  Inputs in = world();
  ingress(in, "old", "rules: [" + rule("a.example", path("/app", "Prefix")) + "]", 1);
  ingress(in, "young", "rules: [" + rule("a.example", path("/app/", "Prefix", kApi) + "," + path("/app/", "ImplementationSpecific", kApi) + "," + path("/app/", "Exact", kApi)) + "]", 2);
  EXPECT_EQ(locations(build_model(in), "a.example"), (Names{"=/app/ api", "/app web"})) << "nginx refuses a location that is there twice";
}

TEST(DefaultBackend, TakesWhatNoRuleMatches) {
  Inputs in = world();
  ingress(in, "i", std::string("defaultBackend: ") + kApi + ", rules: [" + rule("a.example", path("/web", "Prefix")) + "," + rule("b.example", path("/", "Prefix")) + "]");
  Model m = build_model(in);
  EXPECT_EQ(locations(m, "_"), Names{"/ api"});
  EXPECT_EQ(locations(m, "a.example"), (Names{"/web web", "/ api"}));
  EXPECT_EQ(locations(m, "b.example"), Names{"/ web"}) << "a path of its own wins";
}

TEST(Backends, AreFoundByNumberOrNameOfThePort) {
  Inputs in = world();
  ingress(in, "i", "rules: [" + rule("", path("/n", "Prefix", "{service: {name: web, port: {number: 80}}}") + "," + path("/m", "Prefix", "{service: {name: web, port: {name: metrics}}}")) + "]");
  Model m = build_model(in);
  EXPECT_EQ(addresses(m, "demo-web-80"), (Names{"10.0.0.1:8080", "10.0.0.2:8080"})) << "a condition that is not told is ready";
  EXPECT_EQ(addresses(m, "demo-web-9090"), (Names{"10.0.0.1:9090", "10.0.0.2:9090"}));
}

TEST(Backends, ThatAreAbsentAreReportedAndTheRestGoesOn) {
  Inputs in = world();
  ingress(in, "i", "rules: [" + rule("a.example", path("/no", "Prefix", "{service: {name: nobody, port: {number: 80}}}") + "," + path("/port", "Prefix", "{service: {name: web, port: {number: 81}}}") + "," + path("/", "Prefix")) + "]");
  Model m = build_model(in);
  EXPECT_EQ(locations(m, "a.example").size(), 3u) << "a location without a backend answers 503";
  for (auto& l : server(m, "a.example").locations) EXPECT_EQ(l.upstream, l.path == "/" ? "demo-web-80" : "");
  EXPECT_NE(problems(m).find("demo/i: Service \"demo/nobody\" does not exist"), std::string::npos);
  EXPECT_NE(problems(m).find("Service \"demo/web\" has no port"), std::string::npos);
}

TEST(Backends, AreTheReadyEndpointsElseThoseThatStillServeWhileTheyEnd) {
  auto with = [](const std::string& endpoints) {
    Inputs in = world();
    in.slices.clear();
    add(in.slices, "{metadata: {name: s, namespace: demo, labels: {kubernetes.io/service-name: web}}, ports: [{name: http, port: 8080}], endpoints: [" + endpoints + "]}");
    ingress(in, "i", "rules: [" + rule("", path("/", "Prefix")) + "]");
    return addresses(build_model(in), "demo-web-80");
  };
  const std::string ready = "{addresses: [10.0.0.1], conditions: {ready: true}}", not_ready = "{addresses: [10.0.0.2], conditions: {ready: false}}", ending = "{addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}}";
  EXPECT_EQ(with(ready + "," + not_ready + "," + ending), Names{"10.0.0.1:8080"});
  EXPECT_EQ(with(not_ready + "," + ending), Names{"10.0.0.3:8080"});
  EXPECT_EQ(with(not_ready), Names{});
  EXPECT_EQ(with("{addresses: ['fd00::1'], conditions: {ready: true}}"), Names{"[fd00::1]:8080"});
}

TEST(Backends, MayBeTheServicesAddressItself) {
  Inputs in = world();
  add(in.services, "{metadata: {name: headless, namespace: demo}, spec: {clusterIP: None, ports: [{name: http, port: 80}]}}");
  add(in.services, "{metadata: {name: six, namespace: demo}, spec: {clusterIP: 'fd00::9', ports: [{name: http, port: 80}]}}");
  ingress(in, "i", "rules: [" + rule("", path("/", "Prefix") + "," + path("/h", "Prefix", "{service: {name: headless, port: {number: 80}}}") + "," + path("/6", "Prefix", "{service: {name: six, port: {number: 80}}}")) + "]", 0, "nginx.ingress.kubernetes.io/service-upstream: 'true'");
  Model m = build_model(in);
  EXPECT_EQ(addresses(m, "demo-web-80"), Names{"10.100.0.1:80"});
  EXPECT_EQ(addresses(m, "demo-headless-80"), Names{}) << "\"None\" is no address";
  EXPECT_EQ(addresses(m, "demo-six-80"), Names{"[fd00::9]:80"});
}

TEST(Backends, OfTwoNamespacesNeverMix) {
  Inputs in = world();
  add(in.services, "{metadata: {name: b-c, namespace: a}, spec: {ports: [{port: 80}]}}");
  add(in.services, "{metadata: {name: c, namespace: a-b}, spec: {ports: [{port: 80}]}}");
  add(in.slices, "{metadata: {name: s, namespace: a, labels: {kubernetes.io/service-name: b-c}}, ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.1]}]}");
  add(in.slices, "{metadata: {name: s, namespace: a-b, labels: {kubernetes.io/service-name: c}}, ports: [{port: 8080}], endpoints: [{addresses: [10.0.0.2]}]}");
  ingress(in, "one", "rules: [" + rule("one.example", path("/", "Prefix", "{service: {name: b-c, port: {number: 80}}}")) + "]", 1, "", "a");
  ingress(in, "two", "rules: [" + rule("two.example", path("/", "Prefix", "{service: {name: c, port: {number: 80}}}")) + "]", 2, "", "a-b");
  Model m = build_model(in);
  EXPECT_EQ(addresses(m, server(m, "one.example").locations.at(0).upstream), Names{"10.0.0.1:8080"});
  EXPECT_EQ(addresses(m, server(m, "two.example").locations.at(0).upstream), Names{"10.0.0.2:8080"});
}

class Tls : public testing::Test {
 protected:
  // A certificate and its key as a Secret.
  void secret(const std::string& name, const std::string& ns = "demo", bool broken = false) {
    std::string key = *net::generate_key(net::KeyType::kEcdsaP256);
    net::CertificateSpec spec;
    spec.names.common_name = name;
    spec.not_before = Time::from_seconds(1'800'000'000);
    spec.not_after = Time::from_seconds(1'900'000'000);
    std::string certificate = *net::make_certificate(spec, key, "", "");
    certificates_[name] = certificate;
    add(in_.secrets, "{metadata: {name: " + name + ", namespace: " + ns + "}, type: kubernetes.io/tls, data: {tls.crt: " + base64_encode(broken ? "no certificate" : certificate) + ", tls.key: " + base64_encode(key) + "}}");
  }
  static std::string tls(const std::string& host, const std::string& name) { return "tls: [{hosts: ['" + host + "'], secretName: " + name + "}], rules: [" + rule(host, path("/", "Prefix")) + "]"; }

  Inputs in_ = world();
  std::map<std::string, std::string> certificates_;
};

TEST_F(Tls, AHostHasTheCertificateOfItsSecret) {
  secret("cert");
  ingress(in_, "i", tls("a.example", "cert"));
  Model m = build_model(in_);
  EXPECT_TRUE(server(m, "a.example").tls);
  EXPECT_EQ(server(m, "a.example").certificate, certificates_["cert"]);
  EXPECT_EQ(server(m, "a.example").secret, "demo/cert");
}

TEST_F(Tls, TheDefaultCertificateServesWhileASecretIsMissingBrokenOrAnothersKey) {
  secret("broken", "demo", true);
  secret("elsewhere", "other");
  secret("default", "ingress");
  in_.default_ssl_secret = "ingress/default";
  for (auto name : {"missing", "broken", "elsewhere"}) ingress(in_, name, tls(std::string(name) + ".example", name));
  Model m = build_model(in_);
  EXPECT_EQ(m.default_certificate, certificates_["default"]);
  for (auto name : {"missing", "broken", "elsewhere"}) {
    EXPECT_TRUE(server(m, std::string(name) + ".example").tls) << name;
    EXPECT_EQ(server(m, std::string(name) + ".example").certificate, "") << name;
  }
}

TEST_F(Tls, TheOldestIngressOfAHostOwnsItsCertificate) {
  secret("first");
  secret("second");
  ingress(in_, "young", tls("a.example", "second"), 2);
  ingress(in_, "old", tls("a.example", "first"), 1);
  EXPECT_EQ(server(build_model(in_), "a.example").secret, "demo/first");
}

TEST_F(Tls, AnIngressWithoutARuleForAHostCannotGiveItACertificate) {
  secret("theirs");
  ingress(in_, "victim", "rules: [" + rule("a.example", path("/", "Prefix")) + "]", 2);
  ingress(in_, "thief", "tls: [{hosts: [a.example], secretName: theirs}], rules: [" + rule("b.example", path("/", "Prefix")) + "]", 1);
  Model m = build_model(in_);
  EXPECT_FALSE(server(m, "a.example").tls);
  EXPECT_EQ(server(m, "a.example").certificate, "");
}

TEST(Refusals, OfOneIngressLeaveTheOthersAlone) {
  Inputs in = world();
  ingress(in, "bad", "rules: [" + rule("bad.example", path("/", "Prefix")) + "]", 1, "nginx.ingress.kubernetes.io/proxy-body-size: '1m; return 200'");
  ingress(in, "host", "rules: [" + rule("x;y", path("/", "Prefix")) + "]", 2);
  ingress(in, "path", "rules: [" + rule("p.example", path("/a\"b", "Prefix") + "," + path("/ok", "Prefix")) + "]", 3);
  ingress(in, "service", "rules: [" + rule("s.example", path("/", "Prefix", "{service: {name: 'x\"; return 200 \"', port: {number: 80}}}")) + "]", 4);
  ingress(in, "good", "rules: [" + rule("good.example", path("/", "Prefix")) + "]", 5);
  Model m = build_model(in);
  EXPECT_FALSE(has_server(m, "bad.example"));
  EXPECT_FALSE(has_server(m, "x;y"));
  EXPECT_EQ(locations(m, "p.example"), Names{"/ok web"});
  EXPECT_EQ(locations(m, "s.example"), Names{});
  EXPECT_EQ(locations(m, "good.example"), Names{"/ web"});
  for (auto name : {"bad", "host", "path", "service"}) EXPECT_NE(problems(m).find(std::string("demo/") + name + ": "), std::string::npos) << name;
  EXPECT_EQ(problems(m).find("demo/good"), std::string::npos);
}

TEST(Regex, OfOnePathMakesThemAllExpressionsButTheExactOnes) {
  Inputs in = world();
  ingress(in, "plain", "rules: [" + rule("a.example", path("/plain", "Prefix") + "," + path("/exact", "Exact")) + "," + rule("b.example", path("/plain", "Prefix")) + "]", 1);
  ingress(in, "regex", "rules: [" + rule("a.example", path("/x(/|$)(.*)", "ImplementationSpecific")) + "]", 2, "nginx.ingress.kubernetes.io/rewrite-target: /$2");
  Model m = build_model(in);
  for (auto& l : server(m, "a.example").locations) EXPECT_EQ(l.options.use_regex, !l.exact) << l.path;
  EXPECT_FALSE(server(m, "b.example").locations.at(0).options.use_regex) << "another host";
}

}  // namespace
}  // namespace caravel::ingress
