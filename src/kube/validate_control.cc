// Objects of the control plane's own: flow schemas and priority levels, leases, API services,
// limit ranges, quotas.
#include <set>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

const FieldPath kSpec("spec");

constexpr int64_t kPrecedenceMax = 10000;
constexpr int64_t kQueuesMax = 10 * 1000 * 1000;
constexpr double kEntropyBitsMax = 60;

bool has(const Value& list, std::string_view s) {
  for (auto& v : list.as_array())
    if (v.as_string() == s) return true;
  return false;
}

void subject(const Value& s, const FieldPath& p, FieldErrors& e) {
  const std::string& kind = s["kind"].as_string();
  struct Row {
    const char *kind, *member;
  };
  for (auto [k, member] : {Row{"ServiceAccount", "serviceAccount"}, Row{"User", "user"}, Row{"Group", "group"}}) {
    bool set = s[member].is_object();
    if (kind == k && !set) e.push_back(required_error(p.child(member), std::string(member) + " is required when subject kind is '" + k + "'"));
    if (kind != k && set) e.push_back(forbidden_error(p.child(member), std::string(member) + " is forbidden when subject kind is not '" + k + "'"));
    if (kind != k || !set) continue;
    const FieldPath at = p.child(member);
    if (s[member]["name"].as_string().empty()) e.push_back(required_error(at.child("name")));
    if (kind == "ServiceAccount" && s[member]["namespace"].as_string().empty()) e.push_back(required_error(at.child("namespace"), "must specify namespace for service account"));
  }
  one_of(s["kind"], {"Group", "ServiceAccount", "User"}, p.child("kind"), e);
}

void not_empty(const Value& list, const char* name, const FieldPath& p, FieldErrors& e) {
  if (list.size() == 0) e.push_back(required_error(p.child(name)));
  if (list.size() > 1 && has(list, "*")) e.push_back(invalid_error(p.child(name), list, "if '*' is present, must not specify other " + std::string(name == std::string_view("verbs") ? "verbs" : name == std::string_view("apiGroups")     ? "api groups"
                                                                                                                                                                                             : name == std::string_view("nonResourceURLs") ? "non-resource URLs"
                                                                                                                                                                                                                                           : name)));
}

void verbs(const Value& list, const FieldPath& p, FieldErrors& e) {
  not_empty(list, "verbs", p, e);
  for (auto& v : list.as_array())
    if (!has(*json::parse(R"(["*","get","list","create","update","delete","deletecollection","patch","watch","proxy","connect","post","put","head","options"])"), v.as_string())) {
      e.push_back(not_supported(p.child("verbs"), list, {"connect", "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"}));
      return;
    }
}

void flow_schema(const Value& o, FieldErrors& e) {
  const Value& s = o["spec"];
  const std::string& name = o["metadata"]["name"].as_string();
  int64_t precedence = s["matchingPrecedence"].as_int();
  if (precedence <= 0 || precedence > kPrecedenceMax) e.push_back(invalid_error(kSpec.child("matchingPrecedence"), s["matchingPrecedence"], "must be within [1, 10000]"));
  if (precedence == 1 && name != "exempt") e.push_back(invalid_error(kSpec.child("matchingPrecedence"), s["matchingPrecedence"], "only the schema named 'exempt' may have matchingPrecedence 1"));
  if (s["distinguisherMethod"].is_object()) one_of(s["distinguisherMethod"]["type"], {"ByNamespace", "ByUser"}, kSpec.child("distinguisherMethod").child("type"), e);
  const std::string& level = s["priorityLevelConfiguration"]["name"].as_string();
  const FieldPath ref = kSpec.child("priorityLevelConfiguration").child("name");
  if (level.empty()) e.push_back(required_error(ref, "must reference a priority level"));
  else text_must(check_dns1123_subdomain, level, ref, e);
  for (size_t i = 0; i < s["rules"].size(); ++i) {
    const Value& r = s["rules"].at(i);
    const FieldPath p = kSpec.child("rules").index(i);
    if (r["subjects"].size() == 0) e.push_back(required_error(p.child("subjects"), "subjects must contain at least one value"));
    for (size_t k = 0; k < r["subjects"].size(); ++k) subject(r["subjects"].at(k), p.child("subjects").index(k), e);
    if (r["resourceRules"].size() == 0 && r["nonResourceRules"].size() == 0) e.push_back(required_error(p, "at least one of resourceRules and nonResourceRules has to be non-empty"));
    for (size_t k = 0; k < r["resourceRules"].size(); ++k) {
      const Value& x = r["resourceRules"].at(k);
      const FieldPath at = p.child("resourceRules").index(k);
      verbs(x["verbs"], at, e);
      not_empty(x["apiGroups"], "apiGroups", at, e);
      not_empty(x["resources"], "resources", at, e);
      if (x["namespaces"].size() == 0 && !x["clusterScope"].as_bool()) e.push_back(required_error(at.child("namespaces"), "resource rules that are not cluster scoped must supply at least one namespace"));
      else if (x["namespaces"].size() > 1 && has(x["namespaces"], "*")) e.push_back(invalid_error(at.child("namespaces"), x["namespaces"], "if '*' is present, must not specify other namespaces"));
    }
    for (size_t k = 0; k < r["nonResourceRules"].size(); ++k) {
      const Value& x = r["nonResourceRules"].at(k);
      const FieldPath at = p.child("nonResourceRules").index(k);
      verbs(x["verbs"], at, e);
      not_empty(x["nonResourceURLs"], "nonResourceURLs", at, e);
    }
  }
}

void percent(const Value& v, int64_t most, const FieldPath& p, FieldErrors& e) {
  if (!v.is_int()) return;
  if (v.as_int() < 0 || (most >= 0 && v.as_int() > most)) e.push_back(invalid_error(p, v, most >= 0 ? "must be between 0 and 100, inclusive" : "must be at least 0"));
}

void queuing(const Value& q, const FieldPath& p, FieldErrors& e) {
  int64_t queues = q["queues"].as_int(), hand = q["handSize"].as_int();
  if (q["queueLengthLimit"].as_int() <= 0) e.push_back(invalid_error(p.child("queueLengthLimit"), q["queueLengthLimit"], "must be positive"));
  if (queues <= 0) e.push_back(invalid_error(p.child("queues"), q["queues"], "must be positive"));
  else if (queues > kQueuesMax) e.push_back(invalid_error(p.child("queues"), q["queues"], "must not be greater than 10000000"));
  if (hand <= 0) {
    e.push_back(invalid_error(p.child("handSize"), q["handSize"], "must be positive"));
  } else if (hand > queues) {
    e.push_back(invalid_error(p.child("handSize"), q["handSize"], "should not be greater than queues (" + std::to_string(queues) + ")"));
  } else {
    double bits = 0;
    for (int64_t i = 0; i < hand && bits <= kEntropyBitsMax; ++i) bits += __builtin_log2(static_cast<double>(queues - i));
    if (bits > kEntropyBitsMax)
      e.push_back(invalid_error(p.child("handSize"), q["handSize"], format("required entropy bits of deckSize %lld and handSize %lld should not be greater than 60", static_cast<long long>(queues), static_cast<long long>(hand))));
  }
}

void priority_level(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  const std::string &type = s["type"].as_string(), &name = o["metadata"]["name"].as_string();
  one_of(s["type"], {"Exempt", "Limited"}, kSpec.child("type"), e);
  bool named_exempt = name == "exempt";
  if (named_exempt != (type == "Exempt") && (type == "Exempt" || type == "Limited"))
    e.push_back(invalid_error(kSpec.child("type"), s["type"], "type must be 'Exempt' if and only if name is 'exempt'"));
  if (type == "Exempt") {
    if (s["limited"].is_object()) e.push_back(forbidden_error(kSpec.child("limited"), "must be nil if the type is not Limited"));
    percent(s["exempt"]["nominalConcurrencyShares"], -1, kSpec.child("exempt").child("nominalConcurrencyShares"), e);
    percent(s["exempt"]["lendablePercent"], 100, kSpec.child("exempt").child("lendablePercent"), e);
    return;
  }
  if (type != "Limited") return;
  if (s["exempt"].is_object()) e.push_back(forbidden_error(kSpec.child("exempt"), "must be nil if the type is Limited"));
  const FieldPath p = kSpec.child("limited");
  const Value& l = s["limited"];
  if (!l.is_object()) {
    e.push_back(required_error(p, "must not be empty when type is Limited"));
    return;
  }
  if (l["nominalConcurrencyShares"].is_int() && l["nominalConcurrencyShares"].as_int() < 0)
    e.push_back(invalid_error(p.child("nominalConcurrencyShares"), l["nominalConcurrencyShares"], "must be a non-negative integer"));
  percent(l["lendablePercent"], 100, p.child("lendablePercent"), e);
  percent(l["borrowingLimitPercent"], -1, p.child("borrowingLimitPercent"), e);
  const Value& r = l["limitResponse"];
  const FieldPath at = p.child("limitResponse");
  one_of(r["type"], {"Queue", "Reject"}, at.child("type"), e);
  bool queue = r["type"].as_string() == "Queue";
  if (!queue && r["queuing"].is_object()) e.push_back(forbidden_error(at.child("queuing"), "must be nil if limited.limitResponse.type is not Limited"));
  if (queue && !r["queuing"].is_object()) e.push_back(required_error(at.child("queuing"), "must not be empty if limited.limitResponse.type is Limited"));
  if (queue && r["queuing"].is_object()) queuing(r["queuing"], at.child("queuing"), e);
  (void)old;
}

void lease(const Value& o, FieldErrors& e) {
  const Value& s = o["spec"];
  if (s["leaseDurationSeconds"].is_int() && s["leaseDurationSeconds"].as_int() <= 0) e.push_back(invalid_error(kSpec.child("leaseDurationSeconds"), s["leaseDurationSeconds"], "must be greater than 0"));
  if (s["leaseTransitions"].is_int() && s["leaseTransitions"].as_int() < 0) e.push_back(invalid_error(kSpec.child("leaseTransitions"), s["leaseTransitions"], "must be greater than or equal to 0"));
  if (s["strategy"].is_string() && s["strategy"].as_string().empty()) e.push_back(invalid_error(kSpec.child("strategy"), s["strategy"], "must not be empty"));
}

void api_service(const Value& o, FieldErrors& e) {
  const Value& s = o["spec"];
  const std::string &group = s["group"].as_string(), &version = s["version"].as_string(), &name = o["metadata"]["name"].as_string();
  if (name != version + "." + group) e.push_back(invalid_error(FieldPath("metadata").child("name"), name, "must be `spec.version+\".\"+spec.group`: " + json::quote(version + "." + group)));
  if (group.empty() && version != "v1") e.push_back(required_error(kSpec.child("group"), "only v1 may have an empty group and it better be legacy kube"));
  else each_fault(group.empty() ? "" : check_dns1123_subdomain(group), group, kSpec.child("group"), e);
  text_must(check_dns1035_label, version, kSpec.child("version"), e);
  auto within = [&](const char* field, int64_t most, const char* what) {
    int64_t n = s[field].as_int();
    if (n <= 0 || n > most) e.push_back(invalid_error(kSpec.child(field), s[field], what));
  };
  within("groupPriorityMinimum", 20000, "must be positive and less than 20000");
  within("versionPriority", 1000, "must be positive and less than 1000");
  if (!s["service"].is_object()) {
    if (s["caBundle"].size() || !s["caBundle"].as_string().empty()) e.push_back(invalid_error(kSpec.child("caBundle"), "0 bytes", "local APIServices may not have a caBundle"));
    if (s["insecureSkipTLSVerify"].as_bool()) e.push_back(invalid_error(kSpec.child("insecureSkipTLSVerify"), s["insecureSkipTLSVerify"], "local APIServices may not have insecureSkipTLSVerify"));
    return;
  }
  if (s["service"]["namespace"].as_string().empty()) e.push_back(required_error(kSpec.child("service").child("namespace")));
  if (s["service"]["name"].as_string().empty()) e.push_back(required_error(kSpec.child("service").child("name")));
  if (s["insecureSkipTLSVerify"].as_bool() && !s["caBundle"].as_string().empty())
    e.push_back(invalid_error(kSpec.child("insecureSkipTLSVerify"), s["insecureSkipTLSVerify"], "may not be true if caBundle is present"));
}

void limit_item(const Value& l, const FieldPath& p, FieldErrors& e) {
  auto of = [&](const char* list, const std::string& k) -> std::optional<Quantity> {
    const Value* v = l[list].find(k);
    if (!v) return std::nullopt;
    return Quantity::of(v->is_string() ? v->as_string() : json::dump(*v));
  };
  const std::string& type = l["type"].as_string();
  if (type == "Pod")
    for (const char* f : {"default", "defaultRequest"})
      if (l[f].size()) e.push_back(forbidden_error(p.child(f), "may not be specified when `type` is 'Pod'"));
  if (type == "PersistentVolumeClaim" && !of("min", "storage") && !of("max", "storage"))
    e.push_back(required_error(p.child("limits"), "either minimum or maximum storage value is required, but neither was provided"));
  std::set<std::string> keys;
  for (const char* f : {"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"})
    for (auto& m : l[f].as_object()) {
      keys.insert(m.key);
      if (type == "Pod" || type == "Container") container_resource_name(m.key, p.child(f).key(m.key), e);
      else resource_name(m.key, p.child(f).key(m.key), e);
    }
  for (auto& k : keys) {
    auto min = of("min", k), max = of("max", k), given = of("default", k), request = of("defaultRequest", k), ratio = of("maxLimitRequestRatio", k);
    auto bad = [&](const char* field, const Quantity& q, std::string why) { e.push_back(invalid_error(p.child(field).key(k), q.text(), why)); };
    if (min && max && *max < *min) bad("min", *min, "min value " + min->text() + " is greater than max value " + max->text());
    if (request && min && *request < *min) bad("defaultRequest", *request, "min value " + min->text() + " is greater than default request value " + request->text());
    if (request && max && *max < *request) bad("defaultRequest", *request, "default request value " + request->text() + " is greater than max value " + max->text());
    if (request && given && *given < *request) bad("defaultRequest", *request, "default request value " + request->text() + " is greater than default limit value " + given->text());
    if (given && min && *given < *min) bad("default", *given, "min value " + min->text() + " is greater than default value " + given->text());
    if (given && max && *max < *given) bad("default", *given, "default value " + given->text() + " is greater than max value " + max->text());
    if (ratio && *ratio < Quantity(1)) bad("maxLimitRequestRatio", *ratio, "ratio " + ratio->text() + " is less than 1");
    if (ratio && min && max && !min->is_zero() && ratio->as_double() > max->as_double() / min->as_double())
      bad("maxLimitRequestRatio", *ratio, "ratio " + ratio->text() + " is greater than max/min = " + format("%f", max->as_double() / min->as_double()));
  }
}

void limit_range(const Value& o, FieldErrors& e) {
  const Value& limits = o["spec"]["limits"];
  std::set<std::string> types;
  for (size_t i = 0; i < limits.size(); ++i) {
    const FieldPath p = kSpec.child("limits").index(i);
    const std::string& type = limits.at(i)["type"].as_string();
    const size_t before = e.size();
    text_must(check_qualified_name, type, p.child("type"), e);
    if (type.find('/') == type.npos && type != "Pod" && type != "Container" && type != "PersistentVolumeClaim" && e.size() == before)
      e.push_back(invalid_error(p.child("type"), type, "must be a standard limit type or fully qualified"));
    if (e.size() == before && !types.insert(type).second) e.push_back(duplicate_error(p.child("type"), type));
    limit_item(limits.at(i), p, e);
  }
}

bool integer_amount(const std::string& name) {
  for (std::string_view n : {"pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers"})
    if (name == n) return true;
  return name.compare(0, 6, "count/") == 0;
}

void resource_quota(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  for (auto& m : s["hard"].as_object()) {
    const FieldPath p = kSpec.child("hard").key(m.key);
    quota_resource_name(m.key, p, e);
    Quantity q = Quantity::of(m.value.is_string() ? m.value.as_string() : json::dump(m.value));
    if (q.sign() < 0) e.push_back(invalid_error(p, q.text(), "must be greater than or equal to 0"));
    if (integer_amount(m.key) && q.milli_value() % 1000 != 0) e.push_back(invalid_error(p, q.text(), "must be an integer"));
  }
  std::set<std::string> scopes;
  for (size_t i = 0; i < s["scopes"].size(); ++i) {
    const std::string& name = s["scopes"].at(i).as_string();
    static const std::set<std::string> kScopes = {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass"};
    if (!kScopes.count(name)) e.push_back(invalid_error(kSpec.child("scopes"), s["scopes"], "unsupported scope"));
    scopes.insert(name);
  }
  if ((scopes.count("BestEffort") && scopes.count("NotBestEffort")) || (scopes.count("Terminating") && scopes.count("NotTerminating")))
    e.push_back(invalid_error(kSpec.child("scopes"), s["scopes"], "conflicting scopes"));
  if (scopes.count("BestEffort"))
    for (auto& m : s["hard"].as_object())
      if (m.key != "pods" && m.key != "count/pods") {
        e.push_back(invalid_error(kSpec.child("scopes"), s["scopes"], "unsupported scope applied to resource"));
        break;
      }
  const Value& terms = s["scopeSelector"]["matchExpressions"];
  for (size_t i = 0; i < terms.size(); ++i) {
    const FieldPath p = kSpec.child("scopeSelector").child("matchExpressions").index(i);
    one_of(terms.at(i)["operator"], {"DoesNotExist", "Exists", "In", "NotIn"}, p.child("operator"), e);
    const std::string& op = terms.at(i)["operator"].as_string();
    if ((op == "In" || op == "NotIn") && terms.at(i)["values"].size() == 0) e.push_back(required_error(p.child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"));
    if ((op == "Exists" || op == "DoesNotExist") && terms.at(i)["values"].size()) e.push_back(invalid_error(p.child("values"), terms.at(i)["values"], "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"));
  }
  if (!old) return;
  if (!same(s["scopes"], (*old)["spec"]["scopes"])) e.push_back(invalid_error(kSpec.child("scopes"), s["scopes"], "field is immutable"));
  if (!same(s["scopeSelector"], (*old)["spec"]["scopeSelector"])) e.push_back(invalid_error(kSpec.child("scopeSelector"), s["scopeSelector"], "field is immutable"));
}

}  // namespace

void control(std::string_view kind, const Value& o, const Value* old, FieldErrors& e) {
  if (kind == "FlowSchema") flow_schema(o, e);
  else if (kind == "PriorityLevelConfiguration") priority_level(o, old, e);
  else if (kind == "Lease") lease(o, e);
  else if (kind == "LimitRange") limit_range(o, e);
  else if (kind == "ResourceQuota") resource_quota(o, old, e);
  else if (kind == "APIService") api_service(o, e);
}

}  // namespace caravel::kube::check
