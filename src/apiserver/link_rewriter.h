// Links of pages that are shown through the proxy (pods/proxy, services/proxy, nodes/proxy): what points to the root of
// the page's own server must point to the root of the proxy's path, as upstream's proxy transport does it.
//
// HTML is rewritten as it passes; only attributes that hold a URL change. A tag of more than kTagMax bytes passes as
// it is. Pure.
#pragma once

#include <string>
#include <string_view>

namespace caravel::apiserver {

class LinkRewriter {
 public:
  // `prefix`: the path that is the page's root here, without a last slash. `host`: the page's own, as its server knows it.
  LinkRewriter(std::string prefix, std::string host) : prefix_(std::move(prefix)), host_(std::move(host)) {}
  // A link by itself, as in the header Location.
  std::string link(std::string_view url) const;
  // A piece of HTML: what can be passed on by now.
  std::string feed(std::string_view piece);
  std::string finish() { return std::move(held_); }

 private:
  static constexpr size_t kTagMax = 64u << 10;
  std::string tag(std::string_view text);
  std::string prefix_, host_;
  std::string held_;  // an unfinished tag
  std::string raw_;   // the element whose content is no HTML ("script"), until it ends
};

}  // namespace caravel::apiserver
