// The resources that cert-manager works on, and the words of its annotations and conditions.
#pragma once

#include "kube/resource.h"

namespace caravel::certs {

inline const kube::Resource kCertificates{"cert-manager.io", "v1", "certificates", "Certificate", true};
inline const kube::Resource kCertificateRequests{"cert-manager.io", "v1", "certificaterequests", "CertificateRequest", true};
inline const kube::Resource kIssuers{"cert-manager.io", "v1", "issuers", "Issuer", true};
inline const kube::Resource kClusterIssuers{"cert-manager.io", "v1", "clusterissuers", "ClusterIssuer", false};
inline const kube::Resource kOrders{"acme.cert-manager.io", "v1", "orders", "Order", true};
inline const kube::Resource kChallenges{"acme.cert-manager.io", "v1", "challenges", "Challenge", true};
inline const kube::Resource kSecrets{"", "v1", "secrets", "Secret", true};
inline const kube::Resource kPods{"", "v1", "pods", "Pod", true};
inline const kube::Resource kServices{"", "v1", "services", "Service", true};
inline const kube::Resource kIngresses{"networking.k8s.io", "v1", "ingresses", "Ingress", true};

inline constexpr char kCertificateNameKey[] = "cert-manager.io/certificate-name";
inline constexpr char kRevisionKey[] = "cert-manager.io/certificate-revision";
inline constexpr char kPrivateKeySecretKey[] = "cert-manager.io/private-key-secret-name";
inline constexpr char kNextPrivateKeyKey[] = "cert-manager.io/next-private-key";
inline constexpr char kIssuerNameKey[] = "cert-manager.io/issuer-name";
inline constexpr char kIssuerKindKey[] = "cert-manager.io/issuer-kind";
inline constexpr char kIssuerGroupKey[] = "cert-manager.io/issuer-group";
inline constexpr char kManagedSecretKey[] = "controller.cert-manager.io/fao";
inline constexpr char kChallengeFinalizer[] = "acme.cert-manager.io/finalizer";

}  // namespace caravel::certs
