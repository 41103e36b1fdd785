// The text that nginx reads.
#include "ingress/nginx_config.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace caravel::ingress {
namespace {

Location location(const std::string& path, const std::string& upstream = "demo-web-80") {
  Location l;
  l.path = path;
  l.upstream = upstream;
  l.ingress = "demo/i";
  l.service = "web";
  return l;
}

Model model(const std::string& host, std::vector<Location> locations) {
  Model m;
  m.upstreams = {{"demo-empty-80", {}}, {"demo-web-80", {"10.0.0.1:8080", "10.0.0.2:8080"}}};
  Server catch_all, s;
  catch_all.host = "_";
  s.host = host;
  s.locations = std::move(locations);
  if (host != "_") m.servers.push_back(catch_all);
  m.servers.push_back(s);
  return m;
}

std::string config(const Model& m, const std::map<std::string, std::string>& settings = {}) { return render(m, {}, settings).config; }

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }
size_t times(const std::string& text, std::string_view part) {
  size_t n = 0;
  for (size_t i = text.find(part); i != text.npos; i = text.find(part, i + 1)) ++n;
  return n;
}
// The body of a location of the host a.example.
std::string body(const Model& m, const std::string& match) {
  std::string c = config(m);
  size_t at = c.find("        location " + match + " {\n", c.find("server_name a.example;"));
  return at == c.npos ? "no location " + match : c.substr(at, c.find("        }\n", at) - at);
}

TEST(NginxConfig, IsTheSameForTheSameModel) {
  Model m = model("a.example", {location("/")});
  EXPECT_EQ(config(m), config(m));
  Model other = m;
  other.upstreams[1].servers.pop_back();
  EXPECT_NE(config(m), config(other));
}

TEST(NginxConfig, APrefixMatchesBySegmentsAnExactPathOnlyItself) {
  Location exact = location("/only");
  exact.exact = true;
  std::string c = config(model("a.example", {exact, location("/app"), location("/slash/")}));
  EXPECT_TRUE(has(c, "location = \"/only\" {"));
  EXPECT_FALSE(has(c, "location \"/only"));
  EXPECT_TRUE(has(c, "location = \"/app\" {"));
  EXPECT_TRUE(has(c, "location \"/app/\" {"));
  EXPECT_FALSE(has(c, "location \"/app\" {")) << "it would match /apple";
  EXPECT_TRUE(has(c, "location = \"/slash\" {")) << "/slash/ is /slash, says Kubernetes";
}

TEST(NginxConfig, AnImplementationSpecificPathMatchesByCharacters) {
  Location l = location("/app");
  l.plain = true;
  std::string c = config(model("a.example", {l}));
  EXPECT_TRUE(has(c, "location \"/app\" {"));
  EXPECT_FALSE(has(c, "location = \"/app\""));
}

TEST(NginxConfig, AnExactPathTakesItsPlaceFromAPrefix) {
  Location exact = location("/app", "demo-empty-80");
  exact.exact = true;
  for (auto& m : {model("a.example", {exact, location("/app")}), model("a.example", {location("/app/"), exact})}) {
    EXPECT_EQ(times(config(m), "location = \"/app\" {"), 1u);
    EXPECT_TRUE(has(body(m, "= \"/app\""), "return 503;"));
    EXPECT_TRUE(has(body(m, "\"/app/\""), "proxy_pass http://demo-web-80;"));
  }
}

TEST(NginxConfig, TheHealthPathOfTheCatchAllIsTheControllers) {
  Location exact = location("/healthz");
  exact.exact = true;
  std::string c = config(model("_", {exact, location("/healthz")}));
  EXPECT_EQ(times(c, "location = \"/healthz\" {"), 1u) << "twice, and nginx refuses all of it";
  EXPECT_TRUE(has(c, "location = \"/healthz\" {\n            access_log off; return 200;"));
}

TEST(NginxConfig, WhatNothingMatchesIsNotFound) {
  EXPECT_TRUE(has(body(model("a.example", {location("/app")}), "/"), "return 404;"));
  EXPECT_FALSE(has(body(model("a.example", {location("/")}), "/"), "return 404;"));
}

TEST(NginxConfig, AWildcardStandsForOneLabel) {
  std::string c = config(model("*.apps.example", {location("/")}));
  EXPECT_TRUE(has(c, "server_name ~^[\\w-]+\\.apps\\.example$;"));
  EXPECT_FALSE(has(c, "*.apps"));
}

TEST(NginxConfig, RequestsToNobodyAreAnswered503) {
  EXPECT_TRUE(has(body(model("a.example", {location("/", "demo-empty-80")}), "/"), "return 503;"));
  EXPECT_TRUE(has(body(model("a.example", {location("/", "")}), "/"), "return 503;"));
  EXPECT_FALSE(has(config(model("a.example", {location("/")})), "upstream demo-empty-80")) << "an empty upstream is an error to nginx";
}

TEST(NginxConfig, RedirectsToHttpsWithTlsOrWhenForced) {
  const std::string redirect = "return 308 https://$best_http_host$request_uri;";
  Model m = model("a.example", {location("/")});
  EXPECT_FALSE(has(body(m, "/"), redirect)) << "a host without TLS";
  m.servers[1].tls = true;
  EXPECT_TRUE(has(body(m, "/"), redirect));
  m.servers[1].locations[0].options.ssl_redirect = false;
  EXPECT_FALSE(has(body(m, "/"), redirect));
  m.servers[1].tls = false;
  m.servers[1].locations[0].options.force_ssl_redirect = true;
  EXPECT_TRUE(has(body(m, "/"), redirect));
}

TEST(NginxConfig, CertificatesAreFilesNamedByTheirContent) {
  Model m = model("a.example", {location("/")});
  EXPECT_FALSE(has(config(m), "listen 443")) << "no certificate, no TLS";
  m.default_certificate = "DEFAULT";
  m.default_key = "KEY";
  m.servers[1].certificate = "CERT\n";
  m.servers[1].key = "KEY2";
  NginxFiles files = render(m, {}, {});
  EXPECT_EQ(times(files.config, "listen 443 ssl"), 2u);
  std::vector<std::string> contents;
  for (auto& [name, content] : files.files) {
    contents.push_back(content);
    EXPECT_TRUE(has(files.config, "ssl_certificate /tmp/nginx/" + name + ";"));
  }
  EXPECT_EQ(std::count(contents.begin(), contents.end(), "DEFAULT\nKEY"), 1);
  EXPECT_EQ(std::count(contents.begin(), contents.end(), "CERT\nKEY2"), 1);
  EXPECT_FALSE(has(files.config, "KEY")) << "keys are in files only";
}

TEST(NginxConfig, ARewriteIsARegularExpressionOverThePath) {
  Location l = location("/x(/|$)(.*)");
  l.options.use_regex = true;
  l.options.rewrite_target = "/$2";
  std::string b = body(model("a.example", {l}), "~* \"^/x(/|$)(.*)\"");
  EXPECT_TRUE(has(b, "rewrite \"(?i)/x(/|$)(.*)\" /$2 break;")) << b;
  EXPECT_TRUE(has(b, "proxy_pass http://demo-web-80;"));
}

TEST(NginxConfig, OptionsBecomeDirectives) {
  Location l = location("/");
  l.options.proxy_body_size = "8m";
  l.options.read_timeout_s = 120;
  l.options.allow_ranges = {"10.0.0.0/8"};
  l.options.backend_protocol = "HTTPS";
  l.options.limit_rps = 5;
  Model m = model("a.example", {l});
  std::string b = body(m, "/");
  for (auto part : {"client_max_body_size 8m;", "proxy_read_timeout 120s;", "allow 10.0.0.0/8;", "deny all;", "proxy_pass https://demo-web-80;", "limit_req zone=rps_5 burst=25"}) EXPECT_TRUE(has(b, part)) << part;
  EXPECT_TRUE(has(config(m), "zone=rps_5:5m rate=5r/s;"));
  m.servers[1].locations[0].options.backend_protocol = "GRPC";
  EXPECT_TRUE(has(body(m, "/"), "grpc_pass grpc://demo-web-80;"));
  m.servers[1].locations[0].options.permanent_redirect = "https://b.example";
  EXPECT_TRUE(has(body(m, "/"), "return 301 \"https://b.example\";"));
  EXPECT_FALSE(has(body(m, "/"), "grpc_pass"));
}

TEST(NginxConfig, SettingsThatNginxWouldRefuseDoNotCount) {
  Model m = model("a.example", {});
  EXPECT_TRUE(has(config(m, {{"worker-processes", "4"}, {"worker-shutdown-timeout", "10s"}}), "worker_processes 4;\nworker_shutdown_timeout 10s;"));
  EXPECT_TRUE(has(config(m, {{"worker-processes", "auto"}}), "worker_processes auto;"));
  for (auto bad : {"", "many", "4;", "s", "4 4", "-1", "12345678"}) {
    EXPECT_TRUE(has(config(m, {{"worker-processes", bad}, {"worker-shutdown-timeout", bad}}), "worker_processes 1;\nworker_shutdown_timeout 240s;")) << bad;
  }
}

}  // namespace
}  // namespace caravel::ingress
