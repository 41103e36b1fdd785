#include "machines/imds.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/strings.h"
#include "net/x509.h"

namespace caravel::machines {
namespace {

constexpr int64_t kTokenSecondsMax = 21600;
constexpr size_t kTokensMax = 10'000;

}  // namespace

MetadataServer::MetadataServer(net::EventLoop& loop, SubstrateHost& host, std::string instance_id, MetadataOptions options)
    : loop_(loop), host_(host), instance_id_(std::move(instance_id)), options_(options), server_(loop, [this](net::ServerRequest& q, net::ResponseWriter& w) { return dispatch(this, q, w); }) {}

Task<void> MetadataServer::dispatch(MetadataServer* self, net::ServerRequest& request, net::ResponseWriter& writer) { co_await self->handle(request, writer); }

Status MetadataServer::serve(int fd) {
  listener_ = fd;
  set_options(options_);
  TRY(auto listener, net::listen_fd(loop_, fd));
  server_.serve(std::move(listener));
  return ok();
}

// The hop limit is the answers' time to live: packets to a pod behind the instance need one hop more.
// Accepted connections take it over from the listening socket.
void MetadataServer::set_options(MetadataOptions options) {
  options_ = options;
  int hops = std::clamp(options.hop_limit, 1, 64);
  if (listener_ >= 0) setsockopt(listener_, IPPROTO_IP, IP_TTL, &hops, sizeof hops);
}

Task<void> MetadataServer::handle(net::ServerRequest& request, net::ResponseWriter& writer) {
  int status = 200;
  std::string body;
  net::Headers headers{{"content-type", "text/plain"}, {"server", "EC2ws"}};
  Time now = loop_.now();
  std::erase_if(tokens_, [&](auto& t) { return t.second < now; });
  if (!options_.enabled) {
    status = 403;
  } else if (request.target.path == "/latest/api/token") {
    auto seconds = parse_int(request.headers.get("x-aws-ec2-metadata-token-ttl-seconds"));
    if (request.method != "PUT") status = 405;
    else if (!seconds || *seconds < 1 || *seconds > kTokenSecondsMax) status = 400;
    else if (!request.headers.get("x-forwarded-for").empty()) status = 403;  // a proxy: not from the instance
    else if (tokens_.size() >= kTokensMax) status = 503;
    else {
      body = base64url_encode(net::random_bytes(42));
      tokens_[body] = now + std::chrono::seconds(*seconds);
      headers.add("x-aws-ec2-metadata-token-ttl-seconds", std::to_string(*seconds));
    }
  } else if (request.method != "GET" && request.method != "HEAD") {
    status = 405;
  } else {
    std::string token = request.headers.get("x-aws-ec2-metadata-token");
    bool known = tokens_.count(token) > 0;
    if ((!token.empty() && !known) || (token.empty() && options_.tokens_required)) {
      status = 401;
    } else {
      auto content = host_.instance_metadata(instance_id_, request.target.path);
      if (content) body = std::move(*content);
      else status = 404;
    }
  }
  if (status != 200 && body.empty()) body = std::to_string(status) + " - " + std::string(net::status_text(status)) + "\n";
  auto sent = co_await writer.send(status, std::move(headers), std::move(body));
  (void)sent;
}

}  // namespace caravel::machines
