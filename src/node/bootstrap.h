// How a node gets its identity: with a bootstrap token it asks for a client certificate
// (CertificateSigningRequest, signer kubernetes.io/kube-apiserver-client-kubelet) and keeps it in
// <root>/pki; later starts use it as long as it is valid. The serving certificate likewise; until that
// is signed the agent serves with one it signed itself.
#pragma once

#include <string>
#include <vector>

#include "base/task.h"
#include "kube/kubeconfig.h"

namespace caravel::node {

struct Identity {
  std::string certificate, key;  // PEM
};

struct BootstrapOptions {
  std::string node_name;
  std::string directory;      // <root>/pki
  kube::ClientConfig server;  // with the bootstrap token (or an administrator's credentials)
};

// The node's client certificate: the saved one, or a new one. Retries until the API server answers and
// the request is approved; an error when it is denied.
Task<Result<Identity>> client_identity(net::EventLoop& loop, BootstrapOptions options);

// Asks for a serving certificate for these names with the node's own credentials; waits until it is signed.
Task<Result<Identity>> serving_identity(net::EventLoop& loop, kube::Client client, std::string directory, std::string node_name,
                                        std::vector<std::string> addresses);
// For the time until then.
Result<Identity> self_signed_identity(const std::string& node_name, const std::vector<std::string>& addresses, Time now);

}  // namespace caravel::node
