#include "proxy/health_check.h"

#include <set>
#include <tuple>

#include "base/log.h"

namespace caravel::proxy {
namespace {

const Log health_log("kube-proxy");
constexpr const char* kToBeDeleted = "ToBeDeletedByClusterAutoscaler";

net::Headers json_headers() { return {{"content-type", "application/json"}, {"x-content-type-options", "nosniff"}}; }

HealthAnswer proxy_answer(const ProxyHealth& h, bool good, bool with_node) {
  // A healthy proxy was "updated" now, as upstream's older releases meant it.
  const Time updated = good ? h.now : h.last_updated;
  json::Value v = json::Value::object();
  v["lastUpdated"] = format_rfc3339_micro(updated);
  v["currentTime"] = format_rfc3339_micro(h.now);
  if (with_node) v["nodeEligible"] = h.node_eligible;
  v["healthy"] = h.healthy;
  if (!h.last_updated.is_zero()) {
    json::Value family = json::Value::object();
    family["lastUpdated"] = format_rfc3339_micro(h.last_updated);
    family["healthy"] = h.healthy;
    v["status"]["IPv4"] = std::move(family);
  }
  return {good ? 200 : 503, json_headers(), json::dump(v)};
}

}  // namespace

HealthChecks health_checks(const Services& services, const Endpoints& endpoints, const std::string& node) {
  HealthChecks out;
  std::map<std::pair<std::string, std::string>, std::set<std::string>> local;
  for (auto& [key, list] : endpoints)
    for (auto& e : list)
      if (e.ready && e.node == node) local[{key.ns, key.service}].insert(e.ip);
  for (auto& [key, service] : services) {
    if (service.health_check_node_port == 0) continue;
    auto found = local.find({key.ns, key.service});
    out[service.health_check_node_port] = {key.ns, key.service, found == local.end() ? 0 : static_cast<int>(found->second.size())};
  }
  return out;
}

HealthAnswer answer_health_check(const HealthCheck& check, bool proxy_healthy) {
  HealthAnswer a{check.local_endpoints != 0 && proxy_healthy ? 200 : 503, json_headers(), ""};
  a.headers.add("x-load-balancing-endpoint-weight", std::to_string(check.local_endpoints));
  a.body = "{\n\t\"service\": {\n\t\t\"namespace\": " + json::dump(check.ns) + ",\n\t\t\"name\": " + json::dump(check.service) +
           "\n\t},\n\t\"localEndpoints\": " + std::to_string(check.local_endpoints) + ",\n\t\"serviceProxyHealthy\": " + (proxy_healthy ? "true" : "false") + "\n}";
  return a;
}

HealthAnswer answer_healthz(const ProxyHealth& health) { return proxy_answer(health, health.healthy && health.node_eligible, true); }
HealthAnswer answer_livez(const ProxyHealth& health) { return proxy_answer(health, health.healthy, false); }

bool node_eligible(const json::Value* node) {
  if (!node) return false;
  if ((*node)["metadata"].find("deletionTimestamp")) return false;
  for (auto& taint : (*node)["spec"]["taints"].as_array())
    if (taint["key"].as_string() == kToBeDeleted) return false;
  return true;
}

struct HealthCheckPorts::Port {
  Port(net::EventLoop& loop, net::Handler handler) : server(loop, std::move(handler)) {}
  net::HttpServer server;
};

HealthCheckPorts::HealthCheckPorts(net::EventLoop& loop, std::function<bool()> proxy_healthy) : loop_(loop), proxy_healthy_(std::move(proxy_healthy)) {}
HealthCheckPorts::~HealthCheckPorts() = default;

void HealthCheckPorts::set(HealthChecks checks) {
  std::erase_if(ports_, [&](auto& p) { return !checks.count(p.first); });
  checks_ = std::move(checks);
  for (auto& [port, check] : checks_) {
    if (ports_.count(port)) continue;
    auto listener = net::listen(loop_, net::Address{"0.0.0.0:" + std::to_string(port)});
    if (!listener.ok()) {
      health_log.error("cannot open a Service's health check port", {{"service", check.ns + "/" + check.service}, {"port", port}, {"error", listener.error().message}});
      continue;
    }
    auto handler = [this, port = port](net::ServerRequest&, net::ResponseWriter& writer) -> Task<void> {
      auto found = checks_.find(port);
      HealthAnswer a = answer_health_check(found == checks_.end() ? HealthCheck{} : found->second, proxy_healthy_());
      auto sent = co_await writer.send(a.status, a.headers, a.body);
      (void)sent;
    };
    auto opened = std::make_unique<Port>(loop_, handler);
    opened->server.serve(std::move(*listener));
    ports_.emplace(port, std::move(opened));
  }
}

}  // namespace caravel::proxy
