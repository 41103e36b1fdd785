// Requests and responses of the AWS protocols, both ways, driven by the service models: EC2 query, query,
// JSON 1.0/1.1, REST-JSON. Trees are as in client.h. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aws/model.h"
#include "base/json.h"
#include "base/result.h"

namespace caravel::aws {

struct HttpRequest {
  std::string method = "POST";
  std::string path = "/";
  std::string query;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string header(std::string_view name) const;
};
struct HttpResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string header(std::string_view name) const;
};

// --- Server side ---
struct Routed {
  const Service* service = nullptr;
  const Action* action = nullptr;
};
// `scope_service` is the service of the signature, or "". Errors: UnknownService, InvalidAction,
// UnknownOperationException. `service` is set in out even when only the action is unknown.
Result<Routed> route(const HttpRequest& request, std::string_view scope_service, const Service** known_service);
// Errors: MissingParameter, InvalidParameterValue, SerializationException …
Result<json::Value> decode_request(const Service& service, const Action& action, const HttpRequest& request);
HttpResponse encode_response(const Service& service, const Action& action, const json::Value& output, std::string_view request_id);
HttpResponse encode_error(const Service* service, const Error& error, std::string_view request_id);
int error_status(const Service* service, std::string_view code);

// --- Client side ---
Result<HttpRequest> encode_request(const Service& service, const Action& action, const json::Value& input);
Result<json::Value> decode_response(const Service& service, const Action& action, const HttpResponse& response);

// application/x-www-form-urlencoded, in order.
std::vector<std::pair<std::string, std::string>> parse_form(std::string_view body);

}  // namespace caravel::aws
