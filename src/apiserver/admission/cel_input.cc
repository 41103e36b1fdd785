#include "apiserver/admission/cel_input.h"

#include "apiserver/admission/matching.h"
#include "apiserver/authorization/answers.h"

namespace caravel::apiserver {

namespace {

namespace cel = kube::cel;
using json::Value;

constexpr int64_t kConditionsCost = 2'500'000;

// A question to the authorizer, as it grows by method calls.
struct Question {
  Core* core = nullptr;
  const AdmissionRequest* request = nullptr;  // in which it comes up
  UserPtr user;
  std::string group, plural, subresource, ns, name, path;
  bool is_path = false;
  Value field_selector, label_selector;  // requirements
};

class DecisionValue final : public cel::Opaque {
 public:
  explicit DecisionValue(Decision d) : decision_(std::move(d)) {}
  std::string type_name() const override { return "kubernetes.authorization.Decision"; }
  Result<cel::Value> call(std::string_view method, const std::vector<cel::Value>&) const override {
    if (method == "allowed") return cel::Value::boolean(decision_.allowed);
    if (method == "reason") return cel::Value::string(decision_.reason);
    if (method == "errored") return cel::Value::boolean(false);
    if (method == "error") return cel::Value::string("");
    return invalid("no such overload");
  }

 private:
  Decision decision_;
};

class CheckValue final : public cel::Opaque {
 public:
  explicit CheckValue(Question q) : question_(std::move(q)) {}
  std::string type_name() const override { return question_.is_path ? "kubernetes.authorization.PathCheck" : "kubernetes.authorization.ResourceCheck"; }
  Result<cel::Value> call(std::string_view method, const std::vector<cel::Value>& args) const override {
    if (args.size() != 1 || !args[0].is(cel::Kind::kString)) return invalid("no such overload");
    const std::string& text = args[0].s();
    if (method == "check") return cel::Value::opaque(std::make_shared<DecisionValue>(decide(text)));
    Question next = question_;
    if (method == "subresource") next.subresource = text;
    else if (method == "namespace") next.ns = text;
    else if (method == "name") next.name = text;
    else if (method == "fieldSelector") next.field_selector = field_requirements(text);
    else if (method == "labelSelector") next.label_selector = label_requirements(text);
    else return invalid("no such overload");
    return cel::Value::opaque(std::make_shared<CheckValue>(std::move(next)));
  }

 private:
  Decision decide(const std::string& verb) const {
    const Question& q = question_;
    Attributes a;
    a.user = q.user.get();
    a.verb = verb;
    a.is_resource = !q.is_path;
    a.group = q.group;
    a.version = "*";
    a.plural = q.plural;
    a.subresource = q.subresource;
    a.ns = q.ns;
    a.name = q.name;
    a.path = q.path;
    if (!q.field_selector.is_null()) a.field_selector = &q.field_selector;
    if (!q.label_selector.is_null()) a.label_selector = &q.label_selector;
    return ask_access(*q.core, *q.request, a);
  }
  Question question_;
};

class GroupValue final : public cel::Opaque {
 public:
  explicit GroupValue(Question q) : question_(std::move(q)) {}
  std::string type_name() const override { return "kubernetes.authorization.GroupCheck"; }
  Result<cel::Value> call(std::string_view method, const std::vector<cel::Value>& args) const override {
    if (method != "resource" || args.size() != 1 || !args[0].is(cel::Kind::kString)) return invalid("no such overload");
    Question q = question_;
    q.plural = args[0].s();
    return cel::Value::opaque(std::make_shared<CheckValue>(std::move(q)));
  }

 private:
  Question question_;
};

class AuthorizerValue final : public cel::Opaque {
 public:
  AuthorizerValue(UserPtr user, Question own) : user_(std::move(user)), own_(std::move(own)) {}
  std::string type_name() const override { return "kubernetes.authorization.Authorizer"; }
  bool has(std::string_view field) const override { return field == "requestResource"; }
  Result<cel::Value> select(std::string_view field) const override {
    if (field != "requestResource") return cel::Opaque::select(field);
    return cel::Value::opaque(std::make_shared<CheckValue>(own_));
  }
  Result<cel::Value> call(std::string_view method, const std::vector<cel::Value>& args) const override {
    for (auto& a : args)
      if (!a.is(cel::Kind::kString)) return invalid("no such overload");
    Question q;
    q.core = own_.core;
    q.request = own_.request;
    q.user = user_;
    if (method == "path" && args.size() == 1) {
      q.is_path = true;
      q.path = args[0].s();
      return cel::Value::opaque(std::make_shared<CheckValue>(std::move(q)));
    }
    if (method == "group" && args.size() == 1) {
      q.group = args[0].s();
      return cel::Value::opaque(std::make_shared<GroupValue>(std::move(q)));
    }
    if (method == "serviceAccount" && args.size() == 2) {
      auto u = std::make_shared<User>();
      u->name = "system:serviceaccount:" + args[0].s() + ":" + args[1].s();
      u->groups = {"system:serviceaccounts", "system:serviceaccounts:" + args[0].s(), "system:authenticated"};
      Question own = own_;
      own.user = u;
      return cel::Value::opaque(std::make_shared<AuthorizerValue>(std::move(u), std::move(own)));
    }
    return invalid("no such overload");
  }

 private:
  UserPtr user_;
  Question own_;  // about the request's own resource
};

cel::Value namespace_value(const Core& core, const AdmissionRequest& a) {
  ObjectPtr ns = namespace_of(core, a);
  if (!ns) return cel::Value();
  Value v = *ns->value();
  v["metadata"].erase("managedFields");
  if (Value* uid = v["metadata"].find("uid")) v["metadata"]["UID"] = Value(*uid);
  return cel::from_json(v);
}

}  // namespace

std::vector<cel::Variable> admission_variables(Core& core, const AdmissionRequest& a, const AdmissionView& view) {
  Question own;
  own.core = &core;
  own.request = &a;
  own.user = a.user;
  own.group = view.type->resource.group;
  own.plural = view.type->resource.plural;
  own.subresource = a.subresource;
  own.ns = a.ns;
  own.name = a.name_generated ? "" : a.name;
  std::vector<cel::Variable> out;
  out.push_back({"object", cel::from_json(view.object)});
  out.push_back({"oldObject", cel::from_json(view.old)});
  out.push_back({"request", cel::from_json(admission_request(a, *view.type))});
  out.push_back({"namespaceObject", namespace_value(core, a)});
  out.push_back({"authorizer", cel::Value::opaque(std::make_shared<AuthorizerValue>(a.user, std::move(own)))});
  return out;
}

Result<std::vector<Condition>> parse_conditions(const kube::cel::PolicyCompiler& compiler, const json::Value& list) {
  std::vector<Condition> out;
  for (auto& c : list.as_array()) {
    Condition condition;
    condition.name = c["name"].as_string();
    condition.expression = c["expression"].as_string();
    TRY(condition.program, compiler.compile(condition.expression));
    out.push_back(std::move(condition));
  }
  return out;
}

Result<bool> conditions_hold(const std::vector<Condition>& conditions, const std::vector<cel::Variable>& variables) {
  std::vector<std::string> problems;
  cel::Budget budget;
  budget.limit = kConditionsCost;
  for (auto& c : conditions) {
    auto r = c.program.run(variables, budget);
    if (!r.ok()) problems.push_back("expression '" + c.expression + "' resulted in error: " + r.error().message);
    else if (!r->is_true()) return false;
  }
  if (problems.empty()) return true;
  std::string text = problems[0];
  for (size_t i = 1; i < problems.size(); ++i) text += ", " + problems[i];
  return invalid(problems.size() > 1 ? "[" + text + "]" : text);
}

}  // namespace caravel::apiserver
