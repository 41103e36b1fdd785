#include "eks/instance.h"

#include <algorithm>

#include "base/strings.h"
#include "eks/user_data.h"

namespace caravel::eks {
namespace {

using json::Value;

std::map<std::string, std::string> text_map(const Value& v) {
  std::map<std::string, std::string> out;
  for (auto& m : v.as_object()) out[m.key] = m.value.is_string() ? m.value.as_string() : json::dump(m.value);
  return out;
}

Status merge(NodeConfig& c, const Value& doc) {
  const Value& spec = doc["spec"];
  const Value& cluster = spec["cluster"];
  auto take = [](std::string& to, const Value& from) {
    if (!from.as_string().empty()) to = from.as_string();
  };
  take(c.cluster_name, cluster["name"]);
  take(c.api_server_endpoint, cluster["apiServerEndpoint"]);
  take(c.service_cidr, cluster["cidr"]);
  take(c.bootstrap_token, cluster["bootstrapToken"]);
  if (const std::string& ca = cluster["certificateAuthority"].as_string(); !ca.empty()) {
    auto pem = base64_decode(ca);
    if (!pem) return invalid("spec.cluster.certificateAuthority of the NodeConfig is not base64");
    c.certificate_authority = *pem;
  }
  const Value& kubelet = spec["kubelet"]["config"];
  if (kubelet["maxPods"].is_int()) c.max_pods = static_cast<int>(kubelet["maxPods"].as_int());
  for (auto& d : kubelet["clusterDNS"].as_array()) c.cluster_dns.push_back(d.as_string());
  for (auto& t : kubelet["registerWithTaints"].as_array()) {
    core::Taint taint;
    taint.key = t["key"].as_string();
    taint.value = t["value"].as_string();
    taint.effect = t["effect"].as_string();
    c.taints.push_back(std::move(taint));
  }
  for (auto& [k, v] : text_map(kubelet["kubeReserved"])) c.kube_reserved[k] = v;
  for (auto& [k, v] : text_map(kubelet["systemReserved"])) c.system_reserved[k] = v;
  for (auto& [k, v] : text_map(kubelet["evictionHard"])) c.eviction_hard[k] = v;
  for (auto& f : spec["kubelet"]["flags"].as_array()) TRY_VOID(apply_kubelet_flag(c, f.as_string()));
  return ok();
}

int64_t default_reserved_cpu(int cpus) {  // thousandths
  int64_t tenths_of_milli = 0;
  for (int i = 0; i < cpus; ++i) tenths_of_milli += i == 0 ? 600 : i == 1 ? 100
                                                               : i < 4    ? 50
                                                                          : 25;
  return tenths_of_milli / 10;
}

int64_t eviction_bytes(const NodeConfig& config, const char* signal, int64_t capacity, const char* fallback) {
  auto it = config.eviction_hard.find(signal);
  const std::string text = it == config.eviction_hard.end() ? fallback : it->second;
  if (text.ends_with("%")) return static_cast<int64_t>(parse_double(text.substr(0, text.size() - 1)).value_or(0) / 100 * static_cast<double>(capacity));
  return kube::Quantity::of(text).value();
}

}  // namespace

Result<core::Taint> parse_taint(const std::string& text) {
  size_t colon = text.rfind(':');
  core::Taint t;
  if (colon == text.npos) return invalid("the taint \"" + text + "\" has no effect; write key=value:NoSchedule");
  t.effect = text.substr(colon + 1);
  const std::string pair = text.substr(0, colon);
  size_t equals = pair.find('=');
  t.key = pair.substr(0, equals);
  if (equals != pair.npos) t.value = pair.substr(equals + 1);
  if (t.key.empty() || (t.effect != "NoSchedule" && t.effect != "PreferNoSchedule" && t.effect != "NoExecute"))
    return invalid("the taint \"" + text + "\" is not key=value:NoSchedule, PreferNoSchedule or NoExecute");
  return t;
}

Status apply_kubelet_flag(NodeConfig& c, const std::string& flag) {
  size_t equals = flag.find('=');
  const std::string name = flag.substr(0, equals);
  std::string value = equals == flag.npos ? "" : flag.substr(equals + 1);
  if (value.size() > 1 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  if (name == "--node-labels") {
    for (auto& pair : split(value, ',')) {
      if (pair.empty()) continue;
      size_t e = pair.find('=');
      c.labels[pair.substr(0, e)] = e == pair.npos ? "" : pair.substr(e + 1);
    }
  } else if (name == "--register-with-taints") {
    for (auto& text : split(value, ',')) {
      if (text.empty()) continue;
      TRY(core::Taint t, parse_taint(text));
      c.taints.push_back(std::move(t));
    }
  } else if (name == "--max-pods") {
    auto n = parse_int(value);
    if (!n || *n <= 0) return invalid("--max-pods wants a positive number, got \"" + value + "\"");
    c.max_pods = static_cast<int>(*n);
  } else if (name == "--bootstrap-token") {
    c.bootstrap_token = value;
  } else if (name == "--cluster-dns") {
    c.cluster_dns = split(value, ',');
  }
  return ok();
}

Result<NodeConfig> parse_node_config(const std::string& text) {
  TRY(UserData data, parse_user_data(text));
  if (data.node_config.is_null()) return invalid("the user data has no NodeConfig (apiVersion node.eks.aws/v1alpha1)");
  NodeConfig out;
  TRY_VOID(merge(out, data.node_config));
  return out;
}

int eni_max_pods(int enis, int addresses_per_eni) { return enis * (addresses_per_eni - 1) + 2; }

NodeResources node_resources(const InstanceFacts& f, const NodeConfig& config) {
  using kube::Quantity;
  NodeResources out;
  const int eni_pods = f.enis > 0 ? eni_max_pods(f.enis, f.addresses_per_eni) : 110;
  const int pods = config.max_pods > 0 ? config.max_pods : eni_pods;
  const int64_t memory = f.memory_mib << 20;
  out.capacity["cpu"] = Quantity(f.cpus);
  out.capacity["memory"] = Quantity(memory, Quantity::Format::kBinarySI);
  out.capacity["pods"] = Quantity(pods);
  out.capacity["ephemeral-storage"] = Quantity(f.storage_bytes, Quantity::Format::kBinarySI);
  out.capacity["hugepages-1Gi"] = Quantity(0);
  out.capacity["hugepages-2Mi"] = Quantity(0);

  auto reserved = [](const std::map<std::string, std::string>& m, const char* name, Quantity fallback) {
    auto it = m.find(name);
    return it == m.end() ? fallback : Quantity::of(it->second);
  };
  const Quantity cpu = reserved(config.kube_reserved, "cpu", Quantity::from_milli(default_reserved_cpu(f.cpus))) + reserved(config.system_reserved, "cpu", Quantity());
  const Quantity mem = reserved(config.kube_reserved, "memory", Quantity((255 + 11ll * eni_pods) << 20, Quantity::Format::kBinarySI)) +
                       reserved(config.system_reserved, "memory", Quantity());
  const Quantity disk = reserved(config.kube_reserved, "ephemeral-storage", Quantity(1ll << 30, Quantity::Format::kBinarySI)) +
                        reserved(config.system_reserved, "ephemeral-storage", Quantity());
  out.allocatable = out.capacity;
  out.allocatable["cpu"] = Quantity::from_milli(std::max<int64_t>(0, f.cpus * 1000 - cpu.milli_value()));
  out.allocatable["memory"] =
      Quantity(std::max<int64_t>(0, memory - mem.value() - eviction_bytes(config, "memory.available", memory, "100Mi")), Quantity::Format::kBinarySI);
  out.allocatable["ephemeral-storage"] =
      Quantity(std::max<int64_t>(0, f.storage_bytes - disk.value() - eviction_bytes(config, "nodefs.available", f.storage_bytes, "10%")));
  return out;
}

std::map<std::string, std::string> node_labels(const InstanceFacts& f, const std::string& node_name, const NodeConfig& config) {
  std::map<std::string, std::string> out = config.labels;
  out["kubernetes.io/hostname"] = node_name;
  out["kubernetes.io/os"] = out["beta.kubernetes.io/os"] = "linux";
  out["kubernetes.io/arch"] = out["beta.kubernetes.io/arch"] = f.architecture;
  if (!f.type.empty()) out["node.kubernetes.io/instance-type"] = out["beta.kubernetes.io/instance-type"] = f.type;
  if (!f.zone.empty()) out["topology.kubernetes.io/zone"] = out["failure-domain.beta.kubernetes.io/zone"] = f.zone;
  if (!f.region.empty()) out["topology.kubernetes.io/region"] = out["failure-domain.beta.kubernetes.io/region"] = f.region;
  return out;
}

}  // namespace caravel::eks
