// DNS messages (RFC 1035, 2782, 3596, 6891): to and from the wire.
//
// Names are text with a final dot ("web.shop.svc.cluster.local."), case kept; a dot or backslash inside
// a label is written \. or \\. decode() trusts nothing: lengths, pointers (backwards only, bounded) and
// counts are checked. Threading: values are plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caravel::net::dns {

enum Type : uint16_t { kA = 1,
                       kNs = 2,
                       kCname = 5,
                       kSoa = 6,
                       kPtr = 12,
                       kMx = 15,
                       kTxt = 16,
                       kAaaa = 28,
                       kSrv = 33,
                       kOpt = 41,
                       kAny = 255 };
enum Rcode : uint8_t { kNoError = 0,
                       kFormErr = 1,
                       kServFail = 2,
                       kNxDomain = 3,
                       kNotImp = 4,
                       kRefused = 5 };
constexpr uint16_t kClassIn = 1;
constexpr size_t kUdpPlainMax = 512;  // without EDNS
constexpr size_t kUdpEdnsMax = 1232;  // what we offer: no fragments anywhere

struct Question {
  std::string name;
  uint16_t type = kA;
  uint16_t klass = kClassIn;
  bool operator==(const Question&) const = default;
};

struct Record {
  std::string name;
  uint16_t type = kA;
  uint16_t klass = kClassIn;
  uint32_t ttl = 0;  // seconds
  // A, AAAA: the address as text. NS, CNAME, PTR: the name. SRV, MX: the target. SOA: the first name.
  // TXT: the text (cut into strings of 255 bytes on the wire). Others: the raw bytes.
  std::string data;
  uint16_t priority = 0, weight = 0, port = 0;                           // SRV; MX uses priority
  std::string mailbox;                                                   // SOA
  uint32_t serial = 0, refresh = 0, retry = 0, expire = 0, minimum = 0;  // SOA
  bool operator==(const Record&) const = default;
};

struct Message {
  uint16_t id = 0;
  bool response = false, authoritative = false, truncated = false, recursion_desired = false, recursion_available = false, authentic_data = false,
       checking_disabled = false;
  uint8_t opcode = 0;
  uint16_t rcode = kNoError;
  std::vector<Question> questions;
  std::vector<Record> answers, authorities, additionals;  // without OPT
  struct Edns {
    uint16_t udp_size = kUdpEdnsMax;
    bool dnssec_ok = false;
    uint8_t version = 0;
    bool operator==(const Edns&) const = default;
  };
  std::optional<Edns> edns;
  bool operator==(const Message&) const = default;
};

// Names are compressed. What does not fit into max_size is left out and `truncated` set.
// An error names the record that cannot be written (a label above 63 bytes, a bad address).
Result<std::string> encode(const Message& message, size_t max_size = 65535);
Result<Message> decode(std::string_view wire);

// The start of an answer to `query`: id, question, flags and EDNS taken over.
Message answer_to(const Message& query);
bool same_name(std::string_view a, std::string_view b);
// "5.11.0.10.in-addr.arpa." for "10.0.11.5"; nullopt for anything else, and back.
std::optional<std::string> reverse_name(std::string_view address);
std::optional<std::string> reverse_address(std::string_view name);
std::string type_name(uint16_t type);

}  // namespace caravel::net::dns
