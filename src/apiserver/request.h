// A request as the API server's core sees it, whichever way it came, and what it answers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/task.h"
#include "store/store.h"

namespace caravel::kube {
struct Decoded;
}

namespace caravel::apiserver {

using store::Bytes;

class AuditTrail;

struct User {
  std::string name;
  std::string uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;
  std::shared_ptr<const User> impersonator;  // who really asks, when he takes this user's place
  bool in_group(std::string_view g) const {
    for (auto& x : groups)
      if (x == g) return true;
    return false;
  }
};
using UserPtr = std::shared_ptr<const User>;
inline UserPtr make_user(std::string name, std::vector<std::string> groups) {
  auto u = std::make_shared<User>();
  u->name = std::move(name);
  u->groups = std::move(groups);
  return u;
}

struct Request {
  std::string method = "GET";
  std::string path;                                        // decoded
  std::vector<std::pair<std::string, std::string>> query;  // decoded
  std::string accept, content_type, user_agent;
  std::string body;
  json::Value object;        // instead of a body, when a create or update comes from this process
  bool canonical = false;    // the object is as our own type's encoder writes it
  bool takes_parts = false;  // a long list may come as Response::parts
  bool in_process = false;   // whoever asks reads Response::value where there is one: no text is made for it
  UserPtr user;
  std::string audit_id, source;       // of audit events: the client's id or ours, the client's address
  bool audited = false;               // the audit policy has been asked
  std::shared_ptr<AuditTrail> trail;  // null: the request is not logged

  // Filled by parse_request_info(). verb: get list watch create update patch delete deletecollection for
  // resources; the lower-case method for other paths.
  bool is_resource = false;
  std::string verb, group, version, ns, plural, name, subresource;
  // What follows the subresource ("proxy/metrics/cadvisor" has rest "metrics/cadvisor").
  std::string rest;

  const std::string* param(std::string_view key) const {
    for (auto& [k, v] : query)
      if (k == key) return &v;
    return nullptr;
  }
  std::string param_or(std::string_view key, std::string_view fallback = "") const {
    auto* v = param(key);
    return v ? *v : std::string(fallback);
  }
  // "true", "1", "" (bare) are true.
  bool flag(std::string_view key) const {
    auto* v = param(key);
    return v && *v != "false" && *v != "0";
  }
};

void parse_request_info(Request& r);

// One event of a watch, as bytes ready to send: {"type":..,"object":..}\n.
struct WireEvent {
  std::string_view type;  // ADDED MODIFIED DELETED BOOKMARK ERROR
  Bytes wire;
  Bytes object;                              // the object alone
  std::shared_ptr<const json::Value> value;  // decoded, when it was at hand
  std::shared_ptr<kube::Decoded> typed;      // of in-process readers
};

class WatchSession {
 public:
  virtual ~WatchSession() = default;
  // What has gathered since the last call, at least one event; nothing at all: the watch is over.
  virtual Task<std::vector<WireEvent>> next() = 0;
  // Readers in this process take `object` or `value`: nothing is made for the wire.
  bool in_process = false;
  // When set, it is offered each event that comes while next() waits and whose bytes all watchers share; what it
  // does not take comes from next(). It must not end the session.
  std::function<bool(const Bytes& wire)> deliver;
  // Asked now and then while nothing happens: true ends the watch.
  std::function<bool()> abandoned;
};

// A long list as it lies in the cache: nobody needs it in one piece before it is sent.
struct BodyParts {
  std::string head;
  std::vector<Bytes> items;  // with commas between them
  // What each item begins with and the list leaves out: items of built-in kinds say neither kind nor apiVersion there.
  // It stands after the item's brace; an item that begins otherwise is written whole.
  std::string without;
  std::string tail;
  size_t size() const;
  // Appends from item `next` on (0 begins with the head) until `out` holds `enough` bytes; true when that was all.
  bool append(std::string& out, size_t& next, size_t enough) const;

 private:
  bool shortened(const std::string& item) const { return !without.empty() && item.compare(1, without.size(), without) == 0; }
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  Bytes body;
  std::shared_ptr<const BodyParts> parts;                    // instead of the body
  std::shared_ptr<const json::Value> value;                  // the body decoded, when it was at hand
  std::vector<std::string> warnings;                         // texts for Warning headers (code 299)
  std::vector<std::pair<std::string, std::string>> headers;  // further ones
  std::unique_ptr<WatchSession> watch;                       // instead of the body
};

Response json_response(int status, const json::Value& v);
Response error_response(const Error& e);

}  // namespace caravel::apiserver
