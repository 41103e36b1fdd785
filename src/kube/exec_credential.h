// Credentials from a command that the kubeconfig names (users[].user.exec), after the client-go credential plugin protocol:
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
// The command gets KUBERNETES_EXEC_INFO and prints an ExecCredential; what it gives is used until it expires or the API server
// refuses it. Plugins that insist on a terminal are refused. Threading: the loop's.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "base/task.h"
#include "net/event_loop.h"

namespace caravel::kube {

struct ExecPlugin {
  std::string api_version;  // client.authentication.k8s.io/v1 or v1beta1
  std::string command;      // looked up in PATH; with a slash: relative to the kubeconfig's directory
  std::vector<std::string> args;
  std::vector<std::pair<std::string, std::string>> env;  // added to ours
  std::string install_hint;
  json::Value cluster;  // spec.cluster of the request, null unless provideClusterInfo
};
struct ExecCredential {
  std::string token, client_certificate, client_key;  // a token, a pair in PEM, or both
  std::optional<Time> expires;
};

// `spec`: users[].user.exec. `cluster`: clusters[].cluster. Errors name the field.
Result<ExecPlugin> parse_exec_plugin(const json::Value& spec, const json::Value& cluster, const std::string& directory);
// What the command printed; `api_version` must be the one that was asked for.
Result<ExecCredential> parse_exec_credential(const std::string& output, const std::string& api_version);
// Runs the command, for a minute at most. Its error output is part of the error.
Task<Result<ExecCredential>> run_exec_plugin(net::EventLoop& loop, ExecPlugin plugin);

}  // namespace caravel::kube
