// Which solver answers a challenge, the objects that an HTTP-01 solver needs, and ACME accounts.
#pragma once

#include <memory>

#include "certs/acme_client.h"
#include "certs/context.h"

namespace caravel::certs {

struct ChosenSolver {
  json::Value solver;     // the entry of spec.acme.solvers
  json::Value challenge;  // the ACME challenge it answers
};
// cert-manager's ranking among solvers whose selector matches: exact dnsNames beats dnsZones (the longest
// zone), then the number of matching labels, then list order. Pure.
Result<ChosenSolver> choose_solver(const json::Value& issuer, const json::Value& order, const json::Value& authorization);

// The pod, Service and Ingress that answer http://NAME/.well-known/acme-challenge/TOKEN. Pure.
json::Value solver_pod(const json::Value& challenge, const Settings& settings);
json::Value solver_service(const json::Value& challenge);
json::Value solver_ingress(const json::Value& challenge);

struct AcmeAccount {
  std::unique_ptr<net::HttpClient> http;
  std::unique_ptr<AcmeClient> client;
};
// A client with the issuer's registered account.
Task<Result<AcmeAccount>> open_account(Context& c, json::Value issuer);

}  // namespace caravel::certs
