#include "sim/faults.h"

#include "base/strings.h"

namespace caravel::sim {

namespace {

bool happens(Executor& ex, double share) { return share > 0 && ex.random_unit() < share; }

// What a task in the server's process leaves for whoever waits for it; `done` is set at its end, also when
// it is destroyed.
template <class T>
struct Answer {
  explicit Answer(Executor& ex) : done(ex) {}
  Event done;
  std::optional<T> value;
};
template <class T>
struct Finish {
  std::shared_ptr<Answer<T>> answer;
  ~Finish() { answer->done.set(); }
};

using CallAnswer = Result<kube::ApiResponse>;
using StreamAnswer = Result<std::unique_ptr<kube::WatchStream>>;
using EventAnswer = Result<std::optional<kube::WatchEvent>>;

Task<void> carry_out(std::shared_ptr<kube::Transport> inner, kube::ApiRequest q, std::shared_ptr<Answer<CallAnswer>> to) {
  Finish<CallAnswer> finish{to};
  CallAnswer r = co_await inner->call(std::move(q));
  to->value.emplace(std::move(r));
}

Task<void> open_stream(std::shared_ptr<kube::Transport> inner, kube::ApiRequest q, std::shared_ptr<Answer<StreamAnswer>> to) {
  Finish<StreamAnswer> finish{to};
  StreamAnswer r = co_await inner->watch(std::move(q));
  to->value.emplace(std::move(r));
}

template <class S>
Task<void> next_event(std::shared_ptr<S> stream, std::shared_ptr<Answer<EventAnswer>> to) {
  Finish<EventAnswer> finish{to};
  EventAnswer r = co_await stream->inner->next();
  to->value.emplace(std::move(r));
}

}  // namespace

void ServerProcess::die() {
  dead_ = true;
  scope_.cancel_all();
  for (auto& weak : streams_)
    if (auto stream = weak.lock()) stream->inner.reset();
  streams_.clear();
}

class FaultyWatch final : public kube::WatchStream {
 public:
  FaultyWatch(Executor& ex, std::shared_ptr<ServerProcess> process, std::shared_ptr<ServerProcess::Stream> stream, std::string resource, const Faults& faults)
      : ex_(&ex), resource_(std::move(resource)), process_(std::move(process)), stream_(std::move(stream)), faults_(&faults) {}
  Task<EventAnswer> next() override {
    if (process_->dead()) co_return unavailable("simulated: the server has died");
    auto answer = std::make_shared<Answer<EventAnswer>>(*ex_);
    process_->scope_.spawn(next_event(stream_, answer));
    co_await answer->done.wait();
    if (!answer->value) co_return unavailable("simulated: the server died");
    if (happens(*ex_, faults_->watch_delayed)) {
      Duration d(static_cast<int64_t>(ex_->random_unit() * static_cast<double>(faults_->watch_delay_max.count())));
      co_await sleep(*ex_, d);
    }
    if (faults_->watch_late == resource_) co_await sleep(*ex_, faults_->watch_delay_max);
    bool broken = faults_->down || happens(*ex_, faults_->watch_broken);
    if (broken) co_return unavailable("simulated: the watch broke");
    co_return std::move(*answer->value);
  }

 private:
  Executor* ex_;
  std::string resource_;
  std::shared_ptr<ServerProcess> process_;
  std::shared_ptr<ServerProcess::Stream> stream_;
  const Faults* faults_;
};

void Trace::note(std::string_view who, std::string_view line) {
  if (!keep_) return;
  text_ += format_rfc3339_micro(ex_->now());
  text_ += ' ';
  text_ += who;
  text_ += ' ';
  text_ += line;
  text_ += '\n';
}

void Trace::count(const std::string& what) {
  int64_t minute = ex_->now().seconds() / 60;
  if (minute != minute_number_) minute_.clear();
  minute_number_ = minute;
  ++attempts_[what];
  int n = ++minute_[what];
  if (n > kHot) hot_[what] = std::max(hot_[what], n);
}

void FaultTransport::connect(std::shared_ptr<ServerProcess> process, std::unique_ptr<kube::Transport> inner) {
  process_ = std::move(process);
  inner_ = std::move(inner);
}

Task<Result<kube::ApiResponse>> FaultTransport::call(kube::ApiRequest q) {
  const bool write = trace_->keep() && q.verb != "get" && q.verb != "list";
  const bool makes_pod = q.verb == "create" && q.resource.plural == "pods" && q.subresource.empty();
  const bool changes = q.verb == "update" || q.verb == "patch";
  std::string what;
  if (write) what = q.verb + " " + (q.path.empty() ? q.resource.group_resource() : q.path) + (q.subresource.empty() ? "" : "/" + q.subresource) + " " +
                    (q.ns.empty() ? "" : q.ns + "/") + q.name;
  if (write && !q.name.empty()) trace_->count(who_ + " " + what);
  if (happens(*ex_, faults_->delayed)) {
    Duration d(static_cast<int64_t>(ex_->random_unit() * static_cast<double>(faults_->delay_max.count())));
    co_await sleep(*ex_, d);
  }
  // Even the fastest call takes its turn: nobody may rely on an answer within the same instant.
  co_await yield(*ex_);
  if (faults_->down || process_->dead() || happens(*ex_, faults_->refused)) co_return unavailable("simulated: connection refused");
  if (happens(*ex_, faults_->error)) {
    uint64_t kind = ex_->random_below(3);
    if (kind == 0) co_return internal("simulated: an error of the server");
    if (kind == 1) co_return make_error(Code::kTooMany, "simulated: too many requests");
    co_return unavailable("simulated: the server is not ready");
  }
  if (changes && happens(*ex_, faults_->conflict)) co_return make_error(Code::kConflict, "simulated: the object has been modified");
  json::Value owners;  // kept in case the server dies with the answer
  if (makes_pod) owners = std::as_const(q.object)["metadata"]["ownerReferences"];
  auto answer = std::make_shared<Answer<CallAnswer>>(*ex_);
  process_->scope_.spawn(carry_out(inner_, std::move(q), answer));
  co_await answer->done.wait();
  const bool died = !answer->value;
  CallAnswer r = died ? CallAnswer(unavailable("simulated: the server died")) : std::move(*answer->value);
  bool lost = died || faults_->down || happens(*ex_, faults_->answer_lost);
  if (write) {
    std::string line = what;
    if (r.ok()) {
      const json::Value& m = (*r->object)["metadata"];
      line += " -> " + std::to_string(r->status) + " " + m["name"].as_string() + " rv " + m["resourceVersion"].as_string();
      if (r->status < 400) ++trace_->writes_[who_ + " " + what];
    } else {
      line += " -> " + std::string(code_name(r.error().code));
    }
    if (lost && (died || (r.ok() && r->status < 400)))
      for (const json::Value& o : std::as_const(owners).as_array()) ++trace_->unheard_pods_[o["uid"].as_string()];
    if (lost) line += " (answer lost)";
    trace_->note(who_, line);
  }
  if (lost) co_return unavailable("simulated: connection lost before the answer");
  co_return r;
}

Task<Result<std::unique_ptr<kube::WatchStream>>> FaultTransport::watch(kube::ApiRequest q) {
  co_await yield(*ex_);
  if (faults_->down || process_->dead() || happens(*ex_, faults_->refused)) co_return unavailable("simulated: connection refused");
  if (happens(*ex_, faults_->watch_expired)) co_return make_error(Code::kGone, "simulated: too old resource version");
  auto process = process_;
  std::string resource = q.resource.plural;
  auto answer = std::make_shared<Answer<StreamAnswer>>(*ex_);
  process->scope_.spawn(open_stream(inner_, std::move(q), answer));
  co_await answer->done.wait();
  if (!answer->value) co_return unavailable("simulated: the server died");
  StreamAnswer& r = *answer->value;
  if (!r.ok()) co_return std::move(r).error();
  auto stream = std::make_shared<ServerProcess::Stream>();
  stream->inner = std::move(*r);
  std::erase_if(process->streams_, [](const auto& weak) { return weak.expired(); });
  process->streams_.push_back(stream);
  std::unique_ptr<kube::WatchStream> w = std::make_unique<FaultyWatch>(*ex_, process, stream, std::move(resource), *faults_);
  co_return w;
}

}  // namespace caravel::sim
