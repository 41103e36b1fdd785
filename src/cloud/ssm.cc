// SSM parameters: the user's own, and the public ones that name the current images.
#include "base/strings.h"
#include "cloud/instances.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

// "/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/standard/recommended/image_id" -> image, or null.
const ImageInfo* public_image(const std::string& name, std::string* field) {
  auto p = split(name, '/');
  std::string family, arch, variant = "standard", wanted;
  if (p.size() >= 10 && p[1] == "aws" && p[3] == "eks" && p[6] == "amazon-linux-2023") {
    family = "al2023/" + p[5];
    arch = p[7];
    variant = p[8] == "neuron" ? "standard" : p[8];
    wanted = p[9];
    *field = p.size() > 10 ? p[10] : "";
  } else if (p.size() >= 7 && p[3] == "bottlerocket" && p[4].compare(0, 8, "aws-k8s-") == 0) {
    std::string v = p[4].substr(8);
    family = "bottlerocket/" + v.substr(0, v.find('-'));
    arch = p[5];
    wanted = p[6] == "latest" ? "recommended" : p[6];
    *field = p.size() > 7 ? p[7] : "";
  } else if (p.size() >= 6 && p[3] == "ami-amazon-linux-latest" && p[4].compare(0, 6, "al2023") == 0) {
    family = "al2023-plain";
    arch = p[4].find("arm64") != std::string::npos ? "arm64" : "x86_64";
    wanted = "recommended";
    *field = "image_id";
  } else if (p.size() >= 5 && p[3] == "ami-amazon-linux-latest" && p[4].compare(0, 6, "al2023") == 0) {
    family = "al2023-plain";
    arch = p[4].find("arm64") != std::string::npos ? "arm64" : "x86_64";
    wanted = "recommended";
    *field = "image_id";
  } else {
    return nullptr;
  }
  for (const ImageInfo& i : images())
    if (i.family == family && i.architecture == arch && i.variant == variant && (wanted == "recommended" || i.name == wanted || i.name.find("-v" + wanted) != std::string::npos || i.name.find("-" + wanted) != std::string::npos)) return &i;
  return nullptr;
}

Result<Value> find_parameter(Context& c, const std::string& name) {
  if (const Value* v = c.r.find("parameters", name)) return *v;
  std::string field;
  if (const ImageInfo* i = public_image(name, &field)) {
    Value v = Value::object();
    v["Name"] = name;
    v["Type"] = "String";
    v["Version"] = 1;
    v["DataType"] = "text";
    v["LastModifiedDate"] = i->creation_date;
    v["ARN"] = "arn:aws:ssm:" + c.o.region + "::parameter" + name;
    if (field == "image_id") v["Value"] = i->id;
    else if (field == "image_name") v["Value"] = i->name;
    else if (field == "image_version" || field == "release_version") v["Value"] = c.o.kubernetes_version + "-20260806";
    else v["Value"] = R"({"schema_version":"2","image_id":")" + i->id + R"(","image_name":")" + i->name + R"("})";
    return v;
  }
  return fail("ParameterNotFound", "");
}

Output get_parameter(Context& c, const Value& in) {
  TRY(Value v, find_parameter(c, in["Name"].as_string()));
  Value out = Value::object();
  out["Parameter"] = std::move(v);
  return out;
}

Output get_parameters(Context& c, const Value& in) {
  Value out = Value::object();
  out["Parameters"] = Value::array();
  out["InvalidParameters"] = Value::array();
  for (const std::string& n : strings(in["Names"])) {
    auto v = find_parameter(c, n);
    if (v.ok()) out["Parameters"].push_back(std::move(*v));
    else out["InvalidParameters"].push_back(n);
  }
  return out;
}

Output get_by_path(Context& c, const Value& in) {
  std::string path = in["Path"].as_string();
  if (path.empty() || path[0] != '/') return fail("ValidationException", "The parameter path must begin with '/'");
  if (path.back() != '/') path += '/';
  std::vector<Value> found;
  for (auto& [name, v] : c.r.table("parameters"))
    if (name.compare(0, path.size(), path) == 0 && (in["Recursive"].as_bool() || name.find('/', path.size()) == name.npos)) found.push_back(v);
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, "NextToken", "MaxResults", "NextToken", 10));
  out["Parameters"] = Value(std::move(items));
  return out;
}

Output put_parameter(Context& c, const Value& in) {
  const std::string& name = in["Name"].as_string();
  if (name.compare(0, 5, "/aws/") == 0 || name.compare(0, 4, "aws/") == 0) return fail("AccessDeniedException", "No access to reserved parameter name: " + name + ".");
  const Value* old = c.r.find("parameters", name);
  if (old && !in["Overwrite"].as_bool()) return fail("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.");
  int64_t version = old ? (*old)["Version"].as_int() + 1 : 1;
  Value& v = c.r.edit("parameters", name);
  v["Name"] = name;
  v["Type"] = in["Type"].as_string().empty() ? "String" : in["Type"].as_string();
  v["Value"] = in["Value"];
  v["Version"] = version;
  v["DataType"] = "text";
  v["LastModifiedDate"] = c.timestamp();
  v["ARN"] = c.arn("ssm", "parameter" + name);
  Value out = Value::object();
  out["Version"] = version;
  out["Tier"] = "Standard";
  return out;
}

Output delete_parameter(Context& c, const Value& in) {
  if (!c.r.erase("parameters", in["Name"].as_string())) return fail("ParameterNotFound", "");
  return Value::object();
}

Output describe_parameters(Context& c, const Value& in) {
  std::vector<Value> found;
  for (auto& [name, v] : c.r.table("parameters")) found.push_back(v);
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, "NextToken", "MaxResults", "NextToken", 50));
  out["Parameters"] = Value(std::move(items));
  return out;
}

}  // namespace

void add_ssm_actions(Handlers& h) {
  h["ssm:GetParameter"] = get_parameter;
  h["ssm:GetParameters"] = get_parameters;
  h["ssm:GetParametersByPath"] = get_by_path;
  h["ssm:PutParameter"] = put_parameter;
  h["ssm:DeleteParameter"] = delete_parameter;
  h["ssm:DescribeParameters"] = describe_parameters;
}

}  // namespace caravel::cloud
