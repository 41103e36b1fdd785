#include "controllers/endpoint_plan.h"

#include <cmath>

namespace caravel::controllers {

using kube::core::EndpointAddress;
using kube::core::EndpointSubset;
using kube::core::Pod;
using kube::core::Service;
using kube::discovery::Endpoint;
using kube::discovery::EndpointPort;
using kube::discovery::EndpointSlice;

namespace {

bool is_v6(const std::string& ip) { return ip.find(':') != std::string::npos; }
bool has_cluster_ip(const Service& s) { return !s.spec.cluster_ip.empty() && s.spec.cluster_ip != "None"; }

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

std::vector<EndpointPort> ports_of(const Service& svc, const Pod& pod) {
  std::vector<EndpointPort> out;
  for (auto& sp : svc.spec.ports) {
    int32_t n = resolve_port(sp, pod);
    if (n == 0) continue;
    EndpointPort p;
    p.name = sp.name;
    p.protocol = sp.protocol.empty() ? "TCP" : sp.protocol;
    p.port = n;
    p.app_protocol = sp.app_protocol;
    out.push_back(std::move(p));
  }
  return out;
}

// Equal for equal sets of ports, whatever their order.
std::string ports_id(const std::vector<EndpointPort>& ports) {
  std::vector<std::string> texts;
  for (auto& p : ports) texts.push_back(json::dump(kube::to_json(p)));
  std::sort(texts.begin(), texts.end());
  std::string out;
  for (auto& t : texts) out += t;
  return out;
}

bool wants_address(const Pod& p, bool include_terminating) {
  if (p.status.pod_ip.empty() && p.status.pod_ips.empty()) return false;
  return !is_finished(p) && (include_terminating || !is_terminating(p.metadata));
}
std::string address_for(const Pod& p, bool v6) {
  for (auto& ip : p.status.pod_ips)
    if (is_v6(ip.ip) == v6) return ip.ip;
  return !p.status.pod_ip.empty() && is_v6(p.status.pod_ip) == v6 ? p.status.pod_ip : "";
}
kube::core::ObjectReference pod_reference(const Pod& p) {
  kube::core::ObjectReference r;
  r.kind = "Pod";
  r.namespace_ = p.metadata.namespace_;
  r.name = p.metadata.name;
  r.uid = p.metadata.uid;
  return r;
}
bool has_hostname(const Pod& p, const Service& svc) { return !p.spec.hostname.empty() && p.spec.subdomain == svc.metadata.name; }

Endpoint endpoint_of(const Service& svc, const Pod& p, const std::string& address, const std::string& zone) {
  Endpoint e;
  e.addresses.push_back(address);
  bool serving = is_ready(p), terminating = is_terminating(p.metadata);
  e.conditions.ready = svc.spec.publish_not_ready_addresses || (serving && !terminating);
  e.conditions.serving = serving;
  e.conditions.terminating = terminating;
  e.target_ref = pod_reference(p);
  if (has_hostname(p, svc)) e.hostname = p.spec.hostname;
  if (!p.spec.node_name.empty()) e.node_name = p.spec.node_name;
  if (!zone.empty()) e.zone = zone;
  return e;
}

struct Group {
  std::vector<EndpointPort> ports;
  std::map<std::string, Endpoint> endpoints;  // by uid of the pod; those without a place yet
};

class SlicePlanner {
 public:
  SlicePlanner(const Service& svc, const std::string& type) : svc_(svc), type_(type) {
    for (auto& [k, v] : svc.metadata.labels) labels_[k] = v;
    labels_.erase(kHeadlessService);
    if (!has_cluster_ip(svc)) labels_[kHeadlessService] = "";
    labels_[kSliceService] = svc.metadata.name;
    labels_[kSliceManagedBy] = kSliceManager;
  }

  SlicePlan run(const std::vector<PodPtr>& pods, const std::vector<SlicePtr>& have, const ZoneOf& zone_of) {
    group(pods, zone_of);
    std::map<std::string, std::vector<SlicePtr>> by_ports;
    for (auto& s : have) {
      // Slices of an earlier Service of this name are the garbage collector's, and not to be written over.
      if (std::none_of(s->metadata.owner_references.begin(), s->metadata.owner_references.end(), [&](auto& r) { return r.uid == svc_.metadata.uid; })) foreign_.push_back(s);
      else by_ports[ports_id(s->ports)].push_back(s);
    }
    for (auto& [id, slices] : by_ports)
      if (!groups_.count(id)) out_.remove.insert(out_.remove.end(), slices.begin(), slices.end());
    for (auto& [id, g] : groups_) place(g, by_ports[id]);
    if (out_.stay.empty() && out_.create.empty()) keep_placeholder();
    write_over();
    out_.remove.insert(out_.remove.end(), foreign_.begin(), foreign_.end());
    return std::move(out_);
  }

 private:
  void group(const std::vector<PodPtr>& pods, const ZoneOf& zone_of) {
    for (auto& p : pods) {
      if (!wants_address(*p, true)) continue;
      std::vector<EndpointPort> ports = ports_of(svc_, *p);
      Group& g = groups_.try_emplace(ports_id(ports)).first->second;
      g.ports = std::move(ports);
      std::optional<std::string> zone = zone_of(p->spec.node_name);
      if (!zone && !svc_.spec.publish_not_ready_addresses) {
        out_.left_out.push_back("skipping Pod " + p->metadata.name + " for Service " + svc_.metadata.namespace_ + "/" + svc_.metadata.name + ": Node " + p->spec.node_name + " Not Found");
        continue;
      }
      std::string address = address_for(*p, type_ == "IPv6");
      if (!address.empty()) g.endpoints.emplace(p->metadata.uid, endpoint_of(svc_, *p, address, zone.value_or("")));
    }
  }

  // One slice with what stays in it.
  struct Kept {
    SlicePtr old;
    EndpointSlice next;
    bool changed = false;
  };

  static Kept keep(const SlicePtr& s, Group& g) {
    Kept k{s, *s};
    k.next.endpoints.clear();
    for (auto& e : s->endpoints) {
      auto it = e.target_ref ? g.endpoints.find(e.target_ref->uid) : g.endpoints.end();
      if (it == g.endpoints.end()) continue;
      k.next.endpoints.push_back(std::move(it->second));
      k.next.endpoints.back().hints = e.hints;
      g.endpoints.erase(it);
    }
    k.changed = k.next.endpoints != s->endpoints;
    return k;
  }
  static void fill(EndpointSlice& s, Group& g) {
    while (!g.endpoints.empty() && s.endpoints.size() < kSliceMax) {
      s.endpoints.push_back(std::move(g.endpoints.begin()->second));
      g.endpoints.erase(g.endpoints.begin());
    }
  }
  // The slice that is nearest to full once all that is left is in it.
  static Kept* with_room_for_all(std::vector<Kept>& kept, size_t left) {
    Kept* best = nullptr;
    for (auto& k : kept) {
      size_t then = k.next.endpoints.size() + left;
      if (!k.changed && then <= kSliceMax && (!best || k.next.endpoints.size() > best->next.endpoints.size())) best = &k;
    }
    return best;
  }

  void place(Group& g, const std::vector<SlicePtr>& slices) {
    std::vector<Kept> kept;
    for (auto& s : slices) {
      Kept k = keep(s, g);
      if (k.changed && k.next.endpoints.empty()) {
        out_.remove.push_back(s);
        continue;
      }
      if (k.next.metadata.labels != labels_) k.changed = true;
      k.next.metadata.labels = labels_;
      kept.push_back(std::move(k));
    }
    std::vector<Kept*> open;
    for (auto& k : kept)
      if (k.changed) open.push_back(&k);
    std::stable_sort(open.begin(), open.end(), [](Kept* a, Kept* b) { return a->next.endpoints.size() > b->next.endpoints.size(); });
    for (Kept* k : open) fill(k->next, g);
    while (!g.endpoints.empty()) {
      Kept* room = g.endpoints.size() < kSliceMax ? with_room_for_all(kept, g.endpoints.size()) : nullptr;
      if (room) {
        fill(room->next, g);
        continue;
      }
      EndpointSlice fresh = new_slice(g.ports);
      fill(fresh, g);
      out_.create.push_back(std::move(fresh));
    }
    for (auto& k : kept) out_.stay.emplace_back(std::move(k.old), std::move(k.next));
  }

  EndpointSlice new_slice(const std::vector<EndpointPort>& ports) const {
    EndpointSlice s;
    s.metadata.generate_name = svc_.metadata.name + "-";
    s.metadata.namespace_ = svc_.metadata.namespace_;
    s.metadata.labels = labels_;
    s.metadata.owner_references.push_back(owner_reference(svc_));
    s.address_type = type_;
    s.ports = ports;
    return s;
  }

  // There is always a slice, so that watchers see that there is nothing.
  void keep_placeholder() {
    if (out_.remove.size() == 1) {
      const EndpointSlice& s = *out_.remove[0];
      if (s.endpoints.empty() && s.ports.empty() && s.metadata.labels == labels_) {
        out_.stay.emplace_back(out_.remove[0], s);
        out_.remove.clear();
        return;
      }
    }
    out_.create.push_back(new_slice({}));
  }

  void write_over() {
    while (!out_.remove.empty() && !out_.create.empty()) {
      SlicePtr old = out_.remove.front();
      out_.remove.erase(out_.remove.begin());
      EndpointSlice next = std::move(out_.create.back());
      out_.create.pop_back();
      next.metadata = old->metadata;
      next.metadata.labels = labels_;
      out_.stay.emplace_back(std::move(old), std::move(next));
    }
  }

  const Service& svc_;
  const std::string& type_;
  std::map<std::string, std::string> labels_;
  std::map<std::string, Group> groups_;  // by ports
  std::vector<SlicePtr> foreign_;
  SlicePlan out_;
};

size_t addresses(const std::vector<EndpointSubset>& subsets, std::vector<EndpointAddress> EndpointSubset::*list) {
  size_t n = 0;
  for (auto& s : subsets) n += (s.*list).size();
  return n;
}

bool truncate(std::vector<EndpointSubset>& subsets) {
  const size_t ready = addresses(subsets, &EndpointSubset::addresses), others = addresses(subsets, &EndpointSubset::not_ready_addresses);
  if (ready + others <= kEndpointsMax) return false;
  const bool too_many_ready = ready > kEndpointsMax;
  auto list = too_many_ready ? &EndpointSubset::addresses : &EndpointSubset::not_ready_addresses;
  const size_t room = too_many_ready ? kEndpointsMax : kEndpointsMax - ready, all = too_many_ready ? ready : others;
  size_t left = room;
  for (auto& s : subsets) {
    auto& cut = s.*list;
    // Rounded up, so that the last subset has less than its share.
    size_t share = static_cast<size_t>(std::ceil(static_cast<double>(cut.size()) / static_cast<double>(all) * static_cast<double>(room)));
    cut.resize(std::min({cut.size(), share, left}));
    left -= cut.size();
    if (too_many_ready) s.not_ready_addresses.clear();
  }
  std::erase_if(subsets, [](auto& s) { return s.addresses.empty() && s.not_ready_addresses.empty(); });
  return true;
}

bool first_family_is_v6(const Service& svc, const Pod& p) {
  if (!svc.spec.ip_families.empty()) return svc.spec.ip_families[0] == "IPv6";
  return is_v6(has_cluster_ip(svc) ? svc.spec.cluster_ip : p.status.pod_ip);
}

}  // namespace

std::vector<std::string> address_types(const Service& svc) {
  if (!svc.spec.ip_families.empty()) return svc.spec.ip_families;
  return {is_v6(svc.spec.cluster_ip) ? "IPv6" : "IPv4"};
}

SlicePlan plan_slices(const Service& svc, const std::vector<PodPtr>& pods, const std::vector<SlicePtr>& have, const std::string& type, const ZoneOf& zone_of) {
  return SlicePlanner(svc, type).run(pods, have, zone_of);
}

std::vector<EndpointSubset> plan_subsets(const Service& svc, const std::vector<PodPtr>& pods, bool* truncated) {
  std::map<std::string, EndpointSubset> by_ports;
  for (auto& p : pods) {
    if (!wants_address(*p, svc.spec.publish_not_ready_addresses)) continue;
    EndpointAddress a;
    a.ip = address_for(*p, first_family_is_v6(svc, *p));
    if (a.ip.empty()) continue;
    std::vector<EndpointPort> ports = ports_of(svc, *p);
    if (ports.empty() && !svc.spec.ports.empty()) continue;  // none of the ports is one of this pod
    if (!p->spec.node_name.empty()) a.node_name = p->spec.node_name;
    if (has_hostname(*p, svc)) a.hostname = p->spec.hostname;
    a.target_ref = pod_reference(*p);
    EndpointSubset& subset = by_ports[ports_id(ports)];
    if (subset.ports.empty())
      for (auto& from : ports) {
        kube::core::EndpointPort ep;
        ep.name = from.name.value_or("");
        ep.port = from.port.value_or(0);
        ep.protocol = from.protocol.value_or("TCP");
        ep.app_protocol = from.app_protocol;
        subset.ports.push_back(std::move(ep));
      }
    bool ready = svc.spec.publish_not_ready_addresses || is_ready(*p);
    (ready ? subset.addresses : subset.not_ready_addresses).push_back(std::move(a));
  }
  std::vector<EndpointSubset> out;
  for (auto& [id, s] : by_ports) {
    auto by_ip = [](auto& a, auto& b) { return a.ip != b.ip ? a.ip < b.ip : a.target_ref->uid < b.target_ref->uid; };
    std::sort(s.addresses.begin(), s.addresses.end(), by_ip);
    std::sort(s.not_ready_addresses.begin(), s.not_ready_addresses.end(), by_ip);
    out.push_back(std::move(s));
  }
  *truncated = truncate(out);
  return out;
}

std::map<std::string, std::string> endpoints_labels(const Service& svc) {
  std::map<std::string, std::string> out = svc.metadata.labels;
  if (has_cluster_ip(svc)) out.erase(kHeadlessService);
  else out[kHeadlessService] = "";
  out[kEndpointsManagedBy] = kEndpointsManager;
  return out;
}

Time TriggerTimes::observe(const std::string& key, const Service& svc, const std::vector<PodPtr>& pods) {
  auto [it, fresh] = seen_.try_emplace(key);
  Seen next;
  Time first;
  auto changed = [&](Time t) { first = first.is_zero() ? t : std::min(first, t); };
  for (auto& p : pods) {
    const kube::core::PodCondition* c = condition(*p, "Ready");
    if (!c || c->last_transition_time.is_zero()) continue;
    next.pods[p->metadata.name] = c->last_transition_time;
    auto before = it->second.pods.find(p->metadata.name);
    if (before == it->second.pods.end() || c->last_transition_time > before->second) changed(c->last_transition_time);
  }
  next.service = svc.metadata.creation_timestamp;
  if (next.service > it->second.service) changed(next.service);
  it->second = std::move(next);
  return fresh ? svc.metadata.creation_timestamp : first;
}

void set_trigger_time(kube::meta::ObjectMeta& m, Time t) {
  if (t.is_zero()) m.annotations.erase(kTriggerTime);
  else m.annotations[kTriggerTime] = format_rfc3339(t);
}

}  // namespace caravel::controllers
