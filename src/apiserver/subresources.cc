#include "apiserver/subresources.h"

#include <algorithm>

#include "apiserver/api_server.h"
#include "apiserver/builtin_model.h"
#include "apiserver/conversion_webhook.h"
#include "apiserver/document_kind.h"
#include "apiserver/object_meta.h"
#include "base/strings.h"
#include "kube/codec.h"
#include "kube/kinds.h"
#include "kube/patch.h"
#include "kube/types/authentication.h"
#include "kube/types/autoscaling_v1.h"
#include "kube/types/core.h"
#include "kube/types/policy.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr std::string_view kProtobuf = "application/vnd.kubernetes.protobuf";

Result<Value> body_of(const Request& r, std::string_view kind, const kube::TypeInfo* type) {
  if (r.body.empty()) return Value::object();
  if (r.content_type.compare(0, kProtobuf.size(), kProtobuf) == 0) return decode_envelope(*type, r.body);
  auto v = json::parse(r.body);
  if (!v.ok()) return status::bad_request("couldn't get version/kind; json parse error: " + v.error().message);
  if (std::string why = header_problem(*v); !why.empty()) return status::bad_request("couldn't get version/kind; json parse error: " + why);
  const std::string expected(type->api_version);
  const std::string given = std::as_const(*v)["kind"].as_string(), version = std::as_const(*v)["apiVersion"].as_string();
  auto cannot = [&](const std::string& as, const std::string& why) {
    const std::string of = kube::parse_group_version(version.empty() ? expected : version).version;
    return status::bad_request(as + " in version " + json::quote(of) + " cannot be handled as a " + std::string(kind) + ": " + why);
  };
  if (!given.empty() && given != kind && given != "DeleteOptions") {
    ServedType wanted;
    const kube::GroupVersion gv = kube::parse_group_version(expected);
    wanted.resource.group = gv.group;
    wanted.resource.version = gv.version;
    wanted.resource.kind = std::string(kind);
    return cannot(given, registry_problem(wanted, version.empty() ? expected : version, given));
  }
  std::vector<std::string> unknown;
  if (Status s = accept_typed(*type, *v, unknown); !s.ok()) return cannot(std::string(kind), s.error().message);
  if (!unknown.empty() && r.param_or("fieldValidation") == "Strict") {
    for (auto& u : unknown) u = "unknown field " + json::quote(u);
    return cannot(std::string(kind), "strict decoding error: " + join(unknown, ", "));
  }
  return std::move(*v);
}

Response warned(Response r, const WriteCall& call) {
  r.warnings = call.warnings;
  return r;
}

// Webhooks and policies on what a POST to a subresource carries.
Task<Status> admit_created(Rest& rest, WriteCall* call, Value* object) {
  Rest::OtherWrite write;
  write.operation = Operation::kCreate;
  write.object = object;
  write.options_kind = "CreateOptions";
  Status s = co_await rest.admit_other(call, write);
  co_return s;
}

Response success(int code) {
  Value s = Value::object();
  s["kind"] = "Status";
  s["apiVersion"] = "v1";
  s["metadata"] = Value::object();
  s["status"] = "Success";
  s["code"] = code;
  return json_response(code, s);
}

// ---- scale ----

const Value* by_path(const Value& o, std::string_view path) {
  const Value* v = &o;
  for (auto& step : split(path, '.'))
    if (!step.empty() && v) v = v->find(step);
  return v;
}
void set_path(Value& o, std::string_view path, Value x) {
  Value* v = &o;
  for (auto& step : split(path, '.'))
    if (!step.empty()) {
      if (!v->is_object()) *v = Value::object();
      v = &(*v)[step];
    }
  *v = std::move(x);
}

std::string selector_text(const Value& s) {
  std::vector<std::string> terms;
  if (s.is_string()) return s.as_string();
  const Value& labels = s.find("matchLabels") || s.find("matchExpressions") ? s["matchLabels"] : s;
  for (auto& m : labels.as_object())
    if (m.value.is_string()) terms.push_back(m.key + "=" + m.value.as_string());
  std::sort(terms.begin(), terms.end());
  for (auto& e : s["matchExpressions"].as_array()) {
    std::vector<std::string> values;
    for (auto& v : e["values"].as_array()) values.push_back(v.as_string());
    const std::string& op = e["operator"].as_string();
    const std::string& key = e["key"].as_string();
    if (op == "In") terms.push_back(key + " in (" + join(values, ",") + ")");
    else if (op == "NotIn") terms.push_back(key + " notin (" + join(values, ",") + ")");
    else if (op == "Exists") terms.push_back(key);
    else terms.push_back("!" + key);
  }
  return join(terms, ",");
}

Value scale_of(const ServedType& t, const Value& o) {
  std::string spec = t.scale_spec_path.empty() ? ".spec.replicas" : t.scale_spec_path;
  std::string stat = t.scale_status_path.empty() ? ".status.replicas" : t.scale_status_path;
  std::string selector = !t.scale_selector_path.empty() ? t.scale_selector_path : t.custom ? ""
                                                                                           : ".spec.selector";
  Value s = Value::object();
  s["kind"] = "Scale";
  s["apiVersion"] = "autoscaling/v1";
  Value& m = s["metadata"];
  for (std::string_view f : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"})
    if (auto* v = o["metadata"].find(f)) m[f] = *v;
  s["spec"] = Value::object();
  if (auto* n = by_path(o, spec); n && n->as_int()) s["spec"]["replicas"] = *n;
  s["status"]["replicas"] = 0;
  if (auto* n = by_path(o, stat); n && n->is_int()) s["status"]["replicas"] = *n;
  if (!selector.empty())
    if (auto* x = by_path(o, selector)) {
      std::string text = selector_text(*x);
      if (!text.empty()) s["status"]["selector"] = text;
    }
  return s;
}

Rest::Transform set_replicas(ServedTypePtr t, Value scale, std::string resource_version) {
  return [t, scale = std::move(scale), resource_version](const Value& live) -> Result<Value> {
    if (!resource_version.empty() && resource_version != meta_string(live, "resourceVersion")) return status::modified(t->resource, meta_string(live, "name"));
    Value out = live;
    const Value& n = scale.path({"spec", "replicas"});
    if (n.as_int() < 0)
      return status::invalid("autoscaling", "Scale", meta_string(live, "name"),
                             {{"spec.replicas", "FieldValueInvalid", "Invalid value: " + std::to_string(n.as_int()) + ": must be greater than or equal to 0"}});
    set_path(out, t->scale_spec_path.empty() ? ".spec.replicas" : t->scale_spec_path, n.is_int() ? n : Value(0));
    return out;
  };
}

// As the caller wants it.
Response scale_response(const Output& form, const Value& scale, Time now) {
  Response res = json_response(200, scale);
  if (form.as == Output::kTable) {
    auto column = [](std::string_view name, std::string_view type, std::string_view format, std::string_view description) {
      Value c = Value::object();
      c["name"] = name;
      c["type"] = type;
      c["format"] = format;
      c["description"] = description;
      c["priority"] = 0;
      return c;
    };
    Value table = Value::object();
    table["kind"] = "Table";
    table["apiVersion"] = form.meta_version;
    table["metadata"]["resourceVersion"] = scale["metadata"]["resourceVersion"];
    table["columnDefinitions"] = Value::array({column("Name", "string", "name", "Name must be unique within a namespace; it cannot be changed."),
                                               column("Desired", "integer", "", "Number of desired replicas."), column("Available", "integer", "", "Number of replicas that there are."),
                                               column("Age", "string", "", "When the object was created.")});
    Value row = Value::object();
    auto made = parse_rfc3339(scale["metadata"]["creationTimestamp"].as_string());
    row["cells"] = Value::array({scale["metadata"]["name"], scale["spec"]["replicas"].as_int(), scale["status"]["replicas"].as_int(),
                                 made.ok() ? human_duration(now - *made) : std::string("<unknown>")});
    if (form.include_object != "None") row["object"] = form.include_object == "Object" ? scale : partial_metadata(scale, form.meta_version);
    table["rows"] = Value::array({std::move(row)});
    res = json_response(200, table);
  } else if (form.as == Output::kPartial) {
    res = json_response(200, partial_metadata(scale, form.meta_version));
  } else if (form.format == Output::kProtobuf) {
    const kube::TypeInfo& type = kube::autoscaling_v1::Scale::type_info();
    kube::autoscaling_v1::Scale typed;
    if (Status s = kube::decode_json(type, scale, &typed); !s.ok()) return error_response(status::internal(s.error().message));
    res.body = std::make_shared<const std::string>(protobuf_envelope("autoscaling/v1", "Scale", kube::encode_protobuf(type, &typed)));
    res.value = nullptr;
    res.content_type = kProtobuf;
  }
  if (form.format == Output::kYaml) {
    res.body = std::make_shared<const std::string>(yaml_text(*res.body));
    res.content_type = "application/yaml";
  }
  return res;
}

Task<Response> serve_scale(ApiServer& server, Request& r, ServedTypePtr t) {
  Rest& rest = server.rest();
  const Time now = server.core().ex.now();
  auto form = negotiate(r);
  if (!form.ok()) co_return error_response(form.error());
  auto live = rest.live(*t, r.ns, r.name);
  if (!live.ok()) co_return error_response(live.error());
  if (t->converter) {
    auto converted = co_await convert_one(t.get(), rest.find(*t, r.ns, r.name));
    if (!converted.ok()) co_return error_response(converted.error());
    live = (*converted)->value();
  }
  if (r.verb == "get") co_return scale_response(*form, scale_of(*t, **live), now);
  Value scale = scale_of(*t, **live);
  std::string version;
  if (r.verb == "update") {
    auto body = body_of(r, "Scale", &kube::autoscaling_v1::Scale::type_info());
    if (!body.ok()) co_return error_response(body.error());
    scale = std::move(*body);
    version = meta_string(scale, "resourceVersion");
  } else if (r.verb == "patch") {
    auto patch = json::parse(r.body);
    if (!patch.ok()) co_return error_response(status::bad_request("error decoding patch: " + patch.error().message));
    if (patch->is_array()) {
      auto done = kube::json_patch(scale, *patch);
      if (!done.ok()) co_return error_response(status::make(422, "Invalid", done.error().message));
      scale = std::move(*done);
    } else {
      scale = kube::merge_patch(std::move(scale), *patch);
    }
  } else {
    co_return error_response(status::method_not_allowed());
  }
  WriteCall call = rest.write_call(r, t);
  const Value before = scale_of(*t, **live);
  Rest::OtherWrite write;
  write.operation = Operation::kUpdate;
  write.object = &scale;
  write.old = &before;
  write.options_kind = "UpdateOptions";
  Status admitted = co_await rest.admit_other(&call, write);
  if (!admitted.ok()) co_return warned(error_response(admitted.error()), call);
  call.admitted = true;
  auto stored = co_await rest.update_object(&call, set_replicas(t, std::move(scale), version), true);
  if (!stored.ok()) co_return warned(error_response(stored.error()), call);
  co_return warned(scale_response(*form, scale_of(*t, *stored->value), now), call);
}

// ---- binding ----

Rest::Transform bind_pod(Value binding) {
  return [binding = std::move(binding)](const Value& live) -> Result<Value> {
    kube::Resource pods;
    pods.plural = "pods";
    const std::string& name = meta_string(live, "name");
    const std::string& uid = meta_string(binding, "uid");
    if (!uid.empty() && uid != meta_string(live, "uid"))
      return status::conflict(pods, name, "Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + meta_string(live, "uid"));
    if (!live.path({"metadata", "deletionTimestamp"}).is_null())
      return status::conflict(pods, name, "pod " + name + " is being deleted, cannot be assigned to a host");
    if (const std::string& node = live.path({"spec", "nodeName"}).as_string(); !node.empty())
      return status::conflict(pods, name, "pod " + name + " is already assigned to node " + json::quote(node));
    if (live.path({"spec", "schedulingGates"}).size()) return status::conflict(pods, name, "pod " + name + " has non-empty .spec.schedulingGates");
    Value out = live;
    out["spec"]["nodeName"] = binding.path({"target", "name"});
    if (out["status"].is_object()) out["status"].erase("nominatedNodeName");  // the promise is kept
    for (std::string_view what : {"annotations", "labels"})
      for (auto& a : binding["metadata"][what].as_object()) out["metadata"][what][a.key] = a.value;
    Value c = Value::object();
    c["type"] = "PodScheduled";
    c["status"] = "True";
    Value kept = Value::array();
    bool found = false;
    for (auto& old : live.path({"status", "conditions"}).as_array()) {
      if (old["type"].as_string() == "PodScheduled") {
        found = true;
        if (old["status"].as_string() == "True" && !old["lastTransitionTime"].is_null()) c["lastTransitionTime"] = old["lastTransitionTime"];
        kept.push_back(c);
      } else {
        kept.push_back(old);
      }
    }
    if (!found) kept.push_back(c);
    out["status"]["conditions"] = std::move(kept);
    return out;
  };
}

// The transition time needs the clock: added here.
Rest::Transform stamp_scheduled(Rest::Transform inner, std::string now) {
  return [inner = std::move(inner), now = std::move(now)](const Value& live) -> Result<Value> {
    auto r = inner(live);
    if (!r.ok()) return r;
    for (auto& c : (*r)["status"]["conditions"].arr())
      if (c["type"].as_string() == "PodScheduled" && !c.find("lastTransitionTime")) {
        c["lastProbeTime"] = Value();
        c["lastTransitionTime"] = now;
      }
    return r;
  };
}

Task<Response> serve_binding(ApiServer& server, Request& r, ServedTypePtr pods) {
  auto body = body_of(r, "Binding", &kube::core::Binding::type_info());
  if (!body.ok()) co_return error_response(body.error());
  const std::string& node = body->path({"target", "name"}).as_string();
  const std::string& kind = body->path({"target", "kind"}).as_string();
  if (node.empty()) co_return error_response(status::invalid("", "Binding", r.name, {{"target.name", "FieldValueRequired", "Required value"}}));
  if (!kind.empty() && kind != "Node")
    co_return error_response(status::invalid("", "Binding", r.name, {{"target.kind", "FieldValueNotSupported", "Unsupported value: " + json::quote(kind) + ": supported values: \"Node\", \"<empty>\""}}));
  WriteCall call = server.rest().write_call(r, pods);
  if (call.name.empty()) call.name = meta_string(*body, "name");
  call.subresource = "binding";
  Status admitted = co_await admit_created(server.rest(), &call, &*body);
  if (!admitted.ok()) co_return warned(error_response(admitted.error()), call);
  call.admitted = true;
  auto stored = co_await server.rest().update_object(&call, stamp_scheduled(bind_pod(std::move(*body)), format_rfc3339(server.core().ex.now())), true);
  if (!stored.ok()) co_return error_response(stored.error());
  co_return success(201);
}

// ---- eviction ----

bool matches_selector(const Value& selector, const Value& labels) {
  auto text = selector_text(selector);
  if (text.empty()) return selector.is_object();
  auto s = LabelSelector::parse(text);
  Pairs pairs;
  for (auto& l : labels.as_object()) pairs.emplace_back(l.key, l.value.as_string());
  return s.ok() && s->matches(pairs);
}

Rest::Transform take_disruption(std::string pod, std::string now, bool dry_run) {
  return [pod = std::move(pod), now = std::move(now), dry_run](const Value& live) -> Result<Value> {
    const std::string& name = meta_string(live, "name");
    int64_t allowed = live.path({"status", "disruptionsAllowed"}).as_int();
    auto refuse = [&](std::string why) {
      Error e = status::too_many("Cannot evict pod as it would violate the pod's disruption budget.", 0);
      auto v = json::parse(e.details);
      Value cause = Value::object();
      cause["reason"] = "DisruptionBudget";
      cause["message"] = std::move(why);
      (*v)["details"]["causes"] = Value::array({cause});
      e.details = json::dump(*v);
      return e;
    };
    if (live.path({"status", "observedGeneration"}).as_int() < live.path({"metadata", "generation"}).as_int())
      return refuse("The disruption budget " + name + " is still being processed by the server.");
    if (allowed <= 0)
      return refuse("The disruption budget " + name + " needs " + std::to_string(live.path({"status", "desiredHealthy"}).as_int()) + " healthy pods and has " +
                    std::to_string(live.path({"status", "currentHealthy"}).as_int()) + " currently");
    if (dry_run) return live;
    Value out = live;
    out["status"]["disruptionsAllowed"] = allowed - 1;
    out["status"]["disruptedPods"][pod] = now;
    return out;
  };
}

bool pod_ready(const Value& pod) {
  for (auto& c : pod.path({"status", "conditions"}).as_array())
    if (c["type"].as_string() == "Ready") return c["status"].as_string() == "True";
  return false;
}

Rest::Transform mark_disrupted(std::string now) {
  return [now = std::move(now)](const Value& live) -> Result<Value> {
    Value out = live;
    Value c = Value::object();
    c["type"] = "DisruptionTarget";
    c["status"] = "True";
    c["reason"] = "EvictionByEvictionAPI";
    c["message"] = "Eviction API: evicting";
    c["lastProbeTime"] = Value();
    c["lastTransitionTime"] = now;
    Value list = Value::array();
    for (auto& x : live.path({"status", "conditions"}).as_array())
      if (x["type"].as_string() != "DisruptionTarget") list.push_back(x);
    list.push_back(std::move(c));
    out["status"]["conditions"] = std::move(list);
    return out;
  };
}

Task<Response> serve_eviction(ApiServer& server, Request& r, ServedTypePtr pods) {
  Rest& rest = server.rest();
  Core& core = server.core();
  auto body = body_of(r, "Eviction", &kube::policy::Eviction::type_info());
  if (!body.ok()) co_return error_response(body.error());
  auto pod = rest.live(*pods, r.ns, r.name);
  if (!pod.ok()) co_return error_response(pod.error());
  Request options = r;
  Value del = (*body)["deleteOptions"];
  options.body = del.is_object() ? json::dump(del) : "";
  options.content_type = "application/json";
  auto call = rest.delete_call(options, pods);
  if (!call.ok()) co_return error_response(call.error());
  WriteCall eviction = rest.write_call(r, pods);
  Status admitted = co_await admit_created(rest, &eviction, &*body);
  if (!admitted.ok()) co_return warned(error_response(admitted.error()), eviction);
  call->admitted = true;
  const std::string& phase = (*pod)->path({"status", "phase"}).as_string();
  bool terminal = phase == "Succeeded" || phase == "Failed" || phase == "Pending" || !(*pod)->path({"metadata", "deletionTimestamp"}).is_null();
  if (!terminal) {
    ServedTypePtr budgets = core.types.find("policy", "v1", "poddisruptionbudgets");
    std::vector<ValuePtr> mine;
    for (auto& [key, o] : budgets->storage->cache->objects())
      if (o->ns == r.ns) {
        ValuePtr v = o->value();
        if (matches_selector((*v)["spec"]["selector"], (**pod)["metadata"]["labels"])) mine.push_back(v);
      }
    if (mine.size() > 1) co_return error_response(status::internal("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
    if (mine.size() == 1) {
      const Value& b = *mine[0];
      bool ready = pod_ready(**pod);
      const std::string& policy = b.path({"spec", "unhealthyPodEvictionPolicy"}).as_string();
      bool enough = b.path({"status", "currentHealthy"}).as_int() >= b.path({"status", "desiredHealthy"}).as_int() && b.path({"status", "desiredHealthy"}).as_int() > 0;
      bool free = !ready && (policy == "AlwaysAllow" || enough);
      if (!free) {
        WriteCall update;
        update.type = budgets;
        update.ns = r.ns;
        update.name = meta_string(b, "name");
        update.subresource = "status";
        update.user = r.user;
        update.manager = "kube-apiserver";
        update.admitted = true;
        auto taken = co_await rest.update_object(&update, take_disruption(r.name, format_rfc3339(core.ex.now()), call->dry_run), true);
        if (!taken.ok()) co_return error_response(taken.error());
      }
    }
  }
  if (!call->dry_run && !terminal) {
    WriteCall mark;
    mark.type = pods;
    mark.ns = r.ns;
    mark.name = r.name;
    mark.subresource = "status";
    mark.user = r.user;
    mark.manager = "kube-apiserver";
    mark.admitted = true;
    auto marked = co_await rest.update_object(&mark, mark_disrupted(format_rfc3339(core.ex.now())), true);
    if (!marked.ok()) co_return error_response(marked.error());
  }
  auto d = co_await rest.delete_object(std::move(*call));
  if (!d.ok()) co_return error_response(d.error());
  co_return success(201);
}

// ---- token ----

Task<Response> serve_token(ApiServer& server, Request& r, ServedTypePtr accounts) {
  Core& core = server.core();
  if (!core.tokens) co_return error_response(status::unavailable("this server issues no tokens"));
  auto body = body_of(r, "TokenRequest", &kube::authentication::TokenRequest::type_info());
  if (!body.ok()) co_return error_response(body.error());
  auto account = server.rest().live(*accounts, r.ns, r.name);
  if (!account.ok()) co_return error_response(account.error());
  WriteCall request = server.rest().write_call(r, accounts);
  Status admitted = co_await admit_created(server.rest(), &request, &*body);
  if (!admitted.ok()) co_return warned(error_response(admitted.error()), request);
  TokenSpec spec;
  spec.ns = r.ns;
  spec.account = r.name;
  spec.account_uid = meta_string(**account, "uid");
  if (const std::string& name = meta_string(*body, "name"); !name.empty() && name != r.name)
    co_return error_response(status::invalid("authentication.k8s.io", "TokenRequest", r.name, {{"metadata.name", "FieldValueInvalid", "Invalid value: " + json::quote(name) + ": must match the service account name if specified"}}));
  if (const std::string& ns = meta_string(*body, "namespace"); !ns.empty() && ns != r.ns)
    co_return error_response(status::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
  const Value& s = (*body)["spec"];
  for (auto& a : s["audiences"].as_array()) spec.audiences.push_back(a.as_string());
  if (spec.audiences.empty()) spec.audiences = core.tokens->api_audiences();
  if (s["expirationSeconds"].is_int()) spec.seconds = s["expirationSeconds"].as_int();
  constexpr int64_t kSecondsMax = int64_t{1} << 32;
  if (spec.seconds > kSecondsMax)
    co_return error_response(status::invalid("authentication.k8s.io", "TokenRequest", "", {{"spec.expirationSeconds", "FieldValueInvalid", "Invalid value: " + std::to_string(spec.seconds) + ": may not specify a duration larger than 2^32 seconds"}}));
  if (spec.seconds < 600)
    co_return error_response(status::invalid("authentication.k8s.io", "TokenRequest", "", {{"spec.expirationSeconds", "FieldValueInvalid", "Invalid value: " + std::to_string(spec.seconds) + ": may not specify a duration less than 10 minutes"}}));
  spec.seconds = std::min<int64_t>(spec.seconds, 86'400);
  const Value ref = s["boundObjectRef"];
  if (ref.is_object()) {
    const std::string& kind = ref["kind"].as_string();
    const std::string& name = ref["name"].as_string();
    std::string plural = kind == "Pod" ? "pods" : kind == "Secret" ? "secrets"
                                              : kind == "Node"     ? "nodes"
                                                                   : "";
    if (plural.empty() || !kube::parse_group_version(ref["apiVersion"].as_string()).group.empty())
      co_return error_response(status::bad_request("cannot bind token to object of type " + kind_text(ref["apiVersion"].as_string(), kind)));
    if (name.empty()) co_return error_response(status::bad_request("Name parameter required."));
    ServedTypePtr t = core.types.find("", "v1", plural);
    auto bound = server.rest().live(*t, kind == "Node" ? "" : r.ns, name);
    if (!bound.ok()) co_return error_response(bound.error());
    std::string uid = meta_string(**bound, "uid");
    kube::Resource by_kind = t->resource;  // as messages about a binding name it
    by_kind.plural = kind;
    if (!ref["uid"].as_string().empty() && ref["uid"].as_string() != uid)
      co_return error_response(status::conflict(by_kind, name, "the UID in the bound object reference (" + ref["uid"].as_string() + ") does not match the UID in record. The object might have been deleted and then recreated"));
    if (kind == "Pod") {
      if (bound->get()->path({"spec", "serviceAccountName"}).as_string() != r.name)
        co_return error_response(status::bad_request("cannot bind token for serviceaccount " + json::quote(r.name) + " to pod running with different serviceaccount name."));
      spec.pod = name;
      spec.pod_uid = uid;
      const std::string& node = bound->get()->path({"spec", "nodeName"}).as_string();
      if (!node.empty()) {
        spec.node = node;
        ObjectPtr n = core.types.find("", "v1", "nodes")->storage->cache->get("", node);
        if (n) spec.node_uid = meta_string(*n->value(), "uid");
      }
    } else if (kind == "Secret") {
      spec.secret = name;
      spec.secret_uid = uid;
    } else {
      spec.node = name;
      spec.node_uid = uid;
    }
  }
  auto token = core.tokens->issue(spec);
  if (!token.ok()) co_return error_response(status::internal(token.error().message));
  Value out = Value::object();
  out["kind"] = "TokenRequest";
  out["apiVersion"] = "authentication.k8s.io/v1";
  out["metadata"]["name"] = r.name;
  out["metadata"]["namespace"] = r.ns;
  out["metadata"]["uid"] = new_uid(core.ex);
  out["metadata"]["creationTimestamp"] = format_rfc3339(core.ex.now());
  Value audiences = Value::array();
  for (auto& a : spec.audiences) audiences.push_back(a);
  out["spec"]["audiences"] = std::move(audiences);
  out["spec"]["expirationSeconds"] = spec.seconds;
  out["spec"]["boundObjectRef"] = ref;
  out["status"]["token"] = token->first;
  out["status"]["expirationTimestamp"] = format_rfc3339(token->second);
  co_return json_response(201, out);
}

Rest::Transform set_finalizers(Value finalizers) {
  return [finalizers = std::move(finalizers)](const Value& live) -> Result<Value> {
    Value out = live;
    out["spec"]["finalizers"] = finalizers;
    if (finalizers.size() == 0) out["spec"].erase("finalizers");
    return out;
  };
}

}  // namespace

Task<Response> finalize_namespace(ApiServer& server, Request& r, ServedTypePtr t) {
  auto body = body_of(r, "Namespace", &kube::core::Namespace::type_info());
  if (!body.ok()) co_return error_response(body.error());
  WriteCall call = server.rest().write_call(r, t);
  auto stored = co_await server.rest().update_object(&call, set_finalizers((*body)["spec"]["finalizers"]), true);
  if (!stored.ok()) co_return error_response(stored.error());
  Output plain;
  co_return server.rest().render(*t, plain, 200, *stored);
}

Task<Response> serve_special_subresource(ApiServer& server, Request& r, ServedTypePtr t) {
  const std::string& s = r.subresource;
  if (s == "scale") {
    Response res = co_await serve_scale(server, r, t);
    co_return res;
  }
  if (r.verb == "create" && s == "binding") {
    Response res = co_await serve_binding(server, r, t);
    co_return res;
  }
  if (r.verb == "create" && s == "eviction") {
    Response res = co_await serve_eviction(server, r, t);
    co_return res;
  }
  if (r.verb == "create" && s == "token") {
    Response res = co_await serve_token(server, r, t);
    co_return res;
  }
  co_return error_response(status::method_not_allowed());
}

}  // namespace caravel::apiserver
