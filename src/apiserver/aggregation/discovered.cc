#include "apiserver/aggregation/discovered.h"

#include <map>

namespace caravel::apiserver {

using json::Value;

Value resources_of_group_list(const Value& list, const std::string& group, const std::string& version) {
  for (auto& g : list["items"].as_array()) {
    if (g["metadata"]["name"].as_string() != group) continue;
    for (auto& v : g["versions"].as_array())
      if (v["version"].as_string() == version) return v["resources"].is_array() ? v["resources"] : Value::array();
  }
  return Value();
}

namespace {

Value kind_of(const Value& r, const std::string& group, const std::string& version) {
  Value k = Value::object();
  k["group"] = r["group"].as_string().empty() ? group : r["group"].as_string();
  k["version"] = r["version"].as_string().empty() ? version : r["version"].as_string();
  k["kind"] = r["kind"].as_string();
  return k;
}

}  // namespace

Value resources_of_resource_list(const Value& list, const std::string& group, const std::string& version) {
  Value out = Value::array();
  std::map<std::string, size_t> at;
  for (auto& r : list["resources"].as_array()) {
    const std::string& name = r["name"].as_string();
    if (name.find('/') != name.npos) continue;
    Value d = Value::object();
    d["resource"] = name;
    d["responseKind"] = kind_of(r, group, version);
    d["scope"] = r["namespaced"].as_bool() ? "Namespaced" : "Cluster";
    d["singularResource"] = r["singularName"].as_string();
    d["verbs"] = r["verbs"];
    if (r["shortNames"].size()) d["shortNames"] = r["shortNames"];
    if (r["categories"].size()) d["categories"] = r["categories"];
    at[name] = out.size();
    out.push_back(std::move(d));
  }
  for (auto& r : list["resources"].as_array()) {
    const std::string& name = r["name"].as_string();
    size_t slash = name.find('/');
    if (slash == name.npos) continue;
    auto it = at.find(name.substr(0, slash));
    if (it == at.end()) continue;
    Value s = Value::object();
    s["subresource"] = name.substr(slash + 1);
    s["responseKind"] = kind_of(r, group, version);
    s["verbs"] = r["verbs"];
    out.arr()[it->second]["subresources"].push_back(std::move(s));
  }
  return out;
}

Value resource_list_of(const Value& resources, const std::string& group, const std::string& version) {
  Value list = Value::array();
  for (auto& r : resources.as_array()) {
    Value x = Value::object();
    x["name"] = r["resource"];
    x["singularName"] = r["singularResource"].as_string();
    x["namespaced"] = r["scope"].as_string() == "Namespaced";
    x["kind"] = r["responseKind"]["kind"].as_string();
    x["verbs"] = r["verbs"];
    if (r["shortNames"].size()) x["shortNames"] = r["shortNames"];
    if (r["categories"].size()) x["categories"] = r["categories"];
    list.push_back(std::move(x));
    for (auto& s : r["subresources"].as_array()) {
      Value y = Value::object();
      y["name"] = r["resource"].as_string() + "/" + s["subresource"].as_string();
      y["singularName"] = "";
      y["namespaced"] = r["scope"].as_string() == "Namespaced";
      y["kind"] = s["responseKind"]["kind"].as_string();
      y["verbs"] = s["verbs"];
      list.push_back(std::move(y));
    }
  }
  Value out = Value::object();
  out["kind"] = "APIResourceList";
  out["apiVersion"] = "v1";
  out["groupVersion"] = group + "/" + version;
  out["resources"] = std::move(list);
  return out;
}

}  // namespace caravel::apiserver
