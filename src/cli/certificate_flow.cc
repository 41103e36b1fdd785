// Flow 4: a certificate for the application's Ingress, and the renewal of one that is short of time.
#include "base/strings.h"
#include "cli/flow_steps.h"
#include "kube/conditions.h"
#include "kube/dynamic_informer.h"
#include "net/process.h"
#include "net/x509.h"

namespace caravel::cli {
namespace {

const kube::Resource kCertificates{"cert-manager.io", "v1", "certificates", "Certificate", true};
const kube::Resource kSecrets{"", "v1", "secrets", "Secret", true};
const kube::Resource kIngresses{"networking.k8s.io", "v1", "ingresses", "Ingress", true};
constexpr char kRenewalHost[] = "renewal.localhost";

// Due three seconds after it is issued: the ACME server signs for 90 days.
json::Value renewal_certificate() {
  json::Value c = json::Value::object();
  c["apiVersion"] = "cert-manager.io/v1";
  c["kind"] = "Certificate";
  c["metadata"]["name"] = "renewal";
  c["metadata"]["namespace"] = "demo";
  c["spec"]["secretName"] = "renewal-tls";
  c["spec"]["dnsNames"].push_back(kRenewalHost);
  c["spec"]["duration"] = "2160h";
  c["spec"]["renewBefore"] = "2159h59m57s";
  c["spec"]["issuerRef"]["name"] = "letsencrypt";
  c["spec"]["issuerRef"]["kind"] = "ClusterIssuer";
  c["spec"]["issuerRef"]["group"] = "cert-manager.io";
  return c;
}

json::Value renewal_ingress() {
  json::Value i = json::Value::object();
  i["apiVersion"] = "networking.k8s.io/v1";
  i["kind"] = "Ingress";
  i["metadata"]["name"] = "renewal";
  i["metadata"]["namespace"] = "demo";
  i["spec"]["ingressClassName"] = "nginx";
  json::Value tls = json::Value::object();
  tls["hosts"].push_back(kRenewalHost);
  tls["secretName"] = "renewal-tls";
  i["spec"]["tls"].push_back(std::move(tls));
  json::Value path = json::Value::object();
  path["path"] = "/";
  path["pathType"] = "Prefix";
  path["backend"]["service"]["name"] = "web";
  path["backend"]["service"]["port"]["name"] = "http";
  json::Value rule = json::Value::object();
  rule["host"] = kRenewalHost;
  rule["http"]["paths"].push_back(std::move(path));
  i["spec"]["rules"].push_back(std::move(rule));
  return i;
}

struct Served {
  std::string serial;  // of the certificate in the Secret, which curl has seen and verified
  std::string why;     // not yet
};

// Fetches https://host/ with the Secret's own chain as the anchor (its last certificate is the
// intermediate, which curl accepts) and compares what was served with what the Secret has.
Task<Served> fetch_verified(FlowContext& c, std::string host, std::string secret_name) {
  Served out;
  auto secret = co_await c.client.get(kSecrets, "demo", secret_name);
  if (!secret.ok()) {
    out.why = secret.error().message;
    co_return out;
  }
  std::string chain = base64_decode(std::as_const(*secret)["data"]["tls.crt"].as_string()).value_or("");
  size_t last = chain.rfind("-----BEGIN CERTIFICATE-----");
  auto leaf = net::parse_certificate(chain);
  if (last == std::string::npos || !leaf.ok()) {
    out.why = "the Secret demo/" + secret_name + " has no certificate";
    co_return out;
  }
  std::string ca = c.work_directory + "/" + secret_name + "-ca.pem", port = port_of(c.https);
  auto written = net::write_file_atomic(ca, chain.substr(last));
  if (!written.ok()) {
    out.why = written.error().message;
    co_return out;
  }
  std::vector<std::string> argv = words("--cacert", ca, "--resolve", host + ":" + port + ":127.0.0.1", "-w", "\n%{certs}\n%{ssl_verify_result} %{http_code}", "https://" + host + ":" + port + "/");
  auto body = co_await fetch(c, argv);
  std::string pem(trim(chain.substr(0, chain.find("-----END CERTIFICATE-----"))));
  if (!body.ok()) out.why = body.error().message;
  else if (body->find("Hello from Caravel") == std::string::npos || !body->ends_with("\n0 200")) out.why = "an unexpected answer";
  else if (body->find(pem) == std::string::npos) out.why = "another certificate than the Secret's is served";
  else out.serial = leaf->serial_hex;
  co_return out;
}

Task<void> remove_renewal(FlowContext& c) {
  for (int i = 0; i < 3; ++i) {
    const kube::Resource& what = i == 0 ? kCertificates : i == 1 ? kIngresses
                                                                 : kSecrets;
    std::string name = i == 2 ? "renewal-tls" : "renewal";
    auto removed = co_await c.client.remove(what, "demo", name);
    (void)removed;
  }
}

}  // namespace

Task<FlowResult> certificate_flow(FlowContext& c) {
  const std::string name = "certificate";
  Stopwatch watch(c.loop);
  if (c.hollow) co_return skipped(name, "HTTP-01 needs packets; run without --hollow");
  co_await remove_renewal(c);
  auto ingress = co_await c.client.create(kIngresses, "demo", renewal_ingress());
  if (!ingress.ok()) co_return failed(name, watch, "creating the Ingress demo/renewal: " + ingress.error().message);
  auto asked = co_await c.client.create(kCertificates, "demo", renewal_certificate());
  if (!asked.ok()) co_return failed(name, watch, "creating the Certificate demo/renewal: " + asked.error().message);

  std::string seen;
  bool ready = false;
  while (!watch.over() && !ready) {
    auto certificate = co_await c.client.get(kCertificates, "demo", "web-tls");
    if (certificate.ok()) {
      const json::Value& conditions = std::as_const(*certificate)["status"]["conditions"];
      ready = kube::condition_is(conditions, "Ready", "True");
      auto* r = kube::find_condition(conditions, "Ready");
      seen = r ? (*r)["message"].as_string() : "no conditions yet";
    } else {
      seen = certificate.error().message;
    }
    if (!ready) co_await sleep(c.loop, kPoll);
  }
  if (!ready) co_return failed(name, watch, "the certificate demo/web-tls is not ready: " + seen);
  Served page;
  while (!watch.over() && page.serial.empty()) {
    page = co_await fetch_verified(c, "demo.localhost", "web-tls");
    if (page.serial.empty()) co_await sleep(c.loop, kPoll);
  }
  if (page.serial.empty()) co_return failed(name, watch, "the certificate is issued, but not served: " + page.why);

  // The one that is due at once: served, renewed, and the new one served.
  Served first, second;
  int64_t revision = 0;
  while (!watch.over() && (second.serial.empty() || second.serial == first.serial)) {
    auto certificate = co_await c.client.get(kCertificates, "demo", "renewal");
    if (certificate.ok()) revision = std::max(revision, std::as_const(*certificate)["status"]["revision"].as_int());
    Served now = co_await fetch_verified(c, kRenewalHost, "renewal-tls");
    if (!now.serial.empty()) (first.serial.empty() ? first : second) = now;
    else seen = now.why;
    co_await sleep(c.loop, kPoll);
  }
  co_await remove_renewal(c);
  if (second.serial.empty() || second.serial == first.serial)
    co_return failed(name, watch, "the short-lived certificate demo/renewal was not renewed (revision " + std::to_string(revision) + "): " + seen);
  co_return done(name, watch, "Ingress -> Certificate -> ACME HTTP-01 -> Secret demo/web-tls; curl --cacert verified https://demo.localhost:" + port_of(c.https) + "/; one that was due after 3 s was renewed: served serial " + first.serial.substr(0, 8) + ", then " + second.serial.substr(0, 8));
}

}  // namespace caravel::cli
