#include "kube/cel/lexer.h"

#include <algorithm>
#include <cctype>

namespace caravel::kube::cel {

namespace {

bool ident_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool ident_part(char c) { return ident_start(c) || std::isdigit(static_cast<unsigned char>(c)); }
bool digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(std::string_view text, std::vector<Token>& out, std::vector<LexError>& errors) : text_(text), out_(out), errors_(errors) {}

  void run() {
    while (true) {
      skip_space();
      if (at_ >= text_.size()) break;
      if (!one()) at_ = std::max(skip_to_, at_ + 1);
    }
    out_.push_back({Token::Kind::kEnd, text_.size(), "<EOF>"});
  }

 private:
  char peek(size_t n = 0) const { return at_ + n < text_.size() ? text_[at_ + n] : '\0'; }
  // `length`: bytes that are left out.
  bool fail(std::string m, size_t length = 1) {
    errors_.push_back({at_, std::move(m)});
    skip_to_ = at_ + length;
    return false;
  }
  void skip_space() {
    while (at_ < text_.size()) {
      char c = text_[at_];
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') ++at_;
      else if (c == '/' && peek(1) == '/') at_ = std::min(text_.find('\n', at_), text_.size());
      else return;
    }
  }
  bool one() {
    size_t start = at_;
    bool raw = false, bytes = false;
    size_t p = 0;
    for (; p < 2; ++p) {
      char c = peek(p);
      if ((c == 'r' || c == 'R') && !raw) raw = true;
      else if ((c == 'b' || c == 'B') && !bytes) bytes = true;
      else break;
    }
    if (peek(p) == '"' || peek(p) == '\'') {
      at_ += p;
      return quoted(start, raw, bytes);
    }
    if (ident_start(peek())) {
      while (ident_part(peek())) ++at_;
      return push(Token::Kind::kIdent, start);
    }
    if (peek() == '`') {
      size_t end = text_.find('`', at_ + 1);
      if (end == text_.npos) return fail("token recognition error at: '`'");
      out_.push_back({Token::Kind::kQuotedIdent, start, std::string(text_.substr(at_ + 1, end - at_ - 1))});
      at_ = end + 1;
      return true;
    }
    if (digit(peek()) || (peek() == '.' && digit(peek(1)))) return number();
    for (std::string_view s : {"==", "!=", "<=", ">=", "&&", "||"})
      if (text_.substr(at_, 2) == s) {
        at_ += 2;
        return push(Token::Kind::kSymbol, start);
      }
    if (std::string_view("+-*/%!<>()[]{}.,?:").find(peek()) != std::string_view::npos) {
      ++at_;
      return push(Token::Kind::kSymbol, start);
    }
    // The beginning of a longer one takes what follows with it.
    const size_t length = std::string_view("=&|").find(peek()) != std::string_view::npos && at_ + 1 < text_.size() ? 2 : 1;
    return fail("token recognition error at: '" + std::string(text_.substr(at_, length)) + "'", length);
  }
  bool push(Token::Kind k, size_t start) {
    out_.push_back({k, start, std::string(text_.substr(start, at_ - start))});
    return true;
  }
  bool number() {
    size_t start = at_;
    bool fraction = false;
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X')) {
      at_ += 2;
      while (std::isxdigit(static_cast<unsigned char>(peek()))) ++at_;
    } else {
      while (digit(peek())) ++at_;
      if (peek() == '.' && digit(peek(1))) {
        fraction = true;
        ++at_;
        while (digit(peek())) ++at_;
      }
      size_t sign = peek(1) == '+' || peek(1) == '-' ? 1 : 0;
      if ((peek() == 'e' || peek() == 'E') && digit(peek(1 + sign))) {
        fraction = true;
        at_ += 1 + sign;
        while (digit(peek())) ++at_;
      }
    }
    if (!fraction && (peek() == 'u' || peek() == 'U')) {
      bool ok = push(Token::Kind::kUint, start);
      ++at_;
      return ok;
    }
    return push(fraction ? Token::Kind::kDouble : Token::Kind::kInt, start);
  }
  bool quoted(size_t start, bool raw, bool bytes) {
    quoted_at_ = start;
    char q = peek();
    bool triple = peek(1) == q && peek(2) == q;
    size_t n = triple ? 3 : 1;
    at_ += n;
    std::string out;
    while (true) {
      if (at_ >= text_.size() || (!triple && (peek() == '\n' || peek() == '\r'))) {
        const size_t end = at_;
        at_ = start;
        return fail("token recognition error at: '" + std::string(text_.substr(start, end - start)) + "'", end - start);
      }
      if (peek() == q && (!triple || (peek(1) == q && peek(2) == q))) break;
      if (peek() == '\\' && !raw) {
        if (!escape(out, bytes)) return false;
      } else if (peek() == '\\' && peek(1) != '\0') {
        out += text_[at_++];
        out += text_[at_++];
      } else {
        out += text_[at_++];
      }
    }
    at_ += n;
    out_.push_back({bytes ? Token::Kind::kBytes : Token::Kind::kString, start, std::move(out)});
    return true;
  }
  // The text so far is no token; what follows it may be one.
  bool bad_escape(size_t length) {
    const size_t end = std::min(at_ + length, text_.size());
    at_ = quoted_at_;
    return fail("token recognition error at: '" + std::string(text_.substr(at_, end - at_)) + "'", end - at_);
  }
  bool escape(std::string& out, bool bytes) {
    char c = peek(1);
    static constexpr std::string_view kFrom = "abfnrtv\\?\"'`", kTo = "\a\b\f\n\r\t\v\\?\"'`";
    if (size_t i = kFrom.find(c); c != '\0' && i != kFrom.npos) {
      out += kTo[i];
      at_ += 2;
      return true;
    }
    size_t digits = c == 'x' || c == 'X' ? 2 : c == 'u'           ? 4
                                           : c == 'U'             ? 8
                                           : c >= '0' && c <= '3' ? 3
                                                                  : 0;
    size_t first = digits == 3 ? 1 : 2;
    int base = digits == 3 ? 8 : 16;
    uint32_t r = 0;
    if (digits == 0) return bad_escape(2);
    for (size_t i = 0; i < digits; ++i) {
      char h = peek(first + i);
      int v = digit(h) ? h - '0' : std::isxdigit(static_cast<unsigned char>(h)) ? std::tolower(h) - 'a' + 10
                                                                                : 99;
      if (v >= base) return bad_escape(first + i + 1);
      r = r * static_cast<uint32_t>(base) + static_cast<uint32_t>(v);
    }
    bool byte = bytes && digits <= 3;
    if (!byte && (r > 0x10ffff || (r >= 0xd800 && r < 0xe000))) return fail("invalid unicode code point");
    if (byte) out += static_cast<char>(r);
    else out += utf8(&r, &r + 1);
    at_ += first + digits;
    return true;
  }

  std::string_view text_;
  std::vector<Token>& out_;
  std::vector<LexError>& errors_;
  size_t skip_to_ = 0, quoted_at_ = 0;
  size_t at_ = 0;
};

}  // namespace

void tokenize(std::string_view text, std::vector<Token>& out, std::vector<LexError>& errors) { Lexer(text, out, errors).run(); }

}  // namespace caravel::kube::cel
