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

// Where a listener or a rule sends requests: the index of a target group, or a fixed answer.
constexpr int kNotFoundAnswer = -1;        // 404: nothing was asked for
constexpr int kMissingBackendAnswer = -2;  // 503: the Service or its port does not exist

struct WantedRule {
  int priority = 0;
  std::string host;                // "" for any
  std::vector<std::string> paths;  // any of these ELBv2 patterns; none for any path
  int target_group = kMissingBackendAnswer;
};

struct WantedListener {
  int port = 0;
  std::string protocol;  // TCP, HTTP, HTTPS
  std::string certificate_arn;
  std::vector<WantedRule> rules;
  int default_target_group = kNotFoundAnswer;
  int redirect_to_https = 0;  // the HTTPS port to redirect to; 0: none
};

struct WantedBalancer {
  std::string name;  // at most 32 characters
  std::string type;  // network, application
  bool internet_facing = false;
  std::string stack;  // "ns/name": the tag that finds it again
  std::vector<WantedTargetGroup> target_groups;
  std::vector<WantedListener> listeners;
  std::vector<std::string> problems;  // what could not be done as asked, to be told in events
};

bool is_ours(const json::Value& service);
Result<WantedBalancer> balancer_of_service(const json::Value& service, const Objects& slices);
bool is_alb_ingress(const json::Value& ingress, const Objects& classes);
// Each Ingress has a load balancer of its own: groups (group.name) are not formed, which is one of the problems.
// Rules: per host in the Ingress's order; exact paths first, then prefixes, the longest first, then the others.
Result<WantedBalancer> balancer_of_ingress(const json::Value& ingress, const Objects& services, const Objects& slices);

// "k8s-demo-web-0123456789": readable, unique by the hash, at most 32 characters.
std::string resource_name(const std::string& ns, const std::string& name, const std::string& salt);

}  // namespace caravel::loadbalancer
