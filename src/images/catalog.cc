#include "images/catalog.h"

#include <filesystem>

#include "images/elf.h"

namespace caravel::images {
namespace {

namespace fs = std::filesystem;

ImageFile directory(std::string path, unsigned mode = 0755, unsigned uid = 0) {
  ImageFile f;
  f.path = std::move(path);
  f.directory = true;
  f.mode = mode;
  f.uid = f.gid = uid;
  return f;
}
ImageFile text(std::string path, std::string content) {
  ImageFile f;
  f.path = std::move(path);
  f.content = std::move(content);
  return f;
}
ImageFile file_from(std::string path, std::string source, unsigned mode = 0644) {
  ImageFile f;
  f.path = std::move(path);
  f.source = std::move(source);
  f.mode = mode;
  return f;
}
ImageFile link_to(std::string path, std::string target) {
  ImageFile f;
  f.path = std::move(path);
  f.link = std::move(target);
  return f;
}

// What a small Debian-like root needs besides programs.
std::vector<ImageFile> base_files(const CatalogSources& s) {
  std::vector<ImageFile> out;
  out.push_back(text("/etc/passwd",
                     "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/sh\n"
                     "nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/bin/sh\n"));
  out.push_back(text("/etc/group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\nnonroot:x:65532:\n"));
  out.push_back(text("/etc/nsswitch.conf", "hosts: files dns\n"));
  out.push_back(directory("/tmp", 01777));
  out.push_back(directory("/var/tmp", 01777));
  out.push_back(directory("/root", 0700));
  out.push_back(directory("/home/nonroot", 0755, 65532));
  out.push_back(directory("/var/run"));
  out.push_back(directory("/run"));
  out.push_back(file_from("/bin/busybox", s.busybox, 0755));
  for (auto& a : s.busybox_applets)
    if (a != "busybox") out.push_back(link_to("/bin/" + a, "busybox"));
  const char* bundle = "/etc/ssl/certs/ca-certificates.crt";
  if (std::error_code ec; fs::exists(bundle, ec)) {
    out.push_back(file_from(bundle, bundle));
    out.push_back(link_to("/etc/ssl/cert.pem", "certs/ca-certificates.crt"));
  }
  return out;
}

Status add_libraries(std::vector<ImageFile>& out, const std::vector<std::string>& programs) {
  TRY(std::vector<std::string> libraries, shared_libraries(programs));
  for (auto& l : libraries) out.push_back(file_from(l, l, 0755));
  return ok();
}

Status add_tree(std::vector<ImageFile>& out, const std::string& root) {
  std::error_code ec;
  for (auto it = fs::recursive_directory_iterator(root, ec); !ec && it != fs::recursive_directory_iterator(); it.increment(ec))
    if (fs::is_regular_file(it->path(), ec)) out.push_back(file_from(it->path().string(), it->path().string()));
  return ok();
}

const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace

Result<std::vector<ImageSpec>> catalog(const CatalogSources& s) {
  std::vector<ImageSpec> out;

  ImageSpec pause;
  pause.name = "caravel.local/pause:latest";
  pause.layers = {{file_from("/pause", s.pause, 0755)}};
  pause.entrypoint = {"/pause"};
  out.push_back(std::move(pause));

  const std::vector<ImageFile> base = base_files(s);
  ImageSpec busybox;
  busybox.name = "caravel.local/busybox:latest";
  busybox.layers = {base};
  busybox.command = {"sh"};
  busybox.environment = {kPath};
  out.push_back(std::move(busybox));

  std::vector<ImageFile> libraries;
  TRY_VOID(add_libraries(libraries, {s.caravel}));
  const std::vector<ImageFile> program = {file_from("/usr/bin/caravel", s.caravel, 0755)};
  ImageSpec caravel;
  caravel.name = "caravel.local/caravel:latest";
  caravel.layers = {base, libraries, program};
  caravel.entrypoint = {"/usr/bin/caravel"};
  caravel.environment = {kPath, "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"};
  out.push_back(std::move(caravel));

  std::error_code ec;
  if (fs::exists(s.nginx, ec)) {
    std::vector<ImageFile> files;
    files.push_back(file_from("/usr/sbin/nginx", s.nginx, 0755));
    std::vector<std::string> programs = {s.nginx};
    if (fs::exists("/usr/lib/nginx/modules", ec))
      for (auto& e : fs::directory_iterator("/usr/lib/nginx/modules", ec)) {
        programs.push_back(e.path().string());
        files.push_back(file_from(e.path().string(), e.path().string()));
      }
    TRY_VOID(add_libraries(files, programs));
    files.push_back(file_from("/etc/nginx/mime.types", "/etc/nginx/mime.types"));
    files.push_back(text("/etc/nginx/nginx.conf",
                         "worker_processes auto;\nerror_log /dev/stderr notice;\npid /run/nginx.pid;\nevents { worker_connections 1024; }\n"
                         "http {\n  include /etc/nginx/mime.types;\n  default_type application/octet-stream;\n  access_log /dev/stdout;\n"
                         "  sendfile on;\n  keepalive_timeout 65;\n  include /etc/nginx/conf.d/*.conf;\n}\n"));
    files.push_back(text("/etc/nginx/conf.d/default.conf",
                         "server {\n  listen 80;\n  location / {\n    root /usr/share/nginx/html;\n    index index.html index.htm;\n  }\n}\n"));
    for (const char* f : {"/etc/nginx/fastcgi_params", "/etc/nginx/proxy_params", "/etc/nginx/uwsgi_params", "/etc/nginx/scgi_params"})
      if (fs::exists(f, ec)) files.push_back(file_from(f, f));
    if (Status st = add_tree(files, "/usr/share/nginx/html"); !st.ok()) return std::move(st).error();
    for (const char* d : {"/var/lib/nginx/body", "/var/lib/nginx/proxy", "/var/lib/nginx/fastcgi", "/var/lib/nginx/uwsgi", "/var/lib/nginx/scgi"})
      files.push_back(directory(d, 0755, 33));
    files.push_back(link_to("/var/log/nginx/access.log", "/dev/stdout"));
    files.push_back(link_to("/var/log/nginx/error.log", "/dev/stderr"));
    ImageSpec nginx;
    nginx.name = "caravel.local/nginx:latest";
    nginx.layers = {base, libraries, program, files};  // the common ones first: unpacked once
    nginx.entrypoint = {"/usr/sbin/nginx"};
    nginx.command = {"-g", "daemon off;"};
    nginx.environment = {kPath, "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"};
    nginx.exposed_ports = {"80/tcp", "443/tcp"};
    out.push_back(std::move(nginx));
  }
  return out;
}

}  // namespace caravel::images
