// Which pods of a DaemonSet are missing and which are too many. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controllers/common.h"

namespace caravel::controllers {

// A node as one DaemonSet sees it.
struct DaemonNode {
  std::string name;
  bool exists = true;  // pods may name a node that is gone
  bool run = false;    // a pod belongs there
  bool stay = false;   // one that is there may stay
  std::vector<PodPtr> pods;
};

struct DaemonRules {
  std::string hash;  // of the current revision
  int max_surge = 0, max_unavailable = 1;
  int32_t min_ready_seconds = 0;
};

struct DaemonEvent {
  bool warning = false;
  std::string reason, message;
};
struct DaemonPlan {
  std::vector<std::string> create_on;
  std::vector<PodPtr> remove;
  std::vector<DaemonEvent> events;
  std::optional<Duration> again;
};

// A node whose kubelet refuses its pod must not make the controller delete and create as fast as it can: the second failure
// waits a second, the next two, up to a quarter of an hour; half an hour without one and all is forgotten.
class FailedPodBackoff {
 public:
  std::optional<Duration> wait(const std::string& key, Time now) const;
  void failed(const std::string& key, Time now);

 private:
  struct Entry {
    Duration delay;
    Time since;
  };
  std::map<std::string, Entry> entries_;
};

// The order in which a node's pods are looked at: bound before unbound, older before younger.
bool daemon_pod_before(const PodPtr& a, const PodPtr& b);
bool is_current_daemon(const kube::core::Pod& p, const std::string& hash);

// What is missing and what is too many, updates aside. `backoff_key` is put before the node's name.
DaemonPlan plan_daemons(const std::vector<DaemonNode>& nodes, const DaemonRules& rules, const std::string& backoff_key, FailedPodBackoff& backoff, Time now);
// The next step of a rolling update; asked when plan_daemons has nothing to do.
DaemonPlan roll_daemons(const std::vector<DaemonNode>& nodes, const DaemonRules& rules, Time now);

}  // namespace caravel::controllers
