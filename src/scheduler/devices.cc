#include "scheduler/devices.h"

#include <algorithm>

#include "kube/scheduling_translate.h"

namespace caravel::scheduler {

using namespace kube::resource;
namespace cel = kube::cel;

namespace {

constexpr size_t kStepsMax = 100'000;
constexpr size_t kProgramsMax = 1'000;
constexpr const char* kNoDevices = "cannot allocate all claims";

// "driver.example/name", for names without a domain are the driver's.
std::pair<std::string, std::string> qualified(const std::string& name, const std::string& driver) {
  size_t slash = name.find('/');
  return slash == name.npos ? std::pair(driver, name) : std::pair(name.substr(0, slash), name.substr(slash + 1));
}

cel::Value value_of(const DeviceAttribute& a) {
  auto list = [](const auto& items, auto make) {
    std::vector<cel::Value> out;
    for (const auto& i : items) out.push_back(make(i));
    return cel::Value::list(std::move(out));
  };
  if (a.int_) return cel::Value::integer(*a.int_);
  if (a.bool_) return cel::Value::boolean(*a.bool_);
  if (a.string) return cel::Value::string(*a.string);
  if (a.version) return cel::Value::string(*a.version);
  if (!a.ints.empty()) return list(a.ints, [](int64_t i) { return cel::Value::integer(i); });
  if (!a.strings.empty()) return list(a.strings, [](const std::string& s) { return cel::Value::string(s); });
  if (!a.versions.empty()) return list(a.versions, [](const std::string& s) { return cel::Value::string(s); });
  return list(a.bools, [](bool b) { return cel::Value::boolean(b); });
}

using Domains = std::map<std::string, std::vector<std::pair<cel::Value, cel::Value>>>;
cel::Value by_domain(Domains domains) {
  std::vector<std::pair<cel::Value, cel::Value>> out;
  for (auto& [domain, entries] : domains) out.emplace_back(cel::Value::string(domain), cel::Value::map(std::move(entries)));
  return cel::Value::map(std::move(out));
}

cel::Value device_value(const std::string& driver, const Device& d, const std::set<std::string>& all_domains) {
  Domains attributes, capacity;
  for (auto& domain : all_domains) attributes[domain], capacity[domain];  // what a device has not is empty, no error
  for (auto& [name, a] : d.attributes) {
    auto [domain, id] = qualified(name, driver);
    attributes[domain].emplace_back(cel::Value::string(id), value_of(a));
  }
  for (auto& [name, c] : d.capacity) {
    auto [domain, id] = qualified(name, driver);
    capacity[domain].emplace_back(cel::Value::string(id), cel::Value::quantity(c.value));
  }
  std::vector<std::pair<cel::Value, cel::Value>> out;
  out.emplace_back(cel::Value::string("driver"), cel::Value::string(driver));
  out.emplace_back(cel::Value::string("attributes"), by_domain(std::move(attributes)));
  out.emplace_back(cel::Value::string("capacity"), by_domain(std::move(capacity)));
  out.emplace_back(cel::Value::string("allowMultipleAllocations"), cel::Value::boolean(d.allow_multiple_allocations.value_or(false)));
  return cel::Value::map(std::move(out));
}

// The attribute as text that equal values share; nullopt: the device has none.
std::optional<std::string> attribute_text(const Device& d, const std::string& driver, const std::string& full_name) {
  const auto wanted = qualified(full_name, driver);
  for (auto& [name, a] : d.attributes)
    if (qualified(name, driver) == wanted) return json::dump(kube::to_json(a));
  return std::nullopt;
}

bool tolerated(const std::vector<DeviceToleration>& list, const DeviceTaint& t) {
  if (t.effect != "NoSchedule" && t.effect != "NoExecute") return true;
  return std::any_of(list.begin(), list.end(), [&](const DeviceToleration& o) {
    if (!o.effect.empty() && o.effect != t.effect) return false;
    if (!o.key.empty() && o.key != t.key) return false;
    return o.operator_ == "Exists" || (!o.key.empty() && o.value == t.value);
  });
}

// One way to satisfy a request.
struct Option {
  std::string name;  // as results name it: "gpu" or "gpu/large"
  std::string device_class;
  const std::vector<DeviceSelector>* selectors = nullptr;
  bool all = false, admin = false;
  size_t count = 1;
  const std::vector<DeviceToleration>* tolerations = nullptr;
  bool odd = false;  // asks for what is not known here
};
std::vector<Option> options_of(const DeviceRequest& r) {
  std::vector<Option> out;
  auto add = [&](const auto& q, std::string name, bool admin) {
    out.push_back({std::move(name), q.device_class_name, &q.selectors, q.allocation_mode == "All", admin, static_cast<size_t>(std::max<int64_t>(1, q.count)), &q.tolerations,
                   q.capacity.has_value()});
  };
  if (r.exactly) add(*r.exactly, r.name, r.exactly->admin_access.value_or(false));
  for (auto& s : r.first_available) add(s, r.name + "/" + s.name, false);
  return out;
}

bool concerns(const std::vector<std::string>& requests, const std::string& name) {
  if (requests.empty()) return true;
  const std::string main = name.substr(0, name.find('/'));
  return std::any_of(requests.begin(), requests.end(), [&](const std::string& r) { return r == name || r == main; });
}

}  // namespace

bool node_selected(const std::optional<kube::core::NodeSelector>& s, const std::string& node, const std::map<std::string, std::string>& labels) {
  if (!s) return true;
  return std::any_of(s->node_selector_terms.begin(), s->node_selector_terms.end(), [&](auto& t) { return kube::scheduling::matches(kube::scheduling::term_of(t), labels, node); });
}

void Devices::set_slices(std::vector<std::shared_ptr<const ResourceSlice>> slices) {
  slices_ = std::move(slices);
  known_.clear();
  std::map<std::pair<std::string, std::string>, std::pair<int64_t, int64_t>> pools;  // newest generation, its slices
  std::set<std::string> domains;
  for (auto& s : slices_) {
    auto& [generation, count] = pools[{s->spec.driver, s->spec.pool.name}];
    if (s->spec.pool.generation > generation) generation = s->spec.pool.generation, count = 0;
    if (s->spec.pool.generation == generation) ++count;
    domains.insert(s->spec.driver);
    for (auto& d : s->spec.devices) {
      for (auto& [name, a] : d.attributes) domains.insert(qualified(name, s->spec.driver).first);
      for (auto& [name, c] : d.capacity) domains.insert(qualified(name, s->spec.driver).first);
    }
  }
  for (auto& s : slices_) {
    const auto& [generation, count] = pools[{s->spec.driver, s->spec.pool.name}];
    if (s->spec.pool.generation != generation || count != s->spec.pool.resource_slice_count) continue;
    for (auto& d : s->spec.devices) {
      if (!d.consumes_counters.empty() || !d.binding_conditions.empty() || d.allow_multiple_allocations.value_or(false)) continue;
      known_.push_back({{s->spec.driver, s->spec.pool.name, d.name}, s.get(), &d, device_value(s->spec.driver, d, domains)});
    }
  }
}

void Devices::set_classes(std::vector<std::shared_ptr<const DeviceClass>> classes) {
  classes_.clear();
  for (auto& c : classes) classes_[c->metadata.name] = c;
}

const DeviceClass* Devices::class_of(const std::string& name) const {
  auto it = classes_.find(name);
  return it == classes_.end() ? nullptr : it->second.get();
}

std::string Devices::objection(const ResourceClaim& claim) {
  for (auto& r : claim.spec.devices.requests)
    for (auto& o : options_of(r)) {
      if (!class_of(o.device_class)) return "request " + o.name + ": device class " + o.device_class + " does not exist";
      if (o.odd) return "request " + o.name + ": capacity requests are not supported here";
    }
  return "";
}

bool Devices::is_on(const Known& d, const std::string& node, const std::map<std::string, std::string>& labels) const {
  auto check = [&](const auto& where) {
    if (where.all_nodes.value_or(false)) return true;
    if (where.node_name) return *where.node_name == node;
    return where.node_selector && node_selected(where.node_selector, node, labels);
  };
  return d.slice->spec.per_device_node_selection.value_or(false) ? check(*d.device) : check(d.slice->spec);
}

Result<const cel::Program*> Devices::program(const std::string& expression) {
  auto it = programs_.find(expression);
  if (it == programs_.end()) {
    if (programs_.size() >= kProgramsMax) programs_.clear();
    cel::Environment env;
    env.variables = {{"device", cel::simple_type(cel::Type::Kind::kDyn)}};
    it = programs_.emplace(expression, cel::Program::compile(expression, env)).first;
  }
  if (!it->second.ok()) return it->second.error();
  return &*it->second;
}

Result<bool> Devices::selects(const std::vector<DeviceSelector>& selectors, const Known& d) {
  for (auto& s : selectors) {
    if (!s.cel) return false;
    TRY(const cel::Program* p, program(s.cel->expression));
    cel::Budget budget;
    TRY(cel::Value v, p->run({{"device", d.value}}, budget));
    if (!v.is_true()) return false;
  }
  return true;
}

// The depth-first search for one node.
class Search {
 public:
  Search(Devices& world, const std::vector<Devices::ClaimPtr>& claims, const std::set<DeviceId>& taken) : world_(world), claims_(claims), taken_(taken) { out_.resize(claims.size()); }

  Result<Devices::Allocations> run(const std::string& node, const std::map<std::string, std::string>& labels) {
    for (auto& d : world_.known_)
      if (world_.is_on(d, node, labels)) here_.push_back(&d);
    const bool found = request(0, 0);
    if (!error_.ok()) return std::move(error_).error();
    if (!found) return make_error(Code::kInvalid, kNoDevices);
    for (size_t i = 0; i < claims_.size(); ++i) finish(i, node);
    return std::move(out_);
  }

 private:
  using Known = Devices::Known;
  using Picked = std::vector<const Known*>;

  // False also when the search is over because of an error.
  bool request(size_t c, size_t r) {
    if (c == claims_.size()) return true;
    const auto& requests = claims_[c]->spec.devices.requests;
    if (r == requests.size()) return request(c + 1, 0);
    for (const Option& o : options_of(requests[r])) {
      std::vector<const Known*> fit = candidates(o);
      if (!error_.ok()) return false;
      const size_t count = o.all ? fit.size() : o.count;
      if (count == 0 || fit.size() < count) continue;
      if (choose(c, r, o, fit, 0, count)) return true;
      if (!error_.ok()) return false;
    }
    return false;
  }

  bool choose(size_t c, size_t r, const Option& o, const std::vector<const Known*>& fit, size_t from, size_t left) {
    if (left == 0) return request(c, r + 1);
    for (size_t i = from; i + left <= fit.size(); ++i) {
      if (++steps_ > kStepsMax) {
        error_ = make_error(Code::kInvalid, "the search for devices took too long");
        return false;
      }
      const Known& d = *fit[i];
      const bool free = o.admin || (taken_.count(d.id) == 0 && used_.count(d.id) == 0);
      if (free && ties(c, o, d)) {
        if (!o.admin) used_.insert(d.id);
        auto& results = out_[c].devices.results;
        results.push_back(result(o, d));
        chosen_.push_back({c, o.name, &d});
        if (choose(c, r, o, fit, i + 1, left - 1)) return true;
        chosen_.pop_back();
        results.pop_back();
        if (!o.admin) used_.erase(d.id);
        if (!error_.ok()) return false;
      }
      if (o.all) return false;  // each of them is needed
    }
    return false;
  }

  std::vector<const Known*> candidates(const Option& o) {
    std::vector<const Known*> out;
    const DeviceClass* type = world_.class_of(o.device_class);
    if (!type) return out;
    for (const Known* d : here_) {
      const auto& taints = d->device->taints;
      if (!o.admin && !std::all_of(taints.begin(), taints.end(), [&](auto& t) { return tolerated(*o.tolerations, t); })) continue;
      Result<bool> yes = world_.selects(type->spec.selectors, *d);
      if (yes.ok() && *yes) yes = world_.selects(*o.selectors, *d);
      if (!yes.ok()) {
        error_ = make_error(Code::kInvalid, "request " + o.name + ": " + yes.error().message);
        return {};
      }
      if (*yes) out.push_back(d);
    }
    return out;
  }

  // The constraints of the claim with what has been chosen for it so far.
  bool ties(size_t c, const Option& o, const Known& d) const {
    for (auto& k : claims_[c]->spec.devices.constraints) {
      const std::string name = k.match_attribute.value_or(k.distinct_attribute.value_or(""));
      if (name.empty() || !concerns(k.requests, o.name)) continue;
      const auto mine = attribute_text(*d.device, d.id.driver, name);
      if (!mine) return false;
      for (auto& other : chosen_) {
        if (other.claim != c || !concerns(k.requests, other.request)) continue;
        const bool same = attribute_text(*other.device->device, other.device->id.driver, name) == mine;
        if (same != k.match_attribute.has_value()) return false;
      }
    }
    return true;
  }

  static DeviceRequestAllocationResult result(const Option& o, const Known& d) {
    DeviceRequestAllocationResult out;
    out.request = o.name;
    out.driver = d.id.driver;
    out.pool = d.id.pool;
    out.device = d.id.device;
    if (o.admin) out.admin_access = true;
    out.tolerations = *o.tolerations;
    return out;
  }

  // The configuration for the driver, and the nodes that can use what was chosen.
  void finish(size_t c, const std::string& node) {
    AllocationResult& a = out_[c];
    std::set<std::string> done;
    bool local = false;
    for (auto& x : chosen_) {
      if (x.claim != c) continue;
      const bool per_device = x.device->slice->spec.per_device_node_selection.value_or(false);
      const bool everywhere = per_device ? x.device->device->all_nodes.value_or(false) : x.device->slice->spec.all_nodes.value_or(false);
      local = local || !everywhere;
      if (!done.insert(x.request).second) continue;
      for (const Option& o : options_of_request(c, x.request)) {
        if (o.name != x.request) continue;
        for (auto& config : world_.class_of(o.device_class)->spec.config) add_config(a, "FromClass", {x.request}, config);
      }
    }
    for (auto& config : claims_[c]->spec.devices.config) add_config(a, "FromClaim", config.requests, config);
    if (!local) return;
    kube::core::NodeSelectorRequirement is;
    is.key = "metadata.name";
    is.operator_ = "In";
    is.values = {node};
    a.node_selector.emplace();
    a.node_selector->node_selector_terms.emplace_back();
    a.node_selector->node_selector_terms[0].match_fields = {std::move(is)};
  }
  std::vector<Option> options_of_request(size_t c, const std::string& name) const {
    for (auto& r : claims_[c]->spec.devices.requests)
      if (r.name == name.substr(0, name.find('/'))) return options_of(r);
    return {};
  }
  static void add_config(AllocationResult& a, const char* source, std::vector<std::string> requests, const DeviceConfiguration& config) {
    DeviceAllocationConfiguration out;
    static_cast<DeviceConfiguration&>(out) = config;
    out.source = source;
    out.requests = std::move(requests);
    a.devices.config.push_back(std::move(out));
  }

  struct Chosen {
    size_t claim;
    std::string request;
    const Known* device;
  };
  Devices& world_;
  const std::vector<Devices::ClaimPtr>& claims_;
  const std::set<DeviceId>& taken_;
  std::vector<const Known*> here_;
  std::vector<Chosen> chosen_;
  std::set<DeviceId> used_;
  Devices::Allocations out_;
  size_t steps_ = 0;
  Status error_ = ok();
};

Result<Devices::Allocations> Devices::allocate(const std::vector<ClaimPtr>& claims, const std::set<DeviceId>& taken, const std::string& node, const std::map<std::string, std::string>& labels) {
  return Search(*this, claims, taken).run(node, labels);
}

}  // namespace caravel::scheduler
