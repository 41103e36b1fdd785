// What every component's command does: connect to the API server, elect a leader, run, end in order.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/flags.h"
#include "kube/kubeconfig.h"
#include "kube/leader_election.h"
#include "net/event_loop.h"

namespace caravel::kube {

struct ComponentOptions {
  std::string name;            // "cert-manager": user agent, Lease name, log component
  std::string ns;              // of the Lease; empty: no leader election
  std::string identity;        // of this replica: the pod's name
  std::string health_address;  // "0.0.0.0:8081": serves /healthz, /livez, /readyz; empty: none
};

// The flags that they share: --kubeconfig, --leader-elect-namespace, --identity, --health-address.
std::vector<Flag> component_flags(std::string default_health_address);
Result<ComponentOptions> component_options(const Flags& flags, std::string name);
// --kubeconfig FILE, else the pod's ServiceAccount.
Result<ClientConfig> component_client_config(const Flags& flags, std::string_view name);

// Runs `lead` (until its StopToken stops) while this replica is the leader; returns on SIGTERM or SIGINT.
int run_component(net::EventLoop& loop, Transport& transport, ComponentOptions options, std::function<Task<void>(StopToken)> lead);

}  // namespace caravel::kube
