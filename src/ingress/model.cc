#include "ingress/model.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "ingress/annotations.h"
#include "kube/dynamic_informer.h"
#include "net/x509.h"

namespace caravel::ingress {
namespace {

using kube::key_of;
using kube::name_of;
using kube::namespace_of;

struct Lookup {
  std::map<kube::ObjectKey, const json::Value*> services, secrets;
  std::map<kube::ObjectKey, std::vector<const json::Value*>> slices;  // by service
};

Lookup index(const Inputs& in) {
  Lookup out;
  for (auto& s : in.services) out.services[key_of(*s)] = s.get();
  for (auto& s : in.secrets) out.secrets[key_of(*s)] = s.get();
  for (auto& s : in.slices) out.slices[{namespace_of(*s), kube::label(*s, "kubernetes.io/service-name")}].push_back(s.get());
  return out;
}

// The service's port that a backend names: by number or by name.
const json::Value* find_port(const json::Value& service, const json::Value& wanted) {
  for (auto& p : service["spec"]["ports"].as_array()) {
    if (wanted["name"].is_string() && p["name"] == wanted["name"]) return &p;
    if (wanted["number"].is_int() && p["port"] == wanted["number"]) return &p;
  }
  return nullptr;
}

std::string with_port(const std::string& address, int64_t port) {
  return (address.find(':') == std::string::npos ? address : "[" + address + "]") + ":" + std::to_string(port);
}

std::vector<std::string> endpoints(const Lookup& l, const kube::ObjectKey& service, const json::Value& port) {
  std::set<std::string> ready, terminating;
  auto it = l.slices.find(service);
  if (it == l.slices.end()) return {};
  for (auto* slice : it->second) {
    int64_t number = 0;
    for (auto& p : (*slice)["ports"].as_array())
      if (p["name"].as_string() == port["name"].as_string()) number = p["port"].as_int();
    if (!number) continue;
    for (auto& e : (*slice)["endpoints"].as_array()) {
      const json::Value& c = e["conditions"];
      for (auto& address : e["addresses"].as_array()) {
        std::string text = with_port(address.as_string(), number);
        if (c["ready"].as_bool(true)) ready.insert(text);
        else if (c["serving"].as_bool(false) && c["terminating"].as_bool(false)) terminating.insert(text);
      }
    }
  }
  auto& use = ready.empty() ? terminating : ready;
  return {use.begin(), use.end()};
}

class Builder {
 public:
  explicit Builder(const Inputs& in) : in_(in), lookup_(index(in)) {}

  Model build() {
    Objects ours;
    for (auto& i : in_.ingresses)
      if (is_ours(*i, in_) && !kube::is_deleting(*i)) ours.push_back(i);
    // Oldest first: it wins.
    std::stable_sort(ours.begin(), ours.end(), [](auto& a, auto& b) {
      const std::string &ta = a->path({"metadata", "creationTimestamp"}).as_string(), &tb = b->path({"metadata", "creationTimestamp"}).as_string();
      return ta != tb ? ta < tb : key_of(*a) < key_of(*b);
    });
    for (auto& i : ours) add_ingress(*i);
    for (auto& i : ours) add_default_of_hosts(*i);
    for (auto& i : ours) add_certificates(*i);
    add_default_certificate();
    return finish();
  }

 private:
  void problem(const json::Value& ingress, std::string message) { model_.problems.push_back({key_of(ingress), std::move(message)}); }

  Server& server(const std::string& host) {
    Server& s = servers_[host];
    s.host = host;
    return s;
  }

  std::string use_upstream(const json::Value& ingress, const json::Value& backend) {
    const json::Value& ref = backend["service"];
    kube::ObjectKey key{namespace_of(ingress), ref["name"].as_string()};
    auto it = lookup_.services.find(key);
    if (it == lookup_.services.end()) {
      problem(ingress, "Service \"" + key.text() + "\" does not exist");
      return "";
    }
    const json::Value* port = find_port(*it->second, ref["port"]);
    if (!port) {
      problem(ingress, "Service \"" + key.text() + "\" has no port " + json::dump(ref["port"]));
      return "";
    }
    std::string name = key.ns + "-" + key.name + "-" + std::to_string((*port)["port"].as_int());
    // Another Service may come to the same name: "a-b/c" and "a/b-c". Their requests must not mix.
    while (!(owners_.try_emplace(name, key).first->second == key)) name += "-x";
    Upstream& u = upstreams_[name];
    u.name = name;
    const std::string& ip = (*it->second)["spec"]["clusterIP"].as_string();
    if (kube::annotation(ingress, "nginx.ingress.kubernetes.io/service-upstream") == "true" && !ip.empty() && ip != "None") {
      u.servers = {with_port(ip, (*port)["port"].as_int())};
    } else {
      u.servers = endpoints(lookup_, key, *port);
    }
    return name;
  }

  void add_location(const json::Value& ingress, Server& s, std::string path, const std::string& type, const json::Value& backend, const LocationOptions& options) {
    bool exact = type == "Exact", plain = type == "ImplementationSpecific";
    const std::string& service = backend["service"]["name"].as_string();
    if (!service.empty() && !is_safe_host(service)) return problem(ingress, "\"" + service + "\" is no name of a Service");
    // What nginx would take for the same place: by segments, "/app" and "/app/" are one.
    auto place = [](const std::string& p, bool is_exact, bool is_plain) { return (is_exact ? "=" : "") + p + (is_exact || is_plain || p.ends_with("/") ? "" : "/"); };
    for (auto& l : s.locations)
      if (place(l.path, l.exact, l.plain) == place(path, exact, plain)) return;  // an older Ingress has it
    std::string upstream = use_upstream(ingress, backend);
    s.locations.push_back({path, exact, plain, upstream, options, key_of(ingress).text(), service});
  }

  // What no path of an Ingress' hosts matches goes to its default backend.
  void add_default_of_hosts(const json::Value& ingress) {
    const json::Value& backend = ingress["spec"]["defaultBackend"];
    auto options = parse_annotations(ingress, in_.settings);
    if (!backend["service"].is_object() || !options.ok()) return;
    for (auto& rule : ingress["spec"]["rules"].as_array())
      if (auto it = servers_.find(to_lower(rule["host"].as_string())); it != servers_.end()) add_location(ingress, it->second, "/", "Prefix", backend, *options);
  }

  void add_ingress(const json::Value& ingress) {
    model_.ours.push_back(key_of(ingress));
    auto options = parse_annotations(ingress, in_.settings);
    if (!options.ok()) {
      problem(ingress, options.error().message);
      return;
    }
    const json::Value& spec = ingress["spec"];
    if (spec["defaultBackend"]["service"].is_object()) add_location(ingress, server("_"), "/", "Prefix", spec["defaultBackend"], *options);
    for (auto& rule : spec["rules"].as_array()) {
      std::string host = rule["host"].as_string().empty() ? "_" : to_lower(rule["host"].as_string());
      if (host != "_" && !is_safe_host(host)) {
        problem(ingress, "host \"" + host + "\" is not a DNS name");
        continue;
      }
      Server& s = server(host);
      for (auto& p : rule["http"]["paths"].as_array()) {
        std::string path = p["path"].as_string().empty() ? "/" : p["path"].as_string();
        if (!is_safe_path(path, options->use_regex)) {
          problem(ingress, "path \"" + path + "\" holds characters that a path may not have");
          continue;
        }
        add_location(ingress, s, path, p["pathType"].as_string(), p["backend"], *options);
      }
    }
  }

  const json::Value* tls_secret(const kube::ObjectKey& key, std::string& certificate, std::string& private_key) {
    auto it = lookup_.secrets.find(key);
    if (it == lookup_.secrets.end()) return nullptr;
    certificate = base64_decode((*it->second)["data"]["tls.crt"].as_string()).value_or("");
    private_key = base64_decode((*it->second)["data"]["tls.key"].as_string()).value_or("");
    // What nginx cannot load would keep it from loading anything.
    if (!net::key_matches_certificate(private_key, certificate)) {
      certificate.clear();
      private_key.clear();
      return nullptr;
    }
    return it->second;
  }

  static bool has_rule(const json::Value& ingress, const std::string& host) {
    for (auto& rule : ingress["spec"]["rules"].as_array())
      if (to_lower(rule["host"].as_string()) == host) return true;
    return false;
  }

  void add_certificates(const json::Value& ingress) {
    for (auto& tls : ingress["spec"]["tls"].as_array()) {
      kube::ObjectKey key{namespace_of(ingress), tls["secretName"].as_string()};
      for (auto& h : tls["hosts"].as_array()) {
        std::string host = to_lower(h.as_string());
        auto it = servers_.find(host);
        if (it == servers_.end() || !has_rule(ingress, host)) continue;
        it->second.tls = true;
        if (!it->second.certificate.empty() || key.name.empty()) continue;
        std::string certificate, private_key;
        if (!tls_secret(key, certificate, private_key)) continue;  // the default certificate serves until it is there
        it->second.certificate = certificate;
        it->second.key = private_key;
        it->second.secret = key.text();
      }
    }
  }

  void add_default_certificate() {
    if (in_.default_ssl_secret.empty()) return;
    tls_secret(kube::ObjectKey::parse(in_.default_ssl_secret), model_.default_certificate, model_.default_key);
  }

  Model finish() {
    servers_["_"].host = "_";
    for (auto& [host, s] : servers_) {
      // Longest path first, Exact before Prefix of the same length.
      std::stable_sort(s.locations.begin(), s.locations.end(), [](const Location& a, const Location& b) {
        if (a.path.size() != b.path.size()) return a.path.size() > b.path.size();
        return a.exact > b.exact;
      });
      // One regular expression makes every path of the host one (upstream's documented trap).
      bool regex = std::any_of(s.locations.begin(), s.locations.end(), [](auto& l) { return l.options.use_regex; });
      for (auto& l : s.locations) l.options.use_regex = regex && !l.exact ? true : l.options.use_regex;
      model_.servers.push_back(std::move(s));
    }
    for (auto& [name, u] : upstreams_) model_.upstreams.push_back(std::move(u));
    return std::move(model_);
  }

  const Inputs& in_;
  Lookup lookup_;
  Model model_;
  std::map<std::string, Server> servers_;
  std::map<std::string, Upstream> upstreams_;
  std::map<std::string, kube::ObjectKey> owners_;  // of the upstreams' names
};

}  // namespace

bool is_ours(const json::Value& ingress, const Inputs& in) {
  std::string name = ingress["spec"]["ingressClassName"].as_string();
  const std::string& old = kube::annotation(ingress, "kubernetes.io/ingress.class");
  if (name.empty()) name = old;
  for (auto& c : in.classes) {
    if ((*c)["spec"]["controller"].as_string() != in.controller) continue;
    if (!name.empty() && name_of(*c) == name) return true;
    if (name.empty() && kube::annotation(*c, "ingressclass.kubernetes.io/is-default-class") == "true") return true;
  }
  return !old.empty() && old == "nginx" && ingress["spec"]["ingressClassName"].as_string().empty();
}

Model build_model(const Inputs& in) { return Builder(in).build(); }

}  // namespace caravel::ingress
