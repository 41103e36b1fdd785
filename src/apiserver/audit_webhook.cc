#include "apiserver/audit_webhook.h"

#include <algorithm>

namespace caravel::apiserver {

namespace {

constexpr size_t kPostsMax = 16;                           // batches on their way at once; further ones stay in the buffer
constexpr Duration kTellEvery = std::chrono::seconds(10);  // lines of the log about lost events

std::string event_list(const std::vector<std::string>& events) {
  std::string out = R"({"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[)";
  for (size_t i = 0; i < events.size(); ++i) {
    if (i > 0) out += ',';
    out += events[i];
  }
  return out + "]}\n";
}

}  // namespace

Result<AuditMode> audit_mode(std::string_view name) {
  if (name == "batch") return AuditMode::kBatch;
  if (name == "blocking") return AuditMode::kBlocking;
  if (name == "blocking-strict") return AuditMode::kBlockingStrict;
  return invalid("invalid audit webhook mode " + std::string(name) + ", allowed modes are batch, blocking, blocking-strict");
}

Status check_audit_options(const AuditWebhookOptions& o) {
  if (o.mode != AuditMode::kBatch) return ok();
  if (o.buffer_size == 0) return invalid("invalid audit batch webhook buffer size 0, must be a positive number");
  if (o.batch_max == 0) return invalid("invalid audit batch webhook max batch size 0, must be a positive number");
  if (o.throttle && o.posts_per_second <= 0) return invalid("invalid audit batch webhook throttle QPS, must be a positive number");
  if (o.throttle && o.burst <= 0) return invalid("invalid audit batch webhook throttle burst, must be a positive number");
  return ok();
}

AuditWebhook::AuditWebhook(Core& core, AuditWebhookOptions options, WebhookEndpoint to, Exchange exchange)
    : ex_(&core.ex), options_(options), to_(std::move(to)), exchange_(std::move(exchange)), more_(core.ex), posted_(core.ex), permits_(options.burst), permits_at_(core.ex.now()) {
  errors_ = &core.metrics.counter("apiserver_audit_error_total", "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.", {"plugin"});
  if (options_.mode == AuditMode::kBatch) scope_.spawn(gather());
}

std::shared_ptr<AuditDelivery> AuditWebhook::take(const std::string& line) {
  if (options_.mode != AuditMode::kBatch) {
    auto delivery = std::make_shared<AuditDelivery>(*ex_);
    Batch one = {line};
    scope_.spawn(post_one(std::move(one), delivery));
    return delivery;
  }
  if (buffer_.size() >= options_.buffer_size) {
    errors_->inc({"buffered"});
    Time now = ex_->now();
    if (now - told_ >= kTellEvery) log_.error("audit buffer queue blocked, events are dropped", {{"buffered", buffer_.size()}});
    if (now - told_ >= kTellEvery) told_ = now;
    return nullptr;
  }
  buffer_.push_back(line);
  if (buffer_.size() == 1 || buffer_.size() >= options_.batch_max) more_.set();
  return nullptr;
}

AuditWebhook::Batch AuditWebhook::next_batch() {
  Batch batch;
  while (!buffer_.empty() && batch.size() < options_.batch_max) {
    batch.push_back(std::move(buffer_.front()));
    buffer_.pop_front();
  }
  return batch;
}

Duration AuditWebhook::next_permit() {
  if (!options_.throttle) return Duration(0);
  Time now = ex_->now();
  double passed = std::chrono::duration<double>(now - permits_at_).count();
  permits_ = std::min<double>(options_.burst, permits_ + passed * options_.posts_per_second) - 1;
  permits_at_ = now;
  if (permits_ >= 0) return Duration(0);
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(-permits_ / options_.posts_per_second));
}

Task<void> AuditWebhook::gather() {
  while (true) {
    while (buffer_.empty()) {
      co_await more_.wait();
      more_.reset();
    }
    const Time until = ex_->now() + options_.batch_wait;
    while (buffer_.size() < options_.batch_max && ex_->now() < until) {
      co_await more_.wait(until - ex_->now());
      more_.reset();
    }
    while (posts_ >= kPostsMax) {
      co_await posted_.wait();
      posted_.reset();
    }
    if (Duration d = next_permit(); d > Duration(0)) co_await sleep(*ex_, d);
    Batch batch = next_batch();
    if (batch.empty()) continue;  // drained meanwhile
    ++posts_;
    scope_.spawn(post_batch(std::move(batch)));
  }
}

Task<void> AuditWebhook::post_batch(Batch batch) {
  Status s = co_await post(event_list(batch));
  if (!s.ok()) failed(batch.size(), s);
  --posts_;
  posted_.set();
}

Task<void> AuditWebhook::post_one(Batch batch, std::shared_ptr<AuditDelivery> delivery) {
  Status s = co_await post(event_list(batch));
  if (!s.ok()) {
    failed(1, s);
    delivery->lost = options_.mode == AuditMode::kBlockingStrict && batch[0].find(R"("stage":"RequestReceived")") != std::string::npos;
  }
  delivery->done.set();
}

void AuditWebhook::failed(size_t events, const Status& why) {
  errors_->inc({"webhook"}, static_cast<double>(events));
  log_.error("audit events are lost", {{"events", events}, {"error", why.error().message}});
}

Task<Status> AuditWebhook::post(std::string body) {
  WebhookPatience patience;
  patience.first_pause = options_.first_pause;
  patience.jitter = 0.2;
  auto res = co_await post_to_webhook(ex_, exchange_, to_, std::move(body), patience);
  if (!res.ok()) co_return std::move(res).error();
  co_return ok();
}

Task<bool> AuditWebhook::drain() {
  while (!buffer_.empty()) {
    Batch batch = next_batch();
    ++posts_;
    co_await post_batch(std::move(batch));
  }
  while (posts_ > 0) {
    co_await posted_.wait();
    posted_.reset();
  }
  co_return true;
}

}  // namespace caravel::apiserver
