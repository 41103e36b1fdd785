#include "dns/resolver.h"

namespace caravel::dns {
namespace {

namespace wire = net::dns;
constexpr int kAliasesMax = 8;

const char* rcode_name(uint16_t rcode) {
  switch (rcode) {
    case wire::kNoError: return "NOERROR";
    case wire::kFormErr: return "FORMERR";
    case wire::kServFail: return "SERVFAIL";
    case wire::kNxDomain: return "NXDOMAIN";
    case wire::kNotImp: return "NOTIMP";
    case wire::kRefused: return "REFUSED";
    default: return "OTHER";
  }
}

void append(std::vector<wire::Record>& to, const std::vector<wire::Record>& from) { to.insert(to.end(), from.begin(), from.end()); }

}  // namespace

Resolver::Resolver(Forwarder& forwarder, MetricRegistry& metrics, Source source)
    : forwarder_(forwarder),
      source_(std::move(source)),
      requests_(metrics.counter("coredns_dns_requests_total", "DNS questions by protocol and type.", {"proto", "type"})),
      responses_(metrics.counter("coredns_dns_responses_total", "DNS answers by result.", {"rcode"})) {}

Task<wire::Message> Resolver::resolve(wire::Message query, std::string protocol) {
  requests_.inc({protocol, wire::type_name(query.questions[0].type)});
  wire::Message m = co_await find(std::move(query));
  responses_.inc({rcode_name(m.rcode)});
  co_return m;
}

Task<wire::Message> Resolver::find(wire::Message query) {
  wire::Message out = wire::answer_to(query);
  out.recursion_available = true;
  wire::Question q = query.questions[0];
  for (int hops = 0; hops < kAliasesMax; ++hops) {
    std::optional<Answer> a = source_(q);
    if (!a) {
      out.rcode = wire::kServFail;
      co_return out;
    }
    if (!a->mine) {
      wire::Message next = query;
      next.questions = {q};
      wire::Message up = co_await forwarder_.ask(std::move(next));
      if (hops == 0) {
        up.questions = query.questions;
        co_return up;
      }
      // Behind an alias of ours; without its target the alias alone is still an answer.
      append(out.answers, up.answers);
      if (up.rcode == wire::kNxDomain) out.rcode = wire::kNxDomain;
      co_return out;
    }
    out.authoritative = hops == 0;
    out.rcode = a->rcode;
    append(out.answers, a->answers);
    out.authorities = a->authorities;
    append(out.additionals, a->additionals);
    bool alias = q.type != wire::kCname && q.type != wire::kAny && a->answers.size() == 1 && a->answers[0].type == wire::kCname;
    if (!alias) co_return out;
    q.name = a->answers[0].data;
  }
  co_return out;
}

}  // namespace caravel::dns
