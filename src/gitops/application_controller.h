// The application controller: one reconcile per Application.
//
//   refresh   resolve the target revision and render the manifests (at most every `timeout.reconciliation`,
//             or at once on the refresh annotation or a new spec)
//   compare   each wanted object with the live one; find tracked objects that are no longer wanted
//   operate   an asked-for operation, or automated sync (once per revision; self-heal on drift)
//   sync      wave by wave; a wave must be synced and healthy before the next; prune in reverse
//   report    status: resources, sync, health, history, operationState, conditions, summary
//
// Everything is decided from the Application and the cluster as they are: the controller may die anywhere.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "gitops/cluster.h"
#include "gitops/git_repository.h"
#include "kube/controller.h"
#include "kube/events.h"

namespace caravel::gitops {

struct Settings {
  std::string ns = "argocd";
  std::string cache_directory = "/tmp/argocd";
  Duration poll = std::chrono::seconds(120);  // argocd-cm timeout.reconciliation overrides it
};

class ApplicationController {
 public:
  ApplicationController(Executor& ex, kube::Client client, Settings settings);
  // Until its scope ends.
  Task<void> run(StopToken stop);

 private:
  struct Rendered {
    std::string sha;
    CommitInfo commit;
    std::vector<json::Value> objects;
    Time at;
    std::string source;  // the source it was rendered from
    std::string error;
  };
  struct Row {           // one object of an Application
    json::Value wanted;  // null: no longer wanted (to prune)
    kube::Resource resource;
    std::shared_ptr<const json::Value> live;
    json::Value patch;  // non-empty: out of sync
    std::string problem;
    bool synced() const { return !wanted.is_null() && live && patch.size() == 0 && problem.empty(); }
  };

  Task<Result<kube::Requeue>> reconcile(std::string key);
  Task<Status> refresh(const json::Value& app, Rendered& r, bool hard);
  Task<Result<std::vector<Row>>> compare(const json::Value& app, const Rendered& r);
  // One step of a sync; true when it has come to its end.
  Task<bool> sync_step(const json::Value& app, std::vector<Row>& rows, const Rendered& r, json::Value& state);
  Task<Status> apply_row(const json::Value& app, Row& row, const json::Value& sync, json::Value& results);
  Task<Status> prune_row(Row& row, json::Value& results);  // unless the object asks to stay
  Task<Status> remove_row(Row& row, json::Value& results);
  Task<bool> run_hook(Row& row, const std::string& phase, json::Value& results, bool& failed);
  void report(const json::Value& app, const std::vector<Row>& rows, const Rendered& r, json::Value& status);
  Task<Status> write(const json::Value& app, json::Value status, bool drop_operation, bool drop_refresh);
  Task<Result<kube::Requeue>> finalize(const json::Value& app);
  Duration poll_interval() const;

  Executor& ex_;
  kube::Client client_;
  Settings settings_;
  Log log_{"argocd"};
  kube::EventRecorder events_;
  kube::DynamicInformer applications_, projects_, settings_map_;
  kube::Controller controller_;
  Cluster cluster_;
  std::map<std::string, Rendered> rendered_;  // by Application
  std::map<std::string, std::unique_ptr<GitRepository>> repositories_;
};

}  // namespace caravel::gitops
