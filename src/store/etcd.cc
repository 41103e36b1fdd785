#include "store/etcd.h"

#include <algorithm>
#include <map>

#include "base/log.h"
#include "base/scope.h"
#include "base/strings.h"
#include "net/grpc.h"
#include "store/etcd_messages.h"
#include "store/mvcc.h"

namespace caravel::store {

namespace {

constexpr Duration kAttemptLimit = std::chrono::seconds(4);  // of one call at one endpoint
constexpr Duration kCallLimit = std::chrono::seconds(20);    // over all endpoints
constexpr Duration kOpenLimit = std::chrono::seconds(10);    // before the first answer
constexpr Duration kRetryPause = std::chrono::milliseconds(50);
constexpr Duration kProgressEvery = std::chrono::seconds(4);  // a silent watch is asked for a sign of life
constexpr Duration kSilenceMax = std::chrono::seconds(12);
constexpr int64_t kPage = 2'000;  // keys

bool is_transient(const Error& e) { return e.code == Code::kUnavailable || e.code == Code::kTimeout || e.code == Code::kCancelled; }

class EtcdStore final : public Store {
 public:
  EtcdStore(net::EventLoop* loop, EtcdOptions options) : loop_(loop), options_(std::move(options)), mvcc_(*loop, options_.history), advanced_(*loop) {
    for (auto& e : options_.endpoints) clients_.push_back(net::make_grpc_client(*loop_, e, options_.tls));
  }
  Task<Status> bring_up() {
    auto all = co_await load_all(kOpenLimit);
    if (!all.ok()) co_return wrap(std::move(all).error(), "cannot load the state from etcd (" + join(options_.endpoints, ",") + ")");
    watched_ = all->revision;
    mvcc_.load(all->revision, all->revision, std::move(all->current), {});
    scope_.spawn(follow(this));
    if (options_.compact_every > Duration(0)) scope_.spawn(compact_loop(this));
    co_return ok();
  }

  Task<Result<TxnResult>> txn(Txn t) override {
    for (auto& o : t.ops) {
      if (o.kind != Op::kPut || etcd::stamp_position(o.value) == o.stamp_at) continue;
      co_return invalid("the value of " + o.key + " cannot be stored in etcd: its revision does not go behind the first empty \"resourceVersion\"");
    }
    Offer offer(this, t);
    std::string message = etcd::encode(t);
    Call call;
    Status sent = co_await ask("/etcdserverpb.KV/Txn", std::move(message), kCallLimit, &call);
    if (!sent.ok()) co_return std::move(sent).error();
    auto answer = etcd::decode_txn(call.answer);
    if (!answer.ok()) co_return std::move(answer).error();
    if (answer->responses.size() != (answer->succeeded ? t.ops.size() : t.compares.size())) co_return internal("etcd answered a transaction with another number of results");
    Status seen = co_await wait_for(answer->revision);
    if (!seen.ok()) co_return std::move(seen).error();
    // The first answer was lost and the second says that the key has changed: perhaps by ourselves.
    if (!answer->succeeded && call.uncertain) {
      std::optional<TxnResult> ours = already_done(t);
      if (ours) co_return std::move(*ours);
    }
    TxnResult out;
    out.succeeded = answer->succeeded;
    out.revision = answer->revision;
    for (size_t i = 0; i < answer->responses.size(); ++i) {
      auto& had = answer->responses[i];
      std::optional<KeyValue> v;
      if (answer->succeeded && t.ops[i].kind == Op::kPut) {
        v.emplace();
        v->key = t.ops[i].key;
        v->value = etcd::stamped(t.ops[i].value, answer->revision);
        v->create_revision = had.empty() ? answer->revision : had[0].create_revision;
        v->mod_revision = answer->revision;
      } else if (!had.empty()) {
        v = key_value(had[0]);
      }
      out.values.push_back(std::move(v));
    }
    co_return out;
  }

  Task<Result<std::optional<KeyValue>>> get(std::string key, int64_t revision) override {
    if (revision == 0 || revision > watched_) {
      Status s = co_await catch_up();
      if (!s.ok()) co_return std::move(s).error();
    }
    co_return mvcc_.get(key, revision);
  }
  Task<Result<ListResult>> list(ListRequest request) override {
    if (request.revision == 0 || request.revision > watched_) {
      Status s = co_await catch_up();
      if (!s.ok()) co_return std::move(s).error();
    }
    co_return mvcc_.list(request);
  }
  std::unique_ptr<Subscription> watch(std::string prefix, int64_t from, WatchSink sink) override {
    return mvcc_.watch(std::move(prefix), from, std::move(sink));
  }
  Task<Status> compact(int64_t revision) override {
    Status here = mvcc_.compact(revision);
    if (!here.ok()) co_return here;
    Call call;
    std::string message = etcd::encode_compaction(revision);
    Status s = co_await ask("/etcdserverpb.KV/Compact", std::move(message), kCallLimit, &call);
    // Another API server may have been first.
    if (!s.ok() && s.error().code != Code::kGone) co_return s;
    co_return ok();
  }
  Task<Result<int64_t>> revision() override {
    Status s = co_await catch_up();
    if (!s.ok()) co_return std::move(s).error();
    co_return watched_;
  }
  int64_t compacted_revision() const override { return mvcc_.compacted(); }

 private:
  struct Call {
    std::string answer;
    bool uncertain = false;  // an earlier attempt failed after it may have been carried out
  };
  struct Loaded {
    int64_t revision = 0;
    std::map<std::string, KeyValue, std::less<>> current;
  };
  // While a transaction is under way, what its writer knows of the values: the watch delivers it with them.
  struct Offer {
    Offer(EtcdStore* store, const Txn& t) : store(store) {
      for (auto& o : t.ops)
        if (o.attachment) mine.push_back(store->offers_.emplace(o.key, std::make_pair(o.value, o.attachment)));
    }
    ~Offer() {
      for (auto& it : mine) store->offers_.erase(it);
    }
    EtcdStore* store;
    std::vector<std::multimap<std::string, std::pair<std::string, std::shared_ptr<void>>>::iterator> mine;
  };

  static KeyValue key_value(const etcd::Kv& kv) {
    KeyValue out;
    out.key = kv.key;
    out.value = etcd::stamped(kv.value, kv.mod_revision);
    out.create_revision = kv.create_revision;
    out.mod_revision = kv.mod_revision;
    return out;
  }

  // One call, at whichever endpoint answers.
  Task<Status> ask(std::string method, std::string message, Duration limit, Call* call) {
    Time end = loop_->now() + limit;
    while (true) {
      size_t used = at_;
      auto r = co_await clients_[used]->call(method, message, kAttemptLimit);
      if (r.ok()) {
        call->answer = std::move(*r);
        co_return ok();
      }
      Error e = std::move(r).error();
      if (e.message.find("has been compacted") != std::string::npos) co_return make_error(Code::kGone, e.message);
      if (!is_transient(e)) co_return e;
      call->uncertain = true;
      if (used == at_) at_ = (at_ + 1) % clients_.size();
      if (loop_->now() >= end) co_return make_error(Code::kUnavailable, "no etcd endpoint answers (" + join(options_.endpoints, ",") + "): " + e.message);
      co_await sleep(*loop_, kRetryPause);
    }
  }

  Task<Status> wait_for(int64_t revision) {
    Time end = loop_->now() + kCallLimit;
    while (watched_ < revision) {
      Duration left = end - loop_->now();
      if (left <= Duration(0)) co_return make_error(Code::kTimeout, "etcd is at revision " + std::to_string(revision) + ", its watch only at " + std::to_string(watched_));
      co_await advanced_.wait(left);
    }
    co_return ok();
  }
  // The mirror is at least as far as etcd was when this was called.
  Task<Status> catch_up() {
    Call call;
    etcd::RangeRequest q;
    q.key = "/";
    q.limit = 1;
    std::string message = etcd::encode(q);
    Status s = co_await ask("/etcdserverpb.KV/Range", std::move(message), kCallLimit, &call);
    if (!s.ok()) co_return s;
    auto r = etcd::decode_range(call.answer);
    if (!r.ok()) co_return std::move(r).error();
    s = co_await wait_for(r->revision);
    co_return s;
  }

  // The mirror shows what the transaction wanted, written in one revision after the ones it compared.
  std::optional<TxnResult> already_done(const Txn& t) const {
    TxnResult out;
    out.succeeded = true;
    for (auto& o : t.ops) {
      auto now = mvcc_.get(o.key, 0);
      if (!now.ok() || now->has_value() != (o.kind == Op::kPut)) return std::nullopt;
      if (o.kind == Op::kPut) {
        const KeyValue& kv = **now;
        if (*kv.value != *etcd::stamped(o.value, kv.mod_revision)) return std::nullopt;
        if (out.revision && out.revision != kv.mod_revision) return std::nullopt;
        out.revision = kv.mod_revision;
      }
      out.values.push_back(*now);
    }
    for (auto& c : t.compares)
      if (out.revision && c.mod_revision >= out.revision) return std::nullopt;
    if (!out.revision) out.revision = watched_;
    return out;
  }

  Task<Result<Loaded>> load_all(Duration limit) {
    Loaded out;
    etcd::RangeRequest q;
    q.key = q.range_end = std::string(1, '\0');
    q.limit = kPage;
    while (true) {
      Call call;
      std::string message = etcd::encode(q);
      Status s = co_await ask("/etcdserverpb.KV/Range", std::move(message), limit, &call);
      if (!s.ok()) co_return std::move(s).error();
      auto r = etcd::decode_range(call.answer);
      if (!r.ok()) co_return std::move(r).error();
      if (!q.revision) q.revision = out.revision = r->revision;
      for (auto& kv : r->kvs) out.current.insert_or_assign(out.current.end(), kv.key, key_value(kv));
      if (!r->more || r->kvs.empty()) co_return out;
      q.key = r->kvs.back().key + std::string(1, '\0');
    }
  }

  void apply(const etcd::WatchResponse& r) {
    std::vector<Event> events;
    std::map<std::string, std::optional<KeyValue>> changed;  // by this batch
    for (auto& e : r.events) {
      if (e.kv.mod_revision <= watched_) continue;
      Event out;
      auto it = changed.find(e.kv.key);
      if (it != changed.end()) out.previous = it->second;
      else if (auto had = mvcc_.get(e.kv.key, 0); had.ok()) out.previous = *had;
      if (e.deleted) {
        out.kind = Event::kDelete;
        out.kv.key = e.kv.key;
        out.kv.mod_revision = e.kv.mod_revision;
        changed[e.kv.key] = std::nullopt;
      } else {
        out.kv = key_value(e.kv);
        changed[e.kv.key] = out.kv;
        auto [low, high] = offers_.equal_range(e.kv.key);
        for (auto o = low; o != high && !out.attachment; ++o)
          if (o->second.first == e.kv.value) out.attachment = std::move(o->second.second);
      }
      events.push_back(std::move(out));
    }
    if (events.empty()) return;
    int64_t reached = events.back().kv.mod_revision;
    mvcc_.commit(events);
    watched_ = reached;
    advanced_.pulse();
  }

  // After a gap: what changed between the mirror and now, told as events in the order of their revisions.
  Task<Status> close_gap() {
    auto now = co_await load_all(kCallLimit);
    if (!now.ok()) co_return std::move(now).error();
    ListRequest everything;
    auto had = mvcc_.list(everything);
    if (!had.ok()) co_return std::move(had).error();
    std::vector<Event> events;
    std::map<std::string, KeyValue> old;
    for (auto& kv : had->items) old[kv.key] = kv;
    for (auto& [key, kv] : now->current) {
      auto it = old.find(key);
      if (it != old.end() && it->second.mod_revision == kv.mod_revision) continue;
      Event e;
      e.kv = kv;
      if (it != old.end()) e.previous = it->second;
      events.push_back(std::move(e));
    }
    std::sort(events.begin(), events.end(), [](auto& a, auto& b) { return a.kv.mod_revision < b.kv.mod_revision; });
    for (auto& [key, kv] : old) {
      if (now->current.count(key)) continue;
      Event e;
      e.kind = Event::kDelete;
      e.kv.key = key;
      e.kv.mod_revision = now->revision;
      e.previous = kv;
      events.push_back(std::move(e));
    }
    mvcc_.commit(events);
    watched_ = now->revision;
    advanced_.pulse();
    log_.warn("the watch had fallen behind etcd's compaction; told the difference", {{"changes", events.size()}});
    co_return ok();
  }

  struct Following {
    explicit Following(Executor& ex) : over(ex) {}
    caravel::Event over;
    Status why;
    Time heard;
  };
  static Task<void> read_watch(EtcdStore* self, net::GrpcStream* stream, Following* f) {
    while (true) {
      auto m = co_await stream->read();
      if (!m.ok()) {
        f->why = std::move(m).error();
        break;
      }
      if (!*m) {
        f->why = unavailable("etcd ended the watch");
        break;
      }
      auto r = etcd::decode_watch(**m);
      if (!r.ok()) {
        f->why = std::move(r).error();
        break;
      }
      f->heard = self->loop_->now();
      if (r->canceled) {
        f->why = make_error(r->compact_revision ? Code::kGone : Code::kUnavailable, "etcd cancelled the watch: " + r->cancel_reason);
        break;
      }
      self->apply(*r);
    }
    f->over.set();
  }
  // Watches at one endpoint until that fails.
  Task<Status> follow_once(size_t endpoint) {
    auto opening = clients_[endpoint]->open("/etcdserverpb.Watch/Watch");
    auto opened = co_await within(*loop_, kAttemptLimit, std::move(opening));
    if (!opened) co_return unavailable("etcd does not take a watch");
    if (!opened->ok()) co_return std::move(*opened).error();
    std::unique_ptr<net::GrpcStream> stream = std::move(**opened);
    std::string create = etcd::encode_watch(watched_ + 1);
    Status w = co_await stream->write(std::move(create));
    if (!w.ok()) co_return w;
    Following f(*loop_);
    f.heard = loop_->now();
    TaskScope scope;
    scope.spawn(read_watch(this, stream.get(), &f));
    while (!f.over.is_set()) {
      co_await f.over.wait(kProgressEvery);
      if (f.over.is_set()) break;
      Duration silent = loop_->now() - f.heard;
      if (silent > kSilenceMax) co_return unavailable("the watch gives no sign of life");
      if (silent < kProgressEvery) continue;
      std::string ping = etcd::encode_progress_request();
      w = co_await stream->write(std::move(ping));
      if (!w.ok()) co_return w;
    }
    co_return f.why;
  }
  static Task<void> follow(EtcdStore* self) {
    for (size_t endpoint = 0;; endpoint = (endpoint + 1) % self->clients_.size()) {
      Status s = co_await self->follow_once(endpoint);
      if (!s.ok()) self->log_.info("watch interrupted", {{"endpoint", self->options_.endpoints[endpoint]}, {"error", s.error().message}});
      if (!s.ok() && s.error().code == Code::kGone) {
        Status gap = co_await self->close_gap();
        if (!gap.ok()) self->log_.warn("cannot load the state from etcd", {{"error", gap.error().message}});
      }
      co_await sleep(*self->loop_, kRetryPause);
    }
  }
  static Task<void> compact_loop(EtcdStore* self) {
    while (true) {
      int64_t then = self->watched_;
      co_await sleep(*self->loop_, self->options_.compact_every);
      Call call;
      std::string message = etcd::encode_compaction(then);
      Status s = co_await self->ask("/etcdserverpb.KV/Compact", std::move(message), kCallLimit, &call);
      if (!s.ok() && s.error().code != Code::kGone) self->log_.info("compaction failed", {{"error", s.error().message}});
    }
  }

  net::EventLoop* loop_;
  EtcdOptions options_;
  std::vector<std::unique_ptr<net::GrpcClient>> clients_;
  size_t at_ = 0;  // the endpoint that answered last
  Mvcc mvcc_;
  int64_t watched_ = 0;  // the mirror shows everything up to this revision
  caravel::Event advanced_;
  std::multimap<std::string, std::pair<std::string, std::shared_ptr<void>>> offers_;
  Log log_{"store"};
  TaskScope scope_;
};

}  // namespace

Result<std::vector<std::string>> parse_etcd_endpoints(const std::string& text) {
  std::string_view rest = text;
  if (rest.substr(0, 5) != "etcd=") return invalid("--store " + text + ": only etcd=URL[,URL...] is known, for example etcd=http://127.0.0.1:2379");
  rest.remove_prefix(5);
  std::vector<std::string> out;
  for (auto& e : split(rest, ',')) {
    std::string url(e);
    while (!url.empty() && url.back() == '/') url.pop_back();
    bool http = url.rfind("http://", 0) == 0, https = url.rfind("https://", 0) == 0;
    if (!http && !https) return invalid("--store: the endpoint \"" + url + "\" must begin with http:// or https://");
    out.push_back(std::move(url));
  }
  return out;
}

Task<Result<std::unique_ptr<Store>>> open_etcd_store(net::EventLoop* loop, EtcdOptions options) {
  if (options.endpoints.empty()) co_return invalid("an etcd store needs at least one endpoint");
  auto store = std::make_unique<EtcdStore>(loop, std::move(options));
  Status s = co_await store->bring_up();
  if (!s.ok()) co_return std::move(s).error();
  co_return std::unique_ptr<Store>(std::move(store));
}

}  // namespace caravel::store
