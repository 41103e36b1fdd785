#include "sim/scenario.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "base/yaml.h"
#include "kube/kinds.h"
#include "kube/quantity.h"

namespace caravel::sim {

namespace {

constexpr int kNodesMax = 100'000;
constexpr int kLoadStepsMax = 10'000;

Error wrong(const std::string& where, const std::string& what) { return invalid(where + ": " + what); }

Status only(const json::Value& v, const std::string& where, std::initializer_list<std::string_view> known) {
  if (!v.is_object()) return wrong(where, "must be a map");
  for (auto& m : v.as_object()) {
    if (std::find(known.begin(), known.end(), m.key) != known.end()) continue;
    std::string list;
    for (auto k : known) list += (list.empty() ? "" : ", ") + std::string(k);
    return wrong(where.empty() ? std::string(m.key) : where + "." + std::string(m.key), "unknown field; there are: " + list);
  }
  return ok();
}

Result<Duration> duration_at(const json::Value& v, const std::string& where) {
  if (v.is_null()) return wrong(where, "is required, for example 90s or 1h30m");
  auto d = parse_duration(v.is_string() ? v.as_string() : json::dump(v));
  if (!d.ok() || *d < Duration(0)) return wrong(where, json::dump(v) + " is not a duration; write 90s or 1h30m");
  return *d;
}

Result<int> int_at(const json::Value& v, const std::string& where, int fallback, int low, int high) {
  if (v.is_null() && fallback >= low) return fallback;
  if (!v.is_int() || v.as_int() < low || v.as_int() > high)
    return wrong(where, json::dump(v) + " is not a number from " + std::to_string(low) + " to " + std::to_string(high));
  return static_cast<int>(v.as_int());
}

Result<Target> target_at(const json::Value& v, const std::string& where) {
  Target t;
  t.kind = v["kind"].as_string();
  t.ns = v["namespace"].is_string() ? v["namespace"].as_string() : "default";
  t.name = v["name"].as_string();
  const kube::KindInfo* found = nullptr;
  for (const kube::KindInfo* k : kube::all_kinds())
    if (k->resource().kind == t.kind) found = k;
  if (!found) return wrong(where + ".kind", json::quote(t.kind) + " is no kind that the cluster knows");
  if (!found->resource().namespaced) t.ns.clear();
  if (t.name.empty()) return wrong(where + ".name", "is required");
  return t;
}

Result<std::vector<json::Value>> objects_at(const json::Value& v, const std::string& where) {
  std::vector<json::Value> out;
  if (v.is_null()) return out;
  if (!v.is_array()) return wrong(where, "must be a list of manifests");
  for (size_t i = 0; i < v.size(); ++i) {
    const json::Value& o = v.at(i);
    std::string at = where + "[" + std::to_string(i) + "]";
    auto gv = kube::parse_group_version(o["apiVersion"].as_string());
    if (!kube::find_kind(gv.group, gv.version, o["kind"].as_string()))
      return wrong(at, "no kind " + json::quote(o["kind"].as_string()) + " in " + json::quote(o["apiVersion"].as_string()));
    if (o["metadata"]["name"].as_string().empty()) return wrong(at + ".metadata.name", "is required");
    out.push_back(o);
  }
  return out;
}

// When a curve that begins at `at` takes its steps, and how much of the way (0 to 1) has been gone then.
struct CurvePoint {
  Duration at;
  double share;
};
Result<std::vector<CurvePoint>> curve(const json::Value& v, const std::string& where, Duration at) {
  TRY(Duration over, duration_at(v["over"], where + ".over"));
  Duration every = std::chrono::minutes(1);
  if (!v["every"].is_null()) {
    TRY(every, duration_at(v["every"], where + ".every"));
  }
  if (every <= Duration(0) || over / every > kLoadStepsMax) return wrong(where + ".every", "gives too many steps; at most " + std::to_string(kLoadStepsMax));
  const int64_t steps = std::max<int64_t>(1, over / every);
  std::vector<CurvePoint> out;
  for (int64_t i = 0; i <= steps; ++i) out.push_back({at + every * i, static_cast<double>(i) / static_cast<double>(steps)});
  return out;
}

Status add_load(const json::Value& v, const std::string& where, Duration at, std::vector<Step>& out) {
  TRY_VOID(only(v, where, {"kind", "namespace", "name", "from", "to", "over", "every"}));
  Step s;
  s.what = Step::What::kScale;
  TRY(s.target, target_at(v, where));
  TRY(int from, int_at(v["from"], where + ".from", -1, 0, 1'000'000));
  TRY(int to, int_at(v["to"], where + ".to", -1, 0, 1'000'000));
  TRY(auto points, curve(v, where, at));
  int last = -1;
  for (const CurvePoint& p : points) {
    s.at = p.at;
    s.replicas = from + static_cast<int>(std::lround(static_cast<double>(to - from) * p.share));
    if (s.replicas != last) out.push_back(s);
    last = s.replicas;
  }
  return ok();
}

Result<int64_t> milli_at(const json::Value& v, const std::string& where) {
  auto q = v.is_null() ? Result<kube::Quantity>(invalid("")) : kube::Quantity::parse(v.is_string() ? v.as_string() : json::dump(v));
  if (!q.ok() || q->milli_value() < 0) return wrong(where, (v.is_null() ? std::string("is required") : json::dump(v) + " is not a quantity") + "; write 2500m, 4 or 8Gi");
  return q->milli_value();
}

// What a workload as a whole is asked for: at once, or over a while.
Status add_demand(const json::Value& v, const std::string& where, Duration at, std::vector<Step>& out) {
  TRY_VOID(only(v, where, {"kind", "namespace", "name", "metric", "from", "to", "over", "every"}));
  Step s;
  s.what = Step::What::kDemand;
  TRY(s.target, target_at(v, where));
  s.metric = v["metric"].is_null() ? "cpu" : v["metric"].as_string();
  if (s.metric.empty()) return wrong(where + ".metric", "must be a name: cpu, memory, or that of a custom metric");
  TRY(int64_t to, milli_at(v["to"], where + ".to"));
  if (v["from"].is_null() && v["over"].is_null()) {
    s.at = at;
    s.milli = to;
    out.push_back(std::move(s));
    return ok();
  }
  TRY(int64_t from, milli_at(v["from"], where + ".from"));
  TRY(auto points, curve(v, where, at));
  int64_t last = -1;
  for (const CurvePoint& p : points) {
    s.at = p.at;
    s.milli = from + std::llround(static_cast<double>(to - from) * p.share);
    if (s.milli != last) out.push_back(s);
    last = s.milli;
  }
  return ok();
}

Status add_step(const json::Value& v, const std::string& where, std::vector<Step>& out) {
  TRY_VOID(only(v, where, {"at", "apply", "delete", "scale", "failNode", "recoverNode", "failZone", "recoverZone", "load", "demand"}));
  TRY(Duration at, duration_at(v["at"], where + ".at"));
  if (v.size() != 2) return wrong(where, "needs `at` and exactly one thing that happens");
  if (!v["load"].is_null()) return add_load(v["load"], where + ".load", at, out);
  if (!v["demand"].is_null()) return add_demand(v["demand"], where + ".demand", at, out);
  Step s;
  s.at = at;
  if (!v["apply"].is_null()) {
    TRY(s.objects, objects_at(v["apply"], where + ".apply"));
  } else if (!v["delete"].is_null()) {
    s.what = Step::What::kDelete;
    TRY_VOID(only(v["delete"], where + ".delete", {"kind", "namespace", "name"}));
    TRY(s.target, target_at(v["delete"], where + ".delete"));
  } else if (!v["scale"].is_null()) {
    s.what = Step::What::kScale;
    TRY_VOID(only(v["scale"], where + ".scale", {"kind", "namespace", "name", "replicas"}));
    TRY(s.target, target_at(v["scale"], where + ".scale"));
    TRY(s.replicas, int_at(v["scale"]["replicas"], where + ".scale.replicas", -1, 0, 1'000'000));
  } else {
    struct Name {
      const char* field;
      Step::What what;
    };
    for (Name n : {Name{"failNode", Step::What::kFailNode}, Name{"recoverNode", Step::What::kRecoverNode}, Name{"failZone", Step::What::kFailZone},
                   Name{"recoverZone", Step::What::kRecoverZone}}) {
      if (v[n.field].is_null()) continue;
      s.what = n.what;
      s.where = v[n.field].as_string();
      if (s.where.empty()) return wrong(where + "." + n.field, "must be a name");
    }
  }
  out.push_back(std::move(s));
  return ok();
}

Status check_places(const Scenario& s, const std::vector<std::string>& where) {
  for (size_t i = 0; i < s.steps.size(); ++i) {
    const Step& step = s.steps[i];
    bool node = step.what == Step::What::kFailNode || step.what == Step::What::kRecoverNode;
    bool zone = step.what == Step::What::kFailZone || step.what == Step::What::kRecoverZone;
    if (!node && !zone) continue;
    bool known = std::any_of(s.nodes.begin(), s.nodes.end(), [&](auto& n) { return (node ? n.name : n.zone) == step.where; });
    if (!known) return wrong(where[i], std::string("there is no ") + (node ? "node " : "zone ") + json::quote(step.where) + "; nodes are named hollow-00000, ..., zones us-east-1a, ...");
  }
  return ok();
}

}  // namespace

Result<Scenario> parse_scenario(std::string_view text) {
  TRY(auto parsed, yaml::parse(text));
  const json::Value& v = parsed;
  TRY_VOID(only(v, "", {"nodes", "duration", "seed", "apply", "timeline"}));
  Scenario s;
  const json::Value& n = v["nodes"];
  if (!n.is_null()) TRY_VOID(only(n, "nodes", {"count", "zones", "cpu", "memory", "pods", "instanceType"}));
  TRY(int count, int_at(n["count"], "nodes.count", 6, 1, kNodesMax));
  TRY(int zones, int_at(n["zones"], "nodes.zones", 3, 1, 26));
  s.nodes = hollow::uniform_nodes(count, zones, n["instanceType"].is_string() ? n["instanceType"].as_string() : "m5.xlarge");
  TRY(int pods, int_at(n["pods"], "nodes.pods", 110, 1, 10'000));
  for (auto& node : s.nodes) {
    auto text_of = [](const json::Value& q) { return q.is_string() ? q.as_string() : json::dump(q); };
    for (auto [name, out] : {std::pair("cpu", &node.cpu), std::pair("memory", &node.memory)}) {
      if (n[name].is_null()) continue;
      auto q = kube::Quantity::parse(text_of(n[name]));
      if (!q.ok() || q->milli_value() <= 0) return wrong(std::string("nodes.") + name, json::dump(n[name]) + " is not an amount; write 4, 500m or 16Gi");
      *out = text_of(n[name]);
    }
    node.pods = pods;
  }
  if (!v["duration"].is_null()) {
    TRY(s.duration, duration_at(v["duration"], "duration"));
  }
  TRY(int seed, int_at(v["seed"], "seed", 1, 0, 1'000'000'000));
  s.seed = static_cast<uint64_t>(seed);
  TRY(s.objects, objects_at(v["apply"], "apply"));
  if (!v["timeline"].is_null() && !v["timeline"].is_array()) return wrong("timeline", "must be a list");
  std::vector<std::string> where;
  for (size_t i = 0; i < v["timeline"].size(); ++i) {
    std::string at = "timeline[" + std::to_string(i) + "]";
    const size_t before = s.steps.size();
    TRY_VOID(add_step(v["timeline"].at(i), at, s.steps));
    // It would never be seen to happen, and nothing would say so.
    if (s.steps.size() > before && s.steps[before].at > s.duration)
      return wrong(at + ".at", format_duration(s.steps[before].at) + " is after the end of the scenario; `duration` is " + format_duration(s.duration));
    where.resize(s.steps.size(), at);
  }
  TRY_VOID(check_places(s, where));
  std::stable_sort(s.steps.begin(), s.steps.end(), [](auto& a, auto& b) { return a.at < b.at; });
  return s;
}

}  // namespace caravel::sim
