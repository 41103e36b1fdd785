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
  // Who waits for nodes (an autoscaler) must know that this pod has one, though it takes a while.
  const bool takes_a_while = delayed || !object->spec.resource_claims.empty();
  if (takes_a_while && object->status.nominated_node_name != node) co_await patch_status(pod, json::Value(), node);
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
  } else if (volumes_bound.ok()) {
    r = co_await client.create_subresource(core::Pod::resource(), pod.ns, pod.name, "binding", std::move(binding));
    if (!r.ok()) r = wrap(std::move(r).error(), "running Bind plugin \"DefaultBinder\"");
  } else {
    r = std::move(volumes_bound).error();
  }
  permits.release();
  if (r.ok()) {
    queue.remove(pod.key);
    events.normal(reference(pod), "Scheduled", "Binding", "Successfully assigned " + pod.key + " to " + node);
    co_return;
  }
  claims.forget(*object);
  // Take the assumption back, unless the pod has meanwhile gone or was bound by somebody else.
  auto it = placed.find(pod.key);
  if (it == placed.end() || !it->second.assumed || it->second.uid != pod.uid) co_return;
  const std::optional<PodSpec> spec = spec_for_waiters(it->second.id);
  const NodeId left = take(it);
  if (spec) wake_by_pod(kPodDeleted, left, *spec);
  if (r.error().code == Code::kNotFound) {
    queue.remove(pod.key);
    co_return;
  }
  log.warn("binding failed; it is tried again", {{"pod", pod.key}, {"node", node}, {"error", r.error().message}});
  queue.errored(pod.key, ex.now());
  // A conflict is somebody else's binding, whose condition must not be written over.
  if (r.error().code == Code::kConflict) events.warning(reference(pod), "FailedScheduling", "Scheduling", event_note(r.error().message));
  core::Pod promised = *object;
  if (takes_a_while) promised.status.nominated_node_name = node;
  if (r.error().code != Code::kConflict) report(promised, "SchedulerError", r.error().message, "");
  work.set();
}

kube::ObjectReference Scheduler::Impl::reference(const Subject& pod) { return {"v1", "Pod", pod.ns, pod.name, pod.uid, pod.resource_version, ""}; }

void Scheduler::Impl::report(const core::Pod& pod, const char* reason, std::string message, const std::string& nominated) {
  Subject subject = subject_of(pod);
  events.warning(reference(subject), "FailedScheduling", "Scheduling", event_note(message));
  const core::PodCondition* now = nullptr;
  for (const auto& c : pod.status.conditions)
    if (c.type == "PodScheduled") now = &c;
  if (now && now->status == "False" && now->reason == reason && now->message == message && pod.status.nominated_node_name == nominated) return;
  json::Value condition;
  condition["type"] = "PodScheduled";
  condition["status"] = "False";
  condition["reason"] = reason;
  condition["message"] = std::move(message);
  if (pod.metadata.generation != 0) condition["observedGeneration"] = pod.metadata.generation;
  if (!now || now->status != "False") condition["lastTransitionTime"] = format_rfc3339(ex.now());
  scope->spawn(write_status(std::move(subject), std::move(condition), nominated));
}

Task<void> Scheduler::Impl::write_status(Subject pod, json::Value condition, std::string nominated) {
  co_await permits.acquire();
  co_await patch_status(std::move(pod), std::move(condition), std::move(nominated));
  permits.release();
}

Task<void> Scheduler::Impl::patch_status(Subject pod, json::Value condition, std::string nominated) {
  json::Value patch;
  patch["metadata"]["uid"] = pod.uid;
  if (!condition.is_null()) patch["status"]["conditions"].push_back(std::move(condition));
  patch["status"]["nominatedNodeName"] = nominated.empty() ? json::Value() : json::Value(nominated);
  kube::WriteOptions o;
  o.subresource = "status";
  auto r = co_await client.patch(core::Pod::resource(), pod.ns, pod.name, kube::PatchType::kStrategic, std::move(patch), std::move(o));
  if (!r.ok() && r.error().code != Code::kNotFound)
    log.warn("cannot write the pod's status", {{"pod", pod.key}, {"error", r.error().message}});
}

}  // namespace caravel::scheduler
