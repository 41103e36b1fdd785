// Applies the manifests of platform/ to the cluster, in the order of their file names.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "kube/client.h"
#include "net/event_loop.h"

namespace caravel::cli {

class Installer {
 public:
  Installer(net::EventLoop& loop, kube::Client client, std::map<std::string, std::string> values, std::function<void(std::string)> say)
      : loop_(loop), client_(client), values_(std::move(values)), say_(std::move(say)) {}
  // The definitions of our custom resources (from schema/), established.
  Task<Status> install_definitions();
  Task<Status> install_directory(std::string directory);
  Task<Status> apply(json::Value object);

 private:
  Task<Result<kube::Resource>> resource_of(std::string api_version, std::string kind);
  std::string substitute(std::string text) const;
  net::EventLoop& loop_;
  kube::Client client_;
  std::map<std::string, std::string> values_;
  std::function<void(std::string)> say_;
  std::map<std::string, json::Value> discovered_;
};

}  // namespace caravel::cli
