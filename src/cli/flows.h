// The four flows, driven with real clients (git, curl, the Kubernetes API) and watched to their end.
#pragma once

#include <string>

#include "cli/report.h"
#include "kube/client.h"
#include "net/event_loop.h"

namespace caravel::cli {

struct FlowContext {
  net::EventLoop& loop;
  kube::Client client;
  std::string work_directory;  // for clones
  std::string git_url = "http://127.0.0.1:3000/platform.git";
  std::string http = "127.0.0.1:8080", https = "127.0.0.1:8443";
  bool hollow = false;
};

// A push to git is deployed: changes the page, pushes, waits until Argo CD has synced that revision and
// the application is healthy.
Task<FlowResult> deployment_flow(FlowContext& c);
// curl through load balancer, nginx and Service to the pods; every request answers while a pod is deleted.
Task<FlowResult> traffic_flow(FlowContext& c);
// More replicas than fit: Karpenter brings a node, pods run there; scaled back, the node goes.
Task<FlowResult> scaling_flow(FlowContext& c);
// The Ingress's certificate is issued by ACME and served; curl verifies the chain.
Task<FlowResult> certificate_flow(FlowContext& c);

}  // namespace caravel::cli
