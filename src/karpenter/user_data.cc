#include "karpenter/user_data.h"

#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::karpenter {

namespace {

constexpr char kBoundary[] = "//";

std::string effect_name(kube::scheduling::Effect e) {
  using kube::scheduling::Effect;
  return e == Effect::kNoSchedule ? "NoSchedule" : e == Effect::kPreferNoSchedule ? "PreferNoSchedule"
                                                                                  : "NoExecute";
}

std::string label_list(const Labels& labels) {
  std::string out;
  for (const auto& [k, v] : labels) out += (out.empty() ? "" : ",") + k + "=" + v;
  return out;
}

std::string node_config(const ClusterInfo& cluster, const NodeSettings& node) {
  json::Value c;
  c["apiVersion"] = "node.eks.aws/v1alpha1";
  c["kind"] = "NodeConfig";
  json::Value& spec = c["spec"];
  spec["cluster"]["name"] = cluster.name;
  spec["cluster"]["apiServerEndpoint"] = cluster.endpoint;
  spec["cluster"]["certificateAuthority"] = cluster.ca_base64;
  spec["cluster"]["cidr"] = cluster.service_cidr;
  json::Value config = node.kubelet.is_object() ? node.kubelet : json::Value::object();
  if (!config.find("clusterDNS") && !cluster.dns_ip.empty()) config["clusterDNS"] = json::Value::array({cluster.dns_ip});
  if (node.max_pods > 0) config["maxPods"] = node.max_pods;
  config.erase("podsPerCore");
  if (node.kubelet["podsPerCore"].is_int()) config["podsPerCore"] = node.kubelet["podsPerCore"];
  json::Value& taints = config["registerWithTaints"];
  taints = json::Value::array();
  for (const auto& t : node.taints) {
    json::Value taint;
    taint["key"] = t.key;
    if (!t.value.empty()) taint["value"] = t.value;
    taint["effect"] = effect_name(t.effect);
    taints.push_back(std::move(taint));
  }
  spec["kubelet"]["config"] = std::move(config);
  json::Value& flags = spec["kubelet"]["flags"];
  flags = json::Value::array();
  flags.push_back("--node-labels=\"" + label_list(node.labels) + "\"");
  for (const auto& f : node.kubelet_flags) flags.push_back(f);
  if (node.instance_store_raid0) spec["instance"]["localStorage"]["strategy"] = "RAID0";
  return yaml::dump(c);
}

// The parts of a MIME document, headers included; a document without MIME headers is one part.
Result<std::vector<std::string>> parts_of(const std::string& custom) {
  std::vector<std::string> out;
  std::string text(trim(custom));
  if (text.empty()) return out;
  if (!text.starts_with("MIME-Version:") && !text.starts_with("Content-Type: multipart/")) {
    bool config = text.find("node.eks.aws/") != text.npos && text.find("kind: NodeConfig") != text.npos;
    out.push_back(std::string("Content-Type: ") + (config ? "application/node.eks.aws" : "text/x-shellscript; charset=\"us-ascii\"") + "\n\n" + text + "\n");
    return out;
  }
  size_t at = text.find("boundary=");
  if (at == text.npos) return invalid("spec.userData is MIME but names no boundary; give it a Content-Type: multipart/mixed; boundary=\"…\" header");
  std::string boundary = text.substr(at + 9, text.find_first_of("\r\n;", at) - at - 9);
  boundary = replace_all(std::string(trim(boundary)), "\"", "");
  size_t begin = text.find("--" + boundary, at);
  while (begin != text.npos) {
    begin += 2 + boundary.size();
    if (text.compare(begin, 2, "--") == 0) break;
    size_t end = text.find("--" + boundary, begin);
    if (end == text.npos) return invalid("spec.userData is MIME but its last part is not closed by --" + boundary + "--");
    std::string part(trim(std::string_view(text).substr(begin, end - begin)));
    if (!part.empty()) out.push_back(part + "\n");
    begin = end;
  }
  return out;
}

std::string toml_quote(const std::string& s) { return json::quote(s); }

std::string bottlerocket(const ClusterInfo& cluster, const NodeSettings& node, const std::string& custom) {
  std::string out = custom.empty() ? "" : custom + "\n";
  out += "[settings]\n[settings.kubernetes]\napi-server = " + toml_quote(cluster.endpoint) + "\ncluster-certificate = " + toml_quote(cluster.ca_base64) +
         "\ncluster-name = " + toml_quote(cluster.name) + "\n";
  if (!cluster.dns_ip.empty()) out += "cluster-dns-ip = " + toml_quote(cluster.dns_ip) + "\n";
  if (node.max_pods > 0) out += "max-pods = " + std::to_string(node.max_pods) + "\n";
  out += "[settings.kubernetes.node-labels]\n";
  for (const auto& [k, v] : node.labels) out += toml_quote(k) + " = " + toml_quote(v) + "\n";
  out += "[settings.kubernetes.node-taints]\n";
  for (const auto& t : node.taints) out += toml_quote(t.key) + " = [" + toml_quote(t.value + ":" + effect_name(t.effect)) + "]\n";
  return out;
}

std::string bootstrap_script(const ClusterInfo& cluster, const NodeSettings& node) {
  std::string taints;
  for (const auto& t : node.taints) taints += (taints.empty() ? "" : ",") + t.key + "=" + t.value + ":" + effect_name(t.effect);
  std::string args = "--node-labels=\"" + label_list(node.labels) + "\" --register-with-taints=\"" + taints + "\"";
  if (node.max_pods > 0) args += " --max-pods=" + std::to_string(node.max_pods);
  for (const auto& f : node.kubelet_flags) args += " " + f;
  std::string out = "#!/bin/bash -xe\nexec > >(tee /var/log/user-data.log|logger -t user-data -s 2>/dev/console) 2>&1\n/etc/eks/bootstrap.sh '" + cluster.name +
                    "' --apiserver-endpoint '" + cluster.endpoint + "' --b64-cluster-ca '" + cluster.ca_base64 + "' \\\n";
  if (!cluster.dns_ip.empty()) out += "--dns-cluster-ip '" + cluster.dns_ip + "' \\\n";
  return out + "--use-max-pods false \\\n--kubelet-extra-args '" + args + "'\n";
}

}  // namespace

Result<std::string> make_user_data(const ClusterInfo& cluster, const NodeSettings& node, const std::string& custom) {
  if (node.ami_family == "Custom") return custom;
  if (node.ami_family == "Bottlerocket") return bottlerocket(cluster, node, custom);
  TRY(auto parts, parts_of(custom));
  if (node.ami_family == "AL2") parts.push_back("Content-Type: text/x-shellscript; charset=\"us-ascii\"\n\n" + bootstrap_script(cluster, node));
  else parts.push_back("Content-Type: application/node.eks.aws\n\n# Karpenter Generated NodeConfig\n" + node_config(cluster, node));
  std::string out = std::string("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"") + kBoundary + "\"\n\n";
  for (const auto& p : parts) out += std::string("--") + kBoundary + "\n" + p + "\n";
  return out + "--" + kBoundary + "--\n";
}

}  // namespace caravel::karpenter
