#include "node/metadata.h"

#include "node/address_pool.h"

namespace caravel::node {
namespace {

constexpr Duration kTimeout = std::chrono::seconds(2);

net::HttpClientOptions plain() {
  net::HttpClientOptions o;
  o.http2 = false;
  return o;
}

}  // namespace

InstanceMetadata::InstanceMetadata(net::EventLoop& loop, std::string endpoint) : loop_(&loop), endpoint_(std::move(endpoint)), http_(loop, plain()) {}

Task<Result<std::string>> InstanceMetadata::fetch(std::string path) {
  if (token_.empty()) {
    net::ClientRequest q;
    q.method = "PUT";
    q.url = endpoint_ + "/latest/api/token";
    q.headers.set("x-aws-ec2-metadata-token-ttl-seconds", "21600");
    q.timeout = kTimeout;
    auto r = co_await http_.send(std::move(q));
    if (!r.ok()) co_return wrap(std::move(r).error(), "asking the instance metadata service for a token");
    if (r->status != 200) co_return unavailable("the instance metadata service answered " + std::to_string(r->status) + " to a token request");
    token_ = r->body;
  }
  net::ClientRequest q;
  q.url = endpoint_ + path;
  q.headers.set("x-aws-ec2-metadata-token", token_);
  q.timeout = kTimeout;
  auto r = co_await http_.send(std::move(q));
  if (!r.ok()) co_return wrap(std::move(r).error(), "reading instance metadata " + path);
  if (r->status == 404) co_return not_found("the instance metadata has no " + path);
  if (r->status != 200) co_return unavailable("the instance metadata service answered " + std::to_string(r->status) + " for " + path);
  co_return std::move(r->body);
}

Task<Result<std::string>> InstanceMetadata::get(std::string item) { return fetch("/latest/meta-data/" + item); }
Task<Result<std::string>> InstanceMetadata::user_data() { return fetch("/latest/user-data"); }

Task<Result<std::pair<std::string, std::string>>> InstanceMetadata::resolver() {
  CO_TRY(std::string mac, co_await get("mac"));
  CO_TRY(std::string cidr, co_await get("network/interfaces/macs/" + mac + "/vpc-ipv4-cidr-block"));
  CO_TRY(std::string name, co_await get("local-hostname"));
  CO_TRY(std::vector<std::string> first, addresses_of(cidr, false, 3));
  if (first.size() < 3) co_return invalid("the VPC's range " + cidr + " has no room for a resolver");
  co_return std::make_pair(first[2], name.substr(name.find('.') + 1));
}

Task<Result<InstanceFacts>> InstanceMetadata::facts() {
  InstanceFacts f;
  CO_TRY(f.id, co_await get("instance-id"));
  CO_TRY(f.type, co_await get("instance-type"));
  CO_TRY(f.zone, co_await get("placement/availability-zone"));
  CO_TRY(f.private_ip, co_await get("local-ipv4"));
  CO_TRY(f.private_dns_name, co_await get("local-hostname"));
  auto region = co_await get("placement/region");
  f.region = region.ok() ? *region : f.zone.substr(0, f.zone.empty() ? 0 : f.zone.size() - 1);
  co_return f;
}

}  // namespace caravel::node
