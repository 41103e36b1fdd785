// What many pods have in common, computed once and kept up to date from the nodes' change logs.
//
//   StaticFilter  per node: do taints, cordon, node name and node affinity admit the pod, and its static scores.
//   Shape         per node: does it also fit now, and its score by resources and by images (resource_score.h, images.h).
//
// A decision for a pod without spread or affinity rules is then the maximum of one array.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "scheduler/nodes.h"
#include "scheduler/profile.h"
#include "scheduler/resource_score.h"

namespace caravel::scheduler {

// Why a node is ruled out for good (preemption would not help), in the order of the plugins.
enum class StaticVerdict : uint8_t { kFits,
                                     kUnschedulable,
                                     kNodeName,
                                     kTaint,
                                     kEnforced,
                                     kAffinity,
                                     kVolume };

// The volume that the node cannot serve; null when it can serve all.
const VolumeNodes* unserved_volume(const NodeSpec& node, const PodSpec& pod);
StaticVerdict static_verdict(const NodeSpec& node, const PodSpec& pod, const Profile& profile);
int64_t intolerable_preferences(const NodeSpec& node, const PodSpec& pod);  // PreferNoSchedule taints
int64_t preferred_node_weight(const NodeSpec& node, const PodSpec& pod, const Profile& profile);

class StaticFilter {
 public:
  // The profile must outlive it.
  StaticFilter(PodSpec pod, const Profile& profile) : pod_(std::move(pod)), profile_(&profile) {}
  static std::string key(const PodSpec& pod);
  void refresh(const NodeTable& nodes);
  StaticVerdict verdict(NodeId n) const { return verdict_[n]; }
  // True when the two scores are the same on all nodes that pass, so that they decide nothing.
  bool scores_uniform() const { return scored_nodes_ == 0; }
  int32_t taint_score(NodeId n) const { return taint_score_[n]; }
  int32_t affinity_score(NodeId n) const { return affinity_score_[n]; }

 private:
  void compute(const NodeTable& nodes, NodeId n);
  PodSpec pod_;
  const Profile* profile_;
  uint64_t position_ = 0;
  std::vector<StaticVerdict> verdict_;
  std::vector<int32_t> taint_score_, affinity_score_;
  size_t scored_nodes_ = 0;
};

// The pod's needs in the columns' terms.
struct Needs {
  int64_t cpu = 0, memory = 0, ephemeral = 0, nonzero_cpu = 0, nonzero_memory = 0;
  std::vector<std::pair<int, int64_t>> other;     // what it occupies
  std::vector<std::pair<int, int64_t>> required;  // of it, what must be free
  std::vector<HostPort> ports;
  bool checked = true;  // false: NodeResourcesFit does not filter
};
Needs needs_of(const PodSpec& pod, NodeTable& nodes, const Profile& profile);

bool ports_free(const NodeTable& nodes, NodeId n, const Needs& needs);
bool resources_fit(const NodeTable& nodes, NodeId n, const Needs& needs);
bool could_ever_fit(const NodeTable& nodes, NodeId n, const Needs& needs);  // on the empty node
// "Insufficient cpu", ...; sets `hopeless` when the empty node would be too small as well.
std::vector<std::string> resource_reasons(const NodeTable& nodes, NodeId n, const Needs& needs, bool& hopeless);

// The nodes that a pod fits on, by domain and score: of pods that are to be spread over domains, all nodes of a domain without
// any of them are alike but for this score.
struct DomainScores {
  static constexpr int32_t kNone = -1, kUnnamed = -2;
  static constexpr int32_t kScoreMax = 4095;
  int zone = -1, host = -1;                  // indexes of topology keys; -1: one domain for all, any name does
  std::vector<int32_t> bucket;               // per slot: the domain + 1 (0: it has none), kUnnamed without a `host`, or kNone: it does not fit
  std::vector<std::vector<int32_t>> counts;  // nodes by bucket and score
  std::vector<int32_t> total;                // by bucket
  int32_t unnamed = 0;
  bool usable = true;  // false: there was a greater score than kScoreMax
  // From the score that it was counted with, to the score that it has.
  void change(const NodeTable& nodes, NodeId n, int32_t from, int32_t to);
  void add(int32_t b, int32_t score, int32_t by) { counts[b][score] += by, total[b] += by; }
};

class Shape {
 public:
  static constexpr int32_t kRuledOut = -1;
  static constexpr NodeId kBlock = 64;  // nodes per block maximum

  // images may be null; the scoring must outlive it.
  Shape(std::shared_ptr<StaticFilter> filter, Needs needs, const ResourceScoring& scoring, std::shared_ptr<ImageScores> images, int64_t image_weight)
      : filter_(std::move(filter)), needs_(std::move(needs)), scoring_(&scoring), images_(std::move(images)), image_weight_(image_weight) {}
  static std::string key(const PodSpec& pod);
  void refresh(const NodeTable& nodes);
  const StaticFilter& filter() const { return *filter_; }
  const Needs& needs() const { return needs_; }
  // Per slot: the score, or kRuledOut.
  const std::vector<int32_t>& scores() const { return scores_; }
  int32_t maximum() const;
  // Kept up to date from now on; null when that is not possible. Valid until the next refresh().
  DomainScores* by_domain(const NodeTable& nodes, int zone, int host);
  // The first node from `start` on, and round, that is wanted; those with a score below `least` are not.
  template <class F>
  NodeId find_from(NodeId start, int32_t least, F wanted) const;
  // The node with that score nearest after a starting point; the score must be maximum().
  NodeId pick(int32_t score, NodeId start) const;

 private:
  void compute(const NodeTable& nodes, NodeId n);
  void recompute_block(size_t block);
  std::shared_ptr<StaticFilter> filter_;
  Needs needs_;
  const ResourceScoring* scoring_;
  std::shared_ptr<ImageScores> images_;
  int64_t image_weight_;
  uint64_t position_ = 0, static_position_ = 0, images_version_ = 0;
  std::vector<int32_t> scores_, block_max_;
  std::vector<std::unique_ptr<DomainScores>> domains_;
};

template <class F>
NodeId Shape::find_from(NodeId start, int32_t least, F wanted) const {
  const size_t blocks = block_max_.size(), first = static_cast<size_t>(start) / kBlock;
  for (size_t k = 0; k <= blocks; ++k) {
    const size_t block = (first + k) % blocks;
    if (block_max_[block] < least) continue;
    const size_t begin = block * kBlock, end = std::min(scores_.size(), begin + kBlock);
    for (size_t i = k == 0 ? static_cast<size_t>(start) : begin; i < end; ++i)
      if (scores_[i] >= least && wanted(static_cast<NodeId>(i))) return static_cast<NodeId>(i);
  }
  return -1;
}

}  // namespace caravel::scheduler
