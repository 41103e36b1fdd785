// Secrets of type kubernetes.io/service-account-token: what is in them, and when they go. Pure.
#pragma once

#include "kube/types/core.h"

namespace caravel::controllers {

inline constexpr const char* kTokenSecretType = "kubernetes.io/service-account-token";
inline constexpr const char* kTokenAccount = "kubernetes.io/service-account.name";
inline constexpr const char* kTokenAccountUid = "kubernetes.io/service-account.uid";

bool is_token_secret(const kube::core::Secret& s);
// True when the account is gone (null), or is another of the same name.
bool is_token_secret_stale(const kube::core::Secret& s, const kube::core::ServiceAccount* account);
// Fills in the uid of the account, the namespace and the CA. True when something changed. The token is `needs_token`'s matter.
bool complete_token_secret(kube::core::Secret& s, const kube::core::ServiceAccount& account, const std::string& ca);
bool needs_token(const kube::core::Secret& s);

}  // namespace caravel::controllers
