#include "apiserver/watch_cache.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {
constexpr std::string_view kRevisionMark = "\"resourceVersion\":\"";
const Log log_{"watch-cache"};
}  // namespace

ValuePtr Object::value() const {
  if (!decoded) {
    if (ValuePtr v = elsewhere.lock()) return v;
    auto parsed = json::parse(*bytes);
    ValuePtr v = json::share(parsed.ok() ? std::move(*parsed) : json::Value());
    elsewhere = v;
    return v;
  }
  return decoded;
}

// metadata.resourceVersion precedes everything of the user's in which the mark could occur unescaped.
Bytes restamp(const Bytes& bytes, int64_t revision) {
  size_t at = bytes->find(kRevisionMark);
  if (at == bytes->npos) return bytes;
  at += kRevisionMark.size();
  size_t end = bytes->find('"', at);
  auto out = std::make_shared<std::string>();
  out->reserve(bytes->size() + 8);
  out->append(*bytes, 0, at);
  out->append(std::to_string(revision));
  out->append(*bytes, end);
  return out;
}

// The same object at a later revision.
void stamp(Object& o, int64_t revision) {
  o.bytes = restamp(o.bytes, revision);
  o.revision = revision;
  o.typed = nullptr;
  ValuePtr known = o.decoded ? o.decoded : o.elsewhere.lock();
  o.elsewhere.reset();
  if (!known) return;
  json::Value v = *known;
  v["metadata"]["resourceVersion"] = std::to_string(revision);
  o.decoded = json::share(std::move(v));
}

std::string_view change_name(Change c) {
  switch (c) {
    case Change::kAdded: return "ADDED";
    case Change::kModified: return "MODIFIED";
    case Change::kDeleted: return "DELETED";
  }
  return "";
}

Bytes make_wire(std::string_view type, const std::string& object) {
  auto out = std::make_shared<std::string>();
  out->reserve(object.size() + 40);
  out->append("{\"type\":\"").append(type).append("\",\"object\":").append(object);
  if (out->back() == '\n') out->pop_back();
  out->append("}\n");
  return out;
}

const Bytes& CacheEvent::wire(Change as) const {
  Bytes& w = wire_[static_cast<int>(as)];
  if (!w) w = make_wire(change_name(as), as == Change::kDeleted && change != Change::kDeleted ? *leaving()->bytes : *object->bytes);
  return w;
}

const ObjectPtr& CacheEvent::leaving() const {
  if (!leaving_) {
    auto o = std::make_shared<Object>(*previous);
    stamp(*o, revision);
    leaving_ = std::move(o);
  }
  return leaving_;
}

bool fields_match(const FieldSelector& fields, const std::string& name, const std::string& ns, const Pairs& values) {
  for (auto& t : fields.terms()) {
    const std::string* v = nullptr;
    static const std::string kNone;
    if (t.field == "metadata.name") v = &name;
    else if (t.field == "metadata.namespace") v = &ns;
    else if (!(v = find_pair(values, t.field))) v = &kNone;
    if ((*v == t.value) != t.equal) return false;
  }
  return true;
}

bool Filter::matches(const Object& o) const {
  if (!ns.empty() && o.ns != ns) return false;
  if (!labels.empty() && !labels.matches(o.labels)) return false;
  return fields_match(fields, o.name, o.ns, o.fields);
}

// --- CacheWatch ---

CacheWatch::CacheWatch(Executor& ex, WatchCache* cache, Filter filter) : cache_(cache), cache_alive_(cache->alive_), filter_(std::move(filter)), ready_(ex) {}

CacheWatch::~CacheWatch() {
  if (*cache_alive_) std::erase(cache_->watchers_, this);
}

int64_t CacheWatch::revision() const { return *cache_alive_ ? std::max(from_, *cache_->revision_) : from_; }

void CacheWatch::end() {
  ended_ = true;
  ready_.set();
}

void CacheWatch::offer(const CacheEventPtr& e) {
  if (e->revision <= from_ || ended_) return;
  bool before = e->previous && filter_.matches(*e->previous);
  bool after = e->change != Change::kDeleted && filter_.matches(*e->object);
  Item item;
  item.event = e;
  item.revision = e->revision;
  if (after) {
    item.as = before ? Change::kModified : Change::kAdded;
    item.object = e->object;
  } else if (before) {
    item.as = Change::kDeleted;
    item.object = e->change == Change::kDeleted ? e->object : e->leaving();
  } else {
    return;
  }
  if (waiting_ && queue_.empty() && direct && direct(item)) return;
  if (queue_.size() >= kWatchQueue) {  // too slow: it resumes from its last revision
    end();
    return;
  }
  queue_.push_back(std::move(item));
  ready_.set();
}

Task<std::vector<CacheWatch::Item>> CacheWatch::next(Duration timeout) {
  if (queue_.empty() && !ended_) {
    ready_.reset();
    waiting_ = true;
    co_await ready_.wait(timeout);
    waiting_ = false;
  }
  std::vector<Item> out;
  out.swap(queue_);
  co_return out;
}

// --- WatchCache ---

WatchCache::WatchCache(Executor& ex, bool namespaced, FieldExtractor fields, const int64_t* revision)
    : ex_(&ex), namespaced_(namespaced), fields_(std::move(fields)), revision_(revision) {}

WatchCache::~WatchCache() {
  *alive_ = false;
  for (CacheWatch* w : watchers_) w->end();
}

void WatchCache::end_watches() {
  for (CacheWatch* w : watchers_) w->end();
}

std::string WatchCache::key_of(std::string_view ns, std::string_view name) {
  std::string k;
  k.reserve(ns.size() + 1 + name.size());
  if (!ns.empty()) k.append(ns).push_back('/');
  k.append(name);
  return k;
}

ObjectPtr WatchCache::get(std::string_view ns, std::string_view name) const {
  char buffer[520];
  std::string_view key = name;
  if (!ns.empty()) {
    if (ns.size() + name.size() + 1 > sizeof buffer) return nullptr;
    ns.copy(buffer, ns.size());
    buffer[ns.size()] = '/';
    name.copy(buffer + ns.size() + 1, name.size());
    key = std::string_view(buffer, ns.size() + 1 + name.size());
  }
  auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : it->second;
}

std::shared_ptr<Object> WatchCache::make_object(std::string_view key, const Bytes& bytes, int64_t revision, std::shared_ptr<void> attachment) const {
  auto o = std::make_shared<Object>();
  size_t slash = namespaced_ ? key.find('/') : key.npos;
  if (slash != key.npos) o->ns = key.substr(0, slash);
  o->name = slash == key.npos ? key : key.substr(slash + 1);
  o->bytes = bytes;
  o->revision = revision;
  if (attachment) {
    auto v = std::static_pointer_cast<json::Value>(std::move(attachment));
    (*v)["metadata"]["resourceVersion"] = std::to_string(revision);
    v->freeze();
    o->decoded = std::move(v);
  }
  ValuePtr v = o->value();
  for (auto& m : v->path({"metadata", "labels"}).as_object()) o->labels.emplace_back(m.key, m.value.as_string());
  if (fields_) fields_(*v, o->fields);
  return o;
}

void WatchCache::reread(FieldExtractor fields, const std::function<bool(json::Value&)>& change) {
  fields_ = std::move(fields);
  for (auto& [key, o] : objects_) {
    json::Value v = *o->value();
    bool changed = change(v);
    o = make_object(key, changed ? std::make_shared<const std::string>(json::dump(v)) : o->bytes, o->revision, nullptr);
  }
}

void WatchCache::load(const store::ListResult& all, std::string_view prefix) {
  objects_.clear();
  window_.clear();
  window_bytes_ = 0;
  for (auto& kv : all.items) {
    std::string_view key = std::string_view(kv.key).substr(prefix.size());
    objects_.emplace_hint(objects_.end(), key, make_object(key, kv.value, kv.mod_revision, nullptr));
  }
  oldest_ = all.revision;
  for (auto& [key, object] : objects_) {
    CacheEvent e;
    e.revision = object->revision;
    e.object = object;
    for (auto& f : listeners_) f(e);
  }
}

void WatchCache::keep_decoded(std::shared_ptr<Object> object) {
  if (!object->decoded) return;
  decoded_.push_back(std::move(object));
  if (decoded_.size() <= kDecodedKept) return;
  Object& oldest = *decoded_.front();
  oldest.elsewhere = oldest.decoded;
  oldest.decoded = nullptr;
  decoded_.pop_front();
}

void WatchCache::apply(const store::Event& e, std::string_view key) {
  auto event = std::make_shared<CacheEvent>();
  event->revision = e.kv.mod_revision;
  auto it = objects_.find(key);
  if (it != objects_.end()) event->previous = it->second;
  if (e.kind == store::Event::kPut) {
    auto object = make_object(key, e.kv.value, e.kv.mod_revision, e.attachment);
    event->change = event->previous ? Change::kModified : Change::kAdded;
    event->object = object;
    if (it != objects_.end()) it->second = object;
    else objects_.emplace(key, object);
    keep_decoded(std::move(object));
  } else {
    if (it == objects_.end()) return;
    event->change = Change::kDeleted;
    auto last = std::make_shared<Object>(*it->second);
    stamp(*last, event->revision);
    event->object = last;
    keep_decoded(std::move(last));
    objects_.erase(it);
  }
  window_.push_back(event);
  window_bytes_ += event->object->bytes->size();
  while (window_.size() > kWindowEvents || (window_bytes_ > kWindowBytes && window_.size() > 1)) {
    window_bytes_ -= window_.front()->object->bytes->size();
    oldest_ = window_.front()->revision;
    window_.pop_front();
  }
  for (auto& f : listeners_) f(*event);
  CacheEventPtr shared = std::move(event);
  for (CacheWatch* w : watchers_) w->offer(shared);
}

Result<WatchCache::ListPage> WatchCache::list(const ListQuery& q) const {
  ListPage page;
  if (q.revision && q.revision < oldest_)
    return make_error(Code::kGone, "The provided continue parameter is too old");
  // What the objects that changed since q.revision held then.
  std::map<std::string, ObjectPtr> undo;
  if (q.revision)
    for (auto e = window_.rbegin(); e != window_.rend() && (*e)->revision > q.revision; ++e)
      undo[key_of((*e)->object->ns, (*e)->object->name)] = (*e)->previous;
  std::string low = q.start;
  const std::string ns_prefix = namespaced_ && q.filter && !q.filter->ns.empty() ? q.filter->ns + "/" : "";
  if (low < ns_prefix) low = ns_prefix;
  auto in_ns = [&](const std::string& key) { return ns_prefix.empty() || key.compare(0, ns_prefix.size(), ns_prefix) == 0; };
  auto cur = objects_.lower_bound(low);
  auto old = undo.lower_bound(low);
  bool selective = q.filter && (!q.filter->labels.empty() || !q.filter->fields.empty());
  bool full = false;
  while (true) {
    bool has_cur = cur != objects_.end() && in_ns(cur->first);
    bool has_old = old != undo.end() && in_ns(old->first);
    if (!has_cur && !has_old) break;
    const ObjectPtr* take = nullptr;
    const std::string* key = nullptr;
    if (has_old && (!has_cur || old->first <= cur->first)) {
      if (has_cur && old->first == cur->first) ++cur;
      if (old->second) take = &old->second, key = &old->first;
      ++old;
    } else {
      take = &cur->second, key = &cur->first;
      ++cur;
    }
    if (!take) continue;
    if (full) {
      ++page.remaining;
      if (selective) break;
      continue;
    }
    if (q.filter && !q.filter->matches(**take)) continue;
    if (q.limit && page.items.size() == q.limit) {
      page.next = *key;
      full = true;
      ++page.remaining;
      if (selective) break;
      continue;
    }
    page.items.push_back(*take);
  }
  return page;
}

Result<std::unique_ptr<CacheWatch>> WatchCache::watch(Filter filter, int64_t from) {
  if (from && from < oldest_)
    return make_error(Code::kGone, "too old resource version: " + std::to_string(from) + " (" + std::to_string(oldest_) + ")");
  std::unique_ptr<CacheWatch> w(new CacheWatch(*ex_, this, std::move(filter)));
  w->from_ = from ? from : *revision_;
  if (from) {
    auto it = std::upper_bound(window_.begin(), window_.end(), from, [](int64_t r, const CacheEventPtr& e) { return r < e->revision; });
    for (; it != window_.end(); ++it) w->offer(*it);
  }
  watchers_.push_back(w.get());
  return w;
}

// --- Cacher ---

Cacher::Cacher(Executor& ex, store::Store& store) : ex_(&ex), store_(&store), advanced_(ex) {}
Cacher::~Cacher() = default;

std::string Cacher::prefix(std::string_view group, std::string_view plural) {
  return "/registry/" + std::string(group.empty() ? "core" : group) + "/" + std::string(plural) + "/";
}

Task<Status> Cacher::start() {
  auto r = co_await store_->revision();
  if (!r.ok()) co_return std::move(r).error();
  revision_ = *r;
  store::WatchSink sink;
  sink.events = [this](std::span<const store::Event> events) { on_events(events); };
  sink.ended = [](Error e) { log_.error("the watch on the store ended; this server's view is stale until it is restarted", {{"error", e.message}}); };
  sub_ = store_->watch("/registry/", revision_ + 1, std::move(sink));
  co_return ok();
}

void Cacher::on_events(std::span<const store::Event> events) {
  for (const store::Event& e : events) {
    const std::string& key = e.kv.key;
    // "/registry/<group>/<plural>/": the third slash after the leading one.
    size_t p = key.find('/', 10);
    p = p == key.npos ? p : key.find('/', p + 1);
    if (p == key.npos) continue;
    revision_ = e.kv.mod_revision;
    auto it = slots_.find(std::string_view(key).substr(0, p + 1));
    if (it == slots_.end()) continue;
    Slot& s = *it->second;
    if (s.loading) {
      s.held.push_back(e);
    } else if (e.kv.mod_revision > s.loaded) {
      s.cache->apply(e, std::string_view(key).substr(p + 1));
    }
  }
  if (!events.empty()) advanced_.pulse();
}

Task<Result<WatchCache*>> Cacher::open(std::string group, std::string plural, bool namespaced, WatchCache::FieldExtractor fields) {
  std::string p = prefix(group, plural);
  if (auto it = slots_.find(p); it != slots_.end()) co_return it->second->cache.get();
  auto slot = std::make_unique<Slot>();
  Slot* s = slot.get();
  s->cache = std::make_unique<WatchCache>(*ex_, namespaced, std::move(fields), &revision_);
  slots_[p] = std::move(slot);
  store::ListRequest q;
  q.prefix = p;
  auto all = co_await store_->list(std::move(q));
  if (!all.ok()) {
    slots_.erase(p);
    co_return std::move(all).error();
  }
  s->cache->load(*all, p);
  s->loaded = all->revision;
  s->loading = false;
  for (auto& e : s->held)
    if (e.kv.mod_revision > s->loaded) s->cache->apply(e, std::string_view(e.kv.key).substr(p.size()));
  s->held.clear();
  if (revision_ < all->revision) revision_ = all->revision;
  co_return s->cache.get();
}

void Cacher::close(const std::string& group, const std::string& plural) { slots_.erase(prefix(group, plural)); }

Task<bool> Cacher::wait_for(int64_t revision, Duration timeout) {
  Time end = ex_->now() + timeout;
  while (revision_ < revision) {
    Duration left = end - ex_->now();
    if (left <= Duration(0)) co_return false;
    co_await advanced_.wait(left);
  }
  co_return true;
}

}  // namespace caravel::apiserver
