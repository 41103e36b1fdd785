#include "node/attach.h"

#include "base/log.h"
#include "base/strings.h"
#include "net/websocket.h"
#include "node/port_forward.h"
#include "node/remote_command.h"

namespace caravel::node {
namespace {

const Log kAttachLog{"node-server"};

struct Connection {
  std::unique_ptr<net::HttpClient> client;  // outlives the socket
  std::unique_ptr<net::WebSocket> socket;
};

Task<Result<net::StreamPtr>> dial_runtime(net::EventLoop* loop, std::string netns, int port) { return connect_inside(*loop, std::move(netns), port); }

Task<Result<Connection>> open_streams(net::EventLoop& loop, cri::Runtime& runtime, cri::AttachRequest request) {
  auto url = co_await runtime.attach(std::move(request));
  if (!url.ok()) co_return std::move(url).error();
  auto netns = runtime.network_namespace();
  if (!netns.ok()) co_return std::move(netns).error();
  // http://127.0.0.1:33229/attach/token
  const size_t host = url->find("://"), path = host == url->npos ? url->npos : url->find('/', host + 3);
  const size_t colon = path == url->npos ? url->npos : url->rfind(':', path);
  auto port = colon == url->npos || colon < host + 3 ? std::nullopt : parse_int(url->substr(colon + 1, path - colon - 1));
  if (!port || *port <= 0 || *port > 65535) co_return internal("the runtime's address for attaching is not understood: " + *url);
  net::HttpClientOptions o;
  o.http2 = false;
  net::EventLoop* on = &loop;
  o.dial = [on, netns = *netns, port = static_cast<int>(*port)] { return dial_runtime(on, netns, port); };
  Connection c;
  c.client = std::make_unique<net::HttpClient>(loop, std::move(o));
  net::ClientRequest q;
  q.url = *url;
  std::vector<std::string> protocols{"v4.channel.k8s.io"};
  auto socket = co_await net::connect_websocket(loop, *c.client, std::move(q), std::move(protocols));
  if (!socket.ok()) co_return std::move(socket).error();
  c.socket = std::move(*socket);
  co_return c;
}

// The container's output to the client; `to` null: it is only read away.
Task<void> show_output(net::WebSocket* from, RemoteIo* to, Event* done) {
  while (true) {
    auto m = co_await from->read();
    if (!m.ok() || !*m) break;
    const std::string& data = (*m)->data;
    if (data.size() < 2 || !to) continue;  // each stream begins with an empty message
    if (data[0] != kStdout && data[0] != kStderr) continue;
    Status s = co_await to->write(data[0] == kStderr, data.substr(1));
    if (!s.ok()) break;
  }
  done->set();
}

// The client's input and its window's sizes to the container.
Task<void> carry_input(RemoteIo* from, net::WebSocket* input, net::WebSocket* sizes, Event* input_ended, Event* gone) {
  while (true) {
    RemoteInput in = co_await from->read();
    if (in.kind == RemoteInput::kGone) break;
    const std::string message = channel_message(in.kind == RemoteInput::kResize ? kResizeChannel : kStdin, in.data);
    Status s = ok();
    if (in.kind == RemoteInput::kData && input) {
      s = co_await input->send(message, false);
    } else if (in.kind == RemoteInput::kResize) {
      s = co_await sizes->send(message, false);
    } else if (in.kind == RemoteInput::kEndOfInput && input) {
      co_await input->close(1000, "");
      input = nullptr;
      input_ended->set();
    }
    if (!s.ok()) kAttachLog.debug("input of an attached container is lost", {{"error", s.error().message}});
  }
  gone->set();
}

}  // namespace

Task<void> serve_attach(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, RemoteOptions options, cri::Runtime& runtime, AttachTarget target) {
  cri::AttachRequest r;
  r.container_id = target.container_id;
  r.tty = options.tty;
  r.stdin_ = true;  // else containerd takes the input for ended, and ends that of a container with stdinOnce
  r.stdout_ = true;
  r.stderr_ = !options.tty;
  auto output = co_await open_streams(loop, runtime, r);
  Connection input;
  if (output.ok() && options.input) {
    r.stderr_ = false;  // with no stream but input the runtime would not stay
    auto opened = co_await open_streams(loop, runtime, r);
    if (opened.ok()) input = std::move(*opened);
    else output = std::move(opened).error();
  }
  if (!output.ok()) {
    co_await refuse(w, 500, output.error().message);
    co_return;
  }
  std::unique_ptr<RemoteIo> io = co_await open_remote_io(loop, q, w, options);
  if (!io) co_return;
  Event ended(loop), gone(loop), drained(loop), input_ended(loop);
  TaskScope scope;
  scope.spawn(show_output(output->socket.get(), io.get(), &ended));
  if (input.socket) scope.spawn(show_output(input.socket.get(), nullptr, &drained));
  scope.spawn(carry_input(io.get(), input.socket.get(), output->socket.get(), &input_ended, &gone));
  auto detached = [&] { return input_ended.is_set() && !target.stdin_once; };
  while (!ended.is_set() && !gone.is_set() && !detached()) co_await ended.wait(std::chrono::milliseconds(250));
  if (!gone.is_set()) co_await io->finish(exit_status_json(0));
}

}  // namespace caravel::node
