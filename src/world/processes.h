// The processes of a world, as a table.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "world/supervisor.h"

namespace caravel::world {

struct Layout {
  std::string data;                    // DATA
  std::string program;                 // the caravel binary
  std::string repository;              // folder that becomes platform.git
  std::map<std::string, int> sockets;  // inherited host sockets by name
  bool pebble = true;
  std::string cgroup;  // "/caravel-1a2b3c4d"
};

// Writes the configuration files that the processes need.
Status write_configuration(const Layout& l);
std::vector<ProcessSpec> process_table(const Layout& l);
// A hollow world's: control plane, cloud, git and the controllers of the GitOps and scaling flows as plain
// processes on loopback, without root; its nodes are simulated.
std::vector<ProcessSpec> hollow_process_table(const Layout& l);

}  // namespace caravel::world
