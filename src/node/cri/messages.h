// The messages of the Container Runtime Interface (runtime.v1) that the node agent speaks, with their
// field numbers. Names are those of the protocol in snake_case; fields that we never use are left out.
// Times are nanoseconds of Unix time, memory is bytes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace caravel::node::cri {

using StringMap = std::map<std::string, std::string>;

struct Empty {
  void fields(auto&) {}
};

struct Int64Value {
  int64_t value = 0;
  void fields(auto& f) { f(1, value); }
};
struct UInt64Value {
  uint64_t value = 0;
  void fields(auto& f) { f(1, value); }
};

struct VersionRequest {
  std::string version;
  void fields(auto& f) { f(1, version); }
};
struct VersionResponse {
  std::string version, runtime_name, runtime_version, runtime_api_version;
  void fields(auto& f) {
    f(1, version);
    f(2, runtime_name);
    f(3, runtime_version);
    f(4, runtime_api_version);
  }
};

enum NamespaceMode { kPod = 0,
                     kContainer = 1,
                     kNode = 2,
                     kTarget = 3 };
struct NamespaceOption {
  int network = kPod, pid = kPod, ipc = kPod;
  std::string target_id;
  void fields(auto& f) {
    f(1, network);
    f(2, pid);
    f(3, ipc);
    f(4, target_id);
  }
};

enum ProfileType { kRuntimeDefault = 0,
                   kUnconfined = 1,
                   kLocalhost = 2 };
struct SecurityProfile {
  int profile_type = kRuntimeDefault;
  std::string localhost_ref;
  void fields(auto& f) {
    f(1, profile_type);
    f(2, localhost_ref);
  }
};

struct LinuxSandboxSecurityContext {
  NamespaceOption namespace_options;
  std::optional<Int64Value> run_as_user, run_as_group;
  bool readonly_rootfs = false, privileged = false;
  std::vector<int64_t> supplemental_groups;
  std::optional<SecurityProfile> seccomp, apparmor;
  void fields(auto& f) {
    f(1, namespace_options);
    f(3, run_as_user);
    f(4, readonly_rootfs);
    f(5, supplemental_groups);
    f(6, privileged);
    f(8, run_as_group);
    f(9, seccomp);
    f(10, apparmor);
  }
};

struct LinuxContainerResources {
  int64_t cpu_period = 0, cpu_quota = 0, cpu_shares = 0, memory_limit_in_bytes = 0, oom_score_adj = 0;
  std::string cpuset_cpus, cpuset_mems;
  StringMap unified;
  int64_t memory_swap_limit_in_bytes = 0;
  void fields(auto& f) {
    f(1, cpu_period);
    f(2, cpu_quota);
    f(3, cpu_shares);
    f(4, memory_limit_in_bytes);
    f(5, oom_score_adj);
    f(6, cpuset_cpus);
    f(7, cpuset_mems);
    f(9, unified);
    f(10, memory_swap_limit_in_bytes);
  }
};

struct LinuxPodSandboxConfig {
  std::string cgroup_parent;
  LinuxSandboxSecurityContext security_context;
  StringMap sysctls;
  std::optional<LinuxContainerResources> overhead, resources;
  void fields(auto& f) {
    f(1, cgroup_parent);
    f(2, security_context);
    f(3, sysctls);
    f(4, overhead);
    f(5, resources);
  }
};

struct PodSandboxMetadata {
  std::string name, uid, namespace_;
  uint32_t attempt = 0;
  void fields(auto& f) {
    f(1, name);
    f(2, uid);
    f(3, namespace_);
    f(4, attempt);
  }
};

struct DnsConfig {
  std::vector<std::string> servers, searches, options;
  void fields(auto& f) {
    f(1, servers);
    f(2, searches);
    f(3, options);
  }
};

struct PodSandboxConfig {
  PodSandboxMetadata metadata;
  std::string hostname, log_directory;
  std::optional<DnsConfig> dns_config;
  StringMap labels, annotations;
  LinuxPodSandboxConfig linux_;
  void fields(auto& f) {
    f(1, metadata);
    f(2, hostname);
    f(3, log_directory);
    f(4, dns_config);
    f(6, labels);
    f(7, annotations);
    f(8, linux_);
  }
};

struct RunPodSandboxRequest {
  PodSandboxConfig config;
  std::string runtime_handler;
  void fields(auto& f) {
    f(1, config);
    f(2, runtime_handler);
  }
};
// RunPodSandboxResponse, StopPodSandboxRequest, RemovePodSandboxRequest.
struct PodSandboxId {
  std::string pod_sandbox_id;
  void fields(auto& f) { f(1, pod_sandbox_id); }
};
struct StatusRequest {  // PodSandboxStatusRequest, ContainerStatusRequest
  std::string id;
  bool verbose = false;
  void fields(auto& f) {
    f(1, id);
    f(2, verbose);
  }
};

enum PodSandboxState { kSandboxReady = 0,
                       kSandboxNotReady = 1 };
struct PodSandboxStatus {
  std::string id;
  PodSandboxMetadata metadata;
  int state = 0;
  int64_t created_at = 0;
  StringMap labels, annotations;
  void fields(auto& f) {
    f(1, id);
    f(2, metadata);
    f(3, state);
    f(4, created_at);
    f(7, labels);
    f(8, annotations);
  }
};
struct PodSandboxStatusResponse {
  PodSandboxStatus status;
  StringMap info;
  void fields(auto& f) {
    f(1, status);
    f(2, info);
  }
};
struct PodSandboxFilter {
  std::string id;
  StringMap label_selector;
  void fields(auto& f) {
    f(1, id);
    f(3, label_selector);
  }
};
struct ListPodSandboxRequest {
  std::optional<PodSandboxFilter> filter;
  void fields(auto& f) { f(1, filter); }
};
struct PodSandbox {
  std::string id;
  PodSandboxMetadata metadata;
  int state = 0;
  int64_t created_at = 0;
  StringMap labels, annotations;
  void fields(auto& f) {
    f(1, id);
    f(2, metadata);
    f(3, state);
    f(4, created_at);
    f(5, labels);
    f(6, annotations);
  }
};
struct ListPodSandboxResponse {
  std::vector<PodSandbox> items;
  void fields(auto& f) { f(1, items); }
};

struct ImageSpec {
  std::string image;
  void fields(auto& f) { f(1, image); }
};
struct KeyValue {
  std::string key, value;
  void fields(auto& f) {
    f(1, key);
    f(2, value);
  }
};
enum MountPropagation { kPrivate = 0,
                        kHostToContainer = 1,
                        kBidirectional = 2 };
struct Mount {
  std::string container_path, host_path;
  bool readonly = false;
  int propagation = kPrivate;
  std::string volume;  // not sent: the volume of whose inside host_path is, for a subPath
  void fields(auto& f) {
    f(1, container_path);
    f(2, host_path);
    f(3, readonly);
    f(5, propagation);
  }
};
struct Capability {
  std::vector<std::string> add_capabilities, drop_capabilities;
  void fields(auto& f) {
    f(1, add_capabilities);
    f(2, drop_capabilities);
  }
};
struct LinuxContainerSecurityContext {
  std::optional<Capability> capabilities;
  bool privileged = false;
  NamespaceOption namespace_options;
  std::optional<Int64Value> run_as_user, run_as_group;
  std::string run_as_username;
  bool readonly_rootfs = false;
  std::vector<int64_t> supplemental_groups;
  bool no_new_privs = false;
  std::vector<std::string> masked_paths, readonly_paths;
  std::optional<SecurityProfile> seccomp, apparmor;
  void fields(auto& f) {
    f(1, capabilities);
    f(2, privileged);
    f(3, namespace_options);
    f(5, run_as_user);
    f(6, run_as_username);
    f(7, readonly_rootfs);
    f(8, supplemental_groups);
    f(11, no_new_privs);
    f(12, run_as_group);
    f(13, masked_paths);
    f(14, readonly_paths);
    f(15, seccomp);
    f(16, apparmor);
  }
};
struct LinuxContainerConfig {
  LinuxContainerResources resources;
  LinuxContainerSecurityContext security_context;
  void fields(auto& f) {
    f(1, resources);
    f(2, security_context);
  }
};
struct ContainerMetadata {
  std::string name;
  uint32_t attempt = 0;
  void fields(auto& f) {
    f(1, name);
    f(2, attempt);
  }
};
struct ContainerConfig {
  ContainerMetadata metadata;
  ImageSpec image;
  std::vector<std::string> command, args;
  std::string working_dir;
  std::vector<KeyValue> envs;
  std::vector<Mount> mounts;
  StringMap labels, annotations;
  std::string log_path;
  bool stdin_ = false, stdin_once = false, tty = false;
  LinuxContainerConfig linux_;
  void fields(auto& f) {
    f(1, metadata);
    f(2, image);
    f(3, command);
    f(4, args);
    f(5, working_dir);
    f(6, envs);
    f(7, mounts);
    f(9, labels);
    f(10, annotations);
    f(11, log_path);
    f(12, stdin_);
    f(13, stdin_once);
    f(14, tty);
    f(15, linux_);
  }
};
struct CreateContainerRequest {
  std::string pod_sandbox_id;
  ContainerConfig config;
  PodSandboxConfig sandbox_config;
  void fields(auto& f) {
    f(1, pod_sandbox_id);
    f(2, config);
    f(3, sandbox_config);
  }
};
// CreateContainerResponse, StartContainerRequest, RemoveContainerRequest, ReopenContainerLogRequest.
struct ContainerId {
  std::string container_id;
  void fields(auto& f) { f(1, container_id); }
};
struct StopContainerRequest {
  std::string container_id;
  int64_t timeout = 0;  // seconds
  void fields(auto& f) {
    f(1, container_id);
    f(2, timeout);
  }
};

struct AttachRequest {
  std::string container_id;
  bool stdin_ = false, tty = false, stdout_ = false, stderr_ = false;
  void fields(auto& f) {
    f(1, container_id);
    f(2, stdin_);
    f(3, tty);
    f(4, stdout_);
    f(5, stderr_);
  }
};
struct AttachResponse {
  std::string url;
  void fields(auto& f) { f(1, url); }
};

enum ContainerState { kCreated = 0,
                      kRunning = 1,
                      kExited = 2,
                      kUnknown = 3 };
struct ContainerFilter {
  std::string id, pod_sandbox_id;
  StringMap label_selector;
  void fields(auto& f) {
    f(1, id);
    f(3, pod_sandbox_id);
    f(4, label_selector);
  }
};
struct ListContainersRequest {
  std::optional<ContainerFilter> filter;
  void fields(auto& f) { f(1, filter); }
};
struct Container {
  std::string id, pod_sandbox_id;
  ContainerMetadata metadata;
  ImageSpec image;
  std::string image_ref;
  int state = 0;
  int64_t created_at = 0;
  StringMap labels, annotations;
  void fields(auto& f) {
    f(1, id);
    f(2, pod_sandbox_id);
    f(3, metadata);
    f(4, image);
    f(5, image_ref);
    f(6, state);
    f(7, created_at);
    f(8, labels);
    f(9, annotations);
  }
};
struct ListContainersResponse {
  std::vector<Container> containers;
  void fields(auto& f) { f(1, containers); }
};
struct ContainerStatus {
  std::string id;
  ContainerMetadata metadata;
  int state = 0;
  int64_t created_at = 0, started_at = 0, finished_at = 0;
  int32_t exit_code = 0;
  ImageSpec image;
  std::string image_ref, reason, message;
  StringMap labels, annotations;
  std::vector<Mount> mounts;
  std::string log_path;
  void fields(auto& f) {
    f(1, id);
    f(2, metadata);
    f(3, state);
    f(4, created_at);
    f(5, started_at);
    f(6, finished_at);
    f(7, exit_code);
    f(8, image);
    f(9, image_ref);
    f(10, reason);
    f(11, message);
    f(12, labels);
    f(13, annotations);
    f(14, mounts);
    f(15, log_path);
  }
};
struct ContainerStatusResponse {
  ContainerStatus status;
  StringMap info;
  void fields(auto& f) {
    f(1, status);
    f(2, info);
  }
};
struct UpdateContainerResourcesRequest {
  std::string container_id;
  LinuxContainerResources linux_;
  void fields(auto& f) {
    f(1, container_id);
    f(2, linux_);
  }
};
struct ExecSyncRequest {
  std::string container_id;
  std::vector<std::string> cmd;
  int64_t timeout = 0;  // seconds
  void fields(auto& f) {
    f(1, container_id);
    f(2, cmd);
    f(3, timeout);
  }
};
struct ExecSyncResponse {
  std::string stdout_, stderr_;
  int32_t exit_code = 0;
  void fields(auto& f) {
    f(1, stdout_);
    f(2, stderr_);
    f(3, exit_code);
  }
};

struct Image {
  std::string id;
  std::vector<std::string> repo_tags, repo_digests;
  uint64_t size = 0;
  std::optional<Int64Value> uid;
  std::string username;
  void fields(auto& f) {
    f(1, id);
    f(2, repo_tags);
    f(3, repo_digests);
    f(4, size);
    f(5, uid);
    f(6, username);
  }
};
struct ImageRequest {  // ListImagesRequest's and ImageStatusRequest's and RemoveImageRequest's image
  ImageSpec image;
  void fields(auto& f) { f(1, image); }
};
struct ListImagesResponse {
  std::vector<Image> images;
  void fields(auto& f) { f(1, images); }
};
struct ImageStatusResponse {
  std::optional<Image> image;
  void fields(auto& f) { f(1, image); }
};
struct AuthConfig {
  std::string username, password, auth, server_address, identity_token, registry_token;
  void fields(auto& f) {
    f(1, username);
    f(2, password);
    f(3, auth);
    f(4, server_address);
    f(5, identity_token);
    f(6, registry_token);
  }
};
struct PullImageRequest {
  ImageSpec image;
  std::optional<AuthConfig> auth;
  std::optional<PodSandboxConfig> sandbox_config;
  void fields(auto& f) {
    f(1, image);
    f(2, auth);
    f(3, sandbox_config);
  }
};
struct PullImageResponse {
  std::string image_ref;
  void fields(auto& f) { f(1, image_ref); }
};
struct FilesystemIdentifier {
  std::string mountpoint;
  void fields(auto& f) { f(1, mountpoint); }
};
struct FilesystemUsage {
  int64_t timestamp = 0;
  FilesystemIdentifier fs_id;
  UInt64Value used_bytes, inodes_used;
  void fields(auto& f) {
    f(1, timestamp);
    f(2, fs_id);
    f(3, used_bytes);
    f(4, inodes_used);
  }
};
struct ImageFsInfoResponse {
  std::vector<FilesystemUsage> image_filesystems;
  void fields(auto& f) { f(1, image_filesystems); }
};

struct ContainerAttributes {
  std::string id;
  ContainerMetadata metadata;
  StringMap labels;
  void fields(auto& f) {
    f(1, id);
    f(2, metadata);
    f(3, labels);
  }
};
struct CpuUsage {
  int64_t timestamp = 0;
  UInt64Value usage_core_nano_seconds, usage_nano_cores;
  void fields(auto& f) {
    f(1, timestamp);
    f(2, usage_core_nano_seconds);
    f(3, usage_nano_cores);
  }
};
struct MemoryUsage {
  int64_t timestamp = 0;
  UInt64Value working_set_bytes, available_bytes, usage_bytes, rss_bytes, page_faults, major_page_faults;
  void fields(auto& f) {
    f(1, timestamp);
    f(2, working_set_bytes);
    f(3, available_bytes);
    f(4, usage_bytes);
    f(5, rss_bytes);
    f(6, page_faults);
    f(7, major_page_faults);
  }
};
struct ContainerStats {
  ContainerAttributes attributes;
  CpuUsage cpu;
  MemoryUsage memory;
  FilesystemUsage writable_layer;
  void fields(auto& f) {
    f(1, attributes);
    f(2, cpu);
    f(3, memory);
    f(4, writable_layer);
  }
};
struct ContainerStatsFilter {
  std::string id, pod_sandbox_id;
  StringMap label_selector;
  void fields(auto& f) {
    f(1, id);
    f(2, pod_sandbox_id);
    f(3, label_selector);
  }
};
struct ListContainerStatsRequest {
  std::optional<ContainerStatsFilter> filter;
  void fields(auto& f) { f(1, filter); }
};
struct ListContainerStatsResponse {
  std::vector<ContainerStats> stats;
  void fields(auto& f) { f(1, stats); }
};

}  // namespace caravel::node::cri
