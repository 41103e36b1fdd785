// Aggregated API servers: groups and versions that an APIService gives to a Service.
//
//   keeps the APIServices of what this server serves itself
//   says of every APIService whether it is available, by objects and by asking the service
//   remembers what the services serve, for discovery and OpenAPI
//   passes requests on, as the front proxy: X-Remote-User, -Uid, -Group, -Extra-* and its client certificate
//
// The way out is handed in (AggregateTransport); without one no service is available.
// Level-triggered: a change of an APIService, Service, EndpointSlice or CRD wakes one loop, which looks at all.
// Threading: one executor.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apiserver/aggregation/api_services.h"
#include "apiserver/exchange.h"
#include "apiserver/rest.h"
#include "base/scope.h"

namespace caravel::net {
struct ServerRequest;
class ResponseWriter;
}  // namespace caravel::net

namespace caravel::apiserver {

// Where a service is and how its certificate is judged.
struct RemoteServer {
  std::string host;         // name.namespace.svc:port, of the URL
  std::string server_name;  // name.namespace.svc
  std::string address;      // to connect to
  std::string ca;           // PEM; "": the system's
  bool insecure = false;
};

class AggregateTransport {
 public:
  virtual ~AggregateTransport() = default;
  // `request.url` is path and query only.
  virtual Task<Result<net::ClientResponse>> exchange(RemoteServer to, net::ClientRequest request) = 0;
  // An error when nothing has been answered yet.
  virtual Task<Status> forward(RemoteServer to, net::Headers who, net::ServerRequest& in, net::ResponseWriter& out) = 0;
};

// The headers by which a service knows who asks.
net::Headers remote_user_headers(const User& user);

class Aggregator {
 public:
  Aggregator(Core& core, Rest& rest) : core_(&core), rest_(&rest), wake_(core.ex) {}
  // When it is done the local APIServices are there.
  Task<Status> start(TaskScope* scope);
  void use(std::unique_ptr<AggregateTransport> t);

  struct Remote {
    std::string name, group, version;
    json::Value service;  // spec.service
    std::string ca;
    bool insecure = false, available = false;
    bool checking = false;
    bool known = false;      // `resources` have been fetched
    json::Value resources;   // as in aggregated discovery's versions
    std::string openapi;     // changes with its OpenAPI v3 document; "": it has none
    json::Value openapi_v2;  // its part of the v2 document; null: none
    ApiServicePriority priority;
  };
  // Null when this server serves it itself, or nobody does.
  const Remote* find(std::string_view group, std::string_view version) const;
  const std::map<std::string, Remote>& remotes() const { return remotes_; }
  ApiServicePriority priority(const std::string& group, const std::string& version) const;
  int64_t generation() const { return generation_; }  // rises when discovery changes

  // Which remote a request is for, by its path: what it serves and its OpenAPI document.
  const Remote* remote_of(const Request& r) const;
  // Authorised already. For a reader of bytes (any request, streams too).
  Task<Status> forward(std::string name, const Request& r, net::ServerRequest& in, net::ResponseWriter& out);
  // For readers in this process: the whole answer.
  Task<Response> call(std::string name, const Request& r);

 private:
  Task<void> run();
  Task<Status> keep_local();
  void look();
  Task<void> check(std::string name);
  Task<Availability> ask_service(std::string name);
  Task<void> fetch_discovery(std::string name);
  Task<Status> write_status(std::string name, Availability c);
  Result<RemoteServer> resolve(const Remote& r) const;
  Task<Result<net::ClientResponse>> get(std::string name, std::string path, std::string accept);

  Core* core_;
  Rest* rest_;
  std::unique_ptr<AggregateTransport> transport_;
  ServedTypePtr type_;
  Event wake_;
  TaskScope* scope_ = nullptr;
  bool started_ = false;                                  // the onstart services have been made
  std::map<std::string, Remote> remotes_;                 // by name
  std::map<std::string, ApiServicePriority> priorities_;  // by name
  std::map<std::string, int64_t> group_priorities_;
  int64_t generation_ = 0;
};

}  // namespace caravel::apiserver
