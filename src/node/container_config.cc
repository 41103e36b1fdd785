#include "node/container_config.h"

#include <algorithm>

#include "base/strings.h"
#include "node/pod_status.h"

namespace caravel::node {
namespace {

constexpr int64_t kCpuPeriod = 100'000;  // microseconds
constexpr int64_t kMinQuota = 1000;      // microseconds
constexpr int64_t kMinShares = 2;

const char* kMaskedPaths[] = {"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                              "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"};
const char* kReadonlyPaths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

int64_t amount(const std::map<std::string, kube::Quantity>& m, const char* name, bool milli) {
  auto it = m.find(name);
  if (it == m.end()) return 0;
  return milli ? it->second.milli_value() : it->second.value();
}

cri::NamespaceOption namespaces(const core::Pod& pod) {
  cri::NamespaceOption o;
  o.network = cri::kNode;  // always: caravel-oci puts the sandbox where it belongs
  o.ipc = pod.spec.host_ipc ? cri::kNode : cri::kPod;
  o.pid = pod.spec.host_pid ? cri::kNode : pod.spec.share_process_namespace.value_or(false) ? cri::kPod
                                                                                            : cri::kContainer;
  return o;
}

bool any_privileged(const core::Pod& pod) {
  for (auto* list : {&pod.spec.init_containers, &pod.spec.containers})
    for (auto& c : *list)
      if (c.security_context && c.security_context->privileged.value_or(false)) return true;
  return false;
}

std::string cgroup_parent(const core::Pod& pod, const NodeSettings& node) {
  const std::string qos = qos_class(pod);
  std::string out = node.cgroup_root + "/kubepods";
  if (qos != "Guaranteed") out += "/" + to_lower(qos);
  return out + "/pod" + pod.metadata.uid;
}

int64_t oom_score(const core::Pod& pod, const core::Container& c, int64_t capacity) {
  const std::string qos = qos_class(pod);
  if (pod.spec.priority_class_name == "system-node-critical") return -997;
  if (qos == "Guaranteed") return -997;
  if (qos == "BestEffort" || capacity <= 0) return 1000;
  int64_t score = 1000 - 1000 * amount(c.resources.requests, "memory", false) / capacity;
  return std::clamp<int64_t>(score, 3, 999);
}

std::optional<cri::SecurityProfile> seccomp_profile(const std::optional<core::SeccompProfile>& own, const std::optional<core::SeccompProfile>& pod) {
  cri::SecurityProfile out;
  out.profile_type = cri::kUnconfined;
  const auto& p = own ? own : pod;
  if (p && p->type == "RuntimeDefault") out.profile_type = cri::kRuntimeDefault;
  if (p && p->type == "Localhost") {
    out.profile_type = cri::kLocalhost;
    out.localhost_ref = "/var/lib/kubelet/seccomp/" + p->localhost_profile.value_or("");
  }
  return out;
}

Result<cri::LinuxContainerSecurityContext> security_context(const ContainerInput& in) {
  const core::Pod& pod = *in.pod;
  const core::Container& c = *in.container;
  const core::PodSecurityContext pod_context = pod.spec.security_context.value_or(core::PodSecurityContext());
  const core::SecurityContext own = c.security_context ? *c.security_context : core::SecurityContext();
  cri::LinuxContainerSecurityContext out;
  out.namespace_options = namespaces(pod);
  if (!in.processes_of.empty()) {
    out.namespace_options.pid = cri::kTarget;
    out.namespace_options.target_id = in.processes_of;
  }
  out.privileged = own.privileged.value_or(false);
  out.readonly_rootfs = own.read_only_root_filesystem.value_or(false);
  out.no_new_privs = own.allow_privilege_escalation.has_value() && !*own.allow_privilege_escalation;
  const std::optional<int64_t> user = own.run_as_user ? own.run_as_user : pod_context.run_as_user;
  const std::optional<int64_t> group = own.run_as_group ? own.run_as_group : pod_context.run_as_group;
  if (user) out.run_as_user.emplace().value = *user;
  else if (in.image_user) out.run_as_user.emplace().value = *in.image_user;
  else if (!in.image_user_name.empty()) out.run_as_username = in.image_user_name;
  else if (group) out.run_as_user.emplace().value = 0;
  if (group) out.run_as_group.emplace().value = *group;
  const bool non_root = own.run_as_non_root ? *own.run_as_non_root : pod_context.run_as_non_root.value_or(false);
  const std::string about = " (pod: \"" + pod.metadata.name + "_" + pod.metadata.namespace_ + "(" + pod.metadata.uid + ")\", container: " + c.name + ")";
  if (non_root) {
    if (user && *user == 0) return invalid("container's runAsUser breaks non-root policy" + about);
    if (!user && in.image_user && *in.image_user == 0) return invalid("container has runAsNonRoot and image will run as root" + about);
    if (!user && !in.image_user && !in.image_user_name.empty())
      return invalid("container has runAsNonRoot and image has non-numeric user (" + in.image_user_name + "), cannot verify user is non-root" + about);
    if (!user && !in.image_user) return invalid("container has runAsNonRoot and image will run as root" + about);
  }
  out.supplemental_groups = pod_context.supplemental_groups;
  if (pod_context.fs_group) out.supplemental_groups.push_back(*pod_context.fs_group);
  if (own.capabilities) {
    auto& caps = out.capabilities.emplace();
    caps.add_capabilities = own.capabilities->add;
    caps.drop_capabilities = own.capabilities->drop;
  }
  if (!out.privileged && own.proc_mount.value_or("Default") != "Unmasked") {
    out.masked_paths.assign(std::begin(kMaskedPaths), std::end(kMaskedPaths));
    out.readonly_paths.assign(std::begin(kReadonlyPaths), std::end(kReadonlyPaths));
  }
  out.seccomp = seccomp_profile(own.seccomp_profile, pod_context.seccomp_profile);
  return out;
}

bool volume_is_read_only(const core::Pod& pod, const std::string& volume) {
  auto v = std::find_if(pod.spec.volumes.begin(), pod.spec.volumes.end(), [&](auto& x) { return x.name == volume; });
  return v != pod.spec.volumes.end() && ((v->persistent_volume_claim && v->persistent_volume_claim->read_only) || v->image);
}

Result<std::vector<cri::Mount>> mounts(const ContainerInput& in) {
  std::vector<cri::Mount> out;
  const std::map<std::string, std::string> variables(in.environment.begin(), in.environment.end());
  bool own_hosts = false;
  for (auto& m : in.container->volume_mounts) {
    auto it = in.volumes.find(m.name);
    if (it == in.volumes.end()) return not_found("cannot find volume \"" + m.name + "\" to mount into container \"" + in.container->name + "\"");
    cri::Mount o;
    o.container_path = m.mount_path;
    if (o.container_path.empty() || o.container_path[0] != '/') o.container_path = "/" + o.container_path;
    o.host_path = it->second;
    const std::string sub = m.sub_path_expr.empty() ? m.sub_path : expand(m.sub_path_expr, variables);
    if (!sub.empty()) {
      for (auto& part : split(sub, '/'))
        if (part == "..") return invalid("must not contain '..' in subPath " + sub);
      if (sub[0] == '/') return invalid("error SubPath `" + sub + "` must not be an absolute path");
      o.volume = o.host_path;
      o.host_path += "/" + sub;
    }
    o.readonly = m.read_only || volume_is_read_only(*in.pod, m.name);
    const std::string propagation = m.mount_propagation.value_or("None");
    o.propagation = propagation == "HostToContainer" ? cri::kHostToContainer : propagation == "Bidirectional" ? cri::kBidirectional
                                                                                                              : cri::kPrivate;
    own_hosts |= o.container_path == "/etc/hosts";
    out.push_back(std::move(o));
  }
  const std::string dir = in.node->pod_directory(*in.pod);
  auto add = [&out](std::string container, std::string host) {
    cri::Mount o;
    o.container_path = std::move(container);
    o.host_path = std::move(host);
    out.push_back(std::move(o));
  };
  if (!own_hosts) add("/etc/hosts", dir + "/etc-hosts");
  add("/etc/hostname", dir + "/etc-hostname");
  const std::string message = in.container->termination_message_path.empty() ? "/dev/termination-log" : in.container->termination_message_path;
  add(message, termination_file(*in.pod, in.container->name, in.attempt, *in.node));
  return out;
}

}  // namespace

std::string pod_hostname(const core::Pod& pod, const NodeSettings& node) {
  if (pod.spec.hostname_override) return *pod.spec.hostname_override;
  if (pod.spec.host_network) return node.node_name;
  std::string name = pod.spec.hostname.empty() ? pod.metadata.name : pod.spec.hostname;
  if (name.size() > 63) name.resize(63);  // the kernel's limit
  while (!name.empty() && (name.back() == '-' || name.back() == '.')) name.pop_back();
  if (pod.spec.set_hostname_as_fqdn.value_or(false) && !pod.spec.subdomain.empty())
    name += "." + pod.spec.subdomain + "." + pod.metadata.namespace_ + ".svc." + node.cluster_domain;
  return name;
}

cri::DnsConfig dns_config(const core::Pod& pod, const NodeSettings& node) {
  cri::DnsConfig out;
  std::string policy = pod.spec.dns_policy.empty() ? "ClusterFirst" : pod.spec.dns_policy;
  if (policy == "ClusterFirst" && pod.spec.host_network) policy = "Default";
  if (policy == "ClusterFirst" || policy == "ClusterFirstWithHostNet") {
    out.servers = node.cluster_dns;
    const std::string svc = "svc." + node.cluster_domain;
    out.searches = {pod.metadata.namespace_ + "." + svc, svc, node.cluster_domain};
    out.searches.insert(out.searches.end(), node.node_searches.begin(), node.node_searches.end());
    out.options = {"ndots:5"};
  } else if (policy == "Default") {
    out.servers = node.node_dns;
    out.searches = node.node_searches;
  }
  if (pod.spec.dns_config) {
    auto append = [](std::vector<std::string>& to, const std::vector<std::string>& from) {
      for (auto& s : from)
        if (std::find(to.begin(), to.end(), s) == to.end()) to.push_back(s);
    };
    append(out.servers, pod.spec.dns_config->nameservers);
    append(out.searches, pod.spec.dns_config->searches);
    for (auto& o : pod.spec.dns_config->options) {
      std::erase_if(out.options, [&o](const std::string& have) { return have == o.name || have.rfind(o.name + ":", 0) == 0; });
      out.options.push_back(o.value ? o.name + ":" + *o.value : o.name);
    }
  }
  return out;
}

cri::PodSandboxConfig sandbox_config(const core::Pod& pod, const NodeSettings& node, int attempt, const std::string& pod_ip) {
  cri::PodSandboxConfig out;
  out.metadata.name = pod.metadata.name;
  out.metadata.namespace_ = pod.metadata.namespace_;
  out.metadata.uid = pod.metadata.uid;
  out.metadata.attempt = static_cast<uint32_t>(attempt);
  out.hostname = pod_hostname(pod, node);
  out.log_directory = node.log_directory(pod);
  out.dns_config = dns_config(pod, node);
  out.labels = pod.metadata.labels;
  out.labels[kPodNameLabel] = pod.metadata.name;
  out.labels[kPodNamespaceLabel] = pod.metadata.namespace_;
  out.labels[kPodUidLabel] = pod.metadata.uid;
  out.labels[kNodeLabel] = node.node_name;
  out.annotations = pod.metadata.annotations;
  // Nobody but the node decides on these.
  std::erase_if(out.annotations, [](auto& a) { return a.first.rfind("caravel.dev/", 0) == 0; });
  out.annotations["caravel.dev/netns"] = pod.spec.host_network ? node.network_namespace : "new";
  out.annotations["caravel.dev/hostname"] = out.hostname;
  out.annotations[kPodIpAnnotation] = pod_ip;
  out.linux_.cgroup_parent = cgroup_parent(pod, node);
  out.linux_.security_context.namespace_options = namespaces(pod);
  out.linux_.security_context.privileged = any_privileged(pod);
  out.linux_.security_context.seccomp.emplace().profile_type = cri::kUnconfined;
  // As EKS's containerd: pods may bind low ports and ping without privileges.
  if (!pod.spec.host_network) {
    out.linux_.sysctls["net.ipv4.ip_unprivileged_port_start"] = "0";
    out.linux_.sysctls["net.ipv4.ping_group_range"] = "0 2147483647";
  }
  if (pod.spec.security_context)
    for (auto& s : pod.spec.security_context->sysctls) out.linux_.sysctls[s.name] = s.value;
  return out;
}

cri::LinuxContainerResources container_resources(const core::Pod& pod, const core::Container& c, int64_t memory_capacity) {
  cri::LinuxContainerResources out;
  int64_t request = amount(c.resources.requests, "cpu", true);
  const int64_t limit = amount(c.resources.limits, "cpu", true);
  if (request == 0 && !c.resources.requests.count("cpu")) request = limit;
  out.cpu_shares = std::max(kMinShares, request * 1024 / 1000);
  if (limit > 0) {
    out.cpu_period = kCpuPeriod;
    out.cpu_quota = std::max(kMinQuota, limit * kCpuPeriod / 1000);
  }
  out.memory_limit_in_bytes = amount(c.resources.limits, "memory", false);
  out.oom_score_adj = oom_score(pod, c, memory_capacity);
  return out;
}

std::string termination_file(const core::Pod& pod, const std::string& container, int attempt, const NodeSettings& node) {
  return node.pod_directory(pod) + "/containers/" + container + "/" + std::to_string(attempt);
}

Result<cri::ContainerConfig> container_config(const ContainerInput& in) {
  const core::Pod& pod = *in.pod;
  const core::Container& c = *in.container;
  cri::ContainerConfig out;
  out.metadata.name = c.name;
  out.metadata.attempt = static_cast<uint32_t>(in.attempt);
  out.image.image = in.image_ref;
  const std::map<std::string, std::string> variables(in.environment.begin(), in.environment.end());
  for (auto& a : c.command) out.command.push_back(expand(a, variables));
  for (auto& a : c.args) out.args.push_back(expand(a, variables));
  out.working_dir = c.working_dir;
  for (auto& [k, v] : in.environment) {
    cri::KeyValue e;
    e.key = k;
    e.value = v;
    out.envs.push_back(std::move(e));
  }
  TRY(out.mounts, mounts(in));
  out.labels[kPodNameLabel] = pod.metadata.name;
  out.labels[kPodNamespaceLabel] = pod.metadata.namespace_;
  out.labels[kPodUidLabel] = pod.metadata.uid;
  out.labels[kContainerNameLabel] = c.name;
  out.labels[kNodeLabel] = in.node->node_name;
  out.annotations[kMessagePathAnnotation] = termination_file(pod, c.name, in.attempt, *in.node);
  out.annotations[kMessagePolicyAnnotation] = c.termination_message_policy;
  out.log_path = c.name + "/" + std::to_string(in.attempt) + ".log";
  out.stdin_ = c.stdin;
  out.stdin_once = c.stdin_once;
  out.tty = c.tty;
  out.linux_.resources = container_resources(pod, c, in.node->memory_capacity);
  TRY(out.linux_.security_context, security_context(in));
  return out;
}

}  // namespace caravel::node
