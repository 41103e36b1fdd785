#include "apiserver/authentication/token_webhook.h"

#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr size_t kKeptMax = 32'768;

Value strings(const std::vector<std::string>& v) {
  Value a = Value::array();
  for (auto& s : v) a.push_back(s);
  return a;
}

}  // namespace

Task<Result<Value>> ask_webhook(Executor* ex, Exchange exchange, WebhookEndpoint to, std::string body) {
  const std::string url = to.url;
  auto res = co_await post_to_webhook(ex, std::move(exchange), std::move(to), std::move(body));
  if (!res.ok()) co_return std::move(res).error();
  auto answer = json::parse(res->body);
  if (!answer.ok() || !answer->is_object()) co_return unavailable("Post \"" + url + "\": the answer is no JSON object");
  co_return std::move(*answer);
}

Task<TokenAnswer> TokenWebhook::authenticate(std::string token, std::vector<std::string> audiences) {
  if (audiences.empty()) audiences = api_audiences_;
  const std::string key = sha256(token + "\n" + join(audiences, "\n"));
  Time now = ex_->now();
  if (auto it = kept_.find(key); it != kept_.end()) {
    if (now < it->second.until) co_return it->second.answer;
    kept_.erase(it);
  }
  Value review = Value::object();
  review["kind"] = "TokenReview";
  review["apiVersion"] = "authentication.k8s.io/" + to_.version;
  review["metadata"]["creationTimestamp"] = Value();
  review["spec"]["token"] = token;
  if (!audiences.empty()) review["spec"]["audiences"] = strings(audiences);
  review["status"]["user"] = Value::object();
  TokenAnswer answer;
  auto got = co_await ask_webhook(ex_, exchange_, to_, json::dump(review));
  if (!got.ok()) {
    answer.error = got.error().message;
    co_return answer;
  }
  const Value status = std::move((*got)["status"]);
  if (!status["authenticated"].as_bool()) {
    answer.error = status["error"].as_string();
  } else {
    auto u = std::make_shared<User>();
    const Value& user = status["user"];
    u->name = user["username"].as_string();
    u->uid = user["uid"].as_string();
    for (auto& g : user["groups"].as_array()) u->groups.push_back(g.as_string());
    for (auto& m : user["extra"].as_object())
      for (auto& v : m.value.as_array()) u->extra[m.key].push_back(v.as_string());
    // A webhook that says nothing of audiences means the API server's.
    std::vector<std::string> meant;
    for (auto& a : status["audiences"].as_array()) meant.push_back(a.as_string());
    if (meant.empty()) meant = api_audiences_;
    for (auto& asked : audiences)
      if (std::find(meant.begin(), meant.end(), asked) != meant.end()) answer.audiences.push_back(asked);
    if (!audiences.empty() && answer.audiences.empty()) {
      answer.error = "the token is for none of the audiences [" + join(audiences, " ") + "]";
    } else if (u->name.empty()) {
      answer.error = "the webhook authenticated a user without a name";
    } else {
      if (!u->in_group("system:authenticated")) u->groups.emplace_back("system:authenticated");
      answer.user = std::move(u);
    }
  }
  if (keep_ > Duration(0)) {
    if (kept_.size() >= kKeptMax) kept_.clear();
    kept_[key] = {answer, ex_->now() + keep_};
  }
  co_return answer;
}

}  // namespace caravel::apiserver
