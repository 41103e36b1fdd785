// EKS: the one cluster, described.
#include "base/strings.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

Error no_cluster(const std::string& name) { return fail("ResourceNotFoundException", "No cluster found for name: " + name + "."); }

Output describe_cluster(Context& c, const Value& in) {
  if (in["name"].as_string() != c.o.cluster) return no_cluster(in["name"].as_string());
  Value v = Value::object();
  v["name"] = c.o.cluster;
  v["arn"] = c.arn("eks", "cluster/" + c.o.cluster);
  const Value* meta = c.r.find("clusters", c.o.cluster);
  v["createdAt"] = meta ? (*meta)["createdAt"].as_string() : c.timestamp();
  v["version"] = c.o.kubernetes_version;
  v["platformVersion"] = "eks.1";
  v["endpoint"] = c.o.cluster_endpoint;
  v["roleArn"] = c.arn("iam", "role/" + c.o.cluster + "-cluster", false);
  Value& net = v["resourcesVpcConfig"];
  net["subnetIds"] = Value::array();
  net["securityGroupIds"] = Value::array();
  for (auto& [id, s] : c.r.table("subnets"))
    if (tag_value(s["Tags"], "kubernetes.io/role/internal-elb") == "1") {
      net["subnetIds"].push_back(id);
      net["vpcId"] = s["VpcId"];
    }
  for (auto& [id, g] : c.r.table("security-groups")) {
    if (g["GroupName"].as_string() == c.o.cluster + "-control-plane") net["securityGroupIds"].push_back(id);
    if (g["GroupName"].as_string() == c.o.cluster + "-node") net["clusterSecurityGroupId"] = id;
  }
  net["endpointPublicAccess"] = true;
  net["endpointPrivateAccess"] = true;
  net["publicAccessCidrs"] = Value::array({"0.0.0.0/0"});
  v["kubernetesNetworkConfig"]["serviceIpv4Cidr"] = c.o.service_cidr;
  v["kubernetesNetworkConfig"]["ipFamily"] = "ipv4";
  v["identity"]["oidc"]["issuer"] = c.o.oidc_issuer;
  v["status"] = "ACTIVE";
  if (!c.o.cluster_ca.empty()) v["certificateAuthority"]["data"] = base64_encode(c.o.cluster_ca);
  v["tags"] = meta && (*meta)["tags"].is_object() ? (*meta)["tags"] : Value::object();
  v["health"]["issues"] = Value::array();
  v["accessConfig"]["authenticationMode"] = "API_AND_CONFIG_MAP";
  v["upgradePolicy"]["supportType"] = "EXTENDED";
  v["deletionProtection"] = false;
  Value out = Value::object();
  out["cluster"] = std::move(v);
  return out;
}

Output list_clusters(Context& c, const Value&) {
  Value out = Value::object();
  out["clusters"] = Value::array({c.o.cluster});
  return out;
}

const std::pair<const char*, const char*> kAddons[] = {{"vpc-cni", "v1.23.1-eksbuild.1"}, {"coredns", "v1.13.1-eksbuild.1"}, {"kube-proxy", "v1.36.0-eksbuild.1"}};

Output list_addons(Context& c, const Value& in) {
  std::string name = in["clusterName"].is_null() ? in["name"].as_string() : in["clusterName"].as_string();
  if (name != c.o.cluster) return no_cluster(name);
  Value out = Value::object();
  out["addons"] = Value::array();
  for (auto& [addon, version] : kAddons) out["addons"].push_back(addon);
  return out;
}

Output describe_addon(Context& c, const Value& in) {
  if (in["clusterName"].as_string() != c.o.cluster) return no_cluster(in["clusterName"].as_string());
  for (auto& [addon, version] : kAddons) {
    if (in["addonName"].as_string() != addon) continue;
    Value v = Value::object();
    v["addonName"] = addon;
    v["clusterName"] = c.o.cluster;
    v["status"] = "ACTIVE";
    v["addonVersion"] = version;
    v["addonArn"] = c.arn("eks", "addon/" + c.o.cluster + "/" + addon + "/1");
    v["health"]["issues"] = Value::array();
    v["tags"] = Value::object();
    Value out = Value::object();
    out["addon"] = std::move(v);
    return out;
  }
  return fail("ResourceNotFoundException", "No addon: " + in["addonName"].as_string() + " found in cluster: " + c.o.cluster);
}

Output list_nodegroups(Context& c, const Value& in) {
  if (in["clusterName"].as_string() != c.o.cluster) return no_cluster(in["clusterName"].as_string());
  Value out = Value::object();
  out["nodegroups"] = Value::array();
  std::set<std::string> names;
  for (auto& [id, i] : c.r.table("instances"))
    if (std::string n = tag_value(i["Tags"], "eks:nodegroup-name"); !n.empty()) names.insert(n);
  for (const std::string& n : names) out["nodegroups"].push_back(n);
  return out;
}

Output empty_list(Context& c, const Value& in, const char* member) {
  std::string name = in["clusterName"].is_null() ? in["name"].as_string() : in["clusterName"].as_string();
  if (!name.empty() && name != c.o.cluster) return no_cluster(name);
  Value out = Value::object();
  out[member] = Value::array();
  return out;
}
Output list_fargate(Context& c, const Value& in) { return empty_list(c, in, "fargateProfileNames"); }
Output list_updates(Context& c, const Value& in) { return empty_list(c, in, "updateIds"); }
Output list_access_entries(Context& c, const Value& in) { return empty_list(c, in, "accessEntries"); }

Output list_tags(Context& c, const Value&) {
  const Value* meta = c.r.find("clusters", c.o.cluster);
  Value out = Value::object();
  out["tags"] = meta && (*meta)["tags"].is_object() ? (*meta)["tags"] : Value::object();
  return out;
}
Output tag(Context& c, const Value& in) {
  for (const json::Member& m : in["tags"].as_object()) c.r.edit("clusters", c.o.cluster)["tags"][m.key] = m.value;
  for (const std::string& k : strings(in["tagKeys"])) c.r.edit("clusters", c.o.cluster)["tags"].obj().erase(k);
  return Value::object();
}

}  // namespace

void add_eks_actions(Handlers& h) {
  h["eks:DescribeCluster"] = describe_cluster;
  h["eks:ListClusters"] = list_clusters;
  h["eks:ListAddons"] = list_addons;
  h["eks:DescribeAddon"] = describe_addon;
  h["eks:ListNodegroups"] = list_nodegroups;
  h["eks:ListFargateProfiles"] = list_fargate;
  h["eks:ListUpdates"] = list_updates;
  h["eks:ListAccessEntries"] = list_access_entries;
  h["eks:ListTagsForResource"] = list_tags;
  h["eks:TagResource"] = tag;
  h["eks:UntagResource"] = tag;
}

}  // namespace caravel::cloud
