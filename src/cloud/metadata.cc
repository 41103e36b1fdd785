// The instance metadata tree (169.254.169.254), from the records.
#include "base/strings.h"
#include "cloud/desired.h"
#include "cloud/identity.h"
#include "cloud/network.h"
#include "cloud/query.h"
#include "cloud/resources.h"

namespace caravel::cloud {

namespace {

constexpr int64_t kSessionSeconds = 6 * 3600;
constexpr int64_t kRenewSeconds = 3600;  // new credentials every hour, each good for six

std::string join_lines(const std::vector<std::string>& v) { return join(v, "\n"); }

void interface_leaves(const Records& r, const Value& e, std::map<std::string, std::string>& out) {
  std::string p = "/latest/meta-data/network/interfaces/macs/" + e["MacAddress"].as_string() + "/";
  out[p + "device-number"] = std::to_string(e["Attachment"]["DeviceIndex"].as_int());
  out[p + "network-card"] = "0";
  out[p + "interface-id"] = e["NetworkInterfaceId"].as_string();
  out[p + "mac"] = e["MacAddress"].as_string();
  out[p + "owner-id"] = e["OwnerId"].as_string();
  out[p + "subnet-id"] = e["SubnetId"].as_string();
  out[p + "vpc-id"] = e["VpcId"].as_string();
  out[p + "local-hostname"] = e["PrivateDnsName"].as_string();
  out[p + "local-ipv4s"] = join_lines(texts_at(e, "PrivateIpAddresses.PrivateIpAddress"));
  out[p + "security-group-ids"] = join_lines(texts_at(e, "Groups.GroupId"));
  out[p + "security-groups"] = join_lines(texts_at(e, "Groups.GroupName"));
  if (e["Ipv4Prefixes"].size() > 0) out[p + "ipv4-prefix"] = join_lines(texts_at(e, "Ipv4Prefixes.Ipv4Prefix"));
  if (const Value* s = r.find("subnets", e["SubnetId"].as_string())) out[p + "subnet-ipv4-cidr-block"] = (*s)["CidrBlock"].as_string();
  if (const Value* v = r.find("vpcs", e["VpcId"].as_string())) {
    out[p + "vpc-ipv4-cidr-block"] = (*v)["CidrBlock"].as_string();
    out[p + "vpc-ipv4-cidr-blocks"] = join_lines(texts_at(*v, "CidrBlockAssociationSet.CidrBlock"));
  }
  if (const std::string& ip = e["Association"]["PublicIp"].as_string(); !ip.empty()) out[p + "public-ipv4s"] = ip;
}

std::string identity_document(const CloudOptions& o, const Value& i) {
  Value d = Value::object();
  d["accountId"] = o.account;
  d["architecture"] = i["Architecture"];
  d["availabilityZone"] = i["Placement"]["AvailabilityZone"];
  d["billingProducts"] = Value();
  d["devpayProductCodes"] = Value();
  d["marketplaceProductCodes"] = Value();
  d["imageId"] = i["ImageId"];
  d["instanceId"] = i["InstanceId"];
  d["instanceType"] = i["InstanceType"];
  d["kernelId"] = Value();
  d["pendingTime"] = i["LaunchTime"];
  d["privateIp"] = i["PrivateIpAddress"];
  d["ramdiskId"] = Value();
  d["region"] = o.region;
  d["version"] = "2017-09-30";
  return json::dump_pretty(d);
}

void credential_leaves(const Records& r, const CloudOptions& o, const Value& i, Time now, std::map<std::string, std::string>& out) {
  std::string profile_arn = i["IamInstanceProfile"]["Arn"].as_string(), id = i["InstanceId"].as_string();
  if (profile_arn.empty()) return;
  const Value* profile = nullptr;
  for (auto& [name, p] : r.table("instance-profiles"))
    if (p["Arn"].as_string() == profile_arn) profile = &p;
  if (!profile) return;
  Value info = Value::object();
  info["Code"] = "Success";
  info["LastUpdated"] = format_rfc3339(now);
  info["InstanceProfileArn"] = profile_arn;
  info["InstanceProfileId"] = (*profile)["InstanceProfileId"];
  out["/latest/meta-data/iam/info"] = json::dump_pretty(info);
  for (const std::string& role : strings((*profile)["_roles"])) {
    const Value* v = r.find("roles", role);
    if (!v) continue;
    int64_t slot = now.seconds() / kRenewSeconds * kRenewSeconds;
    Time expires = Time::from_seconds(slot + kSessionSeconds);
    aws::Credentials c = issue_session(r, o, assumed_role_arn(o, role, id), (*v)["RoleId"].as_string() + ":" + id, expires, id);
    Value d = Value::object();
    d["Code"] = "Success";
    d["LastUpdated"] = format_rfc3339(Time::from_seconds(slot));
    d["Type"] = "AWS-HMAC";
    d["AccessKeyId"] = c.access_key;
    d["SecretAccessKey"] = c.secret_key;
    d["Token"] = c.session_token;
    d["Expiration"] = format_rfc3339(expires);
    out["/latest/meta-data/iam/security-credentials/" + role] = json::dump_pretty(d);
  }
}

std::map<std::string, std::string> leaves(const Records& r, const CloudOptions& o, const Value& i, Time now) {
  std::map<std::string, std::string> out;
  const std::string m = "/latest/meta-data/";
  out[m + "ami-id"] = i["ImageId"].as_string();
  out[m + "ami-launch-index"] = std::to_string(i["AmiLaunchIndex"].as_int());
  out[m + "hostname"] = i["PrivateDnsName"].as_string();
  out[m + "local-hostname"] = i["PrivateDnsName"].as_string();
  out[m + "local-ipv4"] = i["PrivateIpAddress"].as_string();
  out[m + "instance-action"] = "none";
  out[m + "instance-id"] = i["InstanceId"].as_string();
  out[m + "instance-life-cycle"] = i["InstanceLifecycle"].as_string() == "spot" ? "spot" : "on-demand";
  out[m + "instance-type"] = i["InstanceType"].as_string();
  out[m + "reservation-id"] = i["_reservation"].as_string();
  out[m + "placement/availability-zone"] = i["Placement"]["AvailabilityZone"].as_string();
  out[m + "placement/availability-zone-id"] = zone_id(o, i["Placement"]["AvailabilityZone"].as_string());
  out[m + "placement/region"] = o.region;
  out[m + "services/domain"] = "amazonaws.com";
  out[m + "services/partition"] = "aws";
  out[m + "security-groups"] = join_lines(texts_at(i["SecurityGroups"], "GroupName"));
  if (const std::string& ip = i["PublicIpAddress"].as_string(); !ip.empty()) out[m + "public-ipv4"] = ip;
  for (const std::string& eni : interfaces_of(r, i["InstanceId"].as_string())) {
    const Value& e = *r.find("network-interfaces", eni);
    if (e["Attachment"]["DeviceIndex"].as_int() == 0) out[m + "mac"] = e["MacAddress"].as_string();
    interface_leaves(r, e, out);
  }
  credential_leaves(r, o, i, now, out);
  if (i.find("_interruption")) {
    Value a = Value::object();
    a["action"] = "terminate";
    a["time"] = i["_interruption"]["time"];
    out[m + "spot/instance-action"] = json::dump(a);
    out[m + "spot/termination-time"] = i["_interruption"]["time"].as_string();
  }
  if (i["MetadataOptions"]["InstanceMetadataTags"].as_string() == "enabled")
    for (const Value& t : i["Tags"].as_array())
      if (t["Key"].as_string().find('/') == std::string::npos) out[m + "tags/instance/" + t["Key"].as_string()] = t["Value"].as_string();
  out["/latest/dynamic/instance-identity/document"] = identity_document(o, i);
  if (auto data = base64_decode(i["_user_data"].as_string()); data && !data->empty()) out["/latest/user-data"] = *data;
  return out;
}

}  // namespace

std::optional<std::string> instance_metadata(const Records& r, const CloudOptions& o, const std::string& instance, const std::string& asked, Time now) {
  const Value* i = r.find("instances", instance);
  if (!i) return std::nullopt;
  // "/2021-07-15/meta-data/…": dated versions are the latest one.
  std::string path = asked.substr(0, asked.find('?'));
  size_t second = path.find('/', 1);
  if (path == "/" || path.empty()) return "latest";
  std::string version = path.substr(1, second == path.npos ? path.npos : second - 1);
  if (version != "latest" && !version.empty() && std::isdigit(static_cast<unsigned char>(version[0]))) path = "/latest" + (second == path.npos ? "" : path.substr(second));
  auto all = leaves(r, o, *i, now);
  if (auto it = all.find(path); it != all.end()) return it->second;
  std::string prefix = path;
  while (!prefix.empty() && prefix.back() == '/') prefix.pop_back();
  if (auto it = all.find(prefix); it != all.end()) return it->second;
  prefix += '/';
  std::vector<std::string> names;
  for (auto it = all.lower_bound(prefix); it != all.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    std::string rest = it->first.substr(prefix.size());
    size_t slash = rest.find('/');
    std::string name = slash == rest.npos ? rest : rest.substr(0, slash + 1);
    if (names.empty() || names.back() != name) names.push_back(name);
  }
  if (names.empty()) return std::nullopt;
  return join_lines(names);
}

}  // namespace caravel::cloud
