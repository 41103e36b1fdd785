#include <set>

#include "base/strings.h"
#include "scheduler/configuration.h"

namespace caravel::scheduler {

using json::Value;
using kube::FieldPath;

namespace {

void read_tls(const Value& tls, const FieldPath& at, ExtenderConfig& out, ConfigurationReader& r) {
  r.only(tls, at, "insecure serverName certFile keyFile caFile certData keyData caData");
  out.insecure = tls["insecure"].as_bool();
  out.server_name = tls["serverName"].as_string();
  out.cert_file = tls["certFile"].as_string(), out.key_file = tls["keyFile"].as_string(), out.ca_file = tls["caFile"].as_string();
  for (auto [name, to] : {std::pair("certData", &out.cert_data), std::pair("keyData", &out.key_data), std::pair("caData", &out.ca_data)}) {
    auto data = base64_decode(tls[name].as_string());
    if (!data) r.errors.push_back(kube::invalid_error(at.child(name), "REDACTED", "must be base64 encoded"));
    else *to = std::move(*data);
  }
}

void read_managed(const Value& list, const FieldPath& at, ExtenderConfig& e, std::set<std::string>& all, ConfigurationReader& r) {
  for (size_t i = 0; i < list.size(); ++i) {
    r.only(list.at(i), at.index(i), "name ignoredByScheduler");
    const std::string name = list.at(i)["name"].as_string();
    const bool native = name.find('/') == name.npos || name.find("kubernetes.io/") != name.npos || name.starts_with("requests.");
    if (native) r.errors.push_back(kube::invalid_error(at.index(i).child("name"), name, "is an invalid extended resource name"));
    if (!all.insert(name).second)
      r.errors.push_back(kube::invalid_error(at.index(i).child("name"), name, "duplicate extender managed resource name"));
    e.managed_resources.push_back(name);
    if (list.at(i)["ignoredByScheduler"].as_bool()) e.ignored_resources.push_back(name);
  }
}

}  // namespace

void read_extenders(const Value& list, const FieldPath& at, std::vector<ExtenderConfig>& out, ConfigurationReader& r) {
  r.must_be(list, at, json::Type::kArray);
  int binders = 0;
  std::set<std::string> managed;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    const FieldPath here = at.index(i);
    r.only(v, here, "urlPrefix filterVerb preemptVerb prioritizeVerb weight bindVerb enableHTTPS tlsConfig httpTimeout nodeCacheCapable managedResources ignorable");
    ExtenderConfig e;
    e.url_prefix = v["urlPrefix"].as_string();
    e.filter_verb = v["filterVerb"].as_string(), e.prioritize_verb = v["prioritizeVerb"].as_string();
    e.bind_verb = v["bindVerb"].as_string(), e.preempt_verb = v["preemptVerb"].as_string();
    e.weight = v["weight"].as_int();
    e.https = v["enableHTTPS"].as_bool();
    e.node_cache_capable = v["nodeCacheCapable"].as_bool();
    e.ignorable = v["ignorable"].as_bool();
    if (e.url_prefix.empty()) r.errors.push_back(kube::required_error(here.child("urlPrefix")));
    if (!e.prioritize_verb.empty() && e.weight <= 0)
      r.errors.push_back(kube::invalid_error(here.child("weight"), e.weight, "must have a positive weight applied to it"));
    if (!e.bind_verb.empty()) ++binders;
    if (!v["httpTimeout"].is_null()) {
      auto timeout = parse_duration(v["httpTimeout"].as_string());
      if (!timeout.ok()) r.errors.push_back(kube::invalid_error(here.child("httpTimeout"), v["httpTimeout"], timeout.error().message));
      else if (timeout->count() > 0) e.timeout = *timeout;
    }
    read_tls(v["tlsConfig"], here.child("tlsConfig"), e, r);
    read_managed(v["managedResources"], here.child("managedResources"), e, managed, r);
    out.push_back(std::move(e));
  }
  if (binders > 1)
    r.errors.push_back(kube::invalid_error(at, "found " + std::to_string(binders) + " extenders implementing bind", "only one extender can implement bind"));
}

}  // namespace caravel::scheduler
