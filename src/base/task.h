// Task<T>: a lazy coroutine, the one style of asynchronous code in Caravel.
//
// Threading: a Task runs on the thread of the Executor that resumes it; nothing here is atomic. All
// state that tasks share belongs to one executor.
// Ownership: the frame belongs to the Task object. co_await consumes it. Work that nobody awaits is
// started in a TaskScope (scope.h) so that somebody owns it; there is no detached work.
// Stack: awaiting a task that finishes without suspending uses no extra stack, also at -O0.
//
// Rules (GCC 12 miscompiles what breaks them, and they read better anyway):
//   - no capturing lambda may be a coroutine; write a member or a free function with parameters;
//   - parameters of a coroutine are taken by value unless the caller provably outlives it;
//   - no co_await inside ?:, &&, ||, or a braced initialiser; bind the result to a name first;
//   - build aggregates into a named local before passing them to a coroutine that is co_awaited.
#pragma once

#include <cassert>
#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <utility>

namespace caravel {

namespace task_detail {

struct PromiseBase {
  std::coroutine_handle<> continuation;
  bool parent_suspended = false;  // the awaiting coroutine has really suspended

  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> h) noexcept {
      PromiseBase& p = h.promise();
      if (p.continuation && p.parent_suspended) return p.continuation;
      return std::noop_coroutine();
    }
    void await_resume() noexcept {}
  };
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept {
    std::fputs("caravel: an exception left a coroutine; this is a defect\n", stderr);
    std::abort();
  }
};

}  // namespace task_detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : task_detail::PromiseBase {
    std::optional<T> value;
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    template <class U>
    void return_value(U&& v) {
      value.emplace(std::forward<U>(v));
    }
  };
  Task(Task&& o) noexcept : h_(std::exchange(o.h_, {})) {}
  Task& operator=(Task&& o) noexcept {
    if (this != &o) {
      if (h_) h_.destroy();
      h_ = std::exchange(o.h_, {});
    }
    return *this;
  }
  ~Task() {
    if (h_) h_.destroy();
  }

  auto operator co_await() && noexcept {
    struct Awaiter {
      std::coroutine_handle<promise_type> h;
      bool await_ready() noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> parent) noexcept {
        h.promise().continuation = parent;
        h.resume();
        if (h.done()) return false;
        h.promise().parent_suspended = true;
        return true;
      }
      T await_resume() { return std::move(*h.promise().value); }
    };
    return Awaiter{h_};
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> h) : h_(h) {}
  std::coroutine_handle<promise_type> h_;
};

template <>
class [[nodiscard]] Task<void> {
 public:
  struct promise_type : task_detail::PromiseBase {
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    void return_void() {}
  };
  Task(Task&& o) noexcept : h_(std::exchange(o.h_, {})) {}
  Task& operator=(Task&& o) noexcept {
    if (this != &o) {
      if (h_) h_.destroy();
      h_ = std::exchange(o.h_, {});
    }
    return *this;
  }
  ~Task() {
    if (h_) h_.destroy();
  }
  auto operator co_await() && noexcept {
    struct Awaiter {
      std::coroutine_handle<promise_type> h;
      bool await_ready() noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> parent) noexcept {
        h.promise().continuation = parent;
        h.resume();
        if (h.done()) return false;
        h.promise().parent_suspended = true;
        return true;
      }
      void await_resume() noexcept {}
    };
    return Awaiter{h_};
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> h) : h_(h) {}
  std::coroutine_handle<promise_type> h_;
};

}  // namespace caravel
