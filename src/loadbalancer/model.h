// The load balancer that a Service or an Ingress wants. Pure.
//
// Service: loadBalancerClass service.k8s.aws/nlb, or the old annotation
// service.beta.kubernetes.io/aws-load-balancer-type: external|nlb-ip; target type ip.
// Ingress: class alb (IngressClass controller ingress.k8s.aws/alb), annotations alb.ingress.kubernetes.io/*.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::loadbalancer {

using Objects = std::vector<std::shared_ptr<const json::Value>>;

struct TargetAddress {
  std::string ip;
  int port = 0;
  auto operator<=>(const TargetAddress&) const = default;
};

struct HealthCheck {
  std::string protocol = "TCP", path, port = "traffic-port", matcher;
  int interval_s = 10, timeout_s = 5, healthy = 3, unhealthy = 3;
};

struct WantedTargetGroup {
  std::string name;      // "k8s-ns-name-1a2b3c4d5e": at most 32 characters
  std::string protocol;  // TCP, HTTP, HTTPS
  int port = 0;
  HealthCheck health;
  std::vector<TargetAddress> targets;
};

struct WantedRule {
  int priority = 0;
  std::string host, path;   // "" for any; ELBv2 patterns
  size_t target_group = 0;  // index
};

struct WantedListener {
  int port = 0;
  std::string protocol;  // TCP, HTTP, HTTPS
  std::string certificate_arn;
  std::vector<WantedRule> rules;
  int default_target_group = -1;  // -1: a fixed 404
  bool redirect_to_https = false;
};

struct WantedBalancer {
  std::string name;  // at most 32 characters
  std::string type;  // network, application
  bool internet_facing = false;
  std::string stack;  // "ns/name": the tag that finds it again
  std::vector<WantedTargetGroup> target_groups;
  std::vector<WantedListener> listeners;
  std::vector<std::string> problems;
};

bool is_ours(const json::Value& service);
Result<WantedBalancer> balancer_of_service(const json::Value& service, const Objects& slices);
bool is_alb_ingress(const json::Value& ingress, const Objects& classes);
// The Ingresses of one group (one, without alb.ingress.kubernetes.io/group.name).
Result<WantedBalancer> balancer_of_ingress(const json::Value& ingress, const Objects& services, const Objects& slices);

// "k8s-demo-web-0123456789": readable, unique by the hash, at most 32 characters.
std::string resource_name(const std::string& ns, const std::string& name, const std::string& salt);

}  // namespace caravel::loadbalancer
