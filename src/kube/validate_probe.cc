// Probes, lifecycle handlers, mounts and devices of containers.
#include <set>

#include "base/strings.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

void action_port(const Value& port, const FieldPath& p, FieldErrors& e) {
  if (port.is_string()) text_must(check_port_name, port, p, e);
  else port_number(port.as_int(), p, e);
}

void http_get_action(const Value& h, const FieldPath& p, FieldErrors& e) {
  if (const Value& path = h["path"]; path.is_string() && path.as_string().empty()) e.push_back(required_error(p.child("path")));
  action_port(h["port"], p.child("port"), e);
  if (const Value& scheme = h["scheme"]; scheme.is_string()) supported(scheme, {"HTTP", "HTTPS"}, p.child("scheme"), e);
  for (const Value& header : h["httpHeaders"].as_array()) text_must(check_http_header_name, header["name"].as_string(), p.child("httpHeaders"), e);
}

void sleep_action(const Value& h, const Value& grace, const FieldPath& p, FieldErrors& e) {
  const int64_t seconds = h["seconds"].as_int();
  if (!grace.is_int() || (seconds >= 0 && seconds <= grace.as_int())) return;
  e.push_back(invalid_error(p, seconds, "must be non-negative and less than terminationGracePeriodSeconds (" + std::to_string(grace.as_int()) + ")"));
}

void handler(const Value& h, const Value& grace, bool of_probe, const FieldPath& p, FieldErrors& e) {
  int found = 0;
  auto action = [&](std::string_view member, auto check) {
    if (!h[member].is_object()) return;
    if (found++) e.push_back(forbidden_error(p.child(member), "may not specify more than 1 handler type"));
    else check(h[member], p.child(member));
  };
  action("exec", [&](const Value& v, const FieldPath& at) { must_have(v, {"command"}, at, e); });
  action("httpGet", [&](const Value& v, const FieldPath& at) { http_get_action(v, at, e); });
  action("tcpSocket", [&](const Value& v, const FieldPath& at) { action_port(v["port"], at.child("port"), e); });
  if (of_probe) action("grpc", [&](const Value& v, const FieldPath& at) { port_number(v["port"].as_int(), at.child("port"), e); });
  else action("sleep", [&](const Value& v, const FieldPath& at) { sleep_action(v, grace, at, e); });
  if (found == 0) e.push_back(required_error(p, "must specify a handler type"));
}

void probe(const Value& v, const FieldPath& p, FieldErrors& e) {
  handler(v, Value(), true, p, e);
  for (std::string_view f : {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"})
    if (v[f].as_int() < 0) non_negative(v[f], p.child(f), e);
  if (const Value& grace = v["terminationGracePeriodSeconds"]; grace.is_int() && grace.as_int() <= 0)
    e.push_back(invalid_error(p.child("terminationGracePeriodSeconds"), grace, "must be greater than 0"));
}

const std::initializer_list<std::string_view> kSignals = {
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO", "SIGIOT", "SIGKILL",
    "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGRTMAX", "SIGRTMAX-1", "SIGRTMAX-10", "SIGRTMAX-11", "SIGRTMAX-12",
    "SIGRTMAX-13", "SIGRTMAX-14", "SIGRTMAX-2", "SIGRTMAX-3", "SIGRTMAX-4", "SIGRTMAX-5", "SIGRTMAX-6", "SIGRTMAX-7", "SIGRTMAX-8",
    "SIGRTMAX-9", "SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+10", "SIGRTMIN+11", "SIGRTMIN+12", "SIGRTMIN+13", "SIGRTMIN+14", "SIGRTMIN+15",
    "SIGRTMIN+2", "SIGRTMIN+3", "SIGRTMIN+4", "SIGRTMIN+5", "SIGRTMIN+6", "SIGRTMIN+7", "SIGRTMIN+8", "SIGRTMIN+9", "SIGSEGV",
    "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM",
    "SIGWINCH", "SIGXCPU", "SIGXFSZ"};

void stop_signal(const Value& signal, const Value& os, const FieldPath& p, FieldErrors& e) {
  if (!os.is_object()) e.push_back(forbidden_error(p, "may not be set for containers with empty `spec.os.name`"));
  else if (os["name"].as_string() == "windows") supported(signal, {"SIGKILL", "SIGTERM"}, p, e);
  else if (os["name"].as_string() == "linux") supported(signal, kSignals, p, e);
}

void recursive_read_only(const Value& mount, const FieldPath& p, FieldErrors& e) {
  const Value& v = mount["recursiveReadOnly"];
  if (v.as_string() == "Disabled") return;
  if (v.as_string() != "Enabled" && v.as_string() != "IfPossible") return supported(v, {"Disabled", "Enabled", "IfPossible"}, p, e);
  if (!mount["readOnly"].as_bool()) e.push_back(forbidden_error(p, "may only be specified when readOnly is true"));
  if (const Value& spreads = mount["mountPropagation"]; spreads.is_string() && spreads.as_string() != "None")
    e.push_back(forbidden_error(p, "may only be specified when mountPropagation is None or not specified"));
}

// Whether an item of the list has this in that member.
bool has_item(const Value& list, std::string_view member, std::string_view text) {
  for (const Value& v : list.as_array())
    if (v[member].as_string() == text) return true;
  return false;
}

void volume_mounts(const Value& c, const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const auto& list = c["volumeMounts"].as_array();
  const Value& devices = c["volumeDevices"];
  std::set<std::string_view> paths;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& m = list[i];
    const std::string &name = m["name"].as_string(), &at = m["mountPath"].as_string();
    if (name.empty()) e.push_back(required_error(p.index(i).child("name")));
    if (!pod.volume(name)) e.push_back(not_found(p.index(i).child("name"), name));
    if (at.empty()) e.push_back(required_error(p.index(i).child("mountPath")));
    if (!paths.insert(at).second) e.push_back(invalid_error(p.index(i).child("mountPath"), at, "must be unique"));
    if (devices.size()) {
      if (has_item(devices, "name", name)) e.push_back(invalid_error(p.index(i).child("name"), name, "must not already exist in volumeDevices"));
      if (has_item(devices, "devicePath", at)) e.push_back(invalid_error(p.index(i).child("mountPath"), at, "must not already exist as a path in volumeDevices"));
    }
    // Upstream gives these no index.
    if (const std::string& s = m["subPath"].as_string(); !s.empty()) descending_path(s, p.child("subPath"), e);
    if (const std::string& s = m["subPathExpr"].as_string(); !s.empty()) {
      if (!m["subPath"].as_string().empty()) e.push_back(invalid_error(p.index(i).child("subPathExpr"), s, "subPathExpr and subPath are mutually exclusive"));
      descending_path(s, p.child("subPathExpr"), e);
    }
    if (const Value& v = m["mountPropagation"]; v.is_string()) {
      supported(v, {"Bidirectional", "HostToContainer", "None"}, p.child("mountPropagation"), e);
      if (v.as_string() == "Bidirectional" && !c["securityContext"]["privileged"].as_bool())
        e.push_back(forbidden_error(p.child("mountPropagation"), "Bidirectional mount propagation is available only to privileged containers"));
    }
    if (m["recursiveReadOnly"].is_string()) recursive_read_only(m, p.child("recursiveReadOnly"), e);
  }
}

void volume_devices(const Value& c, const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const auto& list = c["volumeDevices"].as_array();
  const Value& mounts = c["volumeMounts"];
  std::set<std::string_view> names, paths;
  for (size_t i = 0; i < list.size(); ++i) {
    const FieldPath name_at = p.index(i).child("name"), path_at = p.index(i).child("devicePath");
    const std::string &name = list[i]["name"].as_string(), &path = list[i]["devicePath"].as_string();
    const Value* volume = pod.volume(name);
    if (name.empty()) e.push_back(required_error(name_at));
    if (names.count(name)) e.push_back(invalid_error(name_at, name, "must be unique"));
    if (!volume) e.push_back(not_found(name_at, name));
    else if (!(*volume)["persistentVolumeClaim"].is_object() && !(*volume)["ephemeral"].is_object())
      e.push_back(invalid_error(name_at, name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"));
    if (path.empty()) e.push_back(required_error(path_at));
    if (paths.count(path)) e.push_back(invalid_error(path_at, path, "must be unique"));
    FieldErrors back;
    no_backsteps(path, path_at, back);
    if (!back.empty()) e.push_back(invalid_error(path_at, path, "can not contain backsteps ('..')"));
    else paths.insert(path);
    if (has_item(mounts, "name", name)) e.push_back(invalid_error(name_at, name, "must not already exist in volumeMounts"));
    if (has_item(mounts, "mountPath", path)) e.push_back(invalid_error(path_at, path, "must not already exist as a path in volumeMounts"));
    if (!name.empty()) names.insert(name);
  }
}

}  // namespace

void container_probes(const Value& c, const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const Value& grace = pod.spec["terminationGracePeriodSeconds"];
  if (const Value& l = c["lifecycle"]; l.is_object()) {
    const FieldPath at = p.child("lifecycle");
    for (std::string_view when : {"postStart", "preStop"})
      if (l[when].is_object()) handler(l[when], grace, false, at.child(when), e);
    if (l["stopSignal"].is_string()) stop_signal(l["stopSignal"], pod.spec["os"], at.child("stopSignal"), e);
  }
  for (std::string_view kind : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    const Value& v = c[kind];
    if (!v.is_object()) continue;
    const FieldPath at = p.child(kind);
    probe(v, at, e);
    if (kind == "readinessProbe") {
      if (const Value& own = v["terminationGracePeriodSeconds"]; !own.is_null())
        e.push_back(invalid_error(at.child("terminationGracePeriodSeconds"), own, "must not be set for readinessProbes"));
    } else if (const Value& n = v["successThreshold"]; n.is_int() && n.as_int() != 1) {
      e.push_back(invalid_error(at.child("successThreshold"), n, "must be 1"));
    }
  }
}

void container_mounts(const Value& c, const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  if (c["volumeMounts"].size()) volume_mounts(c, pod, p.child("volumeMounts"), e);
  if (c["volumeDevices"].size()) volume_devices(c, pod, p.child("volumeDevices"), e);
}

}  // namespace caravel::kube::check
