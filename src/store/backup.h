// Backups of the embedded engine: one file that holds a consistent state, taken while a server may be
// running on it.
//
// Format: "caravel-backup 1\n", then blocks: size (4 bytes, big endian), SHA-256 of the block before and this
// one's payload, payload. An empty block ends the file; its hash covers everything before it, so a file that
// was cut, reordered or changed anywhere is refused. A payload is records: 'K' a row of the engine, 'F' a
// file of the data directory (keys of the cluster's PKI); each with two lengths (4 bytes), name, content.
// The file holds private keys and Secrets: it is made readable by its owner only.
// Threading: blocking calls, for commands.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace caravel::store {

struct BackupSummary {
  uint64_t rows = 0, files = 0, bytes = 0;
  int64_t revision = 0;  // that the state shows
};
// data_dir: that of `caravel server`: store/ and pki/ below it. Refuses to overwrite `file`.
Result<BackupSummary> write_backup(const std::string& data_dir, const std::string& file);
// Checks the whole file first. Refuses when data_dir holds a store already. What a failed attempt left is
// removed.
Result<BackupSummary> restore_backup(const std::string& file, const std::string& data_dir);
// Reads and checks, changes nothing.
Result<BackupSummary> verify_backup(const std::string& file);

}  // namespace caravel::store
