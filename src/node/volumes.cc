#include "node/volumes.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/strings.h"
#include "node/mounts.h"

namespace caravel::node {
namespace {

namespace fs = std::filesystem;

Error io_error(const std::string& what) { return internal(what + ": " + std::strerror(errno)); }

Status make_directory(const std::string& path, unsigned mode) {
  std::error_code ec;
  fs::create_directories(path, ec);
  if (ec) return internal("making the directory " + path + ": " + ec.message());
  if (chmod(path.c_str(), mode) != 0) return io_error("setting the mode of " + path);
  return ok();
}

// Gives a tree to the pod's fsGroup: group-owned, group-readable as the owner, set-group-id directories.
void give_to_group(const std::string& root, gid_t group, bool writable) {
  auto give = [&](const std::string& path) {
    struct stat st;
    if (lstat(path.c_str(), &st) != 0) return;
    if (lchown(path.c_str(), static_cast<uid_t>(-1), group) != 0) return;
    if (S_ISLNK(st.st_mode)) return;
    mode_t mode = st.st_mode | 0440 | (writable ? 0220 : 0);
    if (S_ISDIR(st.st_mode)) mode |= S_ISGID | 0110;
    if (chmod(path.c_str(), mode & 07777) != 0) return;
  };
  give(root);
  std::error_code ec;
  for (auto it = fs::recursive_directory_iterator(root, ec); !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) give(it->path().string());
}

using Keys = std::vector<core::KeyToPath>;

// Adds keys of an object's data: all of them, or the listed ones under their paths.
Status add_keys(VolumeFiles& out, const std::map<std::string, std::string>& data, const Keys& items, unsigned mode, bool optional,
                const std::string& object) {
  if (items.empty()) {
    for (auto& [k, v] : data) out[k] = {v, mode};
    return ok();
  }
  for (auto& item : items) {
    auto it = data.find(item.key);
    if (it == data.end()) {
      if (optional) continue;
      return not_found("references non-existent " + object + " key: " + item.key);
    }
    out[item.path] = {it->second, static_cast<unsigned>(item.mode.value_or(static_cast<int32_t>(mode)))};
  }
  return ok();
}

Status add_config_map(VolumeFiles& out, const VolumeContext& c, const std::string& name, const Keys& items, unsigned mode, bool optional) {
  auto it = c.sources.config_maps.find(name);
  if (it == c.sources.config_maps.end() || !it->second) {
    if (optional) return ok();
    return not_found("configmap \"" + name + "\" not found");
  }
  std::map<std::string, std::string> data = it->second->data;
  for (auto& [k, v] : it->second->binary_data) data[k] = v;
  return add_keys(out, data, items, mode, optional, "config");
}

Status add_secret(VolumeFiles& out, const VolumeContext& c, const std::string& name, const Keys& items, unsigned mode, bool optional) {
  auto it = c.sources.secrets.find(name);
  if (it == c.sources.secrets.end() || !it->second) {
    if (optional) return ok();
    return not_found("secret \"" + name + "\" not found");
  }
  return add_keys(out, it->second->data, items, mode, optional, "secret");
}

Status add_downward(VolumeFiles& out, const core::Pod& pod, const VolumeContext& c, const std::vector<core::DownwardAPIVolumeFile>& items, unsigned mode) {
  for (auto& item : items) {
    const unsigned m = static_cast<unsigned>(item.mode.value_or(static_cast<int32_t>(mode)));
    if (item.field_ref) {
      TRY(std::string v, field_value(pod, item.field_ref->field_path, c.facts));
      out[item.path] = {std::move(v), m};
    } else if (item.resource_field_ref) {
      TRY(std::string v, resource_value(pod, *item.resource_field_ref, c.facts));
      out[item.path] = {std::move(v), m};
    }
  }
  return ok();
}

Status add_projected(VolumeFiles& out, const core::Pod& pod, const core::Volume& volume, const VolumeContext& c) {
  const unsigned mode = static_cast<unsigned>(volume.projected->default_mode.value_or(0644));
  const bool group = pod.spec.security_context && pod.spec.security_context->fs_group;
  const std::optional<int64_t> user = file_user(pod);
  for (auto& s : volume.projected->sources) {
    if (s.config_map) TRY_VOID(add_config_map(out, c, s.config_map->name, s.config_map->items, mode, s.config_map->optional.value_or(false)));
    if (s.secret) TRY_VOID(add_secret(out, c, s.secret->name, s.secret->items, mode, s.secret->optional.value_or(false)));
    if (s.downward_api) TRY_VOID(add_downward(out, pod, c, s.downward_api->items, mode));
    if (s.service_account_token) {
      auto it = c.tokens.find(volume.name + "/" + s.service_account_token->path);
      if (it == c.tokens.end()) return unavailable("the ServiceAccount token for volume " + volume.name + " has not been issued yet");
      // Nobody but who shall use it reads it; without a user or a group that could not be kept.
      out[s.service_account_token->path] = {it->second, group ? 0640u : user ? 0600u
                                                                             : mode,
                                            user};
    }
  }
  return ok();
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return std::move(s).str();
}

Status write_text(const std::string& path, const std::string& content, unsigned mode) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << content;
  out.close();
  if (!out) return io_error("writing " + path);
  if (chmod(path.c_str(), mode) != 0) return io_error("setting the mode of " + path);
  return ok();
}

bool same_content(const std::string& data, const VolumeFiles& files) {
  std::error_code ec;
  size_t count = 0;
  for (auto it = fs::recursive_directory_iterator(data, ec); !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    if (!it->is_regular_file(ec)) continue;
    ++count;
    auto f = files.find(fs::relative(it->path(), data, ec).string());
    if (f == files.end() || read_text(it->path().string()) != f->second.content) return false;
  }
  return !ec && count == files.size();
}

Result<std::string> setup_empty_directory(const core::Volume& v, const std::string& path) {
  struct stat st;
  const bool fresh = stat(path.c_str(), &st) != 0;
  if (fresh) TRY_VOID(make_directory(path, 0777));
  if (v.empty_dir->medium == "Memory") {
    struct stat parent;
    const bool mounted = stat(path.c_str(), &st) == 0 && stat((path + "/..").c_str(), &parent) == 0 && st.st_dev != parent.st_dev;
    std::string options = "mode=1777";  // as tmpfs has it by itself, and upstream leaves it
    if (v.empty_dir->size_limit) options += ",size=" + std::to_string(v.empty_dir->size_limit->value());
    if (!mounted && mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) != 0) return io_error("mounting a tmpfs on " + path);
  }
  return path;
}

Result<std::string> setup_host_path(const core::HostPathVolumeSource& host_path) {
  const std::string& path = host_path.path;
  const std::string type = host_path.type.value_or("");
  struct stat st;
  const bool there = stat(path.c_str(), &st) == 0;
  if (type == "DirectoryOrCreate" && !there) TRY_VOID(make_directory(path, 0755));
  if (type == "FileOrCreate" && !there) TRY_VOID(write_text(path, "", 0644));
  auto expect = [&](const char* what, bool good) -> Status {
    if (!there || !good) return invalid("hostPath type check failed: " + path + " is not a " + what);
    return ok();
  };
  if (type == "Directory") TRY_VOID(expect("directory", S_ISDIR(st.st_mode)));
  if (type == "File") TRY_VOID(expect("file", S_ISREG(st.st_mode)));
  if (type == "Socket") TRY_VOID(expect("socket file", S_ISSOCK(st.st_mode)));
  if (type == "CharDevice") TRY_VOID(expect("character device", S_ISCHR(st.st_mode)));
  if (type == "BlockDevice") TRY_VOID(expect("block device", S_ISBLK(st.st_mode)));
  return path;
}

Result<std::string> setup_persistent(const core::PersistentVolume& volume, std::optional<int64_t> group) {
  const core::PersistentVolumeSpec& spec = volume.spec;
  if (spec.volume_mode.value_or("Filesystem") != "Filesystem") return make_error(Code::kUnsupported, "this node does not offer block volumes");
  if (spec.host_path) return setup_host_path(*spec.host_path);
  if (spec.csi) return make_error(Code::kUnsupported, "kubernetes.io/csi: driver name " + spec.csi->driver + " not found in the list of registered CSI drivers");
  if (!spec.local) return make_error(Code::kUnsupported, "this node does not offer this kind of volume");
  const std::string& path = spec.local->path;
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return not_found("path \"" + path + "\" does not exist");
  if (!S_ISDIR(st.st_mode)) return make_error(Code::kUnsupported, "this node offers local volumes that are directories only; " + path + " is none");
  if (group) give_to_group(path, static_cast<gid_t>(*group), true);
  return path;
}

std::string plugin_of(const core::Volume& v) {
  if (v.config_map) return "kubernetes.io~configmap";
  if (v.secret) return "kubernetes.io~secret";
  if (v.projected) return "kubernetes.io~projected";
  if (v.downward_api) return "kubernetes.io~downward-api";
  if (v.image) return "kubernetes.io~image";
  return "kubernetes.io~empty-dir";
}

}  // namespace

std::string volume_directory(const std::string& volumes, const core::Volume& v) { return volumes + "/" + plugin_of(v) + "/" + v.name; }

std::string claim_of(const core::Pod& pod, const core::Volume& v) {
  if (v.persistent_volume_claim) return v.persistent_volume_claim->claim_name;
  return v.ephemeral ? pod.metadata.name + "-" + v.name : "";
}

bool is_file_volume(const core::Volume& v) { return v.config_map || v.secret || v.projected || v.downward_api; }

std::optional<int64_t> file_user(const core::Pod& pod) {
  std::optional<int64_t> common;
  auto same = [&](const auto& c) {
    std::optional<int64_t> user = pod.spec.security_context ? pod.spec.security_context->run_as_user : std::nullopt;
    if (c.security_context && c.security_context->run_as_user) user = c.security_context->run_as_user;
    if (!user || (common && *common != *user)) return false;
    common = user;
    return true;
  };
  const core::PodSpec& s = pod.spec;
  const bool all = std::all_of(s.init_containers.begin(), s.init_containers.end(), same) && std::all_of(s.containers.begin(), s.containers.end(), same) &&
                   std::all_of(s.ephemeral_containers.begin(), s.ephemeral_containers.end(), same);
  return all ? common : std::nullopt;
}

Result<VolumeFiles> volume_files(const core::Pod& pod, const core::Volume& v, const VolumeContext& c) {
  VolumeFiles out;
  Status s;
  if (v.config_map)
    s = add_config_map(out, c, v.config_map->name, v.config_map->items, static_cast<unsigned>(v.config_map->default_mode.value_or(0644)),
                       v.config_map->optional.value_or(false));
  else if (v.secret)
    s = add_secret(out, c, v.secret->secret_name, v.secret->items, static_cast<unsigned>(v.secret->default_mode.value_or(0644)),
                   v.secret->optional.value_or(false));
  else if (v.downward_api)
    s = add_downward(out, pod, c, v.downward_api->items, static_cast<unsigned>(v.downward_api->default_mode.value_or(0644)));
  else if (v.projected)
    s = add_projected(out, pod, v, c);
  if (!s.ok()) return std::move(s).error();
  for (auto& [path, f] : out)
    if (path.empty() || path[0] == '/' || path.rfind("..", 0) == 0 || path.find("/../") != path.npos) return invalid("invalid path in a volume: " + path);
  return out;
}

Result<bool> write_atomically(const std::string& directory, const VolumeFiles& files, Time now, std::optional<int64_t> group) {
  TRY_VOID(make_directory(directory, 0755));
  const std::string data = directory + "/..data";
  std::error_code ec;
  const bool there = fs::exists(fs::symlink_status(data, ec));
  if (there && same_content(data, files)) return false;

  const std::string stamp = "..caravel_" + std::to_string(now.ns);
  const std::string fresh = directory + "/" + stamp;
  fs::remove_all(fresh, ec);
  TRY_VOID(make_directory(fresh, 0755));
  std::set<std::string> top;
  for (auto& [path, f] : files) {
    const std::string full = fresh + "/" + path;
    fs::create_directories(fs::path(full).parent_path(), ec);
    TRY_VOID(write_text(full, f.content, f.mode));
    if (f.owner && chown(full.c_str(), static_cast<uid_t>(*f.owner), static_cast<gid_t>(-1)) != 0) return io_error("giving " + full + " to its user");
    top.insert(path.substr(0, path.find('/')));
  }
  if (group) give_to_group(fresh, static_cast<gid_t>(*group), false);
  const std::string old = there ? fs::read_symlink(data, ec).string() : "";
  const std::string swap = directory + "/..data_tmp";
  fs::remove(swap, ec);
  fs::create_symlink(stamp, swap, ec);
  if (ec || rename(swap.c_str(), data.c_str()) != 0) return internal("switching " + data + " to the new content failed");
  for (auto& name : top)
    if (!fs::exists(fs::symlink_status(directory + "/" + name, ec))) fs::create_symlink("..data/" + name, directory + "/" + name, ec);
  for (auto& e : fs::directory_iterator(directory, ec)) {
    const std::string name = e.path().filename().string();
    if (name.rfind("..", 0) != 0 && !top.count(name)) fs::remove(e.path(), ec);
  }
  if (!old.empty() && old != stamp) fs::remove_all(directory + "/" + old, ec);
  return true;
}

Result<std::map<std::string, std::string>> setup_volumes(const core::Pod& pod, const VolumeContext& c) {
  std::map<std::string, std::string> out;
  std::optional<int64_t> group;
  if (pod.spec.security_context) group = pod.spec.security_context->fs_group;
  for (auto& v : pod.spec.volumes) {
    auto failed = [&v](Error e) { return wrap(std::move(e), "MountVolume.SetUp failed for volume \"" + v.name + "\" "); };
    const std::string path = volume_directory(c.pod_directory + "/volumes", v);
    if (is_file_volume(v)) {
      auto files = volume_files(pod, v, c);
      if (!files.ok()) return failed(std::move(files).error());
      auto w = write_atomically(path, *files, c.now, group);
      if (!w.ok()) return failed(std::move(w).error());
      out[v.name] = path;
    } else if (v.empty_dir) {
      std::error_code ec;
      const bool fresh = !fs::exists(path, ec);
      auto p = setup_empty_directory(v, path);
      if (!p.ok()) return failed(std::move(p).error());
      if (fresh && group) give_to_group(path, static_cast<gid_t>(*group), true);
      out[v.name] = path;
    } else if (v.host_path) {
      auto p = setup_host_path(*v.host_path);
      if (!p.ok()) return failed(std::move(p).error());
      out[v.name] = *p;
    } else if (v.image) {
      out[v.name] = path;  // mounted when a container that uses it starts: the image must be pulled first
    } else if (auto bound = c.claimed.find(v.name); bound != c.claimed.end()) {
      auto p = setup_persistent(bound->second, group);
      if (!p.ok()) return wrap(std::move(p).error(), "MountVolume.SetUp failed for volume \"" + bound->second.metadata.name + "\" ");
      out[v.name] = *p;
    } else {
      return failed(make_error(Code::kUnsupported, "this node does not offer this kind of volume"));
    }
  }
  return out;
}

namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

// Resolved by the kernel without ever leaving `root`.
Descriptor open_beneath(int root, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return Descriptor(static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how)));
}

}  // namespace

Status bind_sub_path(const std::string& volume, const std::string& sub_path, const std::string& place) {
  // What is told must not tell of the node's files.
  auto failed = [&](const char* what) { return internal(std::string(what) + " subPath \"" + sub_path + "\": " + std::strerror(errno)); };
  Descriptor root(open(volume.c_str(), O_PATH | O_CLOEXEC));
  struct stat of_volume;
  if (!root.ok() || fstat(root.get(), &of_volume) != 0) return failed("the volume cannot be opened for");
  Descriptor found = open_beneath(root.get(), sub_path);
  if (!found.ok() && errno == ENOENT) {
    std::string walked;
    for (auto& part : split(sub_path, '/')) {
      if (part.empty() || part == ".") continue;
      Descriptor parent = walked.empty() ? open_beneath(root.get(), ".") : open_beneath(root.get(), walked);
      if (!parent.ok()) return failed("failed to create");
      if (mkdirat(parent.get(), part.c_str(), 0700) == 0) {
        Descriptor made(openat(parent.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!made.ok() || fchown(made.get(), of_volume.st_uid, of_volume.st_gid) != 0 || fchmod(made.get(), of_volume.st_mode & 07777) != 0) return failed("failed to create");
      } else if (errno != EEXIST) {
        return failed("failed to create");
      }
      walked += (walked.empty() ? "" : "/") + part;
    }
    found = open_beneath(root.get(), sub_path);
  }
  if (!found.ok()) return failed("failed to prepare");
  struct stat st;
  if (fstat(found.get(), &st) != 0) return failed("failed to prepare");
  while (umount2(place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {  // an earlier container's
  }
  if (errno != EINVAL && errno != ENOENT) return failed("failed to replace");  // still mounted: removing it would empty the volume
  std::error_code ec;
  fs::remove_all(place, ec);
  if (S_ISDIR(st.st_mode)) fs::create_directories(place, ec);
  else {
    fs::create_directories(fs::path(place).parent_path(), ec);
    TRY_VOID(write_text(place, "", 0600));
  }
  const std::string source = "/proc/self/fd/" + std::to_string(found.get());
  if (mount(source.c_str(), place.c_str(), "", MS_BIND | MS_REC, "") != 0) return failed("failed to bind");
  return ok();
}

Status remove_pod_directory(const std::string& pod_directory) {
  const std::vector<std::string> inside = mounts_from(pod_directory);
  for (auto it = inside.rbegin(); it != inside.rend(); ++it)
    if (umount2(it->c_str(), MNT_DETACH) != 0) return io_error("unmounting " + *it);
  std::error_code ec;
  fs::remove_all(pod_directory, ec);
  if (ec) return internal("removing " + pod_directory + ": " + ec.message());
  return ok();
}

std::vector<TokenWish> token_wishes(const core::Pod& pod) {
  std::vector<TokenWish> out;
  for (auto& v : pod.spec.volumes) {
    if (!v.projected) continue;
    for (auto& s : v.projected->sources)
      if (s.service_account_token)
        out.push_back({v.name + "/" + s.service_account_token->path, s.service_account_token->audience,
                       s.service_account_token->expiration_seconds.value_or(3600)});
  }
  return out;
}

std::string hosts_file(const core::Pod& pod, const std::string& pod_ip, const std::string& hostname, const std::string& cluster_domain,
                       const std::string& node_hosts) {
  std::string out;
  if (pod.spec.host_network) {
    out = "# Kubernetes-managed hosts file (host network).\n" + node_hosts;
  } else {
    out =
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
    if (!pod.spec.subdomain.empty() && !pod.spec.hostname_override)  // a name that overrides stands alone
      out += pod_ip + "\t" + hostname + "." + pod.spec.subdomain + "." + pod.metadata.namespace_ + ".svc." + cluster_domain + "\t" + hostname + "\n";
    else
      out += pod_ip + "\t" + hostname + "\n";
  }
  if (!pod.spec.host_aliases.empty()) {
    out += "\n# Entries added by HostAliases.\n";
    for (auto& a : pod.spec.host_aliases) out += a.ip + "\t" + join(a.hostnames, "\t") + "\n";
  }
  return out;
}

}  // namespace caravel::node
