#include "scheduler/preemption.h"

#include <algorithm>
#include <climits>
#include <tuple>

namespace caravel::scheduler {

namespace {

const char* const kNoVictims = "No preemption victims found for incoming pod";
const char* const kNotHelpful = "Preemption is not helpful for scheduling";

// Splits pods, most important first, into those whose eviction would break a budget and the others.
void split_by_budgets(const Cluster& cluster, const std::vector<PodId>& pods, const FactsOf& facts, const std::vector<Budget>& budgets,
                      std::vector<PodId>& violating, std::vector<PodId>& free) {
  std::vector<int64_t> left;
  for (const auto& b : budgets) left.push_back(b.allowed);
  for (PodId id : pods) {
    const PodSpec& pod = cluster.pod_spec(id);
    const std::string& key = facts(id)->key;
    std::string name = key.substr(key.find('/') + 1);
    bool breaks = false;
    for (size_t i = 0; i < budgets.size() && !pod.labels.empty(); ++i) {
      const Budget& b = budgets[i];
      // A budget without a selector or with an empty one protects nobody here.
      if (b.ns != pod.ns || b.selector.nothing || b.selector.all.empty() || !matches(b.selector, pod.labels)) continue;
      if (b.disrupted.count(name)) continue;
      if (--left[i] < 0) breaks = true;
    }
    (breaks ? violating : free).push_back(id);
  }
}

}  // namespace

std::vector<std::string> select_victims(Cluster& cluster, ClassId c, int32_t priority, NodeId node, const FactsOf& facts,
                                        const std::vector<Budget>& budgets, Victims& out, const std::set<std::string>& holders) {
  std::vector<PodId> lower;
  for (PodId id : cluster.nodes().nodes[node].pods)
    if (const PodFacts* f = facts(id); f && f->priority < priority) lower.push_back(id);
  if (lower.empty()) return {kNoVictims};
  auto more_important = [&](PodId a, PodId b) {
    const PodFacts &x = *facts(a), &y = *facts(b);
    if (x.priority != y.priority) return x.priority > y.priority;
    return x.start != y.start ? x.start < y.start : x.key < y.key;
  };
  std::sort(lower.begin(), lower.end(), more_important);
  for (PodId id : lower) cluster.lift(id);
  auto holds = [&](PodId id) { return holders.count(facts(id)->key) > 0; };
  const bool held = static_cast<size_t>(std::count_if(lower.begin(), lower.end(), holds)) < holders.size();
  if (auto still = cluster.check(c, node, held)) {
    for (PodId id : lower) cluster.put_back(id);
    return still->reasons;
  }
  std::vector<PodId> violating, free;
  split_by_budgets(cluster, lower, facts, budgets, violating, free);
  out = Victims{node, {}, 0};
  auto reprieve = [&](PodId id) {
    if (!holds(id)) {
      cluster.put_back(id);
      if (cluster.fits(c, node)) return true;
      cluster.lift(id);
    }
    out.pods.push_back(id);
    return false;
  };
  for (PodId id : violating)
    if (!reprieve(id)) ++out.violations;
  for (PodId id : free) reprieve(id);
  for (PodId id : out.pods) cluster.put_back(id);
  std::sort(out.pods.begin(), out.pods.end(), more_important);
  if (out.pods.empty()) return {kNoVictims};
  return {};
}

const Victims* pick_one(const std::vector<Victims>& candidates, const FactsOf& facts) {
  // Smaller is better, one criterion after the other.
  auto rank = [&](const Victims& v) {
    int64_t top = facts(v.pods.front())->priority, sum = 0;
    int64_t earliest = INT64_MAX;
    for (PodId id : v.pods) {
      const PodFacts& f = *facts(id);
      // Priorities may be negative: shifted, so that one pod more never makes the sum smaller.
      sum += int64_t{f.priority} + INT32_MAX + 1;
      if (f.priority == top) earliest = std::min(earliest, f.start.ns);
    }
    return std::tuple(int64_t{v.violations}, top, sum, static_cast<int64_t>(v.pods.size()), -earliest);
  };
  const Victims* best = nullptr;
  for (const auto& v : candidates)
    if (!best || rank(v) < rank(*best)) best = &v;
  return best;
}

Preemption preempt(Cluster& cluster, ClassId c, int32_t priority, const FactsOf& facts, const std::vector<Budget>& budgets, NodeId start,
                   const std::set<std::string>& holders) {
  Preemption out;
  auto may_help = [&](NodeId n) {
    if (holders.empty()) return cluster.preemption_may_help(c, n);
    auto f = cluster.check(c, n, true);
    return f && f->preemption_may_help;
  };
  const NodeTable& nodes = cluster.nodes();
  // As many candidates as upstream looks at.
  const Profile& profile = cluster.profile(c);
  const size_t enough = std::max(static_cast<size_t>(profile.candidates_absolute), nodes.alive_count() * static_cast<size_t>(profile.candidates_percentage) / 100);
  std::vector<Victims> found;
  bool harmless = false;  // a candidate that breaks no budget
  for (size_t i = 0; i < nodes.size(); ++i) {
    NodeId n = static_cast<NodeId>((static_cast<size_t>(start) + i) % nodes.size());
    if (!nodes.alive[n]) continue;
    if (!may_help(n)) {
      ++out.reasons[kNotHelpful];
      continue;
    }
    Victims v;
    std::vector<std::string> why = select_victims(cluster, c, priority, n, facts, budgets, v, holders);
    for (const auto& reason : why) ++out.reasons[reason];
    if (!why.empty()) continue;
    harmless = harmless || v.violations == 0;
    found.push_back(std::move(v));
    if (harmless && found.size() >= enough) break;
  }
  if (const Victims* best = pick_one(found, facts)) out.best = *best;
  out.candidates = std::move(found);
  return out;
}

}  // namespace caravel::scheduler
