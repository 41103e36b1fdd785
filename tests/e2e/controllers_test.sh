#!/bin/bash
# What people see of the controllers and the scheduler through kubectl: pausing, hints, budgets, token Secrets, node ranges,
# devices (resource.k8s.io).
# usage: controllers_test.sh path/to/caravel
set -u
caravel=$(realpath "$1")
command -v kubectl >/dev/null || { echo "skipped: there is no kubectl"; exit 77; }
data=$(mktemp -d /var/tmp/caravel-controllers.XXXXXX)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$caravel" server --data-dir "$data" --listen 127.0.0.1:"$port" --hollow-nodes 6 --hollow-zones 3 --allocate-node-cidrs --cluster-cidr 10.244.0.0/16 > "$data/log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null; rm -rf "$data"' EXIT
for _ in $(seq 100); do [ -s "$data/kubeconfig" ] && break; sleep 0.1; done
export KUBECONFIG=$data/kubeconfig HOME=$data
failures=0
# see TEXT ARGUMENTS...: soon the output of kubectl contains TEXT.
see() {
  local want=$1 out=""
  shift
  for _ in $(seq 100); do
    out=$(kubectl "$@" 2>&1)
    [[ "$out" == *"$want"* ]] && return
    sleep 0.1
  done
  echo "FAILED: kubectl $*: wanted \"$want\", got: $(echo "$out" | tail -n 4)"
  failures=$((failures + 1))
}
version() { kubectl get "$@" -o jsonpath='{.metadata.resourceVersion}' 2>/dev/null; }

# How nodes are lost is set by kube-controller-manager's flags; a mistake in one is named.
for wrong in "--node-eviction-rate fast" "--unhealthy-zone-threshold 2" "--node-monitor-grace-period soon" "--large-cluster-size-threshold -1"; do
  "$caravel" server --data-dir "$data/wrong" $wrong 2>&1 | grep -q -- "${wrong% *}" || { echo "FAILED: $wrong is taken"; failures=$((failures + 1)); }
done

see 10.244. get nodes -o jsonpath='{.items[5].spec.podCIDRs}'
[ "$(kubectl get nodes -o jsonpath='{range .items[*]}{.spec.podCIDR}{"\n"}{end}' 2>/dev/null | sort -u | wc -l)" = 6 ] || { echo "FAILED: two nodes have one range"; failures=$((failures + 1)); }

# A paused Deployment that is complete is left alone; paused changes are rolled out on resuming.
kubectl create deployment web --image=nginx --replicas=6 >/dev/null 2>&1
see "successfully rolled out" rollout status deploy/web --timeout=30s
kubectl rollout pause deploy/web >/dev/null 2>&1
see DeploymentPaused get deploy web -o jsonpath='{.status.conditions[*].reason}'
sleep 0.3
before=$(version deploy web); sleep 1
[ "$(version deploy web)" = "$before" ] || { echo "FAILED: a paused Deployment is written again and again"; failures=$((failures + 1)); }
see "image updated" set image deploy/web nginx=nginx:2
see resumed rollout resume deploy/web
see "successfully rolled out" rollout status deploy/web --timeout=30s

# Where traffic should stay.
kubectl apply -f - >/dev/null 2>&1 <<'Y'
apiVersion: v1
kind: Service
metadata: {name: near}
spec: {selector: {app: web}, ports: [{port: 80}], trafficDistribution: PreferSameNode}
---
apiVersion: v1
kind: Service
metadata: {name: auto, annotations: {service.kubernetes.io/topology-mode: Auto}}
spec: {selector: {app: web}, ports: [{port: 80}]}
Y
see '"forNodes":[{"name":"hollow-0000' get endpointslices -l kubernetes.io/service-name=near -o jsonpath='{.items[*].endpoints[*].hints}'
see '"forZones":[{"name":' get endpointslices -l kubernetes.io/service-name=auto -o jsonpath='{.items[*].endpoints[*].hints}'
see TopologyAwareHintsEnabled get events
kubectl scale deploy/web --replicas=2 >/dev/null 2>&1
see "Insufficient number of endpoints (2 endpoints, 3 zones), addressType: IPv4" get events

# Budgets of workloads that have a scale, and of one that has none.
kubectl apply -f - >/dev/null 2>&1 <<'Y'
apiVersion: v1
kind: ReplicationController
metadata: {name: rc}
spec: {replicas: 3, selector: {app: rc}, template: {metadata: {labels: {app: rc}}, spec: {containers: [{name: c, image: x}]}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: rc}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: rc}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ds}
spec: {selector: {matchLabels: {app: ds}}, template: {metadata: {labels: {app: ds}}, spec: {containers: [{name: c, image: x}]}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: ds}
spec: {minAvailable: 50%, selector: {matchLabels: {app: ds}}}
Y
see "SufficientPods 1" get pdb rc -o jsonpath='{.status.conditions[0].reason} {.status.disruptionsAllowed}'
see "SyncFailed: daemonsets.apps does not implement the scale subresource" get pdb ds -o jsonpath='{.status.conditions[0].reason}: {.status.conditions[0].message}'

# A token that does not end: good while its Secret is there.
kubectl create serviceaccount robot >/dev/null 2>&1
kubectl apply -f - >/dev/null 2>&1 <<'Y'
apiVersion: v1
kind: Secret
metadata: {name: robot, annotations: {kubernetes.io/service-account.name: robot}}
type: kubernetes.io/service-account-token
Y
see default get secret robot -o go-template='{{.data.namespace | base64decode}}'
see . get secret robot -o go-template='{{.data.token | base64decode}}'
token=$(kubectl get secret robot -o go-template='{{.data.token | base64decode}}' 2>/dev/null)
as_robot="--kubeconfig /dev/null --server https://127.0.0.1:$port --insecure-skip-tls-verify --token $token"
see system:serviceaccount:default:robot $as_robot auth whoami
kubectl delete serviceaccount robot >/dev/null 2>&1
see NotFound get secret robot
see "must be logged in" $as_robot auth whoami

# Devices: a pod's claim is made from its template, allocated by the scheduler, and given back.
kubectl apply -f - >/dev/null 2>&1 <<'Y'
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu}
spec: {selectors: [{cel: {expression: 'device.driver == "gpu.example.com"'}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: node2}
spec:
  driver: gpu.example.com
  nodeName: hollow-00002
  pool: {name: hollow-00002, generation: 1, resourceSliceCount: 1}
  devices: [{name: gpu-0, attributes: {model: {string: big}}}]
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: gpu}
spec: {spec: {devices: {requests: [{name: g, exactly: {deviceClassName: gpu, selectors: [{cel: {expression: 'device.attributes["gpu.example.com"].model == "big"'}}]}}]}}}
Y
train() {
  kubectl apply -f - >/dev/null 2>&1 <<Y
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec: {resourceClaims: [{name: gpu, resourceClaimTemplateName: gpu}], containers: [{name: c, image: x, resources: {claims: [{name: gpu}]}}]}
Y
}
train train
see "Running hollow-00002" get pod train -o jsonpath='{.status.phase} {.spec.nodeName}'
see "allocated,reserved" get resourceclaims
see gpu-0 get resourceclaims -o jsonpath='{.items[0].status.allocation.devices.results[0].device}'
train train2
see "cannot allocate all claims" get pod train2 -o jsonpath='{.status.conditions[*].message}'
kubectl delete pod train --wait=false >/dev/null 2>&1
see "Running hollow-00002" get pod train2 -o jsonpath='{.status.phase} {.spec.nodeName}'
[ $failures = 0 ] || exit 1
echo passed
