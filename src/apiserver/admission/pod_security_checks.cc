// The checks, one function each. What upstream promises: the wording, which version a rule begins with, and
// that a restricted rule replaces the baseline rule that it contains.
#include <algorithm>
#include <functional>
#include <set>

#include "apiserver/admission/pod_security.h"
#include "base/strings.h"

namespace caravel::apiserver::pod_security {

using json::Value;

namespace {

using Names = std::vector<std::string>;
using Found = std::vector<Violation>;

struct Pod {
  const Value& metadata;
  const Value& spec;
  int minor;
  const Value& context() const { return spec["securityContext"]; }
};

std::string quoted(const Names& v) { return "\"" + join(v, "\", \"") + "\""; }
std::string quoted(const std::set<std::string>& v) { return quoted(Names(v.begin(), v.end())); }
std::string plural(std::string_view one, size_t n) { return std::string(one) + (n == 1 ? "" : "s"); }
std::string containers(const Names& v) { return plural("container", v.size()) + " " + quoted(v); }
bool starts_with(std::string_view s, std::string_view p) { return s.substr(0, p.size()) == p; }

template <class F>
void each(const Pod& p, F f) {
  for (std::string_view list : {"initContainers", "containers", "ephemeralContainers"})
    for (auto& c : p.spec[list].as_array()) f(c);
}
// Names of the containers for which f holds.
template <class F>
Names containers_with(const Pod& p, F f) {
  Names out;
  each(p, [&](const Value& c) {
    if (f(c)) out.push_back(c["name"].as_string());
  });
  return out;
}
// "pod and containers "a", "b""
std::string setters(bool pod, const Names& bad, std::string_view further = "") {
  Names out;
  if (pod) out.push_back("pod");
  if (!bad.empty()) out.push_back(containers(bad));
  if (!further.empty()) out.push_back(std::string(further));
  return join(out, " and ");
}

// Pods in user namespaces may be root inside: since 1.35.
bool in_user_namespace(const Pod& p) { return p.minor >= 35 && p.spec["hostUsers"].is_bool() && !p.spec["hostUsers"].as_bool(); }

void allow_privilege_escalation(const Pod& p, Found& out) {
  // Since 1.25 Windows pods need not say what has no meaning there.
  if (p.minor >= 25 && p.spec["os"]["name"].as_string() == "windows") return;
  Names bad = containers_with(p, [](const Value& c) {
    const Value& v = c["securityContext"]["allowPrivilegeEscalation"];
    return !v.is_bool() || v.as_bool();
  });
  if (!bad.empty()) out.push_back({"allowPrivilegeEscalation != false", containers(bad) + " must set securityContext.allowPrivilegeEscalation=false"});
}

void app_armor(const Pod& p, Found& out) {
  constexpr std::string_view kPrefix = "container.apparmor.security.beta.kubernetes.io/";
  std::set<std::string> values;
  auto wrong = [&](const Value& context) {
    const Value& a = context["appArmorProfile"];
    if (!a.is_object()) return false;
    const std::string& type = a["type"].as_string();
    if (type == "RuntimeDefault" || type == "Localhost") return false;
    values.insert(type);
    return true;
  };
  bool pod = wrong(p.context());
  Names bad = containers_with(p, [&](const Value& c) { return wrong(c["securityContext"]); });
  std::set<std::string> annotations;
  for (auto& m : p.metadata["annotations"].as_object()) {
    const std::string& v = m.value.as_string();
    if (starts_with(m.key, kPrefix) && !v.empty() && v != "runtime/default" && !starts_with(v, "localhost/")) annotations.insert(m.key + "=" + json::quote(v));
  }
  if (!pod && bad.empty() && annotations.empty()) return;
  Names list(values.begin(), values.end());
  list.insert(list.end(), annotations.begin(), annotations.end());
  out.push_back({plural("forbidden AppArmor profile", list.size()),
                 setters(pod, bad, annotations.empty() ? "" : plural("annotation", annotations.size())) + " must not set AppArmor profile type to " + quoted(list)});
}

const std::set<std::string, std::less<>> kDefaultCapabilities{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
                                                              "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"};

void capabilities_baseline(const Pod& p, Found& out) {
  std::set<std::string> wrong;
  Names bad = containers_with(p, [&](const Value& c) {
    bool any = false;
    for (auto& a : c["securityContext"]["capabilities"]["add"].as_array())
      if (!kDefaultCapabilities.count(a.as_string())) any = true, wrong.insert(a.as_string());
    return any;
  });
  if (!bad.empty()) out.push_back({"non-default capabilities", containers(bad) + " must not include " + quoted(wrong) + " in securityContext.capabilities.add"});
}

void capabilities_restricted(const Pod& p, Found& out) {
  if (p.minor >= 25 && p.spec["os"]["name"].as_string() == "windows") return;
  std::set<std::string> wrong;
  Names keeps = containers_with(p, [](const Value& c) {
    for (auto& d : c["securityContext"]["capabilities"]["drop"].as_array())
      if (d.as_string() == "ALL") return false;
    return true;
  });
  Names adds = containers_with(p, [&](const Value& c) {
    bool any = false;
    for (auto& a : c["securityContext"]["capabilities"]["add"].as_array())
      if (a.as_string() != "NET_BIND_SERVICE") any = true, wrong.insert(a.as_string());
    return any;
  });
  Names parts;
  if (!keeps.empty()) parts.push_back(containers(keeps) + " must set securityContext.capabilities.drop=[\"ALL\"]");
  if (!adds.empty()) parts.push_back(containers(adds) + " must not include " + quoted(wrong) + " in securityContext.capabilities.add");
  if (!parts.empty()) out.push_back({"unrestricted capabilities", join(parts, "; ")});
}

void host_namespaces(const Pod& p, Found& out) {
  Names parts;
  for (std::string_view f : {"hostNetwork", "hostPID", "hostIPC"})
    if (p.spec[f].as_bool()) parts.push_back(std::string(f) + "=true");
  if (!parts.empty()) out.push_back({"host namespaces", join(parts, ", ")});
}

void host_path_volumes(const Pod& p, Found& out) {
  Names bad;
  for (auto& v : p.spec["volumes"].as_array())
    if (v["hostPath"].is_object()) bad.push_back(v["name"].as_string());
  if (!bad.empty()) out.push_back({"hostPath volumes", plural("volume", bad.size()) + " " + quoted(bad)});
}

void host_ports(const Pod& p, Found& out) {
  std::set<std::string> ports;
  Names bad = containers_with(p, [&](const Value& c) {
    bool any = false;
    for (auto& port : c["ports"].as_array())
      if (port["hostPort"].as_int() != 0) any = true, ports.insert(std::to_string(port["hostPort"].as_int()));
    return any;
  });
  if (bad.empty()) return;
  out.push_back({"hostPort", containers(bad) + (bad.size() == 1 ? " uses " : " use ") + plural("hostPort", ports.size()) + " " + join(Names(ports.begin(), ports.end()), ", ")});
}

void host_probes(const Pod& p, Found& out) {
  std::set<std::string> hosts, bad;
  each(p, [&](const Value& c) {
    for (const Value* handler : {&c["livenessProbe"], &c["readinessProbe"], &c["startupProbe"], &c["lifecycle"]["postStart"], &c["lifecycle"]["preStop"]})
      for (std::string_view kind : {"httpGet", "tcpSocket"})
        if (const std::string& host = (*handler)[kind]["host"].as_string(); !host.empty()) {
          hosts.insert(host);
          bad.insert(c["name"].as_string());
        }
  });
  if (bad.empty()) return;
  out.push_back({"probe or lifecycle host",
                 containers(Names(bad.begin(), bad.end())) + (bad.size() == 1 ? " uses " : " use ") + plural("probe or lifecycle host", hosts.size()) + " " + quoted(hosts)});
}

void privileged(const Pod& p, Found& out) {
  Names bad = containers_with(p, [](const Value& c) { return c["securityContext"]["privileged"].as_bool(); });
  if (!bad.empty()) out.push_back({"privileged", containers(bad) + " must not set securityContext.privileged=true"});
}

void proc_mount(const Pod& p, Found& out) {
  if (in_user_namespace(p)) return;
  std::set<std::string> types;
  Names bad = containers_with(p, [&](const Value& c) {
    const Value& m = c["securityContext"]["procMount"];
    if (!m.is_string() || m.as_string() == "Default") return false;
    types.insert(m.as_string());
    return true;
  });
  if (!bad.empty()) out.push_back({"procMount", containers(bad) + " must not set securityContext.procMount to " + quoted(types)});
}

void restricted_volumes(const Pod& p, Found& out) {
  static constexpr std::string_view kAllowed[] = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"};
  static constexpr std::string_view kKnown[] = {"hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi",
                                                "glusterfs", "rbd", "flexVolume", "cinder", "cephfs", "flocker",
                                                "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk",
                                                "portworxVolume", "scaleIO", "storageos"};
  Names bad;
  std::set<std::string> types;
  for (auto& v : p.spec["volumes"].as_array()) {
    auto has = [&](std::string_view t) { return v[t].is_object(); };
    if (std::any_of(std::begin(kAllowed), std::end(kAllowed), has)) continue;
    auto known = std::find_if(std::begin(kKnown), std::end(kKnown), has);
    types.insert(known == std::end(kKnown) ? "unknown" : std::string(*known));
    bad.push_back(v["name"].as_string());
  }
  if (bad.empty()) return;
  out.push_back({"restricted volume types", plural("volume", bad.size()) + " " + quoted(bad) + (bad.size() == 1 ? " uses " : " use ") +
                                                plural("restricted volume type", types.size()) + " " + quoted(types)});
}

void run_as_non_root(const Pod& p, Found& out) {
  if (in_user_namespace(p)) return;
  const Value& whole = p.context()["runAsNonRoot"];
  bool pod_bad = whole.is_bool() && !whole.as_bool(), pod_good = whole.as_bool();
  Names says = containers_with(p, [](const Value& c) {
    const Value& v = c["securityContext"]["runAsNonRoot"];
    return v.is_bool() && !v.as_bool();
  });
  Names silent = containers_with(p, [&](const Value& c) { return !c["securityContext"]["runAsNonRoot"].is_bool() && !pod_good; });
  if (pod_bad || !says.empty()) out.push_back({"runAsNonRoot != true", setters(pod_bad, says) + " must not set securityContext.runAsNonRoot=false"});
  else if (!silent.empty()) out.push_back({"runAsNonRoot != true", "pod or " + containers(silent) + " must set securityContext.runAsNonRoot=true"});
}

void run_as_user(const Pod& p, Found& out) {
  if (in_user_namespace(p)) return;
  auto root = [](const Value& context) { return context["runAsUser"].is_int() && context["runAsUser"].as_int() == 0; };
  bool pod = root(p.context());
  Names bad = containers_with(p, [&](const Value& c) { return root(c["securityContext"]); });
  if (pod || !bad.empty()) out.push_back({"runAsUser=0", setters(pod, bad) + " must not set runAsUser=0"});
}

void se_linux(const Pod& p, Found& out) {
  std::set<std::string> types;
  bool user = false, role = false;
  auto wrong = [&](const Value& context) {
    const Value& o = context["seLinuxOptions"];
    const std::string& t = o["type"].as_string();
    bool ok = true;
    bool allowed = t.empty() || t == "container_t" || t == "container_init_t" || t == "container_kvm_t" || (p.minor >= 31 && t == "container_engine_t");
    if (!allowed) ok = false, types.insert(t);
    if (!o["user"].as_string().empty()) ok = false, user = true;
    if (!o["role"].as_string().empty()) ok = false, role = true;
    return !ok;
  };
  bool pod = wrong(p.context());
  Names bad = containers_with(p, [&](const Value& c) { return wrong(c["securityContext"]); });
  if (!pod && bad.empty()) return;
  Names data;
  if (!types.empty()) data.push_back(plural("type", types.size()) + " " + quoted(types));
  if (user) data.push_back("user may not be set");
  if (role) data.push_back("role may not be set");
  out.push_back({"seLinuxOptions", setters(pod, bad) + " set forbidden securityContext.seLinuxOptions: " + join(data, "; ")});
}

// Before 1.19 seccomp was asked for by annotations.
void seccomp_annotations(const Pod& p, Found& out) {
  std::set<std::string> wrong;
  auto look = [&](const std::string& key) {
    const Value* v = p.metadata["annotations"].find(key);
    if (!v) return;
    const std::string& s = v->as_string();
    if (s != "runtime/default" && s != "docker/default" && !starts_with(s, "localhost/")) wrong.insert(key + "=" + json::quote(s));
  };
  look("seccomp.security.alpha.kubernetes.io/pod");
  each(p, [&](const Value& c) { look("container.seccomp.security.alpha.kubernetes.io/" + c["name"].as_string()); });
  if (!wrong.empty()) out.push_back({"seccompProfile", "forbidden " + plural("annotation", wrong.size()) + " " + join(Names(wrong.begin(), wrong.end()), ", ")});
}

void seccomp(const Pod& p, Found& out, bool must_set) {
  std::set<std::string> values;
  auto wrong = [&](const Value& context) {
    const Value& s = context["seccompProfile"];
    if (!s.is_object()) return false;
    const std::string& t = s["type"].as_string();
    if (t == "RuntimeDefault" || t == "Localhost") return false;
    values.insert(t);
    return true;
  };
  bool pod = wrong(p.context()), pod_good = p.context()["seccompProfile"].is_object() && !pod;
  Names bad = containers_with(p, [&](const Value& c) { return wrong(c["securityContext"]); });
  if (pod || !bad.empty()) {
    out.push_back({"seccompProfile", setters(pod, bad) + " must not set securityContext.seccompProfile.type to " + quoted(values)});
    return;
  }
  if (!must_set || pod_good) return;
  Names silent = containers_with(p, [](const Value& c) { return !c["securityContext"]["seccompProfile"].is_object(); });
  if (!silent.empty())
    out.push_back({"seccompProfile", "pod or " + containers(silent) + " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""});
}
void seccomp_baseline(const Pod& p, Found& out) {
  if (p.minor < 19) seccomp_annotations(p, out);
  else seccomp(p, out, false);
}
void seccomp_restricted(const Pod& p, Found& out) {
  if (p.minor >= 25 && p.spec["os"]["name"].as_string() == "windows") return;
  seccomp(p, out, true);
}

void sysctls(const Pod& p, Found& out) {
  struct Safe {
    std::string_view name;
    int since;
  };
  static constexpr Safe kSafe[] = {{"kernel.shm_rmid_forced", 0}, {"net.ipv4.ip_local_port_range", 0}, {"net.ipv4.tcp_syncookies", 0}, {"net.ipv4.ping_group_range", 0}, {"net.ipv4.ip_unprivileged_port_start", 0}, {"net.ipv4.ip_local_reserved_ports", 27}, {"net.ipv4.tcp_keepalive_time", 29}, {"net.ipv4.tcp_fin_timeout", 29}, {"net.ipv4.tcp_keepalive_intvl", 29}, {"net.ipv4.tcp_keepalive_probes", 29}, {"net.ipv4.tcp_rmem", 32}, {"net.ipv4.tcp_wmem", 32}};
  Names bad;
  for (auto& s : p.context()["sysctls"].as_array()) {
    const std::string& name = s["name"].as_string();
    if (std::none_of(std::begin(kSafe), std::end(kSafe), [&](const Safe& x) { return x.name == name && p.minor >= x.since; })) bad.push_back(name);
  }
  if (!bad.empty()) out.push_back({"forbidden sysctls", join(bad, ", ")});
}

void windows_host_process(const Pod& p, Found& out) {
  auto host = [](const Value& context) { return context["windowsOptions"]["hostProcess"].as_bool(); };
  bool pod = host(p.context());
  Names bad = containers_with(p, [&](const Value& c) { return host(c["securityContext"]); });
  if (pod || !bad.empty()) out.push_back({"hostProcess", setters(pod, bad) + " must not set securityContext.windowsOptions.hostProcess=true"});
}

struct Check {
  Level level;
  int since;                         // minor version
  int replaced_by_restricted_since;  // a restricted check says the same and more; -1: none
  void (*run)(const Pod&, Found&);
};
// In the order in which upstream reports.
constexpr Check kChecks[] = {
    {Level::kRestricted, 8, -1, allow_privilege_escalation},
    {Level::kBaseline, 0, -1, app_armor},
    {Level::kBaseline, 0, 22, capabilities_baseline},
    {Level::kRestricted, 22, -1, capabilities_restricted},
    {Level::kBaseline, 0, -1, host_namespaces},
    {Level::kBaseline, 0, 0, host_path_volumes},
    {Level::kBaseline, 0, -1, host_ports},
    {Level::kBaseline, 34, -1, host_probes},
    {Level::kBaseline, 0, -1, privileged},
    {Level::kBaseline, 0, -1, proc_mount},
    {Level::kRestricted, 0, -1, restricted_volumes},
    {Level::kRestricted, 0, -1, run_as_non_root},
    {Level::kRestricted, 23, -1, run_as_user},
    {Level::kBaseline, 0, -1, se_linux},
    {Level::kBaseline, 0, 19, seccomp_baseline},
    {Level::kRestricted, 19, -1, seccomp_restricted},
    {Level::kBaseline, 0, -1, sysctls},
    {Level::kBaseline, 0, -1, windows_host_process},
};

}  // namespace

std::vector<Violation> check(const LevelVersion& v, const Value& metadata, const Value& spec) {
  Found out;
  if (v.level == Level::kPrivileged) return out;
  Pod p{metadata, spec, v.minor};
  bool restricted = v.level == Level::kRestricted;
  // Baseline's findings come first.
  for (Level level : {Level::kBaseline, Level::kRestricted})
    for (auto& c : kChecks) {
      if (c.level != level || v.minor < c.since || (level == Level::kRestricted && !restricted)) continue;
      if (restricted && c.replaced_by_restricted_since >= 0 && v.minor >= c.replaced_by_restricted_since) continue;
      c.run(p, out);
    }
  return out;
}

}  // namespace caravel::apiserver::pod_security
