#include "apiserver/authorization/access.h"

#include "apiserver/selector.h"
#include "base/hash.h"
#include "base/strings.h"
#include "kube/selectors.h"

namespace caravel::apiserver {

namespace {

using json::Value;
namespace cel = kube::cel;

constexpr size_t kAnswersKeptMax = 8'192;
constexpr size_t kKeptKeyMax = 10'000;  // larger questions are not kept

Value strings_of(const std::vector<std::string>& v) {
  Value a = Value::array();
  for (auto& s : v) a.push_back(s);
  return a;
}

void set(Value& v, std::string_view name, const std::string& text) {
  if (!text.empty()) v[name] = text;
}

}  // namespace

AccessQuestion::AccessQuestion(const Attributes& a)
    : user(*a.user), verb(a.verb), group(a.group), version(a.version), plural(a.plural), subresource(a.subresource), ns(a.ns), name(a.name), path(a.path), is_resource(a.is_resource) {
  if (a.field_selector) field_selector = *a.field_selector;
  if (a.label_selector) label_selector = *a.label_selector;
}

Attributes AccessQuestion::attributes() const {
  Attributes a;
  a.user = &user;
  a.verb = verb;
  a.group = group;
  a.version = version;
  a.plural = plural;
  a.subresource = subresource;
  a.ns = ns;
  a.name = name;
  a.path = path;
  a.is_resource = is_resource;
  if (!field_selector.is_null()) a.field_selector = &field_selector;
  if (!label_selector.is_null()) a.label_selector = &label_selector;
  return a;
}

namespace {

Value requirement(const std::string& key, const char* op, const std::vector<std::string>& values) {
  Value r = Value::object();
  r["key"] = key;
  r["operator"] = op;
  if (!values.empty()) r["values"] = strings_of(values);
  return r;
}

}  // namespace

Value label_requirements(std::string_view selector) {
  auto s = kube::LabelSelector::parse(selector);
  if (!s.ok() || s->requirements().empty()) return Value();
  using Op = kube::LabelSelector::Op;
  Value out = Value::array();
  for (auto& r : s->requirements()) {
    if (r.op == Op::kGreater || r.op == Op::kLess) continue;  // a review has no word for them: what is left selects more
    const char* op = r.op == Op::kIn ? "In" : r.op == Op::kNotIn ? "NotIn"
                                          : r.op == Op::kExists  ? "Exists"
                                                                 : "DoesNotExist";
    out.push_back(requirement(r.key, op, r.values));
  }
  return out.size() ? out : Value();
}

Value field_requirements(std::string_view selector) {
  auto s = FieldSelector::parse(selector);
  if (!s.ok() || s->empty()) return Value();
  Value out = Value::array();
  for (auto& t : s->terms()) out.push_back(requirement(t.field, t.equal ? "In" : "NotIn", {t.value}));
  return out;
}

Value review_spec(const AccessQuestion& q) {
  Value s = Value::object();
  Value what = Value::object();
  if (q.is_resource) {
    set(what, "namespace", q.ns);
    set(what, "verb", q.verb);
    set(what, "group", q.group);
    set(what, "version", q.version);
    set(what, "resource", q.plural);
    set(what, "subresource", q.subresource);
    set(what, "name", q.name);
    if (!q.field_selector.is_null()) what["fieldSelector"]["requirements"] = q.field_selector;
    if (!q.label_selector.is_null()) what["labelSelector"]["requirements"] = q.label_selector;
    s["resourceAttributes"] = std::move(what);
  } else {
    set(what, "path", q.path);
    set(what, "verb", q.verb);
    s["nonResourceAttributes"] = std::move(what);
  }
  set(s, "user", q.user.name);
  if (!q.user.groups.empty()) s["groups"] = strings_of(q.user.groups);
  for (auto& [k, v] : q.user.extra) s["extra"][k] = strings_of(v);
  set(s, "uid", q.user.uid);
  return s;
}

std::optional<bool> AccessWebhook::matches(const Value& spec) const {
  if (config_.conditions.empty()) return true;
  cel::Value request = cel::from_json(spec);
  cel::Budget budget;
  bool failed = false;
  for (auto& c : config_.conditions) {
    auto r = c.program.run({{"request", request}}, budget);
    if (!r.ok()) {
      log_.warn("a match condition of an authorization webhook cannot be evaluated", {{"webhook", config_.name}, {"expression", c.text}, {"error", r.error().message}});
      failed = true;
    } else if (!r->is_true()) {
      return false;  // also when another one failed
    }
  }
  if (failed) return std::nullopt;
  return true;
}

Verdict AccessWebhook::failed(std::string why) const {
  log_.warn("an authorization webhook failed", {{"webhook", config_.name}, {"error", why}});
  Verdict v;
  v.what = config_.deny_on_failure ? Verdict::kDeny : Verdict::kNoOpinion;
  return v;
}

Task<Verdict> AccessWebhook::ask(std::shared_ptr<const AccessQuestion> q) {
  Value review = Value::object();
  review["kind"] = "SubjectAccessReview";
  review["apiVersion"] = "authorization.k8s.io/" + config_.version;
  review["metadata"]["creationTimestamp"] = Value();
  Value spec = review_spec(*q);
  std::optional<bool> wanted = matches(spec);
  if (!wanted) co_return failed("a match condition failed");
  if (!*wanted) co_return Verdict();
  const std::string text = json::dump_sorted(spec);
  const std::string key = sha256(text);
  if (auto it = kept_.find(key); it != kept_.end()) {
    if (ex_->now() < it->second.until) co_return it->second.verdict;
    kept_.erase(it);
  }
  if (config_.version == "v1beta1") {  // it calls the groups "group"
    Value groups = std::as_const(spec)["groups"];
    spec.erase("groups");
    if (!groups.is_null()) spec["group"] = std::move(groups);
  }
  review["spec"] = std::move(spec);
  review["status"]["allowed"] = false;
  auto got = co_await ask_webhook(ex_, exchange_, to_, json::dump(review));
  if (!got.ok()) co_return failed(got.error().message);
  const Value status = std::move((*got)["status"]);
  const bool allowed = status["allowed"].as_bool(), denied = status["denied"].as_bool();
  if (allowed && denied) co_return failed("webhook subject access review returned both allow and deny response");
  Verdict v;
  v.what = allowed ? Verdict::kAllow : denied ? Verdict::kDeny
                                              : Verdict::kNoOpinion;
  v.reason = status["reason"].as_string();
  Duration keep = allowed ? config_.keep_allowed : config_.keep_refused;
  if (keep > Duration(0) && text.size() <= kKeptKeyMax) {
    if (kept_.size() >= kAnswersKeptMax) kept_.clear();
    kept_[key] = {v, ex_->now() + keep};
  }
  co_return v;
}

Task<Decision> AccessChain::decide(const Attributes& a) {
  if (a.user->in_group("system:masters")) co_return Decision{true, ""};
  std::shared_ptr<const AccessQuestion> question;
  std::vector<std::string> reasons;
  const std::shared_ptr<const std::vector<Link>> links = links_;
  for (const Link& link : *links) {
    Verdict v;
    if (link.type == AuthorizerType::kWebhook) {
      if (!question) question = std::make_shared<const AccessQuestion>(a);
      v = co_await link.webhook->ask(question);
    } else if (link.type == AuthorizerType::kAlwaysAllow) {
      v.what = Verdict::kAllow;
    } else if (link.type == AuthorizerType::kAlwaysDeny) {
      v.reason = "Everything is forbidden.";
    } else {
      Decision d = link.type == AuthorizerType::kNode ? local_->node(a) : local_->rbac(a);
      v.what = d.allowed ? Verdict::kAllow : Verdict::kNoOpinion;
      v.reason = d.reason;
    }
    if (v.what == Verdict::kAllow) {
      Decision d;
      d.allowed = true;
      d.reason = std::move(v.reason);
      co_return d;
    }
    if (!v.reason.empty()) reasons.push_back(std::move(v.reason));
    if (v.what == Verdict::kDeny) break;
  }
  Decision d;
  d.reason = join(reasons, "\n");
  co_return d;
}

}  // namespace caravel::apiserver
