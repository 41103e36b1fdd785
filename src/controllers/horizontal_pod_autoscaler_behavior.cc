#include "controllers/horizontal_pod_autoscaler_behavior.h"

#include <algorithm>
#include <climits>
#include <cmath>

namespace caravel::controllers {

using kube::autoscaling::HorizontalPodAutoscaler;
using kube::autoscaling::HPAScalingRules;

namespace {

HpaReason within_range() { return {false, "DesiredWithinRange", "the desired count is within the acceptable range"}; }
HpaReason too_few() { return {true, "TooFewReplicas", "the desired replica count is less than the minimum replica count"}; }
HpaReason too_many() { return {true, "TooManyReplicas", "the desired replica count is more than the maximum replica count"}; }
HpaReason too_fast_up() { return {true, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate"}; }
HpaReason too_fast_down() { return {true, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate"}; }
HpaReason ready() { return {true, "ReadyForNewScale", "recommended size matches current size"}; }
HpaReason held_up() { return {true, "ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation"}; }
HpaReason held_down() { return {true, "ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation"}; }

// Upstream's defaults of a behavior that says nothing.
HPAScalingRules rules_up(const HorizontalPodAutoscaler& hpa) {
  HPAScalingRules r = hpa.spec.behavior && hpa.spec.behavior->scale_up ? *hpa.spec.behavior->scale_up : HPAScalingRules();
  if (r.policies.empty()) r.policies = {{"Pods", 4, 15}, {"Percent", 100, 15}};
  return r;
}
HPAScalingRules rules_down(const HorizontalPodAutoscaler& hpa) {
  HPAScalingRules r = hpa.spec.behavior && hpa.spec.behavior->scale_down ? *hpa.spec.behavior->scale_down : HPAScalingRules();
  if (r.policies.empty()) r.policies = {{"Percent", 100, 15}};
  return r;
}
Duration window(const HPAScalingRules& r, Duration otherwise) {
  return r.stabilization_window_seconds ? Duration(std::chrono::seconds(*r.stabilization_window_seconds)) : otherwise;
}

int changed_within(const std::vector<HpaMemory::Change>& list, int period, Time now) {
  int n = 0;
  for (auto& c : list)
    if (c.at > now - std::chrono::seconds(period)) n += c.replicas;
  return n;
}

int period_start(const HpaMemory& m, int current, int period, Time now) { return current - changed_within(m.ups, period, now) + changed_within(m.downs, period, now); }

int limit_up(const HPAScalingRules& r, const HpaMemory& m, int current, Time now) {
  const std::string select = r.select_policy.value_or("Max");
  if (select == "Disabled") return current;
  int64_t limit = select == "Min" ? INT_MAX : INT_MIN;
  for (auto& p : r.policies) {
    const int start = period_start(m, current, p.period_seconds, now);
    int64_t proposed = p.type == "Pods" ? int64_t{start} + p.value : static_cast<int64_t>(std::ceil(start * (1.0 + p.value / 100.0)));
    limit = select == "Min" ? std::min(limit, proposed) : std::max(limit, proposed);
  }
  return static_cast<int>(std::clamp<int64_t>(limit, current, INT_MAX));
}

int limit_down(const HPAScalingRules& r, const HpaMemory& m, int current, Time now) {
  const std::string select = r.select_policy.value_or("Max");
  if (select == "Disabled") return current;
  // The greatest change is the smallest number here.
  int64_t limit = select == "Min" ? INT_MIN : INT_MAX;
  for (auto& p : r.policies) {
    const int start = period_start(m, current, p.period_seconds, now);
    int64_t proposed = p.type == "Pods" ? int64_t{start} - p.value : static_cast<int64_t>(start * (1.0 - p.value / 100.0));
    limit = select == "Min" ? std::max(limit, proposed) : std::min(limit, proposed);
  }
  return static_cast<int>(std::clamp<int64_t>(limit, INT_MIN, current));
}

void remember(HpaMemory& m, int desired, Duration keep, Time now) {
  std::erase_if(m.recommendations, [&](auto& r) { return r.at <= now - keep; });
  m.recommendations.push_back({desired, now});
}

Normalized without_behavior(const HorizontalPodAutoscaler& hpa, HpaMemory& memory, int current, int desired, Time now) {
  Normalized out;
  int stable = desired;
  for (auto& r : memory.recommendations)
    if (r.at > now - kDownscaleStabilization) stable = std::max(stable, r.replicas);
  remember(memory, desired, kDownscaleStabilization, now);
  out.able = stable == desired ? ready() : held_up();
  const int least = hpa.spec.min_replicas.value_or(1), fast = std::max(2 * current, 4), most = std::min(hpa.spec.max_replicas, fast);
  out.replicas = std::clamp(stable, std::min(least, most), most);
  out.limited = stable < least ? too_few() : stable <= most             ? within_range()
                                         : hpa.spec.max_replicas > fast ? too_fast_up()
                                                                        : too_many();
  return out;
}

Normalized with_behavior(const HorizontalPodAutoscaler& hpa, HpaMemory& memory, int current, int desired, Time now) {
  const HPAScalingRules up = rules_up(hpa), down = rules_down(hpa);
  const Duration up_window = window(up, Duration(0)), down_window = window(down, kDownscaleStabilization);
  Normalized out;
  int lowest = desired, highest = desired;
  for (auto& r : memory.recommendations) {
    if (r.at > now - up_window) lowest = std::min(lowest, r.replicas);
    if (r.at > now - down_window) highest = std::max(highest, r.replicas);
  }
  remember(memory, desired, std::max(up_window, down_window), now);
  const int stable = std::min(std::max(current, lowest), highest);
  out.able = stable == desired ? ready() : desired >= current ? held_down()
                                                              : held_up();
  out.replicas = stable;
  out.limited = within_range();
  if (stable > current) {
    const int fast = limit_up(up, memory, current, now), most = std::min(hpa.spec.max_replicas, fast);
    if (stable > most) {
      out.replicas = most;
      out.limited = hpa.spec.max_replicas > fast ? too_fast_up() : too_many();
    }
  } else if (stable < current) {
    const int fast = limit_down(down, memory, current, now), least = std::max(hpa.spec.min_replicas.value_or(1), fast);
    if (stable < least) {
      out.replicas = least;
      out.limited = hpa.spec.min_replicas.value_or(1) < fast ? too_fast_down() : too_few();
    }
  }
  return out;
}

int longest_period(const HPAScalingRules& r) {
  int longest = 0;
  for (auto& p : r.policies) longest = std::max(longest, p.period_seconds);
  return longest;
}

}  // namespace

void remember_change(const HorizontalPodAutoscaler& hpa, HpaMemory& memory, int before, int after, Time now) {
  auto& list = after > before ? memory.ups : memory.downs;
  const int period = longest_period(after > before ? rules_up(hpa) : rules_down(hpa));
  std::erase_if(list, [&](auto& c) { return c.at <= now - std::chrono::seconds(period); });
  list.push_back({std::abs(after - before), now});
}

Normalized normalize(const HorizontalPodAutoscaler& hpa, HpaMemory& memory, int current, int desired, Time now) {
  return hpa.spec.behavior ? with_behavior(hpa, memory, current, desired, now) : without_behavior(hpa, memory, current, desired, now);
}

}  // namespace caravel::controllers
