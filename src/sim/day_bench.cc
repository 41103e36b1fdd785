// How long a day in virtual time takes: a scenario (examples/simulate/day.yaml: 100 nodes, up to 560 pods, load curves, a
// rollout, machines and a zone that fail, a CronJob each quarter of an hour) with everything, heartbeats of all nodes included.
// Usage: day_bench SCENARIO.yaml
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

#include "base/log.h"
#include "sim/rehearsal.h"

namespace caravel::sim {
namespace {

constexpr double kMustSeconds = 10;       // for a day
constexpr double kAimSeconds = 10.0 / 7;  // a week in 10 s

int run(const std::string& file) {
  set_log_level(LogLevel::kError);
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  auto s = in ? parse_scenario(text) : Result<Scenario>(not_found("cannot read " + file));
  if (!s.ok()) {
    std::fprintf(stderr, "%s\n", s.error().message.c_str());
    return 2;
  }
  const std::clock_t begin = std::clock();
  auto o = rehearse(*s);
  const double took = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  if (!o.ok()) {
    std::fprintf(stderr, "%s\n", o.error().message.c_str());
    return 2;
  }
  int pods = 0;
  for (const auto& [workload, w] : o->waiting) pods += w.pods;
  const double days = std::chrono::duration<double>(s->duration).count() / 86'400;
  std::printf("%.2f days of %zu nodes, %d pods made: %.1f s of processor, %.1f s a day (must %.0f s, aim %.1f s)%s\n", days, s->nodes.size(), pods, took, took / days, kMustSeconds,
              kAimSeconds, took / days > kMustSeconds ? ": missed" : "");
  return 0;
}

}  // namespace
}  // namespace caravel::sim

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: day_bench SCENARIO.yaml\n");
    return 2;
  }
  return caravel::sim::run(argv[1]);
}
