#include "apiserver/forward.h"

#include <algorithm>
#include <vector>

#include "apiserver/link_rewriter.h"
#include "apiserver/status.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

constexpr size_t kHeadMax = 64u << 10;

// Nobody but us says who somebody is.
bool replaced(const ForwardGoal& goal, const std::string& name) { return goal.extra.size() && name.compare(0, 9, "x-remote-") == 0; }

}  // namespace

bool hop_by_hop(const std::string& name) {
  static constexpr std::string_view kNames[] = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
                                                "upgrade", "host", "content-length", "authorization", "http2-settings"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) || name.compare(0, 12, "impersonate-") == 0;
}

bool wants_upgrade(const net::ServerRequest& in) {
  return in.headers.find("upgrade") && to_lower(in.headers.get("connection")).find("upgrade") != std::string::npos;
}

Task<Status> forward_request(net::HttpClient* client, const ForwardGoal& goal, net::ServerRequest& in, net::ResponseWriter& out) {
  net::ClientRequest q;
  q.method = in.method;
  q.url = std::string(goal.tls ? "https://" : "http://") + (goal.host.empty() ? goal.address : goal.host) + goal.path;
  for (auto& [k, v] : in.headers)
    if (!hop_by_hop(k) && k != "accept-encoding" && !replaced(goal, k)) q.headers.add(k, v);
  for (auto& [k, v] : goal.extra) q.headers.add(k, v);
  auto body = co_await in.body->read_all(64u << 20);
  if (!body.ok()) co_return std::move(body).error();
  q.body = std::move(*body);
  auto res = co_await client->stream(std::move(q));
  if (!res.ok()) co_return status::unavailable("error trying to reach " + goal.address + ": " + res.error().message);
  LinkRewriter links(goal.link_prefix, goal.host.empty() ? goal.address : goal.host);
  const bool rewrites = !goal.link_prefix.empty();
  const bool html = rewrites && to_lower(res->headers.get("content-type")).compare(0, 9, "text/html") == 0;
  net::Headers h;
  for (auto& [k, v] : res->headers)
    if (!hop_by_hop(k)) h.add(k, rewrites && k == "location" ? links.link(v) : v);
  auto started = co_await out.start(res->status, std::move(h));
  if (!started.ok()) co_return started;
  while (true) {
    auto piece = co_await res->body->read();
    if (!piece.ok()) break;
    if (!piece->has_value()) break;
    std::string text = html ? links.feed(**piece) : std::move(**piece);
    if (text.empty()) continue;
    auto wrote = co_await out.write(text);
    if (!wrote.ok()) co_return wrote;
  }
  if (std::string rest = links.finish(); !rest.empty()) {
    auto wrote = co_await out.write(rest);
    if (!wrote.ok()) co_return wrote;
  }
  auto finished = co_await out.finish();
  co_return finished;
}

Task<Status> forward_upgrade(net::EventLoop* loop, const ForwardGoal& goal, net::ServerRequest& in, net::ResponseWriter& out) {
  net::ConnectOptions co;
  if (goal.tls) co.tls = goal.context;
  co.server_name = goal.server_name;
  net::Address address{goal.address};
  auto stream = co_await net::connect(*loop, address, co);
  if (!stream.ok()) co_return status::unavailable("error dialing backend " + goal.address + ": " + stream.error().message);
  net::Stream& backend = **stream;
  std::string head = in.method + " " + goal.path + " HTTP/1.1\r\nHost: " + (goal.host.empty() ? goal.address : goal.host) + "\r\n";
  for (auto& [k, v] : in.headers)
    if (!hop_by_hop(k) && !replaced(goal, k)) head += k + ": " + v + "\r\n";
  for (auto& [k, v] : goal.extra) head += k + ": " + v + "\r\n";
  head += "Connection: Upgrade\r\nUpgrade: " + in.headers.get("upgrade") + "\r\n";
  if (in.method == "POST") head += "Content-Length: 0\r\n";
  head += "\r\n";
  auto wrote = co_await backend.write(head);
  if (!wrote.ok()) co_return status::unavailable("error talking to " + goal.address + ": " + wrote.error().message);
  std::string got;
  std::vector<char> buffer(16 * 1024);
  size_t end = std::string::npos;
  while (end == std::string::npos) {
    auto n = co_await backend.read(std::span<char>(buffer));
    if (!n.ok()) co_return status::unavailable("error talking to " + goal.address + ": " + n.error().message);
    if (*n == 0) co_return status::unavailable(goal.address + " closed the connection before it answered");
    got.append(buffer.data(), *n);
    end = got.find("\r\n\r\n");
    if (got.size() > kHeadMax) co_return status::unavailable(goal.address + " sent too large a head");
  }
  auto lines = split(std::string_view(got).substr(0, end), '\n');
  auto first = split_words(lines[0]);
  int code = first.size() > 1 ? static_cast<int>(parse_int(first[1]).value_or(502)) : 502;
  net::Headers h;
  int64_t length = -1;
  for (size_t i = 1; i < lines.size(); ++i) {
    std::string_view line = trim(lines[i]);
    size_t colon = line.find(':');
    if (colon == line.npos) continue;
    std::string name = to_lower(line.substr(0, colon));
    std::string value(trim(line.substr(colon + 1)));
    if (name == "content-length") length = parse_int(value).value_or(-1);
    if (code == 101 ? name != "content-length" : !hop_by_hop(name)) h.add(name, value);
  }
  std::string rest = got.substr(end + 4);
  if (code != 101) {
    while (length < 0 || rest.size() < static_cast<size_t>(length)) {
      auto n = co_await backend.read(std::span<char>(buffer));
      if (!n.ok()) break;
      if (*n == 0) break;
      rest.append(buffer.data(), *n);
      if (rest.size() > (1u << 20)) break;
    }
    auto sent = co_await out.send(code, std::move(h), std::move(rest));
    co_return sent;
  }
  auto client = co_await out.upgrade(std::move(h));
  if (!client.ok()) co_return std::move(client).error();
  if (!rest.empty()) {
    auto passed = co_await (*client)->write(rest);
    if (!passed.ok()) co_return ok();
  }
  co_await net::splice(*loop, **client, backend);
  co_return ok();
}

}  // namespace caravel::apiserver
