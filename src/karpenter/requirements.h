// Requirements: what values of a label a node may have, as an algebra.
//
// A Requirement is a set of allowed values, finite ("In a, b") or cofinite ("NotIn a, b"; "Exists" excludes
// nothing; "Gt 4" bounds it), or the empty set ("DoesNotExist"). Requirements map label keys to such sets;
// intersecting two says what both sides accept.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kube/scheduling_spec.h"

namespace caravel::karpenter {

using kube::scheduling::Labels;

class Requirement {
 public:
  Requirement() = default;  // DoesNotExist
  static Requirement in(std::vector<std::string> values);
  static Requirement not_in(std::vector<std::string> values);
  static Requirement exists();
  // op: In NotIn Exists DoesNotExist Gt Gte Lt Lte.
  static Requirement of(const std::string& op, const std::vector<std::string>& values, std::optional<int> min_values = std::nullopt);
  static Requirement of(const kube::scheduling::Requirement& r);

  bool has(const std::string& value) const;
  Requirement intersect(const Requirement& o) const;
  // Whether some value satisfies both. Both "absent" sets intersect in being absent.
  bool compatible(const Requirement& o) const;
  bool empty() const { return !complement_ && values_.empty(); }  // DoesNotExist
  bool finite() const { return !complement_; }
  bool excludes() const { return empty() || (complement_ && !values_.empty()); }  // NotIn or DoesNotExist
  const std::set<std::string>& values() const { return values_; }
  // The single allowed value, if there is exactly one.
  std::optional<std::string> only() const;
  std::optional<int> min_values;

  std::string op() const;
  std::string text() const;  // "In [a b]"
  bool operator==(const Requirement&) const = default;

  std::optional<int64_t> greater_than() const { return gt_; }
  std::optional<int64_t> less_than() const { return lt_; }

 private:
  bool within(const std::string& value) const;
  bool complement_ = false;
  std::set<std::string> values_;
  std::optional<int64_t> gt_, lt_;
};

class Requirements {
 public:
  Requirements() = default;
  static Requirements from_labels(const Labels& labels);
  void add(const std::string& key, Requirement r);  // intersects with what is there
  void add(const Requirements& o) {
    for (const auto& [k, r] : o.all_) add(k, r);
  }
  void set(const std::string& key, Requirement r) { all_[key] = std::move(r); }
  void erase(const std::string& key) { all_.erase(key); }
  const Requirement* find(const std::string& key) const;
  // An absent key allows everything.
  Requirement get(const std::string& key) const;
  // The first key on which the two cannot agree, with a sentence; nullopt when they can. `incoming` may
  // use a key that we do not define only if it is well known or the requirement excludes.
  std::optional<std::string> conflict(const Requirements& incoming, bool allow_undefined_well_known = true) const;
  // As above without the rule on undefined keys.
  std::optional<std::string> intersection_conflict(const Requirements& incoming) const;
  const std::map<std::string, Requirement>& all() const { return all_; }
  std::string text() const;
  bool operator==(const Requirements&) const = default;
  // The labels that are decided: keys with one allowed value, without those that nodes get by themselves.
  Labels labels() const;

 private:
  std::map<std::string, Requirement> all_;
};

// Label keys that Karpenter knows to be set on every node by kubelet, cloud or itself.
bool is_well_known(const std::string& key);
// Old names of keys ("beta.kubernetes.io/arch") to the present ones.
std::string normalize_label(const std::string& key);

namespace label {
inline constexpr char kZone[] = "topology.kubernetes.io/zone";
inline constexpr char kZoneId[] = "topology.k8s.aws/zone-id";
inline constexpr char kRegion[] = "topology.kubernetes.io/region";
inline constexpr char kHostname[] = "kubernetes.io/hostname";
inline constexpr char kInstanceType[] = "node.kubernetes.io/instance-type";
inline constexpr char kArch[] = "kubernetes.io/arch";
inline constexpr char kOs[] = "kubernetes.io/os";
inline constexpr char kCapacityType[] = "karpenter.sh/capacity-type";
inline constexpr char kNodePool[] = "karpenter.sh/nodepool";
inline constexpr char kRegistered[] = "karpenter.sh/registered";
inline constexpr char kInitialized[] = "karpenter.sh/initialized";
inline constexpr char kDoNotSyncTaints[] = "karpenter.sh/do-not-sync-taints";
inline constexpr char kNodeClass[] = "karpenter.k8s.aws/ec2nodeclass";
}  // namespace label

}  // namespace caravel::karpenter
