#include "cloud/instance_types.h"

#include "base/hash.h"
#include "base/strings.h"
#include "cloud/instance_type_table.h"

namespace caravel::cloud {

using json::Value;

namespace {

InstanceType parse_row(const std::vector<std::string>& f) {
  InstanceType t;
  auto n = [&](size_t i) { return i < f.size() ? parse_int(f[i]).value_or(0) : 0; };
  auto d = [&](size_t i) { return i < f.size() ? parse_double(f[i]).value_or(0) : 0; };
  auto s = [&](size_t i) { return i < f.size() ? f[i] : std::string(); };
  t.name = s(0);
  t.vcpus = static_cast<int>(n(1));
  t.cores = static_cast<int>(n(2));
  t.threads_per_core = static_cast<int>(n(3));
  t.memory_mib = n(4);
  t.arch = s(5);
  t.manufacturer = s(6);
  t.ghz = d(7);
  t.current_generation = s(8) == "current";
  t.bare_metal = n(9) == 1;
  t.burstable = n(10) == 1;
  t.hypervisor = s(11);
  for (const std::string& u : split(s(12), '|')) {
    if (u == "on-demand") t.on_demand = true;
    if (u == "spot") t.spot = true;
  }
  t.enis = static_cast<int>(n(13));
  t.cards = static_cast<int>(n(14));
  t.default_card_enis = static_cast<int>(n(15));
  t.ipv4_per_eni = static_cast<int>(n(16));
  t.ipv6_per_eni = static_cast<int>(n(17));
  t.ipv6 = n(18) == 1;
  t.net_baseline_gbps = d(19);
  t.net_peak_gbps = d(20);
  t.net_performance = s(21);
  t.ena = s(22);
  t.efa = n(23) == 1;
  t.efa_max = static_cast<int>(n(24));
  t.ebs_base_mbps = n(25);
  t.ebs_max_mbps = n(26);
  t.ebs_base_iops = n(27);
  t.ebs_max_iops = n(28);
  t.ebs_attachments = static_cast<int>(n(29));
  t.nvme_total_gb = n(30);
  t.nvme_disks = s(31);
  t.gpus = s(32);
  t.accelerators = s(33);
  if (!s(34).empty()) t.placement = split(s(34), '|');
  t.nitro_enclaves = n(35) == 1;
  t.encryption_in_transit = n(36) == 1;
  t.zones = s(37);
  t.price = d(38);
  return t;
}

}  // namespace

const std::map<std::string, InstanceType, std::less<>>& instance_types() {
  static const auto all = [] {
    std::map<std::string, InstanceType, std::less<>> out;
    for (const TableText& table : table_texts()) {
      bool header = true;
      for (const std::string& line : split(table.text, '\n')) {
        if (line.empty() || line[0] == '#') continue;
        if (header) {
          header = false;
          continue;
        }
        InstanceType t = parse_row(split(line, '\t'));
        out.emplace(t.name, std::move(t));
      }
    }
    return out;
  }();
  return all;
}

const InstanceType* find_instance_type(std::string_view name) {
  auto it = instance_types().find(name);
  return it == instance_types().end() ? nullptr : &it->second;
}

bool offered_in(const InstanceType& t, std::string_view zone) { return !zone.empty() && t.zones.find(zone.back()) != t.zones.npos; }

double spot_price(const InstanceType& t, std::string_view zone) {
  double share = 0.28 + 0.17 * (fnv32a(t.name + std::string(zone)) % 1000) / 1000.0;
  return t.price * share;
}

Value describe_type(const InstanceType& t) {
  Value v = Value::object();
  v["InstanceType"] = t.name;
  v["CurrentGeneration"] = t.current_generation;
  v["FreeTierEligible"] = t.name == "t3.micro" || t.name == "t2.micro";
  Value usage = Value::array();
  if (t.on_demand) usage.push_back("on-demand");
  if (t.spot) usage.push_back("spot");
  v["SupportedUsageClasses"] = std::move(usage);
  v["SupportedRootDeviceTypes"] = Value::array({"ebs"});
  v["SupportedVirtualizationTypes"] = Value::array({"hvm"});
  v["BareMetal"] = t.bare_metal;
  if (!t.hypervisor.empty()) v["Hypervisor"] = t.hypervisor;
  v["ProcessorInfo"]["SupportedArchitectures"] = Value::array({t.arch});
  if (t.ghz > 0) v["ProcessorInfo"]["SustainedClockSpeedInGhz"] = t.ghz;
  v["ProcessorInfo"]["Manufacturer"] = t.manufacturer;
  v["VCpuInfo"]["DefaultVCpus"] = t.vcpus;
  v["VCpuInfo"]["DefaultCores"] = t.cores;
  v["VCpuInfo"]["DefaultThreadsPerCore"] = t.threads_per_core;
  v["MemoryInfo"]["SizeInMiB"] = t.memory_mib;
  v["InstanceStorageSupported"] = t.nvme_total_gb > 0;
  if (t.nvme_total_gb > 0) {
    Value& s = v["InstanceStorageInfo"];
    s["TotalSizeInGB"] = t.nvme_total_gb;
    s["Disks"] = Value::array();
    for (const std::string& part : split(t.nvme_disks, ';')) {  // "4x900:ssd"
      size_t x = part.find('x'), colon = part.find(':');
      if (x == part.npos || colon == part.npos) continue;
      Value d = Value::object();
      d["Count"] = parse_int(part.substr(0, x)).value_or(1);
      d["SizeInGB"] = parse_int(part.substr(x + 1, colon - x - 1)).value_or(0);
      d["Type"] = part.substr(colon + 1);
      s["Disks"].push_back(std::move(d));
    }
    s["NvmeSupport"] = "required";
    s["EncryptionSupport"] = "required";
  }
  Value& e = v["EbsInfo"];
  e["EbsOptimizedSupport"] = t.ebs_max_mbps > 0 ? "default" : "unsupported";
  e["EncryptionSupport"] = "supported";
  e["NvmeSupport"] = t.hypervisor == "nitro" || t.bare_metal ? "required" : "unsupported";
  e["MaximumEbsAttachments"] = t.ebs_attachments;
  e["AttachmentLimitType"] = "shared";
  if (t.ebs_max_mbps > 0) {
    e["EbsOptimizedInfo"]["BaselineBandwidthInMbps"] = t.ebs_base_mbps;
    e["EbsOptimizedInfo"]["BaselineThroughputInMBps"] = static_cast<double>(t.ebs_base_mbps) / 8;
    e["EbsOptimizedInfo"]["BaselineIops"] = t.ebs_base_iops;
    e["EbsOptimizedInfo"]["MaximumBandwidthInMbps"] = t.ebs_max_mbps;
    e["EbsOptimizedInfo"]["MaximumThroughputInMBps"] = static_cast<double>(t.ebs_max_mbps) / 8;
    e["EbsOptimizedInfo"]["MaximumIops"] = t.ebs_max_iops;
  }
  Value& n = v["NetworkInfo"];
  n["NetworkPerformance"] = t.net_performance;
  n["MaximumNetworkInterfaces"] = t.enis;
  n["MaximumNetworkCards"] = t.cards;
  n["DefaultNetworkCardIndex"] = 0;
  n["NetworkCards"] = Value::array();
  for (int i = 0; i < t.cards; ++i) {
    Value card = Value::object();
    card["NetworkCardIndex"] = i;
    card["NetworkPerformance"] = t.net_performance;
    card["MaximumNetworkInterfaces"] = i == 0 || t.cards <= 1 ? t.default_card_enis : (t.enis - t.default_card_enis) / (t.cards - 1);
    card["BaselineBandwidthInGbps"] = t.net_baseline_gbps / t.cards;
    card["PeakBandwidthInGbps"] = t.net_peak_gbps / t.cards;
    n["NetworkCards"].push_back(std::move(card));
  }
  n["Ipv4AddressesPerInterface"] = t.ipv4_per_eni;
  n["Ipv6AddressesPerInterface"] = t.ipv6_per_eni;
  n["Ipv6Supported"] = t.ipv6;
  n["EnaSupport"] = t.ena.empty() ? "unsupported" : t.ena;
  n["EfaSupported"] = t.efa;
  if (t.efa) n["EfaInfo"]["MaximumEfaInterfaces"] = t.efa_max;
  n["EncryptionInTransitSupported"] = t.encryption_in_transit;
  n["EnaSrdSupported"] = false;
  if (!t.gpus.empty()) {
    Value& g = v["GpuInfo"];
    g["Gpus"] = Value::array();
    int64_t total = 0;
    for (const std::string& part : split(t.gpus, ';')) {  // name:manufacturer:count:mem_mib
      auto f = split(part, ':');
      if (f.size() < 4) continue;
      Value x = Value::object();
      int64_t count = parse_int(f[2]).value_or(1), memory = parse_int(f[3]).value_or(0);
      x["Name"] = f[0];
      x["Manufacturer"] = f[1];
      x["Count"] = count;
      x["MemoryInfo"]["SizeInMiB"] = memory;
      total += count * memory;
      g["Gpus"].push_back(std::move(x));
    }
    g["TotalGpuMemoryInMiB"] = total;
  }
  for (const std::string& part : split(t.accelerators, ';')) {  // kind:name:count:cores:mem_mib
    auto f = split(part, ':');
    if (f.size() < 5) continue;
    int64_t count = parse_int(f[2]).value_or(1), memory = parse_int(f[4]).value_or(0);
    Value x = Value::object();
    x["Name"] = f[1];
    x["Count"] = count;
    x["MemoryInfo"]["SizeInMiB"] = memory;
    if (f[0] == "Neuron") {
      x["CoreInfo"]["Count"] = parse_int(f[3]).value_or(1);
      v["NeuronInfo"]["NeuronDevices"].push_back(std::move(x));
      v["NeuronInfo"]["TotalNeuronDeviceMemoryInMiB"] = count * memory;
    } else if (f[0] == "InferenceAccelerator") {
      x["Manufacturer"] = "AWS";
      v["InferenceAcceleratorInfo"]["Accelerators"].push_back(std::move(x));
      v["InferenceAcceleratorInfo"]["TotalInferenceMemoryInMiB"] = count * memory;
    }
  }
  v["PlacementGroupInfo"]["SupportedStrategies"] = Value::array();
  for (const std::string& p : t.placement) v["PlacementGroupInfo"]["SupportedStrategies"].push_back(p);
  v["HibernationSupported"] = false;
  v["BurstablePerformanceSupported"] = t.burstable;
  v["DedicatedHostsSupported"] = !t.burstable;
  v["AutoRecoverySupported"] = true;
  v["SupportedBootModes"] = t.arch == "arm64" ? Value::array({"uefi"}) : Value::array({"legacy-bios", "uefi"});
  v["NitroEnclavesSupport"] = t.nitro_enclaves ? "supported" : "unsupported";
  v["NitroTpmSupport"] = "supported";
  return v;
}

}  // namespace caravel::cloud
