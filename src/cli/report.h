// What `up` and `status` tell: lines for people as things happen, or one JSON document at the end.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace caravel::cli {

struct FlowResult {
  std::string name;  // "deployment"
  bool ok = false;
  bool skipped = false;
  double seconds = 0;
  std::string detail;  // what was done and seen
};

class Report {
 public:
  explicit Report(bool as_json) : json_(as_json) {}
  // A line about a component or a step, with the time since the start.
  void step(Time start, Time now, const std::string& what) const;
  void flow(const FlowResult& f);
  json::Value& extra() { return extra_; }
  // The summary; returns the exit code.
  int finish(double total_seconds, int64_t memory_bytes);
  // It ended before that: as JSON, a document with what was reached and the error.
  void fail(const std::string& error);
  bool as_json() const { return json_; }

 private:
  json::Value document() const;
  bool json_;
  std::vector<FlowResult> flows_;
  json::Value extra_ = json::Value::object();
};

}  // namespace caravel::cli
