// EC2 instances that become nodes without machines: each running instance whose user data joins a cluster
// is a hollow node with the labels, taints and size that its node agent would give it; it leaves when the
// instance ends. The cloud is asked again and again, so either side may restart at any time.
// Threading: one executor.
#pragma once

#include <map>
#include <set>
#include <string>

#include "aws/client.h"
#include "base/log.h"
#include "eks/instance.h"
#include "hollow/hollow.h"

namespace caravel::hollow {

// What an item of DescribeInstances and one of DescribeInstanceTypes tell. Pure.
eks::InstanceFacts instance_facts(const json::Value& instance, const json::Value& type);
NodeSpec node_of(const eks::InstanceFacts& facts, const eks::NodeConfig& config);

class InstanceNodes {
 public:
  InstanceNodes(Executor& ex, aws::Client& aws, HollowNodes& nodes) : ex_(&ex), aws_(&aws), nodes_(&nodes) {}
  // Does not return; errors of the cloud are logged and the look is taken again.
  Task<void> run();

 private:
  Task<Status> look();
  Task<Status> join(json::Value instance);
  Executor* ex_;
  aws::Client* aws_;
  HollowNodes* nodes_;
  Log log_{"hollow"};
  std::map<std::string, std::string> joined_;  // instance id -> node name
  std::set<std::string> foreign_;              // running instances that are no nodes
  std::map<std::string, json::Value> types_;   // DescribeInstanceTypes items by name
};

}  // namespace caravel::hollow
