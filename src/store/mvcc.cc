#include "store/mvcc.h"

#include <algorithm>
#include <unordered_map>

namespace caravel::store {

namespace {
bool starts_with(const std::string& s, const std::string& prefix) { return s.compare(0, prefix.size(), prefix) == 0; }
size_t cost(const Event& e) { return e.kv.key.size() + 128 + (e.previous && e.previous->value ? e.previous->value->size() : 0); }
}  // namespace

struct Mvcc::Sub {
  std::string prefix;
  int64_t next = 0;
  WatchSink sink;
  bool live = false;  // the backlog has been delivered
  bool closed = false;
};

struct Mvcc::Handle : Subscription {
  Mvcc* owner;
  std::shared_ptr<bool> alive;
  std::shared_ptr<Sub> sub;
  ~Handle() override {
    sub->closed = true;
    if (*alive) owner->subs_.remove(sub);
  }
};

Mvcc::Mvcc(Executor& ex, HistoryLimits limits) : ex_(&ex), limits_(limits) {}
Mvcc::~Mvcc() { *alive_ = false; }

std::unique_ptr<Mvcc::Batch> Mvcc::begin() const {
  auto b = std::make_unique<Batch>();
  b->revision = revision_;
  return b;
}

Mvcc::Plan Mvcc::plan(Batch& batch, Txn txn) const {
  Plan out;
  auto look = [&](const std::string& key) -> const KeyValue* {
    if (auto it = batch.changed.find(key); it != batch.changed.end()) return it->second ? &*it->second : nullptr;
    auto it = current_.find(key);
    return it == current_.end() ? nullptr : &it->second;
  };
  bool holds = true;
  for (auto& c : txn.compares) {
    const KeyValue* now = look(c.key);
    if ((now ? now->mod_revision : 0) != c.mod_revision) holds = false;
  }
  out.result.revision = batch.revision;
  if (!holds) {
    for (auto& c : txn.compares) {
      const KeyValue* now = look(c.key);
      out.result.values.push_back(now ? std::optional<KeyValue>(*now) : std::nullopt);
    }
    return out;
  }
  out.result.succeeded = true;
  int64_t revision = batch.revision + 1;
  for (auto& op : txn.ops) {
    const KeyValue* before = look(op.key);
    if (op.kind == Op::kDelete && !before) {
      out.result.values.push_back(std::nullopt);
      continue;
    }
    Event e;
    e.kind = op.kind == Op::kPut ? Event::kPut : Event::kDelete;
    if (before) e.previous = *before;
    e.kv.key = op.key;
    e.kv.mod_revision = revision;
    if (op.kind == Op::kPut) {
      if (op.stamp_at != kNoStamp) op.value.insert(op.stamp_at, std::to_string(revision));
      e.kv.value = std::make_shared<const std::string>(std::move(op.value));
      e.kv.create_revision = before ? before->create_revision : revision;
      e.attachment = std::move(op.attachment);
      out.result.values.push_back(e.kv);
      batch.changed[op.key] = e.kv;
    } else {
      out.result.values.push_back(*before);
      batch.changed[op.key] = std::nullopt;
    }
    out.events.push_back(std::move(e));
  }
  if (!out.events.empty()) batch.revision = revision;
  out.result.revision = batch.revision;
  return out;
}

void Mvcc::commit(const std::vector<Event>& events) {
  if (events.empty()) return;
  for (const Event& e : events) {
    if (e.kind == Event::kPut)
      current_.insert_or_assign(e.kv.key, e.kv);
    else
      current_.erase(e.kv.key);
    revision_ = e.kv.mod_revision;
    log_bytes_ += cost(e);
    log_.push_back(e);
    log_.back().attachment = nullptr;
  }
  trim();
  // A sink may end its own or another watch while we tell it: walk a copy.
  std::vector<std::shared_ptr<Sub>> subs(subs_.begin(), subs_.end());
  std::vector<Event> some;
  for (auto& sub : subs) {
    if (sub->closed || !sub->live) continue;
    sub->next = revision_ + 1;
    bool all = std::all_of(events.begin(), events.end(), [&](const Event& e) { return starts_with(e.kv.key, sub->prefix); });
    if (all) {
      sub->sink.events(events);
      continue;
    }
    some.clear();
    for (const Event& e : events)
      if (starts_with(e.kv.key, sub->prefix)) some.push_back(e);
    if (!some.empty()) sub->sink.events(some);
  }
}

Status Mvcc::check_revision(int64_t revision) const {
  if (revision > revision_)
    return make_error(Code::kTimeout, "revision " + std::to_string(revision) + " is in the future: the store is at " + std::to_string(revision_));
  if (revision != 0 && revision < compacted_)
    return make_error(Code::kGone, "revision " + std::to_string(revision) + " has been compacted: the oldest is " + std::to_string(compacted_));
  return ok();
}

Result<std::optional<KeyValue>> Mvcc::get(const std::string& key, int64_t revision) const {
  TRY_VOID(check_revision(revision));
  std::optional<KeyValue> out;
  if (auto it = current_.find(key); it != current_.end()) out = it->second;
  if (revision == 0) return out;
  for (auto e = log_.rbegin(); e != log_.rend() && e->kv.mod_revision > revision; ++e)
    if (e->kv.key == key) out = e->previous;
  return out;
}

Result<ListResult> Mvcc::list(const ListRequest& request) const {
  TRY_VOID(check_revision(request.revision));
  ListResult out;
  out.revision = request.revision ? request.revision : revision_;
  // Keys that changed after the revision, with what they held at it.
  std::map<std::string_view, const Event*> undo;
  for (auto e = log_.rbegin(); e != log_.rend() && e->kv.mod_revision > out.revision; ++e)
    if (starts_with(e->kv.key, request.prefix)) undo[e->kv.key] = &*e;
  const std::string& from = std::max(request.prefix, request.start);
  auto cur = current_.lower_bound(from);
  auto old = undo.lower_bound(from);
  auto in_range = [&](auto it) { return it != current_.end() && starts_with(it->first, request.prefix); };
  while (in_range(cur) || old != undo.end()) {
    const KeyValue* take = nullptr;
    if (old != undo.end() && (!in_range(cur) || old->first <= std::string_view(cur->first))) {
      if (in_range(cur) && old->first == cur->first) ++cur;
      if (old->second->previous) take = &*old->second->previous;
      ++old;
    } else {
      take = &cur->second;
      ++cur;
    }
    if (!take) continue;
    if (request.limit && out.items.size() == request.limit) {
      out.more = true;
      break;
    }
    out.items.push_back(*take);
  }
  return out;
}

std::unique_ptr<Subscription> Mvcc::watch(std::string prefix, int64_t from, WatchSink sink) {
  auto sub = std::make_shared<Sub>();
  sub->prefix = std::move(prefix);
  sub->next = from ? from : revision_ + 1;
  sub->sink = std::move(sink);
  sub->live = sub->next > revision_;
  subs_.push_back(sub);
  if (!sub->live)
    ex_->post([this, alive = alive_, sub] {
      if (*alive && !sub->closed) deliver_backlog(sub);
    });
  auto h = std::make_unique<Handle>();
  h->owner = this;
  h->alive = alive_;
  h->sub = sub;
  return h;
}

void Mvcc::deliver_backlog(const std::shared_ptr<Sub>& sub) {
  if (sub->next <= compacted_) {
    sub->closed = true;
    subs_.remove(sub);
    sub->sink.ended(make_error(Code::kGone, "revision " + std::to_string(sub->next) + " has been compacted: the oldest is " + std::to_string(compacted_ + 1)));
    return;
  }
  auto first = std::lower_bound(log_.begin(), log_.end(), sub->next, [](const Event& e, int64_t r) { return e.kv.mod_revision < r; });
  std::vector<Event> some;
  for (auto it = first; it != log_.end(); ++it)
    if (starts_with(it->kv.key, sub->prefix)) some.push_back(*it);
  sub->live = true;
  sub->next = revision_ + 1;
  if (!some.empty()) sub->sink.events(some);
}

void Mvcc::drop_oldest() {
  // Whole transactions only: all events of the oldest revision.
  int64_t revision = log_.front().kv.mod_revision;
  while (!log_.empty() && log_.front().kv.mod_revision == revision) {
    Event& e = log_.front();
    if (e.previous) garbage_.emplace_back(e.kv.key, e.previous->mod_revision);
    if (e.kind == Event::kDelete) garbage_.emplace_back(e.kv.key, revision);
    log_bytes_ -= cost(e);
    log_.pop_front();
  }
  compacted_ = revision;
}

void Mvcc::trim() {
  while (log_.size() > 1 && (log_.size() > limits_.events_max || log_bytes_ > limits_.bytes_max)) drop_oldest();
}

Status Mvcc::compact(int64_t revision) {
  if (revision > revision_) return invalid("cannot compact at revision " + std::to_string(revision) + ": the store is at " + std::to_string(revision_));
  if (revision <= compacted_) return make_error(Code::kGone, "revision " + std::to_string(revision) + " has been compacted already");
  while (!log_.empty() && log_.front().kv.mod_revision <= revision) drop_oldest();
  compacted_ = revision;
  return ok();
}

void Mvcc::load(int64_t revision, int64_t compacted, std::map<std::string, KeyValue, std::less<>> current, std::deque<Event> log) {
  revision_ = std::max<int64_t>(1, revision);
  compacted_ = compacted;
  current_ = std::move(current);
  log_ = std::move(log);
  log_bytes_ = 0;
  for (auto& e : log_) log_bytes_ += cost(e);
  trim();
}

}  // namespace caravel::store
