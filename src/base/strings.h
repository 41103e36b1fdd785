// Text helpers used everywhere. Pure functions; ASCII unless said otherwise.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caravel {

std::vector<std::string> split(std::string_view s, char sep);  // "a,,b" -> {"a","","b"}; "" -> {""}
std::vector<std::string> split_words(std::string_view s);      // by white space, no empty ones
std::string join(const std::vector<std::string>& parts, std::string_view sep);
std::string_view trim(std::string_view s);
std::string to_lower(std::string_view s);
std::string to_upper(std::string_view s);
std::string replace_all(std::string_view s, std::string_view from, std::string_view to);
bool equals_ignore_case(std::string_view a, std::string_view b);
// Whole text is a decimal integer in range, else nullopt.
std::optional<int64_t> parse_int(std::string_view s);
std::optional<double> parse_double(std::string_view s);

std::string hex_encode(std::string_view bytes);
std::optional<std::string> hex_decode(std::string_view text);
std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);  // padding required, white space ignored
std::string base64url_encode(std::string_view bytes);             // no padding (JOSE, ACME)
std::optional<std::string> base64url_decode(std::string_view text);
// RFC 3986; `keep` lists further characters that stay as they are.
std::string percent_encode(std::string_view s, std::string_view keep = "");
// plus_is_space: application/x-www-form-urlencoded.
std::string percent_decode(std::string_view s, bool plus_is_space = false);

// Replaces invalid UTF-8 sequences by U+FFFD.
std::string to_valid_utf8(std::string_view s);
bool is_valid_utf8(std::string_view s);
size_t utf8_length(std::string_view s);  // characters, of valid text

// sprintf-like, checked by the compiler.
std::string format(const char* fmt, ...) __attribute__((format(printf, 1, 2)));

// '*' any run, '?' one character; '/' is not special.
bool glob_match(std::string_view pattern, std::string_view text);

// The nearest of `candidates` to a mistyped word (edit distance at most 2), for "did you mean".
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace caravel
