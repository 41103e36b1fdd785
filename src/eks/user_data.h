// EC2 user data, read the way Amazon Linux 2023's nodeadm reads it: a MIME multi-part message or one bare
// part; application/node.eks.aws parts are NodeConfig YAML, merged in order; text/x-shellscript parts are
// run. Gzip is not accepted. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::eks {

struct UserData {
  json::Value node_config;           // merged NodeConfig; null if there is none
  std::vector<std::string> scripts;  // in order
};

Result<UserData> parse_user_data(std::string_view text);

}  // namespace caravel::eks
