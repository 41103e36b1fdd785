// A whole API server in virtual time with played webhooks: for tests of what objects configure.
#pragma once

#include <gtest/gtest.h>

#include "apiserver/api_server.h"
#include "base/scope.h"
#include "base/strings.h"

namespace caravel::apiserver {

using json::Value;

// Plays all webhooks: answers by the path of the url.
class FakeWebhooks final : public WebhookTransport {
 public:
  explicit FakeWebhooks(Executor& ex) : ex_(&ex) {}
  struct Seen {
    std::string url, connect_to, ca;
    Value request;
  };
  std::vector<Seen> seen;
  std::map<std::string, std::function<Value(const Value& request)>> answers;  // by path: the response without uid
  std::map<std::string, Duration> delays;
  std::function<Value(const Value& request)> converter;  // of ConversionReviews

  Task<Result<WebhookReply>> post(WebhookCall call) override {
    std::string path = call.url.substr(call.url.find('/', 8));
    path = path.substr(0, path.find('?'));
    auto body = json::parse(call.body);
    Seen s;
    s.url = call.url;
    s.connect_to = call.connect_to;
    s.ca = call.ca;
    s.request = (*body)["request"];
    seen.push_back(s);
    if (const Value& q = s.request; !q["desiredAPIVersion"].is_null()) {
      Value out = Value::object();
      out["kind"] = "ConversionReview";
      out["apiVersion"] = (*body)["apiVersion"];
      out["response"] = converter(q);
      out["response"]["uid"] = q["uid"];
      WebhookReply converted;
      converted.status = 200;
      converted.body = json::dump(out);
      co_return converted;
    }
    if (delays.count(path)) co_await sleep(*ex_, delays[path]);
    WebhookReply reply;
    auto it = answers.find(path);
    if (it == answers.end()) {
      reply.status = 404;
      co_return reply;
    }
    Value response = it->second(s.request);
    response["uid"] = s.request["uid"];
    Value out = Value::object();
    out["kind"] = "AdmissionReview";
    out["apiVersion"] = (*body)["apiVersion"];
    out["response"] = std::move(response);
    reply.status = 200;
    reply.body = json::dump(out);
    co_return reply;
  }

 private:
  Executor* ex_;
};

inline Value yes() {
  Value v = Value::object();
  v["allowed"] = true;
  return v;
}
inline Value no(std::string message, int code = 0, std::string reason = "") {
  Value v = Value::object();
  v["allowed"] = false;
  if (!message.empty()) v["status"]["message"] = message;
  if (code) v["status"]["code"] = code;
  if (!reason.empty()) v["status"]["reason"] = reason;
  return v;
}
inline Value change(std::string patch) {
  Value v = yes();
  v["patchType"] = "JSONPatch";
  v["patch"] = base64_encode(patch);
  return v;
}

class WebhookTest : public testing::Test {
 protected:
  VirtualExecutor ex{7};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  FakeWebhooks* hooks = nullptr;
  std::unique_ptr<ApiServer> server;

  void SetUp() override {
    ApiServerOptions o;
    auto fake = std::make_unique<FakeWebhooks>(ex);
    hooks = fake.get();
    o.webhooks = std::move(fake);
    auto r = run_task(ex, ApiServer::start(ex, *store, std::move(o)));
    ASSERT_TRUE(r.ok()) << r.error().message;
    server = std::move(*r);
  }
  struct Answer {
    int code = 0;
    Value object;
    std::vector<std::string> warnings;
    std::string message() const { return object["message"].as_string(); }
    const Value& at(std::string path) const {
      const Value* v = &object;
      for (auto& step : split(path, '.')) v = &(*v)[step];
      return *v;
    }
  };
  Request request(std::string method, std::string path, std::string body = "", std::string type = "application/json") {
    Request r;
    r.method = method;
    if (size_t q = path.find('?'); q != path.npos) {
      for (auto& pair : split(path.substr(q + 1), '&')) {
        size_t eq = pair.find('=');
        r.query.emplace_back(pair.substr(0, eq), pair.substr(eq + 1));
      }
      path.resize(q);
    }
    r.path = path;
    r.body = body;
    r.content_type = type;
    auto u = std::make_shared<User>();
    u->name = "admin";
    u->groups = {"system:authenticated", "system:masters"};
    r.user = u;
    r.user_agent = "test/1";
    parse_request_info(r);
    return r;
  }
  Task<Response> handle(Request* r) {
    Response res = co_await server->handle(*r);
    co_return res;
  }
  Answer call(std::string method, std::string path, std::string body = "", std::string type = "application/json") {
    Request r = request(method, path, body, type);
    Response res = run_task(ex, handle(&r));
    Answer a;
    a.code = res.status;
    a.warnings = res.warnings;
    if (res.body)
      if (auto v = json::parse(*res.body); v.ok()) a.object = *v;
    return a;
  }
  Answer patch(std::string path, std::string body) { return call("PATCH", path, body, "application/merge-patch+json"); }
  // A webhook at https://hook.test/<name>, for configmaps unless `rest` says otherwise.
  static std::string hook(std::string name, std::string rest = "", std::string rules = kMaps) {
    return R"({"name":")" + name + R"(.example.com","clientConfig":{"url":"https://hook.test/)" + name + R"("},"admissionReviewVersions":["v1"],"sideEffects":"None","rules":[)" + rules + "]" +
           (rest.empty() ? "" : "," + rest) + "}";
  }
  Answer configure(std::string kind, std::string name, std::string webhooks) {
    return call("POST", "/apis/admissionregistration.k8s.io/v1/" + to_lower(kind) + "webhookconfigurations", R"({"metadata":{"name":")" + name + R"("},"webhooks":[)" + webhooks + "]}");
  }
  Answer make_map(std::string name, std::string extra = "") { return call("POST", kMapsPath, R"({"metadata":{"name":")" + name + R"("})" + extra + "}"); }

  static constexpr const char* kMaps = R"({"operations":["*"],"apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps"]})";
  static constexpr const char* kMapsPath = "/api/v1/namespaces/default/configmaps";
};

}  // namespace caravel::apiserver
