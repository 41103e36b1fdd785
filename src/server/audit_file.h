// The audit log's file: lines are appended; a full file is renamed with its time and a new one begun. Old
// ones go when there are too many or they are too old.
// Threading: one thread. Lines are written before write() returns.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"

namespace caravel::server {

struct AuditFileLimits {
  int64_t max_bytes = 100 << 20;
  int max_backups = 0;             // 0: any number
  Duration max_age = Duration(0);  // 0: for ever
};

class AuditFile {
 public:
  // "-" is standard output.
  static Result<std::unique_ptr<AuditFile>> open(std::string path, AuditFileLimits limits);
  ~AuditFile();
  void write(const std::string& line, Time now);

 private:
  AuditFile(std::string path, AuditFileLimits limits) : path_(std::move(path)), limits_(limits) {}
  Status reopen();
  void rotate(Time now);
  std::string path_;
  AuditFileLimits limits_;
  std::FILE* file_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace caravel::server
