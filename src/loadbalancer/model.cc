#include "loadbalancer/model.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "base/strings.h"
#include "kube/dynamic_informer.h"

namespace caravel::loadbalancer {
namespace {

constexpr char kServicePrefix[] = "service.beta.kubernetes.io/aws-load-balancer-";
constexpr char kIngressPrefix[] = "alb.ingress.kubernetes.io/";

std::string note(const json::Value& o, const char* prefix, const char* name) { return kube::annotation(o, std::string(prefix) + name); }

int number(const std::string& text, int fallback) { return static_cast<int>(parse_int(text).value_or(fallback)); }

// Ready addresses of a Service's port.
std::vector<TargetAddress> targets(const Objects& slices, const std::string& ns, const std::string& service, const std::string& port_name) {
  std::set<TargetAddress> out;
  for (auto& s : slices) {
    if (kube::namespace_of(*s) != ns || kube::label(*s, "kubernetes.io/service-name") != service) continue;
    int port = 0;
    for (auto& p : (*s)["ports"].as_array())
      if (p["name"].as_string() == port_name) port = static_cast<int>(p["port"].as_int());
    if (!port) continue;
    for (auto& e : (*s)["endpoints"].as_array())
      if (e["conditions"]["ready"].as_bool(true))
        for (auto& a : e["addresses"].as_array()) out.insert({a.as_string(), port});
  }
  return {out.begin(), out.end()};
}

HealthCheck service_health(const json::Value& service) {
  HealthCheck h;
  auto get = [&](const char* name) { return note(service, kServicePrefix, name); };
  std::string protocol = to_upper(get("healthcheck-protocol"));
  if (protocol == "HTTP" || protocol == "HTTPS") {
    h.protocol = protocol;
    h.path = get("healthcheck-path").empty() ? "/" : get("healthcheck-path");
    h.matcher = "200-399";
  }
  if (!get("healthcheck-port").empty()) h.port = get("healthcheck-port");
  h.interval_s = number(get("healthcheck-interval"), 10);
  h.timeout_s = std::min(number(get("healthcheck-timeout"), h.protocol == "TCP" ? 10 : 6), h.interval_s);
  h.healthy = number(get("healthcheck-healthy-threshold"), 3);
  h.unhealthy = number(get("healthcheck-unhealthy-threshold"), 3);
  return h;
}

const json::Value* service_port(const json::Value& service, const json::Value& ref) {
  for (auto& p : service["spec"]["ports"].as_array())
    if ((ref["name"].is_string() && p["name"] == ref["name"]) || (ref["number"].is_int() && p["port"] == ref["number"])) return &p;
  return nullptr;
}

}  // namespace

std::string resource_name(const std::string& ns, const std::string& name, const std::string& salt) {
  auto short_form = [](std::string s) {
    std::erase_if(s, [](char c) { return !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')); });
    return s.substr(0, 8);
  };
  return "k8s-" + short_form(ns) + "-" + short_form(name) + "-" + sha256_hex(ns + "/" + name + "/" + salt).substr(0, 10);
}

bool is_ours(const json::Value& service) {
  if (service["spec"]["type"].as_string() != "LoadBalancer") return false;
  const std::string& cls = service["spec"]["loadBalancerClass"].as_string();
  if (!cls.empty()) return cls == "service.k8s.aws/nlb";
  std::string type = note(service, kServicePrefix, "type");
  return type == "external" || type == "nlb-ip";
}

Result<WantedBalancer> balancer_of_service(const json::Value& service, const Objects& slices) {
  std::string ns = kube::namespace_of(service), name = kube::name_of(service);
  std::string target_type = note(service, kServicePrefix, "nlb-target-type");
  if (!target_type.empty() && target_type != "ip")
    return invalid(std::string("annotation ") + kServicePrefix + "nlb-target-type: \"" + target_type + "\" is not supported here; use ip");
  WantedBalancer out;
  out.name = note(service, kServicePrefix, "name");
  if (out.name.empty()) out.name = resource_name(ns, name, kube::uid_of(service));
  out.type = "network";
  out.internet_facing = note(service, kServicePrefix, "scheme") == "internet-facing";
  out.stack = ns + "/" + name;
  for (auto& p : service["spec"]["ports"].as_array()) {
    if (p["protocol"].as_string() != "TCP" && !p["protocol"].as_string().empty()) {
      out.problems.push_back("port " + p["name"].as_string() + ": only TCP is carried");
      continue;
    }
    WantedTargetGroup g;
    int64_t port = p["port"].as_int();
    g.name = resource_name(ns, name, "tg" + std::to_string(port));
    g.protocol = "TCP";
    g.targets = targets(slices, ns, name, p["name"].as_string());
    g.port = g.targets.empty() ? static_cast<int>(port) : g.targets[0].port;
    g.health = service_health(service);
    WantedListener l;
    l.port = static_cast<int>(port);
    l.protocol = "TCP";
    l.default_target_group = static_cast<int>(out.target_groups.size());
    out.target_groups.push_back(std::move(g));
    out.listeners.push_back(std::move(l));
  }
  return out;
}

bool is_alb_ingress(const json::Value& ingress, const Objects& classes) {
  std::string name = ingress["spec"]["ingressClassName"].as_string();
  if (name.empty()) return kube::annotation(ingress, "kubernetes.io/ingress.class") == "alb";
  for (auto& c : classes)
    if (kube::name_of(*c) == name) return (*c)["spec"]["controller"].as_string() == "ingress.k8s.aws/alb";
  return false;
}

Result<WantedBalancer> balancer_of_ingress(const json::Value& ingress, const Objects& services, const Objects& slices) {
  std::string ns = kube::namespace_of(ingress), name = kube::name_of(ingress);
  auto get = [&](const char* key) { return note(ingress, kIngressPrefix, key); };
  if (!get("target-type").empty() && get("target-type") != "ip") return invalid(std::string("annotation ") + kIngressPrefix + "target-type: \"" + get("target-type") + "\" is not supported here; use ip");
  WantedBalancer out;
  out.name = get("load-balancer-name").empty() ? resource_name(ns, name, kube::uid_of(ingress)) : get("load-balancer-name");
  out.type = "application";
  out.internet_facing = get("scheme") == "internet-facing";
  out.stack = ns + "/" + name;

  std::map<std::string, size_t> by_backend;
  auto group = [&](const json::Value& backend) -> int {
    const json::Value& ref = backend["service"];
    std::string service_name = ref["name"].as_string();
    for (auto& s : services) {
      if (kube::namespace_of(*s) != ns || kube::name_of(*s) != service_name) continue;
      const json::Value* port = service_port(*s, ref["port"]);
      if (!port) break;
      std::string key = service_name + ":" + std::to_string((*port)["port"].as_int());
      auto it = by_backend.find(key);
      if (it != by_backend.end()) return static_cast<int>(it->second);
      WantedTargetGroup g;
      g.name = resource_name(ns, service_name, name + key);
      g.protocol = get("backend-protocol").empty() ? "HTTP" : to_upper(get("backend-protocol"));
      g.targets = targets(slices, ns, service_name, (*port)["name"].as_string());
      g.port = g.targets.empty() ? static_cast<int>((*port)["port"].as_int()) : g.targets[0].port;
      g.health.protocol = get("healthcheck-protocol").empty() ? g.protocol : to_upper(get("healthcheck-protocol"));
      g.health.path = get("healthcheck-path").empty() ? "/" : get("healthcheck-path");
      if (!get("healthcheck-port").empty()) g.health.port = get("healthcheck-port");
      g.health.matcher = get("success-codes").empty() ? "200" : get("success-codes");
      g.health.interval_s = number(get("healthcheck-interval-seconds"), 15);
      g.health.timeout_s = number(get("healthcheck-timeout-seconds"), 5);
      g.health.healthy = number(get("healthy-threshold-count"), 2);
      g.health.unhealthy = number(get("unhealthy-threshold-count"), 2);
      by_backend[key] = out.target_groups.size();
      out.target_groups.push_back(std::move(g));
      return static_cast<int>(out.target_groups.size() - 1);
    }
    out.problems.push_back("backend service " + ns + "/" + service_name + " or its port does not exist");
    return -1;
  };

  std::vector<WantedRule> rules;
  for (auto& rule : ingress["spec"]["rules"].as_array())
    for (auto& p : rule["http"]["paths"].as_array()) {
      int g = group(p["backend"]);
      if (g < 0) continue;
      std::string path = p["path"].as_string();
      std::vector<std::string> patterns;
      if (p["pathType"].as_string() == "Prefix" && path != "/" && !path.empty()) patterns = {path, path + (path.ends_with("/") ? "*" : "/*")};
      else if (path == "/" && p["pathType"].as_string() != "Exact") patterns = {"/*"};
      else patterns = {path};
      for (auto& pattern : patterns) rules.push_back({static_cast<int>(rules.size()) + 1, rule["host"].as_string(), pattern, static_cast<size_t>(g)});
    }
  int default_group = ingress["spec"]["defaultBackend"]["service"].is_object() ? group(ingress["spec"]["defaultBackend"]) : -1;
  std::string certificate = get("certificate-arn");
  auto ports = json::parse(get("listen-ports"));
  if (!get("listen-ports").empty() && !ports.ok()) return invalid(std::string("annotation ") + kIngressPrefix + "listen-ports: " + ports.error().message);
  json::Value wanted_ports = ports.ok() ? *ports : json::Value();
  if (wanted_ports.size() == 0) {
    json::Value p = json::Value::object();
    p[certificate.empty() ? "HTTP" : "HTTPS"] = certificate.empty() ? 80 : 443;
    wanted_ports.push_back(std::move(p));
  }
  int redirect = number(get("ssl-redirect"), 0);
  for (const json::Value& entry : std::as_const(wanted_ports).as_array())
    for (const auto& m : entry.as_object()) {
      WantedListener l;
      l.port = static_cast<int>(m.value.as_int());
      l.protocol = m.key;
      if (m.key == "HTTPS") l.certificate_arn = certificate.substr(0, certificate.find(','));
      l.redirect_to_https = redirect && m.key == "HTTP";
      if (!l.redirect_to_https) l.rules = rules;
      l.default_target_group = default_group;
      out.listeners.push_back(std::move(l));
    }
  return out;
}

}  // namespace caravel::loadbalancer
