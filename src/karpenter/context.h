// What Karpenter's controllers share: clients, informers, the cloud provider, and small reads and writes of
// NodePools, NodeClaims and EC2NodeClasses, which are handled as documents (json::Value).
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/scope.h"
#include "karpenter/cloud_provider.h"
#include "karpenter/model.h"
#include "kube/client.h"
#include "kube/conditions.h"
#include "kube/dynamic_informer.h"
#include "kube/events.h"
#include "kube/informer.h"
#include "kube/types/apps.h"
#include "kube/types/core.h"

namespace caravel::karpenter {

namespace core = kube::core;

inline const kube::Resource kNodePools{"karpenter.sh", "v1", "nodepools", "NodePool", false};
inline const kube::Resource kNodeClaims{"karpenter.sh", "v1", "nodeclaims", "NodeClaim", false};
inline const kube::Resource kNodeClasses{"karpenter.k8s.aws", "v1", "ec2nodeclasses", "EC2NodeClass", false};

inline constexpr char kTerminationFinalizer[] = "karpenter.sh/termination";
inline constexpr char kNodeClassFinalizer[] = "karpenter.k8s.aws/termination";
inline constexpr char kUnregisteredTaint[] = "karpenter.sh/unregistered";
inline constexpr char kDisruptedTaint[] = "karpenter.sh/disrupted";

struct Settings {
  CloudSettings cloud;
  std::string interruption_queue;
  Duration batch_idle = std::chrono::seconds(1), batch_max = std::chrono::seconds(10);
  Duration disruption_poll = std::chrono::seconds(10);        // between two looks for nodes to disrupt
  Duration disruption_validation = std::chrono::seconds(15);  // how long a decision must stay right before it is carried out
  bool respect_preferences = true;
};

struct Metrics {
  explicit Metrics(MetricRegistry& r);
  MetricFamily &claims_created, &claims_terminated, &claims_disrupted, &nodes_created, &nodes_terminated;
  MetricFamily &scheduling_duration, &unschedulable_pods, &queue_depth, &decisions, &cloud_duration, &cloud_errors;
};

struct Context {
  using NodePtr = kube::Informer<core::Node>::Ptr;
  using PodPtr = kube::Informer<core::Pod>::Ptr;
  using Doc = kube::DynamicInformer::Ptr;

  Context(Executor& ex, kube::Client client, aws::Client& aws, Settings settings);
  void start(TaskScope& scope);
  Task<void> wait_synced();

  // The node of a claim, by provider id; null when it has not joined.
  NodePtr node_of(const json::Value& claim) const;
  // The claim of a node; null for nodes that are not ours.
  Doc claim_of(const core::Node& node) const;
  std::vector<PodPtr> pods_on(const std::string& node) const { return pods.by_index("node", node); }

  // Writes the changed condition list (and other status fields) of a document.
  Task<Result<json::Value>> write_status(kube::Resource r, json::Value object, json::Value status);
  Task<Status> add_finalizer(kube::Resource r, json::Value object, std::string finalizer);
  Task<Status> remove_finalizer(kube::Resource r, json::Value object, std::string finalizer);

  Executor& ex;
  kube::Client client;
  Settings settings;
  Log log{"karpenter"};
  MetricRegistry registry;
  Metrics metrics;
  CloudProvider cloud;
  kube::EventRecorder events;
  kube::Informer<core::Pod> pods;
  kube::Informer<core::Node> nodes;
  kube::Informer<core::Namespace> namespaces;
  kube::Informer<kube::apps::DaemonSet> daemon_sets;
  kube::DynamicInformer pools, claims, node_classes;
  // Pods that have a place promised (until when), and nodes with promised pods.
  std::map<std::string, Time> nominated_nodes;
  std::map<std::string, Time> last_pod_event;  // by claim: when a pod last came or went
};

// Reads of documents.
inline const std::string& provider_id(const json::Value& claim) { return claim.path({"status", "providerID"}).as_string(); }
std::string instance_id(const std::string& provider_id);  // "aws:///us-east-1a/i-0ab" -> "i-0ab"
bool condition_true(const json::Value& object, std::string_view type);
Time creation_time(const json::Value& object);
// When the condition last changed; zero when it is absent.
Time condition_time(const json::Value& object, std::string_view type);
Requirements requirements_from(const json::Value& list);  // spec.requirements
json::Value requirements_to(const Requirements& r);
std::vector<Taint> taints_from(const json::Value& list);
std::vector<Taint> taints_from(const std::vector<core::Taint>& list);
Labels labels_from(const json::Value& map);
std::optional<Duration> duration_from(const json::Value& text);  // nullopt for absent and "Never"
kube::ObjectReference about(const json::Value& object);
json::Value quantities_json(const Amounts& a);
Amounts amounts_from(const std::map<std::string, kube::Quantity>& m);
Amounts amounts_from(const json::Value& m);

}  // namespace caravel::karpenter
