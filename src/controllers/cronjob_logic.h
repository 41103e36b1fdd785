// What the CronJob controller does about one CronJob, as a function of it, its Jobs and the time. Wording of events as upstream's
// cronjob controller (v2).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/time_zone.h"
#include "kube/types/batch.h"

namespace caravel::controllers {

struct CronJobEvent {
  bool warning = false;
  std::string reason, message;
};
struct CronJobDecision {
  kube::batch::CronJobStatus status;  // before the new Job is entered
  std::vector<CronJobEvent> events;
  std::vector<kube::batch::Job> remove;    // finished ones beyond the history limits, running ones that are replaced
  std::optional<kube::batch::Job> create;  // its owner reference is set
  Time scheduled;                          // of `create`
  std::optional<Duration> again;           // when to look again
};

// `jobs`: those that the CronJob controls. `zone`: its spec.timeZone, or why there is no such zone.
CronJobDecision decide(const kube::batch::CronJob& cron, std::vector<kube::batch::Job> jobs, const Result<TimeZone>& zone, Time now);
// "Complete" or "Failed" once the Job has ended, else "".
std::string finished_as(const kube::batch::Job& j);

}  // namespace caravel::controllers
