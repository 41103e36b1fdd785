#include "server/audit_flags.h"

#include "base/strings.h"
#include "net/process.h"
#include "server/webhook_client.h"

namespace caravel::server {

namespace {

Result<size_t> read_count(const Flags& flags, const char* name) {
  TRY(int64_t n, flags.get_int(name));
  if (n < 0) return invalid("--" + std::string(name) + " must not be negative");
  return static_cast<size_t>(n);
}

}  // namespace

std::vector<Flag> audit_flags() {
  return {
      {"audit-policy-file", "FILE", "Policy of audit.k8s.io/v1: which requests are logged, how fully"},
      {"audit-log-path", "FILE", "where audit events go, one JSON line each; - is standard output"},
      {"audit-log-maxsize", "MEGABYTES", "size at which the audit log is rotated", "100"},
      {"audit-log-maxbackup", "N", "rotated audit logs to keep; 0: all", "0"},
      {"audit-log-maxage", "DAYS", "days to keep rotated audit logs; 0: for ever", "0"},
      {"audit-webhook-config-file", "FILE", "kubeconfig of a webhook that is sent EventLists of audit.k8s.io/v1"},
      {"audit-webhook-mode", "MODE", "batch: events gather; blocking: requests wait for theirs; blocking-strict: and are refused without", "batch"},
      {"audit-webhook-initial-backoff", "DURATION", "pause before a post that failed is tried again", "10s"},
      {"audit-webhook-batch-buffer-size", "N", "events that wait at most; further ones are dropped", "10000"},
      {"audit-webhook-batch-max-size", "N", "events of a post", "400"},
      {"audit-webhook-batch-max-wait", "DURATION", "how long an event waits for others", "30s"},
      {"audit-webhook-batch-throttle-enable", "true|false", "whether posts are throttled", "true"},
      {"audit-webhook-batch-throttle-qps", "N", "posts per second", "10"},
      {"audit-webhook-batch-throttle-burst", "N", "posts at once, after a pause", "15"},
  };
}

Status AuditSettings::read_log(const Flags& flags) {
  log_path_ = flags.get("audit-log-path");
  TRY(int64_t megabytes, flags.get_int("audit-log-maxsize"));
  TRY(int64_t backups, flags.get_int("audit-log-maxbackup"));
  TRY(int64_t days, flags.get_int("audit-log-maxage"));
  if (megabytes > 0) limits_.max_bytes = megabytes << 20;
  limits_.max_backups = static_cast<int>(std::max<int64_t>(0, backups));
  limits_.max_age = std::chrono::hours(24 * std::max<int64_t>(0, days));
  return ok();
}

Status AuditSettings::read_webhook(const Flags& flags) {
  const char* file = "audit-webhook-config-file";
  apiserver::AuditWebhookOptions& o = webhook_options_;
  auto mode = apiserver::audit_mode(flags.get("audit-webhook-mode"));
  if (!mode.ok()) return wrap(std::move(mode).error(), "--audit-webhook-mode");
  o.mode = *mode;
  TRY(o.first_pause, read_duration(flags, "audit-webhook-initial-backoff"));
  TRY(o.buffer_size, read_count(flags, "audit-webhook-batch-buffer-size"));
  TRY(o.batch_max, read_count(flags, "audit-webhook-batch-max-size"));
  TRY(o.batch_wait, read_duration(flags, "audit-webhook-batch-max-wait"));
  const std::string throttle = flags.get("audit-webhook-batch-throttle-enable");
  if (throttle != "true" && throttle != "false") return invalid("--audit-webhook-batch-throttle-enable is true or false, not " + throttle);
  o.throttle = throttle == "true";
  TRY(size_t burst, read_count(flags, "audit-webhook-batch-throttle-burst"));
  o.burst = static_cast<int>(burst);
  char* end = nullptr;
  const std::string qps = flags.get("audit-webhook-batch-throttle-qps");
  o.posts_per_second = std::strtod(qps.c_str(), &end);
  if (qps.empty() || *end) return invalid("--audit-webhook-batch-throttle-qps " + qps + " is not a number");
  if (!flags.given(file)) return ok();
  TRY(webhook_, read_client(flags.get(file), file));
  return apiserver::check_audit_options(o);
}

Result<AuditSettings> AuditSettings::read(const Flags& flags) {
  AuditSettings s;
  TRY_VOID(s.read_log(flags));
  TRY_VOID(s.read_webhook(flags));
  const std::string path = flags.get("audit-policy-file");
  if (path.empty()) {
    if (!s.log_path_.empty()) return invalid("--audit-log-path needs --audit-policy-file: the rules that say what is logged");
    if (s.webhook_) return invalid("--audit-webhook-config-file needs --audit-policy-file: the rules that say what is logged");
    return s;
  }
  TRY(std::string text, net::read_file(path));
  auto policy = apiserver::AuditPolicy::parse(text);
  if (!policy.ok()) return wrap(std::move(policy).error(), "--audit-policy-file " + path);
  s.policy_ = std::move(*policy);
  return s;
}

Status AuditSettings::apply(net::EventLoop& loop, apiserver::ApiServer& api, std::unique_ptr<AuditFile>& file) const {
  if (!policy_ || (log_path_.empty() && !webhook_)) return ok();
  apiserver::Auditor::Sink sink;
  if (!log_path_.empty()) {
    TRY(file, AuditFile::open(log_path_, limits_));
    sink = [f = file.get(), clock = &loop](const std::string& line) { f->write(line, clock->now()); };
  }
  auto auditor = std::make_unique<apiserver::Auditor>(api.core(), *policy_, std::move(sink));
  if (webhook_) {
    TRY(auto exchange, exchange_with(loop, *webhook_));
    auditor->add(std::make_unique<apiserver::AuditWebhook>(api.core(), webhook_options_, endpoint_of(*webhook_, "v1"), std::move(exchange)));
  }
  api.set_auditor(std::move(auditor));
  return ok();
}

}  // namespace caravel::server
