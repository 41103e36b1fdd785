// The file helpers of process.h.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "base/strings.h"
#include "net/process.h"
#include "net/socket_util.h"

namespace caravel::net {
namespace fs = std::filesystem;

Result<std::string> read_file(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno_error("reading " + path, errno);
  std::string out;
  char buffer[64 * 1024];
  for (;;) {
    ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      int e = errno;
      ::close(fd);
      return errno_error("reading " + path, e);
    }
    if (n == 0) break;
    out.append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  return out;
}

Status write_file_atomic(const std::string& path, std::string_view content, unsigned mode) {
  std::string beside = path + ".XXXXXX";
  int fd = ::mkostemp(beside.data(), O_CLOEXEC);
  if (fd < 0) return errno_error("writing " + path, errno);
  size_t done = 0;
  bool good = ::fchmod(fd, mode) == 0;
  while (good && done < content.size()) {
    ssize_t n = ::write(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    good = n >= 0;
    if (good) done += static_cast<size_t>(n);
  }
  int e = errno;
  ::close(fd);
  if (good && ::rename(beside.c_str(), path.c_str()) != 0) {
    e = errno;
    good = false;
  }
  if (good) return ok();
  ::unlink(beside.c_str());
  return errno_error("writing " + path, e);
}

Status make_directories(const std::string& path, unsigned mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return errno_error("making directory " + part, errno);
    if (slash == path.npos) break;
  }
  struct stat st;
  if (::stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return invalid("making directory " + path + ": a file of that name is in the way");
  return ok();
}

bool path_exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

Status remove_tree(const std::string& path) {
  std::error_code e;
  fs::remove_all(path, e);
  if (e) return errno_error("removing " + path, e.value());
  return ok();
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::error_code e;
  std::vector<std::string> out;
  for (fs::directory_iterator it(path, e), end; !e && it != end; it.increment(e)) out.push_back(it->path().filename().string());
  if (e) return errno_error("listing " + path, e.value());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace caravel::net
