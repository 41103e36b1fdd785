#include "certs/solvers.h"

#include "base/hash.h"
#include "base/strings.h"
#include "certs/certificate.h"

namespace caravel::certs {
namespace {

struct Rank {
  bool matches = true;
  bool exact_name = false;
  size_t zone_length = 0;
  size_t labels = 0;
};

Rank rank_solver(const json::Value& solver, const json::Value& labels, const std::string& name) {
  Rank r;
  const json::Value& selector = solver["selector"];
  for (auto& m : selector["matchLabels"].as_object()) {
    if (!(labels[m.key] == m.value)) r.matches = false;
    ++r.labels;
  }
  if (selector["dnsNames"].size()) {
    for (auto& n : selector["dnsNames"].as_array()) r.exact_name |= n.as_string() == name;
    if (!r.exact_name) r.matches = false;
  }
  if (selector["dnsZones"].size()) {
    std::string bare = name.starts_with("*.") ? name.substr(2) : name;
    for (auto& z : selector["dnsZones"].as_array()) {
      const std::string& zone = z.as_string();
      if (bare == zone || bare.ends_with("." + zone)) r.zone_length = std::max(r.zone_length, zone.size());
    }
    if (!r.zone_length) r.matches = false;
  }
  return r;
}

bool better(const Rank& a, const Rank& b) {
  if (a.exact_name != b.exact_name) return a.exact_name;
  if (a.zone_length != b.zone_length) return a.zone_length > b.zone_length;
  return a.labels > b.labels;
}

json::Value solver_labels(const json::Value& challenge) {
  json::Value labels = json::Value::object();
  labels["acme.cert-manager.io/http-domain"] = std::to_string(fnv32(challenge["spec"]["dnsName"].as_string()));
  labels["acme.cert-manager.io/http-token"] = std::to_string(fnv32(challenge["spec"]["token"].as_string()));
  labels["acme.cert-manager.io/http01-solver"] = "true";
  return labels;
}

json::Value solver_object(const json::Value& challenge, const char* api_version, const char* kind) {
  json::Value o = json::Value::object();
  o["apiVersion"] = api_version;
  o["kind"] = kind;
  o["metadata"]["name"] = "cm-acme-http-solver-" + std::to_string(fnv32(kube::uid_of(challenge)));
  o["metadata"]["namespace"] = kube::namespace_of(challenge);
  o["metadata"]["labels"] = solver_labels(challenge);
  o["metadata"]["ownerReferences"].push_back(kube::controller_reference(challenge));
  return o;
}

constexpr int kSolverPort = 8089;

}  // namespace

Result<ChosenSolver> choose_solver(const json::Value& issuer, const json::Value& order, const json::Value& authorization) {
  bool wildcard = authorization["wildcard"].as_bool();
  std::string name = (wildcard ? "*." : "") + authorization["identifier"].as_string();
  const json::Value& labels = order["metadata"]["labels"];
  std::optional<Rank> best;
  ChosenSolver out;
  for (auto& solver : issuer["spec"]["acme"]["solvers"].as_array()) {
    std::string_view type = solver["http01"].is_object() ? "http-01" : solver["dns01"].is_object() ? "dns-01"
                                                                                                   : "";
    if (wildcard && type == "http-01") continue;  // RFC 8555: wildcards need DNS-01
    const json::Value* offered = nullptr;
    for (auto& c : authorization["challenges"].as_array())
      if (c["type"].as_string() == type) offered = &c;
    if (!offered) continue;
    Rank r = rank_solver(solver, labels, name);
    if (!r.matches || (best && !better(r, *best))) continue;
    best = r;
    out.solver = solver;
    out.challenge = *offered;
  }
  if (!best) return invalid("no configured challenge solvers can be used for this challenge: domain \"" + name + "\"");
  return out;
}

json::Value solver_pod(const json::Value& challenge, const Settings& settings) {
  json::Value pod = solver_object(challenge, "v1", "Pod");
  const json::Value& spec = challenge["spec"];
  pod["metadata"]["annotations"]["sidecar.istio.io/inject"] = "false";
  json::Value container = json::Value::object();
  container["name"] = "acmesolver";
  container["image"] = settings.solver_image;
  container["imagePullPolicy"] = "IfNotPresent";
  container["args"] = json::Value::array({"acmesolver", "--listen-port=" + std::to_string(kSolverPort), "--domain=" + spec["dnsName"].as_string(),
                                          "--token=" + spec["token"].as_string(), "--key=" + spec["key"].as_string()});
  json::Value port = json::Value::object();
  port["containerPort"] = kSolverPort;
  port["name"] = "http";
  container["ports"].push_back(std::move(port));
  container["resources"]["requests"]["cpu"] = "10m";
  container["resources"]["requests"]["memory"] = "64Mi";
  container["resources"]["limits"]["cpu"] = "100m";
  container["resources"]["limits"]["memory"] = "64Mi";
  container["securityContext"]["allowPrivilegeEscalation"] = false;
  pod["spec"]["automountServiceAccountToken"] = false;
  pod["spec"]["enableServiceLinks"] = false;
  pod["spec"]["restartPolicy"] = "OnFailure";
  pod["spec"]["containers"].push_back(std::move(container));
  const json::Value& extra = spec.path({"solver", "http01", "ingress", "podTemplate"});
  for (auto part : {"labels", "annotations"})
    for (auto& m : extra["metadata"][part].as_object()) pod["metadata"][part][m.key] = m.value;
  for (auto& m : extra["spec"].as_object()) pod["spec"][m.key] = m.value;
  return pod;
}

json::Value solver_service(const json::Value& challenge) {
  json::Value service = solver_object(challenge, "v1", "Service");
  json::Value port = json::Value::object();
  port["name"] = "http";
  port["port"] = kSolverPort;
  port["targetPort"] = kSolverPort;
  port["protocol"] = "TCP";
  const std::string& type = challenge.path({"spec", "solver", "http01", "ingress", "serviceType"}).as_string();
  service["spec"]["type"] = type.empty() ? "NodePort" : type;
  service["spec"]["selector"] = solver_labels(challenge);
  service["spec"]["ports"].push_back(std::move(port));
  return service;
}

json::Value solver_ingress(const json::Value& challenge) {
  json::Value ingress = solver_object(challenge, "networking.k8s.io/v1", "Ingress");
  const json::Value& spec = challenge["spec"];
  const json::Value& config = spec.path({"solver", "http01", "ingress"});
  if (config["ingressClassName"].is_string()) ingress["spec"]["ingressClassName"] = config["ingressClassName"];
  else if (config["class"].is_string()) ingress["metadata"]["annotations"]["kubernetes.io/ingress.class"] = config["class"];
  ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-redirect"] = "false";
  ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/whitelist-source-range"] = "0.0.0.0/0,::/0";
  for (auto part : {"labels", "annotations"})
    for (auto& m : config["ingressTemplate"]["metadata"][part].as_object()) ingress["metadata"][part][m.key] = m.value;
  json::Value path = json::Value::object();
  path["path"] = "/.well-known/acme-challenge/" + spec["token"].as_string();
  path["pathType"] = "Exact";
  path["backend"]["service"]["name"] = "cm-acme-http-solver-" + std::to_string(fnv32(kube::uid_of(challenge)));
  path["backend"]["service"]["port"]["number"] = kSolverPort;
  json::Value rule = json::Value::object();
  rule["host"] = spec["dnsName"];
  rule["http"]["paths"].push_back(std::move(path));
  ingress["spec"]["rules"].push_back(std::move(rule));
  return ingress;
}

Task<Result<AcmeAccount>> open_account(Context& c, json::Value issuer) {
  const json::Value& acme = issuer["spec"]["acme"];
  const json::Value& ref = acme["privateKeySecretRef"];
  std::string ns = c.secrets_namespace(issuer), name = ref["name"].as_string();
  std::string entry = ref["key"].as_string().empty() ? "tls.key" : ref["key"].as_string();
  auto secret = co_await c.client.get(kSecrets, ns, name);
  if (!secret.ok()) co_return wrap(std::move(secret).error(), "reading the ACME account key");
  AcmeAccount out;
  CO_TRY(out.http, acme_http(c, issuer));
  out.client = std::make_unique<AcmeClient>(*out.http, acme["server"].as_string(), secret_data(*secret, entry), issuer["status"]["acme"]["uri"].as_string());
  co_return out;
}

}  // namespace caravel::certs
