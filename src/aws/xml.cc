#include "aws/xml.h"

#include "base/strings.h"

namespace caravel::aws {

namespace {

constexpr int kMaxDepth = 100;

void append_utf8(uint32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 63));
    out += static_cast<char>(0x80 | ((c >> 6) & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

class Parser {
 public:
  explicit Parser(std::string_view s) : s_(s) {}

  Result<XmlNode> document() {
    TRY_VOID(skip_misc());
    XmlNode root;
    TRY_VOID(element(root, 0));
    TRY_VOID(skip_misc());
    if (at_ < s_.size()) return fail("content after the document");
    return root;
  }

 private:
  Error fail(const char* what) { return invalid(format("XML at byte %zu: %s", at_, what)); }
  bool looking_at(std::string_view t) const { return s_.compare(at_, t.size(), t) == 0; }
  void blanks() {
    while (at_ < s_.size() && (s_[at_] == ' ' || s_[at_] == '\n' || s_[at_] == '\r' || s_[at_] == '\t')) ++at_;
  }
  Status skip_past(std::string_view end) {
    size_t e = s_.find(end, at_);
    if (e == s_.npos) return fail("not closed");
    at_ = e + end.size();
    return ok();
  }
  Status skip_misc() {
    for (;;) {
      blanks();
      if (looking_at("<?")) {
        TRY_VOID(skip_past("?>"));
      } else if (looking_at("<!--")) {
        TRY_VOID(skip_past("-->"));
      } else if (looking_at("<!")) {
        return fail("document types are not accepted");
      } else {
        return ok();
      }
    }
  }
  std::string name() {
    size_t b = at_;
    while (at_ < s_.size() && std::string_view(" \t\r\n/>=<").find(s_[at_]) == std::string_view::npos) ++at_;
    std::string_view n = s_.substr(b, at_ - b);
    size_t colon = n.find(':');
    if (colon != n.npos && n.substr(0, colon) != "xmlns") n.remove_prefix(colon + 1);
    return std::string(n);
  }
  Status decode(std::string_view raw, std::string& out) {
    for (size_t i = 0; i < raw.size();) {
      if (raw[i] != '&') {
        out += raw[i++];
        continue;
      }
      size_t end = raw.find(';', i);
      if (end == raw.npos || end - i > 12) return fail("a bare '&'");
      std::string_view e = raw.substr(i + 1, end - i - 1);
      if (e == "lt") out += '<';
      else if (e == "gt") out += '>';
      else if (e == "amp") out += '&';
      else if (e == "quot") out += '"';
      else if (e == "apos") out += '\'';
      else if (e.size() > 1 && e[0] == '#') {
        uint32_t c = 0;
        bool hex = e[1] == 'x';
        for (char ch : e.substr(hex ? 2 : 1)) {
          int d = ch >= '0' && ch <= '9' ? ch - '0' : hex && ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                                                  : hex && ch >= 'A' && ch <= 'F'   ? ch - 'A' + 10
                                                                                    : -1;
          if (d < 0) return fail("a malformed character reference");
          c = c * (hex ? 16 : 10) + static_cast<uint32_t>(d);
          if (c > 0x10FFFF) return fail("a character out of range");
        }
        append_utf8(c, out);
      } else {
        return fail("an unknown entity");
      }
      i = end + 1;
    }
    return ok();
  }
  Status attributes(XmlNode& node, bool& empty) {
    for (;;) {
      blanks();
      if (at_ >= s_.size()) return fail("the document ends inside a tag");
      if (looking_at("/>")) {
        at_ += 2;
        empty = true;
        return ok();
      }
      if (s_[at_] == '>') {
        ++at_;
        return ok();
      }
      std::string key = name();
      blanks();
      if (key.empty() || at_ >= s_.size() || s_[at_] != '=') return fail("a malformed attribute");
      ++at_;
      blanks();
      if (at_ >= s_.size() || (s_[at_] != '"' && s_[at_] != '\'')) return fail("an attribute without quotes");
      char q = s_[at_++];
      size_t e = s_.find(q, at_);
      if (e == s_.npos) return fail("an attribute that is not closed");
      std::string value;
      TRY_VOID(decode(s_.substr(at_, e - at_), value));
      at_ = e + 1;
      node.attributes.emplace_back(std::move(key), std::move(value));
    }
  }
  Status element(XmlNode& node, int depth) {
    if (depth > kMaxDepth) return fail("nested too deep");
    if (at_ >= s_.size() || s_[at_] != '<') return fail("an element was expected");
    ++at_;
    node.name = name();
    if (node.name.empty()) return fail("an element without a name");
    bool empty = false;
    TRY_VOID(attributes(node, empty));
    if (empty) return ok();
    for (;;) {
      size_t lt = s_.find('<', at_);
      if (lt == s_.npos) return fail("an element is not closed");
      TRY_VOID(decode(s_.substr(at_, lt - at_), node.text));
      at_ = lt;
      if (looking_at("</")) {
        at_ += 2;
        if (name() != node.name) return fail("closing tag of another element");
        blanks();
        if (at_ >= s_.size() || s_[at_] != '>') return fail("a malformed closing tag");
        ++at_;
        return ok();
      }
      if (looking_at("<!--")) {
        TRY_VOID(skip_past("-->"));
      } else if (looking_at("<![CDATA[")) {
        size_t e = s_.find("]]>", at_);
        if (e == s_.npos) return fail("CDATA is not closed");
        node.text += s_.substr(at_ + 9, e - at_ - 9);
        at_ = e + 3;
      } else {
        node.children.emplace_back();
        TRY_VOID(element(node.children.back(), depth + 1));
      }
    }
  }
  std::string_view s_;
  size_t at_ = 0;
};

}  // namespace

const XmlNode* XmlNode::child(std::string_view n) const {
  for (const XmlNode& c : children)
    if (c.name == n) return &c;
  return nullptr;
}

Result<XmlNode> parse_xml(std::string_view text) { return Parser(text).document(); }

void xml_escape_to(std::string_view s, std::string& out) {
  for (char c : s) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      case '\r': out += "&#xD;"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
  }
}

}  // namespace caravel::aws
