// The file of --token-auth-file: lines of token,user,uid,"group1,group2", in CSV as RFC 4180 and Go's reader
// understand it (quotes are doubled inside quotes, empty lines are skipped).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "apiserver/request.h"

namespace caravel::apiserver {

struct StaticToken {
  std::string token;
  User user;
};
// Errors and `warnings` name lines, never tokens. A token that comes again counts as its last line says.
Result<std::vector<StaticToken>> parse_token_file(std::string_view text, std::vector<std::string>& warnings);

}  // namespace caravel::apiserver
