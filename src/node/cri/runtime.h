// The container runtime as the node agent sees it: CRI v1 calls over a gRPC channel. An interface, so
// that tests drive the pod logic without containerd.
#pragma once

#include <memory>
#include <string>

#include "base/task.h"
#include "net/grpc.h"
#include "node/cri/messages.h"

namespace caravel::node::cri {

class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Task<Result<VersionResponse>> version() = 0;
  virtual Task<Result<std::string>> run_pod_sandbox(PodSandboxConfig config) = 0;
  virtual Task<Status> stop_pod_sandbox(std::string id) = 0;
  virtual Task<Status> remove_pod_sandbox(std::string id) = 0;
  virtual Task<Result<PodSandboxStatusResponse>> pod_sandbox_status(std::string id, bool verbose) = 0;
  virtual Task<Result<std::vector<PodSandbox>>> list_pod_sandboxes(StringMap labels) = 0;
  virtual Task<Result<std::string>> create_container(std::string sandbox, ContainerConfig config, PodSandboxConfig sandbox_config) = 0;
  virtual Task<Status> start_container(std::string id) = 0;
  virtual Task<Status> stop_container(std::string id, int64_t grace_seconds) = 0;
  virtual Task<Status> remove_container(std::string id) = 0;
  virtual Task<Result<std::vector<Container>>> list_containers(StringMap labels) = 0;
  virtual Task<Result<ContainerStatusResponse>> container_status(std::string id, bool verbose) = 0;
  virtual Task<Status> update_container_resources(std::string id, LinuxContainerResources resources) = 0;
  virtual Task<Status> reopen_container_log(std::string id) = 0;
  // kTimeout when the command did not end in time.
  virtual Task<Result<ExecSyncResponse>> exec_sync(std::string id, std::vector<std::string> command, int64_t timeout_seconds) = 0;
  // The runtime's address for the streams of a running container: an "http://127.0.0.1:port/attach/token" of the network
  // that the runtime itself is in, good for one upgrade within a minute.
  virtual Task<Result<std::string>> attach(AttachRequest request) = 0;
  // The path of that network's namespace; "" when it is this process' own.
  virtual Result<std::string> network_namespace() = 0;
  virtual Task<Result<std::vector<ContainerStats>>> list_container_stats(StringMap labels) = 0;
  virtual Task<Result<std::optional<Image>>> image_status(std::string image) = 0;
  virtual Task<Result<std::vector<Image>>> list_images() = 0;
  virtual Task<Result<std::string>> pull_image(std::string image, std::optional<AuthConfig> auth) = 0;
  virtual Task<Result<std::vector<FilesystemUsage>>> image_fs_info() = 0;
};

// socket: "/run/containerd/containerd.sock".
std::unique_ptr<Runtime> make_containerd(net::EventLoop& loop, std::string socket);

}  // namespace caravel::node::cri
