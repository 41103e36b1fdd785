// Karpenter's controllers: thin shells that look at the informers' state, decide, and write. Each is
// level-triggered and may be stopped at any point.
#pragma once

#include <memory>

#include "karpenter/context.h"
#include "karpenter/solver.h"
#include "kube/controller.h"

namespace caravel::karpenter {

using kube::Requeue;

// EC2NodeClass: what its selectors resolve to, its instance profile, its conditions.
class NodeClassController {
 public:
  explicit NodeClassController(Context& c);
  void start(TaskScope& scope) { queue_.start(scope); }

 private:
  Task<Result<Requeue>> reconcile(std::string name);
  Task<Result<Requeue>> finalize(json::Value node_class);
  Context& c_;
  kube::Controller queue_;
};

// NodePool: readiness, hash, counters in status.
class NodePoolController {
 public:
  explicit NodePoolController(Context& c);
  void start(TaskScope& scope) { queue_.start(scope); }

 private:
  Task<Result<Requeue>> reconcile(std::string name);
  Context& c_;
  kube::Controller queue_;
};

// NodeClaim: launch, registration, initialization, liveness, expiration, consolidatable; and its end.
class NodeClaimController {
 public:
  explicit NodeClaimController(Context& c);
  void start(TaskScope& scope) { queue_.start(scope); }

 private:
  Task<Result<Requeue>> reconcile(std::string name);
  Task<Result<Requeue>> finalize(json::Value claim);
  Task<Result<Requeue>> launch(json::Value claim);
  Task<Result<Requeue>> adopt(json::Value claim, Context::NodePtr node);
  Task<Status> remove_claim(json::Value claim);
  // Sets the condition and the summary, and writes if anything changed.
  Task<Status> write_conditions(json::Value claim, json::Value status);
  Context& c_;
  kube::Controller queue_;
};

// Node: taint, drain, end of the instance, before the node object may go.
class TerminationController {
 public:
  explicit TerminationController(Context& c);
  void start(TaskScope& scope) { queue_.start(scope); }

 private:
  Task<Result<Requeue>> reconcile(std::string name);
  // The number of pods that still have to leave.
  Task<Result<size_t>> drain(Context::NodePtr node, std::optional<Time> deadline);
  Context& c_;
  kube::Controller queue_;
};

// Pending pods to NodeClaims.
class Provisioner {
 public:
  explicit Provisioner(Context& c);
  Task<void> run();
  void trigger();
  // Creates a claim for a plan; the new object.
  static Task<Result<json::Value>> create_claim(Context& c, PlannedClaim plan, std::string reason);

 private:
  Task<void> provision();
  Context& c_;
  Event wake_;
};

// Removes nodes: empty, drifted, and those whose pods fit elsewhere for less. Every 10 seconds.
class DisruptionController {
 public:
  explicit DisruptionController(Context& c) : c_(c) {}
  Task<void> run();

 private:
  Task<bool> pass();  // true when something was disrupted
  Context& c_;
};

// Instances without claims, and claims without instances.
class GarbageCollector {
 public:
  explicit GarbageCollector(Context& c) : c_(c) {}
  Task<void> run();

 private:
  Task<void> pass();
  Context& c_;
};

// Spot interruptions and state changes, from the SQS queue.
class InterruptionController {
 public:
  explicit InterruptionController(Context& c) : c_(c) {}
  Task<void> run();

 private:
  Task<void> handle(std::string body);
  Context& c_;
};

// The hash of the fields of a NodePool's template (or of an EC2NodeClass' spec) whose change makes nodes drift.
std::string node_pool_hash(const json::Value& node_pool);
std::string node_class_hash(const json::Value& node_class);
inline constexpr char kNodePoolHashVersion[] = "v3", kNodeClassHashVersion[] = "v6";

}  // namespace caravel::karpenter
