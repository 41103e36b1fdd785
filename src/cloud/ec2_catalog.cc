// Zones, regions, images, tags, key pairs, and the account's quiet corners.
#include "base/hash.h"
#include "base/strings.h"
#include "cloud/instances.h"
#include "cloud/network.h"
#include "cloud/query.h"
#include "cloud/resources.h"
#include "net/x509.h"

namespace caravel::cloud {

namespace {

Output describe_zones(Context& c, const Value& in) {
  static const FilterTable f{{"zone-name", "ZoneName"}, {"zone-id", "ZoneId"}, {"region-name", "RegionName"}, {"state", "State"}, {"zone-type", "ZoneType"}, {"opt-in-status", "OptInStatus"}, {"group-name", "GroupName"}};
  Value out = Value::object();
  out["AvailabilityZones"] = Value::array();
  std::vector<std::string> names = strings(in["ZoneNames"]), ids = strings(in["ZoneIds"]);
  for (const std::string& n : names)
    if (!is_zone(c.o, n)) return fail("InvalidParameterValue", "Invalid availability zone: [" + n + "]");
  for (const std::string& z : zone_names(c.o)) {
    Value v = Value::object();
    v["ZoneName"] = z;
    v["ZoneId"] = zone_id(c.o, z);
    v["RegionName"] = c.o.region;
    v["State"] = "available";
    v["ZoneType"] = "availability-zone";
    v["OptInStatus"] = "opt-in-not-required";
    v["GroupName"] = c.o.region + "-zg-1";
    v["NetworkBorderGroup"] = c.o.region;
    v["Messages"] = Value::array();
    if (!names.empty() && std::find(names.begin(), names.end(), z) == names.end()) continue;
    if (!ids.empty() && std::find(ids.begin(), ids.end(), zone_id(c.o, z)) == ids.end()) continue;
    TRY(bool hit, matches(v, in["Filters"], f));
    if (hit) out["AvailabilityZones"].push_back(std::move(v));
  }
  return out;
}

Output describe_regions(Context& c, const Value&) {
  Value v = Value::object();
  v["RegionName"] = c.o.region;
  v["Endpoint"] = "ec2." + c.o.region + ".amazonaws.com";
  v["OptInStatus"] = "opt-in-not-required";
  Value out = Value::object();
  out["Regions"] = Value::array({std::move(v)});
  return out;
}

Output describe_images(Context& c, const Value& in) {
  static const FilterTable f{{"image-id", "ImageId"}, {"name", "Name"}, {"architecture", "Architecture"}, {"owner-id", "OwnerId"}, {"owner-alias", "ImageOwnerAlias"}, {"state", "State"}, {"is-public", "Public"}, {"image-type", "ImageType"}, {"root-device-type", "RootDeviceType"}, {"virtualization-type", "VirtualizationType"}, {"hypervisor", "Hypervisor"}, {"description", "Description"}, {"ena-support", "EnaSupport"}, {"platform", "Platform"}, {"creation-date", "CreationDate"}};
  std::vector<std::string> ids = strings(in["ImageIds"]), owners = strings(in["Owners"]);
  for (const std::string& id : ids)
    if (!find_image(id)) return fail("InvalidAMIID.NotFound", "The image id '[" + id + "]' does not exist");
  std::vector<Value> found;
  for (const ImageInfo& i : images()) {
    if (!ids.empty() && std::find(ids.begin(), ids.end(), i.id) == ids.end()) continue;
    if (!owners.empty() && std::find(owners.begin(), owners.end(), i.owner) == owners.end() && std::find(owners.begin(), owners.end(), i.owner_alias) == owners.end()) continue;
    Value v = describe_image(c.o, i);
    const Value* tagged = c.r.find("images", i.id);
    v["Tags"] = tagged ? (*tagged)["Tags"] : Value::array();
    TRY(bool hit, matches(v, in["Filters"], f));
    if (hit) found.push_back(std::move(v));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["Images"] = Value(std::move(items));
  return out;
}

Result<std::string> taggable(Context& c, const std::string& id) {
  std::string_view table = table_of(id);
  if (table.empty()) return fail("InvalidID", "The ID '" + id + "' is not valid");
  if (table == "images" ? find_image(id) == nullptr : c.r.find(table, id) == nullptr) {
    static const std::map<std::string_view, std::pair<const char*, const char*>> kCodes{{"instances", {"InvalidInstanceID.NotFound", "instance ID"}}, {"subnets", {"InvalidSubnetID.NotFound", "subnet ID"}}, {"vpcs", {"InvalidVpcID.NotFound", "vpc ID"}}, {"security-groups", {"InvalidGroup.NotFound", "security group"}}, {"network-interfaces", {"InvalidNetworkInterfaceID.NotFound", "networkInterface ID"}}, {"volumes", {"InvalidVolume.NotFound", "volume"}}, {"launch-templates", {"InvalidLaunchTemplateId.NotFound", "launch template"}}};
    auto it = kCodes.find(table);
    if (it == kCodes.end()) return fail("InvalidID", "The ID '" + id + "' is not valid");
    return fail(it->second.first, std::string("The ") + it->second.second + " '" + id + "' does not exist");
  }
  return std::string(table);
}

Output create_tags(Context& c, const Value& in) {
  for (const std::string& id : strings(in["Resources"])) {
    TRY(std::string table, taggable(c, id));
    for (const Value& t : in["Tags"].as_array()) {
      const std::string& key = t["Key"].as_string();
      if (key.compare(0, 4, "aws:") == 0) return fail("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use");
      Value& tags = c.r.edit(table, id)["Tags"];
      set_tag(tags, key, t["Value"].as_string());
      if (tags.size() > 50) return fail("TagLimitExceeded", "More than 50 tags on one resource");
    }
  }
  return done();
}

Output delete_tags(Context& c, const Value& in) {
  for (const std::string& id : strings(in["Resources"])) {
    TRY(std::string table, taggable(c, id));
    Value& tags = c.r.edit(table, id)["Tags"];
    if (in["Tags"].size() == 0) {
      tags = Value::array();
      continue;
    }
    for (const Value& t : in["Tags"].as_array()) {
      std::string value = t["Value"].as_string();
      remove_tag(tags, t["Key"].as_string(), t.find("Value") ? &value : nullptr);
    }
  }
  return done();
}

Output describe_tags(Context& c, const Value& in) {
  static const FilterTable f{{"resource-id", "ResourceId"}, {"resource-type", "ResourceType"}, {"key", "Key"}, {"value", "Value"}};
  static const std::pair<const char*, const char*> kTables[] = {{"instances", "instance"}, {"vpcs", "vpc"}, {"subnets", "subnet"}, {"route-tables", "route-table"}, {"internet-gateways", "internet-gateway"}, {"nat-gateways", "natgateway"}, {"addresses", "elastic-ip"}, {"security-groups", "security-group"}, {"network-interfaces", "network-interface"}, {"launch-templates", "launch-template"}, {"volumes", "volume"}};
  std::vector<Value> found;
  for (auto& [table, type] : kTables)
    for (auto& [id, record] : c.r.table(table))
      for (const Value& t : record["Tags"].as_array()) {
        Value v = Value::object();
        v["Key"] = t["Key"];
        v["Value"] = t["Value"];
        v["ResourceId"] = id;
        v["ResourceType"] = type;
        TRY(bool hit, matches(v, in["Filters"], f));
        if (hit) found.push_back(std::move(v));
      }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["Tags"] = Value(std::move(items));
  return out;
}

Output put_key(Context& c, const Value& in, const std::string& fingerprint, const std::string& material) {
  const std::string& name = in["KeyName"].as_string();
  for (auto& [id, k] : c.r.table("key-pairs"))
    if (k["KeyName"].as_string() == name) return fail("InvalidKeyPair.Duplicate", "The keypair '" + name + "' already exists.");
  TRY(Value tags, tags_for(in, "key-pair"));
  std::string id = c.new_id("key-");
  Value& k = c.r.edit("key-pairs", id);
  k["KeyPairId"] = id;
  k["KeyName"] = name;
  k["KeyFingerprint"] = fingerprint;
  k["KeyType"] = in["KeyType"].as_string().empty() ? "rsa" : in["KeyType"].as_string();
  k["CreateTime"] = c.timestamp();
  k["Tags"] = std::move(tags);
  Value out = k;
  if (!material.empty()) out["KeyMaterial"] = material;
  return out;
}

Output create_key_pair(Context& c, const Value& in) {
  TRY(std::string key, net::generate_key(in["KeyType"].as_string() == "ed25519" ? net::KeyType::kEd25519 : net::KeyType::kRsa2048));
  return put_key(c, in, hex_encode(sha1(key)), key);
}
Output import_key_pair(Context& c, const Value& in) { return put_key(c, in, hex_encode(sha1(in["PublicKeyMaterial"].as_string())), ""); }

Output describe_key_pairs(Context& c, const Value& in) {
  static const FilterTable f{{"key-name", "KeyName"}, {"key-pair-id", "KeyPairId"}, {"fingerprint", "KeyFingerprint"}};
  Value q = in;
  if (in["KeyNames"].size() > 0) {
    Value filter = Value::object();
    filter["Name"] = "key-name";
    filter["Values"] = in["KeyNames"];
    q["Filters"].push_back(std::move(filter));
  }
  return describe(c, q, {"key-pairs", "KeyPairs", "KeyPairIds", "InvalidKeyPair.NotFound", "key pair", &f});
}

Output delete_key_pair(Context& c, const Value& in) {
  Value out = done();
  for (auto& [id, k] : Records::Table(c.r.table("key-pairs")))
    if (k["KeyName"] == in["KeyName"] || id == in["KeyPairId"].as_string()) {
      c.r.erase("key-pairs", id);
      out["KeyPairId"] = id;
    }
  return out;
}

Output describe_account_attributes(Context&, const Value&) {
  Value out = Value::object();
  out["AccountAttributes"] = Value::array();
  for (auto [name, value] : {std::pair("supported-platforms", "VPC"), std::pair("default-vpc", "none"), std::pair("max-instances", "1000"), std::pair("vpc-max-security-groups-per-interface", "5")}) {
    Value v = Value::object();
    v["AttributeName"] = name;
    Value x = Value::object();
    x["AttributeValue"] = value;
    v["AttributeValues"] = Value::array({std::move(x)});
    out["AccountAttributes"].push_back(std::move(v));
  }
  return out;
}

// Kinds that this cloud never has any of: the answer is an empty list.
Output empty(Context&, const Value&) { return Value::object(); }

std::vector<ImageInfo> make_images() {
  std::vector<ImageInfo> out;
  auto add = [&](std::string name, std::string arch, std::string description, std::string family, std::string variant) {
    ImageInfo i;
    i.name = std::move(name);
    i.id = "ami-0" + sha256_hex(i.name).substr(0, 16);
    i.architecture = std::move(arch);
    i.description = std::move(description);
    i.owner = "602401143452";
    i.owner_alias = "amazon";
    i.creation_date = "2026-08-06T00:00:00.000Z";
    i.family = std::move(family);
    i.variant = std::move(variant);
    i.root_device = "/dev/xvda";
    out.push_back(std::move(i));
  };
  for (const char* version : {"1.33", "1.34", "1.35", "1.36"})
    for (const char* arch : {"x86_64", "arm64"}) {
      for (const char* variant : {"standard", "nvidia"})
        add(std::string("amazon-eks-node-al2023-") + arch + "-" + variant + "-" + version + "-v20260806", arch, std::string("EKS-optimized Kubernetes node based on Amazon Linux 2023, (k8s: ") + version + ")", std::string("al2023/") + version, variant);
      add(std::string("bottlerocket-aws-k8s-") + version + "-" + (std::string_view(arch) == "arm64" ? "aarch64" : "x86_64") + "-v1.44.0", arch, "Bottlerocket", std::string("bottlerocket/") + version, "standard");
    }
  add("al2023-ami-2023.8.20260806.0-kernel-6.1-x86_64", "x86_64", "Amazon Linux 2023 AMI", "al2023-plain", "standard");
  add("al2023-ami-2023.8.20260806.0-kernel-6.1-arm64", "arm64", "Amazon Linux 2023 AMI", "al2023-plain", "standard");
  return out;
}

}  // namespace

const std::vector<ImageInfo>& images() {
  static const std::vector<ImageInfo> all = make_images();
  return all;
}

const ImageInfo* find_image(std::string_view id) {
  for (const ImageInfo& i : images())
    if (i.id == id) return &i;
  return nullptr;
}

Value describe_image(const CloudOptions&, const ImageInfo& i) {
  Value v = Value::object();
  v["ImageId"] = i.id;
  v["Name"] = i.name;
  v["Description"] = i.description;
  v["Architecture"] = i.architecture;
  v["OwnerId"] = i.owner;
  v["ImageOwnerAlias"] = i.owner_alias;
  v["ImageLocation"] = "amazon/" + i.name;
  v["ImageType"] = "machine";
  v["Public"] = true;
  v["State"] = "available";
  v["CreationDate"] = i.creation_date;
  v["PlatformDetails"] = "Linux/UNIX";
  v["UsageOperation"] = "RunInstances";
  v["EnaSupport"] = true;
  v["Hypervisor"] = "xen";
  v["RootDeviceName"] = i.root_device;
  v["RootDeviceType"] = "ebs";
  v["SriovNetSupport"] = "simple";
  v["VirtualizationType"] = "hvm";
  v["BootMode"] = "uefi-preferred";
  v["DeprecationTime"] = "2028-08-06T00:00:00.000Z";
  v["ImdsSupport"] = "v2.0";
  Value b = Value::object();
  b["DeviceName"] = i.root_device;
  b["Ebs"]["DeleteOnTermination"] = true;
  b["Ebs"]["SnapshotId"] = "snap-0" + i.id.substr(5);
  b["Ebs"]["VolumeSize"] = 20;
  b["Ebs"]["VolumeType"] = "gp3";
  b["Ebs"]["Encrypted"] = false;
  v["BlockDeviceMappings"] = Value::array({std::move(b)});
  return v;
}

void add_catalog_actions(Handlers& h) {
  h["ec2:DescribeAvailabilityZones"] = describe_zones;
  h["ec2:DescribeRegions"] = describe_regions;
  h["ec2:DescribeImages"] = describe_images;
  h["ec2:CreateTags"] = create_tags;
  h["ec2:DeleteTags"] = delete_tags;
  h["ec2:DescribeTags"] = describe_tags;
  h["ec2:CreateKeyPair"] = create_key_pair;
  h["ec2:ImportKeyPair"] = import_key_pair;
  h["ec2:DescribeKeyPairs"] = describe_key_pairs;
  h["ec2:DeleteKeyPair"] = delete_key_pair;
  h["ec2:DescribeAccountAttributes"] = describe_account_attributes;
  h["ec2:DescribeCapacityReservations"] = empty;
  h["ec2:DescribePlacementGroups"] = empty;
  h["ec2:DescribeVpcPeeringConnections"] = empty;
}

}  // namespace caravel::cloud
