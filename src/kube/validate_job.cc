#include "kube/validate_job.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/strings.h"

namespace caravel::kube::check {

namespace {

constexpr int64_t kIndexedParallelismMax = 100'000, kFailedIndexesMax = 100'000, kCompletionsSoftMax = 100'000, kSoftMax = 10'000;
constexpr int64_t kRulesMax = 20, kExitCodesMax = 255, kManagedByMax = 63, kIndexesTextMax = 64 * 1024;

void at_most(const json::Value& v, int64_t max, const FieldPath& p, FieldErrors& e, const std::string& tail = "") {
  if (v.is_int() && v.as_int() > max) e.push_back(invalid_error(p, v, "must be less than or equal to " + std::to_string(max) + tail));
}

void completion_mode(const json::Value& s, const FieldPath& p, FieldErrors& e) {
  if (const json::Value& mode = s["completionMode"]; mode.is_string()) supported(mode, {"NonIndexed", "Indexed"}, p.child("completionMode"), e);
  const json::Value &completions = s["completions"], &failed_max = s["maxFailedIndexes"];
  const bool per_index = s["backoffLimitPerIndex"].is_int();
  if (s["completionMode"].as_string() != "Indexed") {
    if (s["completionMode"].is_string() && s["completionMode"].as_string() != "NonIndexed") return;
    for (auto f : {"backoffLimitPerIndex", "maxFailedIndexes"})
      if (s[f].is_int()) e.push_back(invalid_error(p.child(f), s[f], "requires indexed completion mode"));
    return;
  }
  if (completions.is_null()) e.push_back(required_error(p.child("completions"), "when completion mode is Indexed"));
  at_most(s["parallelism"], kIndexedParallelismMax, p.child("parallelism"), e, " when completion mode is Indexed");
  at_most(failed_max, kFailedIndexesMax, p.child("maxFailedIndexes"), e);
  if (completions.is_int() && failed_max.is_int() && failed_max.as_int() > completions.as_int())
    e.push_back(invalid_error(p.child("maxFailedIndexes"), failed_max, "must be less than or equal to completions"));
  if (completions.as_int() <= kCompletionsSoftMax || !per_index) return;
  const std::string tail = " when completions are above 100000 and used with backoff limit per index";
  if (failed_max.is_null()) e.push_back(required_error(p.child("maxFailedIndexes"), "must be specified when completions is above 100000"));
  at_most(s["parallelism"], kSoftMax, p.child("parallelism"), e, tail);
  at_most(failed_max, kSoftMax, p.child("maxFailedIndexes"), e, tail);
}

std::set<std::string> container_names(const json::Value& pod) {
  std::set<std::string> out;
  for (auto list : {"containers", "initContainers"})
    for (const json::Value& c : pod[list].as_array()) out.insert(c["name"].as_string());
  return out;
}

void exit_codes(const json::Value& r, const FieldPath& p, const std::set<std::string>& names, FieldErrors& e) {
  if (r["operator"].as_string().empty()) e.push_back(required_error(p.child("operator"), "valid values: [\"In\" \"NotIn\"]"));
  else supported(r["operator"], {"In", "NotIn"}, p.child("operator"), e);
  const json::Value &name = r["containerName"], &values = r["values"];
  if (name.is_string() && !names.count(name.as_string()))
    e.push_back(invalid_error(p.child("containerName"), name, "must be one of the container or initContainer names in the pod template"));
  const FieldPath at = p.child("values");
  if (values.size() == 0) e.push_back(invalid_error(at, values, "at least one value is required"));
  else if (static_cast<int64_t>(values.size()) > kExitCodesMax) e.push_back(too_many(at, static_cast<int64_t>(values.size()), kExitCodesMax));
  std::set<int64_t> seen;
  bool ordered = true;
  int64_t last = INT64_MIN;
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t v = values.at(i).as_int();
    if (v == 0 && r["operator"].as_string() == "In") e.push_back(invalid_error(at.index(i), values.at(i), "must not be 0 for the In operator"));
    if (!seen.insert(v).second) e.push_back(duplicate_error(at.index(i), values.at(i)));
    ordered = ordered && v >= last;
    last = v;
  }
  if (!ordered) e.push_back(invalid_error(at, values, "must be ordered"));
}

void pod_conditions(const json::Value& list, const FieldPath& p, FieldErrors& e) {
  if (static_cast<int64_t>(list.size()) > kRulesMax) e.push_back(too_many(p, static_cast<int64_t>(list.size()), kRulesMax));
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& type = list.at(i)["type"].as_string();
    text_must(check_qualified_name, type, p.index(i).child("type"), e);
    const json::Value& status = list.at(i)["status"];
    if (status.as_string().empty()) e.push_back(required_error(p.index(i).child("status"), "valid values: [\"False\" \"True\" \"Unknown\"]"));
    else supported(status, {"False", "True", "Unknown"}, p.index(i).child("status"), e);
  }
}

void failure_policy(const json::Value& s, const FieldPath& spec, FieldErrors& e) {
  const json::Value& policy = s["podFailurePolicy"];
  if (policy.is_null()) return;
  const FieldPath p = spec.child("podFailurePolicy").child("rules");
  const json::Value& rules = policy["rules"];
  if (static_cast<int64_t>(rules.size()) > kRulesMax) e.push_back(too_many(p, static_cast<int64_t>(rules.size()), kRulesMax));
  const std::set<std::string> names = container_names(s["template"]["spec"]);
  for (size_t i = 0; i < rules.size(); ++i) {
    const json::Value& r = rules.at(i);
    const std::string& action = r["action"].as_string();
    if (action.empty()) e.push_back(required_error(p.index(i).child("action"), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"));
    else if (action == "FailIndex" && s["backoffLimitPerIndex"].is_null()) e.push_back(invalid_error(p.index(i).child("action"), action, "requires the backoffLimitPerIndex to be set"));
    else one_of(r["action"], {"Count", "FailIndex", "FailJob", "Ignore"}, p.index(i).child("action"), e);
    const bool codes = r["onExitCodes"].is_object(), conditions = r["onPodConditions"].size() > 0;
    if (codes) exit_codes(r["onExitCodes"], p.index(i).child("onExitCodes"), names, e);
    if (conditions) pod_conditions(r["onPodConditions"], p.index(i).child("onPodConditions"), e);
    if (codes && conditions) e.push_back(invalid_without_value(p.index(i), "specifying both OnExitCodes and OnPodConditions is not supported"));
    if (!codes && !conditions) e.push_back(invalid_without_value(p.index(i), "specifying one of OnExitCodes and OnPodConditions is required"));
  }
}

bool index_number(std::string_view text, int64_t* out) {
  auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return bad == std::errc() && end == text.data() + text.size() && !text.empty();
}

// How many indexes "0-2,5" holds, or why it is malformed.
Result<int64_t> count_indexes(const std::string& text, int64_t completions) {
  int64_t total = 0, last = -1;
  auto bad = [](const std::string& why) { return invalid(why); };
  for (auto& part : split(text, ',')) {
    std::vector<std::string> ends = split(part, '-');
    if (ends.size() > 2) return bad("the fragment \"" + part + "\" violates the requirement that an index interval can have at most two parts separated by '-'");
    int64_t first = 0, second = 0;
    if (!index_number(ends[0], &first)) return bad("cannot convert string to integer for index: \"" + ends[0] + "\"");
    if (ends.size() == 2 && !index_number(ends[1], &second)) return bad("cannot convert string to integer for index: \"" + ends[1] + "\"");
    if (ends.size() == 1) second = first;
    for (int64_t n : {first, second})
      if (n >= completions) return bad("too large index: \"" + std::to_string(n) + "\"");
    if (first <= last) return bad("non-increasing order, previous: " + std::to_string(last) + ", current: " + std::to_string(first));
    if (ends.size() == 2 && second <= first) return bad("non-increasing order, previous: " + std::to_string(first) + ", current: " + std::to_string(second));
    total += second - first + 1;
    last = second;
  }
  return total;
}

void success_policy(const json::Value& s, const FieldPath& spec, FieldErrors& e) {
  const json::Value& policy = s["successPolicy"];
  if (policy.is_null()) return;
  const FieldPath p = spec.child("successPolicy").child("rules");
  if (s["completionMode"].as_string() != "Indexed") {
    e.push_back(invalid_error(spec.child("successPolicy"), policy, "requires indexed completion mode"));
    return;
  }
  const json::Value& rules = policy["rules"];
  if (rules.size() == 0) e.push_back(required_error(p, "at least one rules must be specified when the successPolicy is specified"));
  if (static_cast<int64_t>(rules.size()) > kRulesMax) e.push_back(too_many(p, static_cast<int64_t>(rules.size()), kRulesMax));
  const int64_t completions = s["completions"].as_int();
  for (size_t i = 0; i < rules.size(); ++i) {
    const json::Value &count = rules.at(i)["succeededCount"], &indexes = rules.at(i)["succeededIndexes"];
    if (count.is_null() && indexes.is_null()) e.push_back(required_error(p.index(i), "at least one of succeededCount or succeededIndexes must be specified"));
    int64_t total = completions;
    if (indexes.is_string()) {
      if (static_cast<int64_t>(indexes.as_string().size()) > kIndexesTextMax) e.push_back(too_long(p.index(i).child("succeededIndexes"), kIndexesTextMax));
      Result<int64_t> n = count_indexes(indexes.as_string(), completions);
      if (!n.ok()) e.push_back(invalid_error(p.index(i).child("succeededIndexes"), indexes, "error parsing succeededIndexes: " + n.error().message));
      else total = *n;
    }
    if (count.is_null()) continue;
    non_negative(count, p.index(i).child("succeededCount"), e);
    at_most(count, completions, p.index(i).child("succeededCount"), e, " (the number of specified completions)");
    if (indexes.is_string() && total < completions) at_most(count, total, p.index(i).child("succeededCount"), e, " (the number of indexes in the specified succeededIndexes field)");
  }
}

void managed_by(const json::Value& v, const FieldPath& p, FieldErrors& e) {
  if (!v.is_string()) return;
  domain_prefixed_path(v.as_string(), p, e);
  if (static_cast<int64_t>(v.as_string().size()) > kManagedByMax) e.push_back(too_long(p, kManagedByMax));
}

}  // namespace

void job_spec(const json::Value& s, const json::Value* was, const FieldPath& p, FieldErrors& e) {
  for (auto f : {"parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"})
    non_negative(s[f], p.child(f), e);
  if (s["maxFailedIndexes"].is_int() && s["backoffLimitPerIndex"].is_null()) e.push_back(required_error(p.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
  managed_by(s["managedBy"], p.child("managedBy"), e);
  completion_mode(s, p, e);
  failure_policy(s, p, e);
  success_policy(s, p, e);
  if (s["podFailurePolicy"].is_object()) one_of(s["podReplacementPolicy"], {"Failed"}, p.child("podReplacementPolicy"), e, false);
  else one_of(s["podReplacementPolicy"], {"Failed", "TerminatingOrFailed"}, p.child("podReplacementPolicy"), e, false);
  // A template that was accepted stays acceptable.
  const json::Value& t = s["template"];
  if (was && t == (*was)["template"]) return;
  pod_template(t, p.child("template"), e);
  const json::Value& restart = t["spec"]["restartPolicy"];
  auto at = [&] { return p.child("template").child("spec").child("restartPolicy"); };
  if (restart.as_string().empty() || restart.as_string() == "Always") e.push_back(required_error(at(), "valid values: \"OnFailure\", \"Never\""));
  else if (restart.as_string() != "OnFailure" && restart.as_string() != "Never") e.push_back(not_supported(at(), restart, {std::string_view("OnFailure"), "Never"}));
  else if (s["podFailurePolicy"].is_object() && restart.as_string() != "Never") e.push_back(invalid_error(at(), restart, "only \"Never\" is supported when podFailurePolicy is specified"));
}

void job_selector(const json::Value& o, FieldErrors& e) {
  const FieldPath p("spec");
  const json::Value &s = o["spec"], &selector = s["selector"];
  const json::Value& labels = s["template"]["metadata"]["labels"];
  const size_t before = e.size();
  if (selector.is_object()) validate_label_selector(selector, p.child("selector"), e);
  else if (s["manualSelector"].as_bool()) e.push_back(required_error(p.child("selector")));  // else it is made
  if (selector.is_object() ? e.size() == before && !selects(selector, labels) : s["manualSelector"].as_bool()) {
    e.push_back(invalid_error(p.child("template").child("metadata").child("labels"), labels, "`selector` does not match template `labels`"));
  }
  // Pods of an indexed job are called after it and their index.
  const json::Value& completions = s["completions"];
  if (s["completionMode"].as_string() != "Indexed" || !completions.is_int() || completions.as_int() <= 0) return;
  const json::Value& name = o["metadata"]["name"];
  const std::string last = name.as_string() + "-" + std::to_string(completions.as_int() - 1);
  if (!check_dns1123_label(last).empty()) e.push_back(invalid_error(FieldPath("metadata").child("name"), name, "will not able to create pod with invalid DNS label: " + last));
}

void job_update(const json::Value& now, const json::Value& old, const FieldPath& p, FieldErrors& e) {
  for (auto f : {"completionMode", "selector", "podFailurePolicy", "backoffLimitPerIndex", "successPolicy", "managedBy"}) immutable(now[f], old[f], p.child(f), e);
  if (now["completionMode"].as_string() != "Indexed") {
    immutable(now["completions"], old["completions"], p.child("completions"), e);
  } else if (!same(now["completions"], old["completions"]) && !same(now["completions"], now["parallelism"])) {
    e.push_back(invalid_error(p.child("completions"), now["completions"], "can only be modified in tandem with spec.parallelism"));
  }
  // A suspended job that has not started may still change where its pods go.
  if (!old["suspend"].as_bool()) immutable(now["template"], old["template"], p.child("template"), e);
}

}  // namespace caravel::kube::check
