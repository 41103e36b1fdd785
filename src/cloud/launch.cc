#include <algorithm>

#include "base/strings.h"
#include "cloud/instance_types.h"
#include "cloud/instances.h"
#include "cloud/network.h"
#include "cloud/query.h"
#include "cloud/resources.h"

namespace caravel::cloud {

namespace {

const char* state_name(int code) {
  switch (code) {
    case kPending: return "pending";
    case kRunning: return "running";
    case kShuttingDown: return "shutting-down";
    case kTerminated: return "terminated";
    case kStopping: return "stopping";
    default: return "stopped";
  }
}

// The interface specifications of a launch; one made from SubnetId and SecurityGroupIds if there is none.
Value interface_specs(const Value& spec) {
  if (spec["NetworkInterfaces"].size() > 0) {
    Value list = spec["NetworkInterfaces"];
    for (Value& n : list.arr()) {
      if (!n.find("SubnetId") && !n.find("NetworkInterfaceId")) n["SubnetId"] = spec["SubnetId"];
      if (!n.find("Groups")) n["Groups"] = spec["SecurityGroupIds"];
    }
    return list;
  }
  Value n = Value::object();
  n["DeviceIndex"] = 0;
  n["SubnetId"] = spec["SubnetId"];
  n["Groups"] = spec["SecurityGroupIds"];
  if (spec.find("PrivateIpAddress")) n["PrivateIpAddress"] = spec["PrivateIpAddress"];
  return Value::array({std::move(n)});
}

Result<Value> profile_of(Context& c, const Value& spec) {
  const Value& p = spec["IamInstanceProfile"];
  if (p.is_null() || p.size() == 0) return Value();
  for (auto& [name, profile] : c.r.table("instance-profiles")) {
    if (name != p["Name"].as_string() && profile["Arn"] != p["Arn"]) continue;
    Value v = Value::object();
    v["Arn"] = profile["Arn"];
    v["Id"] = profile["InstanceProfileId"];
    return v;
  }
  std::string given = p["Name"].as_string().empty() ? p["Arn"].as_string() : p["Name"].as_string();
  return fail("InvalidParameterValue", "Value (" + given + ") for parameter iamInstanceProfile." + (p["Name"].as_string().empty() ? "arn" : "name") + " is invalid. Invalid IAM Instance Profile " + (p["Name"].as_string().empty() ? "ARN" : "name"));
}

std::string make_volume(Context& c, const std::string& instance, const std::string& zone, const std::string& device, const Value& ebs, int64_t size_default, const Value& tags) {
  std::string id = c.new_id("vol-");
  Value& v = c.r.edit("volumes", id);
  v["VolumeId"] = id;
  v["AvailabilityZone"] = zone;
  v["CreateTime"] = c.timestamp();
  v["Encrypted"] = ebs["Encrypted"].as_bool(false);
  v["Size"] = ebs["VolumeSize"].as_int(size_default);
  v["VolumeType"] = ebs["VolumeType"].as_string().empty() ? "gp3" : ebs["VolumeType"].as_string();
  v["Iops"] = ebs["Iops"].as_int(3000);
  v["Throughput"] = ebs["Throughput"].as_int(125);
  v["State"] = "in-use";
  v["Tags"] = tags;
  Value a = Value::object();
  a["AttachTime"] = c.timestamp();
  a["Device"] = device;
  a["InstanceId"] = instance;
  a["State"] = "attached";
  a["VolumeId"] = id;
  a["DeleteOnTermination"] = ebs["DeleteOnTermination"].as_bool(true);
  v["Attachments"] = Value::array({std::move(a)});
  return id;
}

Status attach_all(Context& c, const std::string& id, const Value& specs, const Value& eni_tags, std::string* primary) {
  for (const Value& n : specs.as_array()) {
    int index = static_cast<int>(n["DeviceIndex"].as_int());
    std::string eni = n["NetworkInterfaceId"].as_string();
    if (eni.empty()) {
      InterfaceRequest q;
      q.subnet_id = n["SubnetId"].as_string();
      q.ip = n["PrivateIpAddress"].as_string();
      q.groups = strings(n["Groups"]);
      q.description = n["Description"].as_string();
      q.owner = "instance";
      q.owner_id = id;
      q.secondary_count = static_cast<int>(n["SecondaryPrivateIpAddressCount"].as_int());
      q.prefix_count = static_cast<int>(n["Ipv4PrefixCount"].as_int());
      for (const Value& p : n["Ipv4Prefixes"].as_array()) q.prefixes.push_back(p["Ipv4Prefix"].as_string());
      for (const Value& a : n["PrivateIpAddresses"].as_array()) {
        if (a["Primary"].as_bool()) q.ip = a["PrivateIpAddress"].as_string();
        else q.secondary.push_back(a["PrivateIpAddress"].as_string());
      }
      TRY(eni, create_interface(c, q, eni_tags));
      const Value& subnet = *c.r.find("subnets", q.subnet_id);
      bool want_public = n.find("AssociatePublicIpAddress") ? n["AssociatePublicIpAddress"].as_bool() : subnet["MapPublicIpOnLaunch"].as_bool();
      if (want_public && index == 0) {
        TRY(std::string ip, allocate_public_ip(c));
        set_public_ip(c, eni, (*c.r.find("network-interfaces", eni))["PrivateIpAddress"].as_string(), ip, "", "");
      }
    } else {
      TRY(const Value* e, need(c, "network-interfaces", eni, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
      if ((*e)["Status"].as_string() == "in-use") return fail("InvalidNetworkInterface.InUse", "Interface: [" + eni + "] in use.");
    }
    attach_interface(c, eni, id, index, n["DeleteOnTermination"].as_bool(true));
    if (index == 0) *primary = eni;
  }
  if (primary->empty()) return fail("InvalidParameterValue", "A primary network interface (device index 0) is needed.");
  return ok();
}

}  // namespace

Value state_value(int code) {
  Value v = Value::object();
  v["Code"] = code;
  v["Name"] = state_name(code);
  return v;
}

void set_state(Context& c, const std::string& id, int code, const std::string& reason_code, const std::string& reason) {
  Value& i = c.r.edit("instances", id);
  i["State"] = state_value(code);
  if (reason_code.empty()) {
    i.erase("StateReason");
    i["StateTransitionReason"] = "";
  } else {
    i["StateReason"]["Code"] = reason_code;
    i["StateReason"]["Message"] = reason;
    i["StateTransitionReason"] = reason;
  }
  Value detail = Value::object();
  detail["instance-id"] = id;
  detail["state"] = state_name(code);
  publish_event(c, "aws.ec2", "EC2 Instance State-change Notification", std::move(detail), {c.arn("ec2", "instance/" + id)});
}

std::string capacity_error(const Records& r, const std::string& type, const std::string& zone, const std::string& capacity) {
  for (auto& [id, f] : r.table("capacity-faults"))
    if (glob_match(f["InstanceType"].as_string(), type) && glob_match(f["AvailabilityZone"].as_string(), zone) && glob_match(f["CapacityType"].as_string(), capacity)) return f["Code"].as_string();
  return "";
}

Value merge_launch(const Value& base, const Value& over) {
  Value out = base.is_object() ? base : Value::object();
  for (const json::Member& m : over.as_object()) {
    if (m.value.is_null()) continue;
    if (m.key == "TagSpecifications") {
      for (const Value& s : m.value.as_array()) out[m.key].push_back(s);
    } else {
      out[m.key] = m.value;
    }
  }
  return out;
}

Result<std::vector<std::string>> launch_instances(Context& c, const Value& spec, int count, bool spot) {
  const std::string& type_name = spec["InstanceType"].as_string().empty() ? "m1.small" : spec["InstanceType"].as_string();
  const InstanceType* type = find_instance_type(type_name);
  if (!type) return fail("InvalidParameterValue", "Invalid value '" + type_name + "' for InstanceType.");
  const std::string& image_id = spec["ImageId"].as_string();
  if (image_id.empty()) return fail("MissingParameter", "The request must contain the parameter ImageId");
  const ImageInfo* image = find_image(image_id);
  if (!image) return fail(image_id.compare(0, 4, "ami-") == 0 ? "InvalidAMIID.NotFound" : "InvalidAMIID.Malformed", image_id.compare(0, 4, "ami-") == 0 ? "The image id '[" + image_id + "]' does not exist" : "Invalid id: \"" + image_id + "\" (expecting \"ami-...\")");
  if (image->architecture != type->arch)
    return fail("InvalidParameterValue", "The architecture '" + type->arch + "' of the specified instance type does not match the architecture '" + image->architecture + "' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.");
  Value specs = interface_specs(spec);
  std::string subnet_id = specs.at(0)["SubnetId"].as_string();
  if (const std::string& eni = specs.at(0)["NetworkInterfaceId"].as_string(); !eni.empty()) {
    TRY(const Value* e, need(c, "network-interfaces", eni, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
    subnet_id = (*e)["SubnetId"].as_string();
  }
  if (subnet_id.empty()) return fail("VPCIdNotSpecified", "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.");
  TRY(const Value* subnet, need(c, "subnets", subnet_id, "InvalidSubnetID.NotFound", "subnet ID"));
  std::string zone = (*subnet)["AvailabilityZone"].as_string(), vpc = (*subnet)["VpcId"].as_string();
  if (!offered_in(*type, zone))
    return fail("Unsupported", "Your requested instance type (" + type_name + ") is not supported in your requested Availability Zone (" + zone + "). Please retry your request by not specifying an Availability Zone or choosing another.");
  if (std::string e = capacity_error(c.r, type_name, zone, spot ? "spot" : "on-demand"); !e.empty())
    return fail(e, "We currently do not have sufficient " + type_name + " capacity in the Availability Zone you requested (" + zone + "). Our system will be working on provisioning additional capacity.");
  TRY(Value profile, profile_of(c, spec));
  TRY(Value tags, tags_for(spec, "instance"));
  TRY(Value volume_tags, tags_for(spec, "volume"));
  TRY(Value eni_tags, tags_for(spec, "network-interface"));
  std::string user_data = spec["UserData"].as_string();
  if (!user_data.empty() && !base64_decode(user_data)) return fail("InvalidParameterValue", "Invalid BASE64 encoding of user data.");
  if (user_data.size() > 16384 * 4 / 3 + 4) return fail("InvalidParameterValue", "User data is limited to 16384 bytes");

  std::string reservation = c.new_id("r-");
  std::vector<std::string> out;
  for (int n = 0; n < count; ++n) {
    std::string id = c.new_id("i-");
    std::string primary;
    c.r.edit("instances", id)["InstanceType"] = type_name;  // the slots check looks it up
    if (Status attached = attach_all(c, id, specs, eni_tags, &primary); !attached.ok()) {
      // A fleet goes on with its next pool: nothing of this try may stay.
      out.push_back(id);
      for (const std::string& made : out) {
        finish_termination(c, made);
        c.r.erase("instances", made);
      }
      return attached.error();
    }
    const Value e = *c.r.find("network-interfaces", primary);
    Value& i = c.r.edit("instances", id);
    i["InstanceId"] = id;
    i["ImageId"] = image_id;
    i["State"] = state_value(kPending);
    i["PrivateDnsName"] = e["PrivateDnsName"];
    i["PrivateIpAddress"] = e["PrivateIpAddress"];
    i["PublicDnsName"] = e["Association"]["PublicDnsName"].as_string();
    if (e.find("Association")) i["PublicIpAddress"] = e["Association"]["PublicIp"];
    i["StateTransitionReason"] = "";
    if (spec.find("KeyName")) i["KeyName"] = spec["KeyName"];
    i["AmiLaunchIndex"] = n;
    i["InstanceType"] = type_name;
    i["LaunchTime"] = c.timestamp();
    i["Placement"]["AvailabilityZone"] = zone;
    i["Placement"]["AvailabilityZoneId"] = zone_id(c.o, zone);
    i["Placement"]["Tenancy"] = "default";
    i["Placement"]["GroupName"] = "";
    i["Monitoring"]["State"] = spec["Monitoring"]["Enabled"].as_bool() ? "enabled" : "disabled";
    i["SubnetId"] = subnet_id;
    i["VpcId"] = vpc;
    i["Architecture"] = type->arch;
    i["ClientToken"] = spec["ClientToken"].as_string();
    i["EbsOptimized"] = spec["EbsOptimized"].as_bool();
    i["EnaSupport"] = true;
    i["Hypervisor"] = "xen";
    i["VirtualizationType"] = "hvm";
    i["RootDeviceName"] = image->root_device;
    i["RootDeviceType"] = "ebs";
    i["SourceDestCheck"] = true;
    i["SecurityGroups"] = e["Groups"];
    i["Tags"] = tags;
    i["CpuOptions"]["CoreCount"] = type->cores;
    i["CpuOptions"]["ThreadsPerCore"] = type->threads_per_core;
    i["CapacityReservationSpecification"]["CapacityReservationPreference"] = "open";
    i["HibernationOptions"]["Configured"] = false;
    i["EnclaveOptions"]["Enabled"] = false;
    i["BootMode"] = "uefi-preferred";
    i["PlatformDetails"] = "Linux/UNIX";
    i["UsageOperation"] = "RunInstances";
    i["UsageOperationUpdateTime"] = c.timestamp();
    i["PrivateDnsNameOptions"]["HostnameType"] = "ip-name";
    i["PrivateDnsNameOptions"]["EnableResourceNameDnsARecord"] = false;
    i["PrivateDnsNameOptions"]["EnableResourceNameDnsAAAARecord"] = false;
    i["MaintenanceOptions"]["AutoRecovery"] = "default";
    const Value& m = spec["MetadataOptions"];
    i["MetadataOptions"]["State"] = "applied";
    i["MetadataOptions"]["HttpTokens"] = m["HttpTokens"].as_string().empty() ? "required" : m["HttpTokens"].as_string();
    i["MetadataOptions"]["HttpPutResponseHopLimit"] = m["HttpPutResponseHopLimit"].as_int(2);
    i["MetadataOptions"]["HttpEndpoint"] = m["HttpEndpoint"].as_string().empty() ? "enabled" : m["HttpEndpoint"].as_string();
    i["MetadataOptions"]["HttpProtocolIpv6"] = "disabled";
    i["MetadataOptions"]["InstanceMetadataTags"] = m["InstanceMetadataTags"].as_string().empty() ? "disabled" : m["InstanceMetadataTags"].as_string();
    if (!profile.is_null()) i["IamInstanceProfile"] = profile;
    if (spot) {
      i["InstanceLifecycle"] = "spot";
      i["SpotInstanceRequestId"] = c.new_id("sir-", 8);
    }
    i["_reservation"] = reservation;
    i["_user_data"] = user_data;
    i["_boot"] = 1;
    i["_shutdown"] = spec["InstanceInitiatedShutdownBehavior"].as_string() == "terminate" || spot ? "terminate" : "stop";
    i["_protected"] = spec["DisableApiTermination"].as_bool();
    Value devices = spec["BlockDeviceMappings"].size() > 0 ? spec["BlockDeviceMappings"] : Value::array();
    bool root_given = false;
    for (const Value& d : devices.as_array()) root_given |= d["DeviceName"].as_string() == image->root_device;
    if (!root_given) {
      Value d = Value::object();
      d["DeviceName"] = image->root_device;
      devices.push_back(std::move(d));
    }
    i["BlockDeviceMappings"] = Value::array();
    for (const Value& d : devices.as_array()) {
      std::string volume = make_volume(c, id, zone, d["DeviceName"].as_string(), d["Ebs"], 20, volume_tags);
      Value b = Value::object();
      b["DeviceName"] = d["DeviceName"];
      b["Ebs"]["VolumeId"] = volume;
      b["Ebs"]["Status"] = "attached";
      b["Ebs"]["AttachTime"] = c.timestamp();
      b["Ebs"]["DeleteOnTermination"] = d["Ebs"]["DeleteOnTermination"].as_bool(true);
      c.r.edit("instances", id)["BlockDeviceMappings"].push_back(std::move(b));
    }
    out.push_back(id);
  }
  return out;
}

void finish_termination(Context& c, const std::string& id) {
  for (const std::string& eni : interfaces_of(c.r, id)) {
    if ((*c.r.find("network-interfaces", eni))["Attachment"]["DeleteOnTermination"].as_bool()) delete_interface(c, eni);
    else detach_interface(c, eni);
  }
  for (auto& [vid, v] : Records::Table(c.r.table("volumes"))) {
    const Value& a = v["Attachments"].at(0);
    if (a["InstanceId"].as_string() != id) continue;
    if (a["DeleteOnTermination"].as_bool()) {
      c.r.erase("volumes", vid);
    } else {
      Value& e = c.r.edit("volumes", vid);
      e["Attachments"] = Value::array();
      e["State"] = "available";
    }
  }
  Value& i = c.r.edit("instances", id);
  for (const char* k : {"PrivateIpAddress", "PublicIpAddress", "SubnetId", "VpcId", "IamInstanceProfile"}) i.erase(k);
  i["PrivateDnsName"] = "";
  i["PublicDnsName"] = "";
  i["SecurityGroups"] = Value::array();
  i["BlockDeviceMappings"] = Value::array();
  i["_ended"] = c.now.seconds();
}

void publish_event(Context& c, const std::string& source, const std::string& detail_type, Value detail, const std::vector<std::string>& resources) {
  for (auto& [name, queue] : Records::Table(c.r.table("queues"))) {
    if (!queue["_events"].as_bool()) continue;
    Value e = Value::object();
    e["version"] = "0";
    std::string r = c.new_id("", 32);
    e["id"] = r.substr(0, 8) + "-" + r.substr(8, 4) + "-" + r.substr(12, 4) + "-" + r.substr(16, 4) + "-" + r.substr(20, 12);
    e["detail-type"] = detail_type;
    e["source"] = source;
    e["account"] = c.o.account;
    e["time"] = format_rfc3339(c.now);
    e["region"] = c.o.region;
    e["resources"] = string_list(resources);
    e["detail"] = detail;
    Value m = Value::object();
    m["Body"] = json::dump(e);
    m["Queue"] = name;
    m["SentTimestamp"] = c.now.millis();
    m["VisibleAt"] = c.now.millis();
    m["Count"] = 0;
    m["MessageId"] = std::as_const(e)["id"];
    c.r.put("messages", name + "/" + format("%020lld-", static_cast<long long>(c.now.ns)) + r.substr(0, 8), std::move(m));
  }
}

}  // namespace caravel::cloud
