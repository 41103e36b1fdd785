// IAM: roles, instance profiles, users, access keys, policies. Policies are kept, not enforced yet.
#include <algorithm>

#include "base/hash.h"
#include "base/strings.h"
#include "cloud/iam.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

std::string iam_id(Context& c, const char* prefix) { return prefix + to_upper(c.new_id("", 17)); }
std::string path_of(const Value& in) { return in["Path"].as_string().empty() ? "/" : in["Path"].as_string(); }
Error missing(const char* what, const std::string& name) { return fail("NoSuchEntity", std::string(what) + " with name " + name + " cannot be found."); }

Value list_page(std::vector<Value> items, const Value& in, const char* member) {
  Value out = Value::object();
  auto p = page(std::move(items), in, out, "Marker", "MaxItems", "Marker", 100);
  out["IsTruncated"] = std::as_const(out).find("Marker") != nullptr;
  out[member] = p.ok() ? Value(std::move(*p)) : Value::array();
  return out;
}

Value with(const char* member, const Value& v) {
  Value out = Value::object();
  out[member] = v;
  return out;
}

// Policy documents travel percent-encoded.
Value render_role(const Value& r) {
  Value v = r;
  v["AssumeRolePolicyDocument"] = percent_encode(r["AssumeRolePolicyDocument"].as_string());
  return v;
}

Value render_profile(Context& c, const Value& p) {
  Value v = p;
  v["Roles"] = Value::array();
  for (const std::string& name : strings(p["_roles"]))
    if (const Value* r = c.r.find("roles", name)) v["Roles"].push_back(render_role(*r));
  return v;
}

Output create_role(Context& c, const Value& in) {
  const std::string& name = in["RoleName"].as_string();
  if (c.r.find("roles", name)) return fail("EntityAlreadyExists", "Role with name " + name + " already exists.");
  make_role(c, name, in["AssumeRolePolicyDocument"].as_string(), path_of(in), in["Description"].as_string());
  Value& r = c.r.edit("roles", name);
  r["MaxSessionDuration"] = in["MaxSessionDuration"].as_int(3600);
  if (in.find("Tags")) r["Tags"] = in["Tags"];
  return with("Role", render_role(r));
}
Output get_role(Context& c, const Value& in) {
  const Value* r = c.r.find("roles", in["RoleName"].as_string());
  if (!r) return fail("NoSuchEntity", "The role with name " + in["RoleName"].as_string() + " cannot be found.");
  return with("Role", render_role(*r));
}
Output list_roles(Context& c, const Value& in) {
  std::vector<Value> items;
  for (auto& [n, r] : c.r.table("roles")) items.push_back(render_role(r));
  return list_page(std::move(items), in, "Roles");
}
Output delete_role(Context& c, const Value& in) {
  const std::string& name = in["RoleName"].as_string();
  if (!c.r.find("roles", name)) return fail("NoSuchEntity", "The role with name " + name + " cannot be found.");
  for (auto& [n, p] : c.r.table("instance-profiles"))
    for (const std::string& role : strings(p["_roles"]))
      if (role == name) return fail("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.");
  if ((*c.r.find("roles", name))["_attached"].size() > 0) return fail("DeleteConflict", "Cannot delete entity, must detach all policies first.");
  c.r.erase("roles", name);
  return Value::object();
}
Output update_trust(Context& c, const Value& in) {
  if (!c.r.find("roles", in["RoleName"].as_string())) return missing("The role", in["RoleName"].as_string());
  c.r.edit("roles", in["RoleName"].as_string())["AssumeRolePolicyDocument"] = in["PolicyDocument"];
  return Value::object();
}

Output create_profile(Context& c, const Value& in) {
  const std::string& name = in["InstanceProfileName"].as_string();
  if (c.r.find("instance-profiles", name)) return fail("EntityAlreadyExists", "Instance Profile " + name + " already exists.");
  make_instance_profile(c, name, path_of(in), "");
  if (in.find("Tags")) c.r.edit("instance-profiles", name)["Tags"] = in["Tags"];
  return with("InstanceProfile", render_profile(c, *c.r.find("instance-profiles", name)));
}
Error no_profile(const Value& in) { return fail("NoSuchEntity", "Instance Profile " + in["InstanceProfileName"].as_string() + " cannot be found."); }
Output get_profile(Context& c, const Value& in) {
  const Value* p = c.r.find("instance-profiles", in["InstanceProfileName"].as_string());
  if (!p) return no_profile(in);
  return with("InstanceProfile", render_profile(c, *p));
}
Output list_profiles(Context& c, const Value& in) {
  std::vector<Value> items;
  std::string prefix = in["PathPrefix"].as_string();
  for (auto& [n, p] : c.r.table("instance-profiles"))
    if (p["Path"].as_string().compare(0, prefix.size(), prefix) == 0) items.push_back(render_profile(c, p));
  return list_page(std::move(items), in, "InstanceProfiles");
}
Output list_profiles_for_role(Context& c, const Value& in) {
  std::vector<Value> items;
  for (auto& [n, p] : c.r.table("instance-profiles"))
    for (const std::string& role : strings(p["_roles"]))
      if (role == in["RoleName"].as_string()) items.push_back(render_profile(c, p));
  return list_page(std::move(items), in, "InstanceProfiles");
}
Output delete_profile(Context& c, const Value& in) {
  const Value* p = c.r.find("instance-profiles", in["InstanceProfileName"].as_string());
  if (!p) return no_profile(in);
  if ((*p)["_roles"].size() > 0) return fail("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.");
  c.r.erase("instance-profiles", in["InstanceProfileName"].as_string());
  return Value::object();
}
Output add_role_to_profile(Context& c, const Value& in) {
  const Value* p = c.r.find("instance-profiles", in["InstanceProfileName"].as_string());
  if (!p) return no_profile(in);
  if (!c.r.find("roles", in["RoleName"].as_string())) return fail("NoSuchEntity", "The role with name " + in["RoleName"].as_string() + " cannot be found.");
  if ((*p)["_roles"].size() > 0) return fail("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1");
  c.r.edit("instance-profiles", in["InstanceProfileName"].as_string())["_roles"].push_back(in["RoleName"]);
  return Value::object();
}
Output remove_role_from_profile(Context& c, const Value& in) {
  if (!c.r.find("instance-profiles", in["InstanceProfileName"].as_string())) return no_profile(in);
  auto& roles = c.r.edit("instance-profiles", in["InstanceProfileName"].as_string())["_roles"].arr();
  if (std::erase_if(roles, [&](const Value& v) { return v == in["RoleName"]; }) == 0) return fail("NoSuchEntity", "The role with name " + in["RoleName"].as_string() + " cannot be found.");
  return Value::object();
}

Output tag(Context& c, const Value& in, const char* table, const char* key, const char* what) {
  if (!c.r.find(table, in[key].as_string())) return missing(what, in[key].as_string());
  for (const Value& t : in["Tags"].as_array()) set_tag(c.r.edit(table, in[key].as_string())["Tags"], t["Key"].as_string(), t["Value"].as_string());
  for (const std::string& k : strings(in["TagKeys"])) remove_tag(c.r.edit(table, in[key].as_string())["Tags"], k, nullptr);
  return Value::object();
}
Output tag_profile(Context& c, const Value& in) { return tag(c, in, "instance-profiles", "InstanceProfileName", "The instance profile"); }
Output tag_role(Context& c, const Value& in) { return tag(c, in, "roles", "RoleName", "The role"); }
Output list_tags(Context& c, const Value& in, const char* table, const char* key) {
  const Value* v = c.r.find(table, in[key].as_string());
  if (!v) return missing("The entity", in[key].as_string());
  Value out = Value::object();
  out["Tags"] = (*v)["Tags"].is_array() ? (*v)["Tags"] : Value::array();
  out["IsTruncated"] = false;
  return out;
}
Output list_profile_tags(Context& c, const Value& in) { return list_tags(c, in, "instance-profiles", "InstanceProfileName"); }
Output list_role_tags(Context& c, const Value& in) { return list_tags(c, in, "roles", "RoleName"); }

Output create_user(Context& c, const Value& in) {
  const std::string& name = in["UserName"].as_string();
  if (c.r.find("users", name)) return fail("EntityAlreadyExists", "User with name " + name + " already exists.");
  Value& u = c.r.edit("users", name);
  u["UserName"] = name;
  u["UserId"] = iam_id(c, "AIDA");
  u["Path"] = path_of(in);
  u["Arn"] = c.arn("iam", "user" + path_of(in) + name, false);
  u["CreateDate"] = c.timestamp();
  return with("User", u);
}
Output get_user(Context& c, const Value& in) {
  std::string name = in["UserName"].as_string();
  if (name.empty()) {
    Value u = Value::object();
    u["UserName"] = "root";
    u["UserId"] = c.o.account;
    u["Path"] = "/";
    u["Arn"] = c.caller.arn;
    u["CreateDate"] = c.timestamp();
    return with("User", u);
  }
  const Value* u = c.r.find("users", name);
  if (!u) return missing("The user", name);
  return with("User", *u);
}
Output list_users(Context& c, const Value& in) {
  std::vector<Value> items;
  for (auto& [n, u] : c.r.table("users")) items.push_back(u);
  return list_page(std::move(items), in, "Users");
}
Output delete_user(Context& c, const Value& in) {
  if (!c.r.erase("users", in["UserName"].as_string())) return missing("The user", in["UserName"].as_string());
  for (auto& [k, v] : Records::Table(c.r.table("access-keys")))
    if (v["UserName"] == in["UserName"]) c.r.erase("access-keys", k);
  return Value::object();
}
Output create_access_key(Context& c, const Value& in) {
  if (!in["UserName"].as_string().empty() && !c.r.find("users", in["UserName"].as_string())) return missing("The user", in["UserName"].as_string());
  std::string id = make_access_key(c, in["UserName"].as_string());
  const Value& k = *c.r.find("access-keys", id);
  Value v = k;
  v["SecretAccessKey"] = k["_secret"];
  return with("AccessKey", v);
}
Output list_access_keys(Context& c, const Value& in) {
  std::vector<Value> items;
  for (auto& [id, k] : c.r.table("access-keys"))
    if (k["UserName"].as_string() == in["UserName"].as_string()) items.push_back(k);
  return list_page(std::move(items), in, "AccessKeyMetadata");
}
Output delete_access_key(Context& c, const Value& in) {
  if (!c.r.erase("access-keys", in["AccessKeyId"].as_string())) return fail("NoSuchEntity", "The Access Key with id " + in["AccessKeyId"].as_string() + " cannot be found.");
  return Value::object();
}

Output create_policy(Context& c, const Value& in) {
  std::string arn = c.arn("iam", "policy" + path_of(in) + in["PolicyName"].as_string(), false);
  if (c.r.find("policies", arn)) return fail("EntityAlreadyExists", "A policy called " + in["PolicyName"].as_string() + " already exists. Duplicate names are not allowed.");
  if (!json::parse(in["PolicyDocument"].as_string()).ok()) return fail("MalformedPolicyDocument", "Syntax errors in policy.");
  Value& p = c.r.edit("policies", arn);
  p["PolicyName"] = in["PolicyName"];
  p["PolicyId"] = iam_id(c, "ANPA");
  p["Arn"] = arn;
  p["Path"] = path_of(in);
  p["DefaultVersionId"] = "v1";
  p["AttachmentCount"] = 0;
  p["IsAttachable"] = true;
  p["CreateDate"] = c.timestamp();
  p["UpdateDate"] = c.timestamp();
  p["_document"] = in["PolicyDocument"];
  return with("Policy", p);
}
Output get_policy(Context& c, const Value& in) {
  const Value* p = c.r.find("policies", in["PolicyArn"].as_string());
  if (!p) return fail("NoSuchEntity", "Policy " + in["PolicyArn"].as_string() + " was not found.");
  return with("Policy", *p);
}
Output get_policy_version(Context& c, const Value& in) {
  const Value* p = c.r.find("policies", in["PolicyArn"].as_string());
  if (!p || in["VersionId"].as_string() != "v1") return fail("NoSuchEntity", "Policy " + in["PolicyArn"].as_string() + " version " + in["VersionId"].as_string() + " does not exist or is not attachable.");
  Value v = Value::object();
  v["Document"] = percent_encode((*p)["_document"].as_string());
  v["VersionId"] = "v1";
  v["IsDefaultVersion"] = true;
  v["CreateDate"] = (*p)["CreateDate"];
  return with("PolicyVersion", v);
}
Output list_policies(Context& c, const Value& in) {
  std::vector<Value> items;
  for (auto& [n, p] : c.r.table("policies")) items.push_back(p);
  return list_page(std::move(items), in, "Policies");
}
Output delete_policy(Context& c, const Value& in) {
  if (!c.r.erase("policies", in["PolicyArn"].as_string())) return fail("NoSuchEntity", "Policy " + in["PolicyArn"].as_string() + " was not found.");
  return Value::object();
}
Output attach(Context& c, const Value& in, const char* table, const char* key, bool on) {
  if (!c.r.find(table, in[key].as_string())) return missing("The entity", in[key].as_string());
  auto& list = c.r.edit(table, in[key].as_string())["_attached"].arr();
  size_t n = std::erase_if(list, [&](const Value& v) { return v == in["PolicyArn"]; });
  if (on) list.push_back(in["PolicyArn"]);
  else if (n == 0) return fail("NoSuchEntity", "Policy " + in["PolicyArn"].as_string() + " was not found.");
  return Value::object();
}
Output attach_role(Context& c, const Value& in) { return attach(c, in, "roles", "RoleName", true); }
Output detach_role(Context& c, const Value& in) { return attach(c, in, "roles", "RoleName", false); }
Output attach_user(Context& c, const Value& in) { return attach(c, in, "users", "UserName", true); }
Output detach_user(Context& c, const Value& in) { return attach(c, in, "users", "UserName", false); }
Output list_attached(Context& c, const Value& in) {
  const Value* r = c.r.find("roles", in["RoleName"].as_string());
  if (!r) return missing("The role", in["RoleName"].as_string());
  std::vector<Value> items;
  for (const std::string& arn : strings((*r)["_attached"])) {
    Value v = Value::object();
    v["PolicyArn"] = arn;
    v["PolicyName"] = arn.substr(arn.rfind('/') + 1);
    items.push_back(std::move(v));
  }
  return list_page(std::move(items), in, "AttachedPolicies");
}
Output put_role_policy(Context& c, const Value& in) {
  if (!c.r.find("roles", in["RoleName"].as_string())) return missing("The role", in["RoleName"].as_string());
  c.r.edit("roles", in["RoleName"].as_string())["_inline"][in["PolicyName"].as_string()] = in["PolicyDocument"];
  return Value::object();
}
Output get_role_policy(Context& c, const Value& in) {
  const Value* r = c.r.find("roles", in["RoleName"].as_string());
  if (!r) return missing("The role", in["RoleName"].as_string());
  const Value* p = (*r)["_inline"].find(in["PolicyName"].as_string());
  if (!p) return fail("NoSuchEntity", "The role policy with name " + in["PolicyName"].as_string() + " cannot be found.");
  Value out = Value::object();
  out["RoleName"] = in["RoleName"];
  out["PolicyName"] = in["PolicyName"];
  out["PolicyDocument"] = percent_encode(p->as_string());
  return out;
}
Output delete_role_policy(Context& c, const Value& in) {
  if (!c.r.find("roles", in["RoleName"].as_string())) return missing("The role", in["RoleName"].as_string());
  c.r.edit("roles", in["RoleName"].as_string())["_inline"].obj().erase(in["PolicyName"].as_string());
  return Value::object();
}
Output list_role_policies(Context& c, const Value& in) {
  const Value* r = c.r.find("roles", in["RoleName"].as_string());
  if (!r) return missing("The role", in["RoleName"].as_string());
  std::vector<Value> items;
  for (const json::Member& m : (*r)["_inline"].as_object()) items.push_back(m.key);
  return list_page(std::move(items), in, "PolicyNames");
}

Output create_oidc(Context& c, const Value& in) {
  std::string url = in["Url"].as_string();
  std::string name = url.compare(0, 8, "https://") == 0 ? url.substr(8) : url;
  std::string arn = c.arn("iam", "oidc-provider/" + name, false);
  if (c.r.find("oidc-providers", arn)) return fail("EntityAlreadyExists", "Provider with url " + url + " already exists.");
  Value& v = c.r.edit("oidc-providers", arn);
  v["Url"] = name;
  v["ClientIDList"] = in["ClientIDList"];
  v["ThumbprintList"] = in["ThumbprintList"];
  v["CreateDate"] = c.timestamp();
  return with("OpenIDConnectProviderArn", arn);
}
Output get_oidc(Context& c, const Value& in) {
  const Value* v = c.r.find("oidc-providers", in["OpenIDConnectProviderArn"].as_string());
  if (!v) return fail("NoSuchEntity", "OpenIDConnect Provider not found for arn " + in["OpenIDConnectProviderArn"].as_string());
  return *v;
}
Output list_oidc(Context& c, const Value&) {
  Value out = Value::object();
  out["OpenIDConnectProviderList"] = Value::array();
  for (auto& [arn, v] : c.r.table("oidc-providers")) out["OpenIDConnectProviderList"].push_back(with("Arn", arn));
  return out;
}
Output delete_oidc(Context& c, const Value& in) {
  c.r.erase("oidc-providers", in["OpenIDConnectProviderArn"].as_string());
  return Value::object();
}
Output create_linked_role(Context& c, const Value& in) {
  std::string service = in["AWSServiceName"].as_string(), name = "AWSServiceRoleFor" + service.substr(0, service.find('.'));
  if (c.r.find("roles", name)) return fail("InvalidInput", "Service role name " + name + " has been taken in this account, please try a different suffix.");
  make_role(c, name, "{}", "/aws-service-role/" + service + "/", "");
  return with("Role", render_role(*c.r.find("roles", name)));
}

}  // namespace

std::string make_role(Context& c, const std::string& name, const std::string& trust, const std::string& path, const std::string& description) {
  Value& r = c.r.edit("roles", name);
  r["Path"] = path;
  r["RoleName"] = name;
  r["RoleId"] = iam_id(c, "AROA");
  r["Arn"] = c.arn("iam", "role" + path + name, false);
  r["CreateDate"] = c.timestamp();
  r["AssumeRolePolicyDocument"] = trust;
  r["Description"] = description;
  r["MaxSessionDuration"] = 3600;
  r["Tags"] = Value::array();
  r["_attached"] = Value::array();
  r["_inline"] = Value::object();
  return std::as_const(r)["Arn"].as_string();
}

void make_instance_profile(Context& c, const std::string& name, const std::string& path, const std::string& role) {
  Value& p = c.r.edit("instance-profiles", name);
  p["Path"] = path;
  p["InstanceProfileName"] = name;
  p["InstanceProfileId"] = iam_id(c, "AIPA");
  p["Arn"] = c.arn("iam", "instance-profile" + path + name, false);
  p["CreateDate"] = c.timestamp();
  p["Tags"] = Value::array();
  p["_roles"] = Value::array();
  if (!role.empty()) p["_roles"].push_back(role);
}

std::string make_access_key(Context& c, const std::string& user) {
  std::string id = "AKIA" + to_upper(c.new_id("", 17)).substr(1);
  Value& k = c.r.edit("access-keys", id);
  k["UserName"] = user;
  k["AccessKeyId"] = id;
  k["Status"] = "Active";
  k["CreateDate"] = c.timestamp();
  k["_secret"] = base64_encode(hmac_sha256(std::to_string(c.random()) + std::to_string(c.random()), std::to_string(c.random()))).substr(0, 40);
  return id;
}

void seed_iam(Context& c) {
  Value& s = c.r.edit("secrets", "session");
  s["_key"] = hex_encode(sha256(std::to_string(c.random()) + std::to_string(c.random()) + std::to_string(c.random()) + std::to_string(c.random())));
  auto trust = [](const char* principal) { return std::string(R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":")") + principal + R"("},"Action":"sts:AssumeRole"}]})"; };
  std::string web = R"({"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::)" + c.o.account + ":oidc-provider/" + c.o.oidc_issuer.substr(8) + R"("},"Action":"sts:AssumeRoleWithWebIdentity"}]})";
  make_role(c, c.o.cluster + "-cluster", trust("eks.amazonaws.com"), "/", "EKS control plane");
  make_role(c, c.o.cluster + "-node", trust("ec2.amazonaws.com"), "/", "EKS worker nodes");
  make_instance_profile(c, c.o.cluster + "-node", "/", c.o.cluster + "-node");
  for (const char* name : {"karpenter", "aws-load-balancer-controller", "ebs-csi-controller", "efs-csi-controller", "cert-manager", "external-dns"}) make_role(c, c.o.cluster + "-" + name, web, "/", std::string("IRSA role of ") + name);
  make_access_key(c, "");
}

void add_iam_actions(Handlers& h) {
  static const std::pair<const char*, Handler> kAll[] = {
      {"CreateRole", create_role},
      {"GetRole", get_role},
      {"ListRoles", list_roles},
      {"DeleteRole", delete_role},
      {"UpdateAssumeRolePolicy", update_trust},
      {"CreateInstanceProfile", create_profile},
      {"GetInstanceProfile", get_profile},
      {"ListInstanceProfiles", list_profiles},
      {"ListInstanceProfilesForRole", list_profiles_for_role},
      {"DeleteInstanceProfile", delete_profile},
      {"AddRoleToInstanceProfile", add_role_to_profile},
      {"RemoveRoleFromInstanceProfile", remove_role_from_profile},
      {"TagInstanceProfile", tag_profile},
      {"UntagInstanceProfile", tag_profile},
      {"TagRole", tag_role},
      {"UntagRole", tag_role},
      {"ListInstanceProfileTags", list_profile_tags},
      {"ListRoleTags", list_role_tags},
      {"CreateUser", create_user},
      {"GetUser", get_user},
      {"ListUsers", list_users},
      {"DeleteUser", delete_user},
      {"CreateAccessKey", create_access_key},
      {"ListAccessKeys", list_access_keys},
      {"DeleteAccessKey", delete_access_key},
      {"CreatePolicy", create_policy},
      {"GetPolicy", get_policy},
      {"GetPolicyVersion", get_policy_version},
      {"ListPolicies", list_policies},
      {"DeletePolicy", delete_policy},
      {"AttachRolePolicy", attach_role},
      {"DetachRolePolicy", detach_role},
      {"AttachUserPolicy", attach_user},
      {"DetachUserPolicy", detach_user},
      {"ListAttachedRolePolicies", list_attached},
      {"PutRolePolicy", put_role_policy},
      {"GetRolePolicy", get_role_policy},
      {"DeleteRolePolicy", delete_role_policy},
      {"ListRolePolicies", list_role_policies},
      {"CreateOpenIDConnectProvider", create_oidc},
      {"GetOpenIDConnectProvider", get_oidc},
      {"ListOpenIDConnectProviders", list_oidc},
      {"DeleteOpenIDConnectProvider", delete_oidc},
      {"CreateServiceLinkedRole", create_linked_role},
  };
  for (auto& [name, f] : kAll) h[std::string("iam:") + name] = f;
}

}  // namespace caravel::cloud
