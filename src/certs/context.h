// What every cert-manager controller is given: the clock, the API client, the watched resources.
#pragma once

#include <string>

#include "base/log.h"
#include "certs/resources.h"
#include "kube/conditions.h"
#include "kube/controller.h"
#include "kube/dynamic_informer.h"
#include "kube/events.h"
#include "net/http.h"

namespace caravel::certs {

// How often a step that waits for another controller or a server looks again without being woken.
constexpr Duration kLookInterval = std::chrono::seconds(10);

struct Settings {
  std::string cluster_resource_namespace = "cert-manager";  // where ClusterIssuers keep their Secrets
  std::string solver_image = "caravel.local/caravel:latest";
};

struct Context {
  Context(net::EventLoop& loop, kube::Client client, Settings settings)
      : loop(loop), client(client), settings(std::move(settings)), events(loop, client, "cert-manager"), certificates(loop, client, kCertificates), requests(loop, client, kCertificateRequests), issuers(loop, client, kIssuers), cluster_issuers(loop, client, kClusterIssuers), orders(loop, client, kOrders), challenges(loop, client, kChallenges), ingresses(loop, client, kIngresses), secrets(loop, client, kSecrets) {}

  // Where the Secrets of an issuer live: its namespace, or the cluster resource namespace.
  std::string secrets_namespace(const json::Value& issuer) const {
    return issuer["kind"].as_string() == "ClusterIssuer" ? settings.cluster_resource_namespace : kube::namespace_of(issuer);
  }
  // The issuer that an issuerRef in namespace `ns` names; null when absent.
  kube::DynamicInformer::Ptr find_issuer(const json::Value& ref, const std::string& ns) const {
    if (ref["kind"].as_string() == "ClusterIssuer") return cluster_issuers.get("", ref["name"].as_string());
    return issuers.get(ns, ref["name"].as_string());
  }
  kube::ObjectReference about(const json::Value& object) const { return kube::reference_to(object); }

  net::EventLoop& loop;
  kube::Client client;
  Settings settings;
  kube::EventRecorder events;
  kube::DynamicInformer certificates, requests, issuers, cluster_issuers, orders, challenges, ingresses, secrets;
};

// Writes `status` of an object if it differs from what the object has.
Task<Status> write_status(Context& c, const kube::Resource& resource, const json::Value& object, json::Value status);
// Applies the spec of an Issuer's ACME part: a client bound to the issuer's account. The HTTP client
// trusts the issuer's caBundle (or nothing is verified with skipTLSVerify).
Result<std::unique_ptr<net::HttpClient>> acme_http(Context& c, const json::Value& issuer);

// Each starts its controller in the scope; they live as long as it does.
std::unique_ptr<kube::Controller> make_ingress_shim(Context& c);
std::unique_ptr<kube::Controller> make_certificate_controller(Context& c);
std::unique_ptr<kube::Controller> make_request_controller(Context& c);
std::unique_ptr<kube::Controller> make_issuer_controller(Context& c);
std::unique_ptr<kube::Controller> make_order_controller(Context& c);
std::unique_ptr<kube::Controller> make_challenge_controller(Context& c);

}  // namespace caravel::certs
