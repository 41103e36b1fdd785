#include "apiserver/admission/webhooks.h"

#include "apiserver/audit.h"
#include "apiserver/authorization/answers.h"
#include "apiserver/conversion_webhook.h"
#include "apiserver/object_meta.h"
#include "base/scope.h"
#include "base/strings.h"
#include "kube/cel/admission.h"
#include "kube/patch.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr std::string_view kGroup = "admissionregistration.k8s.io";

Result<std::shared_ptr<const Webhook>> parse_webhook(const std::string& configuration, const Value& v) {
  auto w = std::make_shared<Webhook>();
  w->configuration = configuration;
  w->name = v["name"].as_string();
  TRY(w->criteria, MatchCriteria::parse(v, "rules", ""));
  w->target = WebhookTarget::parse(v["clientConfig"]);
  w->ignore_failures = v["failurePolicy"].as_string() == "Ignore";
  const std::string& effects = v["sideEffects"].as_string();
  w->no_side_effects = effects == "None" || effects == "NoneOnDryRun";
  w->reinvoke = v["reinvocationPolicy"].as_string() == "IfNeeded";
  w->timeout = std::chrono::seconds(v["timeoutSeconds"].as_int(10));
  for (auto& x : v["admissionReviewVersions"].as_array())
    if (w->review_version.empty() && (x.as_string() == "v1" || x.as_string() == "v1beta1")) w->review_version = x.as_string();
  TRY(w->conditions, parse_conditions(kube::cel::PolicyCompiler(false), v["matchConditions"]));
  return std::shared_ptr<const Webhook>(std::move(w));
}

Error failed_calling(const Webhook& w, const std::string& why) { return status::internal("failed calling webhook " + json::quote(w.name) + ": " + why); }

}  // namespace

struct Webhooks::Gathering {
  explicit Gathering(Executor& ex) : done(ex) {}
  Event done;
  size_t left = 0;
};

Webhooks::Webhooks(Core& core) : core_(&core) {
  mutating_.cache = core.types.find(kGroup, "v1", "mutatingwebhookconfigurations")->storage->cache;
  validating_.cache = core.types.find(kGroup, "v1", "validatingwebhookconfigurations")->storage->cache;
  for (Source* s : {&mutating_, &validating_}) s->cache->add_listener([s](const CacheEvent&) { s->dirty = true; });
}

const std::shared_ptr<const WebhookList>& Webhooks::current(Source& s) {
  if (!s.dirty) return s.list;
  auto list = std::make_shared<WebhookList>();
  for (auto& [key, o] : s.cache->objects()) {  // by name
    ValuePtr v = o->value();
    for (auto& w : (*v)["webhooks"].as_array()) {
      auto parsed = parse_webhook(o->name, w);
      if (parsed.ok()) list->push_back(std::move(*parsed));
      else core_->log.warn("a webhook is left out", {{"configuration", o->name}, {"error", parsed.error().message}});
    }
  }
  s.list = std::move(list);
  s.dirty = false;
  return s.list;
}

bool Webhooks::interested(Source& s, const AdmissionRequest& a) {
  if (s.cache->size() == 0) return false;
  for (auto& w : *current(s))
    if (w->criteria.match_rules(*core_, a)) return true;
  return false;
}
bool Webhooks::mutating(const AdmissionRequest& a) { return interested(mutating_, a); }
bool Webhooks::validating(const AdmissionRequest& a) { return interested(validating_, a); }

Result<ServedTypePtr> Webhooks::wants(const Webhook& w, const AdmissionRequest& a, const std::vector<kube::cel::Variable>* variables) const {
  TRY(bool selected, w.criteria.match_selectors(*core_, a));
  if (!selected) return ServedTypePtr();
  ServedTypePtr as = w.criteria.match_rules(*core_, a);
  if (!as || w.conditions.empty() || !variables) return as;
  auto hold = conditions_hold(w.conditions, *variables);
  if (!hold.ok()) {
    if (w.ignore_failures) return ServedTypePtr();
    return status::forbidden(a.type->resource, a.name, hold.error().message);
  }
  return *hold ? as : ServedTypePtr();
}

Task<Result<Value>> in_version(Core&, const ServedType& from, const ServedType& to, Value object) {
  if (object.is_null() || &from == &to || from.resource.api_version() == to.resource.api_version()) co_return object;
  if (to.converter) {
    std::vector<ValuePtr> one;
    one.push_back(json::share(std::move(object)));
    auto converted = co_await to.converter->convert(std::move(one), to.resource.api_version());
    if (!converted.ok()) co_return std::move(converted).error();
    co_return *(*converted)[0];
  }
  if (from.to_storage) {
    if (Status s = from.to_storage(object); !s.ok()) co_return std::move(s).error();
  }
  if (to.from_storage) {
    if (Status s = to.from_storage(object); !s.ok()) co_return std::move(s).error();
  }
  co_return object;
}

Task<Result<AdmissionView>> admission_view(Core& core, const AdmissionRequest& a, ServedTypePtr as, bool mutating) {
  AdmissionView view;
  view.type = as;
  Value object = a.object ? *a.object : Value();
  Value old = a.old ? *a.old : Value();
  if (object.is_object() && a.operation == Operation::kCreate && mutating && object.find("metadata")) {
    // What the server gives a new object comes after admission.
    object["metadata"].erase("uid");
    if (a.name_generated) object["metadata"].erase("name");
  }
  if (a.plain) {
    auto converted = co_await in_version(core, *a.type, *as, std::move(object));
    if (!converted.ok()) co_return std::move(converted).error();
    object = std::move(*converted);
    auto before = co_await in_version(core, *a.type, *as, std::move(old));
    if (!before.ok()) co_return std::move(before).error();
    old = std::move(*before);
  }
  view.object = std::move(object);
  view.old = std::move(old);
  co_return view;
}

Task<Result<bool>> take_changed(Core& core, AdmissionRequest* a, ServedTypePtr as, Value object) {
  if (a->plain) {
    std::vector<std::string> unknown;
    Status accepted = as->model->accept(object, unknown);
    if (!accepted.ok()) co_return status::internal(accepted.error().message);
    auto back = co_await in_version(core, *as, *a->type, std::move(object));
    if (!back.ok()) co_return status::internal(back.error().message);
    object = std::move(*back);
    if (a->operation == Operation::kCreate) {
      Value& meta = object["metadata"];
      const Value& own = std::as_const(*a->object)["metadata"];
      meta["uid"] = own["uid"];
      if (a->name_generated && meta["name"].as_string().empty()) meta["name"] = own["name"];
    }
    a->type->model->set_defaults(object);
  }
  bool changed = !(object == *a->object);
  *a->object = std::move(object);
  co_return changed;
}

Task<Webhooks::Outcome> Webhooks::ask(std::shared_ptr<const Webhook> w, AdmissionRequest* a, ServedTypePtr as, bool mutating) {
  Outcome out;
  auto view = co_await admission_view(*core_, *a, as, mutating);
  if (!view.ok()) {
    out.status = status::internal(view.error().message);
    co_return out;
  }
  if (!w->conditions.empty()) {
    std::vector<kube::cel::Variable> variables = admission_variables(*core_, *a, *view);
    auto again = wants(*w, *a, &variables);
    for (int i = 0; i < kRounds; ++i) {
      bool answered = co_await answer_open_questions(core_, a);
      if (!answered) break;
      again = wants(*w, *a, &variables);
    }
    if (!again.ok()) {
      out.status = std::move(again).error();
      co_return out;
    }
    if (!*again) co_return out;
  }
  if (a->dry_run && !w->no_side_effects) {
    out.status = status::bad_request("admission webhook " + json::quote(w->name) + " does not support dry run");
    co_return out;
  }
  out.called = true;
  std::string uid = new_uid(core_->ex);
  std::string body = json::dump(admission_review(w->review_version, uid, *a, *view));
  auto answered = co_await call_webhook(*core_, w->target, std::move(body), w->timeout);
  Status failed;
  if (!answered.ok()) {
    failed = failed_calling(*w, "failed to call webhook: " + answered.error().message);
  } else {
    auto parsed = parse_review(*answered, w->review_version, uid, mutating);
    if (parsed.ok()) out.answer = std::move(*parsed);
    else failed = failed_calling(*w, "received invalid webhook response: " + parsed.error().message);
  }
  if (!failed.ok()) {
    if (!w->ignore_failures) {
      out.status = std::move(failed);
      co_return out;
    }
    core_->log.warn("failed calling webhook, failing open", {{"webhook", w->name}, {"error", failed.error().message}});
    if (a->trail) a->trail->annotate("failed-open." + std::string(mutating ? "mutation" : "validation") + ".webhook.admission.k8s.io/" + w->configuration, w->name);
    out.called = false;
    co_return out;
  }
  if (!out.answer.allowed) out.status = denied_by_webhook(w->name, out.answer.status);
  co_return out;
}

void Webhooks::take(const Webhook& w, AdmissionRequest& a, const ReviewAnswer& answer) const {
  if (a.warnings)
    for (auto& text : answer.warnings) a.warnings->push_back(text);
  if (a.trail)
    for (auto& [k, v] : answer.annotations) a.trail->annotate(w.name + "/" + k, v);
}

Task<Result<bool>> Webhooks::change(std::shared_ptr<const Webhook> w, AdmissionRequest* a, ServedTypePtr as, Value patch) {
  if (patch.size() == 0 || !a->object) co_return false;
  auto view = co_await admission_view(*core_, *a, as, true);
  if (!view.ok()) co_return status::internal(view.error().message);
  auto patched = kube::json_patch(view->object, patch);
  if (!patched.ok()) co_return status::internal(patched.error().message);
  auto changed = co_await take_changed(*core_, a, as, std::move(*patched));
  if (changed.ok() && *changed && a->trail) a->trail->annotate("mutation.webhook.admission.k8s.io/" + w->configuration, w->name);
  co_return changed;
}

Task<Status> Webhooks::mutate(AdmissionRequest& a, Reinvocation& state, bool again) {
  std::shared_ptr<const WebhookList> list = current(mutating_);
  for (auto& w : *list) {
    if (again && !state.due(w.get())) continue;
    auto as = wants(*w, a, nullptr);
    if (!as.ok()) co_return std::move(as).error();
    if (!*as) continue;
    ServedTypePtr seen_as = *as;
    Outcome out = co_await ask(w, &a, seen_as, true);
    take(*w, a, out.answer);
    if (!out.status.ok()) co_return std::move(out.status);
    if (!out.called) continue;
    if (!out.answer.patch.is_null()) {
      auto changed = co_await change(w, &a, seen_as, std::move(out.answer.patch));
      if (!changed.ok()) co_return std::move(changed).error();
      if (*changed) state.changed();
    }
    if (w->reinvoke) state.called(w.get());
  }
  co_return ok();
}

Task<void> Webhooks::ask_into(std::shared_ptr<const Webhook> w, AdmissionRequest* a, ServedTypePtr as, Outcome* out, Gathering* all) {
  *out = co_await ask(std::move(w), a, std::move(as), false);
  if (--all->left == 0) all->done.set();
}

Task<Status> Webhooks::validate(AdmissionRequest& a) {
  std::shared_ptr<const WebhookList> list = current(validating_);
  std::vector<std::pair<std::shared_ptr<const Webhook>, ServedTypePtr>> relevant;
  for (auto& w : *list) {
    auto as = wants(*w, a, nullptr);
    if (!as.ok()) co_return std::move(as).error();
    if (*as) relevant.emplace_back(w, *as);
  }
  if (relevant.empty()) co_return ok();
  std::vector<Outcome> outcomes(relevant.size());
  Gathering all(core_->ex);
  all.left = relevant.size();
  TaskScope scope;
  for (size_t i = 0; i < relevant.size(); ++i) scope.spawn(ask_into(relevant[i].first, &a, relevant[i].second, &outcomes[i], &all));
  if (all.left > 0) co_await all.done.wait();
  for (size_t i = 0; i < relevant.size(); ++i) take(*relevant[i].first, a, outcomes[i].answer);
  for (auto& o : outcomes)
    if (!o.status.ok()) co_return std::move(o.status);
  co_return ok();
}

}  // namespace caravel::apiserver
