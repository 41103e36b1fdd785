// Decides what to do next for a pod: a pure function of its object, the runtime's state and the time.
//
// Upstream's rules: one ready sandbox; init containers in order, each to completion; sidecars (init
// containers that always restart) stay and are restarted; then all app containers; ephemeral containers
// at any time, once each; restarts by policy
// with back-off; when nothing is to run any more the pod is finished and its sandbox is stopped.
#pragma once

#include <set>

#include "node/pod_model.h"

namespace caravel::node {

struct KillAction {
  std::string container_id, name, message;
  std::optional<int64_t> grace = std::nullopt;  // seconds, in place of the pod's
};

struct PodPlan {
  bool create_sandbox = false;
  bool stop_all = false;  // nothing is to run: stop what runs, then the sandbox
  std::vector<KillAction> kill;
  std::vector<std::string> start;        // container names, in order
  std::vector<std::string> backing_off;  // would start but for their back-off
  std::optional<Time> look_again;        // when a back-off ends
  bool finished = false;                 // the pod's phase is final
  std::optional<WaitReason> failed;      // it is Failed, whatever its containers did
};

PodPlan plan_pod(const core::Pod& pod, const PodRuntime& runtime, Time now);

// The pod's restart policy applied to a container that has ended.
bool should_restart(const core::Pod& pod, const core::Container& container, bool init, const ContainerRecord& ended);
// All regular init containers have completed (or app containers have already been started).
bool initialized(const core::Pod& pod, const PodRuntime& runtime);

// CrashLoopBackOff: 10 s, doubling to 300 s, forgotten after 10 minutes without a restart.
class Backoff {
 public:
  explicit Backoff(Duration first = std::chrono::seconds(10), Duration most = std::chrono::seconds(300)) : first_(first), most_(most) {}
  // Notes a (re)start or failure at `now`.
  void next(const std::string& key, Time now);
  Duration current(const std::string& key) const;
  // The earliest next try for something that ended at `ended`.
  Time not_before(const std::string& key, Time ended, Time now) const;
  void forget(const std::string& key) { entries_.erase(key); }

 private:
  struct Entry {
    Duration delay;
    Time updated;
  };
  Duration first_, most_;
  std::map<std::string, Entry> entries_;
};

}  // namespace caravel::node
