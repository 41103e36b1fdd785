// Pod addresses from the instance's network interfaces: what the AWS VPC CNI's ipamd does. Keeps a warm
// pool by AssignPrivateIpAddresses and, when an interface is full, CreateNetworkInterface and
// AttachNetworkInterface, within the limits of the instance type.
#pragma once

#include <string>

#include "aws/client.h"
#include "base/scope.h"
#include "node/address_source.h"

namespace caravel::node {

struct EniOptions {
  std::string instance_id;
  int max_enis = 3, addresses_per_eni = 6;  // of the instance type
  int max_pods = 17;
  int warm_target = 3;  // free addresses to keep (WARM_IP_TARGET)
  int step = 4;         // addresses asked for at once, at least
};

class EniAddresses final : public AddressSource {
 public:
  EniAddresses(Executor& ex, aws::Client& ec2, EniOptions options) : ex_(&ex), ec2_(&ec2), o_(std::move(options)), changed_(ex) {}
  // Reads the interfaces; retries until EC2 answers. Call before anything is adopted.
  Task<void> start();
  // Keeps the pool warm; runs until its scope ends.
  Task<void> run();
  Task<Result<PodAddress>> acquire(std::string owner) override;
  void adopt(const std::string& owner, const std::string& ip) override { pool_.adopt(owner, ip); }
  void release(const std::string& owner) override { pool_.release(owner, ex_->now()); }
  const AddressPool& pool() const { return pool_; }

 private:
  struct Interface {
    std::string id, subnet;
    std::vector<std::string> groups;
    int device_index = 0;
    int addresses = 0;  // secondary ones
  };
  Task<Status> describe();
  Task<Status> grow();
  Task<Status> attach_interface();

  Executor* ex_;
  aws::Client* ec2_;
  EniOptions o_;
  AddressPool pool_;
  std::vector<Interface> interfaces_;
  Event changed_;
  std::string last_error_;
};

}  // namespace caravel::node
