// The price list: on-demand Linux prices of the catalogue.
#include "base/hash.h"
#include "base/strings.h"
#include "cloud/instance_types.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

Output get_products(Context& c, const Value& in) {
  if (in["ServiceCode"].as_string() != "AmazonEC2") return fail("NotFoundException", "The service " + in["ServiceCode"].as_string() + " has no price list here; AmazonEC2 has.");
  std::vector<Value> found;
  for (auto& [name, t] : instance_types()) {
    if (t.price <= 0) continue;
    Value p = Value::object();
    p["productFamily"] = t.bare_metal ? "Compute Instance (bare metal)" : "Compute Instance";
    Value& a = p["attributes"];
    a["instanceType"] = name;
    a["regionCode"] = "us-east-1";
    a["location"] = "US East (N. Virginia)";
    a["operatingSystem"] = "Linux";
    a["preInstalledSw"] = "NA";
    a["capacitystatus"] = "Used";
    a["marketoption"] = "OnDemand";
    a["tenancy"] = "Shared";
    a["vcpu"] = std::to_string(t.vcpus);
    a["memory"] = format("%g GiB", static_cast<double>(t.memory_mib) / 1024);
    a["servicecode"] = "AmazonEC2";
    a["licenseModel"] = "No License required";
    bool hit = true;
    for (const Value& f : in["Filters"].as_array()) {
      const std::string& field = f["Field"].as_string();
      std::string have = field == "productFamily" ? std::as_const(p)["productFamily"].as_string() : field == "serviceCode" ? "AmazonEC2"
                                                                                                                           : std::as_const(p)["attributes"][field].as_string();
      const std::string& type = f["Type"].as_string();
      if (type == "ANY_OF" ? [&] { for (const std::string& v : split(f["Value"].as_string(), ',')) if (v == have) return false; return true; }() : !equals_ignore_case(have, f["Value"].as_string())) hit = false;
    }
    if (!hit) continue;
    std::string sku = to_upper(sha256_hex(name).substr(0, 16));
    p["sku"] = sku;
    Value v = Value::object();
    v["product"] = std::move(p);
    v["serviceCode"] = "AmazonEC2";
    std::string offer = sku + ".JRTCKXETXF", rate = offer + ".6YS6EN2CT7";
    Value& term = v["terms"]["OnDemand"][offer];
    Value& d = term["priceDimensions"][rate];
    d["unit"] = "Hrs";
    d["description"] = "$" + format("%g", t.price) + " per On Demand Linux " + name + " Instance Hour";
    d["rateCode"] = rate;
    d["beginRange"] = "0";
    d["endRange"] = "Inf";
    d["pricePerUnit"]["USD"] = format("%.10f", t.price);
    term["sku"] = sku;
    term["effectiveDate"] = "2026-07-20T00:00:00Z";
    term["offerTermCode"] = "JRTCKXETXF";
    v["version"] = "20260720000000";
    v["publicationDate"] = "2026-07-20T00:00:00Z";
    found.push_back(json::dump(v));
  }
  Value out = Value::object();
  out["FormatVersion"] = "aws_v1";
  TRY(std::vector<Value> items, page(std::move(found), in, out, "NextToken", "MaxResults", "NextToken", 100));
  out["PriceList"] = Value(std::move(items));
  (void)c;
  return out;
}

Output describe_services(Context&, const Value&) {
  Value s = Value::object();
  s["ServiceCode"] = "AmazonEC2";
  s["AttributeNames"] = Value::array({"instanceType", "regionCode", "operatingSystem", "tenancy", "preInstalledSw", "capacitystatus", "marketoption"});
  Value out = Value::object();
  out["FormatVersion"] = "aws_v1";
  out["Services"] = Value::array({std::move(s)});
  return out;
}

}  // namespace

void add_pricing_actions(Handlers& h) {
  h["pricing:GetProducts"] = get_products;
  h["pricing:DescribeServices"] = describe_services;
}

}  // namespace caravel::cloud
