#include "node/logs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "net/process.h"

namespace caravel::node {
namespace {

constexpr Duration kPoll = std::chrono::milliseconds(100);
constexpr size_t kPiece = 256 << 10;  // bytes read at once

struct File {
  int fd = -1;
  ~File() {
    if (fd >= 0) close(fd);
  }
};

}  // namespace

std::optional<LogLine> parse_log_line(std::string_view line) {
  LogLine out;
  size_t a = line.find(' ');
  if (a == line.npos) return std::nullopt;
  size_t b = line.find(' ', a + 1);
  if (b == line.npos) return std::nullopt;
  size_t c = line.find(' ', b + 1);
  if (c == line.npos) c = line.size();
  out.time = line.substr(0, a);
  out.stream = line.substr(a + 1, b - a - 1);
  out.partial = line.substr(b + 1, c - b - 1) == "P";
  if (c < line.size()) out.text = line.substr(c + 1);
  if (out.stream != "stdout" && out.stream != "stderr") return std::nullopt;
  return out;
}

size_t tail_offset(std::string_view text, int64_t lines) {
  if (lines <= 0) return text.size();
  size_t end = text.size();
  while (end > 0) {
    size_t start = end >= 2 ? text.rfind('\n', end - 2) : text.npos;
    start = start == text.npos ? 0 : start + 1;
    auto l = parse_log_line(text.substr(start, end - start - (text[end - 1] == '\n')));
    if (l && !l->partial && lines-- == 0) return end;
    end = start;
  }
  return 0;
}

std::string render_log_line(std::string_view record, const LogOptions& o) {
  auto l = parse_log_line(record);
  if (!l) return "";
  if ((o.stream == "Stdout" && l->stream != "stdout") || (o.stream == "Stderr" && l->stream != "stderr")) return "";
  if (o.since) {
    auto t = parse_rfc3339(l->time);
    if (t.ok() && *t < *o.since) return "";
  }
  std::string out;
  if (o.timestamps) out = std::string(l->time) + " ";
  out += l->text;
  if (!l->partial) out += '\n';
  return out;
}

std::string log_tail(std::string_view text, int64_t lines, size_t bytes) {
  std::string out;
  for (auto& record : split(text.substr(tail_offset(text, lines)), '\n')) out += render_log_line(record, {});
  return out.size() > bytes ? out.substr(out.size() - bytes) : out;
}

Task<Status> read_log(net::EventLoop& loop, std::string path, LogOptions o, std::function<bool()> running, std::function<Task<Status>(std::string)> write) {
  File file;
  file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd < 0) co_return not_found("the log " + path + " cannot be read: " + std::strerror(errno));
  off_t at = 0;
  if (o.tail_lines) {
    auto text = net::read_file(path);
    if (text.ok()) at = static_cast<off_t>(tail_offset(*text, *o.tail_lines));
  }
  std::string rest;
  std::string buffer(kPiece, 0);
  int64_t budget = o.limit_bytes.value_or(INT64_MAX);
  while (budget > 0) {
    // Asked before reading: what was written up to the end is then surely seen.
    const bool alive = running();
    ssize_t n = pread(file.fd, buffer.data(), buffer.size(), at);
    if (n < 0) co_return internal("reading " + path + ": " + std::strerror(errno));
    if (n == 0) {
      struct stat now, mine;
      // Rotated: go on with the new file.
      if (o.follow && stat(path.c_str(), &now) == 0 && fstat(file.fd, &mine) == 0 && now.st_ino != mine.st_ino) {
        close(file.fd);
        file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (file.fd < 0) co_return ok();
        at = 0;
        continue;
      }
      if (!o.follow || !alive) break;
      co_await sleep(loop, kPoll);
      continue;
    }
    at += n;
    rest.append(buffer.data(), static_cast<size_t>(n));
    std::string out;
    size_t start = 0;
    for (size_t end = rest.find('\n'); end != rest.npos; end = rest.find('\n', start)) {
      out += render_log_line(std::string_view(rest).substr(start, end - start), o);
      start = end + 1;
    }
    rest.erase(0, start);
    if (static_cast<int64_t>(out.size()) > budget) out.resize(static_cast<size_t>(budget));
    budget -= static_cast<int64_t>(out.size());
    if (out.empty()) continue;
    Status s = co_await write(std::move(out));
    if (!s.ok()) co_return s;
  }
  co_return ok();
}

}  // namespace caravel::node
