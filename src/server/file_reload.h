// A configuration file that is read again when it has changed, as --authentication-config, --authorization-config
// and --encryption-provider-config are.
//
// What the file says is applied when it differs from what holds. A file that cannot be read or applied leaves
// things as they are; it is tried again when it has changed again, or after kReloadAgain. Both outcomes are counted
// in upstream's metrics: apiserver_KIND_config_controller_automatic_reloads_total{status} and its companions.
// Threading: one executor.
#pragma once

#include <functional>
#include <string>

#include "base/executor.h"
#include "base/log.h"
#include "base/metrics.h"

namespace caravel::server {

constexpr Duration kReloadLook = std::chrono::seconds(1), kReloadAgain = std::chrono::minutes(1);

class FileReload {
 public:
  using Read = std::function<Result<std::string>()>;
  using Apply = std::function<Task<Status>(std::string text)>;
  // `kind`: "authentication"; `now`: the text that holds.
  FileReload(Executor& ex, MetricRegistry& metrics, const std::string& kind, std::string server_id, std::string now, Read read, Apply apply);
  // Looks every kReloadLook, for ever.
  Task<void> keep();
  Task<void> look();

 private:
  void note(bool success);
  void note_hash();
  Executor* ex_;
  std::string kind_, server_hash_, holds_, shown_hash_;
  std::string failed_;  // the text that was no good, or why there was none
  Time failed_at_;
  Read read_;
  Apply apply_;
  MetricFamily *reloads_, *last_, *info_;
  Log log_{"server"};
};

}  // namespace caravel::server
