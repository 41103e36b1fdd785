#include "apiserver/service_allocator.h"

#include "apiserver/status.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {
std::optional<uint32_t> parse_ip(std::string_view text) {
  auto parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  uint32_t ip = 0;
  for (auto& p : parts) {
    auto n = parse_int(p);
    if (!n || *n < 0 || *n > 255) return std::nullopt;
    ip = ip << 8 | static_cast<uint32_t>(*n);
  }
  return ip;
}
std::string show_ip(uint32_t ip) { return format("%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255); }
}  // namespace

Result<std::unique_ptr<ServiceAllocator>> ServiceAllocator::make(Executor& ex, std::string cidr) {
  size_t slash = cidr.find('/');
  auto ip = parse_ip(std::string_view(cidr).substr(0, slash));
  auto bits = slash == cidr.npos ? std::nullopt : parse_int(cidr.substr(slash + 1));
  if (!ip || !bits || *bits < 12 || *bits > 28)
    return invalid("the service range '" + cidr + "' is not an IPv4 range of /12 to /28; give one such as 172.20.0.0/16");
  std::unique_ptr<ServiceAllocator> a(new ServiceAllocator(ex));
  a->size_ = 1u << (32 - *bits);
  a->base_ = *ip & ~(a->size_ - 1);
  a->cidr_ = std::move(cidr);
  return a;
}

std::string ServiceAllocator::address(uint32_t n) const { return show_ip(base_ + n); }

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

void ServiceAllocator::follow(WatchCache* services) {
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
    auto ip = parse_ip(wanted);
    std::string why;
    if (!ip) why = "must be a valid IP address";
    else if (*ip <= base_ || *ip >= base_ + size_ - 1) why = "failed to allocate IP " + wanted + ": the provided IP (" + wanted + ") is not in the valid range. The range of valid IPs is " + cidr_;
    else if (ips_.count(wanted)) why = "failed to allocate IP " + wanted + ": provided IP is already allocated";
    if (!why.empty()) return status::invalid("", "Service", name, {{"spec.clusterIPs", "FieldValueInvalid", "Invalid value: [\"" + wanted + "\"]: " + why}});
  } else {
    // The lower part is kept for addresses that people choose, as upstream does.
    uint32_t low = std::min<uint32_t>(std::max<uint32_t>(16, size_ / 16), 256);
    uint32_t span = size_ - 1 - low;
    uint32_t start = static_cast<uint32_t>(ex_->random_below(span));
    for (uint32_t i = 0; i < span && wanted.empty(); ++i) {
      std::string ip = show_ip(base_ + low + (start + i) % span);
      if (!ips_.count(ip)) wanted = std::move(ip);
    }
    for (uint32_t i = 1; i < low && wanted.empty(); ++i) {
      std::string ip = show_ip(base_ + i);
      if (!ips_.count(ip)) wanted = std::move(ip);
    }
    if (wanted.empty()) return status::internal("failed to allocate a serviceIP: range is full");
  }
  spec["clusterIP"] = wanted;
  spec["clusterIPs"] = json::Value::array({wanted});
  if (!dry_run) ips_.insert(wanted);
  return ok();
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
