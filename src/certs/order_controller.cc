// ACME Orders: create the order, a Challenge for each pending authorization, finalize, download.
#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"
#include "certs/acme_client.h"
#include "certs/certificate.h"
#include "certs/context.h"
#include "certs/solvers.h"

namespace caravel::certs {
namespace {

constexpr Duration kPollInterval = std::chrono::seconds(1);

class OrderController {
 public:
  explicit OrderController(Context& c) : c_(c) {}
  Task<Result<kube::Requeue>> reconcile(std::string key);

 private:
  Task<Result<kube::Requeue>> advance(const json::Value& order, const json::Value& issuer, AcmeClient& acme, json::Value& status);
  Task<Status> make_challenges(const json::Value& order, const json::Value& issuer, AcmeClient& acme, json::Value& status);
  Task<Status> drop_challenges(const json::Value& order);
  void end(const json::Value& order, json::Value& status, std::string state, std::string reason);
  Context& c_;
};

void OrderController::end(const json::Value& order, json::Value& status, std::string state, std::string reason) {
  status["state"] = state;
  if (!reason.empty()) status["reason"] = reason;
  if (state != "valid") {
    status["failureTime"] = format_rfc3339(c_.loop.now());
    c_.events.warning(c_.about(order), "Failed", "Order is in state \"" + state + "\": " + reason);
  } else {
    c_.events.normal(c_.about(order), "Complete", "Order completed successfully");
  }
}

Task<Result<kube::Requeue>> OrderController::reconcile(std::string key) {
  auto cached = c_.orders.get(kube::ObjectKey::parse(key));
  if (!cached || kube::is_deleting(*cached)) co_return kube::Requeue::never();
  const json::Value& order = *cached;
  json::Value status = order["status"].is_object() ? order["status"] : json::Value::object();
  std::string state = status["state"].as_string();
  bool done = (state == "valid" && !status["certificate"].as_string().empty()) || state == "invalid" || state == "expired" || state == "errored";
  if (done) {
    CO_TRY_VOID(co_await drop_challenges(order));
    co_return kube::Requeue::never();
  }
  auto issuer = c_.find_issuer(order["spec"]["issuerRef"], kube::namespace_of(order));
  if (!issuer || !kube::condition_is((*issuer)["status"]["conditions"], "Ready", "True")) co_return kube::Requeue::in(2s);
  CO_TRY(auto acme, co_await open_account(c_, *issuer));
  auto result = co_await advance(order, *issuer, *acme.client, status);
  if (!result.ok() && result.error().code == Code::kInvalid) {
    // The ACME server refused for good (4xx): the order has failed.
    end(order, status, "errored", "Failed to create Order: " + result.error().message);
    result = kube::Requeue::never();
  }
  CO_TRY_VOID(co_await write_status(c_, kOrders, order, status));
  co_return result;
}

Task<Result<kube::Requeue>> OrderController::advance(const json::Value& order, const json::Value& issuer, AcmeClient& acme, json::Value& status) {
  const json::Value& spec = order["spec"];
  if (status["url"].as_string().empty()) {
    std::vector<std::string> names, ips;
    for (auto& d : spec["dnsNames"].as_array()) names.push_back(d.as_string());
    std::string cn = spec["commonName"].as_string();
    if (!cn.empty() && std::find(names.begin(), names.end(), cn) == names.end()) names.push_back(cn);
    for (auto& ip : spec["ipAddresses"].as_array()) ips.push_back(ip.as_string());
    CO_TRY(AcmeOrder made, co_await acme.new_order(names, ips));
    status["url"] = made.url;
    status["finalizeURL"] = made.finalize_url;
    status["state"] = made.status;
    status["authorizations"] = json::Value::array();
    for (auto& url : made.authorizations) {
      CO_TRY(AcmeAuthorization a, co_await acme.get_authorization(url));
      json::Value entry = json::Value::object();
      entry["url"] = a.url;
      entry["identifier"] = a.identifier;
      entry["initialState"] = a.status;
      entry["wildcard"] = a.wildcard;
      entry["challenges"] = json::Value::array();
      for (auto& ch : a.challenges) {
        json::Value c = json::Value::object();
        c["type"] = ch.type;
        c["url"] = ch.url;
        c["token"] = ch.token;
        entry["challenges"].push_back(std::move(c));
      }
      status["authorizations"].push_back(std::move(entry));
    }
  }
  CO_TRY(AcmeOrder now, co_await acme.get_order(status["url"].as_string()));
  status["state"] = now.status;
  if (now.status == "pending") {
    CO_TRY_VOID(co_await make_challenges(order, issuer, acme, status));
    // The challenges' progress wakes us; yet the server may call the order pending for a moment after it has
    // called the last challenge valid.
    bool all_final = true;
    for (auto& [key, challenge] : c_.challenges.all())
      if (kube::is_owned_by(*challenge, kube::uid_of(order))) all_final = all_final && (*challenge)["status"]["state"].as_string() == "valid";
    co_return kube::Requeue::in(all_final ? kPollInterval : kLookInterval);
  }
  if (now.status == "ready") {
    std::string csr = base64_decode(spec["request"].as_string()).value_or("");
    CO_TRY(now, co_await acme.finalize(now, csr));
    status["state"] = now.status;
  }
  if (now.status == "valid") {
    CO_TRY(std::string chain, co_await acme.download(now.certificate_url));
    status["certificate"] = base64_encode(chain);
    end(order, status, "valid", "");
    co_return kube::Requeue::never();
  }
  if (now.status == "invalid") {
    std::string why = now.error;
    for (auto& [key, challenge] : c_.challenges.all())
      if (kube::is_owned_by(*challenge, kube::uid_of(order)) && (*challenge)["status"]["state"].as_string() == "invalid")
        why = (*challenge)["status"]["reason"].as_string();
    end(order, status, "invalid", why);
    co_return kube::Requeue::never();
  }
  co_return kube::Requeue::in(kPollInterval);
}

Task<Status> OrderController::make_challenges(const json::Value& order, const json::Value& issuer, AcmeClient& acme, json::Value& status) {
  std::string ns = kube::namespace_of(order);
  for (auto& authorization : status["authorizations"].as_array()) {
    if (authorization["initialState"].as_string() == "valid") continue;
    auto chosen = choose_solver(issuer, order, authorization);
    if (!chosen.ok()) co_return std::move(chosen).error();
    std::string token = chosen->challenge["token"].as_string();
    CO_TRY(std::string key_authorization, acme.key_authorization(token));
    json::Value c = json::Value::object();
    c["apiVersion"] = "acme.cert-manager.io/v1";
    c["kind"] = "Challenge";
    std::string name = kube::name_of(order) + "-" + std::to_string(fnv32(authorization["identifier"].as_string() + token));
    c["metadata"]["name"] = name;
    c["metadata"]["namespace"] = ns;
    c["metadata"]["finalizers"] = json::Value::array({kChallengeFinalizer});
    c["metadata"]["ownerReferences"].push_back(kube::controller_reference(order));
    json::Value& spec = c["spec"];
    spec["authorizationURL"] = authorization["url"];
    spec["url"] = chosen->challenge["url"];
    spec["type"] = chosen->challenge["type"].as_string() == "dns-01" ? "DNS-01" : "HTTP-01";
    spec["dnsName"] = authorization["identifier"];
    spec["token"] = token;
    spec["key"] = key_authorization;
    spec["wildcard"] = authorization["wildcard"];
    spec["solver"] = chosen->solver;
    spec["issuerRef"] = order["spec"]["issuerRef"];
    if (c_.challenges.get(ns, name)) continue;
    auto made = co_await c_.client.create(kChallenges, ns, std::move(c));
    if (!made.ok()) {
      if (made.error().code == Code::kAlreadyExists) continue;
      co_return std::move(made).error();
    }
    c_.events.normal(c_.about(order), "Created", "Created Challenge resource \"" + name + "\" for domain \"" + authorization["identifier"].as_string() + "\"");
  }
  co_return ok();
}

Task<Status> OrderController::drop_challenges(const json::Value& order) {
  std::vector<kube::ObjectKey> mine;
  for (auto& [key, challenge] : c_.challenges.all())
    if (kube::is_owned_by(*challenge, kube::uid_of(order)) && !kube::is_deleting(*challenge)) mine.push_back(key);
  for (auto& key : mine) {
    auto removed = co_await c_.client.remove(kChallenges, key.ns, key.name);
    if (!removed.ok() && removed.error().code != Code::kNotFound) co_return std::move(removed).error();
  }
  co_return ok();
}

}  // namespace

std::unique_ptr<kube::Controller> make_order_controller(Context& c) {
  auto self = std::make_shared<OrderController>(c);
  auto controller = std::make_unique<kube::Controller>(
      c.loop, "orders", [self](std::string key) { return self->reconcile(std::move(key)); }, 2);
  auto* queue = controller.get();
  c.orders.add_handler([queue](auto& old, auto& now) { queue->enqueue(kube::key_of(now ? *now : *old)); });
  c.challenges.add_handler([queue](auto& old, auto& now) {
    const json::Value& challenge = now ? *now : *old;
    for (auto& owner : challenge["metadata"]["ownerReferences"].as_array()) queue->enqueue(kube::ObjectKey{kube::namespace_of(challenge), owner["name"].as_string()});
  });
  return controller;
}

}  // namespace caravel::certs
