#include "controllers/job_policy.h"

namespace caravel::controllers {

using kube::batch::Job;
using kube::core::Pod;

bool replaces_only_ended(const Job& job) { return job.spec.pod_replacement_policy == "Failed" || job.spec.pod_failure_policy.has_value(); }

bool has_failed(const Job& job, const Pod& p) {
  if (p.status.phase == "Failed") return true;
  return !replaces_only_ended(job) && is_terminating(p.metadata) && p.status.phase != "Succeeded";
}

namespace {

const kube::core::ContainerStatus* failed_container(const std::vector<kube::core::ContainerStatus>& list,
                                                    const kube::batch::PodFailurePolicyOnExitCodesRequirement& wanted) {
  for (auto& c : list) {
    if (!c.state.terminated || c.state.terminated->exit_code == 0) continue;
    if (wanted.container_name && *wanted.container_name != c.name) continue;
    bool listed = std::find(wanted.values.begin(), wanted.values.end(), c.state.terminated->exit_code) != wanted.values.end();
    if (listed == (wanted.operator_ == "In")) return &c;
  }
  return nullptr;
}

// Why the rule applies, without the rule's own name; "" if it does not.
std::string met(const kube::batch::PodFailurePolicyRule& rule, const Pod& p) {
  const std::string name = p.metadata.namespace_ + "/" + p.metadata.name;
  if (rule.on_exit_codes) {
    const kube::core::ContainerStatus* c = failed_container(p.status.container_statuses, *rule.on_exit_codes);
    if (!c) c = failed_container(p.status.init_container_statuses, *rule.on_exit_codes);
    if (c) return "Container " + c->name + " for pod " + name + " failed with exit code " + std::to_string(c->state.terminated->exit_code);
    return "";
  }
  for (auto& c : p.status.conditions)
    for (auto& pattern : rule.on_pod_conditions)
      if (c.type == pattern.type && c.status == (pattern.status.empty() ? "True" : pattern.status)) return "Pod " + name + " has condition " + c.type;
  return "";
}

}  // namespace

FailureMatch match_failure_policy(const Job& job, const Pod& p) {
  if (!job.spec.pod_failure_policy) return {};
  const auto& rules = job.spec.pod_failure_policy->rules;
  for (size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].action == "FailIndex" && !job.spec.backoff_limit_per_index) continue;
    std::string why = met(rules[i], p);
    if (!why.empty()) return {rules[i].action, why + " matching " + rules[i].action + " rule at index " + std::to_string(i)};
  }
  return {};
}

std::string match_success_policy(const Job& job, const IndexSet& succeeded) {
  if (!job.spec.success_policy || succeeded.empty()) return "";
  const auto& rules = job.spec.success_policy->rules;
  for (size_t i = 0; i < rules.size(); ++i) {
    bool hit = false;
    if (rules[i].succeeded_indexes) {
      IndexSet wanted = IndexSet::parse(*rules[i].succeeded_indexes, job.spec.completions.value_or(0));
      int have = wanted.common(succeeded);
      hit = !wanted.empty() && (have == wanted.size() || (rules[i].succeeded_count && have >= *rules[i].succeeded_count));
    } else {
      hit = rules[i].succeeded_count && succeeded.size() >= *rules[i].succeeded_count;
    }
    if (hit) return "Matched rules at index " + std::to_string(i);
  }
  return "";
}

namespace {

bool is_sidecar(const Pod& p, const std::string& container) {
  return std::any_of(p.spec.init_containers.begin(), p.spec.init_containers.end(), [&](auto& c) { return c.name == container && c.restart_policy == "Always"; });
}

std::optional<Time> end_of_containers(const Pod& p) {
  std::optional<Time> last;
  auto look = [&](const kube::core::ContainerStatus& c) {
    if (!c.state.terminated || c.state.terminated->finished_at.is_zero()) return false;
    last = last ? std::max(*last, c.state.terminated->finished_at) : c.state.terminated->finished_at;
    return true;
  };
  for (auto& c : p.status.container_statuses)
    if (!look(c)) return std::nullopt;
  for (auto& c : p.status.init_container_statuses)
    if (is_sidecar(p, c.name) && !look(c)) return std::nullopt;
  return last;
}

}  // namespace

Time finished_time(const Pod& p) {
  if (auto end = end_of_containers(p)) return *end;
  const kube::core::PodCondition* ready = condition(p, "Ready");
  if (ready && ready->status == "False" && !ready->last_transition_time.is_zero()) return ready->last_transition_time;
  if (p.metadata.deletion_timestamp) return *p.metadata.deletion_timestamp - std::chrono::seconds(p.metadata.deletion_grace_period_seconds.value_or(0));
  return p.metadata.creation_timestamp;
}

JobBackoff after_ends(JobBackoff b, const std::vector<PodPtr>& succeeded, const std::vector<PodPtr>& failed) {
  Time last_success;
  for (auto& p : succeeded) last_success = std::max(last_success, finished_time(*p));
  if (!succeeded.empty()) b = {};
  for (auto& p : failed) {
    Time end = finished_time(*p);
    if (!succeeded.empty() && end <= last_success) continue;
    ++b.failures;
    b.last = std::max(b.last, end);
  }
  return b;
}

Duration backoff_left(const JobBackoff& b, Time now) {
  if (b.failures <= 0) return Duration(0);
  Duration wait = kJobBackoffMin;
  for (int i = 1; i < b.failures && wait < kJobBackoffMax; ++i) wait = std::min(2 * wait, kJobBackoffMax);
  return std::max(Duration(0), b.last + wait - now);
}

}  // namespace caravel::controllers
