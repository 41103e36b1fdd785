#include "gitops/application_controller.h"

#include <algorithm>
#include <set>

#include "base/hash.h"
#include "base/strings.h"
#include "gitops/compare.h"
#include "gitops/health.h"
#include "gitops/manifests.h"
#include "gitops/sync_plan.h"
#include "kube/conditions.h"

namespace caravel::gitops {
namespace {

const kube::Resource kApplications{"argoproj.io", "v1alpha1", "applications", "Application", true};
const kube::Resource kProjects{"argoproj.io", "v1alpha1", "appprojects", "AppProject", true};
const kube::Resource kConfigMaps{"", "v1", "configmaps", "ConfigMap", true};
const kube::Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};
constexpr char kFinalizer[] = "resources-finalizer.argocd.argoproj.io";
constexpr char kRefresh[] = "argocd.argoproj.io/refresh";
constexpr size_t kHistoryDefault = 10;
constexpr Duration kSelfHealTimeout = std::chrono::seconds(5);  // upstream's --self-heal-timeout-seconds
constexpr Duration kStepInterval = std::chrono::milliseconds(500);

kube::InformerOptions in_namespace(const std::string& ns, const std::string& name = "") {
  kube::InformerOptions o;
  o.ns = ns;
  if (!name.empty()) o.field_selector = "metadata.name=" + name;
  return o;
}

std::string group_of(const json::Value& object) {
  const std::string& v = object["apiVersion"].as_string();
  return v.find('/') == v.npos ? "" : v.substr(0, v.find('/'));
}
std::string version_of(const json::Value& object) {
  const std::string& v = object["apiVersion"].as_string();
  return v.find('/') == v.npos ? v : v.substr(v.find('/') + 1);
}

bool is_automated(const json::Value& app) {
  const json::Value& a = app.path({"spec", "syncPolicy", "automated"});
  return a.is_object() && a["enabled"].as_bool(true);
}

bool has_option(const json::Value& app, std::string_view option) {
  for (auto& o : app.path({"spec", "syncPolicy", "syncOptions"}).as_array())
    if (o.as_string() == option) return true;
  return false;
}

bool permitted(const json::Value& list, const std::string& value) {
  for (auto& v : list.as_array())
    if (glob_match(v.as_string(), value)) return true;
  return false;
}

// "" or why the project forbids the Application.
std::string project_forbids(const json::Value& project, const json::Value& app) {
  const json::Value& spec = project["spec"];
  const std::string& name = kube::name_of(project);
  const std::string& repo = app.path({"spec", "source", "repoURL"}).as_string();
  if (!permitted(spec["sourceRepos"], repo)) return "application repo " + repo + " is not permitted in project '" + name + "'";
  const json::Value& to = app.path({"spec", "destination"});
  for (auto& d : spec["destinations"].as_array()) {
    bool server = !d["server"].as_string().empty() ? glob_match(d["server"].as_string(), to["server"].as_string()) : glob_match(d["name"].as_string(), to["name"].as_string());
    if (server && glob_match(d["namespace"].as_string(), to["namespace"].as_string())) return "";
  }
  return "application destination server '" + to["server"].as_string() + "' and namespace '" + to["namespace"].as_string() + "' do not match any of the allowed destinations in project '" + name + "'";
}

json::Value resource_result(const kube::Resource& r, const json::Value& object, const char* status, std::string message) {
  json::Value v = json::Value::object();
  v["group"] = r.group;
  v["version"] = r.version;
  v["kind"] = r.kind;
  v["namespace"] = kube::namespace_of(object);
  v["name"] = kube::name_of(object);
  v["status"] = status;
  v["message"] = std::move(message);
  v["hookPhase"] = "Running";
  v["syncPhase"] = "Sync";
  return v;
}

bool is_result_of(const json::Value& result, const kube::Resource& r, const json::Value& object, const std::string& phase) {
  return result["kind"].as_string() == r.kind && result["group"].as_string() == r.group && result["name"].as_string() == kube::name_of(object) && result["namespace"].as_string() == kube::namespace_of(object) && result["syncPhase"].as_string() == phase;
}

// The result row of an object in a phase, for hooks and for messages; added when absent.
json::Value& result_for(json::Value& results, json::Value fresh) {
  for (auto& r : results.arr()) {
    bool same = true;
    for (auto key : {"kind", "name", "namespace", "group", "syncPhase"}) same = same && std::as_const(r)[key] == std::as_const(fresh)[key];
    if (!same) continue;
    r["status"] = fresh["status"];
    r["message"] = fresh["message"];
    return r;
  }
  results.push_back(std::move(fresh));
  return results.arr().back();
}

}  // namespace

ApplicationController::ApplicationController(Executor& ex, kube::Client client, Settings settings)
    : ex_(ex), client_(client), settings_(std::move(settings)), events_(ex, client, "argocd-application-controller"), applications_(ex, client, kApplications, in_namespace(settings_.ns)), projects_(ex, client, kProjects, in_namespace(settings_.ns)), settings_map_(ex, client, kConfigMaps, in_namespace(settings_.ns, "argocd-cm")), controller_(
                                                                                                                                                                                                                                                                                                                                               ex, "applications", [this](std::string key) { return reconcile(std::move(key)); }, 4),
      cluster_(ex, client, [this](const json::Value& o) {
        const std::string& id = kube::annotation(o, kTrackingAnnotation);
        controller_.enqueue(kube::ObjectKey{settings_.ns, id.substr(0, id.find(':'))});
      }) {}

Task<void> ApplicationController::run(StopToken stop) {
  TaskScope scope;
  applications_.add_handler([this](auto& old, auto& now) { controller_.enqueue(kube::key_of(now ? *now : *old)); });
  projects_.add_handler([this](auto&, auto&) {
    for (auto& [key, app] : applications_.all()) controller_.enqueue(key);
  });
  for (auto* i : {&applications_, &projects_, &settings_map_}) i->start(scope);
  for (auto* i : {&applications_, &projects_, &settings_map_}) co_await i->wait_synced();
  controller_.start(scope);
  co_await stop.wait(ex_);
}

Duration ApplicationController::poll_interval() const {
  if (auto cm = settings_map_.get(settings_.ns, "argocd-cm")) {
    auto d = parse_duration(cm->path({"data", "timeout.reconciliation"}).as_string());
    if (d.ok() && *d > Duration(0)) return *d;
  }
  return settings_.poll;
}

Task<Status> ApplicationController::refresh(const json::Value& app, Rendered& r, bool hard) {
  const json::Value& source = app.path({"spec", "source"});
  std::string text = json::dump_sorted(source);
  Duration interval = poll_interval();
  if (!hard && r.source == text && !r.at.is_zero() && ex_.now() - r.at < interval) co_return r.error.empty() ? ok() : Status(make_error(Code::kUnavailable, r.error));
  r.at = ex_.now();
  std::string url = source["repoURL"].as_string();
  auto& slot = repositories_[url];
  if (!slot) slot = std::make_unique<GitRepository>(url, settings_.cache_directory + "/" + sha256_hex(url).substr(0, 16));
  GitRepository* repository = slot.get();
  std::string revision = source["targetRevision"].as_string();
  std::function<Result<CommitInfo>()> fetch = [repository, revision] { return repository->fetch(revision); };
  auto commit = co_await run_blocking<Result<CommitInfo>>(ex_, std::move(fetch));
  if (!commit.ok()) {
    r.error = "Failed to load target state: failed to generate manifest for source 1 of 1: " + commit.error().message;
    co_return std::move(commit).error();
  }
  if (r.source == text && r.sha == commit->sha && r.error.empty() && !hard) co_return ok();
  std::string sha = commit->sha, path = source["path"].as_string();
  bool recurse = source.path({"directory", "recurse"}).as_bool();
  using Files = std::map<std::string, std::string>;
  std::function<Result<Files>()> read = [repository, sha, path, recurse] { return repository->files(sha, path, recurse); };
  auto files = co_await run_blocking<Result<Files>>(ex_, std::move(read));
  Result<std::vector<json::Value>> objects = std::vector<json::Value>{};
  if (files.ok()) objects = render_directory(*files, source);
  else objects = files.error();
  if (!objects.ok()) {
    r.error = "Failed to load target state: failed to generate manifest for source 1 of 1: " + objects.error().message;
    co_return std::move(objects).error();
  }
  if (r.sha != sha) log_.info("new revision", {{"application", kube::name_of(app)}, {"revision", sha}});
  r.sha = sha;
  r.commit = *commit;
  r.objects = std::move(*objects);
  r.source = text;
  r.error.clear();
  co_return ok();
}

Task<Result<std::vector<ApplicationController::Row>>> ApplicationController::compare(const json::Value& app, const Rendered& r) {
  std::string name = kube::name_of(app), ns = app.path({"spec", "destination", "namespace"}).as_string();
  std::vector<Row> rows;
  std::set<std::string> wanted_ids;
  for (auto& object : r.objects) {
    Row row;
    row.wanted = object;
    auto resource = co_await cluster_.resource_of(object["apiVersion"].as_string(), object["kind"].as_string());
    if (!resource.ok()) {
      if (resource.error().code != Code::kNotFound) co_return std::move(resource).error();
      row.problem = resource.error().message;
      row.resource.kind = object["kind"].as_string();
      row.resource.group = group_of(object);
      row.resource.version = version_of(object);
      prepare_object(row.wanted, name, ns, !kube::namespace_of(object).empty());
    } else {
      row.resource = *resource;
      prepare_object(row.wanted, name, ns, resource->namespaced);
      auto informer = co_await cluster_.watched(*resource);
      if (!informer.ok()) co_return std::move(informer).error();
      row.live = (*informer)->get(kube::key_of(row.wanted));
      if (row.live) row.patch = three_way_patch(last_applied_of(*row.live), row.wanted, *row.live, ignored_pointers(app.path({"spec", "ignoreDifferences"}), row.wanted));
    }
    wanted_ids.insert(tracking_id(name, row.wanted));
    rows.push_back(std::move(row));
  }
  // Kinds that the Application had before are looked at too: their objects may have to go.
  for (auto& old : app.path({"status", "resources"}).as_array()) {
    std::string v = old["group"].as_string().empty() ? old["version"].as_string() : old["group"].as_string() + "/" + old["version"].as_string();
    auto resource = co_await cluster_.resource_of(v, old["kind"].as_string());
    if (resource.ok()) {
      auto informer = co_await cluster_.watched(*resource);
      if (!informer.ok()) co_return std::move(informer).error();
    }
  }
  for (auto& [id, informer] : cluster_.all_watched())
    for (auto& [key, live] : informer->all()) {
      const std::string& tracked = kube::annotation(*live, kTrackingAnnotation);
      if (!tracked.starts_with(name + ":") || wanted_ids.count(tracked)) continue;
      json::Value self = *live;
      if (self["apiVersion"].as_string().empty()) {
        self["apiVersion"] = informer->resource().api_version();
        self["kind"] = informer->resource().kind;
      }
      if (tracking_id(name, self) != tracked) continue;  // a copied annotation does not count
      Row row;
      row.resource = informer->resource();
      row.live = live;
      rows.push_back(std::move(row));
    }
  co_return rows;
}

Task<Status> ApplicationController::apply_row(const json::Value& app, Row& row, const json::Value&, json::Value& results) {
  std::string ns = kube::namespace_of(row.wanted), name = kube::name_of(row.wanted);
  kube::WriteOptions options;
  options.field_manager = "argocd-controller";
  auto live = co_await client_.get(row.resource, ns, name);
  std::string verb = "unchanged";
  Status done = ok();
  if (!live.ok() && live.error().code == Code::kNotFound) {
    json::Value object = with_last_applied(row.wanted);
    auto r = co_await client_.create(row.resource, ns, std::move(object), options);
    if (!r.ok()) done = std::move(r).error();
    verb = "created";
  } else if (!live.ok()) {
    done = std::move(live).error();
  } else {
    json::Value annotated = with_last_applied(row.wanted);
    json::Value patch = three_way_patch(last_applied_of(*live), annotated, *live);
    bool replace = has_sync_option(row.wanted, "Replace=true") || has_option(app, "Replace=true");
    if (replace && patch.size()) {
      json::Value object = annotated;
      object["metadata"]["resourceVersion"] = (*live)["metadata"]["resourceVersion"];
      auto r = co_await client_.update(row.resource, std::move(object), options);
      if (!r.ok()) done = std::move(r).error();
      verb = "replaced";
    } else if (patch.size()) {
      auto r = co_await client_.patch(row.resource, ns, name, kube::PatchType::kMerge, std::move(patch), options);
      if (!r.ok()) done = std::move(r).error();
      verb = "configured";
    }
  }
  std::string title = row.resource.group.empty() ? to_lower(row.resource.kind) : to_lower(row.resource.kind) + "." + row.resource.group;
  if (done.ok()) result_for(results, resource_result(row.resource, row.wanted, "Synced", title + "/" + name + " " + verb));
  else result_for(results, resource_result(row.resource, row.wanted, "SyncFailed", done.error().message));
  co_return done;
}

Task<Status> ApplicationController::prune_row(Row& row, json::Value& results) {
  if (has_sync_option(*row.live, "Prune=false")) {
    result_for(results, resource_result(row.resource, *row.live, "PruneSkipped", "ignored (no prune)"));
    co_return ok();
  }
  co_return co_await remove_row(row, results);
}

Task<Status> ApplicationController::remove_row(Row& row, json::Value& results) {
  kube::DeleteOptions options;
  options.propagation_policy = "Foreground";
  std::string ns = kube::namespace_of(*row.live), name = kube::name_of(*row.live);
  auto r = co_await client_.remove(row.resource, ns, name, options);
  if (!r.ok() && r.error().code != Code::kNotFound) {
    result_for(results, resource_result(row.resource, *row.live, "SyncFailed", r.error().message));
    co_return std::move(r).error();
  }
  result_for(results, resource_result(row.resource, *row.live, "Pruned", "pruned"));
  co_return ok();
}

Task<bool> ApplicationController::run_hook(Row& row, const std::string& phase, json::Value& results, bool& failed) {
  std::string ns = kube::namespace_of(row.wanted), name = kube::name_of(row.wanted);
  kube::DeleteOptions with_dependents;  // Jobs would leave their pods
  with_dependents.propagation_policy = "Foreground";
  // A hook has one result in each of its phases. Looked up again after each wait: the list may have grown.
  auto mine = [&](std::string message) -> json::Value& {
    json::Value fresh = resource_result(row.resource, row.wanted, "Synced", std::move(message));
    fresh["hookType"] = phase;
    fresh["syncPhase"] = phase;
    return result_for(results, std::move(fresh));
  };
  for (auto& done : std::as_const(results).as_array())
    if (is_result_of(done, row.resource, row.wanted, phase) && done["hookPhase"].as_string() == "Succeeded") co_return true;  // it may be deleted by now
  if (!mine("")["started"].as_bool()) {
    // BeforeHookCreation is the default: what an earlier run left goes first.
    auto gone = co_await client_.remove(row.resource, ns, name, with_dependents);
    if (gone.ok()) co_return false;
    auto made = co_await client_.create(row.resource, ns, row.wanted);
    if (!made.ok()) {
      if (made.error().code == Code::kAlreadyExists) co_return false;
      mine(made.error().message)["hookPhase"] = "Failed";
      failed = true;
      co_return true;
    }
    mine("")["started"] = true;
    co_return false;
  }
  auto live = co_await client_.get(row.resource, ns, name);
  Health h = live.ok() ? health_of(*live) : Health{"Degraded", "the hook is gone"};
  bool runs_to_end = row.resource.kind == "Job" || row.resource.kind == "Pod";
  if (h.status == "Degraded") {
    mine(h.message)["hookPhase"] = "Failed";
    failed = true;
    co_return true;
  }
  if (h.status == "Healthy" || (h.status.empty() && !runs_to_end)) {
    mine(h.message)["hookPhase"] = "Succeeded";
    bool drop = kube::annotation(row.wanted, "argocd.argoproj.io/hook-delete-policy").find("HookSucceeded") != std::string::npos;
    if (drop) {
      auto removed = co_await client_.remove(row.resource, ns, name, with_dependents);
      (void)removed;
    }
    co_return true;
  }
  co_return false;
}

Task<bool> ApplicationController::sync_step(const json::Value& app, std::vector<Row>& rows, const Rendered& r, json::Value& state) {
  json::Value& results = state["syncResult"]["resources"];
  if (results.is_null()) results = json::Value::array();
  const json::Value sync = state["operation"]["sync"];
  bool prune = sync["prune"].as_bool();
  auto fail = [&](std::string message) {
    state["phase"] = "Failed";
    state["message"] = std::move(message);
  };
  if (has_option(app, "CreateNamespace=true")) {
    std::string ns = app.path({"spec", "destination", "namespace"}).as_string();
    json::Value namespace_object = json::Value::object();
    namespace_object["apiVersion"] = "v1";
    namespace_object["kind"] = "Namespace";
    namespace_object["metadata"]["name"] = ns;
    auto made = co_await client_.create(kNamespaces, "", std::move(namespace_object));
    if (!made.ok() && made.error().code != Code::kAlreadyExists) {
      fail("namespaces: " + made.error().message);
      co_return true;
    }
  }
  std::vector<json::Value> wanted;
  std::map<std::string, Row*> by_id;
  for (auto& row : rows)
    if (!row.wanted.is_null()) {
      wanted.push_back(row.wanted);
      by_id[tracking_id("", row.wanted)] = &row;
    }
  auto plan = plan_sync(wanted);
  static const char* kPhaseNames[] = {"PreSync", "Sync", "PostSync", "SyncFail", "Skip"};
  for (size_t i = 0; i < plan.size();) {
    // One wave: equal phase and wave number.
    size_t end = i;
    while (end < plan.size() && plan[end].phase == plan[i].phase && plan[end].wave == plan[i].wave) ++end;
    if (plan[i].phase == Phase::kSyncFail) break;
    std::string waiting;
    for (size_t k = i; k < end; ++k) {
      Row& row = *by_id[tracking_id("", *plan[k].object)];
      if (plan[k].hook) {
        bool failed = false;
        bool ended = co_await run_hook(row, kPhaseNames[static_cast<int>(plan[k].phase)], results, failed);
        if (failed) {
          fail("one or more synchronization tasks completed unsuccessfully, reason: hook " + kube::name_of(row.wanted) + " failed");
          co_return true;
        }
        if (!ended) waiting = "waiting for completion of hook " + row.resource.group + "/" + row.resource.kind + "/" + kube::name_of(row.wanted);
        continue;
      }
      if (!row.problem.empty() && row.resource.plural.empty()) {
        // The definition may have been applied in this very sync.
        auto resource = co_await cluster_.resource_of(row.wanted["apiVersion"].as_string(), row.wanted["kind"].as_string());
        if (!resource.ok()) {
          result_for(results, resource_result(row.resource, row.wanted, "SyncFailed", row.problem));
          fail("one or more objects failed to apply, reason: " + row.problem);
          co_return true;
        }
        row.resource = *resource;
        row.problem.clear();
      }
      if (!row.synced()) {
        auto applied = co_await apply_row(app, row, sync, results);
        if (!applied.ok()) {
          if (applied.error().code == Code::kUnavailable || applied.error().code == Code::kConflict) co_return false;
          fail("one or more objects failed to apply, reason: " + applied.error().message);
          co_return true;
        }
        auto informer = co_await cluster_.watched(row.resource);
        (void)informer;
      } else {
        result_for(results, resource_result(row.resource, row.wanted, "Synced", to_lower(row.resource.kind) + (row.resource.group.empty() ? "" : "." + row.resource.group) + "/" + kube::name_of(row.wanted) + " unchanged"));
      }
      if (end < plan.size()) {
        auto live = co_await client_.get(row.resource, kube::namespace_of(row.wanted), kube::name_of(row.wanted));
        if (live.ok()) {
          Health h = health_of(*live);
          if (h.status == "Progressing" || h.status == "Missing") waiting = "waiting for healthy state of " + row.resource.group + "/" + row.resource.kind + "/" + kube::name_of(row.wanted);
          if (h.status == "Degraded" && plan[i].phase == Phase::kSync && plan[end].phase == Phase::kPostSync) {
            fail("one or more synchronization tasks completed unsuccessfully");
            co_return true;
          }
        }
      }
    }
    // Without a later wave or phase there is nothing to wait for.
    if (!waiting.empty()) {
      state["message"] = waiting;
      co_return false;
    }
    i = end;
  }
  std::vector<json::Value> unwanted;
  std::map<std::string, Row*> unwanted_by_id;
  for (auto& row : rows)
    if (row.wanted.is_null()) {
      json::Value self = *row.live;
      self["apiVersion"] = row.resource.api_version();
      self["kind"] = row.resource.kind;
      unwanted_by_id[tracking_id("", self)] = &row;
      unwanted.push_back(std::move(self));
    }
  std::string leaving;
  int wave = 0;
  for (auto& item : plan_prune(unwanted)) {
    Row& row = *unwanted_by_id[tracking_id("", *item.object)];
    if (!leaving.empty() && item.wave != wave) {  // a wave is gone before the one below it goes
      state["message"] = "waiting for deletion of " + leaving;
      co_return false;
    }
    wave = item.wave;
    if (prune && !has_sync_option(*row.live, "Prune=false")) leaving = row.resource.group + "/" + row.resource.kind + "/" + kube::name_of(*row.live);
    if (kube::is_deleting(*row.live)) continue;
    if (!prune) {
      result_for(results, resource_result(row.resource, *row.live, "PruneSkipped", "ignored (requires pruning)"));
      continue;
    }
    auto pruned = co_await prune_row(row, results);
    if (!pruned.ok()) {
      fail("one or more objects failed to prune: " + pruned.error().message);
      co_return true;
    }
  }
  (void)r;
  state["phase"] = "Succeeded";
  state["message"] = "successfully synced (all tasks run)";
  co_return true;
}

void ApplicationController::report(const json::Value& app, const std::vector<Row>& rows, const Rendered& r, json::Value& status) {
  json::Value resources = json::Value::array();
  bool in_sync = true;
  std::string health = "Healthy";
  std::set<std::string> images, urls;
  for (auto& row : rows) {
    const json::Value& object = row.wanted.is_null() ? *row.live : row.wanted;
    if (is_hook(object)) continue;
    json::Value v = json::Value::object();
    if (!row.resource.group.empty()) v["group"] = row.resource.group;
    v["version"] = row.resource.version;
    v["kind"] = row.resource.kind;
    if (!kube::namespace_of(object).empty()) v["namespace"] = kube::namespace_of(object);
    v["name"] = kube::name_of(object);
    v["status"] = row.synced() ? "Synced" : "OutOfSync";
    bool extraneous = row.wanted.is_null() && has_compare_option(object, "IgnoreExtraneous");
    in_sync = in_sync && (row.synced() || extraneous);
    if (row.wanted.is_null()) v["requiresPruning"] = true;
    Health h = row.live ? health_of(*row.live) : Health{"Missing", ""};
    if (!h.status.empty()) {
      v["health"]["status"] = h.status;
      if (!h.message.empty()) v["health"]["message"] = h.message;
      if (!row.wanted.is_null()) health = worse(health, h.status);
    }
    if (row.live) {
      for (auto list : {"containers", "initContainers"})
        for (auto& c : row.live->path({"spec", "template", "spec", list}).as_array()) images.insert(c["image"].as_string());
      if (row.resource.kind == "Ingress")
        for (auto& rule : row.live->path({"spec", "rules"}).as_array())
          if (!rule["host"].as_string().empty()) urls.insert((row.live->path({"spec", "tls"}).size() ? "https://" : "http://") + rule["host"].as_string() + "/");
    }
    resources.push_back(std::move(v));
  }
  std::string before = status["sync"]["status"].as_string();
  status["resources"] = std::move(resources);
  status["sync"]["status"] = in_sync ? "Synced" : "OutOfSync";
  status["sync"]["revision"] = r.sha;
  status["sync"]["comparedTo"]["source"] = app.path({"spec", "source"});
  status["sync"]["comparedTo"]["destination"] = app.path({"spec", "destination"});
  if (status["health"]["status"].as_string() != health) {
    status["health"]["status"] = health;
    status["health"]["lastTransitionTime"] = format_rfc3339(ex_.now());
  }
  status["sourceType"] = "Directory";
  status["controllerNamespace"] = settings_.ns;
  json::Value summary = json::Value::object();
  for (auto& i : images) summary["images"].push_back(i);
  for (auto& u : urls) summary["externalURLs"].push_back(u);
  status["summary"] = std::move(summary);
  if (before != status["sync"]["status"].as_string())
    events_.normal(kube::reference_to(app), "ResourceUpdated", "Updated sync status: " + (before.empty() ? std::string("") : before) + " -> " + status["sync"]["status"].as_string());
}

Task<Status> ApplicationController::write(const json::Value& app, json::Value status, bool drop_operation, bool drop_refresh) {
  json::Value patch = json::Value::object();
  const json::Value& old = app["status"];
  for (auto& m : status.as_object())
    if (!(old[m.key] == m.value)) {
      // A merge patch merges objects: what is gone inside must be said.
      json::Value v = m.value;
      if (v.is_object())
        for (auto& o : old[m.key].as_object())
          if (!v.find(o.key)) v[o.key] = nullptr;
      patch["status"][m.key] = std::move(v);
    }
  for (auto& m : old.as_object())
    if (!status.find(m.key)) patch["status"][m.key] = nullptr;
  if (drop_operation) patch["operation"] = nullptr;
  if (drop_refresh) patch["metadata"]["annotations"][kRefresh] = nullptr;
  if (patch.size() == 0) co_return ok();
  std::string ns = kube::namespace_of(app), name = kube::name_of(app);
  auto r = co_await client_.patch(kApplications, ns, name, kube::PatchType::kMerge, std::move(patch));
  if (!r.ok()) co_return std::move(r).error();
  co_return ok();
}

Task<Result<kube::Requeue>> ApplicationController::finalize(const json::Value& app) {
  if (!kube::has_finalizer(app, kFinalizer)) co_return kube::Requeue::never();
  Rendered nothing;
  auto rows = co_await compare(app, nothing);
  if (!rows.ok()) co_return std::move(rows).error();
  json::Value results = json::Value::array();
  bool left = false;
  for (auto& row : *rows) {
    json::Value self = *row.live;
    self["kind"] = row.resource.kind;
    if (!deleted_with_application(self)) continue;
    left = true;
    if (!kube::is_deleting(*row.live)) CO_TRY_VOID(co_await remove_row(row, results));
  }
  if (left) co_return kube::Requeue::in(1s);
  json::Value kept = json::Value::array();
  for (auto& f : app["metadata"]["finalizers"].as_array())
    if (f.as_string() != kFinalizer) kept.push_back(f);
  json::Value patch = json::Value::object();
  patch["metadata"]["finalizers"] = std::move(kept);
  std::string ns = kube::namespace_of(app), name = kube::name_of(app);
  auto r = co_await client_.patch(kApplications, ns, name, kube::PatchType::kMerge, std::move(patch));
  if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
  co_return kube::Requeue::never();
}

Task<Result<kube::Requeue>> ApplicationController::reconcile(std::string key) {
  auto cached = applications_.get(kube::ObjectKey::parse(key));
  if (!cached) {
    rendered_.erase(key);
    co_return kube::Requeue::never();
  }
  const json::Value& app = *cached;
  if (kube::is_deleting(app)) co_return co_await finalize(app);
  json::Value status = app["status"].is_object() ? app["status"] : json::Value::object();
  Rendered& r = rendered_[key];
  bool asked = !kube::annotation(app, kRefresh).empty();
  json::Value conditions = json::Value::array();
  auto condition = [&](const char* type, std::string message) {
    json::Value c = json::Value::object();
    c["type"] = type;
    c["message"] = std::move(message);
    // The time stays while the message does.
    for (auto& old : app.path({"status", "conditions"}).as_array())
      if (old["type"].as_string() == type && old["message"] == c["message"]) c["lastTransitionTime"] = old["lastTransitionTime"];
    if (!c.find("lastTransitionTime")) c["lastTransitionTime"] = format_rfc3339(ex_.now());
    conditions.push_back(std::move(c));
  };
  kube::Requeue requeue = kube::Requeue::in(poll_interval());

  std::string project = app.path({"spec", "project"}).as_string();
  auto project_object = projects_.get(settings_.ns, project.empty() ? "default" : project);
  std::string forbidden = project_object ? project_forbids(*project_object, app) : "Application referencing project " + project + " which does not exist";
  auto refreshed = forbidden.empty() ? Status(ok()) : Status(invalid(forbidden));
  if (!forbidden.empty()) condition("InvalidSpecError", forbidden);
  else refreshed = co_await refresh(app, r, asked);
  if (!refreshed.ok()) {
    if (forbidden.empty()) condition("ComparisonError", r.error);
    status["conditions"] = std::move(conditions);
    status["sync"]["status"] = "Unknown";
    status["health"]["status"] = status["health"]["status"].is_string() ? status["health"]["status"].as_string() : "Unknown";
    CO_TRY_VOID(co_await write(app, std::move(status), false, asked));
    co_return kube::Requeue::in(std::min<Duration>(poll_interval(), 10s));
  }
  auto rows = co_await compare(app, r);
  if (!rows.ok()) co_return std::move(rows).error();
  report(app, *rows, r, status);

  // An operation: asked for, under way, or decided here.
  json::Value state = status["operationState"];
  bool running = state["phase"].as_string() == "Running";
  bool drop_operation = false;
  const json::Value& operation = app["operation"];
  if (operation.is_object()) {
    state = json::Value::object();
    state["operation"] = operation;
    state["phase"] = "Running";
    state["startedAt"] = format_rfc3339(ex_.now());
    drop_operation = true;
    running = true;
  } else if (!running && is_automated(app) && status["sync"]["status"].as_string() == "OutOfSync") {
    const json::Value& automated = app.path({"spec", "syncPolicy", "automated"});
    bool prune = automated["prune"].as_bool();
    bool tried = state.path({"syncResult", "revision"}).as_string() == r.sha && state.path({"syncResult", "source"}) == app.path({"spec", "source"});
    bool nothing_to_do = true, all_gone = r.objects.empty();
    for (auto& row : *rows)
      if (!row.synced() && (!row.wanted.is_null() || (prune && !has_sync_option(*row.live, "Prune=false")))) nothing_to_do = false;
    bool heal = automated["selfHeal"].as_bool() && state["phase"].as_string() == "Succeeded";
    // Not at once after a sync: what comes back after each one would keep the controller syncing.
    auto finished = parse_rfc3339(state["finishedAt"].as_string());
    if (heal && tried && finished.ok() && ex_.now() - *finished < kSelfHealTimeout) {
      heal = false;
      requeue = kube::Requeue::in(kSelfHealTimeout);
    }
    if (all_gone && !automated["allowEmpty"].as_bool()) {
      condition("SyncError", "Skipping sync attempt to " + r.sha + ": auto-sync will wipe out all resources");
    } else if (nothing_to_do) {
      // Nothing that automated sync may do.
    } else if (tried && !heal && state["phase"].as_string() != "Succeeded") {
      condition("SyncError", "Failed last sync attempt to [" + r.sha + "]: " + state["message"].as_string());
    } else if (!tried || heal) {
      state = json::Value::object();
      state["operation"]["sync"]["revision"] = r.sha;
      state["operation"]["sync"]["prune"] = prune;
      state["operation"]["initiatedBy"]["automated"] = true;
      state["phase"] = "Running";
      state["startedAt"] = format_rfc3339(ex_.now());
      events_.normal(kube::reference_to(app), "OperationStarted", "Initiated automated sync to '" + r.sha + "'");
      running = true;
    }
  }
  if (running) {
    state["syncResult"]["revision"] = r.sha;
    state["syncResult"]["source"] = app.path({"spec", "source"});
    bool ended = co_await sync_step(app, *rows, r, state);
    if (ended) {
      state["finishedAt"] = format_rfc3339(ex_.now());
      for (auto& res : state["syncResult"]["resources"].arr()) {
        res.erase("started");
        if (std::as_const(res)["hookType"].is_null()) res["hookPhase"] = state["phase"].as_string() == "Succeeded" ? "Succeeded" : "Running";
      }
      bool good = state["phase"].as_string() == "Succeeded";
      std::string message = good ? "Sync operation to " + r.sha + " succeeded" : "Sync operation to " + r.sha + " failed: " + state["message"].as_string();
      log_.info(message, {{"application", kube::name_of(app)}});
      if (good) {
        events_.normal(kube::reference_to(app), "OperationCompleted", message);
        json::Value entry = json::Value::object();
        entry["revision"] = r.sha;
        entry["deployedAt"] = state["finishedAt"];
        entry["deployStartedAt"] = state["startedAt"];
        entry["source"] = app.path({"spec", "source"});
        json::Value& history = status["history"];
        if (history.is_null()) history = json::Value::array();
        entry["id"] = history.size() ? std::as_const(history).at(history.size() - 1)["id"].as_int() + 1 : 0;
        entry["initiatedBy"] = state.path({"operation", "initiatedBy"}).is_object() ? state.path({"operation", "initiatedBy"}) : json::Value::object();
        history.push_back(std::move(entry));
        size_t limit = static_cast<size_t>(app.path({"spec", "revisionHistoryLimit"}).as_int(static_cast<int64_t>(kHistoryDefault)));
        while (history.size() > limit) history.arr().erase(history.arr().begin());
      } else {
        events_.warning(kube::reference_to(app), "OperationCompleted", message);
      }
      requeue = kube::Requeue::in(kStepInterval);
    } else {
      requeue = kube::Requeue::in(kStepInterval);
    }
    status["operationState"] = std::move(state);
  }
  bool changed = !(app["status"] == status) || asked || drop_operation;
  if (conditions.size()) status["conditions"] = std::move(conditions);
  else status.erase("conditions");
  if (changed) status["reconciledAt"] = format_rfc3339(ex_.now());
  CO_TRY_VOID(co_await write(app, std::move(status), drop_operation, asked));
  co_return requeue;
}

}  // namespace caravel::gitops
