// The Certificate controllers of cert-manager (trigger, key manager, request manager, issuing, readiness)
// as one level-triggered reconcile of a Certificate:
//   1. write the Ready condition and the dates from what the Secret holds;
//   2. if a new certificate is needed, say so in the Issuing condition;
//   3. while issuing: keep the next private key in a Secret of its own, keep a CertificateRequest for
//      revision+1, and when that is answered put key and certificate into the target Secret.
#include "base/strings.h"
#include "certs/certificate.h"
#include "certs/context.h"

namespace caravel::certs {
namespace {

constexpr Duration kCacheLag = std::chrono::seconds(1);

class CertificateController {
 public:
  explicit CertificateController(Context& c) : c_(c) {}
  Task<Result<kube::Requeue>> reconcile(std::string key);

 private:
  Task<bool> still_needed(const json::Value& certificate, const json::Value* request, Time now);
  Task<Status> issue(const json::Value& certificate, json::Value& status);
  Task<Result<std::string>> next_private_key(const json::Value& certificate, json::Value& status, std::string target_key);
  Task<Status> make_request(const json::Value& certificate, int64_t revision, std::string key_secret, std::string key_pem);
  Task<Status> complete(const json::Value& certificate, json::Value& status, json::Value request, std::string key_pem);
  Task<Status> fail(const json::Value& certificate, json::Value& status, const json::Value& request);
  Context& c_;
};

std::string request_name(const json::Value& certificate, int64_t revision) { return kube::name_of(certificate) + "-" + std::to_string(revision); }

const json::Value* get(const kube::DynamicInformer::Ptr& p) { return p.get(); }

void write_dates(const json::Value& certificate, const json::Value* secret, json::Value& status) {
  auto info = secret ? net::parse_certificate(secret_data(*secret, "tls.crt")) : Result<net::CertificateInfo>(not_found(""));
  if (!info.ok()) {
    for (auto f : {"notBefore", "notAfter", "renewalTime"}) status.erase(f);
    return;
  }
  status["notBefore"] = format_rfc3339(info->not_before);
  status["notAfter"] = format_rfc3339(info->not_after);
  status["renewalTime"] = format_rfc3339(renewal_time(certificate, info->not_before, info->not_after));
}

Task<Result<kube::Requeue>> CertificateController::reconcile(std::string key) {
  auto cached = c_.certificates.get(kube::ObjectKey::parse(key));
  if (!cached || kube::is_deleting(*cached)) co_return kube::Requeue::never();
  json::Value certificate = *cached;
  Time now = c_.loop.now();
  json::Value status = certificate["status"].is_object() ? certificate["status"] : json::Value::object();
  int64_t generation = certificate["metadata"]["generation"].as_int();

  auto secret = c_.secrets.get(kube::namespace_of(certificate), certificate["spec"]["secretName"].as_string());
  int64_t revision = std::as_const(status)["revision"].as_int();
  auto current_request = revision ? c_.requests.get(kube::namespace_of(certificate), request_name(certificate, revision)) : nullptr;

  write_dates(certificate, get(secret), status);
  auto unready = not_ready(certificate, get(secret), get(current_request), now);
  if (unready) kube::set_condition(status["conditions"], "Ready", "False", unready->reason, unready->message, now, generation);
  else kube::set_condition(status["conditions"], "Ready", "True", "Ready", "Certificate is up to date and has not expired", now, generation);

  kube::Requeue requeue = kube::Requeue::never();
  bool issuing = kube::condition_is(status["conditions"], "Issuing", "True");
  if (!issuing) {
    if (auto need = needs_issuance(certificate, get(secret), get(current_request), now)) {
      if (auto retry = held_back_until(status, generation, now)) {
        requeue = kube::Requeue::in(*retry - now);
      } else if (!(co_await still_needed(certificate, get(current_request), now))) {
        requeue = kube::Requeue::in(kCacheLag);
      } else {
        kube::set_condition(status["conditions"], "Issuing", "True", need->reason, need->message, now, generation);
        c_.events.normal(c_.about(certificate), "Issuing", need->message);
        issuing = true;
      }
    } else {
      if (auto updated = template_update(certificate, *secret)) {
        auto written = co_await c_.client.update(kSecrets, std::move(*updated));
        if (!written.ok()) co_return std::move(written).error();
      }
      auto renewal = parse_rfc3339(std::as_const(status)["renewalTime"].as_string());
      if (renewal.ok()) requeue = kube::Requeue::in(std::max<Duration>(*renewal - now, 1s));
    }
  }
  if (issuing) {
    CO_TRY_VOID(co_await write_status(c_, kCertificates, certificate, status));
    auto fresh = co_await c_.client.get(kCertificates, kube::namespace_of(certificate), kube::name_of(certificate));
    if (!fresh.ok()) co_return std::move(fresh).error();
    certificate = std::move(*fresh);
    status = certificate["status"];
    // Another run has finished it and the cache has not heard of it yet; when it has, it wakes us.
    if (!kube::condition_is(std::as_const(status)["conditions"], "Issuing", "True")) co_return kube::Requeue::never();
    CO_TRY_VOID(co_await issue(certificate, status));
    if (kube::condition_is(std::as_const(status)["conditions"], "Issuing", "True")) requeue = kube::Requeue::in(kLookInterval);
  }
  CO_TRY_VOID(co_await write_status(c_, kCertificates, certificate, status));
  co_return requeue;
}

// The cached Secret may be older than the certificate just put into it: the API server has the last word.
Task<bool> CertificateController::still_needed(const json::Value& certificate, const json::Value* request, Time now) {
  auto live = co_await c_.client.get(kSecrets, kube::namespace_of(certificate), certificate["spec"]["secretName"].as_string());
  co_return !live.ok() || needs_issuance(certificate, &*live, request, now);
}

Task<Result<std::string>> CertificateController::next_private_key(const json::Value& certificate, json::Value& status, std::string target_key) {
  std::string ns = kube::namespace_of(certificate);
  std::string name = status["nextPrivateKeySecretName"].as_string();
  if (!name.empty()) {
    auto existing = co_await c_.client.get(kSecrets, ns, name);
    if (existing.ok()) {
      std::string pem = secret_data(*existing, "tls.key");
      if (!pem.empty()) co_return pem;
    } else if (existing.error().code != Code::kNotFound) {
      co_return std::move(existing).error();
    }
  }
  bool keep = certificate["spec"]["privateKey"]["rotationPolicy"].as_string() == "Never" && !target_key.empty();
  std::string pem = target_key;
  if (!keep) {
    CO_TRY(auto type, requested_key_type(certificate));
    CO_TRY(pem, net::generate_key(type));
  } else if (auto fields = differing_key_fields(certificate, pem); !fields.empty()) {
    std::string why = "User intervention required: existing private key in Secret \"" + certificate["spec"]["secretName"].as_string() +
                      "\" does not match requirements on Certificate resource, mismatching fields: [" + join(fields, " ") +
                      "], but cert-manager cannot create new private key as the Certificate's .spec.privateKey.rotationPolicy is Never";
    c_.events.warning(c_.about(certificate), "CannotRegenerateKey", why);
    co_return invalid(why);
  }
  json::Value secret = json::Value::object();
  secret["apiVersion"] = "v1";
  secret["kind"] = "Secret";
  secret["metadata"]["generateName"] = kube::name_of(certificate) + "-";
  secret["metadata"]["namespace"] = ns;
  secret["metadata"]["labels"][kNextPrivateKeyKey] = "true";
  secret["metadata"]["labels"][kManagedSecretKey] = "true";
  secret["metadata"]["ownerReferences"].push_back(kube::controller_reference(certificate));
  secret["type"] = "Opaque";
  secret["data"]["tls.key"] = base64_encode(pem);
  auto made = co_await c_.client.create(kSecrets, ns, std::move(secret));
  if (!made.ok()) co_return std::move(made).error();
  status["nextPrivateKeySecretName"] = kube::name_of(*made);
  c_.events.normal(c_.about(certificate), "Generated", "Stored new private key in temporary Secret resource \"" + kube::name_of(*made) + "\"");
  co_return pem;
}

Task<Status> CertificateController::issue(const json::Value& certificate, json::Value& status) {
  std::string ns = kube::namespace_of(certificate);
  auto target = c_.secrets.get(ns, certificate["spec"]["secretName"].as_string());
  std::string target_key;
  if (target) target_key = secret_data(*target, "tls.key");
  CO_TRY(std::string key_pem, co_await next_private_key(certificate, status, target_key));

  int64_t revision = status["revision"].as_int() + 1;
  std::string name = request_name(certificate, revision);
  auto request = co_await c_.client.get(kCertificateRequests, ns, name);
  if (!request.ok() && request.error().code != Code::kNotFound) co_return std::move(request).error();
  if (request.ok()) {
    bool stale = !request_uses_key(*request, key_pem) || !differing_request_fields(certificate, *request).empty();
    if (stale) {
      auto removed = co_await c_.client.remove(kCertificateRequests, ns, name);
      if (!removed.ok() && removed.error().code != Code::kNotFound) co_return std::move(removed).error();
      request = not_found("stale");
    }
  }
  if (!request.ok()) {
    std::string key_secret = status["nextPrivateKeySecretName"].as_string();
    co_return co_await make_request(certificate, revision, key_secret, key_pem);
  }
  const json::Value& conditions = (*request)["status"]["conditions"];
  if (kube::condition_is(conditions, "Ready", "True")) co_return co_await complete(certificate, status, std::move(*request), key_pem);
  auto* ready = kube::find_condition(conditions, "Ready");
  bool failed = ready && (*ready)["status"].as_string() == "False" && (*ready)["reason"].as_string() == "Failed";
  if (failed || kube::condition_is(conditions, "Denied", "True") || kube::condition_is(conditions, "InvalidRequest", "True"))
    co_return co_await fail(certificate, status, *request);
  co_return ok();  // the signer is at work; its answer wakes us
}

Task<Status> CertificateController::make_request(const json::Value& certificate, int64_t revision, std::string key_secret, std::string key_pem) {
  CO_TRY(json::Value r, request_for(certificate, revision, key_secret, key_pem));
  std::string ns = kube::namespace_of(certificate), name = kube::name_of(r);
  auto made = co_await c_.client.create(kCertificateRequests, ns, std::move(r));
  if (!made.ok()) co_return std::move(made).error();
  c_.events.normal(c_.about(certificate), "Requested", "Created new CertificateRequest resource \"" + name + "\"");
  co_return ok();
}

Task<Status> CertificateController::complete(const json::Value& certificate, json::Value& status, json::Value request, std::string key_pem) {
  std::string ns = kube::namespace_of(certificate), name = certificate["spec"]["secretName"].as_string();
  auto existing = co_await c_.client.get(kSecrets, ns, name);
  bool exists = existing.ok();
  if (!exists && existing.error().code != Code::kNotFound) co_return std::move(existing).error();
  json::Value secret = issued_secret(certificate, exists ? &*existing : nullptr, request, key_pem);
  Result<json::Value> written = json::Value();
  if (exists) written = co_await c_.client.update(kSecrets, secret);
  else written = co_await c_.client.create(kSecrets, ns, secret);
  if (!written.ok()) co_return std::move(written).error();

  std::string temporary = status["nextPrivateKeySecretName"].as_string();
  status["revision"] = status["revision"].as_int() + 1;
  for (auto f : {"nextPrivateKeySecretName", "lastFailureTime", "failedIssuanceAttempts"}) status.erase(f);
  kube::remove_condition(status["conditions"], "Issuing");
  write_dates(certificate, &secret, status);
  if (!not_ready(certificate, &secret, &request, c_.loop.now()))
    kube::set_condition(status["conditions"], "Ready", "True", "Ready", "Certificate is up to date and has not expired", c_.loop.now(),
                        certificate["metadata"]["generation"].as_int());
  c_.events.normal(c_.about(certificate), "Issuing", "The certificate has been successfully issued");
  if (!temporary.empty()) {
    auto removed = co_await c_.client.remove(kSecrets, ns, temporary);
    if (!removed.ok() && removed.error().code != Code::kNotFound) co_return std::move(removed).error();
  }
  co_return ok();
}

Task<Status> CertificateController::fail(const json::Value& certificate, json::Value& status, const json::Value& request) {
  auto* ready = kube::find_condition(request["status"]["conditions"], "Ready");
  std::string message = "The certificate request has failed to complete and will be retried: " + (ready ? (*ready)["message"].as_string() : "");
  int64_t attempts = status["failedIssuanceAttempts"].as_int() + 1;
  status["failedIssuanceAttempts"] = attempts;
  status["lastFailureTime"] = format_rfc3339(c_.loop.now());
  kube::set_condition(status["conditions"], "Issuing", "False", "Failed", message, c_.loop.now(), certificate["metadata"]["generation"].as_int());
  c_.events.warning(c_.about(certificate), "Failed", message);
  std::string ns = kube::namespace_of(request), name = kube::name_of(request);
  auto removed = co_await c_.client.remove(kCertificateRequests, ns, name);
  if (!removed.ok() && removed.error().code != Code::kNotFound) co_return std::move(removed).error();
  co_return ok();
}

}  // namespace

std::unique_ptr<kube::Controller> make_certificate_controller(Context& c) {
  auto self = std::make_shared<CertificateController>(c);
  auto controller = std::make_unique<kube::Controller>(
      c.loop, "certificates", [self](std::string key) { return self->reconcile(std::move(key)); }, 2);
  auto* queue = controller.get();
  c.certificates.add_handler([queue](auto& old, auto& now) { queue->enqueue(kube::key_of(now ? *now : *old)); });
  c.requests.add_handler([queue](auto& old, auto& now) {
    const json::Value& r = now ? *now : *old;
    const std::string& name = kube::annotation(r, kCertificateNameKey);
    if (!name.empty()) queue->enqueue(kube::ObjectKey{kube::namespace_of(r), name});
  });
  c.secrets.add_handler([queue, &c](auto& old, auto& now) {
    const json::Value& s = now ? *now : *old;
    for (auto& [key, certificate] : c.certificates.all())
      if (key.ns == kube::namespace_of(s) && (*certificate)["spec"]["secretName"].as_string() == kube::name_of(s)) queue->enqueue(key);
  });
  return controller;
}

}  // namespace caravel::certs
