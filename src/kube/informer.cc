#include "kube/informer.h"

#include <algorithm>

#include "base/log.h"

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
        const std::string& v = version_of(event.object);
        if (!v.empty()) version_ = version = v;
        if (event.type != WatchEventType::kBookmark) callbacks_.event(event.type, std::move(event.object));
      }
    }
  }
}

}  // namespace caravel::kube
