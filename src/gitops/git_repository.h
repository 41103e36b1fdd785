// A cached bare clone of one repository (libgit2). Every call blocks: run it with run_blocking().
// Threading: one call at a time per object.
#pragma once

#include <map>
#include <string>

#include "base/result.h"

namespace caravel::gitops {

struct GitCredentials {
  std::string username, password;
};

struct CommitInfo {
  std::string sha, author, message;
  int64_t seconds = 0;
};

class GitRepository {
 public:
  // `directory` is made when absent.
  GitRepository(std::string url, std::string directory, GitCredentials credentials = {});
  // Fetches all branches and tags and resolves `revision` (branch, tag, "HEAD", full or short commit).
  Result<CommitInfo> fetch(const std::string& revision);
  // The files below `path` at a commit: path relative to it -> content. Not recursive unless asked.
  // Bounded: 5,000 files, 16 MiB each, 64 MiB together.
  Result<std::map<std::string, std::string>> files(const std::string& sha, const std::string& path, bool recurse);

 private:
  std::string url_, directory_;
  GitCredentials credentials_;
};

}  // namespace caravel::gitops
