// The client library against a small in-memory API server: enough of get, list, create, update, merge
// patch and watch, with the faults that informers must survive.
#include <gtest/gtest.h>

#include <fstream>

#include "base/strings.h"
#include "kube/client.h"
#include "kube/controller.h"
#include "kube/events.h"
#include "kube/informer.h"
#include "kube/kubeconfig.h"
#include "kube/leader_election.h"

namespace caravel::kube {
namespace {

const Resource kThings{"example.com", "v1", "things", "Thing", true};

class FakeServer final : public Transport {
 public:
  explicit FakeServer(Executor& ex) : ex_(&ex) {}

  struct Watcher {
    std::string plural;
    std::deque<Result<std::optional<WatchEvent>>> queue;
    std::unique_ptr<Event> ready;
    bool open = true;
  };
  class Stream final : public WatchStream {
   public:
    explicit Stream(std::shared_ptr<Watcher> w) : w_(std::move(w)) {}
    ~Stream() override { w_->open = false; }
    Task<Result<std::optional<WatchEvent>>> next() override {
      while (w_->queue.empty()) co_await w_->ready->wait();
      auto e = std::move(w_->queue.front());
      w_->queue.pop_front();
      co_return e;
    }

   private:
    std::shared_ptr<Watcher> w_;
  };

  Task<Result<ApiResponse>> call(ApiRequest q) override {
    ++calls[q.verb];
    co_await yield(*ex_);
    if (fail_next > 0) {
      --fail_next;
      co_return unavailable("connection refused");
    }
    struct {
      int status = 200;
      json::Value object;
    } r;
    std::string key = q.resource.plural + "/" + q.ns + "/" + q.name;
    if (q.verb == "list") {
      r.object["metadata"]["resourceVersion"] = std::to_string(rv);
      r.object["items"] = json::Value(json::Array{});
      for (auto& [k, v] : objects)
        if (k.starts_with(q.resource.plural + "/")) r.object["items"].push_back(v);
      co_return ApiResponse{r.status, std::move(r.object)};
    }
    json::Value body;
    if (!q.text().empty()) body = *json::parse(q.text());
    if (q.verb == "create") key = q.resource.plural + "/" + q.ns + "/" + std::as_const(body).path({"metadata", "name"}).as_string();
    bool there = objects.count(key);
    if (q.verb == "create" ? there : !there) {
      r.status = there ? 409 : 404;
      r.object["kind"] = "Status";
      r.object["reason"] = there ? "AlreadyExists" : "NotFound";
      r.object["message"] = key + (there ? " already exists" : " not found");
      co_return ApiResponse{r.status, std::move(r.object)};
    }
    if (q.verb == "update" && std::as_const(body).path({"metadata", "resourceVersion"}).as_string() != version_of(objects[key])) {
      r.status = 409;
      r.object["kind"] = "Status";
      r.object["reason"] = "Conflict";
      co_return ApiResponse{r.status, std::move(r.object)};
    }
    if (q.verb == "get") {
      r.object = objects[key];
      co_return ApiResponse{r.status, std::move(r.object)};
    }
    if (q.verb == "patch") {
      json::Value merged = objects[key];
      for (auto& m : body.obj()) merged[m.key] = m.value;
      body = merged;
    }
    put(key, body, !there);
    r.object = objects[key];
    co_return ApiResponse{r.status, std::move(r.object)};
  }
  Task<Result<std::unique_ptr<WatchStream>>> watch(ApiRequest q) override {
    ++calls["watch"];
    for (auto& [k, v] : q.query)
      if (k == "resourceVersion") watched_from.push_back(v);
    auto w = std::make_shared<Watcher>();
    w->plural = q.resource.plural;
    w->ready = std::make_unique<Event>(*ex_);
    watchers.push_back(w);
    std::unique_ptr<WatchStream> s = std::make_unique<Stream>(w);
    co_return s;
  }
  static const std::string& version_of(const json::Value& v) { return v.path({"metadata", "resourceVersion"}).as_string(); }
  void put(const std::string& key, json::Value v, bool fresh) {
    v["metadata"]["resourceVersion"] = std::to_string(++rv);
    objects[key] = v;
    notify(key, fresh ? WatchEventType::kAdded : WatchEventType::kModified, v);
  }
  void put_thing(const std::string& name, const std::string& color) {
    std::string key = "things/ns/" + name;
    bool fresh = !objects.count(key);
    json::Value v = json::Value::object();
    v["metadata"]["name"] = name;
    v["metadata"]["namespace"] = "ns";
    v["color"] = color;
    put(key, v, fresh);
  }
  void erase_thing(const std::string& name) {
    std::string key = "things/ns/" + name;
    json::Value v = objects[key];
    objects.erase(key);
    v["metadata"]["resourceVersion"] = std::to_string(++rv);
    notify(key, WatchEventType::kDeleted, v);
  }
  void notify(const std::string& key, WatchEventType t, const json::Value& v) {
    if (mute) return;
    for (auto& w : watchers) {
      if (!w->open || !key.starts_with(w->plural + "/")) continue;
      w->queue.push_back(std::optional<WatchEvent>(WatchEvent{t, v}));
      w->ready->pulse();
    }
  }
  void end_watches(Result<std::optional<WatchEvent>> how) {
    for (auto& w : watchers) {
      if (!w->open) continue;
      w->queue.push_back(how);
      w->ready->pulse();
    }
  }

  Executor* ex_;
  int64_t rv = 100;
  std::map<std::string, json::Value> objects;
  std::map<std::string, int> calls;
  std::vector<std::string> watched_from;
  std::vector<std::shared_ptr<Watcher>> watchers;
  int fail_next = 0;
  bool mute = false;
};

TEST(Client, TargetsAreUpstreamsUrls) {
  ApiRequest q;
  q.verb = "update";
  q.resource = {"apps", "v1", "deployments", "Deployment", true};
  q.ns = "default";
  q.name = "web";
  q.subresource = "status";
  q.query = {{"fieldManager", "a b"}};
  EXPECT_EQ(request_target(q), "/apis/apps/v1/namespaces/default/deployments/web/status?fieldManager=a%20b");
  EXPECT_EQ(http_method(q), "PUT");
  ApiRequest n;
  n.verb = "list";
  n.resource = {"", "v1", "nodes", "Node", false};
  EXPECT_EQ(request_target(n), "/api/v1/nodes");
  ApiRequest p;
  p.verb = "get";
  p.path = "/version";
  EXPECT_EQ(request_target(p), "/version");
}

TEST(Client, StatusObjectsBecomeErrors) {
  auto s = *json::parse(R"({"kind":"Status","status":"Failure","message":"pods \"x\" already exists","reason":"AlreadyExists","code":409})");
  Error e = error_from_status(409, s);
  EXPECT_EQ(e.code, Code::kAlreadyExists);
  EXPECT_EQ(e.message, "pods \"x\" already exists");
  EXPECT_EQ(status_reason(e), "AlreadyExists");
  EXPECT_EQ(error_from_status(409, json::Value()).code, Code::kConflict);
  EXPECT_EQ(error_from_status(200, *json::parse(R"({"kind":"Status","code":410,"reason":"Expired"})")).code, Code::kGone);
}

struct Seen {
  std::map<std::string, std::string> colors;
  int lists = 0, events = 0;
  Reflector::Callbacks callbacks() {
    Reflector::Callbacks c;
    c.replace = [this](std::vector<json::Value> items) {
      ++lists;
      colors.clear();
      for (const auto& v : items) colors[v.path({"metadata", "name"}).as_string()] = v["color"].as_string();
    };
    c.event = [this](WatchEventType t, Document v) {
      ++events;
      const json::Value& o = *v;
      const std::string& name = o.path({"metadata", "name"}).as_string();
      if (t == WatchEventType::kDeleted) colors.erase(name);
      else colors[name] = o["color"].as_string();
    };
    return c;
  }
};

TEST(Reflector, ListsThenFollows) {
  VirtualExecutor ex(1);
  FakeServer server(ex);
  server.put_thing("a", "red");
  Seen seen;
  Reflector r(ex, Client(server, "test"), kThings, {}, seen.callbacks());
  TaskScope scope;
  scope.spawn(r.run());
  ex.run_for(1s);
  server.put_thing("b", "blue");
  server.put_thing("a", "green");
  ex.run_for(1s);
  EXPECT_EQ(seen.colors, (std::map<std::string, std::string>{{"a", "green"}, {"b", "blue"}}));
  server.erase_thing("b");
  ex.run_for(1s);
  EXPECT_EQ(seen.colors.size(), 1u);
  EXPECT_EQ(seen.lists, 1);
}

TEST(Reflector, ResumesFromTheLastVersionWhenAWatchEnds) {
  VirtualExecutor ex(1);
  FakeServer server(ex);
  Seen seen;
  Reflector r(ex, Client(server, "test"), kThings, {}, seen.callbacks());
  TaskScope scope;
  scope.spawn(r.run());
  ex.run_for(1s);
  server.put_thing("a", "red");  // version 101
  ex.run_for(1s);
  server.end_watches(std::optional<WatchEvent>());
  ex.run_for(1s);
  EXPECT_EQ(seen.lists, 1);
  EXPECT_EQ(server.watched_from, (std::vector<std::string>{"100", "101"}));
  server.end_watches(unavailable("connection lost"));
  ex.run_for(10s);
  EXPECT_EQ(server.watched_from.back(), "101");
  EXPECT_EQ(seen.lists, 1);
}

TEST(Reflector, ListsAgainWhenTheVersionIsGone) {
  VirtualExecutor ex(1);
  FakeServer server(ex);
  server.put_thing("a", "red");
  Seen seen;
  Reflector r(ex, Client(server, "test"), kThings, {}, seen.callbacks());
  TaskScope scope;
  scope.spawn(r.run());
  ex.run_for(1s);
  server.mute = true;
  server.erase_thing("a");
  server.put_thing("c", "black");
  server.mute = false;
  server.end_watches(make_error(Code::kGone, "too old resource version"));
  ex.run_for(1s);
  EXPECT_EQ(seen.lists, 2);
  EXPECT_EQ(seen.colors, (std::map<std::string, std::string>{{"c", "black"}}));
}

TEST(Reflector, BacksOffWhileTheServerIsDown) {
  VirtualExecutor ex(1);
  FakeServer server(ex);
  server.fail_next = 1000;
  Seen seen;
  Reflector r(ex, Client(server, "test"), kThings, {}, seen.callbacks());
  TaskScope scope;
  scope.spawn(r.run());
  ex.run_for(300s);
  EXPECT_GT(server.calls["list"], 8);
  EXPECT_LT(server.calls["list"], 20);
  server.fail_next = 0;
  ex.run_for(61s);
  EXPECT_EQ(seen.lists, 1);
}

struct Counting {
  VirtualExecutor ex{7};
  std::map<std::string, int> runs;
  std::map<std::string, int> at_once;
  int most_at_once = 0, failures_left = 0;
  Duration requeue{-1};
  Task<Result<Requeue>> reconcile(std::string key) {
    ++runs[key];
    most_at_once = std::max(most_at_once, ++at_once[key]);
    co_await sleep(ex, 10ms);
    --at_once[key];
    if (failures_left > 0) {
      --failures_left;
      co_return unavailable("not now");
    }
    co_return Requeue{requeue};
  }
  Controller make(int workers) {
    return Controller(
        ex, "test", [this](std::string key) { return reconcile(std::move(key)); }, workers);
  }
};

TEST(Controller, WorksOnAKeyOnceAtATimeAndNotForNothing) {
  Counting c;
  Controller q = c.make(4);
  TaskScope scope;
  q.start(scope);
  for (int i = 0; i < 5; ++i) q.enqueue("a");
  q.enqueue("b");
  c.ex.run_for(5ms);
  for (int i = 0; i < 5; ++i) q.enqueue("a");  // while it is worked on: exactly one more run
  c.ex.run_for(1s);
  EXPECT_EQ(c.runs["a"], 2);
  EXPECT_EQ(c.runs["b"], 1);
  EXPECT_EQ(c.most_at_once, 1);
}

TEST(Controller, FailuresAreTriedAgainEverMoreSlowly) {
  Counting c;
  c.failures_left = 8;  // 5+10+...+640 ms
  Controller q = c.make(1);
  TaskScope scope;
  q.start(scope);
  q.enqueue("a");
  c.ex.run_for(600ms);
  EXPECT_LT(c.runs["a"], 9);
  c.ex.run_for(1s);
  EXPECT_EQ(c.runs["a"], 9);
}

TEST(Controller, LooksAgainAfterTheTimeItAskedFor) {
  Counting c;
  c.requeue = 10s;
  Controller q = c.make(1);
  TaskScope scope;
  q.start(scope);
  q.enqueue("a");
  c.ex.run_for(35s);
  EXPECT_EQ(c.runs["a"], 4);
}

TEST(Controller, BurstsAreWorkedOnTogetherAndSingleEventsAtOnce) {
  Counting c;
  Controller q = c.make(1);
  TaskScope scope;
  q.start(scope);
  q.enqueue_paced("a", 100ms);
  c.ex.run_for(1ms);
  EXPECT_EQ(c.runs["a"], 1);
  for (int i = 0; i < 1000; ++i) {
    q.enqueue_paced("a", 100ms);
    c.ex.run_for(1ms);
  }
  c.ex.run_for(1s);
  EXPECT_LE(c.runs["a"], 12);
  EXPECT_GE(c.runs["a"], 10);
}

TEST(Events, RepeatsAreCountedAndFloodsAreCut) {
  VirtualExecutor ex(3);
  FakeServer server(ex);
  EventRecorder rec(ex, Client(server, "test"), "kubelet", "node-1");
  ObjectReference pod{"v1", "Pod", "ns", "web", "u1", "5", ""};
  for (int i = 0; i < 3; ++i) {
    rec.warning(pod, "BackOff", "Back-off restarting failed container");
    ex.run_for(1s);
  }
  ASSERT_EQ(server.objects.size(), 1u);
  const json::Value& e = server.objects.begin()->second;
  EXPECT_EQ(e["count"].as_int(), 3);
  EXPECT_EQ(e["reason"].as_string(), "BackOff");
  EXPECT_EQ(e["type"].as_string(), "Warning");
  EXPECT_EQ(e.path({"involvedObject", "uid"}).as_string(), "u1");
  EXPECT_TRUE(e.path({"metadata", "name"}).as_string().starts_with("web."));
  EXPECT_NE(e["firstTimestamp"].as_string(), e["lastTimestamp"].as_string());
  for (int i = 0; i < 100; ++i) rec.normal(pod, "Spam", "message " + std::to_string(i));
  ex.run_for(5s);
  EXPECT_LE(server.objects.size(), 14u);  // 10 distinct messages and one combined, at most 25 writes
}

TEST(Events, WaitForTheServerToComeBack) {
  VirtualExecutor ex(3);
  FakeServer server(ex);
  EventRecorder rec(ex, Client(server, "test"), "scheduler");
  server.fail_next = 2;
  ObjectReference node{"v1", "Node", "", "n1", "", "", ""};
  rec.normal(node, "RegisteredNode", "hello");
  ex.run_for(10s);
  ASSERT_EQ(server.objects.size(), 1u);
  EXPECT_TRUE(server.objects.begin()->first.starts_with("events/default/n1."));
}

struct Candidate {
  Executor* ex;
  StopSource stop;
  bool leading = false;
  int terms = 0;
  explicit Candidate(Executor& e) : ex(&e), stop(e) {}
  Task<void> lead(StopToken lost) {
    leading = true;
    ++terms;
    co_await lost.wait(*ex);
    leading = false;
  }
  Task<void> run(Client client, std::string id) {
    LeaderElectionOptions o;
    o.ns = "kube-system";
    o.name = "thing";
    o.identity = id;
    return run_with_leader_election(*ex, std::move(client), std::move(o), stop.token(), [this](StopToken t) { return lead(t); });
  }
};

TEST(LeaderElection, OneLeadsAndAnotherTakesOver) {
  VirtualExecutor ex(5);
  FakeServer server(ex);
  Candidate a(ex), b(ex);
  auto sa = std::make_unique<TaskScope>();
  TaskScope sb;
  sa->spawn(a.run(Client(server, "a"), "a"));
  ex.run_for(5s);
  sb.spawn(b.run(Client(server, "b"), "b"));
  ex.run_for(60s);
  EXPECT_TRUE(a.leading);
  EXPECT_FALSE(b.leading);
  sa.reset();  // a crashes: b must wait for the lease to run out
  ex.run_for(10s);
  EXPECT_FALSE(b.leading);
  ex.run_for(15s);
  EXPECT_TRUE(b.leading);
  const json::Value& lease = server.objects["leases/kube-system/thing"];
  EXPECT_EQ(lease.path({"spec", "holderIdentity"}).as_string(), "b");
  EXPECT_EQ(lease.path({"spec", "leaseTransitions"}).as_int(), 1);
}

TEST(LeaderElection, AnOrderlyStopHandsOverAtOnce) {
  VirtualExecutor ex(5);
  FakeServer server(ex);
  Candidate a(ex), b(ex);
  TaskScope scope;
  scope.spawn(a.run(Client(server, "a"), "a"));
  ex.run_for(5s);
  scope.spawn(b.run(Client(server, "b"), "b"));
  ex.run_for(5s);
  a.stop.stop();
  ex.run_for(6s);
  EXPECT_FALSE(a.leading);
  EXPECT_TRUE(b.leading);
}

TEST(LeaderElection, ALeaderThatCannotRenewStepsDownBeforeItsLeaseEnds) {
  VirtualExecutor ex(5);
  FakeServer server(ex);
  Candidate a(ex);
  TaskScope scope;
  scope.spawn(a.run(Client(server, "a"), "a"));
  ex.run_for(5s);
  EXPECT_TRUE(a.leading);
  server.fail_next = 1'000'000;
  ex.run_for(14s);
  EXPECT_FALSE(a.leading);
  server.fail_next = 0;
  ex.run_for(20s);
  EXPECT_TRUE(a.leading);
  EXPECT_EQ(a.terms, 2);
}

TEST(Kubeconfig, RoundTrips) {
  ClientConfig c;
  c.server = "https://10.0.11.10:443";
  c.ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  c.client_certificate = "cert";
  c.client_key = "key";
  c.default_namespace = "team";
  std::string path = testing::TempDir() + "/kubeconfig_test_" + std::to_string(reinterpret_cast<uintptr_t>(&c));
  std::ofstream(path) << write_kubeconfig(c, "caravel");
  auto back = load_kubeconfig(path);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->server, c.server);
  EXPECT_EQ(back->ca, c.ca);
  EXPECT_EQ(back->client_certificate, "cert");
  EXPECT_EQ(back->client_key, "key");
  EXPECT_EQ(back->default_namespace, "team");
  auto none = load_kubeconfig(path, "nope");
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("has no context \"nope\""), std::string::npos);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace caravel::kube
