#include "node/sources.h"

#include <algorithm>

#include "kube/types/authentication.h"

namespace caravel::node {
namespace {

const kube::Resource& service_accounts() { return core::ServiceAccount::resource(); }

json::Value token_request(const core::Pod& pod, const TokenWish& wish) {
  kube::authentication::TokenRequest q;
  if (!wish.audience.empty()) q.spec.audiences.push_back(wish.audience);
  q.spec.expiration_seconds = wish.expiration_seconds;
  auto& ref = q.spec.bound_object_ref.emplace();
  ref.kind = "Pod";
  ref.api_version = "v1";
  ref.name = pod.metadata.name;
  ref.uid = pod.metadata.uid;
  return kube::to_json(q);
}

}  // namespace

Task<Result<std::map<std::string, std::string>>> PodTokens::get(std::shared_ptr<const core::Pod> pod) {
  std::map<std::string, std::string> out;
  const std::string account = pod->spec.service_account_name.empty() ? "default" : pod->spec.service_account_name;
  const std::vector<TokenWish> wishes = token_wishes(*pod);
  for (const TokenWish& wish : wishes) {
    auto it = tokens_.find(wish.key);
    if (it == tokens_.end() || it->second.renew_at <= ex_->now()) {
      const Time asked = ex_->now();
      json::Value request = token_request(*pod, wish);
      auto r = co_await client_.create_subresource(service_accounts(), pod->metadata.namespace_, account, "token", std::move(request));
      if (!r.ok()) {
        if (it != tokens_.end()) {  // the old one still works for a while
          out[wish.key] = it->second.text;
          continue;
        }
        co_return wrap(std::move(r).error(), "failed to fetch token of ServiceAccount " + pod->metadata.namespace_ + "/" + account);
      }
      auto answer = kube::from_json<kube::authentication::TokenRequest>(*r);
      if (!answer.ok()) co_return std::move(answer).error();
      Duration life = answer->status.expiration_timestamp - asked;
      if (life <= Duration(0)) life = std::chrono::seconds(wish.expiration_seconds);
      Token t;
      t.text = answer->status.token;
      t.renew_at = asked + std::min<Duration>(life / 5 * 4, std::chrono::hours(24));
      it = tokens_.insert_or_assign(wish.key, std::move(t)).first;
    }
    out[wish.key] = it->second.text;
  }
  co_return out;
}

std::optional<Time> PodTokens::renew_at() const {
  std::optional<Time> out;
  for (auto& [k, t] : tokens_) out = out ? std::min(*out, t.renew_at) : t.renew_at;
  return out;
}

}  // namespace caravel::node
