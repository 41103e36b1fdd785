// Event recorder: writes core/v1 Events the way client-go does (aggregation of repeats by count,
// back-off for spammy objects). Never fails the caller.
#pragma once

#include <map>
#include <string>

#include "base/scope.h"
#include "kube/client.h"

namespace caravel::kube {

// The object an event is about.
struct ObjectReference {
  std::string api_version, kind, ns, name, uid, resource_version, field_path;
};
ObjectReference reference_to(const json::Value& object);
template <class T>
ObjectReference reference_to(const T& o) {
  return {T::resource().api_version(), T::resource().kind, o.metadata.namespace_, o.metadata.name, o.metadata.uid, o.metadata.resource_version, ""};
}

class EventRecorder {
 public:
  EventRecorder(Executor& ex, Client client, std::string component, std::string host = "");
  ~EventRecorder();
  void normal(const ObjectReference& about, std::string_view reason, std::string message);
  void warning(const ObjectReference& about, std::string_view reason, std::string message);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace caravel::kube
