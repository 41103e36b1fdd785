// The HTTPS transport: HTTP/2 to the API server, calls multiplexed on few connections, watches as
// newline-delimited JSON streams. A token file is read again when it is older than a minute.
#include "base/scope.h"
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
  HttpWatch(std::shared_ptr<net::HttpClient> http, net::StreamingResponse response) : http_(std::move(http)), response_(std::move(response)) {}

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
    e.object = Document(std::move(v["object"]));
    return e;
  }
  std::shared_ptr<net::HttpClient> http_;  // outlives the response
  net::StreamingResponse response_;
  std::string buffer_;
  size_t searched_ = 0;
};

Result<net::HttpClientOptions> http_options(const ClientConfig& config) {
  net::TlsClientOptions tls;
  tls.ca = config.ca;
  tls.insecure = config.insecure;
  tls.certificate = config.client_certificate;
  tls.key = config.client_key;
  net::HttpClientOptions options;
  TRY(options.tls, net::make_tls_client(tls));
  return options;
}

class HttpTransport final : public Transport {
 public:
  HttpTransport(net::EventLoop& loop, ClientConfig config, net::HttpClientOptions options)
      : loop_(loop), config_(std::move(config)), http_(std::make_shared<net::HttpClient>(loop, std::move(options))), ran_(loop) {}

  Task<Result<ApiResponse>> call(ApiRequest request) override {
    CO_TRY_VOID(co_await authenticate());
    std::shared_ptr<net::HttpClient> http = http_;
    net::ClientRequest q = to_http(request);
    q.timeout = kCallTimeout;
    auto r = co_await http->send(std::move(q), kBodyBytesMax);
    if (!r.ok()) co_return std::move(r).error();
    if (r->status == 401 && config_.exec) credential_.reset();  // the next call runs the command again, as client-go does
    ApiResponse out;
    out.status = r->status;
    auto parsed = json::parse(r->body);
    if (parsed.ok()) out.object = Document(std::move(*parsed));
    else if (r->status < 400) out.object = Document(json::Value(std::move(r->body)));  // plain text such as /healthz
    co_return out;
  }

  Task<Result<std::unique_ptr<WatchStream>>> watch(ApiRequest request) override {
    CO_TRY_VOID(co_await authenticate());
    std::shared_ptr<net::HttpClient> http = http_;
    net::ClientRequest q = to_http(request);
    auto r = co_await http->stream(std::move(q));
    if (!r.ok()) co_return std::move(r).error();
    if (r->status == 401 && config_.exec) credential_.reset();
    if (r->status != 200) {
      auto body = co_await r->body->read_all(1 << 20);
      json::Value status;
      if (body.ok()) {
        auto parsed = json::parse(*body);
        if (parsed.ok()) status = std::move(*parsed);
      }
      co_return error_from_status(r->status, status);
    }
    std::unique_ptr<WatchStream> out = std::make_unique<HttpWatch>(std::move(http), std::move(*r));
    co_return out;
  }

 private:
  // Credentials from the kubeconfig's command, if it has one: run when there are none or they have ended, once for all who wait.
  Task<Status> authenticate() {
    while (running_) co_await ran_.wait();
    if (!config_.exec || (credential_ && (!credential_->expires || loop_.now() < *credential_->expires))) co_return ok();
    running_ = true;
    ExecPlugin plugin = *config_.exec;
    auto got = co_await run_exec_plugin(loop_, std::move(plugin));
    running_ = false;
    ran_.pulse();
    if (!got.ok()) co_return std::move(got).error();
    if (got->client_certificate != certificate_) {
      ClientConfig with = config_;
      with.client_certificate = certificate_ = got->client_certificate;
      with.client_key = got->client_key;
      auto options = http_options(with);
      if (!options.ok()) co_return std::move(options).error();
      http_ = std::make_shared<net::HttpClient>(loop_, std::move(*options));
    }
    credential_ = std::move(*got);
    co_return ok();
  }

  net::ClientRequest to_http(ApiRequest& request) {
    net::ClientRequest q;
    q.method = std::string(http_method(request));
    q.url = config_.server + request_target(request);
    q.headers.add("accept", "application/json");
    q.headers.add("user-agent", config_.user_agent);
    if (!request.content_type.empty()) q.headers.add("content-type", request.content_type);
    if (std::string token = current_token(); !token.empty()) q.headers.add("authorization", "Bearer " + token);
    q.body = std::move(request.text());
    return q;
  }

  std::string current_token() {
    if (credential_) return credential_->token;
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
  std::shared_ptr<net::HttpClient> http_;  // replaced when the client certificate changes
  std::optional<ExecCredential> credential_;
  std::string certificate_;  // of http_, if it came from the command
  bool running_ = false;     // the command
  Event ran_;                // it has ended
  std::string token_;
  Time token_read_;
};

}  // namespace

Result<std::unique_ptr<Transport>> make_http_transport(net::EventLoop& loop, ClientConfig config) {
  TRY(auto options, http_options(config));
  std::unique_ptr<Transport> out = std::make_unique<HttpTransport>(loop, std::move(config), std::move(options));
  return out;
}

}  // namespace caravel::kube
