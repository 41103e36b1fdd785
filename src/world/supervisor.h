// Keeps a table of processes running: starts them in order (each when those it needs are ready), restarts
// what ends with a growing pause, tells their states. What becomes of orphans: pid 1 reaps them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/scope.h"
#include "net/process.h"

namespace caravel::world {

struct ProcessSpec {
  std::string name;
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;  // added to PATH and HOME
  std::string netns;                               // name under /run/netns; "" the world's own
  std::vector<std::pair<int, int>> fds;
  std::vector<std::string> after;  // started when these are ready
  std::string ready_address;       // ready when it accepts connections; "" when it runs
  std::string ready_file;          // ready when it exists
  bool once = false;               // runs to its end; ready when that was 0
};

struct ProcessState {
  bool running = false, ready = false;
  int pid = 0, restarts = 0, last_code = 0;
};

class Supervisor {
 public:
  Supervisor(net::EventLoop& loop, std::string log_directory) : loop_(loop), logs_(std::move(log_directory)), changed_(loop) {}
  void add(ProcessSpec spec);
  // Asks all to end and waits at most `grace`; what is left ends with pid 1.
  Task<void> stop(Duration grace);
  std::map<std::string, ProcessState> states() const { return states_; }
  // Reaps zombies that are not our children's own: for pid 1.
  void reap_orphans();

 private:
  Task<void> keep(ProcessSpec spec);
  Task<void> wait_ready(ProcessSpec spec);
  net::ProcessOptions options_for(const ProcessSpec& spec);
  net::EventLoop& loop_;
  std::string logs_;
  Event changed_;
  Log log_{"world"};
  std::map<std::string, ProcessState> states_;
  std::map<std::string, std::shared_ptr<net::Process>> processes_;
  std::vector<std::string> order_;
  bool stopping_ = false;
  TaskScope scope_;
};

}  // namespace caravel::world
