#include "kube/controller.h"

#include <algorithm>
#include <deque>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "base/log.h"

namespace caravel::kube {

namespace {
constexpr Duration kRetryMin = 5ms;
constexpr Duration kRetryMax = 1000s;
// When keys were last worked on is forgotten beyond this many, after this time.
constexpr size_t kLastMax = 8192;
constexpr Duration kLastKept = 5s;
}  // namespace

struct Controller::Impl : std::enable_shared_from_this<Controller::Impl> {
  Impl(Executor& e, std::string n, Reconcile r, int w)
      : ex(&e), name(std::move(n)), reconcile(std::move(r)), workers(w), ready(e), log(name) {}
  ~Impl() {
    for (auto& [key, d] : delayed) ex->cancel(d.timer);
  }

  void enqueue(std::string key) {
    if (!queued.insert(key).second) return;
    if (working.count(key)) return;  // goes to the queue when its worker is done
    queue.push_back(std::move(key));
    ready.pulse();
  }
  void enqueue_after(std::string key, Duration d) {
    if (d <= Duration(0)) return enqueue(std::move(key));
    Time when = ex->now() + d;
    if (auto it = delayed.find(key); it != delayed.end()) {
      if (it->second.when <= when) return;  // an earlier look is due already
      ex->cancel(it->second.timer);
    }
    std::weak_ptr<Impl> weak = weak_from_this();
    Executor::TimerId timer = ex->run_at(when, [weak, key] {
      if (auto self = weak.lock()) {
        self->delayed.erase(key);
        self->enqueue(key);
      }
    });
    delayed[std::move(key)] = {when, timer};
  }
  void enqueue_paced(std::string key, Duration interval) {
    auto it = last.find(key);
    Duration left = it == last.end() ? Duration(0) : it->second + interval - ex->now();
    enqueue_after(std::move(key), left);
  }
  static Task<void> work(std::shared_ptr<Impl> self) {
    for (;;) {
      while (self->queue.empty()) co_await self->ready.wait();
      std::string key = std::move(self->queue.front());
      self->queue.pop_front();
      self->queued.erase(key);
      self->working.insert(key);
      Time now = self->ex->now();
      if (self->last.size() >= self->forget_at) {
        std::erase_if(self->last, [now](auto& e) { return now - e.second > kLastKept; });
        self->forget_at = std::max(kLastMax, 2 * self->last.size());  // else a burst would look at all keys for each key
      }
      self->last[key] = now;
      Result<Requeue> r = co_await self->reconcile(key);
      if (!r.ok()) {
        int n = self->failures[key]++;
        Duration d = n > 18 ? kRetryMax : std::min(kRetryMin * (1l << n), kRetryMax);
        if (r.error().code == Code::kConflict || r.error().code == Code::kUnavailable)
          self->log.debug("will try again", {{"key", key}, {"error", r.error().message}});
        else
          self->log.warn("reconcile failed", {{"key", key}, {"retry_in", format_duration(d)}, {"error", r.error().message}});
        self->enqueue_after(key, d);
      } else {
        self->failures.erase(key);
        if (r->after >= Duration(0)) self->enqueue_after(key, r->after);
      }
      self->working.erase(key);
      if (self->queued.count(key)) {  // asked for again while it was worked on
        self->queue.push_back(std::move(key));
        self->ready.pulse();
      }
    }
  }

  struct Delayed {
    Time when;
    Executor::TimerId timer;
  };
  Executor* ex;
  std::string name;
  Reconcile reconcile;
  int workers;
  Event ready;
  Log log;
  std::deque<std::string> queue;
  std::unordered_set<std::string> queued, working;
  std::map<std::string, Delayed> delayed;
  std::unordered_map<std::string, int> failures;
  std::unordered_map<std::string, Time> last;
  size_t forget_at = kLastMax;
};

Controller::Controller(Executor& ex, std::string name, Reconcile reconcile, int workers)
    : impl_(std::make_shared<Impl>(ex, std::move(name), std::move(reconcile), workers)) {}
Controller::~Controller() = default;
void Controller::enqueue(std::string key) { impl_->enqueue(std::move(key)); }
void Controller::enqueue_after(std::string key, Duration d) { impl_->enqueue_after(std::move(key), d); }
void Controller::enqueue_paced(std::string key, Duration interval) { impl_->enqueue_paced(std::move(key), interval); }
void Controller::start(TaskScope& scope) {
  for (int i = 0; i < impl_->workers; ++i) scope.spawn(Impl::work(impl_));
}
size_t Controller::queue_length() const { return impl_->queue.size(); }
const std::string& Controller::name() const { return impl_->name; }

}  // namespace caravel::kube
