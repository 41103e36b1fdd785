// Makes a NetworkState so in the network namespace that this process lives in (the VPC's). Interfaces of
// owners whose namespace exists get a veth into it, named eth<device_index>, with addresses and routes;
// interfaces that are gone lose theirs. Level-triggered: compares with the kernel's links each time.
#pragma once

#include <map>
#include <string>

#include "base/task.h"
#include "net/process.h"
#include "vpc/nft_rules.h"

namespace caravel::vpc {

class Router {
 public:
  explicit Router(net::EventLoop& loop, RouterAddresses own = {}) : loop_(&loop), own_(std::move(own)) {}
  // Once, before the rest: loopback, forwarding, the VPC's own addresses.
  Task<Status> set_up();
  // `namespaces`: interface id -> name of the network namespace under /run/netns that its owner lives in;
  // an interface without one only gets its rules.
  Task<Status> apply(NetworkState network, std::map<std::string, std::string> namespaces);

 private:
  Task<Status> run_ip(std::string batch, std::string netns);
  Task<Status> run_nft(std::string text);
  net::EventLoop* loop_;
  RouterAddresses own_;
  std::string rules_;
  std::map<std::string, std::string> applied_;  // link -> signature of what it was given
};

// Namespaces under /run/netns.
Task<Status> make_namespace(net::EventLoop& loop, std::string name);
Task<Status> delete_namespace(net::EventLoop& loop, std::string name);
bool namespace_exists(const std::string& name);
// An open descriptor of the namespace, or -1. The caller closes it.
int open_namespace(const std::string& name);
// A listening TCP socket inside the namespace: it stays there, whoever accepts.
Result<int> listen_in_namespace(const std::string& name, const std::string& ip, int port);

// The two batches for one interface. Pure; for tests.
struct LinkPlan {
  std::string router_batch;  // `ip -batch` in the VPC's namespace
  std::string owner_batch;   // `ip -batch` in the owner's
  std::string routes_batch;  // routes to the interface's addresses, in the VPC's namespace
};
LinkPlan plan_link(const Interface& i, const Subnet& subnet, const std::string& netns);

}  // namespace caravel::vpc
