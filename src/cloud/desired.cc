#include "cloud/desired.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "cloud/elb.h"
#include "cloud/instance_types.h"
#include "cloud/network.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

machines::InterfaceOwner owner_of(const std::string& s) {
  if (s == "instance") return machines::InterfaceOwner::kInstance;
  if (s == "control-plane") return machines::InterfaceOwner::kControlPlane;
  if (s == "load-balancer") return machines::InterfaceOwner::kLoadBalancer;
  if (s == "nat-gateway") return machines::InterfaceOwner::kNatGateway;
  return machines::InterfaceOwner::kNone;
}

machines::SecurityGroupRule rule_of(const Value& v) {
  machines::SecurityGroupRule r;
  r.egress = v["IsEgress"].as_bool();
  r.protocol = v["IpProtocol"].as_string();
  r.from_port = static_cast<int>(v["FromPort"].as_int(-1));
  r.to_port = static_cast<int>(v["ToPort"].as_int(-1));
  r.cidr = v["CidrIpv4"].as_string().empty() ? v["CidrIpv6"].as_string() : v["CidrIpv4"].as_string();
  r.source_group = v["ReferencedGroupInfo"]["GroupId"].as_string();
  return r;
}

machines::ListenerAction action_of(const Value& actions) {
  machines::ListenerAction out;
  // Authentication actions come first and are passed over; the last one answers.
  const Value& a = actions.at(actions.size() == 0 ? 0 : actions.size() - 1);
  const std::string& type = a["Type"].as_string();
  if (type == "redirect") {
    const Value& r = a["RedirectConfig"];
    out.kind = machines::ListenerAction::Kind::kRedirect;
    out.protocol = r["Protocol"].as_string();
    out.host = r["Host"].as_string();
    out.port = r["Port"].as_string();
    out.path = r["Path"].as_string();
    out.query = r["Query"].as_string();
    out.status_code = r["StatusCode"].as_string() == "HTTP_301" ? 301 : 302;
  } else if (type == "fixed-response") {
    const Value& f = a["FixedResponseConfig"];
    out.kind = machines::ListenerAction::Kind::kFixedResponse;
    out.status_code = static_cast<int>(parse_int(f["StatusCode"].as_string()).value_or(404));
    out.content_type = f["ContentType"].as_string();
    out.body = f["MessageBody"].as_string();
  } else {
    for (const Value& t : a["ForwardConfig"]["TargetGroups"].as_array()) {
      machines::ForwardTarget f;
      f.target_group_arn = t["TargetGroupArn"].as_string();
      f.weight = static_cast<int>(t["Weight"].as_int(1));
      out.forward.push_back(std::move(f));
    }
  }
  return out;
}

machines::RuleCondition condition_of(const Value& v) {
  machines::RuleCondition c;
  c.field = v["Field"].as_string();
  std::vector<std::string> plain = strings(v["Values"]);
  const char* config = c.field == "host-header" ? "HostHeaderConfig" : c.field == "path-pattern"      ? "PathPatternConfig"
                                                                   : c.field == "http-header"         ? "HttpHeaderConfig"
                                                                   : c.field == "http-request-method" ? "HttpRequestMethodConfig"
                                                                   : c.field == "source-ip"           ? "SourceIpConfig"
                                                                                                      : "QueryStringConfig";
  if (c.field == "query-string") {
    for (const Value& q : v[config]["Values"].as_array()) c.query.emplace_back(q["Key"].as_string(), q["Value"].as_string());
  } else {
    c.values = v[config].is_object() ? strings(v[config]["Values"]) : plain;
    if (c.values.empty()) c.values = plain;
    c.header = v[config]["HttpHeaderName"].as_string();
  }
  return c;
}

machines::Certificate certificate_of(const Records& r, const std::string& arn) {
  machines::Certificate c;
  c.arn = arn;
  if (const Value* v = r.find("certificates", arn)) {
    c.certificate = (*v)["_certificate"].as_string();
    c.chain = (*v)["_chain"].as_string();
    c.key = (*v)["_key"].as_string();
  }
  return c;
}

machines::TargetGroup target_group_of(const Records& r, const std::string& arn) {
  machines::TargetGroup g;
  g.arn = arn;
  const Value* v = r.find("target-groups", arn);
  if (!v) return g;
  g.name = (*v)["TargetGroupName"].as_string();
  g.protocol = (*v)["Protocol"].as_string();
  g.protocol_version = (*v)["ProtocolVersion"].as_string();
  g.port = static_cast<int>((*v)["Port"].as_int());
  machines::TargetHealthCheck& h = g.health_check;
  h.enabled = (*v)["HealthCheckEnabled"].as_bool(true);
  h.protocol = (*v)["HealthCheckProtocol"].as_string();
  h.port = static_cast<int>(parse_int((*v)["HealthCheckPort"].as_string()).value_or(0));
  h.path = (*v)["HealthCheckPath"].as_string().empty() ? "/" : (*v)["HealthCheckPath"].as_string();
  h.interval_seconds = static_cast<int>((*v)["HealthCheckIntervalSeconds"].as_int(30));
  h.timeout_seconds = static_cast<int>((*v)["HealthCheckTimeoutSeconds"].as_int(5));
  h.healthy_threshold = static_cast<int>((*v)["HealthyThresholdCount"].as_int(5));
  h.unhealthy_threshold = static_cast<int>((*v)["UnhealthyThresholdCount"].as_int(2));
  h.matcher = (*v)["Matcher"]["HttpCode"].as_string().empty() ? "200" : (*v)["Matcher"]["HttpCode"].as_string();
  g.deregistration_delay_seconds = static_cast<int>(parse_int(attribute(*v, "deregistration_delay.timeout_seconds")).value_or(300));
  g.sticky = attribute(*v, "stickiness.enabled") == "true";
  std::string cookie = attribute(*v, "stickiness.app_cookie.cookie_name");
  g.sticky_cookie = attribute(*v, "stickiness.type") == "app_cookie" && !cookie.empty() ? cookie : "AWSALB";
  g.sticky_seconds = static_cast<int>(parse_int(attribute(*v, "stickiness.lb_cookie.duration_seconds")).value_or(86400));
  g.proxy_protocol_v2 = attribute(*v, "proxy_protocol_v2.enabled") == "true";
  g.preserve_client_ip = attribute(*v, "preserve_client_ip.enabled") == "true";
  if (std::string a = attribute(*v, "load_balancing.algorithm.type"); !a.empty()) g.algorithm = a;
  bool instances = (*v)["TargetType"].as_string() == "instance";
  const auto& table = r.table("targets");
  for (auto it = table.lower_bound(arn + "|"); it != table.end() && it->first.compare(0, arn.size() + 1, arn + "|") == 0; ++it) {
    machines::Target t;
    t.id = it->second["Id"].as_string();
    t.port = static_cast<int>(it->second["Port"].as_int());
    t.zone = it->second["AvailabilityZone"].as_string();
    t.draining = it->second.find("_draining_until") != nullptr;
    t.ip = t.id;
    if (instances) {
      const Value* i = r.find("instances", t.id);
      t.ip = i ? (*i)["PrivateIpAddress"].as_string() : "";
    }
    g.targets.push_back(std::move(t));
  }
  return g;
}

}  // namespace

machines::NetworkState desired_network(const Records& r) {
  machines::NetworkState out;
  for (auto& [id, v] : r.table("vpcs")) {
    machines::Vpc x;
    x.id = id;
    for (const Value& a : v["CidrBlockAssociationSet"].as_array()) x.cidrs.push_back(a["CidrBlock"].as_string());
    out.vpcs.push_back(std::move(x));
  }
  for (auto& [id, v] : r.table("subnets")) {
    machines::Subnet x;
    x.id = id;
    x.vpc_id = v["VpcId"].as_string();
    x.cidr = v["CidrBlock"].as_string();
    x.zone = v["AvailabilityZone"].as_string();
    x.name = tag_value(v["Tags"], "Name");
    if (const Value* t = route_table_of(r, v))
      for (const Value& route : (*t)["Routes"].as_array()) {
        machines::Route y;
        y.destination = route["DestinationCidrBlock"].as_string();
        static const std::pair<const char*, const char*> kTargets[] = {{"GatewayId", "internet-gateways"}, {"NatGatewayId", "nat-gateways"}, {"NetworkInterfaceId", "network-interfaces"}, {"InstanceId", "instances"}};
        for (auto& [member, table] : kTargets) {
          const std::string& target = route[member].as_string();
          if (target.empty()) continue;
          y.target = target == "local" || r.find(table, target) ? target : "blackhole";
        }
        x.routes.push_back(std::move(y));
      }
    out.subnets.push_back(std::move(x));
  }
  for (auto& [id, v] : r.table("internet-gateways")) {
    if (v["Attachments"].size() == 0) continue;
    machines::InternetGateway x;
    x.id = id;
    x.vpc_id = v["Attachments"].at(0)["VpcId"].as_string();
    for (auto& [eid, e] : r.table("network-interfaces")) {
      if (e["VpcId"].as_string() != x.vpc_id) continue;
      for (const Value& a : e["PrivateIpAddresses"].as_array())
        if (const std::string& ip = a["Association"]["PublicIp"].as_string(); !ip.empty()) {
          machines::AddressMapping m;
          m.public_ip = ip;
          m.private_ip = a["PrivateIpAddress"].as_string();
          x.mappings.push_back(std::move(m));
        }
    }
    out.internet_gateways.push_back(std::move(x));
  }
  for (auto& [id, v] : r.table("nat-gateways")) {
    machines::NatGateway x;
    x.id = id;
    x.subnet_id = v["SubnetId"].as_string();
    x.private_ip = v["NatGatewayAddresses"].at(0)["PrivateIp"].as_string();
    x.public_ip = v["NatGatewayAddresses"].at(0)["PublicIp"].as_string();
    out.nat_gateways.push_back(std::move(x));
  }
  std::map<std::string, size_t> groups;
  for (auto& [id, v] : r.table("security-groups")) {
    machines::SecurityGroup x;
    x.id = id;
    x.vpc_id = v["VpcId"].as_string();
    x.name = v["GroupName"].as_string();
    groups[id] = out.security_groups.size();
    out.security_groups.push_back(std::move(x));
  }
  for (auto& [id, v] : r.table("security-group-rules"))
    if (auto it = groups.find(v["GroupId"].as_string()); it != groups.end()) out.security_groups[it->second].rules.push_back(rule_of(v));
  for (auto& [id, v] : r.table("network-interfaces")) {
    machines::Interface x;
    x.id = id;
    x.subnet_id = v["SubnetId"].as_string();
    x.mac = v["MacAddress"].as_string();
    x.primary_ip = v["PrivateIpAddress"].as_string();
    for (const Value& a : v["PrivateIpAddresses"].as_array())
      if (!a["Primary"].as_bool()) x.secondary_ips.push_back(a["PrivateIpAddress"].as_string());
    for (const Value& p : v["Ipv4Prefixes"].as_array()) x.prefixes.push_back(p["Ipv4Prefix"].as_string());
    for (const Value& g : v["Groups"].as_array()) x.security_groups.push_back(g["GroupId"].as_string());
    x.source_dest_check = v["SourceDestCheck"].as_bool(true);
    x.owner = owner_of(v["_owner"].as_string());
    x.owner_id = v["_owner_id"].as_string();
    x.device_index = static_cast<int>(v["Attachment"]["DeviceIndex"].as_int());
    x.public_ip = v["Association"]["PublicIp"].as_string();
    out.interfaces.push_back(std::move(x));
  }
  return out;
}

machines::InstanceSpec desired_instance(const Records& r, const CloudOptions&, const Value& i) {
  machines::InstanceSpec s;
  s.id = i["InstanceId"].as_string();
  s.type = i["InstanceType"].as_string();
  if (const InstanceType* t = find_instance_type(s.type)) {
    s.vcpus = t->vcpus;
    s.memory_mib = t->memory_mib;
    s.architecture = t->arch;
  }
  s.zone = i["Placement"]["AvailabilityZone"].as_string();
  s.image_id = i["ImageId"].as_string();
  s.private_ip = i["PrivateIpAddress"].as_string();
  s.private_dns_name = i["PrivateDnsName"].as_string();
  s.interfaces = interfaces_of(r, s.id);
  s.user_data = base64_decode(i["_user_data"].as_string()).value_or("");
  s.instance_profile_arn = i["IamInstanceProfile"]["Arn"].as_string();
  const Value& m = i["MetadataOptions"];
  s.metadata.enabled = m["HttpEndpoint"].as_string() != "disabled";
  s.metadata.tokens_required = m["HttpTokens"].as_string() != "optional";
  s.metadata.hop_limit = static_cast<int>(m["HttpPutResponseHopLimit"].as_int(2));
  s.metadata.tags_enabled = m["InstanceMetadataTags"].as_string() == "enabled";
  s.spot = i["InstanceLifecycle"].as_string() == "spot";
  for (const Value& t : i["Tags"].as_array()) s.tags[t["Key"].as_string()] = t["Value"].as_string();
  s.boot = static_cast<uint64_t>(i["_boot"].as_int(1));
  return s;
}

std::vector<machines::LoadBalancerSpec> desired_load_balancers(const Records& r) {
  std::vector<machines::LoadBalancerSpec> out;
  for (auto& [arn, v] : r.table("load-balancers")) {
    machines::LoadBalancerSpec s;
    s.arn = arn;
    s.name = v["LoadBalancerName"].as_string();
    s.dns_name = v["DNSName"].as_string();
    s.application = v["Type"].as_string() == "application";
    s.internet_facing = v["Scheme"].as_string() == "internet-facing";
    s.cross_zone = attribute(v, "load_balancing.cross_zone.enabled") == "true";
    s.idle_timeout_seconds = static_cast<int>(parse_int(attribute(v, "idle_timeout.timeout_seconds")).value_or(60));
    for (auto& [id, e] : r.table("network-interfaces")) {
      if (e["_owner_id"].as_string() != arn) continue;
      machines::LoadBalancerNode n;
      n.zone = e["AvailabilityZone"].as_string();
      n.subnet_id = e["SubnetId"].as_string();
      n.interface_id = id;
      n.private_ip = e["PrivateIpAddress"].as_string();
      n.public_ip = e["Association"]["PublicIp"].as_string();
      s.nodes.push_back(std::move(n));
    }
    std::sort(s.nodes.begin(), s.nodes.end(), [](const auto& a, const auto& b) { return a.zone < b.zone; });
    std::set<std::string> groups;
    auto note = [&](const machines::ListenerAction& a) {
      for (const auto& f : a.forward) groups.insert(f.target_group_arn);
    };
    for (auto& [larn, l] : r.table("listeners")) {
      if (l["LoadBalancerArn"].as_string() != arn) continue;
      machines::Listener x;
      x.arn = larn;
      x.protocol = l["Protocol"].as_string();
      x.port = static_cast<int>(l["Port"].as_int());
      x.ssl_policy = l["SslPolicy"].as_string();
      for (const char* list : {"Certificates", "_more_certificates"})
        for (const Value& c : l[list].as_array()) x.certificates.push_back(certificate_of(r, c["CertificateArn"].as_string()));
      x.default_action = action_of(l["DefaultActions"]);
      note(x.default_action);
      for (auto& [rarn, rule] : r.table("rules")) {
        if (rule["_listener"].as_string() != larn) continue;
        machines::ListenerRule y;
        y.arn = rarn;
        y.priority = static_cast<int>(parse_int(rule["Priority"].as_string()).value_or(50000));
        for (const Value& c : rule["Conditions"].as_array()) y.conditions.push_back(condition_of(c));
        y.action = action_of(rule["Actions"]);
        note(y.action);
        x.rules.push_back(std::move(y));
      }
      std::sort(x.rules.begin(), x.rules.end(), [](const auto& a, const auto& b) { return a.priority < b.priority; });
      s.listeners.push_back(std::move(x));
    }
    for (const std::string& g : groups) s.target_groups.push_back(target_group_of(r, g));
    out.push_back(std::move(s));
  }
  return out;
}

std::vector<machines::DnsRecord> desired_dns(const Records& r) {
  std::vector<machines::DnsRecord> out;
  for (const machines::LoadBalancerSpec& s : desired_load_balancers(r)) {
    machines::DnsRecord d;
    d.name = s.dns_name;
    d.type = "A";
    for (const auto& n : s.nodes) d.values.push_back(s.internet_facing ? n.public_ip : n.private_ip);
    out.push_back(std::move(d));
  }
  for (auto& [id, e] : r.table("network-interfaces")) {
    if (e["_owner"].as_string() != "instance" && e["_owner"].as_string() != "control-plane") continue;
    machines::DnsRecord d;
    d.name = e["PrivateDnsName"].as_string();
    d.type = "A";
    d.values = {e["PrivateIpAddress"].as_string()};
    out.push_back(std::move(d));
  }
  return out;
}

}  // namespace caravel::cloud
