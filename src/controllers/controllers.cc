#include "controllers/controllers.h"

#include <algorithm>

#include "controllers/context.h"

namespace caravel::controllers {

namespace {

struct Row {
  const char* name;
  MakeRunner make;
};
constexpr Row kTable[] = {
    {"deployment-controller", make_deployment},
    {"replicaset-controller", make_replicaset},
    {"replicationcontroller-controller", make_replication_controller},
    {"statefulset-controller", make_statefulset},
    {"daemonset-controller", make_daemonset},
    {"job-controller", make_job},
    {"cronjob-controller", make_cronjob},
    {"horizontal-pod-autoscaler-controller", make_horizontal_pod_autoscaler},
    {"ttl-after-finished-controller", make_ttl_after_finished},
    {"endpointslice-controller", make_endpoint_slice},
    {"endpoints-controller", make_endpoints},
    {"endpointslice-mirroring-controller", make_endpoint_slice_mirroring},
    {"namespace-controller", make_namespace},
    {"garbage-collector-controller", make_garbage_collector},
    {"serviceaccount-controller", make_service_account},
    {"serviceaccount-token-controller", make_service_account_token},
    {"root-ca-certificate-publisher-controller", make_root_ca},
    {"node-lifecycle-controller", make_node_lifecycle},
    {"taint-eviction-controller", make_taint_eviction},
    {"pod-garbage-collector-controller", make_pod_gc},
    {"certificatesigningrequest-approving-controller", make_csr_approving},
    {"certificatesigningrequest-signing-controller", make_csr_signing},
    {"resourcequota-controller", make_resource_quota},
    {"disruption-controller", make_disruption},
    {"clusterrole-aggregation-controller", make_cluster_role_aggregation},
    {"persistentvolume-binder-controller", make_persistent_volume},
    {"persistentvolumeclaim-protection-controller", make_claim_protection},
    {"persistentvolume-protection-controller", make_volume_protection},
    {"volumeattributesclass-protection-controller", make_attributes_protection},
    {"ephemeral-volume-controller", make_ephemeral_volume},
    {"persistentvolume-expander-controller", make_volume_expand},
    {"persistentvolume-attach-detach-controller", make_attach_detach},
    {"ttl-controller", make_node_ttl},
    {"node-ipam-controller", make_node_ipam},
    {"token-cleaner-controller", make_token_cleaner},
    {"service-cidr-controller", make_service_cidr},
    {"resourceclaim-controller", make_resource_claim},
};

bool is_disabled(const Options& o, const char* name) {
  return std::find(o.disabled.begin(), o.disabled.end(), name) != o.disabled.end() || std::find(o.disabled.begin(), o.disabled.end(), "*") != o.disabled.end();
}

// Owns everything: its frame is what the caller's scope destroys. Members go in reverse order, so that the
// tasks end before what they use.
Task<void> run(Executor* ex, TransportFor transport, Options options) {
  kube::Client shared(transport("controller-manager"), "controller-manager");
  kube::SharedInformers informers(*ex, shared);
  Context context{*ex, informers, transport, options};
  std::vector<std::unique_ptr<Runner>> runners;
  TaskScope scope;
  for (auto& row : kTable)
    if (!is_disabled(options, row.name)) runners.push_back(row.make(context));
  informers.start(scope);
  co_await informers.wait_synced();
  for (auto& r : runners) r->start(scope);
  Log("controllers").info("controllers started", {{"count", runners.size()}});
  Event forever(*ex);
  co_await forever.wait();
}

}  // namespace

std::vector<std::string> controller_names() {
  std::vector<std::string> out;
  for (auto& row : kTable) out.push_back(row.name);
  return out;
}

void start_all(Executor& ex, TransportFor transport, Options options, TaskScope& scope) {
  scope.spawn(run(&ex, std::move(transport), std::move(options)));
}

}  // namespace caravel::controllers
