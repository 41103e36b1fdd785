#include "apiserver/service_allocator.h"

#include <algorithm>

#include "apiserver/object_meta.h"
#include "apiserver/status.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

// The addresses that a service holds.
std::vector<std::string> held_ips(const json::Value* service) {
  std::vector<std::string> out;
  if (!service) return out;
  for (auto& ip : service->path({"spec", "clusterIPs"}).as_array())
    if (!ip.as_string().empty() && ip.as_string() != "None") out.push_back(ip.as_string());
  return out;
}

bool is_ready(const json::Value& cidr) {
  if (!cidr.path({"metadata", "deletionTimestamp"}).is_null()) return false;
  for (auto& c : cidr.path({"status", "conditions"}).as_array())
    if (c["type"].as_string() == "Ready") return c["status"].as_string() == "True";
  return false;
}

}  // namespace

Result<std::unique_ptr<ServiceAllocator>> ServiceAllocator::make(Executor& ex, std::string cidr) {
  auto range = kube::IpRange::parse(cidr);
  if (!range || range->bits < 12 || range->bits > 28)
    return invalid("the service range '" + cidr + "' is not an IPv4 range of /12 to /28; give one such as 172.20.0.0/16");
  std::unique_ptr<ServiceAllocator> a(new ServiceAllocator(ex));
  a->default_ = *range;
  a->cidr_ = range->text();
  return a;
}

std::string ServiceAllocator::address(uint32_t n) const { return kube::show_ipv4(default_.base + n); }

std::vector<kube::IpRange> ServiceAllocator::ranges() const {
  std::vector<kube::IpRange> out;
  if (!cidrs_ || cidrs_->size() == 0) return {default_};
  for (auto& [key, o] : cidrs_->objects()) {
    ValuePtr v = o->value();
    if (!is_ready(*v)) continue;
    for (auto& text : v->path({"spec", "cidrs"}).as_array())
      if (auto r = kube::IpRange::parse(text.as_string())) out.push_back(*r);
  }
  return out;
}

bool ServiceAllocator::in_use(const std::string& ip) const { return ips_.count(ip) || (addresses_ && addresses_->storage->cache->get("", ip)); }

json::Value ServiceAllocator::address_object(const std::string& ip, const json::Value& service) const {
  json::Value o = json::Value::object();
  o["apiVersion"] = "networking.k8s.io/v1";
  o["kind"] = "IPAddress";
  json::Value& m = o["metadata"];
  m["name"] = ip;
  m["uid"] = new_uid(*ex_);
  m["creationTimestamp"] = format_rfc3339(ex_->now());
  m["labels"]["ipaddress.kubernetes.io/ip-family"] = "IPv4";
  m["labels"]["ipaddress.kubernetes.io/managed-by"] = kIpAllocator;
  json::Value& ref = o["spec"]["parentRef"];
  ref["resource"] = "services";
  ref["namespace"] = meta_string(service, "namespace");
  ref["name"] = meta_string(service, "name");
  Writer w;
  w.manager = "kube-apiserver";
  w.now = ex_->now();
  if (addresses_) addresses_->model->track(nullptr, o, w);
  return o;
}

void ServiceAllocator::companions(const json::Value* service, const json::Value* old, store::Txn& txn) const {
  if (!addresses_) return;
  const std::vector<std::string> now = held_ips(service), was = held_ips(old);
  auto has = [](const std::vector<std::string>& v, const std::string& s) { return std::find(v.begin(), v.end(), s) != v.end(); };
  for (auto& ip : now) {
    if (has(was, ip)) continue;
    store::Op op;
    op.key = addresses_->storage->prefix + WatchCache::key_of("", ip);
    auto stored = std::make_shared<json::Value>(address_object(ip, *service));
    op.value = encode_object(*stored, &op.stamp_at);
    op.attachment = stored;
    txn.compares.push_back({op.key, 0});
    txn.ops.push_back(std::move(op));
  }
  for (auto& ip : was) {
    if (has(now, ip)) continue;
    ObjectPtr o = addresses_->storage->cache->get("", ip);
    if (!o) continue;
    ValuePtr v = o->value();
    const json::Value& ref = v->path({"spec", "parentRef"});
    if (ref["name"].as_string() != meta_string(*old, "name") || ref["namespace"].as_string() != meta_string(*old, "namespace")) continue;  // another's
    store::Op op;
    op.kind = store::Op::kDelete;
    op.key = addresses_->storage->prefix + WatchCache::key_of("", ip);
    txn.ops.push_back(std::move(op));
  }
}

void ServiceAllocator::note(const json::Value& service, bool in_use) {
  for (auto& ip : service.path({"spec", "clusterIPs"}).as_array())
    if (!ip.as_string().empty() && ip.as_string() != "None") {
      if (in_use) ips_.insert(ip.as_string());
      else ips_.erase(ip.as_string());
    }
  auto port = [&](const json::Value& p) {
    if (p.as_int() == 0) return;
    if (in_use) ports_[p.as_int()] = 1;
    else ports_.erase(p.as_int());
  };
  for (auto& p : service.path({"spec", "ports"}).as_array()) port(p["nodePort"]);
  port(service.path({"spec", "healthCheckNodePort"}));
}

void ServiceAllocator::follow(WatchCache* services, WatchCache* ranges, ServedTypePtr addresses) {
  cidrs_ = ranges;
  addresses_ = std::move(addresses);
  for (auto& [key, o] : services->objects()) note(*o->value(), true);
}

void ServiceAllocator::release(const json::Value& service) { note(service, false); }

void ServiceAllocator::updated(const json::Value& service, const json::Value& old) {
  note(old, false);
  note(service, true);
}

Status ServiceAllocator::take_ip(json::Value& spec, const std::string& name, bool dry_run) {
  std::string wanted = spec["clusterIP"].as_string();
  if (wanted == "None") {
    spec["clusterIPs"] = json::Value::array({"None"});
    return ok();
  }
  if (!wanted.empty()) {
    auto ip = kube::parse_ipv4(wanted);
    auto all = ranges();
    std::string why;
    if (!ip) why = "must be a valid IP address";
    else if (std::none_of(all.begin(), all.end(), [&](const kube::IpRange& r) { return r.holds(*ip); }))
      why = "failed to allocate IP " + wanted + ": the provided network does not match the current range";
    else if (in_use(wanted)) why = "failed to allocate IP " + wanted + ": provided IP is already allocated";
    if (!why.empty()) return status::invalid("", "Service", name, {{"spec.clusterIPs", "FieldValueInvalid", "Invalid value: [\"" + wanted + "\"]: " + why}});
  } else {
    auto all = ranges();
    for (auto& r : all)
      if (wanted.empty()) wanted = free_ip(r);
    if (wanted.empty()) return status::internal(std::string("failed to allocate a serviceIP: ") + (all.empty() ? "allocator not ready" : "range is full"));
  }
  spec["clusterIP"] = wanted;
  spec["clusterIPs"] = json::Value::array({wanted});
  if (!dry_run) ips_.insert(wanted);
  return ok();
}

// An address that nobody has; "" when there is none.
std::string ServiceAllocator::free_ip(const kube::IpRange& range) const {
  if (range.size < 4) return "";
  // The lower part is kept for addresses that people choose, as upstream does.
  uint32_t low = range.size < 32 ? 1 : std::min<uint32_t>(std::max<uint32_t>(16, range.size / 16), 256);
  uint32_t span = range.size - 1 - low;
  uint32_t start = static_cast<uint32_t>(ex_->random_below(span));
  for (uint32_t i = 0; i < span; ++i) {
    std::string ip = kube::show_ipv4(range.base + low + (start + i) % span);
    if (!in_use(ip)) return ip;
  }
  for (uint32_t i = 1; i < low; ++i) {
    std::string ip = kube::show_ipv4(range.base + i);
    if (!in_use(ip)) return ip;
  }
  return "";
}

Status ServiceAllocator::take_port(json::Value& port, const std::string& name, size_t index, bool dry_run, const char* field) {
  int64_t n = port.as_int();
  std::string path = std::string("spec.ports[") + std::to_string(index) + "]." + field;
  if (n) {
    if (n < kNodePortFirst || n > kNodePortLast)
      return status::invalid("", "Service", name, {{path, "FieldValueInvalid", "Invalid value: " + std::to_string(n) + ": provided port is not in the valid range. The range of valid ports is 30000-32767"}});
    if (ports_.count(n)) return status::invalid("", "Service", name, {{path, "FieldValueInvalid", "Invalid value: " + std::to_string(n) + ": provided port is already allocated"}});
  } else {
    int span = kNodePortLast - kNodePortFirst + 1;
    int64_t start = static_cast<int64_t>(ex_->random_below(static_cast<uint64_t>(span)));
    for (int i = 0; i < span && !n; ++i) {
      int64_t p = kNodePortFirst + (start + i) % span;
      if (!ports_.count(p)) n = p;
    }
    if (!n) return status::internal("failed to allocate a nodePort: range is full");
  }
  port = n;
  if (!dry_run) ports_[n] = 1;
  return ok();
}

Status ServiceAllocator::allocate(json::Value& service, const json::Value* old, bool dry_run) {
  json::Value& spec = service["spec"];
  const std::string name = service["metadata"]["name"].as_string();
  std::string type = spec["type"].as_string();
  if (type == "ExternalName") {
    for (std::string_view f : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}) spec.erase(f);
    if (json::Value* ports = spec.find("ports"); ports && ports->is_array())
      for (auto& p : ports->arr()) p.erase("nodePort");
    return ok();
  }
  if (old && !old->path({"spec", "clusterIP"}).as_string().empty()) {
    if (spec["clusterIP"].as_string().empty()) spec["clusterIP"] = old->path({"spec", "clusterIP"});
    if (spec["clusterIPs"].size() == 0) spec["clusterIPs"] = old->path({"spec", "clusterIPs"});
    if (!(spec["clusterIP"] == old->path({"spec", "clusterIP"})))
      return status::invalid("", "Service", name, {{"spec.clusterIPs[0]", "FieldValueInvalid", "Invalid value: " + json::dump(spec["clusterIPs"]) + ": may not change once set"}});
  } else {
    TRY_VOID(take_ip(spec, name, dry_run));
  }
  if (spec["ipFamilies"].size() == 0) spec["ipFamilies"] = json::Value::array({"IPv4"});
  if (spec["ipFamilyPolicy"].as_string().empty()) spec["ipFamilyPolicy"] = "SingleStack";
  bool wants_ports = type == "NodePort" || (type == "LoadBalancer" && spec["allocateLoadBalancerNodePorts"].as_bool(true));
  auto held = [&](int64_t n) {
    if (!old || !n) return false;
    for (auto& p : old->path({"spec", "ports"}).as_array())
      if (p["nodePort"].as_int() == n) return true;
    return false;
  };
  std::map<int64_t, int64_t> by_port;  // the same port with two protocols shares its node port
  if (spec["ports"].is_array())
    for (size_t i = 0; i < spec["ports"].size(); ++i) {
      json::Value& p = spec["ports"].arr()[i];
      if (!wants_ports) {
        if (type == "ClusterIP") p.erase("nodePort");
        continue;
      }
      if (p["nodePort"].as_int() == 0 && old) {
        for (auto& o : old->path({"spec", "ports"}).as_array())
          if (o["port"] == p["port"] && o["protocol"] == p["protocol"] && o["nodePort"].as_int()) p["nodePort"] = o["nodePort"];
      }
      if (held(p["nodePort"].as_int())) {
        by_port[p["port"].as_int()] = p["nodePort"].as_int();
        continue;
      }
      if (p["nodePort"].as_int() == 0 && by_port.count(p["port"].as_int())) {
        p["nodePort"] = by_port[p["port"].as_int()];
        continue;
      }
      if (Status s = take_port(p["nodePort"], name, i, dry_run, "nodePort"); !s.ok()) {
        if (!old) release(service);
        return s;
      }
      by_port[p["port"].as_int()] = p["nodePort"].as_int();
    }
  if (type == "LoadBalancer" && spec["externalTrafficPolicy"].as_string() == "Local") {
    json::Value& h = spec["healthCheckNodePort"];
    if (h.as_int() == 0 && old) h = old->path({"spec", "healthCheckNodePort"});
    if (h.as_int() == 0) TRY_VOID(take_port(h, name, 0, dry_run, "healthCheckNodePort"));
  } else {
    spec.erase("healthCheckNodePort");
  }
  return ok();
}

}  // namespace caravel::apiserver
