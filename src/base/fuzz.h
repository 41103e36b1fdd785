// Fuzz targets, for tests only. A target reads what a stranger sends and must neither crash nor break a promise:
//
//   FUZZ(Json, "{\"a\":1}", "[true]") {   // examples to begin with
//     auto v = json::parse(input);
//     if (v.ok()) EXPECT_EQ(...);
//   }
//
// In foo_fuzz.cc. The folder's tests run each target on a fixed number of mutated examples (kIterations, fewer when
// a second is over); the seed is printed, CARAVEL_FUZZ_SEED repeats it, CARAVEL_FUZZ_ITERATIONS and
// CARAVEL_FUZZ_SECONDS run it longer. `make fuzz` runs the same targets under libFuzzer,
// guided by coverage, with the sanitizers (the preset `fuzz` makes one program of each file).
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace caravel::fuzz {

inline constexpr uint64_t kIterations = 3000;
inline constexpr double kSecondsMax = 1;
inline constexpr size_t kInputMax = 64 << 10;

class Mutator {
 public:
  Mutator(uint64_t seed, std::vector<std::string> examples) : random_(seed), examples_(std::move(examples)) {
    if (examples_.empty()) examples_.emplace_back();
  }
  std::string next() {
    std::string s = pick(examples_);
    for (uint64_t n = below(5); n > 0; --n) change(s);
    if (s.size() > kInputMax) s.resize(kInputMax);
    return s;
  }

 private:
  uint64_t below(uint64_t n) { return n ? random_() % n : 0; }
  const std::string& pick(const std::vector<std::string>& v) { return v[below(v.size())]; }
  void change(std::string& s) {
    static const std::vector<std::string> kTokens = {
        "{", "}", "[", "]", ":", ",", "\"", "'", "\\", "\n", "\t", " ", "null", "true", "-", "--- ", "&a ", "*a", "!!binary ", "|", ">", "0", "-1", "9223372036854775808",
        "-9223372036854775809", "18446744073709551616", "1e999", "1e-999", "0x10", ".5", "1.", "\\ud800", "\\u0000", "\xff\xfe", "\xc0\x80", "\xed\xa0\x80", std::string(1, '\0'), "/", "~1", "~", "..", "$",
        "#", "%", "(", ")", "?", "=", "!", "&&", "||", "==", "in", "f:", "k:{}", "v:1", ".", "i:0", "$patch", "$retainKeys", "metadata", "name", "Ki", "m", "E", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", "\x7f"};
    size_t at = below(s.size() + 1), len = 1 + below(8);
    switch (below(9)) {
      case 0:
        if (at < s.size()) s[at] = static_cast<char>(s[at] ^ (1 << below(8)));
        break;
      case 1:
        if (at < s.size()) s[at] = static_cast<char>(below(256));
        break;
      case 2: s.insert(at, 1, static_cast<char>(below(256))); break;
      case 3: s.erase(std::min(at, s.size()), len); break;
      case 4: s.insert(at, pick(kTokens)); break;
      case 5: s.insert(at, s.substr(below(s.size() + 1), 1 + below(64))); break;
      case 6: {  // the beginning of one, the end of another
        const std::string& other = pick(examples_);
        s = s.substr(0, at) + other.substr(below(other.size() + 1));
        break;
      }
      case 7: {
        if (below(20)) break;
        std::string many;  // deep or long
        const std::string& token = pick(kTokens);
        for (uint64_t n = 1 + below(20000); n > 0 && many.size() < kInputMax; --n) many += token;
        s.insert(at, many);
        break;
      }
      default: s.resize(at); break;
    }
  }
  std::mt19937_64 random_;
  std::vector<std::string> examples_;
};

inline void run(void (*target)(std::string_view), std::vector<std::string> examples) {
  auto number = [](const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
  };
  uint64_t seed = number("CARAVEL_FUZZ_SEED", std::random_device()());
  uint64_t iterations = number("CARAVEL_FUZZ_ITERATIONS", kIterations);
  double seconds = static_cast<double>(number("CARAVEL_FUZZ_SECONDS", 0));
  if (seconds == 0) seconds = kSecondsMax;
  std::printf("CARAVEL_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);  // before a crash
  for (auto& e : examples) target(e);
  Mutator m(seed, std::move(examples));
  auto begin = std::chrono::steady_clock::now();
  for (uint64_t i = 0; i < iterations; ++i) {
    std::string input = m.next();
    target(input);
    if (::testing::Test::HasFailure()) {
      ADD_FAILURE() << "input " << i << " of seed " << seed << ": " << ::testing::PrintToString(input.substr(0, 2000));
      return;
    }
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > seconds) break;
  }
}

}  // namespace caravel::fuzz

#ifdef CARAVEL_LIBFUZZER
namespace caravel::fuzz {

struct Target {
  void (*run)(std::string_view);
  std::vector<std::string> examples;
};
// All targets of the file; each gets every input.
inline std::vector<Target>& targets() {
  static std::vector<Target> all;
  return all;
}
inline bool add_target(Target t) {
  targets().push_back(std::move(t));
  return true;
}

}  // namespace caravel::fuzz

// The examples go into the first corpus directory, so that it begins with them.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  for (int i = 1; i < *argc; ++i) {
    if ((*argv)[i][0] == '-') continue;
    size_t n = 0;
    for (auto& t : caravel::fuzz::targets())
      for (auto& e : t.examples) std::ofstream(std::string((*argv)[i]) + "/example" + std::to_string(n++), std::ios::binary) << e;
    break;
  }
  return 0;
}
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (auto& t : caravel::fuzz::targets()) t.run({reinterpret_cast<const char*>(data), size});
  if (::testing::Test::HasFailure()) std::abort();
  return 0;
}
#define FUZZ_ENTRY(name, ...) \
  static const bool fuzz_added_##name = ::caravel::fuzz::add_target({fuzz_##name, {__VA_ARGS__}});
#else
#define FUZZ_ENTRY(name, ...) \
  TEST(Fuzz, name) { ::caravel::fuzz::run(fuzz_##name, {__VA_ARGS__}); }
#endif
#define FUZZ(name, ...)                            \
  static void fuzz_##name(std::string_view input); \
  FUZZ_ENTRY(name, __VA_ARGS__)                    \
  static void fuzz_##name(std::string_view input)
