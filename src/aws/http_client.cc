#include "aws/http_client.h"

#include <cstdlib>

#include "aws/model.h"
#include "aws/wire.h"
#include "base/strings.h"
#include "net/process.h"

namespace caravel::aws {
namespace {

constexpr Duration kRenewBefore = std::chrono::minutes(5);
constexpr Duration kMetadataTimeout = std::chrono::seconds(2);
constexpr Duration kFirstPause = std::chrono::milliseconds(100);
constexpr Duration kCallTimeout = std::chrono::seconds(60);

bool worth_a_retry(const Error& e, int status) {
  static const char* kThrottling[] = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "RequestThrottled"};
  if (error_code(e).empty()) return e.code == Code::kUnavailable || e.code == Code::kTimeout;
  if (status >= 500) return true;
  for (const char* t : kThrottling)
    if (is_error(e, t)) return true;
  return false;
}

// The parts of "http://host:port/base".
struct Endpoint {
  std::string origin, host;
};
Endpoint parse_endpoint(const std::string& url) {
  size_t start = url.find("://");
  start = start == url.npos ? 0 : start + 3;
  size_t slash = url.find('/', start);
  Endpoint e;
  e.origin = url.substr(0, slash);
  e.host = url.substr(start, slash == url.npos ? url.npos : slash - start);
  return e;
}

class HttpAws final : public Client {
 public:
  HttpAws(net::EventLoop& loop, ClientOptions options) : loop_(&loop), o_(std::move(options)), http_(loop) {}
  const std::string& region() const override { return o_.region; }

  Task<Result<json::Value>> call(std::string service, std::string action, json::Value input) override {
    const Service* s = find_service(service);
    const Action* a = s ? s->action(action) : nullptr;
    if (!a) co_return make_error(Code::kUnsupported, "the AWS client does not know " + service + " " + action);
    auto request = encode_request(*s, *a, input);
    if (!request.ok()) co_return std::move(request).error();
    if (o_.region.empty()) {
      auto region = co_await metadata("/latest/meta-data/placement/region");
      if (!region.ok()) co_return wrap(std::move(region).error(), "no AWS region is set (AWS_REGION)");
      o_.region = *region;
    }
    Duration pause = kFirstPause;
    for (int attempt = 1;; ++attempt) {
      int status = 0;
      auto r = co_await once(*s, *a, *request, &status);
      if (r.ok() || attempt >= o_.attempts || !worth_a_retry(r.error(), status)) co_return r;
      co_await sleep(*loop_, pause + Duration(static_cast<int64_t>(loop_->random_unit() * static_cast<double>(pause.count()))));
      pause *= 2;
    }
  }

 private:
  Task<Result<json::Value>> once(const Service& s, const Action& a, HttpRequest q, int* status) {
    const bool anonymous = a.name == "AssumeRoleWithWebIdentity";
    Credentials credentials;
    if (!anonymous) {
      auto c = co_await current_credentials();
      if (!c.ok()) co_return std::move(c).error();
      credentials = *c;
    }
    const Endpoint e = parse_endpoint(o_.endpoint.empty() ? "https://" + s.name + "." + o_.region + ".amazonaws.com" : o_.endpoint);
    q.headers.emplace_back("host", e.host);
    if (!anonymous) {
      SignableRequest signable;
      signable.method = q.method;
      signable.path = q.path;
      signable.query = q.query;
      signable.headers = q.headers;
      signable.body = q.body;
      SignOptions so;
      so.region = o_.region;
      so.service = s.name;
      so.now = loop_->now();
      for (auto& h : sign(signable, credentials, so)) q.headers.push_back(h);
    }
    net::ClientRequest http;
    http.method = q.method;
    http.url = e.origin + q.path + (q.query.empty() ? "" : "?" + q.query);
    for (auto& [k, v] : q.headers)
      if (to_lower(k) != "host") http.headers.add(k, v);
    http.headers.set("user-agent", o_.user_agent);
    http.body = q.body;
    http.timeout = kCallTimeout;
    auto r = co_await http_.send(std::move(http));
    if (!r.ok()) co_return make_error(Code::kUnavailable, s.name + " " + a.name + ": " + r.error().message);
    *status = r->status;
    HttpResponse response;
    response.status = r->status;
    for (auto& [k, v] : r->headers) response.headers.emplace_back(k, v);
    response.body = std::move(r->body);
    co_return decode_response(s, a, response);
  }

  Task<Result<std::string>> metadata(std::string path) {
    if (!o_.use_imds) co_return unavailable("the instance metadata service is switched off");
    if (imds_token_.empty() || imds_token_until_ <= loop_->now()) {
      net::ClientRequest q;
      q.method = "PUT";
      q.url = o_.imds_endpoint + "/latest/api/token";
      q.headers.set("x-aws-ec2-metadata-token-ttl-seconds", "21600");
      q.timeout = kMetadataTimeout;
      auto r = co_await http_.send(std::move(q));
      if (!r.ok()) co_return unavailable("the instance metadata service does not answer: " + r.error().message);
      if (r->status != 200) co_return unavailable("the instance metadata service gave no token: status " + std::to_string(r->status));
      imds_token_ = r->body;
      imds_token_until_ = loop_->now() + std::chrono::hours(5);
    }
    net::ClientRequest q;
    q.url = o_.imds_endpoint + path;
    q.headers.set("x-aws-ec2-metadata-token", imds_token_);
    q.timeout = kMetadataTimeout;
    auto r = co_await http_.send(std::move(q));
    if (!r.ok()) co_return unavailable("the instance metadata service does not answer: " + r.error().message);
    if (r->status == 401) imds_token_.clear();
    if (r->status != 200) co_return unavailable("the instance metadata has no " + path + " (status " + std::to_string(r->status) + ")");
    co_return std::move(r->body);
  }

  Task<Result<Credentials>> from_web_identity() {
    auto token = net::read_file(o_.web_identity_token_file);
    if (!token.ok()) co_return wrap(std::move(token).error(), "reading the web identity token");
    json::Value input = json::Value::object();
    input["RoleArn"] = o_.role_arn;
    input["RoleSessionName"] = o_.role_session_name.empty() ? "caravel" : o_.role_session_name;
    input["WebIdentityToken"] = std::string(trim(*token));
    auto r = co_await call("sts", "AssumeRoleWithWebIdentity", std::move(input));
    if (!r.ok()) co_return std::move(r).error();
    const json::Value& answer = *r;
    const json::Value& c = answer["Credentials"];
    Credentials out;
    out.access_key = c["AccessKeyId"].as_string();
    out.secret_key = c["SecretAccessKey"].as_string();
    out.session_token = c["SessionToken"].as_string();
    if (auto t = parse_rfc3339(c["Expiration"].as_string()); t.ok()) out.expires = *t;
    co_return out;
  }

  Task<Result<Credentials>> from_metadata() {
    auto role = co_await metadata("/latest/meta-data/iam/security-credentials/");
    if (!role.ok()) co_return std::move(role).error();
    auto text = co_await metadata("/latest/meta-data/iam/security-credentials/" + std::string(trim(role->substr(0, role->find('\n')))));
    if (!text.ok()) co_return std::move(text).error();
    auto parsed = json::parse(*text);
    if (!parsed.ok()) co_return wrap(std::move(parsed).error(), "reading the credentials in the instance metadata");
    const json::Value& c = *parsed;
    Credentials out;
    out.access_key = c["AccessKeyId"].as_string();
    out.secret_key = c["SecretAccessKey"].as_string();
    out.session_token = c["Token"].as_string();
    if (auto t = parse_rfc3339(c["Expiration"].as_string()); t.ok()) out.expires = *t;
    if (out.access_key.empty()) co_return unavailable("the instance has no role to act with");
    co_return out;
  }

  Task<Result<Credentials>> current_credentials() {
    if (!o_.credentials.access_key.empty()) co_return o_.credentials;
    if (!temporary_.access_key.empty() && (temporary_.expires.is_zero() || temporary_.expires > loop_->now() + kRenewBefore)) co_return temporary_;
    auto fresh = o_.web_identity_token_file.empty() ? from_metadata() : from_web_identity();
    auto c = co_await std::move(fresh);
    if (c.ok()) temporary_ = *c;
    else if (temporary_.access_key.empty() || temporary_.expires <= loop_->now()) co_return wrap(std::move(c).error(), "no AWS credentials");
    co_return temporary_;
  }

  net::EventLoop* loop_;
  ClientOptions o_;
  net::HttpClient http_;
  Credentials temporary_;
  std::string imds_token_;
  Time imds_token_until_;
};

}  // namespace

ClientOptions options_from_environment(const std::function<std::string(const char*)>& get) {
  ClientOptions o;
  o.region = get("AWS_REGION");
  if (o.region.empty()) o.region = get("AWS_DEFAULT_REGION");
  o.endpoint = get("AWS_ENDPOINT_URL");
  o.credentials.access_key = get("AWS_ACCESS_KEY_ID");
  o.credentials.secret_key = get("AWS_SECRET_ACCESS_KEY");
  o.credentials.session_token = get("AWS_SESSION_TOKEN");
  o.web_identity_token_file = get("AWS_WEB_IDENTITY_TOKEN_FILE");
  o.role_arn = get("AWS_ROLE_ARN");
  o.role_session_name = get("AWS_ROLE_SESSION_NAME");
  o.use_imds = to_lower(get("AWS_EC2_METADATA_DISABLED")) != "true";
  if (std::string e = get("AWS_EC2_METADATA_SERVICE_ENDPOINT"); !e.empty()) o.imds_endpoint = e;
  return o;
}

ClientOptions options_from_process_environment() {
  return options_from_environment([](const char* name) {
    const char* v = std::getenv(name);
    return std::string(v ? v : "");
  });
}

std::unique_ptr<Client> make_http_client(net::EventLoop& loop, ClientOptions options) { return std::make_unique<HttpAws>(loop, std::move(options)); }

}  // namespace caravel::aws
