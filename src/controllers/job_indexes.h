// Completion indexes of an Indexed Job: sets of them as the status writes them ("0-2,5"), and what a pod says of its own.
//
// A set is kept as ordered intervals, so that a Job of a hundred thousand indexes costs as much as it has gaps.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/types/core.h"

namespace caravel::controllers {

class IndexSet {
 public:
  // Indexes of `limit` and above are left out, and so are parts that are no intervals.
  static IndexSet parse(std::string_view text, int limit);
  std::string text() const;
  void insert(int index) { insert(index, index); }
  void insert(const IndexSet& other);
  bool has(int index) const;
  int size() const;
  bool empty() const { return intervals_.empty(); }
  int common(const IndexSet& other) const;  // how many indexes both have
  // The lowest `count` indexes below `limit` that are not in the set.
  std::vector<int> first_missing(int count, int limit) const;

 private:
  struct Interval {
    int first, last;
  };
  void insert(int first, int last);
  std::vector<Interval> intervals_;  // in order, with gaps between them
};

inline constexpr const char* kCompletionIndex = "batch.kubernetes.io/job-completion-index";
// How often pods of this index failed before this one, and how often that did not count.
inline constexpr const char* kIndexFailures = "batch.kubernetes.io/job-index-failure-count";
inline constexpr const char* kIndexIgnoredFailures = "batch.kubernetes.io/job-index-ignored-failure-count";

std::optional<int> index_of(const kube::core::Pod& p);
int index_failures(const kube::core::Pod& p);
int index_ignored_failures(const kube::core::Pod& p);

}  // namespace caravel::controllers
