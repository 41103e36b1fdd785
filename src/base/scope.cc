#include "base/scope.h"

namespace caravel {

// The root coroutine of a spawned task: its frame is registered in the scope's state while it runs.
struct TaskScope::Root {
  struct promise_type {
    std::shared_ptr<State> state;
    std::list<std::coroutine_handle<>>::iterator self;
    promise_type(Task<void>&, std::shared_ptr<State>& s) : state(s) {
      self = state->running.insert(state->running.end(), std::coroutine_handle<promise_type>::from_promise(*this));
    }
    Root get_return_object() { return Root{std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept {
      state->running.erase(self);
      return {};
    }
    void return_void() {}
    void unhandled_exception() noexcept { std::abort(); }
  };
  std::coroutine_handle<> handle;
};

TaskScope::Root TaskScope::run(Task<void> task, std::shared_ptr<State>) { co_await std::move(task); }

void TaskScope::spawn(Task<void> task) { run(std::move(task), state_).handle.resume(); }

void TaskScope::cancel_all() {
  while (!state_->running.empty()) {
    auto h = state_->running.front();
    state_->running.pop_front();
    h.destroy();
  }
}

namespace {

struct WaitAwaiter {
  std::shared_ptr<scope_detail::Waiter> w;
  Executor* ex;
  std::optional<Duration> timeout;
  bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    w->handle = h;
    if (timeout) {
      w->timer = ex->run_after(*timeout, [w = w] {
        w->timer = 0;
        if (!w->alive || w->ready) return;
        w->timed_out = true;
        w->ready = true;
        w->alive = false;
        w->handle.resume();
      });
    }
  }
  void await_resume() noexcept {}
  ~WaitAwaiter() {
    w->alive = false;
    if (w->timer) ex->cancel(w->timer);
  }
};

void wake(Executor& ex, std::vector<std::shared_ptr<scope_detail::Waiter>>& waiters) {
  for (auto& w : waiters) {
    if (!w->alive || w->ready) continue;
    w->ready = true;
    ex.post([w] {
      if (w->alive) w->handle.resume();
    });
  }
  waiters.clear();
}

}  // namespace

void Event::set() {
  set_ = true;
  wake(*ex_, waiters_);
}

void Event::pulse() { wake(*ex_, waiters_); }

Task<bool> Event::wait(std::optional<Duration> timeout) {
  if (set_) co_return true;
  auto w = std::make_shared<scope_detail::Waiter>();
  // Waiters that timed out or were destroyed leave when the list next grows.
  if (waiters_.size() >= 16 && (waiters_.size() & (waiters_.size() - 1)) == 0)
    std::erase_if(waiters_, [](auto& x) { return !x->alive; });
  waiters_.push_back(w);
  WaitAwaiter awaiter{w, ex_, timeout};
  co_await awaiter;
  co_return !w->timed_out;
}

Task<bool> StopToken::sleep(Executor& ex, Duration d) const {
  if (!event_) {
    co_await caravel::sleep(ex, d);
    co_return false;
  }
  auto event = event_;
  bool stopped = co_await event->wait(d);
  co_return stopped;
}

Task<void> StopToken::wait(Executor& ex) const {
  auto event = event_;
  if (!event) event = std::make_shared<Event>(ex);
  co_await event->wait();
}

Task<void> Semaphore::acquire() {
  while (permits_ == 0) co_await event_.wait();
  --permits_;
}

}  // namespace caravel
