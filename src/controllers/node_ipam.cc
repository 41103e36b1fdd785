#include "controllers/node_ipam.h"

#include "controllers/common.h"
#include "controllers/context.h"

namespace caravel::controllers {

using kube::core::Node;

Result<CidrSet> CidrSet::make(const std::string& range, int piece_bits) {
  CidrSet s;
  std::optional<kube::IpRange> r = kube::IpRange::parse(range);
  if (!r || r->bits == 0) return invalid("\"" + range + "\" is not an IPv4 range like 10.244.0.0/16");
  if (piece_bits < r->bits || piece_bits > 32) return invalid("pieces of /" + std::to_string(piece_bits) + " do not fit into " + range);
  if (piece_bits - r->bits > 16) return invalid(range + " has more than 65536 pieces of /" + std::to_string(piece_bits));
  s.range_ = *r;
  s.bits_ = piece_bits;
  s.taken_.resize(size_t{1} << (piece_bits - r->bits));
  return s;
}

std::optional<kube::IpRange> CidrSet::take() {
  const uint64_t size = uint64_t{1} << (32 - bits_);
  for (size_t n = 0; n < taken_.size(); ++n) {
    const size_t i = (next_ + n) % taken_.size();
    if (taken_[i]) continue;
    taken_[i] = true;
    next_ = (i + 1) % taken_.size();
    kube::IpRange out;
    out.base = static_cast<uint32_t>(range_.base + i * size);
    out.size = static_cast<uint32_t>(size);
    out.bits = bits_;
    return out;
  }
  return std::nullopt;
}

void CidrSet::mark(const kube::IpRange& r, bool taken) {
  const uint64_t piece = uint64_t{1} << (32 - bits_), start = range_.base, end = start + piece * taken_.size();
  const uint64_t from = std::max<uint64_t>(r.base, start), to = std::min<uint64_t>(uint64_t{r.base} + (uint64_t{1} << (32 - r.bits)), end);
  for (uint64_t a = from; a < to; a = start + ((a - start) / piece + 1) * piece) taken_[(a - start) / piece] = taken;
}

namespace {

constexpr Duration kRetry = 10s;  // when the range is used up

class NodeIpam final : public Runner {
 public:
  NodeIpam(const Context& c, CidrSet set)
      : client_(c.client("node-controller")),
        events_(c.ex, client_, "cidrAllocator"),
        set_(std::move(set)),
        nodes_(c.informer<Node>()),
        queue_(
            c.ex, "node-ipam-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    if (auto services = kube::IpRange::parse(c.options.service_cidr)) set_.occupy(*services);
    nodes_.add_handler([this](auto& old, auto& now) {
      if (old && (!now || old->spec.pod_cidr != now->spec.pod_cidr))
        if (auto r = kube::IpRange::parse(old->spec.pod_cidr)) set_.release(*r);
      if (!now) return;
      if (auto r = kube::IpRange::parse(now->spec.pod_cidr)) set_.occupy(*r);
      else queue_.enqueue(now->metadata.name);
    });
  }
  // Every node that is there has told of its piece by now, so none of them is given twice.
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    std::shared_ptr<const Node> n = nodes_.get("", name);
    if (!n || !n->spec.pod_cidr.empty() || is_terminating(n->metadata)) co_return kube::Requeue::never();
    if (!expect_.met(name, nodes_)) co_return kube::Requeue::in(kExpectationRetry);  // it may have one by now
    std::optional<kube::IpRange> piece = set_.take();
    if (!piece) {
      events_.warning(kube::reference_to(*n), "CIDRNotAvailable", "Node " + name + " status is now: CIDRNotAvailable");
      co_return kube::Requeue::in(kRetry);
    }
    json::Value patch = json::Value::object();
    patch["metadata"]["uid"] = n->metadata.uid;
    patch["spec"]["podCIDR"] = piece->text();
    patch["spec"]["podCIDRs"].push_back(piece->text());
    Result<json::Value> r = co_await client_.patch(Node::resource(), "", name, kube::PatchType::kStrategic, std::move(patch));
    if (r.ok()) {
      const json::Value& written = *r;
      expect_.wrote(name, written["metadata"]["resourceVersion"].as_string());
      co_return kube::Requeue::never();
    }
    set_.release(*piece);
    if (r.error().code == Code::kNotFound) co_return kube::Requeue::never();
    events_.warning(kube::reference_to(*n), "CIDRAssignmentFailed", "Node " + name + " status is now: CIDRAssignmentFailed");
    co_return std::move(r).error();
  }

  kube::Client client_;
  kube::EventRecorder events_;
  CidrSet set_;
  kube::Informer<Node>& nodes_;
  Expectations expect_;
  kube::Controller queue_;
};

class Nothing final : public Runner {
 public:
  void start(TaskScope&) override {}
};

}  // namespace

std::unique_ptr<Runner> make_node_ipam(const Context& c) {
  if (c.options.cluster_cidr.empty()) return std::make_unique<Nothing>();
  Result<CidrSet> set = CidrSet::make(c.options.cluster_cidr, c.options.node_cidr_bits);
  if (set.ok()) return std::make_unique<NodeIpam>(c, std::move(*set));
  Log("node-ipam-controller").error("nodes get no pod ranges", {{"error", set.error().message}});
  return std::make_unique<Nothing>();
}

}  // namespace caravel::controllers
