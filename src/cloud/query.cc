#include "cloud/query.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::cloud {

std::string Context::new_id(std::string_view prefix, size_t digits) {
  std::string hex = format("%016llx%016llx", static_cast<unsigned long long>(random()), static_cast<unsigned long long>(random()));
  return std::string(prefix) + "0" + hex.substr(0, digits - 1);
}

namespace {

void collect(const Value& v, std::string_view path, std::vector<std::string>& out) {
  if (v.is_array()) {
    for (const Value& item : v.as_array()) collect(item, path, out);
    return;
  }
  if (path.empty()) {
    if (v.is_string()) out.push_back(v.as_string());
    else if (v.is_bool()) out.push_back(v.as_bool() ? "true" : "false");
    else if (v.is_int()) out.push_back(std::to_string(v.as_int()));
    else if (v.is_number()) out.push_back(json::dump(v));
    return;
  }
  size_t dot = path.find('.');
  collect(v[path.substr(0, dot)], dot == path.npos ? "" : path.substr(dot + 1), out);
}

bool any_match(const std::vector<std::string>& have, const Value& wanted) {
  for (const Value& w : wanted.as_array())
    for (const std::string& h : have)
      if (glob_match(w.as_string(), h)) return true;
  return false;
}

}  // namespace

std::vector<std::string> texts_at(const Value& item, std::string_view path) {
  std::vector<std::string> out;
  collect(item, path, out);
  return out;
}

Result<bool> matches(const Value& item, const Value& filters, const FilterTable& table) {
  for (const Value& f : filters.as_array()) {
    const std::string& name = f["Name"].as_string();
    std::vector<std::string> have;
    if (name.compare(0, 4, "tag:") == 0) {
      for (const Value& t : item["Tags"].as_array())
        if (t["Key"].as_string() == name.substr(4)) have.push_back(t["Value"].as_string());
    } else if (name == "tag-key") {
      have = texts_at(item, "Tags.Key");
    } else if (name == "tag-value") {
      have = texts_at(item, "Tags.Value");
    } else {
      auto it = std::find_if(table.begin(), table.end(), [&](const FilterPath& p) { return p.name == name; });
      if (it == table.end()) return fail("InvalidParameterValue", "The filter '" + name + "' is invalid");
      have = texts_at(item, it->path);
    }
    if (!any_match(have, f["Values"])) return false;
  }
  return true;
}

Result<std::vector<Value>> page(std::vector<Value> items, const Value& in, Value& out, std::string_view token_in, std::string_view max_in, std::string_view token_out, size_t max_default) {
  size_t from = 0;
  if (const std::string& token = in[token_in].as_string(); !token.empty()) {
    auto text = base64url_decode(token);
    auto n = text ? parse_int(*text) : std::nullopt;
    if (!n || *n < 0) return fail("InvalidNextToken", "The token '" + token + "' is invalid");
    from = std::min(items.size(), static_cast<size_t>(*n));
  }
  size_t max = max_default;
  const Value& given = in[max_in];
  int64_t m = given.is_string() ? parse_int(given.as_string()).value_or(0) : given.as_int();
  if (m > 0) max = static_cast<size_t>(m);
  size_t to = std::min(items.size(), from + max);
  if (to < items.size()) out[token_out] = base64url_encode(std::to_string(to));
  return std::vector<Value>(std::make_move_iterator(items.begin() + static_cast<long>(from)), std::make_move_iterator(items.begin() + static_cast<long>(to)));
}

Output describe(Context& c, const Value& in, const Describe& d) {
  std::vector<Value> found;
  static const FilterTable none;
  auto consider = [&](const Value& record) -> Status {
    Value v = d.render ? d.render(c, record) : record;
    TRY(bool hit, matches(v, in["Filters"].is_null() ? in["Filter"] : in["Filters"], d.filters ? *d.filters : none));
    if (hit) found.push_back(std::move(v));
    return ok();
  };
  const Value& ids = d.ids.empty() ? in["-"] : in[d.ids];
  if (ids.size() > 0) {
    for (const Value& id : ids.as_array()) {
      const Value* record = c.r.find(d.table, id.as_string());
      if (!record) return fail(std::string(d.not_found), "The " + std::string(d.noun) + " '" + id.as_string() + "' does not exist");
      TRY_VOID(consider(*record));
    }
  } else {
    for (auto& [id, record] : c.r.table(d.table)) TRY_VOID(consider(record));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, d.token_in, d.max_in, d.token_out));
  out[d.output] = Value(std::move(items));
  return out;
}

Result<Value> tags_for(const Value& in, std::string_view type) {
  Value out = Value::array();
  const Value& specs = in.find("TagSpecifications") ? in["TagSpecifications"] : in["TagSpecification"];
  for (const Value& s : specs.as_array()) {
    if (s["ResourceType"].as_string() != type) continue;
    for (const Value& t : s["Tags"].as_array()) {
      const std::string& key = t["Key"].as_string();
      if (key.empty() || key.size() > 128 || key.compare(0, 4, "aws:") == 0) return fail("InvalidParameterValue", "Tag key '" + key + "' is not allowed: 1 to 128 characters that do not begin with 'aws:'");
      set_tag(out, key, t["Value"].as_string());
    }
  }
  if (out.size() > 50) return fail("TagLimitExceeded", "More than 50 tags on one resource");
  return out;
}

std::string tag_value(const Value& tags, std::string_view key) {
  for (const Value& t : tags.as_array())
    if (t["Key"].as_string() == key) return t["Value"].as_string();
  return "";
}

void set_tag(Value& tags, std::string_view key, std::string_view value) {
  for (Value& t : tags.arr())
    if (std::as_const(t)["Key"].as_string() == key) {
      t["Value"] = value;
      return;
    }
  Value t = Value::object();
  t["Key"] = key;
  t["Value"] = value;
  tags.push_back(std::move(t));
}

bool remove_tag(Value& tags, std::string_view key, const std::string* value) {
  if (!tags.is_array()) return false;
  auto& a = tags.arr();
  for (size_t i = 0; i < a.size(); ++i) {
    const Value& t = a[i];
    if (t["Key"].as_string() != key || (value && t["Value"].as_string() != *value)) continue;
    a.erase(a.begin() + static_cast<long>(i));
    return true;
  }
  return false;
}

std::vector<std::string> strings(const Value& v) {
  std::vector<std::string> out;
  for (const Value& s : v.as_array()) out.push_back(s.as_string());
  return out;
}

Value string_list(const std::vector<std::string>& v) {
  Value out = Value::array();
  for (const std::string& s : v) out.push_back(s);
  return out;
}

std::string_view table_of(std::string_view id) {
  static const std::pair<std::string_view, std::string_view> kPrefixes[] = {
      {"i-", "instances"},
      {"vpc-", "vpcs"},
      {"subnet-", "subnets"},
      {"rtb-", "route-tables"},
      {"igw-", "internet-gateways"},
      {"nat-", "nat-gateways"},
      {"eipalloc-", "addresses"},
      {"sg-", "security-groups"},
      {"sgr-", "security-group-rules"},
      {"eni-", "network-interfaces"},
      {"lt-", "launch-templates"},
      {"vol-", "volumes"},
      {"key-", "key-pairs"},
      {"fleet-", "fleets"},
      {"ami-", "images"},
      {"acl-", "network-acls"},
  };
  for (auto& [prefix, table] : kPrefixes)
    if (id.substr(0, prefix.size()) == prefix) return table;
  return "";
}

bool same_request(const Value& a, const Value& b) { return json::dump_sorted(a) == json::dump_sorted(b); }

const Handlers& handlers() {
  static const Handlers all = [] {
    Handlers h;
    add_vpc_actions(h);
    add_gateway_actions(h);
    add_security_group_actions(h);
    add_interface_actions(h);
    add_instance_actions(h);
    add_launch_actions(h);
    add_instance_type_actions(h);
    add_catalog_actions(h);
    add_volume_actions(h);
    add_load_balancer_actions(h);
    add_target_group_actions(h);
    add_listener_actions(h);
    add_iam_actions(h);
    add_sts_actions(h);
    add_eks_actions(h);
    add_ssm_actions(h);
    add_pricing_actions(h);
    add_sqs_actions(h);
    add_acm_actions(h);
    return h;
  }();
  return all;
}

}  // namespace caravel::cloud
