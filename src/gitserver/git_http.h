// Smart HTTP for bare git repositories: each request runs `git http-backend` (CGI, RFC 3875), so every
// git client works, including protocol version 2 and push.
//
// Only paths of repositories directly below the root are served; the program sees no other environment.
#pragma once

#include <string>

#include "net/http.h"
#include "net/process.h"

namespace caravel::gitserver {

class GitHttp {
 public:
  GitHttp(net::EventLoop& loop, std::string root) : loop_(&loop), root_(std::move(root)) {}
  // Handles "/NAME.git/..." requests; 404 for anything else.
  Task<void> handle(net::ServerRequest& request, net::ResponseWriter& writer);

 private:
  Task<Status> run_backend(net::ServerRequest& request, net::ResponseWriter& writer);
  net::EventLoop* loop_;
  std::string root_;
};

// Makes ROOT/NAME.git from the files of `source` (one commit on branch main) unless it exists already.
Task<Status> seed_repository(net::EventLoop& loop, std::string root, std::string name, std::string source);

}  // namespace caravel::gitserver
