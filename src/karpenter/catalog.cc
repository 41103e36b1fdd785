// The catalogue half of the cloud provider: instance types, offerings, prices, the cluster itself.
#include <cmath>

#include "base/strings.h"
#include "karpenter/cloud_provider.h"
#include "kube/quantity.h"

namespace caravel::karpenter {

namespace {

json::Value filter(std::string name, std::vector<std::string> values) {
  json::Value f;
  f["Name"] = std::move(name);
  f["Values"] = json::Value::array();
  for (auto& v : values) f["Values"].push_back(std::move(v));
  return f;
}

json::Value pricing_filter(const char* field, std::string value) {
  json::Value f;
  f["Type"] = "TERM_MATCH";
  f["Field"] = field;
  f["Value"] = std::move(value);
  return f;
}

// One product of the price list: its instance type and hourly price.
std::optional<std::pair<std::string, double>> parse_price(const json::Value& entry) {
  json::Value parsed;
  const json::Value* p = &entry;
  if (entry.is_string()) {
    auto r = json::parse(entry.as_string());
    if (!r.ok()) return std::nullopt;
    parsed = std::move(*r);
    p = &parsed;
  }
  const std::string& type = p->path({"product", "attributes", "instanceType"}).as_string();
  for (const auto& [k, term] : p->path({"terms", "OnDemand"}).as_object())
    for (const auto& [d, dimension] : term["priceDimensions"].as_object()) {
      double usd = parse_double(dimension.path({"pricePerUnit", "USD"}).as_string()).value_or(0);
      if (!type.empty() && usd > 0) return std::pair(type, usd);
    }
  return std::nullopt;
}

}  // namespace

Task<Result<std::vector<json::Value>>> CloudProvider::pages(std::string service, std::string action, json::Value input, std::string items) {
  std::vector<json::Value> out;
  constexpr int kPagesMax = 1000;
  for (int i = 0; i < kPagesMax; ++i) {
    auto r = co_await aws_->call(service, action, input);
    if (!r.ok()) co_return wrap(std::move(r).error(), action);
    for (const auto& v : (*r)[items].as_array()) out.push_back(v);
    std::string token = (*r)["NextToken"].as_string();
    if (token.empty()) break;
    input["NextToken"] = token;
  }
  co_return out;
}

Task<Status> CloudProvider::refresh_catalog() {
  Catalog fresh;
  fresh.region = aws_->region();
  json::Value types;
  types["Filters"].push_back(filter("supported-virtualization-type", {"hvm"}));
  types["Filters"].push_back(filter("processor-info.supported-architecture", {"x86_64", "arm64"}));
  types["MaxResults"] = 100;
  auto infos = co_await pages("ec2", "DescribeInstanceTypes", std::move(types), "InstanceTypes");
  if (!infos.ok()) co_return std::move(infos).error();
  for (auto& info : *infos) fresh.types[info["InstanceType"].as_string()] = std::move(info);

  json::Value offerings;
  offerings["LocationType"] = "availability-zone";
  offerings["MaxResults"] = 1000;
  auto offered = co_await pages("ec2", "DescribeInstanceTypeOfferings", std::move(offerings), "InstanceTypeOfferings");
  if (!offered.ok()) co_return std::move(offered).error();
  for (const auto& o : *offered) fresh.offered[o["InstanceType"].as_string()].insert(o["Location"].as_string());

  for (const char* family : {"Compute Instance", "Compute Instance (bare metal)"}) {
    json::Value prices;
    prices["ServiceCode"] = "AmazonEC2";
    for (auto [field, value] : {std::pair<const char*, std::string>("regionCode", fresh.region), {"serviceCode", "AmazonEC2"}, {"preInstalledSw", "NA"}, {"operatingSystem", "Linux"}, {"capacitystatus", "Used"}, {"marketoption", "OnDemand"}, {"tenancy", "Shared"}, {"productFamily", family}})
      prices["Filters"].push_back(pricing_filter(field, value));
    auto list = co_await pages("pricing", "GetProducts", std::move(prices), "PriceList");
    if (!list.ok()) co_return std::move(list).error();
    for (const auto& entry : *list)
      if (auto p = parse_price(entry)) fresh.on_demand[p->first] = p->second;
  }

  json::Value spot;
  spot["ProductDescriptions"] = json::Value::array({"Linux/UNIX", "Linux/UNIX (Amazon VPC)"});
  spot["StartTime"] = format_rfc3339(ex_->now());
  auto history = co_await pages("ec2", "DescribeSpotPriceHistory", std::move(spot), "SpotPriceHistory");
  if (!history.ok()) co_return std::move(history).error();
  for (const auto& p : *history) {
    double price = p["SpotPrice"].is_string() ? parse_double(p["SpotPrice"].as_string()).value_or(0) : p["SpotPrice"].as_double();
    if (price > 0) fresh.spot.emplace(std::pair(p["InstanceType"].as_string(), p["AvailabilityZone"].as_string()), price);
  }
  log_.info("discovered instance types", {{"types", fresh.types.size()}, {"priced", fresh.on_demand.size()}, {"spot_prices", fresh.spot.size()}});
  catalog_ = std::move(fresh);
  ++catalog_version_;
  co_return ok();
}

Task<Status> CloudProvider::refresh_cluster() {
  cluster_.name = settings_.cluster_name;
  cluster_.endpoint = settings_.cluster_endpoint;
  cluster_.ca_base64 = settings_.cluster_ca_base64;
  cluster_.version = settings_.eks_version;
  json::Value in;
  in["name"] = settings_.cluster_name;
  auto r = co_await aws_->call("eks", "DescribeCluster", std::move(in));
  if (!r.ok()) co_return wrap(std::move(r).error(), "DescribeCluster " + settings_.cluster_name);
  const json::Value& c = (*r)["cluster"];
  if (cluster_.endpoint.empty()) cluster_.endpoint = c["endpoint"].as_string();
  if (cluster_.ca_base64.empty()) cluster_.ca_base64 = c.path({"certificateAuthority", "data"}).as_string();
  if (cluster_.version.empty()) cluster_.version = c["version"].as_string();
  cluster_.service_cidr = c.path({"kubernetesNetworkConfig", "serviceIpv4Cidr"}).as_string();
  // Cluster DNS is the tenth address of the service range, as EKS has it.
  size_t dot = cluster_.service_cidr.rfind('.');
  if (dot != std::string::npos) cluster_.dns_ip = cluster_.service_cidr.substr(0, dot) + ".10";
  co_return ok();
}

InstanceTypes CloudProvider::instance_types(const json::Value& node_class) const {
  // Made again only when the class, the catalogue or what is unavailable has changed.
  std::string key = std::to_string(catalog_version_) + "," + node_class.path({"metadata", "uid"}).as_string() + "," + node_class.path({"metadata", "resourceVersion"}).as_string();
  for (const auto& [what, until] : unavailable_)
    if (ex_->now() < until) key += "," + what;
  Made& made = made_[node_class.path({"metadata", "name"}).as_string()];
  if (made.key == key) return made.types;
  made.key = std::move(key);
  NodeClassCapacity nc;
  const json::Value& spec = node_class["spec"];
  nc.kubelet = KubeletSettings::from(spec["kubelet"]);
  if (spec["amiFamily"].is_string()) nc.ami_family = spec["amiFamily"].as_string();
  nc.instance_store_raid0 = spec["instanceStorePolicy"].as_string() == "RAID0";
  for (const auto& b : spec["blockDeviceMappings"].as_array()) {
    const std::string& size = b.path({"ebs", "volumeSize"}).as_string();
    bool root = b["rootVolume"].as_bool() || b["deviceName"].as_string() == (nc.ami_family == "Bottlerocket" ? "/dev/xvdb" : "/dev/xvda");
    if (root && !size.empty()) nc.root_volume_bytes = kube::Quantity::of(size).value();
  }
  for (const auto& s : node_class.path({"status", "subnets"}).as_array()) nc.zones[s["zone"].as_string()] = s["zoneID"].as_string();
  made.types = make_instance_types(catalog_, nc, settings_.catalog,
                                   [this](const std::string& t, const std::string& z, const std::string& c) { return is_unavailable(t, z, c); });
  return made.types;
}

void CloudProvider::mark_unavailable(const std::string& type, const std::string& zone, const std::string& capacity_type) {
  constexpr Duration kFor = 3min;
  unavailable_[type + "/" + zone + "/" + capacity_type] = ex_->now() + kFor;
}

bool CloudProvider::is_unavailable(const std::string& type, const std::string& zone, const std::string& capacity_type) const {
  auto it = unavailable_.find(type + "/" + zone + "/" + capacity_type);
  return it != unavailable_.end() && ex_->now() < it->second;
}

}  // namespace caravel::karpenter
