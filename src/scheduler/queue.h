// The scheduling queue: which pending pod is next, and which have to wait for what.
//
//   active         ready to be tried: highest priority first, then oldest
//   backoff        tried and failed, something has changed since, but its back-off is not over
//   unschedulable  tried and failed; waits for an event that may help, or for the flush after 5 minutes
//
// Queueing hints: a failed pod remembers which plugins turned it down, and an event wakes only pods that
// were turned down by a plugin which that event can satisfy. A backed-off pod whose last failure was a
// verdict (not an error) is taken early when nothing else is ready, as upstream does.
// Pure: time is handed in. Threading: one thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>

#include "base/clock.h"

namespace caravel::scheduler {

enum ClusterEvent : uint32_t {
  kNodeAdded = 1,
  kNodeAllocatable = 2,
  kNodeLabels = 4,
  kNodeTaints = 8,
  kNodeUncordoned = 16,
  kPodDeleted = 32,  // an assigned pod went away or shrank
  kPodAdded = 64,    // a pod was assigned
  kVolumes = 128,
  kNodeRemoved = 256,
  kNamespace = 512,
  kAttachLimits = 1024,  // a CSINode
  kAllEvents = ~0u,
};
// The events that may satisfy pods which these plugins (cluster.h) turned down.
uint32_t events_for(uint32_t plugins);

struct QueueOptions {
  Duration backoff_first = std::chrono::seconds(1);
  Duration backoff_max = std::chrono::seconds(10);
  Duration flush_after = std::chrono::minutes(5);
};

class Queue {
 public:
  using Hint = std::function<bool(const std::string& key, uint32_t plugins)>;

  explicit Queue(QueueOptions options = {}) : options_(options) {}

  // A pending pod. `since` orders pods of equal priority. A pod that is known is made active again.
  void add(const std::string& key, int32_t priority, Time since);
  void remove(const std::string& key);
  bool contains(const std::string& key) const { return entries_.count(key) > 0; }

  // The next pod to try; it is in flight until failed() or remove().
  std::optional<std::string> pop(Time now);
  // A verdict: the plugins that turned it down (none when there are no nodes); it waits for an event.
  void failed(const std::string& key, uint32_t plugins, Time now);
  // An error, of a binding for example: tried again after the back-off.
  void errored(const std::string& key, Time now);
  // Wakes unschedulable pods for which the event may help and, if a hint is given, the hint says so.
  void wake(uint32_t event, Time now, const Hint& hint = nullptr);
  // Moves what is due. next_due(): when to call it again.
  void advance(Time now);
  std::optional<Time> next_due() const;

  bool ready() const { return !active_.empty() || !early_.empty(); }
  size_t active() const { return active_.size(); }
  size_t backing_off() const { return backoff_.size(); }
  size_t unschedulable() const;

 private:
  enum class Where { kActive,
                     kBackoff,
                     kUnschedulable,
                     kInFlight };
  using Rank = std::tuple<int64_t, int64_t, uint64_t, std::string>;  // -priority, since, sequence, key
  struct Entry {
    int32_t priority = 0;
    Time since;
    uint64_t sequence = 0;
    int attempts = 0;
    uint32_t plugins = 0;
    bool error = false;
    Time failed_at, backoff_until;
    Where where = Where::kActive;
  };
  Rank rank(const std::string& key, const Entry& e) const { return {-int64_t{e.priority}, e.since.ns, e.sequence, key}; }
  void park(const std::string& key, uint32_t plugins, bool error, Time now);
  void leave(const std::string& key, Entry& e);
  void enter(const std::string& key, Entry& e, Where where);

  QueueOptions options_;
  uint64_t sequence_ = 0;
  std::unordered_map<std::string, Entry> entries_;
  std::set<Rank> active_, early_;                      // early_: backed off by a verdict, may be taken when active_ is empty
  std::set<std::pair<int64_t, std::string>> backoff_;  // by end of back-off
  // By the plugins that turned them down, so that an event looks only at pods that it may help; then by
  // time of failure.
  std::map<uint32_t, std::set<std::pair<int64_t, std::string>>> unschedulable_;
};

}  // namespace caravel::scheduler
