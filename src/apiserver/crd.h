// CustomResourceDefinitions: accepts their names, serves them at once, removes their instances when they
// go. Level-triggered over the cache of CRDs.
#pragma once

#include <map>
#include <string>

#include "apiserver/core.h"
#include "apiserver/rest.h"
#include "base/scope.h"
#include "kube/controller.h"

namespace caravel::apiserver {

class CrdController {
 public:
  CrdController(Core& core, Rest& rest);
  // Serves the CRDs that exist, then follows changes in `scope`.
  Task<Status> start(TaskScope& scope);

 private:
  Task<Result<kube::Requeue>> reconcile(std::string name);
  Task<Status> sync(std::string name);
  Task<Status> serve(const json::Value& crd);
  Task<Status> clean_up(const json::Value& crd);
  void stop_serving(const std::string& group, const std::string& plural);
  Task<Status> write_status(std::string name, json::Value status);

  Core* core_;
  Rest* rest_;
  ServedTypePtr crds_;
  kube::Controller queue_;
  std::map<std::string, std::pair<std::string, std::string>> served_;  // CRD name -> group, plural
  std::map<std::string, int64_t> served_generation_;
};

}  // namespace caravel::apiserver
