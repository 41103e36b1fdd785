// HTTP/1.1 message syntax, both directions (RFC 9112).
#include "base/strings.h"
#include "net/http_internal.h"

namespace caravel::net {
namespace {

constexpr size_t kReadBytes = 32 * 1024;
constexpr size_t kHeadersMax = 256;
constexpr size_t kChunkLineMax = 4096;
constexpr uint64_t kBodyBytesMax = uint64_t{1} << 40;

bool is_token(std::string_view s) {
  if (s.empty()) return false;
  for (unsigned char c : s) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) == std::string_view::npos) return false;
  }
  return true;
}

bool is_field_value(std::string_view s) {
  for (unsigned char c : s)
    if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
  return true;
}

Error bad(std::string why) { return make_error(Code::kBadRequest, "malformed HTTP message: " + why); }

// One line of `text` without its end; moves `text` past it.
std::string_view next_line(std::string_view& text) {
  size_t n = text.find("\r\n");
  std::string_view line = text.substr(0, n);
  text.remove_prefix(n == text.npos ? text.size() : n + 2);
  return line;
}

Result<uint64_t> content_length(const Headers& headers, bool& present) {
  uint64_t out = 0;
  present = false;
  for (auto& v : headers.all("content-length")) {
    if (v.empty() || v.size() > 15 || v.find_first_not_of("0123456789") != v.npos) return bad("content-length");
    uint64_t n = static_cast<uint64_t>(*parse_int(v));
    if (present && n != out) return bad("two different content-lengths");
    if (n > kBodyBytesMax) return bad("content-length");
    out = n;
    present = true;
  }
  return out;
}

}  // namespace

Result<Http1Head> parse_http1_head(std::string_view text, bool response) {
  Http1Head head;
  std::string_view first = next_line(text);
  if (response) {
    if (first.size() < 12 || !first.starts_with("HTTP/1.") || first[8] != ' ') return bad("status line");
    head.minor_version = first[7] - '0';
    head.status = static_cast<int>(parse_int(first.substr(9, 3)).value_or(0));
    if (head.status < 100) return bad("status code");
    if (first.size() > 13) head.reason = first.substr(13);
  } else {
    size_t a = first.find(' '), b = first.rfind(' ');
    if (a == first.npos || b <= a + 1) return bad("request line");
    head.method = first.substr(0, a);
    head.target = first.substr(a + 1, b - a - 1);
    std::string_view version = first.substr(b + 1);
    if (!is_token(head.method)) return bad("method");
    if (version != "HTTP/1.1" && version != "HTTP/1.0") return make_error(Code::kUnsupported, "only HTTP/1.0, 1.1 and 2 are spoken here");
    head.minor_version = version.back() - '0';
    for (unsigned char c : head.target)
      if (c <= 0x20 || c == 0x7f) return bad("request target");
  }
  size_t count = 0;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    size_t colon = line.find(':');
    if (colon == line.npos) return bad("header line");
    std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
    if (!is_token(name) || !is_field_value(value)) return bad("header");
    if (++count > kHeadersMax) return make_error(Code::kTooLarge, "more than " + std::to_string(kHeadersMax) + " headers");
    head.headers.add(name, value);
  }
  return head;
}

Result<BodyFraming> request_framing(const Headers& headers) {
  bool has_length;
  TRY(uint64_t length, content_length(headers, has_length));
  if (auto* te = headers.find("transfer-encoding")) {
    if (has_length) return bad("both transfer-encoding and content-length");
    if (!equals_ignore_case(*te, "chunked")) return make_error(Code::kUnsupported, "transfer-encoding " + *te + " is not understood");
    return BodyFraming{BodyKind::kChunked, 0};
  }
  if (has_length && length) return BodyFraming{BodyKind::kLength, length};
  return BodyFraming{};
}

Result<BodyFraming> response_framing(const std::string& method, const Http1Head& head) {
  if (method == "HEAD" || head.status / 100 == 1 || head.status == 204 || head.status == 304) return BodyFraming{};
  if (auto* te = head.headers.find("transfer-encoding"); te && to_lower(*te).ends_with("chunked")) return BodyFraming{BodyKind::kChunked, 0};
  bool has_length;
  TRY(uint64_t length, content_length(head.headers, has_length));
  if (has_length) return BodyFraming{length ? BodyKind::kLength : BodyKind::kNone, length};
  return BodyFraming{BodyKind::kUntilClose, 0};
}

Task<Result<size_t>> BufferedReader::fill() {
  size_t old = buffer_.size();
  buffer_.resize(old + kReadBytes);
  std::span<char> room(buffer_.data() + old, kReadBytes);
  auto n = co_await stream_->read(room);
  buffer_.resize(old + (n.ok() ? *n : 0));
  co_return n;
}

Task<Result<std::optional<std::string>>> BufferedReader::head(size_t limit) {
  size_t from = 0;
  while (true) {
    // Empty lines before a request are skipped (RFC 9112 section 2.2).
    while (buffer_.starts_with("\r\n")) buffer_.erase(0, 2), from = 0;
    size_t end = buffer_.find("\r\n\r\n", from);
    if (end != buffer_.npos) {
      std::optional<std::string> out(buffer_.substr(0, end + 2));
      out->resize(end);
      buffer_.erase(0, end + 4);
      co_return out;
    }
    if (buffer_.size() > limit) co_return make_error(Code::kTooLarge, "the message's head is larger than " + std::to_string(limit) + " bytes");
    from = buffer_.size() > 3 ? buffer_.size() - 3 : 0;
    auto n = co_await fill();
    if (!n.ok()) co_return std::move(n).error();
    if (*n == 0) {
      if (buffer_.empty()) co_return std::optional<std::string>();
      co_return make_error(Code::kUnavailable, "the connection ended in the middle of a message");
    }
  }
}

Task<Result<std::string>> BufferedReader::line(size_t limit) {
  while (true) {
    size_t end = buffer_.find("\r\n");
    if (end != buffer_.npos) {
      std::string out = buffer_.substr(0, end);
      buffer_.erase(0, end + 2);
      co_return out;
    }
    if (buffer_.size() > limit) co_return bad("a line is too long");
    auto n = co_await fill();
    if (!n.ok()) co_return std::move(n).error();
    if (*n == 0) co_return make_error(Code::kUnavailable, "the connection ended in the middle of a message");
  }
}

Task<Result<std::string>> BufferedReader::some(size_t max) {
  if (buffer_.empty()) {
    auto n = co_await fill();
    if (!n.ok()) co_return std::move(n).error();
  }
  std::string out;
  if (buffer_.size() <= max) {
    out.swap(buffer_);
  } else {
    out = buffer_.substr(0, max);
    buffer_.erase(0, max);
  }
  co_return out;
}

Task<Status> Http1Body::end_of_chunks() {
  while (true) {  // trailers are read and dropped
    CO_TRY(std::string line, co_await reader_->line(kChunkLineMax));
    if (line.empty()) break;
  }
  done_ = true;
  co_return ok();
}

Task<Result<std::optional<std::string>>> Http1Body::read() {
  if (failed_) co_return make_error(Code::kUnavailable, "the body could not be read");
  if (done_) co_return std::optional<std::string>();
  if (before_first_read) {
    auto f = std::move(before_first_read);
    before_first_read = nullptr;
    CO_TRY_VOID(co_await f());
  }
  if (framing_.kind == BodyKind::kChunked && left_ == 0) {
    auto size_line = co_await reader_->line(kChunkLineMax);
    if (!size_line.ok()) {
      failed_ = true;
      co_return std::move(size_line).error();
    }
    std::string_view digits = trim(std::string_view(*size_line).substr(0, size_line->find(';')));
    uint64_t n = 0;
    bool good = !digits.empty() && digits.size() <= 10;
    for (char c : digits) {
      int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : c >= 'A' && c <= 'F'   ? c - 'A' + 10
                                                                    : -1;
      good &= d >= 0;
      n = n * 16 + static_cast<uint64_t>(d < 0 ? 0 : d);
    }
    if (!good) {
      failed_ = true;
      co_return bad("chunk size");
    }
    if (n == 0) {
      auto end = co_await end_of_chunks();
      if (!end.ok()) {
        failed_ = true;
        co_return std::move(end).error();
      }
      co_return std::optional<std::string>();
    }
    left_ = n;
  }
  size_t want = framing_.kind == BodyKind::kUntilClose ? kReadBytes : static_cast<size_t>(std::min<uint64_t>(left_, 1 << 20));
  auto piece = co_await reader_->some(want);
  if (!piece.ok()) {
    failed_ = true;
    co_return std::move(piece).error();
  }
  if (piece->empty()) {
    if (framing_.kind == BodyKind::kUntilClose) {
      done_ = true;
      co_return std::optional<std::string>();
    }
    failed_ = true;
    co_return make_error(Code::kUnavailable, "the connection ended in the middle of a body");
  }
  if (framing_.kind != BodyKind::kUntilClose) {
    left_ -= piece->size();
    if (left_ == 0) {
      if (framing_.kind == BodyKind::kLength) {
        done_ = true;
      } else {
        auto end = co_await reader_->line(kChunkLineMax);
        if (!end.ok() || !end->empty()) {
          failed_ = true;
          co_return bad("chunk end");
        }
      }
    }
  }
  std::optional<std::string> out(std::move(*piece));
  co_return out;
}

void append_head(std::string& out, const Headers& headers) {
  for (auto& [name, value] : headers) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  out += "\r\n";
}

}  // namespace caravel::net
