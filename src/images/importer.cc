#include "images/importer.h"

#include <unistd.h>

#include <climits>
#include <map>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "net/process.h"

namespace caravel::images {
namespace {

const Log kLog{"images"};
constexpr Duration kImportTimeout = std::chrono::minutes(2);

net::ProcessOptions ctr_options(const std::string& socket, const std::vector<std::string>& args) {
  net::ProcessOptions o;
  o.argv = {"ctr", "--address", socket, "--namespace", "k8s.io"};
  o.argv.insert(o.argv.end(), args.begin(), args.end());
  o.stdout_pipe = o.stderr_pipe = true;
  return o;
}
std::vector<std::string> list_arguments() { return {"images", "list"}; }
std::vector<std::string> import_arguments(const std::string& snapshotter, const std::string& archive) {
  return {"images", "import", "--snapshotter", snapshotter, archive};
}
net::ProcessOptions applet_list(const std::string& busybox) {
  net::ProcessOptions p;
  p.argv = {busybox, "--list"};
  p.stdout_pipe = true;
  return p;
}

Task<Result<std::string>> ctr(net::EventLoop& loop, std::string socket, std::vector<std::string> args) {
  net::ProcessOptions o = ctr_options(socket, args);
  auto r = co_await net::run_process(loop, std::move(o), "", kImportTimeout);
  if (!r.ok()) co_return wrap(std::move(r).error(), "running ctr (Debian package containerd)");
  if (r->exit.code != 0) co_return unavailable("containerd at " + socket + " refused `ctr " + join(args, " ") + "`: " + std::string(trim(r->err)));
  co_return std::move(r->out);
}

// Image names that containerd has, with their digests.
Task<Result<std::map<std::string, std::string>>> present_images(net::EventLoop& loop, std::string socket) {
  auto r = co_await ctr(loop, socket, list_arguments());
  if (!r.ok()) co_return std::move(r).error();
  std::map<std::string, std::string> out;
  for (auto& line : split(*r, '\n')) {
    std::vector<std::string> words = split_words(line);
    if (words.size() > 2 && words[2].rfind("sha256:", 0) == 0) out[words[0]] = words[2];
  }
  co_return out;
}

std::string state_file(const ImportOptions& o, const ImageSpec& s) {
  return o.state_directory + "/" + replace_all(replace_all(s.name, "/", "_"), ":", "_") + ".json";
}

// True when what we imported last time is what we would import now and containerd still has it.
bool up_to_date(const ImportOptions& o, const ImageSpec& s, const std::string& print, const std::map<std::string, std::string>& present) {
  auto text = net::read_file(state_file(o, s));
  if (!text.ok()) return false;
  auto state = json::parse(*text);
  if (!state.ok()) return false;
  const json::Value& v = *state;
  auto it = present.find(s.name);
  return v["fingerprint"].as_string() == print && it != present.end() && it->second == v["digest"].as_string();
}

Task<Result<std::vector<BuiltImage>>> build(net::EventLoop& loop, std::vector<ImageSpec> specs, std::string path) {
  return run_blocking<Result<std::vector<BuiltImage>>>(loop, [specs = std::move(specs), path = std::move(path)] { return write_archive(specs, path); });
}

Task<Status> import_all(net::EventLoop& loop, ImportOptions o, std::vector<ImageSpec> specs, std::vector<std::string> prints) {
  const std::string archive = o.state_directory + "/import.tar";
  auto built = co_await build(loop, specs, archive);
  if (!built.ok()) co_return wrap(std::move(built).error(), "building the caravel.local images");
  auto r = co_await ctr(loop, o.containerd, import_arguments(o.snapshotter, archive));
  unlink(archive.c_str());
  if (!r.ok()) co_return wrap(std::move(r).error(), "importing the caravel.local images");
  for (size_t i = 0; i < specs.size(); ++i) {
    json::Value state = json::Value::object();
    state["name"] = specs[i].name;
    state["fingerprint"] = prints[i];
    state["digest"] = (*built)[i].manifest_digest;
    CO_TRY_VOID(net::write_file_atomic(state_file(o, specs[i]), json::dump(state)));
    kLog.info("imported image", {{"image", specs[i].name}, {"digest", (*built)[i].manifest_digest}});
  }
  co_return ok();
}

}  // namespace

Result<CatalogSources> default_sources() {
  char self[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  if (n <= 0 || n == sizeof self) return internal("cannot find this program's own file (/proc/self/exe)");
  CatalogSources s;
  s.caravel.assign(self, static_cast<size_t>(n));
  s.pause = s.caravel.substr(0, s.caravel.rfind('/')) + "/caravel-pause";
  if (!net::path_exists(s.pause)) return not_found(s.pause + " is missing; build it with `ninja caravel-pause` or install the whole package");
  return s;
}

Task<Result<ImportResult>> import_images(net::EventLoop& loop, ImportOptions o, CatalogSources sources) {
  CO_TRY_VOID(net::make_directories(o.state_directory));
  if (sources.busybox_applets.empty()) {
    auto r = co_await net::run_process(loop, applet_list(sources.busybox));
    if (!r.ok()) co_return wrap(std::move(r).error(), "running busybox (Debian package busybox-static)");
    sources.busybox_applets = split_words(r->out);
  }
  CO_TRY(std::vector<ImageSpec> specs, catalog(sources));
  auto present = co_await present_images(loop, o.containerd);
  if (!present.ok()) co_return std::move(present).error();
  ImportResult result;
  std::vector<ImageSpec> wanted;
  std::vector<std::string> prints;
  for (auto& spec : specs) {
    CO_TRY(std::string print, fingerprint(spec));
    if (up_to_date(o, spec, print, *present)) {
      ++result.present;
      continue;
    }
    wanted.push_back(spec);
    prints.push_back(print);
  }
  result.imported = static_cast<int>(wanted.size());
  if (!wanted.empty()) {
    auto imported = co_await import_all(loop, o, std::move(wanted), std::move(prints));
    if (!imported.ok()) co_return std::move(imported).error();
  }
  co_return result;
}

}  // namespace caravel::images
