// A gRPC client over the HTTP/2 client: length-prefixed messages, status in the trailers.
#include "net/grpc.h"

#include "base/scope.h"
#include "base/strings.h"

namespace caravel::net {
namespace {

constexpr size_t kMessageBytesMax = 64 << 20;

std::string frame(std::string_view message) {
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(message.size() >> shift & 0xff);
  out += message;
  return out;
}

Code code_of(int64_t grpc_status) {
  switch (grpc_status) {
    case 1: return Code::kCancelled;
    case 3:
    case 11: return Code::kInvalid;
    case 4: return Code::kTimeout;
    case 5: return Code::kNotFound;
    case 6: return Code::kAlreadyExists;
    case 7: return Code::kForbidden;
    case 8: return Code::kTooMany;
    case 9:
    case 10: return Code::kConflict;
    case 12: return Code::kUnsupported;
    case 14: return Code::kUnavailable;
    case 16: return Code::kUnauthorized;
    default: return Code::kInternal;
  }
}

// The outcome that headers or trailers carry.
Status status_of(const Headers& headers, const std::string& method) {
  auto* text = headers.find("grpc-status");
  if (!text) return internal(method + ": the server ended the call without a grpc-status");
  auto code = parse_int(*text);
  if (code && *code == 0) return ok();
  std::string message = percent_decode(headers.get("grpc-message"));
  return Error{code_of(code.value_or(2)), method + ": " + (message.empty() ? "grpc-status " + *text : message), *text};
}

// What a call's background task leaves for its stream.
struct Arrival {
  explicit Arrival(EventLoop& loop) : done(loop) {}
  Event done;
  std::optional<Result<StreamingResponse>> response;
};
Task<void> await_response(HttpClient* http, ClientRequest request, std::shared_ptr<Arrival> arrival) {
  std::shared_ptr<StreamedBody> body = request.streamed_body;
  Result<StreamingResponse> r = co_await http->stream(std::move(request));
  arrival->response.emplace(std::move(r));
  arrival->done.set();
  if (body) body->opened.set();  // whoever waits to write learns of the failure
}

// A bidirectional call is usable before the server has answered: some servers (etcd's Watch) send even
// their headers only after the first message.
class CallStream final : public GrpcStream {
 public:
  CallStream(std::string method, std::shared_ptr<Arrival> arrival, std::shared_ptr<StreamedBody> out) : method_(std::move(method)), arrival_(std::move(arrival)), out_(std::move(out)) {}

  TaskScope& scope() { return scope_; }
  Task<Status> write(std::string message) override {
    if (arrival_->response && !arrival_->response->ok()) co_return arrival_->response->error();
    std::string framed = frame(message);
    co_return co_await out_->write(std::move(framed));
  }
  Task<Status> writes_done() override {
    if (!arrival_->response || arrival_->response->ok()) out_->finish();
    co_return ok();
  }
  Task<Result<std::optional<std::string>>> read() override {
    if (!arrival_->response) co_await arrival_->done.wait();
    if (!arrival_->response->ok()) co_return arrival_->response->error();
    StreamingResponse& response = **arrival_->response;
    if (response.status != 200) co_return unavailable(method_ + ": HTTP status " + std::to_string(response.status));
    if (response.headers.find("grpc-status")) {  // trailers only
      CO_TRY_VOID(status_of(response.headers, method_));
      co_return std::optional<std::string>();
    }
    while (true) {
      if (buffer_.size() >= 5) {
        size_t n = 0;
        for (int i = 1; i < 5; ++i) n = n << 8 | static_cast<unsigned char>(buffer_[static_cast<size_t>(i)]);
        if (n > kMessageBytesMax) co_return make_error(Code::kTooLarge, method_ + ": a message is too large");
        if (buffer_[0] != 0) co_return make_error(Code::kUnsupported, method_ + ": compressed messages are not understood");
        if (buffer_.size() >= 5 + n) {
          std::optional<std::string> message(buffer_.substr(5, n));
          buffer_.erase(0, 5 + n);
          co_return message;
        }
      }
      auto piece = co_await response.body->read();
      if (!piece.ok()) co_return std::move(piece).error();
      if (!*piece) {
        Headers trailers = response.trailers();
        CO_TRY_VOID(status_of(trailers, method_));
        co_return std::optional<std::string>();
      }
      buffer_ += **piece;
    }
  }

 private:
  std::string method_;
  std::shared_ptr<Arrival> arrival_;
  std::shared_ptr<StreamedBody> out_;
  std::string buffer_;
  TaskScope scope_;  // the call, until it is answered
};

class Client final : public GrpcClient {
 public:
  Client(EventLoop& loop, std::string target, std::shared_ptr<TlsClientContext> tls) : loop_(loop), http_(loop, options(target, std::move(tls))) {
    base_ = target.starts_with("unix:") ? "http+unix:" + target.substr(5) + ":" : target;
  }

  Task<Result<std::string>> call(std::string method, std::string message, Duration timeout) override {
    auto work = unary(method, std::move(message));
    auto r = co_await within(loop_, timeout, std::move(work));
    if (!r) co_return make_error(Code::kTimeout, method + ": no answer within " + format_duration(timeout));
    co_return std::move(*r);
  }

  Task<Result<std::unique_ptr<GrpcStream>>> open(std::string method) override {
    auto body = std::make_shared<StreamedBody>(loop_);
    ClientRequest request = make_request(method);
    request.streamed_body = body;
    request.timeout = Duration(0);
    auto arrival = std::make_shared<Arrival>(loop_);
    auto stream = std::make_unique<CallStream>(method, arrival, body);
    stream->scope().spawn(await_response(&http_, std::move(request), arrival));
    if (!body->opened.is_set()) co_await body->opened.wait();
    if (arrival->response && !arrival->response->ok()) co_return arrival->response->error();
    std::unique_ptr<GrpcStream> out = std::move(stream);
    co_return out;
  }

 private:
  static HttpClientOptions options(const std::string& target, std::shared_ptr<TlsClientContext> tls) {
    HttpClientOptions o;
    o.http2_prior_knowledge = !target.starts_with("https:");
    o.tls = std::move(tls);
    return o;
  }
  ClientRequest make_request(const std::string& method) {
    ClientRequest request;
    request.method = "POST";
    request.url = base_ + method;
    request.headers = Headers{{"content-type", "application/grpc"}, {"te", "trailers"}, {"user-agent", "grpc-caravel/1.0"}};
    return request;
  }
  Task<Result<std::string>> unary(std::string method, std::string message) {
    ClientRequest request = make_request(method);
    request.body = frame(message);
    request.timeout = Duration(0);
    auto response = co_await http_.stream(std::move(request));
    if (!response.ok()) co_return std::move(response).error();
    if (response->status != 200) co_return unavailable(method + ": HTTP status " + std::to_string(response->status));
    auto arrival = std::make_shared<Arrival>(loop_);
    arrival->response.emplace(std::move(*response));
    CallStream stream(method, arrival, nullptr);
    auto first = co_await stream.read();
    if (!first.ok()) co_return std::move(first).error();
    if (!*first) co_return internal(method + ": the server sent no message");
    std::string answer = std::move(**first);
    auto end = co_await stream.read();  // the status
    if (!end.ok()) co_return std::move(end).error();
    co_return answer;
  }

  EventLoop& loop_;
  HttpClient http_;
  std::string base_;
};

}  // namespace

std::unique_ptr<GrpcClient> make_grpc_client(EventLoop& loop, std::string target, std::shared_ptr<TlsClientContext> tls) {
  return std::make_unique<Client>(loop, std::move(target), std::move(tls));
}

}  // namespace caravel::net
