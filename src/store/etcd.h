// The etcd v3 engine: the same interface, the state in an etcd cluster that several API servers share.
//
// A mirror of the keys is kept here and follows one etcd watch; reads first ask etcd how far it is and then
// wait for the mirror, so they are linearizable. Transactions go to etcd and are answered when the mirror
// has them. Values that ask to be stamped are stored with an empty "resourceVersion" and filled from
// mod_revision on reading, as upstream does: etcdctl shows plain JSON.
//
// Any endpoint will do; when one fails the next is asked. A write whose answer was lost is asked again and
// recognised if it had taken place. A watch resumes from the last revision that was seen; when that is
// compacted meanwhile, the difference between then and now is told as events.
// Threading: the loop's thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/event_loop.h"
#include "net/tls.h"
#include "store/store.h"

namespace caravel::store {

struct EtcdOptions {
  std::vector<std::string> endpoints;  // "http://127.0.0.1:2379", "https://..."
  std::shared_ptr<net::TlsClientContext> tls;
  HistoryLimits history;
  // etcd forgets what is older than one to two of these; 0: somebody else compacts.
  Duration compact_every = std::chrono::minutes(5);
};
// "etcd=http://a:2379,http://b:2379" -> endpoints; an error that says what is wrong with the text.
Result<std::vector<std::string>> parse_etcd_endpoints(const std::string& text);
// Loads the mirror; kUnavailable when no endpoint answers within a few attempts.
Task<Result<std::unique_ptr<Store>>> open_etcd_store(net::EventLoop* loop, EtcdOptions options);

}  // namespace caravel::store
