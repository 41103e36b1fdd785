// The real substrate in namespaces of its own: instances with metadata and user data, load balancers with
// traffic. Needs root; what it makes goes with its process, but for a cgroup that it removes.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/strings.h"
#include "machines/world_substrate.h"
#include "net/process.h"
#include "vpc/router.h"

namespace caravel::machines {
namespace {

class FakeCloud : public SubstrateHost {
 public:
  void instance_changed(const std::string& id, InstanceState state, const std::string&) override { states[id] = state; }
  void target_health_changed(const std::vector<TargetHealth>& updates) override {
    for (auto& h : updates) health[h.target_id] = h.state;
  }
  std::optional<std::string> instance_metadata(const std::string& id, const std::string& path) override {
    if (path == "/latest/meta-data/instance-id") return id;
    return std::nullopt;
  }
  std::map<std::string, InstanceState> states;
  std::map<std::string, std::string> health;
};

constexpr char kServe[] = R"sh(#!/bin/sh
B=http://169.254.169.254/latest
T=$(curl -s -m 3 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" $B/api/token)
mkdir -p /tmp/www-$$ && cd /tmp/www-$$
curl -s -m 3 -H "X-aws-ec2-metadata-token: $T" $B/meta-data/instance-id > index.html
curl -s -m 3 -o /dev/null -w "%{http_code}" $B/meta-data/instance-id > v1.html
busybox httpd -p 80 -h /tmp/www-$$
sleep 1000 &
echo "console of $(cat index.html)"
)sh";

SecurityGroup open_group() {
  SecurityGroup g{"sg-all", "vpc-1", "all", {}};
  SecurityGroupRule in, out;
  in.cidr = out.cidr = "0.0.0.0/0";
  out.egress = true;
  g.rules = {in, out};
  return g;
}

Interface make_interface(std::string id, std::string subnet, std::string ip, InterfaceOwner owner, std::string owner_id) {
  Interface i;
  i.id = std::move(id);
  i.subnet_id = std::move(subnet);
  i.primary_ip = std::move(ip);
  i.security_groups = {"sg-all"};
  i.owner = owner;
  i.owner_id = std::move(owner_id);
  return i;
}

NetworkState network() {
  NetworkState n;
  n.vpcs.push_back({"vpc-1", {"10.0.0.0/16"}});
  n.subnets.push_back({"subnet-a", "vpc-1", "10.0.11.0/24", "us-east-1a", "a", {{"10.0.0.0/16", "local"}}});
  n.subnets.push_back({"subnet-p", "vpc-1", "10.0.1.0/24", "us-east-1a", "p", {{"10.0.0.0/16", "local"}, {"0.0.0.0/0", "igw-1"}}});
  n.internet_gateways.push_back({"igw-1", "vpc-1", {{"52.0.0.9", "10.0.1.9"}}});
  n.security_groups.push_back(open_group());
  n.interfaces.push_back(make_interface("eni-00000000000000001", "subnet-a", "10.0.11.5", InterfaceOwner::kInstance, "i-a"));
  n.interfaces.push_back(make_interface("eni-00000000000000002", "subnet-a", "10.0.11.6", InterfaceOwner::kInstance, "i-b"));
  n.interfaces.push_back(make_interface("eni-00000000000000003", "subnet-p", "10.0.1.9", InterfaceOwner::kLoadBalancer, "lb"));
  return n;
}

LoadBalancerSpec balancer(std::vector<Target> targets) {
  LoadBalancerSpec lb;
  lb.arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/web/1";
  lb.name = "web";
  lb.nodes.push_back({"us-east-1a", "subnet-p", "eni-00000000000000003", "10.0.1.9", "52.0.0.9"});
  TargetGroup g;
  g.arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/abc";
  g.name = "web";
  g.protocol = "HTTP";
  g.health_check.interval_seconds = 1;
  g.health_check.healthy_threshold = 2;
  g.health_check.path = "/index.html";
  g.targets = std::move(targets);
  lb.target_groups.push_back(g);
  Listener l;
  l.protocol = "HTTP";
  l.port = 80;
  l.default_action.forward.push_back({g.arn, 1});
  lb.listeners.push_back(l);
  return lb;
}

struct Bench {
  net::EventLoop loop;
  FakeCloud cloud;
  std::string directory = "/tmp/caravel-substrate-test-" + std::to_string(getpid());
  std::string cgroup = "/caravel-substrate-test-" + std::to_string(getpid());
  std::unique_ptr<Substrate> substrate;

  WorldOptions options() {
    WorldOptions o;
    o.program = directory + "/caravel";
    o.data_directory = directory + "/machines";
    o.cgroup_root = cgroup;
    return o;
  }
  bool good(Status s) {
    if (!s.ok()) std::fprintf(stderr, "%s\n", s.error().message.c_str());
    return s.ok();
  }
  bool run(Task<Status> t) { return good(net::run_on(loop, std::move(t))); }
  static Task<int> nap(net::EventLoop& loop) {
    co_await sleep(loop, 20ms);
    co_return 0;
  }
  // `done` may itself run the loop.
  bool until(const std::function<bool()>& done, Duration limit = 8s) {
    for (Time end = loop.now() + limit; loop.now() < end;) {
      if (done()) return true;
      net::run_on(loop, nap(loop));
    }
    return false;
  }
  // What a command prints, run while the loop goes on.
  std::string output(std::vector<std::string> argv) {
    net::ProcessOptions o;
    o.argv = std::move(argv);
    o.stdout_pipe = o.stderr_pipe = true;
    auto r = net::run_on(loop, net::run_process(loop, std::move(o), "", 10s));
    return r.ok() ? r->out : r.error().message;
  }
  std::string get(const std::string& ns, const std::string& url) { return output({"ip", "netns", "exec", ns, "curl", "-s", "-m", "2", url}); }
};

InstanceSpec instance(std::string id, std::string user_data) {
  InstanceSpec s;
  s.id = std::move(id);
  s.vcpus = 1;
  s.memory_mib = 256;
  s.user_data = std::move(user_data);
  return s;
}

bool any_process(const std::string& needle) {
  auto all = net::list_directory("/proc");
  if (!all.ok()) return true;
  for (auto& pid : *all) {
    auto text = net::read_file("/proc/" + pid + "/cgroup");
    if (text.ok() && text->find(needle) != text->npos) return true;
  }
  return false;
}

int instances_and_balancers(Bench& b) {
  if (!b.run(vpc::make_namespace(b.loop, "internet"))) return 1;
  net::make_directories(b.directory).ok();
  // Stands for the binary: notes its arguments and stays.
  if (!b.good(net::write_file_atomic(b.directory + "/caravel", "#!/bin/sh\necho \"$@\" $AWS_ENDPOINT_URL >> " + b.directory + "/agent\nexec sleep 1000\n", 0755))) return 2;
  b.substrate = make_world_substrate(b.loop, b.options());
  b.substrate->attach(&b.cloud);
  if (!b.run(b.substrate->apply_network(network()))) return 3;
  if (!b.run(b.substrate->start_instance(instance("i-a", kServe)))) return 4;
  std::string config = "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec: {cluster: {name: x}}\n";
  if (!b.run(b.substrate->start_instance(instance("i-b", config)))) return 5;
  if (!b.until([&] { return b.cloud.states["i-a"] == InstanceState::kRunning && b.cloud.states["i-b"] == InstanceState::kRunning; })) return 6;
  if (!b.until([&] { return b.get("i-b", "http://10.0.11.5/index.html") == "i-a"; })) return 7;
  if (b.get("i-b", "http://10.0.11.5/v1.html") != "401") return 8;  // no metadata without a token
  auto console = net::run_on(b.loop, b.substrate->console_output("i-a"));
  if (!console.ok() || console->find("console of i-a") == std::string::npos) return 9;

  auto agent = [&] { return net::read_file(b.directory + "/agent").value_or(""); };
  if (!b.until([&] { return agent().find("node --node-config") == 0 && agent().find("http://10.0.0.4:4566") != std::string::npos; })) return 10;
  b.output({"sh", "-c", "for p in $(cat /sys/fs/cgroup/memory" + b.cgroup + "/i-b/system/cgroup.procs /sys/fs/cgroup" + b.cgroup + "/i-b/system/cgroup.procs 2>/dev/null); do kill -9 $p; done"});
  if (!b.until([&] { return split(agent(), '\n').size() > 2; })) return 11;  // the node agent starts again

  if (!b.run(b.substrate->apply_load_balancers({balancer({{"10.0.11.5", "10.0.11.5", 80, "", false}, {"10.0.11.6", "10.0.11.6", 80, "", false}})}))) return 12;
  if (!b.until([&] { return b.cloud.health["10.0.11.5"] == "healthy" && b.cloud.health["10.0.11.6"] == "unhealthy"; }, 12s)) {
    for (auto& [k, v] : b.cloud.health) std::fprintf(stderr, "%s %s\n", k.c_str(), v.c_str());
    std::fprintf(stderr, "%s\n", b.output({"sh", "-c", "cd " + b.directory + "/machines/lb-*; cat haproxy.cfg haproxy.log; ls -la; ip netns"}).c_str());
    return 13;
  }
  if (b.get("internet", "http://52.0.0.9/index.html") != "i-a") return 14;
  // Targets come and go without a new worker.
  auto workers = [&] { return b.output({"sh", "-c", "pgrep -f '" + b.directory + "/machines/lb-.*haproxy.cfg' | wc -l; cat " + b.directory + "/machines/lb-*/haproxy.log | grep -c version"}); };
  std::string processes = workers();
  if (!b.run(b.substrate->apply_load_balancers({balancer({{"10.0.11.6", "10.0.11.6", 80, "", false}})}))) return 50;
  if (!b.until([&] { return b.get("internet", "http://52.0.0.9/index.html") != "i-a"; })) return 51;
  if (!b.run(b.substrate->apply_load_balancers({balancer({{"10.0.11.6", "10.0.11.6", 80, "", false}, {"10.0.11.5", "10.0.11.5", 80, "", false}, {"10.0.11.7", "10.0.11.7", 80, "", false}})}))) return 52;
  if (!b.until([&] { return b.get("internet", "http://52.0.0.9/index.html") == "i-a" && b.cloud.health["10.0.11.5"] == "healthy" && b.cloud.health["10.0.11.7"] == "unhealthy"; })) return 53;
  if (workers() != processes) return 54;
  // The balancer's process is killed: it comes back by itself.
  b.output({"sh", "-c", "pkill -9 -f '" + b.directory + "/machines/lb-.*haproxy.cfg'"});
  if (!b.until([&] { return b.get("internet", "http://52.0.0.9/index.html") == "i-a"; })) return 15;

  // A restarted cloud takes over what runs.
  b.substrate.reset();
  b.cloud.states.clear();
  b.substrate = make_world_substrate(b.loop, b.options());
  b.substrate->attach(&b.cloud);
  if (!b.run(b.substrate->apply_network(network())) || !b.run(b.substrate->start_instance(instance("i-a", kServe)))) return 16;
  if (!b.until([&] { return b.cloud.states["i-a"] == InstanceState::kRunning; })) return 17;
  if (b.get("internet", "http://10.0.11.5/") == "i-a") return 18;  // still no way in from outside
  if (!b.run(b.substrate->keep_only_instances({"i-a"}))) return 19;
  if (vpc::namespace_exists("i-b") || any_process(b.cgroup + "/i-b")) return 20;
  if (!b.run(b.substrate->stop_instance("i-a", true, 1s))) return 21;
  if (!b.until([&] { return b.cloud.states["i-a"] == InstanceState::kTerminated; })) return 22;
  if (vpc::namespace_exists("i-a") || any_process(b.cgroup + "/i-a") || net::path_exists(b.directory + "/machines/i-a")) return 23;
  return 0;
}

TEST(WorldSubstrate, runs_instances_and_load_balancers) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make network namespaces";
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) _exit(100);
    mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    if (mount("tmpfs", "/run", "tmpfs", 0, nullptr) != 0) _exit(101);
    Bench b;
    int step = instances_and_balancers(b);
    b.substrate.reset();
    net::remove_tree(b.directory).ok();
    for (auto root : {"/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"})
      for (auto leaf : {"/i-a/system", "/i-b/system", "/i-a", "/i-b", ""}) rmdir((root + b.cgroup + leaf).c_str());
    _exit(step);
  }
  int status = 0;
  waitpid(child, &status, 0);
  kill(-child, SIGKILL);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the number of the failed step in instances_and_balancers()";
}

}  // namespace
}  // namespace caravel::machines
