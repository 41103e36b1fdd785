// The nodes of a cluster as columns: one slot per node, one array per quantity, so that a decision walks
// plain arrays. A slot whose node is gone but which still has pods stays as a ghost (alive = 0).
//
// Two bounded logs say which slots changed: `statics` (labels, taints, cordon, existence) and `dynamics`
// (resources in use, ports). Derived tables remember the position up to which they have read and catch up
// by replaying; a reader that is too far behind recomputes everything.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "kube/scheduling_spec.h"
#include "scheduler/images.h"

namespace caravel::scheduler {

using namespace kube::scheduling;

using NodeId = int32_t;
using PodId = int32_t;
using ClassId = int32_t;

class ChangeLog {
 public:
  static constexpr uint64_t kEntries = 1 << 13;
  void add(NodeId n) { ring_[end_++ & (kEntries - 1)] = n; }
  uint64_t end() const { return end_; }
  // Calls f(node) for each change since `from` and moves it to the end; false (and nothing called) when
  // they are no longer all known, or are more than `limit`: the caller recomputes everything.
  template <class F>
  bool replay(uint64_t& from, uint64_t limit, F f) const {
    uint64_t behind = end_ - from;
    if (behind > kEntries || behind > limit) return false;
    for (; from < end_; ++from) f(ring_[from & (kEntries - 1)]);
    return true;
  }

 private:
  std::vector<NodeId> ring_ = std::vector<NodeId>(kEntries);
  uint64_t end_ = kEntries + 1;  // a reader that starts at 0 is behind
};

// A label key by which nodes are grouped: zone, hostname, ... Domains are numbered from 0.
struct TopologyKey {
  std::string key;
  std::vector<int32_t> domain;  // per slot; -1: the node lacks the label or is not alive
  std::unordered_map<std::string, int32_t> ids;
  int32_t domains() const { return static_cast<int32_t>(ids.size()); }
};

class NodeTable {
 public:
  struct Node {
    NodeSpec spec;
    std::vector<PodId> pods;
    std::vector<HostPort> ports;  // in use, with repetitions
  };

  // The slot of a name, made as a ghost when it is new.
  NodeId slot(const std::string& name);
  NodeId find(const std::string& name) const;
  // Both log what changed. set() returns whether anything static changed.
  bool set(NodeId n, const NodeSpec& spec);
  void clear(NodeId n);
  void free_if_unused(NodeId n);

  void occupy(NodeId n, const PodSpec& pod, const std::vector<std::pair<int, int64_t>>& other, int sign);
  int topology(const std::string& key);   // index into `keys`
  int resource(const std::string& name);  // index into the `*_other` columns

  size_t size() const { return nodes.size(); }
  size_t alive_count() const { return alive_count_; }

  std::vector<Node> nodes;
  std::vector<uint8_t> alive;
  std::vector<int64_t> alloc_cpu, alloc_memory, alloc_ephemeral, alloc_pods;
  std::vector<int64_t> used_cpu, used_memory, used_ephemeral, used_pods, used_nonzero_cpu, used_nonzero_memory;
  std::vector<std::vector<int64_t>> alloc_other, used_other;
  std::vector<std::string> other_names;
  std::vector<std::unique_ptr<TopologyKey>> keys;
  ImageTable images;
  ChangeLog statics, dynamics;

 private:
  void place_in_topologies(NodeId n);
  std::unordered_map<std::string, NodeId> by_name_;
  std::unordered_map<std::string, int> other_ids_, key_ids_;
  std::vector<NodeId> free_;
  size_t alive_count_ = 0;
};

}  // namespace caravel::scheduler
