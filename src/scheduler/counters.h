// Counting pods by topology domain, incrementally: what topology spread and pod (anti-)affinity ask for.
//
// A Counter says, for a set of pods and a label key of nodes, how many of those pods are in each domain.
// The set is either "pods that match these terms" or "pods that own this term" (an existing pod's
// anti-affinity). Cluster bumps counters as pods come and go; nobody ever counts pods in a decision.
#pragma once

#include <climits>
#include <string>
#include <vector>

#include "scheduler/nodes.h"

namespace caravel::scheduler {

// Which nodes a spread constraint counts: those that have all its keys and that the pod's node affinity
// (and, if asked for, its tolerations) admit.
struct Eligibility {
  std::string text;  // identity
  std::vector<int> keys;
  bool by_affinity = false, by_taints = false;
  Labels node_selector;
  std::optional<std::vector<NodeTerm>> required_nodes;
  std::vector<Toleration> tolerations;
  std::vector<uint8_t> ok;  // per slot
  bool admits(const NodeTable& nodes, NodeId n) const;
};

enum class CounterRole : uint8_t {
  kMatching,        // pods that match all of `terms`
  kMatchingLive,    // the same, without those that are being deleted
  kOwnersAnti,      // pods whose required anti-affinity is terms[0]
  kOwnersWeighted,  // pods that have terms[0] as a preference, with `weight`
  kOwnersRequired,  // pods whose required affinity is terms[0]
};

struct Counter {
  std::string text;  // identity
  CounterRole role = CounterRole::kMatching;
  std::vector<PodTerm> terms;
  int key = 0;
  int eligibility = -1;  // -1: every node that has the key
  int64_t weight = 0;

  std::vector<int32_t> per_node;  // all pods of the set on the node, whether it is eligible or not
  std::vector<int32_t> placed;    // per slot: the domain in which the node is counted, -1 for none
  std::vector<int32_t> per_domain;
  std::vector<int32_t> domain_nodes;  // eligible nodes in the domain
  int64_t total = 0;                  // sum of per_domain
  int32_t live_domains = 0;           // with at least one eligible node

  int32_t count(int32_t domain) const { return domain >= 0 && domain < static_cast<int32_t>(per_domain.size()) ? per_domain[domain] : 0; }
  // The smallest count among live domains; INT_MAX when there is none.
  int32_t minimum() const { return live_domains == 0 ? INT_MAX : min_; }

  void bump(NodeId n, int32_t by);
  // Of a node that has no domain yet: how many pods are on it.
  void set_pods(NodeId n, int32_t pods);
  // The nodes with pods of the set, each once.
  const std::vector<NodeId>& occupied();
  // The node's domain for this counter has changed (-1: not counted any more).
  void place(NodeId n, int32_t domain);

 private:
  void move(int32_t domain, int32_t from, int32_t to);
  void enter(int32_t domain);
  void leave(int32_t domain);
  std::vector<NodeId> occupied_;
  bool occupied_stale_ = true;      // some have none any more, or stand there twice
  std::vector<int32_t> histogram_;  // live domains by count
  int32_t min_ = 0;
};

// A counter seen from a node: the node's domain and the count there.
struct CounterView {
  const std::vector<int32_t>* domain;
  const Counter* counter;
  int32_t at(NodeId n) const { return counter->count((*domain)[n]); }
  bool has_key(NodeId n) const { return (*domain)[n] >= 0; }
};
inline CounterView view(const NodeTable& nodes, const Counter& c) { return {&nodes.keys[c.key]->domain, &c}; }

// The largest count that a domain may have for one more pod to keep the skew.
inline int64_t spread_limit(const Counter& c, int32_t max_skew, int32_t min_domains, bool self) {
  int64_t least = c.live_domains < min_domains ? 0 : c.minimum();
  return int64_t{max_skew} - (self ? 1 : 0) + least;
}

}  // namespace caravel::scheduler
