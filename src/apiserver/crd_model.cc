#include "apiserver/crd_model.h"

#include "apiserver/columns.h"
#include "kube/schema.h"

namespace caravel::apiserver {

namespace {

using json::Value;

class CrdModel final : public TypeModel {
 public:
  CrdModel(kube::Resource resource, kube::SchemaPtr schema, std::vector<TableColumn> columns)
      : resource_(std::move(resource)), schema_(std::move(schema)), columns_(std::move(columns)) {}

  Status accept(Value& object, std::vector<std::string>& unknown) const override {
    kube::prune(*schema_, object, &unknown);
    return ok();
  }
  void set_defaults(Value& object) const override { kube::set_schema_defaults(*schema_, object); }
  void validate(const Value&, const Value*, std::vector<Cause>&) const override {}
  Result<Value> strategic_merge(const Value&, const Value&) const override {
    return status::unsupported_media_type("the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
                                          "application/merge-patch+json, application/apply-patch+yaml");
  }
  Result<Value> apply(const Value*, const Value&, const Writer&, bool) const override {
    return status::unsupported_media_type("server-side apply is not available yet");
  }
  void track(const Value*, Value&, const Writer&) const override {}
  Value table(const std::vector<ValuePtr>& objects, Time now) const override { return table_of(columns_, objects, now); }

 private:
  kube::Resource resource_;
  kube::SchemaPtr schema_;
  std::vector<TableColumn> columns_;
};

}  // namespace

Result<std::shared_ptr<const TypeModel>> make_crd_model(const kube::Resource& resource, const Value& version) {
  const Value& open = version["schema"]["openAPIV3Schema"];
  if (!open.is_object()) return invalid("spec.versions[" + resource.version + "].schema.openAPIV3Schema: Required value: schemas are required");
  TRY(kube::SchemaPtr schema, kube::schema_from_crd(open));
  std::vector<TableColumn> columns;
  for (auto& c : version["additionalPrinterColumns"].as_array()) {
    TableColumn t;
    t.name = c["name"].as_string();
    t.type = c["type"].as_string();
    t.format = c["format"].as_string();
    t.description = c["description"].as_string();
    t.path = c["jsonPath"].as_string();
    t.priority = static_cast<int>(c["priority"].as_int());
    columns.push_back(std::move(t));
  }
  if (columns.empty()) {
    TableColumn age;
    age.name = "Age";
    age.type = "date";
    age.path = ".metadata.creationTimestamp";
    columns.push_back(std::move(age));
  }
  return std::shared_ptr<const TypeModel>(std::make_shared<CrdModel>(resource, std::move(schema), std::move(columns)));
}

}  // namespace caravel::apiserver
