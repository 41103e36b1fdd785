// Audit events to a webhook, as EventLists of audit.k8s.io/v1: --audit-webhook-*.
//
//   batch            events gather in a buffer and go out together when there are enough or the first has waited
//                    long enough, with a limit on posts per second; what finds the buffer full is dropped and counted
//   blocking         each event is posted alone and its request waits; one that cannot be delivered is counted
//   blocking-strict  and a request whose RequestReceived is lost is refused
// A webhook that cannot be reached or answers 429 or 5xx is asked again with growing pauses.
// Threading: one executor.
#pragma once

#include <deque>

#include "apiserver/audit.h"
#include "apiserver/webhook_endpoint.h"

namespace caravel::apiserver {

enum class AuditMode { kBatch,
                       kBlocking,
                       kBlockingStrict };
Result<AuditMode> audit_mode(std::string_view name);

struct AuditWebhookOptions {
  AuditMode mode = AuditMode::kBatch;
  size_t buffer_size = 10'000, batch_max = 400;  // events
  Duration batch_wait = std::chrono::seconds(30);
  bool throttle = true;
  double posts_per_second = 10;
  int burst = 15;
  Duration first_pause = std::chrono::seconds(10);
};
Status check_audit_options(const AuditWebhookOptions& o);

class AuditWebhook final : public AuditBackend {
 public:
  AuditWebhook(Core& core, AuditWebhookOptions options, WebhookEndpoint to, Exchange exchange);
  ~AuditWebhook() override { scope_.cancel_all(); }
  std::shared_ptr<AuditDelivery> take(const std::string& line) override;
  Task<bool> drain() override;

 private:
  using Batch = std::vector<std::string>;
  Task<void> gather();
  Task<void> post_batch(Batch batch);
  Task<void> post_one(Batch batch, std::shared_ptr<AuditDelivery> delivery);
  Task<Status> post(std::string body);
  Batch next_batch();
  void failed(size_t events, const Status& why);
  // How long until a post is allowed; takes the permit.
  Duration next_permit();

  Executor* ex_;
  AuditWebhookOptions options_;
  WebhookEndpoint to_;
  Exchange exchange_;
  std::deque<std::string> buffer_;
  Event more_, posted_;
  double permits_;
  Time permits_at_;
  size_t posts_ = 0;
  MetricFamily* errors_;
  Log log_{"audit"};
  Time told_;
  TaskScope scope_;
};

}  // namespace caravel::apiserver
