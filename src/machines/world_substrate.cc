#include "machines/world_substrate.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <set>

#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "machines/haproxy_config.h"
#include "machines/machine.h"
#include "vpc/router.h"

namespace caravel::machines {
namespace {

constexpr Duration kHealthInterval = std::chrono::milliseconds(500);
constexpr size_t kConsoleBytesMax = 64 * 1024;
constexpr int kLoadAttempts = 4;
constexpr Duration kLoadTimeout = std::chrono::seconds(2), kLoadPoll = std::chrono::milliseconds(10);

std::string balancer_namespace(const std::string& arn) { return "lb-" + sha256_hex(arn).substr(0, 10); }

// One HAProxy.
struct Balancer {
  LoadBalancerSpec spec;
  LoadBalancerSpec loaded;  // what the running HAProxy was told
  std::string ns, directory;
  HaproxyFiles files;
  std::unique_ptr<net::Process> process;
  int generation = 0;                           // of the file that HAProxy was last made to load; it tells it back (see loaded())
  std::map<std::string, std::string> reported;  // target -> last state and reason
};

class WorldSubstrate final : public Substrate {
 public:
  WorldSubstrate(net::EventLoop& loop, WorldOptions options) : loop_(loop), options_(std::move(options)), router_(loop), network_gate_(loop, 1), balancer_gate_(loop, 1) {}

  void attach(SubstrateHost* host) override {
    host_ = host;
    scope_.spawn(watch_health());
  }

  Task<Status> apply_network(NetworkState desired) override {
    network_ = std::move(desired);
    co_return co_await plug();
  }

  Task<Status> start_instance(InstanceSpec spec) override {
    std::string id = spec.id;
    auto it = machines_.find(id);
    if (it != machines_.end() && it->second->spec().boot == spec.boot) co_return ok();
    if (it != machines_.end()) {
      co_await it->second->end(5s);
      machines_.erase(id);
    }
    CO_TRY_VOID(co_await vpc::make_namespace(loop_, id));
    CO_TRY_VOID(co_await plug());
    auto machine = std::make_shared<Machine>(loop_, *host_, options_, std::move(spec));
    machines_[id] = machine;
    auto up = [this, id] { tell(id, InstanceState::kRunning, ""); };
    auto booted = co_await machine->boot(up);
    if (!booted.ok()) {
      co_await machine->end(0s);
      machines_.erase(id);
    }
    co_return booted;
  }

  Task<Status> update_instance(InstanceSpec spec) override {
    auto it = machines_.find(spec.id);
    if (it == machines_.end()) co_return not_found("the instance " + spec.id + " does not run here");
    it->second->metadata().set_options(spec.metadata);
    it->second->spec() = std::move(spec);
    co_return co_await plug();
  }

  Task<Status> stop_instance(std::string id, bool remove, Duration grace) override {
    auto it = machines_.find(id);
    if (it != machines_.end()) {
      auto machine = it->second;
      co_await machine->end(grace);
      machines_.erase(id);
    } else {
      kill_cgroup(options_.cgroup_root + "/" + id);
      remove_cgroup(options_.cgroup_root + "/" + id);
    }
    CO_TRY_VOID(co_await vpc::delete_namespace(loop_, id));
    if (remove) CO_TRY_VOID(net::remove_tree(options_.data_directory + "/" + id));
    tell(id, remove ? InstanceState::kTerminated : InstanceState::kStopped, "");
    co_return ok();
  }

  Task<Status> keep_only_instances(std::vector<std::string> ids) override {
    std::set<std::string> keep(ids.begin(), ids.end());
    auto present = net::list_directory("/run/netns");
    if (!present.ok()) co_return ok();
    for (auto& name : *present)
      if (name.starts_with("i-") && !keep.count(name)) {
        auto ended = co_await stop_instance(name, true, 0s);
        if (!ended.ok()) co_return ended;
      }
    co_return ok();
  }

  Task<Status> apply_load_balancers(std::vector<LoadBalancerSpec> desired) override {
    std::set<std::string> wanted;
    for (auto& spec : desired) {
      wanted.insert(spec.arn);
      auto& b = balancers_[spec.arn];
      if (!b) b = std::make_shared<Balancer>();
      b->spec = spec;
      b->ns = balancer_namespace(spec.arn);
      b->directory = options_.data_directory + "/" + b->ns;
      CO_TRY_VOID(co_await vpc::make_namespace(loop_, b->ns));
    }
    CO_TRY_VOID(co_await plug());
    std::vector<std::string> gone;
    for (auto& [arn, b] : balancers_)
      if (!wanted.count(arn)) gone.push_back(arn);
    for (auto& arn : gone) {
      auto b = balancers_[arn];
      balancers_.erase(arn);
      if (b->process) co_await b->process->stop(2s);
      CO_TRY_VOID(co_await vpc::delete_namespace(loop_, b->ns));
      CO_TRY_VOID(net::remove_tree(b->directory));
    }
    for (auto& spec : desired) {
      auto b = balancers_[spec.arn];
      if (b) CO_TRY_VOID(co_await run_balancer(b));
    }
    co_return write_names();
  }

  Task<Status> apply_dns(std::vector<DnsRecord> desired) override {
    records_ = std::move(desired);
    co_return write_names();
  }

  Task<Result<std::string>> console_output(std::string id) override {
    auto text = net::read_file(options_.data_directory + "/" + id + "/console.log");
    if (!text.ok()) co_return std::string();
    co_return text->size() > kConsoleBytesMax ? text->substr(text->size() - kConsoleBytesMax) : *text;
  }

 private:
  // The resolver's records, and for the edge which load balancers listen on a port: application load
  // balancers first, as they are what the internet sees where there are both kinds.
  Status write_names() {
    if (options_.dns_records_file.empty()) return ok();
    json::Value file = json::Value::object(), doors = json::Value::object();
    for (auto& [name, values] : options_.dns_extra)
      for (auto& v : values) file[name].push_back(v);
    for (auto& r : records_)
      if (r.type == "A")
        for (auto& v : r.values) file[r.name + "."].push_back(v);
    std::string everything;  // the load balancer that serves HTTPS too, if there is one
    for (bool application : {true, false})
      for (auto& [arn, b] : balancers_) {
        if (b->spec.application != application || !b->spec.internet_facing || !std::as_const(file).find(b->spec.dns_name + ".")) continue;
        for (auto& l : b->spec.listeners) {
          doors[std::to_string(l.port)].push_back(b->spec.dns_name);
          if (everything.empty() || (l.port == 443 && std::as_const(doors)["443"].size() == 1)) everything = b->spec.dns_name;
        }
      }
    // Names under .localhost are the world's own public names: browsers on the host resolve them to its
    // loopback, where the edge waits; inside they lead to a load balancer.
    if (!everything.empty()) file["*.localhost."] = json::Value(std::as_const(file)[everything + "."]);
    size_t slash = options_.dns_records_file.rfind('/');
    TRY_VOID(net::write_file_atomic(options_.dns_records_file.substr(0, slash + 1) + "doors.json", json::dump_pretty(doors)));
    return net::write_file_atomic(options_.dns_records_file, json::dump_pretty(file));
  }

  // Callbacks never run inside a call.
  void tell(const std::string& id, InstanceState state, const std::string& reason) {
    loop_.post([this, id, state, reason] { host_->instance_changed(id, state, reason); });
  }

  // The network as last asked for, with every interface in the namespace of its owner.
  Task<Status> plug() {
    co_await network_gate_.acquire();
    if (!router_ready_) {
      auto ready = co_await router_.set_up();
      if (!ready.ok()) {
        network_gate_.release();
        co_return ready;
      }
      router_ready_ = true;
    }
    NetworkState network = network_;
    std::map<std::string, std::string> where;
    std::map<std::string, std::pair<std::string, int>> of_balancer;  // interface -> namespace, index
    for (auto& [arn, b] : balancers_) {
      int index = 0;
      for (auto& n : b->spec.nodes) of_balancer[n.interface_id] = {b->ns, index++};
    }
    // The control plane has an interface in each of its subnets, all in one namespace; nobody but us
    // numbers them.
    std::vector<Interface*> control_plane;
    for (auto& i : network.interfaces)
      if (i.owner == InterfaceOwner::kControlPlane) control_plane.push_back(&i);
    std::sort(control_plane.begin(), control_plane.end(), [](auto* a, auto* b) { return a->primary_ip < b->primary_ip; });
    for (size_t n = 0; n < control_plane.size(); ++n) control_plane[n]->device_index = static_cast<int>(n);
    for (auto& i : network.interfaces) {
      if (i.owner == InterfaceOwner::kInstance) where[i.id] = i.owner_id;
      if (i.owner == InterfaceOwner::kControlPlane) where[i.id] = options_.control_plane_namespace;
      auto lb = of_balancer.find(i.id);
      if (lb == of_balancer.end()) continue;
      where[i.id] = lb->second.first;
      i.device_index = lb->second.second;
    }
    auto applied = co_await router_.apply(std::move(network), std::move(where));
    network_gate_.release();
    co_return applied;
  }

  Task<Status> run_balancer(std::shared_ptr<Balancer> b) {
    co_await balancer_gate_.acquire();
    Status done = co_await bring_up_to_date(b);
    balancer_gate_.release();
    co_return done;
  }

  Task<Status> bring_up_to_date(std::shared_ptr<Balancer> b) {
    if (b->spec.listeners.empty()) co_return ok();
    HaproxyFiles files = render_haproxy(b->spec, b->directory);
    bool running = b->process && b->process->running();
    if (running && files.config == b->files.config && files.certificates == b->files.certificates) co_return ok();
    CO_TRY_VOID(net::make_directories(b->directory, 0700));
    for (auto& [name, pem] : files.certificates) CO_TRY_VOID(net::write_file_atomic(b->directory + "/" + name, pem, 0600));
    std::string path = b->directory + "/haproxy.cfg";
    CO_TRY_VOID(net::write_file_atomic(path + ".new", files.config, 0600));
    net::ProcessOptions check;
    check.argv = {"haproxy", "-c", "-q", "-f", path + ".new"};
    auto checked = co_await net::run_process(loop_, std::move(check), "", 20s);
    if (!checked.ok()) co_return std::move(checked).error();
    if (checked->exit.code != 0) co_return internal("HAProxy refuses the configuration of the load balancer " + b->spec.name + ": " + checked->err + checked->out);
    auto changes = runtime_changes(b->loaded, b->spec);
    if (running && changes) {
      bool told = co_await tell_haproxy(b->directory + "/stats.sock", std::move(*changes));
      if (told) {
        CO_TRY_VOID(net::write_file_atomic(path, with_generation(files.config, b->generation), 0600));
        b->files = std::move(files);
        b->loaded = b->spec;
        co_return ok();
      }
    }
    CO_TRY_VOID(net::write_file_atomic(path, with_generation(files.config, ++b->generation), 0600));
    // A signal may be lost or kill while HAProxy starts or loads: it is asked what it runs, and told again.
    for (int attempt = 0; attempt < kLoadAttempts; ++attempt) {
      if (b->process && b->process->running()) {
        CO_TRY_VOID(b->process->signal(SIGUSR2));  // the master loads the new file; old workers finish
      } else {
        CO_TRY_VOID(start_haproxy(*b));
      }
      bool good = co_await loaded(*b);
      if (good) {
        b->files = std::move(files);
        b->loaded = b->spec;
        co_return ok();
      }
    }
    co_return unavailable("HAProxy does not take the configuration of the load balancer " + b->spec.name + "; see " + b->directory + "/haproxy.log");
  }

  static std::string with_generation(const std::string& config, int generation) {
    return config + "global\n  description generation-" + std::to_string(generation) + "\n";
  }

  // Waits until a worker with the last written file answers.
  Task<bool> loaded(const Balancer& b) {
    const std::string socket = b.directory + "/stats.sock", wanted = "description: generation-" + std::to_string(b.generation) + "\n";
    const Time deadline = loop_.now() + kLoadTimeout;
    while (loop_.now() < deadline) {
      auto info = co_await ask_haproxy(socket, "show info");
      if (info.ok() && info->find(wanted) != std::string::npos) co_return true;
      if (!b.process->running()) co_return false;
      co_await sleep(loop_, kLoadPoll);
    }
    co_return false;
  }

  Status start_haproxy(Balancer& b) {
    std::string path = b.directory + "/haproxy.cfg";
    net::ProcessOptions o;
    o.argv = {"haproxy", "-W", "-db", "-f", path};
    o.netns_fd = vpc::open_namespace(b.ns);
    o.stdout_file = o.stderr_file = b.directory + "/haproxy.log";
    int fd = o.netns_fd;
    auto process = net::spawn(loop_, std::move(o));
    if (fd >= 0) ::close(fd);
    if (!process.ok()) return std::move(process).error();
    b.process = std::move(*process);
    return ok();
  }

  // False when HAProxy does not answer or refuses: then the file is loaded instead.
  Task<bool> tell_haproxy(std::string socket, std::vector<std::string> commands) {
    for (auto& c : commands) {
      auto answer = co_await ask_haproxy(socket, c);
      if (!answer.ok()) co_return false;
      std::string said(trim(*answer));
      bool fine = said.empty() || said.find("New server registered") != said.npos || said.find("Already exists") != said.npos || said.find("already") != said.npos || said.find("no need to change") != said.npos ||
                  said.find("changed from") != said.npos;
      if (!fine) {
        log_.warn("HAProxy refuses a change; loading its configuration again", {{"command", c}, {"answer", said}});
        co_return false;
      }
    }
    co_return true;
  }

  Task<Result<std::string>> ask_haproxy(std::string socket, std::string command) {
    net::Address address{"unix:" + socket};
    net::ConnectOptions options;
    auto stream = co_await net::connect(loop_, std::move(address), std::move(options));
    if (!stream.ok()) co_return std::move(stream).error();
    std::string line = command + "\n";
    CO_TRY_VOID(co_await (*stream)->write(line));
    std::string out;
    std::vector<char> room(16 * 1024);
    while (true) {
      std::span<char> span(room);
      auto n = co_await (*stream)->read(span);
      if (!n.ok()) co_return std::move(n).error();
      if (*n == 0) co_return out;
      out.append(room.data(), *n);
    }
  }

  Task<void> watch_health() {
    while (true) {
      co_await sleep(loop_, kHealthInterval);
      std::vector<std::shared_ptr<Balancer>> all;
      for (auto& [arn, b] : balancers_) all.push_back(b);
      std::vector<TargetHealth> news;
      for (auto& b : all) {
        std::map<std::string, std::string> reported;
        if (b->process && !b->process->running()) {  // killed: start it again
          auto restarted = co_await run_balancer(b);
          if (!restarted.ok()) log_.error(restarted.error().message);
          continue;
        }
        if (!b->process) continue;
        auto csv = co_await ask_haproxy(b->directory + "/stats.sock", "show stat");
        if (!csv.ok()) continue;
        for (auto& h : read_health(b->spec, *csv)) {
          std::string key = h.target_group_arn + "|" + h.target_id + "|" + std::to_string(h.port);
          reported[key] = h.state + h.reason;
          auto last = b->reported.find(key);
          if (last == b->reported.end() || last->second != reported[key]) news.push_back(h);
        }
        b->reported = std::move(reported);  // a target that went and came back is news again
      }
      if (!news.empty()) host_->target_health_changed(news);
    }
  }

  net::EventLoop& loop_;
  WorldOptions options_;
  vpc::Router router_;
  Semaphore network_gate_;   // one change of the kernel's network at a time
  Semaphore balancer_gate_;  // one change of a load balancer at a time
  bool router_ready_ = false;
  Log log_{"substrate"};
  SubstrateHost* host_ = nullptr;
  NetworkState network_;
  std::map<std::string, std::shared_ptr<Machine>> machines_;
  std::map<std::string, std::shared_ptr<Balancer>> balancers_;
  std::vector<DnsRecord> records_;
  TaskScope scope_;
};

}  // namespace

std::unique_ptr<Substrate> make_world_substrate(net::EventLoop& loop, WorldOptions options) { return std::make_unique<WorldSubstrate>(loop, std::move(options)); }

}  // namespace caravel::machines
