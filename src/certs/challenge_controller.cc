// ACME Challenges, HTTP-01: present the answer through the cluster's own ingress, check that it is
// reachable the way the ACME server will reach it, accept, wait for the verdict, clean up.
#include "base/strings.h"
#include "certs/acme_client.h"
#include "certs/context.h"
#include "certs/solvers.h"

namespace caravel::certs {
namespace {

constexpr Duration kSelfCheckInterval = std::chrono::milliseconds(500);
constexpr Duration kVerdictInterval = std::chrono::milliseconds(500);
// In a row, each over a connection of its own: every ingress replica should have the answer (upstream: 5, 2 s apart).
constexpr int kSelfChecksNeeded = 10;
constexpr Duration kBetweenSelfChecks = 50ms;
constexpr size_t kAnswerBytesMax = 4096;

bool is_final(const std::string& state) { return state == "valid" || state == "invalid" || state == "expired" || state == "errored"; }

class ChallengeController {
 public:
  explicit ChallengeController(Context& c) : c_(c) {}
  Task<Result<kube::Requeue>> reconcile(std::string key);

 private:
  Task<Status> present(const json::Value& challenge);
  Task<Status> create_if_absent(const kube::Resource& resource, json::Value object);
  Task<Status> clean_up(const json::Value& challenge);
  // "" when the name serves the key; else why not.
  Task<std::string> self_check(const json::Value& challenge);
  Context& c_;
};

Task<Status> ChallengeController::create_if_absent(const kube::Resource& resource, json::Value object) {
  std::string ns = kube::namespace_of(object), name = kube::name_of(object);
  auto made = co_await c_.client.create(resource, ns, std::move(object));
  if (!made.ok() && made.error().code != Code::kAlreadyExists) co_return wrap(std::move(made).error(), "making the solver's " + resource.kind + " " + ns + "/" + name);
  co_return ok();
}

Task<Status> ChallengeController::present(const json::Value& challenge) {
  CO_TRY_VOID(co_await create_if_absent(kPods, solver_pod(challenge, c_.settings)));
  CO_TRY_VOID(co_await create_if_absent(kServices, solver_service(challenge)));
  CO_TRY_VOID(co_await create_if_absent(kIngresses, solver_ingress(challenge)));
  co_return ok();
}

Task<Status> ChallengeController::clean_up(const json::Value& challenge) {
  std::string ns = kube::namespace_of(challenge);
  std::string name = kube::name_of(solver_service(challenge));
  for (auto* resource : {&kIngresses, &kServices, &kPods}) {
    auto removed = co_await c_.client.remove(*resource, ns, name);
    if (!removed.ok() && removed.error().code != Code::kNotFound) co_return std::move(removed).error();
  }
  json::Value updated = challenge;
  json::Value kept = json::Value::array();
  for (auto& f : challenge["metadata"]["finalizers"].as_array())
    if (f.as_string() != kChallengeFinalizer) kept.push_back(f);
  updated["metadata"]["finalizers"] = std::move(kept);
  auto written = co_await c_.client.update(kChallenges, std::move(updated));
  if (!written.ok() && written.error().code != Code::kNotFound) co_return std::move(written).error();
  co_return ok();
}

Task<std::string> ChallengeController::self_check(const json::Value& challenge) {
  const json::Value& spec = challenge["spec"];
  net::TlsClientOptions tls;
  tls.insecure = true;  // as upstream: a redirect to HTTPS with any certificate is accepted
  net::HttpClientOptions options;
  auto context = net::make_tls_client(tls);
  if (!context.ok()) co_return context.error().message;
  options.tls = *context;
  net::HttpClient http(c_.loop, options);
  std::string url = "http://" + spec["dnsName"].as_string() + "/.well-known/acme-challenge/" + spec["token"].as_string();
  for (int i = 0; i < kSelfChecksNeeded; ++i) {
    net::ClientRequest request;
    request.url = url;
    request.timeout = 5s;
    request.headers.set("user-agent", "cert-manager-challenges/v1 (caravel)");
    request.headers.set("connection", "close");
    auto r = co_await http.send(std::move(request), kAnswerBytesMax);
    if (!r.ok()) co_return "failed to perform self check GET request '" + url + "': " + r.error().message;
    if (r->status != 200) co_return "wrong status code '" + std::to_string(r->status) + "', expected '200'";
    if (trim(r->body) != spec["key"].as_string()) co_return "did not get expected response when querying endpoint";
    co_await sleep(c_.loop, kBetweenSelfChecks);
  }
  co_return "";
}

Task<Result<kube::Requeue>> ChallengeController::reconcile(std::string key) {
  auto cached = c_.challenges.get(kube::ObjectKey::parse(key));
  if (!cached) co_return kube::Requeue::never();
  const json::Value& challenge = *cached;
  if (kube::is_deleting(challenge)) {
    if (kube::has_finalizer(challenge, kChallengeFinalizer)) CO_TRY_VOID(co_await clean_up(challenge));
    co_return kube::Requeue::never();
  }
  json::Value status = challenge["status"].is_object() ? challenge["status"] : json::Value::object();
  if (is_final(status["state"].as_string())) co_return kube::Requeue::never();
  auto issuer = c_.find_issuer(challenge["spec"]["issuerRef"], kube::namespace_of(challenge));
  if (!issuer) co_return kube::Requeue::in(2s);
  CO_TRY(auto acme, co_await open_account(c_, *issuer));
  kube::Requeue requeue = kube::Requeue::never();
  status["processing"] = true;

  CO_TRY(AcmeChallenge now, co_await acme.client->get_challenge(challenge["spec"]["url"].as_string()));
  status["state"] = now.status;
  if (now.status == "pending") {
    if (challenge["spec"]["type"].as_string() != "HTTP-01") {
      status["state"] = "errored";
      status["reason"] = "only HTTP-01 solvers can be presented here; use solvers[].http01.ingress";
    } else {
      bool presented = status["presented"].as_bool();
      CO_TRY_VOID(co_await present(challenge));
      status["presented"] = true;
      if (!presented) {
        status["presentedAt"] = format_rfc3339(c_.loop.now());
        c_.events.normal(c_.about(challenge), "Presented", "Presented challenge using HTTP-01 challenge mechanism");
      }
      std::string why = co_await self_check(challenge);
      if (!why.empty()) {
        status["reason"] = "Waiting for HTTP-01 challenge propagation: " + why;
        requeue = kube::Requeue::in(kSelfCheckInterval);
      } else {
        CO_TRY(now, co_await acme.client->accept_challenge(challenge["spec"]["url"].as_string()));
        status["state"] = now.status == "pending" ? "processing" : now.status;
        requeue = kube::Requeue::in(kVerdictInterval);
      }
    }
  } else if (now.status == "processing") {
    requeue = kube::Requeue::in(kVerdictInterval);
  }
  if (now.status == "valid") {
    status["reason"] = "Successfully authorized domain";
    c_.events.normal(c_.about(challenge), "DomainVerified", "Domain \"" + challenge["spec"]["dnsName"].as_string() + "\" verified with \"HTTP-01\" validation");
  } else if (now.status == "invalid") {
    status["reason"] = "Error accepting authorization: " + now.error;
    c_.events.warning(c_.about(challenge), "Failed", status["reason"].as_string());
  }
  if (is_final(status["state"].as_string())) status["processing"] = false;
  CO_TRY_VOID(co_await write_status(c_, kChallenges, challenge, status));
  co_return requeue;
}

}  // namespace

std::unique_ptr<kube::Controller> make_challenge_controller(Context& c) {
  auto self = std::make_shared<ChallengeController>(c);
  auto controller = std::make_unique<kube::Controller>(
      c.loop, "challenges", [self](std::string key) { return self->reconcile(std::move(key)); }, 4);
  auto* queue = controller.get();
  c.challenges.add_handler([queue](auto& old, auto& now) { queue->enqueue(kube::key_of(now ? *now : *old)); });
  return controller;
}

}  // namespace caravel::certs
