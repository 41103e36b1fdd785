#include "apiserver/conversion_webhook.h"

#include "apiserver/object_meta.h"
#include "apiserver/webhook_transport.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr Duration kTimeout = std::chrono::seconds(30);

std::string kind_text(const Value& object) { return object["apiVersion"].as_string() + ", Kind=" + object["kind"].as_string(); }

// "" when the answer may stand for the original.
std::string identity_problem(const Value& before, const Value& after) {
  if (before["kind"].as_string() != after["kind"].as_string()) return "must have the same kind: " + after["kind"].as_string() + " != " + before["kind"].as_string();
  for (std::string_view f : {"name", "namespace", "uid"}) {
    const std::string &a = meta_string(after, f), &b = meta_string(before, f);
    if (a != b) return "must have the same " + std::string(f == "uid" ? "UID" : f) + ": " + a + " != " + b;
  }
  return "";
}

// Metadata of the original; labels and annotations of the answer.
void restore_metadata(const Value& before, Value& after) {
  Value labels = std::as_const(after)["metadata"]["labels"], annotations = std::as_const(after)["metadata"]["annotations"];
  Value meta = before["metadata"];
  for (auto& [name, given] : {std::pair<std::string_view, const Value*>("labels", &labels), std::pair<std::string_view, const Value*>("annotations", &annotations)}) {
    if (given->is_object() && given->size()) meta[name] = *given;
    else meta.erase(name);
  }
  after["metadata"] = std::move(meta);
}

class WebhookConverter final : public RemoteConverter {
 public:
  WebhookConverter(Core& core, WebhookTarget target, std::string review_version) : core_(&core), target_(std::move(target)), review_version_(std::move(review_version)) {}

  Task<Result<std::vector<ValuePtr>>> convert(std::vector<ValuePtr> objects, std::string api_version) override {
    std::vector<size_t> due;
    for (size_t i = 0; i < objects.size(); ++i)
      if ((*objects[i])["apiVersion"].as_string() != api_version) due.push_back(i);
    if (due.empty()) co_return objects;
    Value review = Value::object();
    review["kind"] = "ConversionReview";
    review["apiVersion"] = "apiextensions.k8s.io/" + review_version_;
    std::string uid = new_uid(core_->ex);
    Value& request = review["request"];
    request["uid"] = uid;
    request["desiredAPIVersion"] = api_version;
    Value list = Value::array();
    for (size_t i : due) list.push_back(*objects[i]);
    request["objects"] = std::move(list);
    const std::string about = "conversion webhook for " + kind_text(*objects[due[0]]);
    std::string body = json::dump(review);
    auto answered = co_await call_webhook(*core_, target_, std::move(body), kTimeout);
    if (!answered.ok()) co_return status::internal(about + " failed: " + answered.error().message);
    auto converted = read(*answered, uid);
    if (!converted.ok()) co_return status::internal(about + " failed: " + converted.error().message);
    if (converted->size() != due.size())
      co_return status::internal(about + " returned " + std::to_string(converted->size()) + " objects, expected " + std::to_string(due.size()));
    for (size_t n = 0; n < due.size(); ++n) {
      const Value& before = *objects[due[n]];
      Value& after = (*converted)[n];
      std::string problem = identity_problem(before, after);
      if (std::as_const(after)["apiVersion"].as_string() != api_version)
        problem = "invalid groupVersion (expected " + api_version + ", received " + std::as_const(after)["apiVersion"].as_string() + ")";
      if (!std::as_const(after)["metadata"].is_object()) problem = "missing metadata in converted object";
      if (!problem.empty()) co_return status::internal(about + " returned invalid converted object at index " + std::to_string(n) + ": " + problem);
      restore_metadata(before, after);
      objects[due[n]] = json::share(std::move(after));
    }
    co_return objects;
  }

 private:
  Result<std::vector<Value>> read(const std::string& body, const std::string& uid) const {
    auto parsed = json::parse(body);
    if (!parsed.ok()) return invalid("couldn't get version/kind; json parse error: " + parsed.error().message);
    const Value& v = *parsed;
    const std::string want = "apiextensions.k8s.io/" + review_version_ + ", Kind=ConversionReview";
    if (kind_text(v) != want) return invalid("expected webhook response of " + want + ", got " + kind_text(v));
    const Value& r = v["response"];
    if (!r.is_object()) return invalid("no response provided");
    if (r["uid"].as_string() != uid) return invalid("expected response.uid=" + json::quote(uid) + ", got " + json::quote(r["uid"].as_string()));
    const std::string& outcome = r["result"]["status"].as_string();
    if (outcome != "Success") {
      const std::string& message = r["result"]["message"].as_string();
      return invalid(message.empty() ? "response.result.status was '" + outcome + "', not 'Success'" : message);
    }
    std::vector<Value> out;
    for (auto& o : r["convertedObjects"].as_array()) out.push_back(o);
    return out;
  }

  Core* core_;
  WebhookTarget target_;
  std::string review_version_;
};

}  // namespace

std::shared_ptr<RemoteConverter> make_webhook_converter(Core& core, const Value& crd) {
  const Value& c = crd["spec"]["conversion"];
  if (c["strategy"].as_string() != "Webhook") return nullptr;
  std::string version;
  for (auto& v : c["webhook"]["conversionReviewVersions"].as_array())
    if (version.empty() && (v.as_string() == "v1" || v.as_string() == "v1beta1")) version = v.as_string();
  return std::make_shared<WebhookConverter>(core, WebhookTarget::parse(c["webhook"]["clientConfig"]), version.empty() ? "v1" : version);
}

Task<Result<ObjectPtr>> convert_one(const ServedType* t, ObjectPtr object) {
  std::vector<ObjectPtr> one;
  one.push_back(std::move(object));
  auto r = co_await converted_objects(*t, std::move(one));
  if (!r.ok()) co_return std::move(r).error();
  co_return (*r)[0];
}

Task<Result<std::vector<ObjectPtr>>> converted_objects(const ServedType& t, std::vector<ObjectPtr> objects) {
  std::vector<ValuePtr> values;
  for (auto& o : objects) values.push_back(o->value());
  std::vector<ValuePtr> before = values;
  auto after = co_await t.converter->convert(std::move(values), t.resource.api_version());
  if (!after.ok()) co_return std::move(after).error();
  for (size_t i = 0; i < objects.size(); ++i) {
    if ((*after)[i] == before[i]) continue;
    Value shown = *(*after)[i];
    std::vector<std::string> unknown;
    if (Status s = t.model->accept(shown, unknown); !s.ok()) co_return status::internal(s.error().message);
    t.model->set_defaults(shown);
    auto o = std::make_shared<Object>(*objects[i]);
    o->bytes = std::make_shared<const std::string>(json::dump(shown));
    o->decoded = json::share(std::move(shown));
    objects[i] = std::move(o);
  }
  co_return objects;
}

}  // namespace caravel::apiserver
