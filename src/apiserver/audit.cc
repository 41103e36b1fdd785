// The events of one request.
#include "apiserver/audit.h"

#include "apiserver/object_meta.h"
#include "base/strings.h"

namespace caravel::apiserver {

using json::Value;

namespace {

Value strings(const std::vector<std::string>& v) {
  Value out = Value::array();
  for (auto& s : v) out.push_back(s);
  return out;
}

Value user_value(const User& u) {
  Value v = Value::object();
  if (!u.name.empty()) v["username"] = u.name;
  if (!u.uid.empty()) v["uid"] = u.uid;
  if (!u.groups.empty()) v["groups"] = strings(u.groups);
  for (auto& [k, values] : u.extra) v["extra"][k] = strings(values);
  return v;
}

std::string uri_of(const Request& r) {
  std::string out = r.path;
  char sep = '?';
  for (auto& [k, v] : r.query) {
    out += sep + percent_encode(k) + "=" + percent_encode(v);
    sep = '&';
  }
  return out;
}

void drop_managed_fields(Value& v) {
  if (!v.is_object()) return;
  if (Value* m = v.find("metadata"); m && m->is_object()) m->erase("managedFields");
  if (Value* items = v.find("items"); items && items->is_array())
    for (auto& i : items->arr()) drop_managed_fields(i);
}

constexpr std::string_view kLevels[] = {"None", "Metadata", "Request", "RequestResponse"};

}  // namespace

class Trail final : public AuditTrail {
 public:
  Trail(Auditor& auditor, AuditDecision decision, const Request& r) : auditor_(&auditor), decision_(std::move(decision)) {
    event_["kind"] = "Event";
    event_["apiVersion"] = "audit.k8s.io/v1";
    event_["level"] = kLevels[static_cast<int>(decision_.level)];
    event_["auditID"] = r.audit_id.empty() ? new_uid(core().ex) : r.audit_id;
    event_["stage"] = "RequestReceived";
    event_["requestURI"] = uri_of(r);
    event_["verb"] = r.verb;
    const User* who = r.user.get();
    if (who && who->impersonator) {
      event_["user"] = user_value(*who->impersonator);
      event_["impersonatedUser"] = user_value(*who);
    } else {
      event_["user"] = who ? user_value(*who) : Value::object();
    }
    if (!r.source.empty()) event_["sourceIPs"] = strings({r.source});
    if (!r.user_agent.empty()) event_["userAgent"] = r.user_agent;
    if (r.is_resource) {
      Value ref = Value::object();
      ref["resource"] = r.plural;
      if (!r.ns.empty()) ref["namespace"] = r.ns;
      if (!r.name.empty()) ref["name"] = r.name;
      if (!r.group.empty()) ref["apiGroup"] = r.group;
      ref["apiVersion"] = r.version;
      if (!r.subresource.empty()) ref["subresource"] = r.subresource;
      event_["objectRef"] = std::move(ref);
    }
    event_["requestReceivedTimestamp"] = format_rfc3339_micro(core().ex.now());
    emit("RequestReceived");
    if (!r.is_resource || (r.body.empty() && r.object.is_null())) return;
    Value object = body_of(r);
    if (r.name.empty())  // a create names its object in the body
      if (const std::string& name = meta_string(object, "name"); !name.empty()) event_["objectRef"]["name"] = name;
    if (decision_.level >= AuditLevel::kRequest && !object.is_null()) event_["requestObject"] = std::move(object);
  }
  ~Trail() override {
    if (done_) return;  // the request ended without an answer
    status(499);
    emit("ResponseComplete");
  }
  void refused(const std::vector<std::string>& tried) {
    done_ = true;
    std::string how = tried.empty() ? "Authentication failed, no credentials provided" : "Authentication failed, attempted: " + join(tried, ", ");
    status(401);
    event_["responseStatus"]["status"] = "Failure";
    event_["responseStatus"]["reason"] = "Unauthorized";
    event_["responseStatus"]["message"] = std::move(how);
    emit("ResponseStarted");
  }
  void annotate(std::string_view key, std::string value) override { event_["annotations"][key] = std::move(value); }
  void started(const Response& res) override {
    status(res.status);
    emit("ResponseStarted");
  }
  void completed(const Response& res) override {
    if (done_) return;
    done_ = true;
    status(res.status);
    if (res.status >= 400 && res.body) {
      auto v = json::parse(*res.body);
      if (v.ok() && v->is_object()) {
        Value s = Value::object();
        for (std::string_view f : {"metadata", "status", "message", "reason", "details", "code"})
          if (const Value* x = std::as_const(*v).find(f)) s[f] = *x;
        event_["responseStatus"] = std::move(s);
      }
    }
    if (decision_.level >= AuditLevel::kRequestResponse && event_.find("objectRef") && !res.watch) {
      Value object;
      if (res.value) object = *res.value;
      else if (res.parts) {
        std::string text;
        size_t next = 0;
        res.parts->append(text, next, res.parts->size());
        if (auto v = json::parse(text); v.ok()) object = std::move(*v);
      } else if (res.body && res.content_type.find("json") != std::string::npos)
        if (auto v = json::parse(*res.body); v.ok()) object = std::move(*v);
      if (decision_.omit_managed_fields) drop_managed_fields(object);
      if (!object.is_null()) event_["responseObject"] = std::move(object);
    }
    emit("ResponseComplete");
  }
  bool settled() const override {
    for (auto& d : on_their_way_)
      if (!d->done.is_set() || d->lost) return false;
    return true;
  }
  Task<bool> delivered() override {
    std::vector<std::shared_ptr<AuditDelivery>> these = std::move(on_their_way_);
    on_their_way_.clear();
    bool all = true;
    for (auto& d : these) {
      if (!d->done.is_set()) co_await d->done.wait();
      all = all && !d->lost;
    }
    if (!all) auditor_->rejected_->inc();
    co_return all;
  }

 private:
  Core& core() const { return *auditor_->core_; }
  void status(int code) {
    Value s = Value::object();
    s["metadata"] = Value::object();
    s["code"] = code;
    event_["responseStatus"] = std::move(s);
  }
  // The body as an object; a patch as it was sent.
  Value body_of(const Request& r) const {
    Value object = r.object;
    if (!object.is_null()) {
    } else if (r.content_type.find("protobuf") != std::string::npos) {
      ServedTypePtr t = core().types.find(r.group, r.version, r.plural);
      if (t && t->model && r.subresource.empty())
        if (auto v = t->model->from_protobuf(r.body); v.ok()) object = std::move(*v);
    } else if (auto v = json::parse(r.body); v.ok()) {
      object = std::move(*v);
    }
    if (decision_.omit_managed_fields) drop_managed_fields(object);
    return object;
  }
  void emit(std::string_view stage) {
    if (decision_.omits(stage)) return;
    event_["stage"] = stage;
    event_["stageTimestamp"] = format_rfc3339_micro(core().ex.now());
    const std::string line = json::dump(event_);
    auditor_->events_->inc();
    if (auditor_->sink_) auditor_->sink_(line);
    for (auto& b : auditor_->backends_)
      if (auto d = b->take(line)) on_their_way_.push_back(std::move(d));
  }

  Auditor* auditor_;
  AuditDecision decision_;
  Value event_ = Value::object();
  bool done_ = false;
  std::vector<std::shared_ptr<AuditDelivery>> on_their_way_;
};

Auditor::Auditor(Core& core, AuditPolicy policy, Sink sink) : core_(&core), policy_(std::move(policy)), sink_(std::move(sink)) {
  events_ = &core.metrics.counter("apiserver_audit_event_total", "Counter of audit events generated and sent to the audit backend.");
  levels_ = &core.metrics.counter("apiserver_audit_level_total", "Counter of policy levels for audit events (1 per request).", {"level"});
  rejected_ = &core.metrics.counter("apiserver_audit_requests_rejected_total", "Counter of apiserver requests rejected due to an error in audit logging backend.");
}

Task<bool> Auditor::drain() {
  bool all = true;
  for (auto& b : backends_) {
    bool done = co_await b->drain();
    all = all && done;
  }
  co_return all;
}

std::shared_ptr<AuditTrail> Auditor::received(const Request& r) {
  AuditDecision d = policy_.decide(r);
  levels_->inc({std::string(kLevels[static_cast<int>(d.level)])});
  if (d.level == AuditLevel::kNone) return nullptr;
  return std::make_shared<Trail>(*this, std::move(d), r);
}

void Auditor::unauthenticated(const Request& r, const std::vector<std::string>& tried) {
  AuditDecision d = policy_.decide(r);
  if (d.level == AuditLevel::kNone) return;
  Trail(*this, std::move(d), r).refused(tried);
}

namespace {

class AuditedWatch final : public WatchSession {
 public:
  AuditedWatch(std::unique_ptr<WatchSession> inner, std::shared_ptr<AuditTrail> trail) : inner_(std::move(inner)), trail_(std::move(trail)) {}
  ~AuditedWatch() override {
    Response ended;
    trail_->completed(ended);
  }
  Task<std::vector<WireEvent>> next() override {
    inner_->in_process = in_process;
    if (abandoned) inner_->abandoned = std::move(abandoned);
    abandoned = nullptr;
    auto events = co_await inner_->next();
    co_return events;
  }

 private:
  std::unique_ptr<WatchSession> inner_;
  std::shared_ptr<AuditTrail> trail_;
};

}  // namespace

std::unique_ptr<WatchSession> audited_watch(std::unique_ptr<WatchSession> inner, std::shared_ptr<AuditTrail> trail) {
  return std::make_unique<AuditedWatch>(std::move(inner), std::move(trail));
}

}  // namespace caravel::apiserver
