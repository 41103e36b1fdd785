// The scheduler's shell (scheduler.h), taken apart by concept:
//   scheduler.cc  the loop       observe.cc  what the informers say
//   attempt.cc    one decision   extended.cc  one in which extenders take part
//   binding.cc    what is written to the API
// `placed` and the cluster agree after each call: a pod is in both or in neither.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "kube/event_series.h"
#include "kube/informer.h"
#include "kube/scheduling_translate.h"
#include "kube/types/core.h"
#include "kube/types/policy.h"
#include "kube/types/storage.h"
#include "scheduler/claims.h"
#include "scheduler/cluster.h"
#include "scheduler/default_spread.h"
#include "scheduler/nominations.h"
#include "scheduler/preemption.h"
#include "scheduler/queue.h"
#include "scheduler/scheduler.h"
#include "scheduler/victims.h"
#include "scheduler/volumes.h"

namespace caravel::scheduler {

namespace core = kube::core;

struct Scheduler::Impl {
  using PodPtr = kube::Informer<core::Pod>::Ptr;
  using NodePtr = kube::Informer<core::Node>::Ptr;

  // A pod that counts on a node: bound, or assumed while its binding is under way.
  struct Placed {
    std::string uid, node;
    PodId id = -1;
    bool assumed = false;
    PodFacts facts;
  };
  // What a binding or a report needs to know of its pod.
  struct Subject {
    std::string key, ns, name, uid, resource_version;
  };

  Executor& ex;
  kube::Client client;
  Options options;
  Log log{"scheduler"};
  kube::SeriesRecorder events;
  kube::Informer<core::Pod> pods;
  kube::Informer<core::Node> nodes;
  kube::Informer<core::Namespace> namespaces;
  kube::Informer<kube::policy::PodDisruptionBudget> budgets;
  kube::Informer<kube::storage::CSINode> csi_nodes;
  DefaultSpread default_spread;
  Volumes volumes;
  Claims claims;
  Cluster cluster;
  Nominations nominations;
  Queue queue;
  Event work;
  Semaphore permits;
  TaskScope* scope = nullptr;
  bool synced = false;
  std::unordered_map<std::string, Placed> placed;
  std::vector<const PodFacts*> facts;                      // by PodId, of the pods in `placed`
  std::unordered_map<std::string, std::string> exclusive;  // ReadWriteOncePod claims in use -> pod
  std::map<int32_t, size_t> priorities;                    // of the pods in `placed`
  std::unordered_map<std::string, ClassId> waiting;        // classes of pods that were turned down, for hints

  Impl(Executor& e, kube::Client c, Options o);

  static std::string key_of(const core::Pod& p) { return p.metadata.namespace_ + "/" + p.metadata.name; }
  static Subject subject_of(const core::Pod& p) {
    return {key_of(p), p.metadata.namespace_, p.metadata.name, p.metadata.uid, p.metadata.resource_version};
  }
  // The index of the profile that schedules the pod; nullopt: the pod is left alone.
  std::optional<size_t> profile_of(const core::Pod& pod) const;

  // --- what the informers say
  void on_pod(const PodPtr& old, const PodPtr& now);
  void enqueue(const std::string& key, const PodPtr& old, const core::Pod& pod);
  void nominate(const std::string& key, const core::Pod& pod, const std::string& node);
  static bool is_preempted(const core::Pod& pod);
  PodFacts facts_of(const std::string& key, const core::Pod& pod) const;
  void put(const std::string& key, Placed p);
  PodSpec spec_of(const core::Pod& pod, size_t profile, const Volumes::Needs& volumes) const;
  // Claims that only one pod may use and that are in use, with the pod.
  void hold_claims(const std::string& key, const core::Pod& pod);
  // Takes it out of the cluster; answers the node.
  NodeId take(std::unordered_map<std::string, Placed>::iterator it);
  void place(const std::string& key, const PodPtr& old, const core::Pod& pod);
  void forget(const std::string& key);
  void leave_queue(const std::string& key);
  void drop_class(const std::string& key);
  void on_csi_node(const kube::storage::CSINode* old, const kube::storage::CSINode* now);
  void on_node(const NodePtr& old, const NodePtr& now);
  // A pod that was turned down for what one node lacks is woken only if this node takes it now; pods with
  // spread or affinity rules may gain from a change anywhere.
  void wake(uint32_t event, NodeId node);
  // `pod` came to a node, or left `node`.
  // What a pod asks for, kept beyond its leaving for those that wait; none when nobody does: copying it costs.
  std::optional<PodSpec> spec_for_waiters(PodId pod) const;
  void wake_by_pod(uint32_t event, NodeId node, const PodSpec& pod);
  // A claim (null: a volume or a class) has changed.
  void wake_by_volumes(const core::PersistentVolumeClaim* claim);
  bool takes(const std::string& key, NodeId node, std::unordered_map<ClassId, bool>& known);

  // --- the loop
  Task<void> run();

  // --- one decision
  struct Attempt {
    std::string key;
    PodPtr pod;
    ClassId klass = -1;             // held until assume() or give_up()
    std::string nominated;          // the node that it was promised
    std::set<std::string> holders;  // pods that have claims which only one may use, and which this one needs
  };
  // nullopt: there is nothing to decide, or it is clear without a look at the nodes.
  std::optional<Attempt> begin(const std::string& key);
  // True when the pod is assumed on a node and is to be bound.
  bool decide(const Attempt& a);
  bool decide_with_claims(const Attempt& a);  // claims.cc
  void assume(const Attempt& a, NodeId node);
  Failure explain(const Attempt& a);
  void give_up(const Attempt& a, const Failure& why, const std::string& next);
  const PodFacts* facts_at(PodId id) const;
  // For a pod that fits nowhere: whom to remove for it. Without victims `why` has what came of the search, and
  // `next` the node that the pod stays nominated to.
  std::optional<Preemption> find_victims(const Attempt& a, Failure& why, std::string& next);
  // Starts the removal; answers the node that the pod is nominated to from now on.
  std::string start_preemption(const Attempt& a, const Preemption& p, Failure& why);

  // --- decisions in which extenders take part (extended.cc)
  bool is_extended(const Attempt& a) const;
  Task<bool> decide_extended(Attempt a);
  struct Extended {
    std::vector<std::string> nodes;
    Failure why;  // what the extenders turned down, added to it
    Status status;
  };
  Task<void> filter_by_extenders(const Attempt* a, const json::Value* pod, Extended* x);
  Task<std::map<std::string, int64_t>> scores_of_extenders(const Attempt* a, const json::Value* pod, std::vector<std::string> nodes);
  Task<Status> victims_by_extenders(const Attempt* a, const json::Value* pod, Preemption* p);
  // The extender that binds the pod; null: the API does.
  const ExtenderConfig* binder_of(const core::Pod& pod) const;
  Task<Status> bind_by_extender(const ExtenderConfig* e, Subject pod, std::string node);

  // `key` is the preemptor.
  Task<void> evict(std::string key, std::vector<Victim> victims, Preemptor by, std::string node);

  // --- what is written
  void start_binding(const std::string& key);
  // The pod's claims, then the pod. Holds a permit at the end.
  Task<Status> bind_volumes(PodPtr pod, std::string node);
  Task<void> bind(PodPtr object, std::string node, bool delayed);
  static kube::ObjectReference reference(const Subject& pod);
  // An event and the PodScheduled condition. Reason: Unschedulable, or SchedulerError where something failed.
  void report(const core::Pod& pod, const char* reason, std::string message, const std::string& nominated);
  // The PodScheduled condition (null: as it is) and the nominated node.
  Task<void> write_status(Subject pod, json::Value condition, std::string nominated);
  Task<void> patch_status(Subject pod, json::Value condition, std::string nominated);
};

}  // namespace caravel::scheduler
