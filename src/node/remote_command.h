// Exec, attach and port-forward over an upgraded connection: WebSocket with the channel protocols
// v5.channel.k8s.io and v4.channel.k8s.io (one byte says which stream a message belongs to).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "net/http.h"

namespace caravel::node {

struct RemoteCommand {
  std::string container_id;
  std::vector<std::string> command;
  bool input = false, output = false, error = false, tty = false;
};

// Runs the command in the container (`runc exec`) and carries its streams until it ends.
Task<void> serve_exec(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, RemoteCommand command);
// Shows the container's output from now on.
Task<void> serve_attach(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, std::string log_path, std::function<bool()> running);
// Carries connections to ports inside a network namespace ("": this one).
Task<void> serve_port_forward(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, std::string netns);

// The Status that ends a command: {"status":"Success"} or the exit code.
std::string exit_status_json(int code);

}  // namespace caravel::node
