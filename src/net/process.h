// Child processes, without a shell. The child gets exactly the descriptors named here.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/task.h"
#include "net/event_loop.h"
#include "net/stream.h"

namespace caravel::net {

struct ProcessOptions {
  std::vector<std::string> argv;                                  // argv[0] is looked up in PATH
  std::optional<std::map<std::string, std::string>> environment;  // absent: the parent's
  std::string directory;
  bool stdin_pipe = false, stdout_pipe = false, stderr_pipe = false;  // else /dev/null, inherited, inherited
  std::string stdout_file, stderr_file;                               // appended to; wins over inheriting
  bool terminal = false;                                              // a pseudo terminal for all three
  std::vector<std::pair<int, int>> fds;                               // {ours, theirs}
  int netns_fd = -1;                                                  // enter this network namespace first
  int mntns_fd = -1;                                                  // enter this mount namespace first
  std::string cgroup;                                                 // path of a cgroup.procs / tasks file to write into first
  bool new_session = true;
  bool die_with_parent = true;
};

struct ExitStatus {
  int code = 0;  // exit code, or 128 + signal
  int signal = 0;
};

class Process {
 public:
  virtual ~Process() = default;  // kills (SIGKILL) and reaps a child that still runs
  virtual pid_t pid() const = 0;
  virtual Task<ExitStatus> wait() = 0;  // any number of waiters
  virtual bool running() const = 0;
  virtual Status signal(int signo) = 0;
  // SIGTERM, then SIGKILL after `grace`.
  virtual Task<ExitStatus> stop(Duration grace) = 0;
  // Lets go of it: it runs on when this object is destroyed (start it with die_with_parent = false).
  virtual void release() = 0;
  virtual Stream* stdin_stream() = 0;  // null without the pipe
  virtual Stream* stdout_stream() = 0;
  virtual Stream* stderr_stream() = 0;
  virtual Status resize_terminal(int columns, int rows) = 0;
};
// Uses pidfds: needs no SIGCHLD handler. Errors name the program and the cure.
Result<std::unique_ptr<Process>> spawn(EventLoop& loop, ProcessOptions options);

struct ProcessOutput {
  ExitStatus exit;
  std::string out, err;  // at most 16 MiB each
};
// Runs to the end and collects the output; `input` goes to stdin.
Task<Result<ProcessOutput>> run_process(EventLoop& loop, ProcessOptions options, std::string input = "", Duration timeout = std::chrono::minutes(10));

// Files, for components that must not touch the system themselves.
Result<std::string> read_file(const std::string& path);
// Writes beside and renames: readers see the old or the new content. mode as for chmod.
Status write_file_atomic(const std::string& path, std::string_view content, unsigned mode = 0644);
Status make_directories(const std::string& path, unsigned mode = 0755);
bool path_exists(const std::string& path);
Status remove_tree(const std::string& path);
Result<std::vector<std::string>> list_directory(const std::string& path);

}  // namespace caravel::net
