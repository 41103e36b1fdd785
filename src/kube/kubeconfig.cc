#include "kube/kubeconfig.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::kube {

namespace {

constexpr const char* kServiceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount";

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return not_found("cannot read " + path + ": " + std::string(std::strerror(errno)));
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

const json::Value* named(const json::Value& list, const std::string& name) {
  for (const json::Value& v : list.as_array())
    if (v["name"].as_string() == name) return &v;
  return nullptr;
}

// "certificate-authority-data" (base64) wins over "certificate-authority" (a path relative to the file).
Result<std::string> data_or_file(const json::Value& v, const std::string& field, const std::filesystem::path& dir) {
  const std::string& data = v[field + "-data"].as_string();
  if (!data.empty()) {
    auto raw = base64_decode(data);
    if (!raw) return invalid(field + "-data is not base64");
    return *raw;
  }
  const std::string& file = v[field].as_string();
  if (file.empty()) return std::string();
  return read_file((dir / file).string());
}

}  // namespace

Result<ClientConfig> load_kubeconfig(const std::string& path, const std::string& context) {
  TRY(std::string text, read_file(path));
  auto parsed = yaml::parse_json_or_yaml(text);
  if (!parsed.ok()) return wrap(std::move(parsed).error(), "reading kubeconfig " + path);
  const json::Value root = std::move(*parsed);
  std::filesystem::path dir = std::filesystem::path(path).parent_path();
  std::string context_name = context.empty() ? root["current-context"].as_string() : context;
  if (context_name.empty())
    return invalid("kubeconfig " + path + " has no current-context; choose one with `kubectl config use-context NAME`");
  const json::Value* ctx = named(root["contexts"], context_name);
  if (!ctx) return not_found("kubeconfig " + path + " has no context \"" + context_name + "\"");
  const json::Value& c = (*ctx)["context"];
  const json::Value* cluster_entry = named(root["clusters"], c["cluster"].as_string());
  if (!cluster_entry) return not_found("kubeconfig " + path + " has no cluster \"" + c["cluster"].as_string() + "\"");
  const json::Value& cluster = (*cluster_entry)["cluster"];
  ClientConfig out;
  out.server = cluster["server"].as_string();
  if (out.server.empty()) return invalid("the cluster \"" + c["cluster"].as_string() + "\" of kubeconfig " + path + " has no server");
  while (out.server.ends_with('/')) out.server.pop_back();
  out.insecure = cluster["insecure-skip-tls-verify"].as_bool();
  TRY(out.ca, data_or_file(cluster, "certificate-authority", dir));
  if (!c["namespace"].as_string().empty()) out.default_namespace = c["namespace"].as_string();
  if (!c["user"].as_string().empty()) {
    const json::Value* user_entry = named(root["users"], c["user"].as_string());
    if (!user_entry) return not_found("kubeconfig " + path + " has no user \"" + c["user"].as_string() + "\"");
    const json::Value& user = (*user_entry)["user"];
    TRY(out.client_certificate, data_or_file(user, "client-certificate", dir));
    TRY(out.client_key, data_or_file(user, "client-key", dir));
    out.token = user["token"].as_string();
    if (!user["tokenFile"].as_string().empty()) out.token_file = (dir / user["tokenFile"].as_string()).string();
    if (user["exec"].is_object() && out.token.empty() && out.token_file.empty() && out.client_certificate.empty()) {
      auto plugin = parse_exec_plugin(user["exec"], cluster, dir.string());
      if (!plugin.ok()) return wrap(std::move(plugin).error(), "the user \"" + c["user"].as_string() + "\" of kubeconfig " + path);
      out.exec = std::move(*plugin);
    }
  }
  return out;
}

Result<ClientConfig> in_cluster_config() {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (!host || !port || !*host || !*port)
    return not_found("not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; give --kubeconfig");
  ClientConfig out;
  std::string h = host;
  if (h.find(':') != h.npos) h = "[" + h + "]";
  out.server = "https://" + h + ":" + port;
  std::string dir = kServiceAccountDir;
  TRY(out.ca, read_file(dir + "/ca.crt"));
  TRY(std::string token, read_file(dir + "/token"));
  out.token_file = dir + "/token";
  auto ns = read_file(dir + "/namespace");
  if (ns.ok()) out.default_namespace = std::string(trim(*ns));
  return out;
}

std::string write_kubeconfig(const ClientConfig& config, const std::string& cluster_name) {
  json::Value v = json::Value::object();
  v["apiVersion"] = "v1";
  v["kind"] = "Config";
  json::Value cluster = json::Value::object();
  cluster["server"] = config.server;
  if (!config.ca.empty()) cluster["certificate-authority-data"] = base64_encode(config.ca);
  if (config.insecure) cluster["insecure-skip-tls-verify"] = true;
  json::Value user = json::Value::object();
  if (!config.client_certificate.empty()) user["client-certificate-data"] = base64_encode(config.client_certificate);
  if (!config.client_key.empty()) user["client-key-data"] = base64_encode(config.client_key);
  if (!config.token.empty()) user["token"] = config.token;
  if (!config.token_file.empty()) user["tokenFile"] = config.token_file;
  json::Value context = json::Value::object();
  context["cluster"] = cluster_name;
  context["user"] = cluster_name;
  if (config.default_namespace != "default" && !config.default_namespace.empty()) context["namespace"] = config.default_namespace;
  json::Value e = json::Value::object();
  e["name"] = cluster_name;
  json::Value ce = e, ue = e, xe = e;
  ce["cluster"] = std::move(cluster);
  ue["user"] = std::move(user);
  xe["context"] = std::move(context);
  v["clusters"].push_back(std::move(ce));
  v["users"].push_back(std::move(ue));
  v["contexts"].push_back(std::move(xe));
  v["current-context"] = cluster_name;
  v["preferences"] = json::Value::object();
  return yaml::dump(v);
}

}  // namespace caravel::kube
