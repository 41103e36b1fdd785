#include "sim/load.h"

#include "base/strings.h"
#include "kube/kinds.h"
#include "kube/quantity.h"
#include "kube/selectors.h"

namespace caravel::sim {

namespace {

using kube::core::Pod;

constexpr int64_t kWindowSeconds = 15;
constexpr const char* kResourceApi = "/apis/metrics.k8s.io/v1beta1/";
constexpr const char* kCustomApi = "/apis/custom.metrics.k8s.io/v1beta2/";
constexpr const char* kExternalApi = "/apis/external.metrics.k8s.io/v1beta1/";

std::string amount(int64_t milli) { return kube::Quantity::from_milli(milli).text(); }

std::string parameter(const kube::ApiRequest& q, const char* name) {
  for (const auto& [k, v] : q.query)
    if (k == name) return v;
  return "";
}

// The CPU that a pod may use at most; 0: no limit, since a container has none.
int64_t cpu_limit_milli(const Pod& p) {
  int64_t sum = 0;
  for (const auto& c : p.spec.containers) {
    auto it = c.resources.limits.find("cpu");
    if (it == c.resources.limits.end()) return 0;
    sum += it->second.milli_value();
  }
  return sum;
}

bool is_serving(const Pod& p) { return is_ready(p) && !p.metadata.deletion_timestamp; }

class MetricsTransport final : public kube::Transport {
 public:
  MetricsTransport(const Loads& loads, std::unique_ptr<kube::Transport> inner) : loads_(&loads), inner_(std::move(inner)) {}

  Task<Result<kube::ApiResponse>> call(kube::ApiRequest q) override {
    if (!Loads::is_metrics_path(q.path)) {
      Result<kube::ApiResponse> r = co_await inner_->call(std::move(q));
      co_return r;
    }
    kube::ListOptions where;
    std::vector<std::string> parts = split(q.path, '/');
    for (size_t i = 0; i + 1 < parts.size(); ++i)
      if (parts[i] == "namespaces") where.ns = parts[i + 1];
    kube::Client client(*inner_, "metrics-server");
    Result<kube::ListResult<Pod>> pods = co_await client.list<Pod>(std::move(where));
    if (!pods.ok()) co_return std::move(pods).error();
    Result<json::Value> told = loads_->answer(q, pods->items);
    if (!told.ok()) co_return std::move(told).error();
    kube::ApiResponse out;
    out.object = kube::Document(std::move(*told));
    co_return out;
  }

  Task<Result<std::unique_ptr<kube::WatchStream>>> watch(kube::ApiRequest q) override {
    Result<std::unique_ptr<kube::WatchStream>> r = co_await inner_->watch(std::move(q));
    co_return r;
  }

 private:
  const Loads* loads_;
  std::unique_ptr<kube::Transport> inner_;
};

}  // namespace

std::string workload_of(const Pod& p) {
  const kube::meta::OwnerReference* owner = nullptr;
  for (const auto& o : p.metadata.owner_references)
    if (o.controller.value_or(false)) owner = &o;
  if (!owner) return "Pod " + p.metadata.namespace_ + "/" + p.metadata.name;
  std::string kind = owner->kind, name = owner->name;
  auto hash = p.metadata.labels.find("pod-template-hash");
  if (kind == "ReplicaSet" && hash != p.metadata.labels.end() && name.ends_with("-" + hash->second)) {
    kind = "Deployment";
    name.resize(name.size() - hash->second.size() - 1);
  }
  return kind + " " + p.metadata.namespace_ + "/" + name;
}

bool is_ready(const Pod& p) {
  for (const auto& c : p.status.conditions)
    if (c.type == "Ready") return c.status == "True";
  return false;
}

int64_t Loads::of(const std::string& object, const std::string& metric) const {
  auto o = loads_.find(object);
  if (o == loads_.end()) return 0;
  auto m = o->second.find(metric);
  return m == o->second.end() ? 0 : m->second;
}

std::unique_ptr<kube::Transport> Loads::serve(std::unique_ptr<kube::Transport> inner) { return std::make_unique<MetricsTransport>(*this, std::move(inner)); }

bool Loads::is_metrics_path(const std::string& path) {
  return path.starts_with("/apis/metrics.k8s.io/") || path.starts_with("/apis/custom.metrics.k8s.io/") || path.starts_with("/apis/external.metrics.k8s.io/");
}

std::map<std::string, int64_t> Loads::shares(const std::vector<Pod>& pods, const std::string& metric) const {
  std::map<std::string, int64_t> serving, out;  // by workload; by pod
  for (const Pod& p : pods)
    if (is_serving(p)) ++serving[workload_of(p)];
  for (const Pod& p : pods) {
    if (p.status.phase != "Running") continue;
    const std::string workload = workload_of(p);
    int64_t share = is_serving(p) ? of(workload, metric) / serving[workload] : 0;
    if (metric == "cpu")
      if (int64_t most = cpu_limit_milli(p); most > 0) share = std::min(share, most);
    out[p.metadata.name] = share;
  }
  return out;
}

json::Value Loads::resource_metrics(const std::vector<Pod>& pods, const std::string& selector) const {
  auto wanted = kube::LabelSelector::parse(selector);
  const std::map<std::string, int64_t> cpu = shares(pods, "cpu"), memory = shares(pods, "memory");
  json::Value list = json::Value::object();
  list["kind"] = "PodMetricsList";
  list["apiVersion"] = "metrics.k8s.io/v1beta1";
  list["items"] = json::Value::array();
  for (const Pod& p : pods) {
    if (!cpu.count(p.metadata.name) || !wanted.ok() || !wanted->matches(p.metadata.labels)) continue;
    json::Value item = json::Value::object();
    item["metadata"]["name"] = p.metadata.name;
    item["metadata"]["namespace"] = p.metadata.namespace_;
    item["timestamp"] = format_rfc3339(ex_->now());
    item["window"] = std::to_string(kWindowSeconds) + "s";
    item["containers"] = json::Value::array();
    const int64_t containers = static_cast<int64_t>(p.spec.containers.size());
    for (const auto& c : p.spec.containers) {
      json::Value container = json::Value::object();
      container["name"] = c.name;
      container["usage"]["cpu"] = amount(cpu.at(p.metadata.name) / containers);
      container["usage"]["memory"] = amount(memory.at(p.metadata.name) / containers);
      item["containers"].push_back(std::move(container));
    }
    list["items"].push_back(std::move(item));
  }
  return list;
}

json::Value Loads::pod_metrics(const std::vector<Pod>& pods, const std::string& selector, const std::string& metric) const {
  auto wanted = kube::LabelSelector::parse(selector);
  json::Value items = json::Value::array();
  const std::map<std::string, int64_t> share = shares(pods, metric);
  for (const Pod& p : pods) {
    if (!share.count(p.metadata.name) || !wanted.ok() || !wanted->matches(p.metadata.labels)) continue;
    json::Value item = json::Value::object();
    item["describedObject"]["kind"] = "Pod";
    item["describedObject"]["namespace"] = p.metadata.namespace_;
    item["describedObject"]["name"] = p.metadata.name;
    item["metric"]["name"] = metric;
    item["timestamp"] = format_rfc3339(ex_->now());
    item["windowSeconds"] = kWindowSeconds;
    item["value"] = amount(share.at(p.metadata.name));
    items.push_back(std::move(item));
  }
  return items;
}

Result<json::Value> Loads::answer(const kube::ApiRequest& q, const std::vector<Pod>& pods) const {
  if (down) return unavailable("the server is currently unable to handle the request");
  const std::string selector = parameter(q, "labelSelector");
  // .../namespaces/NS/pods, .../namespaces/NS/RESOURCE/NAME/METRIC, .../namespaces/NS/METRIC
  auto rest_of = [&](const char* api) -> std::vector<std::string> {
    const std::string prefix = std::string(api) + "namespaces/";
    return q.path.starts_with(prefix) ? split(q.path.substr(prefix.size()), '/') : std::vector<std::string>();
  };
  if (auto rest = rest_of(kResourceApi); rest.size() == 2 && rest[1] == "pods") return resource_metrics(pods, selector);
  json::Value list = json::Value::object();
  list["items"] = json::Value::array();
  if (auto rest = rest_of(kCustomApi); rest.size() == 4) {
    list["kind"] = "MetricValueList";
    list["apiVersion"] = "custom.metrics.k8s.io/v1beta2";
    if (rest[1] == "pods" && rest[2] == "*") {
      list["items"] = pod_metrics(pods, selector, rest[3]);
      return list;
    }
    for (const kube::KindInfo* k : kube::all_kinds()) {
      if (k->resource().group_resource() != rest[1]) continue;
      auto object = loads_.find(k->resource().kind + " " + rest[0] + "/" + rest[2]);
      if (object == loads_.end() || !object->second.count(rest[3])) continue;
      json::Value item = json::Value::object();
      item["describedObject"]["kind"] = k->resource().kind;
      item["describedObject"]["namespace"] = rest[0];
      item["describedObject"]["name"] = rest[2];
      item["metric"]["name"] = rest[3];
      item["timestamp"] = format_rfc3339(ex_->now());
      item["value"] = amount(object->second.at(rest[3]));
      list["items"].push_back(std::move(item));
      return list;
    }
  }
  if (auto rest = rest_of(kExternalApi); rest.size() == 2) {
    list["kind"] = "ExternalMetricValueList";
    list["apiVersion"] = "external.metrics.k8s.io/v1beta1";
    for (const auto& [object, metrics] : loads_) {
      auto m = metrics.find(rest[1]);
      if (m == metrics.end() || object.find(" " + rest[0] + "/") == std::string::npos) continue;
      json::Value item = json::Value::object();
      item["metricName"] = rest[1];
      item["metricLabels"]["object"] = object;
      item["timestamp"] = format_rfc3339(ex_->now());
      item["value"] = amount(m->second);
      list["items"].push_back(std::move(item));
    }
    return list;
  }
  return not_found("the server could not find the requested resource");
}

}  // namespace caravel::sim
