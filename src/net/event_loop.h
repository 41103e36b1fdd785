// EventLoop: the product's Executor, on epoll. One thread runs run(); post() and stop() may be called
// from any thread. offload() runs on a small pool of worker threads.
#pragma once

#include <memory>

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

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

namespace run_on_detail {
template <class T>
Task<void> finish(EventLoop& loop, Task<T> task, std::optional<T>* out) {
  out->emplace(co_await std::move(task));
  loop.stop();
}
}  // namespace run_on_detail

// Runs a task to its end on the calling thread: for command-line programs and tests.
template <class T>
T run_on(EventLoop& loop, Task<T> task) {
  std::optional<T> out;
  TaskScope scope;
  scope.spawn(run_on_detail::finish(loop, std::move(task), &out));
  if (!out) loop.run();
  return std::move(*out);
}

}  // namespace caravel::net
