#include "cli/report.h"

#include <cstdio>

#include "base/strings.h"

namespace caravel::cli {

void Report::step(Time start, Time now, const std::string& what) const {
  if (json_) return;
  double s = static_cast<double>((now - start).count()) / 1e9;
  std::printf("  %6.2f s  %s\n", s, what.c_str());
}

void Report::flow(const FlowResult& f) {
  flows_.push_back(f);
  if (json_) return;
  std::printf("%s %-12s %6.2f s  %s\n", f.skipped ? "[skipped]" : f.ok ? "[  ok  ]"
                                                                       : "[FAILED]",
              f.name.c_str(), f.seconds, f.detail.c_str());
}

json::Value Report::document() const {
  json::Value v = extra_;
  v["flows"] = json::Value::object();
  for (auto& f : flows_) {
    json::Value row = json::Value::object();
    row["ok"] = f.ok;
    if (f.skipped) row["skipped"] = true;
    row["seconds"] = f.seconds;
    row["detail"] = f.detail;
    v["flows"][f.name] = std::move(row);
  }
  return v;
}

void Report::fail(const std::string& error) {
  if (!json_) return;
  json::Value v = document();
  v["error"] = error;
  std::printf("%s\n", json::dump_pretty(v).c_str());
}

int Report::finish(double total_seconds, int64_t memory_bytes) {
  bool all = true;
  for (auto& f : flows_) all = all && (f.ok || f.skipped);
  if (json_) {
    json::Value v = document();
    v["seconds"] = total_seconds;
    v["memoryBytes"] = memory_bytes;
    std::printf("%s\n", json::dump_pretty(v).c_str());
    return all ? 0 : 1;
  }
  std::printf("\n%s in %.1f s, memory of everything %.0f MB (must 600)\n", flows_.empty() ? "up" : all ? "all flows done"
                                                                                                       : "some flows failed",
              total_seconds, static_cast<double>(memory_bytes) / 1e6);
  for (auto& m : std::as_const(extra_)["urls"].as_object()) std::printf("  %-12s %s\n", m.key.str().c_str(), m.value.as_string().c_str());
  if (extra_["kubeconfig"].is_string()) std::printf("\nexport KUBECONFIG=%s\n", std::as_const(extra_)["kubeconfig"].as_string().c_str());
  return all ? 0 : 1;
}

}  // namespace caravel::cli
