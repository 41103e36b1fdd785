// Which resource and verb a URL means, by upstream's RequestInfo rules.
#include "apiserver/request.h"
#include "apiserver/status.h"
#include "base/strings.h"

namespace caravel::apiserver {

void parse_request_info(Request& r) {
  std::vector<std::string> seg;
  size_t pos = 0;
  while (pos <= r.path.size()) {
    size_t end = r.path.find('/', pos);
    if (end == r.path.npos) end = r.path.size();
    if (end > pos) seg.push_back(r.path.substr(pos, end - pos));
    pos = end + 1;
  }
  r.is_resource = false;
  r.verb = to_lower(r.method);
  size_t i = 0;
  if (seg.size() >= 3 && seg[0] == "api") {
    r.group = "";
    r.version = seg[1];
    i = 2;
  } else if (seg.size() >= 4 && seg[0] == "apis") {
    r.group = seg[1];
    r.version = seg[2];
    i = 3;
  } else {
    return;
  }
  r.is_resource = true;
  bool legacy_watch = false;
  if (seg[i] == "watch" && seg.size() > i + 1) {  // the old /watch/ prefix
    legacy_watch = true;
    ++i;
  }
  if (seg[i] == "namespaces" && seg.size() > i + 1) {
    r.ns = seg[i + 1];
    // /namespaces/x, /namespaces/x/status and /namespaces/x/finalize are about the namespace itself.
    if (seg.size() > i + 2 && !(r.group.empty() && (seg[i + 2] == "status" || seg[i + 2] == "finalize"))) {
      i += 2;
    }
  }
  r.plural = seg[i];
  if (seg.size() > i + 1) r.name = seg[i + 1];
  if (seg.size() > i + 2) r.subresource = seg[i + 2];
  for (size_t k = i + 3; k < seg.size(); ++k) r.rest += (r.rest.empty() ? "" : "/") + seg[k];
  if (r.subresource == "proxy" && !r.path.empty() && r.path.back() == '/' && !r.rest.empty()) r.rest += "/";

  const std::string& m = r.method;
  if (m == "POST") r.verb = "create";
  else if (m == "GET" || m == "HEAD") r.verb = "get";
  else if (m == "PUT") r.verb = "update";
  else if (m == "PATCH") r.verb = "patch";
  else if (m == "DELETE") r.verb = "delete";
  if (r.name.empty() && r.verb == "get") {
    auto* w = r.param("watch");
    bool watch = legacy_watch || (w && (w->empty() || *w == "true" || *w == "1"));
    r.verb = watch ? "watch" : "list";
  } else if (!r.name.empty() && r.verb == "get" && r.subresource.empty()) {
    if (legacy_watch) {
      r.verb = "watch";
      r.query.emplace_back("fieldSelector", "metadata.name=" + r.name);
      r.name.clear();
    }
  }
  if (r.name.empty() && r.verb == "delete") r.verb = "deletecollection";
}

Response json_response(int status, const json::Value& v) {
  Response r;
  r.status = status;
  r.body = std::make_shared<const std::string>(json::dump(v) + "\n");
  return r;
}

Response error_response(const Error& e) {
  StatusObject s = to_status(e);
  if (s.plain) {
    Response r;
    r.status = s.code;
    r.content_type = "text/plain; charset=utf-8";
    r.headers.emplace_back("X-Content-Type-Options", "nosniff");
    r.body = std::make_shared<const std::string>(e.message + "\n");
    return r;
  }
  Response r = json_response(s.code, s.object);
  int64_t retry = s.object["details"]["retryAfterSeconds"].as_int();
  if (retry) r.headers.emplace_back("Retry-After", std::to_string(retry));
  return r;
}

}  // namespace caravel::apiserver
