// What the solver reasons about: instance types, pools, nodes, pods. Plain values.
// Units as in kube/scheduling_spec.h (millicores, bytes); prices in USD per hour.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "karpenter/requirements.h"
#include "kube/scheduling_spec.h"

namespace caravel::karpenter {

using kube::scheduling::PodSpec;
using kube::scheduling::Resources;
using kube::scheduling::Taint;
using kube::scheduling::Toleration;

// cpu, memory, ephemeral, others and pods, for sums and comparisons.
struct Amounts {
  int64_t cpu = 0, memory = 0, ephemeral = 0, pods = 0;
  std::map<std::string, int64_t> other;
  static Amounts of(const Resources& r, int64_t pods) { return {r.cpu, r.memory, r.ephemeral, pods, r.other}; }
  Amounts& operator+=(const Amounts& o);
  Amounts& operator-=(const Amounts& o);
  bool fits_in(const Amounts& room) const;
  // Names and amounts for messages: cpu "100m", memory "128Mi", pods "1".
  std::map<std::string, std::string> quantities() const;
  std::string text() const;  // {"cpu":"1","memory":"2Gi","pods":"3"}
  bool operator==(const Amounts&) const = default;
};

struct Offering {
  std::string zone, zone_id, capacity_type;  // "spot", "on-demand", "reserved"
  double price = 0;
  bool available = true;
};

struct InstanceType {
  std::string name;
  Requirements requirements;  // labels that a node of this type has, incl. zones and capacity types offered
  std::vector<Offering> offerings;
  Amounts capacity, overhead, allocatable;
};
using InstanceTypes = std::vector<std::shared_ptr<const InstanceType>>;

// The price of the cheapest available offering that the requirements allow; infinity when there is none.
double cheapest_price(const InstanceType& t, const Requirements& r);
double dearest_price(const InstanceType& t, const Requirements& r);
bool has_offering(const InstanceType& t, const Requirements& r);

// A NodePool as the simulation sees it.
struct Pool {
  std::string name, uid;
  int weight = 0;
  Requirements requirements;  // of the template: its requirements and labels
  Labels labels, annotations;
  std::vector<Taint> taints, startup_taints;
  std::string node_class, node_class_group, node_class_kind;
  std::string expire_after, termination_grace_period;
  std::string hash, hash_version;
  std::map<std::string, int64_t> limits;  // what is left: "cpu" in millicores, "memory" bytes, "nodes"; absent: unlimited
  InstanceTypes instance_types;           // those that the node class and the requirements admit
};

// A node that exists or is being made.
struct StateNode {
  std::string name;   // of the node, or of its claim while there is no node
  std::string claim;  // NodeClaim's name; empty: not ours
  std::string pool, provider_id;
  Labels labels;
  std::vector<Taint> taints;
  Amounts available;  // for pods: allocatable minus what runs there
  Amounts capacity;
  bool initialized = false;
  std::vector<kube::scheduling::HostPort> ports;
};

// A pod that runs somewhere, for topology counts.
struct PlacedPod {
  std::shared_ptr<const PodSpec> spec;
  std::string node;
};

struct PendingPod {
  std::string key, uid;  // "ns/name"
  std::shared_ptr<const PodSpec> spec;
  Time created;
};

}  // namespace caravel::karpenter
