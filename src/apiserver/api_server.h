// The API server: puts the parts together and routes requests to them.
//
//   auto server = co_await ApiServer::start(ex, store, options);
//   Response r = co_await server->handle(request);           // request.user is who asks
//   auto transport = server->transport(user);                  // an in-process kube::Transport
//
// Threading: one executor. The store outlives the server.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "apiserver/admission/quota.h"
#include "apiserver/audit.h"
#include "apiserver/authentication/authenticator.h"
#include "apiserver/authorization/authorizer.h"
#include "apiserver/core.h"
#include "apiserver/rest.h"
#include "apiserver/service_allocator.h"
#include "apiserver/webhook_transport.h"
#include "kube/client.h"

namespace caravel::apiserver {

struct ApiServerOptions {
  std::string service_cidr = "172.20.0.0/16";
  std::string advertise_address = "127.0.0.1";
  int advertise_port = 443;
  std::string version = "v1.36.2-eks-5f2c8d1";
  std::string git_commit = "5f2c8d1a7b9e4c3d6f8a0b1c2d3e4f5a6b7c8d9e";
  TokenOptions tokens;                         // no signing key: no tokens are issued (simulations)
  std::string client_ca;                       // PEM, published in kube-system/extension-apiserver-authentication
  std::shared_ptr<WebhookTransport> webhooks;  // null: webhooks cannot be reached (simulations)
  std::string front_proxy_ca;                  // PEM, published beside it: by which aggregated servers know this one's client certificate
  bool publish_endpoints = true;               // keep default/kubernetes' endpoints at the advertise address
};

class Aggregator;
class Discovery;
class DynamicAdmission;
class PolicyStatus;
class FlowControl;
class CrdController;

class ApiServer {
 public:
  static Task<Result<std::unique_ptr<ApiServer>>> start(Executor& ex, store::Store& store, ApiServerOptions options);
  ~ApiServer();

  // Authorises and serves. parse_request_info() has been called.
  Task<Response> handle(Request& r);
  // As above for internal callers.
  std::unique_ptr<kube::Transport> transport(User user);
  // Webhooks and policies on a connection to a pod, node or service (exec, attach, proxy, ...).
  Task<Status> admit_connection(const Request& r);
  // 403 with upstream's sentence, or nothing. The request's trail notes the decision.
  Task<Status> authorize(const Request& r);
  // From now on these are asked, instead of Node and RBAC.
  void set_access(std::unique_ptr<AccessChain> chain);
  AccessChain* access() { return access_.get(); }

  // From now on every request leaves a trail, those of controllers in this process too.
  void set_auditor(std::unique_ptr<Auditor> a) { auditor_ = std::move(a); }
  bool auditing() const { return auditor_ != nullptr; }
  // For connections that do not come through handle(); null when nothing is to be logged.
  std::shared_ptr<AuditTrail> audit(const Request& r) { return auditor_ ? auditor_->received(r) : nullptr; }
  Auditor* auditor() { return auditor_.get(); }

  Core& core() { return core_; }
  Rest& rest() { return rest_; }
  Authenticator& authenticator() { return *authenticator_; }
  // What a Secret of type kubernetes.io/service-account-token is to hold.
  Result<std::string> secret_token(const std::string& ns, const std::string& account, const std::string& account_uid, const std::string& secret);
  // The JSON Web Key Set by which others verify ServiceAccount tokens; "" when none are issued.
  std::string token_keys() const;
  Aggregator& aggregator() { return *aggregator_; }
  const ApiServerOptions& options() const { return options_; }
  FlowControl* flow_control() { return flow_.get(); }

 private:
  ApiServer(Executor& ex, store::Store& store, ApiServerOptions options);
  Task<Status> bring_up();
  Task<Status> bootstrap();
  Task<Status> add_builtin_kinds();
  Task<Status> ensure(std::string plural, std::string ns, json::Value object);
  Task<Status> publish_endpoints();
  Task<Status> publish_authentication();
  void gather_metrics();
  Task<void> keep_endpoints();
  Task<void> keep_flow_schemas();
  Task<Response> handle_audited(Request& r);
  Task<Response> serve_resource(Request& r);
  Task<Response> serve_path(Request& r);
  Error unknown_path(const std::string& path) const;
  Task<Response> serve_subresource(Request& r, ServedTypePtr t);

  ApiServerOptions options_;
  Core core_;
  Rest rest_;
  std::unique_ptr<Auditor> auditor_;
  std::unique_ptr<DynamicAdmission> dynamic_;
  std::unique_ptr<PolicyStatus> policy_status_;
  std::unique_ptr<QuotaStage> quota_;
  std::unique_ptr<ServiceAllocator> services_;
  std::unique_ptr<Authorizer> authorizer_;
  std::unique_ptr<AccessChain> access_;
  std::unique_ptr<TokenIssuer> tokens_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<Aggregator> aggregator_;
  std::unique_ptr<Discovery> discovery_;
  std::unique_ptr<FlowControl> flow_;
  std::unique_ptr<CrdController> crds_;
  MetricFamily* requests_total_ = nullptr;
  // Its series, so that a request does not make its six labels again: as many as the family has.
  struct Counted {
    int status = 0;
    LabelValues labels;  // without the status
    double* value = nullptr;
  };
  void count(const Request& r, int status);
  std::unordered_multimap<size_t, Counted> counted_;
  MetricFamily *stored_objects_ = nullptr, *registered_watchers_ = nullptr;
  MetricRegistry slis_;  // of /metrics/slis
  MetricFamily *health_now_ = nullptr, *health_checks_ = nullptr;
  TaskScope scope_;
};

}  // namespace caravel::apiserver
