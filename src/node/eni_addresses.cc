#include "node/eni_addresses.h"

#include <algorithm>

#include "base/log.h"

namespace caravel::node {
namespace {

using json::Value;
const Log kLog{"vpc-cni"};
constexpr Duration kRetry = std::chrono::milliseconds(500);
constexpr Duration kLook = std::chrono::seconds(30);
constexpr Duration kAcquireWait = std::chrono::seconds(5);

Value filter(const char* name, const std::string& value) {
  Value f = Value::object();
  f["Name"] = name;
  f["Values"].push_back(value);
  return f;
}

}  // namespace

Task<Status> EniAddresses::describe() {
  Value input = Value::object();
  input["Filters"].push_back(filter("attachment.instance-id", o_.instance_id));
  auto r = co_await ec2_->call("ec2", "DescribeNetworkInterfaces", std::move(input));
  if (!r.ok()) co_return wrap(std::move(r).error(), "reading the network interfaces of " + o_.instance_id);
  std::vector<Interface> found;
  const Value& answer = *r;
  for (const Value& e : answer["NetworkInterfaces"].as_array()) {
    Interface i;
    i.id = e["NetworkInterfaceId"].as_string();
    i.subnet = e["SubnetId"].as_string();
    for (const Value& g : e["Groups"].as_array()) i.groups.push_back(g["GroupId"].as_string());
    i.device_index = static_cast<int>(e["Attachment"]["DeviceIndex"].as_int());
    for (const Value& a : e["PrivateIpAddresses"].as_array()) {
      if (a["Primary"].as_bool()) continue;
      ++i.addresses;
      pool_.add(a["PrivateIpAddress"].as_string(), i.device_index);
    }
    for (const Value& p : e["Ipv4Prefixes"].as_array()) {
      auto list = addresses_of(p["Ipv4Prefix"].as_string(), false, 16);
      if (list.ok())
        for (auto& ip : *list) pool_.add(ip, i.device_index);
    }
    found.push_back(std::move(i));
  }
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.device_index < b.device_index; });
  interfaces_ = std::move(found);
  if (interfaces_.empty()) co_return unavailable("the instance " + o_.instance_id + " has no network interface yet");
  co_return ok();
}

Task<Status> EniAddresses::attach_interface() {
  const Interface first = interfaces_[0];
  Value input = Value::object();
  input["SubnetId"] = first.subnet;
  input["Description"] = "aws-K8S-" + o_.instance_id;
  for (auto& g : first.groups) input["Groups"].push_back(g);
  auto made = co_await ec2_->call("ec2", "CreateNetworkInterface", std::move(input));
  if (!made.ok()) co_return std::move(made).error();
  const Value& answer = *made;
  const std::string id = answer["NetworkInterface"]["NetworkInterfaceId"].as_string();
  int index = 0;
  for (auto& i : interfaces_) index = std::max(index, i.device_index + 1);
  Value attach = Value::object();
  attach["NetworkInterfaceId"] = id;
  attach["InstanceId"] = o_.instance_id;
  attach["DeviceIndex"] = index;
  auto r = co_await ec2_->call("ec2", "AttachNetworkInterface", std::move(attach));
  if (!r.ok()) {
    Value drop = Value::object();
    drop["NetworkInterfaceId"] = id;
    auto dropped = co_await ec2_->call("ec2", "DeleteNetworkInterface", std::move(drop));
    if (!dropped.ok()) kLog.warn("an interface was left behind", {{"eni", id}, {"error", dropped.error().message}});
    co_return std::move(r).error();
  }
  const Value& attached = *r;
  // The interface goes with the instance.
  Value change = Value::object();
  change["NetworkInterfaceId"] = id;
  change["Attachment"]["AttachmentId"] = attached["AttachmentId"].as_string();
  change["Attachment"]["DeleteOnTermination"] = true;
  auto kept = co_await ec2_->call("ec2", "ModifyNetworkInterfaceAttribute", std::move(change));
  if (!kept.ok()) kLog.warn("the interface will outlive the instance", {{"eni", id}, {"error", kept.error().message}});
  co_return co_await describe();
}

Task<Status> EniAddresses::grow() {
  const int want = std::min(o_.warm_target + static_cast<int>(pool_.used()), std::max(0, o_.max_pods));
  const int have = static_cast<int>(pool_.used() + pool_.available(ex_->now()));
  if (have >= want) co_return ok();
  for (const Interface& i : interfaces_) {
    const int room = o_.addresses_per_eni - 1 - i.addresses;
    if (room <= 0) continue;
    Value input = Value::object();
    input["NetworkInterfaceId"] = i.id;
    input["SecondaryPrivateIpAddressCount"] = std::min(room, std::max(o_.step, want - have));
    auto r = co_await ec2_->call("ec2", "AssignPrivateIpAddresses", std::move(input));
    if (!r.ok()) co_return wrap(std::move(r).error(), "assigning addresses to " + i.id);
    co_return co_await describe();
  }
  if (static_cast<int>(interfaces_.size()) >= o_.max_enis) co_return ok();
  co_return co_await attach_interface();
}

Task<void> EniAddresses::start() {
  while (true) {
    Status s = co_await describe();
    if (s.ok()) co_return;
    last_error_ = s.error().message;
    kLog.warn("no network interfaces yet", {{"error", last_error_}});
    co_await sleep(*ex_, kRetry);
  }
}

Task<void> EniAddresses::run() {
  while (true) {
    const size_t before = pool_.size();
    Status s = co_await grow();
    last_error_ = s.ok() ? "" : s.error().message;
    if (!s.ok()) kLog.warn("the address pool did not grow", {{"error", last_error_}});
    if (pool_.size() != before) continue;
    co_await changed_.wait(s.ok() ? kLook : kRetry);
    changed_.reset();
  }
}

Task<Result<PodAddress>> EniAddresses::acquire(std::string owner) {
  const Time until = ex_->now() + kAcquireWait;
  while (true) {
    auto a = pool_.allocate(owner, ex_->now());
    changed_.set();
    if (a) co_return *a;
    if (ex_->now() >= until) break;
    co_await sleep(*ex_, std::chrono::milliseconds(50));
  }
  co_return unavailable("no free address: " + std::to_string(pool_.used()) + " of " + std::to_string(pool_.size()) + " in use" +
                        (last_error_.empty() ? "" : "; " + last_error_));
}

}  // namespace caravel::node
