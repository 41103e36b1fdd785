// The AWS client over HTTP: credential chain, signing, retries with back-off.
//
// Credentials, in the SDKs' order: access keys given; a web identity token file and role (IRSA), through
// STS; instance metadata (IMDSv2). Temporary ones are renewed five minutes before they end.
// Retries: connection errors, 5xx and throttling, at most `attempts` times, 100 ms doubling with jitter.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "aws/client.h"
#include "aws/sigv4.h"
#include "net/event_loop.h"
#include "net/http.h"

namespace caravel::aws {

struct ClientOptions {
  std::string region;
  std::string endpoint;     // "http://10.0.0.4:4566"; empty: AWS' own (https://<service>.<region>.amazonaws.com)
  Credentials credentials;  // static keys, when access_key is set
  std::string web_identity_token_file, role_arn, role_session_name;
  std::string imds_endpoint = "http://169.254.169.254";
  bool use_imds = true;
  int attempts = 4;
  std::string user_agent = "caravel";
};

// From AWS_REGION, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME,
// AWS_EC2_METADATA_DISABLED, AWS_EC2_METADATA_SERVICE_ENDPOINT. `get` gives "" for an absent variable.
ClientOptions options_from_environment(const std::function<std::string(const char*)>& get);
// The same, from this process' environment: for command entry points.
ClientOptions options_from_process_environment();

// The region may be empty: the first call then asks the instance's metadata.
std::unique_ptr<Client> make_http_client(net::EventLoop& loop, ClientOptions options);

}  // namespace caravel::aws
