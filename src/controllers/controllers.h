// The controllers of the control plane: what kube-controller-manager runs.
//
// Each controller is a loop over keys (kube::Controller) on shared informers; what it does is decided by
// functions of the objects and the time. Everything they know is in the API: they may be destroyed at any
// instruction and started again. Threading: one executor.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "base/scope.h"
#include "kube/client.h"

namespace caravel::controllers {

// Issues certificates for approved requests. Handed in because keys and X.509 live in net/.
class Signer {
 public:
  virtual ~Signer() = default;
  struct Request {
    std::string csr_pem;
    std::string signer_name;          // "kubernetes.io/kube-apiserver-client-kubelet"
    std::vector<std::string> usages;  // "client auth", "digital signature", ...
    Duration lifetime;
  };
  // What the request asks for, after its signature was checked.
  struct Subject {
    std::string common_name;
    std::vector<std::string> organizations, dns_names, ip_addresses;
  };
  virtual Result<Subject> inspect(const std::string& csr_pem) = 0;
  virtual Result<std::string> sign(const Request& request) = 0;  // PEM chain
};

// When nodes count as lost and how fast lost ones lose their pods. Names and defaults are kube-controller-manager's.
struct NodeMonitor {
  Duration period = std::chrono::seconds(5);  // between two looks
  // A node whose Lease and status are silent for this long is Unknown.
  Duration grace = std::chrono::seconds(50);
  Duration startup_grace = std::chrono::seconds(60);  // the same for one that has just been made
  double eviction_rate = 0.1;                         // nodes a second; 0: none
  double secondary_eviction_rate = 0.01;              // in a zone in partial trouble
  size_t large_cluster_size_threshold = 50;           // smaller zones in partial trouble lose none
  double unhealthy_zone_threshold = 0.55;             // this part of the nodes, but at least three
};

struct Options {
  std::vector<std::string> disabled;  // controllers not to run, by name; "*" is all
  std::string root_ca;                // PEM, for kube-root-ca.crt in every namespace; empty: not published
  Signer* signer = nullptr;           // null: certificate requests are not signed
  Duration certificate_lifetime = std::chrono::hours(24 * 365);
  NodeMonitor node_monitor;
  // Makes the token of a Secret of type kubernetes.io/service-account-token; not set: such Secrets stay empty.
  std::function<Result<std::string>(const std::string& ns, const std::string& account, const std::string& account_uid, const std::string& secret)> secret_token;
  int terminated_pod_threshold = 12500;
  // The range that nodes' pod ranges are taken from; empty: nodes get none.
  std::string cluster_cidr;
  int node_cidr_bits = 24;
  std::string service_cidr;  // no node's pod range has addresses of it
};

// The transport that a controller uses; the name is "deployment-controller", ... and
// "controller-manager" for the shared informers. It outlives the scope.
using TransportFor = std::function<kube::Transport&(std::string_view name)>;

// Names that Options::disabled takes, in starting order.
std::vector<std::string> controller_names();

// Starts all that are not disabled in `scope`; returns at once.
void start_all(Executor& ex, TransportFor transport, Options options, TaskScope& scope);

}  // namespace caravel::controllers
