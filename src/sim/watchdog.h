// Follows every change and notes what must never happen, even for an instant, whatever fails:
//   - a pod moves to another node, or two pods have one name;
//   - a pod of a StatefulSet is given up while its node is merely silent (it may still run there);
//   - a ReplicaSet, Job or DaemonSet makes a pod although it has all that its rules permit. A
//     controller may not yet have heard of a change, so the most permitted within `hearsay` counts, and pods
//     whose creation was answered with a failure come on top. Not judged once two managers led at a time.
//   - fewer pods of a guarded workload are ready than its budget permits.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/scope.h"
#include "kube/informer.h"
#include "sim/cluster.h"

namespace caravel::sim {

class Watchdog {
 public:
  explicit Watchdog(Cluster& c);
  const std::vector<std::string>& violations();
  // How old a controller's knowledge may be.
  Duration hearsay = std::chrono::seconds(60);
  // From now on at least `ready` pods with this label app=... in the namespace are ready.
  void guard(std::string ns, std::string app, int ready) { guarded_.push_back({std::move(ns), std::move(app), ready}); }

 private:
  struct Pod {
    std::string uid, ns, name, app, node, target, owner, owner_kind;  // target: the node that a DaemonSet made it for
    bool active = false, ready = false, terminal = false;
  };
  struct Limit {
    Time from;
    int64_t pods;
  };
  // A pod that was made, to be judged when news of its owner had time to arrive.
  struct Made {
    Time at;
    std::string pod, owner;
    int64_t active;
    Duration hearsay;
  };
  struct Guard {
    std::string ns, app;
    int ready;
  };
  void watch(const kube::Resource& r, std::function<void(const json::Value&)> changed, std::function<void(const json::Value&)> gone);
  void on_pod(const json::Value& pod);
  void on_pod_gone(const json::Value& pod);
  void limit(const std::string& uid, int64_t pods);
  void judge(Time until);
  // When a pod goes. A pod that only stops being ready (its node fell silent) breaks no budget: nobody evicted it.
  void check_guards();

  Cluster& cluster_;
  std::map<std::string, Pod> pods_;                   // by uid
  std::map<std::string, std::string> names_;          // ns/name -> uid
  std::map<std::string, std::vector<Limit>> limits_;  // by the owner's uid
  std::map<std::string, Time> silent_since_;
  std::vector<Made> made_;
  std::vector<Time> gaps_;  // when the watchdog had to list again: it has not seen every change
  bool in_list_ = false;    // halfway through a list: the pods as they stand here never stood together
  std::vector<Guard> guarded_;
  std::vector<std::string> violations_;
  std::vector<std::unique_ptr<kube::Reflector>> reflectors_;
  TaskScope scope_;
};

}  // namespace caravel::sim
