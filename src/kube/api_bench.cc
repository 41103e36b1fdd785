// The API server's rows of the speed table, measured over TLS from this one process:
//   api_bench path/to/caravel [pods [rows]]
// `rows` of "create,list,get,watch,stalled" (pods are always made: the others read them; for "get" a hundred are enough).
// Starts `caravel server --no-controllers` (RocksDB, every write durable before it is acknowledged) in a directory of its own, and
// prints for each row the figure, its target and how much processor time server and client took: they share the machine.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/scope.h"
#include "kube/kubeconfig.h"
#include "net/event_loop.h"
#include "net/http.h"
#include "net/process.h"
#include "net/tls.h"

using namespace caravel;

namespace {

constexpr int kConnections = 8;
constexpr int kInFlight = 32;  // per connection
constexpr int kWatchers = 1000;
constexpr int kWriters = 32;  // of the changes that they see
const std::string kPods = "/api/v1/namespaces/bench/pods";

std::string pod(int i) {
  std::string n = std::to_string(i);
  return R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod-)" + n + R"(","labels":{"app":"bench","index":")" + n +
         R"("}},"spec":{"containers":[{"name":"app","image":"example.com/app:1","command":["app","--port=8080"],"ports":[{"containerPort":8080}],"env":[{"name":"A","value":"b"}],)"
         R"("resources":{"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"memory":"128Mi"}},"readinessProbe":{"httpGet":{"path":"/","port":8080}}}]}})";
}

struct Bench {
  net::EventLoop loop;
  std::string url;
  pid_t server = 0;
  std::vector<std::unique_ptr<net::HttpClient>> clients;
  int failures = 0;
};

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

double cpu_of(pid_t pid) {  // seconds, from /proc/PID/stat
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  unsigned long user = 0, system = 0;
  std::sscanf(text.c_str() + text.rfind(')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}
double rss_mb(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VmRSS:")) return std::atof(line.c_str() + 6) / 1024;
  return 0;
}
double own_cpu() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

// Begun before the work, printed after it.
struct Row {
  Bench* b;
  Time start;
  double server_cpu, client_cpu;
  explicit Row(Bench& bench) : b(&bench), start(bench.loop.now()), server_cpu(cpu_of(bench.server)), client_cpu(own_cpu()) {}
  double elapsed() const { return seconds(b->loop.now() - start); }
  void print(const char* what, double figure, const char* unit, const char* target) const {
    std::printf("%-44s %10.0f %-9s target %-22s (server %.2f s, client %.2f s of processor in %.2f s)\n", what, figure, unit, target, cpu_of(b->server) - server_cpu, own_cpu() - client_cpu, elapsed());
    std::fflush(stdout);
  }
};

struct Work {
  std::string method, path;
  int next = 0, total = 0;
  Time until;  // instead of a total
  int64_t done = 0;
};

Task<void> worker(Bench* b, net::HttpClient* client, Work* w, int* running) {
  while (w->total ? w->next < w->total : b->loop.now() < w->until) {
    int i = w->next++;
    net::ClientRequest q;
    q.method = w->method;
    q.url = b->url + w->path;
    if (w->method == "POST") {
      q.headers.add("content-type", "application/json");
      q.body = pod(i);
    }
    auto r = co_await client->send(std::move(q));
    if (!r.ok() || r->status >= 300) {
      if (b->failures++ == 0) std::printf("failed: %s\n", r.ok() ? r->body.c_str() : r.error().message.c_str());
    }
    w->done++;
  }
  --*running;
}

Task<void> drive(Bench* b, Work* w) {
  TaskScope scope;
  int running = kConnections * kInFlight;
  for (int c = 0; c < kConnections; ++c)
    for (int i = 0; i < kInFlight; ++i) scope.spawn(worker(b, b->clients[static_cast<size_t>(c)].get(), w, &running));
  while (running > 0) co_await sleep(b->loop, 1ms);
}

Task<std::string> call(Bench* b, std::string method, std::string path, std::string body = "") {
  net::ClientRequest q;
  q.method = method;
  q.url = b->url + path;
  q.headers.add("content-type", "application/json");
  q.body = std::move(body);
  auto r = co_await b->clients[0]->send(std::move(q));
  if (!r.ok()) co_return r.error().message;
  co_return r->status < 300 ? r->body : "";
}

// Reads a list to its end and lets go of it: 20 MB in one string would measure this process's page faults.
Task<size_t> read_list(Bench* b, std::string path) {
  net::ClientRequest q;
  q.url = b->url + path;
  auto r = co_await b->clients[0]->stream(std::move(q));
  if (!r.ok() || r->status != 200) co_return 0;
  size_t size = 0;
  for (;;) {
    auto piece = co_await r->body->read();
    if (!piece.ok()) co_return 0;
    if (!*piece) co_return size;
    size += (*piece)->size();
  }
}

int64_t lines(std::string_view text) {
  int64_t n = 0;
  for (size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1)) ++n;
  return n;
}

struct Watchers {
  int open = 0;
  int64_t events = 0;
};
Task<void> watcher(Bench* b, net::HttpClient* client, Watchers* w) {
  net::ClientRequest q;
  q.url = b->url + "/api/v1/namespaces/bench/configmaps?watch=1&resourceVersion=0";
  auto r = co_await client->stream(std::move(q));
  if (!r.ok() || r->status != 200) {
    b->failures++;
    co_return;
  }
  w->open++;
  for (;;) {
    auto piece = co_await r->body->read();
    if (!piece.ok() || !*piece) co_return;
    w->events += lines(**piece);
  }
}

Task<void> change(Bench* b, int* next, int changes) {
  const std::string data(512, 'x');
  while (*next < changes) {
    std::string body = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c-)" + std::to_string((*next)++) + R"("},"data":{"k":")" + data + R"("}})";
    std::string answer = co_await call(b, "POST", "/api/v1/namespaces/bench/configmaps", body);
    if (answer.empty()) b->failures++;
  }
}

Task<void> fan_out(Bench* b, int changes) {
  Watchers w;
  TaskScope scope;
  for (int i = 0; i < kWatchers; ++i) scope.spawn(watcher(b, b->clients[static_cast<size_t>(i % kConnections)].get(), &w));
  while (w.open < kWatchers && b->failures == 0) co_await sleep(b->loop, 5ms);
  Row row(*b);
  int64_t before = w.events;
  std::string data(512, 'x');
  int next = 0;
  TaskScope writers;
  for (int i = 0; i < kWriters; ++i) writers.spawn(change(b, &next, changes));
  Time limit = b->loop.now() + 60s;
  while (w.events - before < int64_t{kWatchers} * changes && b->loop.now() < limit) co_await sleep(b->loop, 1ms);
  row.print("watch: 1,000 watchers, events delivered", static_cast<double>(w.events - before) / row.elapsed(), "events/s", "300,000/s (aim 1M)");
}

// Changes more than an HTTP/2 client takes in for a stream that nobody reads.
Task<void> many_changes(Bench* b, std::string prefix) {
  const std::string data(16 << 10, 'x');
  for (int i = 0; i < 160; ++i) {
    std::string body = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")" + prefix + std::to_string(i) + R"("},"data":{"k":")" + data + R"("}})";
    std::string answer = co_await call(b, "POST", "/api/v1/namespaces/bench/configmaps", body);
    if (answer.empty()) b->failures++;
  }
}

// What the server holds for a watcher that reads nothing: on connections that it shares with others, or on its own.
Task<void> stalled(Bench* b, std::shared_ptr<net::TlsClientContext> tls, bool own_connection) {
  constexpr int kStalled = 200;
  const std::string prefix = own_connection ? "own-" : "shared-";
  co_await many_changes(b, prefix + "warm-");
  double alone = rss_mb(b->server);
  co_await many_changes(b, prefix + "alone-");
  alone = rss_mb(b->server) - alone;  // what the changes themselves take
  std::vector<std::unique_ptr<net::HttpClient>> clients;
  for (int i = 0; i < (own_connection ? kStalled : kConnections); ++i) {
    net::HttpClientOptions c;
    c.tls = tls;
    clients.push_back(std::make_unique<net::HttpClient>(b->loop, c));
  }
  const double before = rss_mb(b->server);
  std::vector<net::StreamingResponse> held;
  for (int i = 0; i < kStalled; ++i) {
    net::ClientRequest q;
    q.url = b->url + "/api/v1/namespaces/bench/configmaps?watch=1&resourceVersion=0&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    auto r = co_await clients[static_cast<size_t>(i) % clients.size()]->stream(std::move(q));
    if (r.ok() && r->status == 200) held.push_back(std::move(*r));
    else b->failures++;
  }
  co_await many_changes(b, prefix + "after-");
  co_await sleep(b->loop, 500ms);
  std::printf("%-44s %10.0f %-9s\n", own_connection ? "a watcher that reads nothing, own connection" : "a watcher that reads nothing, shared ones", (rss_mb(b->server) - before - alone) * 1024 / kStalled, "KB");
  std::fflush(stdout);
}

Task<int> run(Bench* b, std::string caravel, std::string directory, int pods, std::string rows) {
  auto wanted = [&rows](const char* row) { return rows.empty() || rows.find(row) != rows.npos; };
  net::ProcessOptions o;
  o.argv = {caravel, "server", "--data-dir", directory, "--listen", "127.0.0.1:0", "--no-controllers"};
  o.stderr_file = directory + "/log";
  Time begun = b->loop.now();
  auto process = net::spawn(b->loop, std::move(o));
  if (!process.ok()) {
    std::printf("%s\n", process.error().message.c_str());
    co_return 1;
  }
  b->server = (*process)->pid();
  while (!net::path_exists(directory + "/kubeconfig") && (*process)->running()) co_await sleep(b->loop, 2ms);
  Duration up = b->loop.now() - begun;
  auto config = kube::load_kubeconfig(directory + "/kubeconfig");
  if (!config.ok()) {
    std::printf("%s\n", config.error().message.c_str());
    co_return 1;
  }
  b->url = config->server;
  net::TlsClientOptions t;
  t.ca = config->ca;
  t.certificate = config->client_certificate;
  t.key = config->client_key;
  auto tls = net::make_tls_client(t);
  if (!tls.ok()) {
    std::printf("%s\n", tls.error().message.c_str());
    co_return 1;
  }
  for (int i = 0; i < kConnections; ++i) {
    net::HttpClientOptions c;
    c.tls = *tls;
    b->clients.push_back(std::make_unique<net::HttpClient>(b->loop, c));
  }
  std::printf("%-44s %10.0f %-9s\n", "first start until ready", seconds(up) * 1000, "ms");
  std::string made = co_await call(b, "POST", "/api/v1/namespaces", R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bench"}})");
  std::string account = co_await call(b, "POST", "/api/v1/namespaces/bench/serviceaccounts", R"({"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}})");
  if (made.empty() || account.empty()) co_return 1;

  double empty_mb = rss_mb(b->server);
  {
    Row row(*b);
    Work w;
    w.method = "POST";
    w.path = kPods;
    w.total = pods;
    co_await drive(b, &w);
    row.print("create pods, durable", static_cast<double>(w.done) / row.elapsed(), "pods/s", "5,000/s (aim 20,000)");
  }
  std::printf("%-44s %10.1f %-9s (the server has %.0f MB)\n", "memory for 10,000 pods", (rss_mb(b->server) - empty_mb) * 10000 / pods, "MB", rss_mb(b->server));
  for (bool warm : {false, true}) {
    if (!wanted("list")) break;
    std::vector<double> times;
    Row row(*b);
    for (int i = 0; i < (warm ? 9 : 1); ++i) {
      Time start = b->loop.now();
      size_t size = co_await read_list(b, kPods + "?limit=10000");
      times.push_back(seconds(b->loop.now() - start) * 1000);
      if (size < 1000) b->failures++;
    }
    std::sort(times.begin(), times.end());
    row.print(warm ? "list 10,000 pods, median of 9" : "list 10,000 pods, the first", times[times.size() / 2], "ms", "60 ms (aim 15)");
  }
  if (wanted("get")) {
    Row row(*b);
    Work w;
    w.method = "GET";
    w.path = kPods + "/pod-7";
    w.until = b->loop.now() + 3s;
    co_await drive(b, &w);
    row.print("GET one object, TLS, keep-alive", static_cast<double>(w.done) / row.elapsed(), "GETs/s", "30,000/s (aim 80,000)");
  }
  if (wanted("watch")) co_await fan_out(b, 960);
  if (wanted("stalled")) {
    co_await stalled(b, *tls, false);
    co_await stalled(b, *tls, true);
  }
  co_await (*process)->stop(5s);
  if (b->failures) std::printf("%d requests failed\n", b->failures);
  co_return b->failures ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: api_bench path/to/caravel [pods [rows]]\n");
    return 2;
  }
  char directory[] = "/var/tmp/caravel-bench-XXXXXX";
  if (!mkdtemp(directory)) return 1;
  Bench b;
  int result = run_on(b.loop, run(&b, argv[1], directory, argc > 2 ? std::atoi(argv[2]) : 10'000, argc > 3 ? argv[3] : ""));
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
  return result;
}
