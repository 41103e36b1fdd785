#include "cloud/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "net/process.h"

namespace caravel::cloud {

namespace {

std::vector<std::string> whole_lines(const std::string& text) {
  size_t end = text.rfind('\n');
  if (end == text.npos) return {};
  return split(std::string_view(text).substr(0, end), '\n');
}

class FileJournal final : public Journal {
 public:
  FileJournal(Executor& ex, std::string path) : ex_(ex), path_(std::move(path)) {}
  ~FileJournal() override {
    if (fd_ >= 0) ::close(fd_);
  }
  Result<std::vector<std::string>> load() override {
    if (!net::path_exists(path_)) return std::vector<std::string>();
    TRY(std::string text, net::read_file(path_));
    return whole_lines(text);
  }
  Status replace(const std::string& content) override {
    TRY_VOID(net::write_file_atomic(path_, content, 0600));
    if (fd_ >= 0) ::close(fd_);
    fd_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd_ < 0) return internal("cannot open " + path_ + ": " + std::strerror(errno));
    return ok();
  }
  Task<Status> append(std::string lines) override {
    int fd = fd_;
    std::string path = path_;
    std::function<Status()> work = [fd, path, lines]() -> Status {
      size_t at = 0;
      while (at < lines.size()) {
        ssize_t n = ::write(fd, lines.data() + at, lines.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return internal("cannot write " + path + ": " + std::strerror(errno));
        at += static_cast<size_t>(n);
      }
      if (::fdatasync(fd) != 0) return internal("cannot sync " + path + ": " + std::strerror(errno));
      return ok();
    };
    Task<Status> task = run_blocking<Status>(ex_, std::move(work));
    Status r = co_await std::move(task);
    co_return r;
  }

 private:
  Executor& ex_;
  std::string path_;
  int fd_ = -1;
};

class MemoryJournal final : public Journal {
 public:
  Result<std::vector<std::string>> load() override { return whole_lines(text_); }
  Status replace(const std::string& content) override {
    text_ = content;
    return ok();
  }
  Task<Status> append(std::string lines) override {
    text_ += lines;
    co_return ok();
  }

 private:
  std::string text_;
};

}  // namespace

std::unique_ptr<Journal> make_file_journal(Executor& ex, std::string path) { return std::make_unique<FileJournal>(ex, std::move(path)); }
std::unique_ptr<Journal> make_memory_journal() { return std::make_unique<MemoryJournal>(); }

}  // namespace caravel::cloud
