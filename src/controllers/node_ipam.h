// Node IPAM: gives each Node a piece of the cluster's pod range (spec.podCIDR), for networks that route by node. Off unless
// asked for: on AWS the VPC CNI gives pods addresses of the VPC.
#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "kube/ip_range.h"

namespace caravel::controllers {

// Equal pieces of a range, and which of them are taken. Pieces are given in order from where the last one was given, so that
// one that was given back is not given at once again. Pure.
class CidrSet {
 public:
  // At most 65,536 pieces, as upstream.
  static Result<CidrSet> make(const std::string& range, int piece_bits);
  std::optional<kube::IpRange> take();
  // All pieces that have addresses in common with `r`, which may be larger than a piece.
  void occupy(const kube::IpRange& r) { mark(r, true); }
  void release(const kube::IpRange& r) { mark(r, false); }

 private:
  void mark(const kube::IpRange& r, bool taken);
  kube::IpRange range_;
  int bits_ = 24;
  std::vector<bool> taken_;
  size_t next_ = 0;
};

}  // namespace caravel::controllers
