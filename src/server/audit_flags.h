// The flags of `caravel server` that say what is audited and where the events go: a log, a webhook, or both.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/api_server.h"
#include "apiserver/audit_webhook.h"
#include "base/flags.h"
#include "kube/kubeconfig.h"
#include "net/event_loop.h"
#include "server/audit_file.h"

namespace caravel::server {

std::vector<Flag> audit_flags();

class AuditSettings {
 public:
  // Reads and checks the files that the flags name.
  static Result<AuditSettings> read(const Flags& flags);
  // Puts it to work. `file` outlives the API server.
  Status apply(net::EventLoop& loop, apiserver::ApiServer& api, std::unique_ptr<AuditFile>& file) const;

 private:
  Status read_log(const Flags& flags);
  Status read_webhook(const Flags& flags);
  std::optional<apiserver::AuditPolicy> policy_;
  std::string log_path_;  // "": no log
  AuditFileLimits limits_;
  std::optional<kube::ClientConfig> webhook_;
  apiserver::AuditWebhookOptions webhook_options_;
};

}  // namespace caravel::server
