#include "net/event_loop.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

namespace caravel::net {
namespace {

constexpr int kWorkers = 4;
constexpr int kEventsPerWait = 256;

// A signal handler can reach nothing but statics: the eventfd that each signal is reported on, or -1.
std::atomic<int> signal_fds[NSIG];

void on_signal(int signo) {
  int saved = errno;
  int fd = signal_fds[signo].load();
  uint64_t one = 1;
  if (fd > 0) (void)!write(fd, &one, sizeof one);
  errno = saved;
}

int64_t monotonic_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000LL + ts.tv_nsec;
}

struct FdState {
  FdWait* waiters[3] = {};
  std::function<void()>* callback = nullptr;  // an fd of the loop itself
  bool registered = false;
  bool always_ready = false;  // not pollable: a regular file
  bool ready[2] = {};         // an edge that nobody has consumed yet
  bool hangup = false;
};

struct Timer {
  int64_t when;  // monotonic ns
  uint64_t id;
  bool operator>(const Timer& o) const { return when != o.when ? when > o.when : id > o.id; }
};

}  // namespace

struct EventLoop::Impl {
  int epoll = -1;
  int wake_fd = -1;
  std::vector<FdState> fds;
  std::vector<FdWait*> woken;  // to be resumed from the loop; null: destroyed meanwhile
  std::vector<Timer> heap;
  std::unordered_map<uint64_t, Fn> timers;
  uint64_t next_timer = 1;

  std::mutex mutex;  // guards posted, sleeping, stop
  std::vector<Fn> posted;
  bool sleeping = false;
  bool stop = false;

  std::mutex work_mutex;
  std::condition_variable work_ready;
  std::vector<std::pair<Fn, Fn>> work;  // used as a queue
  size_t work_head = 0;
  bool work_stop = false;
  std::vector<std::thread> workers;

  std::vector<std::pair<int, std::unique_ptr<std::function<void()>>>> own_fds;
  std::vector<int> signals;
  uint64_t random[32];
  size_t random_left = 0;
  bool has_pwait2 = true;

  FdState& state(int fd) {
    if (static_cast<size_t>(fd) >= fds.size()) fds.resize(std::max<size_t>(64, static_cast<size_t>(fd) * 2));
    return fds[fd];
  }
  void watch(int fd) {
    FdState& s = state(fd);
    if (s.registered) return;
    epoll_event e{};
    e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    e.data.fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
      if (errno == EEXIST) epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &e);
      else s.always_ready = true;  // a regular file, or an fd that is not open: the next read tells
    }
    s.registered = true;
  }
  void own(int fd, std::function<void()> f) {
    own_fds.emplace_back(fd, std::make_unique<std::function<void()>>(std::move(f)));
    watch(fd);
    state(fd).callback = own_fds.back().second.get();
  }
  void wake_list(FdWait*& head) {
    for (FdWait* w = std::exchange(head, nullptr); w;) {
      FdWait* next = std::exchange(w->next_, nullptr);
      w->state_ = FdWait::kWoken;
      woken.push_back(w);
      w = next;
    }
  }
  void dispatch(int fd, uint32_t events) {
    FdState& s = state(fd);
    if (s.callback) {
      (*s.callback)();
      return;
    }
    if (!s.registered) return;  // forgotten meanwhile
    bool down = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (down) s.hangup = true;
    if (down || (events & EPOLLIN)) {
      s.ready[0] = s.waiters[0] == nullptr;
      wake_list(s.waiters[0]);
    }
    if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
      s.ready[1] = s.waiters[1] == nullptr;
      wake_list(s.waiters[1]);
    }
    if (down) wake_list(s.waiters[2]);
  }
  void run_woken() {
    for (size_t i = 0; i < woken.size(); ++i) {
      FdWait* w = woken[i];
      if (!w) continue;
      woken[i] = nullptr;
      w->state_ = FdWait::kIdle;
      w->handle_.resume();
    }
    woken.clear();
  }
  void run_timers() {
    if (heap.empty()) return;
    int64_t now = monotonic_ns();
    uint64_t first_new = next_timer;  // timers that these callbacks add wait for the next round
    while (!heap.empty() && heap.front().when <= now) {
      Timer t = heap.front();
      if (t.id >= first_new) break;
      std::pop_heap(heap.begin(), heap.end(), std::greater<>());
      heap.pop_back();
      auto it = timers.find(t.id);
      if (it == timers.end()) continue;
      Fn fn = std::move(it->second);
      timers.erase(it);
      fn();
    }
  }
  bool run_posted() {
    std::vector<Fn> batch;
    {
      std::lock_guard lock(mutex);
      sleeping = false;
      if (stop) return false;
      batch.swap(posted);
    }
    for (Fn& f : batch) f();
    return true;
  }
  void wait() {
    while (!heap.empty() && !timers.count(heap.front().id)) {
      std::pop_heap(heap.begin(), heap.end(), std::greater<>());
      heap.pop_back();
    }
    int64_t timeout = -1;
    if (!heap.empty()) timeout = std::max<int64_t>(0, heap.front().when - monotonic_ns());
    if (!woken.empty()) timeout = 0;
    {
      std::lock_guard lock(mutex);
      if (!posted.empty() || stop) timeout = 0;
      else sleeping = true;
    }
    epoll_event events[kEventsPerWait];
    int n = -1;
    if (has_pwait2) {
      timespec ts{timeout / 1'000'000'000, timeout % 1'000'000'000};
      n = epoll_pwait2(epoll, events, kEventsPerWait, timeout < 0 ? nullptr : &ts, nullptr);
      if (n < 0 && errno == ENOSYS) has_pwait2 = false;
    }
    if (!has_pwait2) {
      int64_t ms = timeout < 0 ? -1 : std::min<int64_t>((timeout + 999'999) / 1'000'000, 3'600'000);
      n = epoll_wait(epoll, events, kEventsPerWait, static_cast<int>(ms));
    }
    for (int i = 0; i < n; ++i) dispatch(events[i].data.fd, events[i].events);
  }
  void work_loop() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    for (;;) {
      std::pair<Fn, Fn> job;
      {
        std::unique_lock lock(work_mutex);
        work_ready.wait(lock, [this] { return work_stop || work_head < work.size(); });
        if (work_stop) return;
        job = std::move(work[work_head++]);
        if (work_head == work.size()) {
          work.clear();
          work_head = 0;
        }
      }
      job.first();
      job.first = nullptr;  // what the work owned is released here, not on the loop
      enqueue(std::move(job.second));
    }
  }
  void enqueue(Fn fn) {
    bool wake;
    {
      std::lock_guard lock(mutex);
      posted.push_back(std::move(fn));
      wake = std::exchange(sleeping, false);
    }
    if (wake) ring();
  }
  void ring() {
    uint64_t one = 1;
    (void)!write(wake_fd, &one, sizeof one);
  }
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {
  // A peer that has gone is an error of write(), not a signal.
  struct sigaction old;
  if (sigaction(SIGPIPE, nullptr, &old) == 0 && old.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
  impl_->epoll = epoll_create1(EPOLL_CLOEXEC);
  impl_->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  Impl* d = impl_.get();
  d->own(d->wake_fd, [d] {
    uint64_t n;
    (void)!read(d->wake_fd, &n, sizeof n);
  });
}

EventLoop::~EventLoop() {
  {
    std::lock_guard lock(impl_->work_mutex);
    impl_->work_stop = true;
  }
  impl_->work_ready.notify_all();
  for (auto& t : impl_->workers) t.join();
  for (int signo : impl_->signals) {
    signal(signo, SIG_DFL);
    signal_fds[signo] = -1;
  }
  // What is queued may own tasks whose ends call back into the loop: drop it while the loop still stands.
  std::vector<Fn> posted;
  posted.swap(impl_->posted);
  posted.clear();
  auto timers = std::move(impl_->timers);
  timers.clear();
  for (auto& [fd, f] : impl_->own_fds) ::close(fd);
  ::close(impl_->epoll);
}

Time EventLoop::now() const {
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return {ts.tv_sec * 1'000'000'000LL + ts.tv_nsec};
}

void EventLoop::post(Fn fn) { impl_->enqueue(std::move(fn)); }

Executor::TimerId EventLoop::run_at(Time when, Fn fn) {
  Impl& d = *impl_;
  uint64_t id = d.next_timer++;
  // Kept on the monotonic clock: a jump of the wall clock moves no timer.
  d.heap.push_back({monotonic_ns() + (when - now()).count(), id});
  std::push_heap(d.heap.begin(), d.heap.end(), std::greater<>());
  d.timers.emplace(id, std::move(fn));
  if (d.heap.size() > 64 + 2 * d.timers.size()) {  // mostly cancelled ones
    std::erase_if(d.heap, [&](const Timer& t) { return !d.timers.count(t.id); });
    std::make_heap(d.heap.begin(), d.heap.end(), std::greater<>());
  }
  return id;
}

void EventLoop::cancel(TimerId id) {
  auto it = impl_->timers.find(id);
  if (it == impl_->timers.end()) return;
  Fn fn = std::move(it->second);  // destroyed after the table is whole again
  impl_->timers.erase(it);
}

void EventLoop::offload(Fn work, Fn done) {
  Impl* d = impl_.get();
  {
    std::lock_guard lock(d->work_mutex);
    d->work.emplace_back(std::move(work), std::move(done));
  }
  if (d->workers.empty())
    for (int i = 0; i < kWorkers; ++i) d->workers.emplace_back([d] { d->work_loop(); });
  d->work_ready.notify_one();
}

uint64_t EventLoop::random_u64() {
  Impl& d = *impl_;
  if (d.random_left == 0) {
    if (getrandom(d.random, sizeof d.random, 0) != sizeof d.random) std::abort();
    d.random_left = std::size(d.random);
  }
  return std::exchange(d.random[--d.random_left], 0);
}

void EventLoop::run() {
  Impl& d = *impl_;
  for (;;) {
    d.run_woken();
    if (!d.run_posted()) break;
    d.run_timers();
    d.wait();
  }
  std::lock_guard lock(d.mutex);
  d.stop = false;
}

void EventLoop::stop() {
  bool wake;
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
    wake = std::exchange(impl_->sleeping, false);
  }
  if (wake) impl_->ring();
}

void EventLoop::handle_signal(int signo, Fn fn) {
  int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  signal_fds[signo] = fd;
  impl_->signals.push_back(signo);
  impl_->own(fd, [fd, fn = std::move(fn)] {
    uint64_t n;
    if (read(fd, &n, sizeof n) == sizeof n) fn();
  });
  struct sigaction sa {};
  sa.sa_handler = on_signal;
  sa.sa_flags = SA_RESTART;
  sigaction(signo, &sa, nullptr);
}

bool FdWait::await_ready() {
  if (fd_ < 0) {
    outcome_ = Outcome::kForgotten;
    return true;
  }
  EventLoop::Impl& d = *loop_.impl_;
  d.watch(fd_);
  FdState& s = d.state(fd_);
  if (s.always_ready && direction_ != kHangup) return true;
  if (s.hangup && direction_ != kWrite) return true;
  if (direction_ != kHangup && s.ready[direction_]) {
    s.ready[direction_] = false;
    return true;
  }
  return false;
}

void FdWait::await_suspend(std::coroutine_handle<> h) {
  handle_ = h;
  FdWait*& head = loop_.impl_->state(fd_).waiters[direction_];
  next_ = head;
  head = this;
  state_ = kListed;
  if (timeout_.count() > 0)
    timer_ = loop_.run_after(timeout_, [this] {
      timer_ = 0;
      if (state_ != kListed) return;  // about to be resumed anyway
      FdWait** p = &loop_.impl_->state(fd_).waiters[direction_];
      while (*p != this) p = &(*p)->next_;
      *p = next_;
      state_ = kIdle;
      outcome_ = Outcome::kTimeout;
      handle_.resume();
    });
}

FdWait::~FdWait() {
  if (timer_) loop_.cancel(timer_);
  if (state_ == kListed) {
    FdWait** p = &loop_.impl_->state(fd_).waiters[direction_];
    while (*p && *p != this) p = &(*p)->next_;
    if (*p) *p = next_;
  } else if (state_ == kWoken) {
    for (FdWait*& w : loop_.impl_->woken)
      if (w == this) w = nullptr;
  }
}

namespace {

// Level-triggered on top of the edges: asks the kernel, so callers need not have drained the fd.
Task<Status> wait_level(EventLoop& loop, int fd, FdWait::Direction direction) {
  for (;;) {
    pollfd p{fd, static_cast<short>(direction == FdWait::kRead ? POLLIN | POLLRDHUP : POLLOUT), 0};
    int n = ::poll(&p, 1, 0);
    if (n > 0) {
      if (p.revents & POLLNVAL) co_return internal("waiting on a descriptor that is not open");
      co_return ok();
    }
    FdWait w(loop, fd, direction);
    FdWait::Outcome o = co_await w;
    if (o == FdWait::Outcome::kForgotten) co_return make_error(Code::kCancelled, "the descriptor was closed");
  }
}

}  // namespace

Task<Status> EventLoop::readable(int fd) { return wait_level(*this, fd, FdWait::kRead); }
Task<Status> EventLoop::writable(int fd) { return wait_level(*this, fd, FdWait::kWrite); }

void EventLoop::forget(int fd) {
  if (fd < 0 || static_cast<size_t>(fd) >= impl_->fds.size()) return;
  Impl& d = *impl_;
  FdState& s = d.fds[fd];
  if (!s.registered) return;
  for (auto& head : s.waiters) {
    for (FdWait* w = head; w; w = w->next_) w->outcome_ = FdWait::Outcome::kForgotten;
    d.wake_list(head);
  }
  for (FdWait* w : d.woken)
    if (w && w->fd_ == fd) w->outcome_ = FdWait::Outcome::kForgotten;
  if (!s.always_ready) {
    epoll_event e{};
    epoll_ctl(d.epoll, EPOLL_CTL_DEL, fd, &e);
  }
  s = FdState{};
}

bool EventLoop::hung_up(int fd) const {
  return fd >= 0 && static_cast<size_t>(fd) < impl_->fds.size() && impl_->fds[fd].hangup;
}

}  // namespace caravel::net
