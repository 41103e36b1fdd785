// Links of pages behind the proxy.
#include "apiserver/link_rewriter.h"

#include <gtest/gtest.h>

namespace caravel::apiserver {
namespace {

TEST(LinkRewriter, LinksToTheRootOfThePageStayBehindTheProxy) {
  LinkRewriter r("/api/x/proxy", "10.0.0.1:80");
  EXPECT_EQ(r.link("/a?b=c#d"), "/api/x/proxy/a?b=c#d");
  EXPECT_EQ(r.link("/"), "/api/x/proxy/");
  EXPECT_EQ(r.link("http://10.0.0.1:80/a"), "/api/x/proxy/a");
  EXPECT_EQ(r.link("//10.0.0.1:80"), "/api/x/proxy/");
  for (const char* kept : {"a/b", "../a", "#d", "", "https://example.com/a", "//example.com/a", "mailto:a@b", "/api/x/proxy/a"}) EXPECT_EQ(r.link(kept), kept);
}

TEST(LinkRewriter, HtmlIsTheSameWhereverItIsCut) {
  const std::string page =
      "<!doctype html><a href=\"/rewriteme\">test</a> <IMG alt='/x' SRC='/i.png'/> <form action=/go method=post>a < b</form>"
      "<!-- <a href=\"/no\"> --><script src=\"/s.js\">if (a<b) x = '<a href=\"/no\">';</script><a title=\"a>b\" href = \"/last\" disabled>&lt;</a><a href";
  const std::string wanted =
      "<!doctype html><a href=\"/p/rewriteme\">test</a> <IMG alt='/x' SRC='/p/i.png'/> <form action=/p/go method=post>a < b</form>"
      "<!-- <a href=\"/no\"> --><script src=\"/p/s.js\">if (a<b) x = '<a href=\"/no\">';</script><a title=\"a>b\" href = \"/p/last\" disabled>&lt;</a><a href";
  for (size_t cut = 1; cut <= page.size(); ++cut) {
    LinkRewriter r("/p", "h");
    std::string out;
    for (size_t at = 0; at < page.size(); at += cut) out += r.feed(std::string_view(page).substr(at, cut));
    out += r.finish();
    ASSERT_EQ(out, wanted) << "in pieces of " << cut;
  }
}

}  // namespace
}  // namespace caravel::apiserver
