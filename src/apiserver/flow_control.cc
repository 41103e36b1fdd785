#include "apiserver/flow_control.h"

#include <algorithm>
#include <functional>

#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

bool listed(const Value& list, std::string_view wanted) {
  for (auto& v : list.as_array())
    if (v.as_string() == "*" || v.as_string() == wanted) return true;
  return false;
}

bool path_listed(const Value& list, const std::string& path) {
  for (auto& v : list.as_array()) {
    const std::string& p = v.as_string();
    if (p == "*" || p == path) return true;
    if (p.size() > 1 && p.back() == '*' && path.compare(0, p.size() - 1, p, 0, p.size() - 1) == 0) return true;
  }
  return false;
}

bool is_subject(const Value& s, const User& u) {
  const std::string& kind = s["kind"].as_string();
  if (kind == "User") {
    const std::string& name = s["user"]["name"].as_string();
    return name == "*" || name == u.name;
  }
  if (kind == "Group") {
    const std::string& name = s["group"]["name"].as_string();
    return name == "*" || u.in_group(name);
  }
  const std::string prefix = "system:serviceaccount:" + s["serviceAccount"]["namespace"].as_string() + ":";
  if (u.name.compare(0, prefix.size(), prefix) != 0) return false;
  const std::string& name = s["serviceAccount"]["name"].as_string();
  return name == "*" || u.name.compare(prefix.size(), std::string::npos, name) == 0;
}

bool rule_matches(const Value& rule, const Request& r) {
  bool subject = false;
  for (auto& s : rule["subjects"].as_array()) subject = subject || is_subject(s, *r.user);
  if (!subject) return false;
  if (!r.is_resource) {
    for (auto& n : rule["nonResourceRules"].as_array())
      if (listed(n["verbs"], r.verb) && path_listed(n["nonResourceURLs"], r.path)) return true;
    return false;
  }
  const std::string what = r.subresource.empty() ? r.plural : r.plural + "/" + r.subresource;
  for (auto& n : rule["resourceRules"].as_array()) {
    if (!listed(n["verbs"], r.verb) || !listed(n["apiGroups"], r.group) || !listed(n["resources"], what)) continue;
    if (r.ns.empty() ? n["clusterScope"].as_bool() : listed(n["namespaces"], r.ns)) return true;
  }
  return false;
}

}  // namespace

void FlowControl::Seat::release() {
  if (control_) std::exchange(control_, nullptr)->leave(level_, running_);
}

FlowControl::FlowControl(Core& core, WatchCache* schemas, WatchCache* levels) : core_(&core), schemas_cache_(schemas), levels_cache_(levels), changed_(core.ex) {
  const std::vector<std::string> labels = {"priority_level"};
  executing_ = &core.metrics.gauge("apiserver_flowcontrol_current_executing_requests", "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem", labels);
  seats_ = &core.metrics.gauge("apiserver_flowcontrol_current_executing_seats", "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem", labels);
  estimated_ = &core.metrics.histogram("apiserver_flowcontrol_work_estimated_seats", "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness", {"priority_level", "flow_schema"}, {1, 2, 4, 10});
  waiting_ = &core.metrics.gauge("apiserver_flowcontrol_current_inqueue_requests", "Number of requests currently pending in queues of the API Priority and Fairness subsystem", labels);
  dispatched_ = &core.metrics.counter("apiserver_flowcontrol_dispatched_requests_total", "Number of requests executed by API Priority and Fairness subsystem", {"flow_schema", "priority_level"});
  rejected_ = &core.metrics.counter("apiserver_flowcontrol_rejected_requests_total", "Number of requests rejected by API Priority and Fairness subsystem", {"flow_schema", "priority_level", "reason"});
  auto limit = [&](const char* name, const char* text) { return &core.metrics.gauge(name, text, labels); };
  nominal_limit_ = limit("apiserver_flowcontrol_nominal_limit_seats", "Nominal number of execution seats configured for each priority level");
  current_limit_ = limit("apiserver_flowcontrol_current_limit_seats", "current derived number of execution seats available to each priority level");
  lower_limit_ = limit("apiserver_flowcontrol_lower_limit_seats", "Configured lower bound on number of execution seats available to each priority level");
  upper_limit_ = limit("apiserver_flowcontrol_upper_limit_seats", "Configured upper bound on number of execution seats available to each priority level");
  auto on = [this](const CacheEvent&) { reload(); };
  schemas->add_listener(on);
  levels->add_listener(on);
  reload();
}

void FlowControl::reload() {
  schemas_.clear();
  for (auto& [name, o] : schemas_cache_->objects()) {
    Schema s;
    s.object = o->value();
    s.name = o->name;
    s.uid = s.object->path({"metadata", "uid"}).as_string();
    s.level = s.object->path({"spec", "priorityLevelConfiguration", "name"}).as_string();
    s.distinguisher = s.object->path({"spec", "distinguisherMethod", "type"}).as_string();
    s.precedence = s.object->path({"spec", "matchingPrecedence"}).as_int();
    schemas_.push_back(std::move(s));
  }
  std::stable_sort(schemas_.begin(), schemas_.end(), [](auto& a, auto& b) { return a.precedence < b.precedence; });
  for (auto& [name, l] : levels_) l.configured = false;
  int64_t shares = 0;
  for (auto& [name, o] : levels_cache_->objects()) {
    ValuePtr v = o->value();
    Level& l = levels_[o->name];
    l.configured = true;
    l.uid = v->path({"metadata", "uid"}).as_string();
    l.exempt = v->path({"spec", "type"}).as_string() == "Exempt";
    const Value& limited = v->path({"spec", l.exempt ? "exempt" : "limited"});
    l.shares = limited["nominalConcurrencyShares"].as_int();
    l.lendable = limited["lendablePercent"].as_int();
    const Value& borrowing = limited["borrowingLimitPercent"];
    l.borrowing = borrowing.is_int() ? borrowing.as_int() : -1;
    l.queues = limited["limitResponse"]["type"].as_string() == "Queue";
    const Value& q = limited["limitResponse"]["queuing"];
    l.hand = std::max<int64_t>(1, q["handSize"].as_int());
    l.queue_length = q["queueLengthLimit"].as_int();
    size_t wanted = l.queues ? static_cast<size_t>(std::max<int64_t>(1, q["queues"].as_int())) : 0;
    if (l.queue.size() < wanted) l.queue.resize(wanted);  // never fewer: somebody may wait in them
    shares += l.shares;
  }
  for (auto& [name, l] : levels_) {
    if (!l.configured) continue;  // its last requests drain
    LevelSeats& s = l.seats;
    int was = s.nominal;
    s.exempt = l.exempt;
    s.nominal = static_cast<int>((kTotalSeats * l.shares + shares - 1) / std::max<int64_t>(1, shares));
    auto part = [&](int64_t percent) { return static_cast<int>((s.nominal * percent + 50) / 100); };
    s.lower = s.nominal - part(l.lendable);
    s.upper = l.borrowing < 0 ? kTotalSeats : s.nominal + part(l.borrowing);
    if (!s.current || was != s.nominal) s.current = std::max(1, s.nominal);  // until the next adjustment
    s.current = std::clamp(s.current, std::max(1, s.lower), std::max(1, s.upper));
    dispatch(l);
  }
  show_limits();
  changed_.set();
}

void FlowControl::show_limits() {
  for (auto& [name, l] : levels_) {
    nominal_limit_->set({name}, l.seats.nominal);
    current_limit_->set({name}, l.seats.current);
    lower_limit_->set({name}, l.seats.lower);
    upper_limit_->set({name}, l.seats.upper);
  }
}

void FlowControl::adjust() {
  std::vector<LevelSeats*> seats;
  std::vector<SeatDemand::Summary> demand;
  for (auto& [name, l] : levels_) {
    if (!l.configured) continue;
    seats.push_back(&l.seats);
    demand.push_back(l.demand.take(core_->ex.now()));
  }
  adjust_seats(seats, demand, kTotalSeats);
  for (auto& [name, l] : levels_) dispatch(l);
  show_limits();
}

Task<void> FlowControl::keep_adjusting() {
  while (true) {
    co_await sleep(core_->ex, kBorrowingPeriod);
    adjust();
  }
}

Task<std::vector<Value>> FlowControl::stale_schemas() {
  std::vector<Value> out;
  while (out.empty()) {
    co_await changed_.wait();
    changed_.reset();
    for (auto& s : schemas_) {
      auto level = levels_.find(s.level);
      bool dangling = level == levels_.end() || !level->second.configured;
      const Value* old = nullptr;
      for (auto& c : s.object->path({"status", "conditions"}).as_array())
        if (c["type"].as_string() == "Dangling") old = &c;
      Value c = Value::object();
      c["type"] = "Dangling";
      c["status"] = dangling ? "True" : "False";
      c["lastTransitionTime"] = format_rfc3339(core_->ex.now());
      c["reason"] = dangling ? "NotFound" : "Found";
      std::string about = "This FlowSchema references the PriorityLevelConfiguration object named " + json::quote(s.level);
      c["message"] = about + (dangling ? " but there is no such object" : " and it exists");
      if (old && (*old)["status"] == c["status"] && (*old)["reason"] == c["reason"] && (*old)["message"] == c["message"]) continue;
      if (old && (*old)["status"] == c["status"]) c["lastTransitionTime"] = (*old)["lastTransitionTime"];
      Value o = *s.object;
      Value kept = Value::array();
      for (auto& x : s.object->path({"status", "conditions"}).as_array())
        if (&x != old) kept.push_back(x);
      kept.push_back(std::move(c));
      o["status"]["conditions"] = std::move(kept);
      out.push_back(std::move(o));
    }
  }
  co_return out;
}

FlowControl::Match FlowControl::classify(const Request& r) const {
  for (auto& s : schemas_) {
    bool hit = false;
    for (auto& rule : s.object->path({"spec", "rules"}).as_array()) hit = hit || rule_matches(rule, r);
    auto level = levels_.find(s.level);
    if (!hit || level == levels_.end() || !level->second.configured) continue;
    Match m{s.name, s.uid, s.level, s.name};
    if (s.distinguisher == "ByUser") m.flow += "/" + r.user->name;
    else if (s.distinguisher == "ByNamespace") m.flow += "/" + r.ns;
    return m;
  }
  return {};
}

RequestWidth FlowControl::width(const Request& r, const std::string& level) const {
  WidthFacts facts;
  auto l = levels_.find(level);
  if (l != levels_.end()) facts.level_seats = l->second.exempt ? kTotalSeats : l->second.seats.nominal;
  if (r.is_resource && r.verb != "get") {
    ServedTypePtr t = core_->types.find(r.group, r.version, r.plural);
    if (t && t->storage) {
      facts.objects = t->storage->cache->size();
      facts.watchers = t->storage->cache->watchers();
    }
  }
  return width_of(r, facts);
}

bool FlowControl::Level::has_waiters() const {
  return std::any_of(queue.begin(), queue.end(), [](auto& q) { return !q.empty(); });
}

// The queue whose turn it is keeps its turn until its first request fits.
void FlowControl::dispatch(Level& l) {
  for (size_t empty = 0; empty < l.queue.size();) {
    auto& q = l.queue[l.turn % l.queue.size()];
    if (q.empty()) {
      ++empty;
      l.turn = (l.turn + 1) % l.queue.size();
      continue;
    }
    const int wanted = q.front()->request.width.most();
    if (!l.fits(wanted)) return;
    empty = 0;
    auto w = q.front();
    q.pop_front();
    l.turn = (l.turn + 1) % l.queue.size();
    l.seats_in_use += wanted;
    w->running = true;
    w->ready.set();
  }
}

void FlowControl::give_back(const std::string& name, int seats) {
  Level& l = levels_[name];
  l.seats_in_use -= seats;
  l.demand.add(-seats, core_->ex.now());
  seats_->inc({name}, -seats);
  dispatch(l);
}

void FlowControl::leave(const std::string& name, std::list<Running>::iterator running) {
  const RequestWidth w = running->width;
  levels_[name].running.erase(running);
  executing_->inc({name}, -1);
  const int later = w.held > Duration(0) ? w.after : 0;
  if (later > 0)
    core_->ex.run_after(w.held, [this, alive = alive_, name, later] {
      if (*alive) give_back(name, later);
    });
  if (int now = w.most() - later; now > 0) give_back(name, now);
}

// A place in a queue.
class FlowControl::Place {
 public:
  Place(FlowControl* control, std::string level, std::shared_ptr<Waiter> waiter) : control_(control), level_(std::move(level)), waiter_(std::move(waiter)) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    if (!control_) return;
    FlowControl* c = control_;
    leave_queue();
    Level& l = c->levels_[level_];
    const int seats = waiter_->request.width.most();
    l.demand.add(-seats, c->core_->ex.now());
    ++l.cancelled;
    if (waiter_->running) l.seats_in_use -= seats;
    c->dispatch(l);
  }
  void leave_queue() {
    if (!control_) return;
    FlowControl* c = std::exchange(control_, nullptr);
    c->waiting_->inc({level_}, -1);
    if (!waiter_->running)
      for (auto& q : c->levels_[level_].queue) q.remove(waiter_);
  }

 private:
  FlowControl* control_;
  std::string level_;
  std::shared_ptr<Waiter> waiter_;
};

Task<FlowControl::Admitted> FlowControl::enter(const Request& r) {
  Admitted out;
  Match m = classify(r);
  if (m.schema.empty()) co_return out;
  Level& l = levels_[m.level];
  out.schema_uid = m.schema_uid;
  out.level_uid = l.uid;
  const RequestWidth width = this->width(r, m.level);
  const int seats = width.most();
  estimated_->observe({m.level, m.schema}, seats);
  Running running{r.user, r.method, r.verb, r.path, m.schema, m.flow, core_->ex.now(), core_->ex.now(), width};
  if (l.exempt || (l.fits(seats) && !l.has_waiters())) {
    l.seats_in_use += seats;
    l.demand.add(seats, core_->ex.now());
  } else {
    if (!l.queues) {
      rejected_->inc({m.schema, m.level, "concurrency-limit"});
      ++l.rejected;
      out.refused = true;
      co_return out;
    }
    // The shortest of the flow's hand of queues.
    size_t hash = std::hash<std::string>()(m.flow), best = hash % l.queue.size();
    for (int64_t i = 1; i < l.hand; ++i) {
      size_t other = (hash + static_cast<size_t>(i) * (2 * (hash >> 16) + 1)) % l.queue.size();
      if (l.queue[other].size() < l.queue[best].size()) best = other;
    }
    if (static_cast<int64_t>(l.queue[best].size()) >= l.queue_length) {
      rejected_->inc({m.schema, m.level, "queue-full"});
      ++l.rejected;
      out.refused = true;
      co_return out;
    }
    auto w = std::make_shared<Waiter>(core_->ex);
    w->request = running;
    l.queue[best].push_back(w);
    l.demand.add(seats, core_->ex.now());
    waiting_->inc({m.level}, 1);
    Place place(this, m.level, w);  // gives it up when the client goes away meanwhile
    co_await w->ready.wait(kQueueWaitMax);
    place.leave_queue();
    if (!w->running) {
      l.demand.add(-seats, core_->ex.now());
      rejected_->inc({m.schema, m.level, "time-out"});
      ++l.timed_out;
      dispatch(l);  // it may have stood in the way of narrower ones
      out.refused = true;
      co_return out;
    }
    running.begun = core_->ex.now();
  }
  dispatched_->inc({m.schema, m.level});
  ++l.dispatched;
  executing_->inc({m.level}, 1);
  seats_->inc({m.level}, seats);
  out.seat = Seat(this, m.level, l.running.insert(l.running.end(), std::move(running)));
  co_return out;
}

}  // namespace caravel::apiserver
