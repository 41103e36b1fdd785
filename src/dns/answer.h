// What a source of records says to one question. Threading: plain data.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/dns.h"

namespace caravel::dns {

struct Answer {
  // False: the name is not of this source's zones; another source may know it.
  bool mine = true;
  uint16_t rcode = net::dns::kNoError;
  std::vector<net::dns::Record> answers, authorities, additionals;
};

inline Answer not_mine() {
  Answer a;
  a.mine = false;
  return a;
}

// "a.b.c." is in "b.c." and in itself; case does not count.
bool in_zone(std::string_view name, std::string_view zone);
// The SOA of a zone that is made up on the fly: its serial is fixed, nobody transfers it.
net::dns::Record zone_soa(std::string_view zone, uint32_t ttl);
// NXDOMAIN (or no data, when the name exists with other types) as resolvers want to cache it.
Answer negative(std::string_view zone, uint32_t ttl, bool name_exists);

}  // namespace caravel::dns
