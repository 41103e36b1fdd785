#include "controllers/horizontal_pod_autoscaler_logic.h"

#include "kube/selectors.h"

namespace caravel::controllers {

using kube::Quantity;
using kube::autoscaling::HorizontalPodAutoscaler;
using kube::autoscaling::HorizontalPodAutoscalerStatus;
using kube::autoscaling::MetricSpec;
using kube::autoscaling::MetricStatus;
using kube::autoscaling::MetricTarget;

namespace {

void set(HorizontalPodAutoscalerStatus& s, const char* type, bool status, const std::string& reason, const std::string& message, Time now) {
  auto it = std::find_if(s.conditions.begin(), s.conditions.end(), [&](auto& c) { return c.type == type; });
  if (it == s.conditions.end()) {
    s.conditions.emplace_back();
    it = std::prev(s.conditions.end());
    it->type = type;
  }
  const char* text = status ? "True" : "False";
  if (it->status != text) it->last_transition_time = Time::from_seconds(now.seconds());
  it->status = text;
  it->reason = reason;
  it->message = message;
}

Tolerance tolerance_of(const HorizontalPodAutoscaler& hpa) {
  Tolerance t;
  if (!hpa.spec.behavior) return t;
  const auto &up = hpa.spec.behavior->scale_up, &down = hpa.spec.behavior->scale_down;
  if (up && up->tolerance) t.up = up->tolerance->as_double();
  if (down && down->tolerance) t.down = down->tolerance->as_double();
  return t;
}

std::string selector_text(const std::optional<kube::meta::LabelSelector>& s) {
  if (!s) return "";
  auto parsed = kube::LabelSelector::from(*s);
  return parsed.ok() ? parsed->text() : "";
}

// Go's way of printing a selector, which upstream puts into reasons and events.
std::string go_text(const std::optional<kube::meta::LabelSelector>& s) {
  if (!s) return "nil";
  std::string labels, expressions;
  for (auto& [k, v] : s->match_labels) labels += k + ": " + v + ",";
  for (auto& r : s->match_expressions) {
    expressions += "LabelSelectorRequirement{Key:" + r.key + ",Operator:" + r.operator_ + ",Values:[";
    for (size_t i = 0; i < r.values.size(); ++i) expressions += (i ? " " : "") + r.values[i];
    expressions += "],},";
  }
  return "&LabelSelector{MatchLabels:map[string]string{" + labels + "},MatchExpressions:[]LabelSelectorRequirement{" + expressions + "},}";
}

// Memory is told in binary units, as metrics-server does.
Quantity amount(const std::string& resource, int64_t milli) {
  return Quantity::from_milli(milli, resource == "memory" ? Quantity::Format::kBinarySI : Quantity::Format::kDecimalSI);
}

// What one metric asks for.
struct Answer {
  Proposal proposal;
  std::string metric;  // as "above target" names it
  MetricStatus status;
};
// Why it asks for nothing: the event's and condition's reason and the sentence, and what the whole says of it.
struct Refusal {
  std::string reason, message, whole;
};

class Evaluator {
 public:
  Evaluator(const HpaInput& in, Time now) : in_(in), tolerance_(tolerance_of(*in.hpa)), now_(now) {}

  std::optional<Answer> look(const MetricSpec& m, const Result<Measured>& measured) {
    Answer a;
    a.status.type = m.type;
    if (m.type == "Resource" && m.resource) return resource(*m.resource, measured, std::move(a));
    if (m.type == "ContainerResource" && m.container_resource) return container(*m.container_resource, measured, std::move(a));
    if (m.type == "Pods" && m.pods) return pods(*m.pods, measured, std::move(a));
    if (m.type == "Object" && m.object) return object(*m.object, measured, std::move(a));
    if (m.type == "External" && m.external) return external(*m.external, measured, std::move(a));
    std::string why = "unknown metric source type \"" + m.type + "\"";
    return refuse("InvalidMetricSourceType", why, why);
  }
  const Refusal& refusal() const { return refusal_; }

 private:
  std::nullopt_t refuse(const char* reason, std::string message, std::string whole) {
    refusal_ = {reason, std::move(message), std::move(whole)};
    return std::nullopt;
  }

  // Resource and ContainerResource differ in whose requests count and in what they are called.
  std::optional<Proposal> of_resource(const std::string& name, const std::string& container, const MetricTarget& target, const Result<Measured>& measured, const char* reason) {
    const std::string whole = "failed to get " + (container.empty() ? name + " resource" : container + " container") + " metric value: ";
    std::string what = target.average_value ? "usage" : "utilization";
    auto failed = [&](const std::string& why) {
      std::string inner = "failed to get " + name + " " + what + ": " + why;
      return refuse(reason, inner, whole + inner);
    };
    if (!target.average_value && !target.average_utilization) {
      std::string why = "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set";
      return refuse(reason, why, whole + why);
    }
    if (!measured.ok()) return failed("unable to get metrics for resource " + name + ": " + measured.error().message);
    PodSample sample{measured->pods, name, container};
    Result<Proposal> p = target.average_value ? by_average(in_.target.spec_replicas, target.average_value->milli_value(), std::move(sample), in_.pods, tolerance_, now_)
                                              : by_utilization(in_.target.spec_replicas, *target.average_utilization, std::move(sample), in_.pods, tolerance_, now_);
    if (!p.ok()) return failed(p.error().message);
    return *p;
  }
  static kube::autoscaling::MetricValueStatus current(const Proposal& p, const std::string& resource, const MetricTarget& target) {
    kube::autoscaling::MetricValueStatus out;
    out.average_value = amount(resource, p.usage);
    if (!target.average_value) out.average_utilization = p.utilization;
    return out;
  }

  std::optional<Answer> resource(const kube::autoscaling::ResourceMetricSource& m, const Result<Measured>& measured, Answer a) {
    auto p = of_resource(m.name, "", m.target, measured, "FailedGetResourceMetric");
    if (!p) return std::nullopt;
    a.proposal = *p;
    a.metric = m.name + " resource" + (m.target.average_value ? "" : " utilization (percentage of request)");
    a.status.resource.emplace();
    a.status.resource->name = m.name;
    a.status.resource->current = current(*p, m.name, m.target);
    return a;
  }

  std::optional<Answer> container(const kube::autoscaling::ContainerResourceMetricSource& m, const Result<Measured>& measured, Answer a) {
    auto p = of_resource(m.name, m.container, m.target, measured, "FailedGetContainerResourceMetric");
    if (!p) return std::nullopt;
    a.proposal = *p;
    a.metric = m.name + (m.target.average_value ? " resource" : " container resource utilization (percentage of request)");
    a.status.container_resource.emplace();
    a.status.container_resource->name = m.name;
    a.status.container_resource->container = m.container;
    a.status.container_resource->current = current(*p, m.name, m.target);
    return a;
  }

  std::optional<Answer> pods(const kube::autoscaling::PodsMetricSource& m, const Result<Measured>& measured, Answer a) {
    auto failed = [&](const std::string& why) { return refuse("FailedGetPodsMetric", why, "failed to get pods metric value: " + why); };
    if (!measured.ok()) return failed("unable to get metric " + m.metric.name + ": " + measured.error().message);
    if (!m.target.average_value) return failed("invalid pods metric source: no average value target was set");
    Result<Proposal> p = by_average(in_.target.spec_replicas, m.target.average_value->milli_value(), {measured->pods, "", ""}, in_.pods, tolerance_, now_);
    if (!p.ok()) return failed(p.error().message);
    a.proposal = *p;
    a.metric = "pods metric " + m.metric.name;
    a.status.pods.emplace();
    a.status.pods->metric = m.metric;
    a.status.pods->current.average_value = Quantity::from_milli(p->usage);
    return a;
  }

  // One value: absolute, or shared by the pods.
  Proposal of_value(const MetricTarget& target, int64_t usage) const {
    if (target.average_value) return by_shared_value(in_.target.status_replicas, target.average_value->milli_value(), usage, tolerance_);
    return by_value(in_.target.spec_replicas, target.value->milli_value(), usage, in_.pods, tolerance_);
  }
  static void enter(kube::autoscaling::MetricValueStatus& out, const MetricTarget& target, const Proposal& p) {
    (target.average_value ? out.average_value : out.value) = Quantity::from_milli(p.usage);
  }

  std::optional<Answer> object(const kube::autoscaling::ObjectMetricSource& m, const Result<Measured>& measured, Answer a) {
    auto failed = [&](const std::string& why) { return refuse("FailedGetObjectMetric", why, "failed to get object metric value: " + why); };
    const auto& o = m.described_object;
    if (!m.target.value && !m.target.average_value) return failed("invalid object metric source: neither a value target nor an average value target was set");
    if (!measured.ok()) {
      std::string why = "unable to get metric " + m.metric.name + ": " + o.kind + " on " + in_.hpa->metadata.namespace_ + " " + o.name + "/" + measured.error().message;
      if (!m.target.average_value) return failed(why);
      return refuse("FailedGetObjectMetric", why, "failed to get object metric value: failed to get " + m.metric.name + " object metric: " + why);
    }
    a.proposal = of_value(m.target, measured->milli);
    // Upstream calls a value that is shared by the pods external.
    a.metric = m.target.average_value ? "external metric " + m.metric.name + "(" + go_text(m.metric.selector) + ")" : o.kind + " metric " + m.metric.name;
    a.status.object.emplace();
    a.status.object->metric = m.metric;
    a.status.object->described_object = o;
    enter(a.status.object->current, m.target, a.proposal);
    return a;
  }

  std::optional<Answer> external(const kube::autoscaling::ExternalMetricSource& m, const Result<Measured>& measured, Answer a) {
    const std::string& name = m.metric.name;
    const std::string whole = "failed to get " + name + " external metric value: ";
    auto failed = [&](const std::string& why) {
      return refuse("FailedGetExternalMetric", why, whole + (m.target.average_value ? "failed to get " + name + " external metric: " : "failed to get external metric " + name + ": ") + why);
    };
    if (!m.target.value && !m.target.average_value) {
      std::string why = "invalid external metric source: neither a value target nor an average value target was set";
      return refuse("FailedGetExternalMetric", why, whole + why);
    }
    const std::string selector = selector_text(m.metric.selector);
    if (!measured.ok()) return failed("unable to get external metric " + in_.hpa->metadata.namespace_ + "/" + name + "/" + selector + ": " + measured.error().message);
    a.proposal = of_value(m.target, measured->milli);
    a.metric = "external metric " + name + "(" + go_text(m.metric.selector) + ")";
    a.status.external.emplace();
    a.status.external->metric = m.metric;
    enter(a.status.external->current, m.target, a.proposal);
    return a;
  }

  const HpaInput& in_;
  Tolerance tolerance_;
  Time now_;
  Refusal refusal_;
};

HpaDecision start(const HorizontalPodAutoscaler& hpa) {
  HpaDecision d;
  d.status = hpa.status;
  return d;
}

// False, with condition and event, if the pods cannot be told.
bool check_selector(const HpaInput& in, HpaDecision& d, Time now) {
  auto bad = [&](const char* event, const char* reason, const std::string& event_text, const std::string& message) {
    d.events.push_back({true, event, event_text});
    set(d.status, "ScalingActive", false, reason, message, now);
    d.events.push_back({true, "FailedComputeMetricsReplicas", event_text});
    return false;
  };
  if (in.target.selector.empty()) return bad("SelectorRequired", "InvalidSelector", "selector is required", "the HPA target's scale is missing a selector");
  if (!in.bad_selector.empty()) {
    std::string why = "couldn't convert selector into a corresponding internal selector object: " + in.bad_selector;
    return bad("InvalidSelector", "InvalidSelector", why, why);
  }
  if (in.sharers.size() > 1) {
    std::string list;
    for (auto& s : in.sharers) list += (list.empty() ? "" : " ") + s;
    std::string why = "pods by selector " + in.target.selector + " are controlled by multiple HPAs: [" + list + "]";
    return bad("AmbiguousSelector", "AmbiguousSelector", why, why);
  }
  return true;
}

// The largest of what the metrics ask for, or nothing.
std::optional<Answer> evaluate(const HpaInput& in, HpaDecision& d, Time now) {
  const auto& specs = in.hpa->spec.metrics;
  Evaluator evaluator(in, now);
  std::optional<Answer> best;
  std::optional<Refusal> first;
  size_t refused = 0;
  d.status.current_metrics.assign(specs.size(), MetricStatus());
  for (size_t i = 0; i < specs.size(); ++i) {
    std::optional<Answer> a = evaluator.look(specs[i], in.metrics[i]);
    if (!a) {
      const Refusal& r = evaluator.refusal();
      d.events.push_back({true, r.reason, r.message});
      if (!first) first = r;
      ++refused;
      continue;
    }
    d.status.current_metrics[i] = a->status;
    if (!best || a->proposal.replicas > best->proposal.replicas) best = std::move(a);
  }
  if (refused > 0 && (!best || best->proposal.replicas < in.target.spec_replicas)) {
    set(d.status, "ScalingActive", false, first->reason, "the HPA was unable to compute the replica count: " + first->message, now);
    d.events.push_back({true, "FailedComputeMetricsReplicas",
                        "invalid metrics (" + std::to_string(refused) + " invalid out of " + std::to_string(specs.size()) + "), first error is: " + first->whole});
    return std::nullopt;
  }
  if (!best) return std::nullopt;
  set(d.status, "ScalingActive", true, "ValidMetricFound", "the HPA was able to successfully calculate a replica count from " + best->metric, now);
  return best;
}

}  // namespace

bool needs_metrics(const HorizontalPodAutoscaler& hpa, const HpaTarget& t) {
  if (t.spec_replicas == 0 && hpa.spec.min_replicas.value_or(1) != 0) return false;
  return t.spec_replicas <= hpa.spec.max_replicas && t.spec_replicas >= hpa.spec.min_replicas.value_or(1);
}

HpaDecision decide(const HpaInput& in, HpaMemory& memory, Time now) {
  const HorizontalPodAutoscaler& hpa = *in.hpa;
  const int current = in.target.spec_replicas, least = hpa.spec.min_replicas.value_or(1);
  HpaDecision d = start(hpa);
  d.status.current_replicas = current;
  set(d.status, "AbleToScale", true, "SucceededGetScale", "the HPA controller was able to get the target's current scale", now);
  if (memory.recommendations.empty()) memory.recommendations.push_back({current, now});

  int desired = current;
  if (current == 0 && least != 0) {
    desired = 0;
    set(d.status, "ScalingActive", false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero", now);
  } else if (current > hpa.spec.max_replicas) {
    desired = hpa.spec.max_replicas;
    d.why = "Current number of replicas above Spec.MaxReplicas";
  } else if (current < least) {
    desired = least;
    d.why = "Current number of replicas below Spec.MinReplicas";
  } else {
    if (!check_selector(in, d, now)) return d;
    std::optional<Answer> best = evaluate(in, d, now);
    if (!best) return d;
    const int proposed = best->proposal.replicas;
    Normalized n = normalize(hpa, memory, current, proposed, now);
    set(d.status, "AbleToScale", n.able.status, n.able.reason, n.able.message, now);
    set(d.status, "ScalingLimited", n.limited.status, n.limited.reason, n.limited.message, now);
    desired = n.replicas;
    // The reason is what the metrics ask for, even where the window or the limits make it something else.
    if (proposed > current) d.why = best->metric + " above target";
    else if (proposed < current) d.why = "All metrics below target";
  }
  d.decided = true;
  d.status.desired_replicas = desired;
  if (desired != current) d.rescale = desired;
  return d;
}

HpaDecision without_scale(const HorizontalPodAutoscaler& hpa, const std::string& why, Time now) {
  HpaDecision d = start(hpa);
  d.events.push_back({true, "FailedGetScale", why});
  set(d.status, "AbleToScale", false, "FailedGetScale", "the HPA controller was unable to get the target's current scale: " + why, now);
  return d;
}

void note_rescaled(const HpaInput& in, HpaMemory& memory, HpaDecision& d, Time now) {
  remember_change(*in.hpa, memory, in.target.spec_replicas, *d.rescale, now);
  set(d.status, "AbleToScale", true, "SucceededRescale", "the HPA controller was able to update the target scale to " + std::to_string(*d.rescale), now);
  d.events.push_back({false, "SuccessfulRescale", "New size: " + std::to_string(*d.rescale) + "; reason: " + d.why});
  d.status.last_scale_time = Time::from_seconds(now.seconds());
}

void note_rescale_failed(const HpaInput& in, HpaDecision& d, const std::string& why, Time now) {
  d.events.push_back({true, "FailedRescale", "New size: " + std::to_string(*d.rescale) + "; reason: " + d.why + "; error: " + why});
  set(d.status, "AbleToScale", false, "FailedUpdateScale", "the HPA controller was unable to update the target scale: " + why, now);
  d.status.desired_replicas = in.hpa->status.desired_replicas;
  d.decided = false;
}

}  // namespace caravel::controllers
