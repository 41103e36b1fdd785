// Makes a NetworkState so in the network namespace that this process lives in (the VPC's). Interfaces of
// owners whose namespace exists get a veth into it, named eth<device_index>, with addresses and routes;
// interfaces that are gone lose theirs. Level-triggered: links are compared with the kernel's each time, and
// after a failure or a restart everything is given again.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/task.h"
#include "net/process.h"
#include "vpc/netlink.h"
#include "vpc/nft_rules.h"

namespace caravel::vpc {

// What one interface needs. Pure.
struct LinkPlan {
  std::string link, inner;  // names at the router and inside: "v0123…", "eth0"
  std::string mac;
  std::string primary;              // "10.0.11.5"
  int prefix = 24;                  // of the subnet
  std::string gateway;              // "10.0.11.1"
  bool main = true;                 // the owner's default route leaves here
  int table = 254;                  // of a further interface's own default route
  std::vector<std::string> behind;  // further addresses, reached through the primary one
  bool operator==(const LinkPlan&) const = default;
};
LinkPlan plan_link(const Interface& i, const Subnet& subnet);

class Router {
 public:
  explicit Router(net::EventLoop& loop, RouterAddresses own = {}) : loop_(&loop), own_(std::move(own)) {}
  // Once, before the rest: loopback, forwarding, the VPC's own addresses.
  Task<Status> set_up();
  // `namespaces`: interface id -> name of the network namespace under /run/netns that its owner lives in;
  // an interface without one only gets its rules.
  Task<Status> apply(NetworkState network, std::map<std::string, std::string> namespaces);

 private:
  // What an interface was given, to tell what to take away.
  struct Plugged {
    std::string netns;
    LinkPlan plan;
  };
  Status plug(Netlink& own, const Interface& i, const Plugged& now, const Plugged* before, const std::map<std::string, Link>& links);
  Status connect_internet(Netlink& own);
  Status apply_rules(NftTable desired);
  Status apply_now(const NetworkState& network, const std::map<std::string, std::string>& namespaces);

  net::EventLoop* loop_;
  RouterAddresses own_;
  std::unique_ptr<NftTable> rules_;             // what the kernel has; null: not known
  std::map<std::string, Plugged> plugged_;      // by link
  std::map<std::string, std::string> subnets_;  // CIDRs that have their router and blackhole
  Log log_{"vpc"};
};

// Namespaces under /run/netns.
Task<Status> make_namespace(net::EventLoop& loop, std::string name);
Task<Status> delete_namespace(net::EventLoop& loop, std::string name);
bool namespace_exists(const std::string& name);
// An open descriptor of the namespace, or -1. The caller closes it.
int open_namespace(const std::string& name);
// An address on the namespace's loopback.
Status add_loopback_address(const std::string& name, const std::string& ip);
// Connections to ip:port, from the namespace itself or through it, arrive at ip:to. So a service can stand
// on a well-known port and leave 0.0.0.0:port to the namespace's programs.
Status redirect_port(const std::string& name, const std::string& ip, int port, int to);
// A listening TCP socket inside the namespace: it stays there, whoever accepts.
Result<int> listen_in_namespace(const std::string& name, const std::string& ip, int port);

}  // namespace caravel::vpc
