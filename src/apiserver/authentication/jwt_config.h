// AuthenticationConfiguration of apiserver.config.k8s.io/v1: the issuers whose JWTs are taken and how their
// claims become a user. The --oidc-* flags are one issuer of this form.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/cel/program.h"

namespace caravel::apiserver {

// Text and compiled form; the expression sees `claims` or `user`.
struct ClaimExpression {
  std::string text;
  std::optional<kube::cel::Program> program;
  bool given() const { return program.has_value(); }
};

// A claim with a prefix, or an expression over all claims.
struct ClaimMapping {
  std::string claim, prefix;
  ClaimExpression expression;
  bool given() const { return !claim.empty() || expression.given(); }
};

struct ClaimRule {
  std::string claim, required_value;  // or
  ClaimExpression expression;
  std::string message;
};

struct JwtIssuer {
  std::string url, discovery_url, ca;
  std::vector<std::string> audiences;
  std::vector<std::string> algorithms = {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"};
  ClaimMapping username, groups, uid;
  std::vector<std::pair<std::string, ClaimExpression>> extra;
  std::vector<ClaimRule> claim_rules;
  std::vector<ClaimRule> user_rules;
};

struct AuthenticationSettings {
  std::vector<JwtIssuer> issuers;
  bool has_anonymous = false, anonymous = true;
  std::vector<std::string> anonymous_paths;
};
// Errors are field paths with upstream's words. `own_issuer` is that of ServiceAccounts, which may not be listed.
Result<AuthenticationSettings> parse_authentication_config(std::string_view text, const std::string& own_issuer);

enum class ExpressionOver { kClaims,
                            kUser };
Result<ClaimExpression> compile_claim_expression(const std::string& text, ExpressionOver over);

}  // namespace caravel::apiserver
