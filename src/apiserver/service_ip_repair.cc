#include "apiserver/service_ip_repair.h"

#include <algorithm>
#include <map>
#include <set>

#include "apiserver/api_server.h"
#include "kube/events.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr Duration kSettle = std::chrono::milliseconds(200);  // a burst of changes is looked at once

std::string key_of(const Value& namespaced) { return namespaced.path({"metadata", "namespace"}).as_string() + "/" + namespaced.path({"metadata", "name"}).as_string(); }

bool holds(const Value& service, const std::string& ip) {
  for (auto& x : service.path({"spec", "clusterIPs"}).as_array())
    if (x.as_string() == ip) return true;
  return false;
}

bool well_labelled(const Value& address) {
  const Value& labels = address["metadata"]["labels"];
  return labels["ipaddress.kubernetes.io/ip-family"].as_string() == "IPv4" && labels["ipaddress.kubernetes.io/managed-by"].as_string() == kIpAllocator;
}

}  // namespace

IpRepairPlan plan_ip_repair(const std::vector<const Value*>& services, const std::vector<const Value*>& addresses, const std::vector<kube::IpRange>& ranges, Time now) {
  IpRepairPlan plan;
  std::map<std::string, const Value*> by_ip, by_key;
  for (auto* a : addresses) by_ip[a->path({"metadata", "name"}).as_string()] = a;
  for (auto* s : services) by_key[key_of(*s)] = s;
  std::set<std::string> remade;
  auto act = [&](IpRepair::Kind kind, const std::string& ip, const Value* about, const Value* service, std::string reason, std::string message) {
    plan.actions.push_back({kind, ip, about, service, std::move(reason), std::move(message)});
  };
  for (auto& [key, s] : by_key)
    for (auto& x : s->path({"spec", "clusterIPs"}).as_array()) {
      const std::string& ip = x.as_string();
      auto number = kube::parse_ipv4(ip);
      if (!number) continue;  // headless
      std::string which = "Cluster IP [IPv4]: " + ip;
      if (std::none_of(ranges.begin(), ranges.end(), [&](const kube::IpRange& r) { return r.holds(*number); }))
        act(IpRepair::kTell, ip, s, nullptr, "ClusterIPOutOfRange", which + " is not within any configured Service CIDR; please recreate service");
      auto it = by_ip.find(ip);
      if (it == by_ip.end()) {
        act(IpRepair::kCreate, ip, s, s, "ClusterIPNotAllocated", which + " is not allocated; repairing");
        continue;
      }
      const Value& ref = it->second->path({"spec", "parentRef"});
      std::string named = ref["namespace"].as_string() + "/" + ref["name"].as_string();
      if (!ref["group"].as_string().empty() || ref["resource"].as_string() != "services") {
        remade.insert(ip);
        act(IpRepair::kRecreate, ip, s, s, "ClusterIPNotAllocated", "the ClusterIP [IPv4]: " + ip + " for Service " + key + " has a wrong reference; repairing");
      } else if (named != key) {
        auto other = by_key.find(named);
        if (other != by_key.end() && holds(*other->second, ip)) {
          act(IpRepair::kTell, ip, s, nullptr, "ClusterIPAlreadyAllocated", "Cluster IP [IPv4]:" + ip + " was assigned to multiple services; please recreate service");
        } else {
          remade.insert(ip);
          act(IpRepair::kRecreate, ip, s, s, "ClusterIPNotAllocated", "the ClusterIP [IPv4]: " + ip + " for Service " + key + " has a wrong reference; repairing");
        }
      } else if (!well_labelled(*it->second)) {
        remade.insert(ip);
        act(IpRepair::kRecreate, ip, s, s, "", "");
      }
    }
  for (auto& [ip, a] : by_ip) {
    if (a->path({"metadata", "labels", "ipaddress.kubernetes.io/managed-by"}).as_string() != kIpAllocator || remade.count(ip)) continue;
    const Value& ref = a->path({"spec", "parentRef"});
    std::string named = ref["namespace"].as_string() + "/" + ref["name"].as_string();
    if (!ref["group"].as_string().empty() || ref["resource"].as_string() != "services") {
      act(IpRepair::kDelete, ip, a, nullptr, "IPAddressNotAllocated", "IPAddress " + ip + " appears to have been modified, not referencing a Service " + json::dump(ref) + ": cleaning up");
      continue;
    }
    auto s = by_key.find(named);
    if (s != by_key.end()) {
      if (!holds(*s->second, ip)) act(IpRepair::kDelete, ip, a, nullptr, "IPAddressWrongReference", "IPAddress: " + ip + " for Service " + named + " has a wrong reference; cleaning up");
      continue;
    }
    auto made = parse_rfc3339(a->path({"metadata", "creationTimestamp"}).as_string());
    Duration age = made.ok() ? now - *made : kOrphanGrace;
    if (age >= kOrphanGrace) act(IpRepair::kDelete, ip, a, nullptr, "IPAddressNotAllocated", "IPAddress: " + ip + " for Service " + named + " appears to have leaked: cleaning up");
    else plan.again = std::min(plan.again, kOrphanGrace - age);
  }
  return plan;
}

namespace {

Value default_range(const std::string& cidr) {
  Value o = Value::object();
  o["apiVersion"] = "networking.k8s.io/v1";
  o["kind"] = "ServiceCIDR";
  o["metadata"]["name"] = "kubernetes";
  o["spec"]["cidrs"] = Value::array({cidr});
  return o;
}

class Keeper {
 public:
  explicit Keeper(ApiServer& server)
      : core_(server.core()),
        changed_(core_.ex),
        services_(core_.types.find("", "v1", "services")),
        addresses_(core_.types.find("networking.k8s.io", "v1", "ipaddresses")),
        cidrs_(core_.types.find("networking.k8s.io", "v1", "servicecidrs")) {
    transport_ = server.transport(*make_user("system:apiserver", {"system:masters", "system:authenticated"}));
    client_ = std::make_unique<kube::Client>(*transport_, "kube-apiserver");
    events_ = std::make_unique<kube::EventRecorder>(core_.ex, *client_, "ipallocator-repair-controller");
    auto alive = alive_;
    for (auto& t : {services_, addresses_, cidrs_})
      t->storage->cache->add_listener([this, alive](const CacheEvent&) {
        if (*alive) changed_.set();
      });
  }
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  ~Keeper() { *alive_ = false; }

  Task<void> run() {
    while (true) {
      Duration again = co_await once();
      std::optional<Duration> limit = again;
      co_await changed_.wait(limit);
      co_await sleep(core_.ex, kSettle);
      changed_.reset();
    }
  }

 private:
  static std::vector<ValuePtr> all(const ServedType& t) {
    std::vector<ValuePtr> out;
    for (auto& [key, o] : t.storage->cache->objects()) out.push_back(o->value());
    return out;
  }
  static std::vector<const Value*> raw(const std::vector<ValuePtr>& v) {
    std::vector<const Value*> out;
    for (auto& p : v) out.push_back(p.get());
    return out;
  }

  Task<Duration> once() {
    co_await keep_default_range();
    std::vector<ValuePtr> services = all(*services_), addresses = all(*addresses_), cidrs = all(*cidrs_);
    std::vector<kube::IpRange> ranges;
    for (auto& c : cidrs)
      for (auto& text : c->path({"spec", "cidrs"}).as_array())
        if (auto r = kube::IpRange::parse(text.as_string())) ranges.push_back(*r);
    IpRepairPlan plan = plan_ip_repair(raw(services), raw(addresses), ranges, core_.ex.now());
    for (auto& a : plan.actions) {
      if (!a.reason.empty()) events_->warning(kube::reference_to(*a.about), a.reason, a.message);
      if (a.kind == IpRepair::kDelete || a.kind == IpRepair::kRecreate) {
        auto gone = co_await client_->remove(addresses_->resource, "", a.ip);
        if (!gone.ok() && gone.error().code != Code::kNotFound) core_.log.warn("an IPAddress could not be removed", {{"name", a.ip}, {"error", gone.error().message}});
      }
      if (a.kind == IpRepair::kCreate || a.kind == IpRepair::kRecreate) {
        Value o = core_.services->address_object(a.ip, *a.service);
        auto made = co_await client_->create(addresses_->resource, "", std::move(o));
        if (!made.ok() && made.error().code != Code::kAlreadyExists) core_.log.warn("an IPAddress could not be made", {{"name", a.ip}, {"error", made.error().message}});
      }
    }
    co_return plan.again;
  }

  // There, and Ready when nobody has said otherwise and its ranges are those that this server was given.
  Task<void> keep_default_range() {
    ObjectPtr o = cidrs_->storage->cache->get("", "kubernetes");
    if (!o) {
      Value made = default_range(core_.services->cidr());
      auto r = co_await client_->create(cidrs_->resource, "", std::move(made));
      if (!r.ok()) co_return;
      o = cidrs_->storage->cache->get("", "kubernetes");
      if (!o) co_return;
    }
    ValuePtr v = o->value();
    if (!v->path({"metadata", "deletionTimestamp"}).is_null()) co_return;
    for (auto& c : v->path({"status", "conditions"}).as_array())
      if (c["type"].as_string() == "Ready") co_return;
    if (v->path({"spec", "cidrs"}).size() != 1 || v->path({"spec", "cidrs"}).at(0).as_string() != core_.services->cidr()) {
      events_->warning(kube::reference_to(*v), "KubernetesDefaultServiceCIDRInconsistent",
                       "The default ServiceCIDR " + json::dump(v->path({"spec", "cidrs"})) + " does not match the flag configurations " + core_.services->cidr());
      co_return;
    }
    Value patch = Value::object();
    Value c = Value::object();
    c["type"] = "Ready";
    c["status"] = "True";
    c["reason"] = "";
    c["message"] = "Kubernetes default Service CIDR is ready";
    c["lastTransitionTime"] = format_rfc3339(core_.ex.now());
    patch["status"]["conditions"] = Value::array({std::move(c)});
    kube::WriteOptions w;
    w.subresource = "status";
    auto r = co_await client_->patch(cidrs_->resource, "", "kubernetes", kube::PatchType::kMerge, std::move(patch), std::move(w));
    if (!r.ok()) core_.log.warn("the default ServiceCIDR could not be marked ready", {{"error", r.error().message}});
  }

  Core& core_;
  Event changed_;
  ServedTypePtr services_, addresses_, cidrs_;
  std::unique_ptr<kube::Transport> transport_;
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<kube::EventRecorder> events_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Task<void> keep_service_ips(ApiServer& server) {
  Keeper keeper(server);
  co_await keeper.run();
}

}  // namespace caravel::apiserver
