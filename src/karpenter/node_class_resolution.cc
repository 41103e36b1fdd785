// What an EC2NodeClass' selectors resolve to: subnets, security groups, images, instance profile.
#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"
#include "karpenter/cloud_provider.h"

namespace caravel::karpenter {

namespace {

json::Value filter(std::string name, std::vector<std::string> values) {
  json::Value f;
  f["Name"] = std::move(name);
  f["Values"] = json::Value::array();
  for (auto& v : values) f["Values"].push_back(std::move(v));
  return f;
}

// A selector term as EC2 filters; id_filter e.g. "subnet-id".
json::Value term_filters(const json::Value& term, const char* id_filter, const char* name_filter) {
  json::Value out = json::Value::array();
  if (const std::string& id = term["id"].as_string(); !id.empty()) out.push_back(filter(id_filter, {id}));
  if (const std::string& name = term["name"].as_string(); !name.empty() && name_filter) out.push_back(filter(name_filter, {name}));
  for (const auto& [k, v] : term["tags"].as_object()) {
    if (v.as_string() == "*") out.push_back(filter("tag-key", {k}));
    else out.push_back(filter("tag:" + k, {v.as_string()}));
  }
  return out;
}

json::Value architecture_requirement(const std::string& arch) {
  json::Value r;
  r["key"] = label::kArch;
  r["operator"] = "In";
  r["values"].push_back(arch == "x86_64" ? "amd64" : arch);
  json::Value out = json::Value::array();
  out.push_back(std::move(r));
  return out;
}

}  // namespace

Task<Result<json::Value>> CloudProvider::find_subnets(json::Value terms) {
  std::map<std::string, json::Value> found;
  for (const auto& term : terms.as_array()) {
    json::Value in;
    in["Filters"] = term_filters(term, "subnet-id", nullptr);
    auto r = co_await pages("ec2", "DescribeSubnets", std::move(in), "Subnets");
    if (!r.ok()) co_return std::move(r).error();
    for (const auto& s : *r) {
      json::Value out;
      out["id"] = s["SubnetId"];
      out["zone"] = s["AvailabilityZone"];
      if (!s["AvailabilityZoneId"].as_string().empty()) out["zoneID"] = s["AvailabilityZoneId"];
      free_addresses_[s["SubnetId"].as_string()] = s["AvailableIpAddressCount"].as_int();
      found[s["SubnetId"].as_string()] = std::move(out);
    }
  }
  // The subnet with most free addresses comes first, as launches use it.
  std::vector<json::Value> list;
  for (auto& [id, s] : found) list.push_back(std::move(s));
  std::stable_sort(list.begin(), list.end(), [&](const json::Value& a, const json::Value& b) {
    return free_addresses_[a["id"].as_string()] > free_addresses_[b["id"].as_string()];
  });
  json::Value out = json::Value::array();
  for (auto& s : list) out.push_back(std::move(s));
  co_return out;
}

Task<Result<json::Value>> CloudProvider::find_security_groups(json::Value terms) {
  std::map<std::string, json::Value> found;
  for (const auto& term : terms.as_array()) {
    json::Value in;
    in["Filters"] = term_filters(term, "group-id", "group-name");
    auto r = co_await pages("ec2", "DescribeSecurityGroups", std::move(in), "SecurityGroups");
    if (!r.ok()) co_return std::move(r).error();
    for (const auto& g : *r) {
      json::Value out;
      out["id"] = g["GroupId"];
      out["name"] = g["GroupName"];
      found[g["GroupId"].as_string()] = std::move(out);
    }
  }
  json::Value out = json::Value::array();
  for (auto& [id, g] : found) out.push_back(std::move(g));
  co_return out;
}

Task<Result<json::Value>> CloudProvider::find_images(json::Value spec) {
  // An alias names parameters that EKS publishes, per architecture.
  std::vector<std::string> ids;
  json::Value filters = json::Value::array();
  std::vector<json::Value> queries;
  for (const auto& term : spec["amiSelectorTerms"].as_array()) {
    const std::string& alias = term["alias"].as_string();
    std::vector<std::string> parameters;
    if (!alias.empty()) {
      std::string family = alias.substr(0, alias.find('@'));
      std::string version = alias.find('@') == alias.npos ? "latest" : alias.substr(alias.find('@') + 1);
      const std::string base = "/aws/service/eks/optimized-ami/" + cluster_.version;
      for (const char* arch : {"x86_64", "arm64"}) {
        if (family == "al2023") {
          std::string name = version == "latest" ? "recommended" : "amazon-eks-node-al2023-" + std::string(arch) + "-standard-" + cluster_.version + "-" + version;
          parameters.push_back(base + "/amazon-linux-2023/" + arch + "/standard/" + name + "/image_id");
        } else if (family == "al2") {
          parameters.push_back(base + "/amazon-linux-2" + (arch == std::string("arm64") ? "-arm64" : "") + "/recommended/image_id");
        } else if (family == "bottlerocket") {
          parameters.push_back("/aws/service/bottlerocket/aws-k8s-" + cluster_.version + "/" + arch + "/" + version + "/image_id");
        }
      }
    } else if (const std::string& p = term["ssmParameter"].as_string(); !p.empty()) {
      parameters.push_back(p);
    } else {
      json::Value in;
      in["Filters"] = term_filters(term, "image-id", "name");
      std::string owner = term["owner"].as_string();
      in["Owners"] = json::Value::array();
      if (!owner.empty()) {
        in["Owners"].push_back(owner);
      } else if (term["id"].as_string().empty()) {
        in["Owners"].push_back("self");
        in["Owners"].push_back("amazon");
      }
      queries.push_back(std::move(in));
    }
    for (auto& name : parameters) {
      json::Value in;
      in["Name"] = name;
      auto r = co_await aws_->call("ssm", "GetParameter", std::move(in));
      if (!r.ok() && aws::is_error(r.error(), "ParameterNotFound")) continue;
      if (!r.ok()) co_return wrap(std::move(r).error(), "GetParameter " + name);
      ids.push_back(r->path({"Parameter", "Value"}).as_string());
    }
  }
  if (!ids.empty()) {
    json::Value in;
    in["Filters"].push_back(filter("image-id", ids));
    queries.push_back(std::move(in));
  }
  std::vector<json::Value> images;
  std::set<std::string> seen;
  for (auto& q : queries) {
    auto r = co_await pages("ec2", "DescribeImages", std::move(q), "Images");
    if (!r.ok()) co_return std::move(r).error();
    for (auto& i : *r)
      if (seen.insert(i["ImageId"].as_string()).second) images.push_back(std::move(i));
  }
  std::stable_sort(images.begin(), images.end(), [](const json::Value& a, const json::Value& b) { return a["CreationDate"].as_string() > b["CreationDate"].as_string(); });
  json::Value out = json::Value::array();
  for (const auto& i : images) {
    json::Value ami;
    ami["id"] = i["ImageId"];
    ami["name"] = i["Name"];
    ami["requirements"] = architecture_requirement(i["Architecture"].as_string());
    out.push_back(std::move(ami));
  }
  co_return out;
}

// spec.instanceProfile as it is, or a profile of ours that holds spec.role.
Task<Result<std::string>> CloudProvider::ensure_instance_profile(json::Value node_class) {
  if (const std::string& own = node_class.path({"spec", "instanceProfile"}).as_string(); !own.empty()) co_return own;
  std::string role = node_class.path({"spec", "role"}).as_string();
  std::string name = settings_.cluster_name + "_" + std::to_string(fnv64a(aws_->region() + node_class.path({"metadata", "name"}).as_string() + role));
  json::Value get;
  get["InstanceProfileName"] = name;
  auto existing = co_await aws_->call("iam", "GetInstanceProfile", get);
  if (!existing.ok() && !aws::is_error(existing.error(), "NoSuchEntity")) co_return wrap(std::move(existing).error(), "GetInstanceProfile " + name);
  std::string present;
  if (existing.ok()) {
    present = existing->path({"InstanceProfile", "Roles"}).at(0)["RoleName"].as_string();
  } else {
    json::Value create;
    create["InstanceProfileName"] = name;
    auto tag = [&](std::string k, std::string v) {
      json::Value t;
      t["Key"] = std::move(k);
      t["Value"] = std::move(v);
      create["Tags"].push_back(std::move(t));
    };
    tag("kubernetes.io/cluster/" + settings_.cluster_name, "owned");
    tag("karpenter.k8s.aws/ec2nodeclass", node_class.path({"metadata", "name"}).as_string());
    tag("topology.kubernetes.io/region", aws_->region());
    auto made = co_await aws_->call("iam", "CreateInstanceProfile", std::move(create));
    if (!made.ok() && !aws::is_error(made.error(), "EntityAlreadyExists")) co_return wrap(std::move(made).error(), "CreateInstanceProfile " + name);
  }
  if (present == role) co_return name;
  if (!present.empty()) {
    json::Value remove;
    remove["InstanceProfileName"] = name;
    remove["RoleName"] = present;
    auto removed = co_await aws_->call("iam", "RemoveRoleFromInstanceProfile", std::move(remove));
    if (!removed.ok()) co_return wrap(std::move(removed).error(), "RemoveRoleFromInstanceProfile " + name);
  }
  json::Value add;
  add["InstanceProfileName"] = name;
  add["RoleName"] = role;
  auto added = co_await aws_->call("iam", "AddRoleToInstanceProfile", std::move(add));
  if (!added.ok()) co_return wrap(std::move(added).error(), "role \"" + role + "\" cannot be put into instance profile " + name);
  co_return name;
}

Task<Status> CloudProvider::delete_instance_profile(json::Value node_class) {
  std::string role = node_class.path({"spec", "role"}).as_string();
  std::string name = node_class.path({"status", "instanceProfile"}).as_string();
  if (role.empty() || name.empty()) co_return ok();
  json::Value remove;
  remove["InstanceProfileName"] = name;
  remove["RoleName"] = role;
  auto r = co_await aws_->call("iam", "RemoveRoleFromInstanceProfile", std::move(remove));
  if (!r.ok() && !aws::is_error(r.error(), "NoSuchEntity")) co_return std::move(r).error();
  json::Value del;
  del["InstanceProfileName"] = name;
  auto d = co_await aws_->call("iam", "DeleteInstanceProfile", std::move(del));
  if (!d.ok() && !aws::is_error(d.error(), "NoSuchEntity")) co_return std::move(d).error();
  co_return ok();
}

}  // namespace caravel::karpenter
