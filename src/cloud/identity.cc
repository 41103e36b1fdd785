#include "cloud/identity.h"

#include "base/hash.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::cloud {

namespace {

std::string session_secret(const Records& r) {
  const Value* v = r.find("secrets", "session");
  return v ? (*v)["_key"].as_string() : "";
}

std::string der(char tag, const std::string& body) {
  std::string out(1, tag);
  if (body.size() < 128) {
    out += static_cast<char>(body.size());
  } else {
    std::string length;
    for (size_t n = body.size(); n; n >>= 8) length.insert(length.begin(), static_cast<char>(n & 255));
    out += static_cast<char>(0x80 | length.size());
    out += length;
  }
  return out + body;
}
std::string der_integer(std::string bytes) {
  if (bytes.empty() || (bytes[0] & 0x80)) bytes.insert(bytes.begin(), '\0');
  return der(2, bytes);
}

// SubjectPublicKeyInfo of an RSA or P-256 JWK, as PEM; "" for other keys.
std::string jwk_to_pem(const Value& k) {
  std::string spki;
  if (k["kty"].as_string() == "RSA") {
    auto n = base64url_decode(k["n"].as_string()), e = base64url_decode(k["e"].as_string());
    if (!n || !e) return "";
    static const std::string kRsa("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00", 13);
    spki = der(0x30, der(0x30, kRsa) + der(3, std::string(1, '\0') + der(0x30, der_integer(*n) + der_integer(*e))));
  } else if (k["kty"].as_string() == "EC" && k["crv"].as_string() == "P-256") {
    auto x = base64url_decode(k["x"].as_string()), y = base64url_decode(k["y"].as_string());
    if (!x || !y || x->size() != 32 || y->size() != 32) return "";
    static const std::string kEc("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 19);
    spki = der(0x30, der(0x30, kEc) + der(3, std::string("\0\x04", 2) + *x + *y));
  } else {
    return "";
  }
  std::string b = base64_encode(spki), out = "-----BEGIN PUBLIC KEY-----\n";
  for (size_t i = 0; i < b.size(); i += 64) out += b.substr(i, 64) + "\n";
  return out + "-----END PUBLIC KEY-----\n";
}

}  // namespace

std::string assumed_role_arn(const CloudOptions& o, std::string_view role, std::string_view session) { return "arn:aws:sts::" + o.account + ":assumed-role/" + std::string(role) + "/" + std::string(session); }

aws::Credentials issue_session(const Records& r, const CloudOptions& o, const std::string& arn, const std::string& user_id, Time expires, const std::string& salt) {
  std::string secret = session_secret(r);
  aws::Credentials c;
  c.access_key = "ASIA" + to_upper(hex_encode(hmac_sha256(secret, "key " + salt + std::to_string(expires.seconds()))).substr(0, 16));
  c.secret_key = base64_encode(hmac_sha256(secret, "secret " + c.access_key)).substr(0, 40);
  c.expires = expires;
  Value t = Value::object();
  t["k"] = c.access_key;
  t["a"] = arn;
  t["u"] = user_id;
  t["e"] = expires.seconds();
  std::string body = base64url_encode(json::dump(t));
  c.session_token = body + "." + base64url_encode(hmac_sha256(secret, "token " + body));
  (void)o;
  return c;
}

Result<KnownKey> find_key(const Records& r, const CloudOptions& o, const std::string& key, const std::string& token, Time now) {
  auto unknown = [] { return aws::service_error("InvalidClientTokenId", "The security token included in the request is invalid.", 403); };
  KnownKey out;
  out.caller.account = o.account;
  out.caller.access_key = key;
  if (key.compare(0, 4, "ASIA") == 0) {
    std::string secret = session_secret(r);
    size_t dot = token.find('.');
    if (dot == token.npos || !equal_secret(token.substr(dot + 1), base64url_encode(hmac_sha256(secret, "token " + token.substr(0, dot))))) return unknown();
    auto text = base64url_decode(token.substr(0, dot));
    auto doc = text ? json::parse(*text) : Result<Value>(invalid("not base64"));
    if (!doc.ok() || std::as_const(*doc)["k"].as_string() != key) return unknown();
    const Value& d = *doc;
    if (now.seconds() > d["e"].as_int()) return aws::service_error("ExpiredToken", "The security token included in the request is expired", 403);
    out.secret = base64_encode(hmac_sha256(secret, "secret " + key)).substr(0, 40);
    out.caller.arn = d["a"].as_string();
    out.caller.user_id = d["u"].as_string();
    return out;
  }
  if (const Value* k = r.find("access-keys", key)) {
    if ((*k)["Status"].as_string() == "Inactive") return unknown();
    out.secret = (*k)["_secret"].as_string();
    std::string user = (*k)["UserName"].as_string();
    const Value* u = r.find("users", user);
    out.caller.arn = user.empty() ? "arn:aws:iam::" + o.account + ":root" : u ? (*u)["Arn"].as_string()
                                                                              : "arn:aws:iam::" + o.account + ":user/" + user;
    out.caller.user_id = user.empty() ? o.account : u ? (*u)["UserId"].as_string()
                                                      : user;
    return out;
  }
  if (!o.strict_iam && key == "test") {
    out.secret = "test";
    out.caller.arn = "arn:aws:iam::" + o.account + ":root";
    out.caller.user_id = o.account;
    return out;
  }
  return unknown();
}

Result<Value> verify_jwt(std::string_view token, std::string_view jwks, bool trust_any, Time now) {
  auto bad = [](std::string why) { return aws::service_error("InvalidIdentityToken", std::move(why)); };
  auto parts = split(token, '.');
  if (parts.size() != 3) return bad("The token is not a JWT");
  auto header_text = base64url_decode(parts[0]), claims_text = base64url_decode(parts[1]), signature = base64url_decode(parts[2]);
  if (!header_text || !claims_text || !signature) return bad("The token is not a JWT");
  auto header = json::parse(*header_text), claims = json::parse(*claims_text);
  if (!header.ok() || !claims.ok()) return bad("The token is not a JWT");
  const Value &h = *header, &c = *claims;
  if (c["exp"].as_int() < now.seconds()) return aws::service_error("ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time");
  if (trust_any) return c;
  if (jwks.empty()) return bad("Couldn't retrieve verification key from your identity provider: the cluster has published none yet");
  auto set = json::parse(jwks);
  if (!set.ok()) return bad("Couldn't retrieve verification key from your identity provider: " + set.error().message);
  for (const Value& k : std::as_const(*set)["keys"].as_array()) {
    if (!h["kid"].as_string().empty() && !k["kid"].as_string().empty() && h["kid"] != k["kid"]) continue;
    std::string pem = jwk_to_pem(k);
    if (!pem.empty() && net::jose_verify(h["alg"].as_string(), pem, parts[0] + "." + parts[1], *signature)) return c;
  }
  return bad("The signature of the token does not verify with the provider's keys");
}

}  // namespace caravel::cloud
