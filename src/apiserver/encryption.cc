#include "apiserver/encryption.h"

#include <deque>
#include <optional>

#include "apiserver/watch_cache.h"
#include "base/log.h"
#include "base/scope.h"

namespace caravel::apiserver {

namespace {

using store::Bytes;
using store::KeyValue;

// "/registry/<group>/<plural>/...": as a configuration names resources.
struct Place {
  std::string group, plural;
};
Place place_of(std::string_view key) {
  std::string root = Cacher::prefix("g", "p");
  size_t at = root.rfind("/g/") + 1;
  size_t slash = key.find('/', at);
  if (slash == key.npos) return {};
  size_t end = key.find('/', slash + 1);
  Place p{std::string(key.substr(at, slash - at)), std::string(key.substr(slash + 1, end == key.npos ? key.npos : end - slash - 1))};
  if (p.group == "core") p.group.clear();
  return p;
}

bool names(const std::string& resource, const Place& p) {
  size_t dot = resource.find('.');
  std::string plural = resource.substr(0, dot), group = dot == resource.npos ? "" : resource.substr(dot + 1);
  if (resource == "*.*") return true;
  return group == p.group && (plural == "*" || plural == p.plural);
}

using Rules = std::shared_ptr<const std::vector<EncryptionRule>>;

constexpr int kOpenTries = 5;  // of a watched value, before the watch ends and its reader lists again
constexpr Duration kOpenPause = std::chrono::seconds(1);

const Transformers* transformers(const std::vector<EncryptionRule>& rules, std::string_view key) {
  Place p = place_of(key);
  for (auto& r : rules)
    for (auto& n : r.resources)
      if (names(n, p)) return &r.transformers;
  return nullptr;
}

// The one that sealed the value; null: none of them.
ValueTransformer* sealer(const Transformers& all, std::string_view value) {
  for (auto& t : all) {
    const std::string prefix = t->prefix();
    if (!prefix.empty() && value.substr(0, prefix.size()) == prefix) return t.get();
  }
  return nullptr;
}

bool opens_now(const std::vector<EncryptionRule>& rules, const KeyValue& kv) {
  if (!kv.value) return true;
  const Transformers* all = transformers(rules, kv.key);
  ValueTransformer* t = all ? sealer(*all, *kv.value) : nullptr;
  return !t || t->opens_now(std::string_view(*kv.value).substr(t->prefix().size()));
}

Status open(const std::vector<EncryptionRule>& rules, KeyValue& kv) {
  if (!kv.value) return ok();
  const Transformers* all = transformers(rules, kv.key);
  if (!all) return ok();
  std::string_view value = *kv.value;
  std::string why = "no matching prefix found";
  for (auto& t : *all) {
    std::string prefix = t->prefix();
    if (value.substr(0, prefix.size()) != prefix) continue;
    auto plain = t->open(value.substr(prefix.size()), kv.key);
    if (!plain.ok()) {
      why = plain.error().message;
      continue;
    }
    if (!prefix.empty()) kv.value = restamp(std::make_shared<const std::string>(std::move(*plain)), kv.mod_revision);
    return ok();
  }
  return make_error(Code::kInternal, "unable to transform key " + json::quote(kv.key) + ": " + why);
}

// As open(), fetching keys first. `kv` is the caller's, who waits.
Task<Status> open_waiting(Rules rules, KeyValue* kv) {
  if (!opens_now(*rules, *kv)) {
    ValueTransformer* t = sealer(*transformers(*rules, kv->key), *kv->value);
    std::string sealed = kv->value->substr(t->prefix().size());
    Status s = co_await t->prepare_open(std::move(sealed));
    if (!s.ok()) co_return make_error(s.error().code, "unable to transform key " + json::quote(kv->key) + ": " + s.error().message);
  }
  co_return open(*rules, *kv);
}

// A watch whose events are opened on the way. Events behind one whose key must be fetched wait for it.
struct OpenedWatch : std::enable_shared_from_this<OpenedWatch> {
  OpenedWatch(Executor& executor, std::shared_ptr<EncryptionRules> r, store::WatchSink s, TaskScope& owner) : ex(&executor), rules(std::move(r)), sink(std::move(s)), scope(&owner) {}
  Executor* ex;
  std::shared_ptr<EncryptionRules> rules;
  store::WatchSink sink;
  TaskScope* scope;
  std::deque<std::vector<store::Event>> waiting;
  std::optional<Error> end;
  bool busy = false, closed = false;

  void take(std::span<const store::Event> in) {
    Rules r = rules->now;
    bool plain = true, now = !busy;
    for (auto& e : in) {
      plain = plain && !transformers(*r, e.kv.key);
      now = now && opens_now(*r, e.kv) && (!e.previous || opens_now(*r, *e.previous));
    }
    if (plain && now) return sink.events(in);
    std::vector<store::Event> out(in.begin(), in.end());
    if (!now) {
      waiting.push_back(std::move(out));
      if (!busy) scope->spawn(work(shared_from_this()));
      return;
    }
    for (auto& e : out) {
      if (e.kv.value) report(open(*r, e.kv));
      if (e.previous) report(open(*r, *e.previous));
    }
    sink.events(out);
  }
  void finish(Error e) {
    if (busy) end = std::move(e);
    else sink.ended(std::move(e));
  }

 private:
  static void report(const Status& s) {
    if (!s.ok()) Log("encryption").error("a watched value cannot be read", {{"error", s.error().message}});
  }
  static Task<Status> open_all(OpenedWatch* w, std::vector<store::Event>* events) {
    Rules r = w->rules->now;
    for (auto& e : *events) {
      if (e.kv.value) {
        Status s = co_await open_patiently(w, r, &e.kv);
        if (!s.ok()) co_return s;
      }
      if (e.previous) {
        Status s = co_await open_patiently(w, r, &*e.previous);
        if (!s.ok()) report(s);
      }
    }
    co_return ok();
  }
  static Task<Status> open_patiently(OpenedWatch* w, Rules r, KeyValue* kv) {
    for (int i = 1;; ++i) {
      Status s = co_await open_waiting(r, kv);
      if (s.ok() || i == kOpenTries || w->closed) co_return s;
      co_await sleep(*w->ex, kOpenPause);
    }
  }
  static Task<void> work(std::shared_ptr<OpenedWatch> w) {
    w->busy = true;
    while (!w->waiting.empty() && !w->closed && !w->end) {
      std::vector<store::Event> events = std::move(w->waiting.front());
      w->waiting.pop_front();
      Status s = co_await open_all(w.get(), &events);
      if (w->closed) co_return;
      if (s.ok()) w->sink.events(events);
      else w->end = make_error(Code::kUnavailable, s.error().message);
    }
    w->busy = false;
    if (w->end && !w->closed) w->sink.ended(std::move(*w->end));
  }
};

class OpenedSubscription final : public store::Subscription {
 public:
  OpenedSubscription(std::unique_ptr<store::Subscription> inner, std::shared_ptr<OpenedWatch> watch) : inner_(std::move(inner)), watch_(std::move(watch)) {}
  ~OpenedSubscription() override { watch_->closed = true; }

 private:
  std::unique_ptr<store::Subscription> inner_;
  std::shared_ptr<OpenedWatch> watch_;
};

class EncryptedStore final : public store::Store {
 public:
  EncryptedStore(Executor& ex, std::unique_ptr<store::Store> inner, std::shared_ptr<EncryptionRules> rules) : ex_(&ex), inner_(std::move(inner)), rules_(std::move(rules)) {}
  ~EncryptedStore() override { scope_.cancel_all(); }

  Task<Result<store::TxnResult>> txn(store::Txn txn) override {
    Rules rules = rules_->now;
    for (auto& op : txn.ops) {
      if (op.kind != store::Op::kPut) continue;
      const Transformers* t = transformers(*rules, op.key);
      if (!t || (*t)[0]->prefix().empty()) continue;
      Status ready = co_await (*t)[0]->prepare_seal();
      if (!ready.ok()) co_return std::move(ready).error();
      // The revision is known only after the write: readers stamp it in.
      auto sealed = (*t)[0]->seal(op.value, op.key);
      if (!sealed.ok()) co_return std::move(sealed).error();
      op.value = (*t)[0]->prefix() + *sealed;
      op.stamp_at = store::kNoStamp;
    }
    auto r = co_await inner_->txn(std::move(txn));
    if (!r.ok()) co_return std::move(r).error();
    for (auto& v : r->values) {
      if (!v) continue;
      Status s = co_await open_waiting(rules, &*v);
      if (!s.ok()) co_return std::move(s).error();
    }
    co_return std::move(*r);
  }
  Task<Result<std::optional<KeyValue>>> get(std::string key, int64_t revision) override {
    Rules rules = rules_->now;
    auto r = co_await inner_->get(std::move(key), revision);
    if (!r.ok() || !*r) co_return r;
    Status s = co_await open_waiting(std::move(rules), &**r);
    if (!s.ok()) co_return std::move(s).error();
    co_return r;
  }
  Task<Result<store::ListResult>> list(store::ListRequest request) override {
    Rules rules = rules_->now;
    auto r = co_await inner_->list(std::move(request));
    if (!r.ok()) co_return std::move(r).error();
    for (auto& kv : r->items) {
      Status s = co_await open_waiting(rules, &kv);
      if (!s.ok()) co_return std::move(s).error();
    }
    co_return std::move(*r);
  }
  std::unique_ptr<store::Subscription> watch(std::string prefix, int64_t from, store::WatchSink sink) override {
    auto w = std::make_shared<OpenedWatch>(*ex_, rules_, std::move(sink), scope_);
    store::WatchSink opened;
    opened.events = [w](std::span<const store::Event> in) { w->take(in); };
    opened.ended = [w](Error e) { w->finish(std::move(e)); };
    auto inner = inner_->watch(std::move(prefix), from, std::move(opened));
    return std::make_unique<OpenedSubscription>(std::move(inner), std::move(w));
  }
  Task<Result<bool>> outdated(std::string key) override {
    Rules rules = rules_->now;
    const Transformers* all = transformers(*rules, key);
    if (!all) co_return false;
    CO_TRY(auto kv, co_await inner_->get(std::move(key), 0));
    if (!kv || !kv->value) co_return false;
    const ValueTransformer* by = sealer(*all, *kv->value);
    const ValueTransformer& first = *(*all)[0];
    if (!by) co_return !first.prefix().empty();
    co_return by != &first || by->outdated(std::string_view(*kv->value).substr(by->prefix().size()));
  }
  Task<Status> compact(int64_t revision) override { return inner_->compact(revision); }
  Task<Result<int64_t>> revision() override { return inner_->revision(); }
  int64_t compacted_revision() const override { return inner_->compacted_revision(); }

 private:
  Executor* ex_;
  std::unique_ptr<store::Store> inner_;
  std::shared_ptr<EncryptionRules> rules_;
  TaskScope scope_;
};

}  // namespace

Task<Status> ValueTransformer::prepare_open(std::string) { co_return ok(); }
Task<Status> ValueTransformer::prepare_seal() { co_return ok(); }

std::vector<Status> remote_health(const std::vector<EncryptionRule>& rules) {
  std::vector<Status> out;
  for (auto& r : rules)
    for (auto& t : r.transformers)
      if (auto health = t->remote_health()) out.push_back(std::move(*health));
  return out;
}

Task<Status> prepare_to_seal(std::shared_ptr<const std::vector<EncryptionRule>> rules) {
  for (auto& r : *rules) {
    Status s = co_await r.transformers[0]->prepare_seal();
    if (!s.ok()) co_return s;
  }
  co_return ok();
}

std::unique_ptr<store::Store> make_encrypted_store(Executor& ex, std::unique_ptr<store::Store> inner, std::shared_ptr<EncryptionRules> rules) {
  return std::make_unique<EncryptedStore>(ex, std::move(inner), std::move(rules));
}

}  // namespace caravel::apiserver
