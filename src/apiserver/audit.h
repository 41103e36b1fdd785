// Audit: who asked for what, when, and what came of it, one JSON event of audit.k8s.io/v1 per stage.
//
// A policy gives each request a level by its first matching rule; a request without one is not logged.
//   AuditPolicy   rules → decision; pure
//   Auditor       makes the events of one request and hands them, as lines, to a sink
//   AuditBackend  takes events elsewhere (audit_webhook.h); who must not go on before they are there waits for their delivery
// Bodies are logged as they came and went at the levels Request and RequestResponse only; credentials in
// headers never are.
// Threading: one executor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/core.h"
#include "apiserver/request.h"
#include "base/scope.h"

namespace caravel::apiserver {

enum class AuditLevel { kNone,
                        kMetadata,
                        kRequest,
                        kRequestResponse };

struct AuditDecision {
  AuditLevel level = AuditLevel::kNone;
  std::vector<std::string> omit_stages;
  bool omit_managed_fields = false;
  bool omits(std::string_view stage) const;
};

class AuditPolicy {
 public:
  // From YAML or JSON.
  static Result<AuditPolicy> parse(std::string_view text);
  // parse_request_info() has been called.
  AuditDecision decide(const Request& r) const;

 private:
  struct Objects {
    std::string group;
    std::vector<std::string> resources, names;
  };
  struct Rule {
    AuditDecision decision;
    std::vector<std::string> users, groups, verbs, namespaces, urls;
    std::vector<Objects> objects;
  };
  static bool matches(const Rule& rule, const Request& r);
  std::vector<Rule> rules_;
};

// One request's way through the server. complete() or its destruction ends it.
class AuditTrail {
 public:
  virtual ~AuditTrail() = default;
  virtual void annotate(std::string_view key, std::string value) = 0;
  virtual void started(const Response& res) = 0;  // a watch: the answer has begun
  virtual void completed(const Response& res) = 0;
  // Whether all events so far are where the backends that requests wait for send them; delivered() waits for that.
  // False: an event is lost without which the request may not go on.
  virtual bool settled() const = 0;
  virtual Task<bool> delivered() = 0;
};

// An event on its way.
struct AuditDelivery {
  explicit AuditDelivery(Executor& ex) : done(ex) {}
  Event done;
  bool lost = false;  // and the request may not go on without it
};

class AuditBackend {
 public:
  virtual ~AuditBackend() = default;
  // Null: the request need not wait.
  virtual std::shared_ptr<AuditDelivery> take(const std::string& line) = 0;
  // Sends what has gathered; at the server's end.
  virtual Task<bool> drain() = 0;
};

class Auditor {
 public:
  using Sink = std::function<void(const std::string& line)>;  // without the line's end
  // The sink may be empty.
  Auditor(Core& core, AuditPolicy policy, Sink sink);
  void add(std::unique_ptr<AuditBackend> backend) { backends_.push_back(std::move(backend)); }
  Task<bool> drain();
  // Null when the policy leaves the request out. Logs RequestReceived.
  std::shared_ptr<AuditTrail> received(const Request& r);
  // A request whose sender could not prove who he is; `tried` are the ways that he tried ("bearer").
  void unauthenticated(const Request& r, const std::vector<std::string>& tried);

 private:
  friend class Trail;
  Core* core_;
  AuditPolicy policy_;
  Sink sink_;
  std::vector<std::unique_ptr<AuditBackend>> backends_;
  MetricFamily *events_, *levels_, *rejected_;
};

// The same watch; its end completes the trail.
std::unique_ptr<WatchSession> audited_watch(std::unique_ptr<WatchSession> inner, std::shared_ptr<AuditTrail> trail);

}  // namespace caravel::apiserver
