#include "cloud/cloud.h"

#include <algorithm>

#include "base/strings.h"
#include "cloud/iam.h"
#include "cloud/instances.h"
#include "cloud/query.h"
#include "cloud/resources.h"

namespace caravel::cloud {

namespace {

// Tables that the substrate fills again by itself: not in the journal.
bool is_volatile(std::string_view table) { return table == "target-health"; }

std::string line_of(const std::vector<Change>& changes) {
  Value line = Value::array();
  for (const Change& c : changes) {
    if (is_volatile(c.table)) continue;
    Value item = Value::array({c.table, c.id});
    if (c.value) item.push_back(*c.value);
    line.push_back(std::move(item));
  }
  return line.size() == 0 ? "" : json::dump(line) + "\n";
}

constexpr int64_t kTerminatedKeptSeconds = 3600;
constexpr int kStartAttempts = 3;

}  // namespace

Cloud::Cloud(Executor& ex, CloudOptions options, Journal& journal, machines::Substrate& substrate)
    : ex_(ex), options_(std::move(options)), journal_(journal), substrate_(substrate), journal_wake_(ex), journal_done_(ex), dirty_(ex), messages_(ex) {}

Cloud::~Cloud() = default;

Caller Cloud::root() const {
  Caller c;
  c.account = options_.account;
  c.arn = "arn:aws:iam::" + options_.account + ":root";
  c.user_id = options_.account;
  return c;
}

Context Cloud::context(Caller caller) {
  return Context{records_, options_, ex_.now(), [this] { return ex_.random_u64(); }, std::move(caller)};
}

Status Cloud::start() {
  auto lines = journal_.load();
  if (!lines.ok()) return wrap(std::move(lines).error(), "the cloud's journal");
  for (const std::string& line : *lines) {
    auto doc = json::parse(line);
    if (!doc.ok()) return wrap(std::move(doc).error(), "the cloud's journal is damaged; move it away to start with an empty account");
    for (const Value& item : std::as_const(*doc).as_array()) {
      Change c{item.at(0).as_string(), item.at(1).as_string(), std::nullopt};
      if (item.size() > 2) c.value = item.at(2);
      records_.replay(std::move(c));
    }
  }
  if (records_.table("vpcs").empty() && records_.table("secrets").empty()) {
    Context c = context(root());
    seed_iam(c);
    if (Status s = seed(c); !s.ok()) return wrap(s.error(), "making the first VPC");
    Value& meta = c.r.edit("clusters", options_.cluster);
    meta["createdAt"] = c.timestamp();
    meta["tags"] = Value::object();
    c.r.edit("queues", options_.cluster)["_events"] = true;
    Value& q = c.r.edit("queues", options_.cluster);
    q["Attributes"]["MessageRetentionPeriod"] = "300";
    q["CreatedTimestamp"] = c.now.seconds();
    q["Tags"] = Value::object();
    records_.commit();
  }
  // Compaction: every start writes the state anew.
  std::string content;
  for (const Change& c : records_.snapshot()) content += line_of({c});
  TRY_VOID(journal_.replace(content));
  substrate_.attach(this);
  scope_.spawn(write_journal());
  scope_.spawn(reconcile_loop());
  return ok();
}

uint64_t Cloud::commit() {
  std::set<std::string> tables = records_.changed_tables();
  std::vector<Change> changes = records_.commit();
  if (changes.empty()) return written_;
  std::string line = line_of(changes);
  if (!line.empty()) {
    pending_lines_ += line;
    ++queued_;
    journal_wake_.pulse();
  }
  if (tables.count("messages")) messages_.pulse();
  dirty_flag_ = true;
  dirty_.pulse();
  return queued_;
}

Task<void> Cloud::durable(uint64_t place) {
  while (written_ < place) co_await journal_done_.wait();
}

Task<void> Cloud::write_journal() {
  for (;;) {
    while (pending_lines_.empty()) co_await journal_wake_.wait();
    std::string lines = std::move(pending_lines_);
    pending_lines_.clear();
    uint64_t place = queued_;
    for (;;) {
      Status s = co_await journal_.append(lines);
      if (s.ok()) break;
      log_.error("the journal cannot be written; answers wait until it can", {{"error", s.error().message}});
      co_await sleep(ex_, std::chrono::seconds(1));
    }
    written_ = place;
    journal_done_.pulse();
  }
}

Output Cloud::apply(const std::string& service, const std::string& action, const Value& in, const Caller& caller) {
  auto it = handlers().find(service + ":" + action);
  if (it == handlers().end()) return aws::service_error("UnsupportedOperation", "The action " + service + ":" + action + " is known but not offered by this cloud yet.");
  Context c = context(caller);
  Output out = it->second(c, in);
  if (!out.ok()) {
    records_.rollback();
    return out;
  }
  if (in["DryRun"].as_bool()) {
    records_.rollback();
    return aws::service_error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412);
  }
  return out;
}

Task<Output> Cloud::call(std::string service, std::string action, Value input, Caller caller) {
  if (service == "elbv2") service = "elasticloadbalancing";
  bool receive = service == "sqs" && action == "ReceiveMessage";
  Time until = ex_.now() + std::chrono::seconds(receive ? std::clamp<int64_t>(std::as_const(input)["WaitTimeSeconds"].as_int(), 0, 20) : 0);
  for (;;) {
    Output out = apply(service, action, input, caller);
    if (!out.ok()) co_return out;
    uint64_t place = commit();
    bool empty = receive && std::as_const(*out)["Messages"].size() == 0;
    if (empty && ex_.now() < until) {
      // Messages also become visible by time alone: look at least every second.
      Duration left = until - ex_.now();
      co_await messages_.wait(std::min<Duration>(left, std::chrono::seconds(1)));
      continue;
    }
    co_await durable(place);
    co_return out;
  }
}

void Cloud::set_capacity_fault(const std::string& type, const std::string& zone, const std::string& capacity, const std::string& code) {
  std::string id = type + "/" + zone + "/" + capacity;
  if (code.empty()) {
    records_.erase("capacity-faults", id);
  } else {
    Value& v = records_.edit("capacity-faults", id);
    v["InstanceType"] = type;
    v["AvailabilityZone"] = zone;
    v["CapacityType"] = capacity;
    v["Code"] = code;
  }
  commit();
}

Status Cloud::interrupt_spot(const std::string& id) {
  const Value* i = records_.find("instances", id);
  if (!i) return not_found("there is no instance " + id);
  if ((*i)["InstanceLifecycle"].as_string() != "spot") return invalid("instance " + id + " is not a spot instance");
  if (i->find("_interruption")) return ok();
  Context c = context(root());
  Time at = ex_.now() + std::chrono::seconds(120);
  Value detail = Value::object();
  detail["instance-id"] = id;
  detail["instance-action"] = "terminate";
  publish_event(c, "aws.ec2", "EC2 Spot Instance Interruption Warning", std::move(detail), {c.arn("ec2", "instance/" + id)});
  Value& v = records_.edit("instances", id)["_interruption"];
  v["time"] = format_rfc3339(at);
  v["at"] = at.seconds();
  commit();
  return ok();
}

void Cloud::instance_changed(const std::string& id, machines::InstanceState state, const std::string& reason) {
  const Value* i = records_.find("instances", id);
  if (!i) return;
  int now = static_cast<int>((*i)["State"]["Code"].as_int());
  Context c = context(root());
  if (state == machines::InstanceState::kRunning) {
    if (now == kPending) set_state(c, id, kRunning);
  } else if (state == machines::InstanceState::kTerminated) {
    stopping_.erase(id);
    started_.erase(id);
    if (now != kTerminated) {
      set_state(c, id, kTerminated, "Client.UserInitiatedShutdown", reason.empty() ? "Client.UserInitiatedShutdown: User initiated shutdown" : reason);
      finish_termination(c, id);
    }
  } else if (state == machines::InstanceState::kStopped) {
    stopping_.erase(id);
    started_.erase(id);
    if (now == kStopping) {
      set_state(c, id, kStopped, "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown");
    } else if (now == kRunning || now == kPending) {
      bool end = (*i)["_shutdown"].as_string() == "terminate";
      set_state(c, id, end ? kShuttingDown : kStopped, "Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown" + (reason.empty() ? "" : " (" + reason + ")"));
    }
  }
  commit();
}

void Cloud::target_health_changed(const std::vector<machines::TargetHealth>& updates) {
  for (const machines::TargetHealth& h : updates) {
    std::string key = h.target_group_arn + "|" + h.target_id + "|" + std::to_string(h.port);
    if (!records_.find("targets", key)) {
      records_.erase("target-health", key);
      continue;
    }
    Value& v = records_.edit("target-health", key);
    v["State"] = h.state;
    v["Reason"] = h.reason;
    v["Description"] = h.description;
  }
  commit();
}

std::optional<std::string> Cloud::instance_metadata(const std::string& id, const std::string& path) { return cloud::instance_metadata(records_, options_, id, path, ex_.now()); }

Time Cloud::advance() {
  Context c = context(root());
  Time next = c.now + std::chrono::seconds(60);
  auto due = [&](int64_t at) {
    if (at <= c.now.seconds()) return true;
    next = std::min(next, Time::from_seconds(at));
    return false;
  };
  for (auto& [id, t] : Records::Table(records_.table("targets")))
    if (t.find("_draining_until") && due(t["_draining_until"].as_int())) {
      records_.erase("targets", id);
      records_.erase("target-health", id);
    }
  std::vector<std::string> gone, interrupted;
  for (auto& [id, i] : records_.table("instances")) {
    int64_t state = i["State"]["Code"].as_int();
    if (state == kTerminated && due(i["_ended"].as_int() + kTerminatedKeptSeconds)) gone.push_back(id);
    if (i.find("_interruption") && (state == kRunning || state == kPending) && due(i["_interruption"]["at"].as_int())) interrupted.push_back(id);
  }
  for (const std::string& id : gone) records_.erase("instances", id);
  for (const std::string& id : interrupted) set_state(c, id, kShuttingDown, "Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination");
  for (auto& [id, f] : Records::Table(records_.table("fleets")))
    if (due(f["_created"].as_int() + kTerminatedKeptSeconds)) records_.erase("fleets", id);
  commit();
  return next;
}

Task<void> Cloud::reconcile_loop() {
  std::vector<std::string> alive;
  for (auto& [id, i] : records_.table("instances"))
    if (int64_t s = i["State"]["Code"].as_int(); s != kTerminated && s != kStopped) alive.push_back(id);
  Status kept = co_await substrate_.keep_only_instances(alive);
  if (!kept.ok()) log_.warn("instances of an earlier run may still be there", {{"error", kept.error().message}});
  for (;;) {
    Time next = advance();
    dirty_flag_ = false;
    Status s = co_await reconcile();
    if (!s.ok()) {
      log_.warn("the substrate did not follow; trying again", {{"error", s.error().message}});
      co_await sleep(ex_, std::chrono::seconds(1));
      continue;
    }
    if (!dirty_flag_) co_await dirty_.wait(std::max<Duration>(next - ex_.now(), std::chrono::milliseconds(10)));
  }
}

Task<Status> Cloud::reconcile() {
  machines::NetworkState network = desired_network(records_);
  if (!applied_network_ || !(*applied_network_ == network)) {
    machines::NetworkState copy = network;
    Status s = co_await substrate_.apply_network(std::move(copy));
    if (!s.ok()) co_return wrap(s.error(), "the network");
    applied_network_ = std::move(network);
    for (auto& [id, n] : Records::Table(records_.table("nat-gateways")))
      if (n["State"].as_string() == "pending") records_.edit("nat-gateways", id)["State"] = "available";
    commit();
  }
  reconcile_instances();
  std::vector<machines::LoadBalancerSpec> balancers = desired_load_balancers(records_);
  if (!applied_load_balancers_ || !(*applied_load_balancers_ == balancers)) {
    std::vector<machines::LoadBalancerSpec> copy = balancers;
    Status s = co_await substrate_.apply_load_balancers(std::move(copy));
    if (!s.ok()) co_return wrap(s.error(), "the load balancers");
    for (const machines::LoadBalancerSpec& b : balancers) {
      const Value* lb = records_.find("load-balancers", b.arn);
      if (lb && (*lb)["State"]["Code"].as_string() == "provisioning") records_.edit("load-balancers", b.arn)["State"]["Code"] = "active";
    }
    applied_load_balancers_ = std::move(balancers);
    commit();
  }
  std::vector<machines::DnsRecord> dns = desired_dns(records_);
  if (!applied_dns_ || !(*applied_dns_ == dns)) {
    std::vector<machines::DnsRecord> copy = dns;
    Status s = co_await substrate_.apply_dns(std::move(copy));
    if (!s.ok()) co_return wrap(s.error(), "the names");
    applied_dns_ = std::move(dns);
  }
  co_return ok();
}

void Cloud::reconcile_instances() {
  for (auto& [id, i] : records_.table("instances")) {
    int64_t state = i["State"]["Code"].as_int();
    if (state == kPending || state == kRunning) {
      machines::InstanceSpec spec = desired_instance(records_, options_, i);
      auto it = started_.find(id);
      if (it == started_.end() || it->second.boot != spec.boot) {
        started_[id] = spec;
        scope_.spawn(start_one(id, std::move(spec)));
      } else if (!(it->second == spec)) {
        it->second = spec;
        scope_.spawn(update_one(std::move(spec)));
      }
    } else if ((state == kShuttingDown || state == kStopping) && stopping_.insert(id).second) {
      scope_.spawn(stop_one(id, state == kShuttingDown, i["_force"].as_bool()));
    }
  }
}

Task<void> Cloud::start_one(std::string id, machines::InstanceSpec spec) {
  Status s = co_await substrate_.start_instance(std::move(spec));
  if (s.ok()) {
    start_failures_.erase(id);
    co_return;
  }
  log_.warn("an instance does not start", {{"instance", id}, {"error", s.error().message}});
  int failures = ++start_failures_[id];
  co_await sleep(ex_, std::chrono::seconds(1));
  if (failures >= kStartAttempts && records_.find("instances", id)) {
    start_failures_.erase(id);
    Context c = context(root());
    set_state(c, id, kShuttingDown, "Server.InternalError", "Server.InternalError: Internal error on launch: " + s.error().message);
    commit();
    co_return;
  }
  started_.erase(id);
  dirty_flag_ = true;
  dirty_.pulse();
}

Task<void> Cloud::update_one(machines::InstanceSpec spec) {
  std::string id = spec.id;
  Status s = co_await substrate_.update_instance(std::move(spec));
  if (!s.ok()) log_.warn("an instance does not follow its changes", {{"instance", id}, {"error", s.error().message}});
}

Task<void> Cloud::stop_one(std::string id, bool remove, bool force) {
  Status s = co_await substrate_.stop_instance(id, remove, force ? std::chrono::seconds(0) : std::chrono::seconds(30));
  if (s.ok()) co_return;
  log_.warn("an instance does not stop; trying again", {{"instance", id}, {"error", s.error().message}});
  co_await sleep(ex_, std::chrono::seconds(1));
  stopping_.erase(id);
  dirty_flag_ = true;
  dirty_.pulse();
}

namespace {

class InProcessClient final : public aws::Client {
 public:
  explicit InProcessClient(Cloud& cloud) : cloud_(cloud) {}
  const std::string& region() const override { return cloud_.options().region; }
  Task<Result<Value>> call(std::string service, std::string action, Value input) override {
    Caller caller = cloud_.root();
    return cloud_.call(std::move(service), std::move(action), std::move(input), std::move(caller));
  }

 private:
  Cloud& cloud_;
};

}  // namespace

std::unique_ptr<aws::Client> make_in_process_client(Cloud& cloud) { return std::make_unique<InProcessClient>(cloud); }

}  // namespace caravel::cloud
