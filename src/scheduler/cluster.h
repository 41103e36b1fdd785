// The pure core of the scheduler: a cluster laid out for the work, and the decision for one pod.
//
// The rules are upstream's default plugins (NodeUnschedulable, NodeName, TaintToleration, NodeAffinity,
// NodePorts, NodeResourcesFit, BalancedAllocation, NodeVolumeLimits, PodTopologySpread, InterPodAffinity,
// ImageLocality), with the weights and arguments of the pod's profile (profile.h). What differs on purpose: every feasible node is scored,
// where upstream samples at large scale; ties are broken by a seeded source, so equal inputs give equal
// decisions.
//
// Pods are interned into classes of equal scheduling-relevant spec; the per-node work is shared by all
// pods of a class (shapes.h) and kept current by replaying what changed; topology counts are kept by
// counters (counters.h). Invariant: after each call every derived table describes exactly the nodes,
// pods and namespaces that were given.
// Threading: one thread. Cost: schedule() is O(nodes / 64) for plain pods, the same and O(nodes with pods that they are
// spread against) for those with soft spread rules only (the cluster's default ones), O(nodes) for others.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "kube/scheduling_spec.h"
#include "scheduler/attachments.h"
#include "scheduler/counters.h"
#include "scheduler/nodes.h"
#include "scheduler/profile.h"
#include "scheduler/shapes.h"

namespace caravel::scheduler {

struct Decision {
  NodeId node = -1;      // -1: no node fits; explain() says why
  int64_t score = 0;     // of the chosen node; constant plugin scores are left out
  int32_t feasible = 0;  // only counted where the decision had to look at each node
};

struct NodeFailure {
  std::vector<std::string> reasons;
  uint32_t plugin = 0;
  bool preemption_may_help = false;
};
struct Failure {
  size_t nodes = 0;
  std::map<std::string, int> reasons;
  uint32_t plugins = 0;
  std::string prefilter;           // said instead of reasons: the pod cannot be scheduled on any node as it is
  size_t preemption_may_help = 0;  // nodes
  // What became of the attempt to preempt others; none: nobody has a lower priority.
  std::optional<std::map<std::string, int>> preemption;  // reasons by number of nodes
  std::string preemption_note;                           // or a sentence instead of them
  bool preempted = false;                                // victims were found: there is nothing to tell
  bool preempts = true, deallocates = true;              // the profile has the plugins that speak afterwards
};

class Cluster {
 public:
  explicit Cluster(uint64_t seed = 1, std::vector<Profile> profiles = std::vector<Profile>(1));

  NodeId set_node(const NodeSpec& spec);
  void remove_node(const std::string& name);
  // How many volumes the node can attach; it need not be there yet.
  void set_attach_limits(const std::string& node, const AttachLimits& limits);
  void set_namespace(const std::string& name, const Labels& labels);
  void remove_namespace(const std::string& name) { set_namespace(name, {}); }

  const std::vector<Profile>& profiles() const { return profiles_; }
  // The class of a spec under a profile (its index); each intern() is matched by a release(). A pod in the cluster holds its class.
  ClassId intern(const PodSpec& spec, size_t profile = 0);
  void release(ClassId c);

  // A pod on a node (which need not exist yet).
  PodId add_pod(ClassId c, const std::string& node, bool terminating = false);
  PodId add_pod(ClassId c, NodeId n, bool terminating = false);
  void set_terminating(PodId p);
  void remove_pod(PodId p);
  // Takes a pod off its node in thought and puts it back; it keeps its id. Nothing else is done to a lifted pod.
  void lift(PodId p);
  void put_back(PodId p);
  const PodSpec& pod_spec(PodId p) const { return classes_[pods_[p].klass]->spec; }

  Decision schedule(ClassId c);
  // The two halves of schedule(), for decisions in which others take part: all nodes that fit, and the scores of
  // some of them (parallel to `nodes`; one node alone is not scored).
  std::vector<NodeId> feasible(ClassId c);
  std::vector<int64_t> scores(ClassId c, const std::vector<NodeId>& nodes);
  // Which of equals is taken.
  size_t draw(size_t count) { return static_cast<size_t>(random() % count); }
  // Why each node was turned down, as upstream words it. For a pod that schedule() found no node for. `claim_held`: another pod
  // has a claim that only one may use, wherever this one would go.
  Failure explain(ClassId c, bool claim_held = false);
  // The verdict on one node: nullopt when the pod could run there.
  std::optional<NodeFailure> check(ClassId c, NodeId n, bool claim_held = false);
  bool fits(ClassId c, NodeId n) const;  // check(), without the reasons
  // For a node that turns the pod down: could it be otherwise if pods left the node?
  bool preemption_may_help(ClassId c, NodeId n);
  // Queueing hint: whether a pod that these plugins turned down may fit because another came to a node or left one. Room that
  // the other has left on its node is not looked at.
  bool may_gain(ClassId c, uint32_t plugins, const PodSpec& other, bool came) const;

  const NodeTable& nodes() const { return nodes_; }
  const std::string& node_name(NodeId n) const { return nodes_.nodes[n].spec.name; }
  size_t node_count() const { return nodes_.alive_count(); }
  size_t pod_count() const { return pods_.size() - free_pods_.size(); }
  size_t class_count() const { return classes_.size() - free_classes_.size(); }
  const PodSpec& spec(ClassId c) const { return classes_[c]->spec; }
  const Profile& profile(ClassId c) const { return *classes_[c]->profile; }

 private:
  struct Weighted {
    int counter;
    int64_t weight;
  };
  struct Spread {
    int counter;
    int key;
    int32_t max_skew, min_domains;
    bool self;  // the pod matches its own selector
    bool hostname;
  };
  struct Class {
    PodSpec spec;
    std::string text;
    const Profile* profile = nullptr;
    const ResourceScoring* scoring = nullptr;
    int refs = 0;
    std::shared_ptr<Shape> shape;  // null for pods pinned to nodes by name
    Needs needs;
    std::vector<Attachments::Use> attached;
    std::shared_ptr<ImageScores> images;  // null where they do not count
    std::vector<std::string> pinned;      // the only nodes that the node affinity can admit, by name
    bool is_pinned = false;
    // What a pod of this class counts in.
    std::vector<int> counted, counted_live, owned;
    // What decides about it.
    std::vector<Spread> hard, soft;
    std::vector<int> soft_keys;  // a node without one of these takes no part in the spread score
    std::vector<int> affinity, anti_affinity;
    bool affinity_self = false;
    std::vector<int> blocked_by;
    std::vector<Weighted> attracted;
    bool needs_walk() const { return !hard.empty() || !soft.empty() || !affinity.empty() || !anti_affinity.empty(); }
  };
  struct Pod {
    ClassId klass = -1;
    NodeId node = -1;
    int32_t index = -1;  // in the node's list
    bool terminating = false;
  };

  bool term_matches(const PodTerm& t, const PodSpec& pod) const;
  bool filters(const Class& k, Plugin p) const { return (k.profile->filters & p) != 0; }
  bool attachable(const Class& k, NodeId n) const { return !filters(k, kNodeVolumeLimits) || attachments_.admits(n, k.attached); }
  StaticVerdict verdict(const Class& k, NodeId n) const { return static_verdict(nodes_.nodes[n].spec, k.spec, *k.profile); }
  bool counts(const Counter& c, const PodSpec& pod) const;
  bool heeds_existing(const Class& k) const;
  std::shared_ptr<Shape> shape_of(const Class& k, const std::string& profile);
  int counter(CounterRole role, std::vector<PodTerm> terms, const std::string& topology_key, int eligibility, int64_t weight);
  int eligibility(const PodSpec& pod, std::vector<int> keys, bool by_affinity, bool by_taints);
  void attach(Counter& c, int index, Class& k);
  void link(Class& k);
  void build(Class& k);
  void place(Counter& c, NodeId n);
  void place_everywhere(NodeId n);
  void count_pod(const Pod& p, int32_t by);
  void rebuild();
  void collect_garbage();
  void collect_pinned(const Class& k);
  void collect(const Class& k);
  bool walk_admits(const Class& k, NodeId n) const;
  // decide() over all nodes for pods that only want to be spread, without a look at each node; nullopt: not for these.
  std::optional<Decision> schedule_spread(Class& k);
  Decision decide(Class& k, const std::vector<NodeId>& feasible);
  uint64_t random();

  std::vector<Profile> profiles_;
  NodeTable nodes_;
  std::vector<ResourceScoring> scorings_;  // of each profile
  Attachments attachments_;
  std::unordered_map<std::string, AttachLimits> attach_limits_;  // by node
  std::unordered_map<std::string, std::weak_ptr<ImageScores>> images_;
  std::unordered_map<std::string, Labels> namespaces_;
  std::vector<std::unique_ptr<Class>> classes_;
  std::vector<ClassId> free_classes_;
  std::unordered_map<std::string, ClassId> class_ids_;
  size_t unused_classes_ = 0;
  std::vector<Pod> pods_;
  std::vector<PodId> free_pods_;
  std::vector<std::unique_ptr<Counter>> counters_;
  std::unordered_map<std::string, int> counter_ids_;
  std::vector<std::unique_ptr<Eligibility>> eligibilities_;
  std::unordered_map<std::string, int> eligibility_ids_;
  std::unordered_map<std::string, std::weak_ptr<StaticFilter>> filters_;
  std::unordered_map<std::string, std::weak_ptr<Shape>> shapes_;
  uint64_t random_;
  // Scratch space of decide().
  std::vector<NodeId> feasible_;
  std::vector<int64_t> spread_, affinity_, totals_, spread_values_, affinity_values_;
  std::vector<double> sums_;
  struct Special {
    NodeId node;
    int64_t value;
  };
  std::vector<Special> special_;
  std::vector<int32_t> wanted_;
  std::vector<uint32_t> seen_;
  uint32_t epoch_ = 0;
};

// The text of the PodScheduled condition, and of the event, which may be no longer than 1024 bytes.
std::string describe_failure(const Failure& f);
std::string event_note(std::string text);
inline constexpr const char* kClaimHeld = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";

}  // namespace caravel::scheduler
