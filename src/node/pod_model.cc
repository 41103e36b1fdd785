#include "node/pod_model.h"

namespace caravel::node {

core::Container as_container(const core::EphemeralContainer& e) {
  core::Container c;
  c.name = e.name;
  c.image = e.image;
  c.command = e.command;
  c.args = e.args;
  c.working_dir = e.working_dir;
  c.env_from = e.env_from;
  c.env = e.env;
  c.volume_mounts = e.volume_mounts;
  c.volume_devices = e.volume_devices;
  c.termination_message_path = e.termination_message_path;
  c.termination_message_policy = e.termination_message_policy;
  c.image_pull_policy = e.image_pull_policy;
  c.security_context = e.security_context;
  c.stdin = e.stdin;
  c.stdin_once = e.stdin_once;
  c.tty = e.tty;
  return c;
}

std::optional<core::Container> find_container(const core::Pod& pod, const std::string& name) {
  for (auto* list : {&pod.spec.init_containers, &pod.spec.containers})
    for (auto& c : *list)
      if (c.name == name) return c;
  for (auto& e : pod.spec.ephemeral_containers)
    if (e.name == name) return as_container(e);
  return std::nullopt;
}

}  // namespace caravel::node
