// A load balancer as HAProxy configuration. Pure: equal specs give equal texts.
//
// ALB: HTTP and HTTPS listeners with rules in priority order, X-Forwarded-For/-Proto/-Port as ELBv2 adds
// them, weighted forwards, redirects, fixed responses, sticky cookies. NLB: TCP listeners passed through,
// TLS listeners terminated. Health checks as the target group says. A target that drains gets nothing new.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "machines/substrate.h"

namespace caravel::machines {

struct HaproxyFiles {
  std::string config;
  std::map<std::string, std::string> certificates;  // file name -> PEM (chain and key)
};
// `directory` is where the files will stand; the stats socket is directory/stats.sock.
HaproxyFiles render_haproxy(const LoadBalancerSpec& lb, const std::string& directory);

// What turns a running HAProxy of `before` into one of `after` by its runtime API: targets that came, went or
// drain. Nothing where more than targets differs, or where a target cannot be added at run time (sticky
// cookies): then the new configuration must be loaded.
std::optional<std::vector<std::string>> runtime_changes(const LoadBalancerSpec& before, const LoadBalancerSpec& after);

// The name of a target group's backend, and of a target's server line, in HAProxy's statistics.
std::string backend_name(const std::string& target_group_arn);
std::string server_name(const Target& t);

// HAProxy's "show stat" CSV to health; `spec` gives the targets that are asked about.
std::vector<TargetHealth> read_health(const LoadBalancerSpec& lb, const std::string& csv);

}  // namespace caravel::machines
