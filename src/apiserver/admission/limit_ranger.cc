// LimitRanger: what a namespace's LimitRanges give containers that ask for nothing, and what they allow
// containers, pods and volume claims.
#include <algorithm>

#include "apiserver/admission/builtin.h"
#include "base/strings.h"
#include "kube/quota.h"

namespace caravel::apiserver {

namespace {

using json::Value;
using kube::quota::Amounts;

constexpr std::string_view kAnnotation = "kubernetes.io/limit-ranger";

// One LimitRange entry against one container, pod or claim.
struct Checked {
  std::string type;  // "Container", "Pod", "PersistentVolumeClaim"
  Amounts requests, limits;
  std::vector<std::string>* problems;

  void say(std::string_view what, const std::string& resource, const kube::Quantity& bound, const std::string& found) const {
    problems->push_back(std::string(what) + " " + resource + " usage per " + type + " is " + bound.text() + found);
  }
  void min(const std::string& k, const kube::Quantity& bound) const {
    auto r = requests.find(k), l = limits.find(k);
    if (r == requests.end()) say("minimum", k, bound, ".  No request is specified");
    else if (r->second < bound) say("minimum", k, bound, ", but request is " + r->second.text());
    else if (l != limits.end() && l->second < bound) say("minimum", k, bound, ", but limit is " + l->second.text());
  }
  // Claims have no limits.
  void max(const std::string& k, const kube::Quantity& bound) const {
    auto r = requests.find(k), l = limits.find(k);
    bool only_requests = type == "PersistentVolumeClaim";
    if (only_requests && r == requests.end()) say("maximum", k, bound, ".  No request is specified");
    else if (!only_requests && l == limits.end()) say("maximum", k, bound, ".  No limit is specified");
    else if (!only_requests && bound < l->second) say("maximum", k, bound, ", but limit is " + l->second.text());
    else if (r != requests.end() && bound < r->second) say("maximum", k, bound, ", but request is " + r->second.text());
  }
  void ratio(const std::string& k, const kube::Quantity& bound) const {
    auto r = requests.find(k), l = limits.find(k);
    std::string begin = k + " max limit to request ratio per " + type + " is " + bound.text() + ", but ";
    if (r == requests.end() || r->second.is_zero()) problems->push_back(begin + "no request is specified or request is 0");
    else if (l == limits.end() || l->second.is_zero()) problems->push_back(begin + "no limit is specified or limit is 0");
    else if (double found = l->second.as_double() / r->second.as_double(); found > bound.as_double()) problems->push_back(begin + "provided ratio is " + format("%f", found));
  }
  void all(const Value& limit) const {
    for (auto& [k, v] : kube::quota::amounts_of(limit["min"])) min(k, v);
    for (auto& [k, v] : kube::quota::amounts_of(limit["max"])) max(k, v);
    if (type == "PersistentVolumeClaim") return;
    for (auto& [k, v] : kube::quota::amounts_of(limit["maxLimitRequestRatio"])) ratio(k, v);
  }
};

class LimitRanger final : public AdmissionPlugin {
 public:
  explicit LimitRanger(Core& core) : core_(&core) {}
  std::string_view name() const override { return "LimitRanger"; }

  Status admit(AdmissionRequest& r) override {
    if (!is_pod(r) || is_going(r)) return ok();
    for (auto& range : ranges(r.ns)) {
      std::vector<std::string> notes;
      for (auto& l : (*range)["spec"]["limits"].as_array()) {
        if (l["type"].as_string() != "Container") continue;
        fill(*r.object, "containers", "container", l, notes);
        fill(*r.object, "initContainers", "init container", l, notes);
      }
      if (!notes.empty()) (*r.object)["metadata"]["annotations"][kAnnotation] = "LimitRanger plugin set: " + join(notes, "; ");
    }
    return ok();
  }

  Status validate(const AdmissionRequest& r) override {
    bool claim = r.is("", "persistentvolumeclaims") && r.subresource.empty() && (r.operation == Operation::kCreate || r.operation == Operation::kUpdate);
    if ((!is_pod(r) && !claim) || is_going(r)) return ok();
    const Value& object = *r.object;
    for (auto& range : ranges(r.ns)) {
      std::vector<std::string> problems;
      for (auto& l : (*range)["spec"]["limits"].as_array()) {
        const std::string& type = l["type"].as_string();
        if (claim) {
          if (type == "PersistentVolumeClaim") Checked{type, kube::quota::amounts_of(object["spec"]["resources"]["requests"]), {}, &problems}.all(l);
        } else if (type == "Container") {
          for (std::string_view list : {"containers", "initContainers"})
            for (auto& c : object["spec"][list].as_array())
              Checked{type, kube::quota::amounts_of(c["resources"]["requests"]), kube::quota::amounts_of(c["resources"]["limits"]), &problems}.all(l);
        } else if (type == "Pod") {
          Checked{type, kube::quota::pod_total(object, "requests"), kube::quota::pod_total(object, "limits"), &problems}.all(l);
        }
      }
      std::vector<std::string> once;
      for (auto& p : problems)
        if (std::find(once.begin(), once.end(), p) == once.end()) once.push_back(p);
      if (!once.empty()) return status::forbidden(r.type->resource, r.name, once.size() == 1 ? once[0] : "[" + join(once, ", ") + "]");
    }
    return ok();
  }

 private:
  // What a pod asks for is settled when it is made, and again when it is resized.
  static bool is_pod(const AdmissionRequest& r) {
    return r.is("", "pods") && ((r.operation == Operation::kCreate && r.subresource.empty()) || (r.operation == Operation::kUpdate && r.subresource == "resize"));
  }

  static bool is_going(const AdmissionRequest& r) { return r.old && (*r.old)["metadata"].find("deletionTimestamp"); }

  static void fill(Value& pod, std::string_view list, const char* what, const Value& limit, std::vector<std::string>& notes) {
    Value* containers = pod["spec"].find(list);
    if (!containers || !containers->is_array()) return;
    for (auto& c : containers->arr()) {
      auto give = [&](std::string_view kind, const char* word, const Value& from) {
        std::vector<std::string> set;
        for (auto& m : from.as_object()) {
          Value& to = c["resources"][kind];
          if (to.find(m.key)) continue;
          to[m.key] = m.value;
          set.push_back(m.key);
        }
        std::sort(set.begin(), set.end());
        if (!set.empty()) notes.push_back(join(set, ", ") + " " + word + " for " + what + " " + c["name"].as_string());
      };
      give("requests", "request", limit["defaultRequest"]);
      give("limits", "limit", limit["default"]);
    }
  }

  std::vector<ValuePtr> ranges(const std::string& ns) const {
    std::vector<ValuePtr> out;
    ServedTypePtr t = core_->types.find("", "v1", "limitranges");
    if (!t || t->storage->cache->size() == 0) return out;
    const auto& all = t->storage->cache->objects();
    for (auto it = all.lower_bound(ns + "/"); it != all.end() && it->second->ns == ns; ++it) out.push_back(it->second->value());
    return out;
  }
  Core* core_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_limit_ranger(Core& core) { return std::make_unique<LimitRanger>(core); }

}  // namespace caravel::apiserver
