// The Pod Security Standards: what "baseline" and "restricted" forbid in a pod, by version.
//
// Pure functions of the pod's metadata and spec. Versions are minor numbers of 1.x; kLatest is the newest.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace caravel::apiserver::pod_security {

inline constexpr int kLatest = 1 << 20;

enum class Level { kPrivileged,
                   kBaseline,
                   kRestricted };
struct LevelVersion {
  Level level = Level::kPrivileged;
  int minor = kLatest;
  bool operator==(const LevelVersion&) const = default;
};
std::string text(const LevelVersion& v);  // "restricted:latest", "baseline:v1.30"

struct Policy {
  LevelVersion enforce, audit, warn;
};
// What a namespace's labels ask for. Values that make no sense are told in `problems` as upstream words
// them; the policy is then the strictest, or the newest.
Policy policy_of(const json::Value& labels, std::vector<std::string>* problems);

struct Violation {
  std::string reason, detail;
};
std::vector<Violation> check(const LevelVersion& v, const json::Value& metadata, const json::Value& spec);
// "host namespaces (hostNetwork=true), privileged (container ...)"
std::string details(const std::vector<Violation>& v);
std::string reasons(const std::vector<Violation>& v);

// An update that changes something that the standards look at.
bool is_significant(const json::Value& pod, const json::Value& old);

}  // namespace caravel::apiserver::pod_security
