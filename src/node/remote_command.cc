#include "node/remote_command.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "net/process.h"
#include "net/websocket.h"
#include "node/logs.h"

namespace caravel::node {
namespace {

const Log kLog{"node-server"};
enum Channel : char { kStdin = 0, kStdout = 1, kStderr = 2, kError = 3, kResize = 4, kClose = static_cast<char>(255) };
constexpr size_t kPiece = 32 << 10;

std::string channel_message(char channel, std::string_view data) {
  std::string out(1, channel);
  out += data;
  return out;
}

std::vector<std::string> channel_protocols() { return {"v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"}; }

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
  o.argv.push_back("/run/containerd/runc/k8s.io");
  o.argv.push_back("exec");
  if (c.tty) o.argv.push_back("--tty");
  o.argv.push_back(c.container_id);
  o.argv.insert(o.argv.end(), c.command.begin(), c.command.end());
  o.terminal = c.tty;
  o.stdin_pipe = !c.tty && c.input;
  o.stdout_pipe = o.stderr_pipe = !c.tty;
  return o;
}

// Output of the command to a channel, until it ends.
Task<void> pump_out(net::Stream* from, net::WebSocket* to, char channel, int* left, Event* done) {
  std::string buffer(kPiece, 0);
  while (from) {
    auto n = co_await from->read(std::span<char>(buffer.data(), buffer.size()));
    if (!n.ok() || *n == 0) break;
    Status s = co_await to->send(channel_message(channel, std::string_view(buffer.data(), *n)), false);
    if (!s.ok()) break;
  }
  if (--*left == 0) done->set();
}

// The client's messages to the command; ends when the client goes.
Task<void> pump_in(net::WebSocket* from, net::Process* process, bool tty, Event* gone) {
  net::Stream* to = process->stdin_stream();
  while (true) {
    auto m = co_await from->read();
    if (!m.ok() || !m->has_value()) break;
    const std::string& data = (*m)->data;
    if (data.empty()) continue;
    if (data[0] == kStdin && to) {
      if (data.size() == 1) continue;
      Status s = co_await to->write(std::string_view(data).substr(1));
      if (!s.ok()) to = nullptr;
    } else if (data[0] == kClose && data.size() > 1 && data[1] == kStdin && to && !tty) {
      Status s = co_await to->shutdown_write();
      if (!s.ok()) kLog.debug("closing the input failed", {{"error", s.error().message}});
      to = nullptr;
    } else if (data[0] == kResize && tty) {
      auto size = json::parse(std::string_view(data).substr(1));
      if (size.ok()) {
        const json::Value& v = *size;
        Status s = process->resize_terminal(static_cast<int>(v["Width"].as_int(80)), static_cast<int>(v["Height"].as_int(24)));
        if (!s.ok()) kLog.debug("the terminal was not resized", {{"error", s.error().message}});
      }
    }
  }
  gone->set();
}

Task<void> wait_exit(net::Process* process, int* code, Event* done) {
  net::ExitStatus s = co_await process->wait();
  *code = s.code;
  done->set();
}

Task<void> refuse(net::ResponseWriter& w, int status, std::string text) {
  net::Headers h;
  h.set("content-type", "text/plain; charset=utf-8");
  Status s = co_await w.send(status, std::move(h), text + "\n");
  if (!s.ok()) kLog.debug("answer not delivered", {{"error", s.error().message}});
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
  if (!net::is_websocket_upgrade(q)) {
    co_await refuse(w, 400, "exec wants a WebSocket upgrade");
    co_return;
  }
  auto accepted = co_await net::accept_websocket(loop, q, w, channel_protocols());
  if (!accepted.ok()) co_return;
  std::unique_ptr<net::WebSocket> socket = std::move(*accepted);
  auto spawned = net::spawn(loop, exec_options(c));
  if (!spawned.ok()) {
    json::Value v = json::Value::object();
    v["metadata"] = json::Value::object();
    v["status"] = "Failure";
    v["reason"] = "InternalError";
    v["message"] = spawned.error().message;
    Status s = co_await socket->send(channel_message(kError, json::dump(v)), false);
    if (s.ok()) co_await socket->close(1000, "");
    co_return;
  }
  std::unique_ptr<net::Process> process = std::move(*spawned);
  Status hello = co_await socket->send(channel_message(kStdout, ""), false);
  if (!hello.ok()) co_return;

  int outputs = c.tty ? 1 : 2, code = 0;
  Event output_done(loop), exited(loop), gone(loop);
  {
    TaskScope scope;
    scope.spawn(pump_out(process->stdout_stream(), socket.get(), kStdout, &outputs, &output_done));
    if (!c.tty) scope.spawn(pump_out(process->stderr_stream(), socket.get(), kStderr, &outputs, &output_done));
    scope.spawn(pump_in(socket.get(), process.get(), c.tty, &gone));
    scope.spawn(wait_exit(process.get(), &code, &exited));
    while (!exited.is_set() && !gone.is_set()) co_await exited.wait(std::chrono::milliseconds(250));
    if (gone.is_set()) co_return;  // the process is killed with its owner
    // What the command wrote last is still in the pipes; a background child may hold them open.
    co_await output_done.wait(std::chrono::seconds(1));
  }
  Status s = co_await socket->send(channel_message(kError, exit_status_json(code)), false);
  if (s.ok()) co_await socket->close(1000, "");
}

namespace {

Task<Status> send_output(net::WebSocket* to, std::string piece) { co_return co_await to->send(channel_message(kStdout, piece), false); }

}  // namespace

Task<void> serve_attach(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, std::string log_path, std::function<bool()> running) {
  if (!net::is_websocket_upgrade(q)) {
    co_await refuse(w, 400, "attach wants a WebSocket upgrade");
    co_return;
  }
  auto accepted = co_await net::accept_websocket(loop, q, w, channel_protocols());
  if (!accepted.ok()) co_return;
  std::unique_ptr<net::WebSocket> socket = std::move(*accepted);
  LogOptions o;
  o.follow = true;
  o.tail_lines = 0;
  net::WebSocket* to = socket.get();
  std::function<Task<Status>(std::string)> write = [to](std::string piece) { return send_output(to, std::move(piece)); };
  Status s = co_await read_log(loop, log_path, o, running, write);
  if (!s.ok()) co_return;
  s = co_await socket->send(channel_message(kError, exit_status_json(0)), false);
  if (s.ok()) co_await socket->close(1000, "");
}

Task<void> serve_port_forward(net::EventLoop&, net::ServerRequest&, net::ResponseWriter& w, std::string) {
  co_await refuse(w, 501, "port-forward is not offered by this node yet");
}

}  // namespace caravel::node
