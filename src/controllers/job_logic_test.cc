#include "controllers/job_logic.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::batch::Job;
using kube::batch::JobStatus;
using kube::core::Pod;

const Time kNow = *parse_rfc3339("2026-01-01T10:00:00Z");

// A Job and its pods; run() is one look of the controller at which all writes succeed.
struct World {
  Job job;
  std::map<std::string, Pod> pods;
  Time now = kNow;
  JobBackoff backoff;
  std::vector<std::string> events;
  std::optional<Duration> again;
  int next = 0;

  explicit World(int completions = 3, int parallelism = 2) {
    job.metadata.name = "work";
    job.metadata.namespace_ = "team";
    job.metadata.uid = "job-uid";
    job.spec.completions = completions;
    job.spec.parallelism = parallelism;
    job.spec.backoff_limit = 6;
    job.spec.template_.spec.restart_policy = "Never";
    job.spec.template_.spec.containers.resize(1);
    job.spec.template_.spec.containers[0].name = "main";
  }
  World& indexed() {
    job.spec.completion_mode = "Indexed";
    return *this;
  }
  World& per_index(int limit) {
    indexed();
    job.spec.backoff_limit = 2147483647;
    job.spec.backoff_limit_per_index = limit;
    return *this;
  }
  World& rule(const char* action, const char* op, std::vector<int32_t> codes, const char* container = nullptr) {
    kube::batch::PodFailurePolicyRule r;
    r.action = action;
    r.on_exit_codes.emplace();
    r.on_exit_codes->operator_ = op;
    r.on_exit_codes->values = std::move(codes);
    if (container) r.on_exit_codes->container_name = container;
    add(std::move(r));
    return *this;
  }
  World& rule_on(const char* action, const char* condition) {
    kube::batch::PodFailurePolicyRule r;
    r.action = action;
    r.on_pod_conditions.push_back({condition, "True"});
    add(std::move(r));
    return *this;
  }
  World& success(std::optional<std::string> indexes, std::optional<int32_t> count) {
    if (!job.spec.success_policy) job.spec.success_policy.emplace();
    job.spec.success_policy->rules.push_back({indexes, count});
    return *this;
  }
  void add(kube::batch::PodFailurePolicyRule r) {
    if (!job.spec.pod_failure_policy) job.spec.pod_failure_policy.emplace();
    job.spec.pod_failure_policy->rules.push_back(std::move(r));
  }

  JobInput input() const {
    JobInput in;
    in.job = std::make_shared<const Job>(job);
    for (auto& [name, p] : pods) in.pods.push_back(std::make_shared<const Pod>(p));
    in.backoff = backoff;
    return in;
  }
  void erase(const std::string& uid) {
    std::erase_if(pods, [&](auto& e) { return e.second.metadata.uid == uid; });
  }
  Pod& by_uid(const std::string& uid) {
    for (auto& [name, p] : pods)
      if (p.metadata.uid == uid) return p;
    ADD_FAILURE() << "no pod " << uid;
    return pods.begin()->second;
  }
  void free(Pod& p) { std::erase(p.metadata.finalizers, kJobTracking); }

  // `crash`: dies after the status was written and before the finalizers go.
  JobPlan look(bool crash = false) {
    JobInput in = input();
    JobPlan plan = plan_job(in, now);
    again = plan.again;
    JobOutcome outcome;
    for (auto& p : plan.remove) {
      outcome.removed.insert(p->metadata.uid);
      Pod& mine = by_uid(p->metadata.uid);
      if (plan.forget_removed) free(mine);
      mine.metadata.deletion_timestamp = now;
    }
    for (auto p : plan.create) {
      std::string name = "p" + std::to_string(next++);
      p.metadata.name = p.metadata.uid = name;
      p.metadata.creation_timestamp = now;
      p.status.phase = "Pending";
      pods[name] = p;
      ++outcome.created;
    }
    JobAccount a = account_job(in, plan, outcome, now);
    job.status = a.status;
    note(a);
    if (crash) return plan;
    backoff = plan.backoff;
    for (auto& p : a.untrack) {
      free(by_uid(p->metadata.uid));
      a.tracked.erase(p->metadata.uid);
    }
    job.status = finish_job(job, a, now);
    note(a);
    return plan;
  }
  void note(JobAccount& a) {
    for (auto& e : a.events) events.push_back(e.reason);
    a.events.clear();
  }
  World& run(int looks = 1) {
    for (int i = 0; i < looks; ++i) look();
    return *this;
  }
  // What nodes do: deleted pods without finalizer go.
  void reap() {
    std::erase_if(pods, [](auto& e) { return e.second.metadata.deletion_timestamp && e.second.metadata.finalizers.empty(); });
  }
  void end(const std::string& name, int code) {
    Pod& p = pods.at(name);
    p.status.phase = code == 0 ? "Succeeded" : "Failed";
    kube::core::ContainerStatus c;
    c.name = "main";
    c.state.terminated.emplace();
    c.state.terminated->exit_code = code;
    c.state.terminated->finished_at = now;
    p.status.container_statuses = {c};
  }
  void running(const std::string& name) { pods.at(name).status.phase = "Running"; }
  std::string named(int index) const {  // the pod that runs for an index
    for (auto& [name, p] : pods)
      if (is_active(p) && index_of(p) == index) return name;
    return "none";
  }
  std::string condition(const char* type) const {
    auto* c = find(job.status, type);
    return c ? c->status + " " + c->reason + ": " + c->message : "none";
  }
  bool is_finished() const { return is_done(job.status); }
};

TEST(Job, RunsPodsUntilAsManyHaveSucceededAsAskedFor) {
  World w(3, 2);
  w.run();
  EXPECT_EQ(w.pods.size(), 2u);
  EXPECT_EQ(w.job.status.active, 2);
  EXPECT_EQ(w.job.status.start_time, kNow);
  EXPECT_TRUE(is_tracked(w.pods.at("p0")));
  w.end("p0", 0);
  w.run();
  EXPECT_EQ(w.job.status.succeeded, 1);
  EXPECT_EQ(w.pods.size(), 3u);
  w.end("p1", 0);
  w.end("p2", 0);
  w.run();
  EXPECT_EQ(w.condition("SuccessCriteriaMet"), "True CompletionsReached: Reached expected number of succeeded pods");
  EXPECT_EQ(w.condition("Complete"), "True CompletionsReached: Reached expected number of succeeded pods");
  EXPECT_EQ(w.job.status.completion_time, kNow);
  EXPECT_EQ(w.job.status.succeeded, 3);
  EXPECT_EQ(w.events, std::vector<std::string>{"Completed"});
}

TEST(Job, APodIsCountedOnceWhateverDiesInBetween) {
  World w(2, 2);
  w.run();
  w.end("p0", 0);
  w.end("p1", 1);
  for (int i = 0; i < 3; ++i) w.look(true);  // dies each time before the finalizers go
  EXPECT_EQ(w.job.status.succeeded, 0);
  EXPECT_EQ(w.job.status.uncounted_terminated_pods->succeeded, std::vector<std::string>{"p0"});
  EXPECT_EQ(w.job.status.uncounted_terminated_pods->failed, std::vector<std::string>{"p1"});
  w.free(w.pods.at("p0"));  // died after this one's finalizer: it may be gone by now
  w.pods.erase("p0");
  w.run();
  EXPECT_EQ(w.job.status.succeeded, 1);
  EXPECT_EQ(w.job.status.failed, 1);
  w.run(3);
  EXPECT_EQ(w.job.status.succeeded, 1);
  EXPECT_EQ(w.job.status.failed, 1);
  EXPECT_TRUE(w.job.status.uncounted_terminated_pods->failed.empty());
}

TEST(Job, AStaleCopyOfAReleasedPodIsNotCountedAgain) {
  World w(2, 1);
  w.run();
  w.end("p0", 0);
  Pod stale = w.pods.at("p0");
  w.run();
  ASSERT_EQ(w.job.status.succeeded, 1);
  w.pods["p0"] = stale;
  JobInput in = w.input();
  in.released.insert("p0");
  JobPlan plan = plan_job(in, w.now);
  JobAccount a = account_job(in, plan, {}, w.now);
  EXPECT_EQ(plan.succeeded, 1);
  EXPECT_TRUE(a.untrack.empty());
  EXPECT_EQ(finish_job(w.job, a, w.now).succeeded, 1);
}

TEST(Job, WithoutCompletionsTheFirstSuccessEndsItOnceAllPodsAreThrough) {
  World w(0, 3);
  w.job.spec.completions.reset();
  w.run();
  EXPECT_EQ(w.job.status.active, 3);
  w.end("p0", 0);
  w.run();
  EXPECT_FALSE(w.is_finished());
  EXPECT_EQ(w.pods.size(), 3u);
  w.end("p1", 1);
  w.end("p2", 0);
  w.run();
  EXPECT_TRUE(w.is_finished());
  EXPECT_EQ(w.job.status.succeeded, 2);
}

TEST(Job, ReplacementsWaitTenSecondsDoublingUpToTenMinutes) {
  World w(1, 1);
  w.job.spec.backoff_limit = 100;
  w.run();
  std::vector<int64_t> waits;
  for (int i = 0; i < 8; ++i) {
    w.end("p" + std::to_string(i), 1);
    w.run();
    EXPECT_TRUE(w.again);
    waits.push_back(std::chrono::duration_cast<std::chrono::seconds>(w.again.value_or(Duration(0))).count());
    w.now = w.now + w.again.value_or(Duration(0));
    w.run();
    EXPECT_EQ(w.job.status.active, 1);
  }
  EXPECT_EQ(waits, (std::vector<int64_t>{10, 20, 40, 80, 160, 320, 600, 600}));
}

TEST(Job, ASuccessEndsTheBackoff) {
  World w(5, 2);
  w.run();
  w.end("p0", 1);
  w.run();
  EXPECT_EQ(w.backoff.failures, 1);
  w.now = w.now + 1s;
  w.end("p1", 0);
  w.run();
  EXPECT_EQ(w.backoff, JobBackoff());
  EXPECT_EQ(w.job.status.active, 2);
}

TEST(Job, TooManyFailuresEndItWhenTheLastPodIsGone) {
  World w(3, 2);
  w.job.spec.backoff_limit = 0;
  w.run();
  w.running("p1");
  w.end("p0", 1);
  w.run();
  EXPECT_EQ(w.condition("FailureTarget"), "True BackoffLimitExceeded: Job has reached the specified backoff limit");
  EXPECT_EQ(w.condition("Failed"), "none");
  EXPECT_EQ(w.job.status.terminating, 1);
  EXPECT_EQ(w.job.status.active, 0);
  w.reap();
  w.run();
  EXPECT_EQ(w.condition("Failed"), "True BackoffLimitExceeded: Job has reached the specified backoff limit");
  EXPECT_EQ(w.job.status.failed, 2);  // the one that was deleted counts
  EXPECT_FALSE(w.job.status.completion_time);
  EXPECT_EQ(w.events, std::vector<std::string>{"BackoffLimitExceeded"});
}

TEST(Job, RestartsInPlaceCountAgainstTheLimit) {
  World w(1, 1);
  w.job.spec.template_.spec.restart_policy = "OnFailure";
  w.job.spec.backoff_limit = 2;
  w.run();
  w.running("p0");
  kube::core::ContainerStatus c;
  c.restart_count = 1;
  w.pods.at("p0").status.container_statuses = {c};
  w.run();
  EXPECT_EQ(w.condition("FailureTarget"), "none");
  w.pods.at("p0").status.container_statuses[0].restart_count = 2;
  w.run();
  EXPECT_EQ(w.condition("FailureTarget"), "True BackoffLimitExceeded: Job has reached the specified backoff limit");
}

TEST(Job, TheDeadlineEndsItAndIsWaitedFor) {
  World w(1, 1);
  w.job.spec.active_deadline_seconds = 30;
  w.run();
  w.now = w.now + 10s;
  w.run();
  EXPECT_EQ(w.again, Duration(20s));
  w.now = w.now + 20s;
  w.run();
  w.reap();
  w.run();
  EXPECT_EQ(w.condition("Failed"), "True DeadlineExceeded: Job was active longer than specified deadline");
}

TEST(Job, SuspensionTakesThePodsWithoutCountingThemAndResumingStartsTheClockAgain) {
  World w(2, 2);
  w.job.spec.active_deadline_seconds = 30;
  w.run();
  w.job.spec.suspend = true;
  w.run();
  EXPECT_EQ(w.condition("Suspended"), "True JobSuspended: Job suspended");
  EXPECT_EQ(w.job.status.active, 0);
  EXPECT_EQ(w.job.status.terminating, 2);
  w.reap();
  w.now = w.now + 100s;
  w.run();
  EXPECT_EQ(w.job.status.failed, 0);
  EXPECT_FALSE(w.is_finished());
  w.job.spec.suspend = false;
  w.run();
  EXPECT_EQ(w.condition("Suspended"), "False JobResumed: Job resumed");
  EXPECT_EQ(w.job.status.start_time, w.now);
  EXPECT_EQ(w.job.status.active, 2);
  EXPECT_EQ(w.events, (std::vector<std::string>{"Suspended", "Resumed"}));
}

TEST(Job, MadeSuspendedItHasNoStartTime) {
  World w(1, 1);
  w.job.spec.suspend = true;
  w.run();
  EXPECT_FALSE(w.job.status.start_time);
  EXPECT_TRUE(w.pods.empty());
}

TEST(Job, LessParallelismDeletesPodsThatServeLeast) {
  World w(5, 3);
  w.run();
  w.running("p1");
  w.job.spec.parallelism = 1;
  w.run();
  EXPECT_EQ(w.job.status.active, 1);
  EXPECT_TRUE(is_active(w.pods.at("p1")));
  w.reap();
  w.run();
  EXPECT_EQ(w.job.status.failed, 0);
}

TEST(Job, DeletedPodsAreReplacedAtOnceUnlessItWaitsForTheirEnd) {
  for (bool wait : {false, true}) {
    World w(1, 1);
    w.job.spec.pod_replacement_policy = wait ? "Failed" : "TerminatingOrFailed";
    w.run();
    w.pods.at("p0").metadata.deletion_timestamp = w.now;
    w.now = w.now + 30s;
    w.run();
    EXPECT_EQ(w.job.status.active, wait ? 0 : 1);
    EXPECT_EQ(w.job.status.terminating, 1);
    EXPECT_EQ(w.job.status.failed, wait ? 0 : 1);
    w.pods.at("p0").status.phase = "Failed";
    w.now = w.now + 30s;
    w.run();
    EXPECT_EQ(w.job.status.active, 1);
    EXPECT_EQ(w.job.status.failed, 1);
  }
}

TEST(Job, ADeletedJobLetsGoOfItsPods) {
  World w(2, 2);
  w.run();
  w.job.metadata.deletion_timestamp = w.now;
  w.run();
  EXPECT_FALSE(is_tracked(w.pods.at("p0")));
  EXPECT_EQ(w.pods.size(), 2u);
}

TEST(IndexedJob, PodsKnowTheirIndex) {
  World w = World(3, 2).indexed();
  w.run();
  const Pod& p = w.pods.at("p1");
  EXPECT_EQ(p.metadata.annotations.at(kCompletionIndex), "1");
  EXPECT_EQ(p.metadata.labels.at(kCompletionIndex), "1");
  EXPECT_EQ(p.metadata.generate_name, "work-1-");
  EXPECT_EQ(p.spec.hostname, "work-1");
  EXPECT_EQ(p.spec.containers[0].env[0].name, "JOB_COMPLETION_INDEX");
  EXPECT_FALSE(p.metadata.annotations.count(kIndexFailures));
}

TEST(IndexedJob, EachIndexSucceedsOnce) {
  World w = World(4, 4).indexed();
  w.run();
  w.end("p3", 0);
  w.end("p0", 0);
  w.end("p1", 0);
  Pod twin = w.pods.at("p0");
  twin.metadata.uid = twin.metadata.name = "twin";
  w.pods["twin"] = twin;
  w.run();
  EXPECT_EQ(w.job.status.completed_indexes, "0,1,3");
  EXPECT_EQ(w.job.status.succeeded, 3);
  w.end("p2", 0);
  w.run();
  EXPECT_EQ(w.job.status.completed_indexes, "0-3");
  EXPECT_TRUE(w.is_finished());
}

TEST(IndexedJob, ASecondPodOfAnIndexIsDeleted) {
  World w = World(2, 2).indexed();
  w.run();
  Pod twin = w.pods.at("p0");
  twin.metadata.uid = twin.metadata.name = "twin";
  w.running("p0");
  w.pods["twin"] = twin;
  w.run();
  EXPECT_TRUE(w.pods.at("twin").metadata.deletion_timestamp);
  EXPECT_TRUE(is_active(w.pods.at("p0")));
}

TEST(IndexedJob, GrowsAndShrinksWithCompletionsAndParallelism) {
  World w = World(2, 2).indexed();
  w.run();
  w.job.spec.completions = w.job.spec.parallelism = 4;
  w.run();
  EXPECT_EQ(w.job.status.active, 4);
  w.end(w.named(3), 0);
  w.end(w.named(0), 0);
  w.run();
  EXPECT_EQ(w.job.status.completed_indexes, "0,3");
  w.job.spec.completions = w.job.spec.parallelism = 2;
  w.run();
  EXPECT_EQ(w.job.status.completed_indexes, "0");
  EXPECT_EQ(w.named(2), "none");
  w.end(w.named(1), 0);
  w.reap();
  w.run();
  EXPECT_TRUE(w.is_finished());
  EXPECT_EQ(w.job.status.succeeded, 2);
}

TEST(SuccessPolicy, LeadersThatSucceedEndTheRest) {
  World w = World(4, 4).indexed().success("0-1", std::nullopt);
  w.run();
  w.end(w.named(0), 0);
  w.run();
  EXPECT_EQ(w.condition("SuccessCriteriaMet"), "none");
  w.end(w.named(1), 0);
  w.run();
  EXPECT_EQ(w.condition("SuccessCriteriaMet"), "True SuccessPolicy: Matched rules at index 0");
  EXPECT_EQ(w.condition("Complete"), "none");
  EXPECT_EQ(w.job.status.terminating, 2);
  w.reap();
  w.run();
  EXPECT_EQ(w.condition("Complete"), "True SuccessPolicy: Matched rules at index 0");
  EXPECT_EQ(w.job.status.succeeded, 2);
  EXPECT_EQ(w.job.status.failed, 0);
}

TEST(SuccessPolicy, CountsOfAllOrOfSomeIndexes) {
  World w = World(5, 5).indexed().success("3-4", 1).success(std::nullopt, 3);
  w.run();
  w.end(w.named(0), 0);
  w.end(w.named(1), 0);
  w.run();
  EXPECT_EQ(w.condition("SuccessCriteriaMet"), "none");
  World other = w;
  w.end(w.named(2), 0);
  w.run();
  EXPECT_EQ(w.condition("SuccessCriteriaMet"), "True SuccessPolicy: Matched rules at index 1");
  other.end(other.named(4), 0);
  other.run();
  EXPECT_EQ(other.condition("SuccessCriteriaMet"), "True SuccessPolicy: Matched rules at index 0");
}

TEST(BackoffLimitPerIndex, AnIndexFailsByItselfAndTheOthersGoOn) {
  World w = World(2, 2).per_index(1);
  w.run();
  EXPECT_EQ(w.pods.at("p0").metadata.annotations.at(kIndexFailures), "0");
  w.end(w.named(0), 1);
  w.run();
  EXPECT_EQ(w.named(0), "none");
  EXPECT_TRUE(is_tracked(w.pods.at("p0")));  // its count is still needed
  EXPECT_EQ(w.again, Duration(10s));
  w.now = w.now + 10s;
  w.run();
  ASSERT_NE(w.named(0), "none");
  EXPECT_EQ(w.pods.at(w.named(0)).metadata.annotations.at(kIndexFailures), "1");
  w.run();
  EXPECT_FALSE(is_tracked(w.pods.at("p0")));
  EXPECT_EQ(w.job.status.failed, 1);
  w.end(w.named(0), 1);
  w.run();
  EXPECT_EQ(w.job.status.failed_indexes, "0");
  EXPECT_FALSE(w.is_finished());
  w.now = w.now + 60s;
  w.run();
  EXPECT_EQ(w.named(0), "none");
  w.end(w.named(1), 0);
  w.run();
  EXPECT_EQ(w.condition("FailureTarget"), "True FailedIndexes: Job has failed indexes");
  EXPECT_EQ(w.condition("Failed"), "True FailedIndexes: Job has failed indexes");
  EXPECT_EQ(w.job.status.completed_indexes, "1");
  EXPECT_EQ(w.job.status.failed, 2);
}

TEST(BackoffLimitPerIndex, TooManyFailedIndexesEndTheJob) {
  World w = World(4, 4).per_index(0);
  w.job.spec.max_failed_indexes = 1;
  w.run();
  w.end(w.named(2), 1);
  w.run();
  EXPECT_FALSE(w.job.status.failed_indexes->empty());
  EXPECT_EQ(w.condition("FailureTarget"), "none");
  w.end(w.named(0), 1);
  w.run();
  EXPECT_EQ(w.condition("FailureTarget"), "True MaxFailedIndexesExceeded: Job has exceeded the specified maximal number of failed indexes");
  EXPECT_EQ(w.job.status.failed_indexes, "0,2");
}

TEST(PodFailurePolicy, AnExitCodeFailsTheJob) {
  World w = World(3, 2).rule("FailJob", "In", {42}, "main");
  w.run();
  w.end("p0", 42);
  w.run();
  EXPECT_EQ(w.condition("FailureTarget"), "True PodFailurePolicy: Container main for pod team/p0 failed with exit code 42 matching FailJob rule at index 0");
  w.reap();
  w.run();
  EXPECT_EQ(w.condition("Failed"), "True PodFailurePolicy: Container main for pod team/p0 failed with exit code 42 matching FailJob rule at index 0");
}

TEST(PodFailurePolicy, IgnoredFailuresDoNotCountAndTheFirstRuleDecides) {
  World w = World(1, 1).rule_on("Ignore", "DisruptionTarget").rule("Count", "In", {7}).rule("FailJob", "NotIn", {1});
  w.job.spec.backoff_limit = 0;
  w.run();
  w.end("p0", 137);
  w.pods.at("p0").status.conditions.push_back([] {
    kube::core::PodCondition c;
    c.type = "DisruptionTarget";
    c.status = "True";
    return c;
  }());
  w.now = w.now + 10s;
  w.run();
  EXPECT_EQ(w.job.status.failed, 0);
  EXPECT_EQ(w.job.status.active, 1);
  EXPECT_FALSE(is_tracked(w.pods.at("p0")));
  w.end("p1", 7);
  w.run();
  EXPECT_EQ(w.condition("Failed"), "True BackoffLimitExceeded: Job has reached the specified backoff limit");
}

TEST(PodFailurePolicy, AConditionFailsTheJob) {
  World w = World(1, 1).rule_on("FailJob", "ConfigIssue");
  w.run();
  w.end("p0", 1);
  kube::core::PodCondition c;
  c.type = "ConfigIssue";
  c.status = "True";
  w.pods.at("p0").status.conditions.push_back(c);
  w.run();
  EXPECT_EQ(w.condition("Failed"), "True PodFailurePolicy: Pod team/p0 has condition ConfigIssue matching FailJob rule at index 0");
}

TEST(PodFailurePolicy, AnIndexFailsAtOnce) {
  World w = World(2, 2).per_index(5).rule("FailIndex", "In", {3});
  w.run();
  w.end(w.named(1), 3);
  w.run();
  EXPECT_EQ(w.job.status.failed_indexes, "1");
  EXPECT_FALSE(w.is_finished());
}

TEST(PodFailurePolicy, IgnoredFailuresOfAnIndexAreKeptApart) {
  World w = World(1, 1).per_index(1).rule("Ignore", "In", {9});
  w.run();
  w.end(w.named(0), 9);
  w.now = w.now + 10s;
  w.run();
  const Pod& p = w.pods.at(w.named(0));
  EXPECT_EQ(p.metadata.annotations.at(kIndexFailures), "0");
  EXPECT_EQ(p.metadata.annotations.at(kIndexIgnoredFailures), "1");
}

TEST(IndexSet, IsWrittenAsIntervals) {
  IndexSet s = IndexSet::parse("5,0-2,x,7-9,11", 10);
  EXPECT_EQ(s.text(), "0-2,5,7-9");
  EXPECT_EQ(s.size(), 7);
  s.insert(6);
  EXPECT_EQ(s.text(), "0-2,5-9");
  EXPECT_TRUE(s.has(6));
  EXPECT_FALSE(s.has(4));
  EXPECT_EQ(s.first_missing(3, 12), (std::vector<int>{3, 4, 10}));
  EXPECT_EQ(s.common(IndexSet::parse("2-5", 10)), 2);
  EXPECT_EQ(IndexSet::parse("1,2", 10).text(), "1,2");
}

}  // namespace
}  // namespace caravel::controllers
