#include <gtest/gtest.h>

#include "machines/haproxy_config.h"

namespace caravel::machines {
namespace {

LoadBalancerSpec balancer() {
  LoadBalancerSpec lb;
  lb.arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/1";
  lb.nodes.push_back({"us-east-1a", "subnet-a", "eni-1", "10.0.1.10", "52.0.0.1"});
  TargetGroup g;
  g.arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/abc";
  g.protocol = "HTTP";
  g.health_check.path = "/healthz";
  g.targets.push_back({"10.0.11.20", "10.0.11.20", 80, "", false});
  g.targets.push_back({"10.0.12.20", "10.0.12.20", 80, "", true});
  lb.target_groups.push_back(g);
  Listener l;
  l.protocol = "HTTP";
  l.port = 80;
  ListenerRule r;
  r.priority = 1;
  r.conditions.push_back({"host-header", "", {"*.example.com"}, {}});
  r.action.forward.push_back({g.arn, 1});
  l.rules.push_back(r);
  l.default_action.kind = ListenerAction::Kind::kFixedResponse;
  l.default_action.status_code = 404;
  lb.listeners.push_back(l);
  return lb;
}

TEST(Haproxy, rules_targets_and_fixed_answers) {
  std::string c = render_haproxy(balancer(), "/run/lb").config;
  EXPECT_NE(c.find("bind 10.0.1.10:80"), c.npos) << c;
  EXPECT_NE(c.find("acl r0_0 req.hdr(host),field(1,:),lower -m reg '^.*\\.example\\.com$'"), c.npos) << c;
  EXPECT_NE(c.find("use_backend tg_web_abc if r0_0"), c.npos) << c;
  EXPECT_NE(c.find("http-request return status 404"), c.npos) << c;
  EXPECT_NE(c.find("server t_10_0_12_20_80 10.0.12.20:80 check inter 15s fastinter 1s rise 3 fall 3 weight 0"), c.npos) << c;
}

TEST(Haproxy, targets_change_at_run_time_and_the_rest_by_loading) {
  LoadBalancerSpec before = balancer(), after = balancer();
  after.target_groups[0].targets[0].draining = true;
  after.target_groups[0].targets[1] = {"10.0.13.20", "10.0.13.20", 80, "", false};
  auto c = runtime_changes(before, after);
  ASSERT_TRUE(c.has_value());
  std::vector<std::string> expected = {
      "set server tg_web_abc/t_10_0_12_20_80 state maint",
      "set server tg_web_abc/t_10_0_11_20_80 weight 100%",
      "set server tg_web_abc/t_10_0_11_20_80 state drain",
      "add server tg_web_abc/t_10_0_13_20_80 10.0.13.20:80 check inter 15s fastinter 1s rise 3 fall 3",
      "set server tg_web_abc/t_10_0_13_20_80 addr 10.0.13.20 port 80",
      "enable health tg_web_abc/t_10_0_13_20_80",
      "set server tg_web_abc/t_10_0_13_20_80 state ready",
  };
  EXPECT_EQ(*c, expected);
  EXPECT_TRUE(runtime_changes(before, before)->empty());
  after.listeners[0].rules.clear();
  EXPECT_FALSE(runtime_changes(before, after).has_value());
}

TEST(Haproxy, health_is_read_from_the_statistics) {
  auto h = read_health(balancer(), "# pxname,svname,status,check_status,check_code\ntg_web_abc,t_10_0_11_20_80,DOWN,L7STS,503\ntg_web_abc,t_10_0_12_20_80,UP,L7OK,200\n");
  ASSERT_EQ(h.size(), 2u);
  EXPECT_EQ(h[0].state, "unhealthy");
  EXPECT_EQ(h[0].description, "Health checks failed with these codes: [503]");
  EXPECT_EQ(h[1].state, "draining");
}

}  // namespace
}  // namespace caravel::machines
