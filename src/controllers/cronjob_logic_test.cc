#include "controllers/cronjob_logic.h"

#include <gtest/gtest.h>

#include "kube/cron.h"

namespace caravel::controllers {
namespace {

using kube::batch::CronJob;
using kube::batch::Job;

Time at(const char* text) { return *parse_rfc3339(text); }
CronJobDecision decide(const CronJob& c, std::vector<Job> jobs, Time now) {
  return controllers::decide(c, std::move(jobs), kube::load_time_zone(c.spec.time_zone.value_or("")), now);
}

CronJob hourly() {
  CronJob c;
  c.metadata.name = "report";
  c.metadata.namespace_ = "team";
  c.metadata.uid = "u";
  c.metadata.creation_timestamp = at("2026-01-01T00:30:00Z");
  c.spec.schedule = "0 * * * *";
  c.spec.concurrency_policy = "Allow";
  c.spec.successful_jobs_history_limit = 3;
  c.spec.failed_jobs_history_limit = 1;
  c.spec.job_template.metadata.labels["a"] = "b";
  return c;
}
Job job(const std::string& name, const char* end = "") {
  Job j;
  j.metadata.name = name;
  j.metadata.namespace_ = "team";
  j.metadata.uid = name;
  j.status.start_time = at("2026-01-01T01:00:00Z") + std::chrono::seconds(name.back());
  if (*end) {
    kube::batch::JobCondition c;
    c.type = end;
    c.status = "True";
    j.status.conditions.push_back(c);
    j.status.completion_time = *j.status.start_time + 60s;
  }
  return j;
}
void enter(CronJob& c, const std::string& name) {
  kube::core::ObjectReference r;
  r.kind = "Job";
  r.name = r.uid = name;
  c.status.active.push_back(r);
}
std::vector<std::string> reasons(const CronJobDecision& d) {
  std::vector<std::string> out;
  for (auto& e : d.events) out.push_back(e.reason);
  return out;
}
using Reasons = std::vector<std::string>;

TEST(CronJob, StartsAJobNamedByTheMinuteAndLooksAgainAtTheNextTime) {
  CronJob c = hourly();
  EXPECT_FALSE(decide(c, {}, at("2026-01-01T00:59:59Z")).create);
  CronJobDecision d = decide(c, {}, at("2026-01-01T01:00:10Z"));
  ASSERT_TRUE(d.create);
  EXPECT_EQ(d.create->metadata.name, "report-29453820");
  EXPECT_EQ(d.create->metadata.labels["a"], "b");
  EXPECT_EQ(d.create->metadata.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2026-01-01T01:00:00Z");
  ASSERT_EQ(d.create->metadata.owner_references.size(), 1u);
  EXPECT_EQ(d.create->metadata.owner_references[0].kind, "CronJob");
  EXPECT_EQ(d.again, std::chrono::seconds(59 * 60 + 50) + 100ms);
}

TEST(CronJob, ATimeThatWasActedOnIsNotActedOnAgain) {
  CronJob c = hourly();
  c.status.last_schedule_time = at("2026-01-01T01:00:00Z");
  EXPECT_FALSE(decide(c, {}, at("2026-01-01T01:59:59Z")).create);
  EXPECT_TRUE(decide(c, {}, at("2026-01-01T02:00:00Z")).create);
}

TEST(CronJob, OfManyMissedTimesTheLastCounts) {
  CronJob c = hourly();
  CronJobDecision d = decide(c, {}, at("2026-01-03T12:34:00Z"));
  ASSERT_TRUE(d.create);
  EXPECT_EQ(d.scheduled, at("2026-01-03T12:00:00Z"));
  EXPECT_TRUE(d.events.empty());
  d = decide(c, {}, at("2026-02-01T12:34:00Z"));
  EXPECT_EQ(reasons(d), Reasons{"TooManyMissedTimes"});
  EXPECT_EQ(d.events[0].message, "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
  EXPECT_EQ(d.scheduled, at("2026-02-01T12:00:00Z"));
  // Uneven distances: two a day, an hour apart.
  c.spec.schedule = "0 8,9 * * *";
  EXPECT_EQ(decide(c, {}, at("2026-01-05T07:00:00Z")).scheduled, at("2026-01-04T09:00:00Z"));
}

TEST(CronJob, TheStartingDeadlineForgetsWhatIsTooOld) {
  CronJob c = hourly();
  c.spec.starting_deadline_seconds = 60;
  EXPECT_TRUE(decide(c, {}, at("2026-01-01T05:00:50Z")).create);
  EXPECT_FALSE(decide(c, {}, at("2026-01-01T05:01:10Z")).create);
}

TEST(CronJob, ConcurrencyPolicies) {
  CronJob c = hourly();
  enter(c, "report-1");
  Time now = at("2026-01-01T01:00:00Z");
  EXPECT_TRUE(decide(c, {job("report-1")}, now).create);
  c.spec.concurrency_policy = "Forbid";
  CronJobDecision d = decide(c, {job("report-1")}, now);
  EXPECT_FALSE(d.create);
  EXPECT_EQ(reasons(d), Reasons{"JobAlreadyActive"});
  c.spec.concurrency_policy = "Replace";
  d = decide(c, {job("report-1")}, now);
  ASSERT_TRUE(d.create);
  ASSERT_EQ(d.remove.size(), 1u);
  EXPECT_EQ(d.remove[0].metadata.name, "report-1");
  EXPECT_TRUE(d.status.active.empty());
}

TEST(CronJob, FinishedJobsLeaveTheActiveListAndTheOldestGo) {
  CronJob c = hourly();
  c.spec.suspend = true;
  c.spec.successful_jobs_history_limit = 1;
  enter(c, "report-1");
  enter(c, "report-9");
  CronJobDecision d = decide(c, {job("report-1", "Complete"), job("report-2", "Complete"), job("report-3", "Failed")}, at("2026-01-01T03:00:00Z"));
  EXPECT_TRUE(d.status.active.empty());
  EXPECT_EQ(reasons(d), (Reasons{"SawCompletedJob", "MissingJob", "SuccessfulDelete"}));
  EXPECT_EQ(d.events[0].message, "Saw completed job: report-1, condition: Complete");
  ASSERT_EQ(d.remove.size(), 1u);
  EXPECT_EQ(d.remove[0].metadata.name, "report-1");
  EXPECT_EQ(d.status.last_successful_time, job("report-2", "Complete").status.completion_time);
  EXPECT_FALSE(d.create);  // suspended
}

TEST(CronJob, TimeZonesAndBadSpecsAreTold) {
  CronJob c = hourly();
  c.spec.schedule = "0 8 * * *";
  c.spec.time_zone = "America/New_York";
  CronJobDecision d = decide(c, {}, at("2026-01-01T13:00:00Z"));
  ASSERT_TRUE(d.create);
  EXPECT_EQ(d.create->metadata.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2026-01-01T08:00:00-05:00");
  c.spec.time_zone = "Nowhere";
  d = decide(c, {}, at("2026-01-01T13:00:00Z"));
  EXPECT_EQ(d.events[0].message, "invalid timeZone: \"Nowhere\": unknown time zone Nowhere");
  c.spec.time_zone.reset();
  c.spec.schedule = "never";
  EXPECT_EQ(reasons(decide(c, {}, at("2026-01-01T13:00:00Z"))), Reasons{"UnparseableSchedule"});
}

TEST(CronJob, ADayThatNoMonthHasIsSaid) {
  CronJob c = hourly();
  c.spec.schedule = "59 23 31 2 *";
  CronJobDecision d = decide(c, {}, at("2026-01-01T13:00:00Z"));
  ASSERT_EQ(reasons(d), Reasons{"InvalidSchedule"});
  EXPECT_EQ(d.events[0].message, "invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second");
  EXPECT_FALSE(d.create || d.again);
}

TEST(CronJob, AZoneInTheScheduleIsNotSupported) {
  CronJob c = hourly();
  c.spec.schedule = "TZ=UTC 0 * * * *";
  CronJobDecision d = decide(c, {}, at("2026-01-01T00:45:00Z"));
  ASSERT_FALSE(d.events.empty());
  EXPECT_EQ(d.events[0].reason, "UnsupportedSchedule");
  EXPECT_EQ(d.events[0].message,
            "CRON_TZ or TZ used in schedule \"TZ=UTC 0 * * * *\" is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details");
}

TEST(CronJob, AStartThatCameTooLateIsSaid) {
  CronJob c = hourly();
  c.spec.starting_deadline_seconds = 30;
  CronJobDecision d = decide(c, {}, at("2026-01-01T01:00:29Z"));
  EXPECT_TRUE(d.create);
  CronJob zone = hourly();
  zone.spec.time_zone = "Nowhere/None";
  d = decide(zone, {}, at("2026-01-01T01:00:29Z"));
  EXPECT_EQ(reasons(d), Reasons{"UnknownTimeZone"});
}

}  // namespace
}  // namespace caravel::controllers
