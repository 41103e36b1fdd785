// The HTTPS transport: HTTP/2 to the API server, calls multiplexed on few connections, watches as
// newline-delimited JSON streams. A token file is read again when it is older than a minute.
#include "base/strings.h"
#include "kube/kubeconfig.h"
#include "net/process.h"

namespace caravel::kube {
namespace {

constexpr Duration kTokenMaxAge = std::chrono::seconds(60);
constexpr Duration kCallTimeout = std::chrono::seconds(60);
constexpr size_t kBodyBytesMax = 512u << 20;
constexpr size_t kEventBytesMax = 64u << 20;

class HttpWatch final : public WatchStream {
 public:
  HttpWatch(net::StreamingResponse response) : response_(std::move(response)) {}

  Task<Result<std::optional<WatchEvent>>> next() override {
    while (true) {
      size_t end = buffer_.find('\n', searched_);
      if (end != buffer_.npos) {
        auto event = parse(std::string_view(buffer_).substr(0, end));
        buffer_.erase(0, end + 1);
        searched_ = 0;
        if (!event.ok()) co_return std::move(event).error();
        std::optional<WatchEvent> out(std::move(*event));
        co_return out;
      }
      searched_ = buffer_.size();
      if (buffer_.size() > kEventBytesMax) co_return internal("a watch event is larger than 64 MiB");
      auto piece = co_await response_.body->read();
      if (!piece.ok()) co_return std::move(piece).error();
      if (!*piece) co_return std::optional<WatchEvent>();
      buffer_ += **piece;
    }
  }

 private:
  static Result<WatchEvent> parse(std::string_view line) {
    TRY(auto v, json::parse(line));
    const std::string& type = std::as_const(v)["type"].as_string();
    WatchEvent e;
    if (type == "ADDED") e.type = WatchEventType::kAdded;
    else if (type == "MODIFIED") e.type = WatchEventType::kModified;
    else if (type == "DELETED") e.type = WatchEventType::kDeleted;
    else if (type == "BOOKMARK") e.type = WatchEventType::kBookmark;
    else return error_from_status(static_cast<int>(v.path({"object", "code"}).as_int(500)), std::as_const(v)["object"]);
    e.object = std::move(v["object"]);
    return e;
  }
  net::StreamingResponse response_;
  std::string buffer_;
  size_t searched_ = 0;
};

class HttpTransport final : public Transport {
 public:
  HttpTransport(net::EventLoop& loop, ClientConfig config, net::HttpClientOptions options) : loop_(loop), config_(std::move(config)), http_(loop, std::move(options)) {}

  Task<Result<ApiResponse>> call(ApiRequest request) override {
    net::ClientRequest q = to_http(request);
    q.timeout = kCallTimeout;
    auto r = co_await http_.send(std::move(q), kBodyBytesMax);
    if (!r.ok()) co_return std::move(r).error();
    ApiResponse out;
    out.status = r->status;
    auto parsed = json::parse(r->body);
    if (parsed.ok()) out.object = std::move(*parsed);
    else if (r->status < 400) out.object = json::Value(std::move(r->body));  // plain text such as /healthz
    co_return out;
  }

  Task<Result<std::unique_ptr<WatchStream>>> watch(ApiRequest request) override {
    net::ClientRequest q = to_http(request);
    auto r = co_await http_.stream(std::move(q));
    if (!r.ok()) co_return std::move(r).error();
    if (r->status != 200) {
      auto body = co_await r->body->read_all(1 << 20);
      json::Value status;
      if (body.ok()) {
        auto parsed = json::parse(*body);
        if (parsed.ok()) status = std::move(*parsed);
      }
      co_return error_from_status(r->status, status);
    }
    std::unique_ptr<WatchStream> out = std::make_unique<HttpWatch>(std::move(*r));
    co_return out;
  }

 private:
  net::ClientRequest to_http(ApiRequest& request) {
    net::ClientRequest q;
    q.method = std::string(http_method(request));
    q.url = config_.server + request_target(request);
    q.headers.add("accept", "application/json");
    q.headers.add("user-agent", config_.user_agent);
    if (!request.content_type.empty()) q.headers.add("content-type", request.content_type);
    if (std::string token = current_token(); !token.empty()) q.headers.add("authorization", "Bearer " + token);
    q.body = std::move(request.body);
    return q;
  }

  std::string current_token() {
    if (config_.token_file.empty()) return config_.token;
    Time now = loop_.now();
    if (token_.empty() || now - token_read_ > kTokenMaxAge) {
      auto text = net::read_file(config_.token_file);
      if (text.ok()) {
        token_ = std::string(trim(*text));
        token_read_ = now;
      }
    }
    return token_;
  }

  net::EventLoop& loop_;
  ClientConfig config_;
  net::HttpClient http_;
  std::string token_;
  Time token_read_;
};

}  // namespace

Result<std::unique_ptr<Transport>> make_http_transport(net::EventLoop& loop, ClientConfig config) {
  net::TlsClientOptions tls;
  tls.ca = config.ca;
  tls.insecure = config.insecure;
  tls.certificate = config.client_certificate;
  tls.key = config.client_key;
  net::HttpClientOptions options;
  TRY(options.tls, net::make_tls_client(tls));
  std::unique_ptr<Transport> out = std::make_unique<HttpTransport>(loop, std::move(config), std::move(options));
  return out;
}

}  // namespace caravel::kube
