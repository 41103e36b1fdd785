#include "node/spdy.h"

#include <zlib.h>

#include <cstring>

#include "base/strings.h"

namespace caravel::node {
namespace {

enum FrameType : uint16_t { kSynStream = 1,
                            kSynReply = 2,
                            kRstStream = 3,
                            kSettings = 4,
                            kPing = 6,
                            kGoAway = 7,
                            kHeaders = 8,
                            kWindowUpdate = 9 };
constexpr uint8_t kFin = 1;
constexpr size_t kFrameMax = 16 << 20;  // a frame's length has 24 bits
constexpr size_t kHeaderBlockMax = 64 << 10;
constexpr size_t kStreamQueue = 64;  // frames of a stream that wait for their reader
constexpr size_t kDataPiece = 32 << 10;

void put16(std::string& s, uint32_t v) {
  s += static_cast<char>(v >> 8);
  s += static_cast<char>(v);
}
void put32(std::string& s, uint32_t v) {
  put16(s, v >> 16);
  put16(s, v & 0xffff);
}
uint32_t get32(const std::string& s, size_t at) {
  uint32_t v = 0;
  for (size_t i = 0; i < 4; ++i) v = v << 8 | static_cast<unsigned char>(s[at + i]);
  return v;
}

// The dictionary of SPDY/3's header compression, by its construction: length-prefixed common names and
// values, then common text.
std::string make_dictionary() {
  static const char* kWords[] = {"options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language",
                                 "accept-ranges", "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding",
                                 "content-language", "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag",
                                 "expect", "expires", "from", "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
                                 "last-modified", "location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer",
                                 "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning",
                                 "www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive",
                                 "origin"};
  std::string d;
  for (const char* w : kWords) {
    put32(d, static_cast<uint32_t>(std::strlen(w)));
    d += w;
  }
  d += "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
       "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found"
       "500 Internal Server Error501 Not Implemented503 Service Unavailable"
       "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
       "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
       "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
  return d;
}

}  // namespace

struct SpdyConnection::Codec {
  z_stream in{}, out{};
  std::string dictionary = make_dictionary();
  Codec() {
    inflateInit(&in);
    deflateInit(&out, Z_BEST_SPEED);
    deflateSetDictionary(&out, reinterpret_cast<const Bytef*>(dictionary.data()), static_cast<uInt>(dictionary.size()));
  }
  ~Codec() {
    inflateEnd(&in);
    deflateEnd(&out);
  }

  bool inflate_block(const std::string& data, std::string* text) {
    in.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    in.avail_in = static_cast<uInt>(data.size());
    char buffer[4096];
    while (true) {
      in.next_out = reinterpret_cast<Bytef*>(buffer);
      in.avail_out = sizeof buffer;
      int rc = inflate(&in, Z_SYNC_FLUSH);
      if (rc == Z_NEED_DICT) rc = inflateSetDictionary(&in, reinterpret_cast<const Bytef*>(dictionary.data()), static_cast<uInt>(dictionary.size()));
      else text->append(buffer, sizeof buffer - in.avail_out);
      if (text->size() > kHeaderBlockMax) return false;
      if (rc == Z_BUF_ERROR) return in.avail_in == 0;
      if (rc != Z_OK) return false;
      if (in.avail_in == 0 && in.avail_out > 0) return true;
    }
  }
  std::string deflate_block(const std::string& text) {
    std::string result(deflateBound(&out, text.size()) + 64, 0);
    out.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    out.avail_in = static_cast<uInt>(text.size());
    out.next_out = reinterpret_cast<Bytef*>(result.data());
    out.avail_out = static_cast<uInt>(result.size());
    deflate(&out, Z_SYNC_FLUSH);
    result.resize(result.size() - out.avail_out);
    return result;
  }
  bool parse_headers(const std::string& block, std::map<std::string, std::string>* headers) {
    std::string text;
    if (!inflate_block(block, &text) || text.size() < 4) return false;
    uint32_t count = get32(text, 0);
    size_t at = 4;
    auto take = [&](std::string* s) {
      if (at + 4 > text.size()) return false;
      uint32_t n = get32(text, at);
      at += 4;
      if (n > text.size() - at) return false;
      *s = text.substr(at, n);
      at += n;
      return true;
    };
    for (uint32_t i = 0; i < count; ++i) {
      std::string name, value;
      if (!take(&name) || !take(&value)) return false;
      (*headers)[to_lower(name)] = value;
    }
    return true;
  }
};

SpdyConnection::SpdyConnection(net::EventLoop& loop, net::StreamPtr transport)
    : loop_(&loop), transport_(std::move(transport)), codec_(std::make_unique<Codec>()), writing_(loop, 1) {}
SpdyConnection::~SpdyConnection() = default;

Task<bool> SpdyConnection::read_exactly(char* out, size_t n) {
  while (n > 0) {
    auto r = co_await transport_->read(std::span<char>(out, n));
    if (!r.ok() || *r == 0) co_return false;
    out += *r;
    n -= *r;
  }
  co_return true;
}

Task<Status> SpdyConnection::write_frame(std::string frame) {
  co_await writing_.acquire();
  Status s = co_await transport_->write(frame);
  writing_.release();
  co_return s;
}

namespace {

std::string control_frame(uint16_t type, uint8_t flags, const std::string& payload) {
  std::string f;
  put16(f, 0x8003);
  put16(f, type);
  put32(f, static_cast<uint32_t>(flags) << 24 | static_cast<uint32_t>(payload.size()));
  return f + payload;
}

}  // namespace

Task<Status> SpdyConnection::send(uint32_t stream, std::string data, bool last) {
  size_t at = 0;
  do {
    const std::string piece = data.substr(at, kDataPiece);
    at += piece.size();
    const bool end = last && at >= data.size();
    if (piece.empty() && !end) break;
    std::string f;
    put32(f, stream & 0x7fffffff);
    put32(f, (end ? 1u << 24 : 0u) | static_cast<uint32_t>(piece.size()));
    CO_TRY_VOID(co_await write_frame(f + piece));
  } while (at < data.size());
  co_return ok();
}

Task<Status> SpdyConnection::reset(uint32_t stream) {
  std::string payload;
  put32(payload, stream);
  put32(payload, 5);  // CANCEL
  co_return co_await write_frame(control_frame(kRstStream, 0, payload));
}

Task<void> SpdyConnection::close() {
  std::string payload;
  put32(payload, 0);
  put32(payload, 0);
  Status s = co_await write_frame(control_frame(kGoAway, 0, payload));
  if (s.ok()) s = co_await transport_->shutdown_write();
  // The peer's last words are read by run(), which ends when it closes too.
  if (!s.ok()) transport_->close();
}

Task<bool> SpdyConnection::control(uint16_t type, uint8_t flags, std::string p) {
  if (type == kSynStream) {
    if (p.size() < 10) co_return false;
    auto stream = std::make_unique<SpdyStream>();
    stream->id = get32(p, 0) & 0x7fffffff;
    stream->incoming = std::make_unique<Channel<std::string>>(*loop_, kStreamQueue);
    if (!codec_->parse_headers(p.substr(10), &stream->headers)) co_return false;
    if (flags & kFin) stream->incoming->close();
    std::string reply, none;
    put32(reply, stream->id);
    put32(none, 0);
    reply += codec_->deflate_block(none);
    SpdyStream* raw = stream.get();
    streams_[raw->id] = std::move(stream);
    Status s = co_await write_frame(control_frame(kSynReply, 0, reply));
    if (!s.ok()) co_return false;
    opened_(raw);
    co_return true;
  }
  if (type == kHeaders) {
    std::map<std::string, std::string> ignored;
    if (p.size() < 4 || !codec_->parse_headers(p.substr(4), &ignored)) co_return false;
  }
  if (type == kRstStream && p.size() >= 8) {
    auto it = streams_.find(get32(p, 0) & 0x7fffffff);
    if (it != streams_.end()) it->second->incoming->close();
  }
  if (type == kPing && p.size() >= 4) {
    Status s = co_await write_frame(control_frame(kPing, 0, p.substr(0, 4)));
    co_return s.ok();
  }
  co_return true;
}

Task<void> SpdyConnection::run(std::function<void(SpdyStream*)> opened) {
  opened_ = std::move(opened);
  while (true) {
    std::string head(8, 0);
    bool good = co_await read_exactly(head.data(), head.size());
    if (!good) break;
    const uint32_t length = get32(head, 4) & 0xffffff;
    const auto flags = static_cast<uint8_t>(head[4]);
    std::string payload(length, 0);
    if (length >= kFrameMax) break;
    good = co_await read_exactly(payload.data(), payload.size());
    if (!good) break;
    if (head[0] & 0x80) {
      const uint16_t type = static_cast<uint16_t>(static_cast<unsigned char>(head[2]) << 8 | static_cast<unsigned char>(head[3]));
      good = co_await control(type, flags, std::move(payload));
      if (!good) break;
      continue;
    }
    auto it = streams_.find(get32(head, 0) & 0x7fffffff);
    if (it == streams_.end()) continue;
    if (!payload.empty()) {
      bool taken = co_await it->second->incoming->push(std::move(payload));
      (void)taken;  // a stream that its reader has closed drops what still comes
    }
    if (flags & kFin) it->second->incoming->close();
  }
  for (auto& [id, s] : streams_) s->incoming->close();
  transport_->close();
}

}  // namespace caravel::node
