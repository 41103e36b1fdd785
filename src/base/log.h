// Structured log lines on standard error: `I 03:21:00.123 karpenter: launched instance node=i-0ab type=m5.large`.
// Text for people, or one JSON object a line (set_log_json). Secrets are never logged: pass names, not
// values. Threading: any thread; a line is written by one write(2).
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caravel {

enum class LogLevel { kDebug,
                      kInfo,
                      kWarning,
                      kError };

struct LogField {
  std::string key;
  std::string value;
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  template <std::integral T>
  LogField(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
};
using LogFields = std::vector<LogField>;

void set_log_level(LogLevel level);
void set_log_json(bool json);

void log_line(LogLevel level, std::string_view component, std::string_view message, const LogFields& fields);

// A component's logger: `Log log_{"karpenter"}; log_.info("launched instance", {{"node", name}});`
class Log {
 public:
  explicit Log(std::string component) : component_(std::move(component)) {}
  void debug(std::string_view m, const LogFields& f = {}) const { log_line(LogLevel::kDebug, component_, m, f); }
  void info(std::string_view m, const LogFields& f = {}) const { log_line(LogLevel::kInfo, component_, m, f); }
  void warn(std::string_view m, const LogFields& f = {}) const { log_line(LogLevel::kWarning, component_, m, f); }
  void error(std::string_view m, const LogFields& f = {}) const { log_line(LogLevel::kError, component_, m, f); }

 private:
  std::string component_;
};

}  // namespace caravel
