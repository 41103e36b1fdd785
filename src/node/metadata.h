// The instance metadata service (IMDSv2): who this instance is.
#pragma once

#include <string>

#include "eks/instance.h"
#include "net/http.h"

namespace caravel::node {

using eks::InstanceFacts;

class InstanceMetadata {
 public:
  InstanceMetadata(net::EventLoop& loop, std::string endpoint = "http://169.254.169.254");
  // "instance-id", "placement/availability-zone", ...; kNotFound when the service has no such item.
  Task<Result<std::string>> get(std::string item);
  Task<Result<std::string>> user_data();
  // The VPC's resolver (the VPC's address plus two) and its search domain, as DHCP tells an EC2 instance.
  Task<Result<std::pair<std::string, std::string>>> resolver();
  // Identity and placement; kUnavailable when there is no metadata service.
  Task<Result<InstanceFacts>> facts();

 private:
  Task<Result<std::string>> fetch(std::string path);
  net::EventLoop* loop_;
  std::string endpoint_, token_;
  net::HttpClient http_;
};

}  // namespace caravel::node
