#include "kube/informer.h"

#include <algorithm>

#include "base/log.h"
#include "kube/types/meta.h"

namespace caravel::kube {

namespace {

// client-go's reflector back-off.
constexpr Duration kBackoffMin = 800ms;
constexpr Duration kBackoffMax = 30s;
// A back-off that was not needed for this long starts again from the minimum.
constexpr Duration kBackoffReset = 2min;
// Watches are asked to end after 5 to 10 minutes, so that load moves between servers.
constexpr int64_t kWatchSecondsMin = 300;

class Backoff {
 public:
  explicit Backoff(Executor& ex) : ex_(&ex) {}
  Duration next() {
    Time now = ex_->now();
    if (now - last_ > kBackoffReset) d_ = kBackoffMin;
    last_ = now;
    Duration base = d_;
    d_ = std::min(d_ * 2, kBackoffMax);
    return base + Duration(static_cast<int64_t>(static_cast<double>(base.count()) * ex_->random_unit()));
  }

 private:
  Executor* ex_;
  Duration d_ = kBackoffMin;
  Time last_;
};

const Log& logger() {
  static const Log log("reflector");
  return log;
}

const std::string& version_of(const json::Value& object) {
  return object.path({"metadata", "resourceVersion"}).as_string();
}

}  // namespace

Reflector::Reflector(Executor& ex, Client client, Resource resource, InformerOptions options, Callbacks callbacks)
    : ex_(&ex), client_(std::move(client)), resource_(std::move(resource)), options_(std::move(options)), callbacks_(std::move(callbacks)) {}

void Reflector::log_undecodable(const Resource& resource, const json::Value& object, const Error& why) {
  logger().warn("an object is ignored because it cannot be decoded",
                {{"resource", resource.group_resource()},
                 {"namespace", object.path({"metadata", "namespace"}).as_string()},
                 {"name", object.path({"metadata", "name"}).as_string()},
                 {"error", why.message}});
}

Task<void> Reflector::run() {
  Backoff backoff(*ex_);
  for (;;) {
    ListOptions lo;
    lo.ns = options_.ns;
    lo.label_selector = options_.label_selector;
    lo.field_selector = options_.field_selector;
    Result<ListResult<json::Value>> list = co_await client_.list(resource_, lo);
    if (!list.ok()) {
      logger().warn("list failed", {{"resource", resource_.group_resource()}, {"error", list.error().message}});
      co_await sleep(*ex_, backoff.next());
      continue;
    }
    std::string version = list->resource_version;
    version_ = version;
    callbacks_.replace(std::move(list->items));
    list = Error{};  // the items are large: do not keep them while watching

    bool relist = false;
    while (!relist) {
      lo.resource_version = version;
      lo.timeout_seconds = kWatchSecondsMin + static_cast<int64_t>(ex_->random_below(kWatchSecondsMin));
      Result<std::unique_ptr<WatchStream>> w = co_await client_.watch(resource_, lo);
      if (!w.ok()) {
        if (w.error().code == Code::kGone) {
          relist = true;
          continue;
        }
        logger().debug("watch failed", {{"resource", resource_.group_resource()}, {"error", w.error().message}});
        // A server that refuses the watch for another reason than its own trouble needs a new list.
        relist = w.error().code != Code::kUnavailable && w.error().code != Code::kTooMany && w.error().code != Code::kTimeout;
        co_await sleep(*ex_, backoff.next());
        continue;
      }
      Time opened = ex_->now();
      bool any = false;
      for (;;) {
        Result<std::optional<WatchEvent>> e = co_await (*w)->next();
        if (!e.ok()) {
          if (e.error().code == Code::kGone) {
            relist = true;
          } else {
            logger().debug("watch broke", {{"resource", resource_.group_resource()}, {"error", e.error().message}});
            co_await sleep(*ex_, backoff.next());
          }
          break;
        }
        if (!e->has_value()) {
          // A server that ends watches at once must not be asked in a loop.
          if (!any && ex_->now() - opened < 1s) co_await sleep(*ex_, backoff.next());
          break;
        }
        any = true;
        WatchEvent& event = **e;
        const std::string& v = version_of(*event.object);
        if (!v.empty()) version_ = version = v;
        if (event.type != WatchEventType::kBookmark) callbacks_.event(event.type, std::move(event.object));
      }
    }
  }
}

AnyInformer::AnyInformer(Executor& ex, Client client, Type type, InformerOptions options)
    : synced_event_(ex), ex_(&ex), resync_(options.resync), type_(std::move(type)) {
  Reflector::Callbacks cb;
  cb.replace = [this](std::vector<json::Value> items) { replace(std::move(items)); };
  cb.event = [this](WatchEventType t, Document v) { on_event(t, v); };
  reflector_ = std::make_unique<Reflector>(ex, std::move(client), type_.resource, std::move(options), std::move(cb));
}

void AnyInformer::add_handler(Handler h) {
  handlers_.push_back(std::make_shared<Handler>(std::move(h)));
  std::shared_ptr<Handler> added = handlers_.back();
  if (cache_.empty()) return;
  for (const Object& o : snapshot()) (*added)(nullptr, o);
}

void AnyInformer::add_index(std::string name, Indexer f) {
  auto [it, fresh] = indexers_.try_emplace(std::move(name));
  if (!fresh) return;
  it->second.f = std::move(f);
  for (const auto& [key, o] : cache_)
    for (const std::string& v : it->second.f(o.get())) it->second.entries[v].emplace(key, o);
}

void AnyInformer::start(TaskScope& scope) {
  scope.spawn(reflector_->run());
  if (resync_ > Duration(0)) scope.spawn(resync_loop());
}

Task<void> AnyInformer::wait_synced() { co_await synced_event_.wait(); }

AnyInformer::Object AnyInformer::find(const ObjectKey& key) const {
  auto it = cache_.find(key);
  return it == cache_.end() ? nullptr : it->second;
}

std::vector<AnyInformer::Object> AnyInformer::find_in_namespace(const std::string& ns) const {
  std::vector<Object> out;
  for (auto it = cache_.lower_bound(ObjectKey{ns, ""}); it != cache_.end() && it->first.ns == ns; ++it) out.push_back(it->second);
  return out;
}

std::vector<AnyInformer::Object> AnyInformer::find_by_index(const std::string& name, const std::string& value) const {
  std::vector<Object> out;
  auto it = indexers_.find(name);
  if (it == indexers_.end()) return out;
  auto found = it->second.entries.find(value);
  if (found == it->second.entries.end()) return out;
  out.reserve(found->second.size());
  for (const auto& [key, o] : found->second) out.push_back(o);
  return out;
}

ObjectKey AnyInformer::key_of(const Object& object) const {
  const meta::ObjectMeta& m = type_.metadata(object.get());
  return {m.namespace_, m.name};
}

void AnyInformer::change(const ObjectKey& key, Object now) {
  auto at = cache_.find(key);
  Object old = at == cache_.end() ? nullptr : at->second;
  for (auto& [name, index] : indexers_) {
    const std::vector<std::string> before = old ? index.f(old.get()) : std::vector<std::string>();
    const std::vector<std::string> after = now ? index.f(now.get()) : std::vector<std::string>();
    for (const std::string& v : before) {
      if (std::find(after.begin(), after.end(), v) != after.end()) continue;
      auto it = index.entries.find(v);
      if (it == index.entries.end()) continue;
      it->second.erase(key);
      if (it->second.empty()) index.entries.erase(it);
    }
    for (const std::string& v : after) index.entries[v].insert_or_assign(key, now);
  }
  if (!now) cache_.erase(key);
  else if (old) at->second = now;
  else cache_.emplace(key, now);
  for (size_t i = 0; i < handlers_.size(); ++i) {
    std::shared_ptr<Handler> h = handlers_[i];  // it may add another
    (*h)(old, now);
  }
}

std::vector<AnyInformer::Object> AnyInformer::snapshot() const {
  std::vector<Object> out;
  out.reserve(cache_.size());
  for (const auto& [key, o] : cache_) out.push_back(o);
  return out;
}

Task<void> AnyInformer::resync_loop() {
  for (;;) {
    co_await sleep(*ex_, resync_);
    for (const Object& o : snapshot())
      for (size_t i = 0; i < handlers_.size(); ++i) {
        std::shared_ptr<Handler> h = handlers_[i];
        (*h)(o, o);
      }
  }
}

void AnyInformer::replace(std::vector<json::Value> items) {
  Objects fresh;
  for (const json::Value& v : items) {
    Result<Object> o = type_.decode(v);
    if (!o.ok()) {
      Reflector::log_undecodable(type_.resource, v, o.error());
      continue;
    }
    fresh[key_of(*o)] = *o;
  }
  std::vector<ObjectKey> gone;
  for (const auto& [key, o] : cache_)
    if (!fresh.count(key)) gone.push_back(key);
  for (const ObjectKey& key : gone) change(key, nullptr);
  for (const auto& [key, o] : fresh) {
    Object old = find(key);
    if (!old || type_.metadata(old.get()).resource_version != type_.metadata(o.get()).resource_version) change(key, o);
  }
  synced_event_.set();
}

Result<AnyInformer::Object> AnyInformer::decode(const Document& v) const {
  Decoded* others = v.decoded();
  if (others && others->type == type_.id)
    if (Object o = others->object.lock()) return o;
  Result<Object> o = type_.decode(*v);
  if (others && o.ok()) *others = {type_.id, *o};
  return o;
}

void AnyInformer::on_event(WatchEventType type, const Document& v) {
  if (type == WatchEventType::kDeleted) {  // what it was last we know; its name is all there is to be told
    const json::Value& m = (*v)["metadata"];
    const ObjectKey key{m["namespace"].as_string(), m["name"].as_string()};
    if (find(key)) change(key, nullptr);
    return;
  }
  Result<Object> o = decode(v);
  if (!o.ok()) return Reflector::log_undecodable(type_.resource, *v, o.error());
  const ObjectKey key = key_of(*o);
  change(key, std::move(*o));
}

void SharedInformers::start(TaskScope& scope) {
  for (; started_ < order_.size(); ++started_) order_[started_]->start(scope);
}

bool SharedInformers::synced() const {
  return std::all_of(order_.begin(), order_.end(), [](const AnyInformer* i) { return i->synced(); });
}

Task<void> SharedInformers::wait_synced() {
  for (size_t i = 0; i < order_.size(); ++i) co_await order_[i]->wait_synced();
}

}  // namespace caravel::kube
