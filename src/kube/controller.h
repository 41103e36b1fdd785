// The reconcile loop that every controller is: a de-duplicating, rate-limited work queue of keys and
// workers that call reconcile(key).
//
//   Controller c(ex, "deployment", [this](std::string key) { return reconcile(std::move(key)); });
//   informer.add_handler([&](auto& old, auto& now) { c.enqueue(key); });
//   c.start(scope);
//
// A key is worked on by one worker at a time; a key enqueued while it is being worked on is worked on
// again afterwards. An error re-queues with exponential back-off (5 ms doubling to 1000 s, as
// client-go), jittered by nothing so that simulations stay deterministic.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/executor.h"
#include "base/scope.h"
#include "kube/resource.h"

namespace caravel::kube {

// What reconcile wants next: nothing, or to look again after a time.
struct Requeue {
  Duration after = Duration(-1);  // negative: only when something changes
  static Requeue never() { return {}; }
  static Requeue in(Duration d) { return {d}; }
};

class Controller {
 public:
  using Reconcile = std::function<Task<Result<Requeue>>(std::string key)>;
  Controller(Executor& ex, std::string name, Reconcile reconcile, int workers = 1);
  ~Controller();
  void enqueue(std::string key);
  void enqueue(const ObjectKey& key) { enqueue(key.text()); }
  void enqueue_after(std::string key, Duration d);
  // At once if the key was last worked on longer ago than `interval`, else at the end of it: a burst of
  // events (a thousand pods of one ReplicaSet) becomes a few looks, a single event is not delayed.
  void enqueue_paced(std::string key, Duration interval);
  void enqueue_paced(const ObjectKey& key, Duration interval) { enqueue_paced(key.text(), interval); }
  void start(TaskScope& scope);
  size_t queue_length() const;
  const std::string& name() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace caravel::kube
