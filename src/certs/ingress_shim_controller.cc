// The shell of ingress-shim: keeps the Certificates that each Ingress wants.
#include "certs/context.h"
#include "certs/ingress_shim.h"

namespace caravel::certs {
namespace {

class IngressShim {
 public:
  explicit IngressShim(Context& c) : c_(c) {}

  Task<Result<kube::Requeue>> reconcile(std::string key) {
    auto ingress = c_.ingresses.get(kube::ObjectKey::parse(key));
    if (!ingress) co_return kube::Requeue::never();  // the garbage collector removes what it owned
    auto wanted = certificates_of_ingress(*ingress);
    if (!wanted.ok()) {
      c_.events.warning(c_.about(*ingress), "BadConfig", wanted.error().message);
      co_return kube::Requeue::never();
    }
    if (!wanted->managed) co_return kube::Requeue::never();
    for (auto& problem : wanted->problems) c_.events.warning(c_.about(*ingress), "BadConfig", problem);
    std::string ns = kube::namespace_of(*ingress);
    for (auto& certificate : wanted->certificates) {
      std::string name = kube::name_of(certificate);
      auto existing = c_.certificates.get(ns, name);
      if (!existing) {
        auto made = co_await c_.client.create(kCertificates, ns, certificate);
        if (!made.ok() && made.error().code != Code::kAlreadyExists) co_return std::move(made).error();
        c_.events.normal(c_.about(*ingress), "CreateCertificate", "Successfully created Certificate \"" + name + "\"");
        continue;
      }
      if (!kube::is_owned_by(*existing, kube::uid_of(*ingress))) continue;
      auto updated = shim_update(*existing, certificate);
      if (!updated) continue;
      auto written = co_await c_.client.update(kCertificates, std::move(*updated));
      if (!written.ok()) co_return std::move(written).error();
      c_.events.normal(c_.about(*ingress), "UpdateCertificate", "Successfully updated Certificate \"" + name + "\"");
    }
    std::vector<std::string> unwanted;
    for (auto& [k, existing] : c_.certificates.all()) {
      if (k.ns != ns || !kube::is_owned_by(*existing, kube::uid_of(*ingress))) continue;
      if (!wanted->secrets_named.count((*existing)["spec"]["secretName"].as_string())) unwanted.push_back(k.name);
    }
    for (auto& name : unwanted) {
      auto removed = co_await c_.client.remove(kCertificates, ns, name);
      if (!removed.ok() && removed.error().code != Code::kNotFound) co_return std::move(removed).error();
      c_.events.normal(c_.about(*ingress), "DeleteCertificate", "Successfully deleted unrequired Certificate \"" + name + "\"");
    }
    co_return kube::Requeue::never();
  }

 private:
  Context& c_;
};

}  // namespace

std::unique_ptr<kube::Controller> make_ingress_shim(Context& c) {
  auto self = std::make_shared<IngressShim>(c);
  auto controller = std::make_unique<kube::Controller>(c.loop, "ingress-shim", [self](std::string key) { return self->reconcile(std::move(key)); });
  auto* queue = controller.get();
  c.ingresses.add_handler([queue](auto& old, auto& now) { queue->enqueue(kube::key_of(now ? *now : *old)); });
  c.certificates.add_handler([queue](auto& old, auto& now) {
    const json::Value& certificate = now ? *now : *old;
    for (auto& owner : certificate["metadata"]["ownerReferences"].as_array())
      if (owner["kind"].as_string() == "Ingress") queue->enqueue(kube::ObjectKey{kube::namespace_of(certificate), owner["name"].as_string()});
  });
  return controller;
}

}  // namespace caravel::certs
