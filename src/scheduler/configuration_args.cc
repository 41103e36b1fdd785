// pluginConfig: the arguments of single plugins.
#include <algorithm>
#include <set>

#include "kube/codec.h"
#include "kube/scheduling_translate.h"
#include "kube/types/core.h"
#include "scheduler/configuration.h"

namespace caravel::scheduler {

using json::Value;
using kube::FieldPath;

namespace {

// `only_one`: the weight is 1 and a name stands once.
void read_resources(const Value& list, const FieldPath& at, bool only_one, std::vector<ResourceWeight>& out, ConfigurationReader& r) {
  r.must_be(list, at, json::Type::kArray);
  if (list.size() == 0) return;  // the default
  out.clear();
  std::set<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    r.only(v, at.index(i), "name weight");
    ResourceWeight w{v["name"].as_string(), v["weight"].as_int(1)};
    if (w.weight == 0) w.weight = 1;
    if (!names.insert(w.name).second && only_one) r.errors.push_back(kube::duplicate_error(at.index(i).child("name"), w.name));
    if (only_one ? w.weight != 1 : w.weight < 1 || w.weight > 100)
      r.errors.push_back(kube::invalid_error(at.index(i).child("weight"), v["weight"],
                                             only_one ? "must be 1" : "resource weight of " + w.name + " not in valid range (0, 100]"));
    out.push_back(std::move(w));
  }
}

void read_shape(const Value& shape, const FieldPath& at, std::vector<UtilizationPoint>& out, ConfigurationReader& r) {
  if (shape.size() == 0) r.errors.push_back(kube::required_error(at, "at least one point must be specified"));
  for (size_t i = 1; i < shape.size(); ++i)
    if (shape.at(i - 1)["utilization"].as_int() >= shape.at(i)["utilization"].as_int()) {
      r.errors.push_back(kube::invalid_error(at.index(i).child("utilization"), shape.at(i)["utilization"], "values must be sorted in increasing order"));
      break;
    }
  for (size_t i = 0; i < shape.size(); ++i) {
    const Value& v = shape.at(i);
    r.only(v, at.index(i), "utilization score");
    r.range(v["utilization"], at.index(i).child("utilization"), 0, 100);
    r.range(v["score"], at.index(i).child("score"), 0, 10);
    out.push_back({v["utilization"].as_int(), v["score"].as_int()});
  }
}

void read_names(const Value& list, const FieldPath& at, bool qualified, std::set<std::string>& out, ConfigurationReader& r) {
  r.must_be(list, at, json::Type::kArray);
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& name = list.at(i).as_string();
    if (!qualified && name.find('/') != name.npos)
      r.errors.push_back(kube::invalid_error(at.index(i), name, "resource group name can't contain '/'"));
    out.insert(name);
  }
}

void read_fit(const Value& v, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  r.only(v, at, "apiVersion kind ignoredResources ignoredResourceGroups scoringStrategy");
  read_names(v["ignoredResources"], at.child("ignoredResources"), true, out.ignored_resources, r);
  read_names(v["ignoredResourceGroups"], at.child("ignoredResourceGroups"), false, out.ignored_groups, r);
  const Value& s = v["scoringStrategy"];
  const FieldPath here = at.child("scoringStrategy");
  if (s.is_null()) return;
  r.only(s, here, "type resources requestedToCapacityRatio");
  const std::string type = s["type"].is_null() ? "LeastAllocated" : s["type"].as_string();
  if (type == "LeastAllocated") out.fit = FitStrategy::kLeastAllocated;
  else if (type == "MostAllocated") out.fit = FitStrategy::kMostAllocated;
  else if (type == "RequestedToCapacityRatio") out.fit = FitStrategy::kRequestedToCapacityRatio;
  else r.errors.push_back(kube::not_supported(here.child("type"), s["type"], {"LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"}));
  read_resources(s["resources"], here.child("resources"), false, out.fit_resources, r);
  const Value& ratio = s["requestedToCapacityRatio"];
  const FieldPath ratio_at = here.child("requestedToCapacityRatio");
  r.only(ratio, ratio_at, "shape");
  if (out.fit == FitStrategy::kRequestedToCapacityRatio) {
    if (ratio.is_null()) r.errors.push_back(kube::required_error(ratio_at, "must be specified when type is RequestedToCapacityRatio"));
    else read_shape(ratio["shape"], ratio_at.child("shape"), out.fit_shape, r);
  } else if (!ratio.is_null()) {
    r.errors.push_back(kube::forbidden_error(ratio_at, "must be nil when type is not RequestedToCapacityRatio"));
  }
}

void read_balanced(const Value& v, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  r.only(v, at, "apiVersion kind resources");
  read_resources(v["resources"], at.child("resources"), true, out.balanced_resources, r);
}

void read_spread(const Value& v, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  r.only(v, at, "apiVersion kind defaultConstraints defaultingType");
  const std::string type = v["defaultingType"].is_null() ? "System" : v["defaultingType"].as_string();
  const Value& list = v["defaultConstraints"];
  if (type != "System" && type != "List") r.errors.push_back(kube::not_supported(at.child("defaultingType"), v["defaultingType"], {"System", "List"}));
  if (type == "System" && list.size() != 0)
    r.errors.push_back(kube::invalid_error(at.child("defaultingType"), type, "when .defaultConstraints are not empty"));
  out.default_spread = type == "System";
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list.at(i);
    const FieldPath here = at.child("defaultConstraints").index(i);
    r.only(c, here, "maxSkew topologyKey whenUnsatisfiable labelSelector minDomains nodeAffinityPolicy nodeTaintsPolicy matchLabelKeys");
    const std::string action = c["whenUnsatisfiable"].as_string(), key = c["topologyKey"].as_string();
    if (c["maxSkew"].as_int() <= 0) r.errors.push_back(kube::invalid_error(here.child("maxSkew"), c["maxSkew"], "not in valid range (0, inf)"));
    if (key.empty()) r.errors.push_back(kube::required_error(here.child("topologyKey"), "can not be empty"));
    if (action.empty()) r.errors.push_back(kube::required_error(here.child("whenUnsatisfiable"), "can not be empty"));
    else if (action != "DoNotSchedule" && action != "ScheduleAnyway")
      r.errors.push_back(kube::not_supported(here.child("whenUnsatisfiable"), action, {"DoNotSchedule", "ScheduleAnyway"}));
    if (!c["labelSelector"].is_null())
      r.errors.push_back(kube::forbidden_error(here.child("labelSelector"), "constraint must not define a selector, as they deduced for each pod"));
    if (!seen.insert(key + "/" + action).second)
      r.errors.push_back(kube::duplicate_error(here, "{" + key + ", " + action + "}"));
    DefaultConstraint d;
    d.hard = action == "DoNotSchedule";
    d.constraint.max_skew = static_cast<int32_t>(c["maxSkew"].as_int());
    d.constraint.topology_key = key;
    d.constraint.min_domains = static_cast<int32_t>(c["minDomains"].as_int(1));
    d.constraint.honor_affinity = c["nodeAffinityPolicy"].as_string() != "Ignore";
    d.constraint.honor_taints = c["nodeTaintsPolicy"].as_string() == "Honor";
    out.default_constraints.push_back(std::move(d));
  }
}

void read_pod_affinity(const Value& v, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  r.only(v, at, "apiVersion kind hardPodAffinityWeight ignorePreferredTermsOfExistingPods");
  r.range(v["hardPodAffinityWeight"], at.child("hardPodAffinityWeight"), 0, 100);
  r.must_be(v["ignorePreferredTermsOfExistingPods"], at.child("ignorePreferredTermsOfExistingPods"), json::Type::kBool);
  out.hard_pod_affinity_weight = v["hardPodAffinityWeight"].as_int(1);
  out.ignore_preferred_terms_of_existing_pods = v["ignorePreferredTermsOfExistingPods"].as_bool();
}

void read_node_affinity(const Value& v, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  r.only(v, at, "apiVersion kind addedAffinity");
  const Value& added = v["addedAffinity"];
  const FieldPath here = at.child("addedAffinity");
  r.only(added, here, "requiredDuringSchedulingIgnoredDuringExecution preferredDuringSchedulingIgnoredDuringExecution");
  if (added.is_null()) return;
  auto affinity = kube::from_json<kube::core::NodeAffinity>(added);
  if (!affinity.ok()) {
    r.errors.push_back(kube::invalid_error(here, "", affinity.error().message));
    return;
  }
  auto term = [&](const kube::core::NodeSelectorTerm& t, const FieldPath& where) {
    for (size_t i = 0; i < t.match_expressions.size(); ++i) {
      static const std::vector<std::string> kOps{"DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"};
      const std::string& op = t.match_expressions[i].operator_;
      if (std::find(kOps.begin(), kOps.end(), op) == kOps.end())
        r.errors.push_back(kube::not_supported(where.child("matchExpressions").index(i).child("operator"), op, kOps));
    }
    return term_of(t);
  };
  if (const auto& required = affinity->required_during_scheduling_ignored_during_execution) {
    const FieldPath where = here.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    out.enforced_nodes.emplace();
    if (required->node_selector_terms.empty()) r.errors.push_back(kube::required_error(where, "must have at least one node selector term"));
    for (size_t i = 0; i < required->node_selector_terms.size(); ++i) out.enforced_nodes->push_back(term(required->node_selector_terms[i], where.index(i)));
  }
  const auto& preferred = affinity->preferred_during_scheduling_ignored_during_execution;
  for (size_t i = 0; i < preferred.size(); ++i) {
    const FieldPath where = here.child("preferredDuringSchedulingIgnoredDuringExecution").index(i);
    if (preferred[i].weight < 1 || preferred[i].weight > 100)
      r.errors.push_back(kube::invalid_error(where.child("weight"), int64_t{preferred[i].weight}, "must be in the range 1-100"));
    out.enforced_preferences.push_back({preferred[i].weight, term(preferred[i].preference, where.child("preference"))});
  }
}

void read_preemption(const Value& v, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  r.only(v, at, "apiVersion kind minCandidateNodesPercentage minCandidateNodesAbsolute");
  r.range(v["minCandidateNodesPercentage"], at.child("minCandidateNodesPercentage"), 0, 100);
  const int64_t percent = v["minCandidateNodesPercentage"].as_int(10), absolute = v["minCandidateNodesAbsolute"].as_int(100);
  if (absolute < 0) r.errors.push_back(kube::invalid_error(at.child("minCandidateNodesAbsolute"), absolute, "not in valid range [0, inf)"));
  if (percent == 0 && absolute == 0) {
    r.errors.push_back(kube::invalid_error(at.child("minCandidateNodesPercentage"), percent, "cannot be zero at the same time as minCandidateNodesAbsolute"));
    r.errors.push_back(kube::invalid_error(at.child("minCandidateNodesAbsolute"), absolute, "cannot be zero at the same time as minCandidateNodesPercentage"));
  }
  out.candidates_percentage = static_cast<int32_t>(percent);
  out.candidates_absolute = static_cast<int32_t>(absolute);
}

void read_binding(const Value& v, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  r.only(v, at, "apiVersion kind bindTimeoutSeconds shape");
  r.must_be(v["bindTimeoutSeconds"], at.child("bindTimeoutSeconds"), json::Type::kInt);
  const int64_t seconds = v["bindTimeoutSeconds"].as_int(600);
  if (seconds < 0) r.errors.push_back(kube::invalid_error(at.child("bindTimeoutSeconds"), seconds, "invalid BindTimeoutSeconds, should not be a negative value"));
  if (!v["shape"].is_null())
    r.errors.push_back(kube::invalid_error(at.child("shape"), v["shape"], "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring"));
  out.volume_binding_timeout = std::chrono::seconds(seconds);
}

// Devices are found at once here: there is no search to cut short.
void read_dynamic_resources(const Value& v, const FieldPath& at, Profile&, ConfigurationReader& r) { r.only(v, at, "apiVersion kind filterTimeout bindingTimeout"); }

using Read = void (*)(const Value&, const FieldPath&, Profile&, ConfigurationReader&);
const std::pair<const char*, Read> kArgs[] = {
    {"NodeResourcesFit", read_fit},
    {"NodeResourcesBalancedAllocation", read_balanced},
    {"PodTopologySpread", read_spread},
    {"InterPodAffinity", read_pod_affinity},
    {"NodeAffinity", read_node_affinity},
    {"DefaultPreemption", read_preemption},
    {"VolumeBinding", read_binding},
    {"DynamicResources", read_dynamic_resources},
};

}  // namespace

void read_plugin_config(const Value& list, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  r.must_be(list, at, json::Type::kArray);
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    r.only(v, at.index(i), "name args");
    const std::string name = v["name"].as_string();
    const FieldPath args = at.index(i).child("args");
    if (!seen.insert(name).second) r.errors.push_back(kube::duplicate_error(at.index(i), name));
    if (std::string why = why_removed(name); !why.empty()) {
      r.errors.push_back(kube::invalid_error(at.index(i), name, why));
      continue;
    }
    const std::string kind = v["args"]["kind"].as_string(), version = v["args"]["apiVersion"].as_string();
    const bool has_args = std::any_of(std::begin(kArgs), std::end(kArgs), [&](auto& a) { return name == a.first; });
    if (has_args && ((!kind.empty() && kind != name + "Args") || (!version.empty() && version != "kubescheduler.config.k8s.io/v1")))
      r.errors.push_back(kube::invalid_error(args, kind, "the arguments of " + name + " are a " + name + "Args of kubescheduler.config.k8s.io/v1"));
    Read read = nullptr;
    for (const auto& [plugin, f] : kArgs)
      if (name == plugin) read = f;
    if (read) read(v["args"], args, out, r);  // arguments of plugins that have none are not looked at, as upstream
  }
}

}  // namespace caravel::scheduler
