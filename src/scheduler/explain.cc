// Why a pod fits nowhere: the verdict on one node, the sum over all, and its text.
#include <algorithm>

#include "scheduler/cluster.h"

namespace caravel::scheduler {

std::optional<NodeFailure> Cluster::check(ClassId c, NodeId n, bool claim_held) {
  const Class& k = *classes_[c];
  NodeFailure f;
  auto fail = [&](uint32_t plugin, std::string reason, bool preemption_may_help) {
    f.plugin = plugin;
    f.reasons.push_back(std::move(reason));
    f.preemption_may_help = preemption_may_help;
    return f;
  };
  const NodeSpec& node = nodes_.nodes[n].spec;
  if (k.is_pinned && std::find(k.pinned.begin(), k.pinned.end(), node.name) == k.pinned.end())
    return fail(kNodeAffinity, "node(s) didn't satisfy plugin(s) [NodeAffinity]", false);
  switch (verdict(k, n)) {
    case StaticVerdict::kFits:
    case StaticVerdict::kVolume: break;  // volumes come after ports and resources
    case StaticVerdict::kUnschedulable: return fail(kNodeUnschedulable, "node(s) were unschedulable", false);
    case StaticVerdict::kNodeName: return fail(kNodeName, "node(s) didn't match the requested node name", false);
    case StaticVerdict::kTaint: return fail(kTaintToleration, "node(s) had untolerated taint(s)", false);
    case StaticVerdict::kEnforced: return fail(kNodeAffinity, "node(s) didn't match scheduler-enforced node affinity", false);
    case StaticVerdict::kAffinity: return fail(kNodeAffinity, "node(s) didn't match Pod's node affinity/selector", false);
  }
  if (!ports_free(nodes_, n, k.needs)) return fail(kNodePorts, "node(s) didn't have free ports for the requested pod ports", true);
  bool hopeless = false;
  f.reasons = resource_reasons(nodes_, n, k.needs, hopeless);
  if (!f.reasons.empty()) {
    f.plugin = kNodeResourcesFit;
    f.preemption_may_help = !hopeless;
    return f;
  }
  if (claim_held) return fail(kVolumeRestrictions, kClaimHeld, true);
  if (!attachable(k, n)) return fail(kNodeVolumeLimits, "node(s) exceed max volume count", true);
  if (const VolumeNodes* volume = unserved_volume(node, k.spec)) return fail(volume->zonal ? kVolumeZone : kVolumeBinding, volume->reason, false);
  for (const auto& h : k.hard) {
    const Counter& counter = *counters_[h.counter];
    int32_t d = nodes_.keys[h.key]->domain[n];
    if (d < 0) return fail(kPodTopologySpread, "node(s) didn't match pod topology spread constraints (missing required label)", false);
    if (counter.count(d) > spread_limit(counter, h.max_skew, h.min_domains, h.self))
      return fail(kPodTopologySpread, "node(s) didn't match pod topology spread constraints", true);
  }
  bool all = true, any_anywhere = false;
  for (int i : k.affinity) {
    CounterView v = view(nodes_, *counters_[i]);
    if (!v.has_key(n)) return fail(kInterPodAffinity, "node(s) didn't match pod affinity rules", false);
    if (v.at(n) <= 0) all = false;
    if (counters_[i]->total > 0) any_anywhere = true;
  }
  if (!all && (any_anywhere || !k.affinity_self)) return fail(kInterPodAffinity, "node(s) didn't match pod affinity rules", false);
  for (int i : k.anti_affinity)
    if (view(nodes_, *counters_[i]).at(n) > 0) return fail(kInterPodAffinity, "node(s) didn't match pod anti-affinity rules", true);
  for (int i : k.blocked_by)
    if (view(nodes_, *counters_[i]).at(n) > 0) return fail(kInterPodAffinity, "node(s) didn't satisfy existing pods anti-affinity rules", true);
  return std::nullopt;
}

bool Cluster::fits(ClassId c, NodeId n) const {
  const Class& k = *classes_[c];
  const NodeSpec& node = nodes_.nodes[n].spec;
  if (k.is_pinned && std::find(k.pinned.begin(), k.pinned.end(), node.name) == k.pinned.end()) return false;
  return verdict(k, n) == StaticVerdict::kFits && resources_fit(nodes_, n, k.needs) && ports_free(nodes_, n, k.needs) && attachable(k, n) && walk_admits(k, n);
}

bool Cluster::preemption_may_help(ClassId c, NodeId n) {
  const Class& k = *classes_[c];
  if (k.shape) {
    k.shape->refresh(nodes_);
    if (k.shape->filter().verdict(n) != StaticVerdict::kFits) return false;
    if (k.shape->scores()[static_cast<size_t>(n)] == Shape::kRuledOut) return !ports_free(nodes_, n, k.needs) || could_ever_fit(nodes_, n, k.needs);
  }
  auto f = check(c, n);
  return f && f->preemption_may_help;
}

Failure Cluster::explain(ClassId c, bool claim_held) {
  Failure out;
  out.nodes = nodes_.alive_count();
  Class& k = *classes_[c];
  // Most nodes are turned down by a few reasons that arrays answer; they are counted by number and named
  // once. Only nodes that pass these need the full check.
  enum { kCordoned,
         kOtherName,
         kTainted,
         kUnenforced,
         kUnaffine,
         kPorts,
         kPodCount,
         kCpu,
         kMemory,
         kEphemeral,
         kOther };
  std::vector<int> counts(kOther + k.needs.required.size(), 0);
  if (k.shape) k.shape->refresh(nodes_);
  auto turn_down = [&](int reason, uint32_t plugin) {
    ++counts[static_cast<size_t>(reason)];
    out.plugins |= plugin;
  };
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!nodes_.alive[i]) continue;
    NodeId n = static_cast<NodeId>(i);
    if (k.shape && k.shape->scores()[i] == Shape::kRuledOut && k.shape->filter().verdict(n) != StaticVerdict::kVolume) {
      StaticVerdict v = k.shape->filter().verdict(n);
      if (v == StaticVerdict::kUnschedulable) turn_down(kCordoned, kNodeUnschedulable);
      else if (v == StaticVerdict::kNodeName) turn_down(kOtherName, kNodeName);
      else if (v == StaticVerdict::kTaint) turn_down(kTainted, kTaintToleration);
      else if (v == StaticVerdict::kEnforced) turn_down(kUnenforced, kNodeAffinity);
      else if (v == StaticVerdict::kAffinity) turn_down(kUnaffine, kNodeAffinity);
      if (v != StaticVerdict::kFits) continue;
      if (!k.needs.ports.empty() && !ports_free(nodes_, n, k.needs)) {
        turn_down(kPorts, kNodePorts);
        ++out.preemption_may_help;
        continue;
      }
      bool hopeless = false;
      auto lacks = [&](int reason, int64_t want, int64_t allocatable, int64_t used) {
        if (want <= 0 || want <= allocatable - used) return;
        turn_down(reason, kNodeResourcesFit);
        hopeless = hopeless || want > allocatable;
      };
      if (nodes_.used_pods[i] + 1 > nodes_.alloc_pods[i]) turn_down(kPodCount, kNodeResourcesFit);
      lacks(kCpu, k.needs.cpu, nodes_.alloc_cpu[i], nodes_.used_cpu[i]);
      lacks(kMemory, k.needs.memory, nodes_.alloc_memory[i], nodes_.used_memory[i]);
      lacks(kEphemeral, k.needs.ephemeral, nodes_.alloc_ephemeral[i], nodes_.used_ephemeral[i]);
      for (size_t r = 0; r < k.needs.required.size(); ++r)
        lacks(kOther + static_cast<int>(r), k.needs.required[r].second, nodes_.alloc_other[k.needs.required[r].first][i], nodes_.used_other[k.needs.required[r].first][i]);
      if (!hopeless) ++out.preemption_may_help;
      continue;
    }
    auto f = check(c, n, claim_held);
    if (!f) continue;
    for (auto& r : f->reasons) ++out.reasons[r];
    out.plugins |= f->plugin;
    if (f->preemption_may_help) ++out.preemption_may_help;
  }
  static const char* const kNames[] = {"node(s) were unschedulable", "node(s) didn't match the requested node name", "node(s) had untolerated taint(s)",
                                       "node(s) didn't match scheduler-enforced node affinity",
                                       "node(s) didn't match Pod's node affinity/selector", "node(s) didn't have free ports for the requested pod ports",
                                       "Too many pods", "Insufficient cpu", "Insufficient memory", "Insufficient ephemeral-storage"};
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    out.reasons[i < kOther ? kNames[i] : "Insufficient " + nodes_.other_names[k.needs.required[i - kOther].first]] += counts[i];
  }
  return out;
}

bool Cluster::may_gain(ClassId c, uint32_t plugins, const PodSpec& other, bool came) const {
  const PodSpec& s = classes_[c]->spec;
  if ((plugins & kPodTopologySpread) && s.ns == other.ns)
    for (const auto& h : s.hard_spread)
      if (matches(h.selector, other.labels)) return true;
  auto meets = [&](const std::vector<PodTerm>& terms, const PodSpec& pod) { return std::any_of(terms.begin(), terms.end(), [&](const PodTerm& t) { return term_matches(t, pod); }); };
  if (plugins & kInterPodAffinity) {
    if (came && !s.affinity.empty() && std::all_of(s.affinity.begin(), s.affinity.end(), [&](const PodTerm& t) { return term_matches(t, other); })) return true;
    if (!came && (meets(s.anti_affinity, other) || meets(other.anti_affinity, s))) return true;
  }
  if (!came && (plugins & kVolumeRestrictions) && s.ns == other.ns) return true;
  if (!came && (plugins & kNodeVolumeLimits) && !other.attached.empty()) return true;
  return (plugins & kExtenders) != 0;
}

namespace {

std::string histogram(size_t nodes, const std::map<std::string, int>& reasons) {
  std::vector<std::string> parts;
  for (const auto& [reason, n] : reasons) parts.push_back(std::to_string(n) + " " + reason);
  std::sort(parts.begin(), parts.end());
  std::string out = "0/" + std::to_string(nodes) + " nodes are available: ";
  for (size_t i = 0; i < parts.size(); ++i) out += (i ? ", " : "") + parts[i];
  return out;
}

std::string preemption_text(const Failure& f) {
  if (!f.preemption_note.empty()) return f.preemption_note;
  if (f.preemption) return histogram(f.nodes, *f.preemption) + ".";
  std::map<std::string, int> reasons;
  if (f.preemption_may_help > 0) reasons["No preemption victims found for incoming pod"] = static_cast<int>(f.preemption_may_help);
  if (f.nodes > f.preemption_may_help) reasons["Preemption is not helpful for scheduling"] = static_cast<int>(f.nodes - f.preemption_may_help);
  return histogram(f.nodes, reasons) + ".";
}

}  // namespace

std::string describe_failure(const Failure& f) {
  if (f.nodes == 0) return "no nodes available to schedule pods";
  std::string out = f.prefilter.empty() ? histogram(f.nodes, f.reasons) : "0/" + std::to_string(f.nodes) + " nodes are available: " + f.prefilter;
  out += ".";
  if (f.preempted) return out;
  if (f.deallocates) out += " no new claims to deallocate";
  if (f.preempts) out += std::string(f.deallocates ? "," : "") + " preemption: " + preemption_text(f);
  return out;
}

std::string event_note(std::string text) {
  constexpr size_t kMax = 1024;
  constexpr std::string_view kCut = " ...";
  if (text.size() <= kMax) return text;
  text.resize(kMax - kCut.size());
  return text.append(kCut);
}

}  // namespace caravel::scheduler
