// Security contexts of pods and containers, the rules of operating systems, and the annotations that came before fields.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr int64_t kIdMax = 2147483647;
constexpr size_t kSysctlMax = 253, kProfilePathMax = 4095, kCredentialSpecMax = 64 * 1024, kUserDomainMax = 256, kUserNameMax = 104, kNetBiosMax = 15;
constexpr std::string_view kSeccompPod = "seccomp.security.alpha.kubernetes.io/pod", kSeccompContainer = "container.seccomp.security.alpha.kubernetes.io/",
                           kAppArmor = "container.apparmor.security.beta.kubernetes.io/", kMirror = "kubernetes.io/config.mirror",
                           kDeletionCost = "controller.kubernetes.io/pod-deletion-cost", kTolerations = "scheduler.alpha.kubernetes.io/tolerations";

void user_or_group(const Value& id, const FieldPath& p, FieldErrors& e) {
  if (id.is_number() && (id.as_int() < 0 || id.as_int() > kIdMax)) e.push_back(invalid_error(p, id, "must be between 0 and 2147483647, inclusive"));
}

bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// Segments of [a-z0-9]([-_a-z0-9]*[a-z0-9])?, with dots or slashes between.
bool sysctl_name(std::string_view s) {
  if (s.size() > kSysctlMax) return false;
  bool edge = true;  // at the beginning of a segment
  for (size_t i = 0; i < s.size(); ++i) {
    const bool last = i + 1 == s.size() || s[i + 1] == '.' || s[i + 1] == '/';
    if (s[i] == '.' || s[i] == '/') {
      if (edge) return false;
      edge = true;
      continue;
    }
    if (!lower_alnum(s[i]) && (edge || last || (s[i] != '-' && s[i] != '_'))) return false;
    edge = false;
  }
  return !edge;
}

// The namespace of the kernel that a setting belongs to.
enum class Kernel { kNone,
                    kNet,
                    kIpc };
Kernel kernel_namespace(std::string name) {
  // With a slash first it is written the other way round.
  const size_t first = name.find_first_of("./");
  if (first != name.npos && name[first] == '/')
    for (char& c : name) c = c == '/' ? '.' : c == '.' ? '/'
                                                       : c;
  name = name.substr(0, name.find('*'));
  static constexpr std::string_view kIpcNames[] = {"kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced",
                                                   "kernel.shm", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.msg"};
  if (std::find(std::begin(kIpcNames), std::end(kIpcNames), name) != std::end(kIpcNames) || name.starts_with("fs.mqueue.")) return Kernel::kIpc;
  return name.starts_with("net.") ? Kernel::kNet : Kernel::kNone;
}

void sysctls(const Value& spec, const Value& list, const FieldPath& p, FieldErrors& e) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& name = list.at(i)["name"].as_string();
    const FieldPath at = p.index(i).child("name");
    if (name.empty())
      e.push_back(required_error(at));
    else if (!sysctl_name(name))
      e.push_back(invalid_error(at, name, "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"));
    else if (seen.count(name))
      e.push_back(duplicate_error(at, name));
    seen.insert(name);
    const bool net = spec["hostNetwork"].as_bool(), ipc = spec["hostIPC"].as_bool();
    if (!net && !ipc) continue;
    const Kernel ns = kernel_namespace(name);
    if (net && ns == Kernel::kNet) e.push_back(invalid_error(at, name, "may not be specified when 'hostNetwork' is true"));
    else if (ipc && ns == Kernel::kIpc) e.push_back(invalid_error(at, name, "may not be specified when 'hostIPC' is true"));
  }
}

void seccomp_profile(const Value& s, const FieldPath& p, FieldErrors& e) {
  if (!s.is_object()) return;
  const Value &type = s["type"], &path = s["localhostProfile"];
  if (type.as_string().empty()) e.push_back(required_error(p.child("type"), "type is required when seccompProfile is set"));
  else supported(type, {"Localhost", "RuntimeDefault", "Unconfined"}, p.child("type"), e);
  if (type.as_string() != "Localhost") {
    if (!path.is_null()) e.push_back(invalid_error(p.child("localhostProfile"), s, "can only be set when seccomp type is Localhost"));
  } else if (path.is_null()) {
    e.push_back(required_error(p.child("localhostProfile"), "must be set when seccomp type is Localhost"));
  } else {
    descending_path(path.as_string(), p.child("localhostProfile"), e);
  }
}

void app_armor_profile(const Value& s, const FieldPath& p, FieldErrors& e) {
  if (!s.is_object()) return;
  const std::string& type = s["type"].as_string();
  const Value& profile = s["localhostProfile"];
  const FieldPath at = p.child("localhostProfile");
  if (type == "Localhost") {
    const std::string& name = profile.as_string();
    if (trim(name).size() != name.size()) e.push_back(invalid_error(at, name, "must not be padded with whitespace"));
    else if (name.empty()) e.push_back(required_error(at, "must be set when AppArmor type is Localhost"));
    if (name.size() > kProfilePathMax) e.push_back(too_long(at, kProfilePathMax));
  } else if (type.empty()) {
    e.push_back(required_error(p.child("type"), "type is required when appArmorProfile is set"));
  } else if (type == "RuntimeDefault" || type == "Unconfined") {
    if (!profile.is_null()) e.push_back(invalid_error(at, profile, "can only be set when AppArmor type is Localhost"));
  } else {
    supported(s["type"], {"Localhost", "RuntimeDefault", "Unconfined"}, p.child("type"), e);
  }
}

bool domain_label(std::string_view s) {
  auto alnum = [](char c) { return lower_alnum(c) || (c >= 'A' && c <= 'Z'); };
  return !s.empty() && s.size() <= 63 && alnum(s.front()) && alnum(s.back()) && std::all_of(s.begin(), s.end(), [&](char c) { return alnum(c) || c == '-'; });
}
bool windows_domain(const std::string& s) {
  if (!s.empty() && s.size() <= kNetBiosMax && s[0] != '.' && s.find_first_of("\\/:*?\"<>|") == s.npos) return true;
  const auto labels = split(s, '.');
  return std::all_of(labels.begin(), labels.end(), [](const std::string& l) { return domain_label(l); });
}

// DOMAIN\user
void run_as_user_name(const Value& v, const FieldPath& p, FieldErrors& e) {
  const std::string& name = v.as_string();
  auto bad = [&](std::string_view why) { e.push_back(invalid_error(p, v, why)); };
  if (name.empty()) return bad("runAsUserName cannot be an empty string");
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return bad("runAsUserName cannot contain control characters");
  const auto parts = split(name, '\\');
  if (parts.size() > 2) return bad("runAsUserName cannot contain more than one backslash");
  const std::string& user = parts.back();
  if (parts.size() == 2 && parts[0].size() >= kUserDomainMax) bad("runAsUserName's Domain length must be under 256 characters");
  if (parts.size() == 2 && !windows_domain(parts[0])) bad("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
  if (user.empty()) bad("runAsUserName's User cannot be empty");
  else if (user.size() > kUserNameMax) bad("runAsUserName's User length must not be longer than 104 characters");
  if (!user.empty() && user.find_first_not_of(". ") == user.npos) bad("runAsUserName's User cannot contain only periods or spaces");
  if (user.find_first_of("\"/\\:;|=,+*?<>@[]") != user.npos) bad("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
}

void windows_options(const Value& w, const FieldPath& p, FieldErrors& e) {
  if (!w.is_object()) return;
  if (const Value& name = w["gmsaCredentialSpecName"]; name.is_string()) text_must(check_dns1123_subdomain, name, p.child("gmsaCredentialSpecName"), e);
  if (const Value& spec = w["gmsaCredentialSpec"]; spec.is_string()) {
    if (spec.as_string().empty()) e.push_back(invalid_error(p.child("gmsaCredentialSpec"), spec, "gmsaCredentialSpec cannot be an empty string"));
    else if (spec.as_string().size() > kCredentialSpecMax) e.push_back(invalid_error(p.child("gmsaCredentialSpec"), spec, "gmsaCredentialSpec size must be under 64 KiB"));
  }
  if (w["runAsUserName"].is_string()) run_as_user_name(w["runAsUserName"], p.child("runAsUserName"), e);
}

bool has_container(const Value& spec, std::string_view name) {
  bool found = false;
  each_container(spec, [&](const Value& c, std::string_view, size_t) { found = found || c["name"].as_string() == name; });
  return found;
}

// A profile as annotations wrote it: runtime/default, unconfined, localhost/...
void seccomp_text(const std::string& s, const FieldPath& p, FieldErrors& e) {
  if (s == "runtime/default" || s == "docker/default" || s == "unconfined") return;
  if (s.starts_with("localhost/")) descending_path(s.substr(10), p, e);
  else e.push_back(invalid_error(p, s, "must be a valid seccomp profile"));
}

bool int32_text(std::string_view s) {
  const bool minus = s.starts_with('-');
  std::string_view digits = s.substr(minus ? 1 : 0);
  if (digits.empty() || digits.size() > 10 || (!minus && digits[0] == '0' && digits.size() > 1)) return false;
  int64_t n = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return false;
    n = n * 10 + (c - '0');
  }
  return n <= (minus ? int64_t{2147483648} : int64_t{2147483647});
}

// Whether an annotation names the profile that the field does; `what` is "seccomp" or "apparmor".
void profile_matches(const std::string& annotation, const Value& profile, std::string_view what, const FieldPath& p, FieldErrors& e) {
  const std::string& type = profile["type"].as_string();
  bool same_type = true, same_path = true;
  if (type == "Unconfined") same_type = annotation == "unconfined";
  else if (type == "RuntimeDefault") same_type = annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default");
  else if (type == "Localhost") {
    same_type = annotation.starts_with("localhost/");
    same_path = same_type && profile["localhostProfile"].is_string() && annotation.substr(10) == profile["localhostProfile"].as_string();
  }
  if (!same_type) e.push_back(forbidden_error(p.child("type"), std::string(what) + " type in annotation and field must match"));
  else if (!same_path) e.push_back(forbidden_error(p.child("localhostProfile"), std::string(what) + " profile in annotation and field must match"));
}

}  // namespace

void pod_annotations(const Value& annotations, const Value& spec, const FieldPath& p, FieldErrors& e) {
  for (auto& m : annotations.as_object()) {
    const std::string& text = m.value.as_string();
    if (m.key == kMirror) {
      if (spec["nodeName"].as_string().empty()) e.push_back(invalid_error(p.key(m.key), text, "must set spec.nodeName if mirror pod annotation is set"));
    } else if (m.key == kDeletionCost) {
      if (!int32_text(text)) e.push_back(invalid_error(p.key(m.key), text, "must be a 32bit integer"));
    } else if (m.key == kTolerations && !text.empty()) {
      auto list = json::parse(text);
      if (!list.ok()) e.push_back(invalid_error(p, m.key, list.error().message));
      else tolerations(*list, p.child(m.key), e);
    } else if (m.key == kSeccompPod || m.key.starts_with(kSeccompContainer)) {
      seccomp_text(text, p.child(m.key), e);
    } else if (m.key.starts_with(kAppArmor)) {
      const std::string container = m.key.substr(kAppArmor.size());
      if (!has_container(spec, container)) e.push_back(invalid_error(p.key(m.key), container, "container not found"));
      if (!text.empty() && text != "runtime/default" && text != "unconfined" && !text.starts_with("localhost/"))
        e.push_back(invalid_error(p.key(m.key), text, "invalid AppArmor profile name: " + json::quote(text)));
    }
  }
}

void profiles_match_annotations(const Value& annotations, const Value& spec, const FieldPath& p, FieldErrors& e) {
  const Value& context = spec["securityContext"];
  if (const Value* a = annotations.find(kSeccompPod); a && context["seccompProfile"].is_object())
    profile_matches(a->as_string(), context["seccompProfile"], "seccomp", p.child("securityContext").child("seccompProfile"), e);
  auto at = [&](std::string_view list, size_t i, std::string_view member) { return p.child(list).index(i).child("securityContext").child(member); };
  each_container(spec, [&](const Value& c, std::string_view list, size_t i) {
    const Value& own = c["securityContext"]["seccompProfile"];
    if (!own.is_object()) return;
    if (const Value* a = annotations.find(std::string(kSeccompContainer) + c["name"].as_string())) profile_matches(a->as_string(), own, "seccomp", at(list, i, "seccompProfile"), e);
  });
  if (spec["os"]["name"].as_string() == "windows") return;
  each_container(spec, [&](const Value& c, std::string_view list, size_t i) {
    const Value& own = c["securityContext"]["appArmorProfile"];
    const Value& profile = own.is_object() ? own : context["appArmorProfile"];
    if (!profile.is_object()) return;
    if (const Value* a = annotations.find(std::string(kAppArmor) + c["name"].as_string())) profile_matches(a->as_string(), profile, "apparmor", at(list, i, "appArmorProfile"), e);
  });
}

void pod_security(const PodParts& pod, const FieldPath& spec_path, FieldErrors& e) {
  const Value& s = pod.spec["securityContext"];
  if (pod.spec["shareProcessNamespace"].as_bool() && pod.spec["hostPID"].as_bool())
    e.push_back(invalid_error(spec_path.child("securityContext").child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled"));
  if (s.size() == 0) return;
  const FieldPath p = spec_path.child("securityContext");
  for (std::string_view id : {"fsGroup", "runAsUser", "runAsGroup"}) user_or_group(s[id], p.child(id), e);
  for (size_t i = 0; i < s["supplementalGroups"].size(); ++i) user_or_group(s["supplementalGroups"].at(i), p.child("supplementalGroups").index(i), e);
  if (s["sysctls"].size()) sysctls(pod.spec, s["sysctls"], p.child("sysctls"), e);
  if (const Value& v = s["fsGroupChangePolicy"]; v.is_string()) supported(v, {"Always", "OnRootMismatch"}, p.child("fsGroupChangePolicy"), e);
  seccomp_profile(s["seccompProfile"], p.child("seccompProfile"), e);
  windows_options(s["windowsOptions"], p.child("windowsOptions"), e);
  app_armor_profile(s["appArmorProfile"], p.child("appArmorProfile"), e);
  if (const Value& v = s["supplementalGroupsPolicy"]; v.is_string()) supported(v, {"Merge", "Strict"}, p.child("supplementalGroupsPolicy"), e);
  // MountOption is behind a feature gate that is off by default.
  if (const Value& v = s["seLinuxChangePolicy"]; v.is_string()) supported(v, {std::string_view("Recursive")}, p.child("seLinuxChangePolicy"), e);
}

void container_security(const Value& s, bool host_users, const FieldPath& p, FieldErrors& e) {
  for (std::string_view id : {"runAsUser", "runAsGroup"})
    if (s[id].is_number()) user_or_group(s[id], p.child(id), e);
  if (const Value& mount = s["procMount"]; mount.is_string()) {
    supported(mount, {"Default", "Unmasked"}, p.child("procMount"), e);
    if (host_users && mount.as_string() == "Unmasked") e.push_back(invalid_error(p.child("procMount"), mount, "`hostUsers` must be false to use `Unmasked`"));
  }
  seccomp_profile(s["seccompProfile"], p.child("seccompProfile"), e);
  if (const Value& may = s["allowPrivilegeEscalation"]; may.is_bool() && !may.as_bool()) {
    if (s["privileged"].as_bool()) e.push_back(invalid_error(p, s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
    for (const Value& capability : s["capabilities"]["add"].as_array())
      if (capability.as_string() == "CAP_SYS_ADMIN") e.push_back(invalid_error(p, s, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"));
  }
  windows_options(s["windowsOptions"], p.child("windowsOptions"), e);
  app_armor_profile(s["appArmorProfile"], p.child("appArmorProfile"), e);
}

void host_process(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const Value& of_pod = pod.spec["securityContext"]["windowsOptions"]["hostProcess"];
  int all = 0, host = 0;
  each_container(pod.spec, [&](const Value& c, std::string_view list, size_t i) {
    ++all;
    const Value& own = c["securityContext"]["windowsOptions"]["hostProcess"];
    if (of_pod.is_bool() && own.is_bool() && of_pod.as_bool() != own.as_bool())
      e.push_back(invalid_error(p.child(list).index(i).child("securityContext").child("windowsOptions").child("hostProcess"), own,
                                std::string("pod hostProcess value must be identical if both are specified, was ") + (of_pod.as_bool() ? "true" : "false")));
    host += own.is_bool() ? own.as_bool() : of_pod.as_bool();
  });
  if (host == 0) return;
  if (host != all) e.push_back(invalid_error(p, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers"));
  if (!pod.spec["hostNetwork"].as_bool()) e.push_back(invalid_error(p.child("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers"));
}

void pod_os(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const Value& spec = pod.spec;
  const Value& name = spec["os"]["name"];
  if (name.as_string().empty()) return e.push_back(required_error(p.child("os").child("name")));
  if (name.as_string() != "linux" && name.as_string() != "windows") return supported(name, {"linux", "windows"}, p.child("os"), e);
  const FieldPath context = p.child("securityContext");
  if (name.as_string() == "linux") {
    constexpr std::string_view kWhy = "windows options cannot be set for a linux pod";
    if (!spec["securityContext"]["windowsOptions"].is_null()) e.push_back(forbidden_error(context.child("windowsOptions"), kWhy));
    each_container(spec, [&](const Value& c, std::string_view list, size_t i) {
      if (!c["securityContext"]["windowsOptions"].is_null()) e.push_back(forbidden_error(p.child(list).index(i).child("securityContext").child("windowsOptions"), kWhy));
    });
    return;
  }
  constexpr std::string_view kWhy = "cannot be set for a windows pod";
  // A flag that is false, and a list that is empty, is as good as absent where upstream has no pointer.
  for (std::string_view f : {"hostUsers", "shareProcessNamespace"})
    if (!spec[f].is_null()) e.push_back(forbidden_error(p.child(f), kWhy));
  for (std::string_view f : {"hostPID", "hostIPC"})
    if (spec[f].as_bool()) e.push_back(forbidden_error(p.child(f), kWhy));
  const Value& s = spec["securityContext"];
  for (std::string_view f : {"appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "runAsUser", "runAsGroup", "supplementalGroups",
                             "supplementalGroupsPolicy", "seLinuxChangePolicy"})
    if (!s[f].is_null()) e.push_back(forbidden_error(context.child(f), kWhy));
  if (s["sysctls"].size()) e.push_back(forbidden_error(context.child("sysctls"), kWhy));
  each_container(spec, [&](const Value& c, std::string_view list, size_t i) {
    for (std::string_view f : {"appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged", "allowPrivilegeEscalation", "procMount",
                               "runAsUser", "runAsGroup"})
      if (!c["securityContext"][f].is_null()) e.push_back(forbidden_error(p.child(list).index(i).child("securityContext").child(f), kWhy));
  });
}

}  // namespace caravel::kube::check
