// Carries DNS messages over UDP and TCP to one function. Threading: the loop's.
//
// Truncated UDP answers send clients to TCP. At most kQuestionsMax questions are being answered at a time;
// more are refused by silence (UDP) or wait (TCP).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/dns.h"
#include "net/udp.h"

namespace caravel::dns {

// `protocol` is "udp" or "tcp". The answer's id, question and size limits are the server's business.
using Resolve = std::function<Task<net::dns::Message>(net::dns::Message query, std::string protocol)>;

class DnsServer {
 public:
  DnsServer(net::EventLoop& loop, Resolve resolve);
  ~DnsServer();
  // "10.0.0.2:53": both protocols on it. Port 0: any, the same for both.
  Status listen(const std::string& address);
  std::string address() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravel::dns
