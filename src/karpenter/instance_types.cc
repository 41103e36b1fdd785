#include "karpenter/instance_types.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "kube/quantity.h"

namespace caravel::karpenter {

namespace {

constexpr int64_t kMi = 1 << 20, kGi = 1 << 30;

int64_t bytes(const std::string& quantity) { return kube::Quantity::of(quantity).value(); }

// "10%" of the capacity, or a quantity.
int64_t share(const std::string& text, int64_t capacity) {
  if (!text.empty() && text.back() == '%') {
    double percent = parse_double(std::string_view(text).substr(0, text.size() - 1)).value_or(0);
    return static_cast<int64_t>(std::ceil(percent / 100 * static_cast<double>(capacity)));
  }
  return bytes(text);
}

std::map<std::string, std::string> quantities(const json::Value& v) {
  std::map<std::string, std::string> out;
  for (const auto& [k, x] : v.as_object()) out[k] = x.is_string() ? x.as_string() : std::to_string(x.as_int());
  return out;
}

struct TypeName {
  std::string family, category, generation, size;
};
// "c6gd.metal" -> c6gd, c, 6, metal
TypeName parse_name(const std::string& name) {
  TypeName out;
  size_t dot = name.find('.');
  out.family = name.substr(0, dot);
  out.size = dot == name.npos ? "" : name.substr(dot + 1);
  size_t i = 0;
  while (i < out.family.size() && std::isalpha(static_cast<unsigned char>(out.family[i]))) ++i;
  out.category = out.family.substr(0, i);
  if (out.category.starts_with("u")) i = 1, out.category = "u";
  size_t j = i;
  while (j < out.family.size() && std::isdigit(static_cast<unsigned char>(out.family[j]))) ++j;
  out.generation = out.family.substr(i, j - i);
  return out;
}

Amounts capacity_of(const json::Value& info, const NodeClassCapacity& nc, const CatalogOptions& o) {
  Amounts c;
  bool arm = info["ProcessorInfo"]["SupportedArchitectures"].at(0).as_string() == "arm64";
  c.cpu = info["VCpuInfo"]["DefaultVCpus"].as_int() * 1000;
  int64_t mib = info["MemoryInfo"]["SizeInMiB"].as_int();
  if (arm) mib -= 64;  // a part of it is not seen by the system
  mib -= static_cast<int64_t>(std::ceil(static_cast<double>(mib) * o.vm_memory_overhead));
  c.memory = mib * kMi;
  int64_t store_gb = info["InstanceStorageInfo"]["TotalSizeInGB"].as_int();
  c.ephemeral = nc.instance_store_raid0 && store_gb > 0 ? store_gb * 1'000'000'000 : nc.root_volume_bytes;
  c.pods = nc.kubelet.max_pods.value_or(eni_pods(info, o.reserved_enis));
  if (nc.kubelet.pods_per_core.value_or(0) > 0 && nc.ami_family != "Bottlerocket") c.pods = std::min(c.pods, *nc.kubelet.pods_per_core * (c.cpu / 1000));
  for (const auto& g : info["GpuInfo"]["Gpus"].as_array()) {
    const std::string& maker = g["Manufacturer"].as_string();
    int64_t n = g["Count"].as_int();
    if (maker == "NVIDIA") c.other["nvidia.com/gpu"] += n;
    if (maker == "AMD") c.other["amd.com/gpu"] += n;
    if (maker == "Habana") c.other["habana.ai/gaudi"] += n;
  }
  for (const auto& d : info["NeuronInfo"]["NeuronDevices"].as_array()) {
    c.other["aws.amazon.com/neuron"] += d["Count"].as_int();
    c.other["aws.amazon.com/neuroncore"] += d["Count"].as_int() * d["CoreInfo"]["Count"].as_int();
  }
  if (int64_t efa = info["NetworkInfo"]["EfaInfo"]["MaximumEfaInterfaces"].as_int(); efa > 0) c.other["vpc.amazonaws.com/efa"] = efa;
  return c;
}

Amounts overhead_of(const json::Value& info, const Amounts& capacity, const NodeClassCapacity& nc, const CatalogOptions& o) {
  Amounts kube;
  kube.cpu = kube_reserved_cpu(capacity.cpu / 1000);
  // AL2 and AL2023 reckon with the interfaces' pod count even when maxPods says another.
  int64_t pods = nc.ami_family == "Bottlerocket" ? capacity.pods : eni_pods(info, o.reserved_enis);
  kube.memory = (11 * pods + 255) * kMi;
  kube.ephemeral = kGi;
  auto set = [](Amounts& a, const std::map<std::string, std::string>& values) {
    for (const auto& [k, v] : values) {
      if (k == "cpu") a.cpu = kube::Quantity::of(v).milli_value();
      if (k == "memory") a.memory = bytes(v);
      if (k == "ephemeral-storage") a.ephemeral = bytes(v);
    }
  };
  set(kube, nc.kubelet.kube_reserved);
  Amounts system, eviction;
  set(system, nc.kubelet.system_reserved);
  eviction.memory = 100 * kMi;
  eviction.ephemeral = static_cast<int64_t>(std::ceil(static_cast<double>(capacity.ephemeral) * 0.1));
  for (const auto& [k, v] : nc.kubelet.eviction_hard) {
    if (k == "memory.available") eviction.memory = share(v, capacity.memory);
    if (k == "nodefs.available") eviction.ephemeral = share(v, capacity.ephemeral);
  }
  kube += system;
  kube += eviction;
  return kube;
}

Requirements requirements_of_type(const std::string& name, const json::Value& info, const std::string& region) {
  Requirements r;
  TypeName parts = parse_name(name);
  auto set = [&](const std::string& key, const std::string& value) { r.set(key, value.empty() ? Requirement() : Requirement::in({value})); };
  auto aws = [&](const std::string& key, const std::string& value) { set("karpenter.k8s.aws/" + key, value); };
  auto number = [&](const std::string& key, int64_t n) { aws(key, n > 0 ? std::to_string(n) : ""); };
  std::string arch = info["ProcessorInfo"]["SupportedArchitectures"].at(0).as_string();
  set(label::kInstanceType, name);
  set(label::kArch, arch == "x86_64" ? "amd64" : arch);
  set(label::kOs, "linux");
  set(label::kRegion, region);
  r.set("node.kubernetes.io/windows-build", Requirement());
  number("instance-cpu", info["VCpuInfo"]["DefaultVCpus"].as_int());
  aws("instance-cpu-manufacturer", to_lower(info["ProcessorInfo"]["Manufacturer"].as_string()));
  number("instance-cpu-sustained-clock-speed-mhz", static_cast<int64_t>(std::llround(info["ProcessorInfo"]["SustainedClockSpeedInGhz"].as_double() * 1000)));
  number("instance-memory", info["MemoryInfo"]["SizeInMiB"].as_int());
  number("instance-ebs-bandwidth", info["EbsInfo"]["EbsOptimizedInfo"]["MaximumBandwidthInMbps"].as_int());
  const json::Value& card = info["NetworkInfo"]["NetworkCards"].at(0);
  number("instance-network-bandwidth", static_cast<int64_t>(std::llround(card["BaselineBandwidthInGbps"].as_double() * 1000)));
  aws("instance-category", parts.category);
  aws("instance-family", parts.family);
  aws("instance-generation", parts.generation);
  aws("instance-size", parts.size);
  aws("instance-capability-flex", parts.family.find("-flex") != std::string::npos ? "true" : "false");
  number("instance-local-nvme", info["InstanceStorageInfo"]["TotalSizeInGB"].as_int());
  aws("instance-hypervisor", info["Hypervisor"].as_string());
  aws("instance-encryption-in-transit-supported", info["NetworkInfo"]["EncryptionInTransitSupported"].as_bool() ? "true" : "false");
  aws("instance-tenancy", "default");
  const json::Value& gpu = info["GpuInfo"]["Gpus"].at(0);
  auto plain = [](std::string s) {
    std::replace(s.begin(), s.end(), ' ', '-');
    return to_lower(s);
  };
  aws("instance-gpu-name", plain(gpu["Name"].as_string()));
  aws("instance-gpu-manufacturer", plain(gpu["Manufacturer"].as_string()));
  number("instance-gpu-count", gpu["Count"].as_int());
  number("instance-gpu-memory", gpu["MemoryInfo"]["SizeInMiB"].as_int());
  const json::Value& neuron = info["NeuronInfo"]["NeuronDevices"].at(0);
  aws("instance-accelerator-name", plain(neuron["Name"].as_string()));
  aws("instance-accelerator-manufacturer", neuron.is_null() ? "" : "aws");
  number("instance-accelerator-count", neuron["Count"].as_int());
  return r;
}

}  // namespace

KubeletSettings KubeletSettings::from(const json::Value& k) {
  KubeletSettings out;
  if (k["maxPods"].is_int()) out.max_pods = k["maxPods"].as_int();
  if (k["podsPerCore"].is_int()) out.pods_per_core = k["podsPerCore"].as_int();
  out.kube_reserved = quantities(k["kubeReserved"]);
  out.system_reserved = quantities(k["systemReserved"]);
  out.eviction_hard = quantities(k["evictionHard"]);
  return out;
}

int64_t eni_pods(const json::Value& info, int reserved_enis) {
  const json::Value& net = info["NetworkInfo"];
  int64_t card = net["DefaultNetworkCardIndex"].as_int();
  int64_t enis = net["MaximumNetworkInterfaces"].as_int();
  for (const auto& c : net["NetworkCards"].as_array())
    if (c["NetworkCardIndex"].as_int() == card && c["MaximumNetworkInterfaces"].as_int() > 0) enis = c["MaximumNetworkInterfaces"].as_int();
  int64_t per_eni = net["Ipv4AddressesPerInterface"].as_int();
  if (enis <= 0 || per_eni <= 0) return 110;
  return std::max<int64_t>(enis - reserved_enis, 0) * (per_eni - 1) + 2;
}

int64_t kube_reserved_cpu(int64_t vcpus) {
  // 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest.
  struct Band {
    int64_t from, to;
    double share;
  };
  constexpr Band kBands[] = {{0, 1, 0.06}, {1, 2, 0.01}, {2, 4, 0.005}, {4, 1 << 20, 0.0025}};
  double milli = 0;
  for (const auto& b : kBands)
    if (vcpus > b.from) milli += static_cast<double>(std::min(vcpus, b.to) - b.from) * 1000 * b.share;
  return static_cast<int64_t>(milli + 1e-9);
}

InstanceTypes make_instance_types(const Catalog& catalog, const NodeClassCapacity& nc, const CatalogOptions& options, const Unavailable& unavailable) {
  InstanceTypes out;
  for (const auto& [name, info] : catalog.types) {
    auto offered = catalog.offered.find(name);
    if (offered == catalog.offered.end()) continue;
    auto type = std::make_shared<InstanceType>();
    type->name = name;
    std::set<std::string> usages;
    for (const auto& u : info["SupportedUsageClasses"].as_array()) usages.insert(u.as_string());
    std::vector<std::string> zones, ids, capacity_types;
    for (const auto& zone : offered->second) {
      auto subnet = nc.zones.find(zone);
      if (subnet == nc.zones.end()) continue;
      auto offer = [&](const std::string& capacity_type, double price) {
        bool available = price > 0 && !unavailable(name, zone, capacity_type);
        type->offerings.push_back({zone, subnet->second, capacity_type, price, available});
        if (!available) return;
        zones.push_back(zone);
        if (!subnet->second.empty()) ids.push_back(subnet->second);
        capacity_types.push_back(capacity_type);
      };
      if (auto p = catalog.on_demand.find(name); p != catalog.on_demand.end() && (usages.empty() || usages.count("on-demand"))) offer("on-demand", p->second);
      if (auto p = catalog.spot.find({name, zone}); p != catalog.spot.end() && usages.count("spot")) offer("spot", p->second);
    }
    if (type->offerings.empty()) continue;
    type->requirements = requirements_of_type(name, info, catalog.region);
    type->requirements.set(label::kZone, Requirement::in(zones));
    if (!ids.empty()) type->requirements.set(label::kZoneId, Requirement::in(ids));
    type->requirements.set(label::kCapacityType, Requirement::in(capacity_types));
    type->capacity = capacity_of(info, nc, options);
    type->overhead = overhead_of(info, type->capacity, nc, options);
    type->allocatable = type->capacity;
    type->allocatable -= type->overhead;
    out.push_back(std::move(type));
  }
  return out;
}

}  // namespace caravel::karpenter
