// Hashes. FNV is the one upstream controllers use for names; SHA-256 is for content.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace caravel {

uint32_t fnv32(std::string_view s);   // FNV-1
uint32_t fnv32a(std::string_view s);  // FNV-1a
uint64_t fnv64a(std::string_view s);
std::string sha256(std::string_view s);  // 32 raw bytes
std::string sha256_hex(std::string_view s);
std::string sha1(std::string_view s);  // 20 raw bytes (WebSocket accept key)
std::string hmac_sha256(std::string_view key, std::string_view data);
uint32_t crc32(std::string_view s);  // IEEE (DynamoDB's x-amz-crc32)
// Kubernetes' rand.SafeEncodeString: digits to the alphabet "bcdfghjklmnpqrstvwxz2456789".
std::string safe_encode(std::string_view s);
// Compares without telling by its time where two secrets differ.
bool equal_secret(std::string_view a, std::string_view b);

}  // namespace caravel
