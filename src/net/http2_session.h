// Inside net: the nghttp2 session over a Stream that the HTTP/2 server and client share: one task reads,
// one writes; callbacks only change state and wake waiters.
#pragma once

#include <nghttp2/nghttp2.h>

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>

#include "net/http_internal.h"

namespace caravel::net {

// What one HTTP/2 stream has received and still has to send. Owned by the session; shared with readers.
struct Http2Stream {
  explicit Http2Stream(EventLoop& loop) : changed(loop), drained(loop) {}
  int32_t id = 0;
  // Receiving.
  Headers headers;  // pseudo headers under ":method" and so on
  Headers trailers;
  bool headers_done = false;
  std::deque<std::string> pieces;
  size_t unread_bytes = 0;
  bool remote_end = false;
  bool closed = false;  // reset or connection lost
  uint32_t error_code = 0;
  Event changed;  // pulsed on anything received or closed
  // Sending.
  std::deque<std::shared_ptr<const std::string>> out;  // pieces may be shared with other streams
  size_t out_sent = 0;                                 // of the first one
  size_t queued_bytes = 0;
  bool local_end = false;  // no more data will be queued
  bool deferred = false;
  std::vector<std::pair<std::string, std::string>> out_trailers;
  bool trailers_sent = false;
  Event drained;  // pulsed when queued data went out
};
using Http2StreamPtr = std::shared_ptr<Http2Stream>;

class Http2Session {
 public:
  Http2Session(EventLoop& loop, StreamPtr stream, bool server, uint32_t streams_max);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;

  // Called when the headers of a new request are complete (server).
  std::function<void(Http2StreamPtr)> on_request;
  // Called once nghttp2 has taken what was read, outside its callbacks: requests may be handled and answered here.
  std::function<void()> after_input;
  // Called when a stream has ended for both sides.
  std::function<void(int32_t)> on_closed;

  // Reads until the connection ends; starts the writer. `early` was read before.
  Task<void> run(std::string early);
  // Queues frames: submits what the caller did on session() and wakes the writer.
  void flush();
  nghttp2_session* session() { return session_; }
  EventLoop& loop() { return loop_; }
  Stream& stream() { return *stream_; }
  bool dead() const { return dead_; }
  bool going_away() const { return going_away_; }
  size_t open_streams() const { return streams_.size(); }
  uint32_t peer_streams_max() const;
  Http2StreamPtr find(int32_t id) const;
  void add(Http2StreamPtr s) { streams_[s->id] = std::move(s); }

  // Client: opens a stream. Server: answers one. Data follows through queue().
  Result<Http2StreamPtr> request(const std::vector<std::pair<std::string_view, std::string_view>>& headers, bool end);
  Status respond(Http2Stream& s, int status, const Headers& headers, bool end);
  // Queues data and waits while more than a bounded amount is unsent.
  Task<Status> queue(Http2StreamPtr s, std::string data);
  void queue_shared(Http2Stream& s, std::shared_ptr<const std::string> data);
  // The same for pieces of which few are queued at a time: others may hold them too.
  Task<Status> queue_pieces(Http2StreamPtr s, std::vector<std::shared_ptr<const std::string>> pieces);
  // False, and nothing queued, when that would have to wait.
  bool queue_now(Http2Stream& s, const std::shared_ptr<const std::string>& data);
  void end(Http2Stream& s, const Headers& trailers);
  void reset(Http2Stream& s, uint32_t code);
  // The next piece of the body; gives the bytes back to the peer's window.
  Task<Result<std::optional<std::string>>> read(Http2StreamPtr s);

 private:
  friend struct Http2Callbacks;
  Task<void> write_loop();
  Http2Stream* look(int32_t id) const;
  void append(Http2Stream& s, std::shared_ptr<const std::string> data);
  void die();
  EventLoop& loop_;
  StreamPtr stream_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, Http2StreamPtr> streams_;
  Event wants_write_;
  std::string batch_;              // frames that go out together
  bool batch_full_ = false;        // nghttp2 has more
  Http2Stream* header_ = nullptr;  // whose headers are being read
  // Frames that make work and carry nothing are counted; a peer that sends too many is sent away.
  void count_idle_frame();
  bool server_;
  bool dead_ = false, going_away_ = false;
  double idle_frames_ = 0;
  Time idle_frames_at_;
};

// The body of an HTTP/2 message.
class Http2Body final : public BodyReader {
 public:
  Http2Body(std::shared_ptr<Http2Session> session, Http2StreamPtr stream, bool reset_when_dropped)
      : session_(std::move(session)), stream_(std::move(stream)), reset_(reset_when_dropped) {}
  ~Http2Body() override;
  Task<Result<std::optional<std::string>>> read() override { return session_->read(stream_); }

 private:
  std::shared_ptr<Http2Session> session_;
  Http2StreamPtr stream_;
  bool reset_;
};

}  // namespace caravel::net
