// CertificateRequests: the built-in approver, and the signers for SelfSigned, CA and ACME issuers.
#include "base/hash.h"
#include "base/strings.h"
#include "certs/certificate.h"
#include "certs/context.h"

namespace caravel::certs {
namespace {

class RequestController {
 public:
  explicit RequestController(Context& c) : c_(c) {}
  Task<Result<kube::Requeue>> reconcile(std::string key);

 private:
  Task<Status> sign_self(const json::Value& request, json::Value& status);
  Task<Status> sign_ca(const json::Value& request, const json::Value& issuer, json::Value& status);
  Task<Status> sign_acme(const json::Value& request, json::Value& status);
  void pending(json::Value& status, std::string message) { kube::set_condition(status["conditions"], "Ready", "False", "Pending", message, c_.loop.now()); }
  void failed(const json::Value& request, json::Value& status, std::string message) {
    status["failureTime"] = format_rfc3339(c_.loop.now());
    kube::set_condition(status["conditions"], "Ready", "False", "Failed", message, c_.loop.now());
    c_.events.warning(c_.about(request), "Failed", message);
  }
  void issued(const json::Value& request, json::Value& status, const std::string& chain, const std::string& ca) {
    status["certificate"] = base64_encode(chain);
    if (!ca.empty()) status["ca"] = base64_encode(ca);
    kube::set_condition(status["conditions"], "Ready", "True", "Issued", "Certificate fetched from issuer successfully", c_.loop.now());
    c_.events.normal(c_.about(request), "CertificateIssued", "Certificate fetched from issuer successfully");
  }
  Context& c_;
};

Result<net::CertificateSpec> spec_for(const json::Value& request, const std::string& csr, Time now) {
  TRY(auto info, net::parse_csr(csr));
  net::CertificateSpec spec;
  spec.names = info.names;
  auto duration = parse_duration(request["spec"]["duration"].as_string());
  spec.not_before = now;
  spec.not_after = now + (duration.ok() ? *duration : Duration(std::chrono::hours(24 * 90)));
  spec.is_ca = request["spec"]["isCA"].as_bool();
  bool any = false;
  for (auto& u : request["spec"]["usages"].as_array()) {
    spec.server_auth |= u.as_string() == "server auth";
    spec.client_auth |= u.as_string() == "client auth";
    any = true;
  }
  if (!any || (!spec.client_auth && !spec.is_ca)) spec.server_auth = true;
  return spec;
}

Task<Result<kube::Requeue>> RequestController::reconcile(std::string key) {
  auto cached = c_.requests.get(kube::ObjectKey::parse(key));
  if (!cached || kube::is_deleting(*cached)) co_return kube::Requeue::never();
  const json::Value& request = *cached;
  json::Value status = request["status"].is_object() ? request["status"] : json::Value::object();
  auto* ready = kube::find_condition(std::as_const(status)["conditions"], "Ready");
  bool final_state = ready && ((*ready)["status"].as_string() == "True" || (*ready)["reason"].as_string() == "Failed" || (*ready)["reason"].as_string() == "Denied");
  if (final_state) co_return kube::Requeue::never();

  if (kube::condition_is(std::as_const(status)["conditions"], "Denied", "True")) {
    status["failureTime"] = format_rfc3339(c_.loop.now());
    kube::set_condition(status["conditions"], "Ready", "False", "Denied", "The CertificateRequest was denied by an approval controller", c_.loop.now());
    CO_TRY_VOID(co_await write_status(c_, kCertificateRequests, request, status));
    co_return kube::Requeue::never();
  }
  const json::Value& ref = request["spec"]["issuerRef"];
  std::string group = ref["group"].as_string();
  if (!group.empty() && group != "cert-manager.io") co_return kube::Requeue::never();  // another controller's issuer
  if (!kube::condition_is(std::as_const(status)["conditions"], "Approved", "True")) {
    kube::set_condition(status["conditions"], "Approved", "True", "cert-manager.io", "Certificate request has been approved by cert-manager.io", c_.loop.now());
    c_.events.normal(c_.about(request), "cert-manager.io", "Certificate request has been approved by cert-manager.io");
    CO_TRY_VOID(co_await write_status(c_, kCertificateRequests, request, status));
    co_return kube::Requeue::never();  // the update wakes us again
  }
  auto issuer = c_.find_issuer(ref, kube::namespace_of(request));
  std::string issuer_name = (ref["kind"].as_string().empty() ? "Issuer" : ref["kind"].as_string()) + std::string(".cert-manager.io \"") + ref["name"].as_string() + "\"";
  kube::Requeue requeue = kube::Requeue::never();
  if (!issuer) {
    pending(status, "Referenced \"" + issuer_name + "\" not found");
    requeue = kube::Requeue::in(5s);
  } else if (!kube::condition_is((*issuer)["status"]["conditions"], "Ready", "True")) {
    pending(status, "Referenced issuer " + issuer_name + " does not have a Ready status condition");
    requeue = kube::Requeue::in(2s);
  } else if ((*issuer)["spec"]["selfSigned"].is_object()) {
    CO_TRY_VOID(co_await sign_self(request, status));
  } else if ((*issuer)["spec"]["ca"].is_object()) {
    CO_TRY_VOID(co_await sign_ca(request, *issuer, status));
  } else if ((*issuer)["spec"]["acme"].is_object()) {
    CO_TRY_VOID(co_await sign_acme(request, status));
    requeue = kube::Requeue::in(kLookInterval);
  } else {
    failed(request, status, "the issuer " + issuer_name + " is of a type that this cert-manager does not sign for; use acme, ca or selfSigned");
  }
  CO_TRY_VOID(co_await write_status(c_, kCertificateRequests, request, status));
  co_return requeue;
}

Task<Status> RequestController::sign_self(const json::Value& request, json::Value& status) {
  std::string name = kube::annotation(request, kPrivateKeySecretKey), ns = kube::namespace_of(request);
  if (name.empty()) {
    failed(request, status, std::string("Annotation \"") + kPrivateKeySecretKey + "\" missing or reference empty: a self-signed certificate needs its private key");
    co_return ok();
  }
  auto secret = co_await c_.client.get(kSecrets, ns, name);
  if (!secret.ok()) {
    pending(status, "Referenced Secret " + ns + "/" + name + " not found");
    co_return ok();
  }
  std::string key = secret_data(*secret, "tls.key");
  std::string csr = base64_decode(request["spec"]["request"].as_string()).value_or("");
  auto spec = spec_for(request, csr, c_.loop.now());
  auto signed_certificate = spec.ok() ? net::make_certificate(*spec, key, "", "") : Result<std::string>(spec.error());
  if (!signed_certificate.ok()) failed(request, status, "Error signing certificate: " + signed_certificate.error().message);
  else issued(request, status, *signed_certificate, *signed_certificate);
  co_return ok();
}

Task<Status> RequestController::sign_ca(const json::Value& request, const json::Value& issuer, json::Value& status) {
  std::string name = issuer["spec"]["ca"]["secretName"].as_string(), ns = c_.secrets_namespace(issuer);
  auto secret = co_await c_.client.get(kSecrets, ns, name);
  if (!secret.ok()) {
    pending(status, "Referenced secret " + ns + "/" + name + " not found");
    co_return ok();
  }
  std::string ca = secret_data(*secret, "tls.crt"), ca_key = secret_data(*secret, "tls.key");
  std::string csr = base64_decode(request["spec"]["request"].as_string()).value_or("");
  auto spec = spec_for(request, csr, c_.loop.now());
  auto leaf = spec.ok() ? net::sign_csr(csr, *spec, ca, ca_key) : Result<std::string>(spec.error());
  if (!leaf.ok()) {
    failed(request, status, "Error signing certificate: " + leaf.error().message);
    co_return ok();
  }
  // The chain up to, but without, a self-signed root; the root goes to ca.crt.
  auto chain = net::split_pem(ca);
  std::string root = secret_data(*secret, "ca.crt"), bundle = *leaf;
  if (root.empty() && !chain.empty()) root = chain.back();
  for (auto& c : chain) {
    auto info = net::parse_certificate(c);
    if (info.ok() && info->names.common_name != info->issuer_common_name) bundle += c;
  }
  issued(request, status, bundle, root);
  co_return ok();
}

Task<Status> RequestController::sign_acme(const json::Value& request, json::Value& status) {
  std::string ns = kube::namespace_of(request);
  std::string csr = base64_decode(request["spec"]["request"].as_string()).value_or("");
  auto info = net::parse_csr(csr);
  if (!info.ok()) {
    failed(request, status, "Failed to decode CSR in spec.request: " + info.error().message);
    co_return ok();
  }
  json::Value order = json::Value::object();
  order["apiVersion"] = "acme.cert-manager.io/v1";
  order["kind"] = "Order";
  order["metadata"]["namespace"] = ns;
  order["metadata"]["annotations"] = request["metadata"]["annotations"];
  order["metadata"]["ownerReferences"].push_back(kube::controller_reference(request));
  json::Value& spec = order["spec"];
  spec["request"] = request["spec"]["request"];
  spec["issuerRef"] = request["spec"]["issuerRef"];
  if (!info->names.common_name.empty()) spec["commonName"] = info->names.common_name;
  for (auto& d : info->names.dns_names) spec["dnsNames"].push_back(d);
  for (auto& ip : info->names.ip_addresses) spec["ipAddresses"].push_back(ip);
  std::string name = kube::name_of(request).substr(0, 52) + "-" + std::to_string(fnv32(json::dump_sorted(spec)));
  order["metadata"]["name"] = name;

  auto existing = co_await c_.client.get(kOrders, ns, name);
  if (!existing.ok()) {
    if (existing.error().code != Code::kNotFound) co_return std::move(existing).error();
    auto made = co_await c_.client.create(kOrders, ns, order);
    if (!made.ok() && made.error().code != Code::kAlreadyExists) co_return std::move(made).error();
    c_.events.normal(c_.about(request), "OrderCreated", "Created Order resource " + ns + "/" + name);
    pending(status, "Waiting on certificate issuance from order " + ns + "/" + name + ": \"pending\"");
    co_return ok();
  }
  std::string state = (*existing)["status"]["state"].as_string();
  if (state == "valid") {
    std::string chain = base64_decode((*existing)["status"]["certificate"].as_string()).value_or("");
    if (!chain.empty()) {
      issued(request, status, chain, "");
      co_return ok();
    }
  }
  if (state == "invalid" || state == "expired" || state == "errored") {
    failed(request, status, "Failed to wait for order resource \"" + name + "\" to become ready: order is in \"" + state + "\" state: " + (*existing)["status"]["reason"].as_string());
    co_return ok();
  }
  pending(status, "Waiting on certificate issuance from order " + ns + "/" + name + ": \"" + (state.empty() ? "pending" : state) + "\"");
  co_return ok();
}

}  // namespace

std::unique_ptr<kube::Controller> make_request_controller(Context& c) {
  auto self = std::make_shared<RequestController>(c);
  auto controller = std::make_unique<kube::Controller>(
      c.loop, "certificaterequests", [self](std::string key) { return self->reconcile(std::move(key)); }, 2);
  auto* queue = controller.get();
  c.requests.add_handler([queue](auto& old, auto& now) { queue->enqueue(kube::key_of(now ? *now : *old)); });
  c.orders.add_handler([queue](auto& old, auto& now) {
    const json::Value& order = now ? *now : *old;
    for (auto& owner : order["metadata"]["ownerReferences"].as_array()) queue->enqueue(kube::ObjectKey{kube::namespace_of(order), owner["name"].as_string()});
  });
  auto requeue_all = [queue, &c](auto&, auto&) {
    for (auto& [key, r] : c.requests.all()) queue->enqueue(key);
  };
  c.issuers.add_handler(requeue_all);
  c.cluster_issuers.add_handler(requeue_all);
  return controller;
}

}  // namespace caravel::certs
