// Leader election on a coordination.k8s.io Lease, with client-go's timing (15 s lease, 10 s renew
// deadline, 2 s retry by default) and client-go's record format, so that a mixed set of replicas works.
#pragma once

#include <functional>
#include <string>

#include "base/scope.h"
#include "kube/client.h"

namespace caravel::kube {

struct LeaderElectionOptions {
  std::string ns, name;  // of the Lease
  std::string identity;  // e.g. hostname_uuid
  Duration lease = std::chrono::seconds(15);
  Duration renew_deadline = std::chrono::seconds(10);
  Duration retry = std::chrono::seconds(2);
};

// Runs until `stop`: waits for the lease, then runs `lead` with a token that stops when the lease is
// lost, then waits again. On an orderly stop the lease is released.
Task<void> run_with_leader_election(Executor& ex, Client client, LeaderElectionOptions options, StopToken stop,
                                    std::function<Task<void>(StopToken lost)> lead);

}  // namespace caravel::kube
