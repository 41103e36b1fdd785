// Puts sources together: own records first, aliases followed, the rest forwarded. Counts what it does.
// Threading: one executor.
#pragma once

#include <functional>
#include <string>

#include "base/metrics.h"
#include "dns/answer.h"
#include "dns/forwarder.h"

namespace caravel::dns {

class Resolver {
 public:
  // nullopt: the records are not there yet; clients are told to try again.
  using Source = std::function<std::optional<Answer>(const net::dns::Question&)>;
  Resolver(Forwarder& forwarder, MetricRegistry& metrics, Source source);
  Task<net::dns::Message> resolve(net::dns::Message query, std::string protocol);

 private:
  Task<net::dns::Message> find(net::dns::Message query);
  Forwarder& forwarder_;
  Source source_;
  MetricFamily& requests_;
  MetricFamily& responses_;
};

}  // namespace caravel::dns
