// Storms by seed, 240 of them in blocks that ctest runs side by side. CARAVEL_SIM_SEED=N runs one seed,
// CARAVEL_SIM_SEEDS=A-B all from A to B.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/log.h"
#include "base/strings.h"
#include "sim/storm.h"

namespace caravel::sim {
namespace {

struct Range {
  uint64_t first, last;
};

Range asked_for(Range fallback) {
  if (const char* one = std::getenv("CARAVEL_SIM_SEED")) return {std::strtoull(one, nullptr, 10), std::strtoull(one, nullptr, 10)};
  if (const char* many = std::getenv("CARAVEL_SIM_SEEDS")) {
    char* end = nullptr;
    uint64_t first = std::strtoull(many, &end, 10);
    return {first, *end == '-' ? std::strtoull(end + 1, nullptr, 10) : first};
  }
  return fallback;
}

bool asked() { return std::getenv("CARAVEL_SIM_SEED") || std::getenv("CARAVEL_SIM_SEEDS"); }

void run(Range seeds, StormOptions options, const std::string& filter) {
  set_log_level(std::getenv("CARAVEL_SIM_LOG") ? LogLevel::kDebug : LogLevel::kError);
  for (uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
    StormReport r = storm(seed, options);
    std::string what;
    for (auto& s : r.wrong) what += "\n  " + s;
    EXPECT_TRUE(r.wrong.empty()) << "seed " << seed << what << "\nreplay: CARAVEL_SIM_SEED=" << seed << " " << CARAVEL_BINARY_DIR << "/sim_test --gtest_filter='" << filter << "'";
    if (const char* file = std::getenv("CARAVEL_SIM_TRACE")) {
      if (FILE* f = std::fopen(file, "w")) {
        std::fputs(r.trace.c_str(), f);
        std::fclose(f);
      }
    }
  }
}

constexpr uint64_t kBlocks = 12, kPerBlock = 20;

class Storms : public testing::TestWithParam<uint64_t> {};
TEST_P(Storms, EverythingComesToRestAndNothingForbiddenHappens) {
  uint64_t block = GetParam();
  if (asked() && block != 0) return;  // block 0 runs what is asked for
  run(asked_for({block * kPerBlock + 1, (block + 1) * kPerBlock}), StormOptions(), "Seeds/Storms.*/0");
}
// The first seed of each block: its whole storm, twice.
TEST_P(Storms, EqualSeedsGiveEqualTraces) {
  set_log_level(LogLevel::kError);
  const uint64_t seed = GetParam() * kPerBlock + 1;
  const std::string a = storm(seed).trace, b = storm(seed).trace;
  EXPECT_FALSE(a.empty());
  // Not EXPECT_EQ: what differs first says more than two texts of a megabyte.
  const size_t at = static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
  EXPECT_TRUE(a == b) << "seed " << seed << ": the traces part at byte " << at << ":\n"
                      << a.substr(at < 300 ? 0 : at - 300, 600) << "\n-- and --\n"
                      << b.substr(at < 300 ? 0 : at - 300, 600);
}
INSTANTIATE_TEST_SUITE_P(Seeds, Storms, testing::Range<uint64_t>(0, kBlocks));

TEST(Storm, EvictionsNeverBreakTheBudget) {
  StormOptions o;
  o.only_evictions = true;
  run(asked_for({1, 10}), o, "Storm.EvictionsNeverBreakTheBudget");
}

TEST(Storm, OtherSeedsGiveOtherTraces) {
  set_log_level(LogLevel::kError);
  StormOptions o;
  o.steps = 2;
  EXPECT_FALSE(storm(7, o).trace == storm(8, o).trace);
}

}  // namespace
}  // namespace caravel::sim
