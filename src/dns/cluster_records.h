// The cluster's names, as the "Kubernetes DNS-Based Service Discovery" specification 1.1 gives them.
//
//   SVC.NS.svc.ZONE                     A of the cluster address, or of each ready endpoint (headless); CNAME (ExternalName)
//   _PORT._PROTO.SVC.NS.svc.ZONE        SRV, with the target's address beside
//   HOST.SVC.NS.svc.ZONE                A of one endpoint: its host name, or its address with dashes
//   A-B-C-D.NS.pod.ZONE                 A a.b.c.d, when the namespace exists
//   D.C.B.A.in-addr.arpa                PTR to a Service's or a headless endpoint's name
// A name that exists without the asked type is "no data"; what does not exist is NXDOMAIN with the SOA.
// Pure: records and a question give an answer. Threading: plain data.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "dns/answer.h"

namespace caravel::dns {

struct ClusterPort {
  std::string name, protocol;  // protocol in lower case
  uint16_t port = 0;
};
struct ClusterEndpoint {
  std::string ip;
  std::string host;  // host name, or the address with dashes
  std::vector<ClusterPort> ports;
};
struct ClusterService {
  std::vector<std::string> addresses;  // cluster addresses; empty when headless
  bool headless = false;
  std::string external_name;  // with a final dot
  std::vector<ClusterPort> ports;
  std::vector<ClusterEndpoint> endpoints;  // ready ones; kept for headless Services
};

class ClusterRecords {
 public:
  explicit ClusterRecords(std::string zone = "cluster.local.", uint32_t ttl = 30) : zone_(std::move(zone)), ttl_(ttl) {}
  void add_namespace(const std::string& name) { namespaces_.insert(name); }
  // Services before their slices.
  void add_service(const json::Value& service);
  void add_slice(const json::Value& slice);
  Answer resolve(const net::dns::Question& q) const;
  const std::string& zone() const { return zone_; }

 private:
  Answer in_services(const net::dns::Question& q, const std::vector<std::string>& labels) const;
  Answer in_pods(const net::dns::Question& q, const std::vector<std::string>& labels) const;
  Answer reverse(const net::dns::Question& q) const;
  Answer service_answer(const net::dns::Question& q, const std::string& ns, const std::string& name, const ClusterService& s) const;
  Answer port_answer(const net::dns::Question& q, const std::string& ns, const std::string& name, const ClusterService& s, const std::string& port, const std::string& protocol) const;
  void add_address(const std::string& name, const std::string& ip, uint16_t type, std::vector<net::dns::Record>& out) const;
  bool is_namespace(const std::string& ns) const { return namespaces_.count(ns) > 0; }

  std::string zone_;
  uint32_t ttl_;
  std::map<std::pair<std::string, std::string>, ClusterService> services_;  // by namespace, name
  std::set<std::string> namespaces_;
  std::multimap<std::string, std::string> by_address_;  // address to full name
};

}  // namespace caravel::dns
