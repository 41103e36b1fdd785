#include "scheduler/configuration.h"

#include <set>

#include "base/yaml.h"

namespace caravel::scheduler {

using json::Value;
using kube::FieldPath;

void ConfigurationReader::only(const Value& v, const FieldPath& at, std::string_view known) {
  if (v.is_null()) return;
  must_be(v, at, json::Type::kObject);
  const std::string padded = " " + std::string(known) + " ";
  for (const auto& m : v.as_object())
    if (padded.find(" " + m.key + " ") == padded.npos) unknown.push_back("unknown field " + json::quote(at.child(m.key).text()));
}

void ConfigurationReader::range(const Value& v, const FieldPath& at, int64_t low, int64_t high, std::string_view dash) {
  if (v.is_null()) return;
  must_be(v, at, json::Type::kInt);
  if (v.is_int() && (v.as_int() < low || v.as_int() > high))
    errors.push_back(kube::invalid_error(at, v, "not in valid range [" + std::to_string(low) + std::string(dash) + std::to_string(high) + "]"));
}

void ConfigurationReader::must_be(const Value& v, const FieldPath& at, json::Type type) {
  static const char* const kNames[] = {"null", "a boolean", "an integer", "a number", "a string", "a list", "an object"};
  if (v.is_null() || v.type() == type) return;
  errors.push_back(kube::invalid_error(at, v, std::string("must be ") + kNames[static_cast<size_t>(type)]));
}

namespace {

void read_profiles(const Value& list, Configuration& out, ConfigurationReader& r) {
  const FieldPath at("profiles");
  std::set<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    const FieldPath here = at.index(i);
    r.only(v, here, "schedulerName percentageOfNodesToScore plugins pluginConfig");
    r.range(v["percentageOfNodesToScore"], here.child("percentageOfNodesToScore"), 0, 100, "-");
    r.must_be(v["schedulerName"], here.child("schedulerName"), json::Type::kString);
    Profile p;
    p.scheduler_name = v["schedulerName"].as_string();
    if (p.scheduler_name.empty() && list.size() == 1) p.scheduler_name = Profile().scheduler_name;
    if (p.scheduler_name.empty()) r.errors.push_back(kube::required_error(here.child("schedulerName")));
    else if (!names.insert(p.scheduler_name).second) r.errors.push_back(kube::duplicate_error(here.child("schedulerName"), p.scheduler_name));
    read_plugins(v["plugins"], here.child("plugins"), p, r);
    read_plugin_config(v["pluginConfig"], here.child("pluginConfig"), p, r);
    out.profiles.push_back(std::move(p));
  }
  if (out.profiles.empty()) out.profiles.emplace_back();
}

void read_backoff(const Value& v, Configuration& out, ConfigurationReader& r) {
  const FieldPath first("podInitialBackoffSeconds"), most("podMaxBackoffSeconds");
  r.must_be(v["podInitialBackoffSeconds"], first, json::Type::kInt);
  r.must_be(v["podMaxBackoffSeconds"], most, json::Type::kInt);
  const int64_t initial = v["podInitialBackoffSeconds"].as_int(1), max = v["podMaxBackoffSeconds"].as_int(10);
  if (initial <= 0) r.errors.push_back(kube::invalid_error(first, initial, "must be greater than 0"));
  if (max < initial) r.errors.push_back(kube::invalid_error(most, max, "must be greater than or equal to PodInitialBackoffSeconds"));
  out.queue.backoff_first = std::chrono::seconds(initial);
  out.queue.backoff_max = std::chrono::seconds(max);
}

std::string joined(const std::vector<std::string>& all) {
  std::string out;
  for (const auto& s : all) out += (out.empty() ? "" : ", ") + s;
  return out;
}

}  // namespace

Result<Configuration> parse_configuration(std::string_view text) {
  TRY(const Value v, yaml::parse_json_or_yaml(text));
  const std::string version = v["apiVersion"].as_string(), kind = v["kind"].as_string();
  if (kind.empty()) return invalid("Object 'Kind' is missing in the scheduler's configuration");
  if (version != "kubescheduler.config.k8s.io/v1" || kind != "KubeSchedulerConfiguration")
    return invalid("no kind " + json::quote(kind) + " is registered for version " + json::quote(version) +
                   ": the scheduler's configuration is a KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1");
  ConfigurationReader r;
  r.only(v, FieldPath(),
         "apiVersion kind parallelism leaderElection clientConnection enableProfiling enableContentionProfiling percentageOfNodesToScore "
         "podInitialBackoffSeconds podMaxBackoffSeconds profiles extenders delayCacheUntilActive");
  r.only(v["leaderElection"], FieldPath("leaderElection"), "leaderElect leaseDuration renewDeadline retryPeriod resourceLock resourceName resourceNamespace");
  r.only(v["clientConnection"], FieldPath("clientConnection"), "kubeconfig acceptContentTypes contentType qps burst");
  for (const char* flag : {"enableProfiling", "enableContentionProfiling", "delayCacheUntilActive"}) r.must_be(v[flag], FieldPath(flag), json::Type::kBool);
  r.must_be(v["parallelism"], FieldPath("parallelism"), json::Type::kInt);
  if (v["parallelism"].as_int(16) <= 0)
    r.errors.push_back(kube::invalid_error(FieldPath("parallelism"), v["parallelism"], "should be an integer value greater than zero"));
  r.range(v["percentageOfNodesToScore"], FieldPath("percentageOfNodesToScore"), 0, 100, "-");
  r.must_be(v["profiles"], FieldPath("profiles"), json::Type::kArray);
  Configuration out;
  read_backoff(v, out, r);
  read_profiles(v["profiles"], out, r);
  read_extenders(v["extenders"], FieldPath("extenders"), out.extenders, r);
  for (const auto& e : out.extenders)
    for (auto& p : out.profiles) p.ignored_resources.insert(e.ignored_resources.begin(), e.ignored_resources.end());
  if (!r.unknown.empty()) return invalid("strict decoding error: " + joined(r.unknown));
  if (r.errors.empty()) return out;
  std::vector<std::string> texts;
  for (const auto& e : r.errors) texts.push_back(e.text());
  return invalid(texts.size() == 1 ? texts[0] : "[" + joined(texts) + "]");
}

}  // namespace caravel::scheduler
