// PodSecurity: the plugin that applies the Pod Security Standards to pods, warns about workloads' templates
// and about pods that a namespace's new level would not admit.
#include "apiserver/admission/pod_security.h"

#include <algorithm>
#include <map>

#include "apiserver/admission/builtin.h"
#include "apiserver/audit.h"
#include "apiserver/object_meta.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace pod_security {

using json::Value;

namespace {

std::string_view name_of(Level l) { return l == Level::kPrivileged ? "privileged" : l == Level::kBaseline ? "baseline"
                                                                                                          : "restricted"; }

bool parse_level(const std::string& s, Level* out) {
  for (Level l : {Level::kPrivileged, Level::kBaseline, Level::kRestricted})
    if (s == name_of(l)) {
      *out = l;
      return true;
    }
  *out = Level::kRestricted;
  return false;
}

bool parse_version(const std::string& s, int* out) {
  *out = kLatest;
  if (s == "latest") return true;
  if (s.compare(0, 3, "v1.") != 0) return false;
  std::string digits = s.substr(3);
  bool plain = !digits.empty() && digits.size() < 6 && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!plain || (digits.size() > 1 && digits[0] == '0')) return false;
  *out = static_cast<int>(*parse_int(digits));
  return true;
}

}  // namespace

std::string text(const LevelVersion& v) { return std::string(name_of(v.level)) + ":" + (v.minor == kLatest ? "latest" : "v1." + std::to_string(v.minor)); }

Policy policy_of(const Value& labels, std::vector<std::string>* problems) {
  Policy p;
  auto read = [&](std::string_view mode, LevelVersion* to, bool fail_open) {
    std::string key = "pod-security.kubernetes.io/" + std::string(mode);
    auto complain = [&](const std::string& k, const std::string& value, std::string_view why) {
      if (problems) problems->push_back("metadata.labels[" + k + "]: Invalid value: " + json::quote(value) + ": " + std::string(why));
    };
    if (const Value* v = labels.find(key); v && !parse_level(v->as_string(), &to->level)) {
      complain(key, v->as_string(), "must be one of privileged, baseline, restricted");
      if (fail_open) to->level = Level::kPrivileged;
    }
    key += "-version";
    if (const Value* v = labels.find(key); v && !parse_version(v->as_string(), &to->minor)) complain(key, v->as_string(), "must be \"latest\" or \"v1.x\"");
  };
  read("enforce", &p.enforce, false);
  read("audit", &p.audit, true);
  read("warn", &p.warn, true);
  // What is enforced on pods is also told to those who write workloads, unless they chose otherwise.
  if (!labels.find("pod-security.kubernetes.io/warn") && p.enforce.level > p.warn.level) {
    p.warn.level = p.enforce.level;
    if (!labels.find("pod-security.kubernetes.io/warn-version")) p.warn.minor = p.enforce.minor;
  }
  return p;
}

std::string details(const std::vector<Violation>& v) {
  std::vector<std::string> parts;
  for (auto& x : v) parts.push_back(x.detail.empty() ? x.reason : x.reason + " (" + x.detail + ")");
  return join(parts, ", ");
}
std::string reasons(const std::vector<Violation>& v) {
  std::vector<std::string> parts;
  for (auto& x : v) parts.push_back(x.reason);
  return join(parts, ", ");
}

bool is_significant(const Value& pod, const Value& old) {
  const Value& notes = pod["metadata"]["annotations"];
  const Value& old_notes = old["metadata"]["annotations"];
  auto note_changed = [&](const std::string& key) { return notes[key].as_string() != old_notes[key].as_string(); };
  if (note_changed("seccomp.security.alpha.kubernetes.io/pod")) return true;
  auto container_changed = [&](const Value& c, const Value& o) {
    return c["image"].as_string() != o["image"].as_string() || note_changed("container.seccomp.security.alpha.kubernetes.io/" + c["name"].as_string());
  };
  for (std::string_view list : {"containers", "initContainers"}) {
    const Value& now = pod["spec"][list];
    const Value& was = old["spec"][list];
    if (now.size() != was.size()) return true;
    for (size_t i = 0; i < now.size(); ++i)
      if (container_changed(now.at(i), was.at(i))) return true;
  }
  for (auto& c : pod["spec"]["ephemeralContainers"].as_array()) {
    const json::Array& was = old["spec"]["ephemeralContainers"].as_array();
    auto it = std::find_if(was.begin(), was.end(), [&](const Value& o) { return o["name"] == c["name"]; });
    if (it == was.end() || container_changed(c, *it)) return true;
  }
  return false;
}

}  // namespace pod_security

namespace {

using json::Value;
namespace ps = pod_security;

// Pods of a namespace that are looked at when its level changes.
constexpr size_t kPodsChecked = 3000;

class PodSecurity final : public AdmissionPlugin {
 public:
  explicit PodSecurity(Core& core) : core_(&core) {}
  std::string_view name() const override { return "PodSecurity"; }
  Status validate(const AdmissionRequest& r) override {
    if ((r.operation != Operation::kCreate && r.operation != Operation::kUpdate) || !r.object) return ok();
    if (r.is("", "namespaces")) return r.subresource.empty() ? check_namespace(r) : ok();
    if (r.is("", "pods")) {
      // Those subresources that cannot change what the standards look at.
      for (std::string_view s : {"status", "binding", "eviction", "exec", "attach", "log", "portforward", "proxy"})
        if (r.subresource == s) return ok();
      if (r.old && !ps::is_significant(*r.object, *r.old)) return ok();
      return check(r, std::as_const(*r.object)["metadata"], std::as_const(*r.object)["spec"], true);
    }
    if (!r.subresource.empty()) return ok();
    const Value& spec = std::as_const(*r.object)["spec"];
    const Value* t = nullptr;
    if (r.is("", "replicationcontrollers") || r.is("batch", "jobs")) t = &spec["template"];
    else if (r.is("", "podtemplates")) t = &std::as_const(*r.object)["template"];
    else if (r.is("batch", "cronjobs")) t = &spec["jobTemplate"]["spec"]["template"];
    else if (r.type->resource.group == "apps" && r.type->resource.plural != "controllerrevisions") t = &spec["template"];
    if (!t || !t->is_object()) return ok();
    return check(r, (*t)["metadata"], (*t)["spec"], false);
  }

 private:
  ps::Policy policy(const std::string& ns) const {
    ServedTypePtr t = core_->types.find("", "v1", "namespaces");
    ObjectPtr o = t ? t->storage->cache->get("", ns) : nullptr;
    if (!o) return {};
    Value labels = Value::object();
    bool any = false;
    for (auto& [k, v] : o->labels)
      if (k.compare(0, 27, "pod-security.kubernetes.io/") == 0) labels[k] = v, any = true;
    return any ? ps::policy_of(labels, nullptr) : ps::Policy{};
  }

  Status check(const AdmissionRequest& r, const Value& metadata, const Value& spec, bool enforce) {
    ps::Policy p = policy(r.ns);
    if (enforce) {
      if (r.trail) r.trail->annotate("pod-security.kubernetes.io/enforce-policy", ps::text(p.enforce));
      auto found = ps::check(p.enforce, metadata, spec);
      if (!found.empty()) return status::forbidden(r.type->resource, r.name, "violates PodSecurity " + json::quote(ps::text(p.enforce)) + ": " + ps::details(found));
    }
    if (r.trail)
      if (auto seen = ps::check(p.audit, metadata, spec); !seen.empty())
        r.trail->annotate("pod-security.kubernetes.io/audit-violations", "would violate PodSecurity " + json::quote(ps::text(p.audit)) + ": " + ps::details(seen));
    auto found = ps::check(p.warn, metadata, spec);
    if (!found.empty() && r.warnings) r.warnings->push_back("would violate PodSecurity " + json::quote(ps::text(p.warn)) + ": " + ps::details(found));
    return ok();
  }

  Status check_namespace(const AdmissionRequest& r) {
    std::vector<std::string> problems, old_problems;
    ps::Policy now = ps::policy_of(std::as_const(*r.object)["metadata"]["labels"], &problems);
    ps::Policy was = r.old ? ps::policy_of((*r.old)["metadata"]["labels"], &old_problems) : ps::Policy{};
    if (!problems.empty() && problems != old_problems) {
      std::vector<Cause> causes;
      for (auto& text : problems) {
        size_t end = text.find("]: ") + 1;
        causes.push_back({text.substr(0, end), "FieldValueInvalid", text.substr(end + 2)});
      }
      return status::invalid("", "Namespace", r.name, causes);
    }
    if (!r.old || now.enforce == was.enforce || now.enforce.level == ps::Level::kPrivileged) return ok();
    if (now.enforce.minor == was.enforce.minor && now.enforce.level <= was.enforce.level) return ok();
    warn_of_pods(r, now.enforce);
    return ok();
  }

  void warn_of_pods(const AdmissionRequest& r, const ps::LevelVersion& enforce) {
    ServedTypePtr t = core_->types.find("", "v1", "pods");
    if (!t || !r.warnings) return;
    struct Pods {
      std::string first;
      size_t count = 0;
    };
    std::map<std::string, Pods> by_reason;
    size_t checked = 0, all = 0;
    const auto& pods = t->storage->cache->objects();
    for (auto it = pods.lower_bound(r.name + "/"); it != pods.end() && it->second->ns == r.name; ++it) {
      if (++all > kPodsChecked) continue;
      ++checked;
      ValuePtr v = it->second->value();
      auto found = ps::check(enforce, (*v)["metadata"], (*v)["spec"]);
      if (found.empty()) continue;
      Pods& p = by_reason[ps::reasons(found)];
      if (!p.count++) p.first = it->second->name;
    }
    if (checked < all)
      r.warnings->push_back("new PodSecurity enforce level only checked against the first " + std::to_string(checked) + " of " + std::to_string(all) + " existing pods");
    if (by_reason.empty()) return;
    r.warnings->push_back("existing pods in namespace " + json::quote(r.name) + " violate the new PodSecurity enforce level " + json::quote(ps::text(enforce)));
    std::vector<std::string> lines;
    for (auto& [why, p] : by_reason) {
      std::string others = p.count == 1 ? "" : p.count == 2 ? " (and 1 other pod)"
                                                            : " (and " + std::to_string(p.count - 1) + " other pods)";
      lines.push_back(p.first + others + ": " + why);
    }
    std::sort(lines.begin(), lines.end());
    for (auto& l : lines) r.warnings->push_back(std::move(l));
  }

  Core* core_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_pod_security(Core& core) { return std::make_unique<PodSecurity>(core); }

}  // namespace caravel::apiserver
