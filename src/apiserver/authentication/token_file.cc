#include "apiserver/authentication/token_file.h"

#include <map>

#include "base/strings.h"

namespace caravel::apiserver {

namespace {

struct Record {
  int line = 1;
  std::vector<std::string> fields;
};

Result<std::vector<Record>> read_csv(std::string_view text) {
  std::vector<Record> out;
  size_t i = 0;
  int line = 1;
  auto line_end = [&] { return i >= text.size() || text[i] == '\n' || (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n'); };
  auto pass_line_end = [&] {
    if (i < text.size() && text[i] == '\r') ++i;
    if (i < text.size()) ++i;
    ++line;
  };
  while (i < text.size()) {
    if (line_end()) {
      pass_line_end();
      continue;
    }
    Record r;
    r.line = line;
    while (true) {
      std::string field;
      if (i < text.size() && text[i] == '"') {
        ++i;
        bool closed = false;
        while (i < text.size()) {
          if (text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"') {
            field.push_back('"');
            i += 2;
          } else if (text[i] == '"') {
            ++i;
            closed = true;
            break;
          } else {
            if (text[i] == '\n') ++line;
            field.push_back(text[i++]);
          }
        }
        if (!closed) return invalid("line " + std::to_string(r.line) + ": a quoted field has no end: extraneous or missing \" in quoted-field");
        if (!line_end() && text[i] != ',') return invalid("line " + std::to_string(line) + ": extraneous or missing \" in quoted-field");
      } else {
        while (!line_end() && text[i] != ',') {
          if (text[i] == '"') return invalid("line " + std::to_string(line) + ": bare \" in non-quoted-field");
          field.push_back(text[i++]);
        }
      }
      r.fields.push_back(std::move(field));
      if (line_end()) break;
      ++i;  // the comma
    }
    if (i < text.size()) pass_line_end();
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace

Result<std::vector<StaticToken>> parse_token_file(std::string_view text, std::vector<std::string>& warnings) {
  TRY(std::vector<Record> records, read_csv(text));
  std::vector<StaticToken> out;
  std::map<std::string, size_t> known;
  for (Record& r : records) {
    const std::string line = "line " + std::to_string(r.line);
    if (r.fields.size() < 3)
      return invalid(line + ": must have at least 3 columns (token, user name, user uid), found " + std::to_string(r.fields.size()));
    if (r.fields[0].empty()) {
      warnings.push_back(line + ": empty token, the line is skipped");
      continue;
    }
    if (r.fields[1].empty()) return invalid(line + ": the user's name is empty");
    StaticToken t;
    t.token = r.fields[0];
    t.user.name = r.fields[1];
    t.user.uid = r.fields[2];
    if (r.fields.size() >= 4)
      for (auto& g : split(r.fields[3], ','))
        if (std::string_view name = trim(g); !name.empty()) t.user.groups.emplace_back(name);
    auto [it, fresh] = known.emplace(t.token, out.size());
    if (fresh) {
      out.push_back(std::move(t));
    } else {
      warnings.push_back(line + ": the token has been given before; this line counts");
      out[it->second] = std::move(t);
    }
  }
  return out;
}

}  // namespace caravel::apiserver
