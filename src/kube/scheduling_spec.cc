#include "kube/scheduling_spec.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::kube::scheduling {

bool matches(const Requirement& r, const Labels& labels) {
  auto it = labels.find(r.key);
  bool has = it != labels.end();
  switch (r.op) {
    case Op::kIn: return has && std::find(r.values.begin(), r.values.end(), it->second) != r.values.end();
    case Op::kNotIn: return !has || std::find(r.values.begin(), r.values.end(), it->second) == r.values.end();
    case Op::kExists: return has;
    case Op::kDoesNotExist: return !has;
    case Op::kGt:
    case Op::kLt: {
      if (!has || r.values.size() != 1) return false;
      auto have = parse_int(it->second), want = parse_int(r.values[0]);
      if (!have || !want) return false;
      return r.op == Op::kGt ? *have > *want : *have < *want;
    }
  }
  return false;
}

bool matches(const Selector& s, const Labels& labels) {
  if (s.nothing) return false;
  return std::all_of(s.all.begin(), s.all.end(), [&](const Requirement& r) { return matches(r, labels); });
}

bool matches(const NodeTerm& t, const Labels& labels, const std::string& node_name) {
  if (t.expressions.empty() && t.fields.empty()) return false;
  for (const auto& r : t.expressions)
    if (!matches(r, labels)) return false;
  if (t.fields.empty()) return true;
  Labels fields{{"metadata.name", node_name}};
  return std::all_of(t.fields.begin(), t.fields.end(), [&](const Requirement& r) { return matches(r, fields); });
}

bool tolerates(const Toleration& t, const Taint& taint) {
  if (t.effect != Effect::kAny && t.effect != taint.effect) return false;
  if (!t.key.empty() && t.key != taint.key) return false;
  return t.exists || t.value == taint.value;
}

bool tolerates(const std::vector<Toleration>& all, const Taint& taint) {
  return std::any_of(all.begin(), all.end(), [&](const Toleration& t) { return tolerates(t, taint); });
}

bool conflict(const HostPort& a, const HostPort& b) {
  if (a.port != b.port || a.protocol != b.protocol) return false;
  return a.ip == b.ip || a.ip == "0.0.0.0" || b.ip == "0.0.0.0";
}

namespace {
// Every text ends in a byte that names and values cannot hold, so no two different values collide.
void put(std::string_view s, std::string& out) {
  out += s;
  out += '\x01';
}
void put(int64_t n, std::string& out) { put(std::to_string(n), out); }
}  // namespace

void describe(const Labels& v, std::string& out) {
  for (const auto& [k, x] : v) put(k, out), put(x, out);
  out += '\x02';
}

void describe(const std::vector<Requirement>& v, std::string& out) {
  for (const auto& r : v) {
    put(r.key, out);
    out += static_cast<char>('a' + static_cast<int>(r.op));
    for (const auto& x : r.values) put(x, out);
    out += '\x03';
  }
  out += '\x02';
}

void describe(const Selector& v, std::string& out) {
  out += v.nothing ? 'N' : 'S';
  describe(v.all, out);
}

static void describe(const NodeTerm& t, std::string& out) {
  describe(t.expressions, out);
  describe(t.fields, out);
}

void describe(const PodTerm& v, std::string& out) {
  describe(v.selector, out);
  for (const auto& n : v.namespaces) put(n, out);
  out += '\x02';
  if (v.namespace_selector) describe(*v.namespace_selector, out);
  put(v.topology_key, out);
}

static void describe(const std::vector<SpreadConstraint>& v, std::string& out) {
  for (const auto& c : v) {
    put(c.max_skew, out), put(c.topology_key, out), put(c.min_domains, out);
    describe(c.selector, out);
    out += c.honor_affinity ? '1' : '0';
    out += c.honor_taints ? '1' : '0';
  }
  out += '\x04';
}

std::string describe(const PodSpec& v) {
  std::string out;
  out.reserve(256);
  put(v.ns, out);
  describe(v.labels, out);
  put(v.node_name, out);
  put(v.request.cpu, out), put(v.request.memory, out), put(v.request.ephemeral, out);
  for (const auto& [k, n] : v.request.other) put(k, out), put(n, out);
  out += '\x04';
  put(v.nonzero_cpu, out), put(v.nonzero_memory, out);
  describe(v.node_selector, out);
  if (v.required_nodes) {
    out += 'R';
    for (const auto& t : *v.required_nodes) describe(t, out);
  }
  out += '\x04';
  for (const auto& p : v.preferred_nodes) put(p.weight, out), describe(p.term, out);
  out += '\x04';
  for (const auto& volume : v.volume_nodes) {
    put(volume.reason, out);
    for (const auto& t : volume.any) describe(t, out);
    out += '\x04';
  }
  out += '\x04';
  for (const auto& t : v.tolerations) {
    put(t.key, out), put(t.value, out);
    out += t.exists ? 'E' : '=';
    out += static_cast<char>('0' + static_cast<int>(t.effect));
  }
  out += '\x04';
  for (const auto& p : v.ports) put(p.ip, out), put(p.protocol, out), put(p.port, out);
  out += '\x04';
  describe(v.hard_spread, out);
  describe(v.soft_spread, out);
  out += v.soft_spread_defaulted ? 'D' : 'd';
  for (const auto& t : v.affinity) describe(t, out);
  out += '\x04';
  for (const auto& t : v.anti_affinity) describe(t, out);
  out += '\x04';
  for (const auto& t : v.preferred_affinity) put(t.weight, out), describe(t.term, out);
  out += '\x04';
  for (const auto& t : v.preferred_anti_affinity) put(t.weight, out), describe(t.term, out);
  out += '\x04';
  for (const auto& i : v.images) put(i, out);
  out += '\x04';
  for (const auto& a : v.attached) put(a.driver, out), put(a.handle, out);
  return out;
}

}  // namespace caravel::kube::scheduling
