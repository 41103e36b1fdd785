// The catalogue's actions: instance types, offerings, spot prices.
#include "base/strings.h"
#include "cloud/instance_types.h"
#include "cloud/query.h"
#include "cloud/resources.h"

namespace caravel::cloud {

namespace {

Output describe_instance_types(Context& c, const Value& in) {
  static const FilterTable f{{"instance-type", "InstanceType"}, {"current-generation", "CurrentGeneration"}, {"bare-metal", "BareMetal"}, {"hypervisor", "Hypervisor"}, {"processor-info.supported-architecture", "ProcessorInfo.SupportedArchitectures"}, {"supported-virtualization-type", "SupportedVirtualizationTypes"}, {"supported-usage-class", "SupportedUsageClasses"}, {"supported-root-device-type", "SupportedRootDeviceTypes"}, {"vcpu-info.default-vcpus", "VCpuInfo.DefaultVCpus"}, {"memory-info.size-in-mib", "MemoryInfo.SizeInMiB"}, {"burstable-performance-supported", "BurstablePerformanceSupported"}, {"instance-storage-supported", "InstanceStorageSupported"}, {"free-tier-eligible", "FreeTierEligible"}, {"network-info.ena-support", "NetworkInfo.EnaSupport"}, {"network-info.maximum-network-interfaces", "NetworkInfo.MaximumNetworkInterfaces"}, {"network-info.efa-supported", "NetworkInfo.EfaSupported"}, {"processor-info.sustained-clock-speed-in-ghz", "ProcessorInfo.SustainedClockSpeedInGhz"}};
  std::vector<Value> found;
  std::vector<std::string> names = strings(in["InstanceTypes"]);
  std::vector<std::string> unknown;
  for (const std::string& n : names)
    if (!find_instance_type(n)) unknown.push_back(n);
  if (!unknown.empty()) return fail("InvalidInstanceType", "The following supplied instance types do not exist: [" + join(unknown, ", ") + "]");
  auto offered = [&](const InstanceType& t) {
    for (const std::string& z : zone_names(c.o))
      if (offered_in(t, z)) return true;
    return false;
  };
  // The catalogue does not change: each type is rendered once.
  static std::map<std::string, Value> rendered;
  auto consider = [&](const InstanceType& t) -> Status {
    Value& v = rendered[t.name];
    if (v.is_null()) v = describe_type(t);
    TRY(bool hit, matches(v, in["Filters"], f));
    if (hit) found.push_back(v);
    return ok();
  };
  if (!names.empty()) {
    for (const std::string& n : names) TRY_VOID(consider(*find_instance_type(n)));
  } else {
    for (auto& [n, t] : instance_types())
      if (offered(t)) TRY_VOID(consider(t));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, "NextToken", "MaxResults", "NextToken", 100));
  out["InstanceTypes"] = Value(std::move(items));
  return out;
}

Output describe_offerings(Context& c, const Value& in) {
  static const FilterTable f{{"instance-type", "InstanceType"}, {"location", "Location"}};
  std::string type = in["LocationType"].as_string().empty() ? "region" : in["LocationType"].as_string();
  std::vector<Value> found;
  auto add = [&](const std::string& name, const std::string& location) -> Status {
    Value v = Value::object();
    v["InstanceType"] = name;
    v["LocationType"] = type;
    v["Location"] = location;
    TRY(bool hit, matches(v, in["Filters"], f));
    if (hit) found.push_back(std::move(v));
    return ok();
  };
  for (auto& [name, t] : instance_types()) {
    bool any = false;
    for (const std::string& z : zone_names(c.o)) {
      if (!offered_in(t, z)) continue;
      any = true;
      if (type == "availability-zone") TRY_VOID(add(name, z));
      else if (type == "availability-zone-id") TRY_VOID(add(name, zone_id(c.o, z)));
    }
    if (any && type == "region") TRY_VOID(add(name, c.o.region));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["InstanceTypeOfferings"] = Value(std::move(items));
  return out;
}

Output describe_spot_prices(Context& c, const Value& in) {
  static const FilterTable f{{"instance-type", "InstanceType"}, {"availability-zone", "AvailabilityZone"}, {"product-description", "ProductDescription"}, {"spot-price", "SpotPrice"}};
  std::vector<std::string> wanted = strings(in["InstanceTypes"]), products = strings(in["ProductDescriptions"]);
  auto listed = [](const std::vector<std::string>& list, std::string_view s) {
    for (const std::string& x : list)
      if (x == s) return true;
    return list.empty();
  };
  std::vector<Value> found;
  for (auto& [name, t] : instance_types()) {
    if (!t.spot || t.price <= 0 || !listed(wanted, name)) continue;
    for (const std::string& zone : zone_names(c.o)) {
      if (!offered_in(t, zone) || (in.find("AvailabilityZone") && in["AvailabilityZone"].as_string() != zone)) continue;
      for (const char* product : {"Linux/UNIX", "Linux/UNIX (Amazon VPC)"}) {
        if (!listed(products, product) || (products.empty() && product[10])) continue;
        Value v = Value::object();
        v["AvailabilityZone"] = zone;
        v["AvailabilityZoneId"] = zone_id(c.o, zone);
        v["InstanceType"] = name;
        v["ProductDescription"] = product;
        v["SpotPrice"] = format("%.6f", spot_price(t, zone));
        // Prices change every few hours; ours say when this one began.
        v["Timestamp"] = format_rfc3339_milli(Time::from_seconds(c.now.seconds() / 14400 * 14400));
        TRY(bool hit, matches(v, in["Filters"], f));
        if (hit) found.push_back(std::move(v));
      }
    }
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["SpotPriceHistory"] = Value(std::move(items));
  return out;
}

}  // namespace

void add_instance_type_actions(Handlers& h) {
  h["ec2:DescribeInstanceTypes"] = describe_instance_types;
  h["ec2:DescribeInstanceTypeOfferings"] = describe_offerings;
  h["ec2:DescribeSpotPriceHistory"] = describe_spot_prices;
}

}  // namespace caravel::cloud
