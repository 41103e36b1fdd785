// Exec: a command in a container, its streams carried over a RemoteIo.
#pragma once

#include <string>
#include <vector>

#include "node/remote_io.h"

namespace caravel::node {

struct RemoteCommand {
  std::string container_id;
  std::vector<std::string> command;
  RemoteOptions options;
};

// Runs the command in the container (`runc exec`) and carries its streams until it ends.
Task<void> serve_exec(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, RemoteCommand command);

// The Status that ends a command: {"status":"Success"} or the exit code.
std::string exit_status_json(int code);

}  // namespace caravel::node
