// An Executor whose clock can be wrong: what a component sees whose machine's clock was set. Its timers are
// durations and are not moved by a jump, as the monotonic clock's are not.
#pragma once

#include "base/executor.h"

namespace caravel::sim {

class SkewedExecutor final : public Executor {
 public:
  explicit SkewedExecutor(Executor& inner) : inner_(&inner) {}
  void jump(Duration by) { skew_ += by; }
  void set_right() { skew_ = Duration(0); }
  Duration skew() const { return skew_; }

  Time now() const override { return inner_->now() + skew_; }
  void post(Fn fn) override { inner_->post(std::move(fn)); }
  TimerId run_at(Time when, Fn fn) override { return inner_->run_at(when - skew_, std::move(fn)); }
  void cancel(TimerId id) override { inner_->cancel(id); }
  void offload(Fn work, Fn done) override { inner_->offload(std::move(work), std::move(done)); }
  uint64_t random_u64() override { return inner_->random_u64(); }

 private:
  Executor* inner_;
  Duration skew_{};
};

}  // namespace caravel::sim
