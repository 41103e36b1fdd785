// The cluster as the application controller sees it: which resources exist (discovery) and a watched copy
// of each kind that some Application manages.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "kube/dynamic_informer.h"

namespace caravel::gitops {

class Cluster {
 public:
  // on_change(object) runs for every change of a watched object that carries a tracking annotation.
  Cluster(Executor& ex, kube::Client client, std::function<void(const json::Value&)> on_change) : ex_(ex), client_(client), on_change_(std::move(on_change)) {}
  // The resource of an object's apiVersion and kind. Asks discovery again (at most every two seconds) for a
  // kind that it does not know.
  Task<Result<kube::Resource>> resource_of(std::string api_version, std::string kind);
  // The watched copy of a resource, synced.
  Task<Result<kube::DynamicInformer*>> watched(kube::Resource resource);
  const std::map<std::string, std::unique_ptr<kube::DynamicInformer>>& all_watched() const { return informers_; }

 private:
  Task<Status> discover(std::string api_version);
  Executor& ex_;
  kube::Client client_;
  std::function<void(const json::Value&)> on_change_;
  std::map<std::pair<std::string, std::string>, kube::Resource> known_;  // by apiVersion and kind
  std::map<std::string, Time> asked_;
  std::map<std::string, std::unique_ptr<kube::DynamicInformer>> informers_;  // by api_version/plural
  TaskScope scope_;
};

}  // namespace caravel::gitops
