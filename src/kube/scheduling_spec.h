// What scheduling decisions need of a pod and a node: plain values, free of API types, cheap to compare.
// scheduling_translate.h makes them from core/v1 objects; tests and simulations may build them by hand.
// Units: cpu in millicores, memory and ephemeral storage in bytes, other resources in their own unit.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace caravel::kube::scheduling {

using Labels = std::map<std::string, std::string>;

enum class Op : uint8_t { kIn,
                          kNotIn,
                          kExists,
                          kDoesNotExist,
                          kGt,
                          kLt };
struct Requirement {
  std::string key;
  Op op = Op::kIn;
  std::vector<std::string> values;
};
// All requirements must hold. `nothing` is the absent selector, which matches no object; a selector
// without requirements matches every object.
struct Selector {
  bool nothing = false;
  std::vector<Requirement> all;
};
bool matches(const Requirement& r, const Labels& labels);
bool matches(const Selector& s, const Labels& labels);

// One term of a node affinity: expressions on labels and on the node's name. An empty term matches nothing.
struct NodeTerm {
  std::vector<Requirement> expressions;
  std::vector<Requirement> fields;  // metadata.name only
};
struct PreferredNodeTerm {
  int32_t weight = 0;
  NodeTerm term;
};
bool matches(const NodeTerm& t, const Labels& labels, const std::string& node_name);

enum class Effect : uint8_t { kAny,
                              kNoSchedule,
                              kPreferNoSchedule,
                              kNoExecute };
struct Taint {
  std::string key, value;
  Effect effect = Effect::kNoSchedule;
  bool operator==(const Taint&) const = default;
};
struct Toleration {
  std::string key;  // empty with exists: every key
  bool exists = false;
  std::string value;
  Effect effect = Effect::kAny;
};
bool tolerates(const Toleration& t, const Taint& taint);
bool tolerates(const std::vector<Toleration>& all, const Taint& taint);

// A pod (anti-)affinity term with its namespaces filled in: a pod matches if its namespace is listed or
// its namespace's labels match, and its labels match.
struct PodTerm {
  Selector selector;
  std::vector<std::string> namespaces;
  std::optional<Selector> namespace_selector;
  std::string topology_key;
};
struct PreferredPodTerm {
  int32_t weight = 0;  // 1..100
  PodTerm term;
};

struct SpreadConstraint {
  int32_t max_skew = 1;
  std::string topology_key;
  Selector selector;
  int32_t min_domains = 1;
  bool honor_affinity = true;
  bool honor_taints = false;
};

struct HostPort {
  std::string ip = "0.0.0.0", protocol = "TCP";
  int32_t port = 0;
  bool operator==(const HostPort&) const = default;
};
bool conflict(const HostPort& a, const HostPort& b);

struct Resources {
  int64_t cpu = 0, memory = 0, ephemeral = 0;
  std::map<std::string, int64_t> other;  // nvidia.com/gpu, hugepages-2Mi, ...
  bool operator==(const Resources&) const = default;
};

// What one of a pod's volumes asks of its node: one of these terms (all nodes where there is none), and what
// is said of a node that has none of them.
struct VolumeNodes {
  std::vector<NodeTerm> any;
  std::string reason;
  bool zonal = false;  // asked for by the volume's zone labels
};

// A CSI volume that a node attaches for a pod. An unbound claim stands for the volume that it will get.
struct AttachedVolume {
  std::string driver, handle;
};

// The scheduling-relevant part of a pod. Pods with equal specs are scheduled by the same calculation.
struct PodSpec {
  std::string ns;
  Labels labels;
  std::string node_name;  // spec.nodeName asked for by the user; normally empty
  Resources request;
  int64_t nonzero_cpu = 0, nonzero_memory = 0;  // the request with defaults, for spreading
  Labels node_selector;
  std::optional<std::vector<NodeTerm>> required_nodes;  // OR
  std::vector<PreferredNodeTerm> preferred_nodes;
  std::vector<VolumeNodes> volume_nodes;  // all must be satisfied
  std::vector<Toleration> tolerations;
  std::vector<HostPort> ports;
  std::vector<SpreadConstraint> hard_spread, soft_spread;
  // The soft constraints are the cluster's defaults: nodes without the keys still take part.
  bool soft_spread_defaulted = false;
  std::vector<PodTerm> affinity, anti_affinity;
  std::vector<PreferredPodTerm> preferred_affinity, preferred_anti_affinity;
  std::vector<std::string> images;  // normalised names, one for each container, for image locality
  std::vector<AttachedVolume> attached;
};

struct NodeSpec {
  std::string name;
  Labels labels;
  std::vector<Taint> taints;
  bool unschedulable = false;
  Resources allocatable;
  int64_t max_pods = 0;
  std::map<std::string, int64_t> images;  // that the node has, under each of their names: bytes
  bool operator==(const NodeSpec&) const = default;
};

// Canonical text: equal texts, equal meaning. The keys by which the core shares its work.
void describe(const Labels& v, std::string& out);
void describe(const Selector& v, std::string& out);
void describe(const std::vector<Requirement>& v, std::string& out);
void describe(const PodTerm& v, std::string& out);
std::string describe(const PodSpec& v);

}  // namespace caravel::kube::scheduling
