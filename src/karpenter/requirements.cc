#include "karpenter/requirements.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::karpenter {

Requirement Requirement::in(std::vector<std::string> values) {
  Requirement r;
  r.values_.insert(values.begin(), values.end());
  return r;
}
Requirement Requirement::not_in(std::vector<std::string> values) {
  Requirement r = in(std::move(values));
  r.complement_ = true;
  return r;
}
Requirement Requirement::exists() { return not_in({}); }

Requirement Requirement::of(const std::string& op, const std::vector<std::string>& values, std::optional<int> min_values) {
  Requirement r;
  if (op == "In") r = in(values);
  else if (op == "NotIn") r = not_in(values);
  else if (op != "DoesNotExist") r = exists();
  if (op == "Gt" || op == "Gte" || op == "Lt" || op == "Lte") {
    int64_t bound = values.empty() ? 0 : parse_int(values[0]).value_or(0);
    if (op == "Gt") r.gt_ = bound;
    if (op == "Gte") r.gt_ = bound - 1;
    if (op == "Lt") r.lt_ = bound;
    if (op == "Lte") r.lt_ = bound + 1;
  }
  r.min_values = min_values;
  return r;
}

Requirement Requirement::of(const kube::scheduling::Requirement& r) {
  using kube::scheduling::Op;
  static const std::map<Op, std::string> kNames{{Op::kIn, "In"}, {Op::kNotIn, "NotIn"}, {Op::kExists, "Exists"}, {Op::kDoesNotExist, "DoesNotExist"}, {Op::kGt, "Gt"}, {Op::kLt, "Lt"}};
  return of(kNames.at(r.op), r.values);
}

bool Requirement::within(const std::string& value) const {
  if (!gt_ && !lt_) return true;
  auto n = parse_int(value);
  return n && (!gt_ || *n > *gt_) && (!lt_ || *n < *lt_);
}

bool Requirement::has(const std::string& value) const { return (values_.count(value) > 0) != complement_ && within(value); }

Requirement Requirement::intersect(const Requirement& o) const {
  Requirement out;
  out.complement_ = complement_ && o.complement_;
  auto later = [](auto a, auto b) { return !a ? b : !b ? a
                                                       : std::optional<int64_t>(std::max(*a, *b)); };
  auto earlier = [](auto a, auto b) { return !a ? b : !b ? a
                                                         : std::optional<int64_t>(std::min(*a, *b)); };
  out.gt_ = later(gt_, o.gt_);
  out.lt_ = earlier(lt_, o.lt_);
  if (min_values || o.min_values) out.min_values = std::max(min_values.value_or(0), o.min_values.value_or(0));
  if (out.complement_) {
    if (out.gt_ && out.lt_ && *out.lt_ - *out.gt_ <= 1) {  // no integer is left
      out.complement_ = false;
      out.gt_ = out.lt_ = std::nullopt;
      return out;
    }
    out.values_ = values_;
    out.values_.insert(o.values_.begin(), o.values_.end());
    return out;
  }
  const Requirement& small = !complement_ ? *this : o;
  const Requirement& other = !complement_ ? o : *this;
  for (const auto& v : small.values_)
    if (other.has(v) && out.within(v)) out.values_.insert(v);
  out.gt_ = out.lt_ = std::nullopt;
  return out;
}

bool Requirement::compatible(const Requirement& o) const {
  if (excludes() && o.excludes()) return true;
  Requirement both = intersect(o);
  return !both.empty();
}

std::optional<std::string> Requirement::only() const {
  if (complement_ || values_.size() != 1) return std::nullopt;
  return *values_.begin();
}

std::string Requirement::op() const {
  if (complement_) return gt_ ? "Gt" : lt_           ? "Lt"
                                   : values_.empty() ? "Exists"
                                                     : "NotIn";
  return values_.empty() ? "DoesNotExist" : "In";
}

std::string Requirement::text() const {
  std::string out = op();
  if (gt_) return out + " " + std::to_string(*gt_);
  if (lt_) return out + " " + std::to_string(*lt_);
  if (values_.empty()) return out;
  out += " [";
  size_t n = 0;
  for (const auto& v : values_) {
    if (n == 5) {
      out += " and " + std::to_string(values_.size() - 5) + " others";
      break;
    }
    out += (n++ ? " " : "") + v;
  }
  return out + "]";
}

Requirements Requirements::from_labels(const Labels& labels) {
  Requirements out;
  for (const auto& [k, v] : labels) out.add(normalize_label(k), Requirement::in({v}));
  return out;
}

void Requirements::add(const std::string& key, Requirement r) {
  auto [it, fresh] = all_.emplace(key, r);
  if (!fresh) it->second = it->second.intersect(r);
}

const Requirement* Requirements::find(const std::string& key) const {
  auto it = all_.find(key);
  return it == all_.end() ? nullptr : &it->second;
}

Requirement Requirements::get(const std::string& key) const {
  const Requirement* r = find(key);
  return r ? *r : Requirement::exists();
}

std::optional<std::string> Requirements::conflict(const Requirements& incoming, bool allow_undefined_well_known) const {
  for (const auto& [key, r] : incoming.all_) {
    if (find(key) || (allow_undefined_well_known && is_well_known(key)) || r.excludes()) continue;
    return "label \"" + key + "\" does not have known values";
  }
  return intersection_conflict(incoming);
}

std::optional<std::string> Requirements::intersection_conflict(const Requirements& incoming) const {
  for (const auto& [key, r] : incoming.all_) {
    const Requirement* mine = find(key);
    if (mine && !mine->compatible(r)) return "key " + key + ", " + key + " " + r.text() + " not in " + key + " " + mine->text();
  }
  return std::nullopt;
}

std::string Requirements::text() const {
  std::string out;
  for (const auto& [k, r] : all_) {
    if (k == label::kHostname) continue;
    out += (out.empty() ? "" : ", ") + k + " " + r.text();
  }
  return out;
}

Labels Requirements::labels() const {
  Labels out;
  for (const auto& [k, r] : all_) {
    if (k == label::kHostname) continue;
    if (auto v = r.only()) out[k] = *v;
    else if (!is_well_known(k) && r.finite() && !r.values().empty()) out[k] = *r.values().begin();
  }
  return out;
}

bool is_well_known(const std::string& key) {
  static const std::set<std::string> kKnown{
      label::kNodePool, label::kZone, label::kRegion, label::kInstanceType, label::kArch, label::kOs, label::kCapacityType, label::kZoneId,
      "node.kubernetes.io/windows-build"};
  static const std::set<std::string> kAws{
      "instance-hypervisor", "instance-encryption-in-transit-supported", "instance-category", "instance-capability-flex", "instance-family",
      "instance-generation", "instance-size", "instance-local-nvme", "instance-cpu", "instance-cpu-manufacturer",
      "instance-cpu-sustained-clock-speed-mhz", "instance-memory", "instance-ebs-bandwidth", "instance-network-bandwidth", "instance-gpu-name",
      "instance-gpu-manufacturer", "instance-gpu-count", "instance-gpu-memory", "instance-accelerator-name", "instance-accelerator-manufacturer",
      "instance-accelerator-count", "instance-tenancy", "nitro-sandbox", "capacity-reservation-id", "capacity-reservation-type",
      "capacity-reservation-interruptible", "placement-group-id", "placement-group-partition"};
  if (kKnown.count(key)) return true;
  constexpr std::string_view kPrefix = "karpenter.k8s.aws/";
  return key.starts_with(kPrefix) && kAws.count(key.substr(kPrefix.size()));
}

std::string normalize_label(const std::string& key) {
  static const std::map<std::string, std::string> kOld{
      {"failure-domain.beta.kubernetes.io/zone", label::kZone}, {"failure-domain.beta.kubernetes.io/region", label::kRegion}, {"beta.kubernetes.io/arch", label::kArch}, {"beta.kubernetes.io/os", label::kOs}, {"beta.kubernetes.io/instance-type", label::kInstanceType}, {"topology.ebs.csi.aws.com/zone", label::kZone}};
  auto it = kOld.find(key);
  return it == kOld.end() ? key : it->second;
}

}  // namespace caravel::karpenter
