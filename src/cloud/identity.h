// Who calls: access keys, temporary credentials. Temporary credentials are self-contained: the session
// token carries role and expiry under our own key, the secret is derived from the access key, so that
// nothing has to be stored or cleaned up.
#pragma once

#include <string>

#include "aws/sigv4.h"
#include "cloud/context.h"

namespace caravel::cloud {

// `salt` makes the access key: the same salt and expiry give the same credentials.
aws::Credentials issue_session(const Records& r, const CloudOptions& o, const std::string& arn, const std::string& user_id, Time expires, const std::string& salt);
struct KnownKey {
  std::string secret;
  Caller caller;
};
// Errors: InvalidClientTokenId, ExpiredToken.
Result<KnownKey> find_key(const Records& r, const CloudOptions& o, const std::string& access_key, const std::string& session_token, Time now);
// The signature and time claims of a ServiceAccount token against a JWKS document; gives its claims. With `trust_any` (there is no
// cluster whose keys could be known) the times alone are checked.
Result<Value> verify_jwt(std::string_view token, std::string_view jwks, bool trust_any, Time now);
// "arn:aws:sts::0:assumed-role/ROLE/SESSION"
std::string assumed_role_arn(const CloudOptions& o, std::string_view role_name, std::string_view session);

}  // namespace caravel::cloud
