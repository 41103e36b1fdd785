#include "cloud/hollow_substrate.h"

#include <map>

namespace caravel::cloud {

namespace {

class Hollow final : public machines::Substrate {
 public:
  Hollow(Executor& ex, HollowOptions options) : ex_(ex), options_(std::move(options)) {}
  void attach(machines::SubstrateHost* host) override { host_ = host; }
  Task<Status> apply_network(machines::NetworkState) override { co_return ok(); }
  Task<Status> start_instance(machines::InstanceSpec spec) override {
    std::string id = spec.id;
    uint64_t boot = spec.boot;
    boots_[id] = boot;
    std::weak_ptr<bool> alive = alive_;
    ex_.run_after(options_.boot_delay, [this, alive, spec = std::move(spec)] {
      if (alive.expired()) return;
      auto it = boots_.find(spec.id);
      if (it == boots_.end() || it->second != spec.boot) return;
      host_->instance_changed(spec.id, machines::InstanceState::kRunning, "");
      if (options_.on_running) options_.on_running(spec);
    });
    co_return ok();
  }
  Task<Status> update_instance(machines::InstanceSpec) override { co_return ok(); }
  Task<Status> stop_instance(std::string id, bool remove, Duration) override {
    boots_.erase(id);
    std::weak_ptr<bool> alive = alive_;
    ex_.run_after(options_.stop_delay, [this, alive, id, remove] {
      if (alive.expired()) return;
      if (options_.on_stopped) options_.on_stopped(id);
      host_->instance_changed(id, remove ? machines::InstanceState::kTerminated : machines::InstanceState::kStopped, "");
    });
    co_return ok();
  }
  Task<Status> keep_only_instances(std::vector<std::string>) override { co_return ok(); }
  Task<Status> apply_load_balancers(std::vector<machines::LoadBalancerSpec> desired) override {
    std::vector<machines::TargetHealth> updates;
    for (const auto& lb : desired)
      for (const auto& g : lb.target_groups)
        for (const auto& t : g.targets) {
          machines::TargetHealth h;
          h.target_group_arn = g.arn;
          h.target_id = t.id;
          h.port = t.port;
          h.state = t.draining ? "draining" : t.ip.empty() ? "unused"
                                                           : "healthy";
          updates.push_back(std::move(h));
        }
    std::weak_ptr<bool> alive = alive_;
    ex_.post([this, alive, updates = std::move(updates)] {
      if (!alive.expired()) host_->target_health_changed(updates);
    });
    co_return ok();
  }
  Task<Status> apply_dns(std::vector<machines::DnsRecord>) override { co_return ok(); }
  Task<Result<std::string>> console_output(std::string) override { co_return std::string(); }

 private:
  Executor& ex_;
  HollowOptions options_;
  machines::SubstrateHost* host_ = nullptr;
  std::map<std::string, uint64_t> boots_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<machines::Substrate> make_hollow_substrate(Executor& ex, HollowOptions options) { return std::make_unique<Hollow>(ex, std::move(options)); }

}  // namespace caravel::cloud
