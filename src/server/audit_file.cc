#include "server/audit_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/log.h"

namespace caravel::server {

namespace fs = std::filesystem;

namespace {

const Log kLog("audit");

// "2026-01-02T15-04-05.000", sorted by time.
std::string stamp(Time now) {
  std::string s = format_rfc3339_milli(now);
  std::replace(s.begin(), s.end(), ':', '-');
  if (!s.empty() && s.back() == 'Z') s.pop_back();
  return s;
}

}  // namespace

Result<std::unique_ptr<AuditFile>> AuditFile::open(std::string path, AuditFileLimits limits) {
  std::unique_ptr<AuditFile> f(new AuditFile(std::move(path), limits));
  TRY_VOID(f->reopen());
  return f;
}

AuditFile::~AuditFile() {
  if (file_ && file_ != stdout) std::fclose(file_);
}

Status AuditFile::reopen() {
  if (path_ == "-") {
    file_ = stdout;
    return ok();
  }
  file_ = std::fopen(path_.c_str(), "ae");
  if (!file_) return make_error(Code::kInvalid, "the audit log " + path_ + " cannot be opened: " + std::strerror(errno));
  ::chmod(path_.c_str(), 0600);
  struct stat st {};
  size_ = ::stat(path_.c_str(), &st) == 0 ? st.st_size : 0;
  return ok();
}

void AuditFile::rotate(Time now) {
  std::fclose(file_);
  file_ = nullptr;
  fs::path p(path_);
  std::string stem = p.stem().string() + "-", ext = p.extension().string();
  std::error_code ec;
  fs::rename(p, p.parent_path() / (stem + stamp(now) + ext), ec);
  if (ec) kLog.error("the audit log could not be renamed", {{"path", path_}, {"error", ec.message()}});
  if (Status s = reopen(); !s.ok()) kLog.error("audit events are lost", {{"error", s.error().message}});
  std::vector<fs::path> old;
  fs::path dir = p.parent_path().empty() ? fs::path(".") : p.parent_path();
  for (auto& e : fs::directory_iterator(dir, ec)) {
    std::string name = e.path().filename().string();
    if (name.compare(0, stem.size(), stem) == 0 && e.path().extension() == ext) old.push_back(e.path());
  }
  std::sort(old.rbegin(), old.rend());  // newest first
  std::string oldest = limits_.max_age > Duration(0) ? stem + stamp(now - limits_.max_age) : "";
  for (size_t i = 0; i < old.size(); ++i) {
    bool many = limits_.max_backups > 0 && i >= static_cast<size_t>(limits_.max_backups);
    if (many || (!oldest.empty() && old[i].filename().string() < oldest)) fs::remove(old[i], ec);
  }
}

void AuditFile::write(const std::string& line, Time now) {
  if (!file_ && !reopen().ok()) return;
  int64_t n = static_cast<int64_t>(line.size()) + 1;
  if (file_ != stdout && size_ > 0 && size_ + n > limits_.max_bytes) rotate(now);
  if (!file_) return;
  std::fwrite(line.data(), 1, line.size(), file_);
  std::fputc('\n', file_);
  std::fflush(file_);
  size_ += n;
}

}  // namespace caravel::server
