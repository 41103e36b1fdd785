#include "controllers/horizontal_pod_autoscaler_metrics.h"

#include "kube/quantity.h"
#include "kube/selectors.h"

namespace caravel::controllers {

namespace {

using Query = std::vector<std::pair<std::string, std::string>>;

int64_t milli(const json::Value& v) {
  auto q = kube::Quantity::parse(v.is_string() ? v.as_string() : json::dump(v));
  return q.ok() ? q->milli_value() : 0;
}
Time time_of(const json::Value& v) {
  auto t = parse_rfc3339(v.as_string());
  return t.ok() ? *t : Time();
}

// client-go's words for an answer that says nothing itself.
std::string worded(const Error& e, const std::string& what) {
  auto says = [&](std::string_view text) { return e.message.empty() || e.message.find(text) != std::string::npos; };
  if (e.code == Code::kNotFound && (says("the server could not find the requested resource") || says("page not found")))
    return "the server could not find the requested resource (get " + what + ")";
  if (e.code == Code::kUnavailable && (kube::status_reason(e).empty() || says("service unavailable"))) return "the server is currently unable to handle the request (get " + what + ")";
  return e.message;
}

Error unfetched(const char* api, const std::string& why) { return invalid(std::string("unable to fetch metrics from ") + api + " metrics API: " + why); }
Error nothing(const char* api) { return invalid(std::string("no metrics returned from ") + api + " metrics API"); }

Result<std::string> metric_selector(const kube::autoscaling::MetricIdentifier& m) {
  if (!m.selector) return std::string();
  TRY(auto s, kube::LabelSelector::from(*m.selector));
  return s.text();
}

Task<Result<Measured>> measure_resource(kube::Client client, std::string ns, std::string selector, std::string resource, std::string container) {
  Query query = {{"labelSelector", selector}};
  std::string path = "/apis/metrics.k8s.io/v1beta1/namespaces/" + ns + "/pods";
  Result<json::Value> r = co_await client.get_path(std::move(path), std::move(query));
  if (!r.ok()) co_return unfetched("resource", worded(r.error(), "pods.metrics.k8s.io"));
  const json::Value& list = *r;
  if (list["items"].size() == 0) co_return nothing("resource");
  Measured m = resource_usage(list, resource, container);
  co_return m;
}

// `path` below /apis/custom.metrics.k8s.io/VERSION.
Task<Result<json::Value>> custom(kube::Client client, std::string path, Query query, std::string what) {
  const std::string base = "/apis/custom.metrics.k8s.io/";
  Query again = query;
  Result<json::Value> r = co_await client.get_path(base + "v1beta2" + path, std::move(query));
  if (!r.ok() && r.error().code == Code::kNotFound) {  // an adapter of before v1beta2, or it has no such metric
    Result<json::Value> older = co_await client.get_path(base + "v1beta1" + path, std::move(again));
    if (older.ok()) co_return std::move(older);
  }
  if (!r.ok()) co_return unfetched("custom", worded(r.error(), what + ".custom.metrics.k8s.io"));
  co_return std::move(r);
}

Task<Result<Measured>> measure_pods(kube::Client client, std::string ns, std::string selector, kube::autoscaling::MetricIdentifier metric) {
  CO_TRY(std::string more, metric_selector(metric));
  Query query = {{"labelSelector", selector}};
  if (!more.empty()) query.emplace_back("metricLabelSelector", more);
  std::string path = "/namespaces/" + ns + "/pods/*/" + metric.name;
  Result<json::Value> r = co_await custom(client, std::move(path), std::move(query), "pods");
  if (!r.ok()) co_return std::move(r).error();
  const json::Value& list = *r;
  if (list["items"].size() == 0) co_return nothing("custom");
  Measured m = pod_values(list);
  co_return m;
}

Task<Result<Measured>> measure_object(kube::Client client, std::string ns, kube::autoscaling::ObjectMetricSource o, std::string resource) {
  CO_TRY(std::string more, metric_selector(o.metric));
  Query query;
  if (!more.empty()) query.emplace_back("metricLabelSelector", more);
  const bool is_namespace = o.described_object.kind == "Namespace" && resource == "namespaces";
  std::string path = is_namespace ? "/namespaces/" + o.described_object.name + "/metrics/" + o.metric.name
                                  : "/namespaces/" + ns + "/" + resource + "/" + o.described_object.name + "/" + o.metric.name;
  Result<json::Value> r = co_await custom(client, std::move(path), std::move(query), resource);
  if (!r.ok()) co_return std::move(r).error();
  const json::Value& list = *r;
  if (list["items"].size() == 0) co_return nothing("custom");
  Measured m = first_value(list);
  co_return m;
}

Task<Result<Measured>> measure_external(kube::Client client, std::string ns, kube::autoscaling::MetricIdentifier metric) {
  CO_TRY(std::string more, metric_selector(metric));
  Query query;
  if (!more.empty()) query.emplace_back("labelSelector", more);
  std::string path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + ns + "/" + metric.name;
  Result<json::Value> r = co_await client.get_path(std::move(path), std::move(query));
  if (!r.ok()) co_return unfetched("external", worded(r.error(), metric.name + ".external.metrics.k8s.io"));
  const json::Value& list = *r;
  if (list["items"].size() == 0) co_return nothing("external");
  Measured m = sum_of_values(list);
  co_return m;
}

}  // namespace

Measured resource_usage(const json::Value& list, const std::string& resource, const std::string& container) {
  Measured out;
  for (const json::Value& item : list["items"].as_array()) {
    PodMetric m;
    m.timestamp = time_of(item["timestamp"]);
    if (auto w = parse_duration(item["window"].as_string()); w.ok()) m.window = *w;
    bool found = false, complete = true;
    for (const json::Value& c : item["containers"].as_array()) {
      if (!container.empty() && c["name"].as_string() != container) continue;
      const json::Value& used = c["usage"][resource];
      found = found || !used.is_null();
      complete = complete && !used.is_null();
      if (!used.is_null()) m.milli += milli(used);
    }
    // A pod that lacks a sample of one container counts as missing.
    if (found && complete) out.pods[item["metadata"]["name"].as_string()] = m;
  }
  return out;
}

Measured pod_values(const json::Value& list) {
  Measured out;
  for (const json::Value& item : list["items"].as_array()) {
    PodMetric m;
    m.milli = milli(item["value"]);
    m.timestamp = time_of(item["timestamp"]);
    if (item["windowSeconds"].is_int()) m.window = std::chrono::seconds(item["windowSeconds"].as_int());
    out.pods[item["describedObject"]["name"].as_string()] = m;
  }
  return out;
}

Measured first_value(const json::Value& list) {
  Measured out;
  out.milli = milli(list["items"].at(0)["value"]);
  return out;
}

Measured sum_of_values(const json::Value& list) {
  Measured out;
  for (const json::Value& item : list["items"].as_array()) out.milli += milli(item["value"]);
  return out;
}

Task<Result<Measured>> measure(kube::Client client, std::string ns, std::string selector, kube::autoscaling::MetricSpec m, std::string object_resource) {
  if (m.type == "Resource" && m.resource) co_return co_await measure_resource(client, ns, selector, m.resource->name, std::string());
  if (m.type == "ContainerResource" && m.container_resource) co_return co_await measure_resource(client, ns, selector, m.container_resource->name, m.container_resource->container);
  if (m.type == "Pods" && m.pods) co_return co_await measure_pods(client, ns, selector, m.pods->metric);
  if (m.type == "Object" && m.object) co_return co_await measure_object(client, ns, *m.object, object_resource);
  if (m.type == "External" && m.external) co_return co_await measure_external(client, ns, m.external->metric);
  co_return invalid("unknown metric source type");
}

}  // namespace caravel::controllers
