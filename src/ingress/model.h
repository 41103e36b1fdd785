// From Kubernetes objects to what nginx must do. Pure.
//
// Rules, as ingress-nginx documents them: an Ingress belongs to us by spec.ingressClassName (or the old
// annotation), or by being classless while our class is the default; the oldest Ingress wins a duplicate
// host and path; a default backend also serves what no path of its Ingress' hosts matches; the first Ingress
// (by age) that has a rule for a host and names its TLS Secret owns its certificate; Exact beats Prefix, longer
// paths beat shorter ones; endpoints are the ready ones, or the serving terminating ones when none is ready.
// Anything unusable is left out and reported in `problems`, and the rest goes on.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "kube/resource.h"

namespace caravel::ingress {

using Objects = std::vector<std::shared_ptr<const json::Value>>;

struct Inputs {
  Objects ingresses, classes, services, slices, secrets;
  std::string controller = "k8s.io/ingress-nginx";  // IngressClass.spec.controller that is ours
  std::string default_ssl_secret;                   // "ns/name", optional
  std::map<std::string, std::string> settings;      // the controller's ConfigMap
};

struct Upstream {
  std::string name;                  // "demo-web-80"
  std::vector<std::string> servers;  // "10.0.11.23:8080"; empty: 503
};

// Per-location annotations, parsed into values.
struct LocationOptions {
  bool ssl_redirect = true;
  bool force_ssl_redirect = false;
  std::string rewrite_target;
  bool use_regex = false;
  std::string backend_protocol = "HTTP";  // HTTP HTTPS GRPC GRPCS
  std::string proxy_body_size = "1m";
  int connect_timeout_s = 5, send_timeout_s = 60, read_timeout_s = 60;
  std::string next_upstream = "error timeout";
  int next_upstream_tries = 3;
  std::vector<std::string> allow_ranges;
  std::string permanent_redirect;
  int permanent_redirect_code = 301;
  std::string upstream_vhost;
  bool enable_cors = false;
  std::string cors_origin = "*";
  int limit_rps = 0;
};

struct Location {
  std::string path;  // "/"
  bool exact = false;
  bool plain = false;    // ImplementationSpecific: by characters ("/app" matches "/apple"), not by path segments
  std::string upstream;  // name
  LocationOptions options;
  std::string ingress;  // "ns/name", for logs and metrics
  std::string service;
};

struct Server {
  std::string host;         // "_" is the catch-all
  std::string certificate;  // PEM chain, or "" (the default certificate)
  std::string key;
  std::string secret;  // "ns/name" of the certificate
  bool tls = false;    // named in some spec.tls
  std::vector<Location> locations;
};

struct Problem {
  kube::ObjectKey ingress;
  std::string message;
};

struct Model {
  std::vector<Server> servers;      // sorted by host
  std::vector<Upstream> upstreams;  // sorted by name
  std::string default_certificate, default_key;
  std::vector<Problem> problems;
  std::vector<kube::ObjectKey> ours;  // the Ingresses that are served: get their status written
};

Model build_model(const Inputs& in);
// Is the Ingress ours? (class rules above)
bool is_ours(const json::Value& ingress, const Inputs& in);

}  // namespace caravel::ingress
