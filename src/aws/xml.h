// XML as the AWS protocols use it: a writer, and a bounded parser into a plain tree (no DTDs, no
// entities but the five and numeric ones; name space prefixes are dropped).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caravel::aws {

struct XmlNode {
  std::string name;  // local name
  std::string text;  // character data, joined
  std::vector<std::pair<std::string, std::string>> attributes;
  std::vector<XmlNode> children;
  const XmlNode* child(std::string_view name) const;
};

Result<XmlNode> parse_xml(std::string_view text);
void xml_escape_to(std::string_view s, std::string& out);

// open("Name"); text("value"); close("Name");
class XmlWriter {
 public:
  void open(std::string_view name, std::string_view attributes = "") {
    out_ += '<';
    out_ += name;
    if (!attributes.empty()) {
      out_ += ' ';
      out_ += attributes;
    }
    out_ += '>';
  }
  void text(std::string_view s) { xml_escape_to(s, out_); }
  void close(std::string_view name) {
    out_ += "</";
    out_ += name;
    out_ += '>';
  }
  void element(std::string_view name, std::string_view value) {
    open(name);
    text(value);
    close(name);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

}  // namespace caravel::aws
