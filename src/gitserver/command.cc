#include "gitserver/command.h"

#include <csignal>

#include "base/log.h"
#include "base/strings.h"
#include "gitserver/git_http.h"

namespace caravel::gitserver {
namespace {

Task<void> handle(GitHttp* git, net::ServerRequest& request, net::ResponseWriter& writer) { co_await git->handle(request, writer); }

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  std::string root = flags.get("root");
  TRY_VOID(net::make_directories(root));
  for (auto& seed : flags.all("seed")) {
    size_t eq = seed.find('=');
    if (eq == seed.npos) return invalid("--seed needs NAME=DIR, not \"" + seed + "\"");
    TRY_VOID(net::run_on(loop, seed_repository(loop, root, seed.substr(0, eq), seed.substr(eq + 1))));
  }
  GitHttp git(loop, root);
  net::HttpServer server(loop, [&git](net::ServerRequest& q, net::ResponseWriter& w) { return handle(&git, q, w); });
  for (auto& address : flags.all("listen")) {
    TRY(auto listener, net::listen(loop, net::Address{address}));
    server.serve(std::move(listener));
  }
  for (auto& fd : flags.all("listen-fd")) {
    TRY(auto listener, net::listen_fd(loop, static_cast<int>(parse_int(fd).value_or(-1))));
    server.serve(std::move(listener));
  }
  loop.handle_signal(SIGTERM, [&loop] { loop.stop(); });
  loop.handle_signal(SIGINT, [&loop] { loop.stop(); });
  Log("git-server").info("ready", {{"root", root}});
  loop.run();
  return 0;
}

}  // namespace

const Command kGitServerCommand = {
    "git-server",
    "serve git repositories over smart HTTP",
    "caravel git-server --root DIR --listen 127.0.0.1:3000 [--seed platform=examples/platform]\n",
    {
        {"root", "DIR", "folder of the bare repositories", "git"},
        {"listen", "ADDRESS", "address to listen on", "", true},
        {"listen-fd", "N", "inherited listening socket", "", true},
        {"seed", "NAME=DIR", "make NAME.git from the files of DIR if it is not there", "", true},
    },
    run,
    true,
};

}  // namespace caravel::gitserver
