#include "ingress/controller.h"

#include "net/x509.h"

namespace caravel::ingress {
namespace {

const kube::Resource kIngresses{"networking.k8s.io", "v1", "ingresses", "Ingress", true};
const kube::Resource kIngressClasses{"networking.k8s.io", "v1", "ingressclasses", "IngressClass", false};
const kube::Resource kServices{"", "v1", "services", "Service", true};
const kube::Resource kEndpointSlices{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};
const kube::Resource kSecrets{"", "v1", "secrets", "Secret", true};
const kube::Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap", true};

// Changes that come together are taken together; a single one waits no longer than this.
constexpr Duration kSettle = std::chrono::milliseconds(50);
constexpr Duration kRetry = std::chrono::seconds(2);
constexpr Duration kDrain = std::chrono::seconds(20);

kube::InformerOptions tls_secrets_only() {
  kube::InformerOptions o;
  o.field_selector = "type=kubernetes.io/tls";
  return o;
}

kube::InformerOptions named(const std::string& key) {
  kube::InformerOptions o;
  auto k = kube::ObjectKey::parse(key);
  o.ns = k.ns;
  o.field_selector = "metadata.name=" + k.name;
  return o;
}

Objects values(const kube::DynamicInformer& i) {
  Objects out;
  for (auto& [k, v] : i.all()) out.push_back(v);
  return out;
}

}  // namespace

IngressController::IngressController(net::EventLoop& loop, kube::Client client, ControllerSettings settings)
    : loop_(loop), client_(client), settings_(std::move(settings)), events_(loop, client, "nginx-ingress-controller"), ingresses_(loop, client, kIngresses), classes_(loop, client, kIngressClasses), services_(loop, client, kServices), slices_(loop, client, kEndpointSlices), secrets_(loop, client, kSecrets, tls_secrets_only()), config_maps_(loop, client, kConfigMaps, named(settings_.config_map)), changed_(loop), nginx_(loop, settings_.paths, settings_.nginx) {}

Inputs IngressController::inputs() const {
  Inputs in;
  in.ingresses = values(ingresses_);
  in.classes = values(classes_);
  in.services = values(services_);
  in.slices = values(slices_);
  in.secrets = values(secrets_);
  in.controller = settings_.controller_class;
  in.default_ssl_secret = settings_.default_ssl_secret;
  if (!settings_.config_map.empty())
    if (auto cm = config_maps_.get(kube::ObjectKey::parse(settings_.config_map)))
      for (auto& m : (*cm)["data"].as_object()) in.settings[m.key] = m.value.as_string();
  return in;
}

// What answers for names without a certificate of their own, as upstream's "Kubernetes Ingress Controller
// Fake Certificate".
Task<Status> IngressController::make_fallback_certificate() {
  CO_TRY(fallback_key_, net::generate_key(net::KeyType::kEcdsaP256));
  net::CertificateSpec spec;
  spec.names.common_name = "Kubernetes Ingress Controller Fake Certificate";
  spec.names.organizations = {"Acme Co"};
  spec.names.dns_names = {"ingress.local"};
  spec.not_before = loop_.now() - std::chrono::hours(1);
  spec.not_after = loop_.now() + std::chrono::hours(24 * 365);
  spec.server_auth = true;
  CO_TRY(fallback_certificate_, net::make_certificate(spec, fallback_key_, "", ""));
  co_return ok();
}

Task<void> IngressController::sync_loop() {
  while (true) {
    changed_.reset();
    Inputs in = inputs();
    model_ = build_model(in);
    if (model_.default_certificate.empty()) {
      model_.default_certificate = fallback_certificate_;
      model_.default_key = fallback_key_;
    }
    for (auto& p : model_.problems) {
      std::string& last = reported_[p.ingress];
      if (last == p.message) continue;
      last = p.message;
      log_.warn(p.message, {{"ingress", p.ingress.text()}});
      if (auto i = ingresses_.get(p.ingress)) events_.warning(kube::reference_to(*i), "Rejected", p.message);
    }
    NginxFiles files = render(model_, settings_.paths, in.settings);
    auto applied = co_await nginx_.apply(std::move(files));
    if (applied.ok()) synced_ = true;
    else log_.error("cannot apply the configuration; the last good one goes on", {{"error", applied.error().message}});
    co_await changed_.wait(applied.ok() ? std::optional<Duration>(std::chrono::seconds(30)) : std::optional<Duration>(kRetry));
    co_await sleep(loop_, kSettle);
  }
}

Task<void> IngressController::run(StopToken stop) {
  auto made = co_await make_fallback_certificate();
  if (!made.ok()) log_.error("no fallback certificate", {{"error", made.error().message}});
  TaskScope scope;
  std::vector<kube::DynamicInformer*> informers = {&ingresses_, &classes_, &services_, &slices_, &secrets_};
  if (!settings_.config_map.empty()) informers.push_back(&config_maps_);
  for (auto* i : informers) {
    i->add_handler([this](auto&, auto&) { changed_.set(); });
    i->start(scope);
  }
  for (auto* i : informers) co_await i->wait_synced();
  scope.spawn(sync_loop());
  co_await stop.wait(loop_);
  co_await nginx_.stop(kDrain);
}

json::Value IngressController::published_addresses() const {
  json::Value out = json::Value::array();
  auto service = services_.get(kube::ObjectKey::parse(settings_.publish_service));
  if (!service) return out;
  const json::Value& lb = service->path({"status", "loadBalancer", "ingress"});
  if (lb.size()) {
    for (auto& a : lb.as_array()) {
      json::Value entry = json::Value::object();
      if (a["hostname"].is_string()) entry["hostname"] = a["hostname"];
      if (a["ip"].is_string()) entry["ip"] = a["ip"];
      out.push_back(std::move(entry));
    }
    return out;
  }
  for (auto& ip : service->path({"spec", "externalIPs"}).as_array()) {
    json::Value entry = json::Value::object();
    entry["ip"] = ip;
    out.push_back(std::move(entry));
  }
  if (!out.size() && service->path({"spec", "clusterIP"}).is_string() && service->path({"spec", "clusterIP"}).as_string() != "None") {
    json::Value entry = json::Value::object();
    entry["ip"] = service->path({"spec", "clusterIP"});
    out.push_back(std::move(entry));
  }
  return out;
}

Task<void> IngressController::write_statuses(StopToken lost) {
  while (!lost.stopped()) {
    json::Value addresses = published_addresses();
    if (synced_ && !settings_.publish_service.empty() && addresses.size()) {
      std::vector<kube::ObjectKey> keys = model_.ours;
      for (auto& key : keys) {
        auto i = ingresses_.get(key);
        if (!i || i->path({"status", "loadBalancer", "ingress"}) == addresses) continue;
        json::Value updated = *i;
        updated["status"]["loadBalancer"]["ingress"] = addresses;
        kube::WriteOptions options;
        options.subresource = "status";
        auto r = co_await client_.update(kIngresses, std::move(updated), options);
        if (!r.ok() && r.error().code != Code::kConflict && r.error().code != Code::kNotFound)
          log_.warn("cannot write the status", {{"ingress", key.text()}, {"error", r.error().message}});
        else if (r.ok()) events_.normal(kube::reference_to(*i), "Sync", "Scheduled for sync");
      }
    }
    bool stopped = co_await lost.sleep(loop_, std::chrono::seconds(1));
    if (stopped) break;
  }
}

}  // namespace caravel::ingress
