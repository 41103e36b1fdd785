// Nominated pods: pods that wait for their victims' end, with the node that they will get. They count on
// that node, so that nobody takes the room: for pods of the same or of lower priority, as upstream's filters
// see them.
// Threading: one thread. It changes the cluster that it is given and must end before it.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "scheduler/cluster.h"

namespace caravel::scheduler {

class Nominations {
 public:
  explicit Nominations(Cluster& cluster) : cluster_(&cluster) {}

  void set(const std::string& key, ClassId c, int32_t priority, const std::string& node);
  void clear(const std::string& key);
  // The node's name, "" when the pod is not nominated.
  const std::string& node_of(const std::string& key) const;
  bool contains(const std::string& key) const { return entries_.count(key) > 0; }
  // Pods nominated to the node whose priority is below this.
  std::vector<std::string> below(const std::string& node, int32_t priority) const;

  // Around a decision about `key`: its own nomination and those of lower priority do not count meanwhile.
  void hide(const std::string& key, int32_t priority);
  void show();

 private:
  struct Entry {
    std::string node;
    int32_t priority = 0;
    PodId id = -1;
  };
  Cluster* cluster_;
  std::unordered_map<std::string, Entry> entries_;
  std::vector<PodId> hidden_;
};

}  // namespace caravel::scheduler
