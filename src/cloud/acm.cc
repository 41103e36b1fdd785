// ACM: imported certificates.
#include "base/strings.h"
#include "cloud/query.h"
#include "net/x509.h"

namespace caravel::cloud {

namespace {

Error not_there(const std::string& arn) { return fail("ResourceNotFoundException", "Could not find certificate " + arn + "."); }

Output import_certificate(Context& c, const Value& in) {
  const std::string &pem = in["Certificate"].as_string(), &key = in["PrivateKey"].as_string();
  auto info = net::parse_certificate(pem);
  if (!info.ok()) return fail("ValidationException", "Could not parse certificate. Certificate must be in PEM format: " + info.error().message);
  if (!net::key_matches_certificate(key, pem)) return fail("ValidationException", "The private key is not valid: it does not match the public key of the certificate.");
  std::string arn = in["CertificateArn"].as_string();
  if (!arn.empty() && !c.r.find("certificates", arn)) return not_there(arn);
  if (arn.empty()) {
    std::string r = c.new_id("", 32);
    arn = c.arn("acm", "certificate/" + r.substr(0, 8) + "-" + r.substr(8, 4) + "-" + r.substr(12, 4) + "-" + r.substr(16, 4) + "-" + r.substr(20, 12));
  }
  Value& v = c.r.edit("certificates", arn);
  v["CertificateArn"] = arn;
  std::string domain = info->names.dns_names.empty() ? info->names.common_name : info->names.dns_names[0];
  v["DomainName"] = domain;
  v["SubjectAlternativeNames"] = string_list(info->names.dns_names);
  v["Serial"] = info->serial_hex;
  v["Subject"] = "CN=" + info->names.common_name;
  v["Issuer"] = info->issuer_common_name;
  if (!v.find("CreatedAt")) v["CreatedAt"] = c.timestamp();
  v["ImportedAt"] = c.timestamp();
  v["Status"] = "ISSUED";
  v["NotBefore"] = format_rfc3339_milli(info->not_before);
  v["NotAfter"] = format_rfc3339_milli(info->not_after);
  v["KeyAlgorithm"] = info->public_key_pem.size() > 300 ? "RSA_2048" : "EC_prime256v1";
  v["SignatureAlgorithm"] = "SHA256WITHRSA";
  v["Type"] = "IMPORTED";
  v["RenewalEligibility"] = "INELIGIBLE";
  v["_certificate"] = pem;
  v["_key"] = key;
  v["_chain"] = in["CertificateChain"].as_string();
  for (const Value& t : in["Tags"].as_array()) set_tag(v["_tags"], t["Key"].as_string(), t["Value"].as_string());
  Value out = Value::object();
  out["CertificateArn"] = arn;
  return out;
}

Value users_of(Context& c, const std::string& arn) {
  Value out = Value::array();
  for (auto& [id, l] : c.r.table("listeners"))
    for (const char* list : {"Certificates", "_more_certificates"})
      for (const Value& x : l[list].as_array())
        if (x["CertificateArn"].as_string() == arn) out.push_back(l["LoadBalancerArn"]);
  return out;
}

Output describe_certificate(Context& c, const Value& in) {
  const Value* v = c.r.find("certificates", in["CertificateArn"].as_string());
  if (!v) return not_there(in["CertificateArn"].as_string());
  Value out = Value::object();
  out["Certificate"] = *v;
  out["Certificate"]["InUseBy"] = users_of(c, in["CertificateArn"].as_string());
  return out;
}

Output list_certificates(Context& c, const Value& in) {
  std::vector<Value> found;
  std::vector<std::string> states = strings(in["CertificateStatuses"]);
  for (auto& [arn, v] : c.r.table("certificates")) {
    if (!states.empty() && std::find(states.begin(), states.end(), v["Status"].as_string()) == states.end()) continue;
    Value s = v;
    s["SubjectAlternativeNameSummaries"] = v["SubjectAlternativeNames"];
    s["InUse"] = users_of(c, arn).size() > 0;
    found.push_back(std::move(s));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, "NextToken", "MaxItems", "NextToken"));
  out["CertificateSummaryList"] = Value(std::move(items));
  return out;
}

Output get_certificate(Context& c, const Value& in) {
  const Value* v = c.r.find("certificates", in["CertificateArn"].as_string());
  if (!v) return not_there(in["CertificateArn"].as_string());
  Value out = Value::object();
  out["Certificate"] = (*v)["_certificate"];
  if (!(*v)["_chain"].as_string().empty()) out["CertificateChain"] = (*v)["_chain"];
  return out;
}

Output delete_certificate(Context& c, const Value& in) {
  const std::string& arn = in["CertificateArn"].as_string();
  if (!c.r.find("certificates", arn)) return not_there(arn);
  if (users_of(c, arn).size() > 0) return fail("ResourceInUseException", "Certificate " + arn + " is in use.");
  c.r.erase("certificates", arn);
  return Value::object();
}

Output tag(Context& c, const Value& in) {
  const std::string& arn = in["CertificateArn"].as_string();
  if (!c.r.find("certificates", arn)) return not_there(arn);
  for (const Value& t : in["Tags"].as_array()) set_tag(c.r.edit("certificates", arn)["_tags"], t["Key"].as_string(), t["Value"].as_string());
  return Value::object();
}
Output untag(Context& c, const Value& in) {
  const std::string& arn = in["CertificateArn"].as_string();
  if (!c.r.find("certificates", arn)) return not_there(arn);
  for (const Value& t : in["Tags"].as_array()) remove_tag(c.r.edit("certificates", arn)["_tags"], t["Key"].as_string(), nullptr);
  return Value::object();
}
Output list_tags(Context& c, const Value& in) {
  const Value* v = c.r.find("certificates", in["CertificateArn"].as_string());
  if (!v) return not_there(in["CertificateArn"].as_string());
  Value out = Value::object();
  out["Tags"] = (*v)["_tags"].is_array() ? (*v)["_tags"] : Value::array();
  return out;
}

}  // namespace

void add_acm_actions(Handlers& h) {
  h["acm:ImportCertificate"] = import_certificate;
  h["acm:DescribeCertificate"] = describe_certificate;
  h["acm:ListCertificates"] = list_certificates;
  h["acm:GetCertificate"] = get_certificate;
  h["acm:DeleteCertificate"] = delete_certificate;
  h["acm:AddTagsToCertificate"] = tag;
  h["acm:RemoveTagsFromCertificate"] = untag;
  h["acm:ListTagsForCertificate"] = list_tags;
}

}  // namespace caravel::cloud
