#include "controllers/horizontal_pod_autoscaler_replicas.h"

#include <cmath>

namespace caravel::controllers {

using kube::core::Pod;

namespace {

struct Groups {
  int ready = 0;
  std::set<std::string> unready, missing, ignored;
};

// A CPU sample says nothing while the pod starts, nor if it was never ready.
bool is_cpu_sample_void(const Pod& p, const PodMetric& m, Time now) {
  const kube::core::PodCondition* c = condition(p, "Ready");
  if (!c || !p.status.start_time) return true;
  if (*p.status.start_time + kCpuInitializationPeriod > now) return c->status == "False" || m.timestamp < c->last_transition_time + m.window;
  return c->status == "False" && *p.status.start_time + kInitialReadinessDelay > c->last_transition_time;
}

Groups group(const std::vector<PodPtr>& pods, const PodSample& sample, Time now) {
  Groups g;
  for (auto& p : pods) {
    const std::string& name = p->metadata.name;
    auto m = sample.metrics.find(name);
    if (is_terminating(p->metadata) || p->status.phase == "Failed") g.ignored.insert(name);
    else if (p->status.phase == "Pending") g.unready.insert(name);
    else if (m == sample.metrics.end()) g.missing.insert(name);
    else if (sample.resource == "cpu" && is_cpu_sample_void(*p, m->second, now)) g.unready.insert(name);
    else ++g.ready;
  }
  return g;
}

Result<Groups> sorted_out(PodSample& sample, const std::vector<PodPtr>& pods, Time now) {
  if (pods.empty()) return invalid("no pods returned by selector while calculating replica count");
  Groups g = group(pods, sample, now);
  std::erase_if(sample.metrics, [&](auto& m) { return g.ignored.count(m.first) || g.unready.count(m.first); });
  if (sample.metrics.empty()) return invalid("did not receive metrics for targeted pods (pods might be unready)");
  return g;
}

using Requests = std::map<std::string, int64_t>;

Result<int64_t> request_of(const Pod& p, const PodSample& sample) {
  if (sample.container.empty() && p.spec.resources) {
    auto whole = p.spec.resources->requests.find(sample.resource);
    if (whole != p.spec.resources->requests.end()) return whole->second.milli_value();
  }
  int64_t sum = 0;
  bool found = false;
  auto add = [&](const kube::core::Container& c) -> Status {
    if (!sample.container.empty() && c.name != sample.container) return ok();
    found = true;
    if (!c.resources.requests.count(sample.resource)) return invalid("missing request for " + sample.resource + " in container " + c.name + " of Pod " + p.metadata.name);
    sum += c.resources.requests.at(sample.resource).milli_value();
    return ok();
  };
  for (auto& c : p.spec.containers) TRY_VOID(add(c));
  for (auto& c : p.spec.init_containers)
    if (c.restart_policy == "Always") TRY_VOID(add(c));
  if (!found && !sample.container.empty()) return invalid("container " + sample.container + " not found in Pod " + p.metadata.name);
  return sum;
}

struct Ratio {
  double ratio = 0;
  int64_t usage = 0;
  int utilization = 0;
};
Result<Ratio> utilization_ratio(const PodMetrics& metrics, const Requests& requests, int target) {
  int64_t used = 0, requested = 0, n = 0;
  for (auto& [name, m] : metrics) {
    auto r = requests.find(name);
    if (r == requests.end()) continue;  // not (any more) one of the pods
    used += m.milli;
    requested += r->second;
    ++n;
  }
  if (requested == 0) return invalid("no metrics returned matched known pods");
  int percent = static_cast<int>(used * 100 / requested);
  return Ratio{static_cast<double>(percent) / target, used / n, percent};
}
Ratio usage_ratio(const PodMetrics& metrics, int64_t target) {
  int64_t used = 0;
  for (auto& [name, m] : metrics) used += m.milli;
  int64_t usage = used / static_cast<int64_t>(metrics.size());
  return {static_cast<double>(usage) / static_cast<double>(target), usage, 0};
}

int times(double ratio, size_t n) { return static_cast<int>(std::min(std::ceil(ratio * static_cast<double>(n)), 2147483647.0)); }

// The steps that both ways of counting share. `full` is what a pod without sample uses at most, `measure` the ratio.
template <class Full, class Measure>
Result<int> rebalanced(int current, double first, PodMetrics metrics, const Groups& g, Tolerance tolerance, Full full, Measure measure) {
  const bool with_unready = !g.unready.empty() && first > 1.0;
  if (!with_unready && g.missing.empty()) return tolerance.covers(first) ? current : times(first, static_cast<size_t>(g.ready));
  for (auto& name : g.missing) {
    if (first < 1.0) metrics[name] = {full(name), {}, {}};
    else if (first > 1.0) metrics[name] = {};
  }
  if (with_unready)
    for (auto& name : g.unready) metrics[name] = {};
  Result<Ratio> again = measure(metrics);
  if (!again.ok()) return std::move(again).error();
  const double ratio = again->ratio;
  if (tolerance.covers(ratio) || (first < 1.0 && ratio > 1.0) || (first > 1.0 && ratio < 1.0)) return current;
  const int n = times(ratio, metrics.size());
  if ((ratio < 1.0 && n > current) || (ratio > 1.0 && n < current)) return current;
  return n;
}

}  // namespace

Result<Proposal> by_utilization(int current, int target, PodSample sample, const std::vector<PodPtr>& pods, Tolerance tolerance, Time now) {
  TRY(Groups g, sorted_out(sample, pods, now));
  Requests requests;
  for (auto& p : pods) {
    TRY(int64_t request, request_of(*p, sample));
    requests[p->metadata.name] = request;
  }
  TRY(Ratio first, utilization_ratio(sample.metrics, requests, target));
  // A target above the request means that the pod may use more than that.
  auto full = [&](const std::string& name) { return requests[name] * std::max(100, target) / 100; };
  auto measure = [&](const PodMetrics& m) { return utilization_ratio(m, requests, target); };
  TRY(int n, rebalanced(current, first.ratio, sample.metrics, g, tolerance, full, measure));
  return Proposal{n, first.usage, first.utilization};
}

Result<Proposal> by_average(int current, int64_t target, PodSample sample, const std::vector<PodPtr>& pods, Tolerance tolerance, Time now) {
  TRY(Groups g, sorted_out(sample, pods, now));
  Ratio first = usage_ratio(sample.metrics, target);
  auto full = [&](const std::string&) { return target; };
  auto measure = [&](const PodMetrics& m) { return Result<Ratio>(usage_ratio(m, target)); };
  TRY(int n, rebalanced(current, first.ratio, sample.metrics, g, tolerance, full, measure));
  return Proposal{n, first.usage, 0};
}

Proposal by_value(int current, int64_t target, int64_t usage, const std::vector<PodPtr>& pods, Tolerance tolerance) {
  const double ratio = static_cast<double>(usage) / static_cast<double>(target);
  if (current == 0) return {times(ratio, 1), usage, 0};
  if (tolerance.covers(ratio)) return {current, usage, 0};
  auto ready = std::count_if(pods.begin(), pods.end(), [](auto& p) { return p->status.phase == "Running" && is_ready(*p); });
  return {times(ratio, static_cast<size_t>(ready)), usage, 0};
}

Proposal by_shared_value(int existing, int64_t target, int64_t usage, Tolerance tolerance) {
  const double ratio = static_cast<double>(usage) / (static_cast<double>(target) * existing);
  int n = existing;
  if (existing == 0 || !tolerance.covers(ratio)) n = times(static_cast<double>(usage) / static_cast<double>(target), 1);
  return {n, existing == 0 ? usage : (usage + existing - 1) / existing, 0};
}

}  // namespace caravel::controllers
