// What every controller is made from, and the table of controllers.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "controllers/controllers.h"
#include "kube/controller.h"
#include "kube/events.h"
#include "kube/informer.h"

namespace caravel::controllers {

// Keys worked on at a time, as upstream.
inline constexpr int kWorkers = 5;
// Events of many pods of one owner are looked at together.
inline constexpr Duration kPace = std::chrono::milliseconds(20);

struct Context {
  Executor& ex;
  kube::SharedInformers& informers;
  TransportFor transport;
  const Options& options;

  kube::Client client(std::string_view name) const { return kube::Client(transport(name), std::string(name)); }
  template <class T>
  kube::Informer<T>& informer() const {
    return informers.get<T>();
  }
};

// One controller. Its constructor registers handlers; start() begins work once the informers are synced.
// It is destroyed after the scope.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual void start(TaskScope& scope) = 0;
};
using MakeRunner = std::unique_ptr<Runner> (*)(const Context&);

std::unique_ptr<Runner> make_deployment(const Context&);
std::unique_ptr<Runner> make_replicaset(const Context&);
std::unique_ptr<Runner> make_replication_controller(const Context&);
std::unique_ptr<Runner> make_statefulset(const Context&);
std::unique_ptr<Runner> make_daemonset(const Context&);
std::unique_ptr<Runner> make_job(const Context&);
std::unique_ptr<Runner> make_cronjob(const Context&);
std::unique_ptr<Runner> make_horizontal_pod_autoscaler(const Context&);
std::unique_ptr<Runner> make_ttl_after_finished(const Context&);
std::unique_ptr<Runner> make_endpoint_slice(const Context&);
std::unique_ptr<Runner> make_endpoints(const Context&);
std::unique_ptr<Runner> make_endpoint_slice_mirroring(const Context&);
std::unique_ptr<Runner> make_namespace(const Context&);
std::unique_ptr<Runner> make_garbage_collector(const Context&);
std::unique_ptr<Runner> make_service_account(const Context&);
std::unique_ptr<Runner> make_service_account_token(const Context&);
std::unique_ptr<Runner> make_root_ca(const Context&);
std::unique_ptr<Runner> make_node_lifecycle(const Context&);
std::unique_ptr<Runner> make_taint_eviction(const Context&);
std::unique_ptr<Runner> make_pod_gc(const Context&);
std::unique_ptr<Runner> make_csr_approving(const Context&);
std::unique_ptr<Runner> make_csr_signing(const Context&);
std::unique_ptr<Runner> make_disruption(const Context&);
std::unique_ptr<Runner> make_resource_quota(const Context&);
std::unique_ptr<Runner> make_cluster_role_aggregation(const Context&);
std::unique_ptr<Runner> make_persistent_volume(const Context&);
std::unique_ptr<Runner> make_claim_protection(const Context&);
std::unique_ptr<Runner> make_volume_protection(const Context&);
std::unique_ptr<Runner> make_attributes_protection(const Context&);
std::unique_ptr<Runner> make_ephemeral_volume(const Context&);
std::unique_ptr<Runner> make_volume_expand(const Context&);
std::unique_ptr<Runner> make_attach_detach(const Context&);
std::unique_ptr<Runner> make_node_ttl(const Context&);
std::unique_ptr<Runner> make_node_ipam(const Context&);
std::unique_ptr<Runner> make_token_cleaner(const Context&);
std::unique_ptr<Runner> make_service_cidr(const Context&);
std::unique_ptr<Runner> make_resource_claim(const Context&);

}  // namespace caravel::controllers
