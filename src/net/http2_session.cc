#include "net/http2_session.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace caravel::net {
namespace {

constexpr size_t kReadBytes = 16 * 1024;        // a TLS record
constexpr size_t kQueuedBytesMax = 128 * 1024;  // per stream: a writer waits beyond this
constexpr size_t kQueuedPiecesMax = 64 * 1024;  // the same for pieces
constexpr size_t kQueuedNowMax = 32 * 1024;     // the same for pieces that do not wait; a larger one goes alone
constexpr size_t kQueuedLow = 32 * 1024;        // a writer that waits is woken at this
constexpr size_t kWriteBatchBytes = 64 * 1024;  // frames put into one write
constexpr size_t kFrameRoom = 17 * 1024;
constexpr size_t kSpareBatches = 4;
constexpr int32_t kStreamWindow = 1 << 20;
constexpr int32_t kConnectionWindow = 16 << 20;
constexpr size_t kHeaderBytesMax = 64 * 1024;
// Resets, settings, pings, priorities and empty data that a client may send at once, and then steadily.
constexpr double kIdleFramesBurst = 1000;
constexpr double kIdleFramesPerSecond = 50;

template <class Pairs>
std::vector<nghttp2_nv> name_values(const Pairs& headers) {
  std::vector<nghttp2_nv> out;
  out.reserve(headers.size());
  for (auto& [k, v] : headers)
    out.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(k.data())), reinterpret_cast<uint8_t*>(const_cast<char*>(v.data())), k.size(), v.size(), NGHTTP2_NV_FLAG_NONE});
  return out;
}

// Room for frames is taken while there are some: a connection at rest, of which there are many, holds none.
std::vector<std::string>& spare_batches() {
  static thread_local std::vector<std::string> spare;
  return spare;
}
std::string take_batch() {
  std::string batch;
  if (!spare_batches().empty()) {
    batch = std::move(spare_batches().back());
    spare_batches().pop_back();
  }
  batch.clear();
  batch.reserve(kWriteBatchBytes + kFrameRoom);
  return batch;
}
void give_batch(std::string batch) {
  if (spare_batches().size() < kSpareBatches && batch.capacity() <= 2 * (kWriteBatchBytes + kFrameRoom)) spare_batches().push_back(std::move(batch));
}

}  // namespace

// nghttp2's C callbacks; `user_data` is the session. They must not destroy it.
struct Http2Callbacks {
  static Http2Session& self(void* p) { return *static_cast<Http2Session*>(p); }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* p) {
    Http2Session& s = self(p);
    if (s.server_ && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      auto stream = std::make_shared<Http2Stream>(s.loop_);
      stream->id = frame->hd.stream_id;
      s.header_ = stream.get();
      s.streams_[stream->id] = std::move(stream);
    } else {
      s.header_ = s.look(frame->hd.stream_id);
    }
    return 0;
  }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value, size_t value_size, uint8_t, void* p) {
    Http2Stream* stream = self(p).header_;
    if (!stream || stream->id != frame->hd.stream_id) return 0;
    std::string n(reinterpret_cast<const char*>(name), name_size), v(reinterpret_cast<const char*>(value), value_size);
    Headers& to = stream->headers_done ? stream->trailers : stream->headers;
    if (to.size() > 256) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    to.append(std::move(n), std::move(v));  // nghttp2 has seen to lower case
    return 0;
  }

  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* p) {
    Http2Session& s = self(p);
    if (frame->hd.type == NGHTTP2_GOAWAY) s.going_away_ = true;
    bool ack = frame->hd.flags & NGHTTP2_FLAG_ACK;
    switch (frame->hd.type) {
      case NGHTTP2_RST_STREAM:
      case NGHTTP2_PRIORITY: s.count_idle_frame(); break;
      case NGHTTP2_SETTINGS:
      case NGHTTP2_PING:
        if (!ack) s.count_idle_frame();
        break;
      case NGHTTP2_DATA:
        if (frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) s.count_idle_frame();
        break;
      default: break;
    }
    auto stream = s.find(frame->hd.stream_id);
    if (!stream) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) {
      s.header_ = nullptr;
      bool first = !stream->headers_done;
      // 1xx answers are not the answer.
      if (first && !s.server_ && stream->headers.get(":status").starts_with("1")) {
        stream->headers = {};
        return 0;
      }
      stream->headers_done = true;
      if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) stream->remote_end = true;
      stream->changed.pulse();
      if (first && s.server_ && s.on_request) s.on_request(stream);
    } else if (frame->hd.type == NGHTTP2_DATA && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
      stream->remote_end = true;
      stream->changed.pulse();
    }
    return 0;
  }

  static int data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t n, void* p) {
    Http2Stream* stream = self(p).look(id);
    if (!stream) {
      nghttp2_session_consume(session, id, n);
      return 0;
    }
    stream->pieces.emplace_back(reinterpret_cast<const char*>(bytes), n);
    stream->unread_bytes += n;
    stream->changed.pulse();
    return 0;
  }

  static int closed(nghttp2_session*, int32_t id, uint32_t code, void* p) {
    Http2Session& s = self(p);
    auto stream = s.find(id);
    if (!stream) return 0;
    if (s.header_ == stream.get()) s.header_ = nullptr;
    stream->closed = true;
    stream->error_code = code;
    stream->changed.pulse();
    stream->drained.pulse();
    s.streams_.erase(id);
    if (s.on_closed) s.on_closed(id);
    return 0;
  }

  // The source is the stream: nghttp2 asks only while the stream is open, and so in streams_. It learns how much there is; send_data()
  // then takes it.
  static ssize_t read_data(nghttp2_session* session, int32_t id, uint8_t*, size_t length, uint32_t* flags, nghttp2_data_source* source, void*) {
    auto* stream = static_cast<Http2Stream*>(source->ptr);
    size_t n = std::min(length, stream->queued_bytes);
    bool last = n == stream->queued_bytes;
    if (last && stream->local_end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream->out_trailers.empty() && !stream->trailers_sent) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        stream->trailers_sent = true;
        auto nva = name_values(stream->out_trailers);
        nghttp2_submit_trailer(session, id, nva.data(), nva.size());
      }
    } else if (n == 0) {
      stream->deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return static_cast<ssize_t>(n);
  }

  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t length, nghttp2_data_source* source, void* p) {
    Http2Session& s = self(p);
    auto* stream = static_cast<Http2Stream*>(source->ptr);
    if (s.batch_.size() >= kWriteBatchBytes) {
      s.batch_full_ = true;
      return NGHTTP2_ERR_WOULDBLOCK;
    }
    s.batch_.append(reinterpret_cast<const char*>(head), 9);
    stream->queued_bytes -= length;
    while (length > 0) {
      const std::string& front = *stream->out.front();
      size_t take = std::min(front.size() - stream->out_sent, length);
      s.batch_.append(front, stream->out_sent, take);
      stream->out_sent += take;
      length -= take;
      if (stream->out_sent == front.size()) {
        stream->out.pop_front();
        stream->out_sent = 0;
      }
    }
    if (stream->queued_bytes <= kQueuedLow) stream->drained.pulse();
    return 0;
  }
};

Http2Session::Http2Session(EventLoop& loop, StreamPtr stream, bool server, uint32_t streams_max) : loop_(loop), stream_(std::move(stream)), wants_write_(loop), server_(server) {
  nghttp2_session_callbacks* cb;
  nghttp2_session_callbacks_new(&cb);
  nghttp2_session_callbacks_set_on_begin_headers_callback(cb, Http2Callbacks::begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(cb, Http2Callbacks::header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(cb, Http2Callbacks::frame_received);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, Http2Callbacks::data);
  nghttp2_session_callbacks_set_on_stream_close_callback(cb, Http2Callbacks::closed);
  nghttp2_session_callbacks_set_send_data_callback(cb, Http2Callbacks::send_data);
  nghttp2_option* options;
  nghttp2_option_new(&options);
  nghttp2_option_set_no_auto_window_update(options, 1);
  if (server) nghttp2_session_server_new2(&session_, cb, this, options);
  else nghttp2_session_client_new2(&session_, cb, this, options);
  nghttp2_option_del(options);
  nghttp2_session_callbacks_del(cb);
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams_max},
                                       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow},
                                       {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderBytesMax}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 3);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
}

Http2Session::~Http2Session() {
  die();
  nghttp2_session_del(session_);
}

void Http2Session::die() {
  dead_ = true;
  header_ = nullptr;
  auto streams = std::move(streams_);
  streams_.clear();
  for (auto& [id, s] : streams) {
    s->closed = true;
    if (!s->error_code) s->error_code = NGHTTP2_INTERNAL_ERROR;
    s->changed.pulse();
    s->drained.pulse();
    if (on_closed) on_closed(id);
  }
  wants_write_.set();
}

uint32_t Http2Session::peer_streams_max() const { return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS); }

Http2StreamPtr Http2Session::find(int32_t id) const {
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second;
}

Http2Stream* Http2Session::look(int32_t id) const {
  auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second.get();
}

void Http2Session::count_idle_frame() {
  if (!server_) return;
  Time now = loop_.now();
  if (idle_frames_at_.is_zero()) idle_frames_at_ = now;
  idle_frames_ = std::max(0.0, idle_frames_ - std::chrono::duration<double>(now - idle_frames_at_).count() * kIdleFramesPerSecond) + 1;
  idle_frames_at_ = now;
  if (idle_frames_ <= kIdleFramesBurst) return;
  going_away_ = true;
  nghttp2_session_terminate_session(session_, NGHTTP2_ENHANCE_YOUR_CALM);
}

void Http2Session::flush() { wants_write_.set(); }

Task<void> Http2Session::write_loop() {
  while (!dead_) {
    batch_ = take_batch();
    batch_full_ = false;
    while (batch_.size() < kWriteBatchBytes && !batch_full_) {
      const uint8_t* bytes;
      ssize_t n = nghttp2_session_mem_send(session_, &bytes);  // DATA goes into the batch by itself
      if (n < 0) {
        die();
        co_return;
      }
      if (n == 0) break;
      batch_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(n));
    }
    std::string batch = std::move(batch_);
    if (batch.empty()) {
      give_batch(std::move(batch));
      if (!nghttp2_session_want_read(session_) && !nghttp2_session_want_write(session_)) {
        stream_->close();
        co_return;
      }
      co_await wants_write_.wait();
      wants_write_.reset();
      continue;
    }
    auto sent = co_await stream_->write(batch);
    if (!sent.ok()) {
      die();
      stream_->close();
      co_return;
    }
    give_batch(std::move(batch));
  }
}

Task<void> Http2Session::run(std::string early) {
  TaskScope writer;
  writer.spawn(write_loop());
  std::vector<char> room(kReadBytes);
  std::string data = std::move(early);
  while (!dead_) {
    if (data.empty()) {
      std::span<char> span(room);
      auto n = co_await stream_->read(span);
      if (!n.ok() || *n == 0) break;
      ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<uint8_t*>(room.data()), *n);
      if (used < 0) break;
    } else {
      ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(data.data()), data.size());
      data.clear();
      if (used < 0) break;
    }
    if (after_input) after_input();
    flush();
  }
  die();
  stream_->close();
}

Result<Http2StreamPtr> Http2Session::request(const std::vector<std::pair<std::string_view, std::string_view>>& headers, bool end) {
  auto s = std::make_shared<Http2Stream>(loop_);
  s->local_end = end;
  auto nva = name_values(headers);
  nghttp2_data_provider provider{};
  provider.source.ptr = s.get();
  provider.read_callback = Http2Callbacks::read_data;
  int32_t id = nghttp2_submit_request(session_, nullptr, nva.data(), nva.size(), end ? nullptr : &provider, nullptr);
  if (id < 0) return unavailable(std::string("HTTP/2: ") + nghttp2_strerror(id));
  s->id = id;
  streams_[id] = s;
  flush();
  return s;
}

Status Http2Session::respond(Http2Stream& s, int status, const Headers& headers, bool end) {
  if (s.closed || dead_) return unavailable("the HTTP/2 peer is gone");
  const std::string code = std::to_string(status), date = http_date(loop_.now());
  std::vector<nghttp2_nv> nva;
  nva.reserve(headers.size() + 2);
  auto add = [&nva](std::string_view name, std::string_view value, uint8_t flags) {
    nva.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), flags});
  };
  add(":status", code, NGHTTP2_NV_FLAG_NONE);
  add("date", date, NGHTTP2_NV_FLAG_NONE);
  for (auto& [k, v] : headers)
    if (k != "connection" && k != "transfer-encoding")
      add(k, v, k == "audit-id" ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE);  // never twice the same: no use in the table
  nghttp2_data_provider provider{};
  provider.source.ptr = &s;
  provider.read_callback = Http2Callbacks::read_data;
  if (end) s.local_end = true;
  int rc = nghttp2_submit_response(session_, s.id, nva.data(), nva.size(), end ? nullptr : &provider);
  if (rc != 0) return unavailable(std::string("HTTP/2: ") + nghttp2_strerror(rc));
  flush();
  return ok();
}

Task<Status> Http2Session::queue(Http2StreamPtr s, std::string data) {
  if (s->closed || dead_) co_return unavailable("the HTTP/2 peer is gone");
  append(*s, std::make_shared<const std::string>(std::move(data)));
  while (s->queued_bytes > kQueuedBytesMax && !s->closed) co_await s->drained.wait();
  if (s->closed) co_return unavailable("the HTTP/2 peer is gone");
  co_return ok();
}

Task<Status> Http2Session::queue_pieces(Http2StreamPtr s, std::vector<std::shared_ptr<const std::string>> pieces) {
  for (auto& piece : pieces) {
    while (s->queued_bytes && s->queued_bytes + piece->size() > kQueuedPiecesMax && !s->closed) co_await s->drained.wait();
    if (s->closed || dead_) co_return unavailable("the HTTP/2 peer is gone");
    if (!piece->empty()) append(*s, std::move(piece));
  }
  co_return ok();
}

void Http2Session::append(Http2Stream& s, std::shared_ptr<const std::string> data) {
  s.queued_bytes += data->size();
  s.out.push_back(std::move(data));
  if (!s.deferred) return flush();
  s.deferred = false;
  nghttp2_session_resume_data(session_, s.id);
  flush();
}

void Http2Session::queue_shared(Http2Stream& s, std::shared_ptr<const std::string> data) { append(s, std::move(data)); }

bool Http2Session::queue_now(Http2Stream& s, const std::shared_ptr<const std::string>& data) {
  if (s.closed || dead_ || (s.queued_bytes && s.queued_bytes + data->size() > kQueuedNowMax)) return false;
  append(s, data);
  return true;
}

void Http2Session::end(Http2Stream& s, const Headers& trailers) {
  if (s.closed || dead_ || s.local_end) return;
  s.local_end = true;
  for (auto& [k, v] : trailers) s.out_trailers.emplace_back(k, v);
  nghttp2_session_resume_data(session_, s.id);
  s.deferred = false;
  flush();
}

void Http2Session::reset(Http2Stream& s, uint32_t code) {
  if (s.closed || dead_) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, s.id, code);
  flush();
}

Task<Result<std::optional<std::string>>> Http2Session::read(Http2StreamPtr s) {
  while (s->pieces.empty()) {
    if (s->remote_end) co_return std::optional<std::string>();
    if (s->closed) co_return unavailable("the HTTP/2 stream was reset (" + std::string(nghttp2_http2_strerror(s->error_code)) + ")");
    co_await s->changed.wait();
  }
  std::string piece = std::move(s->pieces.front());
  s->pieces.pop_front();
  s->unread_bytes -= piece.size();
  if (!dead_) {
    nghttp2_session_consume(session_, s->id, piece.size());
    flush();
  }
  std::optional<std::string> out(std::move(piece));
  co_return out;
}

Http2Body::~Http2Body() {
  if (session_->dead()) return;
  if (stream_->unread_bytes) nghttp2_session_consume_connection(session_->session(), stream_->unread_bytes);
  if (reset_ && !stream_->remote_end) session_->reset(*stream_, NGHTTP2_CANCEL);
  session_->flush();
}

}  // namespace caravel::net
