// Turns a pod and its containers into what the runtime is asked for. Pure functions.
#pragma once

#include <map>
#include <string>

#include "node/environment.h"
#include "node/pod_model.h"

namespace caravel::node {

// What belongs to the node rather than to the pod.
struct NodeSettings {
  std::string node_name, node_ip, instance_id;
  std::string root_directory;     // DATA/nodes/<id>
  std::string cgroup_root;        // "/caravel/i-…"
  std::string network_namespace;  // path, as the container runtime sees it
  std::string cluster_domain = "cluster.local";
  std::vector<std::string> cluster_dns = {"172.20.0.10"};
  std::vector<std::string> node_dns, node_searches;  // of the node's own resolv.conf
  int64_t memory_capacity = 0;                       // bytes
  std::string containerd = "/run/containerd/containerd.sock";

  std::string pod_directory(const core::Pod& pod) const { return root_directory + "/pods/" + pod.metadata.uid; }
  std::string log_directory(const core::Pod& pod) const {
    return root_directory + "/logs/" + pod.metadata.namespace_ + "_" + pod.metadata.name + "_" + pod.metadata.uid;
  }
};

// Labels by which the agent finds its own again: pods of other nodes live in the same runtime.
inline constexpr const char* kNodeLabel = "caravel.dev/node";
inline constexpr const char* kPodNameLabel = "io.kubernetes.pod.name";
inline constexpr const char* kPodNamespaceLabel = "io.kubernetes.pod.namespace";
inline constexpr const char* kPodUidLabel = "io.kubernetes.pod.uid";
inline constexpr const char* kContainerNameLabel = "io.kubernetes.container.name";
inline constexpr const char* kPodIpAnnotation = "caravel.dev/pod-ip";
inline constexpr const char* kGraceAnnotation = "io.kubernetes.pod.terminationGracePeriod";
inline constexpr const char* kMessagePathAnnotation = "io.kubernetes.container.terminationMessagePath";
inline constexpr const char* kMessagePolicyAnnotation = "io.kubernetes.container.terminationMessagePolicy";

std::string pod_hostname(const core::Pod& pod, const NodeSettings& node);
cri::DnsConfig dns_config(const core::Pod& pod, const NodeSettings& node);
cri::PodSandboxConfig sandbox_config(const core::Pod& pod, const NodeSettings& node, int attempt, const std::string& pod_ip);

struct ContainerInput {
  const core::Pod* pod = nullptr;
  const core::Container* container = nullptr;
  const NodeSettings* node = nullptr;
  Environment environment;
  std::map<std::string, std::string> volumes;  // name -> path on the node
  std::string image_ref;
  std::optional<int64_t> image_user;  // numeric user of the image, if it says one
  std::string image_user_name;
  int attempt = 0;
  std::string processes_of;  // the container whose processes it sees; "": as the pod says
};
// Errors are CreateContainerConfigError messages. Makes no files; sub-paths are checked, not created.
Result<cri::ContainerConfig> container_config(const ContainerInput& in);

cri::LinuxContainerResources container_resources(const core::Pod& pod, const core::Container& c, int64_t memory_capacity);

// The host file of a container's termination message.
std::string termination_file(const core::Pod& pod, const std::string& container, int attempt, const NodeSettings& node);

}  // namespace caravel::node
