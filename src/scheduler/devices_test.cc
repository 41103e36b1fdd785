#include "scheduler/devices.h"

#include <gtest/gtest.h>

namespace caravel::scheduler {
namespace {

using namespace kube::resource;

struct World {
  Devices devices;
  std::vector<std::shared_ptr<const ResourceSlice>> slices;
  std::set<DeviceId> taken;

  World() {
    auto c = std::make_shared<DeviceClass>();
    c->metadata.name = "gpu";
    c->spec.selectors.emplace_back();
    c->spec.selectors[0].cel.emplace();
    c->spec.selectors[0].cel->expression = R"(device.driver == "gpu.example.com")";
    devices.set_classes({c});
  }
  // A pool of the node with devices of these models, named by the pool and a number.
  ResourceSlice& pool(const std::string& node, const std::vector<std::string>& models) {
    auto s = std::make_shared<ResourceSlice>();
    s->spec.driver = "gpu.example.com";
    s->spec.pool.name = node;
    s->spec.pool.generation = 1;
    s->spec.pool.resource_slice_count = 1;
    s->spec.node_name = node;
    for (auto& m : models) {
      Device d;
      d.name = node + "-" + std::to_string(s->spec.devices.size());
      d.attributes["model"].string = m;
      d.attributes["numa"].int_ = static_cast<int64_t>(s->spec.devices.size() % 2);
      d.capacity["memory"].value = *kube::Quantity::parse(m == "big" ? "80Gi" : "10Gi");
      s->spec.devices.push_back(std::move(d));
    }
    slices.push_back(s);
    devices.set_slices(slices);
    return const_cast<ResourceSlice&>(*s);
  }
  Result<Devices::Allocations> ask(const ResourceClaim& c, const std::string& node = "n1") {
    return devices.allocate({std::make_shared<const ResourceClaim>(c)}, taken, node, {{"zone", node == "n1" ? "a" : "b"}});
  }
};

DeviceRequest request(const std::string& name, int64_t count, const std::string& expression = "") {
  DeviceRequest r;
  r.name = name;
  r.exactly.emplace();
  r.exactly->device_class_name = "gpu";
  r.exactly->allocation_mode = "ExactCount";
  r.exactly->count = count;
  if (!expression.empty()) {
    r.exactly->selectors.emplace_back();
    r.exactly->selectors[0].cel.emplace();
    r.exactly->selectors[0].cel->expression = expression;
  }
  return r;
}
ResourceClaim claim(std::vector<DeviceRequest> requests) {
  ResourceClaim c;
  c.spec.devices.requests = std::move(requests);
  return c;
}
std::vector<std::string> names(const Result<Devices::Allocations>& r) {
  std::vector<std::string> out;
  if (!r.ok()) return {r.error().message};
  for (auto& x : r->at(0).devices.results) out.push_back(x.request + "=" + x.device);
  return out;
}
using Names = std::vector<std::string>;
const Names kNone{"cannot allocate all claims"};

TEST(Devices, ARequestTakesAsManyOfTheNodesDevicesAsItAsksFor) {
  World w;
  w.pool("n1", {"small", "small", "big"});
  auto r = w.ask(claim({request("g", 2)}));
  EXPECT_EQ(names(r), (Names{"g=n1-0", "g=n1-1"}));
  EXPECT_EQ(r->at(0).node_selector->node_selector_terms.at(0).match_fields.at(0).values, Names{"n1"});
  EXPECT_EQ(names(w.ask(claim({request("g", 4)}))), kNone);
  EXPECT_EQ(names(w.ask(claim({request("g", 1)}), "n2")), kNone) << "they are on another node";
  w.taken.insert({"gpu.example.com", "n1", "n1-0"});
  EXPECT_EQ(names(w.ask(claim({request("g", 1)}))), Names{"g=n1-1"});
}

TEST(Devices, ExpressionsChooseByAttributesAndCapacity) {
  World w;
  w.pool("n1", {"small", "big"});
  EXPECT_EQ(names(w.ask(claim({request("g", 1, R"(device.attributes["gpu.example.com"].model == "big")")}))), Names{"g=n1-1"});
  EXPECT_EQ(names(w.ask(claim({request("g", 1, R"(device.capacity["gpu.example.com"].memory.compareTo(quantity("40Gi")) >= 0)")}))), Names{"g=n1-1"});
  auto bad = w.ask(claim({request("g", 1, R"(device.attributes["gpu.example.com"].nothing == "x")")}));
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message.rfind("request g: ", 0), 0u) << bad.error().message;
}

TEST(Devices, RequestsOfAClaimDoNotShareDevicesAndTheSearchGoesBack) {
  World w;
  w.pool("n1", {"small", "big"});
  // The first request could take either, and must leave the big one to the second... in whichever order they come.
  EXPECT_EQ(names(w.ask(claim({request("any", 1), request("big", 1, R"(device.attributes["gpu.example.com"].model == "big")")}))), (Names{"any=n1-0", "big=n1-1"}));
  EXPECT_EQ(names(w.ask(claim({request("any", 1), request("small", 1, R"(device.attributes["gpu.example.com"].model == "small")")}))), (Names{"any=n1-1", "small=n1-0"}));
}

TEST(Devices, ConstraintsTieRequestsTogether) {
  World w;
  w.pool("n1", {"small", "small", "small"});  // numa 0, 1, 0
  ResourceClaim c = claim({request("a", 1), request("b", 1)});
  c.spec.devices.constraints.emplace_back();
  c.spec.devices.constraints[0].match_attribute = "gpu.example.com/numa";
  EXPECT_EQ(names(w.ask(c)), (Names{"a=n1-0", "b=n1-2"}));
  c.spec.devices.constraints[0].match_attribute.reset();
  c.spec.devices.constraints[0].distinct_attribute = "gpu.example.com/numa";
  EXPECT_EQ(names(w.ask(c)), (Names{"a=n1-0", "b=n1-1"}));
}

TEST(Devices, AllOfThemAndAlternatives) {
  World w;
  w.pool("n1", {"small", "small"});
  DeviceRequest all = request("g", 0);
  all.exactly->allocation_mode = "All";
  EXPECT_EQ(names(w.ask(claim({all}))), (Names{"g=n1-0", "g=n1-1"}));
  DeviceRequest either;
  either.name = "g";
  for (const char* model : {"big", "small"}) {
    DeviceSubRequest s;
    s.name = model;
    s.device_class_name = "gpu";
    s.count = 1;
    s.selectors.emplace_back();
    s.selectors[0].cel.emplace();
    s.selectors[0].cel->expression = std::string("device.attributes[\"gpu.example.com\"].model == \"") + model + "\"";
    either.first_available.push_back(std::move(s));
  }
  EXPECT_EQ(names(w.ask(claim({either}))), Names{"g/small=n1-0"});
  w.taken.insert({"gpu.example.com", "n1", "n1-1"});
  EXPECT_EQ(names(w.ask(claim({all}))), kNone) << "one of them is in use";
}

TEST(Devices, TaintedDevicesIncompletePoolsAndOldGenerationsAreLeftAlone) {
  World w;
  ResourceSlice& s = w.pool("n1", {"small"});
  s.spec.devices[0].taints.emplace_back();
  s.spec.devices[0].taints[0].key = "broken";
  s.spec.devices[0].taints[0].effect = "NoSchedule";
  EXPECT_EQ(names(w.ask(claim({request("g", 1)}))), kNone);
  DeviceRequest brave = request("g", 1);
  brave.exactly->tolerations.emplace_back();
  brave.exactly->tolerations[0].operator_ = "Exists";
  EXPECT_EQ(names(w.ask(claim({brave}))), Names{"g=n1-0"});
  s.spec.pool.resource_slice_count = 2;
  w.devices.set_slices(w.slices);
  EXPECT_EQ(names(w.ask(claim({brave}))), kNone) << "a slice of the pool is missing";
}

TEST(Devices, DevicesOfTheNetworkAreForAllNodesThatTheirSliceSelects) {
  World w;
  ResourceSlice& s = w.pool("net", {"small"});
  s.spec.node_name.reset();
  s.spec.all_nodes = true;
  auto r = w.ask(claim({request("g", 1)}));
  EXPECT_EQ(names(r), Names{"g=net-0"});
  EXPECT_FALSE(r->at(0).node_selector) << "any node can use it";
  s.spec.all_nodes.reset();
  s.spec.node_selector.emplace();
  s.spec.node_selector->node_selector_terms.emplace_back();
  s.spec.node_selector->node_selector_terms[0].match_expressions.emplace_back();
  s.spec.node_selector->node_selector_terms[0].match_expressions[0].key = "zone";
  s.spec.node_selector->node_selector_terms[0].match_expressions[0].operator_ = "In";
  s.spec.node_selector->node_selector_terms[0].match_expressions[0].values = {"a"};
  EXPECT_EQ(names(w.ask(claim({request("g", 1)}), "n1")), Names{"g=net-0"});
  EXPECT_EQ(names(w.ask(claim({request("g", 1)}), "n2")), kNone);
}

TEST(Devices, AClassThatIsNotThereIsSaid) {
  World w;
  DeviceRequest r = request("g", 1);
  r.exactly->device_class_name = "tpu";
  EXPECT_EQ(w.devices.objection(claim({r})), "request g: device class tpu does not exist");
  EXPECT_EQ(w.devices.objection(claim({request("g", 1)})), "");
}

}  // namespace
}  // namespace caravel::scheduler
