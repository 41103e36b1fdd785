// Topology in the provisioning simulation: spread, pod affinity and anti-affinity as counts per domain.
//
// A group is one constraint, shared by all pods that state it; it counts the pods (running ones and those
// placed by this simulation) that its selector matches. Unlike in the scheduler a node may still be open
// about its domain (a NodeClaim that allows three zones), so the answer is a requirement that narrows it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "karpenter/model.h"

namespace caravel::karpenter {

class Topology {
 public:
  // The domains that exist or can be made, per label key.
  using Universe = std::map<std::string, std::set<std::string>>;
  Topology(Universe universe, std::map<std::string, Labels> namespaces) : universe_(std::move(universe)), namespaces_(std::move(namespaces)) {}

  // Pods that run: to be given before the classes. `labels` of their nodes.
  void add_running(const PlacedPod& pod, const Labels& node_labels);
  // A node name that pods may be spread over.
  void add_hostname(const std::string& name);
  // A kind of pending pod; its preferences count as requirements. Returns its number.
  int add_class(const PodSpec& pod);
  bool constrained(int c) const { return !classes_[c].owned.empty() || !classes_[c].repelled.empty(); }

  // What the node must in addition be for a pod of the class to run there; `node` includes the pod's own
  // requirements. An error says which constraint cannot be satisfied.
  Result<Requirements> tighten(int c, const Requirements& pod, const Requirements& node) const;
  // The pod was put on the node.
  void record(int c, const Requirements& node);

 private:
  enum class Kind { kSpread,
                    kAffinity,
                    kAntiAffinity };
  struct Group {
    Kind kind;
    std::string key;
    std::vector<kube::scheduling::PodTerm> terms;  // all must match
    int max_skew = 1, min_domains = 1;
    // Which nodes count (spread): the pod's node affinity and, if honoured, its tolerations.
    std::shared_ptr<const PodSpec> filter;
    bool honor_affinity = false, honor_taints = false;
    std::map<std::string, int> domains;
    std::set<std::string> empty;  // domains with count 0, for anti-affinity
  };
  struct Class {
    std::shared_ptr<const PodSpec> pod;
    std::vector<int> owned;      // groups that it states
    std::vector<bool> self;      // whether it matches its own selector, per owned group
    std::vector<int> counted;    // groups that count it
    std::vector<int> repelling;  // inverse anti-affinity groups that it feeds
    std::vector<int> repelled;   // inverse anti-affinity groups that match it
  };
  struct Running {
    std::shared_ptr<const PodSpec> pod;
    Labels labels;  // of the node
  };
  bool matches(const kube::scheduling::PodTerm& t, const PodSpec& pod) const;
  bool selects(const Group& g, const PodSpec& pod) const;
  int group(Group g, bool inverse);
  Requirement next_spread(const Group& g, bool self, const Requirement& pod, const Requirement& node) const;
  Requirement next_affinity(const Group& g, bool self, const Requirement& pod, const Requirement& node) const;
  Requirement next_anti_affinity(const Group& g, const Requirement& pod, const Requirement& node) const;
  static void count(Group& g, const std::string& domain);
  static std::string describe(const Group& g);

  Universe universe_;
  std::map<std::string, Labels> namespaces_;
  std::vector<Running> running_;
  std::vector<Group> groups_, inverse_;
  std::map<std::string, int> group_ids_, inverse_ids_;
  std::vector<Class> classes_;
};

}  // namespace caravel::karpenter
