#include "karpenter/model.h"

#include <algorithm>
#include <limits>

namespace caravel::karpenter {

Amounts& Amounts::operator+=(const Amounts& o) {
  cpu += o.cpu, memory += o.memory, ephemeral += o.ephemeral, pods += o.pods;
  for (const auto& [k, v] : o.other) other[k] += v;
  return *this;
}
Amounts& Amounts::operator-=(const Amounts& o) {
  cpu -= o.cpu, memory -= o.memory, ephemeral -= o.ephemeral, pods -= o.pods;
  for (const auto& [k, v] : o.other) other[k] -= v;
  return *this;
}

bool Amounts::fits_in(const Amounts& room) const {
  if (cpu > room.cpu || memory > room.memory || ephemeral > room.ephemeral || pods > room.pods) return false;
  for (const auto& [k, v] : other) {
    if (v <= 0) continue;
    auto it = room.other.find(k);
    if (it == room.other.end() || v > it->second) return false;
  }
  return true;
}

std::map<std::string, std::string> Amounts::quantities() const {
  std::map<std::string, std::string> out;
  auto bytes = [](int64_t n) {
    const char* suffix = "";
    for (const char* s : {"Ki", "Mi", "Gi", "Ti"}) {
      if (n == 0 || n % 1024 != 0) break;
      n /= 1024;
      suffix = s;
    }
    return std::to_string(n) + suffix;
  };
  if (cpu) out["cpu"] = cpu % 1000 == 0 ? std::to_string(cpu / 1000) : std::to_string(cpu) + "m";
  if (memory) out["memory"] = bytes(memory);
  if (ephemeral) out["ephemeral-storage"] = bytes(ephemeral);
  if (pods) out["pods"] = std::to_string(pods);
  for (const auto& [k, v] : other)
    if (v) out[k] = std::to_string(v);
  return out;
}

std::string Amounts::text() const {
  std::string out = "{";
  for (const auto& [k, v] : quantities()) out += (out.size() > 1 ? ",\"" : "\"") + k + "\":\"" + v + "\"";
  return out + "}";
}

namespace {
bool allowed(const Offering& o, const Requirements& r) {
  const Requirement* zone = r.find(label::kZone);
  const Requirement* type = r.find(label::kCapacityType);
  const Requirement* id = r.find(label::kZoneId);
  return o.available && (!zone || zone->has(o.zone)) && (!type || type->has(o.capacity_type)) && (!id || id->has(o.zone_id));
}
}  // namespace

double cheapest_price(const InstanceType& t, const Requirements& r) {
  double best = std::numeric_limits<double>::infinity();
  for (const auto& o : t.offerings)
    if (allowed(o, r)) best = std::min(best, o.price);
  return best;
}

// The worst that a launch may cost: the dearest offering of the capacity type that would be chosen.
double dearest_price(const InstanceType& t, const Requirements& r) {
  for (const char* type : {"reserved", "spot", "on-demand"}) {
    double worst = -1;
    for (const auto& o : t.offerings)
      if (o.capacity_type == type && allowed(o, r)) worst = std::max(worst, o.price);
    if (worst >= 0) return worst;
  }
  return std::numeric_limits<double>::infinity();
}

bool has_offering(const InstanceType& t, const Requirements& r) {
  return std::any_of(t.offerings.begin(), t.offerings.end(), [&](const Offering& o) { return allowed(o, r); });
}

}  // namespace caravel::karpenter
