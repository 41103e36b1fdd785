// Decisions in which extenders take part. Others may change the cluster while an extender is being asked, so
// nodes are known by name across a question, and the choice is checked again before it is assumed.
#include <algorithm>

#include "kube/codec.h"
#include "scheduler/shell.h"

namespace caravel::scheduler {

namespace {

// Objects go over the wire with their kind, as clients expect them.
template <class T>
json::Value object_of(const T& o) {
  json::Value v = kube::to_json(o);
  v["apiVersion"] = "v1";
  v["kind"] = T::resource().kind;
  return v;
}

}  // namespace

bool Scheduler::Impl::is_extended(const Attempt& a) const {
  if (options.extenders.empty() || !options.transport) return false;
  const json::Value pod = kube::to_json(*a.pod);
  return std::any_of(options.extenders.begin(), options.extenders.end(), [&](const ExtenderConfig& e) { return extender_is_interested(e, pod); });
}

Task<void> Scheduler::Impl::filter_by_extenders(const Attempt*, const json::Value* pod, Extended* x) {
  for (const ExtenderConfig& e : options.extenders) {
    if (x->nodes.empty()) co_return;
    if (e.filter_verb.empty() || !extender_is_interested(e, *pod)) continue;
    std::vector<json::Value> objects;
    if (!e.node_cache_capable)
      for (const auto& name : x->nodes)
        if (NodePtr n = nodes.get("", name)) objects.push_back(object_of(*n));
    json::Value args = extender_args(e, *pod, x->nodes, objects);
    Result<json::Value> answer = co_await options.transport->post(e, e.filter_verb, std::move(args));
    Result<ExtenderVerdict> verdict = ExtenderVerdict();
    if (answer.ok()) verdict = read_filter_result(e, *answer, x->nodes);
    else verdict = std::move(answer).error();
    if (!verdict.ok()) {
      if (e.ignorable) {
        log.warn("skipping an extender as it returned an error and has the ignorable flag set", {{"extender", e.url_prefix}, {"error", verdict.error().message}});
        continue;
      }
      x->status = std::move(verdict).error();
      co_return;
    }
    for (const auto& [node, reason] : verdict->failed) ++x->why.reasons[reason], ++x->why.preemption_may_help;
    for (const auto& [node, reason] : verdict->unresolvable) ++x->why.reasons[reason];
    if (verdict->nodes.size() != x->nodes.size()) x->why.plugins |= kExtenders;
    x->nodes = std::move(verdict->nodes);
  }
}

Task<std::map<std::string, int64_t>> Scheduler::Impl::scores_of_extenders(const Attempt*, const json::Value* pod, std::vector<std::string> names) {
  constexpr int64_t kScale = kMaxScore / 10;  // extenders score from 0 to 10
  std::map<std::string, int64_t> out;
  for (const ExtenderConfig& e : options.extenders) {
    if (e.prioritize_verb.empty() || !extender_is_interested(e, *pod)) continue;
    std::vector<json::Value> objects;
    if (!e.node_cache_capable)
      for (const auto& name : names)
        if (NodePtr n = nodes.get("", name)) objects.push_back(object_of(*n));
    json::Value args = extender_args(e, *pod, names, objects);
    Result<json::Value> answer = co_await options.transport->post(e, e.prioritize_verb, std::move(args));
    if (!answer.ok()) {  // scores are advice
      log.warn("an extender did not score; its scores are left out", {{"extender", e.url_prefix}, {"error", answer.error().message}});
      continue;
    }
    for (const auto& [host, score] : read_priorities(*answer)) out[host] += score * e.weight * kScale;
  }
  co_return out;
}

Task<bool> Scheduler::Impl::decide_extended(Attempt a) {
  const json::Value pod = object_of(*a.pod);
  Extended x;
  Failure why;
  // The node that the pod was promised first, then all.
  for (int round = a.nominated.empty() ? 1 : 0; round < 2 && x.nodes.empty() && x.status.ok(); ++round) {
    x = Extended();
    nominations.hide(a.key, priority_of(*a.pod));
    if (a.holders.empty())
      for (NodeId n : cluster.feasible(a.klass))
        if (round == 1 || cluster.node_name(n) == a.nominated) x.nodes.push_back(cluster.node_name(n));
    why = explain(a);
    nominations.show();
    co_await filter_by_extenders(&a, &pod, &x);
  }
  std::map<std::string, int64_t> extra;
  if (x.status.ok() && x.nodes.size() > 1) extra = co_await scores_of_extenders(&a, &pod, x.nodes);

  // The pod may have gone or changed meanwhile.
  PodPtr now = pods.get(kube::ObjectKey::parse(a.key));
  if (!now || now->metadata.uid != a.pod->metadata.uid || is_assigned(*now) || !queue.contains(a.key) || placed.count(a.key)) {
    cluster.release(a.klass);
    co_return false;
  }
  if (!x.status.ok()) {
    cluster.release(a.klass);
    log.warn("an extender failed; the pod is tried again", {{"pod", a.key}, {"error", x.status.error().message}});
    nominations.clear(a.key);
    queue.errored(a.key, ex.now());
    report(*a.pod, "SchedulerError", x.status.error().message, "");
    co_return false;
  }
  if (!x.nodes.empty()) {
    nominations.hide(a.key, priority_of(*a.pod));
    std::vector<NodeId> still;
    for (const auto& name : x.nodes) {
      NodeId n = cluster.nodes().find(name);
      if (n >= 0 && cluster.nodes().alive[n] && !cluster.check(a.klass, n)) still.push_back(n);
    }
    std::vector<int64_t> scores = cluster.scores(a.klass, still);
    nominations.show();
    std::vector<NodeId> best;
    int64_t top = 0;
    for (size_t i = 0; i < still.size(); ++i) {
      auto more = extra.find(cluster.node_name(still[i]));
      const int64_t score = scores[i] + (more == extra.end() ? 0 : more->second);
      if (best.empty() || score > top) best.clear(), top = score;
      if (score == top) best.push_back(still[i]);
    }
    if (best.empty()) {  // all of them were taken by others meanwhile
      cluster.release(a.klass);
      queue.errored(a.key, ex.now());
      co_return false;
    }
    assume(a, best[cluster.draw(best.size())]);
    co_return true;
  }
  for (const auto& [reason, n] : x.why.reasons) why.reasons[reason] += n;
  why.plugins |= x.why.plugins;
  why.preemption_may_help += x.why.preemption_may_help;
  std::string next = a.nominated;
  std::optional<Preemption> found;
  if (why.nodes != 0) {
    nominations.hide(a.key, priority_of(*a.pod));
    found = find_victims(a, why, next);
    nominations.show();
  }
  if (found) {
    Status agreed = co_await victims_by_extenders(&a, &pod, &*found);
    if (!agreed.ok()) log.warn("an extender failed over the victims of a preemption; nobody is preempted", {{"pod", a.key}, {"error", agreed.error().message}});
    const bool still = queue.contains(a.key) && pods.get(kube::ObjectKey::parse(a.key));
    if (!still) {
      cluster.release(a.klass);
      co_return false;
    }
    if (agreed.ok() && found->best) next = start_preemption(a, *found, why);
  }
  give_up(a, why, next);
  co_return false;
}

Task<Status> Scheduler::Impl::victims_by_extenders(const Attempt*, const json::Value* pod, Preemption* p) {
  // By name and uid: ids may be given to others while an extender is asked.
  std::map<std::string, ExtenderVictims> map;
  std::map<std::string, json::Value> objects;
  std::map<std::string, std::string> keys;  // uid -> namespace/name
  for (const Victims& v : p->candidates) {
    ExtenderVictims& out = map[cluster.node_name(v.node)];
    out.violations = v.violations;
    for (PodId id : v.pods) {
      const std::string key = facts_at(id)->key, uid = placed.at(key).uid;
      out.uids.push_back(uid);
      keys[uid] = key;
      if (PodPtr known = pods.get(kube::ObjectKey::parse(key))) objects[uid] = object_of(*known);
    }
  }
  bool asked = false;
  for (const ExtenderConfig& e : options.extenders) {
    if (map.empty()) break;
    if (e.preempt_verb.empty() || !extender_is_interested(e, *pod)) continue;
    json::Value args = extender_preemption_args(e, *pod, map, objects);
    asked = true;
    Result<json::Value> answer = co_await options.transport->post(e, e.preempt_verb, std::move(args));
    Result<std::map<std::string, ExtenderVictims>> kept = map;
    if (answer.ok()) kept = read_preemption_result(e, *answer);
    else kept = std::move(answer).error();
    if (!kept.ok() && e.ignorable) continue;
    if (!kept.ok()) {
      p->best.reset();
      co_return std::move(kept).error();
    }
    map = std::move(*kept);
  }
  if (!asked) co_return ok();
  p->candidates.clear();
  for (const auto& [name, v] : map) {
    Victims out{cluster.nodes().find(name), {}, static_cast<int>(v.violations)};
    if (out.node < 0) continue;
    for (const auto& uid : v.uids)
      if (auto it = placed.find(keys[uid]); it != placed.end() && it->second.uid == uid && it->second.node == name) out.pods.push_back(it->second.id);
    if (!out.pods.empty()) p->candidates.push_back(std::move(out));
  }
  p->best.reset();
  const FactsOf look = [this](PodId id) { return facts_at(id); };
  if (const Victims* best = pick_one(p->candidates, look)) p->best = *best;
  co_return ok();
}

const ExtenderConfig* Scheduler::Impl::binder_of(const core::Pod& pod) const {
  for (const ExtenderConfig& e : options.extenders)
    if (!e.bind_verb.empty() && options.transport && extender_is_interested(e, kube::to_json(pod))) return &e;
  return nullptr;
}

Task<Status> Scheduler::Impl::bind_by_extender(const ExtenderConfig* e, Subject pod, std::string node) {
  json::Value args;
  args["PodName"] = pod.name;
  args["PodNamespace"] = pod.ns;
  args["PodUID"] = pod.uid;
  args["Node"] = node;
  Result<json::Value> answer = co_await options.transport->post(*e, e->bind_verb, std::move(args));
  if (!answer.ok()) co_return std::move(answer).error();
  const json::Value& reply = *answer;
  for (const auto& m : reply.as_object())
    if ((m.key == "Error" || m.key == "error") && !m.value.as_string().empty()) co_return internal(m.value.as_string());
  co_return ok();
}

}  // namespace caravel::scheduler
