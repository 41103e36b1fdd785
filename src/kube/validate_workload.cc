// Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs.
#include <algorithm>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/cron.h"
#include "kube/validate_job.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

const FieldPath kSpec("spec");
constexpr size_t kCronJobNameMax = 52;  // 11 more make a Job's

// Pods of these are there to run for ever.
void always_running(std::string_view kind, const json::Value& pod, FieldErrors& e) {
  const FieldPath p = kSpec.child("template").child("spec");
  if (const json::Value& restart = pod["restartPolicy"]; restart.is_string() && restart.as_string() != "Always")
    e.push_back(not_supported(p.child("restartPolicy"), restart, {std::string_view("Always")}));
  if (!pod["activeDeadlineSeconds"].is_null())
    e.push_back(forbidden_error(p.child("activeDeadlineSeconds"), "activeDeadlineSeconds in " + std::string(kind == "Deployment" ? "ReplicaSet" : kind) + " is not Supported"));
}

// `was`: the spec before. What it holds was accepted.
void selector_and_template(std::string_view kind, const json::Value& spec, const json::Value* was, FieldErrors& e) {
  const json::Value& selector = spec["selector"];
  const FieldPath p = kSpec.child("selector");
  const bool kept = was && selector == (*was)["selector"] && spec["template"] == (*was)["template"] && spec["volumeClaimTemplates"] == (*was)["volumeClaimTemplates"];
  if (kept) return;
  const size_t before = e.size();
  bool readable = true;
  if (selector.is_object()) {
    validate_label_selector(selector, p, e);
    readable = e.size() == before;
    if (selector["matchLabels"].size() + selector["matchExpressions"].size() == 0)
      e.push_back(invalid_error(p, selector, "empty selector is invalid for " + (kind == "ReplicaSet" ? "deployment" : to_lower(kind))));
  } else if (kind != "DaemonSet") {
    e.push_back(required_error(p));
  }
  if (readable) {
    const bool nothing = selector["matchLabels"].size() + selector["matchExpressions"].size() == 0;
    const json::Value& labels = spec["template"]["metadata"]["labels"];
    if (selector.is_null() || (!nothing && !selects(selector, labels)))
      e.push_back(invalid_error(kSpec.child("template").child("metadata").child("labels"), labels, "`selector` does not match template `labels`"));
  } else if (kind != "DaemonSet") {
    e.push_back(invalid_error(p, selector, kind == "StatefulSet" ? "" : "invalid label selector"));
    if (kind != "StatefulSet") return;
    return always_running(kind, spec["template"]["spec"], e);
  }
  pod_template(spec["template"], kSpec.child("template"), e, kind == "StatefulSet" ? &spec["volumeClaimTemplates"] : nullptr);
  always_running(kind, spec["template"]["spec"], e);
}

// Of a number or a percentage; other text counts as the number that it is, if it is one.
bool is_zero(const json::Value& v) {
  if (!v.is_string()) return v.as_int() == 0;
  const std::string& s = v.as_string();
  return parse_int(s.ends_with('%') ? s.substr(0, s.size() - 1) : s).value_or(0) == 0;
}

void rolling_deployment(const json::Value& r, const FieldPath& p, FieldErrors& e) {
  int_or_percent(r["maxUnavailable"], p.child("maxUnavailable"), e);
  int_or_percent(r["maxSurge"], p.child("maxSurge"), e);
  if (is_zero(r["maxUnavailable"]) && is_zero(r["maxSurge"])) e.push_back(invalid_error(p.child("maxUnavailable"), r["maxUnavailable"], "may not be 0 when `maxSurge` is 0"));
  at_most_all(r["maxUnavailable"], p.child("maxUnavailable"), e);
}

void rolling_daemons(const json::Value& r, const FieldPath& p, FieldErrors& e) {
  for (auto f : {"maxUnavailable", "maxSurge"}) int_or_percent(r[f], p.child(f), e);
  for (auto f : {"maxUnavailable", "maxSurge"}) at_most_all(r[f], p.child(f), e);
  const bool unavailable = !is_zero(r["maxUnavailable"]), surge = !is_zero(r["maxSurge"]);
  if (unavailable && surge) e.push_back(invalid_error(p.child("maxSurge"), r["maxSurge"], "may not be set when maxUnavailable is non-zero"));
  if (!unavailable && !surge) e.push_back(required_error(p.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"));
}

void rolling_stateful(const json::Value& r, const FieldPath& p, FieldErrors& e) {
  non_negative(r["partition"], p.child("partition"), e);
  const json::Value& most = r["maxUnavailable"];
  if (most.is_null()) return;
  int_or_percent(most, p.child("maxUnavailable"), e);
  if (is_zero(most)) e.push_back(invalid_error(p.child("maxUnavailable"), most, "cannot be 0"));
  at_most_all(most, p.child("maxUnavailable"), e);
}

void deployment(const json::Value& s, FieldErrors& e) {
  const FieldPath p = kSpec.child("strategy");
  const json::Value& st = s["strategy"];
  const std::string& type = st["type"].as_string();
  if (type == "Recreate") {
    if (st["rollingUpdate"].is_object()) e.push_back(forbidden_error(p.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'"));
  } else if (type == "RollingUpdate") {
    if (st["rollingUpdate"].is_object()) rolling_deployment(st["rollingUpdate"], p.child("rollingUpdate"), e);
  } else if (!type.empty()) {
    e.push_back(not_supported(p, st, {std::string_view("Recreate"), "RollingUpdate"}));
  }
  if (const json::Value& deadline = s["progressDeadlineSeconds"]; deadline.is_int() && deadline.as_int() <= s["minReadySeconds"].as_int())
    e.push_back(invalid_error(kSpec.child("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds"));
}

void daemon_set(const json::Value& s, FieldErrors& e) {
  const FieldPath p = kSpec.child("updateStrategy");
  const json::Value& st = s["updateStrategy"];
  const std::string& type = st["type"].as_string();
  if (type == "RollingUpdate") {
    if (st["rollingUpdate"].is_object()) rolling_daemons(st["rollingUpdate"], p.child("rollingUpdate"), e);
  } else if (!type.empty() && type != "OnDelete") {
    e.push_back(not_supported(p, st, {std::string_view("RollingUpdate"), "OnDelete"}));
  }
}

void stateful_set(const json::Value& s, const json::Value* was, FieldErrors& e) {
  if (const json::Value& policy = s["podManagementPolicy"]; !policy.as_string().empty() && policy.as_string() != "OrderedReady" && policy.as_string() != "Parallel")
    e.push_back(invalid_error(kSpec.child("podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'"));
  const FieldPath p = kSpec.child("updateStrategy");
  const json::Value& st = s["updateStrategy"];
  const std::string& type = st["type"].as_string();
  if (type == "RollingUpdate") {
    if (st["rollingUpdate"].is_object()) rolling_stateful(st["rollingUpdate"], p.child("rollingUpdate"), e);
  } else if (type == "OnDelete") {
    if (st["rollingUpdate"].is_object()) e.push_back(invalid_error(p.child("rollingUpdate"), st["rollingUpdate"], "only allowed for updateStrategy 'RollingUpdate'"));
  } else if (!type.empty()) {
    e.push_back(invalid_error(p, st, "must be 'RollingUpdate' or 'OnDelete'"));
  }
  for (auto f : {"whenDeleted", "whenScaled"})
    if (const json::Value& v = s["persistentVolumeClaimRetentionPolicy"][f]; v.is_string()) supported(v, {"Retain", "Delete"}, kSpec.child("persistentVolumeClaimRetentionPolicy").child(f), e);
  non_negative(s["ordinals"]["start"], kSpec.child("ordinals.start"), e);
  if (!was) {
    for (size_t i = 0; i < s["volumeClaimTemplates"].size(); ++i)
      persistent_claim_spec(s["volumeClaimTemplates"].at(i)["spec"], kSpec.child("volumeClaimTemplates").index(i).child("spec"), e);
    if (const json::Value& name = s["serviceName"]; !name.as_string().empty()) text_must(check_dns1123_label, name, kSpec.child("serviceName"), e);
    return;
  }
  // Everything but these is fixed.
  auto fixed = [](std::string_view member) {
    for (std::string_view f : {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"})
      if (member == f) return false;
    return true;
  };
  auto moved = [&](const json::Value& a, const json::Value& b) {
    for (auto& m : a.as_object())
      if (fixed(m.key) && !same(m.value, b[m.key])) return true;
    return false;
  };
  if (moved(s, *was) || moved(*was, s))
    e.push_back(forbidden_error(kSpec,
                                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                                "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
}

void cron_schedule(const json::Value& spec, const json::Value* was, const FieldPath& p, FieldErrors& e) {
  const std::string& schedule = spec["schedule"].as_string();
  const FieldPath at = p.child("schedule");
  if (schedule.empty()) {
    e.push_back(required_error(at));
  } else if (schedule.find("TZ") != std::string::npos) {
    e.push_back(invalid_error(at, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"));
  } else if (auto parsed = CronSchedule::parse(schedule); !parsed.ok()) {
    e.push_back(invalid_error(at, schedule, parsed.error().message));
  }
  if (spec["timeZone"].is_null() || (was && spec["timeZone"] == (*was)["timeZone"])) return;
  const std::string& zone = spec["timeZone"].as_string();
  if (zone.empty()) e.push_back(invalid_error(p.child("timeZone"), zone, "timeZone must be nil or non-empty string"));
  else if (zone == "Local") e.push_back(invalid_error(p.child("timeZone"), zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"));
  else if (auto z = load_time_zone(zone); !z.ok()) {
    if (to_lower(zone) == "local") e.push_back(invalid_error(p.child("timeZone"), zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"));
    e.push_back(invalid_error(p.child("timeZone"), zone, z.error().message));
  }
}

}  // namespace

void workload(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  if (kind == "ControllerRevision") {
    non_negative(o["revision"], FieldPath("revision"), e);
    if (old) immutable(o["data"], (*old)["data"], FieldPath("data"), e);
    return;
  }
  const json::Value* was = old ? &(*old)["spec"] : nullptr;
  if (was && s == *was) return;
  for (auto f : {"replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"})
    if (!(kind == "StatefulSet" && std::string_view(f) == "revisionHistoryLimit")) non_negative(s[f], kSpec.child(f), e);
  if (kind == "ReplicationController") {
    if (s["selector"].size() == 0) e.push_back(required_error(kSpec.child("selector")));
    const json::Value &t = s["template"], &labels = t["metadata"]["labels"];
    if (was && t == (*was)["template"] && s["selector"] == (*was)["selector"]) return;
    if (t.is_null()) return e.push_back(required_error(kSpec.child("template")));
    for (auto& m : s["selector"].as_object())
      if (!(labels[m.key] == m.value)) {
        e.push_back(invalid_error(kSpec.child("template").child("metadata").child("labels"), labels, "`selector` does not match template `labels`"));
        break;
      }
    pod_template(t, kSpec.child("template"), e);
    always_running(kind, t["spec"], e);
    return;
  }
  selector_and_template(kind, s, was, e);
  if (was && kind != "StatefulSet") immutable(s["selector"], (*was)["selector"], kSpec.child("selector"), e);
  if (kind == "Deployment") deployment(s, e);
  else if (kind == "DaemonSet") daemon_set(s, e);
  else if (kind == "StatefulSet") stateful_set(s, was, e);
}

void batch(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  const json::Value* was = old ? &(*old)["spec"] : nullptr;
  if (was && s == *was) return;
  if (kind == "Job") {
    if (!old) job_selector(o, e);
    job_spec(s, was, kSpec, e);
    if (old) job_update(s, *was, kSpec, e);
  } else if (kind == "CronJob") {
    cron_schedule(s, was, kSpec, e);
    if (const json::Value& policy = s["concurrencyPolicy"]; !policy.as_string().empty()) supported(policy, {"Allow", "Forbid", "Replace"}, kSpec.child("concurrencyPolicy"), e);
    for (auto f : {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"}) non_negative(s[f], kSpec.child(f), e);
    if (!old && o["metadata"]["name"].as_string().size() > kCronJobNameMax)
      e.push_back(invalid_error(FieldPath("metadata").child("name"), o["metadata"]["name"], "must be no more than 52 characters"));
    const json::Value& job = s["jobTemplate"]["spec"];
    const FieldPath p = kSpec.child("jobTemplate").child("spec");
    job_spec(job, was ? &(*was)["jobTemplate"]["spec"] : nullptr, p, e);
    if (job["selector"].is_object()) e.push_back(invalid_error(p.child("selector"), job["selector"], "`selector` will be auto-generated"));
    if (job["manualSelector"].as_bool()) e.push_back(not_supported(p.child("manualSelector"), job["manualSelector"], {std::string_view("nil"), "false"}));
  }
}

}  // namespace caravel::kube::check
