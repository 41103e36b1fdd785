#include "net/stream.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "net/x509.h"

namespace caravel::net {
namespace {

Task<Result<std::string>> read_some(Stream& s, size_t want) {
  std::string out(want, 0);
  size_t got = 0;
  while (got < want) {
    auto n = co_await s.read(std::span(out.data() + got, want - got));
    if (!n.ok()) co_return std::move(n).error();
    if (*n == 0) break;
    got += *n;
  }
  out.resize(got);
  co_return out;
}

// Sends everything back, then ends.
Task<void> echo(StreamPtr s) {
  std::vector<char> buffer(32 * 1024);
  for (;;) {
    auto n = co_await s->read(buffer);
    if (!n.ok() || *n == 0) break;
    Status w = co_await s->write(std::string_view(buffer.data(), *n));
    if (!w.ok()) break;
  }
  Status e = co_await s->shutdown_write();
  (void)e;
}

Task<void> echo_server(EventLoop& loop, Listener& listener, std::shared_ptr<TlsServerContext> tls, TaskScope& scope, std::string* client_certificate) {
  for (;;) {
    auto c = co_await listener.accept();
    if (!c.ok()) co_return;
    StreamPtr s = std::move(*c);
    if (tls) {
      auto t = co_await tls_accept(loop, std::move(s), tls);
      if (!t.ok()) continue;
      s = std::move(*t);
      *client_certificate = s->peer_certificate();
    }
    scope.spawn(echo(std::move(s)));
  }
}

Task<void> write_all(Stream& s, std::string data) {
  Status w = co_await s.write(data);
  EXPECT_TRUE(w.ok());
  Status e = co_await s.shutdown_write();
  EXPECT_TRUE(e.ok());
}

Task<Status> echo_round(EventLoop& loop, std::string address, ConnectOptions options, size_t size) {
  Address to{address};
  CO_TRY(StreamPtr s, co_await connect(loop, to, options));
  std::string data(size, 0);
  for (size_t i = 0; i < size; ++i) data[i] = static_cast<char>('a' + i * 7 % 26);
  TaskScope scope;
  scope.spawn(write_all(*s, data));
  CO_TRY(std::string back, co_await read_some(*s, size + 1));
  EXPECT_EQ(back, data);
  co_return ok();
}

struct Certificates {
  std::string ca_key, ca, key, certificate, client_key, client;
};
Certificates make_certificates(EventLoop& loop) {
  Certificates c;
  CertificateSpec ca;
  ca.names.common_name = "test ca";
  ca.not_before = loop.now() - 1h;
  ca.not_after = loop.now() + 24h;
  ca.is_ca = true;
  c.ca_key = *generate_key(KeyType::kEcdsaP256);
  c.ca = *make_certificate(ca, c.ca_key, "", "");
  CertificateSpec s = ca;
  s.is_ca = false;
  s.server_auth = true;
  s.names = {};
  s.names.common_name = "server";
  s.names.dns_names = {"localhost"};
  s.names.ip_addresses = {"127.0.0.1"};
  c.key = *generate_key(KeyType::kEcdsaP256);
  c.certificate = *make_certificate(s, c.key, c.ca, c.ca_key);
  s.server_auth = false;
  s.client_auth = true;
  s.names = {};
  s.names.common_name = "alice";
  c.client_key = *generate_key(KeyType::kEcdsaP256);
  c.client = *make_certificate(s, c.client_key, c.ca, c.ca_key);
  return c;
}

TEST(Stream, echoes_megabytes_over_tcp_and_unix_sockets) {
  EventLoop loop;
  std::string own = "caravel-net-test-" + std::to_string(getpid());  // tests run side by side
  for (std::string where : {std::string("127.0.0.1:0"), "unix:/tmp/" + own + ".sock", "unix:@" + own}) {
    auto listener = listen(loop, {where});
    ASSERT_TRUE(listener.ok()) << listener.error().message;
    TaskScope scope, server;
    std::string unused;
    server.spawn(echo_server(loop, **listener, nullptr, scope, &unused));
    Status s = run_on(loop, echo_round(loop, (*listener)->address(), {}, 3'000'000));
    EXPECT_TRUE(s.ok()) << s.error().message;
  }
}

TEST(Stream, errors_say_what_to_do) {
  EventLoop loop;
  auto first = listen(loop, {"127.0.0.1:0"});
  auto second = listen(loop, {(*first)->address()});
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("in use by another program"), std::string::npos);
  std::string path = "unix:/tmp/caravel-net-test2-" + std::to_string(getpid()) + ".sock";
  auto u1 = listen(loop, {path});
  auto u2 = listen(loop, {path});
  ASSERT_FALSE(u2.ok());
  std::string address = (*first)->address();
  first->reset();
  auto c = run_on(loop, connect(loop, {address}, {}));
  ASSERT_FALSE(c.ok());
  EXPECT_EQ(c.error().code, Code::kUnavailable) << c.error().message;
  EXPECT_FALSE(run_on(loop, connect(loop, {"no-port"}, {})).ok());
}

TEST(Stream, tls_verifies_names_and_client_certificates_and_reloads) {
  EventLoop loop;
  Certificates c = make_certificates(loop);
  TlsServerOptions so{c.certificate, c.key, c.ca};
  auto server_tls = make_tls_server(so);
  ASSERT_TRUE(server_tls.ok()) << server_tls.error().message;
  auto listener = listen(loop, {"127.0.0.1:0"});
  TaskScope scope, server;
  std::string seen;
  server.spawn(echo_server(loop, **listener, *server_tls, scope, &seen));

  ConnectOptions o;
  o.tls = *make_tls_client({c.ca, false, c.client, c.client_key});
  o.alpn = "h2,http/1.1";
  Status s = run_on(loop, echo_round(loop, (*listener)->address(), o, 2'000'000));
  EXPECT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(parse_certificate(seen)->names.common_name, "alice");
  auto h2 = run_on(loop, connect(loop, {(*listener)->address()}, o));
  ASSERT_TRUE(h2.ok());
  EXPECT_EQ((*h2)->alpn(), "h2");

  o.tls = *make_tls_client({c.ca});
  s = run_on(loop, echo_round(loop, (*listener)->address(), o, 10));
  EXPECT_TRUE(s.ok());
  EXPECT_EQ(seen, "");

  o.server_name = "other.example";
  s = run_on(loop, echo_round(loop, (*listener)->address(), o, 10));
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.error().message.find("not trusted"), std::string::npos) << s.error().message;

  // A client certificate from a stranger's CA counts as none.
  Certificates stranger = make_certificates(loop);
  o.server_name = "";
  o.tls = *make_tls_client({c.ca, false, stranger.client, stranger.client_key});
  seen = "x";
  s = run_on(loop, echo_round(loop, (*listener)->address(), o, 10));
  EXPECT_TRUE(s.ok());
  EXPECT_EQ(seen, "");

  TlsServerOptions other{stranger.certificate, stranger.key};
  ASSERT_TRUE(reload(**server_tls, other).ok());
  EXPECT_FALSE(run_on(loop, echo_round(loop, (*listener)->address(), o, 10)).ok());
  TlsServerOptions wrong{stranger.certificate, c.key};
  EXPECT_FALSE(reload(**server_tls, wrong).ok());
}

Task<Result<size_t>> read_one(Stream& s, std::span<char> b) { return s.read(b); }
Task<void> close_soon(EventLoop& loop, Stream& s) {
  co_await sleep(loop, 10ms);
  s.close();
}
Task<bool> gone(Stream& s) {
  co_await s.wait_peer_gone();
  co_return s.peer_gone();
}

TEST(Stream, close_fails_a_pending_read_and_peer_gone_needs_no_reading) {
  EventLoop loop;
  auto [a, b] = stream_pair(loop);
  char c[4];
  TaskScope scope;
  scope.spawn(close_soon(loop, *a));
  auto r = run_on(loop, read_one(*a, c));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, Code::kCancelled);
  EXPECT_TRUE(run_on(loop, gone(*b)));
}

Task<Result<std::string>> through_proxy(Stream& a, Stream& b) {
  CO_TRY_VOID(co_await a.write("question"));
  CO_TRY_VOID(co_await a.shutdown_write());
  CO_TRY(std::string q, co_await read_some(b, 100));
  EXPECT_EQ(q, "question");
  CO_TRY_VOID(co_await b.write_two("ans", "wer"));
  b.close();
  auto r = co_await read_some(a, 100);
  co_return r;
}

TEST(Stream, splice_keeps_half_closes) {
  EventLoop loop;
  auto [a, a2] = stream_pair(loop);
  auto [b, b2] = stream_pair(loop);
  TaskScope scope;
  scope.spawn(splice(loop, *a2, *b2));
  auto r = run_on(loop, through_proxy(*a, *b));
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(*r, "answer");
}

}  // namespace
}  // namespace caravel::net
