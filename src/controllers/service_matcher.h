// Wakes a controller of Services when a Service changes, or a pod that it selects (now or before).
#pragma once

#include "controllers/common.h"
#include "controllers/context.h"

namespace caravel::controllers {

class ServiceMatcher {
 public:
  ServiceMatcher(kube::Informer<kube::core::Service>& services, kube::Informer<kube::core::Pod>& pods, kube::Controller& queue) {
    services.add_handler([&queue](auto& old, auto& now) {
      const kube::core::Service& s = now ? *now : *old;
      queue.enqueue(kube::ObjectKey{s.metadata.namespace_, s.metadata.name});
    });
    auto* all = &services;
    pods.add_handler([&queue, all](auto& old, auto& now) {
      if (old && now && tell_the_same(*old, *now)) return;
      const kube::core::Pod& any = now ? *now : *old;
      for (auto& s : all->in_namespace(any.metadata.namespace_)) {
        if (s->spec.selector.empty()) continue;
        if ((old && matches(s->spec.selector, old->metadata.labels)) || (now && matches(s->spec.selector, now->metadata.labels)))
          queue.enqueue_paced(kube::ObjectKey{s->metadata.namespace_, s->metadata.name}, kPace);
      }
    });
  }
  // The pods that a Service selects.
  static std::vector<PodPtr> selected(const kube::core::Service& svc, const kube::Informer<kube::core::Pod>& pods) {
    std::vector<PodPtr> out;
    for (auto& p : pods.in_namespace(svc.metadata.namespace_))
      if (matches(svc.spec.selector, p->metadata.labels)) out.push_back(p);
    return out;
  }

 private:
  static bool tell_the_same(const kube::core::Pod& a, const kube::core::Pod& b) {
    return a.metadata.labels == b.metadata.labels && a.status.pod_ips == b.status.pod_ips && a.status.pod_ip == b.status.pod_ip && is_ready(a) == is_ready(b) &&
           is_finished(a) == is_finished(b) && is_terminating(a.metadata) == is_terminating(b.metadata) && a.spec.node_name == b.spec.node_name;
  }
};

}  // namespace caravel::controllers
