#include "node/cri/runtime.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "node/cri/protobuf.h"

namespace caravel::node::cri {
namespace {

constexpr Duration kCallTimeout = std::chrono::minutes(2);  // upstream's runtimeRequestTimeout
constexpr Duration kPullTimeout = std::chrono::minutes(30);
constexpr Duration kTimeoutSlack = std::chrono::seconds(10);  // what the runtime may take beyond the work

class Containerd final : public Runtime {
 public:
  Containerd(net::EventLoop& loop, std::string socket) : socket_(std::move(socket)), grpc_(net::make_grpc_client(loop, "unix:" + socket_)) {}

  Task<Result<VersionResponse>> version() override { return call<VersionResponse>("Runtime", "Version", protobuf::encode(VersionRequest{})); }

  Task<Result<std::string>> run_pod_sandbox(PodSandboxConfig config) override {
    RunPodSandboxRequest q;
    q.config = std::move(config);
    auto r = co_await call<PodSandboxId>("Runtime", "RunPodSandbox", protobuf::encode(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->pod_sandbox_id);
  }
  Task<Status> stop_pod_sandbox(std::string id) override { return done("StopPodSandbox", protobuf::encode(PodSandboxId{std::move(id)})); }
  Task<Status> remove_pod_sandbox(std::string id) override { return done("RemovePodSandbox", protobuf::encode(PodSandboxId{std::move(id)})); }
  Task<Result<PodSandboxStatusResponse>> pod_sandbox_status(std::string id, bool verbose) override {
    return call<PodSandboxStatusResponse>("Runtime", "PodSandboxStatus", protobuf::encode(StatusRequest{std::move(id), verbose}));
  }
  Task<Result<std::vector<PodSandbox>>> list_pod_sandboxes(StringMap labels) override {
    ListPodSandboxRequest q;
    q.filter.emplace().label_selector = std::move(labels);
    auto r = co_await call<ListPodSandboxResponse>("Runtime", "ListPodSandbox", protobuf::encode(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->items);
  }
  Task<Result<std::string>> create_container(std::string sandbox, ContainerConfig config, PodSandboxConfig sandbox_config) override {
    CreateContainerRequest q;
    q.pod_sandbox_id = std::move(sandbox);
    q.config = std::move(config);
    q.sandbox_config = std::move(sandbox_config);
    auto r = co_await call<ContainerId>("Runtime", "CreateContainer", protobuf::encode(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->container_id);
  }
  Task<Status> start_container(std::string id) override { return done("StartContainer", protobuf::encode(ContainerId{std::move(id)})); }
  Task<Status> stop_container(std::string id, int64_t grace_seconds) override {
    return done("StopContainer", protobuf::encode(StopContainerRequest{std::move(id), grace_seconds}),
                kCallTimeout + std::chrono::seconds(grace_seconds));
  }
  Task<Status> remove_container(std::string id) override { return done("RemoveContainer", protobuf::encode(ContainerId{std::move(id)})); }
  Task<Result<std::vector<Container>>> list_containers(StringMap labels) override {
    ListContainersRequest q;
    q.filter.emplace().label_selector = std::move(labels);
    auto r = co_await call<ListContainersResponse>("Runtime", "ListContainers", protobuf::encode(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->containers);
  }
  Task<Result<ContainerStatusResponse>> container_status(std::string id, bool verbose) override {
    return call<ContainerStatusResponse>("Runtime", "ContainerStatus", protobuf::encode(StatusRequest{std::move(id), verbose}));
  }
  Task<Status> update_container_resources(std::string id, LinuxContainerResources resources) override {
    UpdateContainerResourcesRequest q;
    q.container_id = std::move(id);
    q.linux_ = std::move(resources);
    return done("UpdateContainerResources", protobuf::encode(q));
  }
  Task<Status> reopen_container_log(std::string id) override { return done("ReopenContainerLog", protobuf::encode(ContainerId{std::move(id)})); }
  Task<Result<ExecSyncResponse>> exec_sync(std::string id, std::vector<std::string> command, int64_t timeout_seconds) override {
    ExecSyncRequest q;
    q.container_id = std::move(id);
    q.cmd = std::move(command);
    q.timeout = timeout_seconds;
    return call<ExecSyncResponse>("Runtime", "ExecSync", protobuf::encode(q),
                                  timeout_seconds > 0 ? std::chrono::seconds(timeout_seconds) + kTimeoutSlack : kPullTimeout);
  }
  Task<Result<std::string>> attach(AttachRequest q) override {
    auto r = co_await call<AttachResponse>("Runtime", "Attach", protobuf::encode(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->url);
  }
  Result<std::string> network_namespace() override {
    // Whoever answers on the socket is the runtime.
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    socket_.copy(to.sun_path, sizeof to.sun_path - 1);
    ucred peer{};
    socklen_t size = sizeof peer;
    const bool known = fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0;
    const int error = errno;
    if (fd >= 0) close(fd);
    if (!known) return unavailable("asking who serves " + socket_ + ": " + std::strerror(error));
    return "/proc/" + std::to_string(peer.pid) + "/ns/net";
  }
  Task<Result<std::vector<ContainerStats>>> list_container_stats(StringMap labels) override {
    ListContainerStatsRequest q;
    q.filter.emplace().label_selector = std::move(labels);
    auto r = co_await call<ListContainerStatsResponse>("Runtime", "ListContainerStats", protobuf::encode(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->stats);
  }
  Task<Result<std::optional<Image>>> image_status(std::string image) override {
    ImageRequest q;
    q.image.image = std::move(image);
    auto r = co_await call<ImageStatusResponse>("Image", "ImageStatus", protobuf::encode(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->image);
  }
  Task<Result<std::vector<Image>>> list_images() override {
    auto r = co_await call<ListImagesResponse>("Image", "ListImages", "");
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->images);
  }
  Task<Result<std::string>> pull_image(std::string image, std::optional<AuthConfig> auth) override {
    PullImageRequest q;
    q.image.image = std::move(image);
    q.auth = std::move(auth);
    auto r = co_await call<PullImageResponse>("Image", "PullImage", protobuf::encode(q), kPullTimeout);
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->image_ref);
  }
  Task<Result<std::vector<FilesystemUsage>>> image_fs_info() override {
    auto r = co_await call<ImageFsInfoResponse>("Image", "ImageFsInfo", "");
    if (!r.ok()) co_return std::move(r).error();
    co_return std::move(r->image_filesystems);
  }

 private:
  template <class Response>
  Task<Result<Response>> call(std::string service, std::string method, std::string request, Duration timeout = kCallTimeout) {
    auto r = co_await grpc_->call("/runtime.v1." + service + "Service/" + method, std::move(request), timeout);
    if (!r.ok()) co_return std::move(r).error();
    Response out;
    if (Status s = protobuf::decode(*r, &out); !s.ok()) co_return std::move(s).error();
    co_return out;
  }
  Task<Status> done(std::string method, std::string request, Duration timeout = kCallTimeout) {
    auto r = co_await grpc_->call("/runtime.v1.RuntimeService/" + method, std::move(request), timeout);
    if (!r.ok()) co_return std::move(r).error();
    co_return ok();
  }

  std::string socket_;  // a path
  std::unique_ptr<net::GrpcClient> grpc_;
};

}  // namespace

std::unique_ptr<Runtime> make_containerd(net::EventLoop& loop, std::string socket) { return std::make_unique<Containerd>(loop, std::move(socket)); }

}  // namespace caravel::node::cri
