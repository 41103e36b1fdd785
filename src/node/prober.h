// Startup, liveness and readiness probes of one container: a task per probe, living as long as the
// container; results land in a ProbeState and wake the pod's worker.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/http.h"
#include "node/cri/runtime.h"
#include "node/pod_model.h"

namespace caravel::node {

// What a check that did not fail has to say: "" or a warning, as upstream words it after "probe warning: ".
struct ProbeNote {
  std::string warning;
};
// Where an answer of the 3xx kind sends a check on. Upstream follows only to the host that was asked first.
struct Redirect {
  std::string url;
  bool same_host = false;
};
Redirect redirect_of(const std::string& asked_url, const std::string& location);

// Carries out single checks. An error's message is what upstream would say after "probe failed: ".
class ProbeRunner {
 public:
  virtual ~ProbeRunner() = default;
  // host: the address for checks that name none.
  virtual Task<Result<ProbeNote>> check(core::Probe probe, std::string container_id, std::string host, std::vector<core::ContainerPort> ports) = 0;
};
std::unique_ptr<ProbeRunner> make_probe_runner(net::EventLoop& loop, cri::Runtime& runtime);

class ContainerProber {
 public:
  // unhealthy(reason, message) records a warning event; changed() wakes the worker.
  // known: what was published of this very container before the agent started; a restart of the agent
  // must not take a ready pod out of its services.
  ContainerProber(Executor& ex, ProbeRunner& runner, core::Container container, ContainerRecord record, std::string host,
                  std::optional<core::ContainerStatus> known, std::function<void(std::string, std::string)> unhealthy, std::function<void()> changed);
  ~ContainerProber();
  const ProbeState& state() const { return state_; }

 private:
  enum class Kind { kStartup,
                    kLiveness,
                    kReadiness };
  Task<void> loop(Kind kind, core::Probe probe);
  Task<void> wait_started();

  Executor* ex_;
  ProbeRunner* runner_;
  core::Container container_;
  ContainerRecord record_;
  std::string host_;
  std::function<void(std::string, std::string)> unhealthy_;
  std::function<void()> changed_;
  ProbeState state_;
  Event started_;
  TaskScope scope_;
};

// The number of a port that a probe or hook names.
Result<int> resolve_port(const kube::IntOrString& port, const std::vector<core::ContainerPort>& ports);

}  // namespace caravel::node
