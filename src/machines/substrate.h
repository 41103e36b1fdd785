// Substrate: what the embedded cloud stands on. The cloud (src/cloud) computes the desired state of the
// VPC, the instances and the load balancers, purely, from its records; the substrate makes it so and
// reports what it sees. Two kinds: `world` (namespaces, nftables, HAProxy) and `hollow` (simulated).
//
// Level-triggered: every call carries the whole desired state of its subject and may be repeated; the
// substrate compares with what is there and changes the difference. After a restart of the cloud
// process it gets everything again and must adopt what still runs (an instance that is there keeps running).
// Threading: all calls and callbacks on the one executor; callbacks never run inside a call.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/task.h"
#include "vpc/network.h"

namespace caravel::machines {

// ---- Network: described in vpc/network.h ----------------------------------------------------------

using vpc::AddressMapping;
using vpc::Interface;
using vpc::InterfaceOwner;
using vpc::InternetGateway;
using vpc::NatGateway;
using vpc::NetworkState;
using vpc::Route;
using vpc::SecurityGroup;
using vpc::SecurityGroupRule;
using vpc::Subnet;
using vpc::Vpc;

// ---- Instances ----------------------------------------------------------------------------------

struct MetadataOptions {
  bool enabled = true;
  bool tokens_required = true;  // IMDSv2 only
  int hop_limit = 2;            // of the PUT token answer
  bool tags_enabled = false;
  bool operator==(const MetadataOptions&) const = default;
};

struct InstanceSpec {
  std::string id;    // "i-…"
  std::string type;  // "t3.medium"
  int vcpus = 0;
  int64_t memory_mib = 0;
  std::string architecture;  // "x86_64", "arm64"
  std::string zone;          // "us-east-1a"
  std::string image_id;
  std::string private_ip;               // of the primary interface
  std::string private_dns_name;         // "ip-10-0-11-23.us-east-1.compute.internal"
  std::vector<std::string> interfaces;  // eni ids by device index, details in NetworkState
  std::string user_data;                // raw bytes (decoded)
  std::string instance_profile_arn;
  MetadataOptions metadata;
  bool spot = false;
  std::map<std::string, std::string> tags;
  uint64_t boot = 1;  // grows with every start and reboot: a new number means "boot again"
  bool operator==(const InstanceSpec&) const = default;
};

enum class InstanceState { kPending,
                           kRunning,
                           kStopping,
                           kStopped,
                           kTerminated };

// ---- Load balancers -----------------------------------------------------------------------------

struct TargetHealthCheck {
  bool enabled = true;
  std::string protocol = "HTTP";  // HTTP, HTTPS, TCP
  int port = 0;                   // 0: the target's traffic port
  std::string path = "/";
  int interval_seconds = 15, timeout_seconds = 5;
  int healthy_threshold = 3, unhealthy_threshold = 3;
  std::string matcher = "200";  // "200", "200-399", "200,301"
  bool operator==(const TargetHealthCheck&) const = default;
};

struct Target {
  std::string id;  // as registered: "10.0.11.23" or "i-…"
  std::string ip;  // where to connect; "" when the instance is gone
  int port = 0;
  std::string zone;       // "" or "all": every zone
  bool draining = false;  // finish what is open, nothing new
  bool operator==(const Target&) const = default;
};

struct TargetGroup {
  std::string arn, name;
  std::string protocol;          // HTTP, HTTPS, TCP, TLS, UDP, TCP_UDP
  std::string protocol_version;  // HTTP1, HTTP2, GRPC
  int port = 0;
  TargetHealthCheck health_check;
  int deregistration_delay_seconds = 300;
  bool sticky = false;
  std::string sticky_cookie;  // "AWSALB" or an application cookie's name
  int sticky_seconds = 86400;
  bool proxy_protocol_v2 = false;
  bool preserve_client_ip = false;
  std::string algorithm = "round_robin";  // or least_outstanding_requests
  std::vector<Target> targets;
  bool operator==(const TargetGroup&) const = default;
};

struct ForwardTarget {
  std::string target_group_arn;
  int weight = 1;
  bool operator==(const ForwardTarget&) const = default;
};

struct ListenerAction {
  enum class Kind { kForward,
                    kRedirect,
                    kFixedResponse } kind = Kind::kForward;
  std::vector<ForwardTarget> forward;
  // Redirect; #{protocol} #{host} #{port} #{path} #{query} stand for the request's own.
  std::string protocol, host, port, path, query;
  int status_code = 0;             // redirect 301/302, fixed response
  std::string content_type, body;  // fixed response
  bool operator==(const ListenerAction&) const = default;
};

// All conditions must hold; within one, any value. '*' and '?' are wildcards in host, path and header.
struct RuleCondition {
  std::string field;   // host-header path-pattern http-header http-request-method query-string source-ip
  std::string header;  // http-header's name
  std::vector<std::string> values;
  std::vector<std::pair<std::string, std::string>> query;  // query-string: key ("" any) and value
  bool operator==(const RuleCondition&) const = default;
};

struct ListenerRule {
  std::string arn;
  int priority = 0;  // ascending; the default rule is last
  std::vector<RuleCondition> conditions;
  ListenerAction action;
  bool operator==(const ListenerRule&) const = default;
};

struct Certificate {
  std::string arn;
  std::string certificate, chain, key;  // PEM
  bool operator==(const Certificate&) const = default;
};

struct Listener {
  std::string arn;
  std::string protocol;  // HTTP, HTTPS, TCP, TLS, UDP, TCP_UDP
  int port = 0;
  std::vector<Certificate> certificates;  // HTTPS and TLS: the default first, the others by SNI
  std::string ssl_policy;
  std::vector<ListenerRule> rules;
  ListenerAction default_action;
  bool operator==(const Listener&) const = default;
};

struct LoadBalancerNode {  // one per zone
  std::string zone, subnet_id, interface_id;
  std::string private_ip, public_ip;  // public_ip "" when internal
  bool operator==(const LoadBalancerNode&) const = default;
};

struct LoadBalancerSpec {
  std::string arn, name, dns_name;
  bool application = true;  // ALB; else NLB
  bool internet_facing = true;
  bool cross_zone = true;
  int idle_timeout_seconds = 60;
  std::vector<LoadBalancerNode> nodes;
  std::vector<Listener> listeners;
  std::vector<TargetGroup> target_groups;  // all that the listeners and rules name
  bool operator==(const LoadBalancerSpec&) const = default;
};

struct TargetHealth {
  std::string target_group_arn, target_id;
  int port = 0;
  // initial healthy unhealthy draining unused unavailable, as DescribeTargetHealth says them.
  std::string state;
  std::string reason;  // "Target.FailedHealthChecks", "Target.Timeout", "Elb.InitialHealthChecking", …
  std::string description;
  bool operator==(const TargetHealth&) const = default;
};

// ---- DNS ----------------------------------------------------------------------------------------

// Names that the VPC's resolver (10.0.0.2) answers: load balancers, private instance names, hosted zones.
struct DnsRecord {
  std::string name;  // without the last dot
  std::string type;  // A, AAAA, CNAME, TXT
  std::vector<std::string> values;
  int ttl_seconds = 60;
  bool operator==(const DnsRecord&) const = default;
};

// ---- The two sides ------------------------------------------------------------------------------

// What the substrate may ask and tell the cloud. Implemented by the cloud.
class SubstrateHost {
 public:
  virtual ~SubstrateHost() = default;
  // What the machine sees its instance do. kStopped without having been asked: the machine died; the
  // cloud decides (an instance that shuts itself down is stopped or terminated as its launch said).
  virtual void instance_changed(const std::string& instance_id, InstanceState state, const std::string& reason) = 0;
  virtual void target_health_changed(const std::vector<TargetHealth>& updates) = 0;
  // The body of GET http://169.254.169.254<path> for an instance, as a pure function of the cloud's
  // state: path "/latest/meta-data/instance-id", "/latest/user-data",
  // "/latest/dynamic/instance-identity/document", …; nullopt is 404. Tokens, the hop limit and
  // tokens_required are the server's (the machine's) job. Served in the instance's namespace.
  virtual std::optional<std::string> instance_metadata(const std::string& instance_id, const std::string& path) = 0;
};

class Substrate {
 public:
  virtual ~Substrate() = default;
  // Before everything else. The host outlives the substrate.
  virtual void attach(SubstrateHost* host) = 0;

  // The whole network. The cloud coalesces changes: at most one call is under way, the newest wins.
  virtual Task<Status> apply_network(NetworkState desired) = 0;
  // Boots the instance (or adopts it if its `boot` already runs); returns once the boot has begun.
  // instance_changed(kRunning) follows when the machine is up. Its interfaces have been in a network
  // that was applied before.
  virtual Task<Status> start_instance(InstanceSpec spec) = 0;
  // Changed interfaces, tags or metadata options of a running instance: attach and detach happen here.
  virtual Task<Status> update_instance(InstanceSpec spec) = 0;
  // Ends all of its processes (SIGTERM, SIGKILL after grace) and, when `remove`, its disk and namespace.
  // instance_changed(kStopped or kTerminated) follows, also when there was no such instance.
  virtual Task<Status> stop_instance(std::string instance_id, bool remove, Duration grace) = 0;
  // Instances that the substrate has but the cloud does not name are ended: called once at start.
  virtual Task<Status> keep_only_instances(std::vector<std::string> instance_ids) = 0;

  // All load balancers, whole. Health checking starts by itself; results come by target_health_changed.
  virtual Task<Status> apply_load_balancers(std::vector<LoadBalancerSpec> desired) = 0;
  virtual Task<Status> apply_dns(std::vector<DnsRecord> desired) = 0;

  // The console's output of an instance (GetConsoleOutput), the last 64 KiB.
  virtual Task<Result<std::string>> console_output(std::string instance_id) = 0;
};

}  // namespace caravel::machines
