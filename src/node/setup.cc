#include "node/setup.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strings.h"
#include "net/process.h"

namespace caravel::node {
namespace {

const Log kLog{"node"};

Result<std::string> text_of(const Flags& flags, const char* name) {
  if (!flags.given(name)) return std::string();
  return net::read_file(flags.get(name));
}

Status apply_flags(Setup& s, const Flags& flags) {
  for (auto& f : flags.all("node-labels")) TRY_VOID(eks::apply_kubelet_flag(s.config, "--node-labels=" + f));
  for (auto& f : flags.all("register-with-taints")) TRY_VOID(eks::apply_kubelet_flag(s.config, "--register-with-taints=" + f));
  if (flags.given("max-pods")) TRY_VOID(eks::apply_kubelet_flag(s.config, "--max-pods=" + flags.get("max-pods")));
  if (flags.given("bootstrap-token")) s.config.bootstrap_token = flags.get("bootstrap-token");
  if (flags.given("server")) s.config.api_server_endpoint = flags.get("server");
  TRY(std::string ca, text_of(flags, "ca"));
  if (!ca.empty()) s.config.certificate_authority = ca;
  if (flags.given("cluster-dns")) s.config.cluster_dns = flags.all("cluster-dns");
  auto number = [&flags](const char* name, auto& to) -> Status {
    if (!flags.given(name)) return ok();
    TRY(int64_t n, flags.get_int(name));
    if (n <= 0) return invalid(std::string("--") + name + " wants a positive number");
    to = static_cast<std::remove_reference_t<decltype(to)>>(n);
    return ok();
  };
  TRY_VOID(number("cpus", s.facts.cpus));
  TRY_VOID(number("memory-mib", s.facts.memory_mib));
  TRY_VOID(number("mtu", s.mtu));
  if (flags.given("instance-type")) s.facts.type = flags.get("instance-type");
  if (flags.given("node-ip")) s.facts.private_ip = flags.get("node-ip");
  if (flags.given("provider-id")) s.provider_id = flags.get("provider-id");
  // aws:///us-east-1a/i-0123
  std::vector<std::string> parts = split(s.provider_id, '/');
  if (parts.size() == 5 && parts[0] == "aws:") {
    s.facts.zone = parts[3];
    s.facts.id = parts[4];
    if (!s.facts.zone.empty()) s.facts.region = s.facts.zone.substr(0, s.facts.zone.size() - 1);
  }
  return ok();
}

}  // namespace

void complete_from_machine(InstanceFacts& f) {
  if (f.cpus == 0) f.cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  struct sysinfo info;
  if (f.memory_mib == 0 && sysinfo(&info) == 0) f.memory_mib = static_cast<int64_t>(info.totalram) * info.mem_unit >> 20;
#if defined(__aarch64__)
  f.architecture = "arm64";
#endif
}

void parse_resolv_conf(const std::string& text, std::vector<std::string>& servers, std::vector<std::string>& searches) {
  for (auto& line : split(text, '\n')) {
    std::vector<std::string> words = split_words(line);
    if (words.size() < 2) continue;
    if (words[0] == "nameserver") servers.push_back(words[1]);
    if (words[0] == "search") searches.assign(words.begin() + 1, words.end());
  }
}

std::vector<Flag> node_flags() {
  return {
      {"node-config", "FILE", "NodeConfig (node.eks.aws/v1alpha1) or EC2 user data; default: the instance's user data"},
      {"kubeconfig", "FILE", "use these credentials instead of asking for a certificate"},
      {"server", "URL", "the Kubernetes API"},
      {"ca", "FILE", "certificate authority of the API server, PEM"},
      {"bootstrap-token", "TOKEN", "to ask for the node's certificate with"},
      {"hostname", "NAME", "the Node's name; default: the private DNS name from the metadata"},
      {"provider-id", "ID", "aws:///ZONE/INSTANCE"},
      {"node-ip", "ADDRESS", "the node's own address; default: from the metadata"},
      {"instance-type", "TYPE", "default: from the metadata"},
      {"cpus", "N", "default: of the instance type, else of this machine"},
      {"memory-mib", "N", "likewise"},
      {"max-pods", "N", "default: by the instance type's network interfaces"},
      {"node-labels", "K=V,...", "further labels", "", true},
      {"register-with-taints", "K=V:EFFECT,...", "taints to register with", "", true},
      {"cluster-dns", "ADDRESS", "the cluster's DNS service", "172.20.0.10", true},
      {"pod-cidr", "CIDR", "take pod addresses from this range instead of the instance's ENIs"},
      {"containerd", "SOCKET", "containerd's socket", "/run/containerd/containerd.sock"},
      {"root-dir", "DIR", "pods, certificates and logs", "/var/lib/caravel/nodes/local"},
      {"cgroup-root", "PATH", "parent of the pods' cgroups; default: /caravel/INSTANCE"},
      {"netns", "PATH", "this node's network namespace as containerd's runtime sees it"},
      {"listen", "ADDRESS", "HTTPS server for logs, exec and port-forward", "0.0.0.0:10250"},
      {"mtu", "BYTES", "of the pods' interfaces", "9001"},
      {"imds", "URL", "instance metadata service", "http://169.254.169.254"},
  };
}

Task<Result<Setup>> read_setup(net::EventLoop& loop, const Flags& flags) {
  Setup s;
  InstanceMetadata metadata(loop, flags.get("imds"));
  const bool self_sufficient = flags.given("hostname") && flags.given("node-ip") && (flags.given("kubeconfig") || flags.given("server") || flags.given("node-config"));
  if (!self_sufficient || !flags.given("provider-id")) {
    auto facts = co_await metadata.facts();
    if (facts.ok()) s.facts = *facts;
    else if (!self_sufficient) co_return std::move(facts).error();
  }
  std::string config_text;
  if (flags.given("node-config")) {
    CO_TRY(config_text, net::read_file(flags.get("node-config")));
  } else if (!flags.given("server") && !flags.given("kubeconfig")) {
    CO_TRY(config_text, co_await metadata.user_data());
  }
  if (!config_text.empty()) {
    CO_TRY(s.config, eks::parse_node_config(config_text));
  }
  CO_TRY_VOID(apply_flags(s, flags));

  s.kubeconfig = flags.get("kubeconfig");
  s.containerd = s.settings.containerd = flags.get("containerd");
  s.listen = flags.get("listen");
  s.pod_cidr = flags.get("pod-cidr");
  if (s.provider_id.empty() && !s.facts.id.empty()) s.provider_id = "aws:///" + s.facts.zone + "/" + s.facts.id;
  if (s.kubeconfig.empty() && s.config.api_server_endpoint.empty())
    co_return invalid("no API server: give --kubeconfig, --server, or a NodeConfig with spec.cluster.apiServerEndpoint");

  NodeSettings& n = s.settings;
  n.node_name = flags.given("hostname") ? flags.get("hostname") : s.facts.private_dns_name;
  n.node_ip = s.facts.private_ip;
  if (n.node_name.empty()) co_return invalid("no node name: give --hostname or run where the instance metadata service answers");
  if (n.node_ip.empty()) co_return invalid("no node address: give --node-ip or run where the instance metadata service answers");
  n.instance_id = s.facts.id.empty() ? n.node_name : s.facts.id;
  n.root_directory = flags.get("root-dir");
  n.cgroup_root = flags.given("cgroup-root") ? flags.get("cgroup-root") : "/caravel/" + n.instance_id;
  n.network_namespace = flags.given("netns") ? flags.get("netns") : "/proc/" + std::to_string(getpid()) + "/ns/net";
  n.cluster_dns = s.config.cluster_dns;
  if (n.cluster_dns.empty()) n.cluster_dns.push_back(flags.get("cluster-dns"));
  if (!self_sufficient) {
    auto resolver = co_await metadata.resolver();
    if (resolver.ok()) {
      n.node_dns.push_back(resolver->first);
      n.node_searches.push_back(resolver->second);
    } else {
      kLog.warn("the VPC's resolver is not known; using this machine's", {{"error", resolver.error().message}});
    }
  }
  if (n.node_dns.empty()) parse_resolv_conf(net::read_file("/etc/resolv.conf").value_or(""), n.node_dns, n.node_searches);
  co_return s;
}

Task<Status> complete_from_ec2(aws::Client& ec2, InstanceFacts& f) {
  json::Value input = json::Value::object();
  input["InstanceTypes"].push_back(f.type);
  auto r = co_await ec2.call("ec2", "DescribeInstanceTypes", std::move(input));
  if (!r.ok()) co_return wrap(std::move(r).error(), "reading the instance type " + f.type);
  const json::Value& answer = *r;
  const json::Value& t = answer["InstanceTypes"].at(0);
  if (f.cpus == 0) f.cpus = static_cast<int>(t["VCpuInfo"]["DefaultVCpus"].as_int());
  if (f.memory_mib == 0) f.memory_mib = t["MemoryInfo"]["SizeInMiB"].as_int();
  f.enis = static_cast<int>(t["NetworkInfo"]["MaximumNetworkInterfaces"].as_int());
  f.addresses_per_eni = static_cast<int>(t["NetworkInfo"]["Ipv4AddressesPerInterface"].as_int());
  complete_from_machine(f);
  co_return ok();
}

}  // namespace caravel::node
