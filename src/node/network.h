// A pod's network on the node, as the AWS VPC CNI makes it: a veth pair whose node end has a host route
// to the pod's address; inside, the address as a /32, 169.254.1.1 as the gateway with a fixed neighbour
// entry. Packets leave by the node's own routing; those from addresses of further ENIs leave by
// their ENI: the instance has a rule for each address of them (vpc/router), which comes and goes with the address.
#pragma once

#include <string>

#include "base/result.h"
#include "net/event_loop.h"
#include "node/address_pool.h"

namespace caravel::node {

// "eni" + 11 hexadecimal digits of a hash, the VPC CNI's form (15 characters is the kernel's limit).
std::string veth_name(const std::string& owner);
// The commands for `ip -batch` in the node's and in the pod's namespace.
std::string node_side_commands(const std::string& veth, const PodAddress& address, int sandbox_pid, int mtu);
std::string pod_side_commands(const std::string& veth, const PodAddress& address);

// Connects the network namespace of a sandbox (its pause process) to this one. Idempotent.
Task<Status> connect_pod(net::EventLoop& loop, std::string owner, PodAddress address, int sandbox_pid, int mtu);
// Removes what is left of a pod's connection (the kernel removes it with the pod's namespace).
Task<Status> disconnect_pod(net::EventLoop& loop, std::string owner);
// Runs nftables commands in the node's namespace, all or none.
Task<Status> run_nft_script(net::EventLoop& loop, std::string script);
// What came to the node's own address by its first ENI (a NodePort, a host port) is answered by that ENI, even by a pod
// whose address belongs to another one: connections are marked and the mark chooses the route, with the VPC CNI's mark.
Task<Status> answer_by_primary_eni(net::EventLoop& loop);
// Switches on forwarding and what else the node's namespace needs to carry pods.
Status prepare_node_network();

}  // namespace caravel::node
