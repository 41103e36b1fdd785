#include "hollow/instances.h"

#include "base/strings.h"

namespace caravel::hollow {
namespace {

constexpr Duration kLook = std::chrono::milliseconds(250);

}  // namespace

eks::InstanceFacts instance_facts(const json::Value& i, const json::Value& type) {
  eks::InstanceFacts f;
  f.id = i["InstanceId"].as_string();
  f.type = i["InstanceType"].as_string();
  f.zone = i["Placement"]["AvailabilityZone"].as_string();
  f.region = f.zone.empty() ? "" : f.zone.substr(0, f.zone.size() - 1);
  f.private_ip = i["PrivateIpAddress"].as_string();
  f.private_dns_name = i["PrivateDnsName"].as_string();
  f.cpus = static_cast<int>(type["VCpuInfo"]["DefaultVCpus"].as_int());
  f.memory_mib = type["MemoryInfo"]["SizeInMiB"].as_int();
  f.enis = static_cast<int>(type["NetworkInfo"]["MaximumNetworkInterfaces"].as_int());
  f.addresses_per_eni = static_cast<int>(type["NetworkInfo"]["Ipv4AddressesPerInterface"].as_int());
  if (i["Architecture"].as_string() == "arm64") f.architecture = "arm64";
  return f;
}

NodeSpec node_of(const eks::InstanceFacts& facts, const eks::NodeConfig& config) {
  NodeSpec n;
  n.name = facts.private_dns_name;
  n.region = facts.region;
  n.zone = facts.zone;
  n.instance_type = facts.type;
  n.provider_id = "aws:///" + facts.zone + "/" + facts.id;
  n.arch = facts.architecture;
  n.internal_ip = facts.private_ip;
  n.labels = eks::node_labels(facts, n.name, config);
  for (auto& t : config.taints) n.taints.push_back({t.key, t.value, t.effect});
  eks::NodeResources r = eks::node_resources(facts, config);
  auto reserved = [&r](const char* what) {
    kube::Quantity q = r.capacity[what];
    q -= r.allocatable[what];
    return q.text();
  };
  n.cpu = r.capacity["cpu"].text();
  n.memory = r.capacity["memory"].text();
  n.reserved_cpu = reserved("cpu");
  n.reserved_memory = reserved("memory");
  n.ephemeral_storage = r.allocatable["ephemeral-storage"].text();
  n.pods = static_cast<int>(r.capacity["pods"].value());
  return n;
}

Task<Status> InstanceNodes::join(json::Value instance) {
  const json::Value& i = instance;
  const std::string id = i["InstanceId"].as_string(), type = i["InstanceType"].as_string();
  if (!types_.count(type)) {
    json::Value ask = json::Value::object();
    ask["InstanceTypes"].push_back(type);
    CO_TRY(json::Value r, co_await aws_->call("ec2", "DescribeInstanceTypes", std::move(ask)));
    const json::Value& found = std::as_const(r)["InstanceTypes"];
    if (found.size() == 0) co_return not_found("the cloud does not describe the instance type " + type);
    types_[type] = found.at(0);
  }
  json::Value ask = json::Value::object();
  ask["InstanceId"] = id;
  ask["Attribute"] = "userData";
  CO_TRY(json::Value r, co_await aws_->call("ec2", "DescribeInstanceAttribute", std::move(ask)));
  std::string text = base64_decode(std::as_const(r)["UserData"]["Value"].as_string()).value_or("");
  auto config = eks::parse_node_config(text);
  if (!config.ok()) {
    foreign_.insert(id);
    log_.info("an instance joins no cluster", {{"instance", id}, {"why", config.error().message}});
    co_return ok();
  }
  NodeSpec node = node_of(instance_facts(i, types_[type]), *config);
  joined_[id] = node.name;
  log_.info("joins", {{"instance", id}, {"node", node.name}});
  nodes_->add(std::move(node));
  co_return ok();
}

Task<Status> InstanceNodes::look() {
  json::Value everything = json::Value::object();
  CO_TRY(json::Value r, co_await aws_->call("ec2", "DescribeInstances", std::move(everything)));
  std::map<std::string, json::Value> running;
  for (const json::Value& reservation : std::as_const(r)["Reservations"].as_array())
    for (const json::Value& i : reservation["Instances"].as_array())
      if (i["State"]["Name"].as_string() == "running") running[i["InstanceId"].as_string()] = i;
  for (auto it = joined_.begin(); it != joined_.end();) {
    if (running.count(it->first)) {
      ++it;
      continue;
    }
    log_.info("leaves", {{"instance", it->first}, {"node", it->second}});
    nodes_->remove(it->second);
    it = joined_.erase(it);
  }
  std::erase_if(foreign_, [&running](const std::string& id) { return !running.count(id); });
  for (auto& [id, instance] : running)
    if (!joined_.count(id) && !foreign_.count(id)) CO_TRY_VOID(co_await join(instance));
  co_return ok();
}

Task<void> InstanceNodes::run() {
  std::string last;
  for (;;) {
    Status looked = co_await look();
    std::string now = looked.ok() ? "" : looked.error().message;
    if (!now.empty() && now != last) log_.warn("cannot read the cloud's instances", {{"error", now}});
    last = now;
    co_await sleep(*ex_, kLook);
  }
}

}  // namespace caravel::hollow
