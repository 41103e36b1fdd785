#include "vpc/router.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

namespace caravel::vpc {
namespace {

Interface interface(std::string id, std::string subnet, std::string ip, std::string group) {
  Interface i;
  i.id = std::move(id);
  i.subnet_id = std::move(subnet);
  i.primary_ip = std::move(ip);
  i.security_groups = {std::move(group)};
  i.owner = InterfaceOwner::kInstance;
  return i;
}

NetworkState two_subnets() {
  NetworkState n;
  n.vpcs.push_back({"vpc-1", {"10.0.0.0/16"}});
  n.subnets.push_back({"subnet-a", "vpc-1", "10.0.11.0/24", "us-east-1a", "a", {{"10.0.0.0/16", "local"}, {"0.0.0.0/0", "nat-1"}}});
  n.subnets.push_back({"subnet-b", "vpc-1", "10.0.12.0/24", "us-east-1b", "b", {{"10.0.0.0/16", "local"}}});
  SecurityGroup node{"sg-node", "vpc-1", "node", {}};
  SecurityGroupRule all_out;
  all_out.egress = true;
  all_out.cidr = "0.0.0.0/0";
  SecurityGroupRule web;
  web.protocol = "tcp";
  web.from_port = web.to_port = 8080;
  web.source_group = "sg-node";
  node.rules = {all_out, web};
  n.security_groups.push_back(node);
  n.interfaces.push_back(interface("eni-00000000000000001", "subnet-a", "10.0.11.5", "sg-node"));
  n.interfaces.push_back(interface("eni-00000000000000002", "subnet-b", "10.0.12.6", "sg-node"));
  n.interfaces[1].secondary_ips = {"10.0.12.7"};
  return n;
}

TEST(NftRules, name_groups_members_and_share_chains) {
  NftTable t = plan_rules(two_subnets(), {});
  std::map<std::string, std::string> members = {{"10.0.11.5", ""}, {"10.0.12.6", ""}, {"10.0.12.7", ""}};
  EXPECT_EQ(t.sets["members_sg_node"].elements, members);
  auto& egress = t.sets["egress_of"].elements;
  EXPECT_EQ(egress["\"v00000000000001\""], egress["\"v00000000000002\""]) << "equal sets of groups share their chains";
  std::string text = replace_text(t);
  EXPECT_NE(text.find("tcp dport 8080 ip saddr @members_sg_node accept"), text.npos) << text;
  EXPECT_EQ(t, plan_rules(two_subnets(), {}));
}

TEST(NftRules, routes_are_matched_longest_prefix_first_and_need_a_way_out) {
  NetworkState n = two_subnets();
  n.subnets.push_back({"subnet-p", "vpc-1", "10.0.1.0/24", "us-east-1a", "p", {{"0.0.0.0/0", "igw-1"}, {"198.18.0.0/15", "blackhole"}}});
  n.nat_gateways.push_back({"nat-1", "subnet-p", "10.0.1.4", "52.0.0.4"});
  n.interfaces[0].device_index = 0;
  NftTable t = plan_rules(n, {});
  std::string chain = t.sets["route_of"].elements["\"v00000000000001\""].substr(5);
  std::vector<std::string> nat = {"ip daddr 10.0.0.0/16 return", "ct mark set 2 return", "drop"};
  EXPECT_EQ(t.chains[chain].rules, nat);
  n.subnets[2].routes.clear();  // the NAT gateway's own subnet leads nowhere now
  t = plan_rules(n, {});
  chain = t.sets["route_of"].elements["\"v00000000000001\""].substr(5);
  std::vector<std::string> none = {"ip daddr 10.0.0.0/16 return", "drop", "drop"};
  EXPECT_EQ(t.chains[chain].rules, none);
}

TEST(NftTable, a_new_interface_changes_elements_only) {
  NetworkState n = two_subnets();
  NftTable before = plan_rules(n, {});
  n.interfaces.push_back(interface("eni-00000000000000003", "subnet-a", "10.0.11.9", "sg-node"));
  NftTable after = plan_rules(n, {});
  std::string text = change_text(before, after);
  EXPECT_NE(text.find("add element inet vpc members_sg_node { 10.0.11.9 }"), text.npos) << text;
  EXPECT_EQ(text.find("chain"), text.npos) << text;
  EXPECT_EQ(text.find("delete"), text.npos) << text;
  EXPECT_EQ(change_text(after, after), "");
  EXPECT_NE(change_text(after, before).find("delete element inet vpc members_sg_node { 10.0.11.9 }"), text.npos);
}

TEST(NftRules, link_names_are_unique_and_short) {
  EXPECT_EQ(link_name("eni-0123456789abcdef0"), "v3456789abcdef0");
  EXPECT_LE(link_name("eni-0123456789abcdef0").size(), 15u);
}

int shell(const std::string& command) {
  int rc = std::system(command.c_str());
  return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

// Public addresses, internet and NAT gateways, restarts of the router.
int internet_flows(net::EventLoop& loop) {
  auto good = [](Status s) {
    if (!s.ok()) std::fprintf(stderr, "%s\n", s.error().message.c_str());
    return s.ok();
  };
  auto get = [](std::string ns, std::string url) { return shell("ip netns exec " + ns + " curl -s -o /dev/null -m 1 " + url); };
  if (!good(net::run_on(loop, make_namespace(loop, "internet"))) || !good(net::run_on(loop, make_namespace(loop, "lb")))) return 30;
  NetworkState n = two_subnets();
  n.subnets.push_back({"subnet-p", "vpc-1", "10.0.1.0/24", "us-east-1a", "p", {{"10.0.0.0/16", "local"}, {"0.0.0.0/0", "igw-1"}}});
  n.nat_gateways.push_back({"nat-1", "subnet-p", "10.0.1.4", "52.0.0.4"});
  n.internet_gateways.push_back({"igw-1", "vpc-1", {{"52.0.0.9", "10.0.1.9"}}});
  SecurityGroup web{"sg-web", "vpc-1", "web", {}};
  SecurityGroupRule in, out;
  in.protocol = "tcp";
  in.from_port = in.to_port = 80;
  in.cidr = "0.0.0.0/0";
  out.egress = true;
  out.cidr = "0.0.0.0/0";
  web.rules = {in, out};
  n.security_groups.push_back(web);
  n.interfaces.push_back(interface("eni-00000000000000003", "subnet-p", "10.0.1.9", "sg-web"));
  n.interfaces[2].public_ip = "52.0.0.9";
  n.interfaces[2].mac = "02:00:00:00:00:09";
  std::map<std::string, std::string> where = {{"eni-00000000000000001", "i-a"}, {"eni-00000000000000002", "i-b"}, {"eni-00000000000000003", "lb"}};
  Router router(loop);  // as after a restart: finds what is there
  if (!good(net::run_on(loop, router.set_up())) || !good(net::run_on(loop, router.apply(n, where)))) return 31;
  if (shell("cd /tmp && ip netns exec lb busybox httpd -p 80 -h /proc/self && ip netns exec lb busybox httpd -p 81 -h /proc/self && ip netns exec internet busybox httpd -p 80 -h /proc/self")) return 32;
  if (get("internet", "http://52.0.0.9/status")) return 33;      // the internet reaches a public address
  if (!get("internet", "http://52.0.0.9:81/status")) return 34;  // not what the group does not open
  if (!get("internet", "http://10.0.1.9/status")) return 35;     // nor a private address
  if (get("i-a", "http://52.0.0.9/status")) return 36;           // a private subnet reaches it through NAT
  if (get("i-a", "http://198.51.100.10/status")) return 37;      // and the internet
  if (!get("i-b", "http://198.51.100.10/status")) return 38;     // a subnet without a route does not
  if (get("lb", "http://198.51.100.10/status")) return 39;       // a public address does, without NAT
  if (shell("ip netns exec internet sh -c 'ss -tn state time-wait; true' >/dev/null")) return 40;
  n.internet_gateways[0].mappings.clear();
  n.nat_gateways.clear();
  if (!good(net::run_on(loop, router.apply(n, where)))) return 41;
  if (!get("lb", "http://198.51.100.10/status")) return 42;  // without one it does not
  if (!get("i-a", "http://198.51.100.10/status")) return 43;
  if (shell("ip netns exec i-a ping -c 1 -W 1 10.0.11.1 >/dev/null 2>&1") == 0) return 44;  // the subnet's router does not answer pings
  // A namespace that is made anew under its name gets its interface again.
  if (!good(net::run_on(loop, delete_namespace(loop, "lb"))) || !good(net::run_on(loop, make_namespace(loop, "lb"))) || !good(net::run_on(loop, router.apply(n, where)))) return 45;
  if (shell("ip -n lb -4 -o addr show eth0 | grep -q 10.0.1.9/24")) return 46;
  return 0;
}

// Runs in a child with namespaces of its own, which the kernel removes with it.
int packets_flow() {
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return 100;
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (shell("mkdir -p /run/netns") || mount("tmpfs", "/run/netns", "tmpfs", 0, nullptr) != 0) return 101;
  mount("sysfs", "/sys", "sysfs", 0, nullptr);
  mount("proc", "/proc", "proc", 0, nullptr);
  net::EventLoop loop;
  Router router(loop);
  auto check = [](Status s, int code) {
    if (!s.ok()) std::fprintf(stderr, "%s\n", s.error().message.c_str());
    return s.ok() ? 0 : code;
  };
  if (int c = check(net::run_on(loop, router.set_up()), 102)) return c;
  for (auto name : {"i-a", "i-b"})
    if (int c = check(net::run_on(loop, make_namespace(loop, name)), 103)) return c;
  std::map<std::string, std::string> where = {{"eni-00000000000000001", "i-a"}, {"eni-00000000000000002", "i-b"}};
  NetworkState n = two_subnets();
  if (int c = check(net::run_on(loop, router.apply(n, where)), 104)) return c;
  // The secondary address belongs to a pod behind the instance; here it sits on loopback.
  if (shell("ip netns exec i-b ip addr add 10.0.12.7/32 dev lo")) return 105;
  if (shell("cd /tmp && ip netns exec i-b busybox httpd -p 8080 -h /proc/self && ip netns exec i-b busybox httpd -p 9090 -h /proc/self")) return 106;
  auto get = [](std::string ns, std::string url) { return shell("ip netns exec " + ns + " curl -s -o /dev/null -m 1 " + url); };
  if (get("i-a", "http://10.0.12.6:8080/status")) return 1;
  if (get("i-a", "http://10.0.12.7:8080/status")) return 2;   // secondary address
  if (!get("i-a", "http://10.0.12.6:9090/status")) return 3;  // no rule lets 9090 in
  n.security_groups[0].rules[1].from_port = n.security_groups[0].rules[1].to_port = 9090;
  if (int c = check(net::run_on(loop, router.apply(n, where)), 107)) return c;
  if (get("i-a", "http://10.0.12.6:9090/status")) return 4;
  if (!get("i-a", "http://10.0.12.6:8080/status")) return 5;
  // A second interface in the other's subnet: both addresses answer, each by its own interface.
  n.interfaces.push_back(interface("eni-00000000000000008", "subnet-a", "10.0.11.8", "sg-node"));
  n.interfaces.back().device_index = 1;
  where["eni-00000000000000008"] = "i-b";
  if (int c = check(net::run_on(loop, router.apply(n, where)), 110)) return c;
  if (get("i-a", "http://10.0.12.6:9090/status")) return 9;
  if (get("i-a", "http://10.0.11.8:9090/status")) return 10;
  n.interfaces.pop_back();
  if (int c = check(net::run_on(loop, router.apply(n, where)), 111)) return c;
  // Spoofing: an address that is not the interface's.
  if (shell("ip netns exec i-a ip addr add 10.0.11.99/32 dev eth0")) return 108;
  if (!shell("ip netns exec i-a curl -s -o /dev/null -m 1 --interface 10.0.11.99 http://10.0.12.6:9090/status")) return 6;
  // An interface that goes away takes its link with it.
  n.interfaces.pop_back();
  if (int c = check(net::run_on(loop, router.apply(n, where)), 109)) return c;
  if (!get("i-a", "http://10.0.12.6:9090/status")) return 7;
  if (net::path_exists("/sys/class/net/v00000000000002")) return 8;
  return internet_flows(loop);
}

TEST(Router, carries_packets_as_routes_and_security_groups_say) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make network namespaces";
  pid_t child = fork();
  if (child == 0) {
    // The first process of a pid namespace takes all others with it: the servers that busybox sends to the background.
    if (unshare(CLONE_NEWPID) != 0) _exit(99);
    pid_t first = fork();
    if (first == 0) _exit(packets_flow());
    int ended = 0;
    waitpid(first, &ended, 0);
    _exit(WIFEXITED(ended) ? WEXITSTATUS(ended) : 98);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the number of the failed step in packets_flow()";
}

}  // namespace
}  // namespace caravel::vpc
