// What is wrong with a pod, in upstream's fields, reasons and words: each line is a piece of a spec and its errors.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/yaml.h"
#include "kube/validation.h"

namespace caravel::kube {
namespace {

const char* const kPod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: d}\nspec: {serviceAccountName: default}\n";

void merge_into(json::Value& to, const json::Value& from) {
  for (auto& m : from.as_object()) {
    json::Value* at = to.find(m.key);
    if (at && at->is_object() && m.value.is_object()) merge_into(*at, m.value);
    else to[m.key] = m.value;
  }
}

// A pod with one container, with these members of its spec and of the container.
json::Value pod_with(std::string_view spec, std::string_view container = "{}") {
  json::Value pod = *yaml::parse(kPod), c = *yaml::parse("{name: c, image: i}");
  merge_into(c, *yaml::parse(container));
  pod["spec"]["containers"] = json::Value::array({c});
  merge_into(pod["spec"], *yaml::parse(spec));
  return pod;
}

std::string faults(const json::Value& o, const json::Value* old = nullptr) {
  const GroupVersion gv = parse_group_version(o["apiVersion"].as_string());
  std::string out;
  for (auto& e : validate_builtin(*find_kind(gv.group, gv.version, o["kind"].as_string()), o, old)) out += (out.empty() ? "" : "; ") + e.text();
  return out;
}

struct Case {
  const char* part;
  const char* expected;  // the errors begin with this; "" when there are none
};

template <size_t N>
void check_cases(const Case (&cases)[N], bool of_container) {
  for (auto& c : cases) {
    const std::string got = faults(of_container ? pod_with("{}", c.part) : pod_with(c.part));
    if (std::string_view(c.expected).empty()) EXPECT_EQ(got, "") << c.part;
    else EXPECT_TRUE(got.starts_with(c.expected)) << c.part << "\n  gives " << got;
  }
}

TEST(PodValidation, Specs) {
  static const Case kCases[] = {
      {"securityContext: {sysctls: [{name: net.core.somaxconn, value: '1'}, {name: kernel/shm_rmid_forced, value: '1'}]}", ""},
      {"securityContext: {sysctls: [{name: foo-, value: bar}]}",
       "spec.securityContext.sysctls[0].name: Invalid value: \"foo-\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"},
      {"securityContext: {sysctls: [{name: a.b, value: '1'}, {name: a.b, value: '2'}]}", "spec.securityContext.sysctls[1].name: Duplicate value: \"a.b\""},
      {"{hostNetwork: true, securityContext: {sysctls: [{name: net.core.somaxconn, value: '1'}]}}",
       "spec.securityContext.sysctls[0].name: Invalid value: \"net.core.somaxconn\": may not be specified when 'hostNetwork' is true"},
      {"securityContext: {runAsUser: -1}", "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"},
      {"securityContext: {seccompProfile: {type: Localhost}}", "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"},
      {"securityContext: {fsGroupChangePolicy: Often}", "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Often\": supported values: \"Always\", \"OnRootMismatch\""},
      {"{hostPID: true, shareProcessNamespace: true}", "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"},
      {"{hostUsers: false, hostPID: true}", "spec.HostPID: Forbidden: when `hostUsers` is false"},
      {"{os: {name: windows}, securityContext: {runAsUser: 1}}", "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod"},
      {"os: {name: plan9}", "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""},
      {"volumes: [{name: v, emptyDir: {}}, {name: w, secret: {secretName: s, items: [{key: k, path: a/b, mode: 511}]}}]", ""},
      {"volumes: [{name: v, secret: {secretName: s, items: [{key: k, path: ../b}]}}]", "spec.volumes[0].secret.items[0].path: Invalid value: \"../b\": must not contain '..'"},
      {"volumes: [{name: v, configMap: {name: s, defaultMode: 512}}]",
       "spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"},
      {"volumes: [{name: v, emptyDir: {}, hostPath: {path: /a}}]", "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"},
      {"volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 5}}]}}]",
       "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes"},
      {"volumes: [{name: v, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: spec.nodeName}}]}}]",
       "spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\""},
      {"volumes: [{name: v, csi: {driver: ''}}]", "spec.volumes[0].csi.driver: Required value"},
      {"volumes: [{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce]}}}}]",
       "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value"},
      {"volumes: [{name: e, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}, {name: f, persistentVolumeClaim: {claimName: p-e}}]",
       "spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"p-e\": must not reference a PVC that gets created for an ephemeral volume"},
      {"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}]}}}", ""},
      {"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}",
       "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term"},
      {"affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {topologyKey: z}}]}}",
       "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100"},
      {"tolerations: [{key: a, operator: Exists, value: b}]", "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'"},
      {"topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, minDomains: 2}]",
       "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"},
      {"dnsPolicy: None", "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
      {"dnsConfig: {nameservers: [010.0.0.1]}", "spec.dnsConfig.nameservers[0]: Invalid value: \"010.0.0.1\": must not have leading 0s"},
      {"hostAliases: [{ip: 1.2.3.4, hostnames: [A]}]", "spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": a lowercase RFC 1123 subdomain"},
      {"schedulingGates: [{name: a}, {name: a}]", "spec.schedulingGates[1]: Duplicate value: \"a\""},
      {"{nodeName: n, schedulingGates: [{name: a}]}", "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"},
      {"resourceClaims: [{name: a}]", "spec.resourceClaims[0]: Invalid value: {\"name\":\"a\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"},
      {"ephemeralContainers: [{name: e, image: i}]", "spec.ephemeralContainers: Forbidden: cannot be set on create"},
      {"initContainers: [{name: x, image: i, livenessProbe: {exec: {command: [a]}}}]",
       "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"},
      {"initContainers: [{name: x, image: i, restartPolicy: Always, livenessProbe: {exec: {command: [a]}}}]", ""},
      {"{hostNetwork: true, containers: [{name: c, image: i, ports: [{containerPort: 1, hostPort: 2}]}]}",
       "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true"},
      {"containers: [{name: a, image: i, ports: [{containerPort: 1, hostPort: 5}]}, {name: b, image: i, ports: [{containerPort: 2, hostPort: 5}]}]",
       "spec.containers[1].ports[0].hostPort: Duplicate value: \"TCP//5\""},
      {"resources: {requests: {cpu: 1}, limits: {x: 1}}", "spec.resources.limits[x]: Invalid value: \"x\": must be a standard resource type or fully qualified"},
  };
  check_cases(kCases, false);
}

TEST(PodValidation, Containers) {
  static const Case kCases[] = {
      {"name: a.b", "spec.containers[0].name: Invalid value: \"a.b\": must not contain dots"},
      {"image: ' i'", "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace"},
      {"ports: [{containerPort: 80, name: A}]",
       "spec.containers[0].ports[0].name: Invalid value: \"A\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-); "
       "spec.containers[0].ports[0].name: Invalid value: \"A\": must contain at least one letter (a-z)"},
      {"env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['x']\"}}}]", ""},
      {"env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.phase}}}]", "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\""},
      {"env: [{name: A, valueFrom: {fieldRef: {fieldPath: x}}}]", "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"x\": error converting fieldPath: field label not supported: x"},
      {"env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 2m}}}]",
       "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"},
      {"env: [{name: A, value: x, valueFrom: {secretKeyRef: {name: s, key: k}}}]", "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"},
      {"envFrom: [{prefix: 'a=', configMapRef: {name: c}}]", "spec.containers[0].envFrom[0].prefix: Invalid value: \"a=\": a valid environment variable name"},
      {"volumeMounts: [{name: v, mountPath: /a}]", "spec.containers[0].volumeMounts[0].name: Not found: \"v\""},
      {"livenessProbe: {httpGet: {port: http, scheme: FTP}}", "spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\""},
      {"livenessProbe: {grpc: {port: 0}}", "spec.containers[0].livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive"},
      {"readinessProbe: {exec: {command: [a]}, terminationGracePeriodSeconds: 5}",
       "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"},
      {"lifecycle: {preStop: {exec: {command: [a]}, sleep: {seconds: 1}}}", "spec.containers[0].lifecycle.preStop.sleep: Forbidden: may not specify more than 1 handler type"},
      {"resources: {requests: {example.com/x: 1}}", "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"},
      {"resources: {limits: {example.com/x: 1500m}}", "spec.containers[0].resources.limits[example.com/x]: Invalid value: \"1500m\": must be an integer"},
      {"resources: {limits: {hugepages-2Mi: 3Mi, cpu: 1}}", "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"},
      {"resources: {claims: [{name: a}]}", "spec.containers[0].resources.claims[0]: Not found: \"a\": must be one of the names in pod.spec.resourceClaims which is empty"},
      {"securityContext: {privileged: true}", ""},
      {"securityContext: {privileged: true, allowPrivilegeEscalation: false}",
       "spec.containers[0].securityContext: Invalid value: {\"privileged\":true,\"allowPrivilegeEscalation\":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"},
      {"securityContext: {procMount: Unmasked}", "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"},
      {"securityContext: {appArmorProfile: {type: X}}", "spec.containers[0].securityContext.appArmorProfile.type: Unsupported value: \"X\""},
      {"restartPolicyRules: [{action: Restart}]", "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used"},
  };
  check_cases(kCases, true);
}

TEST(PodValidation, MountsAndDevices) {
  const char* volumes = "volumes: [{name: v, emptyDir: {}}, {name: w, persistentVolumeClaim: {claimName: x}}]";
  auto with = [&](const char* container) { return faults(pod_with(volumes, container)); };
  EXPECT_EQ(with("volumeMounts: [{name: v, mountPath: /a, subPath: b/c}]"), "");
  EXPECT_EQ(with("volumeMounts: [{name: v, mountPath: /a, subPath: /b}]"), "spec.containers[0].volumeMounts.subPath: Invalid value: \"/b\": must be a relative path");
  EXPECT_EQ(with("volumeMounts: [{name: v, mountPath: /a, mountPropagation: Bidirectional}]"),
            "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers");
  EXPECT_EQ(with("volumeMounts: [{name: v, mountPath: /a, recursiveReadOnly: Enabled}]"), "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true");
  EXPECT_EQ(with("volumeDevices: [{name: w, devicePath: /d}]"), "");
  EXPECT_EQ(with("volumeDevices: [{name: v, devicePath: /d}]"),
            "spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
}

TEST(PodValidation, Updates) {
  auto update = [](std::string_view before, std::string_view after, std::string_view container = "{}") {
    const json::Value old = pod_with(before);
    return faults(pod_with(after, container), &old);
  };
  EXPECT_EQ(update("{}", "{}", "image: j"), "");
  EXPECT_TRUE(update("{}", "hostNetwork: true").starts_with("spec: Forbidden: pod updates may not change fields other than"));
  EXPECT_EQ(update("activeDeadlineSeconds: 5", "activeDeadlineSeconds: 4"), "");
  EXPECT_EQ(update("activeDeadlineSeconds: 5", "activeDeadlineSeconds: 6"), "spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value");
  EXPECT_EQ(update("schedulingGates: [{name: g}]", "schedulingGates: []"), "");
  EXPECT_EQ(update("{}", "schedulingGates: [{name: g}]"), "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'");
  EXPECT_EQ(update("{schedulingGates: [{name: g}], nodeSelector: {a: b}}", "{schedulingGates: [{name: g}], nodeSelector: {a: b, c: d}}"), "");
  EXPECT_EQ(update("{schedulingGates: [{name: g}], nodeSelector: {a: b}}", "{schedulingGates: [{name: g}], nodeSelector: {a: c}}"),
            "spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)");
  // What was stored before there were these rules may stay, and other things may change.
  const json::Value old = pod_with("securityContext: {sysctls: [{name: foo-, value: '1'}]}");
  json::Value now = old;
  now["metadata"]["labels"]["a"] = "b";
  EXPECT_EQ(faults(now, &old), "");
  now["spec"]["nodeName"] = "n";
  EXPECT_EQ(faults(now, &old), "");
  now["spec"]["schedulingGates"] = *yaml::parse("[{name: 'a b'}]");
  EXPECT_TRUE(faults(now, &old).starts_with("spec.schedulingGates[0]: Invalid value: \"a b\""));
}

TEST(PodValidation, ClaimTemplatesAreVolumesOfAStatefulSet) {
  json::Value set = *yaml::parse(
      "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s, namespace: d}, spec: {serviceName: s, selector: {matchLabels: {a: b}},"
      " volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}],"
      " template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i, volumeMounts: [{name: data, mountPath: /d}]}]}}}}");
  EXPECT_EQ(faults(set), "");
  set["spec"].erase("volumeClaimTemplates");
  EXPECT_EQ(faults(set), "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"");
}

}  // namespace
}  // namespace caravel::kube
