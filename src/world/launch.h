// Starts and ends a world from the host.
//
// What the host keeps: listening sockets on loopback (opened before the namespaces are entered) and files
// under the data directory. Everything else - links, mounts, rules, processes - lives in the world's
// namespaces and is removed by the kernel when its pid 1 ends; its cgroups are removed by end_world().
#pragma once

#include <string>
#include <vector>

#include "net/event_loop.h"

namespace caravel::world {

// Where namespaces cannot be had, a hollow world does: the same control plane, cloud and controllers as plain
// processes with simulated nodes. It needs no privilege and no more than git and curl.
struct HostPort {
  std::string name;     // "kubernetes-api"
  std::string address;  // "127.0.0.1:6443"
};
std::vector<HostPort> default_ports(bool hollow = false);

struct WorldOptions {
  std::string data_directory;     // "/var/lib/caravel"
  std::string program;            // this binary
  std::string sample_repository;  // folder that becomes platform.git
  bool with_pebble = true;
  bool hollow = false;
};

// Is a world of this data directory running? Its pid (of the outer process), or 0.
int running_world(const std::string& data_directory);
bool is_hollow_world(const std::string& data_directory);  // the one that runs
// A sentence for each thing that the machine lacks: programs, privileges, kernel features. `program`: the caravel binary, which
// wants its two small companions beside it.
std::vector<std::string> missing_requirements(const std::string& program, bool hollow = false);
// Returns once pid 1 of the world (a hollow one: its supervisor) has been started.
Task<Status> start_world(net::EventLoop& loop, WorldOptions options);
// Ends it (SIGTERM, then SIGKILL) and removes what a killed world may have left. Also right when nothing runs.
Task<Status> end_world(net::EventLoop& loop, std::string data_directory);

}  // namespace caravel::world
