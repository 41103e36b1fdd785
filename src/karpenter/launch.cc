// Launching, finding and ending instances.
//
// A launch is one instant fleet of one instance: launch templates (one per image and pod capacity, named by
// the hash of what they hold) with an override for every candidate type and zone; EC2 picks. What could not
// be had is remembered for three minutes, so that the next plan avoids it.
#include <algorithm>
#include <limits>

#include "base/hash.h"
#include "base/strings.h"
#include "karpenter/cloud_provider.h"

namespace caravel::karpenter {

namespace {

constexpr size_t kLaunchTypesMax = 60;

json::Value tag_value(std::string k, std::string v) {
  json::Value t;
  t["Key"] = std::move(k);
  t["Value"] = std::move(v);
  return t;
}

bool is_capacity_error(const std::string& code) {
  static const std::set<std::string> kCodes{"InsufficientInstanceCapacity", "MaxSpotInstanceCountExceeded", "VcpuLimitExceeded", "UnfulfillableCapacity",
                                            "Unsupported", "InsufficientFreeAddressesInSubnet", "MaxFleetCountExceeded", "ReservationCapacityExceeded"};
  return kCodes.count(code) > 0;
}

bool is_exotic(const InstanceType& t) {
  const Requirement* size = t.requirements.find("karpenter.k8s.aws/instance-size");
  bool metal = size && size->only() && size->only()->starts_with("metal");
  for (const char* r : {"nvidia.com/gpu", "amd.com/gpu", "aws.amazon.com/neuron", "habana.ai/gaudi"})
    if (t.capacity.other.count(r)) return true;
  return metal;
}

// What is worth asking for, cheapest first.
InstanceTypes candidates(const LaunchRequest& q) {
  InstanceTypes out;
  bool min_values = false;
  for (const auto& [k, r] : q.requirements.all()) min_values = min_values || r.min_values.has_value();
  for (const auto& t : q.types)
    if (has_offering(*t, q.requirements)) out.push_back(t);
  // Accelerators and metal only when nothing else will do.
  if (!min_values && !std::all_of(out.begin(), out.end(), [](const auto& t) { return is_exotic(*t); }))
    std::erase_if(out, [](const auto& t) { return is_exotic(*t); });
  std::stable_sort(out.begin(), out.end(), [&](const auto& a, const auto& b) {
    double x = cheapest_price(*a, q.requirements), y = cheapest_price(*b, q.requirements);
    return x != y ? x < y : a->name < b->name;
  });
  if (out.size() > kLaunchTypesMax) out.resize(kLaunchTypesMax);
  return out;
}

std::string capacity_type_of(const InstanceTypes& types, const Requirements& r) {
  for (const char* c : {"spot"}) {
    if (!r.get(label::kCapacityType).has(c)) continue;
    Requirements with = r;
    with.add(label::kCapacityType, Requirement::in({c}));
    if (std::any_of(types.begin(), types.end(), [&](const auto& t) { return has_offering(*t, with); })) return c;
  }
  return "on-demand";
}

}  // namespace

Task<Result<std::string>> CloudProvider::launch_template(LaunchRequest q, std::string image, int64_t max_pods, std::string capacity_type) {
  const json::Value& spec = q.node_class_object["spec"];
  NodeSettings node;
  if (spec["amiFamily"].is_string()) node.ami_family = spec["amiFamily"].as_string();
  for (const auto& term : spec["amiSelectorTerms"].as_array()) {
    const std::string& alias = term["alias"].as_string();
    if (alias.starts_with("bottlerocket@")) node.ami_family = "Bottlerocket";
    if (alias.starts_with("al2@")) node.ami_family = "AL2";
  }
  node.kubelet = spec["kubelet"];
  node.max_pods = max_pods;
  node.labels = q.labels;
  node.labels[label::kCapacityType] = capacity_type;
  node.taints = q.taints;
  node.taints.insert(node.taints.end(), q.startup_taints.begin(), q.startup_taints.end());
  node.taints.push_back({"karpenter.sh/unregistered", "", kube::scheduling::Effect::kNoExecute});
  node.instance_store_raid0 = spec["instanceStorePolicy"].as_string() == "RAID0";
  node.kubelet_flags = settings_.kubelet_flags;
  auto user_data = make_user_data(cluster_, node, spec["userData"].as_string());
  if (!user_data.ok()) co_return std::move(user_data).error();

  json::Value data;
  data["ImageId"] = image;
  data["UserData"] = base64_encode(*user_data);
  data["IamInstanceProfile"]["Name"] = q.node_class_object.path({"status", "instanceProfile"});
  json::Value groups = json::Value::array();
  for (const auto& g : q.node_class_object.path({"status", "securityGroups"}).as_array()) groups.push_back(g["id"]);
  if (spec["associatePublicIPAddress"].is_bool()) {
    json::Value nic;
    nic["AssociatePublicIpAddress"] = spec["associatePublicIPAddress"];
    nic["DeviceIndex"] = 0;
    nic["Groups"] = groups;
    data["NetworkInterfaces"].push_back(std::move(nic));
  } else {
    data["SecurityGroupIds"] = groups;
  }
  const json::Value& m = spec["metadataOptions"];
  auto text = [&](const char* key, const char* fallback) { return m[key].is_string() ? m[key].as_string() : std::string(fallback); };
  data["MetadataOptions"]["HttpEndpoint"] = text("httpEndpoint", "enabled");
  data["MetadataOptions"]["HttpTokens"] = text("httpTokens", "required");
  data["MetadataOptions"]["HttpProtocolIpv6"] = text("httpProtocolIPv6", "disabled");
  data["MetadataOptions"]["HttpPutResponseHopLimit"] = m["httpPutResponseHopLimit"].as_int(1);
  data["MetadataOptions"]["InstanceMetadataTags"] = "disabled";
  if (spec["detailedMonitoring"].is_bool()) data["Monitoring"]["Enabled"] = spec["detailedMonitoring"];
  for (const auto& b : spec["blockDeviceMappings"].as_array()) {
    json::Value out;
    out["DeviceName"] = b["deviceName"];
    const json::Value& e = b["ebs"];
    json::Value ebs = json::Value::object();
    for (auto [ours, theirs] : {std::pair("deleteOnTermination", "DeleteOnTermination"), {"encrypted", "Encrypted"}, {"iops", "Iops"}, {"kmsKeyID", "KmsKeyId"}, {"snapshotID", "SnapshotId"}, {"throughput", "Throughput"}, {"volumeType", "VolumeType"}})
      if (!e[ours].is_null()) ebs[theirs] = e[ours];
    const std::string& size = e["volumeSize"].as_string();
    if (!size.empty()) {
      size_t digits = size.find_first_not_of("0123456789");
      int64_t n = parse_int(size.substr(0, digits)).value_or(20);
      ebs["VolumeSize"] = digits != size.npos && size[digits] == 'T' ? n * 1024 : n;
    }
    out["Ebs"] = std::move(ebs);
    data["BlockDeviceMappings"].push_back(std::move(out));
  }

  std::string name = "karpenter.k8s.aws/" + std::to_string(fnv64a(json::dump_sorted(data) + q.node_class));
  if (launch_templates_.count(name)) co_return name;
  json::Value create;
  create["LaunchTemplateName"] = name;
  create["LaunchTemplateData"] = std::move(data);
  json::Value tags;
  tags["ResourceType"] = "launch-template";
  tags["Tags"].push_back(tag_value("kubernetes.io/cluster/" + settings_.cluster_name, "owned"));
  tags["Tags"].push_back(tag_value("eks:eks-cluster-name", settings_.cluster_name));
  tags["Tags"].push_back(tag_value("karpenter.k8s.aws/ec2nodeclass", q.node_class));
  create["TagSpecifications"].push_back(std::move(tags));
  auto r = co_await aws_->call("ec2", "CreateLaunchTemplate", std::move(create));
  if (!r.ok() && !aws::is_error(r.error(), "InvalidLaunchTemplateName.AlreadyExistsException")) co_return wrap(std::move(r).error(), "CreateLaunchTemplate");
  launch_templates_.insert(name);
  co_return name;
}

Task<Result<Instance>> CloudProvider::launch(LaunchRequest q) {
  InstanceTypes types = candidates(q);
  if (types.empty()) {
    Error e = make_error(Code::kTooMany, "all requested instance types were unavailable during launch");
    e.details = "InsufficientCapacity";
    co_return e;
  }
  std::string capacity_type = capacity_type_of(types, q.requirements);
  Requirements wanted = q.requirements;
  wanted.add(label::kCapacityType, Requirement::in({capacity_type}));

  // Types by image (its architecture must match) and pod capacity: each group has one launch template.
  std::map<std::pair<std::string, int64_t>, InstanceTypes> groups;
  for (const auto& t : types) {
    for (const auto& ami : q.node_class_object.path({"status", "amis"}).as_array()) {
      bool fits = true;
      for (const auto& r : ami["requirements"].as_array()) {
        std::vector<std::string> values;
        for (const auto& v : r["values"].as_array()) values.push_back(v.as_string());
        const Requirement* have = t->requirements.find(r["key"].as_string());
        fits = fits && (!have || have->compatible(Requirement::of(r["operator"].as_string(), values)));
      }
      if (!fits) continue;
      groups[{ami["id"].as_string(), t->capacity.pods}].push_back(t);
      break;
    }
  }
  json::Value configs = json::Value::array();
  std::set<std::string> names;
  for (const auto& [key, group] : groups) {
    std::map<std::string, std::string> subnet_of;  // zone -> subnet; the status lists the emptiest first
    for (const auto& s : q.node_class_object.path({"status", "subnets"}).as_array()) subnet_of.emplace(s["zone"].as_string(), s["id"].as_string());
    json::Value overrides = json::Value::array();
    for (const auto& t : group) {
      for (const auto& o : t->offerings) {
        if (!o.available || o.capacity_type != capacity_type || !wanted.get(label::kZone).has(o.zone) || !subnet_of.count(o.zone)) continue;
        json::Value v;
        v["InstanceType"] = t->name;
        v["SubnetId"] = subnet_of[o.zone];
        v["ImageId"] = key.first;
        v["AvailabilityZone"] = o.zone;
        v["Priority"] = o.price;
        overrides.push_back(std::move(v));
      }
    }
    if (overrides.size() == 0) continue;
    auto name = co_await launch_template(q, key.first, key.second, capacity_type);
    if (!name.ok()) co_return std::move(name).error();
    names.insert(*name);
    json::Value config;
    config["LaunchTemplateSpecification"]["LaunchTemplateName"] = *name;
    config["LaunchTemplateSpecification"]["Version"] = "$Latest";
    config["Overrides"] = std::move(overrides);
    configs.push_back(std::move(config));
  }
  if (configs.size() == 0) co_return unavailable("no subnet and image of node class \"" + q.node_class + "\" suits the instance types; see its status");

  json::Value fleet;
  fleet["Type"] = "instant";
  fleet["LaunchTemplateConfigs"] = std::move(configs);
  fleet["TargetCapacitySpecification"]["DefaultTargetCapacityType"] = capacity_type;
  fleet["TargetCapacitySpecification"]["TotalTargetCapacity"] = 1;
  if (capacity_type == "spot") fleet["SpotOptions"]["AllocationStrategy"] = "price-capacity-optimized";
  else fleet["OnDemandOptions"]["AllocationStrategy"] = "lowest-price";
  for (const char* resource : {"instance", "volume", "fleet"}) {
    json::Value spec;
    spec["ResourceType"] = resource;
    spec["Tags"].push_back(tag_value("kubernetes.io/cluster/" + settings_.cluster_name, "owned"));
    spec["Tags"].push_back(tag_value("karpenter.sh/nodepool", q.pool));
    spec["Tags"].push_back(tag_value("eks:eks-cluster-name", settings_.cluster_name));
    spec["Tags"].push_back(tag_value("karpenter.k8s.aws/ec2nodeclass", q.node_class));
    for (const auto& [k, v] : q.node_class_object.path({"spec", "tags"}).as_object()) spec["Tags"].push_back(tag_value(k, v.as_string()));
    fleet["TagSpecifications"].push_back(std::move(spec));
  }
  const std::string& context = q.node_class_object.path({"spec", "context"}).as_string();
  if (!context.empty()) fleet["Context"] = context;

  auto r = co_await aws_->call("ec2", "CreateFleet", std::move(fleet));
  if (!r.ok()) {
    if (r.error().details.find("LaunchTemplate") != std::string::npos)
      for (const auto& n : names) launch_templates_.erase(n);  // gone: made again on the retry
    co_return wrap(std::move(r).error(), "CreateFleet");
  }
  std::string reasons;
  for (const auto& e : (*r)["Errors"].as_array()) {
    const json::Value& o = e.path({"LaunchTemplateAndOverrides", "Overrides"});
    const std::string& code = e["ErrorCode"].as_string();
    if (is_capacity_error(code)) mark_unavailable(o["InstanceType"].as_string(), o["AvailabilityZone"].as_string(), capacity_type);
    if (reasons.find(code) == reasons.npos) reasons += (reasons.empty() ? "" : "; ") + code + ": " + e["ErrorMessage"].as_string();
  }
  const json::Value& made = (*r)["Instances"].at(0);
  std::string id = made["InstanceIds"].at(0).as_string();
  if (id.empty()) {
    Error e = make_error(Code::kTooMany, "with fleet error(s), " + reasons);
    e.details = "InsufficientCapacity";
    co_return e;
  }
  const json::Value& o = made.path({"LaunchTemplateAndOverrides", "Overrides"});
  Instance out;
  out.id = id;
  out.type = made["InstanceType"].as_string().empty() ? o["InstanceType"].as_string() : made["InstanceType"].as_string();
  out.zone = o["AvailabilityZone"].as_string();
  out.image_id = o["ImageId"].as_string();
  out.subnet = o["SubnetId"].as_string();
  out.capacity_type = capacity_type;
  out.state = "pending";
  out.nodepool = q.pool;
  out.nodeclass = q.node_class;
  // Where the answer leaves something open, the instance itself says.
  if (out.zone.empty() || out.image_id.empty()) {
    auto described = co_await get(id);
    if (described.ok()) {
      out.zone = described->zone;
      out.image_id = described->image_id;
      out.type = described->type;
    }
  }
  co_return out;
}

Instance CloudProvider::parse(const json::Value& v) {
  Instance out;
  out.id = v["InstanceId"].as_string();
  out.type = v["InstanceType"].as_string();
  out.zone = v.path({"Placement", "AvailabilityZone"}).as_string();
  out.image_id = v["ImageId"].as_string();
  out.state = v.path({"State", "Name"}).as_string();
  out.private_dns_name = v["PrivateDnsName"].as_string();
  out.capacity_type = v["SpotInstanceRequestId"].as_string().empty() && v["InstanceLifecycle"].as_string() != "spot" ? "on-demand" : "spot";
  out.launch_time = v["LaunchTime"].as_string();
  out.subnet = v["SubnetId"].as_string();
  for (const auto& g : v["SecurityGroups"].as_array()) out.security_groups.push_back(g["GroupId"].as_string());
  for (const auto& t : v["Tags"].as_array()) {
    const std::string& k = t["Key"].as_string();
    if (k == "karpenter.sh/nodepool") out.nodepool = t["Value"].as_string();
    if (k == "karpenter.k8s.aws/ec2nodeclass") out.nodeclass = t["Value"].as_string();
    if (k == "karpenter.sh/nodeclaim") out.nodeclaim = t["Value"].as_string();
  }
  return out;
}

Task<Result<Instance>> CloudProvider::get(std::string id) {
  json::Value in;
  in["InstanceIds"].push_back(id);
  auto r = co_await pages("ec2", "DescribeInstances", std::move(in), "Reservations");
  if (!r.ok()) {
    Error e = std::move(r).error();
    if (aws::is_error(e, "InvalidInstanceID.NotFound")) e.code = Code::kNotFound;
    co_return e;
  }
  for (const auto& reservation : *r)
    for (const auto& v : reservation["Instances"].as_array()) {
      Instance i = parse(v);
      if (i.id == id && i.state != "terminated") co_return i;
    }
  co_return not_found("instance " + id + " does not exist or is terminated");
}

Task<Result<std::vector<Instance>>> CloudProvider::list() {
  json::Value in;
  auto add = [&](const char* name, std::vector<std::string> values) {
    json::Value f;
    f["Name"] = name;
    f["Values"] = json::Value::array();
    for (auto& v : values) f["Values"].push_back(std::move(v));
    in["Filters"].push_back(std::move(f));
  };
  add("tag-key", {"karpenter.sh/nodepool"});
  add("tag-key", {"karpenter.k8s.aws/ec2nodeclass"});
  add("tag:eks:eks-cluster-name", {settings_.cluster_name});
  add("instance-state-name", {"pending", "running", "stopping", "stopped", "shutting-down"});
  in["MaxResults"] = 1000;
  auto r = co_await pages("ec2", "DescribeInstances", std::move(in), "Reservations");
  if (!r.ok()) co_return std::move(r).error();
  std::vector<Instance> out;
  for (const auto& reservation : *r)
    for (const auto& v : reservation["Instances"].as_array()) out.push_back(parse(v));
  co_return out;
}

Task<Status> CloudProvider::terminate(std::string id) {
  auto now = co_await get(id);
  if (!now.ok()) co_return std::move(now).error();
  if (now->state == "shutting-down") co_return ok();
  json::Value in;
  in["InstanceIds"].push_back(id);
  auto r = co_await aws_->call("ec2", "TerminateInstances", std::move(in));
  if (!r.ok()) {
    Error e = std::move(r).error();
    if (aws::is_error(e, "InvalidInstanceID.NotFound")) e.code = Code::kNotFound;
    co_return e;
  }
  co_return ok();
}

Task<Status> CloudProvider::tag(std::string id, Labels tags) {
  json::Value in;
  in["Resources"].push_back(id);
  for (const auto& [k, v] : tags) in["Tags"].push_back(tag_value(k, v));
  auto r = co_await aws_->call("ec2", "CreateTags", std::move(in));
  if (!r.ok()) co_return std::move(r).error();
  co_return ok();
}

Task<Status> CloudProvider::delete_launch_templates(std::string node_class) {
  json::Value in;
  json::Value f;
  f["Name"] = "tag:karpenter.k8s.aws/ec2nodeclass";
  f["Values"].push_back(node_class);
  in["Filters"].push_back(std::move(f));
  auto r = co_await pages("ec2", "DescribeLaunchTemplates", std::move(in), "LaunchTemplates");
  if (!r.ok()) co_return std::move(r).error();
  for (const auto& t : *r) {
    std::string name = t["LaunchTemplateName"].as_string();
    launch_templates_.erase(name);
    json::Value del;
    del["LaunchTemplateName"] = name;
    auto d = co_await aws_->call("ec2", "DeleteLaunchTemplate", std::move(del));
    if (!d.ok() && d.error().details.find("NotFound") == std::string::npos) co_return std::move(d).error();
  }
  co_return ok();
}

}  // namespace caravel::karpenter
