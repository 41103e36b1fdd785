#include "apiserver/encryption.h"

#include "apiserver/watch_cache.h"
#include "base/log.h"

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

// A watch whose events are opened on the way.
class EncryptedStore final : public store::Store {
 public:
  EncryptedStore(std::unique_ptr<store::Store> inner, std::vector<EncryptionRule> rules)
      : inner_(std::move(inner)), rules_(std::make_shared<const std::vector<EncryptionRule>>(std::move(rules))) {}

  Task<Result<store::TxnResult>> txn(store::Txn txn) override {
    for (auto& op : txn.ops) {
      if (op.kind != store::Op::kPut) continue;
      const Transformers* t = transformers(*rules_, op.key);
      if (!t || (*t)[0]->prefix().empty()) continue;
      // The revision is known only after the write: readers stamp it in.
      auto sealed = (*t)[0]->seal(op.value, op.key);
      if (!sealed.ok()) co_return std::move(sealed).error();
      op.value = (*t)[0]->prefix() + *sealed;
      op.stamp_at = store::kNoStamp;
    }
    auto r = co_await inner_->txn(std::move(txn));
    if (!r.ok()) co_return std::move(r).error();
    for (auto& v : r->values)
      if (v)
        if (Status s = open(*rules_, *v); !s.ok()) co_return std::move(s).error();
    co_return std::move(*r);
  }
  Task<Result<std::optional<KeyValue>>> get(std::string key, int64_t revision) override {
    auto r = co_await inner_->get(std::move(key), revision);
    if (r.ok() && *r)
      if (Status s = open(*rules_, **r); !s.ok()) co_return std::move(s).error();
    co_return r;
  }
  Task<Result<store::ListResult>> list(store::ListRequest request) override {
    auto r = co_await inner_->list(std::move(request));
    if (!r.ok()) co_return std::move(r).error();
    for (auto& kv : r->items)
      if (Status s = open(*rules_, kv); !s.ok()) co_return std::move(s).error();
    co_return std::move(*r);
  }
  std::unique_ptr<store::Subscription> watch(std::string prefix, int64_t from, store::WatchSink sink) override {
    auto events = std::move(sink.events);
    sink.events = [rules = rules_, events = std::move(events)](std::span<const store::Event> in) {
      bool plain = true;
      for (auto& e : in) plain = plain && !transformers(*rules, e.kv.key);
      if (plain) return events(in);
      std::vector<store::Event> out(in.begin(), in.end());
      for (auto& e : out) {
        if (e.kv.value) report(open(*rules, e.kv));
        if (e.previous) report(open(*rules, *e.previous));
      }
      events(out);
    };
    return inner_->watch(std::move(prefix), from, std::move(sink));
  }
  Task<Status> compact(int64_t revision) override { return inner_->compact(revision); }
  Task<Result<int64_t>> revision() override { return inner_->revision(); }
  int64_t compacted_revision() const override { return inner_->compacted_revision(); }

 private:
  static void report(const Status& s) {
    if (!s.ok()) Log("encryption").error("a watched value cannot be read", {{"error", s.error().message}});
  }
  static const Transformers* transformers(const std::vector<EncryptionRule>& rules, std::string_view key) {
    Place p = place_of(key);
    for (auto& r : rules)
      for (auto& n : r.resources)
        if (names(n, p)) return &r.transformers;
    return nullptr;
  }
  static Status open(const std::vector<EncryptionRule>& rules, KeyValue& kv) {
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

  std::unique_ptr<store::Store> inner_;
  std::shared_ptr<const std::vector<EncryptionRule>> rules_;
};

}  // namespace

std::unique_ptr<store::Store> make_encrypted_store(std::unique_ptr<store::Store> inner, std::vector<EncryptionRule> rules) {
  return std::make_unique<EncryptedStore>(std::move(inner), std::move(rules));
}

}  // namespace caravel::apiserver
