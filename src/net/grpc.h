// A gRPC client over our HTTP/2 client (prior knowledge on Unix sockets, TLS elsewhere): unary and
// server-streaming and bidirectional calls with raw message bytes; the caller encodes protobuf
// (kube/protobuf tables). Follows the "gRPC over HTTP2" protocol document.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "net/http.h"

namespace caravel::net {

class GrpcStream {
 public:
  virtual ~GrpcStream() = default;
  virtual Task<Status> write(std::string message) = 0;
  virtual Task<Status> writes_done() = 0;
  // The next message; nullopt at an OK end; an error with the grpc-status mapped to a Code and the
  // grpc-message as text.
  virtual Task<Result<std::optional<std::string>>> read() = 0;
};

class GrpcClient {
 public:
  virtual ~GrpcClient() = default;
  // method: "/runtime.v1.RuntimeService/Version"
  virtual Task<Result<std::string>> call(std::string method, std::string message, Duration timeout) = 0;
  virtual Task<Result<std::unique_ptr<GrpcStream>>> open(std::string method) = 0;
};
// target: "unix:/run/containerd/containerd.sock" or "https://host:port".
std::unique_ptr<GrpcClient> make_grpc_client(EventLoop& loop, std::string target, std::shared_ptr<TlsClientContext> tls = nullptr);

}  // namespace caravel::net
