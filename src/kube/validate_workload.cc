// Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs.
#include <algorithm>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

const FieldPath kSpec("spec");

void selector_and_template(std::string_view kind, const json::Value& spec, FieldErrors& e, bool always_only) {
  const json::Value& selector = spec["selector"];
  FieldPath p = kSpec.child("selector");
  if (selector.is_null()) e.push_back(required_error(p));
  else {
    validate_label_selector(selector, p, e);
    if (selector["matchLabels"].size() + selector["matchExpressions"].size() == 0) e.push_back(invalid_error(p, selector, "empty selector is invalid for " + (kind == "ReplicaSet" ? "deployment" : to_lower(kind))));
    else if (!selects(selector, spec["template"]["metadata"]["labels"]))
      e.push_back(invalid_error(kSpec.child("template").child("metadata").child("labels"), spec["template"]["metadata"]["labels"], "`selector` does not match template `labels`"));
  }
  pod_template(spec["template"], kSpec.child("template"), e, always_only);
}

void rolling(const json::Value& r, const FieldPath& p, FieldErrors& e, bool surge) {
  int_or_percent(r["maxUnavailable"], p.child("maxUnavailable"), e);
  if (!surge) return;
  int_or_percent(r["maxSurge"], p.child("maxSurge"), e);
  auto zero = [](const json::Value& v) { return v.is_null() || v.as_string() == "0%" || (v.is_number() && v.as_int() == 0); };
  if (zero(r["maxUnavailable"]) && zero(r["maxSurge"])) e.push_back(invalid_error(p.child("maxUnavailable"), r["maxUnavailable"], "may not be 0 when `maxSurge` is 0"));
}

// Quotes and dots aside: five fields or a macro; upstream's parser is cron's.
bool cron_ok(const std::string& text) {
  std::string s(trim(text));
  if (s.starts_with("@")) {
    for (auto m : {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
      if (s == m) return true;
    return s.starts_with("@every ") && parse_duration(s.substr(7)).ok();
  }
  auto fields = split_words(s);
  if (!fields.empty() && (fields[0].starts_with("TZ=") || fields[0].starts_with("CRON_TZ="))) fields.erase(fields.begin());
  if (fields.size() != 5) return false;
  constexpr int limits[5][2] = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}};
  for (size_t i = 0; i < 5; ++i)
    for (auto& part : split(fields[i], ',')) {
      auto step = split(part, '/');
      if (step.size() > 2 || part.empty()) return false;
      if (step.size() == 2 && (!parse_int(step[1]) || *parse_int(step[1]) <= 0)) return false;
      if (step[0] == "*" || step[0] == "?") continue;
      for (auto& n : split(step[0], '-')) {
        auto v = parse_int(n);
        if (!v) {
          static const std::vector<std::string> names = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
                                                         "sun", "mon", "tue", "wed", "thu", "fri", "sat"};
          if (i < 3 || std::find(names.begin(), names.end(), to_lower(n)) == names.end()) return false;
        } else if (*v < limits[i][0] || *v > limits[i][1]) {
          return false;
        }
      }
    }
  return true;
}

void job_spec(const json::Value& s, const FieldPath& p, FieldErrors& e) {
  for (auto f : {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"}) non_negative(s[f], p.child(f), e);
  one_of(s["completionMode"], {"NonIndexed", "Indexed"}, p.child("completionMode"), e, false);
  if (s["completionMode"].as_string() == "Indexed" && s["completions"].is_null())
    e.push_back(required_error(p.child("completions"), "when completion mode is Indexed"));
  const json::Value& t = s["template"];
  pod_template(t, p.child("template"), e);
  const std::string& restart = t["spec"]["restartPolicy"].as_string();
  if (restart == "Always")
    e.push_back(required_error(p.child("template").child("spec").child("restartPolicy"), "valid values: \"OnFailure\", \"Never\""));
}

}  // namespace

void workload(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  if (kind == "ControllerRevision") {
    non_negative(o["revision"], FieldPath("revision"), e);
    if (old) immutable(o["data"], (*old)["data"], FieldPath("data"), e);
    return;
  }
  for (auto f : {"replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"}) non_negative(s[f], kSpec.child(f), e);
  if (kind == "ReplicationController") {
    if (s["selector"].size() == 0) e.push_back(required_error(kSpec.child("selector")));
    pod_template(s["template"], kSpec.child("template"), e, true);
    return;
  }
  selector_and_template(kind, s, e, true);
  if (old) immutable(s["selector"], (*old)["spec"]["selector"], kSpec.child("selector"), e);
  if (kind == "Deployment") {
    FieldPath p = kSpec.child("strategy");
    const json::Value& st = s["strategy"];
    one_of(st["type"], {"Recreate", "RollingUpdate"}, p.child("type"), e, false);
    if (st["type"].as_string() == "Recreate" && st["rollingUpdate"].is_object())
      e.push_back(forbidden_error(p.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'"));
    if (st["type"].as_string() == "RollingUpdate" && st["rollingUpdate"].is_object()) rolling(st["rollingUpdate"], p.child("rollingUpdate"), e, true);
    if (s["progressDeadlineSeconds"].is_int() && s["progressDeadlineSeconds"].as_int() <= s["minReadySeconds"].as_int())
      e.push_back(invalid_error(kSpec.child("progressDeadlineSeconds"), s["progressDeadlineSeconds"], "must be greater than minReadySeconds"));
  } else if (kind == "DaemonSet") {
    one_of(s["updateStrategy"]["type"], {"RollingUpdate", "OnDelete"}, kSpec.child("updateStrategy").child("type"), e, false);
    if (s["updateStrategy"]["rollingUpdate"].is_object()) rolling(s["updateStrategy"]["rollingUpdate"], kSpec.child("updateStrategy").child("rollingUpdate"), e, true);
  } else if (kind == "StatefulSet") {
    one_of(s["podManagementPolicy"], {"OrderedReady", "Parallel"}, kSpec.child("podManagementPolicy"), e, false);
    one_of(s["updateStrategy"]["type"], {"RollingUpdate", "OnDelete"}, kSpec.child("updateStrategy").child("type"), e, false);
    if (old) {
      // Everything but these is fixed.
      auto fixed = [](json::Value spec) {
        for (auto f : {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}) spec.erase(f);
        return spec;
      };
      if (!same(fixed(s), fixed((*old)["spec"])))
        e.push_back(forbidden_error(kSpec, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                                           "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
    }
  }
}

void batch(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  if (kind == "Job") {
    job_spec(s, kSpec, e);
    if (old) {
      const json::Value& was = (*old)["spec"];
      for (auto f : {"completionMode", "selector"}) immutable(s[f], was[f], kSpec.child(f), e);
      if (s["completionMode"].as_string() != "Indexed") immutable(s["completions"], was["completions"], kSpec.child("completions"), e);
      // A suspended job that has not started may still change where its pods go.
      if (!was["suspend"].as_bool()) immutable(s["template"], was["template"], kSpec.child("template"), e);
    }
  } else if (kind == "CronJob") {
    const std::string& schedule = s["schedule"].as_string();
    if (schedule.empty()) e.push_back(required_error(kSpec.child("schedule")));
    else if (!cron_ok(schedule)) e.push_back(invalid_error(kSpec.child("schedule"), schedule, "expected exactly 5 fields, found " + std::to_string(split_words(schedule).size()) + ": [" + schedule + "]"));
    one_of(s["concurrencyPolicy"], {"Allow", "Forbid", "Replace"}, kSpec.child("concurrencyPolicy"), e, false);
    for (auto f : {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"}) non_negative(s[f], kSpec.child(f), e);
    if (!old && o["metadata"]["name"].as_string().size() > 52) e.push_back(invalid_error(FieldPath("metadata").child("name"), o["metadata"]["name"], "must be no more than 52 characters"));
    job_spec(s["jobTemplate"]["spec"], kSpec.child("jobTemplate").child("spec"), e);
  }
}

}  // namespace caravel::kube::check
