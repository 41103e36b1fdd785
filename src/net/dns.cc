#include "net/dns.h"

#include <arpa/inet.h>

#include <map>

#include "base/strings.h"

namespace caravel::net::dns {
namespace {

constexpr size_t kNameMax = 255, kLabelMax = 63;
constexpr int kPointersMax = 64;

Error broken(const char* what) { return make_error(Code::kBadRequest, std::string("malformed DNS message: ") + what); }

class Writer {
 public:
  std::string out;
  void u8(uint8_t v) { out += static_cast<char>(v); }
  void u16(uint16_t v) {
    u8(static_cast<uint8_t>(v >> 8));
    u8(static_cast<uint8_t>(v));
  }
  void u32(uint32_t v) {
    u16(static_cast<uint16_t>(v >> 16));
    u16(static_cast<uint16_t>(v));
  }
  void patch16(size_t at, uint16_t v) {
    out[at] = static_cast<char>(v >> 8);
    out[at + 1] = static_cast<char>(v);
  }
  bool name(std::string_view text, bool compress = true) {
    std::vector<std::string> labels(1);
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\' && i + 1 < text.size()) labels.back() += text[++i];
      else if (text[i] == '.') labels.emplace_back();
      else labels.back() += text[i];
    }
    if (labels.back().empty()) labels.pop_back();
    size_t total = 1;
    for (auto& l : labels) {
      if (l.empty() && labels.size() > 1) return false;
      if (l.size() > kLabelMax) return false;
      total += l.size() + 1;
    }
    if (total > kNameMax) return false;
    if (labels.size() == 1 && labels[0].empty()) labels.clear();  // "."
    for (size_t i = 0; i < labels.size(); ++i) {
      std::string suffix;
      for (size_t j = i; j < labels.size(); ++j) suffix += to_lower(labels[j]) + '\0';
      auto it = known_.find(suffix);
      if (compress && it != known_.end()) {
        u16(static_cast<uint16_t>(0xC000 | it->second));
        return true;
      }
      if (out.size() < 0x4000) known_.emplace(suffix, static_cast<uint16_t>(out.size()));
      u8(static_cast<uint8_t>(labels[i].size()));
      out += labels[i];
    }
    u8(0);
    return true;
  }
  // Forgets what was written after `size`.
  void rewind(size_t size) {
    out.resize(size);
    std::erase_if(known_, [size](auto& k) { return k.second >= size; });
  }

 private:
  std::map<std::string, uint16_t> known_;
};

bool write_data(Writer& w, const Record& r) {
  switch (r.type) {
    case kA: {
      char b[4];
      if (inet_pton(AF_INET, r.data.c_str(), b) != 1) return false;
      w.out.append(b, 4);
      return true;
    }
    case kAaaa: {
      char b[16];
      if (inet_pton(AF_INET6, r.data.c_str(), b) != 1) return false;
      w.out.append(b, 16);
      return true;
    }
    case kNs:
    case kCname:
    case kPtr: return w.name(r.data);
    case kMx:
      w.u16(r.priority);
      return w.name(r.data);
    case kSrv:
      w.u16(r.priority);
      w.u16(r.weight);
      w.u16(r.port);
      return w.name(r.data, false);  // RFC 2782: not compressed
    case kSoa:
      if (!w.name(r.data) || !w.name(r.mailbox)) return false;
      for (uint32_t v : {r.serial, r.refresh, r.retry, r.expire, r.minimum}) w.u32(v);
      return true;
    case kTxt:
      for (size_t i = 0; i == 0 || i < r.data.size(); i += 255) {
        std::string piece = r.data.substr(i, 255);
        w.u8(static_cast<uint8_t>(piece.size()));
        w.out += piece;
      }
      return true;
    default:
      w.out += r.data;
      return true;
  }
}

bool write_record(Writer& w, const Record& r) {
  if (!w.name(r.name)) return false;
  w.u16(r.type);
  w.u16(r.klass);
  w.u32(r.ttl);
  size_t length_at = w.out.size();
  w.u16(0);
  if (!write_data(w, r)) return false;
  size_t n = w.out.size() - length_at - 2;
  if (n > 65535) return false;
  w.patch16(length_at, static_cast<uint16_t>(n));
  return true;
}

class Reader {
 public:
  explicit Reader(std::string_view wire) : wire_(wire) {}
  size_t at = 0;
  bool u8(uint8_t& v) {
    if (at + 1 > wire_.size()) return false;
    v = static_cast<uint8_t>(wire_[at++]);
    return true;
  }
  bool u16(uint16_t& v) {
    uint8_t a, b;
    if (!u8(a) || !u8(b)) return false;
    v = static_cast<uint16_t>(a << 8 | b);
    return true;
  }
  bool u32(uint32_t& v) {
    uint16_t a, b;
    if (!u16(a) || !u16(b)) return false;
    v = static_cast<uint32_t>(a) << 16 | b;
    return true;
  }
  bool bytes(size_t n, std::string& out) {
    if (n > wire_.size() || at > wire_.size() - n) return false;
    out.assign(wire_.substr(at, n));
    at += n;
    return true;
  }
  bool name(std::string& out) {
    out.clear();
    size_t p = at, end = 0, total = 1, lowest = at;
    int pointers = 0;
    for (;;) {
      if (p >= wire_.size()) return false;
      uint8_t n = static_cast<uint8_t>(wire_[p]);
      if ((n & 0xC0) == 0xC0) {
        if (p + 1 >= wire_.size() || ++pointers > kPointersMax) return false;
        size_t to = static_cast<size_t>(n & 0x3F) << 8 | static_cast<uint8_t>(wire_[p + 1]);
        if (!end) end = p + 2;
        if (to >= lowest) return false;  // only backwards
        lowest = p = to;
        continue;
      }
      if (n & 0xC0) return false;
      if (n == 0) {
        at = end ? end : p + 1;
        if (out.empty()) out = ".";
        return true;
      }
      if (p + 1 + n > wire_.size() || (total += n + 1u) > kNameMax) return false;
      for (char c : wire_.substr(p + 1, n)) {
        if (c == '.' || c == '\\') out += '\\';
        out += c;
      }
      out += '.';
      p += 1 + n;
    }
  }

 private:
  std::string_view wire_;
};

bool read_data(Reader& in, Record& r, size_t length) {
  size_t end = in.at + length;
  switch (r.type) {
    case kA:
    case kAaaa: {
      std::string b;
      char text[INET6_ADDRSTRLEN];
      if (length != (r.type == kA ? 4u : 16u) || !in.bytes(length, b)) return false;
      r.data = inet_ntop(r.type == kA ? AF_INET : AF_INET6, b.data(), text, sizeof text);
      return true;
    }
    case kNs:
    case kCname:
    case kPtr: return in.name(r.data) && in.at == end;
    case kMx: return in.u16(r.priority) && in.name(r.data) && in.at == end;
    case kSrv: return in.u16(r.priority) && in.u16(r.weight) && in.u16(r.port) && in.name(r.data) && in.at == end;
    case kSoa:
      return in.name(r.data) && in.name(r.mailbox) && in.u32(r.serial) && in.u32(r.refresh) && in.u32(r.retry) && in.u32(r.expire) && in.u32(r.minimum) && in.at == end;
    case kTxt:
      while (in.at < end) {
        uint8_t n;
        std::string piece;
        if (!in.u8(n) || in.at + n > end || !in.bytes(n, piece)) return false;
        r.data += piece;
      }
      return in.at == end;
    default: return in.bytes(length, r.data);
  }
}

bool read_records(Reader& in, size_t count, Message& m, std::vector<Record>& out, bool additional) {
  for (size_t i = 0; i < count; ++i) {
    Record r;
    uint16_t length;
    if (!in.name(r.name) || !in.u16(r.type) || !in.u16(r.klass) || !in.u32(r.ttl) || !in.u16(length)) return false;
    size_t start = in.at;
    std::string raw;
    if (!in.bytes(length, raw)) return false;
    if (r.type == kOpt) {
      if (!additional || m.edns || r.name != ".") return false;
      m.edns = Message::Edns{r.klass, (r.ttl & 0x8000) != 0, static_cast<uint8_t>(r.ttl >> 16)};
      m.rcode = static_cast<uint16_t>(m.rcode | (r.ttl >> 24) << 4);
      continue;
    }
    in.at = start;
    if (!read_data(in, r, length)) return false;
    out.push_back(std::move(r));
  }
  return true;
}

}  // namespace

Result<std::string> encode(const Message& m, size_t max_size) {
  Writer w;
  w.u16(m.id);
  w.u16(0);
  for (int i = 0; i < 4; ++i) w.u16(0);
  for (auto& q : m.questions) {
    if (!w.name(q.name)) return invalid("DNS name \"" + q.name + "\" cannot be written");
    w.u16(q.type);
    w.u16(q.klass);
  }
  constexpr size_t kOptSize = 11;
  size_t room = max_size - std::min(max_size, m.edns ? kOptSize : 0);
  bool truncated = m.truncated;
  size_t counts[3] = {};
  const std::vector<Record>* sections[3] = {&m.answers, &m.authorities, &m.additionals};
  bool full = false;
  for (int s = 0; s < 3 && !full; ++s) {
    for (auto& r : *sections[s]) {
      size_t before = w.out.size();
      if (!write_record(w, r)) return invalid("DNS record " + r.name + " " + type_name(r.type) + " \"" + r.data + "\" cannot be written");
      if (w.out.size() > room) {
        w.rewind(before);
        full = true;
        truncated = truncated || s < 2;  // additional data may be left out silently
        break;
      }
      ++counts[s];
    }
  }
  if (m.edns) {
    w.u8(0);
    w.u16(kOpt);
    w.u16(m.edns->udp_size);
    w.u32(static_cast<uint32_t>(m.rcode >> 4) << 24 | static_cast<uint32_t>(m.edns->version) << 16 | (m.edns->dnssec_ok ? 0x8000u : 0u));
    w.u16(0);
  }
  uint16_t flags = static_cast<uint16_t>((m.response ? 0x8000 : 0) | (m.opcode & 15) << 11 | (m.authoritative ? 0x400 : 0) | (truncated ? 0x200 : 0) |
                                         (m.recursion_desired ? 0x100 : 0) | (m.recursion_available ? 0x80 : 0) | (m.authentic_data ? 0x20 : 0) |
                                         (m.checking_disabled ? 0x10 : 0) | (m.rcode & 15));
  w.patch16(2, flags);
  w.patch16(4, static_cast<uint16_t>(m.questions.size()));
  w.patch16(6, static_cast<uint16_t>(counts[0]));
  w.patch16(8, static_cast<uint16_t>(counts[1]));
  w.patch16(10, static_cast<uint16_t>(counts[2] + (m.edns ? 1 : 0)));
  return std::move(w.out);
}

Result<Message> decode(std::string_view wire) {
  Reader in(wire);
  Message m;
  uint16_t flags, counts[4];
  if (!in.u16(m.id) || !in.u16(flags)) return broken("the header is cut");
  for (auto& c : counts)
    if (!in.u16(c)) return broken("the header is cut");
  m.response = flags & 0x8000;
  m.opcode = flags >> 11 & 15;
  m.authoritative = flags & 0x400;
  m.truncated = flags & 0x200;
  m.recursion_desired = flags & 0x100;
  m.recursion_available = flags & 0x80;
  m.authentic_data = flags & 0x20;
  m.checking_disabled = flags & 0x10;
  m.rcode = flags & 15;
  for (int i = 0; i < counts[0]; ++i) {
    Question q;
    if (!in.name(q.name) || !in.u16(q.type) || !in.u16(q.klass)) return broken("a question");
    m.questions.push_back(std::move(q));
  }
  if (!read_records(in, counts[1], m, m.answers, false)) return broken("an answer record");
  if (!read_records(in, counts[2], m, m.authorities, false)) return broken("an authority record");
  if (!read_records(in, counts[3], m, m.additionals, true)) return broken("an additional record");
  return m;
}

Message answer_to(const Message& query) {
  Message m;
  m.id = query.id;
  m.response = true;
  m.opcode = query.opcode;
  m.recursion_desired = query.recursion_desired;
  m.checking_disabled = query.checking_disabled;
  m.questions = query.questions;
  if (query.edns) m.edns = Message::Edns{kUdpEdnsMax, query.edns->dnssec_ok, 0};
  return m;
}

bool same_name(std::string_view a, std::string_view b) { return equals_ignore_case(a, b); }

std::optional<std::string> reverse_name(std::string_view address) {
  unsigned char b[16];
  std::string text(address), out;
  if (inet_pton(AF_INET, text.c_str(), b) == 1) return format("%d.%d.%d.%d.in-addr.arpa.", b[3], b[2], b[1], b[0]);
  if (inet_pton(AF_INET6, text.c_str(), b) != 1) return std::nullopt;
  for (int i = 15; i >= 0; --i) out += format("%x.%x.", b[i] & 15, b[i] >> 4);
  return out + "ip6.arpa.";
}

std::optional<std::string> reverse_address(std::string_view name) {
  std::string lower = to_lower(name);
  auto parts = split(lower, '.');
  if (lower.ends_with(".in-addr.arpa.") && parts.size() == 7) {
    std::string out = parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0];
    unsigned char b[4];
    if (inet_pton(AF_INET, out.c_str(), b) == 1) return out;
  }
  if (lower.ends_with(".ip6.arpa.") && parts.size() == 35) {
    unsigned char b[16];
    for (int i = 0; i < 16; ++i) {
      auto& low = parts[static_cast<size_t>(30 - 2 * i)];
      auto& high = parts[static_cast<size_t>(31 - 2 * i)];
      if (low.size() != 1 || high.size() != 1) return std::nullopt;
      auto byte = hex_decode(high + low);
      if (!byte) return std::nullopt;
      b[i] = static_cast<unsigned char>((*byte)[0]);
    }
    char text[INET6_ADDRSTRLEN];
    return inet_ntop(AF_INET6, b, text, sizeof text);
  }
  return std::nullopt;
}

std::string type_name(uint16_t type) {
  switch (type) {
    case kA: return "A";
    case kNs: return "NS";
    case kCname: return "CNAME";
    case kSoa: return "SOA";
    case kPtr: return "PTR";
    case kMx: return "MX";
    case kTxt: return "TXT";
    case kAaaa: return "AAAA";
    case kSrv: return "SRV";
    case kAny: return "ANY";
    default: return "TYPE" + std::to_string(type);
  }
}

}  // namespace caravel::net::dns
