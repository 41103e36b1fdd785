#include "apiserver/service_endpoint.h"

namespace caravel::apiserver {

Result<std::string> service_endpoint(Core& core, const std::string& ns, const std::string& name, const std::string& port) {
  ServedTypePtr services = core.types.find("", "v1", "services");
  ObjectPtr o = services->storage->cache->get(ns, name);
  if (!o) return status::not_found(services->resource, name);
  ValuePtr svc = o->value();
  // An endpoint of the wanted port, by slice.
  std::string port_name;
  bool found = false;
  for (auto& p : svc->path({"spec", "ports"}).as_array())
    if (port.empty() || p["name"].as_string() == port || std::to_string(p["port"].as_int()) == port) {
      port_name = p["name"].as_string();
      found = true;
      break;
    }
  if (svc->path({"spec", "type"}).as_string() == "ExternalName") return svc->path({"spec", "externalName"}).as_string() + ":" + port;
  if (!found) return status::unavailable("no service port \"" + port + "\" found for service \"" + name + "\"");
  ServedTypePtr slices = core.types.find("discovery.k8s.io", "v1", "endpointslices");
  std::vector<std::string> ready;
  for (auto& [key, s] : slices->storage->cache->objects()) {
    if (s->ns != ns) continue;
    auto* service = find_pair(s->labels, "kubernetes.io/service-name");
    if (!service || *service != name) continue;
    ValuePtr v = s->value();
    int64_t number = 0;
    for (auto& p : (*v)["ports"].as_array())
      if (p["name"].as_string() == port_name) number = p["port"].as_int();
    if (!number) continue;
    for (auto& e : (*v)["endpoints"].as_array())
      if (e["conditions"]["ready"].as_bool(true)) {
        std::string ip = e["addresses"].at(0).as_string();
        if (ip.find(':') != ip.npos) ip = "[" + ip + "]";
        ready.push_back(ip + ":" + std::to_string(number));
      }
  }
  if (ready.empty()) return status::unavailable("no endpoints available for service \"" + name + "\"");
  return ready[core.ex.random_below(ready.size())];
}

}  // namespace caravel::apiserver
