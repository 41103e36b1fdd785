// caravel-oci: the OCI runtime that containerd calls for pods; it prepares the bundle and becomes runc.
//
// Many EC2 instances (network namespaces) share one containerd, so "the node's network" cannot be
// containerd's own. The node agent asks for every sandbox with the network namespace mode NODE and says
// in annotations what it really wants; on `create` of a sandbox this program writes that into the
// bundle's config.json. Containers join the namespaces of their sandbox, so they need nothing.
//   caravel.dev/netns: "new", or the path of the network namespace to join
//   caravel.dev/hostname: the name inside the sandbox's own UTS namespace
// Every other call goes through unchanged. The runtime is $CARAVEL_OCI_RUNTIME, or the first of runc and
// crun that is installed.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include "base/json.h"

namespace {

using caravel::json::Value;

int fail(const std::string& what) {
  std::fprintf(stderr, "caravel-oci: %s\n", what.c_str());
  return 1;
}

// The value of --name VALUE or --name=VALUE, else "".
std::string option(int argc, char** argv, const std::string& name) {
  for (int i = 1; i < argc; ++i) {
    std::string a = argv[i];
    if (a == name && i + 1 < argc) return argv[i + 1];
    if (a.rfind(name + "=", 0) == 0) return a.substr(name.size() + 1);
  }
  return "";
}

bool has_word(int argc, char** argv, const char* word) {
  for (int i = 1; i < argc; ++i)
    if (std::strcmp(argv[i], word) == 0) return true;
  return false;
}

void set_namespace(Value& spec, const std::string& type, const std::string& path) {
  Value& list = spec["linux"]["namespaces"];
  for (Value& n : list.arr()) {
    if (n.path({"type"}).as_string() != type) continue;
    n.erase("path");
    if (!path.empty()) n["path"] = path;
    return;
  }
  Value n = Value::object();
  n["type"] = type;
  if (!path.empty()) n["path"] = path;
  list.push_back(std::move(n));
}

// Lowering oom_score_adj needs CAP_SYS_RESOURCE, which the outermost machine may have withheld. Then a
// pod runs with the lowest score that can be had instead of not at all.
bool clamp_oom_score(Value& spec) {
  const Value* wanted = static_cast<const Value&>(spec).path({"process", "oomScoreAdj"}).is_int() ? &spec["process"]["oomScoreAdj"] : nullptr;
  if (!wanted) return false;
  int own = 0;
  std::ifstream("/proc/self/oom_score_adj") >> own;
  if (wanted->as_int() >= own) return false;
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const std::string text = std::to_string(wanted->as_int()), back = std::to_string(own);
  const bool allowed = write(fd, text.data(), text.size()) > 0;
  if (allowed && write(fd, back.data(), back.size()) < 0) std::perror("caravel-oci: oom_score_adj");
  close(fd);
  if (!allowed) spec["process"]["oomScoreAdj"] = own;
  return !allowed;
}

// True when the specification was changed.
bool edit_sandbox(Value& spec) {
  const Value annotations = static_cast<const Value&>(spec)["annotations"];
  if (annotations["io.kubernetes.cri.container-type"].as_string() != "sandbox") return false;
  const std::string netns = annotations["caravel.dev/netns"].as_string();
  if (netns.empty()) return false;
  set_namespace(spec, "network", netns == "new" ? "" : netns);
  const std::string hostname = annotations["caravel.dev/hostname"].as_string();
  if (!hostname.empty()) {
    set_namespace(spec, "uts", "");
    spec["hostname"] = hostname;
  }
  return true;
}

int prepare(const std::string& bundle) {
  const std::string path = bundle + "/config.json";
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return fail("reading " + path + ": " + std::strerror(errno));
  auto spec = caravel::json::parse(text.str());
  if (!spec.ok()) return fail("reading " + path + ": " + spec.error().message);
  const bool clamped = clamp_oom_score(*spec);
  const bool edited = edit_sandbox(*spec);
  if (!clamped && !edited) return 0;
  std::ofstream out(path + ".caravel", std::ios::trunc);
  out << caravel::json::dump(*spec);
  out.close();
  if (!out || std::rename((path + ".caravel").c_str(), path.c_str()) != 0) return fail("writing " + path + ": " + std::strerror(errno));
  return 0;
}

std::string runtime() {
  if (const char* r = std::getenv("CARAVEL_OCI_RUNTIME"); r && *r) return r;
  for (const char* p : {"/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc", "/usr/local/bin/runc", "/usr/bin/crun", "/usr/local/bin/crun"})
    if (access(p, X_OK) == 0) return p;
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  if (has_word(argc, argv, "create")) {
    std::string bundle = option(argc, argv, "--bundle");
    if (bundle.empty()) bundle = option(argc, argv, "-b");
    if (bundle.empty()) bundle = ".";
    if (int rc = prepare(bundle); rc != 0) return rc;
  }
  std::string program = runtime();
  if (program.empty()) return fail("no OCI runtime: install runc or crun, or set CARAVEL_OCI_RUNTIME");
  argv[0] = program.data();
  execv(program.c_str(), argv);
  return fail("starting " + program + ": " + std::strerror(errno));
}
