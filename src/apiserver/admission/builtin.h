// The admission plugins that upstream enables by default and that this server has.
#pragma once

#include "apiserver/core.h"

namespace caravel::apiserver {

void add_builtin_admission(Core& core);

std::unique_ptr<AdmissionPlugin> make_namespace_lifecycle(Core& core);
std::unique_ptr<AdmissionPlugin> make_service_account(Core& core);
std::unique_ptr<AdmissionPlugin> make_default_toleration_seconds();
std::unique_ptr<AdmissionPlugin> make_priority(Core& core);
std::unique_ptr<AdmissionPlugin> make_limit_ranger(Core& core);
std::unique_ptr<AdmissionPlugin> make_runtime_class(Core& core);
std::unique_ptr<AdmissionPlugin> make_default_storage_class(Core& core);
std::unique_ptr<AdmissionPlugin> make_taint_nodes_by_condition();
std::unique_ptr<AdmissionPlugin> make_node_restriction();
std::unique_ptr<AdmissionPlugin> make_certificate_request(Core& core);
std::unique_ptr<AdmissionPlugin> make_rbac_escalation(Core& core);

std::unique_ptr<AdmissionPlugin> make_pod_security(Core& core);
std::unique_ptr<AdmissionPlugin> make_default_ingress_class(Core& core);
std::unique_ptr<AdmissionPlugin> make_claim_resize(Core& core);
std::unique_ptr<AdmissionPlugin> make_storage_in_use();

}  // namespace caravel::apiserver
