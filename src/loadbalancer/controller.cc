#include "loadbalancer/controller.h"

#include "base/strings.h"

namespace caravel::loadbalancer {
namespace {

const kube::Resource kServices{"", "v1", "services", "Service", true};
const kube::Resource kIngresses{"networking.k8s.io", "v1", "ingresses", "Ingress", true};
const kube::Resource kClasses{"networking.k8s.io", "v1", "ingressclasses", "IngressClass", false};
const kube::Resource kSlices{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};
constexpr char kServiceFinalizer[] = "service.k8s.aws/resources";
constexpr char kIngressFinalizer[] = "ingress.k8s.aws/resources";
constexpr Duration kRetry = std::chrono::seconds(2);

Objects values(const kube::DynamicInformer& i) {
  Objects out;
  for (auto& [k, v] : i.all()) out.push_back(v);
  return out;
}

}  // namespace

LoadBalancerController::LoadBalancerController(Executor& ex, kube::Client client, aws::Client& aws, std::string cluster)
    : ex_(ex), client_(client), deployer_(aws, std::move(cluster)), service_events_(ex, client, "service"), ingress_events_(ex, client, "ingress"), services_(ex, client, kServices), ingresses_(ex, client, kIngresses), classes_(ex, client, kClasses), slices_(ex, client, kSlices), queue_(
                                                                                                                                                                                                                                                                                            ex, "load-balancers", [this](std::string key) { return reconcile(std::move(key)); }, 2) {}

void LoadBalancerController::enqueue_for_slice(const json::Value& slice) {
  std::string ns = kube::namespace_of(slice), service = kube::label(slice, "kubernetes.io/service-name");
  queue_.enqueue("service/" + ns + "/" + service);
  for (auto& [key, ingress] : ingresses_.all())
    if (key.ns == ns) queue_.enqueue("ingress/" + key.text());
}

Task<void> LoadBalancerController::run(StopToken stop) {
  services_.add_handler([this](auto& old, auto& now) { queue_.enqueue("service/" + kube::key_of(now ? *now : *old).text()); });
  ingresses_.add_handler([this](auto& old, auto& now) { queue_.enqueue("ingress/" + kube::key_of(now ? *now : *old).text()); });
  slices_.add_handler([this](auto& old, auto& now) { enqueue_for_slice(now ? *now : *old); });
  TaskScope scope;
  for (auto* i : {&services_, &ingresses_, &classes_, &slices_}) i->start(scope);
  for (auto* i : {&services_, &ingresses_, &classes_, &slices_}) co_await i->wait_synced();
  queue_.start(scope);
  co_await stop.wait(ex_);
}

Task<Status> LoadBalancerController::write(kube::DynamicInformer& informer, const json::Value&, json::Value changed, bool status) {
  kube::WriteOptions options;
  if (status) options.subresource = "status";
  auto r = co_await client_.update(informer.resource(), std::move(changed), options);
  if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
  co_return ok();
}

Task<Result<kube::Requeue>> LoadBalancerController::reconcile(std::string key) {
  bool is_service = key.starts_with("service/");
  kube::ObjectKey name = kube::ObjectKey::parse(key.substr(8));
  kube::DynamicInformer& informer = is_service ? services_ : ingresses_;
  std::string finalizer = is_service ? kServiceFinalizer : kIngressFinalizer;
  std::string stack_tag = is_service ? "service.k8s.aws/stack" : "ingress.k8s.aws/stack";
  auto object = informer.get(name);
  if (!object) co_return kube::Requeue::never();
  bool wanted = is_service ? is_ours(*object) : is_alb_ingress(*object, values(classes_));
  if (kube::is_deleting(*object) || !wanted) {
    if (!kube::has_finalizer(*object, finalizer)) co_return kube::Requeue::never();
    CO_TRY_VOID(co_await deployer_.remove(stack_tag, name.text()));
    json::Value changed = *object;
    json::Value kept = json::Value::array();
    for (const json::Value& f : (*object)["metadata"]["finalizers"].as_array())
      if (f.as_string() != finalizer) kept.push_back(f);
    changed["metadata"]["finalizers"] = std::move(kept);
    CO_TRY_VOID(co_await write(informer, *object, std::move(changed), false));
    co_return kube::Requeue::never();
  }
  kube::EventRecorder& events = is_service ? service_events_ : ingress_events_;
  auto model = is_service ? balancer_of_service(*object, values(slices_)) : balancer_of_ingress(*object, values(services_), values(slices_));
  if (!model.ok()) {
    events.warning(kube::reference_to(*object), "FailedBuildModel", "Failed build model due to " + model.error().message);
    co_return kube::Requeue::never();
  }
  if (!kube::has_finalizer(*object, finalizer)) {
    json::Value changed = *object;
    changed["metadata"]["finalizers"].push_back(finalizer);
    CO_TRY_VOID(co_await write(informer, *object, std::move(changed), false));
    co_return kube::Requeue::never();  // the update wakes us again
  }
  for (auto& problem : model->problems) events.warning(kube::reference_to(*object), "UnsupportedConfiguration", problem);
  auto deployed = co_await deployer_.deploy(std::move(*model), stack_tag);
  if (!deployed.ok()) {
    events.warning(kube::reference_to(*object), "FailedDeployModel", "Failed deploy model due to " + deployed.error().message);
    Log("load-balancer").warn(deployed.error().message, {{"object", key}});
    co_return kube::Requeue::in(kRetry);
  }
  if (object->path({"status", "loadBalancer", "ingress"}).at(0)["hostname"].as_string() != deployed->dns_name) {
    json::Value changed = *object, entry = json::Value::object(), list = json::Value::array();
    entry["hostname"] = deployed->dns_name;
    list.push_back(std::move(entry));
    changed["status"]["loadBalancer"]["ingress"] = std::move(list);
    CO_TRY_VOID(co_await write(informer, *object, std::move(changed), true));
    events.normal(kube::reference_to(*object), "SuccessfullyReconciled", "Successfully reconciled");
  }
  co_return kube::Requeue::never();
}

}  // namespace caravel::loadbalancer
