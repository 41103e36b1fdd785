#include "scheduler/attachments.h"

#include <algorithm>

namespace caravel::scheduler {

int Attachments::driver(const std::string& name) { return drivers_.emplace(name, static_cast<int>(drivers_.size())).first->second; }

Attachments::Node& Attachments::at(int32_t node) {
  if (nodes_.size() <= static_cast<size_t>(node)) nodes_.resize(static_cast<size_t>(node) + 1);
  Node& n = nodes_[static_cast<size_t>(node)];
  n.limit.resize(drivers_.size(), -1);
  n.used.resize(drivers_.size(), 0);
  return n;
}

std::vector<Attachments::Use> Attachments::intern(const std::vector<kube::scheduling::AttachedVolume>& volumes) {
  std::vector<Use> out;
  for (const auto& v : volumes) {
    auto [it, fresh] = ids_.emplace(v.driver + "/" + v.handle, -1);
    if (fresh) {
      if (free_.empty()) free_.push_back(static_cast<int>(volumes_.size())), volumes_.emplace_back();
      it->second = free_.back();
      free_.pop_back();
      volumes_[static_cast<size_t>(it->second)].name = it->first;
    }
    const int volume = it->second;
    if (std::any_of(out.begin(), out.end(), [&](const Use& u) { return u.volume == volume; })) continue;
    ++volumes_[static_cast<size_t>(volume)].refs;
    out.push_back({driver(v.driver), volume});
  }
  return out;
}

void Attachments::release(const std::vector<Use>& uses) {
  for (const Use& u : uses) {
    Volume& v = volumes_[static_cast<size_t>(u.volume)];
    if (--v.refs > 0) continue;
    ids_.erase(v.name);
    v.name.clear();
    free_.push_back(u.volume);
  }
}

void Attachments::set_limits(int32_t node, const AttachLimits& limits) {
  for (const auto& [name, count] : limits) driver(name);
  Node& n = at(node);
  std::fill(n.limit.begin(), n.limit.end(), -1);
  for (const auto& [name, count] : limits) n.limit[static_cast<size_t>(driver(name))] = count;
}

void Attachments::occupy(int32_t node, const std::vector<Use>& uses, int sign) {
  if (uses.empty()) return;
  Node& n = at(node);
  for (const Use& u : uses) {
    int& pods = n.volumes[u.volume];
    const bool was = pods > 0;
    pods += sign;
    const bool is = pods > 0;
    n.used[static_cast<size_t>(u.driver)] += is - was;
    if (!is) n.volumes.erase(u.volume);
  }
}

bool Attachments::admits(int32_t node, const std::vector<Use>& uses) const {
  if (uses.empty() || static_cast<size_t>(node) >= nodes_.size()) return true;
  const Node& n = nodes_[static_cast<size_t>(node)];
  for (const Use& u : uses) {
    const size_t d = static_cast<size_t>(u.driver);
    if (d >= n.limit.size() || n.limit[d] < 0 || n.volumes.count(u.volume)) continue;
    int64_t fresh = std::count_if(uses.begin(), uses.end(), [&](const Use& o) { return o.driver == u.driver && !n.volumes.count(o.volume); });
    if (n.used[d] + fresh > n.limit[d]) return false;
  }
  return true;
}

}  // namespace caravel::scheduler
