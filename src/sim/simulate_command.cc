#include <cstdio>
#include <fstream>
#include <iterator>

#include "base/log.h"
#include "sim/command.h"
#include "sim/rehearsal.h"

namespace caravel::sim {
namespace {

Result<int> run(const Flags& flags) {
  if (flags.positional().size() != 1) return invalid("one scenario file is needed: caravel simulate FILE.yaml");
  const std::string& file = flags.positional()[0];
  std::ifstream in(file, std::ios::binary);
  if (!in) return not_found("cannot read " + file + "; is the path right?");
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  auto parsed = parse_scenario(text);
  if (!parsed.ok()) return wrap(std::move(parsed).error(), file);
  Scenario s = std::move(*parsed);
  if (flags.given("seed")) {
    TRY(int64_t seed, flags.get_int("seed"));
    s.seed = static_cast<uint64_t>(seed);
  }
  if (flags.given("duration")) {
    auto d = parse_duration(flags.get("duration"));
    if (!d.ok() || *d <= Duration(0)) return invalid("--duration " + flags.get("duration") + " is not a duration; write 90s or 2h");
    s.duration = *d;
  }
  const std::string output = flags.get("output");
  if (output != "text" && output != "json") return invalid("--output is text or json, not " + output);
  set_log_level(LogLevel::kError);  // what components say is about a cluster that does not exist
  TRY(Outcome o, rehearse(s));
  std::string told = output == "json" ? json::dump(to_json(o)) + "\n" : describe(o);
  std::fputs(told.c_str(), stdout);
  return 0;
}

}  // namespace

const Command kSimulateCommand = {
    "simulate",
    "a scenario in virtual time: what happens, what waits, what stays available",
    "Plays a scenario on a whole control plane with simulated nodes, in one process and in virtual time: hours take\n"
    "seconds. The same file and seed give the same output. docs/simulate.md describes the file.\n\n"
    "  caravel simulate examples/simulate/zone-loss.yaml\n"
    "  caravel simulate FILE.yaml --seed 7 --duration 2h --output json\n",
    {{"seed", "N", "seed of everything random; default: the file's"},
     {"duration", "TIME", "how long to play (90s, 2h); default: the file's"},
     {"output", "FORMAT", "text or json", "text"}},
    run,
    false,
};

}  // namespace caravel::sim
