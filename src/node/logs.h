// Container logs in the CRI format: "2026-11-23T04:12:58.834606036Z stdout F text". Reading them with the
// options of `kubectl logs`.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "net/event_loop.h"

namespace caravel::node {

struct LogOptions {
  bool follow = false, timestamps = false;
  std::optional<int64_t> tail_lines, limit_bytes;
  std::optional<Time> since;
  std::string stream;  // "Stdout", "Stderr"; else both
};
struct LogLine {
  std::string_view time, stream, text;
  bool partial = false;  // the line goes on in the next record
};
std::optional<LogLine> parse_log_line(std::string_view line);

// Where the last `lines` full lines of a log text begin.
size_t tail_offset(std::string_view text, int64_t lines);
// What a reader sees of one record; "" when it is filtered out.
std::string render_log_line(std::string_view record, const LogOptions& options);

// What the last `lines` lines of a log say, without the runtime's prefixes; its end where that is more than `bytes`.
std::string log_tail(std::string_view text, int64_t lines, size_t bytes);

// Sends the log piece by piece; with follow until running() is false and everything has been sent.
// write() returns false when the reader has gone.
Task<Status> read_log(net::EventLoop& loop, std::string path, LogOptions options, std::function<bool()> running,
                      std::function<Task<Status>(std::string)> write);

}  // namespace caravel::node
