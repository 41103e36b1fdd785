#include "eks/user_data.h"

#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::eks {
namespace {

struct Part {
  std::string type;
  std::string content;
};

// Splits "headers, empty line, body"; header names in lower case.
std::vector<std::pair<std::string, std::string>> read_headers(std::string_view& text) {
  std::vector<std::pair<std::string, std::string>> out;
  while (!text.empty()) {
    size_t n = text.find('\n');
    std::string_view line = text.substr(0, n);
    text.remove_prefix(n == text.npos ? text.size() : n + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) break;
    if ((line[0] == ' ' || line[0] == '\t') && !out.empty()) {
      out.back().second += " " + std::string(trim(line));
      continue;
    }
    size_t colon = line.find(':');
    if (colon != line.npos) out.emplace_back(to_lower(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1))));
  }
  return out;
}

std::string header(const std::vector<std::pair<std::string, std::string>>& headers, std::string_view name) {
  for (auto& [k, v] : headers)
    if (k == name) return v;
  return "";
}

std::string parameter(const std::string& value, const std::string& name) {
  for (auto& piece : split(value, ';')) {
    std::string_view p = trim(piece);
    if (!to_lower(p).starts_with(name + "=")) continue;
    std::string_view v = p.substr(name.size() + 1);
    if (v.size() >= 2 && v.front() == '"' && v.back() == '"') v = v.substr(1, v.size() - 2);
    return std::string(v);
  }
  return "";
}

std::string media_type(const std::string& value) { return to_lower(trim(std::string_view(value).substr(0, value.find(';')))); }

Result<std::vector<Part>> split_parts(std::string_view text) {
  std::vector<Part> out;
  std::string_view rest = text;
  auto headers = read_headers(rest);
  std::string type = header(headers, "content-type");
  if (!media_type(type).starts_with("multipart/")) {
    if (!headers.empty() && !type.empty()) return std::vector<Part>{{media_type(type), std::string(rest)}};
    std::string_view t = trim(text);
    std::string kind = t.starts_with("#!") ? "text/x-shellscript" : t.find("node.eks.aws") != t.npos ? "application/node.eks.aws"
                                                                                                     : "text/plain";
    return std::vector<Part>{{kind, std::string(text)}};
  }
  std::string boundary = parameter(type, "boundary");
  if (boundary.empty()) return invalid("user data: the multi-part message names no boundary");
  std::string marker = "--" + boundary;
  size_t at = rest.find(marker);
  while (at != rest.npos) {
    at += marker.size();
    if (rest.substr(at).starts_with("--")) break;
    size_t line = rest.find('\n', at);
    if (line == rest.npos) break;
    size_t next = rest.find("\n" + marker, line);
    std::string_view piece = rest.substr(line + 1, next == rest.npos ? rest.npos : next - line - 1);
    auto part_headers = read_headers(piece);
    Part part{media_type(header(part_headers, "content-type")), std::string(piece)};
    if (to_lower(header(part_headers, "content-transfer-encoding")) == "base64") {
      auto decoded = base64_decode(part.content);
      if (!decoded) return invalid("user data: a part is not the base64 it says it is");
      part.content = *decoded;
    }
    out.push_back(std::move(part));
    at = next == rest.npos ? next : next + 1;
    if (at != rest.npos) at = rest.find(marker, at);
  }
  return out;
}

// Objects merge, anything else replaces (nodeadm merges NodeConfigs like this; later ones win).
void merge(json::Value& into, const json::Value& from) {
  if (!into.is_object() || !from.is_object()) {
    into = from;
    return;
  }
  for (auto& m : from.as_object()) {
    if (m.key == "flags" && into["flags"].is_array() && m.value.is_array())
      for (auto& f : m.value.as_array()) into["flags"].push_back(f);
    else merge(into[m.key], m.value);
  }
}

}  // namespace

Result<UserData> parse_user_data(std::string_view text) {
  UserData out;
  if (trim(text).empty()) return out;
  TRY(auto parts, split_parts(text));
  for (auto& part : parts) {
    if (part.type == "application/node.eks.aws") {
      auto docs = yaml::parse_all(part.content);
      if (!docs.ok()) return wrap(docs.error(), "user data: NodeConfig");
      for (auto& d : *docs) {
        if (d["kind"].as_string() != "NodeConfig" || !d["apiVersion"].as_string().starts_with("node.eks.aws/"))
          return invalid("user data: expected kind NodeConfig of node.eks.aws, got " + d["kind"].as_string() + " of " + d["apiVersion"].as_string());
        merge(out.node_config, d);
      }
    } else if (part.type == "text/x-shellscript") {
      out.scripts.push_back(part.content);
    }
  }
  return out;
}

}  // namespace caravel::eks
