// Plugin sets: which plugins a profile has at which extension point, with which weights.
#include <algorithm>
#include <map>

#include "scheduler/configuration.h"

namespace caravel::scheduler {

using json::Value;
using kube::FieldPath;

namespace {

const char* const kPoints[] = {"preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore",
                               "score", "reserve", "permit", "preBind", "bind", "postBind",
                               "placementGenerate", "placementScore"};

struct Known {
  const char* name;
  const char* points;   // where it can be, separated by spaces
  uint32_t filter = 0;  // Plugin
  int64_t Weights::*score = nullptr;
};
// The default plugins, all of them enabled through multiPoint with the weights of Weights.
const Known kKnown[] = {
    {"SchedulingGates", "preEnqueue"},
    {"PrioritySort", "queueSort"},
    {"NodeUnschedulable", "filter", kNodeUnschedulable},
    {"NodeName", "filter", kNodeName},
    {"TaintToleration", "filter preScore score", kTaintToleration, &Weights::taints},
    {"NodeAffinity", "preFilter filter preScore score", kNodeAffinity, &Weights::node_affinity},
    {"NodePorts", "preFilter filter", kNodePorts},
    {"NodeResourcesFit", "preFilter filter preScore score", kNodeResourcesFit, &Weights::fit},
    {"VolumeRestrictions", "preFilter filter", kVolumeRestrictions},
    {"NodeVolumeLimits", "preFilter filter", kNodeVolumeLimits},
    {"VolumeBinding", "preFilter filter reserve preBind preScore score", kVolumeBinding},
    {"VolumeZone", "preFilter filter", kVolumeZone},
    {"PodTopologySpread", "preFilter filter preScore score", kPodTopologySpread, &Weights::spread},
    {"InterPodAffinity", "preFilter filter preScore score", kInterPodAffinity, &Weights::pod_affinity},
    {"DynamicResources", "preEnqueue preFilter filter postFilter preScore score reserve preBind"},
    {"DefaultPreemption", "preEnqueue postFilter"},
    {"NodeResourcesBalancedAllocation", "preScore score", 0, &Weights::balanced},
    {"ImageLocality", "score", 0, &Weights::images},
    {"DefaultBinder", "bind"},
    {"NodeDeclaredFeatures", "preFilter filter"},
};

const Known* known(const std::string& name) {
  for (const Known& k : kKnown)
    if (name == k.name) return &k;
  return nullptr;
}

bool extends(const Known& k, const std::string& point) {
  return (" " + std::string(k.points) + " ").find(" " + point + " ") != std::string::npos;
}

struct Set {
  std::map<std::string, int64_t> enabled;  // with the weight as it is written; 0: none
  std::vector<std::string> disabled;
  bool disables(const std::string& name) const {
    return std::any_of(disabled.begin(), disabled.end(), [&](const std::string& d) { return d == "*" || d == name; });
  }
};

Set read_set(const Value& v, const FieldPath& at, const std::string& point, ConfigurationReader& r) {
  Set out;
  r.only(v, at, "enabled disabled");
  for (const char* list : {"enabled", "disabled"}) {
    r.must_be(v[list], at.child(list), json::Type::kArray);
    for (size_t i = 0; i < v[list].size(); ++i) {
      const Value& p = v[list].at(i);
      const FieldPath here = at.child(list).index(i);
      r.only(p, here, "name weight");
      r.must_be(p["weight"], here.child("weight"), json::Type::kInt);
      const std::string name = p["name"].as_string();
      if (list[0] == 'd') {
        out.disabled.push_back(name);
        continue;
      }
      const Known* k = known(name);
      if (std::string why = why_removed(name); !why.empty()) r.errors.push_back(kube::invalid_error(here, name, why));
      else if (!k) r.errors.push_back(kube::invalid_error(here.child("name"), name, "plugin " + json::quote(name) + " does not exist"));
      else if (!point.empty() && !extends(*k, point))
        r.errors.push_back(kube::invalid_error(here.child("name"), name, "plugin " + json::quote(name) + " does not extend " + point + " plugin"));
      else if (!out.enabled.emplace(name, p["weight"].as_int()).second)
        r.errors.push_back(kube::invalid_error(here.child("name"), name, "plugin " + json::quote(name) + " already registered"));
      if (p["weight"].as_int() < 0) r.errors.push_back(kube::invalid_error(here.child("weight"), p["weight"], "must not be negative"));
    }
  }
  return out;
}

}  // namespace

std::string why_removed(const std::string& plugin) {
  static const char* const kRemoved[] = {"AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits"};
  if (std::find(std::begin(kRemoved), std::end(kRemoved), plugin) == std::end(kRemoved)) return "";
  const std::string version = json::quote("kubescheduler.config.k8s.io/v1");
  return "was invalid in version " + version + " (KubeSchedulerConfiguration is version " + version + ")";
}

void read_plugins(const Value& plugins, const FieldPath& at, Profile& out, ConfigurationReader& r) {
  std::string fields = "multiPoint";
  for (const char* p : kPoints) fields += std::string(" ") + p;
  r.only(plugins, at, fields);
  const Set multi = read_set(plugins["multiPoint"], at.child("multiPoint"), "", r);
  std::map<std::string, Set> sets;
  for (const char* p : kPoints) sets[p] = read_set(plugins[p], at.child(p), p, r);
  auto is_on = [&](const Known& k, const std::string& point) {
    const Set& own = sets[point];
    if (!extends(k, point)) return false;
    if (own.enabled.count(k.name)) return true;
    const bool everywhere = multi.enabled.count(k.name) || !multi.disables(k.name);
    return everywhere && !own.disables(k.name);
  };
  for (const Known& k : kKnown) {
    if (k.filter && !is_on(k, "filter")) out.filters &= ~k.filter;
    if (!k.score) continue;
    int64_t& weight = out.weights.*k.score;
    const Set& own = sets["score"];
    if (!is_on(k, "score")) weight = 0;
    else if (auto w = own.enabled.find(k.name); w != own.enabled.end()) weight = std::max<int64_t>(1, w->second);
    else if (auto m = multi.enabled.find(k.name); m != multi.enabled.end()) weight = std::max<int64_t>(1, m->second);
  }
  out.preempts = is_on(*known("DefaultPreemption"), "postFilter");
  out.deallocates = is_on(*known("DynamicResources"), "postFilter");
  if (size_t n = sets["queueSort"].enabled.size(); n > 1)
    r.errors.push_back(kube::invalid_error(at.child("queueSort").child("Enabled"), static_cast<int64_t>(n), "only one queue sort plugin can be enabled"));
  if (!is_on(*known("PrioritySort"), "queueSort")) r.errors.push_back(kube::required_error(at.child("queueSort"), "no queue sort plugin is enabled"));
  if (!is_on(*known("DefaultBinder"), "bind")) r.errors.push_back(kube::required_error(at.child("bind"), "at least one bind plugin is needed for profile with scheduler name " + json::quote(out.scheduler_name)));
  if (!is_on(*known("SchedulingGates"), "preEnqueue"))
    r.errors.push_back(kube::not_supported(at.child("preEnqueue"), "SchedulingGates disabled", {"SchedulingGates enabled"}));
}

}  // namespace caravel::scheduler
