// Reading revisions of a repository that is a directory.
#include "gitops/git_repository.h"

#include <git2.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace caravel::gitops {
namespace {

namespace fs = std::filesystem;

class GitRepositoryTest : public testing::Test {
 protected:
  void SetUp() override {
    git_libgit2_init();
    root_ = fs::temp_directory_path() / ("caravel-git-" + std::to_string(getpid()) + "-" + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    ASSERT_EQ(git_repository_init(&repo_, origin().c_str(), 1), 0);
    ASSERT_EQ(git_repository_set_head(repo_, "refs/heads/main"), 0);
  }
  void TearDown() override {
    git_repository_free(repo_);
    git_libgit2_shutdown();
    fs::remove_all(root_);
  }
  std::string origin() const { return (root_ / "origin").string(); }
  std::string clone() const { return (root_ / "cache" / "clone").string(); }

  // A commit of exactly these files on a branch; its id.
  std::string commit(const std::string& branch, const std::map<std::string, std::string>& files, const std::string& message) {
    git_index* index = nullptr;
    git_repository_index(&index, repo_);
    git_index_clear(index);
    for (auto& [path, content] : files) {
      git_index_entry e{};
      e.mode = GIT_FILEMODE_BLOB;
      e.path = path.c_str();
      EXPECT_EQ(git_index_add_from_buffer(index, &e, content.data(), content.size()), 0) << path;
    }
    git_oid tree_id, id;
    EXPECT_EQ(git_index_write_tree(&tree_id, index), 0);
    git_tree* tree = nullptr;
    git_tree_lookup(&tree, repo_, &tree_id);
    git_signature* who = nullptr;
    git_signature_new(&who, "Ada", "ada@example.com", 1'800'000'000, 0);
    std::string ref = "refs/heads/" + branch;
    git_oid parent_id;
    git_commit* parent = nullptr;
    if (git_reference_name_to_id(&parent_id, repo_, ref.c_str()) == 0) git_commit_lookup(&parent, repo_, &parent_id);
    const git_commit* parents[] = {parent};
    EXPECT_EQ(git_commit_create(&id, repo_, ref.c_str(), who, who, nullptr, message.c_str(), tree, parent ? 1 : 0, parents), 0);
    git_commit_free(parent);
    git_signature_free(who);
    git_tree_free(tree);
    git_index_free(index);
    char sha[GIT_OID_HEXSZ + 1];
    return git_oid_tostr(sha, sizeof sha, &id);
  }
  void tag(const std::string& name, const std::string& sha) {
    git_oid id;
    git_oid_fromstr(&id, sha.c_str());
    git_reference* ref = nullptr;
    EXPECT_EQ(git_reference_create(&ref, repo_, ("refs/tags/" + name).c_str(), &id, 0, nullptr), 0);
    git_reference_free(ref);
  }

  fs::path root_;
  git_repository* repo_ = nullptr;
};

TEST_F(GitRepositoryTest, ResolvesBranchesTagsHeadAndCommits) {
  std::string first = commit("main", {{"a.yaml", "1"}}, "first\n");
  std::string second = commit("main", {{"a.yaml", "2"}}, "second\n\nwith words\n");
  std::string other = commit("feature/x", {{"a.yaml", "3"}}, "other");
  tag("v1", first);
  GitRepository r(origin(), clone());
  for (auto& [revision, sha] : std::vector<std::pair<std::string, std::string>>{{"main", second}, {"HEAD", second}, {"", second}, {"feature/x", other}, {"v1", first}, {first, first}, {first.substr(0, 10), first}}) {
    auto c = r.fetch(revision);
    ASSERT_TRUE(c.ok()) << revision << ": " << c.error().message;
    EXPECT_EQ(c->sha, sha) << "revision \"" << revision << "\"";
  }
  auto c = r.fetch("main");
  EXPECT_EQ(c->author, "Ada <ada@example.com>");
  EXPECT_EQ(c->message, "second\n\nwith words");
  EXPECT_EQ(c->seconds, 1'800'000'000);
}

TEST_F(GitRepositoryTest, SeesWhatWasPushedSince) {
  commit("main", {{"a.yaml", "1"}}, "first");
  GitRepository r(origin(), clone());
  ASSERT_TRUE(r.fetch("main").ok());
  std::string next = commit("main", {{"a.yaml", "2"}}, "second");
  auto c = r.fetch("main");
  ASSERT_TRUE(c.ok());
  EXPECT_EQ(c->sha, next);
  EXPECT_EQ((*GitRepository(origin(), clone()).files(next, ".", false))["a.yaml"], "2") << "the cache outlives the process";
}

TEST_F(GitRepositoryTest, ReadsAFolderAndItsSubfoldersOnlyWhenAsked) {
  std::string sha = commit("main", {{"README.md", "r"}, {"apps/a.yaml", "a"}, {"apps/sub/b.yaml", "b"}, {"apps-other/c.yaml", "c"}}, "files");
  GitRepository r(origin(), clone());
  ASSERT_TRUE(r.fetch("main").ok());
  using Files = std::map<std::string, std::string>;
  for (auto path : {"apps", "apps/", "./apps"}) EXPECT_EQ(*r.files(sha, path, false), (Files{{"a.yaml", "a"}})) << path;
  EXPECT_EQ(*r.files(sha, "apps", true), (Files{{"a.yaml", "a"}, {"sub/b.yaml", "b"}}));
  EXPECT_EQ(*r.files(sha, ".", false), (Files{{"README.md", "r"}}));
  EXPECT_EQ(r.files(sha, "", true)->size(), 4u);
}

TEST_F(GitRepositoryTest, SaysWhatIsNotThere) {
  std::string sha = commit("main", {{"apps/a.yaml", "a"}}, "files");
  GitRepository r(origin(), clone());
  ASSERT_TRUE(r.fetch("main").ok());
  EXPECT_EQ(r.fetch("no-such-branch").error().message, "unable to resolve 'no-such-branch' to a commit SHA in " + origin());
  EXPECT_EQ(r.files(sha, "nowhere", false).error().message, "nowhere: app path does not exist");
  EXPECT_EQ(r.files(sha, "apps/a.yaml", false).error().message, "apps/a.yaml: app path is not a directory");
  for (auto path : {"..", "../x", "/etc", "apps/../../etc"}) EXPECT_NE(r.files(sha, path, false).error().message.find("leaves the repository"), std::string::npos) << path;
  EXPECT_FALSE(r.files(std::string(40, '0'), ".", false).ok());
  EXPECT_FALSE(GitRepository((root_ / "nothing").string(), (root_ / "c2").string()).fetch("main").ok());
}

}  // namespace
}  // namespace caravel::gitops
