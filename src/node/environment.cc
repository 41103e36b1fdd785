#include "node/environment.h"

#include <algorithm>
#include <set>

#include "base/strings.h"

namespace caravel::node {

PodReferences references(const core::Pod& pod) {
  std::set<std::string> maps, secrets;
  auto of_container = [&](const core::Container& c) {
    for (auto& e : c.env_from) {
      if (e.config_map_ref) maps.insert(e.config_map_ref->name);
      if (e.secret_ref) secrets.insert(e.secret_ref->name);
    }
    for (auto& e : c.env) {
      if (!e.value_from) continue;
      if (e.value_from->config_map_key_ref) maps.insert(e.value_from->config_map_key_ref->name);
      if (e.value_from->secret_key_ref) secrets.insert(e.value_from->secret_key_ref->name);
    }
  };
  for (auto& c : pod.spec.init_containers) of_container(c);
  for (auto& c : pod.spec.containers) of_container(c);
  for (auto& v : pod.spec.volumes) {
    if (v.config_map) maps.insert(v.config_map->name);
    if (v.secret) secrets.insert(v.secret->secret_name);
    if (!v.projected) continue;
    for (auto& s : v.projected->sources) {
      if (s.config_map) maps.insert(s.config_map->name);
      if (s.secret) secrets.insert(s.secret->name);
    }
  }
  for (auto& s : pod.spec.image_pull_secrets) secrets.insert(s.name);
  PodReferences out;
  out.config_maps.assign(maps.begin(), maps.end());
  out.secrets.assign(secrets.begin(), secrets.end());
  return out;
}

std::string expand(std::string_view text, const std::map<std::string, std::string>& variables) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    size_t end = text[i + 1] == '(' ? text.find(')', i) : text.npos;
    if (end == text.npos) {
      out += '$';
      continue;
    }
    auto it = variables.find(std::string(text.substr(i + 2, end - i - 2)));
    if (it != variables.end()) out += it->second;
    else out += text.substr(i, end - i + 1);
    i = end;
  }
  return out;
}

namespace {

// Labels and annotations as a downward-API file: key="value" lines, the value quoted as Go's %q.
std::string format_map(const std::map<std::string, std::string>& m) {
  std::string out;
  for (auto& [k, v] : m) {
    if (!out.empty()) out += '\n';
    out += k + "=" + json::dump(json::Value(v));
  }
  return out;
}

// "metadata.labels['app']" -> {"metadata.labels", "app"}.
std::pair<std::string, std::string> split_subscript(std::string_view path) {
  size_t open = path.find("['");
  if (open == path.npos || !path.ends_with("']")) return {std::string(path), ""};
  return {std::string(path.substr(0, open)), std::string(path.substr(open + 2, path.size() - open - 4))};
}

Result<std::string> divided(const kube::Quantity& amount, const kube::Quantity& divisor, bool cpu) {
  if (cpu) {
    int64_t d = divisor.is_zero() ? 1000 : divisor.milli_value();
    return std::to_string((amount.milli_value() + d - 1) / d);
  }
  int64_t d = divisor.is_zero() ? 1 : divisor.value();
  if (d <= 0) return invalid("the divisor " + divisor.text() + " is not positive");
  return std::to_string((amount.value() + d - 1) / d);
}

}  // namespace

Result<std::string> field_value(const core::Pod& pod, std::string_view path, const PodFacts& facts) {
  auto [field, key] = split_subscript(path);
  const auto& m = pod.metadata;
  auto lookup = [&key](const std::map<std::string, std::string>& map) {
    auto it = map.find(key);
    return it == map.end() ? std::string() : it->second;
  };
  if (field == "metadata.labels") return key.empty() ? format_map(m.labels) : lookup(m.labels);
  if (field == "metadata.annotations") return key.empty() ? format_map(m.annotations) : lookup(m.annotations);
  if (field == "metadata.name") return m.name;
  if (field == "metadata.namespace") return m.namespace_;
  if (field == "metadata.uid") return m.uid;
  if (field == "spec.nodeName") return pod.spec.node_name;
  if (field == "spec.serviceAccountName") return pod.spec.service_account_name;
  if (field == "spec.host" || field == "status.hostIP" || field == "status.hostIPs") return facts.host_ip;
  if (field == "status.podIP") return facts.pod_ip;
  if (field == "status.podIPs") return join(facts.pod_ips, ",");
  return invalid("unsupported fieldPath: " + std::string(path));
}

Result<std::string> resource_value(const core::Container& container, const core::ResourceFieldSelector& selector, const PodFacts& facts) {
  size_t dot = selector.resource.find('.');
  const std::string which = selector.resource.substr(0, dot), name = dot == std::string::npos ? "" : selector.resource.substr(dot + 1);
  if ((which != "limits" && which != "requests") || name.empty()) return invalid("unsupported container resource : " + selector.resource);
  kube::Quantity amount;
  auto limit = container.resources.limits.find(name);
  if (which == "requests") {
    auto it = container.resources.requests.find(name);
    if (it != container.resources.requests.end()) amount = it->second;
    else if (limit != container.resources.limits.end()) amount = limit->second;
  } else if (limit != container.resources.limits.end()) {
    amount = limit->second;
  } else if (auto it = facts.allocatable.find(name); it != facts.allocatable.end()) {
    amount = it->second;  // no limit: what the node can give
  }
  return divided(amount, selector.divisor, name == "cpu");
}

Result<std::string> resource_value(const core::Pod& pod, const core::ResourceFieldSelector& selector, const PodFacts& facts) {
  for (auto* list : {&pod.spec.containers, &pod.spec.init_containers})
    for (auto& c : *list)
      if (c.name == selector.container_name) return resource_value(c, selector, facts);
  return invalid("container " + selector.container_name + " not found");
}

Environment service_environment(const std::vector<std::shared_ptr<const core::Service>>& services, const std::string& ns, bool service_links) {
  std::map<std::string, std::string> out;
  for (auto& s : services) {
    const bool master = s->metadata.namespace_ == "default" && s->metadata.name == "kubernetes";
    if (!master && (!service_links || s->metadata.namespace_ != ns)) continue;
    const std::string& ip = s->spec.cluster_ip;
    if (ip.empty() || ip == "None" || s->spec.ports.empty()) continue;
    const std::string name = to_upper(replace_all(s->metadata.name, "-", "_"));
    out[name + "_SERVICE_HOST"] = ip;
    out[name + "_SERVICE_PORT"] = std::to_string(s->spec.ports[0].port);
    for (auto& p : s->spec.ports)
      if (!p.name.empty()) out[name + "_SERVICE_PORT_" + to_upper(replace_all(p.name, "-", "_"))] = std::to_string(p.port);
    bool first = true;
    for (auto& p : s->spec.ports) {
      const std::string protocol = p.protocol.empty() ? "TCP" : p.protocol, port = std::to_string(p.port);
      const std::string url = to_lower(protocol) + "://" + ip + ":" + port, prefix = name + "_PORT_" + port + "_" + protocol;
      if (std::exchange(first, false)) out[name + "_PORT"] = url;
      out[prefix] = url;
      out[prefix + "_PROTO"] = to_lower(protocol);
      out[prefix + "_PORT"] = port;
      out[prefix + "_ADDR"] = ip;
    }
  }
  return {out.begin(), out.end()};
}

Result<Environment> container_environment(const core::Pod& pod, const core::Container& container, const PodSources& sources,
                                          const std::vector<std::shared_ptr<const core::Service>>& services, const PodFacts& facts) {
  std::map<std::string, std::string> values;
  std::vector<std::string> order;
  auto set = [&](const std::string& name, std::string value) {
    if (!values.count(name)) order.push_back(name);
    values[name] = std::move(value);
  };
  const std::string& ns = pod.metadata.namespace_;
  auto config_map = [&](const std::string& name) {
    auto it = sources.config_maps.find(name);
    return it == sources.config_maps.end() ? nullptr : it->second;
  };
  auto secret = [&](const std::string& name) {
    auto it = sources.secrets.find(name);
    return it == sources.secrets.end() ? nullptr : it->second;
  };

  std::map<std::string, std::string> from_services;
  for (auto& [k, v] : service_environment(services, ns, pod.spec.enable_service_links.value_or(true))) from_services[k] = v;

  for (auto& e : container.env_from) {
    if (e.config_map_ref) {
      auto m = config_map(e.config_map_ref->name);
      if (m)
        for (auto& [k, v] : m->data) set(e.prefix + k, v);
      else if (!e.config_map_ref->optional.value_or(false)) return not_found("configmap \"" + e.config_map_ref->name + "\" not found");
    } else if (e.secret_ref) {
      auto s = secret(e.secret_ref->name);
      if (s)
        for (auto& [k, v] : s->data) set(e.prefix + k, v);
      else if (!e.secret_ref->optional.value_or(false)) return not_found("secret \"" + e.secret_ref->name + "\" not found");
    }
  }
  for (auto& e : container.env) {
    if (!e.value_from) {
      std::map<std::string, std::string> visible = from_services;
      for (auto& [k, v] : values) visible[k] = v;
      set(e.name, expand(e.value, visible));
      continue;
    }
    const auto& f = *e.value_from;
    if (f.field_ref) {
      TRY(std::string v, field_value(pod, f.field_ref->field_path, facts));
      set(e.name, std::move(v));
    } else if (f.resource_field_ref) {
      Result<std::string> v = f.resource_field_ref->container_name.empty() || f.resource_field_ref->container_name == container.name
                                  ? resource_value(container, *f.resource_field_ref, facts)
                                  : resource_value(pod, *f.resource_field_ref, facts);
      if (!v.ok()) return std::move(v).error();
      set(e.name, std::move(*v));
    } else if (f.config_map_key_ref) {
      const auto& r = *f.config_map_key_ref;
      auto m = config_map(r.name);
      auto it = m ? m->data.find(r.key) : std::map<std::string, std::string>::const_iterator();
      if (m && it != m->data.end()) set(e.name, it->second);
      else if (r.optional.value_or(false)) continue;
      else if (!m) return not_found("configmap \"" + r.name + "\" not found");
      else return not_found("couldn't find key " + r.key + " in ConfigMap " + ns + "/" + r.name);
    } else if (f.secret_key_ref) {
      const auto& r = *f.secret_key_ref;
      auto s = secret(r.name);
      auto it = s ? s->data.find(r.key) : std::map<std::string, std::string>::const_iterator();
      if (s && it != s->data.end()) set(e.name, it->second);
      else if (r.optional.value_or(false)) continue;
      else if (!s) return not_found("secret \"" + r.name + "\" not found");
      else return not_found("couldn't find key " + r.key + " in Secret " + ns + "/" + r.name);
    }
  }
  Environment out;
  for (auto& name : order) out.emplace_back(name, values[name]);
  for (auto& [k, v] : from_services)
    if (!values.count(k)) out.emplace_back(k, v);
  return out;
}

}  // namespace caravel::node
