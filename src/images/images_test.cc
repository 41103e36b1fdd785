#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/hash.h"
#include "images/catalog.h"
#include "images/elf.h"

namespace caravel::images {
namespace {

namespace fs = std::filesystem;

struct Directory {
  std::string path = (fs::temp_directory_path() / ("caravel-images-test-" + std::to_string(getpid()))).string();
  Directory() { fs::create_directories(path); }
  ~Directory() { fs::remove_all(path); }
};

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

TEST(Elf, FindsTheLoaderAndLibrariesOfThisProgram) {
  auto libraries = shared_libraries({"/proc/self/exe"});
  ASSERT_TRUE(libraries.ok()) << libraries.error().message;
  std::string all;
  for (auto& l : *libraries) all += l + "\n";
  EXPECT_NE(all.find("libc.so.6"), all.npos) << all;
  EXPECT_NE(all.find("/ld-linux"), all.npos) << all;
}

TEST(Elf, RefusesWhatIsNoElfFile) {
  EXPECT_FALSE(read_elf("/etc/passwd").ok());
  EXPECT_FALSE(read_elf("/does/not/exist").ok());
}

TEST(Layer, ListsParentsBeforeChildrenSortedAndWithoutTimes) {
  ImageFile a, b;
  a.path = "/usr/bin/a";
  a.content = "hello";
  a.mode = 0755;
  b.path = "/etc/link";
  b.link = "../usr/bin/a";
  auto one = make_layer({a, b});
  auto two = make_layer({b, a});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(*one, *two);
  EXPECT_EQ(one->size() % 512, 0u);
  EXPECT_EQ(one->substr(0, 5), std::string("etc/\0", 5));
  EXPECT_EQ(one->substr(512, 8), "etc/link");
  EXPECT_EQ((*one)[512 + 156], '2');
  EXPECT_EQ(one->substr(1024, 5), std::string("usr/\0", 5));
}

TEST(Layer, RefusesRelativeAndOverlongPaths) {
  ImageFile f;
  f.path = "x";
  EXPECT_FALSE(make_layer({f}).ok());
  f.path = "/" + std::string(300, 'x');
  EXPECT_FALSE(make_layer({f}).ok());
}

TEST(Image, SameFilesGiveTheSameDigestAndATarThatTarReads) {
  Directory d;
  ImageSpec spec;
  spec.name = "caravel.local/x:latest";
  ImageFile f;
  f.path = "/hello";
  f.content = "world";
  spec.layers = {{f}};
  spec.entrypoint = {"/hello"};
  auto one = write_archive({spec}, d.path + "/1.tar");
  auto two = write_archive({spec}, d.path + "/2.tar");
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->at(0).manifest_digest, two->at(0).manifest_digest);
  EXPECT_EQ(sha256_hex(slurp(d.path + "/1.tar")), sha256_hex(slurp(d.path + "/2.tar")));
  spec.layers[0][0].content = "there";
  auto three = write_archive({spec}, d.path + "/3.tar");
  EXPECT_NE(three->at(0).manifest_digest, one->at(0).manifest_digest);
}

TEST(Image, ImagesOfOneArchiveShareTheirLayers) {
  Directory d;
  ImageFile f;
  f.path = "/large";
  f.content = std::string(100'000, 'x');
  ImageSpec a, b;
  a.name = "caravel.local/a:latest";
  b.name = "caravel.local/b:latest";
  a.layers = b.layers = {{f}};
  b.command = {"other"};
  auto both = write_archive({a, b}, d.path + "/both.tar");
  auto one = write_archive({a}, d.path + "/one.tar");
  ASSERT_TRUE(both.ok() && one.ok());
  EXPECT_EQ(both->at(0).manifest_digest, one->at(0).manifest_digest);
  EXPECT_LT(both->at(0).archive_bytes, one->at(0).archive_bytes + 10'000);
}

TEST(Image, TheFingerprintChangesWithASource) {
  Directory d;
  std::ofstream(d.path + "/f") << "1";
  ImageSpec spec;
  spec.name = "x";
  ImageFile f;
  f.path = "/f";
  f.source = d.path + "/f";
  spec.layers = {{f}};
  auto before = fingerprint(spec);
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(*before, *fingerprint(spec));
  std::ofstream(d.path + "/f") << "22";
  EXPECT_NE(*before, *fingerprint(spec));
  f.source = d.path + "/gone";
  spec.layers = {{f}};
  EXPECT_FALSE(fingerprint(spec).ok());
}

TEST(Catalog, HoldsTheImagesOfThePlatform) {
  CatalogSources s;
  s.caravel = fs::read_symlink("/proc/self/exe").string();
  s.pause = s.caravel;
  s.busybox_applets = {"sh", "ls"};
  auto images = catalog(s);
  ASSERT_TRUE(images.ok()) << images.error().message;
  ASSERT_GE(images->size(), 3u);
  EXPECT_EQ((*images)[0].name, "caravel.local/pause:latest");
  EXPECT_EQ((*images)[2].name, "caravel.local/caravel:latest");
}

}  // namespace
}  // namespace caravel::images
