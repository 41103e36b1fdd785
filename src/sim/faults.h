// A Transport that misbehaves as asked, and notes every write in a trace.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/executor.h"
#include "kube/client.h"

namespace caravel::sim {

// Shares (0 to 1) of calls. Shared by all transports of a cluster; changed while it runs.
struct Faults {
  double refused = 0;       // the call does not reach the server
  double answer_lost = 0;   // the call is carried out and its answer lost
  double delayed = 0;       // the call waits up to delay_max first
  Duration delay_max = std::chrono::seconds(2);
  double watch_broken = 0;  // per event: the watch breaks instead of delivering it
  bool down = false;        // nothing reaches the server, watches are broken
};

// What happened, one line per write. Bytes are compared between runs of one seed.
class Trace {
 public:
  explicit Trace(Executor& ex) : ex_(&ex) {}
  void note(std::string_view who, std::string_view line);
  const std::string& text() const { return text_; }
  // Writes since the last reset, per "who verb resource ns/name".
  std::map<std::string, int>& writes() { return writes_; }

 private:
  friend class FaultTransport;
  Executor* ex_;
  std::string text_;
  std::map<std::string, int> writes_;
};

class FaultTransport final : public kube::Transport {
 public:
  FaultTransport(Executor& ex, std::string who, kube::Transport& inner, const Faults& faults, Trace& trace)
      : ex_(&ex), who_(std::move(who)), inner_(&inner), faults_(&faults), trace_(&trace) {}
  Task<Result<kube::ApiResponse>> call(kube::ApiRequest request) override;
  Task<Result<std::unique_ptr<kube::WatchStream>>> watch(kube::ApiRequest request) override;

 private:
  Executor* ex_;
  std::string who_;
  kube::Transport* inner_;
  const Faults* faults_;
  Trace* trace_;
};

}  // namespace caravel::sim
