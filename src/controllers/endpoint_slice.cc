// EndpointSlice: the addresses behind every Service with a selector, at most 100 to a slice, changed in
// place as far as possible so that watchers see little. Endpoints: the same for older clients.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/endpoint_hints.h"
#include "kube/types/discovery.h"

namespace caravel::controllers {

using kube::core::Endpoints;
using kube::core::Node;
using kube::core::Pod;
using kube::core::Service;
using kube::discovery::Endpoint;
using kube::discovery::EndpointSlice;

namespace {

constexpr size_t kSliceMax = 100;
constexpr size_t kEndpointsMax = 1000;
constexpr const char* kServiceName = "kubernetes.io/service-name";
constexpr const char* kManagedBy = "endpointslice.kubernetes.io/managed-by";
constexpr const char* kManager = "endpointslice-controller.k8s.io";
constexpr const char* kOverCapacity = "endpoints.kubernetes.io/over-capacity";
constexpr const char* kHeadless = "service.kubernetes.io/headless";

int32_t resolve_port(const kube::core::ServicePort& sp, const Pod& pod) {
  if (!sp.target_port.is_string) return sp.target_port.int_value != 0 ? sp.target_port.int_value : sp.port;
  auto look = [&](const std::vector<kube::core::Container>& list, bool sidecars) -> int32_t {
    for (auto& c : list) {
      if (sidecars && c.restart_policy != "Always") continue;
      for (auto& p : c.ports)
        if (p.name == sp.target_port.string_value && (p.protocol.empty() ? "TCP" : p.protocol) == (sp.protocol.empty() ? "TCP" : sp.protocol))
          return p.container_port;
    }
    return 0;
  };
  if (int32_t n = look(pod.spec.containers, false)) return n;
  return look(pod.spec.init_containers, true);
}

std::vector<kube::discovery::EndpointPort> slice_ports(const Service& svc, const Pod& pod) {
  std::vector<kube::discovery::EndpointPort> out;
  for (auto& sp : svc.spec.ports) {
    int32_t n = resolve_port(sp, pod);
    if (n == 0) continue;
    kube::discovery::EndpointPort p;
    p.name = sp.name;
    p.protocol = sp.protocol.empty() ? "TCP" : sp.protocol;
    p.port = n;
    p.app_protocol = sp.app_protocol;
    out.push_back(std::move(p));
  }
  return out;
}

bool is_headless(const Service& s) { return s.spec.cluster_ip == "None"; }
bool wants_address(const Pod& p, bool include_terminating) {
  return !p.status.pod_ip.empty() && !is_finished(p) && (include_terminating || !is_terminating(p.metadata));
}
std::string address_for(const Pod& p, bool v6) {
  for (auto& ip : p.status.pod_ips)
    if ((ip.ip.find(':') != std::string::npos) == v6) return ip.ip;
  return (p.status.pod_ip.find(':') != std::string::npos) == v6 ? p.status.pod_ip : "";
}
kube::core::ObjectReference pod_reference(const Pod& p) {
  kube::core::ObjectReference r;
  r.kind = "Pod";
  r.namespace_ = p.metadata.namespace_;
  r.name = p.metadata.name;
  r.uid = p.metadata.uid;
  return r;
}

// Services whose endpoints may change with a pod: those that select its labels, now or before.
class ServiceMatcher {
 public:
  ServiceMatcher(kube::Informer<Service>& services, kube::Informer<Pod>& pods, kube::Controller& queue) {
    services.add_handler([&queue](auto& old, auto& now) {
      const Service& s = now ? *now : *old;
      queue.enqueue(kube::ObjectKey{s.metadata.namespace_, s.metadata.name});
    });
    auto* all = &services;
    pods.add_handler([&queue, all](auto& old, auto& now) {
      if (old && now && old->metadata.labels == now->metadata.labels && old->status.pod_ips == now->status.pod_ips &&
          old->status.pod_ip == now->status.pod_ip && is_ready(*old) == is_ready(*now) && is_finished(*old) == is_finished(*now) &&
          is_terminating(old->metadata) == is_terminating(now->metadata) && old->spec.node_name == now->spec.node_name)
        return;
      const Pod& any = now ? *now : *old;
      for (auto& s : all->in_namespace(any.metadata.namespace_)) {
        if (s->spec.selector.empty()) continue;
        if ((old && matches(s->spec.selector, old->metadata.labels)) || (now && matches(s->spec.selector, now->metadata.labels)))
          queue.enqueue_paced(kube::ObjectKey{s->metadata.namespace_, s->metadata.name}, kPace);
      }
    });
  }
};

class EndpointSliceController final : public Runner {
 public:
  explicit EndpointSliceController(const Context& c)
      : ex_(c.ex),
        client_(c.client("endpointslice-controller")),
        events_(c.ex, client_, "endpoint-slice-controller"),
        services_(c.informer<Service>()),
        pods_(c.informer<Pod>()),
        nodes_(c.informer<Node>()),
        slices_(c.informer<EndpointSlice>()),
        queue_(
            c.ex, "endpointslice-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers),
        matcher_(services_, pods_, queue_) {
    slices_.add_index("service", [](const EndpointSlice& s) {
      std::vector<std::string> out;
      auto it = s.metadata.labels.find(kServiceName);
      if (it != s.metadata.labels.end()) out.push_back(s.metadata.namespace_ + "/" + it->second);
      return out;
    });
    slices_.add_handler([this](auto& old, auto& now) {
      const EndpointSlice& s = now ? *now : *old;
      auto by = s.metadata.labels.find(kManagedBy);
      auto name = s.metadata.labels.find(kServiceName);
      if (by == s.metadata.labels.end() || by->second != kManager || name == s.metadata.labels.end()) return;
      queue_.enqueue(kube::ObjectKey{s.metadata.namespace_, name->second});
    });
    // The zone of a node arrives after its pods at times.
    nodes_.add_handler([this](auto& old, auto& now) {
      if (!old || !now || !(share_of(*old) == share_of(*now))) {
        shares_.reset();
        for (auto& [key, why] : shared_) queue_.enqueue_paced(key.substr(0, key.find(' ')), kPace);
      }
      if (!now || (old && zone_of(*old) == zone_of(*now))) return;
      for (auto& [key, s] : services_.all())
        if (!s->spec.selector.empty()) queue_.enqueue(key);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  static std::string zone_of(const Node& n) {
    auto it = n.metadata.labels.find("topology.kubernetes.io/zone");
    return it == n.metadata.labels.end() ? "" : it->second;
  }

  Endpoint endpoint_of(const Service& svc, const Pod& p, const std::string& address) const {
    Endpoint e;
    e.addresses.push_back(address);
    bool serving = is_ready(p), terminating = is_terminating(p.metadata);
    e.conditions.ready = svc.spec.publish_not_ready_addresses || (serving && !terminating);
    e.conditions.serving = serving;
    e.conditions.terminating = terminating;
    e.target_ref = pod_reference(p);
    if (!p.spec.hostname.empty() && p.spec.subdomain == svc.metadata.name) e.hostname = p.spec.hostname;
    if (!p.spec.node_name.empty()) {
      e.node_name = p.spec.node_name;
      if (auto n = nodes_.get("", p.spec.node_name))
        if (std::string z = zone_of(*n); !z.empty()) e.zone = z;
    }
    return e;
  }

  struct Group {
    std::vector<kube::discovery::EndpointPort> ports;
    std::map<std::string, Endpoint> endpoints;  // by pod uid
  };

  Task<Result<kube::Requeue>> sync(std::string key) {
    std::shared_ptr<const Service> svc = services_.get(kube::ObjectKey::parse(key));
    // Without a selector the endpoints are somebody else's; a Service that is gone leaves its slices to
    // the garbage collector.
    if (!svc)
      for (const char* type : {" IPv4", " IPv6"}) shared_.erase(key + type);
    if (!svc || svc->spec.selector.empty() || svc->spec.type == "ExternalName" || is_terminating(svc->metadata)) co_return kube::Requeue::never();
    if (!expect_.met(key, slices_)) co_return kube::Requeue::in(kExpectationRetry);
    std::vector<bool> families;
    for (auto& f : svc->spec.ip_families) families.push_back(f == "IPv6");
    if (families.empty()) families.push_back(false);
    for (bool v6 : families) {
      Status s = co_await sync_family(svc, key, v6);
      if (!s.ok()) co_return std::move(s).error();
    }
    co_return kube::Requeue::never();
  }

  Task<Status> sync_family(std::shared_ptr<const Service> svc, std::string key, bool v6) {
    std::map<std::string, Group> groups;  // by the ports' text
    for (auto& p : pods_.in_namespace(svc->metadata.namespace_)) {
      if (!matches(svc->spec.selector, p->metadata.labels) || !wants_address(*p, true)) continue;
      std::string address = address_for(*p, v6);
      if (address.empty()) continue;
      Group g;
      g.ports = slice_ports(*svc, *p);
      std::string id;
      for (auto& port : g.ports) id += json::dump(kube::to_json(port));
      auto [it, fresh] = groups.try_emplace(id, std::move(g));
      it->second.endpoints.emplace(p->metadata.uid, endpoint_of(*svc, *p, address));
    }
    std::string type = v6 ? "IPv6" : "IPv4";
    std::map<std::string, std::vector<std::shared_ptr<const EndpointSlice>>> have;
    for (auto& s : slices_.by_index("service", key)) {
      auto by = s->metadata.labels.find(kManagedBy);
      if (by == s->metadata.labels.end() || by->second != kManager || s->address_type != type || is_terminating(s->metadata)) continue;
      std::string id;
      for (auto& port : s->ports) id += json::dump(kube::to_json(port));
      have[id].push_back(s);
    }
    // An empty slice stays, so that watchers see that there is nothing (upstream's placeholder).
    if (groups.empty()) {
      if (have.empty()) groups.try_emplace("");
      else groups.try_emplace(have.begin()->first).first->second.ports = have.begin()->second.front()->ports;
    }
    std::map<std::string, std::string> labels = svc->metadata.labels;
    labels[kServiceName] = svc->metadata.name;
    labels[kManagedBy] = kManager;
    if (is_headless(*svc)) labels[kHeadless] = "";
    else labels.erase(kHeadless);

    std::vector<EndpointSlice> creates, updates;
    std::vector<std::pair<std::shared_ptr<const EndpointSlice>, EndpointSlice>> stay;
    std::vector<std::shared_ptr<const EndpointSlice>> deletes;
    for (auto& [id, slices] : have)
      if (!groups.count(id))
        for (auto& s : slices) deletes.push_back(s);
    for (auto& [id, group] : groups) {
      std::map<std::string, Endpoint> left = group.endpoints;
      std::vector<std::pair<std::shared_ptr<const EndpointSlice>, EndpointSlice>> kept;
      for (auto& s : have[id]) {
        EndpointSlice next = *s;
        next.endpoints.clear();
        for (auto& e : s->endpoints) {
          auto it = e.target_ref ? left.find(e.target_ref->uid) : left.end();
          if (it == left.end()) continue;
          next.endpoints.push_back(std::move(it->second));
          next.endpoints.back().hints = e.hints;
          left.erase(it);
        }
        next.metadata.labels = labels;
        kept.emplace_back(s, std::move(next));
      }
      for (auto& [s, next] : kept)
        while (!left.empty() && next.endpoints.size() < kSliceMax) {
          next.endpoints.push_back(std::move(left.begin()->second));
          left.erase(left.begin());
        }
      size_t full = 0;
      for (auto& [s, next] : kept) full += next.endpoints.empty() ? 0 : 1;
      bool keep_one_empty = full == 0 && left.empty();
      for (auto& [s, next] : kept) {
        if (next.endpoints.empty()) {
          if (!keep_one_empty) {
            deletes.push_back(s);
            continue;
          }
          keep_one_empty = false;
        }
        stay.emplace_back(s, std::move(next));
      }
      bool first = kept.empty();
      while (!left.empty() || first) {
        first = false;
        EndpointSlice fresh;
        fresh.metadata.generate_name = svc->metadata.name + "-";
        fresh.metadata.namespace_ = svc->metadata.namespace_;
        fresh.metadata.labels = labels;
        fresh.metadata.owner_references.push_back(owner_reference(*svc));
        fresh.address_type = type;
        fresh.ports = group.ports;
        while (!left.empty() && fresh.endpoints.size() < kSliceMax) {
          fresh.endpoints.push_back(std::move(left.begin()->second));
          left.erase(left.begin());
        }
        creates.push_back(std::move(fresh));
      }
    }
    set_hints(*svc, key + " " + type, creates, stay);
    for (auto& [s, next] : stay)
      if (!(next == *s)) updates.push_back(std::move(next));
    for (auto& s : creates) {
      Result<EndpointSlice> r = co_await client_.create<EndpointSlice>(std::move(s));
      if (!r.ok()) {
        if (r.error().message.find("is being terminated") != std::string::npos) co_return ok();
        events_.warning(kube::reference_to(*svc), "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service " + key + ": " + r.error().message);
        co_return std::move(r).error();
      }
      expect_.wrote(key, r->metadata.resource_version);
    }
    for (auto& s : updates) {
      Result<EndpointSlice> r = co_await client_.update<EndpointSlice>(std::move(s));
      if (!r.ok()) co_return std::move(r).error();
      expect_.wrote(key, r->metadata.resource_version);
    }
    for (auto& s : deletes) {
      Status r = co_await client_.remove<EndpointSlice>(s->metadata.namespace_, s->metadata.name);
      if (!r.ok() && r.error().code != Code::kNotFound) co_return r;
    }
    co_return ok();
  }

  // `key` is the Service and the address family. What is said about hints is said once.
  void set_hints(const Service& svc, const std::string& key, std::vector<EndpointSlice>& creates,
                 std::vector<std::pair<std::shared_ptr<const EndpointSlice>, EndpointSlice>>& stay) {
    const std::string suffix = ", addressType: " + key.substr(key.find(' ') + 1);
    auto had = shared_.find(key);
    if (!wants_zone_shares(svc)) {
      for (auto& s : creates) set_close_hints(svc, s);
      for (auto& [s, next] : stay) set_close_hints(svc, next);
      if (had == shared_.end()) return;
      if (had->second.empty()) events_.warning(kube::reference_to(svc), "TopologyAwareHintsDisabled", "Topology Aware Hints has been disabled" + suffix);
      shared_.erase(had);
      return;
    }
    std::vector<SharedSlice> all;
    for (auto& s : creates) all.push_back({&s, true});
    for (auto& [s, next] : stay) all.push_back({&next, !(next == *s)});
    std::string why = set_shared_hints(all, shares());
    if (had != shared_.end() && had->second == why) return;
    if (why.empty()) events_.normal(kube::reference_to(svc), "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled" + suffix);
    else events_.warning(kube::reference_to(svc), "TopologyAwareHintsDisabled", why + suffix);
    shared_[key] = std::move(why);
  }
  const std::map<std::string, double>& shares() {
    if (shares_) return *shares_;
    std::vector<NodeShare> nodes;
    for (auto& [k, n] : nodes_.all()) nodes.push_back(share_of(*n));
    return shares_.emplace(zone_shares(nodes));
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Service>& services_;
  kube::Informer<Pod>& pods_;
  kube::Informer<Node>& nodes_;
  kube::Informer<EndpointSlice>& slices_;
  std::optional<std::map<std::string, double>> shares_;  // of the nodes as they are
  std::map<std::string, std::string> shared_;            // Services with hints by CPU, and why they have none
  Expectations expect_;
  kube::Controller queue_;
  ServiceMatcher matcher_;
};

class EndpointsController final : public Runner {
 public:
  explicit EndpointsController(const Context& c)
      : client_(c.client("endpoint-controller")),
        services_(c.informer<Service>()),
        pods_(c.informer<Pod>()),
        endpoints_(c.informer<Endpoints>()),
        queue_(
            c.ex, "endpoint-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers),
        matcher_(services_, pods_, queue_) {
    endpoints_.add_handler([this](auto& old, auto& now) {
      if (old && now) return;
      const Endpoints& e = now ? *now : *old;
      queue_.enqueue(kube::ObjectKey{e.metadata.namespace_, e.metadata.name});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    kube::ObjectKey k = kube::ObjectKey::parse(key);
    std::shared_ptr<const Service> svc = services_.get(k);
    std::shared_ptr<const Endpoints> had = endpoints_.get(k);
    if (!svc) {
      // Only what this controller made is removed with its Service.
      if (had && had->metadata.labels.count("endpoints.kubernetes.io/managed-by")) {
        Status r = co_await client_.remove<Endpoints>(k.ns, k.name);
        if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
      }
      co_return kube::Requeue::never();
    }
    if (svc->spec.selector.empty() || svc->spec.type == "ExternalName" || is_terminating(svc->metadata)) co_return kube::Requeue::never();
    Endpoints next;
    if (had) next = *had;
    next.metadata.name = k.name;
    next.metadata.namespace_ = k.ns;
    for (auto& [label, value] : svc->metadata.labels) next.metadata.labels[label] = value;
    next.metadata.labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller";
    if (is_headless(*svc)) next.metadata.labels[kHeadless] = "";
    bool truncated = false;
    next.subsets = subsets(*svc, &truncated);
    if (truncated) next.metadata.annotations[kOverCapacity] = "truncated";
    else next.metadata.annotations.erase(kOverCapacity);
    if (had && next == *had) co_return kube::Requeue::never();
    if (had) {
      Result<Endpoints> r = co_await client_.update<Endpoints>(std::move(next));
      if (!r.ok()) co_return std::move(r).error();
    } else {
      Result<Endpoints> r = co_await client_.create<Endpoints>(std::move(next));
      if (!r.ok() && r.error().code != Code::kAlreadyExists && r.error().message.find("is being terminated") == std::string::npos)
        co_return std::move(r).error();
    }
    co_return kube::Requeue::never();
  }

  std::vector<kube::core::EndpointSubset> subsets(const Service& svc, bool* truncated) const {
    std::map<std::string, kube::core::EndpointSubset> by_ports;
    size_t total = 0;
    for (auto& p : pods_.in_namespace(svc.metadata.namespace_)) {
      if (!matches(svc.spec.selector, p->metadata.labels) || !wants_address(*p, svc.spec.publish_not_ready_addresses)) continue;
      *truncated = ++total > kEndpointsMax;
      if (*truncated) break;
      std::vector<kube::core::EndpointPort> ports;
      std::string id;
      for (auto& sp : slice_ports(svc, *p)) {
        kube::core::EndpointPort ep;
        ep.name = sp.name.value_or("");
        ep.port = sp.port.value_or(0);
        ep.protocol = sp.protocol.value_or("TCP");
        ep.app_protocol = sp.app_protocol;
        id += ep.name + "/" + std::to_string(ep.port) + "/" + ep.protocol + ";";
        ports.push_back(std::move(ep));
      }
      kube::core::EndpointSubset& subset = by_ports[id];
      subset.ports = ports;
      kube::core::EndpointAddress a;
      a.ip = p->status.pod_ip;
      if (!p->spec.node_name.empty()) a.node_name = p->spec.node_name;
      if (!p->spec.hostname.empty() && p->spec.subdomain == svc.metadata.name) a.hostname = p->spec.hostname;
      a.target_ref = pod_reference(*p);
      bool ready = svc.spec.publish_not_ready_addresses || is_ready(*p);
      (ready ? subset.addresses : subset.not_ready_addresses).push_back(std::move(a));
    }
    std::vector<kube::core::EndpointSubset> out;
    for (auto& [id, s] : by_ports) {
      auto by_ip = [](auto& a, auto& b) { return a.ip < b.ip; };
      std::sort(s.addresses.begin(), s.addresses.end(), by_ip);
      std::sort(s.not_ready_addresses.begin(), s.not_ready_addresses.end(), by_ip);
      out.push_back(std::move(s));
    }
    return out;
  }

  kube::Client client_;
  kube::Informer<Service>& services_;
  kube::Informer<Pod>& pods_;
  kube::Informer<Endpoints>& endpoints_;
  kube::Controller queue_;
  ServiceMatcher matcher_;
};

}  // namespace

std::unique_ptr<Runner> make_endpoint_slice(const Context& c) { return std::make_unique<EndpointSliceController>(c); }
std::unique_ptr<Runner> make_endpoints(const Context& c) { return std::make_unique<EndpointsController>(c); }

}  // namespace caravel::controllers
