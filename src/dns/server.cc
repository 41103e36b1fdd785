#include "dns/server.h"

#include <cstring>

#include "base/log.h"

namespace caravel::dns {
namespace {

namespace wire = net::dns;
const Log log("dns");
constexpr size_t kQuestionsMax = 10'000, kConnectionsMax = 1'000;
constexpr Duration kTcpIdle = std::chrono::seconds(10);

// What can be said without asking any source; nullopt: ask.
std::optional<wire::Message> answer_at_once(const wire::Message& query) {
  wire::Message m = wire::answer_to(query);
  if (query.opcode != 0) m.rcode = wire::kNotImp;
  else if (query.questions.size() != 1) m.rcode = wire::kFormErr;
  else if (query.edns && query.edns->version != 0) m.rcode = 16;  // BADVERS
  else return std::nullopt;
  return m;
}

// The least that answers a message which does not parse: its id and "format error".
std::string format_error(std::string_view request) {
  std::string out(12, '\0');
  memcpy(out.data(), request.data(), 2);
  out[2] = static_cast<char>(0x80);
  out[3] = wire::kFormErr;
  return out;
}

bool is_query(std::string_view request) { return request.size() >= 12 && !(request[2] & 0x80); }

std::string write_answer(const wire::Message& m, size_t limit) {
  auto out = wire::encode(m, limit);
  if (out.ok()) return std::move(*out);
  log.error("an answer cannot be written", {{"error", out.error().message}});
  wire::Message failed = m;
  failed.rcode = wire::kServFail;
  failed.answers.clear();
  failed.authorities.clear();
  failed.additionals.clear();
  auto plain = wire::encode(failed, limit);
  return plain.ok() ? std::move(*plain) : std::string();
}

}  // namespace

struct DnsServer::Impl {
  Impl(net::EventLoop& l, Resolve r) : loop(l), resolve(std::move(r)) {}
  net::EventLoop& loop;
  Resolve resolve;
  std::unique_ptr<net::UdpSocket> udp;
  std::unique_ptr<net::Listener> tcp;
  size_t open = 0, connections = 0;
  TaskScope scope;

  Task<wire::Message> ask(wire::Message query, std::string protocol) {
    auto early = answer_at_once(query);
    if (early) co_return std::move(*early);
    wire::Message m = co_await resolve(query, std::move(protocol));
    m.id = query.id;
    m.response = true;
    m.questions = query.questions;
    co_return m;
  }
  Task<void> answer_datagram(net::Datagram d, wire::Message query) {
    ++open;
    size_t limit = wire::kUdpPlainMax;
    if (query.edns) limit = std::clamp<size_t>(query.edns->udp_size, wire::kUdpPlainMax, wire::kUdpEdnsMax);
    wire::Message m = co_await ask(std::move(query), "udp");
    Status s = udp->reply(d, write_answer(m, limit));
    (void)s;  // a client that is gone
    --open;
  }
  Task<void> serve_udp() {
    for (;;) {
      auto d = co_await udp->receive();
      if (!d.ok()) {
        if (d.error().code == Code::kCancelled) co_return;
        continue;  // an ICMP error for an earlier answer
      }
      if (!is_query(d->data) || open >= kQuestionsMax) continue;
      auto query = wire::decode(d->data);
      if (!query.ok()) {
        Status s = udp->reply(*d, format_error(d->data));
        (void)s;
        continue;
      }
      scope.spawn(answer_datagram(std::move(*d), std::move(*query)));
    }
  }
  static Task<bool> read_exactly(net::Stream& s, std::string& out, size_t n) {
    out.resize(n);
    size_t got = 0;
    while (got < n) {
      auto r = co_await s.read(std::span(out.data() + got, n - got));
      if (!r.ok() || *r == 0) co_return false;
      got += *r;
    }
    co_return true;
  }
  static Task<bool> read_request(net::Stream& s, std::string& out) {
    bool good = co_await read_exactly(s, out, 2);
    if (!good) co_return false;
    size_t n = static_cast<size_t>(static_cast<uint8_t>(out[0])) << 8 | static_cast<uint8_t>(out[1]);
    good = co_await read_exactly(s, out, n);
    co_return good;
  }
  Task<void> serve_connection(net::StreamPtr stream) {
    ++connections;
    for (;;) {
      std::string request;
      auto read = co_await within(loop, kTcpIdle, read_request(*stream, request));
      bool good = read && *read;
      if (!good || !is_query(request)) break;
      std::string out;
      auto query = wire::decode(request);
      if (query.ok()) {
        wire::Message m = co_await ask(std::move(*query), "tcp");
        out = write_answer(m, 65535);
      } else {
        out = format_error(request);
      }
      char prefix[2] = {static_cast<char>(out.size() >> 8), static_cast<char>(out.size())};
      Status s = co_await stream->write_two(std::string_view(prefix, 2), out);
      if (!s.ok()) break;
    }
    --connections;
  }
  Task<void> serve_tcp() {
    for (;;) {
      auto c = co_await tcp->accept();
      if (!c.ok()) {
        if (c.error().code == Code::kCancelled) co_return;
        co_await sleep(loop, std::chrono::milliseconds(100));
        continue;
      }
      if (connections < kConnectionsMax) scope.spawn(serve_connection(std::move(*c)));
    }
  }
};

DnsServer::DnsServer(net::EventLoop& loop, Resolve resolve) : impl_(std::make_unique<Impl>(loop, std::move(resolve))) {}
DnsServer::~DnsServer() { impl_->scope.cancel_all(); }

Status DnsServer::listen(const std::string& address) {
  TRY(impl_->tcp, net::listen(impl_->loop, net::Address{address}));
  TRY(impl_->udp, net::udp_bind(impl_->loop, net::Address{impl_->tcp->address()}));
  impl_->scope.spawn(impl_->serve_udp());
  impl_->scope.spawn(impl_->serve_tcp());
  return ok();
}

std::string DnsServer::address() const { return impl_->tcp ? impl_->tcp->address() : ""; }

}  // namespace caravel::dns
