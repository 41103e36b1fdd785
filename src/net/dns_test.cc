#include "net/dns.h"

#include <gtest/gtest.h>

#include <random>

#include "net/udp.h"

namespace caravel::net::dns {
namespace {

Message sample() {
  Message m;
  m.id = 77;
  m.response = m.authoritative = m.recursion_desired = true;
  m.questions = {{"web.shop.svc.cluster.local.", kA}};
  Record a{.name = "web.shop.svc.cluster.local.", .type = kA, .ttl = 30, .data = "10.0.11.5"};
  Record aaaa{.name = "web.shop.svc.cluster.local.", .type = kAaaa, .ttl = 30, .data = "fd00::1"};
  Record srv{.name = "_http._tcp.web.shop.svc.cluster.local.", .type = kSrv, .ttl = 30, .data = "web.shop.svc.cluster.local.", .priority = 0, .weight = 100, .port = 80};
  Record txt{.name = "t.", .type = kTxt, .ttl = 1, .data = std::string(600, 'x')};
  Record soa{.name = "cluster.local.", .type = kSoa, .ttl = 5, .data = "ns.dns.cluster.local.", .mailbox = "hostmaster.cluster.local.", .serial = 1, .refresh = 2, .retry = 3, .expire = 4, .minimum = 5};
  Record cname{.name = "c.", .type = kCname, .ttl = 5, .data = "x\\.y.z."};
  m.answers = {a, aaaa, srv, txt, cname};
  m.authorities = {soa};
  m.edns = Message::Edns{1232, true, 0};
  return m;
}

TEST(Dns, messages_round_trip_and_names_are_compressed) {
  Message m = sample();
  auto wire = encode(m);
  ASSERT_TRUE(wire.ok()) << wire.error().message;
  auto back = decode(*wire);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_TRUE(*back == m);
  EXPECT_LT(wire->size(), 1000u);
}

TEST(Dns, reads_a_query_as_dig_sends_it) {
  std::string wire(
      "\x12\x34\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01\x07"
      "example\x03"
      "com\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00",
      40);
  auto m = decode(wire);
  ASSERT_TRUE(m.ok()) << m.error().message;
  EXPECT_EQ(m->questions[0].name, "example.com.");
  EXPECT_TRUE(m->recursion_desired);
  EXPECT_TRUE(m->edns && m->edns->dnssec_ok);
}

TEST(Dns, what_does_not_fit_is_left_out_and_said) {
  Message m = sample();
  for (int i = 0; i < 100; ++i) m.answers.insert(m.answers.begin(), m.answers[0]);
  auto wire = encode(m, 512);
  ASSERT_TRUE(wire.ok());
  EXPECT_LE(wire->size(), 512u);
  auto back = decode(*wire);
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(back->truncated);
  EXPECT_GT(back->answers.size(), 20u);
  EXPECT_TRUE(back->edns);
}

TEST(Dns, broken_messages_are_refused_and_never_crash) {
  std::string wire = *encode(sample());
  for (size_t n = 0; n < wire.size(); ++n) EXPECT_FALSE(decode(wire.substr(0, n)).ok());
  // A name that points at itself.
  std::string loop("\0\1\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 18);
  EXPECT_FALSE(decode(loop).ok());
  unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 rng(seed);
  for (int i = 0; i < 5'000; ++i) {
    std::string bad = wire;
    for (int j = 0; j < 3; ++j) bad[rng() % bad.size()] = static_cast<char>(rng());
    auto m = decode(bad);
    if (!m.ok()) continue;
    auto again = encode(*m);
    if (!again.ok()) continue;
    EXPECT_TRUE(decode(*again).ok());
  }
  EXPECT_FALSE(encode({.questions = {{std::string(64, 'a') + ".", kA}}}).ok());
}

TEST(Dns, reverse_names) {
  EXPECT_EQ(reverse_name("10.0.11.5"), "5.11.0.10.in-addr.arpa.");
  EXPECT_EQ(reverse_address("5.11.0.10.IN-ADDR.arpa."), "10.0.11.5");
  EXPECT_EQ(reverse_address(*reverse_name("fd00::12:3")), "fd00::12:3");
  EXPECT_EQ(reverse_address("x.in-addr.arpa."), std::nullopt);
}

Task<Result<std::string>> ping(UdpSocket& server, UdpSocket& client) {
  CO_TRY_VOID(client.send("question"));
  CO_TRY(Datagram d, co_await server.receive());
  EXPECT_EQ(d.data, "question");
  EXPECT_EQ(d.peer, client.address());
  CO_TRY_VOID(server.reply(d, "answer"));
  CO_TRY(Datagram back, co_await client.receive());
  co_return back.data;
}

TEST(Udp, answers_leave_from_the_address_that_was_asked) {
  EventLoop loop;
  auto server = udp_bind(loop, {"0.0.0.0:0"});
  ASSERT_TRUE(server.ok()) << server.error().message;
  std::string port = (*server)->address().substr((*server)->address().rfind(':'));
  auto client = udp_connect(loop, {"127.0.0.53" + port});
  ASSERT_TRUE(client.ok());
  auto r = run_on(loop, ping(**server, **client));
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(*r, "answer");
}

}  // namespace
}  // namespace caravel::net::dns
