#include "kube/events.h"

#include <algorithm>
#include <deque>
#include <list>

#include "base/log.h"
#include "base/strings.h"
#include "kube/event_object.h"

namespace caravel::kube {

namespace {

// client-go's correlator: a repeat within this window raises the count of the first event; more than
// kSimilarMax different messages of one kind in it are combined; one object may write a burst of 25 and
// then one event per 5 minutes.
constexpr Duration kWindow = 10min;
constexpr int kSimilarMax = 10;
constexpr double kBurst = 25;
constexpr Duration kRefill = 300s;
constexpr size_t kCacheMax = 4096;
constexpr size_t kQueueMax = 1000;
constexpr int kAttempts = 6;
constexpr Duration kRetry = 2s;

const Resource& events_resource() {
  static const Resource r{"", "v1", "events", "Event", true};
  return r;
}

// A map that forgets its oldest insertions.
template <class V>
class Recent {
 public:
  V& operator[](const std::string& key) {
    auto [it, fresh] = map_.try_emplace(key);
    if (fresh) {
      order_.push_back(key);
      if (order_.size() > kCacheMax) {
        map_.erase(order_.front());
        order_.pop_front();
      }
    }
    return it->second;
  }

 private:
  std::map<std::string, V> map_;
  std::deque<std::string> order_;
};

}  // namespace

ObjectReference reference_to(const json::Value& o) {
  ObjectReference r;
  r.api_version = o["apiVersion"].as_string();
  r.kind = o["kind"].as_string();
  const json::Value& m = o["metadata"];
  r.ns = m["namespace"].as_string();
  r.name = m["name"].as_string();
  r.uid = m["uid"].as_string();
  r.resource_version = m["resourceVersion"].as_string();
  return r;
}

json::Value event_reference(const ObjectReference& r) {
  json::Value o = json::Value::object();
  auto set = [&](const char* field, const std::string& text) {
    if (!text.empty()) o[field] = text;
  };
  set("kind", r.kind);
  set("namespace", r.ns);
  set("name", r.name);
  set("uid", r.uid);
  set("apiVersion", r.api_version);
  set("resourceVersion", r.resource_version);
  set("fieldPath", r.field_path);
  return o;
}

bool worth_another_try(const Error& e) { return e.code == Code::kUnavailable || e.code == Code::kTimeout || e.code == Code::kTooMany; }

struct EventRecorder::Impl {
  struct Item {
    ObjectReference about;
    std::string type, reason, message;
    Time when;
  };
  struct Known {
    std::string ns, name;
    int64_t count = 0;
    Time last;
  };
  struct Similar {
    Time last;
    std::vector<std::string> messages;
  };
  struct Spam {
    double tokens = kBurst;
    Time last;
  };

  Impl(Executor& e, Client c, std::string comp, std::string h)
      : ex(&e), client(std::move(c)), component(std::move(comp)), host(std::move(h)), log(component), ready(e) {
    scope.spawn(run(this));
  }

  void record(const ObjectReference& about, const char* type, std::string_view reason, std::string message) {
    if (queue.size() >= kQueueMax) return;
    queue.push_back({about, type, std::string(reason), std::move(message), ex->now()});
    ready.pulse();
  }

  bool is_spam(const Item& i) {
    Spam& s = spam[i.about.kind + "/" + i.about.ns + "/" + i.about.name + "/" + i.about.uid];
    if (!s.last.is_zero())
      s.tokens = std::min(kBurst, s.tokens + std::chrono::duration<double>(i.when - s.last) / std::chrono::duration<double>(kRefill));
    s.last = i.when;
    if (s.tokens < 1) return true;
    s.tokens -= 1;
    return false;
  }

  json::Value event_object(const Item& i, const std::string& ns, const std::string& name) const {
    json::Value v = json::Value::object();
    v["apiVersion"] = "v1";
    v["kind"] = "Event";
    json::Value& m = v["metadata"];
    m["name"] = name;
    m["namespace"] = ns;
    v["involvedObject"] = event_reference(i.about);
    v["reason"] = i.reason;
    v["message"] = i.message;
    json::Value& s = v["source"];
    s["component"] = component;
    if (!host.empty()) s["host"] = host;
    std::string when = format_rfc3339(i.when);
    v["firstTimestamp"] = when;
    v["lastTimestamp"] = when;
    v["count"] = 1;
    v["type"] = i.type;
    v["eventTime"] = nullptr;
    v["reportingComponent"] = component;
    v["reportingInstance"] = host;
    return v;
  }

  // nullopt: no answer from the server, worth a retry.
  Task<bool> write(Item* i) {
    std::string family = i->about.kind + "\x1f" + i->about.ns + "\x1f" + i->about.name + "\x1f" + i->about.uid + "\x1f" + i->about.field_path +
                         "\x1f" + i->type + "\x1f" + i->reason;
    Similar& sim = similar[family];
    if (i->when - sim.last > kWindow) sim.messages.clear();
    sim.last = i->when;
    if (std::find(sim.messages.begin(), sim.messages.end(), i->message) == sim.messages.end()) sim.messages.push_back(i->message);
    std::string key = family + "\x1f" + i->message;
    if (sim.messages.size() > static_cast<size_t>(kSimilarMax)) {
      sim.messages.pop_back();
      key = family;
      if (!i->message.starts_with("(combined from similar events)")) i->message = "(combined from similar events): " + i->message;
    }
    Known k = known[key];
    if (k.count > 0 && i->when - k.last < kWindow) {
      json::Value p = json::Value::object();
      p["count"] = k.count + 1;
      p["lastTimestamp"] = format_rfc3339(i->when);
      if (key == family) p["message"] = i->message;
      Result<json::Value> r = co_await client.patch(events_resource(), k.ns, k.name, PatchType::kMerge, std::move(p));
      if (r.ok()) {
        Known& now = known[key];
        now.count = k.count + 1;
        now.last = i->when;
        co_return true;
      }
      if (r.error().code != Code::kNotFound) co_return done_with(r.error());
    }
    Known fresh;
    fresh.ns = i->about.ns.empty() ? "default" : i->about.ns;
    last_suffix = std::max(last_suffix + 1, i->when.ns);
    fresh.name = i->about.name + "." + format("%llx", static_cast<unsigned long long>(last_suffix));
    fresh.count = 1;
    fresh.last = i->when;
    json::Value object = event_object(*i, fresh.ns, fresh.name);
    Result<json::Value> r = co_await client.create(events_resource(), fresh.ns, std::move(object));
    if (!r.ok()) co_return done_with(r.error());
    known[key] = fresh;
    co_return true;
  }
  bool done_with(const Error& e) const {
    if (worth_another_try(e)) return false;
    log.debug("an event was refused", {{"error", e.message}});
    return true;
  }

  static Task<void> run(Impl* self) {
    for (;;) {
      while (self->queue.empty()) co_await self->ready.wait();
      Item item = std::move(self->queue.front());
      self->queue.pop_front();
      if (self->is_spam(item)) continue;
      for (int i = 0; i < kAttempts; ++i) {
        bool done = co_await self->write(&item);
        if (done) break;
        co_await sleep(*self->ex, kRetry);
      }
    }
  }

  Executor* ex;
  Client client;
  std::string component, host;
  Log log;
  Event ready;
  std::deque<Item> queue;
  Recent<Known> known;
  Recent<Similar> similar;
  Recent<Spam> spam;
  int64_t last_suffix = 0;
  TaskScope scope;
};

EventRecorder::EventRecorder(Executor& ex, Client client, std::string component, std::string host)
    : impl_(std::make_shared<Impl>(ex, std::move(client), std::move(component), std::move(host))) {}
EventRecorder::~EventRecorder() = default;
void EventRecorder::normal(const ObjectReference& about, std::string_view reason, std::string message) {
  impl_->record(about, "Normal", reason, std::move(message));
}
void EventRecorder::warning(const ObjectReference& about, std::string_view reason, std::string message) {
  impl_->record(about, "Warning", reason, std::move(message));
}

}  // namespace caravel::kube
