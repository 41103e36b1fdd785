#include "scheduler/shell.h"

namespace caravel::scheduler {

void Scheduler::Impl::start_binding(const std::string& key) {
  auto it = placed.find(key);
  PodPtr pod = pods.get(kube::ObjectKey::parse(key));
  if (it == placed.end() || !it->second.assumed || !pod) {
    permits.release();
    return;
  }
  const bool delayed = volumes.needs(*pod).delayed;
  if (delayed) permits.release();  // nobody waits for a binding that waits for a volume
  scope->spawn(bind(pod, it->second.node, delayed));
}

Task<Status> Scheduler::Impl::bind_volumes(PodPtr pod, std::string node) {
  Labels labels;
  const Duration timeout = cluster.profiles()[profile_of(*pod).value_or(0)].volume_binding_timeout;
  if (NodePtr n = nodes.get("", node)) labels = n->metadata.labels;
  Status s = co_await volumes.bind(pod, node, std::move(labels), timeout);
  co_await permits.acquire();
  co_return s;
}

Task<void> Scheduler::Impl::bind(PodPtr object, std::string node, bool delayed) {
  const Subject pod = subject_of(*object);
  Status volumes_bound = ok();
  if (delayed) volumes_bound = co_await bind_volumes(object, node);
  if (!volumes_bound.ok()) volumes_bound = wrap(std::move(volumes_bound).error(), "running PreBind plugin \"VolumeBinding\"");
  else if (!object->spec.resource_claims.empty()) volumes_bound = co_await claims.reserve(object);
  json::Value binding;
  binding["apiVersion"] = "v1";
  binding["kind"] = "Binding";
  binding["metadata"]["name"] = pod.name;
  binding["metadata"]["namespace"] = pod.ns;
  binding["metadata"]["uid"] = pod.uid;
  binding["target"]["kind"] = "Node";
  binding["target"]["name"] = node;
  Result<json::Value> r = json::Value();
  const ExtenderConfig* binder = binder_of(*object);
  if (volumes_bound.ok() && binder) {
    Status s = co_await bind_by_extender(binder, pod, node);
    if (!s.ok()) r = std::move(s).error();
  } else if (volumes_bound.ok()) r = co_await client.create_subresource(core::Pod::resource(), pod.ns, pod.name, "binding", std::move(binding));
  else r = std::move(volumes_bound).error();
  permits.release();
  if (r.ok()) {
    queue.remove(pod.key);
    events.normal(reference(pod), "Scheduled", "Successfully assigned " + pod.key + " to " + node);
    co_return;
  }
  claims.forget(*object);
  // Take the assumption back, unless the pod has meanwhile gone or was bound by somebody else.
  auto it = placed.find(pod.key);
  if (it == placed.end() || !it->second.assumed || it->second.uid != pod.uid) co_return;
  wake(kPodDeleted, take(it));
  if (r.error().code == Code::kNotFound) {
    queue.remove(pod.key);
    co_return;
  }
  log.warn("binding failed; it is tried again", {{"pod", pod.key}, {"node", node}, {"error", r.error().message}});
  queue.errored(pod.key, ex.now());
  events.warning(reference(pod), "FailedScheduling", (volumes_bound.ok() ? "binding rejected: " : "") + r.error().message);
  work.set();
}

kube::ObjectReference Scheduler::Impl::reference(const Subject& pod) { return {"v1", "Pod", pod.ns, pod.name, pod.uid, pod.resource_version, ""}; }

void Scheduler::Impl::report_unschedulable(const core::Pod& pod, std::string message, const std::string& nominated) {
  Subject subject = subject_of(pod);
  events.warning(reference(subject), "FailedScheduling", message);
  const core::PodCondition* now = nullptr;
  for (const auto& c : pod.status.conditions)
    if (c.type == "PodScheduled") now = &c;
  if (now && now->status == "False" && now->reason == "Unschedulable" && now->message == message && pod.status.nominated_node_name == nominated) return;
  json::Value condition;
  condition["type"] = "PodScheduled";
  condition["status"] = "False";
  condition["reason"] = "Unschedulable";
  condition["message"] = std::move(message);
  if (pod.metadata.generation != 0) condition["observedGeneration"] = pod.metadata.generation;
  if (!now || now->status != "False") condition["lastTransitionTime"] = format_rfc3339(ex.now());
  scope->spawn(write_status(std::move(subject), std::move(condition), nominated));
}

Task<void> Scheduler::Impl::write_status(Subject pod, json::Value condition, std::string nominated) {
  co_await permits.acquire();
  json::Value patch;
  patch["metadata"]["uid"] = pod.uid;
  if (!condition.is_null()) patch["status"]["conditions"].push_back(std::move(condition));
  patch["status"]["nominatedNodeName"] = nominated.empty() ? json::Value() : json::Value(nominated);
  kube::WriteOptions o;
  o.subresource = "status";
  auto r = co_await client.patch(core::Pod::resource(), pod.ns, pod.name, kube::PatchType::kStrategic, std::move(patch), std::move(o));
  permits.release();
  if (!r.ok() && r.error().code != Code::kNotFound)
    log.warn("cannot write the pod's status", {{"pod", pod.key}, {"error", r.error().message}});
}

}  // namespace caravel::scheduler
