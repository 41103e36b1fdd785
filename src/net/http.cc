// The plain types of http.h.
#include "net/http.h"

#include <ctime>

#include "base/strings.h"

namespace caravel::net {

void Headers::add(std::string_view name, std::string_view value) { items_.emplace_back(to_lower(name), std::string(value)); }
void Headers::set(std::string_view name, std::string_view value) {
  erase(name);
  add(name, value);
}
void Headers::erase(std::string_view name) {
  std::erase_if(items_, [&](auto& item) { return equals_ignore_case(item.first, name); });
}
const std::string* Headers::find(std::string_view name) const {
  for (auto& [k, v] : items_)
    if (equals_ignore_case(k, name)) return &v;
  return nullptr;
}
std::string Headers::get(std::string_view name) const {
  auto* v = find(name);
  return v ? *v : "";
}
std::vector<std::string> Headers::all(std::string_view name) const {
  std::vector<std::string> out;
  for (auto& [k, v] : items_)
    if (equals_ignore_case(k, name)) out.push_back(v);
  return out;
}

std::vector<std::string> Target::segments() const {
  std::vector<std::string> out;
  for (auto& s : split(path, '/'))
    if (!s.empty()) out.push_back(percent_decode(s));
  return out;
}

std::vector<std::pair<std::string, std::string>> Target::parameters() const {
  std::vector<std::pair<std::string, std::string>> out;
  if (query.empty()) return out;
  for (auto& item : split(query, '&')) {
    if (item.empty()) continue;
    size_t eq = item.find('=');
    std::string name = percent_decode(item.substr(0, eq), true);
    out.emplace_back(std::move(name), eq == item.npos ? "" : percent_decode(item.substr(eq + 1), true));
  }
  return out;
}

Task<Result<std::string>> BodyReader::read_all(size_t limit, size_t expected) {
  constexpr size_t kBelieved = 64u << 20;  // what a peer merely announces takes no more memory than this
  std::string out;
  if (expected > 0 && expected <= limit) out.reserve(std::min(expected, kBelieved));
  while (true) {
    auto piece = co_await read();
    if (!piece.ok()) co_return std::move(piece).error();
    if (!*piece) co_return out;
    if (out.size() + (*piece)->size() > limit) co_return make_error(Code::kTooLarge, "the body is larger than " + std::to_string(limit) + " bytes");
    if (out.empty() && out.capacity() < (*piece)->size()) out = std::move(**piece);
    else out += **piece;
  }
}

std::string http_date(Time t) {
  static thread_local time_t last = -1;  // most answers are of the same second
  static thread_local std::string text;
  time_t s = t.seconds();
  if (s == last) return text;
  tm parts{};
  gmtime_r(&s, &parts);
  char buf[64];
  text.assign(buf, strftime(buf, sizeof buf, "%a, %d %b %Y %H:%M:%S GMT", &parts));
  last = s;
  return text;
}

std::string_view status_text(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Request Entity Too Large";
    case 415: return "Unsupported Media Type";
    case 422: return "Unprocessable Entity";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "Status";
  }
}

}  // namespace caravel::net
