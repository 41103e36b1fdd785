#include "controllers/housekeeping.h"

#include "controllers/common.h"
#include "controllers/context.h"

namespace caravel::controllers {

using kube::core::Node;
using kube::core::Secret;

namespace {

constexpr const char* kTtl = "node.alpha.kubernetes.io/ttl";
constexpr const char* kTokenType = "bootstrap.kubernetes.io/token";
constexpr const char* kTokenNamespace = "kube-system";

struct Step {
  size_t min, max;
  int seconds;
};
constexpr Step kSteps[] = {{0, 100, 0}, {90, 500, 15}, {450, 1000, 30}, {900, 2000, 60}, {1800, static_cast<size_t>(-1), 300}};

class NodeTtl final : public Runner {
 public:
  explicit NodeTtl(const Context& c)
      : client_(c.client("ttl-controller")), nodes_(c.informer<Node>()), queue_(
                                                                             c.ex, "ttl-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    nodes_.add_handler([this](auto& old, auto& now) {
      int before = seconds_;
      seconds_ = node_ttl(nodes_.size(), step_);
      if (before != seconds_)
        for (auto& [k, n] : nodes_.all()) queue_.enqueue(k.name);
      else if (now && (!old || old->metadata.annotations != now->metadata.annotations)) queue_.enqueue(now->metadata.name);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    auto n = nodes_.get("", name);
    if (!n) co_return kube::Requeue::never();
    std::string want = std::to_string(seconds_);
    auto it = n->metadata.annotations.find(kTtl);
    if (it != n->metadata.annotations.end() && it->second == want) co_return kube::Requeue::never();
    json::Value patch = json::Value::object();
    patch["metadata"]["annotations"][kTtl] = want;
    Result<json::Value> r = co_await client_.patch(Node::resource(), "", name, kube::PatchType::kMerge, std::move(patch));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  kube::Client client_;
  kube::Informer<Node>& nodes_;
  size_t step_ = 0;
  int seconds_ = 0;
  kube::Controller queue_;
};

class TokenCleaner final : public Runner {
 public:
  explicit TokenCleaner(const Context& c)
      : ex_(c.ex),
        client_(c.client("token-cleaner")),
        secrets_(c.informer<Secret>()),
        queue_(c.ex, "token-cleaner-controller", [this](std::string key) { return sync(std::move(key)); }) {
    secrets_.add_handler([this](auto&, auto& now) {
      if (now && now->metadata.namespace_ == kTokenNamespace && now->type == kTokenType) queue_.enqueue(now->metadata.name);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    auto s = secrets_.get(kTokenNamespace, name);
    std::optional<Time> end;
    if (s) end = token_end(*s);
    if (!end) co_return kube::Requeue::never();
    Duration left = *end - ex_.now();
    if (left > Duration(0)) co_return kube::Requeue::in(left);
    kube::DeleteOptions o;
    o.uid = s->metadata.uid;
    Status r = co_await client_.remove<Secret>(kTokenNamespace, name, std::move(o));
    if (!r.ok() && r.error().code != Code::kNotFound && r.error().code != Code::kConflict) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  Executor& ex_;
  kube::Client client_;
  kube::Informer<Secret>& secrets_;
  kube::Controller queue_;
};

}  // namespace

int node_ttl(size_t nodes, size_t& step) {
  while (nodes > kSteps[step].max) ++step;
  while (step > 0 && nodes < kSteps[step].min) --step;
  return kSteps[step].seconds;
}

std::optional<Time> csr_end(const kube::certificates::CertificateSigningRequest& c) {
  constexpr Duration kKeepAnswered = 1h, kKeepUnanswered = 24h;
  if (c.status.conditions.empty()) return c.metadata.creation_timestamp + kKeepUnanswered;
  std::optional<Time> out;
  for (auto& x : c.status.conditions) {
    const bool answered = x.type == "Denied" || x.type == "Failed" || (x.type == "Approved" && !c.status.certificate.empty());
    if (!answered || x.last_update_time.is_zero()) continue;
    const Time end = x.last_update_time + kKeepAnswered;
    out = out ? std::min(*out, end) : end;
  }
  return out;
}

std::optional<Time> token_end(const Secret& s) {
  auto it = s.data.find("expiration");
  if (s.type != kTokenType || it == s.data.end() || it->second.empty()) return std::nullopt;
  Result<Time> t = parse_rfc3339(it->second);
  return t.ok() ? *t : Time{};
}

std::unique_ptr<Runner> make_node_ttl(const Context& c) { return std::make_unique<NodeTtl>(c); }
std::unique_ptr<Runner> make_token_cleaner(const Context& c) { return std::make_unique<TokenCleaner>(c); }

}  // namespace caravel::controllers
