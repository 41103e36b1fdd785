// Annotations: good values are taken, bad ones refused by name, and nothing can leave its place in the configuration.
#include "ingress/annotations.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace caravel::ingress {
namespace {

using Settings = std::map<std::string, std::string>;

Result<LocationOptions> parse(std::initializer_list<std::pair<std::string, std::string>> annotations, const Settings& settings = {}) {
  json::Value i = json::Value::object();
  for (auto& [k, v] : annotations) i["metadata"]["annotations"]["nginx.ingress.kubernetes.io/" + k] = v;
  return parse_annotations(i, settings);
}

// Taken?
bool takes(const std::string& name, const std::string& value) { return parse({{name, value}}).ok(); }

TEST(Annotations, NoneAreUpstreamsDefaults) {
  auto o = parse({});
  ASSERT_TRUE(o.ok());
  EXPECT_TRUE(o->ssl_redirect);
  EXPECT_FALSE(o->force_ssl_redirect);
  EXPECT_FALSE(o->use_regex);
  EXPECT_EQ(o->backend_protocol, "HTTP");
  EXPECT_EQ(o->proxy_body_size, "1m");
  EXPECT_EQ(o->connect_timeout_s, 5);
  EXPECT_EQ(o->read_timeout_s, 60);
  EXPECT_EQ(o->next_upstream, "error timeout");
  EXPECT_EQ(o->next_upstream_tries, 3);
}

TEST(Annotations, GoodValuesAreTaken) {
  auto o = parse({{"ssl-redirect", "false"}, {"force-ssl-redirect", "true"}, {"rewrite-target", "/$2"}, {"backend-protocol", "grpcs"}, {"proxy-body-size", "8m"}, {"proxy-connect-timeout", "300"}, {"proxy-read-timeout", "3600"}, {"proxy-next-upstream", "error  http_502 non_idempotent"}, {"whitelist-source-range", "10.0.0.0/8, 192.168.1.1,2001:db8::/32"}, {"upstream-vhost", "api.example.com"}, {"limit-rps", "5"}});
  ASSERT_TRUE(o.ok()) << o.error().message;
  EXPECT_FALSE(o->ssl_redirect);
  EXPECT_TRUE(o->force_ssl_redirect);
  EXPECT_EQ(o->rewrite_target, "/$2");
  EXPECT_TRUE(o->use_regex) << "rewrite-target makes the paths regular expressions";
  EXPECT_EQ(o->backend_protocol, "GRPCS");
  EXPECT_EQ(o->proxy_body_size, "8m");
  EXPECT_EQ(o->connect_timeout_s, 300);
  EXPECT_EQ(o->read_timeout_s, 3600);
  EXPECT_EQ(o->next_upstream, "error http_502 non_idempotent");
  EXPECT_EQ(o->allow_ranges, (std::vector<std::string>{"10.0.0.0/8", "192.168.1.1", "2001:db8::/32"}));
  EXPECT_EQ(o->upstream_vhost, "api.example.com");
  EXPECT_EQ(o->limit_rps, 5);
}

TEST(Annotations, BooleansAreGos) {
  for (auto yes : {"true", "True", "TRUE", "t", "T", "1"}) EXPECT_TRUE(parse({{"use-regex", yes}})->use_regex) << yes;
  for (auto no : {"false", "False", "FALSE", "f", "F", "0"}) EXPECT_FALSE(parse({{"ssl-redirect", no}})->ssl_redirect) << no;
  for (auto bad : {"yes", "on", "", " true", "2"}) EXPECT_FALSE(takes("ssl-redirect", bad)) << bad;
}

TEST(Annotations, TheConfigMapGivesDefaultsThatAnAnnotationBeats) {
  Settings settings = {{"ssl-redirect", "false"}, {"proxy-body-size", "20m"}};
  EXPECT_FALSE(parse({}, settings)->ssl_redirect);
  EXPECT_EQ(parse({}, settings)->proxy_body_size, "20m");
  EXPECT_TRUE(parse({{"ssl-redirect", "true"}}, settings)->ssl_redirect);
  EXPECT_EQ(parse({}, {{"proxy-body-size", "20m; return 200"}})->proxy_body_size, "1m") << "a bad one does not count";
  EXPECT_EQ(parse({}, {{"proxy-body-size", ""}})->proxy_body_size, "1m");
}

TEST(Annotations, ABadValueIsAnErrorThatNamesItsAnnotation) {
  auto o = parse({{"proxy-read-timeout", "60s"}});
  ASSERT_FALSE(o.ok());
  EXPECT_NE(o.error().message.find("nginx.ingress.kubernetes.io/proxy-read-timeout"), std::string::npos);
  EXPECT_NE(o.error().message.find("60s"), std::string::npos);
}

// nginx refuses the whole configuration for each of these: everybody's Ingress would stand still.
TEST(Annotations, WhatNginxWouldRefuseIsRefused) {
  for (auto v : {"", "m", "8x", "-1m", "8m8m", "99999999999g", "8 m"}) EXPECT_FALSE(takes("proxy-body-size", v)) << v;
  for (auto v : {"0", "1024", "8k", "1G"}) EXPECT_TRUE(takes("proxy-body-size", v)) << v;
  for (auto v : {"", " ", "err", "error,timeout", "http_418"}) EXPECT_FALSE(takes("proxy-next-upstream", v)) << v;
  for (auto v : {"-1", "1.5", "", "9999999"}) EXPECT_FALSE(takes("proxy-send-timeout", v)) << v;
  for (auto v : {"", "abc", "10.0.0.0/33", "10.0.0/8", "2001:db8::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.1,", "all", "::/-1"}) EXPECT_FALSE(takes("whitelist-source-range", v)) << v;
  for (auto v : {"/$foo", "/$uri_x", "/$hostname", "/$", "/${uri}"}) EXPECT_FALSE(takes("rewrite-target", v)) << v;
  for (auto v : {"/", "/$1/x", "/$1$2", "https://example.com$request_uri"}) EXPECT_TRUE(takes("rewrite-target", v)) << v;
  for (auto v : {"FTP", "", "HTTP;"}) EXPECT_FALSE(takes("backend-protocol", v)) << v;
}

TEST(Annotations, ARedirectsCodeIsARedirect) {
  EXPECT_EQ(parse({{"permanent-redirect-code", "308"}})->permanent_redirect_code, 308);
  for (auto odd : {"0", "200", "299", "309", "404"}) EXPECT_EQ(parse({{"permanent-redirect-code", odd}})->permanent_redirect_code, 301) << odd;
}

TEST(Annotations, NothingCanLeaveItsPlaceInTheConfiguration) {
  for (auto name : {"ssl-redirect", "force-ssl-redirect", "use-regex", "enable-cors", "proxy-connect-timeout", "proxy-send-timeout", "proxy-read-timeout", "proxy-next-upstream-tries", "limit-rps", "permanent-redirect-code", "proxy-next-upstream", "proxy-body-size", "backend-protocol", "rewrite-target", "permanent-redirect", "upstream-vhost", "cors-allow-origin", "whitelist-source-range", "allowlist-source-range"})
    for (std::string good : {"/", "1", "error", "http://a.example", "10.0.0.1", "true", "HTTP", "a"})
      for (std::string evil : {"\nreturn 200", "\r", "; return 200", "\"", "'", "{", "}", "\\", "\x7f", "\t"}) {
        EXPECT_FALSE(takes(name, good + evil + good)) << name << ": " << evil;
        if (trim(evil).empty()) continue;  // blanks around an item of a list are no harm
        EXPECT_FALSE(takes(name, good + evil)) << name << ": " << evil;
        EXPECT_FALSE(takes(name, evil + good)) << name << ": " << evil;
      }
}

TEST(Hosts, AreNamesOfDnsOrWildcards) {
  for (auto good : {"example.com", "a-b.example.com", "*.example.com", "1.example.com"}) EXPECT_TRUE(is_safe_host(good)) << good;
  for (auto bad : {"", "*.", "*", "a.*.com", "*.*.com", ".example.com", "a..b", "a b", "a;", "a{", "a\n", "~^x", "$host", "a/b", "A.com"}) EXPECT_FALSE(is_safe_host(bad)) << bad;
}

TEST(Paths, MayNotEndTheirQuotes) {
  for (auto good : {"/", "/app", "/a.b-c_d~e", "/a%20b", "/a:b@c", "/a(b"}) EXPECT_TRUE(is_safe_path(good, false)) << good;
  for (auto bad : {"", "app", "/a b", "/a\"", "/a'", "/a;", "/a{", "/a}", "/a$b", "/a\\", "/a\n", "/\x7f", "/\xc3\xa9"}) EXPECT_FALSE(is_safe_path(bad, false)) << bad;
}

TEST(Paths, ThatAreRegularExpressionsMustCompile) {
  for (auto good : {"/", "/app(/|$)(.*)", "/v[0-9]+/(?:a|b)?", "/a\\.php$", "/x/(.*)", "/[^/]+/y", "/[]a]x", "/[a\\]b]x", "/a{2}", "/a{1,3}?", "/(?!api).*", "/(?i)x", "/a.*?b", "/[\\w.-]+", "/[a-z0-9-_]+", "/[-a]", "/\\d{1,5}", "/\\w+/"}) EXPECT_TRUE(is_safe_path(good, true)) << good;
  for (auto bad : {"/a(", "/a)", "/(a", "/a))((", "/[a", "/[]", "/[^]", "/a**", "/(*a)", "/(?<x", "/(?P<n>a)", "/a|*", "/a{", "/a{x}", "/({2})", "/a\\", "/a\\\\", "/[\\\\]", "/a{3,1}", "/a{,3}", "/a{0,99999}", "/(a{9}){9}", "/[z-a]", "/[\\w-z]", "/$*", "/^+", "/\\b*", "/(?i)*", "/[[:foo:]]", "/\\1", "/\\p", "/\\c", "/\\k", "/\\Q(", "/\\x{", "/a\"", "/a;b", "/a b"}) EXPECT_FALSE(is_safe_path(bad, true)) << bad;
}

}  // namespace
}  // namespace caravel::ingress
