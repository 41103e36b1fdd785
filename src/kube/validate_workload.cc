// Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs.
#include <algorithm>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/cron.h"
#include "kube/validate_job.h"

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

void cron_schedule(const json::Value& spec, const FieldPath& p, FieldErrors& e) {
  const std::string& schedule = spec["schedule"].as_string();
  const FieldPath at = p.child("schedule");
  if (schedule.empty()) {
    e.push_back(required_error(at));
  } else if (schedule.find("TZ") != std::string::npos) {
    e.push_back(invalid_error(at, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
  } else if (auto parsed = CronSchedule::parse(schedule); !parsed.ok()) {
    e.push_back(invalid_error(at, schedule, parsed.error().message));
  }
  if (spec["timeZone"].is_null()) return;
  const std::string& zone = spec["timeZone"].as_string();
  if (zone.empty()) e.push_back(invalid_error(p.child("timeZone"), zone, "timeZone must be nil or non-empty string"));
  else if (to_lower(zone) == "local") e.push_back(invalid_error(p.child("timeZone"), zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"));
  else if (auto z = load_time_zone(zone); !z.ok()) e.push_back(invalid_error(p.child("timeZone"), zone, z.error().message));
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
        e.push_back(forbidden_error(kSpec,
                                    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                                    "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
    }
  }
}

void batch(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  if (kind == "Job") {
    job_spec(s, kSpec, e);
    if (old) job_update(s, (*old)["spec"], kSpec, e);
  } else if (kind == "CronJob") {
    cron_schedule(s, kSpec, e);
    one_of(s["concurrencyPolicy"], {"Allow", "Forbid", "Replace"}, kSpec.child("concurrencyPolicy"), e, false);
    for (auto f : {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"}) non_negative(s[f], kSpec.child(f), e);
    if (!old && o["metadata"]["name"].as_string().size() > 52) e.push_back(invalid_error(FieldPath("metadata").child("name"), o["metadata"]["name"], "must be no more than 52 characters"));
    job_spec(s["jobTemplate"]["spec"], kSpec.child("jobTemplate").child("spec"), e);
  }
}

}  // namespace caravel::kube::check
