#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/strings.h"
#include "net/process.h"
#include "proxy/nft.h"
#include "proxy/ruleset.h"

namespace caravel::proxy {
namespace {

json::Value parse(std::string text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v.ok()) << v.error().message;
  return *v;
}

const char* kService = R"({"metadata":{"namespace":"shop","name":"web"},"spec":{"type":"NodePort","clusterIP":"172.20.0.7",
  "externalIPs":["192.0.2.9"],"ports":[{"name":"http","port":80,"nodePort":30080,"protocol":"TCP"},{"name":"dns","port":53,"protocol":"UDP"}]}})";
const char* kSlice = R"({"metadata":{"namespace":"shop","name":"web-1","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4",
  "ports":[{"name":"http","port":8080,"protocol":"TCP"}],"endpoints":[
  {"addresses":["10.0.11.5"],"nodeName":"n1","conditions":{"ready":true}},
  {"addresses":["10.0.12.5"],"nodeName":"n2","conditions":{"ready":true}},
  {"addresses":["10.0.12.6"],"nodeName":"n2","conditions":{"ready":false,"serving":true,"terminating":true}}]})";

NftRuleset build(const std::vector<std::string>& services, const std::vector<std::string>& slices, ProxyOptions o = {.node_name = "n1"}) {
  Services s;
  Endpoints e;
  for (auto& t : services) read_service(parse(t), s);
  for (auto& t : slices) read_slice(parse(t), e);
  settle(e);
  return build_ruleset(s, e, o);
}

const std::string& element(const NftRuleset& r, const std::string& set, const std::string& key) {
  static const std::string none = "(absent)";
  auto& e = r.sets.at(set).elements;
  auto it = e.find(key);
  return it == e.end() ? none : it->second;
}

std::string rules_of(const NftRuleset& r, std::string verdict) {
  if (verdict.starts_with("goto ")) verdict = verdict.substr(5);
  auto it = r.chains.find(verdict);
  return it == r.chains.end() ? "(no chain " + verdict + ")" : join(it->second.rules, "\n");
}

// nft --check: parsed, and evaluated by the kernel, but not kept.
void expect_valid(const std::string& commands) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  Status s = run_nft(commands, true);
  EXPECT_TRUE(s.ok()) << s.error().message << "\n"
                      << commands;
}

TEST(Ruleset, a_service_port_chooses_among_its_ready_endpoints) {
  NftRuleset r = build({kService}, {kSlice});
  std::string chain = rules_of(r, element(r, "service-ips", "172.20.0.7 . tcp . 80"));
  EXPECT_NE(chain.find("numgen random mod 2 vmap { 0 : goto endpoint-"), std::string::npos) << chain;
  EXPECT_NE(chain.find("10.0.11.5/8080, 1 : goto"), std::string::npos) << chain;
  EXPECT_EQ(chain.find("10.0.12.6"), std::string::npos);  // on its way out
  EXPECT_EQ(element(r, "no-endpoint-services", "172.20.0.7 . udp . 53"), "goto reject-chain");
  EXPECT_NE(rules_of(r, element(r, "service-nodeports", "tcp . 30080")).find("jump mark-for-masquerade"), std::string::npos);
  EXPECT_NE(rules_of(r, element(r, "service-ips", "192.0.2.9 . tcp . 80")).find("goto service-"), std::string::npos);
  expect_valid(transaction(nullptr, r));
}

TEST(Ruleset, local_policies_keep_to_the_node_and_drop_elsewhere) {
  std::string service = replace_all(kService, "\"type\"", "\"internalTrafficPolicy\":\"Local\",\"externalTrafficPolicy\":\"Local\",\"type\"");
  NftRuleset here = build({service}, {kSlice});
  std::string chain = rules_of(here, element(here, "service-ips", "172.20.0.7 . tcp . 80"));
  EXPECT_NE(chain.find("mod 1 vmap { 0 : goto endpoint-"), std::string::npos) << chain;
  EXPECT_NE(chain.find("10.0.11.5"), std::string::npos) << chain;
  NftRuleset elsewhere = build({service}, {kSlice}, {.node_name = "n3"});
  EXPECT_EQ(element(elsewhere, "no-endpoint-services", "172.20.0.7 . tcp . 80"), "drop");
  EXPECT_EQ(element(elsewhere, "no-endpoint-nodeports", "tcp . 30080"), "drop");
  expect_valid(transaction(nullptr, here));
  expect_valid(transaction(nullptr, elsewhere));
}

TEST(Ruleset, with_no_ready_endpoint_those_that_still_serve_are_used) {
  std::string slice = replace_all(kSlice, "\"ready\":true", "\"ready\":false,\"serving\":false");
  NftRuleset r = build({kService}, {slice});
  EXPECT_NE(rules_of(r, element(r, "service-ips", "172.20.0.7 . tcp . 80")).find("10.0.12.6"), std::string::npos);
}

TEST(Ruleset, headless_external_name_and_foreign_services_give_nothing) {
  NftRuleset empty = build({}, {});
  EXPECT_EQ(build({R"({"metadata":{"namespace":"a","name":"b"},"spec":{"clusterIP":"None","ports":[{"port":80}]}})",
                   R"({"metadata":{"namespace":"a","name":"c"},"spec":{"type":"ExternalName","externalName":"x","ports":[{"port":80}]}})",
                   R"({"metadata":{"namespace":"a","name":"d","labels":{"service.kubernetes.io/service-proxy-name":"x"}},"spec":{"clusterIP":"172.20.0.8","ports":[{"port":80}]}})"},
                  {}),
            empty);
  expect_valid(transaction(nullptr, empty));
}

TEST(Ruleset, load_balancer_source_ranges_and_affinity) {
  std::string service = R"({"metadata":{"namespace":"a","name":"lb"},"spec":{"type":"LoadBalancer","clusterIP":"172.20.0.9","sessionAffinity":"ClientIP",
    "sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}},"loadBalancerSourceRanges":["192.0.2.0/24"],"ports":[{"port":80,"protocol":"TCP"}]},
    "status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.7"},{"hostname":"x.elb.amazonaws.com"}]}}})";
  std::string other = replace_all(replace_all(kSlice, "shop", "a"), "\"name\":\"http\",", "");
  NftRuleset r = build({service}, {other});
  EXPECT_EQ(element(r, "no-endpoint-services", "172.20.0.9 . tcp . 80"), "goto reject-chain") << "the slice's label names another Service";
  NftRuleset r2 = build({service}, {replace_all(other, "service-name\":\"web\"", "service-name\":\"lb\"")});
  std::string chain = rules_of(r2, element(r2, "service-ips", "172.20.0.9 . tcp . 80"));
  EXPECT_NE(chain.find("ip saddr @affinity-"), std::string::npos) << chain;
  EXPECT_NE(rules_of(r2, element(r2, "firewall-ips", "198.51.100.7 . tcp . 80")).find("ip saddr != { 192.0.2.0/24 } drop"), std::string::npos);
  expect_valid(transaction(nullptr, r2));
}

TEST(Transaction, says_nothing_when_nothing_changed_and_only_the_difference_otherwise) {
  NftRuleset a = build({kService}, {kSlice});
  EXPECT_EQ(transaction(&a, a), "");
  NftRuleset b = build({kService}, {replace_all(kSlice, "10.0.12.5", "10.0.12.9")});
  std::string text = transaction(&a, b);
  EXPECT_EQ(text.find("service-ips"), std::string::npos) << text;  // the map stays
  EXPECT_NE(text.find("delete chain ip kube-proxy endpoint-"), std::string::npos) << text;
  EXPECT_NE(text.find("dnat to 10.0.12.9:8080"), std::string::npos) << text;
}

// In a network namespace of its own: every step of a sequence of changes leaves the kernel with exactly
// what a fresh start would.
std::string listing(net::EventLoop& loop) {
  net::ProcessOptions o;
  o.argv = {"nft", "-s", "list", "ruleset"};
  auto r = net::run_on(loop, net::run_process(loop, o));
  if (!r.ok()) return r.error().message;
  auto blocks = split(r->out, '\n');
  std::sort(blocks.begin(), blocks.end());
  return join(blocks, "\n");
}

int namespace_steps() {
  if (unshare(CLONE_NEWNET) != 0) return 77;
  net::EventLoop loop;
  std::string affinity = replace_all(kService, "\"type\"", "\"sessionAffinity\":\"ClientIP\",\"type\"");
  std::vector<NftRuleset> steps = {
      build({}, {}),
      build({kService}, {}),
      build({kService}, {kSlice}),
      build({affinity}, {kSlice}),
      build({replace_all(affinity, "\"ports\"", "\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":5}},\"ports\"")}, {kSlice}),
      build({kService}, {replace_all(kSlice, "10.0.12.5", "10.0.12.9")}),
      build({replace_all(kService, "172.20.0.7", "172.20.0.8")}, {kSlice}),
      build({replace_all(kService, "\"type\"", "\"externalTrafficPolicy\":\"Local\",\"type\"")}, {kSlice}),
      build({}, {}),
  };
  const NftRuleset* before = nullptr;
  for (auto& step : steps) {
    Status s = run_nft(transaction(before, step));
    if (!s.ok()) {
      fprintf(stderr, "%s\n%s\n", s.error().message.c_str(), transaction(before, step).c_str());
      return 1;
    }
    std::string by_steps = listing(loop);
    if (before) {
      s = run_nft(transaction(nullptr, step));
      if (!s.ok()) return 2;
      std::string anew = listing(loop);
      if (anew != by_steps) {
        fprintf(stderr, "--- by steps\n%s\n--- anew\n%s\n", by_steps.c_str(), anew.c_str());
        return 3;
      }
    }
    before = &step;
  }
  return 0;
}

TEST(Transaction, steps_lead_to_the_same_kernel_state_as_a_fresh_start) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  pid_t pid = fork();
  if (pid == 0) _exit(namespace_steps());
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no network namespaces here";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace caravel::proxy
