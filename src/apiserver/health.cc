#include "apiserver/health.h"

#include <algorithm>

#include "apiserver/status.h"

namespace caravel::apiserver {

namespace {

struct Check {
  std::string_view name;
  bool at_start;    // passes once the server has started
  bool ready_only;  // of /readyz alone
};

// What this server does; upstream's further hooks have no counterpart here. A request that is answered at
// all proves ping and log; the store was opened before the server listens, and it ends with it.
constexpr Check kChecks[] = {
    {"ping", false, false},
    {"log", false, false},
    {"etcd", false, false},
    {"informer-sync", true, true},
    // The plugins of admission and the caches that they and the authorizers read.
    {"poststarthook/start-apiserver-admission-initializer", true, false},
    {"poststarthook/generic-apiserver-start-informers", true, false},
    {"poststarthook/storage-readiness", true, false},
    // Stored CRDs are served.
    {"poststarthook/start-apiextensions-informers", true, false},
    {"poststarthook/start-apiextensions-controllers", true, false},
    {"poststarthook/crd-informer-synced", true, false},
    {"poststarthook/start-system-namespaces-controller", true, false},
    {"poststarthook/start-service-ip-repair-controllers", true, false},
    {"poststarthook/rbac/bootstrap-roles", true, false},
    {"poststarthook/scheduling/bootstrap-system-priority-classes", true, false},
    {"poststarthook/bootstrap-controller", true, false},
    // The ConfigMap extension-apiserver-authentication is written.
    {"poststarthook/start-cluster-authentication-info-controller", true, false},
    // The aggregator: APIServices of what is served here, those of others and their availability, their OpenAPI.
    {"poststarthook/start-kube-aggregator-informers", true, false},
    {"poststarthook/apiservice-registration-controller", true, false},
    {"poststarthook/apiservice-status-local-available-controller", true, false},
    {"poststarthook/apiservice-status-remote-available-controller", true, false},
    {"poststarthook/kube-apiserver-autoregistration", true, false},
    {"autoregister-completion", true, false},
    {"poststarthook/apiservice-openapi-controller", true, false},
};

Response text(int status, std::string body) {
  Response res;
  res.status = status;
  res.content_type = "text/plain; charset=utf-8";
  res.body = std::make_shared<const std::string>(std::move(body));
  res.headers.emplace_back("X-Content-Type-Options", "nosniff");
  return res;
}

}  // namespace

std::optional<Response> serve_health(const Request& r, bool ready, const HealthChecks& more, const HealthResults& told) {
  std::string_view which;
  for (std::string_view w : {"healthz", "livez", "readyz"})
    if (r.path.compare(1, w.size(), w) == 0 && (r.path.size() == w.size() + 1 || r.path[w.size() + 1] == '/')) which = w;
  if (which.empty()) return std::nullopt;
  std::string one = r.path.size() > which.size() + 2 ? r.path.substr(which.size() + 2) : "";
  std::vector<std::string> excluded;
  for (auto& [k, v] : r.query)
    if (k == "exclude") excluded.push_back(v);
  std::vector<std::pair<std::string, Status>> checks;
  for (const Check& c : kChecks) {
    if (c.ready_only && which != "readyz") continue;
    checks.emplace_back(c.name, ready || !c.at_start ? ok() : unavailable("not finished"));
  }
  for (auto& [name, check] : more) checks.emplace_back(name, check());
  if (told)
    for (auto& [name, result] : checks)
      if (one.empty() || name == one) told(which, name, result.ok() ? "success" : ready ? "error"
                                                                                        : "pending");
  std::string report;
  bool failed = false;
  for (auto& [name, result] : checks) {
    if (!one.empty()) {
      if (name != one) continue;
      return result.ok() ? text(200, "ok") : text(500, "internal server error: " + result.error().message + "\n");
    }
    if (auto it = std::find(excluded.begin(), excluded.end(), name); it != excluded.end()) {
      excluded.erase(it);
      report += "[+]" + name + " excluded: ok\n";
    } else if (result.ok()) {
      report += "[+]" + name + " ok\n";
    } else {
      failed = true;
      report += "[-]" + name + " failed: reason withheld\n";
    }
  }
  if (!one.empty()) return error_response(status::no_such_path());
  if (!excluded.empty()) {
    std::string names;
    for (auto& e : excluded) names += (names.empty() ? "" : ",") + ("\"" + e + "\"");
    report += "warn: some health checks cannot be excluded: no matches for " + names + "\n";
  }
  if (failed) return text(500, report + std::string(which) + " check failed\n");
  if (!r.param("verbose")) return text(200, "ok");
  return text(200, report + std::string(which) + " check passed\n");
}

}  // namespace caravel::apiserver
