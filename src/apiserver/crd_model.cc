#include "apiserver/crd_model.h"

#include "apiserver/columns.h"
#include "apiserver/ownership.h"
#include "kube/crd_rules.h"
#include "kube/ratchet.h"
#include "kube/schema.h"
#include "kube/table.h"
#include "kube/type_info.h"
#include "kube/types/meta.h"
#include "kube/validation.h"

namespace caravel::apiserver {

namespace {

using json::Value;

class CrdModel final : public TypeModel {
 public:
  CrdModel(kube::Resource resource, kube::SchemaPtr schema, std::shared_ptr<const kube::CrdRules> rules, std::vector<kube::CustomColumn> columns, bool has_status)
      : resource_(std::move(resource)), schema_(std::move(schema)), rules_(std::move(rules)), columns_(std::move(columns)), has_status_(has_status) {}

  Status accept(Value& object, std::vector<std::string>& unknown) const override {
    // Metadata has the same types in every kind.
    json::Value& meta = object["metadata"];
    if (!meta.is_null()) {
      TRY(json::Value canonical, kube::canonical_json(kube::meta::ObjectMeta::type_info(), meta));
      Value before = std::move(meta);
      meta = std::move(canonical);
      for (auto& m : before.as_object())
        if (!kube::meta::ObjectMeta::type_info().find(m.key)) unknown.push_back("metadata." + m.key);
    }
    kube::prune(*schema_, object, &unknown);
    return ok();
  }
  void set_defaults(Value& object, bool) const override { kube::set_schema_defaults(*schema_, object); }
  const kube::Schema* schema() const override { return schema_.get(); }
  void validate(const Value& object, const Value* old, std::vector<Cause>& causes) const override {
    kube::FieldErrors errors;
    kube::validate_schema(*schema_, object, kube::FieldPath(), errors);
    if (old) kube::drop_unchanged(*schema_, object, *old, errors);
    // Rules may count on values that have the types and bounds of the schema.
    if (errors.empty() && rules_) rules_->validate(object, old, errors);
    for (auto& e : errors) causes.push_back({e.field, e.reason, e.message});
  }
  Result<Value> strategic_merge(const Value&, const Value&) const override {
    return status::unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/apply-patch+yaml");
  }
  Result<Value> apply(const Value* live, const Value& config, const Writer& w, bool force) const override {
    return apply_owned(*schema_, live, config, w, force, has_status_);
  }
  void track(const Value* old, Value& object, const Writer& w) const override { track_owned(*schema_, old, object, w, has_status_); }
  Value table(const std::vector<ValuePtr>& objects, Time now) const override { return table_of(columns_, objects, now); }

 private:
  kube::Resource resource_;
  kube::SchemaPtr schema_;
  std::shared_ptr<const kube::CrdRules> rules_;  // null: none
  std::vector<kube::CustomColumn> columns_;
  bool has_status_;
};

}  // namespace

Result<std::shared_ptr<const TypeModel>> make_crd_model(const kube::Resource& resource, const Value& version) {
  const Value& open = version["schema"]["openAPIV3Schema"];
  if (!open.is_object()) return invalid("spec.versions[" + resource.version + "].schema.openAPIV3Schema: Required value: schemas are required");
  TRY(kube::SchemaPtr schema, kube::schema_from_crd(open));
  kube::FieldErrors wrong_rules;  // were told when the CRD was written
  auto rules = kube::CrdRules::make(open, kube::FieldPath(), wrong_rules);
  bool has_status = version["subresources"]["status"].is_object();
  return std::shared_ptr<const TypeModel>(
      std::make_shared<CrdModel>(resource, std::move(schema), std::move(rules), kube::custom_columns(version["additionalPrinterColumns"]), has_status));
}

}  // namespace caravel::apiserver
