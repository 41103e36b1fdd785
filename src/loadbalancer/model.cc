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

Result<int> number(const json::Value& o, const char* prefix, const char* name, int fallback) {
  std::string text = note(o, prefix, name);
  if (text.empty()) return fallback;
  auto n = parse_int(text);
  if (!n || *n < 0 || *n > INT32_MAX) return invalid(std::string("failed to parse int64 annotation, ") + prefix + name + ": " + text);
  return static_cast<int>(*n);
}

Result<bool> is_internet_facing(const json::Value& o, const char* prefix) {
  std::string scheme = note(o, prefix, "scheme");
  if (!scheme.empty() && scheme != "internal" && scheme != "internet-facing")
    return invalid(std::string("unknown scheme: ") + scheme + " in annotation " + prefix + "scheme; use internal or internet-facing");
  return scheme == "internet-facing";
}

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

Result<HealthCheck> service_health(const json::Value& service) {
  HealthCheck h;
  auto get = [&](const char* name) { return note(service, kServicePrefix, name); };
  std::string protocol = to_upper(get("healthcheck-protocol"));
  if (protocol == "HTTP" || protocol == "HTTPS") {
    h.protocol = protocol;
    h.path = get("healthcheck-path").empty() ? "/" : get("healthcheck-path");
    h.matcher = "200-399";
  }
  if (!get("healthcheck-port").empty()) h.port = get("healthcheck-port");
  auto n = [&](const char* name, int fallback) { return number(service, kServicePrefix, name, fallback); };
  TRY(h.interval_s, n("healthcheck-interval", 10));
  TRY(h.timeout_s, n("healthcheck-timeout", h.protocol == "TCP" ? 10 : 6));
  h.timeout_s = std::min(h.timeout_s, h.interval_s);
  TRY(h.healthy, n("healthcheck-healthy-threshold", 3));
  TRY(h.unhealthy, n("healthcheck-unhealthy-threshold", 3));
  return h;
}

Result<HealthCheck> ingress_health(const json::Value& ingress, const std::string& backend_protocol) {
  HealthCheck h;
  auto get = [&](const char* name, const std::string& fallback) {
    std::string text = note(ingress, kIngressPrefix, name);
    return text.empty() ? fallback : text;
  };
  auto n = [&](const char* name, int fallback) { return number(ingress, kIngressPrefix, name, fallback); };
  h.protocol = to_upper(get("healthcheck-protocol", backend_protocol));
  h.path = get("healthcheck-path", "/");
  h.port = get("healthcheck-port", "traffic-port");
  h.matcher = get("success-codes", "200");
  TRY(h.interval_s, n("healthcheck-interval-seconds", 15));
  TRY(h.timeout_s, n("healthcheck-timeout-seconds", 5));
  TRY(h.healthy, n("healthy-threshold-count", 2));
  TRY(h.unhealthy, n("unhealthy-threshold-count", 2));
  return h;
}

const json::Value* service_port(const json::Value& service, const json::Value& ref) {
  for (auto& p : service["spec"]["ports"].as_array())
    if ((ref["name"].is_string() && p["name"] == ref["name"]) || (ref["number"].is_int() && p["port"] == ref["number"])) return &p;
  return nullptr;
}

// Exact paths first, then prefixes, the longest first, then the others as they stand.
std::vector<const json::Value*> sorted_paths(const json::Value& paths) {
  std::vector<const json::Value*> out;
  for (auto& p : paths.as_array()) out.push_back(&p);
  auto rank = [](const json::Value& p) {
    const std::string& type = p["pathType"].as_string();
    return type == "Exact" ? 0 : type == "Prefix" ? 1
                                                  : 2;
  };
  std::stable_sort(out.begin(), out.end(), [&](const json::Value* a, const json::Value* b) {
    if (rank(*a) != rank(*b)) return rank(*a) < rank(*b);
    return rank(*a) == 1 && (*a)["path"].as_string().size() > (*b)["path"].as_string().size();
  });
  return out;
}

Result<std::vector<std::string>> path_patterns(const json::Value& p) {
  std::string path = p["path"].as_string(), type = p["pathType"].as_string();
  if (path.empty()) return std::vector<std::string>();
  bool wildcards = path.find_first_of("*?") != std::string::npos;
  if (wildcards && (type == "Exact" || type == "Prefix")) return invalid(to_lower(type) + " path shouldn't contain wildcards: " + path);
  if (type != "Prefix") return std::vector<std::string>{path};
  if (path == "/") return std::vector<std::string>{"/*"};
  if (path.ends_with("/")) path.pop_back();
  return std::vector<std::string>{path, path + "/*"};
}

// Ports and protocols without what they lead to.
Result<std::vector<WantedListener>> listen_ports(const json::Value& ingress) {
  std::string certificate = note(ingress, kIngressPrefix, "certificate-arn"), text = note(ingress, kIngressPrefix, "listen-ports");
  std::string annotation = std::string("annotation ") + kIngressPrefix + "listen-ports: ";
  if (text.empty()) text = certificate.empty() ? R"([{"HTTP": 80}])" : R"([{"HTTPS": 443}])";
  auto entries = json::parse(text);
  if (!entries.ok()) return invalid(annotation + entries.error().message);
  std::vector<WantedListener> out;
  for (auto& entry : std::as_const(*entries).as_array())
    for (auto& m : entry.as_object()) {
      WantedListener l;
      l.protocol = m.key;
      int64_t port = m.value.as_int();
      if (l.protocol != "HTTP" && l.protocol != "HTTPS") return invalid(annotation + "listen protocol must be HTTP or HTTPS: " + l.protocol);
      if (port < 1 || port > 65535) return invalid(annotation + "listen port must be within [1, 65535]: " + json::dump(m.value));
      l.port = static_cast<int>(port);
      if (l.protocol == "HTTPS") l.certificate_arn = trim(certificate.substr(0, certificate.find(',')));
      if (l.protocol == "HTTPS" && l.certificate_arn.empty())
        return invalid("no certificate for the HTTPS listener on port " + std::to_string(port) + "; name one in " + kIngressPrefix + "certificate-arn");
      out.push_back(std::move(l));
    }
  if (out.empty()) return invalid(annotation + "empty listen-ports");
  TRY(int redirect, number(ingress, kIngressPrefix, "ssl-redirect", 0));
  if (!redirect) return out;
  auto target = std::find_if(out.begin(), out.end(), [&](auto& l) { return l.port == redirect; });
  if (target == out.end()) return invalid("listener does not exist for SSLRedirect port: " + std::to_string(redirect));
  if (target->protocol != "HTTPS") return invalid("listener protocol non-SSL for SSLRedirect port: " + std::to_string(redirect));
  for (auto& l : out)
    if (l.protocol == "HTTP") l.redirect_to_https = redirect;
  return out;
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
  TRY(out.internet_facing, is_internet_facing(service, kServicePrefix));
  TRY(HealthCheck health, service_health(service));
  if (!note(service, kServicePrefix, "ssl-cert").empty())
    out.problems.push_back(std::string("annotation ") + kServicePrefix + "ssl-cert is not supported here; the listeners carry plain TCP");
  out.stack = ns + "/" + name;
  for (auto& p : service["spec"]["ports"].as_array()) {
    if (p["protocol"].as_string() != "TCP" && !p["protocol"].as_string().empty()) {
      out.problems.push_back("port " + p["name"].as_string() + ": only TCP is carried");
      continue;
    }
    WantedTargetGroup g;
    int64_t port = p["port"].as_int();
    g.name = resource_name(ns, name, kube::uid_of(service) + "/TCP/" + std::to_string(port));
    g.protocol = "TCP";
    g.targets = targets(slices, ns, name, p["name"].as_string());
    g.port = g.targets.empty() ? static_cast<int>(port) : g.targets[0].port;
    g.health = health;
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
  TRY(out.internet_facing, is_internet_facing(ingress, kIngressPrefix));
  std::string backend_protocol = get("backend-protocol").empty() ? "HTTP" : to_upper(get("backend-protocol"));
  if (backend_protocol != "HTTP" && backend_protocol != "HTTPS")
    return invalid(std::string("annotation ") + kIngressPrefix + "backend-protocol: unsupported \"" + backend_protocol + "\"; use HTTP or HTTPS");
  TRY(HealthCheck health, ingress_health(ingress, backend_protocol));
  TRY(out.listeners, listen_ports(ingress));
  if (!get("group.name").empty()) out.problems.push_back(std::string("annotation ") + kIngressPrefix + "group.name is not supported here; the Ingress has a load balancer of its own");
  if (get("certificate-arn").find(',') != std::string::npos) out.problems.push_back(std::string("annotation ") + kIngressPrefix + "certificate-arn: only the first certificate is served");
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
      g.protocol = backend_protocol;
      g.name = resource_name(ns, service_name, kube::uid_of(ingress) + "/" + g.protocol + "/" + key);
      g.targets = targets(slices, ns, service_name, (*port)["name"].as_string());
      g.port = g.targets.empty() ? static_cast<int>((*port)["port"].as_int()) : g.targets[0].port;
      g.health = health;
      by_backend[key] = out.target_groups.size();
      out.target_groups.push_back(std::move(g));
      return static_cast<int>(out.target_groups.size() - 1);
    }
    std::string problem = "backend service " + ns + "/" + service_name + " or its port does not exist";
    if (std::find(out.problems.begin(), out.problems.end(), problem) == out.problems.end()) out.problems.push_back(problem);
    return kMissingBackendAnswer;
  };

  std::vector<WantedRule> rules;
  for (auto& rule : ingress["spec"]["rules"].as_array())
    for (auto* p : sorted_paths(rule["http"]["paths"])) {
      TRY(auto patterns, path_patterns(*p));
      rules.push_back({static_cast<int>(rules.size()) + 1, rule["host"].as_string(), std::move(patterns), group((*p)["backend"])});
    }
  const json::Value& fallback = ingress["spec"]["defaultBackend"];
  int default_group = fallback["service"].is_object() ? group(fallback) : kNotFoundAnswer;
  for (auto& l : out.listeners) {
    if (!l.redirect_to_https) l.rules = rules;
    l.default_target_group = default_group;
  }
  return out;
}

}  // namespace caravel::loadbalancer
