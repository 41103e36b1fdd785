#include "dns/answer.h"

#include "base/strings.h"

namespace caravel::dns {

bool in_zone(std::string_view name, std::string_view zone) {
  if (zone == ".") return true;
  if (name.size() < zone.size()) return false;
  if (!net::dns::same_name(name.substr(name.size() - zone.size()), zone)) return false;
  return name.size() == zone.size() || name[name.size() - zone.size() - 1] == '.';
}

net::dns::Record zone_soa(std::string_view zone, uint32_t ttl) {
  net::dns::Record r;
  r.name = zone;
  r.type = net::dns::kSoa;
  r.ttl = ttl;
  r.data = "ns.dns." + std::string(zone);
  r.mailbox = "hostmaster." + std::string(zone);
  r.serial = 1;
  r.refresh = 7200;
  r.retry = 1800;
  r.expire = 86400;
  r.minimum = ttl;
  return r;
}

Answer negative(std::string_view zone, uint32_t ttl, bool name_exists) {
  Answer a;
  a.rcode = name_exists ? net::dns::kNoError : net::dns::kNxDomain;
  a.authorities.push_back(zone_soa(zone, ttl));
  return a;
}

}  // namespace caravel::dns
