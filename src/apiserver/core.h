// What the parts of the API server share. One per server; everything runs on its executor.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "apiserver/admission/admission.h"
#include "apiserver/health.h"
#include "apiserver/resource_type.h"
#include "apiserver/store_requests.h"
#include "apiserver/watch_cache.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/store.h"

namespace caravel::apiserver {

class AccessChain;
class Authorizer;
class QuotaStage;
class ServiceAllocator;
class TokenIssuer;
class WebhookTransport;

// Admission that is configured by objects (webhooks, policies) and may have to wait.
class RemoteAdmission {
 public:
  virtual ~RemoteAdmission() = default;
  virtual bool interested(const AdmissionRequest& r) = 0;
  virtual Task<Status> admit(AdmissionRequest& r) = 0;     // mutating
  virtual Task<Status> validate(AdmissionRequest& r) = 0;  // validating
};

struct Core {
  Core(Executor& executor, store::Store& s) : ex(executor), store(s), cacher(executor, s) {}
  Executor& ex;
  store::Store& store;
  Cacher cacher;
  TypeTable types;
  AdmissionChain admission;
  RemoteAdmission* remote_admission = nullptr;
  QuotaStage* quota = nullptr;
  WebhookTransport* webhooks = nullptr;  // null: webhooks cannot be reached
  Authorizer* authorizer = nullptr;
  AccessChain* access = nullptr;  // asked instead of the authorizer when there is one
  ServiceAllocator* services = nullptr;
  TokenIssuer* tokens = nullptr;
  // The components that ComponentStatus tells of: asked for what is wrong with them, "" when nothing is.
  std::map<std::string, std::function<std::string()>> components;
  HealthChecks health;
  MetricRegistry metrics;
  StoreRequests store_requests{ex, store, metrics};
  Log log{"apiserver"};
  bool ready = false;

  bool store_has(const ServedType& t, std::string_view ns, std::string_view name) const {
    return t.storage->cache->get(t.resource.namespaced ? ns : std::string_view(), name) != nullptr;
  }
};

}  // namespace caravel::apiserver
