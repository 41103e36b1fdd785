#include "sim/faults.h"

#include "base/strings.h"

namespace caravel::sim {

namespace {

bool happens(Executor& ex, double share) { return share > 0 && ex.random_unit() < share; }

class FaultyWatch final : public kube::WatchStream {
 public:
  FaultyWatch(Executor& ex, std::unique_ptr<kube::WatchStream> inner, const Faults& faults) : ex_(&ex), inner_(std::move(inner)), faults_(&faults) {}
  Task<Result<std::optional<kube::WatchEvent>>> next() override {
    Result<std::optional<kube::WatchEvent>> e = co_await inner_->next();
    bool broken = faults_->down || happens(*ex_, faults_->watch_broken);
    if (broken) co_return unavailable("simulated: the watch broke");
    co_return e;
  }

 private:
  Executor* ex_;
  std::unique_ptr<kube::WatchStream> inner_;
  const Faults* faults_;
};

}  // namespace

void Trace::note(std::string_view who, std::string_view line) {
  text_ += format_rfc3339_micro(ex_->now());
  text_ += ' ';
  text_ += who;
  text_ += ' ';
  text_ += line;
  text_ += '\n';
}

Task<Result<kube::ApiResponse>> FaultTransport::call(kube::ApiRequest q) {
  bool write = q.verb != "get" && q.verb != "list";
  std::string what = q.verb + " " + (q.path.empty() ? q.resource.group_resource() : q.path) + (q.subresource.empty() ? "" : "/" + q.subresource) + " " +
                     (q.ns.empty() ? "" : q.ns + "/") + q.name;
  if (happens(*ex_, faults_->delayed)) {
    Duration d(static_cast<int64_t>(ex_->random_unit() * static_cast<double>(faults_->delay_max.count())));
    co_await sleep(*ex_, d);
  }
  // Even the fastest call takes its turn: nobody may rely on an answer within the same instant.
  co_await yield(*ex_);
  if (faults_->down || happens(*ex_, faults_->refused)) co_return unavailable("simulated: connection refused");
  Result<kube::ApiResponse> r = co_await inner_->call(std::move(q));
  bool lost = faults_->down || happens(*ex_, faults_->answer_lost);
  if (write) {
    std::string line = what;
    if (r.ok()) {
      const json::Value& m = std::as_const(r->object)["metadata"];
      line += " -> " + std::to_string(r->status) + " " + m["name"].as_string() + " rv " + m["resourceVersion"].as_string();
      if (r->status < 400) ++trace_->writes_[who_ + " " + what];
    } else {
      line += " -> " + std::string(code_name(r.error().code));
    }
    if (lost) line += " (answer lost)";
    trace_->note(who_, line);
  }
  if (lost) co_return unavailable("simulated: connection lost before the answer");
  co_return r;
}

Task<Result<std::unique_ptr<kube::WatchStream>>> FaultTransport::watch(kube::ApiRequest q) {
  co_await yield(*ex_);
  if (faults_->down || happens(*ex_, faults_->refused)) co_return unavailable("simulated: connection refused");
  Result<std::unique_ptr<kube::WatchStream>> r = co_await inner_->watch(std::move(q));
  if (!r.ok()) co_return std::move(r).error();
  std::unique_ptr<kube::WatchStream> w = std::make_unique<FaultyWatch>(*ex_, std::move(*r), *faults_);
  co_return w;
}

}  // namespace caravel::sim
