// Exec and attach: a command in a container, or a container's output, carried over a RemoteIo.
#pragma once

#include <functional>
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
// Shows the container's output from now on.
Task<void> serve_attach(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, RemoteOptions options, std::string log_path,
                        std::function<bool()> running);

// The Status that ends a command: {"status":"Success"} or the exit code.
std::string exit_status_json(int code);

}  // namespace caravel::node
