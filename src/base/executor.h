// Executor: the one door to time, timers, randomness and blocking work. net::EventLoop is the product's,
// VirtualExecutor (below) the simulation's: one thread, a virtual clock, a seeded source.
//
// Threading: every call from the executor's own thread, except post(), which may come from any.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <vector>

#include "base/clock.h"
#include "base/task.h"

namespace caravel {

class Executor {
 public:
  using Fn = std::function<void()>;
  using TimerId = uint64_t;
  virtual ~Executor() = default;

  virtual Time now() const = 0;
  // Runs fn soon, on the executor's thread. Safe from any thread (real executor).
  virtual void post(Fn fn) = 0;
  // Runs fn at `when` or soon after. cancel() of a timer that has run does nothing.
  virtual TimerId run_at(Time when, Fn fn) = 0;
  virtual void cancel(TimerId id) = 0;
  // Runs blocking work (a file sync, a git clone) off the executor's thread and `done` back on it.
  // A simulation runs both at once, in order.
  virtual void offload(Fn work, Fn done) = 0;
  virtual uint64_t random_u64() = 0;

  TimerId run_after(Duration d, Fn fn) { return run_at(now() + d, std::move(fn)); }
  // Uniform in [0, bound); bound > 0.
  uint64_t random_below(uint64_t bound) { return random_u64() % bound; }
  // Uniform in [0, 1).
  double random_unit() { return static_cast<double>(random_u64() >> 11) * 0x1.0p-53; }
};

// co_await sleep(executor, 5s): for a sleep that can be cut short see Event in scope.h.
inline auto sleep(Executor& ex, Duration d) {
  struct Awaiter {
    Executor& ex;
    Duration d;
    Executor::TimerId id = 0;
    bool armed = false;
    bool await_ready() noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) {
      armed = true;
      id = ex.run_after(d, [this, h] {
        armed = false;
        h.resume();
      });
    }
    void await_resume() noexcept {}
    ~Awaiter() {
      if (armed) ex.cancel(id);  // the coroutine was destroyed while it slept
    }
  };
  return Awaiter{ex, d};
}

// co_await yield(executor): lets everything that is ready run first.
inline auto yield(Executor& ex) { return sleep(ex, Duration(0)); }

namespace executor_detail {
template <class T>
struct Blocking {
  Executor& ex;
  std::function<T()> work;
  std::shared_ptr<std::optional<T>> out = std::make_shared<std::optional<T>>();
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    ex.offload([w = std::move(work), o = out] { o->emplace(w()); },
               [h, a = alive] { if (*a) h.resume(); });
  }
  T await_resume() { return std::move(**out); }
  ~Blocking() { *alive = false; }
};
}  // namespace executor_detail

// Result<Repo> r = co_await run_blocking<Result<Repo>>(ex, [=] { return clone(url); });
// The function must own what it touches: the awaiting task may be destroyed while it runs.
template <class T>
Task<T> run_blocking(Executor& ex, std::function<T()> work) {
  executor_detail::Blocking<T> b{ex, std::move(work)};
  co_return co_await b;
}

// One thread, virtual time, seeded randomness. run_until() executes timers in time order (ties in
// order of registration), so equal seeds give equal runs.
class VirtualExecutor final : public Executor {
 public:
  explicit VirtualExecutor(uint64_t seed, Time start = Time::from_seconds(1'767'225'600));  // 2026-01-01
  Time now() const override { return now_; }
  void post(Fn fn) override { run_at(now_, std::move(fn)); }
  TimerId run_at(Time when, Fn fn) override;
  void cancel(TimerId id) override;
  void offload(Fn work, Fn done) override {
    work();
    post(std::move(done));
  }
  uint64_t random_u64() override { return rng_(); }

  // Runs what is due until `end`; the clock ends at `end`. Returns the number of callbacks run.
  uint64_t run_until(Time end);
  uint64_t run_for(Duration d) { return run_until(now_ + d); }
  // Runs until nothing is pending at the present instant.
  uint64_t run_ready() { return run_until(now_); }
  // Runs until pred() holds or `limit` of virtual time has passed; returns pred().
  bool run_until_true(const std::function<bool()>& pred, Duration limit);
  size_t pending() const { return live_; }

 private:
  struct Entry {
    Time when;
    TimerId id;
    bool operator>(const Entry& o) const { return when != o.when ? when > o.when : id > o.id; }
  };
  bool run_one(Time end);
  Time now_;
  std::mt19937_64 rng_;
  TimerId next_id_ = 1;
  size_t live_ = 0;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> heap_;
  struct Slots;
  std::shared_ptr<Slots> slots_;
};

}  // namespace caravel
