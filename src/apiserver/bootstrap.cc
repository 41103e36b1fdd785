// What exists before anybody asks: the built-in kinds, namespaces, default policy, the kubernetes Service.
#include <algorithm>

#include "apiserver/admission/builtin.h"
#include "apiserver/admission/dynamic.h"
#include "apiserver/admission/policy_status.h"
#include "apiserver/aggregation/aggregator.h"
#include "apiserver/api_server.h"
#include "apiserver/builtin_model.h"
#include "apiserver/conversion.h"
#include "apiserver/crd.h"
#include "apiserver/discovery.h"
#include "apiserver/flow_control.h"
#include "apiserver/object_meta.h"
#include "apiserver/service_ip_repair.h"
#include "apiserver/strategies.h"
#include "base/strings.h"
#include "kube/kinds.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr Duration kEndpointsEvery = std::chrono::seconds(10);

std::vector<std::string> words(std::string_view list) {
  std::vector<std::string> out;
  for (auto& s : split(list, ','))
    if (!s.empty()) out.push_back(s);
  return out;
}

UserPtr server_user() {
  static const UserPtr user = make_user("system:apiserver", {"system:masters", "system:authenticated"});
  return user;
}

}  // namespace

Task<Result<std::unique_ptr<ApiServer>>> ApiServer::start(Executor& ex, store::Store& store, ApiServerOptions options) {
  std::unique_ptr<ApiServer> server(new ApiServer(ex, store, std::move(options)));
  Status s = co_await server->bring_up();
  if (!s.ok()) co_return std::move(s).error();
  co_return std::move(server);
}

Task<Status> ApiServer::bring_up() {
  auto allocator = ServiceAllocator::make(core_.ex, options_.service_cidr);
  if (!allocator.ok()) co_return std::move(allocator).error();
  services_ = std::move(*allocator);
  core_.services = services_.get();
  Status started = co_await core_.cacher.start();
  if (!started.ok()) co_return started;
  Status kinds = co_await add_builtin_kinds();
  if (!kinds.ok()) co_return kinds;
  services_->follow(core_.types.find("", "v1", "services")->storage->cache, core_.types.find("networking.k8s.io", "v1", "servicecidrs")->storage->cache,
                    core_.types.find("networking.k8s.io", "v1", "ipaddresses"));
  auto cache = [&](std::string_view group, std::string_view plural) { return core_.types.find(group, "v1", plural)->storage->cache; };
  constexpr std::string_view kRbac = "rbac.authorization.k8s.io";
  RbacCaches rbac;
  rbac.roles = cache(kRbac, "roles");
  rbac.role_bindings = cache(kRbac, "rolebindings");
  rbac.cluster_roles = cache(kRbac, "clusterroles");
  rbac.cluster_role_bindings = cache(kRbac, "clusterrolebindings");
  rbac.pods = cache("", "pods");
  rbac.service_accounts = cache("", "serviceaccounts");
  rbac.claims = cache("", "persistentvolumeclaims");
  authorizer_ = std::make_unique<Authorizer>(rbac);
  core_.authorizer = authorizer_.get();
  if (!options_.tokens.signing_key.empty()) {
    auto t = TokenIssuer::make(core_, options_.tokens);
    if (!t.ok()) co_return std::move(t).error();
    tokens_ = std::move(*t);
    core_.tokens = tokens_.get();
  }
  authenticator_ = std::make_unique<Authenticator>(core_, tokens_.get());
  constexpr std::string_view kFlowControl = "flowcontrol.apiserver.k8s.io";
  flow_ = std::make_unique<FlowControl>(core_, cache(kFlowControl, "flowschemas"), cache(kFlowControl, "prioritylevelconfigurations"));
  aggregator_ = std::make_unique<Aggregator>(core_, rest_);
  discovery_ = std::make_unique<Discovery>(core_, options_);
  discovery_->follow(*aggregator_);
  add_builtin_admission(core_);
  core_.webhooks = options_.webhooks.get();
  dynamic_ = std::make_unique<DynamicAdmission>(core_);
  quota_ = std::make_unique<QuotaStage>(core_);
  core_.quota = quota_.get();
  crds_ = std::make_unique<CrdController>(core_, rest_);
  Status custom = co_await crds_->start(scope_);
  if (!custom.ok()) co_return custom;
  Status boot = co_await bootstrap();
  if (!boot.ok()) co_return boot;
  Status aggregated = co_await aggregator_->start(&scope_);
  if (!aggregated.ok()) co_return aggregated;
  scope_.spawn(flow_->keep_adjusting());
  scope_.spawn(keep_service_ips(*this));
  scope_.spawn(keep_flow_schemas());
  core_.components["etcd-0"] = [] { return std::string(); };  // the store is open as long as this server is
  // Not before: no webhook may keep the server from starting.
  core_.remote_admission = dynamic_.get();
  policy_status_ = std::make_unique<PolicyStatus>(core_, rest_);
  policy_status_->start(scope_);
  core_.ready = true;
  co_return ok();
}

Task<Status> ApiServer::add_builtin_kinds() {
  for (const kube::KindInfo* k : kube::all_kinds()) {
    if (k->crd) continue;
    const kube::Resource& r = k->resource();
    auto t = std::make_shared<ServedType>();
    t->resource = r;
    t->singular = std::string(k->singular);
    t->list_kind = r.kind + "List";
    t->short_names = words(k->short_names);
    t->categories = words(k->categories);
    t->verbs = words(k->verbs);
    bool has_status = false;
    for (auto& s : k->subresources) {
      ServedType::Subresource sub;
      sub.name = std::string(s.name);
      sub.kind = std::string(s.kind);
      kube::GroupVersion gv = kube::parse_group_version(s.api_version.empty() ? r.api_version() : s.api_version);
      sub.group = gv.group;
      sub.version = gv.version;
      sub.verbs = words(s.verbs);
      has_status = has_status || s.name == "status";
      t->subresources.push_back(std::move(sub));
    }
    t->model = make_builtin_model(*k);
    t->strategy = builtin_strategy(core_, r.group, r.kind, has_status);
    if (r.kind == "ComponentStatus") t->deprecation_warning = "v1 ComponentStatus is deprecated in v1.19+";
    if (r.kind == "Endpoints") t->deprecation_warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
    bool stored = t->has_verb("get") && t->has_verb("list") && r.kind != "ComponentStatus";
    if (stored) {
      auto storage = std::make_shared<Storage>();
      storage->group = r.group;
      storage->plural = r.plural;
      // events.k8s.io and the core Event are one resource, as are both versions of the autoscaler.
      if (r.group == "events.k8s.io") storage->group = "";
      storage->namespaced = r.namespaced;
      storage->prefix = Cacher::prefix(storage->group, storage->plural);
      storage->selectable = selectable_fields(storage->group, storage->plural);
      auto cache = co_await core_.cacher.open(storage->group, storage->plural, storage->namespaced, field_extractor(storage->selectable));
      if (!cache.ok()) co_return std::move(cache).error();
      storage->cache = *cache;
      t->storage = std::move(storage);
      set_builtin_conversion(*t);
    }
    core_.types.add(std::move(t));
  }
  co_return ok();
}

// Creates the object unless it is there.
Task<Status> ApiServer::ensure(std::string plural, std::string ns, Value object) {
  kube::GroupVersion gv = kube::parse_group_version(object["apiVersion"].as_string());
  ServedTypePtr t = core_.types.find(gv.group, gv.version, plural);
  const std::string name = object["metadata"]["name"].as_string();
  if (core_.store_has(*t, ns, name)) co_return ok();
  WriteCall call;
  call.type = t;
  call.ns = ns;
  call.user = server_user();
  call.manager = "kube-apiserver";
  std::vector<std::string> unknown;
  Status fits = t->model->accept(object, unknown);
  if (!fits.ok()) co_return fits;
  auto r = co_await rest_.create_object(&call, std::move(object));
  if (!r.ok() && r.error().code != Code::kAlreadyExists) co_return wrap(r.error(), "creating " + plural + " " + name);
  co_return ok();
}

Task<Status> ApiServer::bootstrap() {
  static const std::vector<std::string> kNamespaces = {"kube-system", "default", "kube-public", "kube-node-lease"};
  for (const std::string& name : kNamespaces) {
    Value ns = Value::object();
    ns["apiVersion"] = "v1";
    ns["kind"] = "Namespace";
    ns["metadata"]["name"] = name;
    Status s = co_await ensure("namespaces", "", std::move(ns));
    if (!s.ok()) co_return s;
  }
  static const std::map<std::string, std::string> kPlurals = {
      {"ClusterRole", "clusterroles"}, {"ClusterRoleBinding", "clusterrolebindings"}, {"Role", "roles"}, {"RoleBinding", "rolebindings"}};
  std::vector<Value> policy = default_policy();
  for (Value& o : policy) {
    std::string plural = kPlurals.at(o["kind"].as_string()), ns = o["metadata"]["namespace"].as_string();
    Status s = co_await ensure(plural, ns, std::move(o));
    if (!s.ok()) co_return s;
  }
  static const std::vector<std::pair<std::string, int64_t>> kCritical = {{"system-node-critical", 2000001000}, {"system-cluster-critical", 2000000000}};
  for (auto& [name, value] : kCritical) {
    Value pc = Value::object();
    pc["apiVersion"] = "scheduling.k8s.io/v1";
    pc["kind"] = "PriorityClass";
    pc["metadata"]["name"] = name;
    pc["value"] = value;
    pc["description"] = value == 2000000000 ? "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."
                                            : "Used for system critical pods that must not be moved from their current node.";
    Status s = co_await ensure("priorityclasses", "", std::move(pc));
    if (!s.ok()) co_return s;
  }
  for (Value& o : flow_control_objects()) {
    std::string plural = o["kind"].as_string() == "FlowSchema" ? "flowschemas" : "prioritylevelconfigurations";
    Status s = co_await ensure(std::move(plural), "", std::move(o));
    if (!s.ok()) co_return s;
  }
  if (!options_.client_ca.empty()) {
    Status s = co_await publish_authentication();
    if (!s.ok()) co_return s;
  }
  if (options_.publish_endpoints) {
    Value svc = Value::object();
    svc["apiVersion"] = "v1";
    svc["kind"] = "Service";
    svc["metadata"]["name"] = "kubernetes";
    svc["metadata"]["namespace"] = "default";
    svc["metadata"]["labels"]["component"] = "apiserver";
    svc["metadata"]["labels"]["provider"] = "kubernetes";
    Value& spec = svc["spec"];
    spec["clusterIP"] = services_->address(1);
    spec["type"] = "ClusterIP";
    Value port = Value::object();
    port["name"] = "https";
    port["port"] = 443;
    port["protocol"] = "TCP";
    port["targetPort"] = options_.advertise_port;
    spec["ports"] = Value::array({port});
    Status s = co_await ensure("services", "default", std::move(svc));
    if (!s.ok()) co_return s;
    Status e = co_await publish_endpoints();
    if (!e.ok()) core_.log.warn("could not publish the kubernetes endpoints", {{"error", e.error().message}});
    scope_.spawn(keep_endpoints());
  }
  co_return ok();
}

namespace {
// Makes the parts of `object` that are ours as wanted.
Rest::Transform set_members(Value wanted) {
  return [wanted = std::move(wanted)](const Value& live) -> Result<Value> {
    Value out = live;
    for (auto& m : wanted.as_object())
      if (m.key != "metadata" && m.key != "kind" && m.key != "apiVersion") out[m.key] = m.value;
    return out;
  };
}
}  // namespace

// By what aggregated servers know users and this server.
Task<Status> ApiServer::publish_authentication() {
  Value cm = Value::object();
  cm["apiVersion"] = "v1";
  cm["kind"] = "ConfigMap";
  cm["metadata"]["name"] = "extension-apiserver-authentication";
  cm["metadata"]["namespace"] = "kube-system";
  Value data = Value::object();
  data["client-ca-file"] = options_.client_ca;
  if (!options_.front_proxy_ca.empty()) {
    data["requestheader-allowed-names"] = R"(["front-proxy-client"])";
    data["requestheader-client-ca-file"] = options_.front_proxy_ca;
    data["requestheader-extra-headers-prefix"] = R"(["X-Remote-Extra-"])";
    data["requestheader-group-headers"] = R"(["X-Remote-Group"])";
    data["requestheader-uid-headers"] = R"(["X-Remote-Uid"])";
    data["requestheader-username-headers"] = R"(["X-Remote-User"])";
  }
  cm["data"] = std::move(data);
  Status made = co_await ensure("configmaps", "kube-system", cm);
  if (!made.ok()) co_return made;
  WriteCall call;
  call.type = core_.types.find("", "v1", "configmaps");
  call.ns = "kube-system";
  call.name = "extension-apiserver-authentication";
  call.user = server_user();
  call.manager = "kube-apiserver";
  auto r = co_await rest_.update_object(&call, set_members(cm), true);
  if (!r.ok()) co_return std::move(r).error();
  co_return ok();
}

Task<Status> ApiServer::publish_endpoints() {
  Value port = Value::object();
  port["name"] = "https";
  port["port"] = options_.advertise_port;
  port["protocol"] = "TCP";
  Value ep = Value::object();
  ep["apiVersion"] = "v1";
  ep["kind"] = "Endpoints";
  ep["metadata"]["name"] = "kubernetes";
  ep["metadata"]["namespace"] = "default";
  ep["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] = "true";
  Value subset = Value::object();
  Value address = Value::object();
  address["ip"] = options_.advertise_address;
  subset["addresses"] = Value::array({address});
  subset["ports"] = Value::array({port});
  ep["subsets"] = Value::array({subset});
  Value slice = Value::object();
  slice["apiVersion"] = "discovery.k8s.io/v1";
  slice["kind"] = "EndpointSlice";
  slice["metadata"]["name"] = "kubernetes";
  slice["metadata"]["namespace"] = "default";
  slice["metadata"]["labels"]["kubernetes.io/service-name"] = "kubernetes";
  slice["addressType"] = "IPv4";
  Value endpoint = Value::object();
  endpoint["addresses"] = Value::array({options_.advertise_address});
  endpoint["conditions"]["ready"] = true;
  slice["endpoints"] = Value::array({endpoint});
  slice["ports"] = Value::array({port});
  std::vector<std::pair<std::string, Value>> both;
  both.emplace_back("endpoints", std::move(ep));
  both.emplace_back("endpointslices", std::move(slice));
  for (auto& [plural, wanted] : both) {
    Status made = co_await ensure(plural, "default", wanted);
    if (!made.ok()) co_return made;
    kube::GroupVersion gv = kube::parse_group_version(wanted["apiVersion"].as_string());
    WriteCall call;
    call.type = core_.types.find(gv.group, gv.version, plural);
    call.ns = "default";
    call.name = "kubernetes";
    call.user = server_user();
    call.manager = "kube-apiserver";
    Rest::Transform as_wanted = set_members(wanted);
    if (auto live = rest_.live(*call.type, call.ns, call.name); live.ok()) {
      Result<Value> next = as_wanted(**live);
      if (next.ok() && *next == **live) continue;
    }
    auto r = co_await rest_.update_object(&call, std::move(as_wanted), true);
    if (!r.ok()) co_return std::move(r).error();
  }
  co_return ok();
}

// Says of every flow schema whether its priority level exists.
Task<void> ApiServer::keep_flow_schemas() {
  while (true) {
    std::vector<Value> stale = co_await flow_->stale_schemas();
    for (Value& o : stale) {
      WriteCall call;
      call.type = core_.types.find("flowcontrol.apiserver.k8s.io", "v1", "flowschemas");
      call.name = o["metadata"]["name"].as_string();
      call.subresource = "status";
      call.user = server_user();
      call.manager = "api-priority-and-fairness-config-consumer-v1";
      Value wanted = Value::object();
      wanted["status"] = o["status"];
      auto r = co_await rest_.update_object(&call, set_members(std::move(wanted)), true);
      if (!r.ok() && r.error().code != Code::kNotFound) core_.log.warn("could not write a flow schema's condition", {{"name", call.name}, {"error", r.error().message}});
    }
  }
}

// Repairs the endpoints when somebody removes or changes them.
Task<void> ApiServer::keep_endpoints() {
  while (true) {
    co_await sleep(core_.ex, kEndpointsEvery);
    Status s = co_await publish_endpoints();
    if (!s.ok()) core_.log.warn("could not publish the kubernetes endpoints", {{"error", s.error().message}});
  }
}

}  // namespace caravel::apiserver
