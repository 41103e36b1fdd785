#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <chrono>

#include "base/clock.h"
#include "base/json.h"

namespace caravel {
namespace {
// Process-wide on purpose: where the lines of a process go is a property of the process.
std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::atomic<bool> g_json{false};
}  // namespace

void set_log_level(LogLevel level) { g_level = level; }
void set_log_json(bool json) { g_json = json; }

void log_line(LogLevel level, std::string_view component, std::string_view message, const LogFields& fields) {
  if (level < g_level.load(std::memory_order_relaxed)) return;
  auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  std::string stamp = format_rfc3339_milli(Time{std::chrono::duration_cast<Duration>(since_epoch).count()});
  static const char* kNames[] = {"debug", "info", "warning", "error"};
  std::string line;
  if (g_json) {
    line = "{\"ts\":\"" + stamp + "\",\"level\":\"" + kNames[static_cast<int>(level)] + "\",\"component\":" + json::quote(component) +
           ",\"msg\":" + json::quote(message);
    for (auto& f : fields) line += "," + json::quote(f.key) + ":" + json::quote(f.value);
    line += "}\n";
  } else {
    line += "DIWE"[static_cast<int>(level)];
    line += ' ';
    line += stamp.substr(11, 12);
    line += ' ';
    line += component;
    line += ": ";
    line += message;
    for (auto& f : fields) {
      line += ' ';
      line += f.key;
      line += '=';
      if (f.value.empty() || f.value.find_first_of(" \"\n=") != f.value.npos) json::quote_to(f.value, line);
      else line += f.value;
    }
    line += '\n';
  }
  ssize_t n = ::write(2, line.data(), line.size());
  (void)n;
}

}  // namespace caravel
