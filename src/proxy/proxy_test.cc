#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/strings.h"
#include "net/process.h"
#include "proxy/conntrack.h"
#include "proxy/health_check.h"
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

NftRuleset build(const std::vector<std::string>& services, const std::vector<std::string>& slices, ProxyOptions o = {.here = {"n1", "a"}}) {
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
  NftRuleset elsewhere = build({service}, {kSlice}, {.here = {"n3", "a"}});
  EXPECT_EQ(element(elsewhere, "no-endpoint-services", "172.20.0.7 . tcp . 80"), "drop");
  EXPECT_EQ(element(elsewhere, "no-endpoint-nodeports", "tcp . 30080"), "drop");
  // From this node and from pods the node port is a short cut to all endpoints; what else comes is not translated, and dropped.
  std::string outside = rules_of(elsewhere, element(elsewhere, "service-nodeports", "tcp . 30080"));
  EXPECT_NE(outside.find("fib saddr type local goto service-"), std::string::npos) << outside;
  EXPECT_EQ(outside.find("goto local-"), std::string::npos) << outside;
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

// Three ready endpoints of two zones, each meant for its own zone and node, and one that ends.
std::vector<Endpoint> hinted() {
  Endpoints e;
  read_slice(parse(R"({"metadata":{"namespace":"shop","name":"web-1","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4",
    "ports":[{"name":"http","port":8080}],"endpoints":[
    {"addresses":["10.0.11.5"],"nodeName":"n1","hints":{"forZones":[{"name":"a"}],"forNodes":[{"name":"n1"}]}},
    {"addresses":["10.0.11.6"],"nodeName":"n2","hints":{"forZones":[{"name":"a"}],"forNodes":[{"name":"n2"}]}},
    {"addresses":["10.0.12.7"],"nodeName":"n3","hints":{"forZones":[{"name":"b"}],"forNodes":[{"name":"n3"}]}},
    {"addresses":["10.0.12.8"],"nodeName":"n3","conditions":{"ready":false,"serving":true,"terminating":true}}]})"),
             e);
  return e.begin()->second;
}
std::string addresses(const std::vector<Endpoint>& list) {
  std::string out;
  for (auto& e : list) out += (out.empty() ? "" : " ") + e.ip;
  return out;
}

TEST(Hints, traffic_keeps_to_the_node_then_to_the_zone_and_goes_anywhere_when_a_hint_is_missing) {
  EXPECT_EQ(addresses(usable_from(hinted(), {"n1", "a"})), "10.0.11.5");
  EXPECT_EQ(addresses(usable_from(hinted(), {"n9", "a"})), "10.0.11.5 10.0.11.6") << "no endpoint is meant for the node, two for its zone";
  EXPECT_EQ(addresses(usable_from(hinted(), {"n9", "c"})), "10.0.11.5 10.0.11.6 10.0.12.7") << "nothing is meant for zone c";
  auto one_without = hinted();
  one_without[2].for_nodes.clear();
  EXPECT_EQ(addresses(usable_from(one_without, {"n1", "a"})), "10.0.11.5 10.0.11.6") << "node hints count only when all have them";
  one_without[2].for_zones.clear();
  EXPECT_EQ(addresses(usable_from(one_without, {"n1", "a"})), "10.0.11.5 10.0.11.6 10.0.12.7");
  auto none_ready = hinted();
  for (auto& e : none_ready) e.ready = false;
  EXPECT_EQ(addresses(usable_from(none_ready, {"n1", "a"})), "10.0.12.8");
}

TEST(Hints, a_local_policy_takes_no_notice_of_them) {
  std::string slice = R"({"metadata":{"namespace":"shop","name":"web-1","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4",
    "ports":[{"name":"http","port":8080}],"endpoints":[{"addresses":["10.0.11.5"],"nodeName":"n1","hints":{"forZones":[{"name":"b"}]}},
    {"addresses":["10.0.12.5"],"nodeName":"n2","hints":{"forZones":[{"name":"a"}]}}]})";
  std::string local = replace_all(kService, "\"type\"", "\"internalTrafficPolicy\":\"Local\",\"type\"");
  NftRuleset r = build({local}, {slice});
  EXPECT_NE(rules_of(r, element(r, "service-ips", "172.20.0.7 . tcp . 80")).find("10.0.11.5"), std::string::npos);
  NftRuleset by_zone = build({kService}, {slice});
  std::string chain = rules_of(by_zone, element(by_zone, "service-ips", "172.20.0.7 . tcp . 80"));
  EXPECT_EQ(chain.find("10.0.11.5"), std::string::npos) << chain;
  EXPECT_NE(chain.find("10.0.12.5"), std::string::npos) << chain;
}

TEST(HealthCheck, a_services_port_tells_whether_it_has_ready_endpoints_on_this_node) {
  std::string service = R"({"metadata":{"namespace":"shop","name":"web"},"spec":{"type":"LoadBalancer","clusterIP":"172.20.0.7","externalTrafficPolicy":"Local",
    "healthCheckNodePort":31000,"ports":[{"name":"http","port":80},{"name":"metrics","port":9000}]}})";
  Services services;
  Endpoints endpoints;
  read_service(parse(service), services);
  read_slice(parse(kSlice), endpoints);
  EXPECT_EQ(health_checks(services, endpoints, "n1"), (HealthChecks{{31000, {"shop", "web", 1}}}));
  EXPECT_EQ(health_checks(services, endpoints, "n2"), (HealthChecks{{31000, {"shop", "web", 1}}})) << "one that ends is not ready";
  EXPECT_EQ(health_checks(services, endpoints, "n3"), (HealthChecks{{31000, {"shop", "web", 0}}}));
  Services others;
  read_service(parse(replace_all(service, "\"Local\"", "\"Cluster\"")), others);
  EXPECT_EQ(health_checks(others, endpoints, "n1"), HealthChecks{});
  read_service(parse(replace_all(service, "LoadBalancer", "NodePort")), others);
  EXPECT_EQ(health_checks(others, endpoints, "n1"), HealthChecks{});

  HealthAnswer a = answer_health_check({"shop", "web", 2}, true);
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(a.headers.get("X-Load-Balancing-Endpoint-Weight"), "2");
  EXPECT_EQ(a.body, "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}");
  EXPECT_EQ(answer_health_check({"shop", "web", 0}, true).status, 503);
  EXPECT_EQ(answer_health_check({"shop", "web", 2}, false).status, 503);
}

TEST(HealthCheck, healthz_counts_a_node_that_is_to_go_and_livez_does_not) {
  const Time at = *parse_rfc3339("2026-11-28T10:00:00Z");
  ProxyHealth h{true, true, at, at};
  EXPECT_EQ(answer_healthz(h).status, 200);
  EXPECT_NE(answer_healthz(h).body.find(R"("nodeEligible":true,"healthy":true,"status":{"IPv4":{)"), std::string::npos) << answer_healthz(h).body;
  h.node_eligible = false;
  EXPECT_EQ(answer_healthz(h).status, 503);
  EXPECT_EQ(answer_livez(h).status, 200);
  EXPECT_EQ(answer_livez(h).body.find("nodeEligible"), std::string::npos);
  h.healthy = false;
  EXPECT_EQ(answer_livez(h).status, 503);

  EXPECT_FALSE(node_eligible(nullptr));
  json::Value node = parse(R"({"metadata":{"name":"n1"},"spec":{"taints":[{"key":"dedicated","effect":"NoSchedule"}]}})");
  EXPECT_TRUE(node_eligible(&node));
  node = parse(R"({"metadata":{"name":"n1"},"spec":{"taints":[{"key":"ToBeDeletedByClusterAutoscaler","effect":"NoSchedule"}]}})");
  EXPECT_FALSE(node_eligible(&node));
  node = parse(R"({"metadata":{"name":"n1","deletionTimestamp":"2026-11-28T10:00:00Z"}})");
  EXPECT_FALSE(node_eligible(&node));
}

const char* kUdpService = R"({"metadata":{"namespace":"shop","name":"dns"},"spec":{"type":"NodePort","clusterIP":"172.20.0.7",
  "externalIPs":["192.0.2.9"],"ports":[{"name":"dns","port":53,"nodePort":30053,"protocol":"UDP"}]}})";
const char* kUdpSlice = R"({"metadata":{"namespace":"shop","name":"dns-1","labels":{"kubernetes.io/service-name":"dns"}},"addressType":"IPv4",
  "ports":[{"name":"dns","port":1053,"protocol":"UDP"}],"endpoints":[{"addresses":["10.0.11.5"]},
  {"addresses":["10.0.11.6"],"conditions":{"ready":false,"serving":true,"terminating":true}},
  {"addresses":["10.0.11.7"],"conditions":{"ready":false,"serving":false}}]})";

TEST(Conntrack, flows_of_a_udp_service_that_lead_to_no_serving_endpoint_are_stale) {
  Services services;
  Endpoints endpoints;
  read_service(parse(kUdpService), services);
  read_service(parse(kService), services);
  read_slice(parse(kUdpSlice), endpoints);
  auto stale = [](std::string to, int port, std::string from, const UdpState& state) {
    std::vector<Flow> flows{{to + ":" + std::to_string(port), port, from, "k"}};
    return !stale_flows(flows, state).empty();
  };
  UdpState state = udp_state(services, endpoints);
  EXPECT_FALSE(stale("172.20.0.7", 53, "10.0.11.5:1053", state));
  EXPECT_FALSE(stale("172.20.0.7", 53, "10.0.11.6:1053", state)) << "it ends, but serves";
  EXPECT_TRUE(stale("172.20.0.7", 53, "10.0.11.7:1053", state)) << "it does not serve";
  EXPECT_TRUE(stale("172.20.0.7", 53, "172.20.0.7:53", state)) << "begun before there was an endpoint: not translated";
  EXPECT_TRUE(stale("192.0.2.9", 53, "10.0.11.9:1053", state));
  EXPECT_TRUE(stale("10.0.99.99", 30053, "10.0.11.9:1053", state)) << "a node port, at any of the node's addresses";
  EXPECT_FALSE(stale("8.8.8.8", 53, "8.8.8.8:53", state)) << "no Service's";
  EXPECT_FALSE(stale("172.20.0.7", 53, "10.0.11.9:1053", udp_state(services, {}))) << "a Service without endpoints keeps its flows";
}

// A socket that keeps its port sends to a Service's address while the Service has no endpoint's translation, then with it:
// the kernel goes by the flow that it knows until that is forgotten.
int conntrack_steps() {
  if (unshare(CLONE_NEWNET) != 0) return 77;
  net::EventLoop loop;
  for (std::vector<std::string> argv : {std::vector<std::string>{"ip", "link", "set", "lo", "up"}, {"ip", "address", "add", "10.0.11.5/32", "dev", "lo"}, {"ip", "address", "add", "172.20.0.7/32", "dev", "lo"}}) {
    net::ProcessOptions o;
    o.argv = argv;
    auto r = net::run_on(loop, net::run_process(loop, o));
    if (!r.ok() || r->exit.code != 0) return 1;
  }
  auto bound = [](const char* ip, int port) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, ip, &a.sin_addr);
    return bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 ? fd : -1;
  };
  int sender = bound("127.0.0.1", 40000), endpoint = bound("10.0.11.5", 1053);
  if (sender < 0 || endpoint < 0) return 2;
  auto send_one = [&] {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(53);
    inet_pton(AF_INET, "172.20.0.7", &to.sin_addr);
    sendto(sender, "x", 1, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
  };
  auto arrived = [&] {
    char c;
    usleep(20'000);
    return recv(endpoint, &c, 1, MSG_DONTWAIT) == 1;
  };
  Services services;
  Endpoints endpoints;
  read_service(parse(kUdpService), services);
  read_slice(parse(kUdpSlice), endpoints);
  endpoints.begin()->second.resize(1);
  // A rule that makes the kernel track connections before there is an address translation.
  if (!run_nft("add table ip track\nadd chain ip track c { type filter hook output priority 0; }\nadd rule ip track c ct state new counter\n").ok()) return 77;
  send_one();
  if (!run_nft(transaction(nullptr, build_ruleset(services, endpoints, {.here = {"n1", "a"}}))).ok()) return 3;
  send_one();
  if (arrived()) return 4;  // the flow of the first packet holds
  auto flows = udp_flows();
  if (!flows.ok()) {
    fprintf(stderr, "%s\n", flows.error().message.c_str());
    return 77;
  }
  auto stale = stale_flows(*flows, udp_state(services, endpoints));
  if (stale.size() != 1) return 5;
  if (!forget(stale).ok()) return 6;
  if (!forget(stale).ok()) return 7;  // gone already: no error
  send_one();
  if (!arrived()) return 8;
  flows = udp_flows();
  return flows.ok() && stale_flows(*flows, udp_state(services, endpoints)).empty() ? 0 : 9;
}

// What a child process that leads its own life in a namespace returned; 77: not possible here.
int in_a_child(int (*steps)()) {
  pid_t pid = fork();
  if (pid == 0) _exit(steps());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Conntrack, the_kernel_forgets_a_flow_and_the_next_packet_is_translated_anew) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  int r = in_a_child(conntrack_steps);
  if (r == 77) GTEST_SKIP() << "no network namespaces or no connection tracking here";
  EXPECT_EQ(r, 0);
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
  int r = in_a_child(namespace_steps);
  if (r == 77) GTEST_SKIP() << "no network namespaces here";
  EXPECT_EQ(r, 0);
}

}  // namespace
}  // namespace caravel::proxy
