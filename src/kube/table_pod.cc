// READY, STATUS, RESTARTS and the wide columns of pods, with kubectl's rules.
#include "base/strings.h"
#include "kube/table_printers.h"

namespace caravel::kube {

namespace {

struct PodCells {
  int64_t ready = 0, total = 0, restarts = 0;
  std::string status;
  Time last_restart;
};

bool condition_true(const json::Value& pod, std::string_view type) {
  for (auto& c : pod["status"]["conditions"].as_array())
    if (c["type"].as_string() == type) return c["status"].as_string() == "True";
  return false;
}

void note_restart(const json::Value& status, Time& last) {
  const json::Value& finished = status.path({"lastState", "terminated", "finishedAt"});
  if (auto t = parse_rfc3339(finished.as_string()); t.ok() && *t > last) last = *t;
}

std::string exit_text(const json::Value& terminated) {
  if (!terminated["reason"].as_string().empty()) return terminated["reason"].as_string();
  if (int64_t s = terminated["signal"].as_int()) return "Signal:" + std::to_string(s);
  return "ExitCode:" + std::to_string(terminated["exitCode"].as_int());
}

PodCells cells_of(const json::Value& pod) {
  PodCells p;
  const json::Value &spec = pod["spec"], &status = pod["status"];
  p.total = static_cast<int64_t>(spec["containers"].size());
  p.status = status["phase"].as_string();
  if (!status["reason"].as_string().empty()) p.status = status["reason"].as_string();
  for (auto& c : status["conditions"].as_array())
    if (c["type"].as_string() == "PodScheduled" && c["reason"].as_string() == "SchedulingGated") p.status = "SchedulingGated";
  auto is_sidecar = [&](const std::string& name) {
    for (auto& c : spec["initContainers"].as_array())
      if (c["name"].as_string() == name) return c["restartPolicy"].as_string() == "Always";
    return false;
  };
  for (auto& c : spec["initContainers"].as_array()) p.total += c["restartPolicy"].as_string() == "Always";

  bool initializing = false;
  int64_t sidecar_restarts = 0;
  Time sidecar_last;
  const auto& init = status["initContainerStatuses"].as_array();
  for (size_t i = 0; i < init.size() && !initializing; ++i) {
    const json::Value& c = init[i];
    const json::Value& state = c["state"];
    p.restarts += c["restartCount"].as_int();
    note_restart(c, p.last_restart);
    bool sidecar = is_sidecar(c["name"].as_string());
    if (sidecar) {
      sidecar_restarts += c["restartCount"].as_int();
      note_restart(c, sidecar_last);
    }
    const json::Value& terminated = state["terminated"];
    if (terminated.is_object() && terminated["exitCode"].as_int() == 0) continue;
    if (sidecar && c["started"].as_bool()) {
      p.ready += c["ready"].as_bool();
      continue;
    }
    initializing = true;
    const std::string& waiting = state["waiting"]["reason"].as_string();
    if (terminated.is_object()) p.status = "Init:" + exit_text(terminated);
    else if (!waiting.empty() && waiting != "PodInitializing") p.status = "Init:" + waiting;
    else p.status = "Init:" + std::to_string(i) + "/" + std::to_string(spec["initContainers"].size());
  }
  if (!initializing || condition_true(pod, "Initialized")) {
    p.restarts = sidecar_restarts;
    p.last_restart = sidecar_last;
    bool running = false;
    const auto& list = status["containerStatuses"].as_array();
    for (size_t i = list.size(); i-- > 0;) {
      const json::Value& c = list[i];
      const json::Value& state = c["state"];
      p.restarts += c["restartCount"].as_int();
      note_restart(c, p.last_restart);
      const std::string& waiting = state["waiting"]["reason"].as_string();
      if (!waiting.empty()) p.status = waiting;
      else if (state["terminated"].is_object()) p.status = exit_text(state["terminated"]);
      else if (c["ready"].as_bool() && state["running"].is_object()) running = true, ++p.ready;
    }
    if (p.status == "Completed" && running) p.status = condition_true(pod, "Ready") ? "Running" : "NotReady";
  }
  const std::string& phase = status["phase"].as_string();
  if (!pod["metadata"]["deletionTimestamp"].is_null()) {
    if (status["reason"].as_string() == "NodeLost") p.status = "Unknown";
    else if (phase != "Succeeded" && phase != "Failed") p.status = "Terminating";
  }
  return p;
}

}  // namespace

json::Value print_pod(std::string_view name, const json::Value& o, Time now) {
  const json::Value &spec = o["spec"], &status = o["status"];
  if (name == "ip") return or_none(status["podIPs"].size() ? status["podIPs"].at(0)["ip"].as_string() : status["podIP"].as_string());
  if (name == "node") return or_none(spec["nodeName"].as_string());
  if (name == "nominated-node") return or_none(status["nominatedNodeName"].as_string());
  if (name == "readiness-gates") {
    if (spec["readinessGates"].size() == 0) return "<none>";
    int true_gates = 0;
    for (auto& g : spec["readinessGates"].as_array()) true_gates += condition_true(o, g["conditionType"].as_string());
    return std::to_string(true_gates) + "/" + std::to_string(spec["readinessGates"].size());
  }
  PodCells p = cells_of(o);
  if (name == "ready") return std::to_string(p.ready) + "/" + std::to_string(p.total);
  if (name == "status") return p.status;
  if (name == "restarts") {
    std::string text = std::to_string(p.restarts);
    if (p.restarts != 0 && !p.last_restart.is_zero()) text += " (" + human_duration(now - p.last_restart) + " ago)";
    return text;
  }
  return {};
}

}  // namespace caravel::kube
