#include "controllers/cronjob_logic.h"

#include <algorithm>
#include <cstdio>

#include "base/civil_date.h"
#include "controllers/common.h"
#include "kube/cron.h"

namespace caravel::controllers {

using kube::batch::CronJob;
using kube::batch::Job;

namespace {

constexpr const char* kScheduledTimestamp = "batch.kubernetes.io/cronjob-scheduled-timestamp";
constexpr int64_t kMissedMax = 100;
// Upstream looks a little late, so that clocks that differ do not make it look too early.
constexpr Duration kLate = 100ms;

// "Mon, 02 Jan 2006 15:04:05 +0000"
std::string rfc1123z(Time t) {
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const int64_t s = t.seconds(), day = s / 86400;
  const CivilDate date = civil_from_days(day);
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %lld %02d:%02d:%02d +0000", kDays[weekday_of(day)], date.day, kMonths[date.month - 1], static_cast<long long>(date.year),
                static_cast<int>(s % 86400 / 3600), static_cast<int>(s % 3600 / 60), static_cast<int>(s % 60));
  return text;
}

// RFC 3339 in the zone that the user schedules by: "2026-06-01T08:00:00+02:00".
std::string rfc3339_in(Time t, const TimeZone& zone) {
  const int offset = zone.offset_at(t);
  std::string text = format_rfc3339(t + std::chrono::seconds(offset));
  if (offset == 0) return text;
  char suffix[16];
  std::snprintf(suffix, sizeof suffix, "%c%02d:%02d", offset < 0 ? '-' : '+', std::abs(offset) / 3600, std::abs(offset) % 3600 / 60);
  return text.substr(0, text.size() - 1) + suffix;
}

struct Due {
  std::optional<Time> time;
  int64_t missed = 0;
  bool never = false;  // a day that no month has, as in "0 0 31 2 *"
};
// The last time that was due up to now and has not been acted on.
Due most_recent(const CronJob& c, const kube::CronSchedule& schedule, const TimeZone& zone, Time now) {
  Time earliest = c.status.last_schedule_time.value_or(c.metadata.creation_timestamp);
  if (c.spec.starting_deadline_seconds) earliest = std::max(earliest, now - std::chrono::seconds(*c.spec.starting_deadline_seconds));
  std::optional<Time> first = schedule.next(earliest, zone);
  if (!first) return {std::nullopt, 0, true};
  if (now < *first) return {};
  std::optional<Time> second = schedule.next(*first, zone);
  if (!second || now < *second) return {first, 1};
  // Many were missed (the controller was away): jump close to now by the distance of the first two, then step.
  const int64_t between = std::max<int64_t>((*second - *first) / 1s, 1);
  Due out;
  out.missed = (now - *first) / 1s / between + 1;
  Time from = *first + std::chrono::seconds((out.missed - 2) * between);
  out.time = first;
  // The distance of the first two says little where schedules are uneven: never jump beyond what is due.
  if (std::optional<Time> t = schedule.next(from, zone); !t || now < *t) from = *first;
  for (std::optional<Time> t = schedule.next(from, zone); t && *t <= now; t = schedule.next(*t, zone)) out.time = t;
  return out;
}

// Finished Jobs beyond the limit, the oldest first.
void prune(std::vector<Job> finished, std::optional<int32_t> limit, CronJobDecision& d) {
  if (!limit || finished.size() <= static_cast<size_t>(*limit)) return;
  std::sort(finished.begin(), finished.end(), [](auto& a, auto& b) {
    if (a.status.start_time != b.status.start_time) return a.status.start_time && (!b.status.start_time || *a.status.start_time < *b.status.start_time);
    return a.metadata.name < b.metadata.name;
  });
  finished.resize(finished.size() - static_cast<size_t>(*limit));
  for (auto& j : finished) {
    d.events.push_back({false, "SuccessfulDelete", "Deleted job " + j.metadata.name});
    d.remove.push_back(std::move(j));
  }
}

bool is_active(const CronJobDecision& d, const std::string& uid) {
  return std::any_of(d.status.active.begin(), d.status.active.end(), [&](auto& r) { return r.uid == uid; });
}

// status.active and lastSuccessfulTime from what the Jobs say.
void take_stock(const std::vector<Job>& jobs, CronJobDecision& d) {
  for (auto& j : jobs) {
    const std::string end = finished_as(j);
    const bool known = is_active(d, j.metadata.uid);
    if (!known && end.empty()) {
      d.events.push_back({true, "UnexpectedJob", "Saw a job that the controller did not create or forgot: " + j.metadata.name});
    } else if (known && !end.empty()) {
      std::erase_if(d.status.active, [&](auto& r) { return r.uid == j.metadata.uid; });
      d.events.push_back({false, "SawCompletedJob", "Saw completed job: " + j.metadata.name + ", condition: " + end});
    }
    if (end == "Complete" && j.status.completion_time && (!d.status.last_successful_time || *d.status.last_successful_time < *j.status.completion_time))
      d.status.last_successful_time = j.status.completion_time;
  }
  std::erase_if(d.status.active, [&](auto& r) {
    bool there = std::any_of(jobs.begin(), jobs.end(), [&](auto& j) { return j.metadata.uid == r.uid; });
    if (!there) d.events.push_back({false, "MissingJob", "Active job went missing: " + r.name});
    return !there;
  });
}

Job job_for(const CronJob& c, Time scheduled, const TimeZone& zone) {
  Job j;
  j.metadata.name = c.metadata.name + "-" + std::to_string(scheduled.seconds() / 60);
  j.metadata.namespace_ = c.metadata.namespace_;
  j.metadata.labels = c.spec.job_template.metadata.labels;
  j.metadata.annotations = c.spec.job_template.metadata.annotations;
  j.metadata.annotations[kScheduledTimestamp] = rfc3339_in(scheduled, zone);
  j.metadata.creation_timestamp = scheduled;
  j.metadata.owner_references.push_back(owner_reference(c));
  j.spec = c.spec.job_template.spec;
  return j;
}

}  // namespace

std::string finished_as(const Job& j) {
  for (auto& c : j.status.conditions)
    if ((c.type == "Complete" || c.type == "Failed") && c.status == "True") return c.type;
  return "";
}

CronJobDecision decide(const CronJob& c, std::vector<Job> jobs, const Result<TimeZone>& zone, Time now) {
  CronJobDecision d;
  d.status = c.status;
  take_stock(jobs, d);
  std::vector<Job> complete, failed;
  for (auto& j : jobs) {
    if (is_terminating(j.metadata)) continue;
    const std::string end = finished_as(j);
    if (end == "Complete") complete.push_back(j);
    else if (end == "Failed") failed.push_back(j);
  }
  prune(std::move(complete), c.spec.successful_jobs_history_limit, d);
  prune(std::move(failed), c.spec.failed_jobs_history_limit, d);
  if (is_terminating(c.metadata)) return d;

  if (!zone.ok()) {
    d.events.push_back({true, "UnknownTimeZone", "invalid timeZone: \"" + c.spec.time_zone.value_or("") + "\": " + zone.error().message});
    return d;
  }
  if (c.spec.suspend.value_or(false)) return d;
  if (c.spec.schedule.find("TZ") != std::string::npos)
    d.events.push_back({true, "UnsupportedSchedule",
                        "CRON_TZ or TZ used in schedule \"" + c.spec.schedule +
                            "\" is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"});
  auto schedule = kube::CronSchedule::parse(c.spec.schedule);
  if (!schedule.ok()) {
    d.events.push_back({true, "UnparseableSchedule", "unparseable schedule: \"" + c.spec.schedule + "\" : " + schedule.error().message});
    return d;
  }
  if (std::optional<Time> next = schedule->next(now, *zone)) d.again = *next - now + kLate;
  Due due = most_recent(c, *schedule, *zone, now);
  if (due.never) {
    d.events.push_back({true, "InvalidSchedule", "invalid schedule: " + c.spec.schedule + " : time difference between two schedules is less than 1 second"});
    return d;
  }
  if (due.missed > kMissedMax)
    d.events.push_back({true, "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"});
  if (!due.time) return d;
  const Time scheduled = *due.time;
  if (c.spec.starting_deadline_seconds && scheduled + std::chrono::seconds(*c.spec.starting_deadline_seconds) < now) {
    d.events.push_back({true, "MissSchedule", "Missed scheduled time to start a job: " + rfc1123z(scheduled)});
    return d;
  }
  Job job = job_for(c, scheduled, *zone);
  bool started = std::any_of(d.status.active.begin(), d.status.active.end(), [&](auto& r) { return r.name == job.metadata.name; });
  if (started || (d.status.last_schedule_time && *d.status.last_schedule_time == scheduled)) return d;
  if (c.spec.concurrency_policy == "Forbid" && !d.status.active.empty()) {
    d.events.push_back({false, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid"});
    return d;
  }
  if (c.spec.concurrency_policy == "Replace") {
    for (auto& j : jobs)
      if (is_active(d, j.metadata.uid)) {
        d.events.push_back({false, "SuccessfulDelete", "Deleted job " + j.metadata.name});
        d.remove.push_back(j);
      }
    d.status.active.clear();
  }
  d.scheduled = scheduled;
  d.create = std::move(job);
  return d;
}

}  // namespace caravel::controllers
