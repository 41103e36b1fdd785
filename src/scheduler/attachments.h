// NodeVolumeLimits: how many volumes of each CSI driver a node can have attached (CSINode's
// spec.drivers[].allocatable.count), and which volumes its pods use, bound or on their way. Pods that share a
// volume count once.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "kube/scheduling_spec.h"

namespace caravel::scheduler {

using AttachLimits = std::map<std::string, int64_t>;  // by driver; a driver that is not named has no limit

class Attachments {
 public:
  struct Use {
    int driver = 0, volume = 0;
  };
  // The pod's volumes, each once. Each intern() is matched by a release(), when nothing is occupied by them.
  std::vector<Use> intern(const std::vector<kube::scheduling::AttachedVolume>& volumes);
  void release(const std::vector<Use>& uses);
  void set_limits(int32_t node, const AttachLimits& limits);
  void occupy(int32_t node, const std::vector<Use>& uses, int sign);
  bool admits(int32_t node, const std::vector<Use>& uses) const;

 private:
  struct Node {
    std::vector<int64_t> limit, used;      // by driver; limit -1: none
    std::unordered_map<int, int> volumes;  // pods that use it
  };
  Node& at(int32_t node);
  int driver(const std::string& name);
  struct Volume {
    std::string name;
    int refs = 0;
  };
  std::unordered_map<std::string, int> drivers_, ids_;
  std::vector<Volume> volumes_;
  std::vector<int> free_;
  std::vector<Node> nodes_;
};

}  // namespace caravel::scheduler
