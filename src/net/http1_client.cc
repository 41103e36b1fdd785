// One HTTP/1.1 connection of the client.
#include "base/strings.h"
#include "net/http_internal.h"

namespace caravel::net {

struct Http1Connection::State {
  EventLoop& loop;
  StreamPtr stream;
  std::unique_ptr<BufferedReader> reader;
  bool busy = false;    // an exchange's body is being read
  bool broken = false;  // must not be used again
  bool used = false;    // has carried an exchange
  explicit State(EventLoop& l, StreamPtr s) : loop(l), stream(std::move(s)), reader(std::make_unique<BufferedReader>(*stream, "")) {}
};

namespace {

constexpr size_t kResponseHeadMax = 256 * 1024;
constexpr size_t kSmallRequest = 64 * 1024;

// Keeps the connection's state alive and marks it free when the body has been read.
class ResponseBody final : public BodyReader {
 public:
  ResponseBody(std::shared_ptr<Http1Connection::State> state, BodyFraming framing, bool keep_alive)
      : state_(std::move(state)), body_(*state_->reader, framing), keep_alive_(keep_alive) {
    settle();
  }
  ~ResponseBody() override {
    if (body_.done()) return;
    state_->broken = true;  // given up in the middle: the rest would be taken for the next response
    state_->busy = false;
    if (state_->stream) state_->stream->close();
  }
  Task<Result<std::optional<std::string>>> read() override {
    auto piece = co_await body_.read();
    if (!piece.ok()) state_->broken = true;
    settle();
    co_return piece;
  }

 private:
  void settle() {
    if (!body_.done()) return;
    state_->busy = false;
    if (!keep_alive_) state_->broken = true;
  }
  std::shared_ptr<Http1Connection::State> state_;
  Http1Body body_;
  bool keep_alive_;
};

}  // namespace

Http1Connection::Http1Connection(EventLoop& loop, StreamPtr stream) : state_(std::make_shared<State>(loop, std::move(stream))) {}
Http1Connection::~Http1Connection() = default;

bool Http1Connection::reusable() const { return !state_->broken && state_->stream; }
bool Http1Connection::idle() const { return reusable() && !state_->busy; }
StreamPtr Http1Connection::take_stream(std::string& early) {
  early = state_->reader->take_buffer();
  state_->broken = true;
  return std::move(state_->stream);
}

Task<Result<StreamingResponse>> Http1Connection::exchange(ClientRequest& request, const std::string& target, const std::string& authority, bool& fresh_retry) {
  auto state = state_;
  fresh_retry = false;
  bool reused = state->used;
  // An exchange that is given up before its answer leaves a connection that nobody may use again.
  struct Unfinished {
    std::shared_ptr<State> state;
    ~Unfinished() {
      if (!state) return;
      state->broken = true;
      state->busy = false;
      if (state->stream) state->stream->close();
    }
  } unfinished{state};
  state->busy = state->used = true;
  std::string text = request.method + " " + target + " HTTP/1.1\r\nhost: " + authority + "\r\n";
  bool may_have_body = request.method != "GET" && request.method != "HEAD" && request.method != "DELETE";
  if (!request.body.empty() || may_have_body) text += "content-length: " + std::to_string(request.body.size()) + "\r\n";
  append_head(text, request.headers);
  bool one_write = request.body.size() <= kSmallRequest;
  if (one_write) text += request.body;
  auto sent = co_await state->stream->write(text);
  if (sent.ok() && !one_write) sent = co_await state->stream->write(request.body);
  if (!sent.ok()) {
    state->broken = true;
    state->busy = false;
    fresh_retry = reused;
    co_return std::move(sent).error();
  }
  while (true) {
    auto head_text = co_await state->reader->head(kResponseHeadMax);
    if (!head_text.ok() || !*head_text) {
      state->broken = true;
      state->busy = false;
      fresh_retry = reused && (head_text.ok() || head_text.error().code != Code::kTooLarge);
      if (!head_text.ok()) co_return std::move(head_text).error();
      co_return unavailable("the server closed the connection without an answer");
    }
    auto head = parse_http1_head(**head_text, true);
    if (!head.ok()) {
      state->broken = true;
      co_return std::move(head).error();
    }
    if (head->status == 100) continue;
    auto framing = head->status == 101 ? Result<BodyFraming>(BodyFraming{}) : response_framing(request.method, *head);
    if (!framing.ok()) {
      state->broken = true;
      co_return std::move(framing).error();
    }
    std::string connection = to_lower(head->headers.get("connection"));
    bool keep_alive = framing->kind != BodyKind::kUntilClose && connection.find("close") == connection.npos &&
                      (head->minor_version == 1 || connection.find("keep-alive") != connection.npos);
    StreamingResponse out;
    out.status = head->status;
    out.headers = std::move(head->headers);
    if (head->status != 101) out.body = std::make_unique<ResponseBody>(state, *framing, keep_alive);
    out.trailers = [] { return Headers(); };
    unfinished.state = nullptr;
    co_return out;
  }
}

}  // namespace caravel::net
