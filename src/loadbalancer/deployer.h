// Makes the ELBv2 API agree with a wanted load balancer: finds what is there by tags, creates, changes and
// removes the difference. Level-triggered; safe to repeat.
#pragma once

#include "aws/client.h"
#include "loadbalancer/model.h"

namespace caravel::loadbalancer {

struct Deployed {
  std::string arn, dns_name;
};

class Deployer {
 public:
  Deployer(aws::Client& aws, std::string cluster) : aws_(aws), cluster_(std::move(cluster)) {}
  Task<Result<Deployed>> deploy(WantedBalancer wanted, std::string stack_tag);
  // Removes everything of the stack; nothing there is no error.
  Task<Status> remove(std::string stack_tag, std::string stack);

 private:
  Task<Result<json::Value>> call(std::string action, json::Value input) { return aws_.call("elasticloadbalancing", std::move(action), std::move(input)); }
  Task<Result<json::Value>> find_by_name(const char* action, const char* list, std::string name);
  Task<Result<std::vector<std::string>>> subnets(bool internet_facing);
  Task<Result<std::string>> target_group(WantedTargetGroup g, std::string stack_tag, std::string stack);
  Task<Status> register_targets(std::string arn, std::vector<TargetAddress> wanted);
  Task<Status> listener(std::string balancer, json::Value existing, WantedListener wanted, std::vector<std::string> groups);
  Task<Status> rules(std::string listener_arn, WantedListener wanted, std::vector<std::string> groups);
  Task<Result<std::vector<std::string>>> arns_of(std::string describe, std::string list, std::string arn_member, std::string stack_tag, std::string stack);
  Task<Status> remove_target_groups(std::string stack_tag, std::string stack, std::vector<std::string> except);
  json::Value tags(const std::string& stack_tag, const std::string& stack) const;
  aws::Client& aws_;
  std::string cluster_;
};

}  // namespace caravel::loadbalancer
