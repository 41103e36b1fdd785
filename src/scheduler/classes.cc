// Classes of pods and the counters that decide about them: made on demand, thrown away together.
#include <algorithm>

#include "scheduler/cluster.h"

namespace caravel::scheduler {

// --- counters ---------------------------------------------------------------------------------------

bool Cluster::term_matches(const PodTerm& t, const PodSpec& pod) const {
  bool in_namespace = std::find(t.namespaces.begin(), t.namespaces.end(), pod.ns) != t.namespaces.end();
  if (!in_namespace && t.namespace_selector) {
    static const Labels kNone;
    auto it = namespaces_.find(pod.ns);
    in_namespace = matches(*t.namespace_selector, it == namespaces_.end() ? kNone : it->second);
  }
  return in_namespace && matches(t.selector, pod.labels);
}

bool Cluster::counts(const Counter& c, const PodSpec& pod) const {
  return std::all_of(c.terms.begin(), c.terms.end(), [&](const PodTerm& t) { return term_matches(t, pod); });
}

// Whether the affinities of pods that are there already score for this class.
bool Cluster::heeds_existing(const Class& k) const {
  if (k.profile->weights.pod_affinity == 0) return false;
  return !k.profile->ignore_preferred_terms_of_existing_pods || !k.spec.preferred_affinity.empty() || !k.spec.preferred_anti_affinity.empty();
}

void Cluster::attach(Counter& c, int index, Class& k) {
  if (!counts(c, k.spec)) return;
  switch (c.role) {
    case CounterRole::kMatching: k.counted.push_back(index); break;
    case CounterRole::kMatchingLive: k.counted_live.push_back(index); break;
    case CounterRole::kOwnersAnti:
      if (filters(k, kInterPodAffinity)) k.blocked_by.push_back(index);
      break;
    case CounterRole::kOwnersWeighted:
      if (heeds_existing(k)) k.attracted.push_back({index, c.weight});
      break;
    case CounterRole::kOwnersRequired:
      if (heeds_existing(k) && k.profile->hard_pod_affinity_weight != 0) k.attracted.push_back({index, k.profile->hard_pod_affinity_weight});
      break;
  }
}

int Cluster::eligibility(const PodSpec& pod, std::vector<int> keys, bool by_affinity, bool by_taints) {
  auto e = std::make_unique<Eligibility>();
  e->keys = std::move(keys);
  PodSpec part;
  if (by_affinity) {
    part.node_selector = e->node_selector = pod.node_selector;
    part.required_nodes = e->required_nodes = pod.required_nodes;
    e->by_affinity = !pod.node_selector.empty() || pod.required_nodes.has_value();
  }
  if (by_taints) {
    part.tolerations = e->tolerations = pod.tolerations;
    e->by_taints = true;
  }
  e->text = describe(part);
  e->text += by_taints ? 'T' : 't';
  for (int k : e->keys) e->text += std::to_string(k) + ",";
  auto [it, fresh] = eligibility_ids_.emplace(e->text, static_cast<int>(eligibilities_.size()));
  if (fresh) {
    e->ok.resize(nodes_.size());
    for (size_t n = 0; n < nodes_.size(); ++n) e->ok[n] = e->admits(nodes_, static_cast<NodeId>(n));
    eligibilities_.push_back(std::move(e));
  }
  return it->second;
}

int Cluster::counter(CounterRole role, std::vector<PodTerm> terms, const std::string& topology_key, int eligibility, int64_t weight) {
  std::string text = std::to_string(static_cast<int>(role)) + "," + std::to_string(eligibility) + "," + std::to_string(weight) + "," + topology_key + ",";
  for (auto& t : terms) {
    std::sort(t.namespaces.begin(), t.namespaces.end());
    describe(t, text);
  }
  auto [it, fresh] = counter_ids_.emplace(text, static_cast<int>(counters_.size()));
  if (!fresh) return it->second;
  int index = it->second;
  auto c = std::make_unique<Counter>();
  c->text = std::move(text);
  c->role = role;
  c->terms = std::move(terms);
  c->key = nodes_.topology(topology_key);
  c->eligibility = eligibility;
  c->weight = weight;
  c->per_node.resize(nodes_.size());
  c->placed.resize(nodes_.size(), -1);
  // Pods of the classes that this counter counts and that are in the cluster already.
  if (role == CounterRole::kMatching || role == CounterRole::kMatchingLive) {
    std::vector<uint8_t> counted(classes_.size());
    for (size_t i = 0; i < classes_.size(); ++i) counted[i] = classes_[i] && counts(*c, classes_[i]->spec);
    for (const Pod& p : pods_)
      if (p.klass >= 0 && counted[p.klass] && !(p.terminating && role == CounterRole::kMatchingLive)) c->set_pods(p.node, c->per_node[p.node] + 1);
  }
  for (size_t n = 0; n < nodes_.size(); ++n) place(*c, static_cast<NodeId>(n));
  for (auto& k : classes_)
    if (k) attach(*c, index, *k);
  counters_.push_back(std::move(c));
  return index;
}

void Cluster::count_pod(const Pod& p, int32_t by) {
  const Class& k = *classes_[p.klass];
  for (int i : k.counted) counters_[i]->bump(p.node, by);
  for (int i : k.owned) counters_[i]->bump(p.node, by);
  if (p.terminating) return;
  for (int i : k.counted_live) counters_[i]->bump(p.node, by);
}

// --- classes ----------------------------------------------------------------------------------------

void Cluster::link(Class& k) {
  for (size_t i = 0; i < counters_.size(); ++i) attach(*counters_[i], static_cast<int>(i), k);
}

// Makes the counters that decide about pods of this class. The class is registered, so a new counter
// attaches itself to it as to all others.
void Cluster::build(Class& k) {
  const PodSpec& s = k.spec;
  auto spread = [&](const std::vector<SpreadConstraint>& constraints, const std::vector<int>& keys, std::vector<Spread>& out) {
    for (const auto& c : constraints) {
      PodTerm term{c.selector, {s.ns}, std::nullopt, ""};
      bool self = matches(c.selector, s.labels);
      if (term.selector.all.empty()) term.selector.nothing = true;  // upstream counts no pods for an empty selector
      int e = eligibility(s, keys, c.honor_affinity, c.honor_taints);
      int index = counter(CounterRole::kMatchingLive, {term}, c.topology_key, e, 0);
      out.push_back({index, counters_[index]->key, c.max_skew, c.min_domains, self, c.topology_key == "kubernetes.io/hostname"});
    }
  };
  std::vector<int> hard_keys;
  for (const auto& c : s.hard_spread) hard_keys.push_back(nodes_.topology(c.topology_key));
  if (filters(k, kPodTopologySpread)) spread(s.hard_spread, hard_keys, k.hard);
  if (!s.soft_spread_defaulted)
    for (const auto& c : s.soft_spread) k.soft_keys.push_back(nodes_.topology(c.topology_key));
  if (k.profile->weights.spread != 0) spread(s.soft_spread, k.soft_keys, k.soft);

  k.affinity_self = true;
  for (const auto& t : s.affinity) {
    std::vector<PodTerm> all = s.affinity;
    for (auto& x : all) x.topology_key.clear();
    if (filters(k, kInterPodAffinity)) k.affinity.push_back(counter(CounterRole::kMatching, std::move(all), t.topology_key, -1, 0));
    k.owned.push_back(counter(CounterRole::kOwnersRequired, {t}, t.topology_key, -1, 0));
    k.affinity_self = k.affinity_self && term_matches(t, s);
  }
  for (const auto& t : s.anti_affinity) {
    if (filters(k, kInterPodAffinity)) k.anti_affinity.push_back(counter(CounterRole::kMatching, {t}, t.topology_key, -1, 0));
    k.owned.push_back(counter(CounterRole::kOwnersAnti, {t}, t.topology_key, -1, 0));
  }
  auto prefer = [&](const std::vector<PreferredPodTerm>& terms, int64_t sign) {
    for (const auto& t : terms) {
      if (k.profile->weights.pod_affinity != 0) k.attracted.push_back({counter(CounterRole::kMatching, {t.term}, t.term.topology_key, -1, 0), sign * t.weight});
      k.owned.push_back(counter(CounterRole::kOwnersWeighted, {t.term}, t.term.topology_key, -1, sign * t.weight));
    }
  };
  prefer(s.preferred_affinity, 1);
  prefer(s.preferred_anti_affinity, -1);
}

std::shared_ptr<Shape> Cluster::shape_of(const Class& k, const std::string& profile) {
  auto& shape = shapes_[profile + Shape::key(k.spec)];
  if (auto known = shape.lock()) return known;
  auto& filter = filters_[profile + StaticFilter::key(k.spec)];
  auto f = filter.lock();
  if (!f) filter = f = std::make_shared<StaticFilter>(k.spec, *k.profile);
  auto made = std::make_shared<Shape>(std::move(f), k.needs, *k.scoring, k.images, k.profile->weights.images);
  shape = made;
  return made;
}

ClassId Cluster::intern(const PodSpec& spec, size_t profile) {
  const std::string prefix = profile == 0 ? "" : std::to_string(profile) + "/";
  std::string text = prefix + describe(spec);
  auto it = class_ids_.find(text);
  if (it != class_ids_.end()) {
    if (classes_[it->second]->refs++ == 0) --unused_classes_;
    return it->second;
  }
  collect_garbage();
  ClassId id;
  if (!free_classes_.empty()) {
    id = free_classes_.back();
    free_classes_.pop_back();
  } else {
    id = static_cast<ClassId>(classes_.size());
    classes_.emplace_back();
  }
  auto k = std::make_unique<Class>();
  k->spec = spec;
  k->text = text;
  k->refs = 1;
  k->profile = &profiles_[profile];
  k->scoring = &scorings_[profile];
  k->needs = needs_of(spec, nodes_, *k->profile);
  k->attached = attachments_.intern(spec.attached);
  if (!spec.images.empty() && k->profile->weights.images != 0) {
    auto& images = images_[ImageScores::key(spec.images)];
    k->images = images.lock();
    if (!k->images) images = k->images = std::make_shared<ImageScores>(spec.images);
  }
  if (filters(*k, kNodeAffinity) && spec.required_nodes && !spec.required_nodes->empty()) {
    k->is_pinned = true;
    for (const auto& t : *spec.required_nodes) {
      auto by_name = std::find_if(t.fields.begin(), t.fields.end(), [](const Requirement& r) { return r.key == "metadata.name" && r.op == Op::kIn; });
      if (by_name == t.fields.end()) {
        k->is_pinned = false;
        break;
      }
      k->pinned.insert(k->pinned.end(), by_name->values.begin(), by_name->values.end());
    }
  }
  if (!k->is_pinned) k->shape = shape_of(*k, prefix);
  classes_[id] = std::move(k);
  class_ids_.emplace(std::move(text), id);
  link(*classes_[id]);
  build(*classes_[id]);
  return id;
}

void Cluster::release(ClassId c) {
  if (--classes_[c]->refs == 0) ++unused_classes_;
}

// Classes of pods that are gone are kept for the next pod of their kind, up to a bound.
void Cluster::collect_garbage() {
  constexpr size_t kUnusedMax = 2048;
  if (unused_classes_ < kUnusedMax || unused_classes_ * 2 < classes_.size() - free_classes_.size()) return;
  for (size_t i = 0; i < classes_.size(); ++i) {
    if (!classes_[i] || classes_[i]->refs != 0) continue;
    class_ids_.erase(classes_[i]->text);
    attachments_.release(classes_[i]->attached);
    classes_[i].reset();
    free_classes_.push_back(static_cast<ClassId>(i));
  }
  unused_classes_ = 0;
  std::erase_if(shapes_, [](const auto& e) { return e.second.expired(); });
  std::erase_if(filters_, [](const auto& e) { return e.second.expired(); });
  std::erase_if(images_, [](const auto& e) { return e.second.expired(); });
  rebuild();
}

void Cluster::rebuild() {
  counters_.clear();
  counter_ids_.clear();
  eligibilities_.clear();
  eligibility_ids_.clear();
  for (auto& k : classes_) {
    if (!k) continue;
    k->counted.clear(), k->counted_live.clear(), k->owned.clear(), k->hard.clear(), k->soft.clear(), k->soft_keys.clear();
    k->affinity.clear(), k->anti_affinity.clear(), k->blocked_by.clear(), k->attracted.clear();
  }
  for (auto& k : classes_)
    if (k) build(*k);
  // build() has counted the matching pods; owners are counted here.
  for (const Pod& p : pods_) {
    if (p.klass < 0) continue;
    for (int i : classes_[p.klass]->owned) counters_[i]->bump(p.node, 1);
  }
}

}  // namespace caravel::scheduler
