// What an action's function works with. Actions are pure but for the records they change.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "aws/client.h"
#include "base/clock.h"
#include "cloud/records.h"

namespace caravel::cloud {

struct CloudOptions {
  std::string region = "us-east-1";
  std::string account = "000000000000";
  std::string cluster = "caravel";
  std::string kubernetes_version = "1.36";
  std::string cluster_endpoint = "https://10.0.11.10:443";  // what DescribeCluster says
  std::string cluster_ca;                                   // PEM; DescribeCluster's certificateAuthority
  std::string service_cidr = "172.20.0.0/16";
  std::string oidc_issuer = "https://oidc.eks.us-east-1.amazonaws.com/id/CARAVEL";
  std::string jwks;                                // the cluster's ServiceAccount keys: web identities are verified by them
  bool trust_any_web_identity = false;             // a cloud without a cluster: signatures cannot be verified
  std::string endpoint = "http://127.0.0.1:4566";  // how clients name us (queue URLs)
  bool strict_iam = false;                         // only keys made by IAM; else test/test too
  std::vector<std::string> zones = {"a", "b", "c"};
};

struct Caller {
  std::string account, arn, user_id, access_key;
  std::string endpoint;  // how this caller reached us: "http://10.0.0.4:4566"
};

struct Context {
  Records& r;
  const CloudOptions& o;
  Time now;
  std::function<uint64_t()> random;
  Caller caller;

  std::string timestamp() const { return format_rfc3339_milli(now); }
  // "i-" and 17 hexadecimal digits.
  std::string new_id(std::string_view prefix, size_t digits = 17);
  std::string arn(std::string_view service, std::string_view resource, bool with_region = true) const {
    return "arn:aws:" + std::string(service) + ":" + (with_region ? o.region : "") + ":" + o.account + ":" + std::string(resource);
  }
};

using Output = Result<Value>;
using Handler = Output (*)(Context&, const Value& in);
// "ec2:RunInstances" -> its function.
using Handlers = std::map<std::string, Handler, std::less<>>;
const Handlers& handlers();

inline Error fail(std::string code, std::string message) { return aws::service_error(std::move(code), std::move(message)); }
// An empty answer ({"Return": true} where the shape has it).
inline Value done() {
  Value v = Value::object();
  v["Return"] = true;
  return v;
}

// Each file of actions adds its own.
void add_vpc_actions(Handlers& h);
void add_gateway_actions(Handlers& h);
void add_security_group_actions(Handlers& h);
void add_interface_actions(Handlers& h);
void add_instance_actions(Handlers& h);
void add_launch_actions(Handlers& h);
void add_instance_type_actions(Handlers& h);
void add_catalog_actions(Handlers& h);
void add_volume_actions(Handlers& h);
void add_load_balancer_actions(Handlers& h);
void add_target_group_actions(Handlers& h);
void add_listener_actions(Handlers& h);
void add_iam_actions(Handlers& h);
void add_sts_actions(Handlers& h);
void add_eks_actions(Handlers& h);
void add_ssm_actions(Handlers& h);
void add_pricing_actions(Handlers& h);
void add_sqs_actions(Handlers& h);
void add_acm_actions(Handlers& h);

}  // namespace caravel::cloud
