#include "base/executor.h"

#include <utility>
#include <vector>

namespace caravel {

// A timer's id is its number, which orders timers of one instant, and below that the slot that holds its function.
struct VirtualExecutor::Slots {
  static constexpr int kIndexBits = 24;  // timers at a time
  struct Slot {
    TimerId id = 0;  // 0: free
    Fn fn;
  };
  std::vector<Slot> all;
  std::vector<size_t> free;
  ~Slots() {
    for (Slot& s : all) s.id = 0;  // functions that cancel timers when they go find none
  }

  Slot* find(TimerId id) {
    const size_t at = id & ((TimerId{1} << kIndexBits) - 1);
    return id != 0 && at < all.size() && all[at].id == id ? &all[at] : nullptr;
  }
  TimerId add(TimerId number, Fn fn) {
    if (free.empty()) {
      free.push_back(all.size());
      all.emplace_back();
    }
    const size_t at = free.back();
    free.pop_back();
    all[at].id = number << kIndexBits | at;
    all[at].fn = std::move(fn);
    return all[at].id;
  }
  Fn take(Slot* s) {
    free.push_back(static_cast<size_t>(s - all.data()));
    s->id = 0;
    return std::exchange(s->fn, nullptr);
  }
};

VirtualExecutor::VirtualExecutor(uint64_t seed, Time start) : now_(start), rng_(seed), slots_(std::make_shared<Slots>()) {}

Executor::TimerId VirtualExecutor::run_at(Time when, Fn fn) {
  if (when < now_) when = now_;
  TimerId id = slots_->add(next_id_++, std::move(fn));
  heap_.push({when, id});
  ++live_;
  return id;
}

void VirtualExecutor::cancel(TimerId id) {
  Slots::Slot* s = slots_->find(id);
  if (!s) return;
  --live_;
  Fn gone = slots_->take(s);  // what it holds may end by cancelling others
}

bool VirtualExecutor::run_one(Time end) {
  while (!heap_.empty()) {
    Entry e = heap_.top();
    if (e.when > end) return false;
    heap_.pop();
    Slots::Slot* s = slots_->find(e.id);
    if (!s) continue;  // cancelled
    Fn fn = slots_->take(s);
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
