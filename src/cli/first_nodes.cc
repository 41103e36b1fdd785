#include "cli/first_nodes.h"

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::cli {
namespace {

constexpr char kImageParameter[] = "/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/standard/recommended/image_id";

json::Value filter(const char* name, const std::string& value) {
  json::Value f = json::Value::object();
  f["Name"] = name;
  f["Values"].push_back(value);
  return f;
}

json::Value with_filters(std::vector<json::Value> filters) {
  json::Value v = json::Value::object();
  for (auto& f : filters) v["Filters"].push_back(std::move(f));
  return v;
}

// Subnet id and zone of the private subnets, by zone.
Task<Result<std::vector<std::string>>> private_subnets(aws::Client& aws) {
  json::Value input = with_filters({filter("tag:kubernetes.io/role/internal-elb", "1")});
  auto r = co_await aws.call("ec2", "DescribeSubnets", std::move(input));
  if (!r.ok()) co_return std::move(r).error();
  std::vector<std::pair<std::string, std::string>> found;
  for (const json::Value& s : std::as_const(*r)["Subnets"].as_array()) found.emplace_back(s["AvailabilityZone"].as_string(), s["SubnetId"].as_string());
  std::sort(found.begin(), found.end());
  std::vector<std::string> out;
  for (auto& f : found) out.push_back(f.second);
  if (out.empty()) co_return not_found("the cloud has no private subnets (tag kubernetes.io/role/internal-elb=1)");
  co_return out;
}

Task<Result<std::string>> node_security_group(aws::Client& aws) {
  json::Value input = with_filters({filter("tag:karpenter.sh/discovery", "caravel")});
  auto r = co_await aws.call("ec2", "DescribeSecurityGroups", std::move(input));
  if (!r.ok()) co_return std::move(r).error();
  const json::Value& groups = std::as_const(*r)["SecurityGroups"];
  if (groups.size() == 0) co_return not_found("the cloud has no security group tagged karpenter.sh/discovery=caravel");
  co_return groups.at(0)["GroupId"].as_string();
}

json::Value tag(const char* key, const std::string& value) {
  json::Value t = json::Value::object();
  t["Key"] = key;
  t["Value"] = value;
  return t;
}

}  // namespace

std::string node_user_data(const NodeGroup& g) {
  json::Value c = json::Value::object();
  c["apiVersion"] = "node.eks.aws/v1alpha1";
  c["kind"] = "NodeConfig";
  json::Value& cluster = c["spec"]["cluster"];
  cluster["name"] = g.cluster_name;
  cluster["apiServerEndpoint"] = g.cluster_endpoint;
  cluster["certificateAuthority"] = base64_encode(g.cluster_ca);
  cluster["cidr"] = "172.20.0.0/16";
  json::Value& kubelet = c["spec"]["kubelet"];
  kubelet["config"]["clusterDNS"].push_back("172.20.0.10");
  kubelet["flags"].push_back("--node-labels=eks.amazonaws.com/nodegroup=system,eks.amazonaws.com/capacityType=ON_DEMAND");
  kubelet["flags"].push_back("--bootstrap-token=" + g.bootstrap_token);
  return "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"//\"\n\n--//\nContent-Type: application/node.eks.aws\n\n" + yaml::dump(c) + "\n--//--\n";
}

Task<Result<int>> ensure_nodes(aws::Client& aws, NodeGroup g) {
  CO_TRY(auto subnets, co_await private_subnets(aws));
  CO_TRY(std::string group, co_await node_security_group(aws));
  json::Value mine = with_filters({filter("tag:eks:nodegroup-name", "system")});
  auto described = co_await aws.call("ec2", "DescribeInstances", std::move(mine));
  if (!described.ok()) co_return std::move(described).error();
  std::map<std::string, int> in_subnet;
  int present = 0;
  for (const json::Value& reservation : std::as_const(*described)["Reservations"].as_array())
    for (const json::Value& i : reservation["Instances"].as_array()) {
      std::string state = i["State"]["Name"].as_string();
      if (state != "pending" && state != "running") continue;
      ++present;
      ++in_subnet[i["SubnetId"].as_string()];
    }
  json::Value ask = json::Value::object();
  ask["Name"] = kImageParameter;
  auto parameter = co_await aws.call("ssm", "GetParameter", std::move(ask));
  if (!parameter.ok()) co_return std::move(parameter).error();
  std::string image = std::as_const(*parameter)["Parameter"]["Value"].as_string();
  int launched = 0;
  for (; present + launched < g.size; ++launched) {
    auto fewest = std::min_element(subnets.begin(), subnets.end(), [&](auto& a, auto& b) { return in_subnet[a] < in_subnet[b]; });
    json::Value run = json::Value::object();
    run["ImageId"] = image;
    run["InstanceType"] = g.instance_type;
    run["MinCount"] = 1;
    run["MaxCount"] = 1;
    run["SubnetId"] = *fewest;
    run["SecurityGroupIds"].push_back(group);
    run["UserData"] = base64_encode(node_user_data(g));
    run["IamInstanceProfile"]["Name"] = "caravel-node";
    run["MetadataOptions"]["HttpTokens"] = "required";
    run["MetadataOptions"]["HttpPutResponseHopLimit"] = 2;
    json::Value tags = json::Value::object();
    tags["ResourceType"] = "instance";
    tags["Tags"].push_back(tag("Name", "caravel-system"));
    tags["Tags"].push_back(tag("eks:nodegroup-name", "system"));
    tags["Tags"].push_back(tag("eks:cluster-name", g.cluster_name));
    tags["Tags"].push_back(tag("kubernetes.io/cluster/caravel", "owned"));
    run["TagSpecifications"].push_back(std::move(tags));
    auto made = co_await aws.call("ec2", "RunInstances", std::move(run));
    if (!made.ok()) co_return std::move(made).error();
    ++in_subnet[*fewest];
  }
  co_return launched;
}

}  // namespace caravel::cli
