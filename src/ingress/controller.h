// The ingress controller's shell: informers -> model -> nginx; status of Ingresses by the leader.
#pragma once

#include <string>

#include "base/log.h"
#include "ingress/nginx_process.h"
#include "kube/dynamic_informer.h"
#include "kube/events.h"

namespace caravel::ingress {

struct ControllerSettings {
  std::string controller_class = "k8s.io/ingress-nginx";
  std::string publish_service;     // "ns/name": whose addresses the Ingresses' status shows
  std::string config_map;          // "ns/name"
  std::string default_ssl_secret;  // "ns/name"
  std::string nginx = "nginx";
  NginxPaths paths;
};

class IngressController {
 public:
  IngressController(net::EventLoop& loop, kube::Client client, ControllerSettings settings);
  // Keeps nginx configured until `stop`; then waits for open requests.
  Task<void> run(StopToken stop);
  // Writes status.loadBalancer of the served Ingresses until `lost`.
  Task<void> write_statuses(StopToken lost);
  bool ready() const { return synced_ && nginx_.running(); }

 private:
  Task<void> sync_loop();
  Inputs inputs() const;
  Task<Status> make_fallback_certificate();
  json::Value published_addresses() const;

  net::EventLoop& loop_;
  kube::Client client_;
  ControllerSettings settings_;
  Log log_{"ingress-nginx"};
  kube::EventRecorder events_;
  kube::DynamicInformer ingresses_, classes_, services_, slices_, secrets_, config_maps_;
  Event changed_;
  NginxProcess nginx_;
  Model model_;
  std::string fallback_certificate_, fallback_key_;
  std::map<kube::ObjectKey, std::string> reported_;
  bool synced_ = false;
};

}  // namespace caravel::ingress
