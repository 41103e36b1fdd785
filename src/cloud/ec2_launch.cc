// Launch templates and instant fleets.
#include <algorithm>

#include "base/strings.h"
#include "cloud/instance_types.h"
#include "cloud/instances.h"
#include "cloud/network.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

Result<std::string> template_id(Context& c, const Value& in) {
  const std::string &id = in["LaunchTemplateId"].as_string(), &name = in["LaunchTemplateName"].as_string();
  if (!id.empty()) {
    if (!c.r.find("launch-templates", id)) return fail("InvalidLaunchTemplateId.NotFound", "The specified launch template, with template ID " + id + ", does not exist.");
    return id;
  }
  for (auto& [tid, t] : c.r.table("launch-templates"))
    if (t["LaunchTemplateName"].as_string() == name) return tid;
  return fail("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name " + name + ", does not exist.");
}

std::string version_key(const std::string& id, int64_t n) { return id + "/" + format("%08lld", static_cast<long long>(n)); }

Result<int64_t> version_number(const Value& t, const std::string& text) {
  if (text == "$Latest") return t["LatestVersionNumber"].as_int();
  if (text.empty() || text == "$Default") return t["DefaultVersionNumber"].as_int();
  auto n = parse_int(text);
  if (!n) return fail("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version " + text + " for the launch template with ID " + t["LaunchTemplateId"].as_string() + ".");
  return *n;
}

Result<const Value*> find_version(Context& c, const std::string& id, const std::string& text) {
  TRY(int64_t n, version_number(*c.r.find("launch-templates", id), text));
  const Value* v = c.r.find("launch-template-versions", version_key(id, n));
  if (!v) return fail("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version " + text + " for the launch template with ID " + id + ".");
  return v;
}

void put_version(Context& c, const std::string& id, int64_t number, const Value& in, Value data) {
  Value v = Value::object();
  v["LaunchTemplateId"] = id;
  v["LaunchTemplateName"] = (*c.r.find("launch-templates", id))["LaunchTemplateName"];
  v["VersionNumber"] = number;
  if (in.find("VersionDescription")) v["VersionDescription"] = in["VersionDescription"];
  v["CreateTime"] = c.timestamp();
  v["CreatedBy"] = c.caller.arn;
  v["LaunchTemplateData"] = std::move(data);
  c.r.put("launch-template-versions", version_key(id, number), std::move(v));
}

Status check_data(const Value& data) {
  const std::string& type = data["InstanceType"].as_string();
  if (!type.empty() && !find_instance_type(type)) return fail("InvalidInstanceType", "The instance type '" + type + "' does not exist.");
  if (!data["UserData"].as_string().empty() && !base64_decode(data["UserData"].as_string())) return fail("InvalidUserData.Malformed", "The user data is not valid base64.");
  return ok();
}

Output create_launch_template(Context& c, const Value& in) {
  const std::string& name = in["LaunchTemplateName"].as_string();
  if (name.size() < 3 || name.size() > 128) return fail("InvalidLaunchTemplateName.MalformedException", "A launch template name must be between 3 and 128 characters.");
  const std::string& token = in["ClientToken"].as_string();
  for (auto& [id, t] : c.r.table("launch-templates")) {
    if (t["LaunchTemplateName"].as_string() != name) continue;
    if (token.empty() || t["_token"].as_string() != token) return fail("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.");
    Value out = Value::object();
    out["LaunchTemplate"] = t;
    return out;
  }
  TRY_VOID(check_data(in["LaunchTemplateData"]));
  TRY(Value tags, tags_for(in, "launch-template"));
  std::string id = c.new_id("lt-");
  Value& t = c.r.edit("launch-templates", id);
  t["LaunchTemplateId"] = id;
  t["LaunchTemplateName"] = name;
  t["CreateTime"] = c.timestamp();
  t["CreatedBy"] = c.caller.arn;
  t["DefaultVersionNumber"] = 1;
  t["LatestVersionNumber"] = 1;
  t["Tags"] = std::move(tags);
  if (!token.empty()) t["_token"] = token;
  put_version(c, id, 1, in, in["LaunchTemplateData"]);
  Value out = Value::object();
  out["LaunchTemplate"] = *c.r.find("launch-templates", id);
  return out;
}

Value render_version(Context& c, const Value& v) {
  Value out = v;
  const Value* t = c.r.find("launch-templates", v["LaunchTemplateId"].as_string());
  out["DefaultVersion"] = t && (*t)["DefaultVersionNumber"] == v["VersionNumber"];
  return out;
}

Output create_version(Context& c, const Value& in) {
  TRY(std::string id, template_id(c, in));
  Value data = in["LaunchTemplateData"];
  TRY_VOID(check_data(data));
  if (!in["SourceVersion"].as_string().empty()) {
    TRY(const Value* source, find_version(c, id, in["SourceVersion"].as_string()));
    Value merged = (*source)["LaunchTemplateData"];
    for (const json::Member& m : std::as_const(data).as_object()) merged[m.key] = m.value;
    data = std::move(merged);
  }
  Value& t = c.r.edit("launch-templates", id);
  int64_t n = std::as_const(t)["LatestVersionNumber"].as_int() + 1;
  t["LatestVersionNumber"] = n;
  put_version(c, id, n, in, std::move(data));
  Value out = Value::object();
  out["LaunchTemplateVersion"] = render_version(c, *c.r.find("launch-template-versions", version_key(id, n)));
  return out;
}

void erase_versions(Context& c, const std::string& id) {
  for (auto& [vid, v] : Records::Table(c.r.table("launch-template-versions")))
    if (v["LaunchTemplateId"].as_string() == id) c.r.erase("launch-template-versions", vid);
}

Output delete_launch_template(Context& c, const Value& in) {
  TRY(std::string id, template_id(c, in));
  Value out = Value::object();
  out["LaunchTemplate"] = *c.r.find("launch-templates", id);
  erase_versions(c, id);
  c.r.erase("launch-templates", id);
  return out;
}

Output delete_versions(Context& c, const Value& in) {
  TRY(std::string id, template_id(c, in));
  Value out = Value::object();
  out["SuccessfullyDeletedLaunchTemplateVersions"] = Value::array();
  out["UnsuccessfullyDeletedLaunchTemplateVersions"] = Value::array();
  for (const std::string& text : strings(in["Versions"])) {
    auto n = parse_int(text);
    Value item = Value::object();
    item["LaunchTemplateId"] = id;
    item["VersionNumber"] = n.value_or(0);
    bool is_default = n && (*c.r.find("launch-templates", id))["DefaultVersionNumber"].as_int() == *n;
    if (n && !is_default && c.r.erase("launch-template-versions", version_key(id, *n))) {
      out["SuccessfullyDeletedLaunchTemplateVersions"].push_back(std::move(item));
    } else {
      item["ResponseError"]["Code"] = is_default ? "launchTemplateVersionIsDefault" : "launchTemplateVersionDoesNotExist";
      item["ResponseError"]["Message"] = "The version cannot be deleted.";
      out["UnsuccessfullyDeletedLaunchTemplateVersions"].push_back(std::move(item));
    }
  }
  return out;
}

Output modify_launch_template(Context& c, const Value& in) {
  TRY(std::string id, template_id(c, in));
  TRY(const Value* v, find_version(c, id, in["DefaultVersion"].as_string()));
  int64_t n = (*v)["VersionNumber"].as_int();
  c.r.edit("launch-templates", id)["DefaultVersionNumber"] = n;
  Value out = Value::object();
  out["LaunchTemplate"] = *c.r.find("launch-templates", id);
  return out;
}

Output describe_launch_templates(Context& c, const Value& in) {
  static const FilterTable f{{"launch-template-name", "LaunchTemplateName"}, {"create-time", "CreateTime"}};
  Value q = in;
  if (in["LaunchTemplateNames"].size() > 0) {
    Value ids = Value::array();
    for (const Value& name : in["LaunchTemplateNames"].as_array()) {
      Value one = Value::object();
      one["LaunchTemplateName"] = name;
      TRY(std::string id, template_id(c, one));
      ids.push_back(id);
    }
    q["LaunchTemplateIds"] = std::move(ids);
  }
  for (const Value& id : std::as_const(q)["LaunchTemplateIds"].as_array()) {
    Value one = Value::object();
    one["LaunchTemplateId"] = id;
    TRY_VOID(template_id(c, one));
  }
  return describe(c, q, {"launch-templates", "LaunchTemplates", "LaunchTemplateIds", "InvalidLaunchTemplateId.NotFound", "launch template", &f});
}

Output describe_versions(Context& c, const Value& in) {
  std::vector<Value> found;
  std::vector<std::string> wanted = strings(in["Versions"]);
  bool named = in.find("LaunchTemplateId") || in.find("LaunchTemplateName");
  if (named) {
    TRY(std::string id, template_id(c, in));
    if (!wanted.empty()) {
      for (const std::string& text : wanted) {
        TRY(const Value* v, find_version(c, id, text));
        found.push_back(render_version(c, *v));
      }
    } else {
      for (auto& [vid, v] : c.r.table("launch-template-versions"))
        if (v["LaunchTemplateId"].as_string() == id) found.push_back(render_version(c, v));
    }
  } else {
    for (auto& [id, t] : c.r.table("launch-templates"))
      for (const std::string& text : wanted)
        if (auto v = find_version(c, id, text); v.ok()) found.push_back(render_version(c, **v));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["LaunchTemplateVersions"] = Value(std::move(items));
  return out;
}

struct Candidate {
  Value data, overrides, specification;
  std::string type, zone;
  double price = 0, priority = 0;
};

Value outcome_of(const Candidate& k) {
  Value v = Value::object();
  v["LaunchTemplateAndOverrides"]["LaunchTemplateSpecification"] = k.specification;
  v["LaunchTemplateAndOverrides"]["Overrides"] = k.overrides;
  return v;
}

Status collect(Context& c, const Value& config, bool spot, std::vector<Candidate>& out) {
  Value specification;
  TRY(Value data, launch_template_data(c, config["LaunchTemplateSpecification"], &specification));
  std::vector<Value> overrides = config["Overrides"].as_array();
  if (overrides.empty()) overrides.push_back(Value::object());
  for (const Value& o : overrides) {
    Candidate k;
    k.data = data;
    k.specification = specification;
    k.overrides = o;
    for (const char* m : {"InstanceType", "SubnetId", "ImageId"})
      if (o.find(m)) k.data[m] = o[m];
    if (o.find("SubnetId"))
      for (Value& n : k.data["NetworkInterfaces"].arr()) n["SubnetId"] = o["SubnetId"];
    if (std::as_const(k.data)["NetworkInterfaces"].size() == 0) k.data.erase("NetworkInterfaces");
    k.type = std::as_const(k.data)["InstanceType"].as_string();
    const std::string& subnet_id = std::as_const(k.data)["SubnetId"].as_string();
    if (const Value* subnet = c.r.find("subnets", subnet_id)) k.zone = (*subnet)["AvailabilityZone"].as_string();
    if (k.zone.empty()) k.zone = o["AvailabilityZone"].as_string();
    if (!o.find("InstanceType")) k.overrides["InstanceType"] = k.type;
    if (!o.find("AvailabilityZone")) k.overrides["AvailabilityZone"] = k.zone;
    const InstanceType* t = find_instance_type(k.type);
    k.price = t ? (spot ? spot_price(*t, k.zone) : t->price > 0 ? t->price
                                                                : 1e9)
                : 1e9;
    k.priority = o["Priority"].is_number() ? o["Priority"].as_double() : 1e9;
    out.push_back(std::move(k));
  }
  return ok();
}

Output create_fleet(Context& c, const Value& in) {
  if (in["Type"].as_string() != "instant") return fail("UnsupportedOperation", "Only fleets of type instant are offered.");
  const std::string& token = in["ClientToken"].as_string();
  if (!token.empty())
    for (auto& [id, f] : c.r.table("fleets"))
      if (f["_token"].as_string() == token) return f["_answer"];
  const Value& target = in["TargetCapacitySpecification"];
  int64_t wanted = target["TotalTargetCapacity"].as_int();
  if (wanted < 1) return fail("InvalidParameterValue", "TotalTargetCapacity must be at least 1");
  bool spot = target["DefaultTargetCapacityType"].as_string() == "spot";
  if (target["SpotTargetCapacity"].as_int() > 0) spot = true;
  std::string strategy = in[spot ? "SpotOptions" : "OnDemandOptions"]["AllocationStrategy"].as_string();
  if (in["LaunchTemplateConfigs"].size() == 0) return fail("MissingParameter", "The request must contain the parameter LaunchTemplateConfigs");
  std::vector<Candidate> candidates;
  for (const Value& config : in["LaunchTemplateConfigs"].as_array()) TRY_VOID(collect(c, config, spot, candidates));
  bool by_priority = strategy == "prioritized" || strategy == "capacity-optimized-prioritized";
  std::stable_sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) { return by_priority && a.priority != b.priority ? a.priority < b.priority : a.price < b.price; });

  std::string fleet = c.new_id("fleet-");
  Value out = Value::object();
  out["FleetId"] = fleet;
  out["Instances"] = Value::array();
  out["Errors"] = Value::array();
  Value extra = Value::object();
  extra["TagSpecifications"] = Value::array();
  for (const Value& s : in["TagSpecifications"].as_array())
    if (s["ResourceType"].as_string() != "fleet") extra["TagSpecifications"].push_back(s);
  for (const Candidate& k : candidates) {
    if (wanted <= 0) break;
    Value spec = merge_launch(k.data, extra);
    set_tag(spec["_fleet_tags"], "aws:ec2:fleet-id", fleet);
    auto ids = launch_instances(c, spec, static_cast<int>(wanted), spot);
    Value o = outcome_of(k);
    o["Lifecycle"] = spot ? "spot" : "on-demand";
    if (!ids.ok()) {
      // What is wrong with the request itself fails it; what is wrong with one pool is an error item.
      o["ErrorCode"] = ids.error().details;
      o["ErrorMessage"] = ids.error().message;
      out["Errors"].push_back(std::move(o));
      continue;
    }
    for (const std::string& id : *ids) {
      set_tag(c.r.edit("instances", id)["Tags"], "aws:ec2:fleet-id", fleet);
      set_tag(c.r.edit("instances", id)["Tags"], "aws:ec2launchtemplate:id", k.specification["LaunchTemplateId"].as_string());
      set_tag(c.r.edit("instances", id)["Tags"], "aws:ec2launchtemplate:version", k.specification["Version"].as_string());
    }
    o["InstanceIds"] = string_list(*ids);
    o["InstanceType"] = k.type;
    out["Instances"].push_back(std::move(o));
    wanted -= static_cast<int64_t>(ids->size());
  }
  TRY(Value tags, tags_for(in, "fleet"));
  Value& f = c.r.edit("fleets", fleet);
  f["FleetId"] = fleet;
  f["FleetState"] = "active";
  f["ActivityStatus"] = wanted > 0 ? "error" : "fulfilled";
  f["CreateTime"] = c.timestamp();
  f["Type"] = "instant";
  f["Tags"] = std::move(tags);
  f["TargetCapacitySpecification"] = target;
  f["Instances"] = std::as_const(out)["Instances"];
  f["Errors"] = std::as_const(out)["Errors"];
  f["_created"] = c.now.seconds();
  if (!token.empty()) {
    f["_token"] = token;
    f["_answer"] = out;
  }
  return out;
}

Output describe_fleets(Context& c, const Value& in) {
  static const FilterTable f{{"fleet-state", "FleetState"}, {"activity-status", "ActivityStatus"}, {"type", "Type"}};
  return describe(c, in, {"fleets", "Fleets", "FleetIds", "InvalidFleetId.NotFound", "fleet ID", &f});
}

}  // namespace

Result<Value> launch_template_data(Context& c, const Value& specification, Value* resolved) {
  TRY(std::string id, template_id(c, specification));
  TRY(const Value* v, find_version(c, id, specification["Version"].as_string()));
  if (resolved) {
    *resolved = Value::object();
    (*resolved)["LaunchTemplateId"] = id;
    (*resolved)["LaunchTemplateName"] = (*v)["LaunchTemplateName"];
    (*resolved)["Version"] = std::to_string((*v)["VersionNumber"].as_int());
  }
  return (*v)["LaunchTemplateData"];
}

void add_launch_actions(Handlers& h) {
  h["ec2:CreateLaunchTemplate"] = create_launch_template;
  h["ec2:CreateLaunchTemplateVersion"] = create_version;
  h["ec2:DeleteLaunchTemplate"] = delete_launch_template;
  h["ec2:DeleteLaunchTemplateVersions"] = delete_versions;
  h["ec2:ModifyLaunchTemplate"] = modify_launch_template;
  h["ec2:DescribeLaunchTemplates"] = describe_launch_templates;
  h["ec2:DescribeLaunchTemplateVersions"] = describe_versions;
  h["ec2:CreateFleet"] = create_fleet;
  h["ec2:DescribeFleets"] = describe_fleets;
}

}  // namespace caravel::cloud
