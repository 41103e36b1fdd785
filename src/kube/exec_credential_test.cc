#include "kube/exec_credential.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "kube/kubeconfig.h"
#include "net/http.h"
#include "net/process.h"

namespace caravel::kube {
namespace {

// A kubeconfig whose user is a command that counts how often it runs.
struct ExecPluginTest : testing::Test {
  std::string dir = testing::TempDir() + "/exec_plugin_" + std::to_string(getpid());
  net::EventLoop loop;
  void SetUp() override { ASSERT_TRUE(net::make_directories(dir).ok()); }
  void TearDown() override { EXPECT_TRUE(net::remove_tree(dir).ok()); }
  Result<ClientConfig> config(const std::string& script, const std::string& more = "") {
    std::ofstream(dir + "/plugin") << "#!/bin/sh\n"
                                   << script;
    EXPECT_EQ(chmod((dir + "/plugin").c_str(), 0755), 0);
    std::ofstream(dir + "/kubeconfig") << "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nclusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\n"
                                       << "users: [{name: a, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, args: [one], env: [{name: WHO, value: me}], "
                                       << "installHint: ask the platform team" << more << "}}}]\n";
    return load_kubeconfig(dir + "/kubeconfig");
  }
  Result<ExecCredential> run(const ClientConfig& c) {
    ExecPlugin plugin = *c.exec;
    return net::run_on(loop, run_exec_plugin(loop, std::move(plugin)));
  }
};

TEST_F(ExecPluginTest, GetsTheRequestAndGivesAToken) {
  auto c = config(R"(test "$KUBERNETES_EXEC_INFO" = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"cluster":{"server":"http://127.0.0.1:1"},"interactive":false}}' || { echo "$KUBERNETES_EXEC_INFO" >&2; exit 9; }
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"'$1-$WHO'","expirationTimestamp":"2030-01-02T03:04:05Z"}}'
)",
                  ", provideClusterInfo: true");
  ASSERT_TRUE(c.ok()) << c.error().message;
  auto r = run(*c);
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->token, "one-me");
  EXPECT_EQ(format_rfc3339(*r->expires), "2030-01-02T03:04:05Z");
}

TEST_F(ExecPluginTest, ErrorsSayWhatFailedAndHowToCureIt) {
  auto c = config("echo no session >&2; exit 3\n");
  EXPECT_EQ(run(*c).error().message, "exec plugin: " + dir + "/./plugin failed with exit code 3: no session; ask the platform team");
  c = config("echo '{}'\n");
  EXPECT_EQ(run(*c).error().message, "the exec plugin printed a \"\", not an ExecCredential");
  c = config("echo '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\",\"status\":{\"token\":\"t\"}}'\n");
  EXPECT_EQ(run(*c).error().message, "exec plugin is configured to use API version client.authentication.k8s.io/v1, plugin returned version client.authentication.k8s.io/v1beta1");
  EXPECT_FALSE(config("", ", interactiveMode: Always").ok());
  ASSERT_TRUE(net::remove_tree(dir + "/plugin").ok());
  ClientConfig gone = *c;
  EXPECT_NE(run(gone).error().message.find("ask the platform team"), std::string::npos);
}

// A server that knows one token at a time, as one whose tokens are revoked.
Task<void> judge(std::string* known, net::ServerRequest& q, net::ResponseWriter& w) {
  bool good = q.headers.get("authorization") == "Bearer " + *known;
  net::Headers headers{{"content-type", "application/json"}};
  std::string body = good ? "{\"kind\":\"Good\"}" : "{\"kind\":\"Status\",\"code\":401,\"reason\":\"Unauthorized\"}";
  Status s = co_await w.send(good ? 200 : 401, std::move(headers), std::move(body));
  (void)s;
}

TEST_F(ExecPluginTest, RunsOnceUntilTheServerRefusesWhatItGave) {
  std::string known = "t1";
  net::HttpServer server(loop, [&known](net::ServerRequest& q, net::ResponseWriter& w) { return judge(&known, q, w); });
  auto listener = net::listen(loop, {"127.0.0.1:0"});
  ASSERT_TRUE(listener.ok());
  auto c = config("echo x >> " + dir + "/runs\n" + R"(echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t'$(wc -l < )" + dir + R"(/runs | tr -d ' ')'"}}')" + "\n");
  ASSERT_TRUE(c.ok()) << c.error().message;
  c->server = "http://" + (*listener)->address();
  server.serve(std::move(*listener));
  auto transport = make_http_transport(loop, *c);
  ASSERT_TRUE(transport.ok());
  auto status = [&] {
    ApiRequest q;
    q.verb = "get";
    q.path = "/version";
    auto r = net::run_on(loop, (*transport)->call(std::move(q)));
    return r.ok() ? r->status : -1;
  };
  EXPECT_EQ(status(), 200);
  EXPECT_EQ(status(), 200);
  EXPECT_EQ(*net::read_file(dir + "/runs"), "x\n");
  known = "t2";
  EXPECT_EQ(status(), 401);
  EXPECT_EQ(status(), 200);
  EXPECT_EQ(*net::read_file(dir + "/runs"), "x\nx\n");
}

}  // namespace
}  // namespace caravel::kube
