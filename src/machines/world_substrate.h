// The substrate that is real: each instance a network namespace with its interfaces, its metadata service,
// a cgroup of its type's size and the node agent that its user data starts; each load balancer an HAProxy
// in a namespace of its own. Runs in the process of the embedded cloud, inside the VPC's namespace.
//
// When this process is restarted, namespaces and containers are still there: instances are taken over
// again by start_instance (their node agents start anew and adopt their containers).
#pragma once

#include <memory>
#include <string>

#include "machines/substrate.h"
#include "net/event_loop.h"

namespace caravel::machines {

struct WorldOptions {
  std::string program;         // the caravel binary: runs `caravel node`
  std::string data_directory;  // per instance and load balancer: DATA/machines
  std::string containerd_socket = "/run/containerd/containerd.sock";
  std::string aws_endpoint = "http://10.0.0.4:4566";  // for what runs in instances
  std::string cgroup_root = "/caravel";               // of all instances; each gets <root>/<instance id>
  std::string control_plane_namespace = "cp";
  std::string dns_records_file;                               // read by `caravel vpc-dns`; "" for none
  std::map<std::string, std::vector<std::string>> dns_extra;  // names that are always there
};

std::unique_ptr<Substrate> make_world_substrate(net::EventLoop& loop, WorldOptions options);

}  // namespace caravel::machines
