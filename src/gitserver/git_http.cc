#include "gitserver/git_http.h"

#include "base/log.h"
#include "base/strings.h"

namespace caravel::gitserver {
namespace {

constexpr size_t kCgiHeaderBytesMax = 64 * 1024;
constexpr size_t kPieceBytes = 64 * 1024;

// "platform.git/info/refs" -> the repository's name, or "" if the path names none.
std::string repository_of(const net::Target& target) {
  auto segments = target.segments();
  if (segments.empty()) return "";
  const std::string& name = segments[0];
  if (!name.ends_with(".git") || name.find("..") != name.npos || name.find('/') != name.npos || name[0] == '.') return "";
  return name;
}

std::map<std::string, std::string> cgi_environment(const net::ServerRequest& request, const std::string& root) {
  std::map<std::string, std::string> env = {
      {"PATH", "/usr/local/bin:/usr/bin:/bin"},
      {"GIT_PROJECT_ROOT", root},
      {"GIT_HTTP_EXPORT_ALL", "1"},
      {"GIT_CONFIG_NOSYSTEM", "1"},
      {"GIT_CONFIG_COUNT", "2"},
      {"GIT_CONFIG_KEY_0", "safe.directory"},
      {"GIT_CONFIG_VALUE_0", "*"},
      {"GIT_CONFIG_KEY_1", "http.receivepack"},
      {"GIT_CONFIG_VALUE_1", "true"},
      {"HOME", root},
      {"PATH_INFO", percent_decode(request.target.path)},
      {"QUERY_STRING", request.target.query},
      {"REQUEST_METHOD", request.method},
      {"REMOTE_ADDR", request.peer},
      {"REMOTE_USER", "caravel"},
      {"CONTENT_TYPE", request.headers.get("content-type")},
  };
  if (auto* v = request.headers.find("content-length")) env["CONTENT_LENGTH"] = *v;
  if (auto* v = request.headers.find("content-encoding")) env["HTTP_CONTENT_ENCODING"] = *v;
  if (auto* v = request.headers.find("git-protocol")) env["GIT_PROTOCOL"] = *v;
  return env;
}

Task<void> feed_body(net::BodyReader* body, net::Stream* to) {
  while (true) {
    auto piece = co_await body->read();
    if (!piece.ok() || !*piece) break;
    auto written = co_await to->write(**piece);
    if (!written.ok()) break;
  }
  auto done = co_await to->shutdown_write();
  (void)done;
}

}  // namespace

Task<void> GitHttp::handle(net::ServerRequest& request, net::ResponseWriter& writer) {
  std::string repository = repository_of(request.target);
  if (repository.empty() || !net::path_exists(root_ + "/" + repository)) {
    net::Headers headers{{"content-type", "text/plain"}};
    auto sent = co_await writer.send(404, headers, "no such repository; clone http://HOST/NAME.git\n");
    (void)sent;
    co_return;
  }
  auto result = co_await run_backend(request, writer);
  if (!result.ok() && !writer.started()) {
    log_line(LogLevel::kWarning, "git-server", result.error().message, {{"repository", repository}});
    net::Headers headers{{"content-type", "text/plain"}};
    auto sent = co_await writer.send(500, headers, result.error().message + "\n");
    (void)sent;
  }
}

Task<Status> GitHttp::run_backend(net::ServerRequest& request, net::ResponseWriter& writer) {
  net::ProcessOptions options;
  options.argv = {"git", "http-backend"};
  options.environment = cgi_environment(request, root_);
  options.stdin_pipe = true;
  options.stdout_pipe = true;
  auto spawned = net::spawn(*loop_, std::move(options));
  if (!spawned.ok()) co_return std::move(spawned).error();
  auto process = std::move(*spawned);

  TaskScope scope;
  scope.spawn(feed_body(request.body, process->stdin_stream()));

  std::string buffer;
  std::vector<char> piece(kPieceBytes);
  size_t end = std::string::npos, skip = 0;
  while (end == std::string::npos) {
    std::span<char> room(piece);
    auto n = co_await process->stdout_stream()->read(room);
    if (!n.ok()) co_return std::move(n).error();
    if (*n == 0) co_return internal("git http-backend ended without an answer");
    buffer.append(piece.data(), *n);
    if (size_t p = buffer.find("\r\n\r\n"); p != buffer.npos) end = p, skip = 4;
    else if (p = buffer.find("\n\n"); p != buffer.npos) end = p, skip = 2;
    if (end == std::string::npos && buffer.size() > kCgiHeaderBytesMax) co_return internal("git http-backend sent no end of headers");
  }
  int status = 200;
  net::Headers headers;
  for (auto& line : split(std::string_view(buffer).substr(0, end), '\n')) {
    size_t colon = line.find(':');
    if (colon == line.npos) continue;
    std::string name = to_lower(trim(std::string_view(line).substr(0, colon)));
    std::string value(trim(std::string_view(line).substr(colon + 1)));
    if (name == "status") status = static_cast<int>(parse_int(value.substr(0, 3)).value_or(500));
    else headers.add(name, value);
  }
  CO_TRY_VOID(co_await writer.start(status, headers));
  std::string rest = buffer.substr(end + skip);
  if (!rest.empty()) CO_TRY_VOID(co_await writer.write(rest));
  while (true) {
    std::span<char> room(piece);
    auto n = co_await process->stdout_stream()->read(room);
    if (!n.ok()) co_return std::move(n).error();
    if (*n == 0) break;
    std::string_view data(piece.data(), *n);
    CO_TRY_VOID(co_await writer.write(data));
  }
  CO_TRY_VOID(co_await writer.finish());
  co_await process->wait();
  co_return ok();
}

Task<Status> seed_repository(net::EventLoop& loop, std::string root, std::string name, std::string source) {
  std::string bare = root + "/" + name + ".git";
  if (net::path_exists(bare + "/HEAD")) co_return ok();
  CO_TRY_VOID(net::make_directories(root));
  std::string work = root + "/." + name + ".seed";
  CO_TRY_VOID(net::remove_tree(work));
  std::vector<std::vector<std::string>> steps = {
      {"cp", "-r", source, work},
      {"git", "-C", work, "init", "-q", "-b", "main"},
      {"git", "-C", work, "add", "-A"},
      {"git", "-C", work, "-c", "user.name=Caravel", "-c", "user.email=platform@caravel.internal", "commit", "-q", "-m", "The sample platform"},
      {"git", "clone", "-q", "--bare", work, bare + ".new"},
      {"mv", bare + ".new", bare},
  };
  for (auto& argv : steps) {
    net::ProcessOptions options;
    options.argv = argv;
    auto out = co_await net::run_process(loop, std::move(options));
    if (!out.ok()) co_return std::move(out).error();
    if (out->exit.code != 0) co_return internal("making the repository " + bare + ": `" + join(argv, " ") + "` failed: " + out->err);
  }
  co_return net::remove_tree(work);
}

}  // namespace caravel::gitserver
