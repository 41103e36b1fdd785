#include "gitops/compare.h"

#include "base/strings.h"
#include "kube/dynamic_informer.h"
#include "kube/quantity.h"

namespace caravel::gitops {

const char kLastAppliedAnnotation[] = "kubectl.kubernetes.io/last-applied-configuration";

namespace {

bool is_quantity_field(std::string_view parent) { return parent == "limits" || parent == "requests" || parent == "hard" || parent == "capacity" || parent == "sizeLimit" || parent == "averageValue" || parent == "divisor"; }

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
  return live.is_null() && (wanted == json::Value(false) || wanted == json::Value("") || wanted == json::Value(0));
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

// Removes what a JSON pointer names, as a JSON patch would.
void drop_pointer(json::Value& v, std::string_view pointer) {
  if (!pointer.starts_with("/")) return;
  pointer.remove_prefix(1);
  size_t n = pointer.find('/');
  std::string step = replace_all(replace_all(pointer.substr(0, n), "~1", "/"), "~0", "~");
  if (v.is_array()) {
    auto index = parse_int(step);
    if (!index || *index < 0 || static_cast<size_t>(*index) >= v.size()) return;
    if (n == pointer.npos) v.arr().erase(v.arr().begin() + *index);
    else drop_pointer(v.arr()[static_cast<size_t>(*index)], pointer.substr(n));
  } else if (v.is_object()) {
    if (n == pointer.npos) v.erase(step);
    else if (json::Value* next = v.find(step)) drop_pointer(*next, pointer.substr(n));
  }
}

}  // namespace

json::Value three_way_patch(const json::Value& last_applied, const json::Value& wanted, const json::Value& live, const std::vector<std::string>& ignored) {
  json::Value l = last_applied, w = wanted, there = live;
  for (auto* v : {&l, &w}) {
    v->erase("status");
    const json::Value plain = std::as_const(*v)["stringData"];
    v->erase("stringData");
    for (auto& m : plain.as_object()) (*v)["data"][m.key] = base64_encode(m.value.as_string());  // as the server keeps it
  }
  // An ignored field is absent everywhere.
  for (auto& p : ignored)
    for (auto* v : {&l, &w, &there}) drop_pointer(*v, p);
  return diff(l, w, there, "");
}

std::vector<std::string> ignored_pointers(const json::Value& ignore_differences, const json::Value& object) {
  const std::string& v = object["apiVersion"].as_string();
  std::string group = v.find('/') == v.npos ? "" : v.substr(0, v.find('/'));
  std::vector<std::string> out;
  for (auto& i : ignore_differences.as_array()) {
    if (!glob_match(i["group"].as_string(), group) || !glob_match(i["kind"].as_string(), object["kind"].as_string())) continue;
    if (!i["name"].as_string().empty() && i["name"].as_string() != kube::name_of(object)) continue;
    if (!i["namespace"].as_string().empty() && i["namespace"].as_string() != kube::namespace_of(object)) continue;
    for (auto& p : i["jsonPointers"].as_array()) out.push_back(p.as_string());
  }
  return out;
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
