// EventLoop: the product's Executor, on epoll. One thread runs run(); post() and stop() may be called
// from any thread. offload() runs on a small pool of worker threads.
#pragma once

#include <coroutine>
#include <memory>
#include <optional>

#include "base/executor.h"
#include "base/result.h"
#include "base/scope.h"

namespace caravel::net {

class EventLoop final : public Executor {
 public:
  EventLoop();
  ~EventLoop() override;

  Time now() const override;
  void post(Fn fn) override;
  TimerId run_at(Time when, Fn fn) override;
  void cancel(TimerId id) override;
  void offload(Fn work, Fn done) override;
  uint64_t random_u64() override;  // from the kernel's generator

  // Runs until stop(). Signals named in handle_signal() arrive as callbacks on the loop.
  void run();
  void stop();
  void handle_signal(int signo, Fn fn);

  // Waits until fd is readable / writable (edge- or level-agnostic: check again after waking).
  // At most one waiter per direction and fd. forget() must be called before the fd is closed; it
  // wakes waiters with an error.
  Task<Status> readable(int fd);
  Task<Status> writable(int fd);
  void forget(int fd);
  // True once the kernel has reported that the other end of a watched fd has closed (or failed).
  bool hung_up(int fd) const;

 private:
  friend class FdWait;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The frameless wait under readable() and writable(), for code that reads or writes until EAGAIN before
// it waits: readiness is edge-triggered. `kHangup` waits for the other end to close.
//   FdWait w(loop, fd, FdWait::kRead, timeout);
//   FdWait::Outcome o = co_await w;
class FdWait {
 public:
  enum Direction { kRead = 0,
                   kWrite = 1,
                   kHangup = 2 };
  enum class Outcome { kReady,
                       kForgotten,
                       kTimeout };
  // timeout 0: none.
  FdWait(EventLoop& loop, int fd, Direction direction, Duration timeout = Duration(0)) : loop_(loop), fd_(fd), direction_(direction), timeout_(timeout) {}
  ~FdWait();
  FdWait(const FdWait&) = delete;
  FdWait& operator=(const FdWait&) = delete;
  bool await_ready();
  void await_suspend(std::coroutine_handle<> h);
  Outcome await_resume() const { return outcome_; }

 private:
  friend class EventLoop;
  EventLoop& loop_;
  int fd_;
  Direction direction_;
  Duration timeout_;
  Outcome outcome_ = Outcome::kReady;
  enum { kIdle,
         kListed,
         kWoken } state_ = kIdle;
  FdWait* next_ = nullptr;
  uint64_t timer_ = 0;
  std::coroutine_handle<> handle_;
};

namespace run_on_detail {
template <class T>
Task<void> finish(EventLoop& loop, Task<T> task, std::optional<T>* out, const bool* running) {
  out->emplace(co_await std::move(task));
  if (*running) loop.stop();
}
}  // namespace run_on_detail

// Runs a task to its end on the calling thread: for command-line programs and tests.
template <class T>
T run_on(EventLoop& loop, Task<T> task) {
  std::optional<T> out;
  bool running = false;
  TaskScope scope;
  scope.spawn(run_on_detail::finish(loop, std::move(task), &out, &running));
  running = true;
  if (!out) loop.run();
  return std::move(*out);
}

}  // namespace caravel::net
