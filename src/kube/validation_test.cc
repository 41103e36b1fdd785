#include "kube/validation.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "base/yaml.h"
#include "kube/selectors.h"

namespace caravel::kube {
namespace {

std::string errors(const char* text, const char* old = nullptr) {
  json::Value o = *yaml::parse(text), was;
  if (old) was = *yaml::parse(old);
  GroupVersion gv = parse_group_version(o["apiVersion"].as_string());
  const KindInfo* k = find_kind(gv.group, gv.version, o["kind"].as_string());
  std::string out;
  for (auto& e : validate_builtin(*k, o, old ? &was : nullptr)) out += (out.empty() ? "" : "; ") + e.text();
  return out;
}

TEST(Validation, Pods) {
  EXPECT_EQ(errors("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}, spec: {containers: [{name: c, image: i}]}}"), "");
  EXPECT_EQ(errors("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}, spec: {}}"), "spec.containers: Required value");
  EXPECT_EQ(errors("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}, spec: {restartPolicy: Sometimes, containers: [{name: c}, {name: c, image: i}]}}"),
            "spec.containers[0].image: Required value; spec.containers[1].name: Duplicate value: \"c\"; spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"");
  EXPECT_EQ(errors("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}, spec: {containers: [{name: c, image: i, resources: {requests: {cpu: 2}, limits: {cpu: '1'}}, volumeMounts: [{name: v, mountPath: /x}]}]}}"),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"; spec.containers[0].resources.requests: Invalid value: 2: must be less than or equal to cpu limit of 1");
  const char* pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}, spec: {nodeName: n, containers: [{name: c, image: i}]}}";
  EXPECT_EQ(errors("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}, spec: {nodeName: n, containers: [{name: c, image: j}]}}", pod), "");
  EXPECT_TRUE(errors("{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: d}, spec: {nodeName: m, containers: [{name: c, image: i}]}}", pod).starts_with("spec: Forbidden: pod updates may not change fields other than"));
}

TEST(Validation, Deployments) {
  const char* good = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: d}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}";
  EXPECT_EQ(errors(good), "");
  EXPECT_EQ(errors("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: d}, spec: {replicas: -1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}}"),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0; spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`");
  EXPECT_EQ(errors("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: d}, spec: {selector: {matchLabels: {a: x}}, template: {metadata: {labels: {a: x}}, spec: {containers: [{name: c, image: i}]}}}}", good),
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"x\"}}: field is immutable");
}

TEST(Validation, Metadata) {
  EXPECT_TRUE(errors("{apiVersion: v1, kind: ConfigMap, metadata: {name: A_b, namespace: d}}").starts_with("metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist"));
  EXPECT_EQ(errors("{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-, namespace: d}}"), "");
  EXPECT_EQ(errors("{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: d}}"), "metadata.namespace: Forbidden: not allowed on this type");
  EXPECT_EQ(errors("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: d, uid: x}}", "{metadata: {name: a, namespace: d, uid: y}}"), "metadata.uid: Invalid value: \"x\": field is immutable");
  EXPECT_NE(errors("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: d, labels: {'a b': c}}}"), "");
  EXPECT_EQ(errors("{apiVersion: v1, kind: ConfigMap, immutable: true, metadata: {name: a, namespace: d}, data: {a: c}}", "{immutable: true, metadata: {name: a, namespace: d}, data: {a: b}}"),
            "data: Forbidden: field is immutable when `immutable` is set");
}

// A Job with these members of its spec.
std::string job_errors(const std::string& spec, const std::string& old = "") {
  auto job = [](const std::string& members) {
    return "{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: d}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: main, image: i}]}}, " +
           members + "}}";
  };
  std::string was = old.empty() ? "" : job(old);
  return errors(job(spec).c_str(), old.empty() ? nullptr : was.c_str());
}

TEST(Validation, JobPolicies) {
  EXPECT_EQ(job_errors("completionMode: Indexed, completions: 3, backoffLimitPerIndex: 1, maxFailedIndexes: 2, podReplacementPolicy: Failed, managedBy: acme.io/q, "
                       "podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {operator: In, values: [1, 2], containerName: main}}, {action: Ignore, onPodConditions: [{type: DisruptionTarget, status: 'True'}]}]}, "
                       "successPolicy: {rules: [{succeededIndexes: '0,2', succeededCount: 1}]}"),
            "");
  EXPECT_EQ(job_errors("completionMode: Indexed"), "spec.completions: Required value: when completion mode is Indexed");
  EXPECT_EQ(job_errors("backoffLimitPerIndex: 1"), "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode");
  EXPECT_EQ(job_errors("completionMode: Indexed, completions: 1, maxFailedIndexes: 1"), "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified");
  EXPECT_EQ(job_errors("podReplacementPolicy: Failed, podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [0, 5, 3], containerName: x}}]}"),
            "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template; "
            "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator; "
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [0,5,3]: must be ordered");
  EXPECT_EQ(job_errors("podReplacementPolicy: TerminatingOrFailed, podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {operator: In, values: [1]}}]}"),
            "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set; "
            "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"");
  EXPECT_EQ(job_errors("completionMode: Indexed, completions: 3, successPolicy: {rules: [{succeededIndexes: '2,1'}, {succeededIndexes: '0-1', succeededCount: 3}, {}]}"),
            "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"2,1\": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1; "
            "spec.successPolicy.rules[1].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field); "
            "spec.successPolicy.rules[2]: Required value: at least one of succeededCount or succeededIndexes must be specified");
  EXPECT_EQ(job_errors("managedBy: mine"), "spec.managedBy: Invalid value: \"mine\": must be a domain-prefixed path (such as \"acme.io/foo\")");
}

TEST(Validation, IndexedJobsGrowWithTheirParallelism) {
  const std::string old = "completionMode: Indexed, completions: 3, parallelism: 3";
  EXPECT_EQ(job_errors("completionMode: Indexed, completions: 5, parallelism: 5", old), "");
  EXPECT_EQ(job_errors("completionMode: Indexed, completions: 5, parallelism: 3", old), "spec.completions: Invalid value: 5: can only be modified in tandem with spec.parallelism");
  EXPECT_EQ(job_errors("completionMode: Indexed, completions: 3, parallelism: 3, backoffLimitPerIndex: 1", old), "spec.backoffLimitPerIndex: Invalid value: 1: field is immutable");
}

TEST(Validation, Others) {
  EXPECT_EQ(errors("{apiVersion: v1, kind: Service, metadata: {name: s, namespace: d}, spec: {type: ClusterIP, ports: [{port: 80}, {port: 0, name: b}]}}"),
            "spec.ports[0].name: Required value; spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive");
  EXPECT_EQ(errors("{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i, namespace: d}, spec: {rules: [{host: a.b, http: {paths: [{path: x, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]}}"),
            "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path");
  EXPECT_EQ(errors("{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, namespace: d}, spec: {schedule: '* *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}"),
            "spec.schedule: Invalid value: \"* *\": expected exactly 5 fields, found 2: [* *]");
  EXPECT_EQ(errors("{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: s, namespace: d}, data: {tls.crt: YQ==}}"), "data[tls.key]: Required value");
  EXPECT_EQ(errors("{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: 'a:b', namespace: d}, rules: [{apiGroups: [''], resources: [pods]}]}"),
            "rules[0].verbs: Required value: verbs must contain at least one value");
  EXPECT_EQ(errors("{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: h, namespace: d}, spec: {minReplicas: 3, maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: D, name: x}}}"),
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`");
}

TEST(Validation, ServicesAndPolicies) {
  auto service = [](const std::string& spec) { return errors(("{apiVersion: v1, kind: Service, metadata: {name: 1s, namespace: d}, spec: {" + spec + "}}").c_str()); };
  EXPECT_EQ(service("ports: [{port: 80}]"), "");
  EXPECT_EQ(service("type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1/8], ports: [{port: 80}]"),
            "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length");
  EXPECT_EQ(service("type: ClusterIP, externalTrafficPolicy: Local, ports: [{port: 80}]"), "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services");
  EXPECT_EQ(service("externalIPs: [127.0.0.1], ports: [{port: 80}]"), "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)");
  EXPECT_EQ(service("ipFamilies: [IPv4, IPv4], ports: [{port: 80}]"), "spec.ipFamilies[1]: Duplicate value: \"IPv4\"");
  auto policy = [](const std::string& rule) { return errors(("{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n, namespace: d}, spec: {podSelector: {}, ingress: [{" + rule + "}]}}").c_str()); };
  EXPECT_EQ(policy("from: [{ipBlock: {cidr: '2001:db8::/32', except: ['2001:db8:1::/48']}}]"), "");
  EXPECT_EQ(policy("from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]"), "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`");
  EXPECT_EQ(policy("ports: [{port: 80, endPort: 79}]"), "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`");
}

TEST(Validation, AutoscalersAndClasses) {
  auto scaler = [](const std::string& spec) {
    return errors(("{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: h, namespace: d}, spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: x}, " + spec + "}}").c_str());
  };
  EXPECT_EQ(scaler("metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]"), "");
  EXPECT_EQ(scaler("metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization}}}]"),
            "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization");
  EXPECT_EQ(scaler("metrics: [{type: Pods}]"), "spec.metrics[0].pods: Required value: must populate information for the given metric source");
  EXPECT_EQ(scaler("behavior: {scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 1801}]}}"),
            "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800");
  EXPECT_EQ(errors("{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: s}, provisioner: a, allowedTopologies: [{matchLabelExpressions: [{key: z, values: [a, a]}]}]}"),
            "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"");
}

TEST(Validation, SchemasOfCustomResourcesAreStructural) {
  auto crd = [](const std::string& properties) {
    return errors(("{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.a.b}, spec: {group: a.b, scope: Namespaced, names: {plural: things, kind: Thing}, "
                   "versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {" +
                   properties + "}}}}]}}")
                      .c_str());
  };
  const std::string at = "spec.validation.openAPIV3Schema.properties[a]";
  EXPECT_EQ(crd("a: {type: array, items: {type: object, properties: {k: {type: string}}, required: [k]}, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k]}"), "");
  EXPECT_EQ(crd("a: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}"), "");
  EXPECT_EQ(crd("a: {}"), at + ".type: Required value: must not be empty for specified object fields");
  EXPECT_EQ(crd("a: {type: string, anyOf: [{type: string}]}"), at + ".anyOf[0].type: Forbidden: must be empty to be structural");
  EXPECT_EQ(crd("a: {type: array, items: {type: object}, x-kubernetes-list-type: set}"),
            at + ".items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set");
  EXPECT_TRUE(crd("a: {type: string, default: x, enum: [y]}").starts_with(at + ".default: Unsupported value: \"x\""));
}

TEST(Validation, OurOwnCrdsAreValid) {
  for (auto& crd : all_crd_manifests()) {
    FieldErrors e = validate_builtin(*find_by_name("crd"), crd, nullptr);
    EXPECT_TRUE(e.empty()) << crd["metadata"]["name"].as_string() << ": " << (e.empty() ? "" : e[0].text());
  }
}

// Every manifest that is shipped decodes strictly and is valid.
TEST(Validation, ShippedManifests) {
  namespace fs = std::filesystem;
  int checked = 0;
  for (auto dir : {"platform", "examples"}) {
    fs::path root = fs::path(CARAVEL_SOURCE_DIR) / dir;
    if (!fs::exists(root)) continue;
    for (auto& entry : fs::recursive_directory_iterator(root)) {
      if (entry.path().extension() != ".yaml" && entry.path().extension() != ".yml") continue;
      std::ifstream in(entry.path());
      std::stringstream text;
      text << in.rdbuf();
      auto docs = yaml::parse_all(text.str());
      if (!docs.ok()) continue;  // templates
      for (auto& doc : *docs) {
        GroupVersion gv = parse_group_version(doc["apiVersion"].as_string());
        const KindInfo* k = find_kind(gv.group, gv.version, doc["kind"].as_string());
        if (!k) continue;
        if (json::dump(doc).find("${") != std::string::npos) continue;  // filled in when it is installed
        json::Value o = doc;
        if (k->resource().namespaced && o["metadata"]["namespace"].is_null()) o["metadata"]["namespace"] = "default";
        std::string name = entry.path().string() + ": " + doc["kind"].as_string() + " " + doc["metadata"]["name"].as_string();
        if (k->resource().kind != "CustomResourceDefinition") {
          std::vector<std::string> unknown;
          prune(*schema_of(*k->type), o, &unknown);
          EXPECT_TRUE(unknown.empty()) << name << ": unknown field " << unknown[0];
        }
        FieldErrors e;
        if (k->crd) {
          auto s = schema_from_crd(crd_manifest(*k)["spec"]["versions"].at(0)["schema"]["openAPIV3Schema"]);
          set_schema_defaults(**s, o);
          validate_schema(**s, o, FieldPath(), e);
        } else {
          e = validate_builtin(*k, o, nullptr);
        }
        EXPECT_TRUE(e.empty()) << name << ": " << (e.empty() ? "" : e[0].text());
        ++checked;
      }
    }
  }
  RecordProperty("checked", checked);
}

TEST(Selectors, BadTextsAreAnsweredInUpstreamsWords) {
  auto says = [](const char* text) { return LabelSelector::parse(text).error().message; };
  EXPECT_EQ(says("a b"), "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
  EXPECT_EQ(says("a in b"), "unable to parse requirement: found 'b' expected: '('");
  EXPECT_EQ(says("a=b c"), "found 'c', expected: ',' or 'end of string'");
  EXPECT_EQ(says("a>b"), "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer");
  EXPECT_EQ(says("a,"), "found '', expected: identifier after ','");
  EXPECT_EQ(FieldSelector::parse("x").error().message, "invalid selector: 'x'; can't understand 'x'");
  EXPECT_EQ(FieldSelector::parse("a=\\x").error().message, "invalid field selector: invalid escape sequence: \\x");
  EXPECT_EQ(*FieldSelector::parse("a=b\\,c")->exact("a"), "b,c");
}

TEST(Selectors, ParseMatchPrint) {
  auto s = LabelSelector::parse("app=web, tier in (a,b),!x,y!=z,n>3,has");
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_TRUE(s->matches(std::map<std::string, std::string>{{"app", "web"}, {"tier", "a"}, {"n", "4"}, {"has", ""}}));
  EXPECT_FALSE(s->matches(std::map<std::string, std::string>{{"app", "web"}, {"tier", "c"}, {"n", "4"}, {"has", ""}}));
  EXPECT_FALSE(s->matches(std::map<std::string, std::string>{{"app", "web"}, {"tier", "a"}, {"n", "3"}, {"has", ""}}));
  EXPECT_EQ(s->text(), "app=web,tier in (a,b),!x,y!=z,n>3,has");
  for (auto bad : {"a=(", "a in b", "a in (b", "=x", "a b", "a>x", "a=b c"}) EXPECT_FALSE(LabelSelector::parse(bad).ok()) << bad;
  auto f = FieldSelector::parse("spec.nodeName=n1,status.phase!=Failed");
  ASSERT_TRUE(f.ok());
  EXPECT_TRUE(f->matches(*yaml::parse("{spec: {nodeName: n1}, status: {phase: Running}}")));
  EXPECT_FALSE(f->matches(*yaml::parse("{spec: {nodeName: n1}, status: {phase: Failed}}")));
  EXPECT_FALSE(FieldSelector::parse("abc").ok());
}

std::string crd_faults(const std::string& spec_schema, const std::string& more = "", const std::string& group = "x.io", const std::string& root_more = "") {
  const std::string text = R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"foos.)" + group + R"("},"spec":{"group":")" + group +
                           R"(","scope":"Cluster","names":{"plural":"foos","singular":"foo","kind":"Foo","listKind":"FooList"},"versions":[{"name":"v1","served":true,"storage":true)" + more +
                           R"(,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":)" + spec_schema + "}" + root_more + "}}}]}}";
  std::string out;
  for (auto& e : validate_builtin(*find_by_name("crd"), *json::parse(text), nullptr)) out += (out.empty() ? "" : "; ") + e.text();
  return out;
}

TEST(Validation, SelectableFieldsOfCrds) {
  const std::string schema = R"({"type":"object","properties":{"a":{"type":"string"},"l":{"type":"array","items":{"type":"string"}}}})";
  auto fields = [&](const char* list) { return crd_faults(schema, std::string(R"(,"selectableFields":)") + list); };
  EXPECT_EQ(fields(R"([{"jsonPath":".spec.a"}])"), "");
  EXPECT_EQ(fields(R"([{"jsonPath":".spec.a"},{"jsonPath":".spec.a"}])"), "spec.selectableFields[1].jsonPath: Duplicate value: \".spec.a\"");
  EXPECT_EQ(fields(R"([{"jsonPath":"spec.a"}])"), "spec.selectableFields[0].jsonPath: Invalid value: \"spec.a\": is an invalid path: expected [ or . but got: spec");
  EXPECT_EQ(fields(R"([{"jsonPath":".spec['a']"}])"), "spec.selectableFields[0].jsonPath: Invalid value: \".spec['a']\": is an invalid path: array notation is not allowed");
  EXPECT_EQ(fields(R"([{"jsonPath":".metadata.name"}])"), "spec.selectableFields[0].jsonPath: Invalid value: \".metadata.name\": is an invalid path: does not refer to a valid field");
  EXPECT_EQ(fields(R"([{"jsonPath":".spec.l"}])"), "spec.selectableFields[0].jsonPath: Invalid value: \".spec.l\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
}

TEST(Validation, SchemasOfCrdsInDetail) {
  const std::string at = "spec.validation.openAPIV3Schema.properties[spec]";
  EXPECT_EQ(crd_faults(R"({"type":"string","pattern":"a("})"), at + ".pattern: Invalid value: \"a(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `a(`");
  EXPECT_EQ(crd_faults(R"({"type":"object","x-kubernetes-preserve-unknown-fields":false})"), at + ".x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined");
  EXPECT_EQ(crd_faults(R"({"type":"object","default":{"z":1},"properties":{"a":{"type":"string"}}})"), at + ".default: Invalid value: {\"z\":1}: must not have unknown fields");
  EXPECT_EQ(crd_faults(R"({"type":"array","x-kubernetes-list-type":"set","items":{"type":"string","nullable":true}})"), at + ".items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set");
  EXPECT_EQ(crd_faults(R"({"type":"string","default":7})"), at + ".default: Invalid value: \"integer\":  in body must be of type string: \"integer\"");
  EXPECT_NE(crd_faults("{\"type\":\"object\"}", R"(,"subresources":{"status":{}})", "x.io", R"(,"anyOf":[{"required":["spec"]}])").find("fields are allowed at the root of the schema if the status subresource is enabled"), std::string::npos);
  EXPECT_EQ(crd_faults("{\"type\":\"object\"}", "", "x.k8s.io"),
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111");
}

}  // namespace
}  // namespace caravel::kube
