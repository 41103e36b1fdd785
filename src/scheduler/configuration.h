// KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1): profiles, plugin sets and arguments, back-off,
// extenders; read, defaulted and checked as upstream does it. Unknown fields are errors.
//
// A plugin set: multiPoint stands for every extension point that the plugin has; a point's own lists win over
// it; "*" under disabled is every default plugin. Accepted without effect, because this scheduler is one
// process with the server and looks at every node: parallelism, percentageOfNodesToScore, leaderElection,
// clientConnection, enableProfiling, enableContentionProfiling, delayCacheUntilActive.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/field_error.h"
#include "scheduler/extender.h"
#include "scheduler/profile.h"
#include "scheduler/queue.h"

namespace caravel::scheduler {

struct Configuration {
  std::vector<Profile> profiles;
  QueueOptions queue;
  std::vector<ExtenderConfig> extenders;
};

// YAML or JSON. Errors name the field: profiles[0].pluginConfig[0].args...: Invalid value: ...
Result<Configuration> parse_configuration(std::string_view text);

// What the parts of the reader share: problems found so far.
struct ConfigurationReader {
  kube::FieldErrors errors;
  std::vector<std::string> unknown;  // unknown field "profiles[0].x"

  // Reports members that are not in the list (separated by spaces), and values that are no object.
  void only(const json::Value& v, const kube::FieldPath& at, std::string_view known);
  // `dash` stands between the limits in the message.
  void range(const json::Value& v, const kube::FieldPath& at, int64_t low, int64_t high, std::string_view dash = ", ");
  void must_be(const json::Value& v, const kube::FieldPath& at, json::Type type);
};
// "was invalid in version ..." for plugins that are no more; "" for others.
std::string why_removed(const std::string& plugin);
void read_plugins(const json::Value& plugins, const kube::FieldPath& at, Profile& out, ConfigurationReader& r);
void read_plugin_config(const json::Value& list, const kube::FieldPath& at, Profile& out, ConfigurationReader& r);
void read_extenders(const json::Value& list, const kube::FieldPath& at, std::vector<ExtenderConfig>& out, ConfigurationReader& r);

}  // namespace caravel::scheduler
