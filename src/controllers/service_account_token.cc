// ServiceAccount tokens in Secrets: for those who need a token that does not end. A Secret that names an account gets a
// token, and goes when the account goes.
#include "controllers/service_account_token.h"

#include "controllers/common.h"
#include "controllers/context.h"

namespace caravel::controllers {

using kube::core::Secret;
using kube::core::ServiceAccount;

namespace {

std::string note(const Secret& s, const char* key) {
  auto it = s.metadata.annotations.find(key);
  return it == s.metadata.annotations.end() ? "" : it->second;
}
bool fill(std::map<std::string, std::string>& data, const char* key, const std::string& value) {
  auto it = data.find(key);
  if (it != data.end() && it->second == value) return false;
  data[key] = value;
  return true;
}

class TokenController final : public Runner {
 public:
  explicit TokenController(const Context& c)
      : make_(c.options.secret_token),
        ca_(c.options.root_ca),
        client_(c.client("tokens-controller")),
        secrets_(c.informer<Secret>()),
        accounts_(c.informer<ServiceAccount>()),
        queue_(
            c.ex, "serviceaccount-token-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    secrets_.add_handler([this](auto& old, auto& now) {
      if (now && is_token_secret(*now)) queue_.enqueue("s/" + kube::ObjectKey{now->metadata.namespace_, now->metadata.name}.text());
      if (!now && is_token_secret(*old)) queue_.enqueue("a/" + kube::ObjectKey{old->metadata.namespace_, note(*old, kTokenAccount)}.text());
    });
    accounts_.add_handler([this](auto& old, auto& now) {
      if (old && now && old->metadata.uid == now->metadata.uid) return;
      const ServiceAccount& a = now ? *now : *old;
      for (auto& s : secrets_.in_namespace(a.metadata.namespace_))
        if (is_token_secret(*s) && note(*s, kTokenAccount) == a.metadata.name) queue_.enqueue("s/" + kube::ObjectKey{s->metadata.namespace_, s->metadata.name}.text());
    });
  }
  void start(TaskScope& scope) override {
    if (make_) queue_.start(scope);
  }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    kube::ObjectKey k = kube::ObjectKey::parse(key.substr(2));
    Result<kube::Requeue> done = kube::Requeue::never();
    if (key[0] == 'a') done = co_await forget_secrets(k);
    else done = co_await sync_secret(k);
    co_return done;
  }

  // A token Secret has gone: its account lists it no more. Other Secrets in the list are the user's.
  Task<Result<kube::Requeue>> forget_secrets(kube::ObjectKey k) {
    std::shared_ptr<const ServiceAccount> seen = accounts_.get(k);
    if (!seen || seen->secrets.empty()) co_return kube::Requeue::never();
    for (auto& ref : seen->secrets) {
      if (secrets_.get(k.ns, ref.name)) continue;
      Result<Secret> there = co_await client_.get<Secret>(k.ns, ref.name);
      if (there.ok()) continue;
      if (there.error().code != Code::kNotFound) co_return std::move(there).error();
      Result<ServiceAccount> live = co_await client_.get<ServiceAccount>(k.ns, k.name);
      if (!live.ok() && live.error().code == Code::kNotFound) co_return kube::Requeue::never();
      if (!live.ok()) co_return std::move(live).error();
      if (std::erase_if(live->secrets, [&](auto& r) { return r.name == ref.name; }) == 0) continue;
      ServiceAccount next = std::move(*live);
      Result<ServiceAccount> r = co_await client_.update<ServiceAccount>(std::move(next));
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    co_return kube::Requeue::never();
  }

  Task<Result<kube::Requeue>> sync_secret(kube::ObjectKey key) {
    std::shared_ptr<const Secret> s = secrets_.get(key);
    if (!s || !is_token_secret(*s) || is_terminating(s->metadata)) co_return kube::Requeue::never();
    const std::string ns = s->metadata.namespace_, name = note(*s, kTokenAccount);
    std::shared_ptr<const ServiceAccount> account = accounts_.get(ns, name);
    if (!account) {  // our copy may be older than the Secret
      Result<ServiceAccount> live = co_await client_.get<ServiceAccount>(ns, name);
      if (live.ok()) account = std::make_shared<const ServiceAccount>(std::move(*live));
      else if (live.error().code != Code::kNotFound) co_return std::move(live).error();
    }
    if (is_token_secret_stale(*s, account.get())) {
      kube::DeleteOptions o;
      o.uid = s->metadata.uid;
      Status d = co_await client_.remove<Secret>(ns, s->metadata.name, std::move(o));
      if (!d.ok() && d.error().code != Code::kNotFound && d.error().code != Code::kConflict) co_return std::move(d).error();
      co_return kube::Requeue::never();
    }
    Secret next = *s;
    const bool wants_token = needs_token(next);
    if (!complete_token_secret(next, *account, ca_)) co_return kube::Requeue::never();
    if (wants_token) {
      Result<std::string> token = make_(ns, name, account->metadata.uid, s->metadata.name);
      if (!token.ok()) co_return std::move(token).error();
      next.data["token"] = std::move(*token);
    }
    Result<Secret> r = co_await client_.update<Secret>(std::move(next));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }

  std::function<Result<std::string>(const std::string&, const std::string&, const std::string&, const std::string&)> make_;
  std::string ca_;
  kube::Client client_;
  kube::Informer<Secret>& secrets_;
  kube::Informer<ServiceAccount>& accounts_;
  kube::Controller queue_;
};

}  // namespace

bool is_token_secret(const Secret& s) { return s.type == kTokenSecretType && !note(s, kTokenAccount).empty(); }

bool is_token_secret_stale(const Secret& s, const ServiceAccount* account) {
  if (!account) return true;
  const std::string uid = note(s, kTokenAccountUid);
  return !uid.empty() && uid != account->metadata.uid;
}

// One that has all its data is left alone, whatever its notes say.
bool complete_token_secret(Secret& s, const ServiceAccount& account, const std::string& ca) {
  bool changed = needs_token(s);
  if (!ca.empty()) changed = fill(s.data, "ca.crt", ca) || changed;
  if (s.data["namespace"].empty()) changed = fill(s.data, "namespace", s.metadata.namespace_) || changed;
  if (!changed) return false;
  s.metadata.annotations[kTokenAccount] = account.metadata.name;
  s.metadata.annotations[kTokenAccountUid] = account.metadata.uid;
  return true;
}

bool needs_token(const Secret& s) {
  auto it = s.data.find("token");
  return it == s.data.end() || it->second.empty();
}

std::unique_ptr<Runner> make_service_account_token(const Context& c) { return std::make_unique<TokenController>(c); }

}  // namespace caravel::controllers
