// `caravel backup` and `caravel restore`: the embedded store and the keys of a data directory in one file.
#include <cstdio>

#include "base/strings.h"
#include "server/command.h"
#include "store/backup.h"

namespace caravel::server {

namespace {

Result<int> run_with(const Flags& flags, const char* verb, Result<store::BackupSummary> (*work)(const std::string& data, const std::string& file)) {
  std::string data = flags.get("data-dir");
  if (data.empty()) return invalid("--data-dir is missing: it names the directory of `caravel server`");
  if (flags.positional().size() != 1) return invalid("give one FILE");
  TRY(store::BackupSummary s, work(data, flags.positional()[0]));
  std::printf("%s: revision %lld, %llu rows, %llu key files, %.1f MiB\n", verb, static_cast<long long>(s.revision), static_cast<unsigned long long>(s.rows),
              static_cast<unsigned long long>(s.files), static_cast<double>(s.bytes) / (1 << 20));
  return 0;
}
std::vector<Flag> flags() { return {{"data-dir", "DIR", "the data directory of `caravel server`"}}; }

}  // namespace

const Command kBackupCommand = {
    "backup",
    "saves the cluster's state and keys in one file",
    "usage: caravel backup --data-dir DIR FILE\n\n"
    "The server may be running: the file holds one consistent state. It holds Secrets and private keys,\n"
    "so only its owner may read it. A file that exists is not overwritten. For a server with --store etcd\n"
    "use etcdctl snapshot save.\n",
    flags(),
    [](const Flags& f) { return run_with(f, "saved", [](const std::string& data, const std::string& file) { return store::write_backup(data, file); }); },
};

const Command kRestoreCommand = {
    "restore",
    "makes a data directory from a backup",
    "usage: caravel restore --data-dir DIR FILE\n\n"
    "Checks the whole file first. DIR must not hold a state already. Start `caravel server --data-dir DIR`\n"
    "afterwards.\n",
    flags(),
    [](const Flags& f) { return run_with(f, "restored", [](const std::string& data, const std::string& file) { return store::restore_backup(file, data); }); },
};

}  // namespace caravel::server
