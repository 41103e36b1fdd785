#include "ingress/nginx_config.h"

#include <set>

#include "base/hash.h"
#include "base/strings.h"

namespace caravel::ingress {
namespace {

// A number, with one of the units when there are any; "auto" where nginx knows it.
std::string setting(const std::map<std::string, std::string>& settings, const char* key, const char* fallback, std::string_view units) {
  auto it = settings.find(key);
  if (it == settings.end()) return fallback;
  std::string_view digits = it->second;
  if (digits == "auto" && units.empty()) return it->second;
  if (!digits.empty() && units.find(digits.back()) != units.npos) digits.remove_suffix(1);
  return digits.empty() || digits.size() > 6 || digits.find_first_not_of("0123456789") != digits.npos ? fallback : it->second;
}

// A wildcard stands for exactly one label; nginx's own would take several.
std::string server_name(const std::string& host) {
  return host.starts_with("*.") ? "~^[\\w-]+" + replace_all(host.substr(1), ".", "\\.") + "$" : host;
}

std::string certificate_file(NginxFiles& out, const std::string& certificate, const std::string& key) {
  std::string pem = certificate + (certificate.ends_with("\n") ? "" : "\n") + key;
  std::string name = "ssl/" + sha256_hex(pem).substr(0, 20) + ".pem";
  out.files[name] = pem;
  return name;
}

std::string proxy_directives(const Location& l) {
  const LocationOptions& o = l.options;
  bool grpc = o.backend_protocol.starts_with("GRPC");
  bool tls = o.backend_protocol.ends_with("S");
  std::string p = grpc ? "grpc" : "proxy";
  std::string out;
  auto line = [&](std::string text) { out += "            " + std::move(text) + ";\n"; };
  line(p + "_connect_timeout " + std::to_string(o.connect_timeout_s) + "s");
  line(p + "_send_timeout " + std::to_string(o.send_timeout_s) + "s");
  line(p + "_read_timeout " + std::to_string(o.read_timeout_s) + "s");
  line(p + "_next_upstream " + o.next_upstream);
  line(p + "_next_upstream_tries " + std::to_string(o.next_upstream_tries));
  line(p + "_set_header Host " + (o.upstream_vhost.empty() ? "$best_http_host" : o.upstream_vhost));
  line(p + "_set_header X-Request-ID $request_id");
  line(p + "_set_header X-Real-IP $remote_addr");
  line(p + "_set_header X-Forwarded-For $full_x_forwarded_for");
  line(p + "_set_header X-Forwarded-Host $best_http_host");
  line(p + "_set_header X-Forwarded-Port $pass_port");
  line(p + "_set_header X-Forwarded-Proto $pass_access_scheme");
  line(p + "_set_header X-Forwarded-Scheme $pass_access_scheme");
  line(p + "_set_header X-Scheme $pass_access_scheme");
  if (grpc) {
    line(std::string("grpc_pass ") + (tls ? "grpcs://" : "grpc://") + l.upstream);
  } else {
    line("proxy_http_version 1.1");
    line("proxy_set_header Upgrade $http_upgrade");
    line("proxy_set_header Connection $connection_upgrade");
    line("proxy_buffering off");
    line("proxy_redirect off");
    line(std::string("proxy_pass ") + (tls ? "https://" : "http://") + l.upstream);
  }
  return out;
}

std::string location_body(const Model& model, const Server& server, const Location& l) {
  const LocationOptions& o = l.options;
  std::string out;
  auto line = [&](std::string text) { out += "            " + std::move(text) + "\n"; };
  line("set $ingress_name \"" + l.ingress + "\"; set $service_name \"" + l.service + "\";");
  for (auto& range : o.allow_ranges) line("allow " + range + ";");
  if (!o.allow_ranges.empty()) line("deny all;");
  if ((server.tls && o.ssl_redirect) || o.force_ssl_redirect) line("if ($pass_access_scheme = http) { return 308 https://$best_http_host$request_uri; }");
  if (!o.permanent_redirect.empty()) {
    line("return " + std::to_string(o.permanent_redirect_code) + " \"" + o.permanent_redirect + "\";");
    return out;
  }
  line("client_max_body_size " + o.proxy_body_size + ";");
  if (o.limit_rps) line("limit_req zone=rps_" + std::to_string(o.limit_rps) + " burst=" + std::to_string(o.limit_rps * 5) + " nodelay;");
  if (o.enable_cors) {
    line("add_header Access-Control-Allow-Origin \"" + o.cors_origin + "\" always;");
    line("add_header Access-Control-Allow-Credentials true always;");
    line("add_header Access-Control-Allow-Methods \"GET, PUT, POST, DELETE, PATCH, OPTIONS\" always;");
  }
  bool any = false;
  for (auto& u : model.upstreams) any |= u.name == l.upstream && !u.servers.empty();
  if (!any) {
    line("return 503;");
    return out;
  }
  if (!o.rewrite_target.empty()) line("rewrite \"(?i)" + l.path + "\" " + o.rewrite_target + " break;");
  return out + proxy_directives(l);
}

std::string locations(const Model& model, const Server& server) {
  std::string out;
  std::set<std::string> taken;  // nginx refuses a configuration that has a location twice
  auto block = [&](const std::string& match, const std::string& body) {
    if (taken.insert(match).second) out += "        location " + match + " {\n" + body + "        }\n";
  };
  if (server.host == "_") block("= \"/healthz\"", "            access_log off; return 200;\n");
  for (auto& l : server.locations) {
    std::string body = location_body(model, server, l);
    if (l.exact) block("= \"" + l.path + "\"", body);
    else if (l.options.use_regex) block("~* \"^" + l.path + "\"", body);
    else if (l.path == "/") block("/", body);
    else if (l.plain) block("\"" + l.path + "\"", body);
    else {
      // Prefix is by path segment: "/app" matches "/app" and "/app/...", not "/apple".
      std::string bare = l.path.ends_with("/") ? l.path.substr(0, l.path.size() - 1) : l.path;
      bool exact_elsewhere = false;
      for (auto& other : server.locations) exact_elsewhere |= other.exact && other.path == bare;
      if (!exact_elsewhere) block("= \"" + bare + "\"", body);
      block("\"" + bare + "/\"", body);
    }
  }
  block("/", "            return 404;\n");
  return out;
}

}  // namespace

NginxFiles render(const Model& model, const NginxPaths& paths, const std::map<std::string, std::string>& settings) {
  NginxFiles out;
  std::string c;
  c += "# Written by the ingress controller; changes are overwritten.\n";
  c += "worker_processes " + setting(settings, "worker-processes", "1", "") + ";\n";
  c += "worker_shutdown_timeout " + setting(settings, "worker-shutdown-timeout", "240s", "smhd") + ";\n";
  c += "worker_rlimit_nofile 65536;\npid " + paths.directory + "/nginx.pid;\nerror_log stderr notice;\n";
  c += "events { multi_accept on; worker_connections 4096; }\n";
  c += "http {\n";
  for (auto temp : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) c += std::string("    ") + temp + "_temp_path " + paths.directory + "/" + temp + ";\n";
  c += "    types { text/html html htm; text/css css; application/javascript js; application/json json; image/svg+xml svg; image/png png; }\n"
       "    default_type text/html;\n"
       "    server_tokens off;\n"
       "    keepalive_timeout 75s; keepalive_requests 10000;\n"
       "    server_names_hash_bucket_size 512; variables_hash_max_size 2048;\n"
       "    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:SSL:10m; ssl_session_timeout 10m; ssl_session_tickets off;\n"
       "    log_format upstreaminfo '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" "
       "$request_length $request_time [$ingress_name] [$service_name] $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $request_id';\n"
       "    access_log /dev/stdout upstreaminfo;\n"
       "    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\n"
       "    map $http_x_forwarded_proto $pass_access_scheme { default $http_x_forwarded_proto; '' $scheme; }\n"
       "    map $http_x_forwarded_port $pass_port { default $http_x_forwarded_port; '' $server_port; }\n"
       "    map $http_x_forwarded_for $full_x_forwarded_for { default \"$http_x_forwarded_for, $remote_addr\"; '' $remote_addr; }\n"
       "    map $http_host $best_http_host { default $http_host; '' $host; }\n";
  std::set<int> rates;
  for (auto& s : model.servers)
    for (auto& l : s.locations)
      if (l.options.limit_rps) rates.insert(l.options.limit_rps);
  for (int r : rates) c += "    limit_req_zone $binary_remote_addr zone=rps_" + std::to_string(r) + ":5m rate=" + std::to_string(r) + "r/s;\n";
  for (auto& u : model.upstreams) {
    if (u.servers.empty()) continue;
    c += "    upstream " + u.name + " {\n        zone " + u.name + " 64k;\n        least_conn;\n";
    for (auto& s : u.servers) c += "        server " + s + " max_fails=1 fail_timeout=1s;\n";
    c += "        keepalive 64; keepalive_timeout 60s;\n    }\n";
  }
  std::string default_file;
  if (!model.default_certificate.empty()) default_file = certificate_file(out, model.default_certificate, model.default_key);
  for (auto& s : model.servers) {
    bool catch_all = s.host == "_";
    std::string flag = catch_all ? " default_server" : "";
    std::string file = s.certificate.empty() ? default_file : certificate_file(out, s.certificate, s.key);
    c += "    server {\n        server_name " + server_name(s.host) + ";\n";
    c += "        listen " + std::to_string(paths.http_port) + flag + (catch_all ? " backlog=4096 reuseport" : "") + ";\n";
    if (!file.empty()) {
      c += "        listen " + std::to_string(paths.https_port) + " ssl http2" + flag + (catch_all ? " backlog=4096 reuseport" : "") + ";\n";
      c += "        ssl_certificate " + paths.directory + "/" + file + "; ssl_certificate_key " + paths.directory + "/" + file + ";\n";
    }
    c += "        set $ingress_name \"\"; set $service_name \"\";\n";
    c += locations(model, s);
    c += "    }\n";
  }
  c += "    server {\n        listen 127.0.0.1:" + std::to_string(paths.status_port) + ";\n        access_log off;\n        location = /nginx_status { stub_status; }\n        location / { return 200; }\n    }\n";
  c += "}\n";
  out.config = std::move(c);
  return out;
}

}  // namespace caravel::ingress
