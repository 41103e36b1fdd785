#include "store/etcd_messages.h"

#include "kube/wire.h"

namespace caravel::store::etcd {

namespace wire = kube::wire;

namespace {

constexpr int kTargetMod = 2;  // Compare.CompareTarget
constexpr std::string_view kMark = "\"resourceVersion\":\"\"";

Error broken(const char* what) { return internal(std::string("etcd sent a ") + what + " that makes no sense"); }

bool read_kv(std::string_view bytes, Kv& kv) {
  wire::Reader r(bytes);
  for (wire::Item i; r.next(i);) {
    if (i.number == 1) kv.key = i.bytes;
    if (i.number == 2) kv.create_revision = static_cast<int64_t>(i.value);
    if (i.number == 3) kv.mod_revision = static_cast<int64_t>(i.value);
    if (i.number == 5) kv.value = i.bytes;
  }
  return !r.failed();
}
int64_t header_revision(std::string_view bytes) {
  wire::Reader r(bytes);
  int64_t out = 0;
  for (wire::Item i; r.next(i);)
    if (i.number == 3) out = static_cast<int64_t>(i.value);
  return out;
}
// kvs under `field` of a Range (2), Put (2: prev_kv) or DeleteRange (3: prev_kvs) response.
bool read_kvs(std::string_view bytes, int field, std::vector<Kv>& out) {
  wire::Reader r(bytes);
  for (wire::Item i; r.next(i);) {
    if (i.number != field || i.type != wire::kBytes) continue;
    out.emplace_back();
    if (!read_kv(i.bytes, out.back())) return false;
  }
  return !r.failed();
}

}  // namespace

std::string encode(const RangeRequest& r) {
  std::string out;
  wire::put_bytes(out, 1, r.key);
  if (!r.range_end.empty()) wire::put_bytes(out, 2, r.range_end);
  if (r.limit) wire::put_int(out, 3, r.limit);
  if (r.revision) wire::put_int(out, 4, r.revision);
  return out;
}

std::string encode(const Txn& t) {
  std::string out;
  for (auto& c : t.compares) {
    std::string m;
    wire::put_int(m, 2, kTargetMod);  // result: EQUAL is 0
    wire::put_bytes(m, 3, c.key);
    wire::put_int(m, 6, c.mod_revision);
    wire::put_bytes(out, 1, m);
  }
  for (auto& o : t.ops) {
    std::string m, op;
    wire::put_bytes(m, 1, o.key);
    if (o.kind == Op::kPut) {
      wire::put_bytes(m, 2, o.value);
      wire::put_int(m, 4, 1);
    } else {
      wire::put_int(m, 3, 1);
    }
    wire::put_bytes(op, o.kind == Op::kPut ? 2 : 3, m);
    wire::put_bytes(out, 2, op);
  }
  for (auto& c : t.compares) {
    RangeRequest r;
    r.key = c.key;
    std::string op;
    wire::put_bytes(op, 1, encode(r));
    wire::put_bytes(out, 3, op);
  }
  return out;
}

std::string encode_watch(int64_t start_revision) {
  std::string create, out;
  const std::string all(1, '\0');
  wire::put_bytes(create, 1, all);
  wire::put_bytes(create, 2, all);
  wire::put_int(create, 3, start_revision);
  wire::put_bytes(out, 1, create);
  return out;
}
std::string encode_progress_request() {
  std::string out;
  wire::put_bytes(out, 3, "");
  return out;
}
std::string encode_compaction(int64_t revision) {
  std::string out;
  wire::put_int(out, 1, revision);
  return out;
}

Result<RangeResponse> decode_range(std::string_view bytes) {
  RangeResponse out;
  wire::Reader r(bytes);
  for (wire::Item i; r.next(i);) {
    if (i.number == 1) out.revision = header_revision(i.bytes);
    if (i.number == 3) out.more = i.value != 0;
  }
  if (r.failed() || !read_kvs(bytes, 2, out.kvs)) return broken("RangeResponse");
  return out;
}

Result<TxnResponse> decode_txn(std::string_view bytes) {
  TxnResponse out;
  wire::Reader r(bytes);
  for (wire::Item i; r.next(i);) {
    if (i.number == 1) out.revision = header_revision(i.bytes);
    if (i.number == 2) out.succeeded = i.value != 0;
    if (i.number != 3) continue;
    out.responses.emplace_back();
    wire::Reader one(i.bytes);
    for (wire::Item x; one.next(x);)
      if (!read_kvs(x.bytes, x.number == 3 ? 3 : 2, out.responses.back())) return broken("TxnResponse");
  }
  if (r.failed()) return broken("TxnResponse");
  return out;
}

Result<WatchResponse> decode_watch(std::string_view bytes) {
  WatchResponse out;
  wire::Reader r(bytes);
  for (wire::Item i; r.next(i);) {
    if (i.number == 1) out.revision = header_revision(i.bytes);
    if (i.number == 3) out.created = i.value != 0;
    if (i.number == 4) out.canceled = i.value != 0;
    if (i.number == 5) out.compact_revision = static_cast<int64_t>(i.value);
    if (i.number == 6) out.cancel_reason = i.bytes;
    if (i.number == 7) out.fragment = i.value != 0;
    if (i.number != 11) continue;
    WatchEvent e;
    wire::Reader one(i.bytes);
    for (wire::Item x; one.next(x);) {
      if (x.number == 1) e.deleted = x.value == 1;
      if (x.number == 2 && !read_kv(x.bytes, e.kv)) return broken("WatchResponse");
    }
    if (one.failed()) return broken("WatchResponse");
    out.events.push_back(std::move(e));
  }
  if (r.failed()) return broken("WatchResponse");
  return out;
}

size_t stamp_position(std::string_view value) {
  size_t at = value.find(kMark);
  return at == value.npos ? kNoStamp : at + kMark.size() - 1;
}
Bytes stamped(const std::string& value, int64_t revision) {
  size_t at = stamp_position(value);
  if (at == kNoStamp) return std::make_shared<const std::string>(value);
  auto out = std::make_shared<std::string>();
  std::string number = std::to_string(revision);
  out->reserve(value.size() + number.size());
  out->append(value, 0, at).append(number).append(value, at);
  return out;
}

}  // namespace caravel::store::etcd
