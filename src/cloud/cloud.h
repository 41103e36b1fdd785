// Cloud: the embedded AWS. The shell around the records: one transaction per action, in the journal
// before it is answered, then the substrate brought along by a level-triggered loop.
// Threading: one executor. Journal and substrate outlive it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "aws/client.h"
#include "aws/wire.h"
#include "base/log.h"
#include "base/scope.h"
#include "cloud/context.h"
#include "cloud/desired.h"
#include "cloud/journal.h"
#include "machines/substrate.h"

namespace caravel::cloud {

class Cloud final : public machines::SubstrateHost {
 public:
  Cloud(Executor& ex, CloudOptions options, Journal& journal, machines::Substrate& substrate);
  ~Cloud() override;

  // Loads the journal, or makes the first start's records, and starts the loops.
  Status start();
  // One action as `caller`; input as in aws/client.h.
  Task<Output> call(std::string service, std::string action, Value input, Caller caller);
  // One HTTP request: signature, routing, action, answer. `host` is the endpoint the client used.
  Task<aws::HttpResponse> handle(aws::HttpRequest request);

  Caller root() const;
  const Records& records() const { return records_; }
  CloudOptions& options() { return options_; }

  // For drills: no capacity for a type, zone and capacity type ("*" any), with an error code; "" ends it.
  void set_capacity_fault(const std::string& type, const std::string& zone, const std::string& capacity, const std::string& code);
  // The two-minute warning, then termination.
  Status interrupt_spot(const std::string& instance);

  void instance_changed(const std::string& instance_id, machines::InstanceState state, const std::string& reason) override;
  void target_health_changed(const std::vector<machines::TargetHealth>& updates) override;
  std::optional<std::string> instance_metadata(const std::string& instance_id, const std::string& path) override;

 private:
  Context context(Caller caller);
  Output apply(const std::string& service, const std::string& action, const Value& in, const Caller& caller);
  // Commits what the records changed: to the journal's queue; wakes the loop. Returns the place to wait for.
  uint64_t commit();
  Task<void> durable(uint64_t place);
  Task<void> write_journal();
  Task<void> reconcile_loop();
  Task<Status> reconcile();
  // What time alone changes; returns when to look again.
  Time advance();
  void reconcile_instances();
  Task<void> start_one(std::string id, machines::InstanceSpec spec);
  Task<void> stop_one(std::string id, bool remove, bool force);
  Task<void> update_one(machines::InstanceSpec spec);
  Output internal_request(const aws::HttpRequest& request);
  std::string request_id();

  Executor& ex_;
  CloudOptions options_;
  Journal& journal_;
  machines::Substrate& substrate_;
  Records records_;
  Log log_{"cloud"};

  std::string pending_lines_;
  uint64_t queued_ = 0, written_ = 0;
  Event journal_wake_, journal_done_, dirty_, messages_;
  bool dirty_flag_ = true;

  std::optional<machines::NetworkState> applied_network_;
  std::optional<std::vector<machines::LoadBalancerSpec>> applied_load_balancers_;
  std::optional<std::vector<machines::DnsRecord>> applied_dns_;
  std::map<std::string, machines::InstanceSpec> started_;  // as last handed to the substrate
  std::map<std::string, int> start_failures_;
  std::set<std::string> stopping_;
  TaskScope scope_;
};

// The in-process client: for tests, simulations and components in one process with the cloud.
std::unique_ptr<aws::Client> make_in_process_client(Cloud& cloud);

}  // namespace caravel::cloud
