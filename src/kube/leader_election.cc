#include "kube/leader_election.h"

#include <algorithm>

#include "base/log.h"

namespace caravel::kube {

namespace {

// client-go adds up to this share of the retry period so that candidates do not march in step.
constexpr double kJitter = 1.2;

const Resource& leases() {
  static const Resource r{"coordination.k8s.io", "v1", "leases", "Lease", true};
  return r;
}

struct Elector {
  Executor* ex;
  Client client;
  LeaderElectionOptions o;
  Log log{"leader-election"};
  // The record as last seen and when it last changed by our own clock: other clocks are not trusted.
  std::string seen;
  Time seen_at;
  Duration seen_lease{};
  std::string holder;

  void observe(const json::Value& lease) {
    const json::Value& spec = lease["spec"];
    holder = spec["holderIdentity"].as_string();
    seen_lease = std::chrono::seconds(spec["leaseDurationSeconds"].as_int());
    std::string record = json::dump_sorted(spec);
    if (record != seen) {
      seen = std::move(record);
      seen_at = ex->now();
    }
  }

  json::Value spec(const std::string& identity, int64_t seconds, const json::Value& before) const {
    std::string now = format_rfc3339_micro(ex->now());
    json::Value s = json::Value::object();
    bool same = before["holderIdentity"].as_string() == identity;
    s["holderIdentity"] = identity;
    s["leaseDurationSeconds"] = seconds;
    s["acquireTime"] = same && before["acquireTime"].is_string() ? before["acquireTime"] : json::Value(now);
    s["renewTime"] = now;
    int64_t transitions = before["leaseTransitions"].as_int();
    s["leaseTransitions"] = same || before.is_null() ? transitions : transitions + 1;
    return s;
  }

  // True when we hold the lease now.
  static Task<bool> try_once(Elector* self) {
    int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(self->o.lease).count();
    Result<json::Value> got = co_await self->client.get(leases(), self->o.ns, self->o.name);
    if (!got.ok()) {
      if (got.error().code != Code::kNotFound) {
        self->log.debug("the lease cannot be read", {{"lease", self->o.name}, {"error", got.error().message}});
        co_return false;
      }
      json::Value lease = json::Value::object();
      lease["apiVersion"] = "coordination.k8s.io/v1";
      lease["kind"] = "Lease";
      lease["metadata"]["name"] = self->o.name;
      lease["metadata"]["namespace"] = self->o.ns;
      lease["spec"] = self->spec(self->o.identity, seconds, json::Value());
      Result<json::Value> made = co_await self->client.create(leases(), self->o.ns, std::move(lease));
      if (!made.ok()) {
        if (made.error().code != Code::kAlreadyExists)
          self->log.warn("the lease cannot be created", {{"lease", self->o.name}, {"error", made.error().message}});
        co_return false;
      }
      self->observe(*made);
      co_return true;
    }
    json::Value lease = std::move(*got);
    self->observe(lease);
    if (!self->holder.empty() && self->holder != self->o.identity && self->seen_at + self->seen_lease > self->ex->now()) co_return false;
    json::Value before = lease["spec"];
    lease["spec"] = self->spec(self->o.identity, seconds, before);
    Result<json::Value> r = co_await self->client.update(leases(), std::move(lease));
    if (!r.ok()) {
      self->log.debug("the lease was not taken", {{"lease", self->o.name}, {"error", r.error().message}});
      co_return false;
    }
    self->observe(*r);
    co_return true;
  }

  static Task<void> release(Elector* self) {
    Result<json::Value> got = co_await self->client.get(leases(), self->o.ns, self->o.name);
    if (!got.ok()) co_return;
    json::Value lease = std::move(*got);
    json::Value before = lease["spec"];
    if (before["holderIdentity"].as_string() != self->o.identity) co_return;
    std::string now = format_rfc3339_micro(self->ex->now());
    json::Value& s = lease["spec"];
    s["holderIdentity"] = "";
    s["leaseDurationSeconds"] = 1;
    s["renewTime"] = now;
    s["acquireTime"] = now;
    Result<json::Value> r = co_await self->client.update(leases(), std::move(lease));
    if (!r.ok()) self->log.debug("the lease was not released", {{"lease", self->o.name}, {"error", r.error().message}});
  }
};

Task<void> run_lead(std::function<Task<void>(StopToken)>* lead, StopToken token, Event* ended) {
  co_await (*lead)(token);
  ended->set();
}

}  // namespace

Task<void> run_with_leader_election(Executor& ex, Client client, LeaderElectionOptions options, StopToken stop,
                                    std::function<Task<void>(StopToken lost)> lead) {
  Elector e{&ex, std::move(client), std::move(options)};
  while (!stop.stopped()) {
    bool held = co_await Elector::try_once(&e);
    if (!held) {
      Duration pause = e.o.retry + Duration(static_cast<int64_t>(static_cast<double>(e.o.retry.count()) * kJitter * ex.random_unit()));
      co_await stop.sleep(ex, pause);
      continue;
    }
    e.log.info("became leader", {{"lease", e.o.ns + "/" + e.o.name}, {"identity", e.o.identity}});
    StopSource lost(ex);
    Event ended(ex);
    TaskScope scope;
    Time renewed = ex.now();
    scope.spawn(run_lead(&lead, lost.token(), &ended));
    while (!stop.stopped() && !ended.is_set()) {
      bool stopping = co_await stop.sleep(ex, e.o.retry);
      if (stopping) break;
      bool ok = co_await Elector::try_once(&e);
      if (ok) renewed = ex.now();
      bool other = !e.holder.empty() && e.holder != e.o.identity;
      if (other || ex.now() - renewed >= e.o.renew_deadline) {
        e.log.warn("lost the lease", {{"lease", e.o.ns + "/" + e.o.name}, {"holder", e.holder}});
        break;
      }
    }
    lost.stop();
    // The work may end in order while the lease still protects it; after that it is cut off.
    Duration left = renewed + e.o.lease - ex.now();
    if (left > Duration(0)) co_await ended.wait(left);
    scope.cancel_all();
    co_await Elector::release(&e);
  }
}

}  // namespace caravel::kube
