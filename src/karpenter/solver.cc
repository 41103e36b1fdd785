#include "karpenter/solver.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <unordered_map>

#include "karpenter/topology.h"

namespace caravel::karpenter {

namespace {

using kube::scheduling::conflict;
using kube::scheduling::Effect;
using kube::scheduling::HostPort;
using kube::scheduling::tolerates;

// Pods of equal spec (after relaxation): their checks are shared.
struct Kind {
  PodSpec spec;
  Requirements requirements, strict;  // with and without preferences
  Amounts request;
  int topology = 0;
  bool constrained = false;
  std::vector<char> dead_nodes, dead_claims, dead_pools;  // turned this kind down for good
  std::string error;                                      // of the last full failure, while nothing can change it
  int relaxed = -1;                                       // the next kind in line, -1: not computed, -2: none
};

struct Claim {
  const Pool* pool;
  Requirements requirements;
  Amounts requests;
  std::vector<int> types;  // of pool->instance_types
  std::vector<HostPort> ports;
  std::vector<std::string> pods;
  std::vector<char> merged;  // kinds whose requirements are part of ours
  bool min_values = false;   // some requirement wants a minimum of values
};

bool taints_admit(const std::vector<Taint>& taints, const PodSpec& pod) {
  return std::all_of(taints.begin(), taints.end(), [&](const Taint& t) { return tolerates(pod.tolerations, t); });
}

std::string untolerated(const std::vector<Taint>& taints, const PodSpec& pod) {
  static const std::map<Effect, std::string> kNames{{Effect::kNoSchedule, "NoSchedule"}, {Effect::kPreferNoSchedule, "PreferNoSchedule"}, {Effect::kNoExecute, "NoExecute"}, {Effect::kAny, ""}};
  for (const auto& t : taints)
    if (!tolerates(pod.tolerations, t)) return "did not tolerate taint (taint=" + t.key + (t.value.empty() ? "" : "=" + t.value) + ":" + kNames.at(t.effect) + ")";
  return "";
}

bool ports_conflict(const std::vector<HostPort>& a, const std::vector<HostPort>& b) {
  for (const auto& x : a)
    for (const auto& y : b)
      if (conflict(x, y)) return true;
  return false;
}

template <class T>
char& at(std::vector<T>& v, size_t i) {
  if (i >= v.size()) v.resize(i + 1);
  return v[i];
}

// minValues: the planned types must leave that many values of the key.
std::string too_few_values(const Requirements& r, const Pool& pool, const std::vector<int>& types) {
  for (const auto& [key, requirement] : r.all()) {
    if (!requirement.min_values) continue;
    std::set<std::string> values;
    for (int t : types)
      if (const Requirement* have = pool.instance_types[t]->requirements.find(key))
        for (const auto& v : have->values())
          if (requirement.has(v)) values.insert(v);
    if (static_cast<int>(values.size()) < *requirement.min_values) return "minValues requirement is not met for label(s) (label(s)=[" + key + "])";
  }
  return "";
}

class Solver {
 public:
  explicit Solver(const SolverInput& in) : in_(in), topology_(universe(in), in.namespaces) {
    for (const auto& p : in.pools) pools_.push_back(&p);
    std::sort(pools_.begin(), pools_.end(), [](const Pool* a, const Pool* b) { return a->weight != b->weight ? a->weight > b->weight : a->name > b->name; });
    for (const Pool* p : pools_) {
      limits_.push_back(p->limits);
      daemons_.push_back(daemon_overhead(*p));
      for (const auto& t : p->taints) prefer_no_schedule_ = prefer_no_schedule_ || t.effect == Effect::kPreferNoSchedule;
    }
    for (const auto& n : in.nodes) nodes_.push_back(&n);
    std::stable_sort(nodes_.begin(), nodes_.end(), [](const StateNode* a, const StateNode* b) {
      return a->initialized != b->initialized ? a->initialized : a->name < b->name;
    });
    for (const StateNode* n : nodes_) {
      room_.push_back(n->available);
      node_ports_.push_back(n->ports);
      node_requirements_.push_back(Requirements::from_labels(n->labels));
      node_requirements_.back().set(label::kHostname, Requirement::in({n->name}));
      topology_.add_hostname(n->name);
    }
    static const Labels kNone;
    for (const auto& p : in.running) {
      auto it = in.node_labels.find(p.node);
      topology_.add_running(p, it == in.node_labels.end() ? kNone : it->second);
    }
  }

  SolverResult run() {
    std::deque<std::pair<const PendingPod*, int>> queue;
    {
      std::vector<std::pair<const PendingPod*, int>> pods;
      for (const auto& p : in_.pending) pods.emplace_back(&p, kind(*p.spec));
      std::sort(pods.begin(), pods.end(), [](const auto& x, const auto& y) {
        const PendingPod &a = *x.first, &b = *y.first;
        if (a.spec->request.cpu != b.spec->request.cpu) return a.spec->request.cpu > b.spec->request.cpu;
        if (a.spec->request.memory != b.spec->request.memory) return a.spec->request.memory > b.spec->request.memory;
        if (a.created != b.created) return a.created < b.created;
        return a.uid < b.uid;
      });
      queue.assign(pods.begin(), pods.end());
    }
    // A pod that found no place waits for what others may change (affinity to a pod that comes later);
    // when a whole round changes nothing, it is over.
    std::unordered_map<std::string, size_t> last_length;
    size_t steps = 0;
    while (!queue.empty()) {
      if ((++steps & 63) == 0 && in_.out_of_time && in_.out_of_time()) {
        result_.timed_out = true;
        break;
      }
      auto [pod, k] = queue.front();
      auto seen = last_length.find(pod->uid);
      if (seen != last_length.end() && seen->second == queue.size()) break;
      queue.pop_front();
      int now = k;
      std::string error = add(*pod, k);
      if (error.empty()) {
        result_.errors.erase(pod->key);
        continue;
      }
      result_.errors[pod->key] = error;
      // Give up one preference and try again at once, as often as there are any.
      while (true) {
        int next = relaxed(now);
        if (next < 0) break;
        now = next;
        error = add(*pod, now);
        if (error.empty()) break;
      }
      if (error.empty()) {
        result_.errors.erase(pod->key);
        continue;
      }
      queue.emplace_back(pod, k);
      last_length[pod->uid] = queue.size();
    }
    finish();
    return std::move(result_);
  }

 private:
  static Topology::Universe universe(const SolverInput& in) {
    Topology::Universe out;
    for (const auto& p : in.pools) {
      for (const auto& t : p.instance_types) {
        for (const auto& [key, r] : t->requirements.all()) {
          Requirement both = r.intersect(p.requirements.get(key));
          if (both.finite()) out[key].insert(both.values().begin(), both.values().end());
        }
      }
      for (const auto& [key, r] : p.requirements.all())
        if (r.finite() && !out.count(key)) out[key].insert(r.values().begin(), r.values().end());
    }
    for (const auto& n : in.nodes)
      for (const auto& [k, v] : n.labels) out[k].insert(v);
    return out;
  }

  Amounts daemon_overhead(const Pool& pool) const {
    Amounts out;
    for (const auto& d : in_.daemons) {
      if (!taints_admit(pool.taints, *d)) continue;
      // Any of the node affinity's terms will do; preferences do not matter to a DaemonSet.
      bool admitted = false;
      std::optional<PodSpec> p = *d;
      while (p && !admitted) {
        admitted = !pool.requirements.conflict(requirements_of(*p, false));
        if (!p->required_nodes || p->required_nodes->size() <= 1) break;
        p->required_nodes->erase(p->required_nodes->begin());
      }
      if (admitted) out += Amounts::of(d->request, 1);
    }
    return out;
  }

  int kind(const PodSpec& spec) {
    std::string text = kube::scheduling::describe(spec);
    auto [it, fresh] = kind_ids_.emplace(std::move(text), static_cast<int>(kinds_.size()));
    if (!fresh) return it->second;
    Kind k;
    k.spec = spec;
    k.requirements = requirements_of(spec, in_.respect_preferences);
    k.strict = requirements_of(spec, false);
    k.request = Amounts::of(spec.request, 1);
    k.topology = topology_.add_class(spec);
    kinds_.push_back(std::move(k));
    return it->second;
  }

  int relaxed(int k) {
    if (kinds_[k].relaxed == -1) {
      auto next = relax(kinds_[k].spec, prefer_no_schedule_);
      int id = next ? kind(*next) : -2;
      kinds_[k].relaxed = id;
    }
    return kinds_[k].relaxed;
  }

  // Puts the pod somewhere; "" or why it fits nowhere.
  std::string add(const PendingPod& pod, int k) {
    bool constrained = topology_.constrained(kinds_[k].topology);
    if (!constrained && !kinds_[k].error.empty()) return kinds_[k].error;
    if (add_to_node(pod, k, constrained) || add_to_claim(pod, k, constrained)) return "";
    std::string error = add_new_claim(pod, k, constrained);
    if (!error.empty() && !constrained) kinds_[k].error = error;
    return error;
  }

  bool add_to_node(const PendingPod& pod, int k, bool constrained) {
    Kind& kind = kinds_[k];
    for (size_t i = 0; i < nodes_.size(); ++i) {
      char& dead = at(kind.dead_nodes, i);
      if (dead) continue;
      const StateNode& n = *nodes_[i];
      if (!taints_admit(n.taints, kind.spec) || !kind.request.fits_in(room_[i]) || ports_conflict(kind.spec.ports, node_ports_[i]) ||
          node_requirements_[i].conflict(kind.requirements, false)) {
        dead = 1;
        continue;
      }
      Requirements merged = node_requirements_[i];
      merged.add(kind.requirements);
      if (constrained) {
        auto narrowed = topology_.tighten(kind.topology, kind.strict, merged);
        if (!narrowed.ok() || merged.intersection_conflict(*narrowed)) continue;
      }
      room_[i] -= kind.request;
      node_ports_[i].insert(node_ports_[i].end(), kind.spec.ports.begin(), kind.spec.ports.end());
      topology_.record(kind.topology, node_requirements_[i]);
      result_.existing[n.name].push_back(pod.key);
      return true;
    }
    return false;
  }

  bool add_to_claim(const PendingPod& pod, int k, bool constrained) {
    Kind& kind = kinds_[k];
    // Fewest pods first; among equals the older claim.
    for (auto it = by_pods_.begin(); it != by_pods_.end(); ++it) {
      size_t i = it->second;
      char& dead = at(kind.dead_claims, i);
      if (dead) continue;
      bool for_good = false;
      if (!try_claim(claims_[i], k, constrained, for_good).empty()) {
        if (for_good) dead = 1;
        continue;
      }
      by_pods_.erase(it);
      claims_[i].pods.push_back(pod.key);
      by_pods_.emplace(claims_[i].pods.size(), i);
      return true;
    }
    return false;
  }

  // Adds a pod of the kind to the claim; "" or why not, and whether that will never change.
  std::string try_claim(Claim& c, int k, bool constrained, bool& for_good) {
    Kind& kind = kinds_[k];
    for_good = true;
    if (std::string why = untolerated(c.pool->taints, kind.spec); !why.empty()) return why;
    if (ports_conflict(kind.spec.ports, c.ports)) return "host port conflict";
    Amounts requests = c.requests;
    requests += kind.request;
    const auto& types = c.pool->instance_types;
    bool merged_before = static_cast<size_t>(k) < c.merged.size() && c.merged[k];
    if (merged_before && !constrained && !c.min_values) {
      // Only the sizes can have become too small; the last type that fits is looked for from the back,
      // where the large ones are.
      if (std::none_of(c.types.rbegin(), c.types.rend(), [&](int t) { return requests.fits_in(types[t]->allocatable); })) return "no instance type has enough resources";
      accept(c, kind, std::move(requests), nullptr);
      return "";
    }
    if (auto why = c.requirements.conflict(kind.requirements)) return "incompatible requirements, " + *why;
    Requirements merged = c.requirements;
    merged.add(kind.requirements);
    if (constrained) {
      auto narrowed = topology_.tighten(kind.topology, kind.strict, merged);
      for_good = false;
      if (!narrowed.ok()) return narrowed.error().message;
      if (auto why = merged.intersection_conflict(*narrowed)) return *why;
      merged.add(*narrowed);
    }
    std::vector<int> left;
    bool compatible = false, fits = false;
    for (int t : c.types) {
      const InstanceType& type = *types[t];
      bool ok_requirements = !type.requirements.intersection_conflict(merged);
      bool ok_size = requests.fits_in(type.allocatable);
      compatible = compatible || ok_requirements;
      fits = fits || ok_size;
      if (ok_requirements && ok_size && has_offering(type, merged)) left.push_back(t);
    }
    if (left.empty()) {
      std::string what = "resources " + requests.text();
      if (!compatible && !fits) return "no instance type met the scheduling requirements or had enough resources, " + what + ", requirements=" + merged.text();
      if (!compatible) return "no instance type met all requirements, requirements=" + merged.text();
      if (!fits) return "no instance type has enough resources, requirements=" + merged.text() + ", " + what;
      return "no instance type satisfied " + what + " and requirements " + merged.text();
    }
    if (std::string few = too_few_values(merged, *c.pool, left); !few.empty()) return few;
    c.types = std::move(left);
    at(c.merged, static_cast<size_t>(k)) = 1;
    for (const auto& [key, r] : merged.all()) c.min_values = c.min_values || r.min_values.has_value();
    accept(c, kind, std::move(requests), &merged);
    return "";
  }

  void accept(Claim& c, const Kind& kind, Amounts requests, Requirements* merged) {
    c.requests = std::move(requests);
    c.ports.insert(c.ports.end(), kind.spec.ports.begin(), kind.spec.ports.end());
    if (merged) c.requirements = std::move(*merged);
    topology_.record(kind.topology, c.requirements);
  }

  std::string add_new_claim(const PendingPod& pod, int k, bool constrained) {
    std::string errors;
    auto note = [&](const Pool& p, size_t i, const std::string& why) {
      errors += (errors.empty() ? "" : "; ") + ("incompatible with nodepool \"" + p.name + "\", daemonset overhead=" + daemons_[i].text() + ", " + why);
    };
    for (size_t i = 0; i < pools_.size(); ++i) {
      const Pool& pool = *pools_[i];
      std::string why = untolerated(pool.taints, kinds_[k].spec);
      if (!why.empty()) {
        note(pool, i, why);
        continue;
      }
      Claim c;
      c.pool = &pool;
      c.requirements = pool.requirements;
      c.requirements.add(label::kNodePool, Requirement::in({pool.name}));
      c.requests = daemons_[i];
      for (size_t t = 0; t < pool.instance_types.size(); ++t)
        if (within_limits(pool.instance_types[t]->capacity, limits_[i])) c.types.push_back(static_cast<int>(t));
      if (c.types.empty()) {
        errors += (errors.empty() ? "" : "; ") + (pool.instance_types.empty() ? "no instance type of nodepool \"" + pool.name + "\" is available" : "all available instance types exceed limits for nodepool: \"" + pool.name + "\"");
        continue;
      }
      std::string hostname = "hostname-placeholder-" + std::to_string(1000 + claims_.size());
      c.requirements.set(label::kHostname, Requirement::in({hostname}));
      topology_.add_hostname(hostname);
      bool for_good;
      why = try_claim(c, k, constrained, for_good);
      if (!why.empty()) {
        note(pool, i, why);
        continue;
      }
      c.pods.push_back(pod.key);
      reserve(i, c);
      by_pods_.emplace(1, claims_.size());
      claims_.push_back(std::move(c));
      return "";
    }
    if (pools_.empty()) return "no nodepools found";
    return errors;
  }

  static bool within_limits(const Amounts& a, const std::map<std::string, int64_t>& limits) {
    for (const auto& [name, left] : limits)
      if (amount(a, name) > left) return false;
    return true;
  }
  static int64_t amount(const Amounts& a, const std::string& name) {
    if (name == "cpu") return a.cpu;
    if (name == "memory") return a.memory;
    if (name == "ephemeral-storage") return a.ephemeral;
    if (name == "pods") return a.pods;
    if (name == "nodes") return 1;
    auto it = a.other.find(name);
    return it == a.other.end() ? 0 : it->second;
  }
  // The planned node may become the largest of its types: that much of the limits is spoken for.
  void reserve(size_t pool, const Claim& c) {
    for (auto& [name, left] : limits_[pool]) {
      int64_t most = 0;
      for (int t : c.types) most = std::max(most, amount(c.pool->instance_types[t]->capacity, name));
      left -= most;
    }
  }

  void finish() {
    for (auto& c : claims_) {
      PlannedClaim out;
      out.pool = c.pool->name;
      c.requirements.erase(label::kHostname);
      std::vector<std::pair<double, std::string>> priced;
      for (int t : c.types) {
        const InstanceType& type = *c.pool->instance_types[t];
        if (c.requests.fits_in(type.allocatable)) priced.emplace_back(cheapest_price(type, c.requirements), type.name);
      }
      std::sort(priced.begin(), priced.end());
      if (priced.size() > kTypesMax) priced.resize(kTypesMax);
      for (auto& [price, name] : priced) out.types.push_back(std::move(name));
      out.price = priced.empty() ? 0 : priced[0].first;
      out.requirements = std::move(c.requirements);
      out.requests = std::move(c.requests);
      out.pods = std::move(c.pods);
      result_.claims.push_back(std::move(out));
    }
  }

  const SolverInput& in_;
  Topology topology_;
  std::vector<const Pool*> pools_;
  std::vector<std::map<std::string, int64_t>> limits_;
  std::vector<Amounts> daemons_;
  bool prefer_no_schedule_ = false;
  std::vector<const StateNode*> nodes_;
  std::vector<Amounts> room_;
  std::vector<std::vector<HostPort>> node_ports_;
  std::vector<Requirements> node_requirements_;
  std::deque<Kind> kinds_;
  std::unordered_map<std::string, int> kind_ids_;
  std::vector<Claim> claims_;
  std::set<std::pair<size_t, size_t>> by_pods_;
  SolverResult result_;
};

}  // namespace

SolverResult solve(const SolverInput& input) { return Solver(input).run(); }

}  // namespace caravel::karpenter
