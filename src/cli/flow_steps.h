// What the flows are told in: running a client, fetching a page, the result with its time.
#pragma once

#include <string>
#include <vector>

#include "cli/flows.h"

namespace caravel::cli {

constexpr Duration kFlowTimeout = std::chrono::seconds(120);
constexpr Duration kPoll = std::chrono::milliseconds(100);

// A list of words, made outside the coroutines: GCC 12 cannot keep initializer lists in their frames.
template <class... T>
std::vector<std::string> words(T... parts) {
  std::vector<std::string> out;
  (out.push_back(std::string(parts)), ...);
  return out;
}

struct Stopwatch {
  net::EventLoop& loop;
  Time start;
  explicit Stopwatch(net::EventLoop& l) : loop(l), start(l.now()) {}
  double seconds() const { return static_cast<double>((loop.now() - start).count()) / 1e9; }
  bool over() const { return loop.now() - start > kFlowTimeout; }
};

FlowResult done(std::string name, const Stopwatch& w, std::string detail);
FlowResult skipped(std::string name, std::string why);
FlowResult failed(std::string name, const Stopwatch& w, std::string why);

// Runs a program to its end and gives its output; an error has what it said.
Task<Result<std::string>> run(net::EventLoop& loop, std::vector<std::string> argv, std::string directory = "");
// curl with these further arguments; HTTP errors are errors.
Task<Result<std::string>> fetch(FlowContext& c, std::vector<std::string> extra);
std::string port_of(const std::string& address);

}  // namespace caravel::cli
