#include "hollow/objects.h"

#include <map>

#include <cstdlib>

#include "base/hash.h"
#include "base/strings.h"
#include "kube/quantity.h"

namespace caravel::hollow {

namespace {

json::Value condition(const char* type, const char* status, const char* reason, const char* message, const std::string& when) {
  json::Value c = json::Value::object();
  c["type"] = type;
  c["status"] = status;
  c["lastHeartbeatTime"] = when;
  c["lastTransitionTime"] = when;
  c["reason"] = reason;
  c["message"] = message;
  return c;
}

const std::string& annotation(const json::Value& pod, const char* key) { return pod.path({"metadata", "annotations"})[key].as_string(); }

// `generation`: of the pod that the condition was seen with.
void set_pod_condition(json::Value& conditions, const char* type, bool is, const char* reason, const std::string& when, int64_t generation) {
  const char* status = is ? "True" : "False";
  for (json::Value& c : conditions.arr()) {
    if (std::as_const(c)["type"].as_string() != type) continue;
    if (std::as_const(c)["status"].as_string() != status) c["lastTransitionTime"] = when;
    c["status"] = status;
    c.erase("reason");
    c.erase("message");
    if (*reason) c["reason"] = reason;
    if (generation != 0) c["observedGeneration"] = generation;
    return;
  }
  json::Value c = json::Value::object();
  c["type"] = type;
  c["status"] = status;
  c["lastProbeTime"] = nullptr;
  c["lastTransitionTime"] = when;
  if (*reason) c["reason"] = reason;
  if (generation != 0) c["observedGeneration"] = generation;
  conditions.push_back(std::move(c));
}

std::string container_id(const std::string& uid, const std::string& name) { return "hollow://" + sha256_hex(uid + "/" + name); }

}  // namespace

std::string node_address(const NodeSpec& s) { return s.internal_ip.empty() ? "127.0.0.1" : s.internal_ip; }

json::Value node_object(const NodeSpec& s, const std::string& version, Time now) {
  std::string when = format_rfc3339(now);
  json::Value v = json::Value::object();
  v["apiVersion"] = "v1";
  v["kind"] = "Node";
  json::Value& m = v["metadata"];
  m["name"] = s.name;
  json::Value& labels = m["labels"];
  labels["kubernetes.io/hostname"] = s.name;
  labels["kubernetes.io/os"] = "linux";
  labels["kubernetes.io/arch"] = s.arch;
  labels["beta.kubernetes.io/os"] = "linux";
  labels["beta.kubernetes.io/arch"] = s.arch;
  if (!s.region.empty()) labels["topology.kubernetes.io/region"] = s.region;
  if (!s.zone.empty()) labels["topology.kubernetes.io/zone"] = s.zone;
  if (!s.instance_type.empty()) {
    labels["node.kubernetes.io/instance-type"] = s.instance_type;
    labels["beta.kubernetes.io/instance-type"] = s.instance_type;
  }
  for (auto& [k, val] : s.labels) labels[k] = val;
  m["annotations"]["hollow.caravel.dev/node"] = "true";
  json::Value& spec = v["spec"];
  if (!s.provider_id.empty()) spec["providerID"] = s.provider_id;
  for (auto& t : s.taints) {
    json::Value taint = json::Value::object();
    taint["key"] = t.key;
    if (!t.value.empty()) taint["value"] = t.value;
    taint["effect"] = t.effect;
    spec["taints"].push_back(std::move(taint));
  }
  json::Value& st = v["status"];
  for (const char* list : {"capacity", "allocatable"}) {
    bool all = std::string_view(list) == "capacity";
    json::Value& c = st[list];
    kube::Quantity cpu = kube::Quantity::of(s.cpu), memory = kube::Quantity::of(s.memory);
    if (!all) {
      cpu -= kube::Quantity::of(s.reserved_cpu);
      memory -= kube::Quantity::of(s.reserved_memory);
    }
    c["cpu"] = cpu.text();
    c["memory"] = memory.text();
    c["ephemeral-storage"] = s.ephemeral_storage;
    c["pods"] = std::to_string(s.pods);
  }
  json::Value& conditions = st["conditions"];
  conditions.push_back(condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available", when));
  conditions.push_back(condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure", when));
  conditions.push_back(condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available", when));
  conditions.push_back(condition("Ready", "True", "KubeletReady", "kubelet is posting ready status", when));
  json::Value a = json::Value::object();
  a["type"] = "InternalIP";
  a["address"] = node_address(s);
  st["addresses"].push_back(a);
  a["type"] = "Hostname";
  a["address"] = s.name;
  st["addresses"].push_back(std::move(a));
  st["daemonEndpoints"]["kubeletEndpoint"]["Port"] = 10250;
  json::Value& info = st["nodeInfo"];
  std::string id = sha256_hex(s.name).substr(0, 32);
  info["machineID"] = id;
  info["systemUUID"] = id;
  info["bootID"] = id;
  info["kernelVersion"] = "hollow";
  info["osImage"] = "Hollow node";
  info["containerRuntimeVersion"] = "hollow://1";
  info["kubeletVersion"] = version;
  info["kubeProxyVersion"] = version;
  info["operatingSystem"] = "linux";
  info["architecture"] = s.arch;
  return v;
}

bool is_ready_node(const json::Value& node) {
  for (const json::Value& c : node["status"]["conditions"].as_array())
    if (c["type"].as_string() == "Ready") return c["status"].as_string() == "True";
  return false;
}

kube::coordination::Lease lease_object(const std::string& node, const std::string& node_uid, Duration length, Time now) {
  kube::coordination::Lease v;
  v.metadata.name = node;
  v.metadata.namespace_ = "kube-node-lease";
  if (!node_uid.empty()) {
    kube::meta::OwnerReference owner;
    owner.api_version = "v1";
    owner.kind = "Node";
    owner.name = node;
    owner.uid = node_uid;
    v.metadata.owner_references.push_back(std::move(owner));
  }
  v.spec.holder_identity = node;
  v.spec.lease_duration_seconds = static_cast<int32_t>(std::chrono::duration_cast<std::chrono::seconds>(length).count());
  v.spec.renew_time = now;
  return v;
}

bool is_ready_pod(const json::Value& pod) {
  for (const json::Value& c : pod["status"]["conditions"].as_array())
    if (c["type"].as_string() == "Ready") return c["status"].as_string() == "True";
  return false;
}

bool never_ready(const json::Value& pod) { return annotation(pod, "hollow.caravel.dev/never-ready") == "true"; }
std::string run_for(const json::Value& pod) { return annotation(pod, "hollow.caravel.dev/run-for"); }

Time start_time(const json::Value& pod, Time fallback) {
  for (const json::Value& c : pod["status"]["containerStatuses"].as_array()) {
    auto t = parse_rfc3339(c.path({"state", "running", "startedAt"}).as_string());
    if (t.ok()) return *t;
  }
  return fallback;
}

bool is_due(const json::Value& pod, Time now) {
  auto d = parse_duration(run_for(pod));
  // startedAt is in whole seconds: it is never later than the start.
  return start_time(pod, now) + (d.ok() ? *d : Duration(0)) <= now;
}

void run_pod(json::Value& pod, const std::string& address, const std::string& host, Time now) {
  const json::Value& before = pod;
  std::string when = format_rfc3339(now), uid = before["metadata"]["uid"].as_string();
  bool ready = !never_ready(before);
  json::Value& s = pod["status"];
  s["phase"] = "Running";
  json::Value ip = json::Value::object();
  if (!host.empty()) {
    s["hostIP"] = host;
    ip["ip"] = host;
    s["hostIPs"] = json::Value(json::Array{ip});
  }
  bool host_network = before["spec"]["hostNetwork"].as_bool();
  s["podIP"] = host_network ? host : address;
  ip["ip"] = host_network ? host : address;
  s["podIPs"] = json::Value(json::Array{ip});
  if (!std::as_const(s)["startTime"].is_string()) s["startTime"] = when;
  const int64_t generation = before["metadata"]["generation"].as_int();
  if (generation != 0) s["observedGeneration"] = generation;
  json::Value& conditions = s["conditions"];
  set_pod_condition(conditions, "PodScheduled", true, "", when, generation);
  set_pod_condition(conditions, "PodReadyToStartContainers", true, "", when, generation);
  set_pod_condition(conditions, "Initialized", true, "", when, generation);
  set_pod_condition(conditions, "Ready", ready, ready ? "" : "ContainersNotReady", when, generation);
  set_pod_condition(conditions, "ContainersReady", ready, ready ? "" : "ContainersNotReady", when, generation);
  // A container that runs already has not started again.
  std::map<std::string, std::string> started;
  for (const json::Value& c : before["status"]["containerStatuses"].as_array())
    if (c.path({"state", "running", "startedAt"}).is_string()) started[c["name"].as_string()] = c.path({"state", "running", "startedAt"}).as_string();
  json::Array statuses;
  for (const json::Value& c : before["spec"]["containers"].as_array()) {
    json::Value cs = json::Value::object();
    cs["name"] = c["name"];
    auto since = started.find(c["name"].as_string());
    cs["state"]["running"]["startedAt"] = since == started.end() ? when : since->second;
    cs["lastState"] = json::Value::object();
    cs["ready"] = ready;
    cs["restartCount"] = 0;
    cs["image"] = c["image"];
    cs["imageID"] = c["image"];
    cs["containerID"] = container_id(uid, c["name"].as_string());
    cs["started"] = true;
    statuses.push_back(std::move(cs));
  }
  if (std::as_const(s)["containerStatuses"].size() != statuses.size() || ready) s["containerStatuses"] = json::Value(std::move(statuses));
}

void finish_pod(json::Value& pod, Time now) {
  const json::Value& before = pod;
  std::string when = format_rfc3339(now);
  int code = std::atoi(annotation(before, "hollow.caravel.dev/exit-code").c_str());
  json::Value& s = pod["status"];
  s["phase"] = code == 0 ? "Succeeded" : "Failed";
  const char* reason = code == 0 ? "PodCompleted" : "PodFailed";
  const int64_t generation = before["metadata"]["generation"].as_int();
  set_pod_condition(s["conditions"], "Ready", false, reason, when, generation);
  set_pod_condition(s["conditions"], "ContainersReady", false, reason, when, generation);
  for (json::Value& c : s["containerStatuses"].arr()) {
    std::string started = std::as_const(c).path({"state", "running", "startedAt"}).as_string();
    json::Value t = json::Value::object();
    t["exitCode"] = code;
    t["reason"] = code == 0 ? "Completed" : "Error";
    if (!started.empty()) t["startedAt"] = started;
    t["finishedAt"] = when;
    c["state"] = json::Value::object();
    c["state"]["terminated"] = std::move(t);
    c["ready"] = false;
    c["started"] = false;
  }
}

}  // namespace caravel::hollow
