#include "apiserver/component_status.h"

#include "apiserver/rest.h"

namespace caravel::apiserver {

namespace {

using json::Value;

ObjectPtr component(const std::string& name, const std::string& problem) {
  Value o = Value::object();
  o["kind"] = "ComponentStatus";
  o["apiVersion"] = "v1";
  o["metadata"]["name"] = name;
  Value c = Value::object();
  c["type"] = "Healthy";
  c["status"] = problem.empty() ? "True" : "False";
  c["message"] = problem.empty() ? "ok" : problem;
  o["conditions"] = Value::array({std::move(c)});
  auto out = std::make_shared<Object>();
  out->name = name;
  out->bytes = std::make_shared<const std::string>(json::dump(o));
  out->decoded = json::share(std::move(o));
  return out;
}

}  // namespace

Response serve_component_statuses(const Rest& rest, const Request& r, const ServedType& t) {
  auto form = negotiate(r);
  if (!form.ok()) return error_response(form.error());
  const auto& components = rest.core().components;
  if (r.verb == "get") {
    auto it = components.find(r.name);
    if (it == components.end()) {
      kube::Resource one = t.resource;
      one.plural = "componentstatus";
      return error_response(status::not_found(one, r.name));
    }
    ObjectPtr o = component(it->first, it->second());
    Stored s;
    s.bytes = o->bytes;
    s.value = o->value();
    return rest.render(t, *form, 200, s);
  }
  auto filter = rest.filter_of(r, t);
  if (!filter.ok()) return error_response(filter.error());
  WatchCache::ListPage page;
  for (auto& [name, ask] : components) {
    ObjectPtr o = component(name, ask());
    if (filter->matches(*o)) page.items.push_back(std::move(o));
  }
  return rest.render_list(t, *form, page, 0, "");
}

}  // namespace caravel::apiserver
