#include "sim/storm.h"

#include <map>
#include <set>

#include "kube/types/apps.h"
#include "kube/types/autoscaling.h"
#include "kube/types/batch.h"
#include "kube/types/core.h"
#include "kube/types/policy.h"
#include "sim/checks.h"
#include "sim/cluster.h"
#include "sim/watchdog.h"

namespace caravel::sim {

namespace {

using kube::apps::DaemonSet;
using kube::apps::Deployment;
using kube::apps::StatefulSet;
using kube::batch::Job;
using kube::core::Namespace;
using kube::core::Node;
using kube::core::Pod;

constexpr int kNodes = 6, kVolumes = 6;
// The Deployment whose size an autoscaler sets: each pod requests 100m and is to use half of that.
constexpr int kFrontMin = 1, kFrontMax = 7;
constexpr uint64_t kFrontRequestMilli = 100;

std::string deployment(const std::string& ns, const std::string& name, int replicas, const std::string& pod_spec) {
  return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + ", namespace: " + ns + "}\nspec:\n  replicas: " + std::to_string(replicas) +
         "\n  selector: {matchLabels: {app: " + name + "}}\n  template:\n    metadata: {labels: {app: " + name + "}}\n    spec: " + pod_spec + "\n";
}

std::string job(const std::string& name) {
  return R"(---
apiVersion: batch/v1
kind: Job
metadata: {name: )" +
         name + R"(, namespace: shop}
spec:
  completions: 5
  parallelism: 2
  backoffLimit: 1000
  template:
    metadata: {labels: {app: )" +
         name + R"(}, annotations: {hollow.caravel.dev/run-for: 3s}}
    spec: {restartPolicy: Never, containers: [{name: main, image: "busybox:1"}]}
)";
}

std::string web() {
  return deployment("shop", "web", 6, R"({containers: [{name: main, image: "nginx:1", resources: {requests: {cpu: 100m, memory: 64Mi}}}]})");
}

std::string autoscaled() {
  return deployment("shop", "front", 2, R"({containers: [{name: main, image: "front:1", resources: {requests: {cpu: 100m}}}]})") + R"(---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: front, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: front}
  minReplicas: )" +
         std::to_string(kFrontMin) + "\n  maxReplicas: " + std::to_string(kFrontMax) + R"(
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 60}}
)";
}

std::string workloads() {
  std::string out = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: shop}
spec: {minAvailable: 4, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 3
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: "postgres:1"}], volumes: []}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: local, resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: main, image: "agent:1"}]}
)";
  for (int i = 0; i < kVolumes; ++i)
    out += "---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {name: disk-" + std::to_string(i) +
           "}\nspec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: local, nfs: {server: 10.0.0.9, path: /d}}\n";
  out += web();
  out += deployment("shop", "low", 4, R"({containers: [{name: main, image: "low:1", resources: {requests: {cpu: "3"}}}]})");
  out += deployment("shop", "vip", 0, R"({priorityClassName: high, containers: [{name: main, image: "vip:1", resources: {requests: {cpu: "3"}}}]})");
  out += job("once");
  out += autoscaled();
  return out;
}

json::Value image_patch(const std::string& image) {
  return *json::parse(R"({"spec":{"template":{"spec":{"containers":[{"name":"main","image":")" + image + R"("}]}}}})");
}
json::Value replicas_patch(uint64_t n) { return *json::parse(R"({"spec":{"replicas":)" + std::to_string(n) + "}}"); }

class Storm {
 public:
  Storm(uint64_t seed, StormOptions options) : options_(options), jumps_(seed % 3 == 0 && !options.only_evictions), c_(seed, cluster_options()), ex_(c_.ex()) {}

  StormReport run() {
    if (!c_.start()) return {{"the cluster does not start"}, ""};
    dog_ = std::make_unique<Watchdog>(c_);
    Status applied = c_.apply(workloads());
    if (!applied.ok()) return {{applied.error().message}, ""};
    if (options_.only_evictions) {
      note_all(settle(std::chrono::minutes(2)), "before the storm: ");
      dog_->guard("shop", "web", 4);
    }
    for (int step = 0; step < options_.steps; ++step) {
      draw_faults();
      if (options_.only_evictions) mild_step(step);
      else wild_step(step);
      c_.run_for(Duration(static_cast<int64_t>(10e9 * ex_.random_unit())));
      for (auto& component : c_.components()) c_.revive(component);
      c_.crash("scheduler-b");
    }
    repair();
    note_all(settle(std::chrono::minutes(20)), "");
    check_rest();
    note_all(dog_->violations(), "");
    for (auto& [what, n] : c_.trace().hot()) wrong_.push_back("a hot loop: " + what + " " + std::to_string(n) + " times within a minute");
    check_notes();
    if (!jumps_ && c_.leaders_max() > 1) wrong_.push_back("two controller managers led at a time");
    return {std::move(wrong_), c_.trace().text()};
  }

 private:
  static ClusterOptions cluster_options() {
    ClusterOptions o;
    o.nodes = kNodes;
    o.elected = true;
    return o;
  }
  double chance(double share_of_steps, double most) { return ex_.random_unit() < share_of_steps ? most * ex_.random_unit() : 0; }
  void note_all(const std::vector<std::string>& sentences, const std::string& prefix) {
    for (auto& s : sentences) wrong_.push_back(prefix + s);
  }

  void draw_faults() {
    Faults& f = c_.faults();
    f.refused = chance(0.5, 0.2);
    f.answer_lost = chance(0.5, 0.1);
    f.delayed = chance(0.5, 0.3);
    f.conflict = chance(0.4, 0.5);
    f.error = chance(0.4, 0.2);
    f.watch_broken = chance(0.5, 0.05);
    f.watch_delayed = chance(0.4, 0.1);
    f.watch_expired = chance(0.3, 0.5);
    f.down = ex_.random_unit() < 0.05 && !options_.only_evictions;
  }

  void crash_one() {
    auto all = c_.components();
    c_.crash(all[ex_.random_below(all.size())]);
  }

  void mild_step(int step) {
    switch (ex_.random_below(4)) {
      case 0: crash_one(); break;
      case 1: write_note(step); break;
      default: evict(); evict();
    }
  }

  void wild_step(int step) {
    switch (ex_.random_below(23)) {
      case 22: c_.revive("scheduler-b"); break;  // until the next step

      case 0:
      case 1:
      case 2: crash_one(); break;
      case 20:
      case 21: load_changes(); break;
      case 3: (void)c_.patch(Deployment::resource(), "shop", "web", replicas_patch(1 + ex_.random_below(10))); break;
      case 4: (void)c_.patch(Deployment::resource(), "shop", "web", image_patch("nginx:" + std::to_string(step + 2))); break;
      case 5: (void)c_.patch(StatefulSet::resource(), "shop", "db", replicas_patch(1 + ex_.random_below(5))); break;
      case 6: (void)c_.patch(StatefulSet::resource(), "shop", "db", image_patch("postgres:" + std::to_string(step + 2))); break;
      case 7: (void)c_.patch(DaemonSet::resource(), "shop", "agent", image_patch("agent:" + std::to_string(step + 2))); break;
      case 8:
      case 9: delete_pod(); break;
      case 10:
      case 11: evict(); break;
      case 12: c_.fail_node(node(ex_.random_below(kNodes))); break;
      case 13: recover_nodes(); break;
      case 14: (void)c_.patch(Deployment::resource(), "shop", "vip", replicas_patch(ex_.random_below(5))); break;
      case 15: (void)c_.apply(job("job-" + std::to_string(ex_.random_below(3)))); break;
      case 16: namespace_comes_or_goes(); break;
      case 17: cordon(ex_.random_below(kNodes), ex_.random_unit() < 0.5); break;
      case 18: web_is_made_again(); break;
      default:
        if (jumps_) jump();
        else write_note(step);
    }
  }

  static std::string node(uint64_t i) { return "hollow-0000" + std::to_string(i); }
  void recover_nodes() {
    for (int i = 0; i < kNodes; ++i) c_.recover_node(node(static_cast<uint64_t>(i)));
  }
  void cordon(uint64_t i, bool yes) {
    (void)c_.patch(Node::resource(), "", node(i), *json::parse(std::string(R"({"spec":{"unschedulable":)") + (yes ? "true" : "null") + "}}"));
  }
  void jump() {
    auto all = c_.components();
    Duration by(static_cast<int64_t>((ex_.random_unit() * 2 - 1) * 120e9));
    c_.jump_clock(all[ex_.random_below(all.size())], by);
  }
  void delete_pod() {
    auto pods = c_.list(Pod::resource(), "shop");
    if (pods.empty()) return;
    const json::Value& p = pods[ex_.random_below(pods.size())];
    (void)c_.remove(Pod::resource(), "shop", p["metadata"]["name"].as_string());
  }
  void evict() {
    std::vector<json::Value> pods = c_.list(Pod::resource(), "shop");
    std::erase_if(pods, [](const json::Value& p) { return p["metadata"]["labels"]["app"].as_string() != "web" || !p["metadata"]["deletionTimestamp"].is_null(); });
    if (pods.empty()) return;
    const json::Value& p = pods[ex_.random_below(pods.size())];
    bool ready = false;
    for (const json::Value& cond : p.path({"status", "conditions"}).as_array())
      if (cond["type"].as_string() == "Ready") ready = cond["status"].as_string() == "True";
    auto allowed = [this]() -> int64_t {
      auto b = c_.get(kube::policy::PodDisruptionBudget::resource(), "shop", "web");
      return b.ok() ? std::as_const(*b).path({"status", "disruptionsAllowed"}).as_int() : -1;
    };
    int64_t before = allowed();
    std::string name = p["metadata"]["name"].as_string();
    Status s = c_.evict("shop", name);
    if (s.ok() && ready && before == 0) wrong_.push_back("Pod " + name + " was evicted although its budget allows no disruption");
    if (!s.ok() && ready && before > 0 && s.error().code == Code::kTooMany) wrong_.push_back("Pod " + name + " was not evicted although its budget allows it: " + s.error().message);
  }
  // From nothing to more than the most replicas can bear; now and then nobody knows.
  void load_changes() {
    c_.loads().down = ex_.random_unit() < 0.2;
    c_.loads().set("Deployment shop/front", "cpu", static_cast<int64_t>(ex_.random_below(kFrontRequestMilli * kFrontMax)));
  }
  void write_note(int step) {
    std::string name = "note-" + std::to_string(ex_.random_below(5));
    if (c_.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {n: \"" + std::to_string(step) + "\"}\n").ok()) notes_[name] = step;
  }
  void namespace_comes_or_goes() {
    std::string ns = "tmp-" + std::to_string(ex_.random_below(2));
    if (c_.get(Namespace::resource(), "", ns).ok()) {
      (void)c_.remove(Namespace::resource(), "", ns);
      return;
    }
    (void)c_.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: " + ns + "}\n" + deployment(ns, "some", 3, R"({containers: [{name: main, image: "x:1"}]})") +
                   "---\napiVersion: v1\nkind: Service\nmetadata: {name: some, namespace: " + ns + "}\nspec: {selector: {app: some}, ports: [{port: 80}]}\n");
  }
  void web_is_made_again() {
    static const char* const kWays[] = {"Background", "Foreground", "Orphan"};
    (void)c_.remove(Deployment::resource(), "shop", "web", kWays[ex_.random_below(3)]);
    c_.run_for(Duration(static_cast<int64_t>(3e9 * ex_.random_unit())));
    (void)c_.apply(web());
  }

  void repair() {
    c_.faults() = Faults();
    c_.loads().down = false;
    recover_nodes();
    for (int i = 0; i < kNodes; ++i) cordon(static_cast<uint64_t>(i), false);
    if (jumps_)
      for (auto& component : c_.components()) c_.jump_clock(component, Duration(0));
    (void)c_.patch(Deployment::resource(), "shop", "vip", replicas_patch(1));  // all has room now
    c_.run_for(std::chrono::minutes(1));
    (void)c_.apply(web());  // its deletion in the foreground may have been under way
    c_.run_for(std::chrono::minutes(1));
    dog_->hearsay = std::chrono::seconds(10);
  }

  std::vector<std::string> settle(Duration limit) {
    std::vector<std::string> left;
    Time end = ex_.now() + limit;
    do {
      c_.run_for(std::chrono::seconds(5));
      left = settled(c_);
    } while (!left.empty() && ex_.now() < end);
    return left;
  }

  // At rest nobody writes anything but heartbeats, and upstream's reminder every 15 s that a claim waits for its
  // first consumer (an event's count, at last once in five minutes).
  void check_rest() {
    c_.run_for(std::chrono::seconds(90));
    std::set<std::string> reminders;
    for (const json::Value& claim : c_.list(kube::core::PersistentVolumeClaim::resource()))
      if (claim.path({"status", "phase"}).as_string() == "Pending")
        reminders.insert("persistent-volume-binder patch events " + claim["metadata"]["namespace"].as_string() + "/" + claim["metadata"]["name"].as_string());
    c_.trace().writes().clear();
    c_.run_for(std::chrono::minutes(1));
    for (auto& [what, n] : c_.trace().writes())
      if (!reminders.count(what.substr(0, what.rfind('.'))) && what.find(" leases.coordination.k8s.io ") == std::string::npos && !what.starts_with("hollow ")) wrong_.push_back("at rest: " + what + " " + std::to_string(n) + " times");
  }

  void check_notes() {
    for (auto& [name, n] : notes_) {
      auto m = c_.get(kube::core::ConfigMap::resource(), "default", name);
      if (!m.ok() || std::as_const(*m).path({"data", "n"}).as_string() != std::to_string(n)) wrong_.push_back("the acknowledged write of ConfigMap " + name + " is lost");
    }
  }

  StormOptions options_;
  bool jumps_;
  Cluster c_;
  VirtualExecutor& ex_;
  std::unique_ptr<Watchdog> dog_;
  std::map<std::string, int> notes_;
  std::vector<std::string> wrong_;
};

}  // namespace

StormReport storm(uint64_t seed, StormOptions options) { return Storm(seed, options).run(); }

}  // namespace caravel::sim
