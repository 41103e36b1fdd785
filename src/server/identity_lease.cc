#include "server/identity_lease.h"

#include "apiserver/object_meta.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/strings.h"

namespace caravel::server {

namespace {

constexpr const char* kNamespace = "kube-system";
constexpr const char* kLabel = "apiserver.kubernetes.io/identity";
constexpr const char* kServer = "kube-apiserver";

const kube::Resource& leases() {
  static const kube::Resource r{"coordination.k8s.io", "v1", "leases", "Lease", true};
  return r;
}

// RFC 4648 without padding, in lower case.
std::string base32_lower(std::string_view bytes) {
  static const char kDigits[] = "abcdefghijklmnopqrstuvwxyz234567";
  std::string out;
  uint32_t bits = 0;
  int have = 0;
  for (unsigned char c : bytes) {
    bits = bits << 8 | c;
    for (have += 8; have >= 5; have -= 5) out += kDigits[bits >> (have - 5) & 31];
  }
  if (have > 0) out += kDigits[bits << (5 - have) & 31];
  return out;
}

Task<Status> renew(Executor& ex, kube::Client& client, const std::string& hostname, const std::string& holder) {
  const std::string name = identity_lease_name(hostname);
  Result<json::Value> got = co_await client.get(leases(), kNamespace, name);
  if (!got.ok() && got.error().code != Code::kNotFound) co_return std::move(got).error();
  const bool fresh = !got.ok();
  json::Value before;
  if (!fresh) before = std::move(*got);
  json::Value lease = renewed_identity(before, hostname, holder, ex.now());
  Result<json::Value> wrote = json::Value();
  if (fresh) wrote = co_await client.create(leases(), kNamespace, std::move(lease));
  else wrote = co_await client.update(leases(), std::move(lease));
  if (!wrote.ok()) co_return std::move(wrote).error();
  co_return ok();
}

}  // namespace

std::string identity_lease_name(const std::string& hostname) { return "apiserver-" + base32_lower(sha256(hostname).substr(0, 16)); }

json::Value renewed_identity(const json::Value& before, const std::string& hostname, const std::string& holder, Time now) {
  json::Value lease = before;
  lease["apiVersion"] = "coordination.k8s.io/v1";
  lease["kind"] = "Lease";
  lease["metadata"]["name"] = identity_lease_name(hostname);
  lease["metadata"]["namespace"] = kNamespace;
  lease["metadata"]["labels"][kLabel] = kServer;
  lease["metadata"]["labels"]["kubernetes.io/hostname"] = hostname;
  lease["spec"]["holderIdentity"] = holder;
  lease["spec"]["leaseDurationSeconds"] = std::chrono::duration_cast<std::chrono::seconds>(kIdentityLease).count();
  lease["spec"]["renewTime"] = format_rfc3339_micro(now);
  return lease;
}

bool identity_expired(const json::Value& lease, Time now) {
  const json::Value& spec = lease["spec"];
  auto renewed = parse_rfc3339(spec["renewTime"].as_string());
  if (!renewed.ok() || !spec["leaseDurationSeconds"].is_int()) return true;
  return *renewed + Duration(std::chrono::seconds(spec["leaseDurationSeconds"].as_int())) < now;
}

Task<void> keep_identity(Executor& ex, kube::Client client, std::string hostname) {
  Log log("identity-lease");
  const std::string holder = identity_lease_name(hostname) + "_" + apiserver::new_uid(ex);
  for (;;) {
    Status s = co_await renew(ex, client, hostname, holder);
    if (!s.ok()) log.warn("the lease of this server was not renewed; it is tried again", {{"error", s.error().message}});
    co_await sleep(ex, kIdentityRenewal);
  }
}

Task<void> collect_identities(Executor& ex, kube::Client client) {
  Log log("identity-lease");
  for (;;) {
    co_await sleep(ex, kIdentityCollection);
    kube::ListOptions which;
    which.ns = kNamespace;
    which.label_selector = std::string(kLabel) + "=" + kServer;
    Result<kube::ListResult<json::Value>> all = co_await client.list(leases(), std::move(which));
    if (!all.ok()) {
      log.warn("cannot list the servers' leases", {{"error", all.error().message}});
      continue;
    }
    for (const json::Value& lease : all->items) {
      if (!identity_expired(lease, ex.now())) continue;
      kube::DeleteOptions options;
      options.uid = lease["metadata"]["uid"].as_string();
      options.resource_version = lease["metadata"]["resourceVersion"].as_string();  // not one that was renewed meanwhile
      std::string name = lease["metadata"]["name"].as_string();
      Result<json::Value> gone = co_await client.remove(leases(), kNamespace, name, std::move(options));
      if (!gone.ok() && gone.error().code != Code::kNotFound) log.warn("cannot collect a server's lease", {{"lease", name}, {"error", gone.error().message}});
    }
  }
}

}  // namespace caravel::server
