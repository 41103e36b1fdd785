#include "net/http.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/strings.h"
#include "net/process.h"
#include "net/websocket.h"
#include "net/x509.h"

namespace caravel::net {
namespace {

constexpr size_t kLongPiece = 1 << 20;
constexpr int kLongPieces = 64;

struct Site {
  explicit Site(EventLoop& l) : loop(l), event(l) {}
  EventLoop& loop;
  Event event;
  std::weak_ptr<const std::string> long_piece;
  int watching = 0, slowing = 0, watched = 0, destroyed = 0, taken_at_once = 0;
};

struct CountDestroyed {
  Site& site;
  ~CountDestroyed() { ++site.destroyed; }
};

// /echo gives the body back, /stream sends three pieces and a trailer, /big 8 MiB, /watch streams until
// the peer has gone, /pieces shares pieces, /now what is taken at once, /hang streams once and then waits for ever, /slow answers late,
// /ws is a WebSocket.
Task<void> handle(Site& site, ServerRequest& request, ResponseWriter& writer) {
  Headers headers{{"content-type", "text/plain"}, {"x-version", std::to_string(request.version)}};
  std::string path = request.target.path;
  if (path == "/echo") {
    auto body = co_await request.body->read_all(64 << 20);
    if (!body.ok()) co_return;
    Status s = co_await writer.send(200, headers, std::move(*body));
    (void)s;
  } else if (path == "/stream") {
    Status s = co_await writer.start(200, headers);
    s = co_await writer.write("one ");
    s = co_await writer.write("two ");
    s = co_await writer.write("three");
    Headers trailers{{"x-sum", "3"}};
    s = co_await writer.finish(trailers);
    EXPECT_TRUE(s.ok());
  } else if (path == "/big") {
    auto body = std::make_shared<const std::string>(8 << 20, 'b');
    Status s = co_await writer.send_shared(200, headers, body);
    (void)s;
  } else if (path == "/now") {
    // Pieces of 1 kB without waiting, until the connection wants to be waited for; that one is written.
    Status s = co_await writer.start(200, headers);
    auto piece = std::make_shared<const std::string>(1024, 'n');
    EXPECT_FALSE(writer.peer_gone());
    while (writer.write_now(piece)) ++site.taken_at_once;
    s = co_await writer.write("last");
    s = co_await writer.finish();
    EXPECT_FALSE(writer.write_now(piece)) << "after the end";
  } else if (path == "/pieces") {
    // Short ones, a long one many times, an empty one.
    std::vector<std::shared_ptr<const std::string>> pieces;
    for (int i = 0; i < 5000; ++i) pieces.push_back(std::make_shared<const std::string>(std::to_string(i) + ","));
    auto last = std::make_shared<const std::string>(kLongPiece, 'p');
    site.long_piece = last;
    for (int i = 0; i < kLongPieces; ++i) pieces.push_back(last);
    last.reset();
    pieces.push_back(std::make_shared<const std::string>());
    Status s = co_await writer.start(200, headers);
    s = co_await writer.write_pieces(std::move(pieces));
    if (s.ok()) s = co_await writer.finish();
  } else if (path == "/watch") {
    ++site.watching;
    Status s = co_await writer.start(200, headers);
    s = co_await writer.write("first");
    while (!writer.peer_gone()) co_await site.event.wait(10ms);
    ++site.watched;
  } else if (path == "/hang") {
    CountDestroyed count{site};
    Status s = co_await writer.start(200, headers);
    s = co_await writer.write("first");
    co_await site.event.wait();
  } else if (path == "/slow") {
    ++site.slowing;
    co_await sleep(site.loop, 300ms);
    Status s = co_await writer.send(200, headers, "late");
    (void)s;
  } else if (path == "/ws") {
    std::vector<std::string> protocols{"v2.test", "v1.test"};
    auto ws = co_await accept_websocket(site.loop, request, writer, protocols);
    if (!ws.ok()) {
      Status s = co_await writer.send(400, headers, ws.error().message);
      (void)s;
      co_return;
    }
    for (;;) {
      auto m = co_await (*ws)->read();
      if (!m.ok() || !*m) break;
      Status s = co_await (*ws)->send((*ws)->protocol() + ":" + (*m)->data, (*m)->text);
      (void)s;
    }
  } else if (path == "/nothing") {
    co_return;
  } else {
    Status s = co_await writer.send(200, headers, request.method + " " + path + "?" + request.target.query + " " + request.authority + " " + request.headers.get("x-a"));
    (void)s;
  }
}

struct Tls {
  std::string ca, certificate, key;
};
const Tls& test_tls() {
  static const Tls tls = [] {
    EventLoop loop;
    Tls t;
    CertificateSpec spec;
    spec.names.common_name = "ca";
    spec.not_before = loop.now() - 1h;
    spec.not_after = loop.now() + 24h;
    spec.is_ca = true;
    std::string ca_key = *generate_key(KeyType::kEcdsaP256);
    t.ca = *make_certificate(spec, ca_key, "", "");
    spec.is_ca = false;
    spec.server_auth = true;
    spec.names.ip_addresses = {"127.0.0.1"};
    spec.names.common_name = "server";
    t.key = *generate_key(KeyType::kEcdsaP256);
    t.certificate = *make_certificate(spec, t.key, t.ca, ca_key);
    return t;
  }();
  return tls;
}

// One server and one client, over each of the ways to speak HTTP.
class Http : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { start({}); }
  void start(ServerLimits limits) {
    client.reset();
    server.reset();
    server = std::make_unique<HttpServer>(
        loop, [this](ServerRequest& q, ResponseWriter& w) { return handle(site, q, w); }, limits);
    auto listener = listen(loop, {GetParam() == "unix" ? "unix:/tmp/caravel-http-test-" + std::to_string(getpid()) + ".sock" : "127.0.0.1:0"});
    ASSERT_TRUE(listener.ok()) << listener.error().message;
    address = (*listener)->address();
    bool tls = GetParam().starts_with("tls");
    std::shared_ptr<TlsServerContext> context;
    HttpClientOptions o;
    if (tls) {
      context = *make_tls_server({test_tls().certificate, test_tls().key});
      o.tls = *make_tls_client({test_tls().ca});
      o.http2 = GetParam() == "tls-h2";
    }
    o.http2_prior_knowledge = GetParam() == "h2c" || GetParam() == "unix";
    server->serve(std::move(*listener), context);
    client = std::make_unique<HttpClient>(loop, o);
    base = GetParam() == "unix" ? "http+" + address + ":" : (tls ? "https://" : "http://") + address;
  }
  bool http2() const { return GetParam() == "tls-h2" || GetParam() == "h2c" || GetParam() == "unix"; }
  ClientRequest request(std::string path, std::string method = "GET", std::string body = "") {
    ClientRequest r;
    r.url = base + path;
    r.method = method;
    r.body = body;
    return r;
  }
  Result<ClientResponse> send(ClientRequest r) { return run_on(loop, client->send(std::move(r))); }

  EventLoop loop;
  Site site{loop};
  std::unique_ptr<HttpServer> server;
  std::unique_ptr<HttpClient> client;
  std::string address, base;
};

TEST_P(Http, answers_with_everything_in_its_place) {
  auto r = request("/path%20x?q=1&r");
  r.headers.add("X-A", "value");
  auto a = send(r);
  ASSERT_TRUE(a.ok()) << a.error().message;
  EXPECT_EQ(a->status, 200);
  EXPECT_EQ(a->body, "GET /path%20x?q=1&r " + (GetParam() == "unix" ? "localhost" : address) + " value");
  EXPECT_EQ(a->headers.get("x-version"), http2() ? "2" : "1");
  EXPECT_FALSE(a->headers.get("date").empty());
  auto head = send(request("/big", "HEAD"));
  ASSERT_TRUE(head.ok()) << head.error().message;
  EXPECT_EQ(head->body, "");
  EXPECT_EQ(head->headers.get("content-length"), "8388608");
  EXPECT_EQ(send(request("/nothing"))->status, 500);
}

TEST_P(Http, bodies_of_any_size_both_ways) {
  for (size_t n : {0u, 1u, 1000u, 70'000u, 5'000'000u}) {
    std::string body(n, 'x');
    for (size_t i = 0; i < n; ++i) body[i] = static_cast<char>(i * 31);
    auto a = send(request("/echo", "POST", body));
    ASSERT_TRUE(a.ok()) << n << " " << a.error().message;
    EXPECT_EQ(a->body, body);
  }
  auto big = send(request("/big"));
  ASSERT_TRUE(big.ok());
  EXPECT_EQ(big->body.size(), 8u << 20);
  auto s = send(request("/stream"));
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(s->body, "one two three");
}

Task<void> one_of_many(HttpClient& client, ClientRequest r, int* good) {
  auto a = co_await client.send(std::move(r));
  if (a.ok() && a->status == 200) ++*good;
}
Task<int> many(HttpClient& client, EventLoop& loop, ClientRequest r, int n) {
  TaskScope scope;
  int good = 0;
  for (int i = 0; i < n; ++i) scope.spawn(one_of_many(client, r, &good));
  while (scope.running() > 0) co_await sleep(loop, 1ms);
  co_return good;
}

TEST_P(Http, many_requests_at_a_time) {
  EXPECT_EQ(run_on(loop, many(*client, loop, request("/echo", "POST", std::string(3000, 'y')), 300)), 300);
  size_t limit = http2() ? 4 : 301;
  EXPECT_LE(server->connections(), limit);
}

Task<std::string> watch_and_leave(HttpClient& client, ClientRequest r) {
  auto a = co_await client.stream(std::move(r));
  if (!a.ok()) co_return a.error().message;
  auto first = co_await a->body->read();
  co_return first.ok() && *first ? **first : "no piece";
}

TEST_P(Http, a_watch_gets_its_pieces_at_once_and_notices_that_the_peer_has_gone) {
  EXPECT_EQ(run_on(loop, watch_and_leave(*client, request("/watch"))), "first");
  Time start = loop.now();
  while (site.watched == 0 && loop.now() - start < Duration(5s)) {
    loop.run_after(5ms, [this] { loop.stop(); });
    loop.run();
  }
  EXPECT_EQ(site.watched, 1);
}

TEST_P(Http, shared_pieces_are_taken_at_once_up_to_a_bound_and_stay_in_order) {
  auto r = send(request("/now"));
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(site.taken_at_once, http2() ? 32 : 0);
  EXPECT_EQ(r->body, std::string(static_cast<size_t>(site.taken_at_once) * 1024, 'n') + "last");
}

Task<std::string> read_late(EventLoop& loop, HttpClient& client, ClientRequest r, Site* site, int64_t* waiting) {
  auto a = co_await client.stream(std::move(r));
  if (!a.ok()) co_return a.error().message;
  co_await sleep(loop, 300ms);
  *waiting = site->long_piece.use_count();
  auto body = co_await a->body->read_all(128 << 20);
  co_return body.ok() ? *body : body.error().message;
}

TEST_P(Http, pieces_stay_in_order_and_wait_for_a_peer_that_does_not_read) {
  std::string wanted;
  for (int i = 0; i < 5000; ++i) wanted += std::to_string(i) + ",";
  wanted += std::string(kLongPieces * kLongPiece, 'p');
  int64_t waiting = 0;
  std::string body = run_on(loop, read_late(loop, *client, request("/pieces"), &site, &waiting));
  EXPECT_EQ(body.size(), wanted.size());
  EXPECT_TRUE(body == wanted);
  // The rest fits into the buffers of the kernel, and the window of an HTTP/2 stream.
  EXPECT_GT(waiting, kLongPieces / 2);
  EXPECT_EQ(site.long_piece.use_count(), 0);
}

TEST_P(Http, a_handler_that_waits_for_ever_ends_after_its_peer_has_gone) {
  EXPECT_EQ(run_on(loop, watch_and_leave(*client, request("/hang"))), "first");
  Time start = loop.now();
  while (site.destroyed == 0 && loop.now() - start < Duration(10s)) {
    loop.run_after(20ms, [this] { loop.stop(); });
    loop.run();
  }
  EXPECT_EQ(site.destroyed, 1);
}

TEST_P(Http, a_timeout_leaves_nothing_behind_and_the_next_request_works) {
  auto r = request("/slow");
  r.timeout = 50ms;
  auto a = send(r);
  ASSERT_FALSE(a.ok());
  EXPECT_EQ(a.error().code, Code::kTimeout);
  r.timeout = 5s;
  a = send(r);
  ASSERT_TRUE(a.ok()) << a.error().message;
  EXPECT_EQ(a->body, "late");
}

TEST_P(Http, a_restarted_server_is_found_again) {
  ASSERT_TRUE(send(request("/x")).ok());
  std::string old = address;
  server = nullptr;
  EXPECT_FALSE(send(request("/x")).ok());
  server = std::make_unique<HttpServer>(loop, [this](ServerRequest& q, ResponseWriter& w) { return handle(site, q, w); });
  auto listener = listen(loop, {old});
  ASSERT_TRUE(listener.ok());
  std::shared_ptr<TlsServerContext> context;
  if (GetParam().starts_with("tls")) context = *make_tls_server({test_tls().certificate, test_tls().key});
  server->serve(std::move(*listener), context);
  auto a = send(request("/x"));
  EXPECT_TRUE(a.ok()) << a.error().message;
}

Task<bool> close_server(HttpServer& server, Duration grace) {
  co_await server.close(grace);
  co_return true;
}
Task<void> keep(HttpClient& client, ClientRequest r, std::optional<Result<ClientResponse>>* out) { out->emplace(co_await client.send(std::move(r))); }

TEST_P(Http, close_lets_open_requests_end_and_destruction_does_not) {
  std::optional<Result<ClientResponse>> slow;
  TaskScope scope;
  scope.spawn(keep(*client, request("/slow"), &slow));
  for (int i = 0; i < 1000 && !site.slowing; ++i) {
    loop.run_after(5ms, [this] { loop.stop(); });
    loop.run();
  }
  EXPECT_TRUE(run_on(loop, close_server(*server, 5s)));
  loop.run_after(50ms, [this] { loop.stop(); });
  loop.run();
  ASSERT_TRUE(slow.has_value());
  EXPECT_TRUE(slow->ok()) << slow->error().message;
  start({});
  std::optional<Result<ClientResponse>> hung;
  scope.spawn(keep(*client, request("/hang"), &hung));
  loop.run_after(100ms, [this] { loop.stop(); });
  loop.run();
  Time begin = loop.now();
  EXPECT_TRUE(run_on(loop, close_server(*server, 20s)));  // a stream is not waited for
  EXPECT_LT(loop.now() - begin, Duration(3s));
  EXPECT_EQ(site.destroyed, 1);
  loop.run_after(50ms, [this] { loop.stop(); });
  loop.run();
  EXPECT_TRUE(hung && !hung->ok());
  start({});
  EXPECT_EQ(run_on(loop, watch_and_leave(*client, request("/hang"))), "first");
  server = nullptr;
  EXPECT_EQ(site.destroyed, 2);
}

TEST_P(Http, curl_agrees) {
  std::string out, flag = GetParam() == "tls-h2" ? "--http2" : GetParam() == "h2c" || GetParam() == "unix" ? "--http2-prior-knowledge"
                                                                                                           : "--http1.1";
  ProcessOptions o;
  std::string curl = GetParam() == "unix" ? "curl -sk --unix-socket " + address.substr(5) + " " : "curl -sk ";
  std::string body = "/tmp/caravel-http-test-" + std::to_string(getpid()) + ".body";
  std::string b = GetParam() == "unix" ? "http://localhost" : base;
  o.argv = {"sh", "-c",
            "head -c 300000 /dev/zero | tr '\\0' z > " + body + "; " + curl + flag + " " + b + "/stream; " + curl + flag + " -H 'Transfer-Encoding: chunked' --data-binary @" + body + " " +
                b + "/echo | wc -c; " + curl + flag + " -T " + body + " " + b + "/echo | wc -c; " + curl + flag + " " + b + "/a " + b + "/b -o /dev/null -o /dev/null -w '%{num_connects}\\n'; rm -f " + body};
  auto r = run_on(loop, run_process(loop, o));
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->out, "one two three300000\n300000\n1\n0\n");
}

INSTANTIATE_TEST_SUITE_P(Ways, Http, testing::Values("h1", "tls-h1", "tls-h2", "h2c", "unix"), [](auto& i) { return replace_all(i.param, "-", "_"); });

using Http1Only = Http;

Task<std::string> talk(EventLoop& loop, std::string address, std::string text, bool half_close) {
  Address to{address};
  ConnectOptions options;
  auto s = co_await connect(loop, to, options);
  if (!s.ok()) co_return s.error().message;
  Status w = co_await (*s)->write(text);
  if (half_close) w = co_await (*s)->shutdown_write();
  std::string out;
  char b[4096];
  for (;;) {
    auto n = co_await (*s)->read(b);
    if (!n.ok() || *n == 0) break;
    out.append(b, *n);
  }
  co_return out;
}

TEST_P(Http1Only, what_breaks_the_syntax_is_refused) {
  for (std::string bad : {"GET / HTTP/1.1\r\n\r\n", "GET  / HTTP/1.1\r\nhost: x\r\n\r\n", "G(T / HTTP/1.1\r\nhost: x\r\n\r\n", "GET / HTTP/1.1\r\nhost : x\r\n\r\n",
                          "GET / HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
                          "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"}) {
    std::string out = run_on(loop, talk(loop, address, bad, false));
    EXPECT_TRUE(out.starts_with("HTTP/1.1 400 ")) << bad << "\n"
                                                  << out;
  }
  std::string out = run_on(loop, talk(loop, address, "GET / HTTP/1.1\r\nhost: x\r\na: " + std::string(100'000, 'x'), false));
  EXPECT_TRUE(out.starts_with("HTTP/1.1 431 ")) << out.substr(0, 100);
  out = run_on(loop, talk(loop, address, "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", false));
  EXPECT_EQ(out.find("HTTP/1.1 200"), std::string::npos);
}

TEST_P(Http1Only, requests_sent_ahead_and_half_closed_connections_are_answered) {
  std::string get = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
  std::string out = run_on(loop, talk(loop, address, get + "GET /stream HTTP/1.1\r\nhost: x\r\n\r\n" + get + "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: v\r\n\r\n", true));
  EXPECT_EQ(split(replace_all(out, "HTTP/1.1 200 OK", "\1"), '\1').size(), 5u) << out;
  EXPECT_TRUE(out.ends_with("\r\n\r\nabcde")) << out;
  out = run_on(loop, talk(loop, address, "GET /stream HTTP/1.0\r\n\r\n", true));
  EXPECT_TRUE(out.ends_with("\r\n\r\none two three")) << out;
  out = run_on(loop, talk(loop, address, "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", false));
  EXPECT_TRUE(out.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")) << out;
}

TEST_P(Http1Only, slow_heads_and_idle_connections_are_cut) {
  ServerLimits limits;
  limits.header_timeout = 100ms;
  limits.idle_timeout = 100ms;
  start(limits);
  Time begin = loop.now();
  std::string out = run_on(loop, talk(loop, address, "GET / HT", false));
  EXPECT_EQ(out, "");
  out = run_on(loop, talk(loop, address, "GET /a HTTP/1.1\r\nhost: x\r\n\r\n", false));
  EXPECT_TRUE(out.starts_with("HTTP/1.1 200"));
  EXPECT_LT(loop.now() - begin, Duration(3s));
}

Task<std::string> websocket_talk(EventLoop& loop, HttpClient& client, ClientRequest r, std::vector<std::string> protocols) {
  auto ws = co_await connect_websocket(loop, client, std::move(r), protocols);
  if (!ws.ok()) co_return ws.error().message;
  std::string big(200'000, 'w');
  Status s = co_await (*ws)->send("hello", true);
  s = co_await (*ws)->send(big, false);
  auto a = co_await (*ws)->read();
  auto b = co_await (*ws)->read();
  if (!a.ok() || !*a || !b.ok() || !*b) co_return "no answer";
  EXPECT_TRUE((*a)->text);
  EXPECT_EQ((*b)->data, (*ws)->protocol() + ":" + big);
  co_await (*ws)->close(1000, "bye");
  co_return (*a)->data;
}

TEST_P(Http1Only, websockets) {
  EXPECT_EQ(run_on(loop, websocket_talk(loop, *client, request("/ws"), {"v1.test", "v2.test"})), "v2.test:hello");
  EXPECT_EQ(run_on(loop, websocket_talk(loop, *client, request("/ws"), {})), ":hello");
  EXPECT_NE(run_on(loop, websocket_talk(loop, *client, request("/ws"), {"v9"})).find("400"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Plain, Http1Only, testing::Values("h1"));

}  // namespace
}  // namespace caravel::net
