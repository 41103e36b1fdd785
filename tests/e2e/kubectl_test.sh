#!/bin/bash
# The commands that people type, with the kubectl that is installed or that KUBECTL names (1.20 and later).
# usage: [KUBECTL=path/to/kubectl] kubectl_test.sh path/to/caravel
set -u
caravel=$(realpath "$1")
k=${KUBECTL:-kubectl}
command -v "$k" >/dev/null || { echo "skipped: there is no kubectl"; exit 77; }
data=$(mktemp -d /var/tmp/caravel-kubectl.XXXXXX)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$caravel" server --data-dir "$data" --listen 127.0.0.1:"$port" --hollow-nodes 3 > "$data/log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null; rm -rf "$data"' EXIT
for _ in $(seq 100); do [ -s "$data/kubeconfig" ] && break; sleep 0.1; done
export KUBECONFIG=$data/kubeconfig HOME=$data
for _ in $(seq 100); do [ "$("$k" get nodes --no-headers 2>/dev/null | grep -c ' Ready ')" = 3 ] && break; sleep 0.1; done
cat > "$data/web.yaml" <<'Y'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "nginx:1"}]
Y
sed 's/replicas: 2/replicas: two/' "$data/web.yaml" > "$data/wrong.yaml"
failures=0
# try TEXT ARGUMENTS...: succeeds and its output contains TEXT.
try() {
  local want=$1 out code
  shift
  out=$(timeout 60 "$k" "$@" 2>&1)
  code=$?
  if [ $code != 0 ] || [[ "$out" != *"$want"* ]]; then
    echo "FAILED ($code): kubectl $*: wanted \"$want\", got: $(echo "$out" | tail -n 4)"
    failures=$((failures + 1))
  fi
}
refuse() {
  local want=$1 out
  shift
  out=$(timeout 60 "$k" "$@" 2>&1) && { echo "FAILED: kubectl $* was not refused"; failures=$((failures + 1)); }
  [[ "$out" == *"$want"* ]] || { echo "FAILED: kubectl $*: wanted \"$want\", got: $(echo "$out" | tail -n 4)"; failures=$((failures + 1)); }
}
echo "$("$k" version --client 2>/dev/null | head -n 1)"
try hollow-00000 get nodes
try "deployment.apps/web created" apply -f "$data/web.yaml"
try "unchanged" apply -f "$data/web.yaml"
refuse "replicas" apply -f "$data/wrong.yaml"
try "successfully rolled out" rollout status deploy/web --timeout=30s
try 100. get pods -o wide
try "scaled" scale deploy/web --replicas=3
try "image updated" set image deploy/web web=nginx:2
try "successfully rolled out" rollout status deploy/web --timeout=30s
try "REVISION" rollout history deploy/web
try "rolled back" rollout undo deploy/web
try "RollingUpdateStrategy" describe deploy web
try "type" explain deployment.spec.strategy
try "FIELDS" explain pod --recursive
try "deployments" api-resources
try "apps/v1" api-versions
try "yes" auth can-i create pods
try "*.*" auth can-i --list
try "labeled" label deploy web a=b
try "annotated" annotate deploy web a=b
try "patched" patch deploy web -p '{"spec":{"revisionHistoryLimit":5}}'
try "patched" patch deploy web --type=merge -p '{"spec":{"revisionHistoryLimit":6}}'
try "patched" patch deploy web --type=json -p '[{"op":"replace","path":"/spec/revisionHistoryLimit","value":7}]'
try "exposed" expose deploy web --port 80
try "web" get endpoints web
try "created" create configmap c --from-literal=a=b
try "a: b" get configmap c -o yaml
try "b" get configmap c -o 'jsonpath={.data.a}'
try "b" get configmap c -o 'custom-columns=A:.data.a' --no-headers
try "created" create secret generic s --from-literal=a=b
try "created" create serviceaccount sa
try "created" create role r --verb=get --resource=pods
try "created" create rolebinding rb --role=r --serviceaccount=default:sa
try "yes" auth can-i get pods --as=system:serviceaccount:default:sa
refuse "no" auth can-i delete pods --as=system:serviceaccount:default:sa
try "condition met" wait --for=condition=Available deploy/web --timeout=30s
try "serverside-applied" apply --server-side --force-conflicts -f "$data/web.yaml"
try "created" create job j --image=x
try "web" get all
try "Normal" get events
try "Kubernetes" cluster-info
try "evicted" drain hollow-00000 --ignore-daemonsets --force
try "uncordoned" uncordon hollow-00000
try "tainted" taint node hollow-00001 a=b:NoSchedule
try "untainted" taint node hollow-00001 a=b:NoSchedule-
try "autoscaled" autoscale deploy web --max 3
# kubectl before 1.21 makes budgets of policy/v1beta1, which no server has had since 1.25.
[[ "$("$k" version --client 2>/dev/null)" == *'Minor:"20"'* ]] || try "created" create poddisruptionbudget p --selector=app=web --min-available=1
try "created" create quota q --hard=pods=100
try "pods" describe quota q
try "deleted" delete deploy web --wait=true --timeout=60s
try "created" run one --image=x
try "condition met" wait --for=condition=Ready pod/one --timeout=30s
try "deleted" delete pod one --timeout=30s
refuse "NotFound" get pod one
refuse "the server doesn't have a resource type" get nonsense
try "created" create namespace n
try "deleted" delete namespace n --timeout=60s
[ $failures = 0 ] || exit 1
echo passed
