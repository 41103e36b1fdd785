// The shell: watches Services, Ingresses, IngressClasses and EndpointSlices; deploys; writes the status.
#pragma once

#include "base/log.h"
#include "kube/controller.h"
#include "kube/dynamic_informer.h"
#include "kube/events.h"
#include "loadbalancer/deployer.h"

namespace caravel::loadbalancer {

class LoadBalancerController {
 public:
  LoadBalancerController(Executor& ex, kube::Client client, aws::Client& aws, std::string cluster);
  Task<void> run(StopToken stop);

 private:
  Task<Result<kube::Requeue>> reconcile(std::string key);  // "service/ns/name" or "ingress/ns/name"
  Task<Status> write(kube::DynamicInformer& informer, const json::Value& object, json::Value changed, bool status);
  void enqueue_for_slice(const json::Value& slice);
  Executor& ex_;
  kube::Client client_;
  Deployer deployer_;
  kube::EventRecorder service_events_, ingress_events_;
  kube::DynamicInformer services_, ingresses_, classes_, slices_;
  kube::Controller queue_;
  std::map<std::string, std::string> said_;
};

}  // namespace caravel::loadbalancer
