// API Priority and Fairness: which flow schema a request belongs to, and when it may run.
//
// A request is matched against the FlowSchemas in order of precedence; the schema names a
// PriorityLevelConfiguration. Exempt levels never wait. A limited level has seats, its share of
// kTotalSeats; a request that finds none waits in one of the level's queues (shuffle sharding by flow) or is
// refused with 429, as the level says. Watches give their seat back as soon as they have begun.
//
// Levels lend each other seats (flow_borrowing.h). A schema whose level does not exist says so in its
// condition Dangling.
// A request takes as many seats as it costs (request_width.h). One that is wider than its level runs alone.
// Invariants: seats in use never exceed a level's seats but for that (a level whose seats shrink drains first); queues
// are served in turn, and nobody overtakes the request whose turn it is.
// Threading: one executor.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/core.h"
#include "apiserver/flow_borrowing.h"
#include "apiserver/request.h"
#include "apiserver/request_width.h"

namespace caravel::apiserver {

constexpr int kTotalSeats = 600;  // --max-requests-inflight and its mutating twin
constexpr Duration kQueueWaitMax = std::chrono::seconds(15);

// What exists before anybody configures anything: levels first, then schemas.
std::vector<json::Value> flow_control_objects();

class FlowControl {
 public:
  FlowControl(Core& core, WatchCache* schemas, WatchCache* levels);
  ~FlowControl() { *alive_ = false; }

  // A request that runs, as the dumps show it.
  struct Running {
    UserPtr user;
    std::string method, verb, path, schema, flow;
    Time arrived, begun;
    RequestWidth width;
  };
  // The seats of a request, given back when it goes.
  class Seat {
   public:
    Seat() = default;
    Seat(FlowControl* control, std::string level, std::list<Running>::iterator running) : control_(control), level_(std::move(level)), running_(running) {}
    Seat(Seat&& o) noexcept : control_(std::exchange(o.control_, nullptr)), level_(std::move(o.level_)), running_(o.running_) {}
    Seat& operator=(Seat&& o) noexcept {
      release();
      control_ = std::exchange(o.control_, nullptr);
      level_ = std::move(o.level_);
      running_ = o.running_;
      return *this;
    }
    ~Seat() { release(); }
    void release();

   private:
    FlowControl* control_ = nullptr;  // null: none held
    std::string level_;
    std::list<Running>::iterator running_;
  };
  struct Admitted {
    bool refused = false;
    std::string schema_uid, level_uid;  // for the response's headers; empty: nothing matched
    Seat seat;
  };
  // Suspends while the request waits in a queue.
  Task<Admitted> enter(const Request& r);

  // Sets the levels' limits every kBorrowingPeriod, for ever.
  Task<void> keep_adjusting();
  void adjust();

  // The schemas whose condition is not what it should be, as they should be written to /status. Waits until
  // there may be some.
  Task<std::vector<json::Value>> stale_schemas();

  struct Match {
    std::string schema, schema_uid, level, flow;
  };
  Match classify(const Request& r) const;
  RequestWidth width(const Request& r, const std::string& level) const;

  // /debug/api_priority_and_fairness/dump_{priority_levels,queues,requests}; nullopt: no such path.
  std::optional<Response> serve_dump(const Request& r) const;

 private:
  struct Schema {
    std::string name, uid, level, distinguisher;
    int64_t precedence = 0;
    ValuePtr object;
  };
  struct Waiter {
    explicit Waiter(Executor& ex) : ready(ex) {}
    Event ready;
    bool running = false;
    Running request;
  };
  struct Level {
    std::string uid;
    bool exempt = false, queues = false, configured = false;
    LevelSeats seats;
    SeatDemand demand;
    int seats_in_use = 0;
    std::list<Running> running;
    int64_t dispatched = 0, rejected = 0, timed_out = 0, cancelled = 0;
    bool has_waiters() const;
    bool fits(int wanted) const { return seats_in_use + wanted <= seats.current || (wanted > seats.current && seats_in_use == 0); }
    int64_t shares = 0, lendable = 0, borrowing = -1 /* percent; -1: no limit */, hand = 1, queue_length = 0;
    std::vector<std::list<std::shared_ptr<Waiter>>> queue;
    size_t turn = 0;
  };
  class Place;
  void reload();
  void dispatch(Level& level);
  void leave(const std::string& level, std::list<Running>::iterator running);
  void give_back(const std::string& level, int seats);
  std::string dump_levels() const;
  std::string dump_queues() const;
  std::string dump_requests(bool details) const;
  void show_limits();

  Core* core_;
  WatchCache* schemas_cache_;
  WatchCache* levels_cache_;
  std::vector<Schema> schemas_;  // in order of precedence
  std::map<std::string, Level> levels_;
  Event changed_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  MetricFamily *nominal_limit_, *current_limit_, *lower_limit_, *upper_limit_;
  MetricFamily *executing_, *seats_, *waiting_, *estimated_, *dispatched_, *rejected_;
};

}  // namespace caravel::apiserver
