// A pod's volumes on the node, and what they may hold.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "node/local_storage.h"
#include "node/volumes.h"

namespace caravel::node {
namespace {

namespace fs = std::filesystem;

core::Pod pod(std::vector<std::string> containers) {
  core::Pod p;
  for (auto& name : containers) p.spec.containers.emplace_back().name = name;
  return p;
}

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

TEST(Volumes, AnUpdateSwapsAllFilesAtOnceAndRemovesWhatIsGone) {
  const std::string dir = (fs::temp_directory_path() / ("caravel-volume-" + std::to_string(getpid()))).string();
  VolumeFiles files;
  files["a"] = {"1", 0644};
  files["sub/b"] = {"2", 0400};
  auto first = write_atomically(dir, files, Time{1}, std::nullopt);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_TRUE(*first);
  EXPECT_EQ(slurp(dir + "/a"), "1");
  EXPECT_EQ(slurp(dir + "/sub/b"), "2");
  EXPECT_EQ(fs::read_symlink(dir + "/a").string(), "..data/a");
  EXPECT_FALSE(*write_atomically(dir, files, Time{2}, std::nullopt));
  files.erase("sub/b");
  files["c"] = {"3", 0644};
  EXPECT_TRUE(*write_atomically(dir, files, Time{3}, std::nullopt));
  EXPECT_EQ(slurp(dir + "/c"), "3");
  EXPECT_FALSE(fs::exists(dir + "/sub"));
  fs::remove_all(dir);
}

TEST(Volumes, AVolumeFileCannotLeaveItsDirectory) {
  core::Pod p = pod({"a"});
  core::Volume v;
  v.name = "v";
  v.config_map.emplace().name = "m";
  auto& item = v.config_map->items.emplace_back();
  item.key = "k";
  item.path = "../../etc/passwd";
  VolumeContext c;
  auto map = std::make_shared<core::ConfigMap>();
  map->data["k"] = "x";
  c.sources.config_maps["m"] = map;
  EXPECT_FALSE(volume_files(p, v, c).ok());
}

TEST(Volumes, AClaimShowsTheDirectoryOfItsLocalOrHostPathVolume) {
  const std::string dir = (fs::temp_directory_path() / ("caravel-local-" + std::to_string(getpid()))).string();
  core::Pod p = pod({"a"});
  p.metadata.name = "p";
  core::Volume v;
  v.name = "data";
  v.persistent_volume_claim.emplace().claim_name = "c";
  p.spec.volumes = {v};
  EXPECT_EQ(claim_of(p, v), "c");
  core::Volume own;
  own.name = "scratch";
  own.ephemeral.emplace();
  EXPECT_EQ(claim_of(p, own), "p-scratch");

  VolumeContext c;
  c.pod_directory = dir + "/pod";
  core::PersistentVolume& pv = c.claimed["data"];
  pv.metadata.name = "pv-1";
  auto answer = [&] {
    auto r = setup_volumes(p, c);
    return r.ok() ? (*r)["data"] : r.error().message;
  };
  pv.spec.local.emplace().path = dir + "/disk";
  EXPECT_EQ(answer(), "MountVolume.SetUp failed for volume \"pv-1\" : path \"" + dir + "/disk\" does not exist");
  fs::create_directories(dir + "/disk");
  EXPECT_EQ(answer(), dir + "/disk");
  pv.spec.volume_mode = "Block";
  EXPECT_EQ(answer(), "MountVolume.SetUp failed for volume \"pv-1\" : this node does not offer block volumes");
  pv.spec.volume_mode = "Filesystem";
  pv.spec.local.reset();
  pv.spec.host_path.emplace().path = dir + "/made";
  pv.spec.host_path->type = "DirectoryOrCreate";
  EXPECT_EQ(answer(), dir + "/made");
  EXPECT_TRUE(fs::is_directory(dir + "/made"));
  pv.spec.host_path.reset();
  pv.spec.csi.emplace().driver = "ebs.csi.aws.com";
  EXPECT_EQ(answer(), "MountVolume.SetUp failed for volume \"pv-1\" : kubernetes.io/csi: driver name ebs.csi.aws.com not found in the list of registered CSI drivers");
  fs::remove_all(dir);
}

TEST(Volumes, ASubPathStaysInsideItsVolume) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string dir = (fs::temp_directory_path() / ("caravel-subpath-" + std::to_string(getpid()))).string();
  fs::create_directories(dir + "/volume/in");
  std::ofstream(dir + "/volume/in/file") << "inside";
  std::ofstream(dir + "/secret") << "outside";
  fs::create_directory_symlink("in", dir + "/volume/link");
  fs::create_directory_symlink(dir, dir + "/volume/away");
  fs::create_directory_symlink("../..", dir + "/volume/in/up");
  fs::permissions(dir + "/volume", fs::perms::all);
  const std::string place = dir + "/pod/volume-subpaths/c/0";
  auto shown = [&](const std::string& sub_path) {
    Status s = bind_sub_path(dir + "/volume", sub_path, place);
    if (!s.ok()) return s.error().message;
    return fs::is_directory(place) ? slurp(place + "/file") : slurp(place);
  };
  EXPECT_EQ(shown("in"), "inside");
  EXPECT_EQ(shown("in/file"), "inside") << "a file as well; what was there before has gone";
  EXPECT_EQ(shown("link"), "inside") << "a link inside the volume is followed";
  EXPECT_EQ(shown("away"), "failed to prepare subPath \"away\": Invalid cross-device link");
  EXPECT_EQ(shown("in/up/secret"), "failed to prepare subPath \"in/up/secret\": Invalid cross-device link");
  EXPECT_EQ(shown("away/new"), "failed to prepare subPath \"away/new\": Invalid cross-device link");
  EXPECT_FALSE(fs::exists(dir + "/new"));
  EXPECT_EQ(shown("new/deep"), "");
  EXPECT_EQ(fs::status(dir + "/volume/new/deep").permissions() & fs::perms::all, fs::perms::all) << "made with the volume's mode";
  // What is bound stays what it was, whatever the container puts in its place afterwards.
  EXPECT_EQ(shown("in"), "inside");
  fs::rename(dir + "/volume/in", dir + "/volume/was");
  fs::create_directory_symlink(dir, dir + "/volume/in");
  EXPECT_EQ(slurp(place + "/file"), "inside");
  EXPECT_TRUE(remove_pod_directory(dir + "/pod").ok());
  EXPECT_TRUE(fs::exists(dir + "/volume/was/file")) << "the volume itself is left alone";
  fs::remove_all(dir);
}

TEST(Volumes, ATokenIsReadByTheUserThatAllContainersRunAs) {
  core::Pod p;
  core::Volume v;
  v.name = "t";
  core::VolumeProjection token;
  token.service_account_token.emplace().path = "token";
  v.projected.emplace().sources.push_back(token);
  VolumeContext c;
  c.tokens["t/token"] = "abc";
  auto shown = [&] {
    auto files = volume_files(p, v, c);
    return files.ok() ? std::pair((*files)["token"].mode, (*files)["token"].owner) : std::pair(0u, std::optional<int64_t>());
  };
  const std::optional<int64_t> nobody;
  p.spec.containers.resize(2);
  EXPECT_EQ(shown(), std::pair(0644u, nobody)) << "no user is named";
  p.spec.containers[0].security_context.emplace().run_as_user = 1000;
  EXPECT_EQ(shown(), std::pair(0644u, nobody)) << "not all have one";
  p.spec.security_context.emplace().run_as_user = 1000;
  EXPECT_EQ(shown(), std::pair(0600u, std::optional<int64_t>(1000)));
  p.spec.containers[1].security_context.emplace().run_as_user = 1001;
  EXPECT_EQ(shown(), std::pair(0644u, nobody)) << "two users";
  p.spec.security_context->fs_group = 7;
  EXPECT_EQ(shown().first, 0640u) << "the group reads it";
}

TEST(LocalStorage, APodIsOverALimitOfAVolumeOfAllContainersOrOfOne) {
  core::Pod p = pod({"a", "b"});
  EXPECT_FALSE(has_storage_limits(p));
  LocalStorageUse use;
  use.containers = {{"a", 6 << 20}, {"b", 1 << 20}};
  use.empty_dirs = {{"scratch", 2 << 20}};
  EXPECT_FALSE(over_limit(p, use));
  p.spec.containers[0].resources.limits["ephemeral-storage"] = kube::Quantity::of("5Mi");
  p.spec.containers[1].resources.limits["ephemeral-storage"] = kube::Quantity::of("10Mi");
  EXPECT_TRUE(has_storage_limits(p));
  EXPECT_EQ(over_limit(p, use), "Container a exceeded its local ephemeral storage limit \"5Mi\". ");
  core::Volume scratch;
  scratch.name = "scratch";
  scratch.empty_dir.emplace();
  p.spec.volumes = {scratch};
  use.empty_dirs["scratch"] = 9 << 20;
  EXPECT_EQ(over_limit(p, use), "Pod ephemeral local storage usage exceeds the total limit of containers 15Mi. ");
  p.spec.volumes[0].empty_dir->medium = "Memory";
  EXPECT_EQ(over_limit(p, use), "Container a exceeded its local ephemeral storage limit \"5Mi\". ") << "memory is not the disk's";
  p.spec.volumes[0].empty_dir->size_limit = kube::Quantity::of("8Mi");
  EXPECT_EQ(over_limit(p, use), "Usage of EmptyDir volume \"scratch\" exceeds the limit \"8Mi\". ");
  use = LocalStorageUse();
  use.other = 16 << 20;
  EXPECT_EQ(over_limit(p, use), "Pod ephemeral local storage usage exceeds the total limit of containers 15Mi. ");
}

TEST(LocalStorage, ADirectoryIsMeasuredWithAllBelowItButNotThroughLinks) {
  const std::string dir = (fs::temp_directory_path() / ("caravel-bytes-" + std::to_string(getpid()))).string();
  fs::create_directories(dir + "/in/deep");
  fs::create_directories(dir + "/out");
  std::ofstream(dir + "/in/deep/file") << std::string(300 << 10, 'x');
  std::ofstream(dir + "/out/file") << std::string(900 << 10, 'x');
  fs::create_symlink(dir + "/out", dir + "/in/link");
  const int64_t bytes = directory_bytes(dir + "/in");
  EXPECT_GE(bytes, 300 << 10);
  EXPECT_LT(bytes, 400 << 10);
  EXPECT_EQ(directory_bytes(dir + "/none"), 0);
  fs::remove_all(dir);
}

}  // namespace
}  // namespace caravel::node
