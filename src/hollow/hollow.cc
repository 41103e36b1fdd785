#include "hollow/hollow.h"

#include <algorithm>
#include <deque>
#include <set>
#include <unordered_map>

#include "base/log.h"
#include "base/strings.h"
#include "hollow/objects.h"
#include "kube/informer.h"

namespace caravel::hollow {

namespace {

// Timers are rounded up to this, so that a thousand pods that start together share a few of them.
constexpr Duration kWheel = 10ms;
constexpr Duration kRetry = 1s;
constexpr Duration kUsualLeasePeriod = 10s;
constexpr Duration kMend = 2s;           // between two statements that a pod is ready after all
constexpr size_t kAddresses = 1u << 22;  // 100.64.0.0/10

const kube::Resource kPods{"", "v1", "pods", "Pod", true};
const kube::Resource kNodes{"", "v1", "nodes", "Node", false};
const kube::Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease", true};
using kube::coordination::Lease;

}  // namespace

struct HollowNodes::Impl {
  struct Node {
    NodeSpec spec;
    std::string uid;
    bool registered = false, failed = false, registering = false, posting = false;
    int64_t slot = 0;   // of the lease wheel
    json::Value lease;  // as the server answered last; null: not known
  };
  // What is still to be done for a pod, and what is known of it.
  struct Pod {
    std::string ns, name, uid, node;
    bool running = false, stopping = false, busy = false, finished = false;
    std::string address;
    int conflicts = 0;                          // in a row
    bool mending = false;                       // it will be said again that it is ready
    Time next;                                  // not before this
    std::shared_ptr<const json::Value> object;  // until nothing more is written
  };

  Impl(Executor& e, kube::Client c, Options o) : ex(&e), client(std::move(c)), options(std::move(o)), calls(e, options.calls_at_once) {
    kube::Reflector::Callbacks pod_cb;
    pod_cb.replace = [this](std::vector<json::Value> items) {
      std::set<std::string> gone;
      for (auto& [uid, p] : pods) gone.insert(uid);
      for (auto& v : items) {
        gone.erase(std::as_const(v).path({"metadata", "uid"}).as_string());
        on_pod(kube::Document(std::move(v)));
      }
      for (auto& uid : gone) forget_pod(uid);
    };
    pod_cb.event = [this](kube::WatchEventType t, kube::Document v) {
      if (t == kube::WatchEventType::kDeleted) forget_pod(v->path({"metadata", "uid"}).as_string());
      else on_pod(std::move(v));
    };
    kube::InformerOptions bound;
    bound.field_selector = "spec.nodeName!=";
    pod_watch = std::make_unique<kube::Reflector>(e, client, kPods, bound, std::move(pod_cb));
    kube::Reflector::Callbacks node_cb;
    node_cb.replace = [this](std::vector<json::Value> items) {
      std::set<std::string> there;
      for (auto& v : items) there.insert(std::as_const(v).path({"metadata", "name"}).as_string());
      for (auto& [name, n] : nodes)
        if (n.registered && !there.count(name)) n.registered = false;
      for (auto& v : items) on_node(v);
    };
    node_cb.event = [this](kube::WatchEventType t, kube::Document v) {
      if (t != kube::WatchEventType::kDeleted) return on_node(*v);
      // A Node that somebody deletes does not come back by itself.
      auto it = nodes.find(v->path({"metadata", "name"}).as_string());
      if (it != nodes.end() && it->second.uid == v->path({"metadata", "uid"}).as_string()) it->second.registered = false;
    };
    node_watch = std::make_unique<kube::Reflector>(e, client, kNodes, kube::InformerOptions(), std::move(node_cb));
    scope.spawn(pod_watch->run());
    scope.spawn(node_watch->run());
    scope.spawn(heartbeat(this));
  }
  ~Impl() {
    scope.cancel_all();
    for (auto& [when, b] : wheel) ex->cancel(b.timer);
  }

  // --- nodes
  static Task<void> register_node(Impl* self, std::string name) {
    for (;;) {
      co_await self->calls.acquire();
      auto it = self->nodes.find(name);
      if (it == self->nodes.end() || it->second.failed || it->second.registered) {
        if (it != self->nodes.end()) it->second.registering = false;
        self->calls.release();
        co_return;
      }
      json::Value object = node_object(it->second.spec, self->options.version, self->ex->now());
      json::Value status = std::as_const(object)["status"];
      Result<json::Value> r = co_await self->client.create(kNodes, "", std::move(object));
      if (!r.ok() && r.error().code == Code::kAlreadyExists) r = co_await self->client.get(kNodes, "", name);
      if (r.ok()) {
        // Some servers drop the status of a new object, and one that was here before has an old status.
        const json::Value& have = std::as_const(*r);
        if (!is_ready_node(have)) {
          json::Value next = std::move(*r);
          next["status"] = status;
          kube::WriteOptions o;
          o.subresource = "status";
          r = co_await self->client.update(kNodes, std::move(next), o);
        }
      }
      self->calls.release();
      if (r.ok()) {
        it = self->nodes.find(name);
        if (it == self->nodes.end()) co_return;
        it->second.registered = true;
        it->second.registering = false;
        it->second.uid = std::as_const(*r).path({"metadata", "uid"}).as_string();
        co_await self->renew(name);
        co_return;
      }
      self->log.debug("a node is not registered yet", {{"node", name}, {"error", r.error().message}});
      co_await sleep(*self->ex, kRetry);
    }
  }

  void begin(Node& n) {
    if (n.registering || n.registered) return;
    n.registering = true;
    scope.spawn(register_node(this, n.spec.name));
  }

  void on_node(const json::Value& v) {
    auto it = nodes.find(v["metadata"]["name"].as_string());
    if (it == nodes.end()) return;
    Node& n = it->second;
    if (!n.registered || n.failed || n.posting || is_ready_node(v)) return;
    // The cluster gave us up meanwhile: say that we live.
    n.posting = true;
    scope.spawn(post_status(this, n.spec.name));
  }
  static Task<void> post_status(Impl* self, std::string name) {
    co_await self->calls.acquire();
    Result<json::Value> r = co_await self->client.get(kNodes, "", name);
    auto it = self->nodes.find(name);
    if (r.ok() && it != self->nodes.end() && !it->second.failed) {
      json::Value next = std::move(*r);
      json::Value fresh = node_object(it->second.spec, self->options.version, self->ex->now());
      next["status"] = std::as_const(fresh)["status"];
      kube::WriteOptions o;
      o.subresource = "status";
      r = co_await self->client.update(kNodes, std::move(next), o);
    }
    self->calls.release();
    bool again = !r.ok() && r.error().code != Code::kNotFound;
    if (again) co_await sleep(*self->ex, kRetry);
    it = self->nodes.find(name);
    if (it == self->nodes.end()) co_return;
    it->second.posting = false;
    if (again && !it->second.failed) {
      it->second.posting = true;
      self->scope.spawn(post_status(self, name));
    }
  }

  // One slot of nodes each tick: every node's Lease is renewed once a period, evenly over the period.
  static Task<void> heartbeat(Impl* self) {
    constexpr int64_t kSlots = 20;
    for (int64_t slot = 0;; slot = (slot + 1) % kSlots) {
      co_await sleep(*self->ex, self->options.lease_period / kSlots);
      for (auto& [name, n] : self->nodes)
        if (n.registered && !n.failed && n.slot % kSlots == slot) self->scope.spawn(renew_later(self, name));
    }
  }
  static Task<void> renew_later(Impl* self, std::string name) {
    co_await self->calls.acquire();
    co_await self->renew(name);
    self->calls.release();
  }
  // A renewal is the document that the server answered last with another time in it: it is most of what a quiet cluster does.
  Task<Result<json::Value>> write_lease(json::Value lease) {
    kube::WriteOptions o;
    o.canonical = std::as_const(lease)["spec"].find("renewTime") != nullptr;  // else the new member may stand where our types would not write it
    lease["spec"]["renewTime"] = format_rfc3339_micro(ex->now());
    Result<json::Value> r = co_await client.update(kLeases, std::move(lease), o);
    co_return r;
  }
  static Task<void> last_word(Impl* self, std::string name) {
    auto it = self->nodes.find(name);
    if (it == self->nodes.end() || it->second.lease.is_null()) co_return;
    Result<json::Value> r = co_await self->write_lease(it->second.lease);
    (void)r;  // the version has changed: renew() reads it again when the machine is back
  }
  Task<void> renew(std::string name) {
    auto it = nodes.find(name);
    if (it == nodes.end() || it->second.failed || !it->second.registered) co_return;
    if (!it->second.lease.is_null()) {
      Result<json::Value> r = co_await write_lease(it->second.lease);
      it = nodes.find(name);
      if (it == nodes.end()) co_return;
      if (r.ok()) {
        it->second.lease = std::move(r->freeze());
        co_return;
      }
      if (r.error().code != Code::kNotFound && r.error().code != Code::kConflict) co_return;
      it->second.lease = json::Value();
    }
    Result<json::Value> r = co_await client.get(kLeases, "kube-node-lease", name);
    it = nodes.find(name);
    if (it == nodes.end() || !it->second.registered) co_return;
    if (!r.ok() && r.error().code == Code::kNotFound) {
      Lease lease = lease_object(name, it->second.uid, options.lease_duration, ex->now());
      kube::WriteOptions o;
      o.canonical = true;
      r = co_await client.create(kLeases, "kube-node-lease", kube::to_json(lease), o);
    } else if (r.ok()) {
      r = co_await write_lease(std::move(*r));
    }
    it = nodes.find(name);
    if (it != nodes.end() && r.ok()) it->second.lease = std::move(r->freeze());
  }

  // --- pods
  Duration draw(Duration low, Duration high) {
    if (high <= low) return low;
    return low + Duration(static_cast<int64_t>(ex->random_unit() * static_cast<double>((high - low).count())));
  }

  void on_pod(kube::Document v) {
    const json::Value& o = *v;
    const json::Value& m = o["metadata"];
    const std::string uid = m["uid"].as_string(), node = o["spec"]["nodeName"].as_string(), phase = o["status"]["phase"].as_string();
    if (node.empty() || (!nodes.count(node) && !pods.count(uid))) return;
    bool deleting = m["deletionTimestamp"].is_string();
    bool finished = phase == "Succeeded" || phase == "Failed";
    auto [it, fresh] = pods.try_emplace(uid);
    Pod& p = it->second;
    if (fresh) {
      p.ns = m["namespace"].as_string();
      p.name = m["name"].as_string();
      p.uid = uid;
      p.node = node;
      by_node[node].insert(uid);
    }
    if (p.address.empty() && o["status"]["podIP"].is_string()) {  // from before our start
      p.address = o["status"]["podIP"].as_string();
      taken.insert(p.address);
    }
    p.finished = finished;
    if (phase == "Running") p.running = true;
    if (deleting) {
      if (p.stopping) return;
      p.stopping = true;
      p.object = nullptr;
      at(ex->now() + draw(options.pod_stop_min, options.pod_stop_max), uid);
      return;
    }
    if (finished) {
      p.object = nullptr;
      return;
    }
    bool ends = !run_for(o).empty();
    bool ready_again = p.running && !never_ready(o) && !is_ready_pod(o);
    if (!p.running) {
      bool waiting = p.object != nullptr;
      p.object = v.share();
      if (!waiting) at(ex->now() + draw(options.pod_start_min, options.pod_start_max), uid);
    } else if (ends || ready_again) {
      bool waiting = p.object != nullptr;
      auto d = parse_duration(run_for(o));
      p.object = v.share();
      if (ready_again && !p.mending) {
        // Who takes our pod for unready may go on to do so: two that contradict each other must not race.
        p.mending = true;
        Time due = std::max(ex->now(), p.next);
        p.next = due + kMend;
        at(due, uid);
      } else if (!ready_again && !waiting) at(start_time(*p.object, ex->now()) + (d.ok() ? *d : Duration(0)), uid);
    } else {
      p.object = nullptr;
    }
  }

  void forget_pod(const std::string& uid) {
    auto it = pods.find(uid);
    if (it == pods.end()) return;
    taken.erase(it->second.address);
    if (auto b = by_node.find(it->second.node); b != by_node.end()) {
      b->second.erase(uid);
      if (b->second.empty()) by_node.erase(b);
    }
    pods.erase(it);
  }

  std::string take_address() {
    for (size_t i = 0; i < kAddresses; ++i) {
      next_address = (next_address + 1) % kAddresses;
      if ((next_address & 0xff) == 0 || (next_address & 0xff) == 0xff) continue;
      std::string a = format("100.%zu.%zu.%zu", 64 + (next_address >> 16), (next_address >> 8) & 0xff, next_address & 0xff);
      if (taken.insert(a).second) return a;
    }
    return "";
  }

  void at(Time when, const std::string& uid) {
    int64_t slot = (when.ns + kWheel.count() - 1) / kWheel.count();
    auto [it, fresh] = wheel.try_emplace(slot);
    it->second.uids.push_back(uid);
    if (fresh) it->second.timer = ex->run_at(Time{slot * kWheel.count()}, [this, slot] { turn(slot); });
  }
  void turn(int64_t slot) {
    auto node = wheel.extract(slot);
    if (!node) return;
    for (auto& uid : node.mapped().uids) scope.spawn(step(this, uid));
  }

  // The next thing for a pod, from what is known of it now.
  static Task<void> step(Impl* self, std::string uid) {
    auto it = self->pods.find(uid);
    if (it == self->pods.end() || it->second.busy) co_return;
    it->second.mending = false;
    auto n = self->nodes.find(it->second.node);
    if (n == self->nodes.end() || n->second.failed) co_return;  // a machine that is gone does nothing
    it->second.busy = true;
    co_await self->calls.acquire();
    it = self->pods.find(uid);
    if (it == self->pods.end()) {
      self->calls.release();
      co_return;
    }
    Result<json::Value> r = co_await self->write(uid);
    self->calls.release();
    it = self->pods.find(uid);
    if (it == self->pods.end()) co_return;
    it->second.busy = false;
    if (r.ok()) it->second.conflicts = 0;
    if (r.ok() || r.error().code == Code::kNotFound) {
      if (r.ok() && !it->second.stopping) self->on_written(uid, std::move(*r));
      co_return;
    }
    // A conflict brings an event with the newer object; the step is taken again with that. The event may be late.
    Duration again = kRetry;
    if (r.error().code == Code::kConflict) again = std::min<Duration>(kRetry, Duration(kWheel) * (1 << std::min(20, it->second.conflicts++)));
    self->at(self->ex->now() + again, uid);
  }

  void on_written(const std::string& uid, json::Value object) {
    auto it = pods.find(uid);
    const json::Value& o = object;
    const std::string& phase = o["status"]["phase"].as_string();
    it->second.running = phase == "Running";
    it->second.finished = phase == "Succeeded" || phase == "Failed";
    std::string d = run_for(o);
    if (it->second.running && !d.empty()) {
      auto length = parse_duration(d);
      it->second.object = json::share(std::move(object));
      at(ex->now() + (length.ok() ? *length : Duration(0)), uid);
    } else {
      it->second.object = nullptr;
    }
  }

  Task<Result<json::Value>> write(std::string uid) {
    Pod& p = pods[uid];
    if (p.stopping) {
      kube::DeleteOptions o;
      o.grace_period_seconds = 0;
      o.uid = uid;
      Result<json::Value> r = co_await client.remove(kPods, p.ns, p.name, o);
      if (!r.ok() && r.error().code == Code::kConflict) r = not_found("replaced");
      co_return r;
    }
    if (!p.object || p.finished) co_return not_found("nothing to do");
    json::Value next = *p.object;
    Time now = ex->now();
    bool end = p.running && !run_for(*p.object).empty() && is_due(*p.object, now);
    if (end) {
      finish_pod(next, now);
    } else {
      if (p.address.empty()) p.address = take_address();
      auto n = nodes.find(p.node);
      run_pod(next, p.address, n == nodes.end() ? "" : node_address(n->second.spec), now);
    }
    kube::WriteOptions o;
    o.subresource = "status";
    o.canonical = true;
    Result<json::Value> r = co_await client.update(kPods, std::move(next), o);
    co_return r;
  }

  struct Bucket {
    std::vector<std::string> uids;
    Executor::TimerId timer = 0;
  };
  Executor* ex;
  kube::Client client;
  Options options;
  Log log{"hollow"};
  Semaphore calls;
  std::map<std::string, Node> nodes;
  std::unordered_map<std::string, Pod> pods;  // by uid
  std::unordered_map<std::string, std::set<std::string>> by_node;
  std::set<std::string> taken;
  size_t next_address = 0;
  int64_t next_slot = 0;
  std::map<int64_t, Bucket> wheel;
  std::unique_ptr<kube::Reflector> pod_watch, node_watch;
  TaskScope scope;
};

HollowNodes::HollowNodes(Executor& ex, kube::Client client, Options options) : impl_(std::make_unique<Impl>(ex, std::move(client), std::move(options))) {}
HollowNodes::~HollowNodes() = default;

void HollowNodes::add(NodeSpec spec) {
  std::string name = spec.name;
  Impl::Node& n = impl_->nodes[name];
  n.spec = std::move(spec);
  n.slot = impl_->next_slot++;
  n.failed = false;
  impl_->begin(n);
}

void HollowNodes::remove(const std::string& name) { impl_->nodes.erase(name); }

void HollowNodes::fail(const std::string& name) {
  auto it = impl_->nodes.find(name);
  if (it == impl_->nodes.end() || it->second.failed) return;
  it->second.failed = true;
  if (impl_->options.lease_period > kUsualLeasePeriod) impl_->scope.spawn(Impl::last_word(impl_.get(), name));
}

void HollowNodes::recover(const std::string& name) {
  auto it = impl_->nodes.find(name);
  if (it == impl_->nodes.end() || !it->second.failed) return;
  it->second.failed = false;
  if (!it->second.registered) impl_->begin(it->second);
  else impl_->scope.spawn(Impl::post_status(impl_.get(), name));
  // What was due meanwhile is taken up again.
  if (auto b = impl_->by_node.find(name); b != impl_->by_node.end())
    for (auto& uid : b->second) impl_->at(impl_->ex->now(), uid);
}

size_t HollowNodes::size() const { return impl_->nodes.size(); }
size_t HollowNodes::registered() const {
  size_t n = 0;
  for (auto& [name, node] : impl_->nodes) n += node.registered;
  return n;
}

std::vector<NodeSpec> uniform_nodes(int n, int zones, const std::string& instance_type) {
  std::vector<NodeSpec> out;
  for (int i = 0; i < n; ++i) {
    NodeSpec s;
    s.name = format("hollow-%05d", i);
    s.zone = std::string("us-east-1") + static_cast<char>('a' + i % std::max(1, zones));
    s.instance_type = instance_type;
    s.internal_ip = format("10.%d.%d.%d", 128 + (i >> 16), (i >> 8) & 0xff, i & 0xff);
    out.push_back(std::move(s));
  }
  return out;
}

}  // namespace caravel::hollow
