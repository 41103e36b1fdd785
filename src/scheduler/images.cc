#include "scheduler/images.h"

#include <algorithm>

namespace caravel::scheduler {

void ImageTable::set(int32_t node, const std::map<std::string, int64_t>& old, const std::map<std::string, int64_t>& now) {
  if (old == now) return;
  ++version_;
  for (const auto& [name, bytes] : old) {
    auto it = images_.find(name);
    if (it == images_.end()) continue;
    it->second.erase(node);
    if (it->second.empty()) images_.erase(it);
  }
  for (const auto& [name, bytes] : now) images_[name][node] = bytes;
}

const ImageTable::Holders* ImageTable::holders(const std::string& image) const {
  auto it = images_.find(image);
  return it == images_.end() ? nullptr : &it->second;
}

int64_t image_score(int64_t bytes, size_t containers) {
  const int64_t most = kImageBytesMaxPerContainer * static_cast<int64_t>(containers);
  return 100 * (std::clamp(bytes, kImageBytesMin, most) - kImageBytesMin) / (most - kImageBytesMin);
}

std::string ImageScores::key(const std::vector<std::string>& images) {
  std::string out;
  for (const auto& i : images) out += i + '\n';
  return out;
}

bool ImageScores::refresh(const ImageTable& table, size_t nodes) {
  if (seen_ == table.version() && nodes_ == nodes) return false;
  seen_ = table.version();
  nodes_ = nodes;
  std::unordered_map<int32_t, int64_t> bytes;
  for (const auto& name : images_) {
    const auto* holders = table.holders(name);
    if (!holders || nodes == 0) continue;
    const double spread = static_cast<double>(holders->size()) / static_cast<double>(nodes);
    for (const auto& [node, size] : *holders) bytes[node] += static_cast<int64_t>(static_cast<double>(size) * spread);
  }
  std::unordered_map<int32_t, int32_t> now;
  for (const auto& [node, sum] : bytes)
    if (int64_t s = image_score(sum, images_.size()); s != 0) now.emplace(node, static_cast<int32_t>(s));
  if (now == scores_) return false;
  scores_ = std::move(now);
  ++version_;
  return true;
}

}  // namespace caravel::scheduler
