#include "node/node_object.h"

#include <sys/utsname.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/strings.h"
#include "kube/types/coordination.h"
#include "net/process.h"

namespace caravel::node {
namespace {

const Log kLog{"node"};
using kube::coordination::Lease;
constexpr Duration kHeartbeat = std::chrono::seconds(10);
constexpr Duration kStatusAnyway = std::chrono::minutes(5);  // an unchanged status is written this often
constexpr Duration kRetry = std::chrono::milliseconds(500);
constexpr int kLeaseSeconds = 40;
constexpr size_t kImagesMax = 50;
constexpr const char* kKubeletVersion = "v1.36.2-eks-5f2c8d1";  // as the API server
constexpr int kKubeletPort = 10250;

std::string os_image() {
  auto text = net::read_file("/etc/os-release");
  if (text.ok())
    for (auto& line : split(*text, '\n'))
      if (line.rfind("PRETTY_NAME=", 0) == 0) return replace_all(line.substr(12), "\"", "");
  return "Linux";
}

// A stable identifier in the form of a UUID, from the instance's.
std::string uuid_of(const std::string& seed) {
  const std::string h = sha256_hex(seed);
  return h.substr(0, 8) + "-" + h.substr(8, 4) + "-" + h.substr(12, 4) + "-" + h.substr(16, 4) + "-" + h.substr(20, 12);
}

core::NodeSystemInfo system_info(const NodeIdentity& id) {
  core::NodeSystemInfo out;
  utsname u{};
  uname(&u);
  const std::string seed = id.facts.id.empty() ? id.name : id.facts.id;
  out.machine_id = sha256_hex(seed + "machine").substr(0, 32);
  out.system_uuid = uuid_of(seed);
  out.boot_id = trim(net::read_file("/proc/sys/kernel/random/boot_id").value_or(""));
  out.kernel_version = u.release;
  out.os_image = os_image();
  out.container_runtime_version = id.runtime.runtime_name + "://" + id.runtime.runtime_version;
  out.kubelet_version = kKubeletVersion;
  out.operating_system = "linux";
  out.architecture = id.facts.architecture;
  return out;
}

void set_condition(std::vector<core::NodeCondition>& list, const std::string& type, bool value, const std::string& reason, const std::string& message, Time now) {
  core::NodeCondition* c = nullptr;
  for (auto& e : list)
    if (e.type == type) c = &e;
  if (!c) {
    c = &list.emplace_back();
    c->type = type;
  }
  const std::string status = value ? "True" : "False";
  if (c->status != status) c->last_transition_time = now;
  c->status = status;
  c->reason = reason;
  c->message = message;
  c->last_heartbeat_time = now;
}

// Equal but for the heartbeats.
bool same(core::NodeStatus a, core::NodeStatus b) {
  for (auto* s : {&a, &b})
    for (auto& c : s->conditions) c.last_heartbeat_time = Time{};
  return a == b;
}

}  // namespace

core::Node node_object(const NodeIdentity& id, Time) {
  core::Node n;
  n.metadata.name = id.name;
  n.metadata.labels = eks::node_labels(id.facts, id.name, id.config);
  n.metadata.annotations["volumes.kubernetes.io/controller-managed-attach-detach"] = "true";
  n.spec.provider_id = id.provider_id;
  n.spec.taints = id.config.taints;
  return n;
}

core::NodeStatus node_status(const NodeIdentity& id, const core::NodeStatus& previous, bool ready, const std::string& why_not,
                             const std::vector<cri::Image>& images, Time now) {
  core::NodeStatus s = previous;
  s.capacity = id.resources.capacity;
  s.allocatable = id.resources.allocatable;
  s.node_info = system_info(id);
  s.addresses.clear();
  for (auto& [type, address] : {std::pair<const char*, std::string>{"InternalIP", id.internal_ip}, {"InternalDNS", id.name}, {"Hostname", id.name}}) {
    core::NodeAddress a;
    a.type = type;
    a.address = address;
    s.addresses.push_back(std::move(a));
  }
  s.daemon_endpoints.kubelet_endpoint.port = kKubeletPort;
  set_condition(s.conditions, "MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available", now);
  set_condition(s.conditions, "DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure", now);
  set_condition(s.conditions, "PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available", now);
  set_condition(s.conditions, "Ready", ready, ready ? "KubeletReady" : "KubeletNotReady", ready ? "kubelet is posting ready status" : why_not, now);
  s.images.clear();
  for (auto& i : images) {
    if (s.images.size() == kImagesMax) break;
    core::ContainerImage o;
    o.names = i.repo_digests;
    o.names.insert(o.names.end(), i.repo_tags.begin(), i.repo_tags.end());
    o.size_bytes = static_cast<int64_t>(i.size);
    s.images.push_back(std::move(o));
  }
  return s;
}

Task<Status> NodeRegistrar::try_register() {
  core::Node wanted = node_object(id_, ex_->now());
  auto made = co_await client_.create<core::Node>(wanted);
  if (made.ok()) {
    uid_ = made->metadata.uid;
    last_ = made->status;
    kLog.info("registered node", {{"node", id_.name}});
    co_return ok();
  }
  if (made.error().code != Code::kAlreadyExists && made.error().code != Code::kConflict) co_return std::move(made).error();
  auto there = co_await client_.get<core::Node>("", id_.name);
  if (!there.ok()) co_return std::move(there).error();
  uid_ = there->metadata.uid;
  last_ = there->status;
  // An existing object keeps its taints and what others set; our labels and provider id are brought up to date.
  json::Value patch = json::Value::object();
  for (auto& [k, v] : wanted.metadata.labels) patch["metadata"]["labels"][k] = v;
  for (auto& [k, v] : wanted.metadata.annotations) patch["metadata"]["annotations"][k] = v;
  if (there->spec.provider_id.empty() && !id_.provider_id.empty()) patch["spec"]["providerID"] = id_.provider_id;
  auto r = co_await client_.patch(core::Node::resource(), "", id_.name, kube::PatchType::kMerge, std::move(patch));
  if (!r.ok()) co_return std::move(r).error();
  co_return ok();
}

Task<void> NodeRegistrar::register_node() {
  while (true) {
    Status s = co_await try_register();
    if (s.ok()) co_return;
    kLog.warn("node not registered yet", {{"error", s.error().message}});
    co_await sleep(*ex_, kRetry);
  }
}

Task<Status> NodeRegistrar::write_status(const std::string& not_ready) {
  const Time now = Time::from_seconds(ex_->now().seconds());
  auto images = co_await runtime_->list_images();
  core::NodeStatus s = node_status(id_, last_, not_ready.empty(), not_ready, images.ok() ? *images : std::vector<cri::Image>(), now);
  if (same(s, last_) && now - last_written_ < kStatusAnyway) co_return ok();
  json::Value patch = json::Value::object();
  patch["status"] = kube::to_json(s);
  kube::WriteOptions o;
  o.subresource = "status";
  auto r = co_await client_.patch(core::Node::resource(), "", id_.name, kube::PatchType::kStrategic, std::move(patch), std::move(o));
  if (!r.ok()) co_return std::move(r).error();
  last_ = std::move(s);
  last_written_ = now;
  co_return ok();
}

Task<Status> NodeRegistrar::renew_lease() {
  const Time now = ex_->now();
  auto there = co_await client_.get<Lease>("kube-node-lease", id_.name);
  Lease lease;
  const bool fresh = !there.ok();
  if (there.ok()) lease = *there;
  else if (there.error().code != Code::kNotFound) co_return std::move(there).error();
  lease.metadata.name = id_.name;
  lease.metadata.namespace_ = "kube-node-lease";
  if (fresh) {
    auto& o = lease.metadata.owner_references.emplace_back();
    o.api_version = "v1";
    o.kind = "Node";
    o.name = id_.name;
    o.uid = uid_;
  }
  lease.spec.holder_identity = id_.name;
  lease.spec.lease_duration_seconds = kLeaseSeconds;
  lease.spec.renew_time = now;
  if (fresh) {
    auto r = co_await client_.create<Lease>(std::move(lease));
    if (!r.ok()) co_return std::move(r).error();
  } else {
    auto r = co_await client_.update<Lease>(std::move(lease));
    if (!r.ok()) co_return std::move(r).error();
  }
  co_return ok();
}

Task<void> NodeRegistrar::heartbeat(std::function<std::string()> not_ready) {
  while (true) {
    Status s = co_await write_status(not_ready());
    // A Node that somebody deleted stays deleted until the agent starts again, as upstream: whoever
    // removes a node deletes the object first and the machine afterwards.
    if (!s.ok()) kLog.warn("node status not written", {{"error", s.error().message}});
    Status lease = co_await renew_lease();
    if (!lease.ok()) kLog.warn("node lease not renewed", {{"error", lease.error().message}});
    co_await sleep(*ex_, s.ok() && lease.ok() ? kHeartbeat : kRetry);
  }
}

}  // namespace caravel::node
