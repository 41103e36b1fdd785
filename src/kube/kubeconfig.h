// Where the API server is and who we are: a kubeconfig file, or the pod's ServiceAccount
// (/var/run/secrets/kubernetes.io/serviceaccount and KUBERNETES_SERVICE_HOST/PORT).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "kube/client.h"
#include "kube/exec_credential.h"
#include "net/http.h"

namespace caravel::kube {

struct ClientConfig {
  std::string server;                          // "https://10.0.11.10:443"
  std::string ca;                              // PEM
  std::string client_certificate, client_key;  // PEM, optional
  std::string token;                           // bearer, optional
  std::string token_file;                      // re-read as it rotates
  std::optional<ExecPlugin> exec;              // where the credentials come from if there are none above
  bool insecure = false;
  std::string default_namespace = "default";
  std::string user_agent = "caravel";
};

Result<ClientConfig> load_kubeconfig(const std::string& path, const std::string& context = "");
Result<ClientConfig> in_cluster_config();
// --kubeconfig if given, else in-cluster, else $KUBECONFIG given by the caller.
std::string write_kubeconfig(const ClientConfig& config, const std::string& cluster_name);

// HTTPS with HTTP/2: one connection carries the calls, watches get streams of their own.
Result<std::unique_ptr<Transport>> make_http_transport(net::EventLoop& loop, ClientConfig config);

}  // namespace caravel::kube
