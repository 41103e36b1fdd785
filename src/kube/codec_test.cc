// Round trips of real manifests through the generated types, JSON and protobuf.
#include "kube/codec.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/yaml.h"
#include "kube/informer.h"
#include "kube/kinds.h"
#include "kube/protobuf.h"
#include "kube/quantity.h"
#include "kube/schema.h"
#include "kube/types/apiextensions.h"
#include "kube/types/apps.h"
#include "kube/types/argo.h"
#include "kube/types/core.h"
#include "kube/types/karpenter.h"
#include "kube/types/networking.h"
#include "kube/types/rbac.h"
#include "kube/wrong_types.h"

namespace caravel::kube {
namespace {

constexpr const char* kDeployment = R"(
kind: Deployment
apiVersion: apps/v1
metadata:
  name: web
  namespace: default
  labels: {app: web}
spec:
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      volumes:
      - name: config
        configMap: {name: web, optional: true}
      - name: tmp
        emptyDir: {sizeLimit: 1Gi}
      containers:
      - name: nginx
        image: nginx:1.27
        ports:
        - {name: http, containerPort: 80, protocol: TCP}
        env:
        - name: NODE
          valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
        - name: PASSWORD
          valueFrom: {secretKeyRef: {name: web, key: password}}
        resources:
          limits: {cpu: 500m, memory: 128Mi}
        livenessProbe:
          httpGet: {path: /healthz, port: http}
          periodSeconds: 10
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 25%, maxSurge: 1}
status: {}
)";

TEST(Codec, AManifestSurvivesTheTypes) {
  json::Value in = *yaml::parse(kDeployment);
  auto d = from_json<apps::Deployment>(in);
  ASSERT_TRUE(d.ok()) << d.error().message;
  EXPECT_EQ(d->spec.replicas, 3);
  const core::Container& c = d->spec.template_.spec.containers.at(0);
  EXPECT_EQ(c.resources.limits.at("cpu").milli_value(), 500);
  EXPECT_EQ(c.liveness_probe->http_get->port.text(), "http");
  EXPECT_EQ(c.env.at(1).value_from->secret_key_ref->name, "web");
  EXPECT_EQ(d->spec.template_.spec.volumes.at(0).config_map->name, "web");
  EXPECT_EQ(d->spec.strategy.rolling_update->max_unavailable->text(), "25%");
  EXPECT_EQ(json::dump_sorted(to_json(*d)), json::dump_sorted(in));
  auto back = from_protobuf<apps::Deployment>(to_protobuf(*d));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_TRUE(*back == *d);
  EXPECT_EQ(json::dump(to_json(*back)), json::dump(to_json(*d)));
}

TEST(Codec, KindComesFirstAndEmptyFieldsAreWrittenAsUpstreamDoes) {
  core::Pod p;
  p.metadata.name = "a";
  p.spec.containers.emplace_back().name = "c";
  EXPECT_EQ(json::dump(to_json(p)),
            R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","resources":{}}]},"status":{}})");
  core::PodCondition c;
  c.type = "Ready";
  c.status = "True";
  EXPECT_EQ(json::dump(to_json(c)), R"({"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":null})");
}

TEST(Codec, WrongTypesAreNamedAsUpstreamDoes) {
  auto d = from_json<apps::Deployment>(*json::parse(R"({"spec":{"replicas":"three"}})"));
  ASSERT_FALSE(d.ok());
  EXPECT_EQ(d.error().message, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32");
  auto wrong = [](const char* pod, const char* want) {
    auto r = from_json<core::Pod>(*json::parse(pod));
    ASSERT_FALSE(r.ok()) << pod;
    EXPECT_EQ(r.error().message, want);
  };
  wrong(R"({"spec":{"containers":{}}})", "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container");
  wrong(R"({"spec":{"containers":[5]}})", "json: cannot unmarshal number into Go struct field PodSpec.spec.containers of type v1.Container");
  wrong(R"({"spec":{"priority":3000000000}})", "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32");
  wrong(R"({"spec":{"containers":[{"imagePullPolicy":5}]}})", "json: cannot unmarshal number into Go struct field Container.spec.containers.imagePullPolicy of type v1.PullPolicy");
  wrong(R"({"spec":{"containers":[{"resources":{"limits":"x"}}]}})", "json: cannot unmarshal string into Go struct field ResourceRequirements.spec.containers.resources.limits of type v1.ResourceList");
  wrong(R"({"spec":{"containers":[{"resources":{"limits":{"cpu":true}}}]}})", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
  wrong(R"({"spec":{"volumes":[{"emptyDir":"x"}]}})", "json: cannot unmarshal string into Go struct field Volume.spec.volumes.VolumeSource.emptyDir of type v1.EmptyDirVolumeSource");
  wrong(R"({"metadata":{"creationTimestamp":"x"}})", R"(parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006")");
  wrong(R"({"metadata":{"creationTimestamp":"2026-13-01T00:00:00Z"}})", R"(parsing time "2026-13-01T00:00:00Z": month out of range)");
  wrong(R"({"metadata":{"creationTimestamp":5}})", "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string");
  EXPECT_EQ(from_json<core::Secret>(*json::parse(R"({"data":{"a":"***"}})")).error().message, "illegal base64 data at input byte 0");
}

TEST(WrongTypes, MergedDocumentsAreReadByConversion) {
  auto read = [](const char* text) {
    json::Value v = *json::parse(text);
    Status s = convert_numbers(apps::Deployment::type_info(), v);
    return s.ok() ? json::dump(v) : s.error().message;
  };
  EXPECT_EQ(read(R"({"spec":{"replicas":"x"}})"), "unrecognized type: int32");
  EXPECT_EQ(read(R"({"spec":{"replicas":1.5}})"), "cannot convert float64 to int32");
  EXPECT_EQ(read(R"({"spec":{"replicas":3.0}})"), R"({"spec":{"replicas":3}})");
  EXPECT_EQ(read(R"({"spec":{"replicas":99999999999}})"), R"({"spec":{"replicas":1215752191}})");
  EXPECT_EQ(read(R"({"metadata":{"labels":{"a":5}}})"), "cannot convert int64 to string");
  EXPECT_EQ(read(R"({"metadata":{"labels":[1]}})"), "cannot restore map from slice");
  EXPECT_EQ(read(R"({"spec":{"template":{"spec":{"containers":"x"}}}})"), "cannot restore slice from string");
  EXPECT_EQ(read(R"({"spec":[]})"), "cannot restore struct from: slice");
  EXPECT_EQ(read(R"({"spec":{"strategy":{"rollingUpdate":{"maxSurge":1.5}}}})"), "json: cannot unmarshal number 1.5 into Go value of type int32");
  EXPECT_EQ(go_text(*json::parse(R"({"b":[1,"x",null],"a":{"c":true}})")), "map[a:map[c:true] b:[1 x <nil>]]");
}

TEST(WrongTypes, AppliedConfigurationsAreReadByTheirSchema) {
  auto problems = [](const char* text) { return join(typed_problems(*schema_of(apps::Deployment::type_info()), *json::parse(text)), "; "); };
  EXPECT_EQ(problems(R"({"spec":{"replicas":"x","zork":1}})"), ".spec.replicas: expected numeric (int or float), got string; .spec.zork: field not declared in schema");
  EXPECT_EQ(problems(R"({"spec":{"template":{"spec":{"containers":[{"name":"a","args":[5]}]}}}})"), R"(.spec.template.spec.containers[name="a"].args[0]: expected string, got &value.valueUnstructured{Value:5})");
  EXPECT_EQ(problems(R"({"spec":{"template":{"spec":{"containers":[5]}}}})"), ".spec.template.spec.containers: element 0: associative list with keys may not have non-map elements");
  EXPECT_EQ(problems(R"({"spec":"x"})"), ".spec: expected map, got &{x}");
  EXPECT_EQ(problems(R"({"spec":{"template":{"spec":{"hostNetwork":"x"}}}})"), ".spec.template.spec.hostNetwork: expected boolean, got &{x}");
}

TEST(Codec, SecretsHoldRawBytes) {
  auto s = from_json<core::Secret>(*json::parse(R"({"metadata":{"name":"s"},"data":{"k":"aGVsbG8="},"type":"Opaque"})"));
  ASSERT_TRUE(s.ok());
  EXPECT_EQ(s->data.at("k"), "hello");
  EXPECT_EQ(to_json(*s)["data"]["k"].as_string(), "aGVsbG8=");
}

// The bytes that k8s.io/api's marshaller gives for these objects, worked out by hand from the .proto.
TEST(Protobuf, BytesAreUpstreams) {
  core::ContainerPort port;
  port.name = "http";
  port.container_port = 80;
  port.protocol = "TCP";
  EXPECT_EQ(hex_encode(to_protobuf(port)),
            "0a0468747470"
            "1000"
            "1850"
            "2203544350"
            "2a00");
  meta::LabelSelector sel;
  sel.match_labels["app"] = "web";
  EXPECT_EQ(hex_encode(to_protobuf(sel)),
            "0a0a0a03617070"
            "1203776562");
  core::ResourceRequirements r;
  r.limits["cpu"] = Quantity::of("1");
  EXPECT_EQ(hex_encode(to_protobuf(r)),
            "0a0a0a03637075"
            "12030a0131");
  core::HTTPGetAction get;
  get.path = "/";
  get.port = 8080;
  EXPECT_EQ(hex_encode(to_protobuf(get)),
            "0a012f"
            "1207080010903f1a00"
            "1a00"
            "2200");
  // ConfigMapKeySelector { localObjectReference { name }, key }: the inline struct is a message of its own.
  core::ConfigMapKeySelector k;
  k.name = "cm";
  k.key = "a";
  EXPECT_EQ(hex_encode(to_protobuf(k)),
            "0a040a02636d"
            "120161");
}

TEST(Protobuf, EnvelopeRoundTrip) {
  json::Value pod = *json::parse(R"({"kind":"Namespace","apiVersion":"v1","metadata":{"name":"x"},"spec":{},"status":{}})");
  auto bytes = object_to_envelope(pod);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  EXPECT_TRUE(bytes->starts_with(std::string("k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace", 4 + 17)));
  auto back = envelope_to_object(*bytes);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(json::dump(*back), json::dump(pod));
  json::Value list = *json::parse(R"({"kind":"NamespaceList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"x"},"spec":{},"status":{}}]})");
  auto list_bytes = object_to_envelope(list);
  ASSERT_TRUE(list_bytes.ok());
  EXPECT_EQ(json::dump(*envelope_to_object(*list_bytes)), json::dump(list));
  EXPECT_FALSE(object_to_envelope(*json::parse(R"({"kind":"NodePool","apiVersion":"karpenter.sh/v1"})")).ok());
}

TEST(Protobuf, BrokenBytesAreErrors) {
  std::string good = to_protobuf(*from_json<apps::Deployment>(*yaml::parse(kDeployment)));
  for (size_t n = 0; n < good.size(); n += 3) (void)from_protobuf<apps::Deployment>(good.substr(0, n));
  EXPECT_FALSE(from_protobuf<core::Pod>("\xff\xff\xff").ok());
  EXPECT_FALSE(from_protobuf<core::Pod>(std::string("\x0a\x7f") + "abc").ok());
}

TEST(Codec, CrdsSchemasThatRefer) {
  json::Value v = *json::parse(R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"string"}},"m":{"type":"object","additionalProperties":true},"n":{"x-kubernetes-int-or-string":true,"default":3}}})");
  auto s = from_json<apiextensions::JSONSchemaProps>(v);
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(json::dump_sorted(to_json(*s)), json::dump_sorted(v));
  auto back = from_protobuf<apiextensions::JSONSchemaProps>(to_protobuf(*s));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(json::dump_sorted(to_json(*back)), json::dump_sorted(v));
}

TEST(Codec, CustomResources) {
  json::Value in = *yaml::parse(R"(
kind: NodePool
apiVersion: karpenter.sh/v1
metadata: {name: default}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      requirements:
      - {key: karpenter.sh/capacity-type, operator: In, values: [spot]}
      expireAfter: 720h
  limits: {cpu: 1k}
)");
  auto p = from_json<karpenter::NodePool>(in);
  ASSERT_TRUE(p.ok()) << p.error().message;
  EXPECT_EQ(p->spec.limits.at("cpu").value(), 1000);
  EXPECT_EQ(json::dump_sorted(to_json(*p)), json::dump_sorted(in));
}

TEST(Kinds, RegistryKnowsNames) {
  const KindInfo* d = find_by_name("deploy");
  ASSERT_TRUE(d);
  EXPECT_EQ(d->resource().kind, "Deployment");
  EXPECT_EQ(find_kind("apps", "v1", "Deployment"), d);
  EXPECT_EQ(find_resource("apps", "v1", "deployments"), d);
  EXPECT_EQ(find_by_name("deployments.apps"), d);
  EXPECT_EQ(find_by_name("deployments.v1.apps"), d);
  EXPECT_EQ(find_by_name("events")->resource().group, "");
  EXPECT_TRUE(d->subresource("scale"));
  EXPECT_EQ(find_kind("gateway.networking.k8s.io", "v1beta1", "Gateway")->resource().version, "v1");
  EXPECT_EQ(find_by_name("nosuch"), nullptr);
  int builtin = 0;
  for (auto* k : all_kinds()) builtin += !k->crd;
  EXPECT_EQ(builtin, 68);
}

TEST(Kinds, EveryKindDecodesEncodesAndHasAManifest) {
  for (auto* k : all_kinds()) {
    auto v = canonical_json(*k->type, json::Object{{"metadata", json::Object{{"name", "x"}}}});
    ASSERT_TRUE(v.ok()) << k->resource().kind;
    EXPECT_EQ((*v)["kind"].as_string(), k->resource().kind);
    if (k->crd) continue;
    auto bytes = json_to_protobuf(*k->type, *v);
    ASSERT_TRUE(bytes.ok());
    auto back = protobuf_to_json(*k->type, *bytes);
    ASSERT_TRUE(back.ok()) << k->resource().kind << ": " << back.error().message;
    EXPECT_EQ(json::dump(*back), json::dump(*v));
  }
  EXPECT_GT(all_crd_manifests().size(), 20u);
  json::Value np = crd_manifest(*find_by_name("nodepools"));
  EXPECT_EQ(np["metadata"]["name"].as_string(), "nodepools.karpenter.sh");
  auto crd = from_json<apiextensions::CustomResourceDefinition>(np);
  ASSERT_TRUE(crd.ok()) << crd.error().message;
  EXPECT_EQ(crd->spec.versions.at(0).subresources->scale->spec_replicas_path, ".spec.replicas");
}

TEST(Codec, FieldsThatTheTypesDoNotHaveAreNamedWhereTheyStand) {
  const json::Value v = *yaml::parse(R"(
kind: CustomResourceDefinition
apiVersion: apiextensions.k8s.io/v1
metadata: {name: x, nome: y, labels: {any: thing}, ownerReferences: [{kind: A, kund: B}]}
spec:
  group: x
  oops: {deep: 1}
  versions:
  - {name: v1}
  - name: v2
    extra: 1
    schema:
      openAPIV3Schema:
        properties:
          a: {type: string, tipe: string}
          b: {default: {free: form}}
        additionalProperties: {tipe: string}
)");
  std::vector<std::string> unknown;
  const TypeInfo& type = *find_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")->type;
  auto canonical = canonical_json(type, v, &unknown);
  ASSERT_TRUE(canonical.ok()) << canonical.error().message;
  EXPECT_EQ(unknown, std::vector<std::string>({"metadata.nome", "metadata.ownerReferences[0].kund", "spec.oops", "spec.versions[1].extra",
                                               "spec.versions[1].schema.openAPIV3Schema.properties.a.tipe"}));
  EXPECT_EQ(json::dump(*canonical).find("tipe"), std::string::npos);
  // Errors name members only, as upstream's decoder does, however the members are ordered.
  const json::Value wrong = *yaml::parse("{spec: {versions: [{name: v1}, {served: maybe}], group: x}, kind: CustomResourceDefinition}");
  auto r = canonical_json(type, wrong, &unknown);
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.error().message.find(".spec.versions.served of type bool"), std::string::npos) << r.error().message;
}

TEST(Codec, ReadersGetEverythingButManagedFields) {
  const json::Value v = *yaml::parse(R"(
kind: Pod
apiVersion: v1
metadata:
  name: x
  labels: {managedFields: kept}
  managedFields: [{manager: a, operation: Update, fieldsV1: {"f:spec": {}}}]
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: set, uid: u}]
spec:
  containers: [{name: c, image: i, readinessProbe: {httpGet: {port: 80}}, env: [{name: N, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]}]
  volumes: [{name: v, projected: {sources: [{configMap: {name: m}}]}}]
)");
  auto whole = from_json<core::Pod>(v);
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->metadata.managed_fields.size(), 1u);
  core::Pod read;
  ASSERT_TRUE(decode_for_readers(core::Pod::type_info(), v, &read).ok());
  EXPECT_TRUE(read.metadata.managed_fields.empty());
  whole->metadata.managed_fields.clear();
  EXPECT_TRUE(read == *whole);
  EXPECT_FALSE(decode_for_readers(core::Pod::type_info(), *json::parse(R"({"spec":1})"), &read).ok());
  EXPECT_FALSE(decode_for_readers(core::Pod::type_info(), json::Value(1), &read).ok());
}

}  // namespace
}  // namespace caravel::kube
