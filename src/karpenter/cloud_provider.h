// AWS as Karpenter uses it: what can be bought (catalogue), what a node class resolves to (subnets, security
// groups, images, instance profile), launching with launch templates and instant fleets, finding and
// ending instances.
// Threading: one executor. Every call may suspend; state is only caches.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "aws/client.h"
#include "base/executor.h"
#include "base/log.h"
#include "karpenter/instance_types.h"
#include "karpenter/user_data.h"

namespace caravel::karpenter {

struct CloudSettings {
  std::string cluster_name, cluster_endpoint, cluster_ca_base64;
  std::string eks_version;  // "" : DescribeCluster says
  CatalogOptions catalog;
  std::vector<std::string> kubelet_flags;
};

struct Instance {
  std::string id, type, zone, image_id, state, private_dns_name, capacity_type, nodepool, nodeclass, nodeclaim;
  std::string launch_time;
  std::vector<std::string> security_groups;
  std::string subnet;
  std::string provider_id() const { return "aws:///" + zone + "/" + id; }
};

// What a launch needs, decided by the caller.
struct LaunchRequest {
  std::string claim_name, pool, node_class;
  json::Value node_class_object;  // EC2NodeClass with its status
  Requirements requirements;
  InstanceTypes types;  // candidates
  Labels labels;        // to register
  std::vector<Taint> taints, startup_taints;
};

class CloudProvider {
 public:
  CloudProvider(Executor& ex, aws::Client& aws, CloudSettings settings) : ex_(&ex), aws_(&aws), settings_(std::move(settings)) {}

  // Instance types, offerings and prices; kept for 12 h.
  Task<Status> refresh_catalog();
  const Catalog& catalog() const { return catalog_; }
  bool catalog_known() const { return !catalog_.types.empty(); }
  InstanceTypes instance_types(const json::Value& node_class) const;
  // A launch failed there: not offered for three minutes.
  void mark_unavailable(const std::string& type, const std::string& zone, const std::string& capacity_type);
  bool is_unavailable(const std::string& type, const std::string& zone, const std::string& capacity_type) const;

  Task<Status> refresh_cluster();  // DescribeCluster: endpoint, CA, CIDR, version where not given
  const ClusterInfo& cluster() const { return cluster_; }

  // Parts of an EC2NodeClass' status.
  Task<Result<json::Value>> find_subnets(json::Value terms);
  Task<Result<json::Value>> find_security_groups(json::Value terms);
  Task<Result<json::Value>> find_images(json::Value spec);
  Task<Result<std::string>> ensure_instance_profile(json::Value node_class);
  Task<Status> delete_instance_profile(json::Value node_class);

  // Error codes: kTooMany with details "InsufficientCapacity" when nothing could be launched.
  Task<Result<Instance>> launch(LaunchRequest request);
  Task<Result<Instance>> get(std::string id);
  Task<Result<std::vector<Instance>>> list();  // of this cluster, not terminated
  Task<Status> terminate(std::string id);      // kNotFound once it is gone
  Task<Status> tag(std::string id, Labels tags);
  // Deletes the launch templates made for a node class.
  Task<Status> delete_launch_templates(std::string node_class);

  const CloudSettings& settings() const { return settings_; }
  CloudSettings& settings() { return settings_; }
  aws::Client& aws() { return *aws_; }

 private:
  Task<Result<std::vector<json::Value>>> pages(std::string service, std::string action, json::Value input, std::string items);
  Task<Result<std::string>> launch_template(LaunchRequest request, std::string image, int64_t max_pods, std::string capacity_type);
  static Instance parse(const json::Value& v);

  Executor* ex_;
  aws::Client* aws_;
  CloudSettings settings_;
  Log log_{"karpenter"};
  Catalog catalog_;
  uint64_t catalog_version_ = 0;
  struct Made {
    std::string key;
    InstanceTypes types;
  };
  mutable std::map<std::string, Made> made_;  // by node class
  ClusterInfo cluster_;
  std::map<std::string, Time> unavailable_;        // "type/zone/capacity" -> until
  std::set<std::string> launch_templates_;         // names known to exist
  std::map<std::string, int64_t> free_addresses_;  // subnet -> as last described
};

}  // namespace caravel::karpenter
