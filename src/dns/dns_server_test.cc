#include <gtest/gtest.h>

#include "dns/resolver.h"
#include "dns/server.h"
#include "dns/vpc_records.h"

namespace caravel::dns {
namespace {

namespace wire = net::dns;

struct Vpc {
  Vpc(net::EventLoop& loop, std::string table, std::vector<std::string> upstream)
      : records(*VpcRecords::parse(table, "us-east-1")),
        forwarder(loop, upstream),
        resolver(forwarder, metrics, [this](const wire::Question& q) { return std::optional(records.resolve(q)); }),
        server(loop, [this](wire::Message q, std::string p) { return resolver.resolve(std::move(q), std::move(p)); }) {
    Status s = server.listen("127.0.0.1:0");
    EXPECT_TRUE(s.ok()) << s.error().message;
  }
  VpcRecords records;
  Forwarder forwarder;
  MetricRegistry metrics;
  Resolver resolver;
  DnsServer server;
};

wire::Message ask(net::EventLoop& loop, Forwarder& f, std::string name, uint16_t type = wire::kA) {
  wire::Message q;
  q.questions = {{name, type}};
  return net::run_on(loop, f.ask(q));
}

TEST(DnsServer, forwards_follows_aliases_caches_and_uses_tcp_for_large_answers) {
  net::EventLoop loop;
  std::string many;
  for (int i = 0; i < 200; ++i) many += (i ? "," : "") + ("\"10.1.2." + std::to_string(i) + "\"");
  Vpc upstream(loop, "{\"many.example.\":[" + many + "],\"alias.example.\":[\"one.example.\"],\"one.example.\":[\"10.9.9.9\"]}", {});
  Vpc middle(loop, R"({"own.example.":["one.example."]})", {upstream.server.address()});
  Forwarder client(loop, {middle.server.address()});
  auto m = ask(loop, client, "many.example.");
  EXPECT_EQ(m.answers.size(), 200u);
  m = ask(loop, client, "alias.example.");
  ASSERT_EQ(m.answers.size(), 2u);
  EXPECT_EQ(m.answers[1].data, "10.9.9.9");
  m = ask(loop, client, "own.example.");
  ASSERT_EQ(m.answers.size(), 2u);
  EXPECT_EQ(m.answers[1].data, "10.9.9.9");
  EXPECT_EQ(client.cache_hits(), 0u);
  m = ask(loop, client, "own.example.");
  EXPECT_EQ(m.answers.size(), 2u);
  EXPECT_EQ(client.cache_hits(), 1u);
  EXPECT_EQ(ask(loop, client, "x.local.").rcode, wire::kNxDomain);
  EXPECT_EQ(ask(loop, client, "www.debian.org.").rcode, wire::kRefused);  // the last has no upstream
}

TEST(DnsServer, a_dead_upstream_is_a_server_failure_and_the_next_one_is_asked) {
  net::EventLoop loop;
  Vpc good(loop, R"({"one.example.":["10.9.9.9"]})", {});
  auto closed = net::udp_bind(loop, {"127.0.0.1:0"});
  std::string dead = (*closed)->address();
  closed->reset();
  Forwarder alone(loop, {dead});
  EXPECT_EQ(ask(loop, alone, "one.example.").rcode, wire::kServFail);
  Forwarder two(loop, {dead, good.server.address()});
  EXPECT_EQ(ask(loop, two, "one.example.").answers.size(), 1u);
}

TEST(Forwarder, reads_resolv_conf) {
  EXPECT_EQ(nameservers("# x\nnameserver 10.0.0.2\nsearch a b\nnameserver fd00::1\n"), (std::vector<std::string>{"10.0.0.2", "fd00::1"}));
}

}  // namespace
}  // namespace caravel::dns
