#include "images/image.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "base/hash.h"
#include "base/strings.h"

namespace caravel::images {
namespace {

using json::Value;
constexpr size_t kBlock = 512;
constexpr std::string_view kManifestType = "application/vnd.oci.image.manifest.v1+json";

std::string octal(uint64_t v, int digits) { return format("%0*llo", digits, static_cast<unsigned long long>(v)); }

// One ustar header; type '0' file, '2' link, '5' directory.
Result<std::string> header(std::string path, uint64_t size, unsigned mode, char type, const std::string& link, unsigned uid, unsigned gid) {
  std::string prefix;
  if (path.size() > 100) {
    size_t cut = path.rfind('/', 155);
    if (cut == path.npos || path.size() - cut - 1 > 100) return invalid("the path " + path + " is too long for a tar archive");
    prefix = path.substr(0, cut);
    path.erase(0, cut + 1);
  }
  if (link.size() > 100) return invalid("the link target " + link + " is too long for a tar archive");
  std::string h(kBlock, 0);
  auto put = [&h](size_t at, std::string_view text) { h.replace(at, text.size(), text); };
  put(0, path);
  put(100, octal(mode, 7));
  put(108, octal(uid, 7));
  put(116, octal(gid, 7));
  put(124, octal(size, 11));
  put(136, octal(0, 11));
  put(148, "        ");
  h[156] = type;
  put(157, link);
  put(257, std::string_view("ustar\00000", 8));
  put(345, prefix);
  unsigned sum = 0;
  for (unsigned char c : h) sum += c;
  put(148, octal(sum, 6) + std::string("\0 ", 2));
  return h;
}

void pad(std::string& out) { out.append((kBlock - out.size() % kBlock) % kBlock, 0); }

Status add_file(std::string& out, const std::string& path, std::string_view content, unsigned mode, unsigned uid = 0, unsigned gid = 0) {
  TRY(std::string h, header(path, content.size(), mode, '0', "", uid, gid));
  out += h;
  out += content;
  pad(out);
  return ok();
}

Result<std::string> read_source(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return not_found("cannot read " + path + ": " + std::strerror(errno));
  return std::move(text).str();
}

Value strings(const std::vector<std::string>& list) {
  Value v = Value::array();
  for (auto& s : list) v.push_back(s);
  return v;
}

Value descriptor(std::string_view type, const std::string& blob) {
  Value v = Value::object();
  v["mediaType"] = type;
  v["digest"] = "sha256:" + sha256_hex(blob);
  v["size"] = blob.size();
  return v;
}

std::string_view architecture() {
#if defined(__aarch64__)
  return "arm64";
#else
  return "amd64";
#endif
}

}  // namespace

Result<std::string> make_layer(const std::vector<ImageFile>& files) {
  std::map<std::string, const ImageFile*> entries;  // without the leading '/'; null: a parent directory
  for (auto& f : files) {
    if (f.path.size() < 2 || f.path[0] != '/') return invalid("the path " + f.path + " is not absolute");
    std::string path = f.path.substr(1);
    for (size_t n = path.find('/'); n != path.npos; n = path.find('/', n + 1)) entries.try_emplace(path.substr(0, n), nullptr);
    entries[path] = &f;
  }
  std::string out;
  for (auto& [path, f] : entries) {
    if (!f || f->directory) {
      TRY(std::string h, header(path + "/", 0, f ? f->mode : 0755, '5', "", f ? f->uid : 0, f ? f->gid : 0));
      out += h;
    } else if (!f->link.empty()) {
      TRY(std::string h, header(path, 0, 0777, '2', f->link, f->uid, f->gid));
      out += h;
    } else if (!f->source.empty()) {
      TRY(std::string content, read_source(f->source));
      TRY_VOID(add_file(out, path, content, f->mode, f->uid, f->gid));
    } else {
      TRY_VOID(add_file(out, path, f->content, f->mode, f->uid, f->gid));
    }
  }
  out.append(2 * kBlock, 0);
  return out;
}

Result<std::string> fingerprint(const ImageSpec& spec) {
  std::string text = spec.name + "\n" + join(spec.entrypoint, " ") + "\n" + join(spec.command, " ") + "\n" + join(spec.environment, " ") + "\n" +
                     spec.working_directory + "\n" + spec.user + "\n" + join(spec.exposed_ports, " ") + "\n";
  for (auto& layer : spec.layers) {
    text += "layer\n";
    for (auto& f : layer) {
      text += format("%s %s %o %d %u %u %s ", f.path.c_str(), f.link.c_str(), f.mode, f.directory, f.uid, f.gid, sha256_hex(f.content).c_str());
      if (!f.source.empty()) {
        struct stat st;
        if (stat(f.source.c_str(), &st) != 0) return not_found("cannot read " + f.source + ": " + std::strerror(errno));
        text += format("%s %lld %lld.%09ld", f.source.c_str(), static_cast<long long>(st.st_size), static_cast<long long>(st.st_mtim.tv_sec),
                       st.st_mtim.tv_nsec);
      }
      text += "\n";
    }
  }
  return sha256_hex(text);
}

namespace {

// The archive as it is being written: blobs by name, each once.
class Archive {
 public:
  explicit Archive(const std::string& path) : path_(path), out_(path, std::ios::binary | std::ios::trunc) {}
  Status put(const std::string& name, const std::string& blob) {
    if (!written_.insert(name).second) return ok();
    TRY(std::string h, header(name, blob.size(), 0644, '0', "", 0, 0));
    std::string tail((kBlock - blob.size() % kBlock) % kBlock, 0);
    out_ << h << blob << tail;
    return ok();
  }
  Status finish() {
    out_ << std::string(2 * kBlock, 0);
    out_.close();
    if (!out_) return internal("writing " + path_ + ": " + std::strerror(errno));
    return ok();
  }

 private:
  std::string path_;
  std::ofstream out_;
  std::set<std::string> written_;
};

// What tells one layer from another without reading its sources.
std::string layer_key(const std::vector<ImageFile>& files) {
  std::string text;
  for (auto& f : files) text += f.path + "\n" + f.source + "\n" + f.link + "\n" + sha256_hex(f.content) + format("%o %d %u %u\n", f.mode, f.directory, f.uid, f.gid);
  return sha256_hex(text);
}

Value image_config(const ImageSpec& spec, Value diff_ids) {
  Value run = Value::object();
  if (!spec.user.empty()) run["User"] = spec.user;
  Value ports = Value::object();
  for (auto& p : spec.exposed_ports) ports[p] = Value::object();
  if (ports.size() > 0) run["ExposedPorts"] = std::move(ports);
  run["Env"] = strings(spec.environment);
  if (!spec.entrypoint.empty()) run["Entrypoint"] = strings(spec.entrypoint);
  if (!spec.command.empty()) run["Cmd"] = strings(spec.command);
  if (!spec.working_directory.empty()) run["WorkingDir"] = spec.working_directory;
  Value config = Value::object();
  config["architecture"] = architecture();
  config["os"] = "linux";
  config["config"] = std::move(run);
  config["rootfs"]["type"] = "layers";
  config["rootfs"]["diff_ids"] = std::move(diff_ids);
  return config;
}

}  // namespace

Result<std::vector<BuiltImage>> write_archive(const std::vector<ImageSpec>& specs, const std::string& path) {
  Archive archive(path);
  TRY_VOID(archive.put("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  Value index = Value::object();
  index["schemaVersion"] = 2;
  index["manifests"] = Value::array();
  std::vector<BuiltImage> built;
  std::map<std::string, Value> layers_made;
  for (auto& spec : specs) {
    Value layers = Value::array(), diff_ids = Value::array();
    for (auto& files : spec.layers) {
      Value& d = layers_made[layer_key(files)];
      if (d.is_null()) {
        TRY(std::string blob, make_layer(files));
        d = descriptor("application/vnd.oci.image.layer.v1.tar", blob);
        TRY_VOID(archive.put("blobs/sha256/" + d["digest"].as_string().substr(7), blob));
      }
      diff_ids.push_back(d["digest"]);
      layers.push_back(d);
    }
    const std::string config_blob = json::dump(image_config(spec, std::move(diff_ids)));
    Value manifest = Value::object();
    manifest["schemaVersion"] = 2;
    manifest["mediaType"] = kManifestType;
    manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", config_blob);
    manifest["layers"] = std::move(layers);
    const std::string manifest_blob = json::dump(manifest);
    Value entry = descriptor(kManifestType, manifest_blob);
    entry["platform"]["architecture"] = architecture();
    entry["platform"]["os"] = "linux";
    entry["annotations"]["io.containerd.image.name"] = spec.name;
    entry["annotations"]["org.opencontainers.image.ref.name"] = spec.name.substr(spec.name.rfind(':') + 1);
    BuiltImage image;
    image.manifest_digest = entry["digest"].as_string();
    TRY_VOID(archive.put("blobs/sha256/" + sha256_hex(config_blob), config_blob));
    TRY_VOID(archive.put("blobs/sha256/" + image.manifest_digest.substr(7), manifest_blob));
    index["manifests"].push_back(std::move(entry));
    built.push_back(std::move(image));
  }
  TRY_VOID(archive.put("index.json", json::dump(index)));
  TRY_VOID(archive.finish());
  struct stat st;
  if (stat(path.c_str(), &st) == 0)
    for (auto& b : built) b.archive_bytes = static_cast<uint64_t>(st.st_size);
  return built;
}

}  // namespace caravel::images
