#include "aws/sigv4.h"

#include <algorithm>

#include "aws/client.h"
#include "base/hash.h"
#include "base/strings.h"

namespace caravel::aws {

namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs split_query(std::string_view query) {
  Pairs out;
  if (query.empty()) return out;
  for (const std::string& part : split(query, '&')) {
    if (part.empty()) continue;
    size_t eq = part.find('=');
    std::string k = part.substr(0, eq), v = eq == std::string::npos ? "" : part.substr(eq + 1);
    // Decode and encode again: clients differ in what they leave plain.
    out.emplace_back(percent_encode(percent_decode(k)), percent_encode(percent_decode(v)));
  }
  return out;
}

std::string join_query(Pairs pairs) {
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (auto& [k, v] : pairs) {
    if (!out.empty()) out += '&';
    out += k + '=' + v;
  }
  return out;
}

// Inner runs of blanks become one, the ends are trimmed.
std::string header_value(std::string_view v) {
  std::string out;
  for (char c : trim(v)) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
    if (c == ' ' && !out.empty() && out.back() == ' ') continue;
    out += c;
  }
  return out;
}

std::string canonical_path(std::string_view path, bool double_encode, bool normalize) {
  std::string p(path.empty() ? "/" : path);
  if (normalize) {
    std::vector<std::string> kept;
    for (const std::string& s : split(p, '/')) {
      if (s.empty() || s == ".") continue;
      if (s == "..") {
        if (!kept.empty()) kept.pop_back();
      } else {
        kept.push_back(s);
      }
    }
    bool slash = p.size() > 1 && p.back() == '/';
    p = "/" + join(kept, "/");
    if (slash && p.size() > 1) p += '/';
  }
  return double_encode ? percent_encode(p, "/") : p;
}

std::vector<std::string> all_header_names(const SignableRequest& r) {
  std::vector<std::string> names;
  for (auto& [k, v] : r.headers) {
    std::string n = to_lower(k);
    if (n == "authorization" || n == "user-agent" || n == "expect" || n == "connection") continue;
    if (std::find(names.begin(), names.end(), n) == names.end()) names.push_back(n);
  }
  std::sort(names.begin(), names.end());
  return names;
}

const std::string* find_header(const SignableRequest& r, std::string_view name) {
  for (auto& [k, v] : r.headers)
    if (equals_ignore_case(k, name)) return &v;
  return nullptr;
}

std::string payload_hash(const SignableRequest& r) {
  if (const std::string* h = find_header(r, "x-amz-content-sha256")) return *h;
  return sha256_hex(r.body);
}

Error failure(const char* code, std::string message) { return service_error(code, std::move(message), 403); }

}  // namespace

std::string amz_date(Time t) {
  std::string s = format_rfc3339(t);  // 2015-08-30T12:36:00Z
  s.erase(std::remove_if(s.begin(), s.end(), [](char c) { return c == '-' || c == ':'; }), s.end());
  return s;
}

std::string canonical_request(const SignableRequest& r, const std::vector<std::string>& signed_headers, std::string_view hash, bool double_encode_path, bool normalize_path) {
  std::string out = r.method + '\n' + canonical_path(r.path, double_encode_path, normalize_path) + '\n' + join_query(split_query(r.query)) + '\n';
  for (const std::string& name : signed_headers) {
    std::string value;
    bool first = true;
    for (auto& [k, v] : r.headers) {
      if (!equals_ignore_case(k, name)) continue;
      if (!first) value += ',';
      value += header_value(v);
      first = false;
    }
    out += name + ':' + value + '\n';
  }
  out += '\n' + join(signed_headers, ";") + '\n';
  out += hash;
  return out;
}

std::string string_to_sign(std::string_view date, std::string_view scope, std::string_view canonical) {
  return "AWS4-HMAC-SHA256\n" + std::string(date) + '\n' + std::string(scope) + '\n' + sha256_hex(canonical);
}

std::string signing_key(std::string_view secret, std::string_view date, std::string_view region, std::string_view service) {
  std::string k = hmac_sha256("AWS4" + std::string(secret), date);
  k = hmac_sha256(k, region);
  k = hmac_sha256(k, service);
  return hmac_sha256(k, "aws4_request");
}

std::vector<std::pair<std::string, std::string>> sign(const SignableRequest& request, const Credentials& c, const SignOptions& o) {
  SignableRequest r = request;
  std::string date = amz_date(o.now);
  Pairs added{{"x-amz-date", date}};
  if (!c.session_token.empty()) added.emplace_back("x-amz-security-token", c.session_token);
  for (auto& h : added) r.headers.push_back(h);
  std::vector<std::string> names = all_header_names(r);
  std::string scope = date.substr(0, 8) + "/" + o.region + "/" + o.service + "/aws4_request";
  std::string canonical = canonical_request(r, names, payload_hash(r), o.double_encode_path, o.normalize_path);
  std::string signature = hex_encode(hmac_sha256(signing_key(c.secret_key, date.substr(0, 8), o.region, o.service), string_to_sign(date, scope, canonical)));
  added.emplace_back("authorization", "AWS4-HMAC-SHA256 Credential=" + c.access_key + "/" + scope + ", SignedHeaders=" + join(names, ";") + ", Signature=" + signature);
  return added;
}

std::string presign(const SignableRequest& request, const Credentials& c, const SignOptions& o, Duration expires) {
  SignableRequest r = request;
  std::string date = amz_date(o.now);
  std::string scope = date.substr(0, 8) + "/" + o.region + "/" + o.service + "/aws4_request";
  std::vector<std::string> names = all_header_names(r);
  Pairs extra{{"X-Amz-Algorithm", "AWS4-HMAC-SHA256"},
              {"X-Amz-Credential", c.access_key + "/" + scope},
              {"X-Amz-Date", date},
              {"X-Amz-Expires", std::to_string(std::chrono::duration_cast<std::chrono::seconds>(expires).count())},
              {"X-Amz-SignedHeaders", join(names, ";")}};
  if (!c.session_token.empty()) extra.emplace_back("X-Amz-Security-Token", c.session_token);
  for (auto& [k, v] : extra) r.query += (r.query.empty() ? "" : "&") + k + "=" + percent_encode(v);
  bool s3 = o.service == "s3";
  std::string canonical = canonical_request(r, names, s3 ? "UNSIGNED-PAYLOAD" : sha256_hex(r.body), o.double_encode_path, o.normalize_path);
  std::string signature = hex_encode(hmac_sha256(signing_key(c.secret_key, date.substr(0, 8), o.region, o.service), string_to_sign(date, scope, canonical)));
  return r.query + "&X-Amz-Signature=" + signature;
}

Result<std::optional<Scope>> read_scope(const SignableRequest& r) {
  Scope s;
  std::string credential, headers;
  if (const std::string* a = find_header(r, "authorization"); a && a->compare(0, 4, "AWS4") == 0) {
    size_t space = a->find(' ');
    if (space == a->npos) return failure("IncompleteSignature", "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters.");
    for (const std::string& part : split(a->substr(space + 1), ',')) {
      std::string_view p = trim(part);
      size_t eq = p.find('=');
      if (eq == p.npos) continue;
      std::string k(p.substr(0, eq)), v(p.substr(eq + 1));
      if (k == "Credential") credential = v;
      if (k == "SignedHeaders") headers = v;
      if (k == "Signature") s.signature = v;
    }
    if (const std::string* d = find_header(r, "x-amz-date")) s.amz_date = *d;
    if (const std::string* t = find_header(r, "x-amz-security-token")) s.session_token = *t;
  } else if (r.query.find("X-Amz-Signature=") != std::string::npos) {
    s.presigned = true;
    for (const std::string& part : split(r.query, '&')) {
      size_t eq = part.find('=');
      if (eq == std::string::npos) continue;
      std::string k = percent_decode(part.substr(0, eq)), v = percent_decode(part.substr(eq + 1));
      if (k == "X-Amz-Credential") credential = v;
      if (k == "X-Amz-SignedHeaders") headers = v;
      if (k == "X-Amz-Signature") s.signature = v;
      if (k == "X-Amz-Date") s.amz_date = v;
      if (k == "X-Amz-Security-Token") s.session_token = v;
      if (k == "X-Amz-Expires") s.expires_seconds = parse_int(v).value_or(0);
    }
  } else {
    return std::optional<Scope>();
  }
  std::vector<std::string> parts = split(credential, '/');
  if (parts.size() != 5 || parts[4] != "aws4_request" || s.signature.empty() || headers.empty())
    return failure("IncompleteSignature", "The request signature does not conform to AWS standards: Credential, SignedHeaders and Signature are needed.");
  s.access_key = parts[0];
  s.date = parts[1];
  s.region = parts[2];
  s.service = parts[3];
  s.signed_headers = split(headers, ';');
  return std::optional<Scope>(std::move(s));
}

Status verify(const SignableRequest& request, const Scope& s, std::string_view secret, Time now, Duration skew) {
  auto d = s.amz_date;
  if (d.size() != 16) return failure("IncompleteSignature", "Date must be in ISO-8601 'basic format'. Got '" + d + "'.");
  std::string text = d.substr(0, 4) + "-" + d.substr(4, 2) + "-" + d.substr(6, 5) + ":" + d.substr(11, 2) + ":" + d.substr(13);
  TRY(Time at, parse_rfc3339(text));
  if (s.presigned) {
    if (now > at + std::chrono::seconds(s.expires_seconds) || now < at - skew) return failure("RequestExpired", "Request has expired.");
  } else if (now > at + skew || now < at - skew) {
    return failure("RequestExpired", "Signature expired: " + d + " is not within 15 minutes of " + amz_date(now) + ".");
  }
  SignableRequest r = request;
  std::string hash;
  if (s.presigned) {
    std::string kept;
    for (const std::string& part : split(r.query, '&'))
      if (part.compare(0, 16, "X-Amz-Signature=") != 0) kept += (kept.empty() ? "" : "&") + part;
    r.query = kept;
    hash = s.service == "s3" ? "UNSIGNED-PAYLOAD" : sha256_hex(r.body);
  } else {
    hash = payload_hash(r);
    bool literal = hash.size() != 64;  // UNSIGNED-PAYLOAD, STREAMING-…
    if (!literal && hash != sha256_hex(r.body)) return failure("SignatureDoesNotMatch", "The hash of the body does not match x-amz-content-sha256.");
  }
  bool s3 = s.service == "s3";
  std::string scope = s.date + "/" + s.region + "/" + s.service + "/aws4_request";
  std::string key = signing_key(secret, s.date, s.region, s.service);
  std::string canonical = canonical_request(r, s.signed_headers, hash, !s3, !s3);
  std::string expected = hex_encode(hmac_sha256(key, string_to_sign(d, scope, canonical)));
  if (!equal_secret(expected, s.signature))
    return failure("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.");
  return ok();
}

}  // namespace caravel::aws
