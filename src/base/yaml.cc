#include "base/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "base/strings.h"

namespace caravel::yaml {
namespace {

constexpr int kMaxDepth = 256;
constexpr size_t kMaxExpandedNodes = 200000;  // aliases count every time they are used

json::Value scalar(std::string_view s, yaml_scalar_style_t style, std::string_view tag) {
  bool plain = style == YAML_PLAIN_SCALAR_STYLE;
  if (tag == YAML_STR_TAG || (!plain && tag.empty())) return json::Value(std::string(s));
  if (!plain) return json::Value(std::string(s));
  if (s.empty() || s == "~" || s == "null" || s == "Null" || s == "NULL") return {};
  for (auto t : {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
    if (s == t) return true;
  for (auto f : {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
    if (s == f) return false;
  char c = s[0];
  if ((c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.') {
    std::string t = replace_all(s, "_", "");
    std::string_view v = t;
    bool neg = false;
    if (v[0] == '+' || v[0] == '-') {
      neg = v[0] == '-';
      v.remove_prefix(1);
    }
    int base = 10;
    std::string_view digits = v;
    if (v.starts_with("0x")) base = 16, digits = v.substr(2);
    else if (v.starts_with("0b")) base = 2, digits = v.substr(2);
    else if (v.starts_with("0o")) base = 8, digits = v.substr(2);
    else if (v.size() > 1 && v[0] == '0' && v.find_first_not_of("01234567") == v.npos) base = 8, digits = v.substr(1);
    int64_t i = 0;
    auto r = std::from_chars(digits.data(), digits.data() + digits.size(), i, base);
    if (!digits.empty() && r.ec == std::errc() && r.ptr == digits.data() + digits.size()) return neg ? -i : i;
    if (base == 10 && v.find_first_not_of("0123456789.eE+-") == v.npos && v.find_first_of("0123456789") != v.npos) {
      if (auto d = parse_double(v)) return neg ? -*d : *d;
    }
  }
  return json::Value(std::string(s));
}

class Loader {
 public:
  explicit Loader(std::string_view text) {
    // libyaml's time grows with the square of the depth of flow collections.
    int64_t open = 0;
    for (char c : text) {
      if (c == '{' || c == '[') ++open;
      else if ((c == '}' || c == ']') && open > 0) --open;
      too_deep_ = too_deep_ || open > kFlowDepthMax;
    }
    yaml_parser_initialize(&parser_);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~Loader() { yaml_parser_delete(&parser_); }

  Result<std::vector<json::Value>> all() {
    std::vector<json::Value> docs;
    if (too_deep_) return invalid("the text opens more than " + std::to_string(kFlowDepthMax) + " brackets without closing them");
    while (true) {
      yaml_document_t doc;
      if (!yaml_parser_load(&parser_, &doc)) {
        std::string why = parser_.problem ? parser_.problem : "not YAML";
        return invalid("line " + std::to_string(parser_.problem_mark.line + 1) + ": " + why);
      }
      yaml_node_t* root = yaml_document_get_root_node(&doc);
      if (!root) {
        yaml_document_delete(&doc);
        return docs;
      }
      json::Value v;
      doc_ = &doc;
      bool ok = convert(root, v, 0);
      yaml_document_delete(&doc);
      if (!ok) return invalid(error_);
      if (!v.is_null()) docs.push_back(std::move(v));
    }
  }

 private:
  bool fail(yaml_node_t* n, std::string why) {
    error_ = "line " + std::to_string(n->start_mark.line + 1) + ": " + why;
    return false;
  }
  bool convert(yaml_node_t* n, json::Value& out, int depth) {
    if (depth > kMaxDepth) return fail(n, "nested deeper than " + std::to_string(kMaxDepth) + " levels");
    if (++nodes_ > kMaxExpandedNodes) return fail(n, "the document expands to too many nodes");
    switch (n->type) {
      case YAML_SCALAR_NODE: {
        std::string_view tag = n->tag ? reinterpret_cast<const char*>(n->tag) : "";
        // libyaml gives every untagged scalar the string tag; a plain one is resolved all the same.
        if (n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && tag == YAML_STR_TAG) tag = "";
        out = scalar({reinterpret_cast<const char*>(n->data.scalar.value), n->data.scalar.length}, n->data.scalar.style, tag);
        return true;
      }
      case YAML_SEQUENCE_NODE: {
        json::Array arr;
        for (auto* i = n->data.sequence.items.start; i < n->data.sequence.items.top; ++i) {
          json::Value v;
          if (!convert(yaml_document_get_node(doc_, *i), v, depth + 1)) return false;
          arr.push_back(std::move(v));
        }
        out = json::Value(std::move(arr));
        return true;
      }
      case YAML_MAPPING_NODE: {
        json::Object obj;
        std::map<std::string, bool> seen;
        std::vector<yaml_node_t*> merges;
        for (auto* p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; ++p) {
          yaml_node_t* kn = yaml_document_get_node(doc_, p->key);
          yaml_node_t* vn = yaml_document_get_node(doc_, p->value);
          if (kn->type != YAML_SCALAR_NODE) return fail(kn, "a key must be a scalar");
          std::string key(reinterpret_cast<const char*>(kn->data.scalar.value), kn->data.scalar.length);
          if (key == "<<" && kn->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
            merges.push_back(vn);
            continue;
          }
          if (!seen.emplace(key, true).second) return fail(kn, "key " + json::quote(key) + " already set in map");
          json::Value v;
          if (!convert(vn, v, depth + 1)) return false;
          obj.append(std::move(key), std::move(v));
        }
        for (auto* m : merges) {
          json::Value v;
          if (!convert(m, v, depth + 1)) return false;
          json::Array sources = v.is_array() ? v.as_array() : json::Array{v};
          for (auto& s : sources)
            for (auto& member : s.as_object())
              if (seen.emplace(member.key.str(), true).second) obj.append(member.key, member.value);
        }
        out = json::Value(std::move(obj));
        return true;
      }
      default: return fail(n, "an unknown kind of node");
    }
  }

  static constexpr int64_t kFlowDepthMax = 5000;
  bool too_deep_ = false;
  yaml_parser_t parser_;
  yaml_document_t* doc_ = nullptr;
  size_t nodes_ = 0;
  std::string error_;
};

// Characters that YAML reads as line breaks or does not read at all, unless they are escaped: the C1 controls
// with U+0085, U+2028, U+2029, U+FEFF, U+FFFE, U+FFFF, and DEL. Length of one at `i`, 0 for others.
size_t unprintable(const std::string& s, size_t i) {
  auto at = [&](size_t k) { return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0; };
  if (at(0) == 0x7f) return 1;
  if (at(0) == 0xc2 && at(1) >= 0x80 && at(1) <= 0x9f) return 2;
  if (at(0) == 0xe2 && at(1) == 0x80 && (at(2) == 0xa8 || at(2) == 0xa9)) return 3;
  if (at(0) == 0xef && ((at(1) == 0xbb && at(2) == 0xbf) || (at(1) == 0xbf && at(2) >= 0xbe))) return 3;
  return 0;
}

bool has_unprintable(const std::string& s) {
  for (size_t i = 0; i < s.size(); ++i)
    if (unprintable(s, i)) return true;
  return false;
}

std::string quoted(const std::string& s) {
  std::string q = json::quote(s), out;
  for (size_t i = 0; i < q.size(); ++i) {
    size_t n = unprintable(q, i);
    if (n == 0) {
      out.push_back(q[i]);
      continue;
    }
    auto byte = [&](size_t k) { return static_cast<unsigned>(static_cast<unsigned char>(q[i + k])); };
    unsigned code = n == 1 ? byte(0) : n == 2 ? (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f)
                                              : (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    out += format("\\u%04x", code);
    i += n - 1;
  }
  return out;
}

bool needs_quotes(const std::string& s) {
  if (s.empty()) return true;
  if (has_unprintable(s)) return true;
  json::Value v = scalar(s, YAML_PLAIN_SCALAR_STYLE, "");
  if (!v.is_string()) return true;
  if (s.front() == ' ' || s.back() == ' ' || s.back() == ':') return true;
  static const std::string_view kFirst = "!&*?|>@`%{}[],#'\"=";
  if (kFirst.find(s[0]) != kFirst.npos) return true;
  if ((s[0] == '-' || s[0] == ':') && (s.size() == 1 || s[1] == ' ')) return true;
  if (s.compare(0, 3, "---") == 0 || s.compare(0, 3, "...") == 0 || s == "<<" || s == "y" || s == "n" || s == "Y" || s == "N") return true;
  for (unsigned char c : s)
    if (c < 0x20 || c == 0x7f) return true;
  if (s.find(": ") != s.npos || s.find(" #") != s.npos) return true;
  // Things that look like dates or numbers in other YAML readers.
  if (s[0] >= '0' && s[0] <= '9' && s.find_first_not_of("0123456789-:.TZ +eE_") == s.npos) return true;
  return false;
}

constexpr size_t kSimpleKey = 1000;  // bytes

void emit(const json::Value& v, std::string& out, int indent, bool in_list) {
  std::string pad(static_cast<size_t>(indent), ' ');
  if (v.is_object()) {
    if (v.as_object().empty()) {
      out += "{}\n";
      return;
    }
    std::vector<const json::Member*> order;
    for (auto& m : v.as_object()) order.push_back(&m);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->key < b->key; });
    bool first = true;
    for (auto* m : order) {
      if (!(first && in_list)) out += pad;
      first = false;
      std::string name = needs_quotes(m->key) ? quoted(m->key) : m->key.str();
      // YAML 1.2 §7.4.2: a name beyond 1024 characters is read in the explicit form alone.
      if (name.size() > kSimpleKey) out += "? " + name + '\n' + pad;
      else out += name;
      out += ':';
      if (m->value.is_object() && m->value.size()) {
        out += '\n';
        emit(m->value, out, indent + 2, false);
      } else if (m->value.is_array() && m->value.size()) {
        out += '\n';
        emit(m->value, out, indent, false);
      } else {
        out += ' ';
        emit(m->value, out, indent + 2, false);
      }
    }
  } else if (v.is_array()) {
    if (v.as_array().empty()) {
      out += "[]\n";
      return;
    }
    bool first = true;
    for (auto& item : v.as_array()) {
      if (!(first && in_list)) out += pad;
      first = false;
      out += "- ";
      emit(item, out, indent + 2, true);
    }
  } else if (v.is_string()) {
    const std::string& s = v.as_string();
    // At the root a block has no indentation that would tell it from the next document.
    bool printable = indent > 0 && s.find_first_of("\r\t\x7f") == s.npos && is_valid_utf8(s) && !has_unprintable(s);
    for (unsigned char c : s) printable &= c >= 0x20 || c == '\n';
    if (s.find('\n') != s.npos && printable && s[0] != ' ' && s[0] != '\n') {
      out += s.back() == '\n' ? (s.size() > 1 && s[s.size() - 2] == '\n' ? "|+\n" : "|\n") : "|-\n";
      auto lines = split(s.back() == '\n' ? s.substr(0, s.size() - 1) : s, '\n');
      for (auto& line : lines) out += line.empty() ? "\n" : pad + line + "\n";
    } else {
      out += needs_quotes(s) ? quoted(s) : s;
      out += '\n';
    }
  } else {
    json::dump_to(v, out);
    out += '\n';
  }
}

}  // namespace

Result<std::vector<json::Value>> parse_all(std::string_view text) { return Loader(text).all(); }

Result<json::Value> parse(std::string_view text) {
  TRY(auto docs, parse_all(text));
  if (docs.empty()) return json::Value();
  if (docs.size() > 1) return invalid("the text holds " + std::to_string(docs.size()) + " documents where one was expected");
  return std::move(docs[0]);
}

Result<json::Value> parse_json_or_yaml(std::string_view text) {
  std::string_view t = trim(text);
  if (!t.empty() && (t[0] == '{' || t[0] == '[')) {
    auto v = json::parse(t);
    if (v.ok()) return v;
    auto y = parse(text);  // flow-style YAML may also start with a brace
    return y.ok() ? std::move(y) : std::move(v);
  }
  return parse(text);
}

std::string dump(const json::Value& v) {
  std::string out;
  emit(v, out, 0, false);
  return out;
}

}  // namespace caravel::yaml
