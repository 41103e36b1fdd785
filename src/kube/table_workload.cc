// Cells of Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, autoscalers and their kin.
#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/table_printers.h"

namespace caravel::kube {

namespace {

const json::Value& pod_spec(std::string_view kind, const json::Value& o) {
  if (kind == "CronJob") return o.path({"spec", "jobTemplate", "spec", "template", "spec"});
  if (kind == "PodTemplate") return o.path({"template", "spec"});
  return o.path({"spec", "template", "spec"});
}

std::string containers(const json::Value& spec, std::string_view member) {
  std::vector<std::string> parts;
  for (auto& c : spec["containers"].as_array()) parts.push_back(c[member].as_string());
  return join(parts, ",");
}

std::string job_status(const json::Value& o) {
  auto has = [&](std::string_view type) {
    for (auto& c : o["status"]["conditions"].as_array())
      if (c["type"].as_string() == type && c["status"].as_string() == "True") return true;
    return false;
  };
  if (has("Complete")) return "Complete";
  if (has("Failed")) return "Failed";
  if (!o["metadata"]["deletionTimestamp"].is_null()) return "Terminating";
  if (has("Suspended")) return "Suspended";
  if (has("FailureTarget")) return "FailureTarget";
  if (has("SuccessCriteriaMet")) return "SuccessCriteriaMet";
  return "Running";
}

json::Value print_job(std::string_view name, const json::Value& o, Time now) {
  const json::Value &spec = o["spec"], &status = o["status"];
  if (name == "status") return job_status(o);
  if (name == "completions") {
    std::string done = std::to_string(status["succeeded"].as_int());
    if (spec["completions"].is_int()) return done + "/" + std::to_string(spec["completions"].as_int());
    int64_t parallel = spec["parallelism"].as_int();
    return parallel > 1 ? done + "/1 of " + std::to_string(parallel) : done + "/1";
  }
  if (name == "duration") {
    auto start = parse_rfc3339(status["startTime"].as_string());
    if (!start.ok()) return "";
    auto end = parse_rfc3339(status["completionTime"].as_string());
    return human_duration((end.ok() ? *end : now) - *start);
  }
  return {};
}

std::string amount(const json::Value& v) { return v.is_string() ? v.as_string() : json::dump(v); }

// "cpu: 12%/80%" for every metric of an autoscaling/v2 autoscaler.
std::string targets(const json::Value& o) {
  std::vector<std::string> parts;
  const auto& current = o["status"]["currentMetrics"].as_array();
  const auto& metrics = o["spec"]["metrics"].as_array();
  for (size_t i = 0; i < metrics.size(); ++i) {
    const json::Value& m = metrics[i];
    const std::string& type = m["type"].as_string();
    std::string key = type.empty() ? "" : to_lower(type.substr(0, 1)) + type.substr(1);
    const json::Value& target = m[key]["target"];
    static const json::Value none;
    const json::Value& now = i < current.size() ? current[i][key]["current"] : none;
    std::string metric = type == "Resource" || type == "ContainerResource" ? m[key]["name"].as_string() : "";
    std::string text;
    if (target["averageUtilization"].is_int()) {
      text = (now["averageUtilization"].is_int() ? std::to_string(now["averageUtilization"].as_int()) + "%" : "<unknown>") + "/" +
             std::to_string(target["averageUtilization"].as_int()) + "%";
    } else if (!target["averageValue"].is_null()) {
      text = (now["averageValue"].is_null() ? "<unknown>" : amount(now["averageValue"])) + "/" + amount(target["averageValue"]);
      if (metric.empty()) text += " (avg)";
    } else {
      text = (now["value"].is_null() ? "<unknown>" : amount(now["value"])) + "/" + amount(target["value"]);
    }
    parts.push_back(metric.empty() ? text : metric + ": " + text);
    if (parts.size() == 2 && metrics.size() > 3) return join(parts, ", ") + " + " + std::to_string(metrics.size() - 2) + " more...";
  }
  // autoscaling/v1
  if (o["spec"]["targetCPUUtilizationPercentage"].is_int()) {
    const json::Value& now = o["status"]["currentCPUUtilizationPercentage"];
    parts.push_back("cpu: " + (now.is_int() ? std::to_string(now.as_int()) + "%" : std::string("<unknown>")) + "/" +
                    std::to_string(o["spec"]["targetCPUUtilizationPercentage"].as_int()) + "%");
  }
  return or_none(join(parts, ", "));
}

}  // namespace

json::Value print_workload(std::string_view kind, std::string_view name, const json::Value& o, Time now) {
  const json::Value &spec = o["spec"], &status = o["status"];
  bool workload = kind == "Deployment" || kind == "ReplicaSet" || kind == "StatefulSet" || kind == "DaemonSet" || kind == "Job" || kind == "CronJob" ||
                  kind == "ReplicationController" || kind == "PodTemplate";
  if (workload) {
    if (name == "containers") return containers(pod_spec(kind, o), "name");
    if (name == "images") return containers(pod_spec(kind, o), "image");
    if (name == "selector") return kind == "ReplicationController" ? labels_text(spec["selector"]) : selector_text(spec["selector"]);
    if (name == "pod-labels") return labels_text(o["template"]["metadata"]["labels"]);
  }
  if (kind == "Deployment" || kind == "StatefulSet") {
    if (name == "ready") return std::to_string(status["readyReplicas"].as_int()) + "/" + std::to_string(spec["replicas"].as_int(1));
    if (name == "up-to-date") return status["updatedReplicas"].as_int();
    if (name == "available") return status["availableReplicas"].as_int();
  }
  if (kind == "ReplicaSet" || kind == "ReplicationController") {
    if (name == "desired") return spec["replicas"].as_int(1);
    if (name == "current") return status["replicas"].as_int();
    if (name == "ready") return status["readyReplicas"].as_int();
  }
  if (kind == "DaemonSet") {
    if (name == "desired") return status["desiredNumberScheduled"].as_int();
    if (name == "current") return status["currentNumberScheduled"].as_int();
    if (name == "ready") return status["numberReady"].as_int();
    if (name == "up-to-date") return status["updatedNumberScheduled"].as_int();
    if (name == "available") return status["numberAvailable"].as_int();
    if (name == "node-selector") return labels_text(pod_spec(kind, o)["nodeSelector"]);
  }
  if (kind == "Job") return print_job(name, o, now);
  if (kind == "CronJob") {
    if (name == "schedule") return spec["schedule"].as_string();
    if (name == "timezone") return or_none(spec["timeZone"].as_string());
    if (name == "suspend") return spec["suspend"].is_bool() ? (spec["suspend"].as_bool() ? "True" : "False") : "<unset>";
    if (name == "active") return static_cast<int64_t>(status["active"].size());
    if (name == "last-schedule") return status["lastScheduleTime"].is_string() ? age_text(status["lastScheduleTime"], now) : "<none>";
  }
  if (kind == "HorizontalPodAutoscaler") {
    if (name == "reference") return spec["scaleTargetRef"]["kind"].as_string() + "/" + spec["scaleTargetRef"]["name"].as_string();
    if (name == "targets") return targets(o);
    if (name == "minpods") return spec["minReplicas"].is_int() ? std::to_string(spec["minReplicas"].as_int()) : "<unset>";
    if (name == "maxpods") return std::to_string(spec["maxReplicas"].as_int());
    if (name == "replicas") return std::to_string(status["currentReplicas"].as_int());
  }
  if (kind == "ControllerRevision") {
    if (name == "revision") return o["revision"].as_int();
    if (name == "controller") {
      for (auto& r : o["metadata"]["ownerReferences"].as_array())
        if (r["controller"].as_bool()) {
          std::string group = r["apiVersion"].as_string();
          size_t slash = group.find('/');
          return to_lower(r["kind"].as_string()) + (slash == group.npos ? "" : "." + group.substr(0, slash)) + "/" + r["name"].as_string();
        }
      return "<none>";
    }
  }
  return {};
}

}  // namespace caravel::kube
