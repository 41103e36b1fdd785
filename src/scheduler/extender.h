// Extenders: HTTP services that take part in decisions about pods (KubeSchedulerConfiguration's `extenders`).
//
// The wire is upstream's extender v1: a POST of JSON to urlPrefix/verb. An extender filters the nodes that all
// plugins left, scores them (0 to 10, times its weight, times 10), may choose among the victims of a
// preemption and may bind. An extender that is `ignorable` and fails is passed over; another makes the attempt
// an error. It is asked only about pods that request one of its managed resources, if it names any.
// Who carries the request is handed in (ExtenderTransport). Threading: one executor.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/json.h"
#include "base/result.h"
#include "base/scope.h"

namespace caravel::scheduler {

struct ExtenderConfig {
  std::string url_prefix, filter_verb, prioritize_verb, bind_verb, preempt_verb;
  int64_t weight = 0;
  bool https = false;
  // tlsConfig; files are read by the transport.
  bool insecure = false;
  std::string server_name, ca_file, cert_file, key_file, ca_data, cert_data, key_data;
  Duration timeout = std::chrono::seconds(5);
  bool node_cache_capable = false;  // takes and gives names of nodes, not nodes
  bool ignorable = false;
  std::vector<std::string> managed_resources;  // none: asked about every pod
  std::vector<std::string> ignored_resources;  // of them, those that NodeResourcesFit does not check
};

class ExtenderTransport {
 public:
  virtual ~ExtenderTransport() = default;
  // POSTs the body to urlPrefix/verb; the answer's body, or why there is none (a status other than 200 too).
  virtual Task<Result<json::Value>> post(const ExtenderConfig& extender, std::string verb, json::Value body) = 0;
};

// What an extender's filter has left of the nodes.
struct ExtenderVerdict {
  std::vector<std::string> nodes;
  std::map<std::string, std::string> failed, unresolvable;  // node -> reason; of the second kind preemption cannot help
};
// The victims of a preemption on a node, by uid.
struct ExtenderVictims {
  std::vector<std::string> uids;
  int64_t violations = 0;
};

// The wire, pure: what is asked and how answers are read. Names of members are read without regard to case, as
// Go reads them.
json::Value extender_args(const ExtenderConfig& e, const json::Value& pod, const std::vector<std::string>& names, const std::vector<json::Value>& nodes);
Result<ExtenderVerdict> read_filter_result(const ExtenderConfig& e, const json::Value& answer, const std::vector<std::string>& asked);
std::map<std::string, int64_t> read_priorities(const json::Value& answer);
json::Value extender_preemption_args(const ExtenderConfig& e, const json::Value& pod, const std::map<std::string, ExtenderVictims>& victims,
                                     const std::map<std::string, json::Value>& pods);  // pods by uid
Result<std::map<std::string, ExtenderVictims>> read_preemption_result(const ExtenderConfig& e, const json::Value& answer);
// Asked about the pod: it names no resources, or a container requests or limits one of them.
bool extender_is_interested(const ExtenderConfig& e, const json::Value& pod);

}  // namespace caravel::scheduler
