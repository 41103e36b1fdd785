// Dynamic resources: device classes, claims and their templates, slices.
#include <set>

#include "base/strings.h"
#include "kube/cel/program.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

using json::Value;

const FieldPath kSpec("spec");

constexpr size_t kRequestsMax = 32, kFirstAvailableMax = 8, kSelectorsMax = 32, kConstraintsMax = 32, kConfigsMax = 32, kDevicesMax = 128;
constexpr size_t kExpressionMax = 10 * 1024, kDriverMax = 63, kPoolMax = 253, kAttributesMax = 32, kStringMax = 64;

void driver_name(const std::string& name, const FieldPath& p, FieldErrors& e) {
  if (name.empty()) {
    e.push_back(required_error(p));
    return;
  }
  if (name.size() > kDriverMax) e.push_back(too_long(p, kDriverMax));
  each_fault(check_dns1123_subdomain(to_lower(name)), name, p, e);
}

// A C identifier, with or without the domain that it belongs to.
std::string check_identifier(std::string_view s) {
  bool good = !s.empty() && !(s[0] >= '0' && s[0] <= '9');
  for (char c : s) good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_');
  return good ? "" : "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
}

void qualified(const std::string& name, const FieldPath& p, FieldErrors& e, bool domain_needed) {
  size_t slash = name.find('/');
  if (name.empty()) e.push_back(required_error(p, "name required"));
  else if (slash == name.npos && domain_needed) e.push_back(invalid_error(p, name, "must include a domain"));
  if (slash != name.npos) {
    if (slash == 0) e.push_back(invalid_error(p, name, "the domain must not be empty"));
    else driver_name(name.substr(0, slash), p, e);
    if (slash + 1 == name.size()) e.push_back(invalid_error(p, name, "the name must not be empty"));
  }
  std::string id = name.substr(slash == name.npos ? 0 : slash + 1);
  if (!id.empty())
    each_fault(check_identifier(id), name, p, e);
}

void expression(const Value& cel, const FieldPath& p, FieldErrors& e) {
  const std::string& text = cel["expression"].as_string();
  const FieldPath at = p.child("expression");
  if (text.empty()) {
    e.push_back(required_error(at));
    return;
  }
  if (text.size() > kExpressionMax) {
    e.push_back(too_long(at, kExpressionMax));
    return;
  }
  cel::Environment env;
  env.variables.emplace_back("device", cel::simple_type(cel::Type::Kind::kDyn));
  auto program = cel::Program::compile(text, env);
  if (!program.ok()) e.push_back(invalid_error(at, text, "compilation failed: " + program.error().message));
}

void selectors(const Value& list, const FieldPath& p, FieldErrors& e) {
  if (list.size() > kSelectorsMax) e.push_back(too_many(p, static_cast<int64_t>(list.size()), kSelectorsMax));
  for (size_t i = 0; i < list.size() && i < kSelectorsMax; ++i) {
    const FieldPath at = p.index(i);
    if (!list.at(i)["cel"].is_object()) e.push_back(required_error(at.child("cel")));
    else expression(list.at(i)["cel"], at.child("cel"), e);
  }
}

void wanted(const Value& r, const FieldPath& p, FieldErrors& e) {
  const std::string& cls = r["deviceClassName"].as_string();
  if (cls.empty()) e.push_back(required_error(p.child("deviceClassName")));
  else text_must(check_dns1123_subdomain, cls, p.child("deviceClassName"), e);
  selectors(r["selectors"], p.child("selectors"), e);
  const std::string& mode = r["allocationMode"].as_string();
  if (mode == "All") {
    if (r["count"].as_int() != 0) e.push_back(invalid_error(p.child("count"), r["count"], "must not be specified when allocationMode is 'All'"));
  } else if (mode == "ExactCount") {
    if (r["count"].as_int() <= 0) e.push_back(invalid_error(p.child("count"), r["count"], "must be greater than zero"));
  } else {
    one_of(r["allocationMode"], {"All", "ExactCount"}, p.child("allocationMode"), e);
  }
  for (size_t i = 0; i < r["tolerations"].size(); ++i) {
    const Value& t = r["tolerations"].at(i);
    const FieldPath at = p.child("tolerations").index(i);
    one_of(t["operator"], {"Equal", "Exists"}, at.child("operator"), e);
    if (t["operator"].as_string() == "Exists" && !t["value"].as_string().empty()) e.push_back(invalid_error(at.child("value"), t["value"], "must be empty for operator `Exists`"));
    one_of(t["effect"], {"NoExecute", "NoSchedule"}, at.child("effect"), e, false);
  }
}

void configuration(const Value& c, const FieldPath& p, FieldErrors& e) {
  if (!c["opaque"].is_object()) {
    e.push_back(required_error(p.child("opaque")));
    return;
  }
  const FieldPath at = p.child("opaque");
  driver_name(c["opaque"]["driver"].as_string(), at.child("driver"), e);
  const Value& parameters = c["opaque"]["parameters"];
  if (parameters.is_null()) e.push_back(required_error(at.child("parameters")));
  else if (!parameters.is_object()) e.push_back(invalid_error(at.child("parameters"), parameters, "must be a valid JSON object"));
}

void claim_spec(const Value& spec, const FieldPath& root, FieldErrors& e) {
  const Value& d = spec["devices"];
  const FieldPath p = root.child("devices");
  std::set<std::string> names;
  if (d["requests"].size() > kRequestsMax) e.push_back(too_many(p.child("requests"), static_cast<int64_t>(d["requests"].size()), kRequestsMax));
  for (size_t i = 0; i < d["requests"].size(); ++i) {
    const Value& r = d["requests"].at(i);
    const FieldPath at = p.child("requests").index(i);
    const std::string& name = r["name"].as_string();
    if (name.empty()) e.push_back(required_error(at.child("name")));
    else if (text_must(check_dns1123_label, name, at.child("name"), e) && !names.insert(name).second) e.push_back(duplicate_error(at.child("name"), name));
    bool exactly = r["exactly"].is_object(), first = r["firstAvailable"].size() > 0;
    if (exactly && first) e.push_back(invalid_error(at, name, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"));
    if (!exactly && !first) e.push_back(required_error(at, "exactly one of `exactly` or `firstAvailable` is required"));
    if (exactly) wanted(r["exactly"], at.child("exactly"), e);
    if (r["firstAvailable"].size() > kFirstAvailableMax) e.push_back(too_many(at.child("firstAvailable"), static_cast<int64_t>(r["firstAvailable"].size()), kFirstAvailableMax));
    std::set<std::string> subs;
    for (size_t k = 0; k < r["firstAvailable"].size(); ++k) {
      const Value& s = r["firstAvailable"].at(k);
      const FieldPath sub = at.child("firstAvailable").index(k);
      const std::string& sn = s["name"].as_string();
      if (sn.empty()) e.push_back(required_error(sub.child("name")));
      else if (text_must(check_dns1123_label, sn, sub.child("name"), e) && !subs.insert(sn).second) e.push_back(duplicate_error(sub.child("name"), sn));
      names.insert(name + "/" + sn);
      wanted(s, sub, e);
    }
  }
  auto known = [&](const Value& list, const FieldPath& at) {
    for (size_t k = 0; k < list.size(); ++k)
      if (!names.count(list.at(k).as_string())) e.push_back(invalid_error(at.child("requests").index(k), list.at(k), "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"));
  };
  if (d["constraints"].size() > kConstraintsMax) e.push_back(too_many(p.child("constraints"), static_cast<int64_t>(d["constraints"].size()), kConstraintsMax));
  for (size_t i = 0; i < d["constraints"].size(); ++i) {
    const Value& c = d["constraints"].at(i);
    const FieldPath at = p.child("constraints").index(i);
    known(c["requests"], at);
    if (c["matchAttribute"].is_string()) qualified(c["matchAttribute"].as_string(), at.child("matchAttribute"), e, true);
    else if (c["distinctAttribute"].is_string()) qualified(c["distinctAttribute"].as_string(), at.child("distinctAttribute"), e, true);
    else e.push_back(required_error(at, "exactly one of `matchAttribute` or `distinctAttribute` is required"));
  }
  if (d["config"].size() > kConfigsMax) e.push_back(too_many(p.child("config"), static_cast<int64_t>(d["config"].size()), kConfigsMax));
  for (size_t i = 0; i < d["config"].size(); ++i) {
    known(d["config"].at(i)["requests"], p.child("config").index(i));
    configuration(d["config"].at(i), p.child("config").index(i), e);
  }
}

void device(const Value& d, const FieldPath& p, std::set<std::string>& names, FieldErrors& e) {
  const std::string& name = d["name"].as_string();
  if (name.empty()) e.push_back(required_error(p.child("name")));
  else if (text_must(check_dns1123_label, name, p.child("name"), e) && !names.insert(name).second) e.push_back(duplicate_error(p.child("name"), name));
  if (d["attributes"].size() + d["capacity"].size() > kAttributesMax)
    e.push_back(invalid_error(p, static_cast<int64_t>(d["attributes"].size() + d["capacity"].size()), "the total number of attributes and capacities must not exceed 32"));
  for (auto& m : d["attributes"].as_object()) {
    const FieldPath at = p.child("attributes").key(m.key);
    qualified(m.key, at, e, false);
    int set = 0;
    for (const char* f : {"int", "bool", "string", "version", "ints", "bools", "strings", "versions"})
      if (const Value* v = m.value.find(f); v && !v->is_null()) ++set;
    if (set == 0) e.push_back(required_error(at, "exactly one value must be specified"));
    if (set > 1) e.push_back(invalid_error(at, m.value, "exactly one value must be specified"));
    for (const char* f : {"string", "version"})
      if (m.value[f].as_string().size() > kStringMax) e.push_back(too_long(at.child(f), kStringMax));
  }
  for (auto& m : d["capacity"].as_object()) qualified(m.key, p.child("capacity").key(m.key), e, false);
}

void slice(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  driver_name(s["driver"].as_string(), kSpec.child("driver"), e);
  const FieldPath pool = kSpec.child("pool");
  const std::string& name = s["pool"]["name"].as_string();
  if (name.empty()) e.push_back(required_error(pool.child("name")));
  else if (name.size() > kPoolMax) e.push_back(too_long(pool.child("name"), kPoolMax));
  else
    for (auto& part : split(name, '/'))
      each_fault(check_dns1123_subdomain(part), name, pool.child("name"), e);
  if (s["pool"]["resourceSliceCount"].as_int() <= 0) e.push_back(invalid_error(pool.child("resourceSliceCount"), s["pool"]["resourceSliceCount"], "must be greater than zero"));
  if (s["pool"]["generation"].as_int() < 0) e.push_back(invalid_error(pool.child("generation"), s["pool"]["generation"], "must be greater than or equal to zero"));
  std::vector<std::string> set;
  if (s["nodeName"].is_string()) {
    set.push_back("`nodeName`");
    if (s["nodeName"].as_string().empty()) e.push_back(invalid_error(kSpec.child("nodeName"), "", "must be either unset or set to a non-empty string"));
    else text_must(check_dns1123_subdomain, s["nodeName"], kSpec.child("nodeName"), e);
  }
  if (s["nodeSelector"].is_object()) set.push_back("`nodeSelector`");
  if (s["allNodes"].is_bool()) {
    if (s["allNodes"].as_bool()) set.push_back("`allNodes`");
    else e.push_back(invalid_error(kSpec.child("allNodes"), false, "must be either unset or set to true"));
  }
  if (s["perDeviceNodeSelection"].is_bool() && s["perDeviceNodeSelection"].as_bool()) set.push_back("`perDeviceNodeSelection`");
  bool counters_only = s["sharedCounters"].size() > 0 && s["devices"].size() == 0;
  if (set.empty() && !counters_only) e.push_back(required_error(kSpec, "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"));
  if (set.size() > 1) e.push_back(invalid_error(kSpec, "{" + join(set, ", ") + "}", "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set"));
  if (s["devices"].size() > kDevicesMax) e.push_back(too_many(kSpec.child("devices"), static_cast<int64_t>(s["devices"].size()), kDevicesMax));
  std::set<std::string> names;
  for (size_t i = 0; i < s["devices"].size() && i < kDevicesMax; ++i) device(s["devices"].at(i), kSpec.child("devices").index(i), names, e);
  if (!old) return;
  const Value& was = (*old)["spec"];
  immutable(s["driver"], was["driver"], kSpec.child("driver"), e);
  immutable(s["nodeName"], was["nodeName"], kSpec.child("nodeName"), e);
  immutable(s["pool"]["name"], was["pool"]["name"], pool.child("name"), e);
}

}  // namespace

void dynamic_resource(std::string_view kind, const Value& o, const Value* old, FieldErrors& e) {
  if (kind == "ResourceClaim") {
    claim_spec(o["spec"], kSpec, e);
    if (old) immutable(o["spec"], (*old)["spec"], kSpec, e);
  } else if (kind == "ResourceClaimTemplate") {
    claim_spec(o["spec"]["spec"], kSpec.child("spec"), e);
    if (old) immutable(o["spec"], (*old)["spec"], kSpec, e);
  } else if (kind == "ResourceSlice") {
    slice(o, old, e);
  } else if (kind == "DeviceClass") {
    selectors(o["spec"]["selectors"], kSpec.child("selectors"), e);
    for (size_t i = 0; i < o["spec"]["config"].size(); ++i) configuration(o["spec"]["config"].at(i), kSpec.child("config").index(i), e);
  }
}

}  // namespace caravel::kube::check
