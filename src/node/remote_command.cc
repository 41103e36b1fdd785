#include "node/remote_command.h"

#include <unistd.h>

#include <climits>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "net/process.h"

namespace caravel::node {
namespace {

const Log kLog{"node-server"};
constexpr size_t kPiece = 32 << 10;
constexpr Duration kLastWords = std::chrono::seconds(1);  // for output that is still in the pipes

// The OCI runtime that made the containers: caravel-oci beside this program, which becomes runc.
std::string oci_program() {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  std::string path(self, n > 0 ? static_cast<size_t>(n) : 0);
  path = path.substr(0, path.rfind('/') + 1) + "caravel-oci";
  return net::path_exists(path) ? path : "runc";
}

net::ProcessOptions exec_options(const RemoteCommand& c) {
  net::ProcessOptions o;
  o.argv.push_back(oci_program());
  o.argv.push_back("--root");
  o.argv.push_back("/run/containerd/runc/k8s.io");  // fixed in containerd's shim
  o.argv.push_back("exec");
  if (c.options.tty) o.argv.push_back("--tty");
  o.argv.push_back(c.container_id);
  o.argv.insert(o.argv.end(), c.command.begin(), c.command.end());
  o.terminal = c.options.tty;
  o.stdin_pipe = !c.options.tty && c.options.input;
  o.stdout_pipe = o.stderr_pipe = !c.options.tty;
  return o;
}

Task<void> pump_out(net::Stream* from, RemoteIo* to, bool error_stream, int* left, Event* done) {
  std::string buffer(kPiece, 0);
  while (from) {
    auto n = co_await from->read(std::span<char>(buffer.data(), buffer.size()));
    if (!n.ok() || *n == 0) break;
    Status s = co_await to->write(error_stream, buffer.substr(0, *n));
    if (!s.ok()) break;
  }
  if (--*left == 0) done->set();
}

// The client's input to the command; ends when the client goes.
Task<void> pump_in(RemoteIo* from, net::Process* process, bool tty, Event* gone) {
  net::Stream* to = tty ? process->stdout_stream() : process->stdin_stream();
  if (process->stdin_stream()) to = process->stdin_stream();
  while (true) {
    RemoteInput in = co_await from->read();
    if (in.kind == RemoteInput::kGone) break;
    if (in.kind == RemoteInput::kData && to) {
      Status s = co_await to->write(in.data);
      if (!s.ok()) to = nullptr;
    } else if (in.kind == RemoteInput::kEndOfInput && to && !tty) {
      Status s = co_await to->shutdown_write();
      if (!s.ok()) kLog.debug("closing the input failed", {{"error", s.error().message}});
      to = nullptr;
    } else if (in.kind == RemoteInput::kResize && tty) {
      auto size = json::parse(in.data);
      if (!size.ok()) continue;
      const json::Value& v = *size;
      Status s = process->resize_terminal(static_cast<int>(v["Width"].as_int(80)), static_cast<int>(v["Height"].as_int(24)));
      if (!s.ok()) kLog.debug("the terminal was not resized", {{"error", s.error().message}});
    }
  }
  gone->set();
}

Task<void> wait_exit(net::Process* process, int* code, Event* done) {
  net::ExitStatus s = co_await process->wait();
  *code = s.code;
  done->set();
}

std::string internal_error_json(const std::string& message) {
  json::Value v = json::Value::object();
  v["metadata"] = json::Value::object();
  v["status"] = "Failure";
  v["reason"] = "InternalError";
  v["message"] = message;
  return json::dump(v);
}

}  // namespace

std::string exit_status_json(int code) {
  json::Value v = json::Value::object();
  v["metadata"] = json::Value::object();
  if (code == 0) {
    v["status"] = "Success";
    return json::dump(v);
  }
  v["status"] = "Failure";
  v["message"] = "command terminated with non-zero exit code: exit status " + std::to_string(code);
  v["reason"] = "NonZeroExitCode";
  json::Value cause = json::Value::object();
  cause["reason"] = "ExitCode";
  cause["message"] = std::to_string(code);
  v["details"]["causes"].push_back(std::move(cause));
  return json::dump(v);
}

Task<void> serve_exec(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, RemoteCommand c) {
  std::unique_ptr<RemoteIo> io = co_await open_remote_io(loop, q, w, c.options);
  if (!io) co_return;
  auto spawned = net::spawn(loop, exec_options(c));
  if (!spawned.ok()) {
    co_await io->finish(internal_error_json(spawned.error().message));
    co_return;
  }
  std::unique_ptr<net::Process> process = std::move(*spawned);
  int outputs = c.options.tty ? 1 : 2, code = 0;
  Event output_done(loop), exited(loop), gone(loop);
  TaskScope scope;
  scope.spawn(pump_out(process->stdout_stream(), io.get(), false, &outputs, &output_done));
  if (!c.options.tty) scope.spawn(pump_out(process->stderr_stream(), io.get(), true, &outputs, &output_done));
  scope.spawn(pump_in(io.get(), process.get(), c.options.tty, &gone));
  scope.spawn(wait_exit(process.get(), &code, &exited));
  while (!exited.is_set() && !gone.is_set()) co_await exited.wait(std::chrono::milliseconds(250));
  if (!exited.is_set()) co_return;                                   // the client has gone; the process is killed with its owner
  if (!output_done.is_set()) co_await output_done.wait(kLastWords);  // a background child may hold the pipes open
  co_await io->finish(exit_status_json(code));
}

}  // namespace caravel::node
