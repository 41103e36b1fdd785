#include "scheduler/victims.h"

#include "base/log.h"
#include "kube/types/core.h"

namespace caravel::scheduler {

namespace {

json::Value disruption_target(const Victim& v, const Preemptor& by, Time now) {
  json::Value c;
  c["type"] = "DisruptionTarget";
  c["status"] = "True";
  c["reason"] = "PreemptionByScheduler";
  c["message"] = by.scheduler_name + ": preempting to accommodate a higher priority pod";
  c["lastTransitionTime"] = format_rfc3339(now);
  if (v.generation != 0) c["observedGeneration"] = v.generation;
  json::Value patch;
  patch["metadata"]["uid"] = v.uid;
  patch["status"]["conditions"].push_back(std::move(c));
  return patch;
}

}  // namespace

Task<std::vector<std::string>> remove_victims(Executor& ex, kube::Client client, kube::SeriesRecorder* events, std::vector<Victim> victims, Preemptor by,
                                              std::string node) {
  std::vector<std::string> failed;
  const kube::Resource pods = kube::core::Pod::resource();
  for (const Victim& v : victims) {
    json::Value patch = disruption_target(v, by, ex.now());
    kube::WriteOptions status;
    status.subresource = "status";
    Result<json::Value> told = co_await client.patch(pods, v.ns, v.name, kube::PatchType::kStrategic, std::move(patch), std::move(status));
    Status done = ok();
    if (told.ok()) {
      kube::DeleteOptions options;
      options.uid = v.uid;
      Result<json::Value> removed = co_await client.remove(pods, v.ns, v.name, std::move(options));
      if (!removed.ok()) done = std::move(removed).error();
    } else {
      done = std::move(told).error();
    }
    if (!done.ok() && done.error().code == Code::kNotFound) continue;
    if (!done.ok()) {
      Log("scheduler").warn("cannot remove a preempted pod", {{"pod", v.ns + "/" + v.name}, {"error", done.error().message}});
      failed.push_back(v.ns + "/" + v.name);
      continue;
    }
    events->normal({"v1", "Pod", v.ns, v.name, v.uid, "", ""}, "Preempted", "Preempting", "Preempted by pod " + by.uid + " on node " + node, by.pod);
  }
  co_return failed;
}

}  // namespace caravel::scheduler
