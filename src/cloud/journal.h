// The journal: lines of JSON, each one transaction, durable when append() returns.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "base/task.h"

namespace caravel::cloud {

class Journal {
 public:
  virtual ~Journal() = default;
  // The complete lines; a last line without its end (a crash while writing) is dropped.
  virtual Result<std::vector<std::string>> load() = 0;
  // Replaces the journal's content: compaction at start.
  virtual Status replace(const std::string& content) = 0;
  virtual Task<Status> append(std::string lines) = 0;
};

// In a file; appends are synced off the executor's thread.
std::unique_ptr<Journal> make_file_journal(Executor& ex, std::string path);
// Kept in memory: for tests and simulations.
std::unique_ptr<Journal> make_memory_journal();

}  // namespace caravel::cloud
