#include "controllers/pod_eviction_logic.h"

#include "controllers/node_match.h"

namespace caravel::controllers {

using kube::core::Node;
using kube::core::Pod;
using kube::core::Taint;

namespace {

// The seconds for which all taints are tolerated: 0 when one is not, nothing when for ever.
std::optional<Duration> tolerated_for(const Pod& p, const std::vector<Taint>& taints) {
  std::optional<Duration> shortest;
  for (auto& taint : taints) {
    const auto first = std::find_if(p.spec.tolerations.begin(), p.spec.tolerations.end(),
                                    [&](auto& t) { return tolerates(std::vector<kube::core::Toleration>(1, t), taint); });
    if (first == p.spec.tolerations.end()) return Duration(0);
    if (!first->toleration_seconds) continue;
    const Duration d = std::chrono::seconds(std::max<int64_t>(0, *first->toleration_seconds));
    shortest = std::min(shortest.value_or(d), d);
  }
  return shortest;
}

Time met_at(const Pod& p, const std::vector<Taint>& taints, Time now) {
  const kube::core::PodCondition* bound = condition(p, "PodScheduled");
  if (!bound || bound->status != "True" || bound->last_transition_time.is_zero()) return now;
  Time last = bound->last_transition_time;
  for (auto& t : taints) last = std::max(last, t.time_added.value_or(now));
  return std::min(last, now);
}

}  // namespace

EvictionPlan plan_eviction(const Pod& p, const std::vector<Taint>& all, const std::optional<PendingEviction>& pending, Time now) {
  EvictionPlan plan;
  std::vector<Taint> taints;
  for (auto& t : all)
    if (t.effect == "NoExecute") taints.push_back(t);
  const bool untolerated = std::any_of(taints.begin(), taints.end(), [&](auto& t) { return !tolerates(p.spec.tolerations, t); });
  const std::optional<Duration> left = tolerated_for(p, taints);
  if (untolerated || !left) {
    plan.cancelled = pending.has_value();
    plan.evict = untolerated;
    return plan;
  }
  if (pending) {
    plan.pending = pending;
  } else {
    const Time since = met_at(p, taints, now);
    plan.pending = PendingEviction{since, since + *left};
  }
  if (plan.pending->due <= now) {
    plan.pending.reset();
    plan.evict = true;
  }
  return plan;
}

json::Value disruption_patch(const Pod& p, const std::string& reason, const std::string& message, bool fail, Time now) {
  json::Value status = json::Value::object();
  if (fail && !is_finished(p)) {
    status["phase"] = "Failed";
    if (p.metadata.generation != 0) status["observedGeneration"] = p.metadata.generation;
  }
  const kube::core::PodCondition* had = condition(p, "DisruptionTarget");
  const bool same = had && had->status == "True" && had->reason == reason && had->message == message;
  if (!reason.empty() && !same) {
    json::Value c = json::Value::object();
    c["type"] = "DisruptionTarget";
    c["status"] = "True";
    c["reason"] = reason;
    c["message"] = message;
    c["lastTransitionTime"] = format_rfc3339(had && had->status == "True" ? had->last_transition_time : now);
    if (p.metadata.generation != 0) c["observedGeneration"] = p.metadata.generation;
    status["conditions"].push_back(std::move(c));
  }
  if (status.as_object().empty()) return json::Value();
  json::Value patch = json::Value::object();
  patch["metadata"]["uid"] = p.metadata.uid;
  patch["status"] = std::move(status);
  return patch;
}

std::vector<PodPtr> surplus_of_ended(std::vector<PodPtr> pods, size_t threshold) {
  std::erase_if(pods, [](auto& p) { return p->status.phase == "Pending" || p->status.phase == "Running" || p->status.phase == "Unknown"; });
  if (pods.size() <= threshold) return {};
  auto evicted = [](const PodPtr& p) { return p->status.phase == "Failed" && p->status.reason == "Evicted"; };
  std::sort(pods.begin(), pods.end(), [&](auto& a, auto& b) {
    if (evicted(a) != evicted(b)) return evicted(a);
    if (a->metadata.creation_timestamp != b->metadata.creation_timestamp) return a->metadata.creation_timestamp < b->metadata.creation_timestamp;
    return a->metadata.name != b->metadata.name ? a->metadata.name < b->metadata.name : a->metadata.namespace_ < b->metadata.namespace_;
  });
  pods.resize(pods.size() - threshold);
  return pods;
}

bool is_stranded(const Pod& p, const Node& n) {
  if (!is_terminating(p.metadata)) return false;
  for (auto& c : n.status.conditions)
    if (c.type == "Ready" && c.status == "True") return false;
  return std::any_of(n.spec.taints.begin(), n.spec.taints.end(), [](auto& t) { return t.key == "node.kubernetes.io/out-of-service"; });
}

}  // namespace caravel::controllers
