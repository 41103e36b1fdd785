#include "kube/event_series.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "kube/event_object.h"

namespace caravel::kube {
namespace {

constexpr Duration kEnds = 6min;  // without a repeat
constexpr Duration kRefresh = 30min;
constexpr size_t kKnownMax = 4096;  // the oldest are forgotten
constexpr size_t kWaitingMax = 1000;
constexpr int kTries = 12;
constexpr Duration kPause = 10s;

const Resource& series_resource() {
  static const Resource r{"events.k8s.io", "v1", "events", "Event", true};
  return r;
}

std::string text_of(const ObjectReference& r) {
  return join({r.api_version, r.kind, r.ns, r.name, r.uid, r.resource_version, r.field_path}, "\x1f");
}

std::string key_of(const SeriesEvent& e) { return join({e.type, e.action, e.reason, text_of(e.regarding), e.related ? text_of(*e.related) : ""}, "\x1e"); }

json::Value series_patch(const SeriesLog::Series& s) {
  json::Value p = json::Value::object();
  p["series"]["count"] = s.count;
  p["series"]["lastObservedTime"] = format_rfc3339_micro(s.last);
  return p;
}

}  // namespace

SeriesLog::Step SeriesLog::add(const SeriesEvent& e, const std::string& ns, const std::string& name) {
  const std::string key = key_of(e);
  auto it = known_.find(key);
  if (it == known_.end()) {
    known_[key] = {ns, name, 1, e.when};
    order_.push_back(key);
    for (; known_.size() > kKnownMax; order_.pop_front()) known_.erase(order_.front());
    return {true, std::nullopt};
  }
  it->second.last = e.when;
  if (++it->second.count > 2) return {};
  return {false, it->second};
}

std::vector<SeriesLog::Series> SeriesLog::ended(Time now) {
  std::vector<Series> out;
  std::erase_if(order_, [&](const std::string& key) {
    auto it = known_.find(key);
    if (it == known_.end()) return true;
    if (now - it->second.last <= kEnds) return false;
    if (it->second.count > 1) out.push_back(std::move(it->second));
    known_.erase(it);
    return true;
  });
  return out;
}

std::vector<SeriesLog::Series> SeriesLog::all() const {
  std::vector<Series> out;
  for (auto& [key, s] : known_)
    if (s.count > 1) out.push_back(s);
  return out;
}

struct SeriesRecorder::Impl {
  // Each was decided when the event happened; they are written in their order.
  struct Write {
    std::string ns, name;
    json::Value created;  // null: a patch of the series
    json::Value patch;
  };

  Impl(Executor& e, Client c, std::string of) : ex(&e), client(std::move(c)), controller(std::move(of)), log(controller), ready(e) {
    scope.spawn(run(this));
    scope.spawn(keep(this));
  }

  void record(SeriesEvent e) {
    if (waiting.size() >= kWaitingMax) return;
    const std::string ns = e.regarding.ns.empty() ? "default" : e.regarding.ns;
    last_suffix = std::max(last_suffix + 1, e.when.ns);
    const std::string name = e.regarding.name + "." + format("%llx", static_cast<unsigned long long>(last_suffix));
    SeriesLog::Step step = series.add(e, ns, name);
    if (step.create) waiting.push_back({ns, name, document(e, ns, name), {}});
    else if (step.series) waiting.push_back({step.series->ns, step.series->name, {}, series_patch(*step.series)});
    else return;
    ready.pulse();
  }

  json::Value document(const SeriesEvent& e, const std::string& ns, const std::string& name) const {
    json::Value v = json::Value::object();
    v["apiVersion"] = "events.k8s.io/v1";
    v["kind"] = "Event";
    v["metadata"]["name"] = name;
    v["metadata"]["namespace"] = ns;
    v["eventTime"] = format_rfc3339_micro(e.when);
    v["reportingController"] = controller;
    v["reportingInstance"] = controller + "-control-plane";
    v["action"] = e.action;
    v["reason"] = e.reason;
    v["regarding"] = event_reference(e.regarding);
    if (e.related) v["related"] = event_reference(*e.related);
    v["note"] = e.note;
    v["type"] = e.type;
    return v;
  }

  Task<bool> write(const Write* w) {
    Result<json::Value> r = json::Value();
    if (!w->created.is_null()) {
      json::Value object = w->created;
      r = co_await client.create(series_resource(), w->ns, std::move(object));
    } else {
      json::Value patch = w->patch;
      r = co_await client.patch(series_resource(), w->ns, w->name, PatchType::kMerge, std::move(patch));
    }
    if (r.ok()) co_return true;
    if (worth_another_try(r.error())) co_return false;
    log.debug("an event was refused", {{"error", r.error().message}});
    co_return true;
  }

  static Task<void> run(Impl* self) {
    for (;;) {
      while (self->waiting.empty()) co_await self->ready.wait();
      const Write w = std::move(self->waiting.front());
      self->waiting.pop_front();
      for (int i = 0; i < kTries; ++i) {
        const bool done = co_await self->write(&w);
        if (done) break;
        co_await sleep(*self->ex, kPause);
      }
    }
  }

  static Task<void> keep(Impl* self) {
    for (Duration since_refresh = Duration(0);; since_refresh += kEnds) {
      co_await sleep(*self->ex, kEnds);
      std::vector<SeriesLog::Series> again = self->series.ended(self->ex->now());
      if (since_refresh >= kRefresh) {
        for (auto& s : self->series.all()) again.push_back(std::move(s));
        since_refresh = Duration(0);
      }
      for (auto& s : again) self->waiting.push_back({s.ns, s.name, {}, series_patch(s)});
      if (!again.empty()) self->ready.pulse();
    }
  }

  Executor* ex;
  Client client;
  std::string controller;
  Log log;
  Event ready;
  SeriesLog series;
  std::deque<Write> waiting;
  int64_t last_suffix = 0;
  TaskScope scope;
};

SeriesRecorder::SeriesRecorder(Executor& ex, Client client, std::string controller) : impl_(std::make_shared<Impl>(ex, std::move(client), std::move(controller))) {}
SeriesRecorder::~SeriesRecorder() = default;
void SeriesRecorder::normal(const ObjectReference& regarding, std::string_view reason, std::string_view action, std::string note, std::optional<ObjectReference> related) {
  impl_->record({regarding, std::move(related), "Normal", std::string(reason), std::string(action), std::move(note), impl_->ex->now()});
}
void SeriesRecorder::warning(const ObjectReference& regarding, std::string_view reason, std::string_view action, std::string note) {
  impl_->record({regarding, std::nullopt, "Warning", std::string(reason), std::string(action), std::move(note), impl_->ex->now()});
}

}  // namespace caravel::kube
