// ImageLocality: nodes that have a pod's images already score higher, the more so the more nodes have them
// (else the first node that pulls an image would draw all its pods).
//
// Units: bytes. Below 23 MB an image is not worth a preference, above 1000 MB for each container more makes no
// difference.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "kube/scheduling_spec.h"

namespace caravel::scheduler {

constexpr int64_t kImageBytesMin = 23ll * 1024 * 1024, kImageBytesMaxPerContainer = 1000ll * 1024 * 1024;

// Which node has which image.
class ImageTable {
 public:
  using Holders = std::unordered_map<int32_t, int64_t>;  // node -> bytes
  void set(int32_t node, const std::map<std::string, int64_t>& old, const std::map<std::string, int64_t>& now);
  const Holders* holders(const std::string& image) const;
  uint64_t version() const { return version_; }

 private:
  std::unordered_map<std::string, Holders> images_;
  uint64_t version_ = 1;
};

// 0 to 100: for images of this many bytes (already scaled by their spread) in a pod of so many containers.
int64_t image_score(int64_t bytes, size_t containers);

// The scores of pods with these images (one name for each container), kept up to date.
class ImageScores {
 public:
  explicit ImageScores(std::vector<std::string> images) : images_(std::move(images)) {}
  static std::string key(const std::vector<std::string>& images);
  // True when a score has changed.
  bool refresh(const ImageTable& table, size_t nodes);
  int32_t score(int32_t node) const {
    auto it = scores_.find(node);
    return it == scores_.end() ? 0 : it->second;
  }
  uint64_t version() const { return version_; }  // counts changes of scores

 private:
  std::vector<std::string> images_;
  uint64_t seen_ = 0, version_ = 0;
  size_t nodes_ = 0;
  std::unordered_map<int32_t, int32_t> scores_;  // without zeroes
};

}  // namespace caravel::scheduler
