#include "kube/table.h"

#include <gtest/gtest.h>

#include "base/yaml.h"
#include "kube/validation.h"

namespace caravel::kube {
namespace {

json::Value y(const char* text) { return *yaml::parse(text); }
const Time kNow = *parse_rfc3339("2026-11-23T04:00:00Z");
std::string row(const char* kind, const char* object) { return json::dump(table_cells(*find_by_name(kind), y(object), kNow)); }

TEST(Table, Pods) {
  const char* meta = "metadata: {name: web, creationTimestamp: '2026-11-23T03:55:00Z'";
  auto pod = [&](const std::string& rest) { return row("pods", ("{" + std::string(meta) + rest + "}").c_str()); };
  EXPECT_EQ(pod("}, spec: {nodeName: n1, containers: [{name: a}, {name: b}]}, status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}], "
                "containerStatuses: [{name: a, ready: true, restartCount: 2, state: {running: {}}, lastState: {terminated: {finishedAt: '2026-11-23T03:58:00Z'}}}, {name: b, state: {waiting: {reason: CrashLoopBackOff}}}]}"),
            R"x(["web","1/2","CrashLoopBackOff","2 (2m ago)","5m","10.0.0.1","n1","<none>","<none>"])x");
  EXPECT_EQ(pod("}, spec: {containers: [{name: a}], initContainers: [{name: i}]}, status: {phase: Pending, initContainerStatuses: [{name: i, state: {running: {}}}]}"),
            R"(["web","0/1","Init:0/1","0","5m","<none>","<none>","<none>","<none>"])");
  EXPECT_EQ(pod(", deletionTimestamp: '2026-11-23T03:59:00Z'}, spec: {containers: [{name: a}]}, status: {phase: Running}"),
            R"(["web","0/1","Terminating","0","5m","<none>","<none>","<none>","<none>"])");
}

TEST(Table, OthersAsKubectlShowsThem) {
  EXPECT_EQ(row("deploy", "{metadata: {name: d, creationTimestamp: '2026-11-23T03:00:00Z'}, spec: {replicas: 3, selector: {matchLabels: {app: d}}, template: {spec: {containers: [{name: c, image: i}]}}}, status: {readyReplicas: 1, updatedReplicas: 3, availableReplicas: 1}}"),
            R"(["d","1/3",3,1,"60m","c","i","app=d"])");
  EXPECT_EQ(row("svc", "{metadata: {name: s, creationTimestamp: '2026-11-22T04:00:00Z'}, spec: {type: LoadBalancer, clusterIP: 172.20.0.5, ports: [{port: 80, nodePort: 30080, protocol: TCP}], selector: {a: b}}}"),
            R"(["s","LoadBalancer","172.20.0.5","<pending>","80:30080/TCP","24h","a=b"])");
  EXPECT_EQ(row("nodes", "{metadata: {name: n, labels: {node-role.kubernetes.io/worker: ''}, creationTimestamp: '2026-11-23T03:59:30Z'}, spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: 'True'}], nodeInfo: {kubeletVersion: v1.36.0}, addresses: [{type: InternalIP, address: 10.0.0.9}]}}"),
            R"(["n","Ready,SchedulingDisabled","worker","30s","v1.36.0","10.0.0.9","<none>","<unknown>","<unknown>","<unknown>"])");
  EXPECT_EQ(row("ing", "{metadata: {name: i, creationTimestamp: '2026-11-23T03:59:30Z'}, spec: {ingressClassName: nginx, tls: [{}], rules: [{host: a.b}]}, status: {loadBalancer: {ingress: [{hostname: lb}]}}}"),
            R"(["i","nginx","a.b","lb","80, 443","30s"])");
  EXPECT_EQ(row("nodepools", "{metadata: {name: np, creationTimestamp: '2026-11-23T03:59:30Z'}, spec: {template: {spec: {nodeClassRef: {name: default}}}}, status: {nodes: 2, conditions: [{type: Ready, status: 'True'}]}}"),
            R"(["np","default","2","True","30s",null,null,null])");
  EXPECT_EQ(row("ev", "{metadata: {name: e}, involvedObject: {kind: Pod, name: p}, type: Normal, reason: Started, message: 'hi ', lastTimestamp: '2026-11-23T03:59:00Z', firstTimestamp: '2026-11-23T03:58:00Z', count: 3, source: {component: kubelet}}"),
            R"(["60s","Normal","Started","pod/p","","kubelet","hi","2m",3,"e"])");
}

TEST(Table, EveryColumnHasAPrinter) {
  // A cell may be empty, but no "@name" may be unknown to the printers of an object that has everything.
  for (auto* k : all_kinds()) {
    auto columns = table_columns(*k);
    auto cells = table_cells(*k, json::Object{{"metadata", json::Object{{"name", "x"}}}}, kNow);
    EXPECT_EQ(columns.size(), cells.size()) << k->resource().kind;
    for (auto& c : k->columns)
      if (c.source.starts_with("@")) {
        size_t i = static_cast<size_t>(&c - k->columns.data()) + (k->resource().kind == "Event" ? 0 : 1);
        EXPECT_FALSE(cells.at(i).is_null()) << k->resource().kind << " " << c.name;
      }
  }
}

TEST(JsonPath, Forms) {
  json::Value v = y("{a: {b.c: [1, 2, {d: x}], list: [{type: Ready, status: 'True'}, {type: Other, status: 'False'}]}}");
  auto one = [&](const char* p) {
    auto path = JsonPath::parse(p);
    if (!path.ok()) return std::string("error");
    std::string s;
    for (auto* f : path->find(v)) s += json::dump(*f) + " ";
    return s;
  };
  EXPECT_EQ(one(".a.b\\.c[2].d"), "\"x\" ");
  EXPECT_EQ(one(".a['b.c'][0]"), "1 ");
  EXPECT_EQ(one(".a.b\\.c[-1].d"), "\"x\" ");
  EXPECT_EQ(one(".a.list[?(@.type==\"Ready\")].status"), "\"True\" ");
  EXPECT_EQ(one(".a.list[*].type"), "\"Ready\" \"Other\" ");
  EXPECT_EQ(one("{.a.nope}"), "");
  EXPECT_EQ(one(".a[?(@.x"), "error");
}

TEST(Names, Checks) {
  EXPECT_EQ(check_dns1123_subdomain("a.b-c"), "");
  EXPECT_NE(check_dns1123_subdomain("A"), "");
  EXPECT_NE(check_dns1123_label(std::string(64, 'a')), "");
  EXPECT_NE(check_dns1035_label("1a"), "");
  EXPECT_EQ(check_qualified_name("example.com/My.Name"), "");
  EXPECT_NE(check_qualified_name("a/b/c"), "");
  EXPECT_EQ(check_ip("fe80::1"), "");
  EXPECT_EQ(check_ip("10.0.0.1"), "");
  EXPECT_NE(check_ip("10.0.0.256"), "");
  EXPECT_EQ(check_port_name("http-2"), "");
}

TEST(ValidateSchema, ReportsAsUpstream) {
  auto s = schema_from_openapi(y(
      "{type: object, required: [n], properties: {n: {type: integer, minimum: 1, maximum: 5}, s: {type: string, pattern: '^a+$', enum: [a, aa]}, "
      "l: {type: array, maxItems: 2, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, properties: {k: {type: string}}}}, q: {x-kubernetes-int-or-string: true}}}"));
  ASSERT_TRUE(s.ok());
  auto errors = [&](const char* v) {
    FieldErrors e;
    validate_schema(**s, y(v), FieldPath("spec"), e);
    std::string out;
    for (auto& x : e) out += x.text() + "; ";
    return out;
  };
  EXPECT_EQ(errors("{n: 3, s: a, q: 1}"), "");
  EXPECT_EQ(errors("{}"), "spec.n: Required value; ");
  EXPECT_EQ(errors("{n: 9}"), "spec.n: Invalid value: 9: spec.n in body should be less than or equal to 5; ");
  EXPECT_EQ(errors("{n: x}"), "spec.n: Invalid value: \"string\": spec.n in body must be of type integer: \"string\"; ");
  EXPECT_EQ(errors("{n: 1, s: b}"), "spec.s: Unsupported value: \"b\": supported values: \"a\", \"aa\"; spec.s: Invalid value: \"b\": spec.s in body should match '^a+$'; ");
  EXPECT_EQ(errors("{n: 1, l: [{k: a}, {k: a}]}"), "spec.l[1]: Duplicate value: {\"k\":\"a\"}; ");
}

}  // namespace
}  // namespace caravel::kube
