#include "apiserver/link_rewriter.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace caravel::apiserver {

namespace {

// Elements and their attributes that hold a URL (HTML, section 3 of its index of attributes).
constexpr std::pair<std::string_view, std::string_view> kUrlAttributes[] = {
    {"a", "href"}, {"applet", "codebase"}, {"area", "href"}, {"audio", "src"}, {"base", "href"}, {"blockquote", "cite"}, {"body", "background"}, {"button", "formaction"}, {"command", "icon"}, {"del", "cite"}, {"embed", "src"}, {"form", "action"}, {"frame", "longdesc"}, {"frame", "src"}, {"head", "profile"}, {"html", "manifest"}, {"iframe", "longdesc"}, {"iframe", "src"}, {"img", "longdesc"}, {"img", "src"}, {"img", "usemap"}, {"input", "src"}, {"input", "usemap"}, {"input", "formaction"}, {"ins", "cite"}, {"link", "href"}, {"object", "classid"}, {"object", "codebase"}, {"object", "data"}, {"object", "usemap"}, {"q", "cite"}, {"script", "src"}, {"source", "src"}, {"track", "src"}, {"video", "poster"}, {"video", "src"}};

bool holds_url(std::string_view element, std::string_view attribute) {
  return std::find(std::begin(kUrlAttributes), std::end(kUrlAttributes), std::pair(element, attribute)) != std::end(kUrlAttributes);
}

bool space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

// Where the tag that begins at text[0] ends (behind its '>'); npos: not within the text.
size_t tag_end(std::string_view text) {
  if (text.substr(0, 4) == "<!--") {
    size_t at = text.find("-->", 4);
    return at == text.npos ? at : at + 3;
  }
  char quote = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    if (quote) {
      if (text[i] == quote) quote = 0;
    } else if ((text[i] == '"' || text[i] == '\'') && text[i - 1] == '=') {
      quote = text[i];
    } else if (text[i] == '>') {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

}  // namespace

std::string LinkRewriter::link(std::string_view url) const {
  std::string_view path = url;
  if (size_t scheme = url.find("://"); scheme != url.npos && scheme < url.find('/')) path.remove_prefix(scheme + 1);
  if (path.substr(0, 2) == "//") {  // of a host
    size_t end = std::min(path.find('/', 2), path.size());
    if (path.substr(2, end - 2) != host_) return std::string(url);
    path.remove_prefix(end);
    if (path.empty()) path = "/";
  }
  if (path.empty() || path[0] != '/' || path.substr(0, prefix_.size()) == prefix_) return std::string(url);
  return prefix_ + std::string(path);
}

std::string LinkRewriter::tag(std::string_view text) {
  size_t at = 1;
  while (at < text.size() && !space(text[at]) && text[at] != '>' && text[at] != '/') ++at;
  const std::string element = to_lower(text.substr(1, at - 1));
  if (element == "script" || element == "style") raw_ = element;
  std::string out(text.substr(0, at));
  while (at < text.size()) {
    size_t name = at;
    while (name < text.size() && (space(text[name]) || text[name] == '/')) ++name;
    size_t end = name;
    while (end < text.size() && !space(text[end]) && text[end] != '=' && text[end] != '>' && text[end] != '/') ++end;
    if (end == name) break;
    const std::string attribute = to_lower(text.substr(name, end - name));
    size_t value = end;
    while (value < text.size() && space(text[value])) ++value;
    if (value == text.size() || text[value] != '=') {  // has none
      out += text.substr(at, end - at);
      at = end;
      continue;
    }
    ++value;
    while (value < text.size() && space(text[value])) ++value;
    if (value == text.size()) break;
    const char quote = text[value] == '"' || text[value] == '\'' ? text[value] : 0;
    if (quote) ++value;
    size_t last = value;
    while (last < text.size() && (quote ? text[last] != quote : !space(text[last]) && text[last] != '>')) ++last;
    out += text.substr(at, value - at);
    const std::string_view was = text.substr(value, last - value);
    out += holds_url(element, attribute) ? link(was) : std::string(was);
    at = last;
    if (quote && at < text.size()) out += text[at++];
  }
  out += text.substr(at);
  return out;
}

std::string LinkRewriter::feed(std::string_view piece) {
  held_ += piece;
  std::string out;
  size_t at = 0;
  while (at < held_.size()) {
    size_t open = held_.find('<', at);
    if (open == held_.npos) open = held_.size();
    out.append(held_, at, open - at);
    at = open;
    if (at == held_.size()) break;
    std::string_view rest = std::string_view(held_).substr(at);
    if (!raw_.empty()) {  // until its end tag nothing is a tag
      const size_t need = raw_.size() + 2;
      if (rest.size() < need) break;
      if (rest[1] != '/' || to_lower(rest.substr(2, raw_.size())) != raw_) {
        out += '<';
        ++at;
        continue;
      }
      raw_.clear();
    }
    size_t end = tag_end(rest);
    if (end == rest.npos) {
      if (rest.size() <= kTagMax) break;
      end = rest.size();
      out += rest;
    } else {
      out += tag(rest.substr(0, end));
    }
    at += end;
  }
  held_.erase(0, at);
  return out;
}

}  // namespace caravel::apiserver
