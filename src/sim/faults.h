// A Transport that misbehaves as asked, and notes every write in a trace.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/scope.h"
#include "kube/client.h"

namespace caravel::sim {

// Shares (0 to 1) of calls. Shared by all transports of a cluster; changed while it runs.
struct Faults {
  double refused = 0;      // the call does not reach the server
  double answer_lost = 0;  // the call is carried out and its answer lost
  double delayed = 0;      // the call waits up to delay_max first
  Duration delay_max = std::chrono::seconds(2);
  double conflict = 0;       // an update or patch is answered "the object has been modified" and not carried out
  double error = 0;          // answered with 500, 503 or 429 and not carried out
  double watch_broken = 0;   // per event: the watch breaks instead of delivering it
  double watch_delayed = 0;  // per event: it and those behind it come up to watch_delay_max late
  Duration watch_delay_max = std::chrono::seconds(5);
  std::string watch_late;    // plural: every event of this resource comes watch_delay_max after the one before it
  double watch_expired = 0;  // per watch: the version is too old, the client has to list again
  bool down = false;         // nothing reaches the server, watches are broken
};

// What happened, one line per write. Bytes are compared between runs of one seed.
class Trace {
 public:
  // `keep`: nobody asks a rehearsal of days for its trace, it would be gigabytes.
  explicit Trace(Executor& ex, bool keep = true) : ex_(&ex), keep_(keep) {}
  bool keep() const { return keep_; }
  void note(std::string_view who, std::string_view line);
  const std::string& text() const { return text_; }
  // Writes since the last reset, per "who verb resource ns/name".
  std::map<std::string, int>& writes() { return writes_; }
  // The same with what came to nothing.
  std::map<std::string, int>& attempts() { return attempts_; }
  // Pods that were made although their maker heard of a failure, by the uid of the owner: so many more than
  // it wants may be there for a while.
  const std::map<std::string, int>& unheard_pods() const { return unheard_pods_; }
  // The most attempts to write one object by one component within a minute, while they were above `kHot`.
  static constexpr int kHot = 150;
  const std::map<std::string, int>& hot() const { return hot_; }

 private:
  friend class FaultTransport;
  void count(const std::string& what);
  Executor* ex_;
  bool keep_;
  std::string text_;
  std::map<std::string, int> writes_, attempts_, unheard_pods_, minute_, hot_;
  int64_t minute_number_ = 0;
};

// The API server's process as its clients see it. What it is doing when it dies is destroyed where it
// stands; its clients lose their connections. A client that dies leaves its request to the server.
class ServerProcess {
 public:
  void die();
  bool dead() const { return dead_; }

 private:
  friend class FaultTransport;
  friend class FaultyWatch;
  struct Stream {
    std::unique_ptr<kube::WatchStream> inner;
  };
  bool dead_ = false;
  TaskScope scope_;
  std::vector<std::weak_ptr<Stream>> streams_;
};

class FaultTransport final : public kube::Transport {
 public:
  FaultTransport(Executor& ex, std::string who, const Faults& faults, Trace& trace) : ex_(&ex), who_(std::move(who)), faults_(&faults), trace_(&trace) {}
  // The server that calls go to from now on.
  void connect(std::shared_ptr<ServerProcess> process, std::unique_ptr<kube::Transport> inner);
  Task<Result<kube::ApiResponse>> call(kube::ApiRequest request) override;
  Task<Result<std::unique_ptr<kube::WatchStream>>> watch(kube::ApiRequest request) override;

 private:
  Executor* ex_;
  std::string who_;
  std::shared_ptr<ServerProcess> process_;
  std::shared_ptr<kube::Transport> inner_;
  const Faults* faults_;
  Trace* trace_;
};

}  // namespace caravel::sim
