// The few etcd v3 messages that the engine speaks (etcdserverpb and mvccpb), by their field numbers.
// Plain functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace caravel::store::etcd {

struct Kv {
  std::string key, value;
  int64_t create_revision = 0, mod_revision = 0;
};
struct RangeRequest {
  std::string key, range_end;
  int64_t limit = 0, revision = 0;
};
struct RangeResponse {
  int64_t revision = 0;
  std::vector<Kv> kvs;
  bool more = false;
};
struct TxnResponse {
  int64_t revision = 0;
  bool succeeded = false;
  std::vector<std::vector<Kv>> responses;  // a range's keys, or what a put or delete replaced
};
struct WatchEvent {
  bool deleted = false;
  Kv kv;
};
struct WatchResponse {
  int64_t revision = 0;
  bool created = false, canceled = false, fragment = false;
  int64_t compact_revision = 0;
  std::string cancel_reason;
  std::vector<WatchEvent> events;
};

std::string encode(const RangeRequest& r);
// Puts and deletes ask for what they replaced; the failure branch reads the compared keys.
std::string encode(const Txn& t);
std::string encode_watch(int64_t start_revision);  // all keys
std::string encode_progress_request();
std::string encode_compaction(int64_t revision);

Result<RangeResponse> decode_range(std::string_view bytes);
Result<TxnResponse> decode_txn(std::string_view bytes);
Result<WatchResponse> decode_watch(std::string_view bytes);

// Where the revision goes in a value: behind the first empty "resourceVersion"; kNoStamp if there is none.
size_t stamp_position(std::string_view value);
Bytes stamped(const std::string& value, int64_t revision);

}  // namespace caravel::store::etcd
