// The simulated substrate: instances that boot by waiting, load balancers whose targets are healthy.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/executor.h"
#include "machines/substrate.h"

namespace caravel::cloud {

struct HollowOptions {
  Duration boot_delay = std::chrono::seconds(1);
  Duration stop_delay = std::chrono::milliseconds(200);
  // Called when an instance is up or gone: whoever simulates nodes makes one join or leave.
  std::function<void(const machines::InstanceSpec&)> on_running;
  std::function<void(const std::string& instance_id)> on_stopped;
};
std::unique_ptr<machines::Substrate> make_hollow_substrate(Executor& ex, HollowOptions options);

}  // namespace caravel::cloud
