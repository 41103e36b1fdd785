// ResourceQuota's place in a write: the last stage, after all validation, where the object is about to be
// stored.
//
// The quotas' new status.used is written in the same transaction as the object, on condition that the
// quotas are as they were judged: concurrent writes never exceed a quota, and a write that fails reserves
// nothing. Writes that one namespace's quotas count go one after the other; all others never wait.
// Threading: one executor.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/admission/admission.h"
#include "base/scope.h"
#include "store/store.h"

namespace caravel::apiserver {

struct Core;

// What the object's transaction takes along. Holding it keeps the namespace's turn.
struct QuotaReservation {
  std::vector<store::Compare> compares;
  std::vector<store::Op> ops;
  std::shared_ptr<void> turn;
  bool empty() const { return ops.empty(); }
  void clear() {
    compares.clear();
    ops.clear();
    turn.reset();
  }
};

class QuotaStage {
 public:
  explicit QuotaStage(Core& core) : core_(&core) {}
  // False for nearly all writes: nothing to wait for.
  bool interested(const AdmissionRequest& r) const;
  // Waits for the namespace's turn and judges. The request outlives the call.
  Task<Status> reserve(const AdmissionRequest& r, QuotaReservation* out);

 private:
  std::vector<ObjectPtr> quotas(const std::string& ns) const;
  Core* core_;
  std::map<std::string, std::weak_ptr<Semaphore>> turns_;  // by namespace
};

}  // namespace caravel::apiserver
