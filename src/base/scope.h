// The lifetime kit: who owns work, how it is stopped, how it waits.
//
//   TaskScope    owns started tasks; destroying the scope destroys them (they stop where they stand).
//   Event        a level that tasks wait for, with an optional timeout.
//   StopToken    asks work to end; StopSource says so.
//   Semaphore    a named number of permits.
//   Channel<T>   a bounded queue between tasks.
//
// Threading: one executor. Waiters are resumed through the executor, never inside set()/push(), so the
// caller's state cannot change under it.
#pragma once

#include <coroutine>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "base/executor.h"
#include "base/task.h"

namespace caravel {

// Owns background tasks. spawn() starts the task at once (until its first suspension). Destruction or
// cancel_all() destroys the frames of those still running: their destructors cancel timers and I/O.
// A task may not destroy its own scope.
class TaskScope {
 public:
  TaskScope() : state_(std::make_shared<State>()) {}
  ~TaskScope() { cancel_all(); }
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;

  void spawn(Task<void> task);
  void cancel_all();
  size_t running() const { return state_->running.size(); }

 private:
  struct Root;
  struct State {
    std::list<std::coroutine_handle<>> running;
  };
  static Root run(Task<void> task, std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

namespace scope_detail {
struct Waiter {
  std::coroutine_handle<> handle;
  Executor::TimerId timer = 0;
  bool timed_out = false;
  bool ready = false;
  bool alive = true;
};
}  // namespace scope_detail

// set() wakes all waiters and stays set until reset(). wait() returns false on timeout.
class Event {
 public:
  explicit Event(Executor& ex) : ex_(&ex) {}
  void set();
  void reset() { set_ = false; }
  // Wakes the present waiters without staying set.
  void pulse();
  bool is_set() const { return set_; }
  Task<bool> wait(std::optional<Duration> timeout = std::nullopt);

 private:
  Executor* ex_;
  bool set_ = false;
  std::vector<std::shared_ptr<scope_detail::Waiter>> waiters_;
};

// A stop request that many may look at. Copies share the state. A default StopToken never stops.
class StopToken {
 public:
  StopToken() = default;
  bool stopped() const { return event_ && event_->is_set(); }
  // Sleeps for d, or less if stop is asked for; true when stopped.
  Task<bool> sleep(Executor& ex, Duration d) const;
  Task<void> wait(Executor& ex) const;

 private:
  friend class StopSource;
  std::shared_ptr<Event> event_;
};

class StopSource {
 public:
  explicit StopSource(Executor& ex) : event_(std::make_shared<Event>(ex)) {}
  StopToken token() const {
    StopToken t;
    t.event_ = event_;
    return t;
  }
  void stop() { event_->set(); }
  bool stopped() const { return event_->is_set(); }

 private:
  std::shared_ptr<Event> event_;
};

class Semaphore {
 public:
  Semaphore(Executor& ex, size_t permits) : event_(ex), permits_(permits) {}
  Task<void> acquire();
  void release() {
    ++permits_;
    event_.pulse();
  }
  size_t available() const { return permits_; }

 private:
  Event event_;
  size_t permits_;
};

// Bounded queue. push() waits while full; pop() waits while empty and gives nullopt once closed and
// drained. try_push() refuses when full.
template <class T>
class Channel {
 public:
  Channel(Executor& ex, size_t capacity) : not_empty_(ex), not_full_(ex), capacity_(capacity) {}
  bool try_push(T value) {
    if (closed_ || queue_.size() >= capacity_) return false;
    queue_.push_back(std::move(value));
    not_empty_.pulse();
    return true;
  }
  Task<bool> push(T value) {
    while (!closed_ && queue_.size() >= capacity_) co_await not_full_.wait();
    if (closed_) co_return false;
    queue_.push_back(std::move(value));
    not_empty_.pulse();
    co_return true;
  }
  Task<std::optional<T>> pop() {
    while (queue_.empty() && !closed_) co_await not_empty_.wait();
    std::optional<T> out;
    if (!queue_.empty()) {
      out.emplace(std::move(queue_.front()));
      queue_.pop_front();
      not_full_.pulse();
    }
    co_return out;
  }
  void close() {
    closed_ = true;
    not_empty_.pulse();
    not_full_.pulse();
  }
  bool closed() const { return closed_; }
  size_t size() const { return queue_.size(); }

 private:
  Event not_empty_, not_full_;
  size_t capacity_;
  bool closed_ = false;
  std::deque<T> queue_;
};

namespace scope_detail {
template <class T>
struct Race {
  Event done;
  std::optional<T> result;
  explicit Race(Executor& ex) : done(ex) {}
};
template <class T>
Task<void> run_into(Task<T> work, Race<T>* race) {
  race->result.emplace(co_await std::move(work));
  race->done.set();
}
}  // namespace scope_detail

// co_await within(ex, 5s, task): the task's result, or nullopt when it took longer (it is then destroyed
// where it stands).
template <class T>
Task<std::optional<T>> within(Executor& ex, Duration limit, Task<T> work) {
  scope_detail::Race<T> race(ex);
  TaskScope scope;
  scope.spawn(scope_detail::run_into(std::move(work), &race));
  if (!race.result) co_await race.done.wait(limit);
  co_return std::move(race.result);
}

// Runs a task to its end on a VirtualExecutor or any executor whose run loop is `drive`: for tests.
template <class T>
T run_task(VirtualExecutor& ex, Task<T> task, Duration limit = std::chrono::hours(24));

namespace scope_detail {
template <class T>
Task<void> store_result(Task<T> t, std::optional<T>* out) {
  out->emplace(co_await std::move(t));
}
}  // namespace scope_detail

template <class T>
T run_task(VirtualExecutor& ex, Task<T> task, Duration limit) {
  std::optional<T> out;
  TaskScope scope;
  scope.spawn(scope_detail::store_result<T>(std::move(task), &out));
  ex.run_until_true([&] { return out.has_value(); }, limit);
  assert(out && "the task did not finish within its limit of virtual time");
  return std::move(*out);
}

}  // namespace caravel
