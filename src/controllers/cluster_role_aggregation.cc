// ClusterRole aggregation: the rules of a role with an aggregationRule are those of the roles it selects.
#include "controllers/common.h"
#include "controllers/context.h"
#include "kube/types/rbac.h"

namespace caravel::controllers {

using kube::rbac::ClusterRole;

namespace {

class Aggregation final : public Runner {
 public:
  explicit Aggregation(const Context& c)
      : client_(c.client("clusterrole-aggregation-controller")), roles_(c.informer<ClusterRole>()), queue_(c.ex, "clusterrole-aggregation-controller", [this](std::string key) { return sync(std::move(key)); }) {
    roles_.add_handler([this](auto&, auto&) {
      for (auto& [k, r] : roles_.all())
        if (r->aggregation_rule) queue_.enqueue(r->metadata.name);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    std::shared_ptr<const ClusterRole> role = roles_.get("", name);
    if (!role || !role->aggregation_rule) co_return kube::Requeue::never();
    std::vector<kube::rbac::PolicyRule> rules;
    for (auto& selector : role->aggregation_rule->cluster_role_selectors)
      for (auto& [k, r] : roles_.all()) {
        if (r->metadata.name == name || !matches(selector, r->metadata.labels)) continue;
        for (auto& rule : r->rules)
          if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
      }
    if (rules == role->rules) co_return kube::Requeue::never();
    // Applied, as upstream: the rules are ours whoever wrote some of them, and managedFields say so.
    json::Value apply = json::Value::object();
    apply["apiVersion"] = ClusterRole::resource().api_version();
    apply["kind"] = ClusterRole::resource().kind;
    apply["metadata"]["name"] = name;
    if (!rules.empty()) apply["rules"] = json::Value::array();
    for (auto& r : rules) apply["rules"].push_back(kube::to_json(r));
    kube::WriteOptions o;
    o.force = true;
    Result<json::Value> r = co_await client_.patch(ClusterRole::resource(), "", name, kube::PatchType::kApply, std::move(apply), std::move(o));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  kube::Client client_;
  kube::Informer<ClusterRole>& roles_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_cluster_role_aggregation(const Context& c) { return std::make_unique<Aggregation>(c); }

}  // namespace caravel::controllers
