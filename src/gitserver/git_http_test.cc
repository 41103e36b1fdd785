// Git's own client against the server.
#include "gitserver/git_http.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace caravel::gitserver {
namespace {

namespace fs = std::filesystem;

class GitServerTest : public ::testing::Test {
 protected:
  GitServerTest() : directory_((fs::temp_directory_path() / ("caravel-git-" + std::to_string(getpid()))).string()), git_(loop_, directory_ + "/root"), server_(loop_, [this](net::ServerRequest& q, net::ResponseWriter& w) { return git_.handle(q, w); }) {
    fs::create_directories(directory_ + "/source/app");
    std::ofstream(directory_ + "/source/app/web.yaml") << "kind: Deployment\n";
    auto listener = net::listen(loop_, net::Address{"127.0.0.1:0"});
    EXPECT_TRUE(listener.ok());
    url_ = "http://" + (*listener)->address();
    server_.serve(std::move(*listener));
  }
  ~GitServerTest() override { fs::remove_all(directory_); }
  // Exit code of `git ARGS`; what it says goes to output_.
  int git(std::vector<std::string> argv) {
    net::ProcessOptions o;
    o.argv = std::move(argv);
    o.argv.insert(o.argv.begin(), {"git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"});
    auto r = net::run_on(loop_, net::run_process(loop_, std::move(o)));
    if (!r.ok()) return -1;
    output_ = r->out + r->err;
    return r->exit.code;
  }
  int status_of(const std::string& path) {
    net::HttpClient client(loop_, {});
    net::ClientRequest q;
    q.url = url_ + path;
    auto r = net::run_on(loop_, client.send(std::move(q), 1 << 20));
    return r.ok() ? r->status : -1;
  }

  std::string directory_, url_, output_;
  net::EventLoop loop_;
  GitHttp git_;
  net::HttpServer server_;
};

TEST_F(GitServerTest, ASeededRepositoryIsClonedChangedAndPushed) {
  ASSERT_TRUE(net::run_on(loop_, seed_repository(loop_, directory_ + "/root", "platform", directory_ + "/source")).ok());
  const std::string clone = directory_ + "/clone", again = directory_ + "/again";
  ASSERT_EQ(git({"clone", "-q", url_ + "/platform.git", clone}), 0) << output_;
  EXPECT_TRUE(fs::exists(clone + "/app/web.yaml"));
  std::ofstream(clone + "/app/db.yaml") << "kind: StatefulSet\n";
  ASSERT_EQ(git({"-C", clone, "add", "-A"}), 0);
  ASSERT_EQ(git({"-C", clone, "commit", "-q", "-m", "db"}), 0) << output_;
  ASSERT_EQ(git({"-C", clone, "push", "-q", "origin", "main"}), 0) << output_;
  ASSERT_EQ(git({"clone", "-q", url_ + "/platform.git", again}), 0) << output_;
  EXPECT_TRUE(fs::exists(again + "/app/db.yaml"));
  // Seeding again leaves what has been pushed.
  ASSERT_TRUE(net::run_on(loop_, seed_repository(loop_, directory_ + "/root", "platform", directory_ + "/source")).ok());
  ASSERT_EQ(git({"ls-remote", url_ + "/platform.git"}), 0);
  EXPECT_NE(output_.find("refs/heads/main"), std::string::npos);
}

TEST_F(GitServerTest, OnlyRepositoriesDirectlyBelowTheRootAreServed) {
  ASSERT_TRUE(net::run_on(loop_, seed_repository(loop_, directory_ + "/root", "platform", directory_ + "/source")).ok());
  std::ofstream(directory_ + "/secret.git") << "x";
  EXPECT_EQ(status_of("/platform.git/info/refs?service=git-upload-pack"), 200);
  for (const char* path : {"/", "/other.git/info/refs", "/platform/info/refs", "/..%2fsecret.git/HEAD", "/%2e%2e/secret.git", "/.platform.git/HEAD"}) EXPECT_EQ(status_of(path), 404) << path;
  EXPECT_NE(status_of("/platform.git/../../secret.git"), 200);
}

}  // namespace
}  // namespace caravel::gitserver
