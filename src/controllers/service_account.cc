// What every namespace gets: the ServiceAccount "default" and the ConfigMap kube-root-ca.crt.
#include "controllers/common.h"
#include "controllers/context.h"

namespace caravel::controllers {

using kube::core::ConfigMap;
using kube::core::Namespace;
using kube::core::ServiceAccount;

namespace {

bool is_living(const std::shared_ptr<const Namespace>& ns) { return ns && !is_terminating(ns->metadata) && ns->status.phase != "Terminating"; }
// Gone or going away meanwhile: not a failure.
bool is_refusal_by_end(const Error& e) {
  return e.code == Code::kAlreadyExists || e.code == Code::kNotFound || e.message.find("is being terminated") != std::string::npos;
}

class ServiceAccountController final : public Runner {
 public:
  explicit ServiceAccountController(const Context& c)
      : client_(c.client("service-account-controller")),
        namespaces_(c.informer<Namespace>()),
        accounts_(c.informer<ServiceAccount>()),
        queue_(c.ex, "service-account-controller", [this](std::string key) { return sync(std::move(key)); }) {
    namespaces_.add_handler([this](auto&, auto& now) {
      if (now) queue_.enqueue(now->metadata.name);
    });
    accounts_.add_handler([this](auto& old, auto& now) {
      if (!now && old->metadata.name == "default") queue_.enqueue(old->metadata.namespace_);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string ns) {
    if (!is_living(namespaces_.get("", ns)) || accounts_.get(ns, "default")) co_return kube::Requeue::never();
    ServiceAccount a;
    a.metadata.name = "default";
    a.metadata.namespace_ = ns;
    Result<ServiceAccount> r = co_await client_.create<ServiceAccount>(std::move(a));
    if (!r.ok() && !is_refusal_by_end(r.error())) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  kube::Client client_;
  kube::Informer<Namespace>& namespaces_;
  kube::Informer<ServiceAccount>& accounts_;
  kube::Controller queue_;
};

class RootCaController final : public Runner {
 public:
  explicit RootCaController(const Context& c)
      : ca_(c.options.root_ca),
        client_(c.client("root-ca-cert-publisher")),
        namespaces_(c.informer<Namespace>()),
        maps_(c.informer<ConfigMap>()),
        queue_(c.ex, "root-ca-cert-publisher", [this](std::string key) { return sync(std::move(key)); }) {
    namespaces_.add_handler([this](auto&, auto& now) {
      if (now) queue_.enqueue(now->metadata.name);
    });
    maps_.add_handler([this](auto& old, auto& now) {
      const ConfigMap& m = now ? *now : *old;
      if (m.metadata.name == kName) queue_.enqueue(m.metadata.namespace_);
    });
  }
  void start(TaskScope& scope) override {
    if (!ca_.empty()) queue_.start(scope);
  }

 private:
  static constexpr const char* kName = "kube-root-ca.crt";
  static constexpr const char* kDescription = "kubernetes.io/description";
  Task<Result<kube::Requeue>> sync(std::string ns) {
    if (!is_living(namespaces_.get("", ns))) co_return kube::Requeue::never();
    std::shared_ptr<const ConfigMap> had = maps_.get(ns, kName);
    std::map<std::string, std::string> data;
    data["ca.crt"] = ca_;
    // A description of the user's own words stays.
    const bool described = had && had->metadata.annotations.count(kDescription) && !had->metadata.annotations.at(kDescription).empty();
    if (described && had->data == data) co_return kube::Requeue::never();
    ConfigMap next;
    if (had) next = *had;
    next.metadata.name = kName;
    next.metadata.namespace_ = ns;
    next.metadata.annotations[kDescription] =
        "CA certificates that verify the API server at its addresses inside the cluster (kubernetes.default.svc).";
    next.data = data;
    Result<ConfigMap> r = make_error(Code::kInternal, "");
    if (had) r = co_await client_.update<ConfigMap>(std::move(next));
    else r = co_await client_.create<ConfigMap>(std::move(next));
    if (!r.ok() && !is_refusal_by_end(r.error())) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  std::string ca_;
  kube::Client client_;
  kube::Informer<Namespace>& namespaces_;
  kube::Informer<ConfigMap>& maps_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_service_account(const Context& c) { return std::make_unique<ServiceAccountController>(c); }
std::unique_ptr<Runner> make_root_ca(const Context& c) { return std::make_unique<RootCaController>(c); }

}  // namespace caravel::controllers
