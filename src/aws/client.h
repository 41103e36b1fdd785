// The AWS client: one call for every action, inputs and outputs as trees with the SDKs' member names
// ({"InstanceIds": ["i-…"]}). Timestamps are RFC 3339 strings, blobs raw bytes, numbers numbers.
//
// Two kinds: HTTP (http_client.h) and straight into the embedded cloud (cloud/in_process.h).
// Errors: Error::details is the AWS error code to the letter ("InvalidInstanceID.NotFound",
// "DryRunOperation"), Error::message what the service said; an empty code means that no service
// answered (code kUnavailable or kTimeout).
// Threading: one executor.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"
#include "base/task.h"

namespace caravel::aws {

class Client {
 public:
  virtual ~Client() = default;
  // service: the signing name: ec2 elasticloadbalancing sts iam eks ssm pricing sqs acm dynamodb.
  virtual Task<Result<json::Value>> call(std::string service, std::string action, json::Value input) = 0;
  virtual const std::string& region() const = 0;
};

// An error as a service states it.
Error service_error(std::string code, std::string message, int http_status = 400);
// "" when the error did not come from a service.
inline const std::string& error_code(const Error& e) { return e.details; }
inline bool is_error(const Error& e, std::string_view code) { return e.details == code; }

}  // namespace caravel::aws
