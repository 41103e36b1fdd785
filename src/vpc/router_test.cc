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
  std::string text = render_rules(two_subnets(), {});
  EXPECT_NE(text.find("set members_sg_node { type ipv4_addr; flags interval; elements = { 10.0.11.5, 10.0.12.6, 10.0.12.7 }; }"), text.npos) << text;
  EXPECT_NE(text.find("tcp dport 8080 ip saddr @members_sg_node accept"), text.npos) << text;
  EXPECT_NE(text.find("set no_internet { type ifname; elements = { \"v00000000000002\" }; }"), text.npos) << text;
  EXPECT_EQ(text.find("egress_1"), text.npos) << "equal sets of groups share their chains";
  EXPECT_EQ(text, render_rules(two_subnets(), {}));
}

TEST(NftRules, link_names_are_unique_and_short) {
  EXPECT_EQ(link_name("eni-0123456789abcdef0"), "v3456789abcdef0");
  EXPECT_LE(link_name("eni-0123456789abcdef0").size(), 15u);
}

int shell(const std::string& command) {
  int rc = std::system(command.c_str());
  return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

// Runs in a child with namespaces of its own, which the kernel removes with it.
int packets_flow() {
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return 100;
  mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (shell("mkdir -p /run/netns") || mount("tmpfs", "/run/netns", "tmpfs", 0, nullptr) != 0) return 101;
  mount("sysfs", "/sys", "sysfs", 0, nullptr);
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
  auto get = [](std::string ns, std::string url) { return shell("ip netns exec " + ns + " curl -s -o /dev/null -m 2 " + url); };
  if (get("i-a", "http://10.0.12.6:8080/status")) return 1;
  if (get("i-a", "http://10.0.12.7:8080/status")) return 2;   // secondary address
  if (!get("i-a", "http://10.0.12.6:9090/status")) return 3;  // no rule lets 9090 in
  n.security_groups[0].rules[1].from_port = n.security_groups[0].rules[1].to_port = 9090;
  if (int c = check(net::run_on(loop, router.apply(n, where)), 107)) return c;
  if (get("i-a", "http://10.0.12.6:9090/status")) return 4;
  if (!get("i-a", "http://10.0.12.6:8080/status")) return 5;
  // Spoofing: an address that is not the interface's.
  if (shell("ip netns exec i-a ip addr add 10.0.11.99/32 dev eth0")) return 108;
  if (!shell("ip netns exec i-a curl -s -o /dev/null -m 1 --interface 10.0.11.99 http://10.0.12.6:9090/status")) return 6;
  // An interface that goes away takes its link with it.
  n.interfaces.pop_back();
  if (int c = check(net::run_on(loop, router.apply(n, where)), 109)) return c;
  if (!get("i-a", "http://10.0.12.6:9090/status")) return 7;
  if (net::path_exists("/sys/class/net/v00000000000002")) return 8;
  return 0;
}

TEST(Router, carries_packets_as_routes_and_security_groups_say) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make network namespaces";
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    _exit(packets_flow());
  }
  int status = 0;
  waitpid(child, &status, 0);
  kill(-child, SIGKILL);  // the busybox servers
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the number of the failed step in packets_flow()";
}

}  // namespace
}  // namespace caravel::vpc
