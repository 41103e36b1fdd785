// EventBridge messages in the SQS queue: spot interruptions, state changes, maintenance. The node of the
// instance is drained ahead of time by deleting its claim.
#include "karpenter/controllers.h"

namespace caravel::karpenter {

namespace {
constexpr Duration kRetry = 10s;
}

Task<void> InterruptionController::run() {
  if (c_.settings.interruption_queue.empty()) co_return;
  std::string url;
  for (;;) {
    if (url.empty()) {
      json::Value in;
      in["QueueName"] = c_.settings.interruption_queue;
      auto r = co_await c_.cloud.aws().call("sqs", "GetQueueUrl", std::move(in));
      if (r.ok()) url = (*r)["QueueUrl"].as_string();
      else c_.log.warn("the interruption queue cannot be found", {{"queue", c_.settings.interruption_queue}, {"error", r.error().message}});
    }
    if (url.empty()) {
      co_await sleep(c_.ex, kRetry);
      continue;
    }
    json::Value in;
    in["QueueUrl"] = url;
    in["MaxNumberOfMessages"] = 10;
    in["WaitTimeSeconds"] = 20;
    in["VisibilityTimeout"] = 20;
    Time asked = c_.ex.now();
    auto r = co_await c_.cloud.aws().call("sqs", "ReceiveMessage", std::move(in));
    if (!r.ok()) {
      c_.log.warn("cannot receive interruption messages", {{"error", r.error().message}});
      url.clear();
      co_await sleep(c_.ex, kRetry);
      continue;
    }
    std::vector<json::Value> messages = (*r)["Messages"].as_array();
    for (const auto& m : messages) {
      co_await handle(m["Body"].as_string());
      json::Value done;
      done["QueueUrl"] = url;
      done["ReceiptHandle"] = m["ReceiptHandle"];
      auto d = co_await c_.cloud.aws().call("sqs", "DeleteMessage", std::move(done));
      (void)d;  // it comes again, and is handled again
    }
    if (messages.empty() && c_.ex.now() - asked < 1s) co_await sleep(c_.ex, 1s);  // a queue that does not wait
  }
}

Task<void> InterruptionController::handle(std::string body) {
  auto parsed = json::parse(body);
  if (!parsed.ok()) co_return;
  const json::Value& e = *parsed;
  const std::string& type = e["detail-type"].as_string();
  const std::string& state = e.path({"detail", "state"}).as_string();
  std::set<std::string> ids;
  if (const std::string& id = e.path({"detail", "instance-id"}).as_string(); !id.empty()) ids.insert(id);
  for (const auto& entity : e.path({"detail", "affectedEntities"}).as_array()) ids.insert(entity["entityValue"].as_string());
  bool spot = type == "EC2 Spot Instance Interruption Warning";
  bool drain = spot || type == "AWS Health Event" ||
               (type == "EC2 Instance State-change Notification" && (state == "stopping" || state == "stopped" || state == "shutting-down" || state == "terminated"));
  std::vector<Context::Doc> hit;
  for (const auto& [key, claim] : c_.claims.all())
    if (ids.count(instance_id(provider_id(*claim)))) hit.push_back(claim);
  for (const auto& claim : hit) {
    auto node = c_.node_of(*claim);
    kube::ObjectReference ref = node ? kube::reference_to(*node) : about(*claim);
    if (spot) {
      c_.events.warning(ref, "SpotInterrupted", "Spot interruption warning was triggered");
      c_.cloud.mark_unavailable(kube::label(*claim, label::kInstanceType), kube::label(*claim, label::kZone), "spot");
    } else if (type == "EC2 Instance Rebalance Recommendation") {
      c_.events.normal(ref, "SpotRebalanceRecommendation", "Spot rebalance recommendation was triggered");
    } else if (drain) {
      c_.events.warning(ref, state.starts_with("stop") ? "InstanceStopping" : "InstanceTerminating", "Instance is " + (state.empty() ? std::string("under maintenance") : state));
    }
    if (!drain || kube::is_deleting(*claim)) continue;
    c_.log.info("ending a node before its instance goes", {{"nodeclaim", kube::name_of(*claim)}, {"reason", type}});
    c_.metrics.claims_disrupted.inc({spot ? "spot_interrupted" : "instance_" + (state.empty() ? std::string("scheduled_change") : state), kube::label(*claim, label::kNodePool)});
    auto r = co_await c_.client.remove(kNodeClaims, "", kube::name_of(*claim));
    (void)r;  // the message is gone, but so is the instance soon: the garbage collector sees to it
  }
}

}  // namespace caravel::karpenter
