// The API objects that pods on this node refer to: each is watched by itself (the node may read no
// others), for as long as a pod wants it. And the ServiceAccount tokens of projected volumes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "kube/informer.h"
#include "node/environment.h"
#include "node/volumes.h"

namespace caravel::node {

template <class T>
class WatchedObjects {
 public:
  // changed(ns): something that pods of the namespace may show has changed.
  WatchedObjects(Executor& ex, kube::Client client, std::function<void(const std::string& ns)> changed)
      : ex_(&ex), client_(client), changed_(std::move(changed)) {}

  struct Entry {
    kube::Informer<T> informer;
    TaskScope scope;
    std::string ns, name;
    Entry(Executor& ex, kube::Client client, const std::string& ns, const std::string& name)
        : informer(ex, client, options(ns, name)), ns(ns), name(name) {}
    static kube::InformerOptions options(const std::string& ns, const std::string& name) {
      kube::InformerOptions o;
      o.ns = ns;
      o.field_selector = "metadata.name=" + name;
      return o;
    }
    std::shared_ptr<const T> object() const { return informer.get(ns, name); }
  };
  using Handle = std::shared_ptr<Entry>;

  // Keeps the object watched while the handle lives.
  Handle watch(const std::string& ns, const std::string& name) {
    auto& slot = entries_[{ns, name}];
    if (Handle h = slot.lock()) return h;
    auto h = std::make_shared<Entry>(*ex_, client_, ns, name);
    slot = h;
    h->informer.add_handler([changed = changed_, ns](auto&, auto&) { changed(ns); });
    h->informer.start(h->scope);
    return h;
  }

 private:
  Executor* ex_;
  kube::Client client_;
  std::function<void(const std::string&)> changed_;
  std::map<std::pair<std::string, std::string>, std::weak_ptr<Entry>> entries_;
};

// ServiceAccount tokens by TokenRequest, bound to the pod; renewed at 80 % of their life, as upstream.
class PodTokens {
 public:
  PodTokens(Executor& ex, kube::Client client) : ex_(&ex), client_(client) {}
  // All tokens that the pod's volumes want, from memory or newly issued.
  Task<Result<std::map<std::string, std::string>>> get(std::shared_ptr<const core::Pod> pod);
  // When the earliest of the pod's tokens wants renewal.
  std::optional<Time> renew_at() const;

 private:
  struct Token {
    std::string text;
    Time renew_at;
  };
  Executor* ex_;
  kube::Client client_;
  std::map<std::string, Token> tokens_;
};

}  // namespace caravel::node
