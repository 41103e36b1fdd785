#include "karpenter/disruption.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <ctime>
#include <limits>

#include "base/strings.h"

namespace caravel::karpenter {

namespace {

constexpr int kMultiNodeMax = 100;
constexpr size_t kSpotToSpotTypesMin = 15;

// One field of a cron schedule: "*", "*/5", "1-5", "1,3", "MON-FRI".
std::optional<bool> field_matches(std::string field, int value, int low, const std::vector<std::string>& names) {
  field = to_upper(field);
  for (size_t i = 0; i < names.size(); ++i) field = replace_all(field, names[i], std::to_string(low + static_cast<int>(i)));
  for (const auto& part : split(field, ',')) {
    int step = 1;
    std::string range = part;
    if (size_t slash = part.find('/'); slash != part.npos) {
      auto n = parse_int(part.substr(slash + 1));
      if (!n || *n < 1) return std::nullopt;
      step = static_cast<int>(*n);
      range = part.substr(0, slash);
    }
    int from = low, to = INT_MAX;
    if (range != "*" && range != "?") {
      size_t dash = range.find('-');
      auto a = parse_int(range.substr(0, dash));
      if (!a) return std::nullopt;
      from = static_cast<int>(*a);
      to = step > 1 ? INT_MAX : from;
      if (dash != range.npos) {
        auto b = parse_int(range.substr(dash + 1));
        if (!b) return std::nullopt;
        to = static_cast<int>(*b);
      }
    }
    if (value >= from && value <= to && (value - from) % step == 0) return true;
  }
  return false;
}

std::optional<bool> starts_at(const std::vector<std::string>& f, Time t) {
  std::time_t seconds = static_cast<std::time_t>(t.seconds());
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  static const std::vector<std::string> kMonths{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
  static const std::vector<std::string> kDays{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};
  auto minute = field_matches(f[0], tm.tm_min, 0, {}), hour = field_matches(f[1], tm.tm_hour, 0, {});
  auto day = field_matches(f[2], tm.tm_mday, 1, {}), month = field_matches(f[3], tm.tm_mon + 1, 1, kMonths);
  auto weekday = field_matches(f[4], tm.tm_wday, 0, kDays);
  if (tm.tm_wday == 0 && weekday && !*weekday) weekday = field_matches(f[4], 7, 0, kDays);
  if (!minute || !hour || !day || !month || !weekday) return std::nullopt;
  // Day of month and day of week are alternatives when both are given.
  bool any_day = f[2] == "*" || f[2] == "?", any_weekday = f[4] == "*" || f[4] == "?";
  bool date = any_day || any_weekday ? *day && *weekday : *day || *weekday;
  return *minute && *hour && *month && date;
}

double price_of(const std::vector<Candidate>& c) {
  double sum = 0;
  for (const auto& x : c) sum += x.price;
  return sum;
}

// Keeps the types whose worst price at launch is below what goes away; false when none is left.
bool keep_cheaper(PlannedClaim& plan, const InstanceTypes& types, double below) {
  std::erase_if(plan.types, [&](const std::string& name) {
    for (const auto& t : types)
      if (t->name == name) return dearest_price(*t, plan.requirements) >= below;
    return true;
  });
  return !plan.types.empty();
}

bool values_left(const PlannedClaim& plan, const InstanceTypes& types) {
  for (const auto& [key, r] : plan.requirements.all()) {
    if (!r.min_values) continue;
    std::set<std::string> values;
    for (const auto& name : plan.types)
      for (const auto& t : types)
        if (t->name == name)
          if (const Requirement* have = t->requirements.find(key)) values.insert(have->values().begin(), have->values().end());
    if (static_cast<int>(values.size()) < *r.min_values) return false;
  }
  return true;
}

// Removing these nodes together: for nothing, or for one cheaper node.
std::optional<Command> consolidate(const std::vector<Candidate>& gone, const Simulate& simulate) {
  Simulation s = simulate(gone);
  if (!s.all_placed || s.claims.size() > 1) return std::nullopt;
  Command out;
  out.reason = "Underutilized";
  for (const auto& c : gone) out.claims.push_back(c.claim);
  if (s.claims.empty()) return out;
  PlannedClaim plan = std::move(s.claims.front());
  bool all_spot = std::all_of(gone.begin(), gone.end(), [](const Candidate& c) { return c.capacity_type == "spot"; });
  Requirement capacity = plan.requirements.get(label::kCapacityType);
  // Spot for spot only churns; it is off, as upstream's gate is.
  if (all_spot && capacity.has("spot")) return std::nullopt;
  if (!keep_cheaper(plan, s.types, price_of(gone)) || !values_left(plan, s.types)) return std::nullopt;
  if (gone.size() > 1) {
    // A replacement of a type that is being removed must be cheaper than that one alone.
    double same = std::numeric_limits<double>::infinity();
    for (const auto& c : gone)
      if (std::find(plan.types.begin(), plan.types.end(), c.type) != plan.types.end()) same = std::min(same, c.price);
    if (same < std::numeric_limits<double>::infinity() && !keep_cheaper(plan, s.types, same)) return std::nullopt;
  }
  if (capacity.has("spot") && capacity.has("on-demand")) plan.requirements.add(label::kCapacityType, Requirement::in({"spot"}));
  out.replacements.push_back(std::move(plan));
  return out;
}

}  // namespace

std::optional<bool> schedule_active(const std::string& schedule, Duration duration, Time now) {
  static const std::map<std::string, std::string> kNames{{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};
  auto named = kNames.find(schedule);
  std::vector<std::string> fields = split_words(named == kNames.end() ? schedule : named->second);
  if (fields.size() != 5) return std::nullopt;
  constexpr int64_t kMinute = 60, kLookBackMax = 60 * 24 * 366;
  int64_t first = now.seconds() / kMinute, span = std::min<int64_t>(std::chrono::duration_cast<std::chrono::minutes>(duration).count(), kLookBackMax);
  for (int64_t back = 0; back <= span; ++back) {
    Time at = Time::from_seconds((first - back) * kMinute);
    if (now - at > duration) break;
    auto starts = starts_at(fields, at);
    if (!starts) return std::nullopt;
    if (*starts) return true;
  }
  return false;
}

int allowed_disruptions(const PoolPolicy& pool, const std::string& reason, Time now) {
  json::Array budgets = pool.budgets.as_array();
  if (!pool.budgets.is_array()) {
    json::Value standard;
    standard["nodes"] = "10%";
    budgets.push_back(std::move(standard));
  }
  int least = INT_MAX;
  for (const auto& b : budgets) {
    if (b["reasons"].size() > 0) {
      bool meant = false;
      for (const auto& r : b["reasons"].as_array()) meant = meant || r.as_string() == reason;
      if (!meant) continue;
    }
    if (b["schedule"].is_string()) {
      auto duration = parse_duration(b["duration"].as_string());
      auto active = duration.ok() ? schedule_active(b["schedule"].as_string(), *duration, now) : std::nullopt;
      if (!active) return 0;  // a schedule that cannot be read permits nothing
      if (!*active) continue;
    }
    const std::string& text = b["nodes"].as_string();
    int nodes;
    if (!text.empty() && text.back() == '%') nodes = static_cast<int>(std::ceil(parse_double(text.substr(0, text.size() - 1)).value_or(0) / 100 * pool.nodes));
    else nodes = static_cast<int>(b["nodes"].is_int() ? b["nodes"].as_int() : parse_int(text).value_or(0));
    least = std::min(least, nodes);
  }
  if (least == INT_MAX) return INT_MAX;
  return std::max(0, least - pool.disrupting);
}

std::optional<Command> choose(std::vector<Candidate> all, const std::map<std::string, PoolPolicy>& pools, Time now, const Simulate& simulate) {
  std::erase_if(all, [&](const Candidate& c) { return !c.blocked.empty() || !pools.count(c.pool); });
  auto within_budget = [&](std::vector<Candidate> wanted, const std::string& reason) {
    std::map<std::string, int> left;
    std::vector<Candidate> out;
    for (auto& c : wanted) {
      auto [it, fresh] = left.emplace(c.pool, 0);
      if (fresh) it->second = allowed_disruptions(pools.at(c.pool), reason, now);
      if (it->second <= 0) continue;
      --it->second;
      out.push_back(std::move(c));
    }
    return out;
  };

  // Empty nodes go together.
  std::vector<Candidate> empty;
  for (const auto& c : all)
    if (c.consolidatable && c.pods == 0) empty.push_back(c);
  empty = within_budget(std::move(empty), "Empty");
  if (!empty.empty()) {
    Command out;
    out.reason = "Empty";
    for (const auto& c : empty) out.claims.push_back(c.claim);
    return out;
  }

  // Drifted ones one at a time, longest drifted first, empty before full.
  std::vector<Candidate> drifted;
  for (const auto& c : all)
    if (c.drifted) drifted.push_back(c);
  std::stable_sort(drifted.begin(), drifted.end(), [](const Candidate& a, const Candidate& b) {
    return (a.pods == 0) != (b.pods == 0) ? a.pods == 0 : a.drifted_at < b.drifted_at;
  });
  for (const auto& c : within_budget(std::move(drifted), "Drifted")) {
    Simulation s = simulate({c});
    if (!s.all_placed) continue;
    Command out;
    out.reason = "Drifted";
    out.claims.push_back(c.claim);
    out.replacements = std::move(s.claims);
    return out;
  }

  std::vector<Candidate> under;
  for (const auto& c : all)
    if (c.consolidatable && pools.at(c.pool).consolidation != "WhenEmpty") under.push_back(c);
  // The most money for the least disruption first.
  std::stable_sort(under.begin(), under.end(), [](const Candidate& a, const Candidate& b) { return a.price / a.disruption_cost > b.price / b.disruption_cost; });
  under = within_budget(std::move(under), "Underutilized");
  // Several for one: the largest prefix that works, by halving.
  size_t low = 2, high = std::min<size_t>(under.size(), kMultiNodeMax);
  std::optional<Command> best;
  while (low <= high && high >= 2) {
    size_t mid = (low + high) / 2;
    auto found = consolidate({under.begin(), under.begin() + static_cast<long>(mid)}, simulate);
    if (found) {
      best = std::move(found);
      low = mid + 1;
    } else {
      high = mid - 1;
    }
  }
  if (best) return best;
  for (const auto& c : under)
    if (auto found = consolidate({c}, simulate)) return found;
  return std::nullopt;
}

}  // namespace caravel::karpenter
