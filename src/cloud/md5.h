// MD5, for SQS' body digests (not for security).
#pragma once

#include <string>
#include <string_view>

namespace caravel::cloud {

std::string md5_hex(std::string_view s);

}  // namespace caravel::cloud
