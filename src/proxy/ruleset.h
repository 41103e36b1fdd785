// From Services to nftables: a pure function, and the difference of two rulesets as one transaction.
//
// Problem: a packet to a Service's virtual address must reach one of its endpoints, chosen at random, in
// time that does not grow with the number of Services. The rules are upstream's nftables layout: one map
// from (address, protocol, port) to a chain per Service port, in it a random choice among one chain per
// endpoint, in that the address translation. A second map rejects what has no endpoint. Addresses of
// Services on ports that they do not have are rejected too.
// Differs on purpose: node ports answer on every local address but loopback; no IPv6.
// Session affinity lives in dynamic sets, which a transaction never empties while their endpoint stays.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "proxy/services.h"

namespace caravel::proxy {

struct ProxyOptions {
  Place here;  // for traffic policies and hints
  // Sources outside it are masqueraded when they use a cluster address. Empty: nobody is; so it is
  // where pods have addresses of the VPC.
  std::string cluster_cidr;
  std::string service_cidr;  // packets for it with no Service behind are rejected; empty: they pass
  bool operator==(const ProxyOptions&) const = default;
};

struct NftChain {
  std::string base;  // "type nat hook ...;" of a base chain
  std::vector<std::string> rules;
  bool operator==(const NftChain&) const = default;
};
struct NftSet {
  std::string kind;                             // "map" or "set"
  std::string spec;                             // "type ...; flags ...;"
  std::map<std::string, std::string> elements;  // to the verdict; "" in a set
  bool operator==(const NftSet&) const = default;
};
// Ordered by name: equal inputs give equal text.
struct NftRuleset {
  std::map<std::string, NftChain> chains;
  std::map<std::string, NftSet> sets;
  bool operator==(const NftRuleset&) const = default;
};

NftRuleset build_ruleset(const Services& services, const Endpoints& endpoints, const ProxyOptions& options);
// Brings the kernel from `before` to `now`; null: from anything (the table is made anew). "" when equal.
std::string transaction(const NftRuleset* before, const NftRuleset& now);

}  // namespace caravel::proxy
