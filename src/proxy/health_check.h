// What load balancers ask a node: whether a Service with externalTrafficPolicy Local has endpoints here
// (spec.healthCheckNodePort), and whether the proxy itself is in step (/healthz, /livez).
//
// Pure: from Services and endpoints to ports, from states to answers; `HealthCheckPorts` is the shell that
// listens. Answers are upstream's (pkg/proxy/healthcheck). Threading: one executor.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/json.h"
#include "net/http.h"
#include "proxy/services.h"

namespace caravel::proxy {

struct HealthCheck {
  std::string ns, service;
  int local_endpoints = 0;  // ready ones on this node, by address
  bool operator==(const HealthCheck&) const = default;
};
using HealthChecks = std::map<int, HealthCheck>;  // by port
HealthChecks health_checks(const Services& services, const Endpoints& endpoints, const std::string& node);

struct HealthAnswer {
  int status = 200;
  net::Headers headers;
  std::string body;
};
HealthAnswer answer_health_check(const HealthCheck& check, bool proxy_healthy);

struct ProxyHealth {
  bool healthy = true;
  bool node_eligible = true;
  Time last_updated{}, now{};
};
// /healthz counts the node's eligibility, /livez does not.
HealthAnswer answer_healthz(const ProxyHealth& health);
HealthAnswer answer_livez(const ProxyHealth& health);
// False for a node that is about to go: load balancers are meant to leave it. Null: the node is not known.
bool node_eligible(const json::Value* node);

class HealthCheckPorts {
 public:
  HealthCheckPorts(net::EventLoop& loop, std::function<bool()> proxy_healthy);
  ~HealthCheckPorts();
  // Opens and closes ports so that just these are served. A port that cannot be opened is logged and tried again with the next call.
  void set(HealthChecks checks);

 private:
  struct Port;
  net::EventLoop& loop_;
  std::function<bool()> proxy_healthy_;
  HealthChecks checks_;
  std::map<int, std::unique_ptr<Port>> ports_;
};

}  // namespace caravel::proxy
