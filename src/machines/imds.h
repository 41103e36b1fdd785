// The instance metadata service of one instance, version 2 (and 1 where the instance allows it): tokens by
// PUT /latest/api/token, everything else from the cloud. The socket stands in the instance's namespace.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "machines/substrate.h"
#include "net/http.h"

namespace caravel::machines {

class MetadataServer {
 public:
  MetadataServer(net::EventLoop& loop, SubstrateHost& host, std::string instance_id, MetadataOptions options);
  // Serves on an inherited listening socket.
  Status serve(int fd);
  void set_options(MetadataOptions options);

 private:
  Task<void> handle(net::ServerRequest& request, net::ResponseWriter& writer);
  static Task<void> dispatch(MetadataServer* self, net::ServerRequest& request, net::ResponseWriter& writer);
  net::EventLoop& loop_;
  SubstrateHost& host_;
  std::string instance_id_;
  MetadataOptions options_;
  int listener_ = -1;
  std::map<std::string, Time> tokens_;  // token -> end of its life
  net::HttpServer server_;
};

}  // namespace caravel::machines
