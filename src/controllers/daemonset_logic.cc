#include "controllers/daemonset_logic.h"

#include <algorithm>

#include "controllers/history.h"

namespace caravel::controllers {

using kube::core::Pod;

namespace {

constexpr Duration kFirstDelay = 1s, kLongestDelay = 15min;

// The pod of the current revision and the one of an older; more than one of a kind is for plan_daemons to tidy up.
struct Pair {
  PodPtr old, fresh;
  bool excess = false;
};
Pair pair_of(const DaemonNode& n, const std::string& hash) {
  Pair out;
  for (auto& p : n.pods) {
    if (is_terminating(p->metadata)) continue;
    PodPtr& place = is_current_daemon(*p, hash) ? out.fresh : out.old;
    if (place) out.excess = true;
    place = p;
  }
  return out;
}

// Of several pods on a node one stays; with a surge a serving old one also until the new one serves.
void thin_out(std::vector<PodPtr> alive, const DaemonRules& rules, Time now, DaemonPlan& plan) {
  std::sort(alive.begin(), alive.end(), daemon_pod_before);
  if (rules.max_surge == 0) {
    plan.remove.insert(plan.remove.end(), alive.begin() + 1, alive.end());
    return;
  }
  PodPtr old, fresh;
  for (auto& p : alive) {
    PodPtr& place = is_current_daemon(*p, rules.hash) ? fresh : old;
    if (place) plan.remove.push_back(p);
    else place = p;
  }
  if (old && fresh && (!is_ready(*old) || is_available(*fresh, rules.min_ready_seconds, now))) plan.remove.push_back(old);
}

void plan_node(const DaemonNode& n, const DaemonRules& rules, const std::string& key, FailedPodBackoff& backoff, Time now, DaemonPlan& plan) {
  if (n.run && n.pods.empty()) {
    plan.create_on.push_back(n.name);
    return;
  }
  std::vector<PodPtr> alive;
  for (auto& p : n.pods) {
    if (is_terminating(p->metadata)) continue;
    const std::string what = " daemon pod " + p->metadata.namespace_ + "/" + p->metadata.name + " on node " + n.name + ", will try to ";
    if (!n.stay) {
      plan.remove.push_back(p);
    } else if (p->status.phase == "Failed") {
      if (std::optional<Duration> left = backoff.wait(key + n.name, now)) {
        plan.again = plan.again ? std::min(*plan.again, *left) : *left;
        continue;
      }
      backoff.failed(key + n.name, now);
      plan.events.push_back({true, "FailedDaemonPod", "Found failed" + what + "kill it"});
      plan.remove.push_back(p);
    } else if (p->status.phase == "Succeeded") {
      plan.events.push_back({false, "SucceededDaemonPod", "Found succeeded" + what + "delete it"});
      plan.remove.push_back(p);
    } else {
      alive.push_back(p);
    }
  }
  if (!n.stay) return;
  if (alive.size() > 1) thin_out(std::move(alive), rules, now, plan);
  else if (alive.empty() && n.run && rules.max_surge > 0) plan.create_on.push_back(n.name);  // beside one that is going
}

void roll_in_place(const std::vector<DaemonNode>& nodes, const DaemonRules& rules, Time now, DaemonPlan& plan) {
  int unavailable = 0;
  std::vector<PodPtr> candidates;
  for (auto& n : nodes) {
    if (!n.run && n.pods.empty()) continue;
    const Pair pods = pair_of(n, rules.hash);
    const PodPtr& only = pods.old ? pods.old : pods.fresh;
    if (pods.excess || !only || (pods.old && pods.fresh)) {
      ++unavailable;
    } else if (!is_available(*only, rules.min_ready_seconds, now)) {
      ++unavailable;
      if (pods.old) plan.remove.push_back(pods.old);  // replaces nothing that serves
    } else if (pods.old) {
      candidates.push_back(pods.old);
    }
  }
  const int left = std::clamp<int>(rules.max_unavailable - unavailable, 0, static_cast<int>(candidates.size()));
  plan.remove.insert(plan.remove.end(), candidates.begin(), candidates.begin() + left);
}

void roll_with_surge(const std::vector<DaemonNode>& nodes, const DaemonRules& rules, Time now, DaemonPlan& plan) {
  int surging = 0, available = 0, desired = 0;
  std::vector<std::string> candidates;
  std::vector<PodPtr> misplaced;  // they serve, but no pod belongs there
  for (auto& n : nodes) {
    desired += n.run;
    const Pair pods = pair_of(n, rules.hash);
    if (pods.excess) {
      ++surging;
      continue;
    }
    const PodPtr& serving = pods.old ? pods.old : pods.fresh;
    const bool serves = serving && is_available(*serving, rules.min_ready_seconds, now);
    available += serves;
    if (!pods.old) continue;
    if (pods.fresh) {
      if (is_available(*pods.fresh, rules.min_ready_seconds, now)) plan.remove.push_back(pods.old);
      else ++surging;
    } else if (!n.run) {
      (serves ? misplaced : plan.remove).push_back(pods.old);
    } else {
      (serves ? candidates : plan.create_on).push_back(n.name);
    }
  }
  const int spare = std::clamp<int>(available - desired, 0, static_cast<int>(misplaced.size()));
  plan.remove.insert(plan.remove.end(), misplaced.begin(), misplaced.begin() + spare);
  const int left = std::clamp<int>(rules.max_surge - surging, 0, static_cast<int>(candidates.size()));
  plan.create_on.insert(plan.create_on.end(), candidates.begin(), candidates.begin() + left);
}

}  // namespace

std::optional<Duration> FailedPodBackoff::wait(const std::string& key, Time now) const {
  auto it = entries_.find(key);
  if (it == entries_.end()) return std::nullopt;
  const Duration left = it->second.since + it->second.delay - now;
  return left > 0s ? std::optional<Duration>(left) : std::nullopt;
}

void FailedPodBackoff::failed(const std::string& key, Time now) {
  std::erase_if(entries_, [&](auto& e) { return now - e.second.since > 2 * kLongestDelay; });
  auto [it, added] = entries_.try_emplace(key, Entry{kFirstDelay, now});
  if (!added) it->second = {std::min<Duration>(it->second.delay * 2, kLongestDelay), now};
}

bool daemon_pod_before(const PodPtr& a, const PodPtr& b) {
  if (a->spec.node_name.empty() != b->spec.node_name.empty()) return !a->spec.node_name.empty();
  if (a->metadata.creation_timestamp != b->metadata.creation_timestamp) return a->metadata.creation_timestamp < b->metadata.creation_timestamp;
  return a->metadata.name < b->metadata.name;
}

bool is_current_daemon(const Pod& p, const std::string& hash) {
  auto it = p.metadata.labels.find(kRevisionHash);
  return it != p.metadata.labels.end() && it->second == hash;
}

DaemonPlan plan_daemons(const std::vector<DaemonNode>& nodes, const DaemonRules& rules, const std::string& backoff_key, FailedPodBackoff& backoff, Time now) {
  DaemonPlan plan;
  for (auto& n : nodes) {
    if (n.exists) {
      plan_node(n, rules, backoff_key, backoff, now, plan);
      continue;
    }
    // Bound pods of a node that is no more are left to the pod garbage collector.
    for (auto& p : n.pods)
      if (p->spec.node_name.empty() && !is_terminating(p->metadata)) plan.remove.push_back(p);
  }
  return plan;
}

DaemonPlan roll_daemons(const std::vector<DaemonNode>& nodes, const DaemonRules& rules, Time now) {
  DaemonPlan plan;
  if (rules.max_surge == 0) roll_in_place(nodes, rules, now, plan);
  else roll_with_surge(nodes, rules, now, plan);
  if (rules.min_ready_seconds > 0) plan.again = std::chrono::seconds(rules.min_ready_seconds);
  return plan;
}

}  // namespace caravel::controllers
