#include "controllers/job_pods.h"

namespace caravel::controllers {

using kube::batch::Job;
using kube::core::Pod;

namespace {

constexpr size_t kGeneratedNameMax = 58;  // five more are drawn

std::string name_with_index(const std::string& job, int index) {
  std::string tail = "-" + std::to_string(index) + "-";
  return job.substr(0, kGeneratedNameMax - tail.size()) + tail;
}

void tell_index(kube::core::Container& c) {
  for (auto& e : c.env)
    if (e.name == "JOB_COMPLETION_INDEX") return;
  kube::core::EnvVar e;
  e.name = "JOB_COMPLETION_INDEX";
  e.value_from.emplace();
  e.value_from->field_ref.emplace();
  e.value_from->field_ref->field_path = std::string("metadata.labels['") + kCompletionIndex + "']";
  c.env.push_back(std::move(e));
}

Pod templated(const Job& job, const std::string& prefix) {
  Pod p = pod_from_template(job.spec.template_, job.metadata.namespace_, prefix);
  p.metadata.owner_references.push_back(owner_reference(job));
  if (!is_tracked(p)) p.metadata.finalizers.push_back(kJobTracking);
  return p;
}

}  // namespace

bool is_indexed(const Job& job) { return job.spec.completion_mode == "Indexed"; }

std::vector<PodPtr> job_pods_to_remove(const Job& job, std::vector<PodPtr> active, int at_least, Time now) {
  const std::map<std::string, int> anywhere;
  std::sort(active.begin(), active.end(), [&](auto& a, auto& b) { return delete_before(*a, *b, anywhere, now); });
  std::vector<PodPtr> out, left;
  if (is_indexed(job)) {
    std::set<int> kept;  // the last of an index is the one that serves most
    for (auto it = active.rbegin(); it != active.rend(); ++it) {
      std::optional<int> i = index_of(**it);
      bool keep = i && *i < job.spec.completions.value_or(0) && kept.insert(*i).second;
      (keep ? left : out).push_back(*it);
    }
    std::reverse(left.begin(), left.end());
  } else {
    left = std::move(active);
  }
  for (size_t i = 0; i < left.size() && static_cast<int>(out.size()) < at_least; ++i) out.push_back(left[i]);
  return out;
}

Pod new_job_pod(const Job& job) { return templated(job, job.metadata.name + "-"); }

Pod new_job_pod(const Job& job, int index, const PodPtr& replaced) {
  Pod p = templated(job, name_with_index(job.metadata.name, index));
  p.metadata.annotations[kCompletionIndex] = p.metadata.labels[kCompletionIndex] = std::to_string(index);
  p.spec.hostname = job.metadata.name + "-" + std::to_string(index);
  for (auto& c : p.spec.init_containers) tell_index(c);
  for (auto& c : p.spec.containers) tell_index(c);
  if (job.spec.backoff_limit_per_index) {
    int failures = 0, ignored = 0;
    if (replaced) {
      failures = index_failures(*replaced);
      ignored = index_ignored_failures(*replaced);
      ++(match_failure_policy(job, *replaced).counts() ? failures : ignored);
    }
    p.metadata.annotations[kIndexFailures] = std::to_string(failures);
    if (ignored > 0) p.metadata.annotations[kIndexIgnoredFailures] = std::to_string(ignored);
  }
  return p;
}

}  // namespace caravel::controllers
