#include "kube/exec_credential.h"

#include <unistd.h>

#include <filesystem>

#include "base/strings.h"
#include "net/process.h"

namespace caravel::kube {
namespace {

constexpr Duration kPatience = std::chrono::minutes(1);
constexpr std::string_view kGroup = "client.authentication.k8s.io/";

// The request that the command finds in its environment.
std::string exec_info(const ExecPlugin& plugin) {
  json::Value info = json::Value::object(), spec = json::Value::object();
  info["kind"] = "ExecCredential";
  info["apiVersion"] = plugin.api_version;
  if (!plugin.cluster.is_null()) spec["cluster"] = plugin.cluster;
  spec["interactive"] = false;
  info["spec"] = std::move(spec);
  return json::dump(info);
}

}  // namespace

Result<ExecPlugin> parse_exec_plugin(const json::Value& spec, const json::Value& cluster, const std::string& directory) {
  ExecPlugin out;
  out.api_version = spec["apiVersion"].as_string();
  if (out.api_version != std::string(kGroup) + "v1" && out.api_version != std::string(kGroup) + "v1beta1")
    return invalid("exec plugin: invalid apiVersion \"" + out.api_version + "\"; client.authentication.k8s.io/v1 and v1beta1 are known");
  out.command = spec["command"].as_string();
  if (out.command.empty()) return invalid("exec plugin: command must be given");
  if (out.command.find('/') != std::string::npos) out.command = (std::filesystem::path(directory) / out.command).string();
  for (const json::Value& a : spec["args"].as_array()) out.args.push_back(a.as_string());
  for (const json::Value& e : spec["env"].as_array()) out.env.emplace_back(e["name"].as_string(), e["value"].as_string());
  out.install_hint = spec["installHint"].as_string();
  const std::string& mode = spec["interactiveMode"].as_string();
  if (mode == "Always") return make_error(Code::kUnsupported, "exec plugin: " + out.command + " wants a terminal (interactiveMode Always), which this program does not give it");
  if (!mode.empty() && mode != "Never" && mode != "IfAvailable") return invalid("exec plugin: interactiveMode must be Never, IfAvailable or Always, not \"" + mode + "\"");
  if (spec["provideClusterInfo"].as_bool()) {
    out.cluster = json::Value::object();
    for (const char* field : {"server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url", "disable-compression"})
      if (!cluster[field].is_null()) out.cluster[field] = cluster[field];
    for (const json::Value& extension : cluster["extensions"].as_array())
      if (extension["name"].as_string() == "client.authentication.k8s.io/exec") out.cluster["config"] = extension["extension"];
  }
  return out;
}

Result<ExecCredential> parse_exec_credential(const std::string& output, const std::string& api_version) {
  auto parsed = json::parse(output);
  if (!parsed.ok()) return wrap(std::move(parsed).error(), "decoding what the exec plugin printed");
  const json::Value v = std::move(*parsed);
  if (v["kind"].as_string() != "ExecCredential") return invalid("the exec plugin printed a \"" + v["kind"].as_string() + "\", not an ExecCredential");
  if (v["apiVersion"].as_string() != api_version)
    return invalid("exec plugin is configured to use API version " + api_version + ", plugin returned version " + v["apiVersion"].as_string());
  const json::Value& status = v["status"];
  if (!status.is_object()) return invalid("exec plugin didn't return a status field");
  ExecCredential out;
  out.token = status["token"].as_string();
  out.client_certificate = status["clientCertificateData"].as_string();
  out.client_key = status["clientKeyData"].as_string();
  if (out.token.empty() && out.client_certificate.empty() && out.client_key.empty()) return invalid("exec plugin didn't return a token or cert/key pair");
  if (out.client_certificate.empty() != out.client_key.empty()) return invalid("exec plugin returned only certificate or key, not both");
  if (const std::string& text = status["expirationTimestamp"].as_string(); !text.empty()) {
    auto expires = parse_rfc3339(text);
    if (!expires.ok()) return invalid("the exec plugin's expirationTimestamp is no time: " + text);
    out.expires = *expires;
  }
  return out;
}

Task<Result<ExecCredential>> run_exec_plugin(net::EventLoop& loop, ExecPlugin plugin) {
  net::ProcessOptions o;
  o.argv.push_back(plugin.command);
  o.argv.insert(o.argv.end(), plugin.args.begin(), plugin.args.end());
  std::map<std::string, std::string> environment;
  for (char** e = environ; *e; ++e)
    if (std::string_view entry(*e); entry.find('=') != entry.npos) environment.emplace(entry.substr(0, entry.find('=')), entry.substr(entry.find('=') + 1));
  for (auto& [name, value] : plugin.env) environment[name] = value;
  environment["KUBERNETES_EXEC_INFO"] = exec_info(plugin);
  o.environment = std::move(environment);
  std::string hint = plugin.install_hint.empty() ? "" : "; " + plugin.install_hint;
  auto ran = co_await net::run_process(loop, std::move(o), "", kPatience);
  if (!ran.ok()) co_return make_error(ran.error().code, "exec plugin: " + ran.error().message + hint);
  if (ran->exit.code != 0)
    co_return make_error(Code::kUnauthorized, "exec plugin: " + plugin.command + " failed with exit code " + std::to_string(ran->exit.code) + ": " + std::string(trim(ran->err)).substr(0, 1000) + hint);
  auto credential = parse_exec_credential(ran->out, plugin.api_version);
  co_return credential;
}

}  // namespace caravel::kube
