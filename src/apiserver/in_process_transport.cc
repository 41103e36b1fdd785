#include "apiserver/in_process_transport.h"

#include <deque>

#include "apiserver/api_server.h"
#include "apiserver/status.h"

namespace caravel::apiserver {

namespace {

constexpr size_t kBodyMax = 3u << 20;  // as over HTTP

Request to_request(const UserPtr& user, kube::ApiRequest&& a) {
  Request r;
  r.user = user;
  r.query = std::move(a.query);
  r.content_type = std::move(a.content_type);
  r.canonical = a.canonical;
  r.in_process = true;
  // Writes of whole objects stay documents; everything else is read as text.
  if ((a.verb == "create" || a.verb == "update") && a.path.empty() && (a.subresource.empty() || a.subresource == "status")) r.object = std::move(a.object);
  else r.body = std::move(a.text());
  r.user_agent = "caravel";
  static const std::map<std::string, std::string, std::less<>> kMethods = {
      {"get", "GET"}, {"list", "GET"}, {"watch", "GET"}, {"create", "POST"}, {"post", "POST"}, {"update", "PUT"}, {"put", "PUT"}, {"patch", "PATCH"}, {"delete", "DELETE"}, {"deletecollection", "DELETE"}};
  auto it = kMethods.find(a.verb);
  r.method = it == kMethods.end() ? "GET" : it->second;
  if (!a.path.empty()) {
    r.path = std::move(a.path);
    parse_request_info(r);
    return r;
  }
  r.is_resource = true;
  r.verb = std::move(a.verb);
  r.group = std::move(a.resource.group);
  r.version = std::move(a.resource.version);
  r.plural = std::move(a.resource.plural);
  r.ns = std::move(a.ns);
  r.name = std::move(a.name);
  r.subresource = std::move(a.subresource);
  return r;
}

Error to_error(int code, const json::Value& object) {
  if (!object.is_object()) return kube::error_from_status(code, object);  // plain text
  Error e = status::make(code, object["reason"].as_string(), object["message"].as_string());
  e.details = json::dump(object);
  return e;
}

class Stream final : public kube::WatchStream {
 public:
  explicit Stream(std::unique_ptr<WatchSession> s) : session_(std::move(s)) { session_->in_process = true; }
  Task<Result<std::optional<kube::WatchEvent>>> next() override {
    while (pending_.empty()) {
      auto events = co_await session_->next();
      if (events.empty()) co_return std::optional<kube::WatchEvent>();
      for (auto& e : events) pending_.push_back(std::move(e));
    }
    WireEvent e = std::move(pending_.front());
    pending_.pop_front();
    kube::Document v(e.value, std::move(e.typed));
    if (!e.value) {
      auto parsed = json::parse(*e.object);
      if (!parsed.ok()) co_return internal("an event of the watch cannot be parsed: " + parsed.error().message);
      v = kube::Document(std::move(*parsed));
    }
    if (e.type == "ERROR") co_return to_error(static_cast<int>((*v)["code"].as_int(500)), *v);
    kube::WatchEvent out;
    out.type = e.type == "ADDED"      ? kube::WatchEventType::kAdded
               : e.type == "MODIFIED" ? kube::WatchEventType::kModified
               : e.type == "DELETED"  ? kube::WatchEventType::kDeleted
                                      : kube::WatchEventType::kBookmark;
    out.object = std::move(v);
    co_return std::optional<kube::WatchEvent>(std::move(out));
  }

 private:
  std::unique_ptr<WatchSession> session_;
  std::deque<WireEvent> pending_;
};

class InProcessTransport final : public kube::Transport {
 public:
  InProcessTransport(ApiServer& server, User user) : server_(&server), user_(std::make_shared<const User>(std::move(user))) {}

  Task<Result<kube::ApiResponse>> call(kube::ApiRequest request) override {
    Request r = to_request(user_, std::move(request));
    if (r.body.size() > kBodyMax) co_return status::too_large("Request entity too large: limit is " + std::to_string(kBodyMax));
    Response res = co_await server_->handle(r);
    kube::ApiResponse out;
    out.status = res.status;
    if (res.value) {
      out.object = kube::Document(res.value);
    } else if (res.body) {
      auto v = json::parse(*res.body);
      if (v.ok()) out.object = kube::Document(std::move(*v));
      else out.object = kube::Document(json::Value(*res.body));
    }
    if (res.status >= 400) co_return to_error(res.status, *out.object);
    co_return out;
  }

  Task<Result<std::unique_ptr<kube::WatchStream>>> watch(kube::ApiRequest request) override {
    request.verb = "watch";
    Request r = to_request(user_, std::move(request));
    Response res = co_await server_->handle(r);
    if (!res.watch) {
      auto v = res.body ? json::parse(*res.body) : Result<json::Value>(json::Value());
      co_return to_error(res.status, v.ok() ? *v : json::Value());
    }
    co_return std::unique_ptr<kube::WatchStream>(std::make_unique<Stream>(std::move(res.watch)));
  }

 private:
  ApiServer* server_;
  UserPtr user_;
};

}  // namespace

std::unique_ptr<kube::Transport> make_in_process_transport(ApiServer& server, User user) {
  return std::make_unique<InProcessTransport>(server, std::move(user));
}

}  // namespace caravel::apiserver
