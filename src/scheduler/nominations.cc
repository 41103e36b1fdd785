#include "scheduler/nominations.h"

#include <algorithm>

namespace caravel::scheduler {

void Nominations::set(const std::string& key, ClassId c, int32_t priority, const std::string& node) {
  clear(key);
  entries_[key] = Entry{node, priority, cluster_->add_pod(c, node)};
}

void Nominations::clear(const std::string& key) {
  auto it = entries_.find(key);
  if (it == entries_.end()) return;
  auto hidden = std::find(hidden_.begin(), hidden_.end(), it->second.id);
  if (hidden != hidden_.end()) {
    cluster_->put_back(it->second.id);
    hidden_.erase(hidden);
  }
  cluster_->remove_pod(it->second.id);
  entries_.erase(it);
}

const std::string& Nominations::node_of(const std::string& key) const {
  static const std::string kNone;
  auto it = entries_.find(key);
  return it == entries_.end() ? kNone : it->second.node;
}

std::vector<std::string> Nominations::below(const std::string& node, int32_t priority) const {
  std::vector<std::string> out;
  for (const auto& [key, e] : entries_)
    if (e.node == node && e.priority < priority) out.push_back(key);
  std::sort(out.begin(), out.end());
  return out;
}

void Nominations::hide(const std::string& key, int32_t priority) {
  for (const auto& [k, e] : entries_)
    if (k == key || e.priority < priority) hidden_.push_back(e.id);
  std::sort(hidden_.begin(), hidden_.end());
  for (PodId id : hidden_) cluster_->lift(id);
}

void Nominations::show() {
  for (PodId id : hidden_) cluster_->put_back(id);
  hidden_.clear();
}

}  // namespace caravel::scheduler
