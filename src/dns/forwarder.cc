#include "dns/forwarder.h"

#include <algorithm>

#include "base/strings.h"
#include "net/udp.h"

namespace caravel::dns {
namespace {

namespace wire = net::dns;
constexpr size_t kCacheMax = 10'000;
constexpr uint32_t kTtlMax = 30, kNegativeTtlMax = 30;  // seconds
constexpr Duration kTryTimeout = std::chrono::seconds(2);
constexpr int kTriesPerServer = 2;

std::string cache_key(const wire::Question& q, bool dnssec, bool checking_disabled) {
  return to_lower(q.name) + " " + std::to_string(q.type) + " " + std::to_string(q.klass) + (dnssec ? " do" : "") + (checking_disabled ? " cd" : "");
}

template <class F>
void each_record(wire::Message& m, F f) {
  for (auto* section : {&m.answers, &m.authorities, &m.additionals})
    for (auto& r : *section) f(r);
}

bool answers(const wire::Message& answer, const wire::Message& query) {
  return answer.response && answer.id == query.id && answer.questions.size() == 1 && wire::same_name(answer.questions[0].name, query.questions[0].name) &&
         answer.questions[0].type == query.questions[0].type;
}

}  // namespace

std::vector<std::string> nameservers(std::string_view resolv_conf) {
  std::vector<std::string> out;
  for (auto& line : split(resolv_conf, '\n')) {
    auto words = split_words(line);
    if (words.size() >= 2 && words[0] == "nameserver") out.push_back(words[1]);
  }
  return out;
}

Forwarder::Forwarder(net::EventLoop& loop, std::vector<std::string> upstreams) : loop_(loop) {
  for (auto& u : upstreams) {
    if (u.empty()) continue;
    bool v6 = std::count(u.begin(), u.end(), ':') > 1;
    if (v6 && u[0] != '[') u = "[" + u + "]";
    bool has_port = v6 ? u.back() != ']' : u.find(':') != u.npos;
    upstreams_.push_back(has_port ? u : u + ":53");
  }
}

void Forwarder::remember(const std::string& key, const wire::Message& answer) {
  if (answer.truncated || (answer.rcode != wire::kNoError && answer.rcode != wire::kNxDomain)) return;
  uint32_t ttl = kTtlMax;
  if (answer.answers.empty()) {
    ttl = 0;  // without a SOA a negative answer may not be kept
    for (auto& r : answer.authorities)
      if (r.type == wire::kSoa) ttl = std::min({kNegativeTtlMax, r.ttl, r.minimum});
  } else {
    for (auto* section : {&answer.answers, &answer.authorities})
      for (auto& r : *section) ttl = std::min(ttl, r.ttl);
  }
  if (ttl == 0) return;
  Time now = loop_.now();
  if (cache_.size() >= kCacheMax) std::erase_if(cache_, [now](auto& e) { return e.second.expires <= now; });
  if (cache_.size() >= kCacheMax) cache_.erase(cache_.begin());
  cache_[key] = {answer, now, now + std::chrono::seconds(ttl)};
}

Task<wire::Message> Forwarder::ask(wire::Message query) {
  wire::Message out = wire::answer_to(query);
  if (upstreams_.empty()) {
    out.rcode = wire::kRefused;
    co_return out;
  }
  const wire::Question& q = query.questions[0];
  std::string key = cache_key(q, query.edns && query.edns->dnssec_ok, query.checking_disabled);
  auto it = cache_.find(key);
  if (it != cache_.end() && loop_.now() < it->second.expires) {
    ++hits_;
    uint32_t age = static_cast<uint32_t>((loop_.now() - it->second.stored) / std::chrono::seconds(1));
    wire::Message hit = it->second.answer;
    each_record(hit, [age](wire::Record& r) { r.ttl = std::min(r.ttl, kTtlMax) - std::min(age, std::min(r.ttl, kTtlMax)); });
    hit.edns = out.edns;
    hit.authoritative = false;
    co_return hit;
  }
  wire::Message up;
  up.questions = {q};
  up.recursion_desired = true;
  up.checking_disabled = query.checking_disabled;
  up.edns = wire::Message::Edns{wire::kUdpEdnsMax, query.edns && query.edns->dnssec_ok, 0};
  for (int i = 0; i < kTriesPerServer; ++i) {
    for (auto& server : upstreams_) {
      auto in_time = co_await within(loop_, kTryTimeout, exchange(server, up));
      if (!in_time || !in_time->ok()) continue;
      auto& r = *in_time;
      if (r->rcode == wire::kServFail && upstreams_.size() > 1 && i == 0) continue;
      remember(key, *r);
      r->edns = out.edns;
      r->recursion_available = true;
      co_return std::move(*r);
    }
  }
  out.rcode = wire::kServFail;
  co_return out;
}

Task<Result<wire::Message>> Forwarder::exchange(std::string server, wire::Message query) {
  query.id = static_cast<uint16_t>(loop_.random_u64());
  net::Address to{server};
  CO_TRY(auto socket, net::udp_connect(loop_, to));
  CO_TRY(std::string request, wire::encode(query));
  CO_TRY_VOID(socket->send(request));
  for (;;) {
    CO_TRY(net::Datagram d, co_await socket->receive());
    auto m = wire::decode(d.data);
    if (!m.ok() || !answers(*m, query)) continue;  // a forgery, or an answer that came too late
    if (!m->truncated) co_return std::move(*m);
    auto whole = co_await exchange_tcp(server, query);
    if (whole.ok()) co_return whole;
    co_return std::move(*m);
  }
}

Task<Result<wire::Message>> Forwarder::exchange_tcp(std::string server, wire::Message query) {
  net::Address to{server};
  net::ConnectOptions options;
  options.timeout = kTryTimeout;
  CO_TRY(auto stream, co_await net::connect(loop_, to, options));
  CO_TRY(std::string request, wire::encode(query));
  std::string framed{static_cast<char>(request.size() >> 8), static_cast<char>(request.size())};
  framed += request;
  CO_TRY_VOID(co_await stream->write(framed));
  std::string in;
  char buffer[4096];
  for (;;) {
    auto n = co_await stream->read(buffer);
    if (!n.ok()) co_return std::move(n).error();
    if (*n == 0) co_return unavailable("DNS server " + server + " closed the connection");
    in.append(buffer, *n);
    size_t want = in.size() < 2 ? 65537 : static_cast<size_t>(static_cast<uint8_t>(in[0])) << 8 | static_cast<uint8_t>(in[1]);
    if (in.size() < 2 || in.size() < want + 2) continue;
    CO_TRY(auto m, wire::decode(std::string_view(in).substr(2, want)));
    if (!answers(m, query)) co_return unavailable("DNS server " + server + " answered another question");
    co_return m;
  }
}

}  // namespace caravel::dns
