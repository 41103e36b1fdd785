#include "base/executor.h"

#include <unordered_map>

namespace caravel {

struct VirtualExecutor::Slots {
  std::unordered_map<TimerId, Fn> fns;
};

VirtualExecutor::VirtualExecutor(uint64_t seed, Time start) : now_(start), rng_(seed), slots_(std::make_shared<Slots>()) {}

Executor::TimerId VirtualExecutor::run_at(Time when, Fn fn) {
  if (when < now_) when = now_;
  TimerId id = next_id_++;
  heap_.push({when, id});
  slots_->fns.emplace(id, std::move(fn));
  ++live_;
  return id;
}

void VirtualExecutor::cancel(TimerId id) {
  if (slots_->fns.erase(id)) --live_;
}

bool VirtualExecutor::run_one(Time end) {
  while (!heap_.empty()) {
    Entry e = heap_.top();
    if (e.when > end) return false;
    heap_.pop();
    auto it = slots_->fns.find(e.id);
    if (it == slots_->fns.end()) continue;  // cancelled
    Fn fn = std::move(it->second);
    slots_->fns.erase(it);
    --live_;
    now_ = e.when;
    fn();
    return true;
  }
  return false;
}

uint64_t VirtualExecutor::run_until(Time end) {
  uint64_t n = 0;
  while (run_one(end)) ++n;
  if (now_ < end) now_ = end;
  return n;
}

bool VirtualExecutor::run_until_true(const std::function<bool()>& pred, Duration limit) {
  Time end = now_ + limit;
  while (!pred()) {
    if (!run_one(end)) {
      now_ = end;
      return pred();
    }
  }
  return true;
}

}  // namespace caravel
