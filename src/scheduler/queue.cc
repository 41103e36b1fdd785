#include "scheduler/queue.h"

#include <algorithm>
#include <vector>

#include "scheduler/cluster.h"

namespace caravel::scheduler {

uint32_t events_for(uint32_t plugins) {
  // A node may become right in several steps by several writers (it registers empty and tainted, reports its
  // capacity, loses its taints), so what one of them turned down each of them may cure; the hint then asks
  // whether this node takes the pod.
  constexpr uint32_t kNodeWrites = kNodeAdded | kNodeAllocatable | kNodeLabels | kNodeTaints | kNodeUncordoned;
  constexpr uint32_t kOfNodes = kNodeUnschedulable | kNodeName | kTaintToleration | kNodeAffinity | kNodePorts | kNodeResourcesFit;
  uint32_t out = 0;
  if (plugins & kOfNodes) out |= kNodeWrites;
  if (plugins & (kNodePorts | kNodeResourcesFit)) out |= kPodDeleted;
  if (plugins & kPodTopologySpread) out |= kNodeAdded | kNodeLabels | kNodeTaints | kNodeRemoved | kPodAdded | kPodDeleted;
  if (plugins & kInterPodAffinity) out |= kNodeAdded | kNodeLabels | kPodAdded | kPodDeleted | kNamespace;
  if (plugins & kNodeVolumeLimits) out |= kNodeAdded | kAttachLimits | kVolumes | kPodDeleted;
  if (plugins & (kVolumeBinding | kVolumeZone)) out |= kNodeAdded | kNodeLabels | kVolumes | kAttachLimits;
  if (plugins & kVolumeRestrictions) out |= kNodeAdded | kVolumes | kPodDeleted;
  if (plugins & kExtenders) return kAllEvents;
  // With no node at all nobody turned the pod down: the first node must wake it.
  return plugins == 0 ? uint32_t{kAllEvents} : out;
}

void Queue::leave(const std::string& key, Entry& e) {
  switch (e.where) {
    case Where::kActive: active_.erase(rank(key, e)); break;
    case Where::kBackoff:
      backoff_.erase({e.backoff_until.ns, key});
      early_.erase(rank(key, e));
      break;
    case Where::kUnschedulable: {
      auto group = unschedulable_.find(e.plugins);
      group->second.erase({e.failed_at.ns, key});
      if (group->second.empty()) unschedulable_.erase(group);
      break;
    }
    case Where::kInFlight: break;
  }
}

void Queue::enter(const std::string& key, Entry& e, Where where) {
  e.where = where;
  switch (where) {
    case Where::kActive: active_.insert(rank(key, e)); break;
    case Where::kBackoff:
      backoff_.insert({e.backoff_until.ns, key});
      if (!e.error) early_.insert(rank(key, e));
      break;
    case Where::kUnschedulable: unschedulable_[e.plugins].insert({e.failed_at.ns, key}); break;
    case Where::kInFlight: break;
  }
}

void Queue::add(const std::string& key, int32_t priority, Time since) {
  auto [it, fresh] = entries_.try_emplace(key);
  Entry& e = it->second;
  if (fresh) e.sequence = ++sequence_;
  else leave(key, e);
  e.priority = priority;
  e.since = since;
  enter(key, e, Where::kActive);
}

void Queue::remove(const std::string& key) {
  auto it = entries_.find(key);
  if (it == entries_.end()) return;
  leave(key, it->second);
  entries_.erase(it);
}

std::optional<std::string> Queue::pop(Time now) {
  advance(now);
  auto& from = active_.empty() ? early_ : active_;
  if (from.empty()) return std::nullopt;
  std::string key = std::get<3>(*from.begin());
  Entry& e = entries_[key];
  leave(key, e);
  ++e.attempts;
  enter(key, e, Where::kInFlight);
  return key;
}

void Queue::failed(const std::string& key, uint32_t plugins, Time now) { park(key, plugins, false, now); }
void Queue::errored(const std::string& key, Time now) { park(key, 0, true, now); }

void Queue::park(const std::string& key, uint32_t plugins, bool error, Time now) {
  auto it = entries_.find(key);
  if (it == entries_.end()) return;
  Entry& e = it->second;
  leave(key, e);
  e.plugins = plugins;
  e.error = error;
  e.failed_at = now;
  Duration backoff = options_.backoff_first;
  for (int i = 1; i < e.attempts && backoff < options_.backoff_max; ++i) backoff *= 2;
  e.backoff_until = now + std::min(backoff, options_.backoff_max);
  enter(key, e, error ? Where::kBackoff : Where::kUnschedulable);
}

void Queue::wake(uint32_t event, Time now, const Hint& hint) {
  std::vector<std::string> woken;
  for (const auto& [plugins, group] : unschedulable_) {
    if (!(events_for(plugins) & event)) continue;
    for (const auto& [at, key] : group)
      if (!hint || hint(key, plugins)) woken.push_back(key);
  }
  for (const auto& key : woken) {
    Entry& e = entries_[key];
    leave(key, e);
    enter(key, e, e.backoff_until > now ? Where::kBackoff : Where::kActive);
  }
}

void Queue::advance(Time now) {
  while (!backoff_.empty() && backoff_.begin()->first <= now.ns) {
    std::string key = backoff_.begin()->second;
    Entry& e = entries_[key];
    leave(key, e);
    enter(key, e, Where::kActive);
  }
  std::vector<std::string> flushed;
  for (const auto& [plugins, group] : unschedulable_)
    for (const auto& [at, key] : group) {
      if (at + options_.flush_after.count() > now.ns) break;
      flushed.push_back(key);
    }
  for (const auto& key : flushed) {
    Entry& e = entries_[key];
    leave(key, e);
    enter(key, e, Where::kActive);
  }
}

size_t Queue::unschedulable() const {
  size_t n = 0;
  for (const auto& [plugins, group] : unschedulable_) n += group.size();
  return n;
}

std::optional<Time> Queue::next_due() const {
  std::optional<Time> out;
  if (!backoff_.empty()) out = Time{backoff_.begin()->first};
  for (const auto& [plugins, group] : unschedulable_) {
    Time flush = Time{group.begin()->first} + options_.flush_after;
    if (!out || flush < *out) out = flush;
  }
  return out;
}

}  // namespace caravel::scheduler
