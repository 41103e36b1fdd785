#include "server/file_reload.h"

#include "base/hash.h"

namespace caravel::server {

FileReload::FileReload(Executor& ex, MetricRegistry& metrics, const std::string& kind, std::string server_id, std::string now, Read read, Apply apply)
    : ex_(&ex), kind_(kind), server_hash_("sha256:" + sha256_hex(server_id)), holds_(std::move(now)), read_(std::move(read)), apply_(std::move(apply)) {
  const std::string name = "apiserver_" + kind + "_config_controller_", what = kind + " configuration";
  reloads_ = &metrics.counter(name + "automatic_reloads_total", "Total number of automatic reloads of " + what + " split by status and apiserver identity.", {"status", "apiserver_id_hash"});
  last_ = &metrics.gauge(name + "automatic_reload_last_timestamp_seconds", "Timestamp of the last automatic reload of " + what + " split by status and apiserver identity.", {"status", "apiserver_id_hash"});
  info_ = &metrics.gauge(name + "last_config_info", "Information about the last applied " + what + " with hash as label, split by apiserver identity.", {"apiserver_id_hash", "hash"});
  note_hash();
}

void FileReload::note_hash() {
  if (!shown_hash_.empty()) info_->erase({server_hash_, shown_hash_});
  shown_hash_ = "sha256:" + sha256_hex(holds_);
  info_->set({server_hash_, shown_hash_}, 1);
}

void FileReload::note(bool success) {
  LabelValues labels = {success ? "success" : "failure", server_hash_};
  reloads_->inc(labels);
  last_->set(labels, static_cast<double>(ex_->now().seconds()));
}

Task<void> FileReload::look() {
  Result<std::string> text = read_();
  std::string seen = text.ok() ? *text : text.error().message;
  if (text.ok() && *text == holds_) {
    failed_.clear();
    co_return;
  }
  if (seen == failed_ && ex_->now() - failed_at_ < kReloadAgain) co_return;
  Status s = ok();
  if (text.ok()) s = co_await apply_(*text);
  else s = text.error();
  note(s.ok());
  if (s.ok()) {
    holds_ = std::move(seen);
    failed_.clear();
    note_hash();
    log_.info("a changed configuration is in force", {{"configuration", kind_}});
    co_return;
  }
  failed_ = std::move(seen);
  failed_at_ = ex_->now();
  log_.error("a changed configuration is no good, the one before stays in force", {{"configuration", kind_}, {"error", s.error().message}});
}

Task<void> FileReload::keep() {
  while (true) {
    co_await sleep(*ex_, kReloadLook);
    co_await look();
  }
}

}  // namespace caravel::server
