// Issuers and ClusterIssuers: checks what they refer to, registers ACME accounts, writes Ready.
#include "base/strings.h"
#include "certs/acme_client.h"
#include "certs/certificate.h"
#include "certs/context.h"

namespace caravel::certs {
namespace {

class IssuerController {
 public:
  explicit IssuerController(Context& c) : c_(c) {}
  // The key is "ns/name" for an Issuer and "name" for a ClusterIssuer.
  Task<Result<kube::Requeue>> reconcile(std::string key);

 private:
  Task<Result<std::string>> account_key(const json::Value& issuer);
  Task<Status> set_up_acme(const json::Value& issuer, json::Value& status);
  Task<Status> set_up_ca(const json::Value& issuer, json::Value& status);
  void say(const json::Value& issuer, json::Value& status, bool ready, std::string reason, std::string message) {
    bool changed = kube::set_condition(status["conditions"], "Ready", ready ? "True" : "False", reason, message, c_.loop.now(), issuer["metadata"]["generation"].as_int());
    if (changed && !ready) c_.events.warning(c_.about(issuer), reason, message);
  }
  Context& c_;
};

Task<Result<kube::Requeue>> IssuerController::reconcile(std::string key) {
  kube::ObjectKey object = kube::ObjectKey::parse(key);
  auto cached = object.ns.empty() ? c_.cluster_issuers.get(object) : c_.issuers.get(object);
  if (!cached || kube::is_deleting(*cached)) co_return kube::Requeue::never();
  const json::Value& issuer = *cached;
  json::Value status = issuer["status"].is_object() ? issuer["status"] : json::Value::object();
  kube::Requeue requeue = kube::Requeue::never();
  Status result = ok();
  if (issuer["spec"]["acme"].is_object()) result = co_await set_up_acme(issuer, status);
  else if (issuer["spec"]["ca"].is_object()) result = co_await set_up_ca(issuer, status);
  else if (issuer["spec"]["selfSigned"].is_object()) say(issuer, status, true, "IsReady", "");
  else say(issuer, status, false, "UnsupportedIssuer", "the issuer has none of acme, ca, selfSigned");
  if (!result.ok()) requeue = kube::Requeue::in(3s);
  const kube::Resource& resource = object.ns.empty() ? kClusterIssuers : kIssuers;
  CO_TRY_VOID(co_await write_status(c_, resource, issuer, status));
  co_return requeue;
}

Task<Result<std::string>> IssuerController::account_key(const json::Value& issuer) {
  const json::Value& ref = issuer["spec"]["acme"]["privateKeySecretRef"];
  std::string ns = c_.secrets_namespace(issuer), name = ref["name"].as_string();
  std::string entry = ref["key"].as_string().empty() ? "tls.key" : ref["key"].as_string();
  auto secret = co_await c_.client.get(kSecrets, ns, name);
  if (secret.ok()) {
    std::string pem = secret_data(*secret, entry);
    if (!pem.empty()) co_return pem;
    co_return invalid("Secret " + ns + "/" + name + " has no \"" + entry + "\"");
  }
  if (secret.error().code != Code::kNotFound) co_return std::move(secret).error();
  CO_TRY(std::string pem, net::generate_key(net::KeyType::kEcdsaP256));
  json::Value made = json::Value::object();
  made["apiVersion"] = "v1";
  made["kind"] = "Secret";
  made["metadata"]["name"] = name;
  made["metadata"]["namespace"] = ns;
  made["type"] = "Opaque";
  made["data"][entry] = base64_encode(pem);
  auto r = co_await c_.client.create(kSecrets, ns, std::move(made));
  if (!r.ok()) co_return std::move(r).error();
  co_return pem;
}

Task<Status> IssuerController::set_up_acme(const json::Value& issuer, json::Value& status) {
  const json::Value& acme = issuer["spec"]["acme"];
  std::string server = acme["server"].as_string(), email = acme["email"].as_string();
  auto key = co_await account_key(issuer);
  if (!key.ok()) {
    say(issuer, status, false, "ErrRegisterACMEAccount", "Failed to read or make the ACME account key: " + key.error().message);
    co_return std::move(key).error();
  }
  bool registered = !status["acme"]["uri"].as_string().empty() && status["acme"]["lastRegisteredEmail"].as_string() == email &&
                    kube::condition_is(status["conditions"], "Ready", "True") &&
                    (*kube::find_condition(status["conditions"], "Ready"))["observedGeneration"].as_int() == issuer["metadata"]["generation"].as_int();
  if (registered) co_return ok();
  auto http = acme_http(c_, issuer);
  if (!http.ok()) {
    say(issuer, status, false, "ErrInitIssuer", http.error().message);
    co_return std::move(http).error();
  }
  AcmeClient client(**http, server, *key);
  auto url = co_await client.register_account(email);
  if (!url.ok()) {
    say(issuer, status, false, "ErrRegisterACMEAccount", "Failed to register ACME account: " + url.error().message);
    co_return std::move(url).error();
  }
  status["acme"]["uri"] = *url;
  status["acme"]["lastRegisteredEmail"] = email;
  say(issuer, status, true, "ACMEAccountRegistered", "The ACME account was registered with the ACME server");
  co_return ok();
}

Task<Status> IssuerController::set_up_ca(const json::Value& issuer, json::Value& status) {
  std::string ns = c_.secrets_namespace(issuer), name = issuer["spec"]["ca"]["secretName"].as_string();
  auto secret = co_await c_.client.get(kSecrets, ns, name);
  std::string why;
  if (!secret.ok()) why = "Error getting keypair for CA issuer: " + secret.error().message;
  else {
    auto info = net::parse_certificate(secret_data(*secret, "tls.crt"));
    if (!info.ok()) why = "Error getting keypair for CA issuer: " + info.error().message;
    else if (!info->is_ca) why = "Error getting keypair for CA issuer: certificate is not a CA";
    else if (!net::key_matches_certificate(secret_data(*secret, "tls.key"), secret_data(*secret, "tls.crt"))) why = "Error getting keypair for CA issuer: the key does not belong to the certificate";
  }
  if (!why.empty()) {
    say(issuer, status, false, "ErrGetKeyPair", why);
    co_return invalid(why);
  }
  say(issuer, status, true, "KeyPairVerified", "Signing CA verified");
  co_return ok();
}

}  // namespace

std::unique_ptr<kube::Controller> make_issuer_controller(Context& c) {
  auto self = std::make_shared<IssuerController>(c);
  auto controller = std::make_unique<kube::Controller>(c.loop, "issuers", [self](std::string key) { return self->reconcile(std::move(key)); });
  auto* queue = controller.get();
  auto enqueue = [queue](auto& old, auto& now) { queue->enqueue(kube::key_of(now ? *now : *old)); };
  c.issuers.add_handler(enqueue);
  c.cluster_issuers.add_handler(enqueue);
  return controller;
}

}  // namespace caravel::certs
