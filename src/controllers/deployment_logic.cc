#include "controllers/deployment_logic.h"

#include <algorithm>
#include <cmath>

#include "controllers/common.h"

namespace caravel::controllers {

using kube::apps::Deployment;
using kube::apps::DeploymentCondition;
using kube::apps::DeploymentStatus;
using kube::apps::ReplicaSet;

namespace {

int wanted(const Deployment& d) { return d.spec.replicas.value_or(1); }
int size_of(const ReplicaSet& rs) { return rs.spec.replicas.value_or(1); }

int number_annotation(const ReplicaSet& rs, const char* key) {
  auto it = rs.metadata.annotations.find(key);
  return it == rs.metadata.annotations.end() ? -1 : std::atoi(it->second.c_str());
}

bool older(const SetPtr& a, const SetPtr& b) {
  if (a->metadata.creation_timestamp != b->metadata.creation_timestamp) return a->metadata.creation_timestamp < b->metadata.creation_timestamp;
  return a->metadata.name < b->metadata.name;
}

}  // namespace

Bounds bounds_of(const Deployment& d) {
  Bounds b;
  if (d.spec.strategy.type == "Recreate") return b;
  kube::IntOrString surge("25%"), unavailable("25%");
  if (d.spec.strategy.rolling_update) {
    if (d.spec.strategy.rolling_update->max_surge) surge = *d.spec.strategy.rolling_update->max_surge;
    if (d.spec.strategy.rolling_update->max_unavailable) unavailable = *d.spec.strategy.rolling_update->max_unavailable;
  }
  b.surge = surge.scaled(wanted(d), true).value_or(1);
  b.unavailable = unavailable.scaled(wanted(d), false).value_or(0);
  if (b.surge == 0 && b.unavailable == 0) b.unavailable = 1;
  return b;
}

int max_unavailable(const Deployment& d) {
  if (d.spec.strategy.type == "Recreate" || wanted(d) == 0) return 0;
  return std::min(bounds_of(d).unavailable, wanted(d));
}

int64_t revision_of(const kube::meta::ObjectMeta& m) {
  auto it = m.annotations.find(kRevision);
  return it == m.annotations.end() ? 0 : std::atoll(it->second.c_str());
}

int total_replicas(const std::vector<SetPtr>& sets) {
  int n = 0;
  for (auto& s : sets) n += size_of(*s);
  return n;
}
int actual_replicas(const std::vector<SetPtr>& sets) {
  int n = 0;
  for (auto& s : sets) n += s->status.replicas;
  return n;
}
int ready_replicas(const std::vector<SetPtr>& sets) {
  int n = 0;
  for (auto& s : sets) n += s->status.ready_replicas;
  return n;
}
int available_replicas(const std::vector<SetPtr>& sets) {
  int n = 0;
  for (auto& s : sets) n += s->status.available_replicas;
  return n;
}

SetPtr find_new_set(const Deployment& d, const std::vector<SetPtr>& sets) {
  std::vector<SetPtr> sorted = sets;
  std::sort(sorted.begin(), sorted.end(), older);
  for (auto& s : sorted) {
    kube::core::PodTemplateSpec t = s->spec.template_;
    t.metadata.labels.erase(kPodTemplateHash);
    kube::core::PodTemplateSpec mine = d.spec.template_;
    mine.metadata.labels.erase(kPodTemplateHash);
    if (t == mine) return s;
  }
  return nullptr;
}

int new_set_size(const Deployment& d, const std::vector<SetPtr>& all, const ReplicaSet& fresh) {
  if (d.spec.strategy.type == "Recreate") return wanted(d);
  if (size_of(fresh) > wanted(d)) return wanted(d);
  int most = wanted(d) + bounds_of(d).surge;
  int now = total_replicas(all);
  if (now >= most) return size_of(fresh);
  return size_of(fresh) + std::min(most - now, wanted(d) - size_of(fresh));
}

std::vector<Resize> shrink_old(const Deployment& d, const std::vector<SetPtr>& all, const std::vector<SetPtr>& old, const ReplicaSet& fresh) {
  std::vector<Resize> out;
  int old_total = total_replicas(old);
  if (old_total == 0) return out;
  int least = wanted(d) - max_unavailable(d);
  int fresh_unavailable = size_of(fresh) - fresh.status.available_replicas;
  int budget = total_replicas(all) - least - fresh_unavailable;
  if (budget <= 0) return out;
  std::vector<SetPtr> sorted = old;
  std::sort(sorted.begin(), sorted.end(), older);
  std::map<std::string, int> size;
  for (auto& s : sorted) size[s->metadata.uid] = size_of(*s);
  // Pods that do not serve cost nothing to remove.
  int cleaned = 0;
  for (auto& s : sorted) {
    if (cleaned >= budget) break;
    int& n = size[s->metadata.uid];
    if (n == 0 || n == s->status.available_replicas) continue;
    int by = std::min(budget - cleaned, n - s->status.available_replicas);
    if (by <= 0) continue;
    n -= by;
    cleaned += by;
  }
  int available = available_replicas(all);
  int left = available - least;
  for (auto& s : sorted) {
    if (left <= 0) break;
    int& n = size[s->metadata.uid];
    int by = std::min(n, left);
    n -= by;
    left -= by;
  }
  for (auto& s : sorted)
    if (size[s->metadata.uid] != size_of(*s)) out.push_back({s, size[s->metadata.uid]});
  return out;
}

std::vector<Resize> scale_proportionally(const Deployment& d, const std::vector<SetPtr>& all, const std::vector<SetPtr>& old, const SetPtr& fresh) {
  std::vector<Resize> out;
  std::vector<SetPtr> active;
  for (auto& s : all)
    if (size_of(*s) > 0) active.push_back(s);
  // One ReplicaSet (or none, then the newest): it takes everything.
  SetPtr only = active.size() == 1 ? active[0] : nullptr;
  if (active.empty()) {
    only = fresh;
    for (auto& s : old)
      if (!only || older(only, s)) only = fresh ? fresh : s;
  }
  if (only) {
    out.push_back({only, wanted(d)});
    return out;
  }
  // The new one has everything: the old ones go.
  if (fresh && size_of(*fresh) == wanted(d) && fresh->status.available_replicas == wanted(d)) {
    for (auto& s : old)
      if (size_of(*s) > 0) out.push_back({s, 0});
    return out;
  }
  if (d.spec.strategy.type == "Recreate") return out;
  int allowed = wanted(d) > 0 ? wanted(d) + bounds_of(d).surge : 0;
  int to_add = allowed - total_replicas(active);
  // With nothing to add each keeps its size and learns the new bounds: else this stays a scaling event for ever.
  if (to_add == 0) {
    for (auto& s : active) out.push_back({s, size_of(*s)});
    return out;
  }
  // Larger ones first; growing prefers newer ones, shrinking older ones.
  std::sort(active.begin(), active.end(), [&](auto& a, auto& b) {
    if (size_of(*a) != size_of(*b)) return size_of(*a) > size_of(*b);
    return to_add > 0 ? older(b, a) : older(a, b);
  });
  std::vector<int> next;
  int added = 0;
  for (auto& s : active) {
    int before = number_annotation(*s, kMaxReplicas);
    if (before <= 0) before = std::max(1, d.status.replicas);
    int share = static_cast<int>(std::lround(static_cast<double>(size_of(*s)) * allowed / before)) - size_of(*s);
    int left = to_add - added;
    share = to_add > 0 ? std::min(share, left) : std::max(share, left);
    if (to_add > 0 && share < 0) share = 0;
    if (to_add < 0 && share > 0) share = 0;
    next.push_back(size_of(*s) + share);
    added += share;
  }
  next[0] = std::max(0, next[0] + to_add - added);  // what rounding left over
  for (size_t i = 0; i < active.size(); ++i)
    out.push_back({active[i], std::max(0, next[i])});
  return out;
}

bool is_scaling_event(const Deployment& d, const std::vector<SetPtr>& all) {
  for (auto& s : all) {
    if (size_of(*s) == 0) continue;
    int desired = number_annotation(*s, kDesiredReplicas);
    if (desired >= 0 && desired != wanted(d)) return true;
  }
  return false;
}

const DeploymentCondition* find(const DeploymentStatus& s, std::string_view type) {
  for (auto& c : s.conditions)
    if (c.type == type) return &c;
  return nullptr;
}

void set_condition(DeploymentStatus& s, std::string type, std::string status, std::string reason, std::string message, Time now) {
  now = Time::from_seconds(now.seconds());
  DeploymentCondition c;
  c.last_update_time = c.last_transition_time = now;
  if (const DeploymentCondition* had = find(s, type)) {
    if (had->status == status && had->reason == reason) return;
    if (had->status == status) c.last_transition_time = had->last_transition_time;
    std::erase_if(s.conditions, [&](auto& o) { return o.type == type; });
  }
  c.type = std::move(type);
  c.status = std::move(status);
  c.reason = std::move(reason);
  c.message = std::move(message);
  s.conditions.push_back(std::move(c));
}

bool has_deadline(const Deployment& d) { return d.spec.progress_deadline_seconds && *d.spec.progress_deadline_seconds != 0x7fffffff; }

std::string longer_history(const std::string& history, const std::string& revision) {
  constexpr size_t kMost = 2000;
  if (history.empty()) return revision;
  size_t start = 0;
  while (start < history.size() && history.size() - start + 1 + revision.size() > kMost) {
    const size_t comma = history.find(',', start);
    start = comma == std::string::npos ? history.size() : comma + 1;
  }
  return start == history.size() ? revision : history.substr(start) + "," + revision;
}

std::string set_name(const std::string& deployment, const std::string& hash) {
  constexpr size_t kMost = 253;  // of an object's name
  return deployment.substr(0, kMost - 1 - hash.size()) + "-" + hash;
}

bool is_complete(const Deployment& d, const DeploymentStatus& s) {
  return s.updated_replicas == wanted(d) && s.replicas == wanted(d) && s.available_replicas == wanted(d) &&
         s.observed_generation >= d.metadata.generation;
}

namespace {

bool progressing(const DeploymentStatus& before, const DeploymentStatus& now) {
  return now.updated_replicas > before.updated_replicas || now.replicas - now.updated_replicas < before.replicas - before.updated_replicas ||
         now.ready_replicas > before.ready_replicas || now.available_replicas > before.available_replicas;
}

const kube::apps::ReplicaSetCondition* failure_of(const ReplicaSet& rs) {
  for (auto& c : rs.status.conditions)
    if (c.type == "ReplicaFailure") return &c;
  return nullptr;
}

bool timed_out(const Deployment& d, const DeploymentStatus& s, Time now) {
  const DeploymentCondition* c = find(s, "Progressing");
  if (!c) return false;
  if (c->reason == "NewReplicaSetAvailable") return false;
  if (c->reason == "ProgressDeadlineExceeded") return true;
  if (!has_deadline(d)) return false;
  return c->last_update_time + std::chrono::seconds(*d.spec.progress_deadline_seconds) < now;
}

}  // namespace

DeploymentStatus deployment_status(const Deployment& d, const std::vector<SetPtr>& all, const SetPtr& fresh, int terminating, Time now) {
  DeploymentStatus s;
  s.observed_generation = d.metadata.generation;
  s.replicas = actual_replicas(all);
  s.updated_replicas = fresh ? fresh->status.replicas : 0;
  s.ready_replicas = ready_replicas(all);
  s.available_replicas = available_replicas(all);
  s.unavailable_replicas = std::max(0, total_replicas(all) - s.available_replicas);
  s.terminating_replicas = terminating;
  s.collision_count = d.status.collision_count;
  s.conditions = d.status.conditions;

  const std::string& name = d.metadata.name;
  if (s.available_replicas >= wanted(d) - max_unavailable(d))
    set_condition(s, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now);
  else
    set_condition(s, "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now);

  if (d.spec.paused || is_terminating(d.metadata) || is_scaling_event(d, all)) return s;
  if (!has_deadline(d)) {
    std::erase_if(s.conditions, [](auto& c) { return c.type == "Progressing"; });
  } else {
    const DeploymentCondition* current = find(s, "Progressing");
    bool was_complete = s.replicas == s.updated_replicas && current && current->reason == "NewReplicaSetAvailable";
    std::string set_text = fresh ? "ReplicaSet \"" + fresh->metadata.name + "\"" : "Deployment \"" + name + "\"";
    if (!was_complete) {
      if (is_complete(d, s)) {
        set_condition(s, "Progressing", "True", "NewReplicaSetAvailable", set_text + " has successfully progressed.", now);
      } else if (progressing(d.status, s)) {
        std::string text = set_text + " is progressing.";
        // Also with the same reason as before: the deadline counts from the latest progress.
        const std::optional<Time> since = current && current->status == "True" ? std::optional<Time>(current->last_transition_time) : std::nullopt;
        std::erase_if(s.conditions, [](auto& c) { return c.type == "Progressing"; });
        set_condition(s, "Progressing", "True", "ReplicaSetUpdated", text, now);
        if (since) s.conditions.back().last_transition_time = *since;
      } else if (timed_out(d, s, now)) {
        set_condition(s, "Progressing", "False", "ProgressDeadlineExceeded", set_text + " has timed out progressing.", now);
      }
    }
  }

  // The new ReplicaSet's failure before those of the others, with the time at which it began.
  const kube::apps::ReplicaSetCondition* failure = fresh ? failure_of(*fresh) : nullptr;
  for (auto& rs : all)
    if (!failure) failure = failure_of(*rs);
  if (failure) {
    const DeploymentCondition* had = find(s, "ReplicaFailure");
    const bool news = !had || had->status != failure->status || had->reason != failure->reason;
    const Time since = had && had->status == failure->status ? had->last_transition_time : failure->last_transition_time;
    set_condition(s, "ReplicaFailure", failure->status, failure->reason, failure->message, failure->last_transition_time);
    if (news) s.conditions.back().last_transition_time = since;
  } else {
    std::erase_if(s.conditions, [](auto& c) { return c.type == "ReplicaFailure"; });
  }
  return s;
}

std::optional<Duration> until_deadline(const Deployment& d, const DeploymentStatus& s, Time now) {
  if (!has_deadline(d) || d.spec.paused) return std::nullopt;
  const DeploymentCondition* c = find(s, "Progressing");
  if (!c || c->status != "True" || c->reason == "NewReplicaSetAvailable" || is_complete(d, s)) return std::nullopt;
  Duration left = c->last_update_time + std::chrono::seconds(*d.spec.progress_deadline_seconds) - now;
  return std::max<Duration>(left, 0s) + 1s;
}

}  // namespace caravel::controllers
