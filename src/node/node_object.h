// The Node object: registering it, its status, its Lease.
#pragma once

#include <functional>
#include <string>

#include "eks/instance.h"
#include "kube/client.h"
#include "node/cri/runtime.h"

namespace caravel::node {

namespace core = kube::core;
using eks::InstanceFacts;
using eks::NodeConfig;
using eks::NodeResources;

struct NodeIdentity {
  std::string name, provider_id, internal_ip;
  InstanceFacts facts;
  NodeConfig config;
  NodeResources resources;
  cri::VersionResponse runtime;
};

// The object as this node would make it.
core::Node node_object(const NodeIdentity& id, Time now);
core::NodeStatus node_status(const NodeIdentity& id, const core::NodeStatus& previous, bool ready, const std::string& why_not,
                             const std::vector<cri::Image>& images, Time now);

class NodeRegistrar {
 public:
  NodeRegistrar(Executor& ex, kube::Client client, cri::Runtime& runtime, NodeIdentity id) : ex_(&ex), client_(client), runtime_(&runtime), id_(std::move(id)) {}
  // Creates the Node or takes over the one that is there; retries until it is done.
  Task<void> register_node();
  // Writes the status and renews the Lease every 10 s; ready() says whether and why not.
  Task<void> heartbeat(std::function<std::string()> not_ready);

 private:
  Task<Status> try_register();
  Task<Status> write_status(const std::string& not_ready);
  Task<Status> renew_lease();

  Executor* ex_;
  kube::Client client_;
  cri::Runtime* runtime_;
  NodeIdentity id_;
  std::string uid_;
  core::NodeStatus last_;
  Time last_written_;
};

}  // namespace caravel::node
