// The nginx process beside the controller: writes its files, tests them, starts or reloads it.
// A configuration that nginx refuses is kept away from the running one.
#pragma once

#include <memory>
#include <string>

#include "base/scope.h"
#include "ingress/nginx_config.h"
#include "net/process.h"

namespace caravel::ingress {

class NginxProcess {
 public:
  NginxProcess(net::EventLoop& loop, NginxPaths paths, std::string program) : loop_(&loop), paths_(std::move(paths)), program_(std::move(program)) {}
  // Makes the running nginx serve `files`; does nothing when it already does.
  Task<Status> apply(NginxFiles files);
  bool running() const { return process_ && process_->running() && !current_.config.empty(); }
  // SIGQUIT: finishes open requests; kills after `grace`.
  Task<void> stop(Duration grace);

 private:
  Task<Status> test(const std::string& path);
  net::EventLoop* loop_;
  NginxPaths paths_;
  std::string program_;
  NginxFiles current_;
  std::unique_ptr<net::Process> process_;
};

}  // namespace caravel::ingress
