#include "apiserver/aggregation/openapi_merge.h"

#include <map>
#include <set>
#include <vector>

namespace caravel::apiserver {

using json::Value;

namespace {

constexpr std::string_view kBefore = "#/definitions/";
constexpr int kDepthMax = 200;
using Names = std::map<std::string, std::string>;

void references(const Value& v, std::vector<std::string>& out, int depth = 0) {
  if (depth > kDepthMax) return;
  for (auto& x : v.as_array()) references(x, out, depth + 1);
  for (auto& m : v.as_object()) {
    if (m.key == "$ref" && m.value.as_string().starts_with(kBefore)) out.push_back(m.value.as_string().substr(kBefore.size()));
    else references(m.value, out, depth + 1);
  }
}

Value renamed(const Value& v, const Names& names, int depth = 0) {
  if (depth > kDepthMax || (!v.is_array() && !v.is_object())) return v;
  if (v.is_array()) {
    Value out = Value::array();
    for (auto& x : v.as_array()) out.push_back(renamed(x, names, depth + 1));
    return out;
  }
  Value out = Value::object();
  for (auto& m : v.as_object()) {
    if (m.key == "$ref" && m.value.as_string().starts_with(kBefore)) {
      auto it = names.find(m.value.as_string().substr(kBefore.size()));
      out[m.key] = it == names.end() ? m.value : Value(std::string(kBefore) + it->second);
    } else {
      out[m.key] = renamed(m.value, names, depth + 1);
    }
  }
  return out;
}

}  // namespace

Value openapi_part(const Value& document, const std::string& group, const std::string& version) {
  const std::string base = "/apis/" + group + "/" + version;
  Value part = Value::object(), paths = Value::object();
  std::vector<std::string> wanted;
  for (auto& m : document["paths"].as_object()) {
    const bool its_own = m.key == base || m.key.starts_with(base + "/");
    if (!its_own) continue;
    references(m.value, wanted);
    paths[m.key] = m.value;
  }
  if (paths.size() == 0) return Value();
  Value definitions = Value::object();
  const Value& all = document["definitions"];
  // Kinds of the group are told of even where no path refers to them, as kubectl looks them up by what they stand for.
  for (auto& m : all.as_object())
    for (auto& gvk : m.value["x-kubernetes-group-version-kind"].as_array())
      if (gvk["group"].as_string() == group && gvk["version"].as_string() == version) wanted.push_back(m.key);
  std::set<std::string> seen;
  while (!wanted.empty()) {
    std::string name = std::move(wanted.back());
    wanted.pop_back();
    const Value* d = all.find(name);
    if (!d || !seen.insert(name).second) continue;
    references(*d, wanted);
    definitions[name] = *d;
  }
  part["paths"] = std::move(paths);
  part["definitions"] = std::move(definitions);
  return part;
}

void merge_openapi(Value& into, const Value& part) {
  if (part.is_null()) return;
  Names names;
  const Value& theirs = part["definitions"];
  const Value ours = std::as_const(into)["definitions"];
  for (auto& m : theirs.as_object()) {
    const Value* same = ours.find(m.key);
    if (!same || *same == m.value) continue;
    int n = 2;
    std::string name;
    do name = m.key + "_v" + std::to_string(n++);
    while (ours.find(name) || theirs.find(name));
    names[m.key] = std::move(name);
  }
  for (auto& m : theirs.as_object()) {
    auto it = names.find(m.key);
    const std::string name = it == names.end() ? m.key.str() : it->second;
    if (!ours.find(name)) into["definitions"][name] = renamed(m.value, names);
  }
  for (auto& m : part["paths"].as_object())
    if (!std::as_const(into)["paths"].find(m.key)) into["paths"][m.key] = renamed(m.value, names);
}

}  // namespace caravel::apiserver
