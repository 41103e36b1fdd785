// The attach-detach controller: carries out what attachments.h decides. One key: what is attached where is
// a question about all nodes at once.
#include "controllers/attachments.h"
#include "controllers/common.h"
#include "controllers/context.h"

namespace caravel::controllers {

using kube::core::Node;
using kube::core::PersistentVolume;
using kube::core::PersistentVolumeClaim;
using kube::core::Pod;
using kube::storage::CSIDriver;
using kube::storage::VolumeAttachment;

namespace {

constexpr Duration kAttachPace = std::chrono::milliseconds(100);

class AttachDetach final : public Runner {
 public:
  explicit AttachDetach(const Context& c)
      : ex_(c.ex),
        client_(c.client("attachdetach-controller")),
        events_(c.ex, client_, "attachdetach-controller"),
        pods_(c.informer<Pod>()),
        nodes_(c.informer<Node>()),
        claims_(c.informer<PersistentVolumeClaim>()),
        volumes_(c.informer<PersistentVolume>()),
        drivers_(c.informer<CSIDriver>()),
        attachments_(c.informer<VolumeAttachment>()),
        queue_(c.ex, "persistentvolume-attach-detach-controller", [this](std::string) { return sync(); }) {
    pods_.add_handler([this](auto& old, auto& now) {
      const Pod& p = now ? *now : *old;
      if (p.spec.node_name.empty()) return;
      if (old && now && old->status == now->status && old->metadata.deletion_timestamp == now->metadata.deletion_timestamp && old->spec.node_name == now->spec.node_name) return;
      for (auto& v : p.spec.volumes)
        if (v.persistent_volume_claim || v.ephemeral) return look();
    });
    nodes_.add_handler([this](auto& old, auto& now) {
      if (now) last_use_.erase(now->metadata.name);
      else last_use_[old->metadata.name] = old->status.volumes_in_use;
      if (!old || !now || old->status.volumes_in_use != now->status.volumes_in_use || old->status.volumes_attached != now->status.volumes_attached ||
          old->spec.taints != now->spec.taints)
        look();
    });
    claims_.add_handler([this](auto& old, auto& now) {
      if (!old || !now || old->status.phase != now->status.phase) look();
    });
    drivers_.add_handler([this](auto&, auto&) { look(); });
    attachments_.add_handler([this](auto& old, auto& now) {
      tell(old, now);
      look();
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  void look() { queue_.enqueue_paced("all", kAttachPace); }
  // The pods that wait for an attachment hear how it goes.
  void tell(const std::shared_ptr<const VolumeAttachment>& old, const std::shared_ptr<const VolumeAttachment>& now) {
    if (!now) return;
    auto it = waiting_.find(now->metadata.name);
    if (it == waiting_.end()) return;
    std::string volume = now->spec.source.persistent_volume_name.value_or("");
    if (now->status.attached && old && !old->status.attached) {
      for (auto& p : it->second)
        events_.normal(kube::reference_to(*p), "SuccessfulAttachVolume", "AttachVolume.Attach succeeded for volume \"" + volume + "\" ");
    } else if (!now->status.attached && now->status.attach_error && (!old || old->status.attach_error != now->status.attach_error)) {
      for (auto& p : it->second)
        events_.warning(kube::reference_to(*p), "FailedAttachVolume", "AttachVolume.Attach failed for volume \"" + volume + "\" : " + now->status.attach_error->message);
    }
  }

  Task<Result<kube::Requeue>> sync() {
    AttachWorld w;
    for (auto& [k, p] : pods_.all()) w.pods.push_back(p);
    for (auto& [k, n] : nodes_.all()) w.nodes.push_back(n);
    for (auto& [k, a] : attachments_.all()) w.attachments.push_back(a);
    for (auto& [k, c] : claims_.all()) w.claims[{k.ns, k.name}] = c;
    for (auto& [k, v] : volumes_.all()) w.volumes[k.name] = v;
    for (auto& [k, d] : drivers_.all())
      if (d->spec.attach_required && !*d->spec.attach_required) w.not_attachable.insert(k.name);
    w.now = ex_.now();
    w.unwanted = unwanted_;
    w.last_use = last_use_;
    AttachPlan plan = plan_attachments(w);
    waiting_ = plan.waiting;
    unwanted_ = plan.unwanted;
    tell_refused(plan);
    for (auto& a : plan.create) {
      Result<VolumeAttachment> r = co_await client_.create<VolumeAttachment>(std::move(a));
      if (!r.ok() && r.error().code != Code::kAlreadyExists) co_return std::move(r).error();
    }
    // A volume leaves the node's list before it is detached: its kubelet must not count on it.
    for (auto& [name, list] : plan.attached) {
      json::Value patch = json::Value::object();
      patch["status"]["volumesAttached"] = json::Value::array();
      for (auto& v : list) {
        json::Value o = json::Value::object();
        o["name"] = v.name;
        o["devicePath"] = v.device_path;
        patch["status"]["volumesAttached"].push_back(std::move(o));
      }
      kube::WriteOptions o;
      o.subresource = "status";
      Result<json::Value> r = co_await client_.patch(Node::resource(), "", name, kube::PatchType::kMerge, std::move(patch), o);
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    for (auto& name : plan.remove) {
      Status s = co_await client_.remove<VolumeAttachment>("", name);
      if (!s.ok() && s.error().code != Code::kNotFound) co_return std::move(s).error();
    }
    // Nodes that are gone matter only as long as something is attached to them.
    std::erase_if(last_use_, [&](auto& gone) { return std::none_of(w.attachments.begin(), w.attachments.end(), [&](auto& a) { return a->spec.node_name == gone.first; }); });
    if (plan.again) co_return kube::Requeue::in(*plan.again);
    co_return kube::Requeue::never();
  }

  // Once for each attachment that cannot be made, to the pods that want it then.
  void tell_refused(const AttachPlan& plan) {
    std::erase_if(refused_, [&](auto& name) { return !plan.waiting.count(name); });
    std::set<std::string> now;
    for (auto& r : plan.refused) {
      if (!refused_.count(r.attachment)) events_.warning(kube::reference_to(*r.pod), "FailedAttachVolume", r.message);
      now.insert(r.attachment);
    }
    refused_.insert(now.begin(), now.end());
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Pod>& pods_;
  kube::Informer<Node>& nodes_;
  kube::Informer<PersistentVolumeClaim>& claims_;
  kube::Informer<PersistentVolume>& volumes_;
  kube::Informer<CSIDriver>& drivers_;
  kube::Informer<VolumeAttachment>& attachments_;
  std::map<std::string, std::vector<PodPtr>> waiting_;
  std::map<std::string, Time> unwanted_;
  std::map<std::string, std::vector<std::string>> last_use_;
  std::set<std::string> refused_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_attach_detach(const Context& c) { return std::make_unique<AttachDetach>(c); }

}  // namespace caravel::controllers
