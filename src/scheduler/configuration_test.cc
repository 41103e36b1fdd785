#include "scheduler/configuration.h"

#include <gtest/gtest.h>

namespace caravel::scheduler {
namespace {

const std::string kHead = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

Configuration parse(const std::string& text) {
  auto c = parse_configuration(kHead + text);
  EXPECT_TRUE(c.ok()) << (c.ok() ? "" : c.error().message);
  return c.ok() ? *c : Configuration{};
}
std::string problem(const std::string& text) {
  auto c = parse_configuration(kHead + text);
  return c.ok() ? "taken" : c.error().message;
}
std::string args_problem(const std::string& plugin, const std::string& args) {
  return problem("profiles: [{pluginConfig: [{name: " + plugin + ", args: " + args + "}]}]");
}

TEST(Configuration, AnEmptyOneIsTheDefaultProfile) {
  Configuration c = parse("");
  ASSERT_EQ(c.profiles.size(), 1u);
  EXPECT_EQ(c.profiles[0].scheduler_name, "default-scheduler");
  EXPECT_EQ(c.profiles[0].filters, kEveryFilter);
  EXPECT_EQ(c.profiles[0].weights.taints, 3);
  EXPECT_EQ(c.queue.backoff_max, Duration(std::chrono::seconds(10)));
}

TEST(Configuration, WhatAnotherKindOfProcessNeedsIsAccepted) {
  parse("parallelism: 4\npercentageOfNodesToScore: 50\nleaderElection: {leaderElect: false}\nclientConnection: {kubeconfig: /x, qps: 100}\n");
}

TEST(Configuration, ProfilesHaveNamesAndBackOffIsConfigurable) {
  Configuration c = parse("podInitialBackoffSeconds: 2\npodMaxBackoffSeconds: 60\nprofiles: [{schedulerName: a}, {schedulerName: b}]");
  ASSERT_EQ(c.profiles.size(), 2u);
  EXPECT_EQ(c.profiles[1].scheduler_name, "b");
  EXPECT_EQ(c.queue.backoff_first, Duration(std::chrono::seconds(2)));
  EXPECT_EQ(problem("profiles: [{schedulerName: a}, {}]"), "profiles[1].schedulerName: Required value");
  EXPECT_EQ(problem("profiles: [{schedulerName: a}, {schedulerName: a}]"), "profiles[1].schedulerName: Duplicate value: \"a\"");
}

TEST(Configuration, MultiPointAndSinglePointsTurnPluginsOnAndOff) {
  Configuration c = parse(R"(
profiles:
- plugins:
    multiPoint:
      enabled: [{name: ImageLocality, weight: 7}]
      disabled: [{name: PodTopologySpread}]
    score:
      enabled: [{name: TaintToleration, weight: 9}, {name: NodeAffinity}]
      disabled: [{name: InterPodAffinity}]
    filter:
      disabled: [{name: NodePorts}]
)");
  const Profile& p = c.profiles.at(0);
  EXPECT_EQ(p.weights.images, 7);
  EXPECT_EQ(p.weights.taints, 9);
  EXPECT_EQ(p.weights.node_affinity, 1) << "a weight that is not given is 1";
  EXPECT_EQ(p.weights.pod_affinity, 0);
  EXPECT_EQ(p.weights.spread, 0);
  EXPECT_EQ(p.weights.fit, 1);
  EXPECT_EQ(p.filters, kEveryFilter & ~uint32_t{kPodTopologySpread | kNodePorts});
}

TEST(Configuration, AStarDisablesAllThatIsNotEnabledByName) {
  Configuration c = parse(R"(
profiles:
- plugins:
    score:
      disabled: [{name: "*"}]
      enabled: [{name: NodeResourcesFit, weight: 5}]
    postFilter:
      disabled: [{name: "*"}]
)");
  const Weights& w = c.profiles.at(0).weights;
  EXPECT_EQ(w.fit, 5);
  EXPECT_EQ(w.taints + w.node_affinity + w.spread + w.pod_affinity + w.balanced + w.images, 0);
  EXPECT_EQ(c.profiles[0].filters, kEveryFilter);
  EXPECT_FALSE(c.profiles[0].preempts);
  EXPECT_EQ(problem("profiles: [{plugins: {bind: {disabled: [{name: '*'}]}}}]"),
            "profiles[0].plugins.bind: Required value: at least one bind plugin is needed for profile with scheduler name \"default-scheduler\"");
}

TEST(Configuration, PluginsThatDoNotExistOrDoNotExtendAPointAreErrors) {
  EXPECT_EQ(problem("profiles: [{plugins: {filter: {enabled: [{name: Coscheduling}]}}}]"),
            "profiles[0].plugins.filter.enabled[0].name: Invalid value: \"Coscheduling\": plugin \"Coscheduling\" does not exist");
  EXPECT_EQ(problem("profiles: [{plugins: {score: {enabled: [{name: NodePorts}]}}}]"),
            "profiles[0].plugins.score.enabled[0].name: Invalid value: \"NodePorts\": plugin \"NodePorts\" does not extend score plugin");
}

TEST(Configuration, PluginsThatAreNoMoreAreNamed) {
  const std::string was = "was invalid in version \"kubescheduler.config.k8s.io/v1\" (KubeSchedulerConfiguration is version \"kubescheduler.config.k8s.io/v1\")";
  EXPECT_EQ(problem("profiles: [{plugins: {filter: {enabled: [{name: EBSLimits}]}}}]"), "profiles[0].plugins.filter.enabled[0]: Invalid value: \"EBSLimits\": " + was);
  EXPECT_EQ(problem("profiles: [{pluginConfig: [{name: GCEPDLimits}]}]"), "profiles[0].pluginConfig[0]: Invalid value: \"GCEPDLimits\": " + was);
}

TEST(Configuration, EveryDefaultPluginMayBeNamed) {
  Configuration c = parse("profiles: [{plugins: {multiPoint: {enabled: [{name: DynamicResources}, {name: NodeDeclaredFeatures}]}}, pluginConfig: [{name: NodePorts, args: {x: 1}}]}]");
  EXPECT_TRUE(c.profiles.at(0).deallocates);
  c = parse("profiles: [{plugins: {postFilter: {disabled: [{name: DynamicResources}]}}}]");
  EXPECT_FALSE(c.profiles.at(0).deallocates);
  EXPECT_TRUE(c.profiles.at(0).preempts);
}

TEST(Configuration, ArgumentsOfThePlugins) {
  Configuration c = parse(R"(
profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      apiVersion: kubescheduler.config.k8s.io/v1
      kind: NodeResourcesFitArgs
      ignoredResourceGroups: [example.com]
      scoringStrategy:
        type: RequestedToCapacityRatio
        resources: [{name: nvidia.com/gpu, weight: 5}, {name: cpu}]
        requestedToCapacityRatio: {shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]}
  - name: NodeResourcesBalancedAllocation
    args: {resources: [{name: cpu, weight: 1}]}
  - name: InterPodAffinity
    args: {hardPodAffinityWeight: 20, ignorePreferredTermsOfExistingPods: true}
  - name: PodTopologySpread
    args:
      defaultingType: List
      defaultConstraints: [{maxSkew: 2, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms: [{matchExpressions: [{key: pool, operator: In, values: [gold]}]}]
  - name: DefaultPreemption
    args: {minCandidateNodesPercentage: 20, minCandidateNodesAbsolute: 5}
  - name: VolumeBinding
    args: {bindTimeoutSeconds: 30}
)");
  const Profile& p = c.profiles.at(0);
  EXPECT_EQ(p.fit, FitStrategy::kRequestedToCapacityRatio);
  ASSERT_EQ(p.fit_resources.size(), 2u);
  EXPECT_EQ(p.fit_resources[0].weight, 5);
  EXPECT_EQ(p.fit_shape.size(), 2u);
  EXPECT_TRUE(p.ignored_groups.count("example.com"));
  EXPECT_EQ(p.balanced_resources.size(), 1u);
  EXPECT_EQ(p.hard_pod_affinity_weight, 20);
  EXPECT_TRUE(p.ignore_preferred_terms_of_existing_pods);
  ASSERT_EQ(p.default_constraints.size(), 1u);
  EXPECT_TRUE(p.default_constraints[0].hard);
  EXPECT_FALSE(p.default_spread);
  ASSERT_TRUE(p.enforced_nodes);
  EXPECT_EQ(p.candidates_percentage, 20);
  EXPECT_EQ(p.volume_binding_timeout, Duration(std::chrono::seconds(30)));
}

TEST(Configuration, BadValuesNameTheirField) {
  const std::string at = "profiles[0].pluginConfig[0].args.";
  EXPECT_EQ(args_problem("NodeResourcesFit", "{scoringStrategy: {type: Best}}"),
            at + "scoringStrategy.type: Unsupported value: \"Best\": supported values: \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\"");
  EXPECT_EQ(args_problem("NodeResourcesFit", "{scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 101}]}}"),
            at + "scoringStrategy.resources[0].weight: Invalid value: 101: resource weight of cpu not in valid range (0, 100]");
  EXPECT_EQ(args_problem("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio}}"),
            at + "scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is RequestedToCapacityRatio");
  EXPECT_EQ(args_problem("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio, requestedToCapacityRatio: {}}}"),
            at + "scoringStrategy.requestedToCapacityRatio.shape: Required value: at least one point must be specified");
  EXPECT_EQ(args_problem("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio, requestedToCapacityRatio: {shape: [{utilization: 50, score: 1}, {utilization: 50, score: 11}]}}}"),
            "[" + at + "scoringStrategy.requestedToCapacityRatio.shape[1].utilization: Invalid value: 50: values must be sorted in increasing order, " + at +
                "scoringStrategy.requestedToCapacityRatio.shape[1].score: Invalid value: 11: not in valid range [0, 10]]");
  EXPECT_EQ(args_problem("NodeResourcesFit", "{scoringStrategy: {type: LeastAllocated, requestedToCapacityRatio: {shape: []}}}"),
            at + "scoringStrategy.requestedToCapacityRatio: Forbidden: must be nil when type is not RequestedToCapacityRatio");
  EXPECT_EQ(args_problem("NodeResourcesBalancedAllocation", "{resources: [{name: cpu, weight: 2}, {name: cpu}]}"),
            "[" + at + "resources[0].weight: Invalid value: 2: must be 1, " + at + "resources[1].name: Duplicate value: \"cpu\"]");
  EXPECT_EQ(args_problem("DefaultPreemption", "{minCandidateNodesPercentage: 0, minCandidateNodesAbsolute: 0}"),
            "[" + at + "minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same time as minCandidateNodesAbsolute, " + at +
                "minCandidateNodesAbsolute: Invalid value: 0: cannot be zero at the same time as minCandidateNodesPercentage]");
  EXPECT_EQ(args_problem("DefaultPreemption", "{minCandidateNodesPercentage: 101}"), at + "minCandidateNodesPercentage: Invalid value: 101: not in valid range [0, 100]");
  EXPECT_EQ(args_problem("InterPodAffinity", "{hardPodAffinityWeight: 101}"), at + "hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]");
  EXPECT_EQ(args_problem("PodTopologySpread", "{defaultConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}"),
            at + "defaultingType: Invalid value: \"System\": when .defaultConstraints are not empty");
  EXPECT_EQ(problem("podInitialBackoffSeconds: 0"), "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0");
  EXPECT_EQ(problem("podInitialBackoffSeconds: 20"), "podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to PodInitialBackoffSeconds");
  EXPECT_EQ(problem("percentageOfNodesToScore: 101"), "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]");
  EXPECT_EQ(problem("parallelism: 0\npodMaxBackoffSeconds: 0"),
            "[parallelism: Invalid value: 0: should be an integer value greater than zero, podMaxBackoffSeconds: Invalid value: 0: must be greater than or equal "
            "to PodInitialBackoffSeconds]");
}

TEST(Configuration, UnknownFieldsAndOtherKindsAreErrors) {
  EXPECT_EQ(problem("foo: 1\nprofiles: [{plugin: {}}]"), "strict decoding error: unknown field \"foo\", unknown field \"profiles[0].plugin\"");
  EXPECT_FALSE(parse_configuration("kind: KubeSchedulerConfiguration\napiVersion: kubescheduler.config.k8s.io/v1beta3").ok());
  EXPECT_FALSE(parse_configuration("").ok());
  EXPECT_EQ(problem("profiles: 3"), "profiles: Invalid value: 3: must be a list");
}

TEST(Configuration, Extenders) {
  Configuration c = parse(R"(
extenders:
- urlPrefix: https://gpu.example.com/scheduler
  filterVerb: filter
  prioritizeVerb: prioritize
  weight: 5
  enableHTTPS: true
  httpTimeout: 2s
  nodeCacheCapable: true
  managedResources: [{name: example.com/foo, ignoredByScheduler: true}]
)");
  ASSERT_EQ(c.extenders.size(), 1u);
  EXPECT_EQ(c.extenders[0].timeout, Duration(std::chrono::seconds(2)));
  EXPECT_TRUE(c.profiles[0].ignored_resources.count("example.com/foo"));
  EXPECT_EQ(problem("extenders: [{urlPrefix: http://x, prioritizeVerb: p}]"), "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it");
  EXPECT_EQ(problem("extenders: [{urlPrefix: http://x, bindVerb: b}, {urlPrefix: http://y, bindVerb: b}]"),
            "extenders: Invalid value: \"found 2 extenders implementing bind\": only one extender can implement bind");
  for (const char* name : {"cpu", "kubernetes.io/x", "requests.example.com/x"})
    EXPECT_EQ(problem(std::string("extenders: [{urlPrefix: http://x, managedResources: [{name: ") + name + "}]}]"),
              std::string("extenders[0].managedResources[0].name: Invalid value: \"") + name + "\": is an invalid extended resource name");
}

}  // namespace
}  // namespace caravel::scheduler
