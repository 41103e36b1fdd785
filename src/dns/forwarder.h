// Asks upstream servers and remembers what they said for at most 30 s (CoreDNS' "cache 30").
//
// Each question leaves from a socket of its own with a random id: answers cannot be guessed. Two tries a
// server; a truncated answer is asked again over TCP. Threading: the loop's.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/scope.h"
#include "net/dns.h"
#include "net/event_loop.h"

namespace caravel::dns {

class Forwarder {
 public:
  // Addresses with or without a port; none: every question is refused.
  Forwarder(net::EventLoop& loop, std::vector<std::string> upstreams);
  // The upstream's answer for the query's question, or SERVFAIL, or REFUSED without upstreams.
  Task<net::dns::Message> ask(net::dns::Message query);
  uint64_t cache_hits() const { return hits_; }

 private:
  struct Cached {
    net::dns::Message answer;
    Time stored, expires;
  };
  Task<Result<net::dns::Message>> exchange(std::string server, net::dns::Message query);
  Task<Result<net::dns::Message>> exchange_tcp(std::string server, net::dns::Message query);
  void remember(const std::string& key, const net::dns::Message& answer);
  net::EventLoop& loop_;
  std::vector<std::string> upstreams_;
  std::map<std::string, Cached> cache_;
  uint64_t hits_ = 0;
};

// The "nameserver" lines of a resolv.conf.
std::vector<std::string> nameservers(std::string_view resolv_conf);

}  // namespace caravel::dns
