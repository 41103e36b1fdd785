#include "gitops/compare.h"

#include "base/strings.h"
#include "kube/dynamic_informer.h"
#include "kube/quantity.h"

namespace caravel::gitops {

const char kLastAppliedAnnotation[] = "kubectl.kubernetes.io/last-applied-configuration";

namespace {

bool is_quantity_field(std::string_view parent) { return parent == "limits" || parent == "requests" || parent == "hard" || parent == "capacity" || parent == "sizeLimit"; }

// Is every wanted value there? `parent` is the name of the member that holds the values.
bool contains(const json::Value& live, const json::Value& wanted, std::string_view parent) {
  if (wanted.is_null()) return true;
  if (wanted.is_object()) {
    if (!live.is_object()) return wanted.size() == 0 && live.is_null();
    for (auto& m : wanted.as_object()) {
      bool quantity = is_quantity_field(parent);
      if (!contains(live[m.key], m.value, quantity ? parent : std::string_view(m.key))) return false;
    }
    return true;
  }
  if (wanted.is_array()) {
    if (wanted.size() == 0 && live.is_null()) return true;
    if (!live.is_array() || live.size() != wanted.size()) return false;
    for (size_t i = 0; i < wanted.size(); ++i)
      if (!contains(live.at(i), wanted.at(i), parent)) return false;
    return true;
  }
  if (live == wanted) return true;
  if (is_quantity_field(parent)) {
    auto text = [](const json::Value& v) { return v.is_string() ? v.as_string() : json::dump(v); };
    auto a = kube::Quantity::parse(text(live)), b = kube::Quantity::parse(text(wanted));
    return a.ok() && b.ok() && *a == *b;
  }
  // A zero that the server leaves out.
  return live.is_null() && ((wanted.is_bool() && !wanted.as_bool()) || (wanted.is_string() && wanted.as_string().empty()));
}

json::Value diff(const json::Value& last, const json::Value& wanted, const json::Value& live, std::string_view parent) {
  json::Value patch = json::Value::object();
  for (auto& m : wanted.as_object()) {
    const json::Value& there = live[m.key];
    std::string_view name = is_quantity_field(parent) ? parent : std::string_view(m.key);
    if (m.value.is_object() && there.is_object()) {
      json::Value sub = diff(last[m.key], m.value, there, m.key);
      if (sub.size()) patch[m.key] = std::move(sub);
    } else if (!contains(there, m.value, name)) {
      patch[m.key] = m.value;
    }
  }
  for (auto& m : last.as_object())
    if (!wanted.find(m.key) && live.find(m.key)) patch[m.key] = nullptr;  // was ours, is no longer wanted
  return patch;
}

void drop_pointer(json::Value& v, std::string_view pointer) {
  if (pointer.empty() || pointer[0] != '/') return;
  pointer.remove_prefix(1);
  size_t n = pointer.find('/');
  std::string step = replace_all(replace_all(pointer.substr(0, n), "~1", "/"), "~0", "~");
  if (!v.is_object()) return;
  if (n == pointer.npos) {
    v.erase(step);
  } else if (json::Value* next = v.find(step)) {
    drop_pointer(*next, pointer.substr(n));
    if (next->is_object() && next->size() == 0) v.erase(step);
  }
}

}  // namespace

json::Value three_way_patch(const json::Value& last_applied, const json::Value& wanted, const json::Value& live, const std::vector<std::string>& ignored) {
  json::Value w = wanted;
  w.erase("status");
  if (w["stringData"].is_object()) {  // the server keeps it as data
    for (auto& m : w["stringData"].as_object()) w["data"][m.key] = base64_encode(m.value.as_string());
    w.erase("stringData");
  }
  json::Value l = last_applied;
  if (l.is_object()) {
    l.erase("status");
    if (l["stringData"].is_object()) {
      for (auto& m : l["stringData"].as_object()) l["data"][m.key] = base64_encode(m.value.as_string());
      l.erase("stringData");
    }
  }
  json::Value patch = diff(l, w, live, "");
  for (auto& p : ignored) drop_pointer(patch, p);
  return patch;
}

json::Value with_last_applied(const json::Value& wanted) {
  json::Value plain = wanted;
  if (json::Value* annotations = plain["metadata"].find("annotations")) annotations->erase(kLastAppliedAnnotation);
  json::Value out = plain;
  out["metadata"]["annotations"][kLastAppliedAnnotation] = json::dump_sorted(plain) + "\n";
  return out;
}

json::Value last_applied_of(const json::Value& live) {
  const std::string& text = kube::annotation(live, kLastAppliedAnnotation);
  if (text.empty()) return {};
  auto v = json::parse(text);
  return v.ok() ? *v : json::Value();
}

}  // namespace caravel::gitops
