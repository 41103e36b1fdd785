// Instances: run, describe, end.
#include "base/strings.h"
#include "cloud/instance_types.h"
#include "cloud/instances.h"
#include "cloud/network.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

const FilterTable& instance_filters() {
  static const FilterTable f{{"instance-id", "InstanceId"}, {"instance-state-name", "State.Name"}, {"instance-state-code", "State.Code"}, {"instance-type", "InstanceType"}, {"image-id", "ImageId"}, {"subnet-id", "SubnetId"}, {"vpc-id", "VpcId"}, {"availability-zone", "Placement.AvailabilityZone"}, {"private-ip-address", "PrivateIpAddress"}, {"private-dns-name", "PrivateDnsName"}, {"ip-address", "PublicIpAddress"}, {"dns-name", "PublicDnsName"}, {"instance-lifecycle", "InstanceLifecycle"}, {"spot-instance-request-id", "SpotInstanceRequestId"}, {"architecture", "Architecture"}, {"client-token", "ClientToken"}, {"instance.group-id", "SecurityGroups.GroupId"}, {"instance.group-name", "SecurityGroups.GroupName"}, {"group-id", "SecurityGroups.GroupId"}, {"key-name", "KeyName"}, {"reservation-id", "_reservation"}, {"iam-instance-profile.arn", "IamInstanceProfile.Arn"}, {"network-interface.network-interface-id", "NetworkInterfaces.NetworkInterfaceId"}, {"network-interface.addresses.private-ip-address", "NetworkInterfaces.PrivateIpAddresses.PrivateIpAddress"}, {"network-interface.subnet-id", "NetworkInterfaces.SubnetId"}, {"network-interface.vpc-id", "NetworkInterfaces.VpcId"}, {"network-interface.private-dns-name", "NetworkInterfaces.PrivateDnsName"}, {"launch-time", "LaunchTime"}, {"root-device-type", "RootDeviceType"}, {"tenancy", "Placement.Tenancy"}, {"owner-id", "_owner"}, {"platform-details", "PlatformDetails"}, {"virtualization-type", "VirtualizationType"}, {"metadata-options.http-tokens", "MetadataOptions.HttpTokens"}};
  return f;
}

Value reservation_of(Context& c, const Value& i) {
  Value r = Value::object();
  r["ReservationId"] = i["_reservation"];
  r["OwnerId"] = c.o.account;
  r["Groups"] = Value::array();
  r["Instances"] = Value::array();
  return r;
}

Output run_instances(Context& c, const Value& in) {
  const std::string& token = in["ClientToken"].as_string();
  Value spec = in;
  if (in.find("LaunchTemplate")) {
    TRY(Value data, launch_template_data(c, in["LaunchTemplate"]));
    spec = merge_launch(data, in);
  }
  int64_t min = in["MinCount"].as_int(), max = in["MaxCount"].as_int();
  if (min < 1 || max < min) return fail("InvalidParameterValue", "MinCount must be at least 1 and not above MaxCount");
  if (max > 1000) return fail("InstanceLimitExceeded", "You have requested more instances than your current instance limit of 1000 allows.");
  std::vector<std::string> ids;
  if (!token.empty())
    for (auto& [id, i] : c.r.table("instances"))
      if (i["ClientToken"].as_string() == token) ids.push_back(id);
  if (ids.empty()) {
    bool spot = spec["InstanceMarketOptions"]["MarketType"].as_string() == "spot";
    TRY(ids, launch_instances(c, spec, static_cast<int>(max), spot));
  }
  Value out = reservation_of(c, *c.r.find("instances", ids[0]));
  for (const std::string& id : ids) out["Instances"].push_back(render_instance(c, *c.r.find("instances", id)));
  return out;
}

Output describe_instances(Context& c, const Value& in) {
  std::vector<Value> found;
  auto consider = [&](const Value& i) -> Status {
    Value v = render_instance(c, i);
    TRY(bool hit, matches(v, in["Filters"], instance_filters()));
    if (hit) found.push_back(std::move(v));
    return ok();
  };
  if (in["InstanceIds"].size() > 0) {
    std::vector<std::string> missing;
    for (const std::string& id : strings(in["InstanceIds"])) {
      if (id.compare(0, 2, "i-") != 0) return fail("InvalidInstanceID.Malformed", "Invalid id: \"" + id + "\"");
      const Value* i = c.r.find("instances", id);
      if (!i) missing.push_back(id);
      else TRY_VOID(consider(*i));
    }
    if (missing.size() == 1) return fail("InvalidInstanceID.NotFound", "The instance ID '" + missing[0] + "' does not exist");
    if (!missing.empty()) return fail("InvalidInstanceID.NotFound", "The instance IDs '" + join(missing, ", ") + "' do not exist");
  } else {
    for (auto& [id, i] : c.r.table("instances")) TRY_VOID(consider(i));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["Reservations"] = Value::array();
  for (Value& i : items) {
    Value* r = nullptr;
    for (Value& have : out["Reservations"].arr())
      if (std::as_const(have)["ReservationId"] == std::as_const(i)["_reservation"]) r = &have;
    if (!r) {
      out["Reservations"].push_back(reservation_of(c, i));
      r = &out["Reservations"].arr().back();
    }
    (*r)["Instances"].push_back(std::move(i));
  }
  return out;
}

// Runs `change` for each instance named; collects the state changes.
Output change_states(Context& c, const Value& in, const char* output, Status (*change)(Context&, const std::string& id, int state, const Value& in)) {
  std::vector<std::string> ids = strings(in["InstanceIds"]);
  if (ids.empty()) return fail("MissingParameter", "The request must contain the parameter InstanceId");
  std::vector<std::string> missing;
  for (const std::string& id : ids)
    if (!c.r.find("instances", id)) missing.push_back(id);
  if (missing.size() == 1) return fail("InvalidInstanceID.NotFound", "The instance ID '" + missing[0] + "' does not exist");
  if (!missing.empty()) return fail("InvalidInstanceID.NotFound", "The instance IDs '" + join(missing, ", ") + "' do not exist");
  Value out = Value::object();
  out[output] = Value::array();
  for (const std::string& id : ids) {
    Value before = (*c.r.find("instances", id))["State"];
    TRY_VOID(change(c, id, static_cast<int>(std::as_const(before)["Code"].as_int()), in));
    Value v = Value::object();
    v["InstanceId"] = id;
    v["PreviousState"] = std::move(before);
    v["CurrentState"] = (*c.r.find("instances", id))["State"];
    out[output].push_back(std::move(v));
  }
  return out;
}

Output terminate_instances(Context& c, const Value& in) {
  return change_states(c, in, "TerminatingInstances", [](Context& ctx, const std::string& id, int state, const Value&) -> Status {
    if ((*ctx.r.find("instances", id))["_protected"].as_bool()) return fail("OperationNotPermitted", "The instance '" + id + "' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.");
    if (state == kTerminated || state == kShuttingDown) return ok();
    set_state(ctx, id, kShuttingDown, "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown");
    return ok();
  });
}

Output stop_instances(Context& c, const Value& in) {
  return change_states(c, in, "StoppingInstances", [](Context& ctx, const std::string& id, int state, const Value& q) -> Status {
    if (state == kStopped || state == kStopping) return ok();
    if (state != kRunning && state != kPending) return fail("IncorrectInstanceState", "This instance '" + id + "' is not in a state from which it can be stopped.");
    if ((*ctx.r.find("instances", id))["InstanceLifecycle"].as_string() == "spot") return fail("UnsupportedOperation", "You can't stop the Spot Instance '" + id + "' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests.");
    set_state(ctx, id, kStopping, "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown");
    ctx.r.edit("instances", id)["_force"] = q["Force"].as_bool();
    return ok();
  });
}

Output start_instances(Context& c, const Value& in) {
  return change_states(c, in, "StartingInstances", [](Context& ctx, const std::string& id, int state, const Value&) -> Status {
    if (state == kRunning || state == kPending) return ok();
    if (state != kStopped) return fail("IncorrectInstanceState", "The instance '" + id + "' is not in a state from which it can be started.");
    const Value& i = *ctx.r.find("instances", id);
    if (std::string e = capacity_error(ctx.r, i["InstanceType"].as_string(), i["Placement"]["AvailabilityZone"].as_string(), "on-demand"); !e.empty()) return fail(e, "Insufficient capacity.");
    set_state(ctx, id, kPending);
    Value& v = ctx.r.edit("instances", id);
    v["_boot"] = std::as_const(v)["_boot"].as_int() + 1;
    v["LaunchTime"] = ctx.timestamp();
    return ok();
  });
}

Output reboot_instances(Context& c, const Value& in) {
  TRY_VOID(change_states(c, in, "-", [](Context& ctx, const std::string& id, int state, const Value&) -> Status {
    if (state != kRunning) return fail("IncorrectState", "The instance '" + id + "' is not in the 'running' state.");
    Value& v = ctx.r.edit("instances", id);
    v["_boot"] = std::as_const(v)["_boot"].as_int() + 1;
    return ok();
  }));
  return done();
}

Output describe_status(Context& c, const Value& in) {
  static const FilterTable f{{"instance-state-name", "InstanceState.Name"}, {"instance-state-code", "InstanceState.Code"}, {"instance-status.status", "InstanceStatus.Status"}, {"instance-status.reachability", "InstanceStatus.Details.Status"}, {"system-status.status", "SystemStatus.Status"}, {"system-status.reachability", "SystemStatus.Details.Status"}, {"availability-zone", "AvailabilityZone"}, {"event.code", "Events.Code"}, {"event.description", "Events.Description"}, {"attached-ebs-status.status", "AttachedEbsStatus.Status"}};
  std::vector<Value> found;
  std::vector<std::string> ids = strings(in["InstanceIds"]);
  for (const std::string& id : ids)
    if (!c.r.find("instances", id)) return fail("InvalidInstanceID.NotFound", "The instance ID '" + id + "' does not exist");
  for (auto& [id, i] : c.r.table("instances")) {
    if (!ids.empty() && std::find(ids.begin(), ids.end(), id) == ids.end()) continue;
    int64_t state = i["State"]["Code"].as_int();
    if (state != kRunning && !in["IncludeAllInstances"].as_bool()) continue;
    Value v = Value::object();
    v["InstanceId"] = id;
    v["AvailabilityZone"] = i["Placement"]["AvailabilityZone"];
    v["InstanceState"] = i["State"];
    v["Events"] = i["_events"].is_array() ? i["_events"] : Value::array();
    for (const char* which : {"InstanceStatus", "SystemStatus", "AttachedEbsStatus"}) {
      std::string fault = i[std::string("_") + which].as_string();
      std::string status = state != kRunning ? "not-applicable" : fault.empty() ? "ok"
                                                                                : fault;
      v[which]["Status"] = status;
      Value d = Value::object();
      d["Name"] = "reachability";
      d["Status"] = status == "ok" ? "passed" : status == "impaired" ? "failed"
                                                                     : status;
      if (status == "impaired") d["ImpairedSince"] = i["_impaired_since"];
      v[which]["Details"] = Value::array({std::move(d)});
    }
    TRY(bool hit, matches(v, in["Filters"], f));
    if (hit) found.push_back(std::move(v));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["InstanceStatuses"] = Value(std::move(items));
  return out;
}

Output describe_attribute(Context& c, const Value& in) {
  TRY(const Value* i, need(c, "instances", in["InstanceId"].as_string(), "InvalidInstanceID.NotFound", "instance ID"));
  const std::string& a = in["Attribute"].as_string();
  Value out = Value::object();
  out["InstanceId"] = in["InstanceId"];
  if (a == "userData") {
    out["UserData"] = Value::object();
    if (!(*i)["_user_data"].as_string().empty()) out["UserData"]["Value"] = (*i)["_user_data"];
  } else if (a == "instanceType") {
    out["InstanceType"]["Value"] = (*i)["InstanceType"];
  } else if (a == "disableApiTermination") {
    out["DisableApiTermination"]["Value"] = (*i)["_protected"].as_bool();
  } else if (a == "instanceInitiatedShutdownBehavior") {
    out["InstanceInitiatedShutdownBehavior"]["Value"] = (*i)["_shutdown"];
  } else if (a == "sourceDestCheck") {
    out["SourceDestCheck"]["Value"] = (*i)["SourceDestCheck"];
  } else if (a == "groupSet") {
    out["Groups"] = (*i)["SecurityGroups"];
  } else if (a == "rootDeviceName") {
    out["RootDeviceName"]["Value"] = (*i)["RootDeviceName"];
  } else if (a == "blockDeviceMapping") {
    out["BlockDeviceMappings"] = (*i)["BlockDeviceMappings"];
  } else {
    return fail("InvalidParameterValue", "Value (" + a + ") for parameter attribute is invalid. Unknown attribute.");
  }
  return out;
}

Output modify_attribute(Context& c, const Value& in) {
  const std::string& id = in["InstanceId"].as_string();
  TRY(const Value* old, need(c, "instances", id, "InvalidInstanceID.NotFound", "instance ID"));
  if ((in.find("InstanceType") || in.find("UserData")) && (*old)["State"]["Code"].as_int() != kStopped) return fail("IncorrectInstanceState", "The instance '" + id + "' is not in the 'stopped' state.");
  Value& i = c.r.edit("instances", id);
  if (in.find("DisableApiTermination")) i["_protected"] = in["DisableApiTermination"]["Value"].as_bool();
  if (in.find("InstanceInitiatedShutdownBehavior")) i["_shutdown"] = in["InstanceInitiatedShutdownBehavior"]["Value"].as_string();
  if (in.find("SourceDestCheck")) i["SourceDestCheck"] = in["SourceDestCheck"]["Value"].as_bool();
  if (in.find("InstanceType")) {
    if (!find_instance_type(in["InstanceType"]["Value"].as_string())) return fail("InvalidParameterValue", "Invalid value '" + in["InstanceType"]["Value"].as_string() + "' for InstanceType.");
    i["InstanceType"] = in["InstanceType"]["Value"];
  }
  if (in.find("UserData")) i["_user_data"] = base64_encode(in["UserData"]["Value"].as_string());
  if (in["Groups"].size() > 0) {
    Value list = Value::array();
    for (const std::string& g : strings(in["Groups"])) {
      TRY(const Value* group, need(c, "security-groups", g, "InvalidGroup.NotFound", "security group"));
      Value v = Value::object();
      v["GroupId"] = g;
      v["GroupName"] = (*group)["GroupName"];
      list.push_back(std::move(v));
    }
    c.r.edit("instances", id)["SecurityGroups"] = list;
    auto enis = interfaces_of(c.r, id);
    if (!enis.empty()) c.r.edit("network-interfaces", enis[0])["Groups"] = std::move(list);
  }
  return done();
}

Output modify_metadata(Context& c, const Value& in) {
  const std::string& id = in["InstanceId"].as_string();
  TRY_VOID(need(c, "instances", id, "InvalidInstanceID.NotFound", "instance ID"));
  Value& m = c.r.edit("instances", id)["MetadataOptions"];
  for (const char* k : {"HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint", "InstanceMetadataTags"})
    if (in.find(k)) m[k] = in[k];
  Value out = Value::object();
  out["InstanceId"] = id;
  out["InstanceMetadataOptions"] = m;
  return out;
}

}  // namespace

Value render_instance(Context& c, const Value& i) {
  Value v = i;
  v["_owner"] = c.o.account;
  v["NetworkInterfaces"] = Value::array();
  for (const std::string& eni : interfaces_of(c.r, i["InstanceId"].as_string())) v["NetworkInterfaces"].push_back(*c.r.find("network-interfaces", eni));
  return v;
}

void add_instance_actions(Handlers& h) {
  h["ec2:RunInstances"] = run_instances;
  h["ec2:DescribeInstances"] = describe_instances;
  h["ec2:TerminateInstances"] = terminate_instances;
  h["ec2:StopInstances"] = stop_instances;
  h["ec2:StartInstances"] = start_instances;
  h["ec2:RebootInstances"] = reboot_instances;
  h["ec2:DescribeInstanceStatus"] = describe_status;
  h["ec2:DescribeInstanceAttribute"] = describe_attribute;
  h["ec2:ModifyInstanceAttribute"] = modify_attribute;
  h["ec2:ModifyInstanceMetadataOptions"] = modify_metadata;
}

}  // namespace caravel::cloud
