// ResourceQuota's rules for one write and for a namespace.
#include "kube/quota.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::kube::quota {

using json::Value;

namespace {

std::vector<std::string> names_of(const Amounts& a) {
  std::vector<std::string> out;
  for (auto& [k, v] : a) out.push_back(k);
  return out;
}

Amounts mask(const Amounts& a, const std::vector<std::string>& names) {
  Amounts out;
  for (auto& n : names)
    if (auto it = a.find(n); it != a.end()) out.insert(*it);
  return out;
}

}  // namespace

Amounts amounts_of(const Value& list) {
  Amounts out;
  for (auto& m : list.as_object()) out[m.key] = Quantity::of(m.value.is_string() ? m.value.as_string() : json::dump(m.value));
  return out;
}

Value to_json(const Amounts& a) {
  Value out = Value::object();
  for (auto& [k, v] : a) out[k] = v.text();
  return out;
}

std::string text(const Amounts& a) {
  std::vector<std::string> parts;
  for (auto& [k, v] : a) parts.push_back(k + "=" + v.text());
  return join(parts, ",");
}

Amounts total(const Value& quota, const std::map<Kind, std::vector<const Value*>>& objects, Time now) {
  std::vector<std::string> hard = names_of(amounts_of(quota["spec"]["hard"]));
  Amounts out;
  for (auto& kind : kinds_for(hard)) {
    auto found = objects.find(kind);
    if (found == objects.end()) continue;
    std::vector<std::string> names = matching(kind, hard);
    for (auto& n : names) out.try_emplace(n, Quantity());
    for (const Value* o : found->second) {
      if (!in_scope(quota, kind, *o)) continue;
      for (auto& [name, amount] : mask(usage(kind, *o, now), names)) out[name] += amount;
    }
  }
  return out;
}

Verdict judge(const std::vector<const Value*>& quotas, const Change& change, Time now) {
  Verdict v;
  std::vector<size_t> touched;
  for (size_t i = 0; i < quotas.size(); ++i) {
    const Value& q = *quotas[i];
    const std::string& name = q["metadata"]["name"].as_string();
    std::vector<std::string> names = matching(change.kind, names_of(amounts_of(q["status"]["hard"])));
    if (names.empty() || !in_scope(q, change.kind, *change.object)) continue;
    if (change.kind.group.empty() && change.kind.plural == "pods")
      if (std::string why = missing(names, *change.object); !why.empty()) {
        v.refusal = "failed quota: " + name + ": " + why;
        return v;
      }
    for (auto& n : names)
      if (!q["status"]["used"].find(n)) {
        v.refusal = "status unknown for quota: " + name + ", resources: " + join(names, ",");
        return v;
      }
    touched.push_back(i);
  }
  if (touched.empty()) return v;
  Amounts delta = usage(change.kind, *change.object, now);
  std::vector<std::string> negative;
  for (auto& [k, a] : delta)
    if (a.sign() < 0) negative.push_back(k);
  if (!negative.empty()) {
    v.refusal = "quota usage is negative for resource(s): " + join(negative, ",");
    return v;
  }
  if (change.old)
    for (auto& [k, a] : usage(change.kind, *change.old, now)) {
      auto it = delta.find(k);
      if (it == delta.end()) continue;
      it->second -= a;
      if (it->second.sign() < 0) it->second = Quantity();
    }
  std::erase_if(delta, [](auto& m) { return m.second.is_zero(); });
  if (delta.empty()) return v;
  for (size_t i : touched) {
    const Value& q = *quotas[i];
    Amounts hard = amounts_of(q["status"]["hard"]), used = amounts_of(q["status"]["used"]);
    Amounts requested = mask(delta, names_of(hard));
    if (requested.empty()) continue;
    std::vector<std::string> exceeded;
    Amounts next = used;
    for (auto& [k, a] : requested) {
      next[k] += a;
      if (hard[k] < next[k]) exceeded.push_back(k);
    }
    if (!exceeded.empty()) {
      v.used.clear();
      v.refusal = "exceeded quota: " + q["metadata"]["name"].as_string() + ", requested: " + text(mask(requested, exceeded)) + ", used: " + text(mask(used, exceeded)) +
                  ", limited: " + text(mask(hard, exceeded));
      return v;
    }
    v.used.emplace_back(i, std::move(next));
  }
  return v;
}

}  // namespace caravel::kube::quota
