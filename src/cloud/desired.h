// What the records ask of the substrate: pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cloud/context.h"
#include "machines/substrate.h"

namespace caravel::cloud {

machines::NetworkState desired_network(const Records& r);
machines::InstanceSpec desired_instance(const Records& r, const CloudOptions& o, const Value& instance);
std::vector<machines::LoadBalancerSpec> desired_load_balancers(const Records& r);
std::vector<machines::DnsRecord> desired_dns(const Records& r);

// The answer of the instance metadata service; nullopt: 404.
std::optional<std::string> instance_metadata(const Records& r, const CloudOptions& o, const std::string& instance, const std::string& path, Time now);

}  // namespace caravel::cloud
