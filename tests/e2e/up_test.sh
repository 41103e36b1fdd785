#!/bin/bash
# The main job: `caravel up` drives all flows, a second `up` keeps the data, `down` leaves nothing behind.
# usage: up_test.sh path/to/caravel
set -u
caravel=$(realpath "$1")
[ "$(id -u)" = 0 ] || { echo "skipped: a world needs root"; exit 77; }
unshare -n true 2>/dev/null || { echo "skipped: network namespaces cannot be made here"; exit 77; }
data=$(mktemp -d /var/tmp/caravel-e2e.XXXXXX)
links_before=$(ip -o link | wc -l) mounts_before=$(wc -l < /proc/mounts) rules_before=$(nft list ruleset 2>/dev/null | wc -l)
cleanup() { "$caravel" down --data-dir "$data" >/dev/null 2>&1; rm -rf "$data"; }
trap cleanup EXIT
fail() {
  echo "FAILED: $*"
  tail -n 5 "$data"/world/logs/*.log 2>/dev/null
  export KUBECONFIG="$data/server/kubeconfig"
  kubectl get nodes,pods -A -o wide 2>&1 | tail -n 40
  kubectl get clusterissuers,certificates,certificaterequests,orders,challenges,nodeclaims,applications -A -o json 2>&1 | jq -c '.items[] | [.kind, .metadata.name, .status]' | cut -c1-1500
  for n in cert-manager karpenter; do kubectl -n $n get pods -o name | while read -r pod; do kubectl -n $n logs "$pod" --tail 15; done; done 2>&1
  exit 1
}

"$caravel" up --data-dir "$data" -o json > "$data.json"
status=$?
jq -e .flows "$data.json" >/dev/null || { cat "$data.json"; fail "caravel up"; }
jq -r '.flows | to_entries[] | "\(.key): ok=\(.value.ok) \(.value.seconds)s \(.value.detail)"' "$data.json"
jq -e '.flows | length == 4 and all(.ok)' "$data.json" >/dev/null || fail "a flow"
[ $status = 0 ] || fail "caravel up ended with $status"
echo "total $(jq .seconds "$data.json") s, memory $(jq .memoryBytes "$data.json") bytes"
rm -f "$data.json"

export KUBECONFIG=$("$caravel" kubeconfig --path --data-dir "$data")
[ "$(kubectl get nodes -o name | wc -l)" = 3 ] || fail "three nodes expected after scaling back"
kubectl -n demo get configmap page -o name >/dev/null || fail "the sample application's page"
"$caravel" status --data-dir "$data" >/dev/null || fail "status while running"

# A second `up` finds the first one running, or starts again on what was kept.
marker=$(kubectl -n demo get configmap page -o jsonpath='{.metadata.uid}')
"$caravel" up --data-dir "$data" --no-flows -o json > /dev/null || fail "a second up while running"
"$caravel" down --data-dir "$data" || fail "down"
"$caravel" up --data-dir "$data" --no-flows -o json > /dev/null || fail "up on kept data"
[ "$(kubectl -n demo get configmap page -o jsonpath='{.metadata.uid}')" = "$marker" ] || fail "the data was not kept"

# A container's own input and output, its end and its exit code.
said=$(printf 'one\ntwo' | timeout 60 kubectl run attached --image=caravel.local/busybox:latest --restart=Never -i --rm -q -- sh -c 'sleep 1; cat; echo " end"; exit 3' 2>/dev/null)
code=$?
[ "$said $code" = $'one\ntwo end 3' ] || fail "kubectl run -i gave: $said, code $code"

# An image as a volume: its files are there, read-only, and nothing is left of it when the pod has gone.
kubectl apply -f - >/dev/null <<'EOF' || fail "a pod with an image volume is refused"
apiVersion: v1
kind: Pod
metadata: {name: shows-an-image}
spec:
  restartPolicy: Never
  containers: [{name: c, image: "caravel.local/busybox:latest", command: [sh, -c, "ls /image/usr/bin/caravel && ! touch /image/x"], volumeMounts: [{name: v, mountPath: /image}]}]
  volumes: [{name: v, image: {reference: "caravel.local/caravel:latest"}}]
EOF
kubectl wait pod/shows-an-image --for=jsonpath='{.status.phase}'=Succeeded --timeout=30s >/dev/null || fail "the image volume: $(kubectl describe pod shows-an-image | tail -n 8)"
kubectl delete pod shows-an-image >/dev/null
views() { nsenter -t "$(pgrep -f -- "caravel world --data-dir $data" | tail -n 1)" -m ctr -a /run/containerd/containerd.sock -n k8s.io snapshots ls | grep -c 'kubernetes.io~image'; }
for _ in $(seq 20); do [ "$(views)" = 0 ] && break; sleep 0.5; done
[ "$(views)" = 0 ] || fail "the view of an image is left behind"

# kill -9 of any one process heals: each is killed once, then everything answers again: both load balancers,
# the API, three Ready nodes, all pods.
world=$(pgrep -f -- "caravel world --data-dir $data" | tail -n 1)
answers() {
  kubectl -n demo get configmap page >/dev/null 2>&1 &&
    curl -sf -m 2 http://demo.localhost:8080/ --resolve demo.localhost:8080:127.0.0.1 >/dev/null &&
    curl -skf -m 2 https://demo.localhost:8443/ --resolve demo.localhost:8443:127.0.0.1 >/dev/null &&
    [ "$(kubectl get nodes --no-headers | awk '$2 == "Ready"' | wc -l)" = 3 ] &&
    kubectl get pods -A --no-headers | awk '{split($3, r, "/"); if ($4 != "Running" || r[1] != r[2]) bad = 1} END {exit bad}'
}
for victim in "caravel server --data-dir $data" "caravel cloud .*$data" "containerd .*$data" "caravel git-server .*$data" "caravel edge .*$data" \
  "pebble -config $data" "caravel vpc-dns .*$data" "caravel node .*$data" "haproxy .*$data" "caravel nginx-ingress-controller" "nginx: master" \
  "caravel kube-proxy" "^/pause$" "caravel aws-load-balancer-controller" "caravel argocd-application-controller" "caravel cert-manager" "caravel karpenter" "httpd -f -p 8080"; do
  pid=$(pgrep -f -- "$victim" | head -n 1)
  [ -n "$pid" ] || fail "no process like: $victim"
  kill -9 "$pid"
  healed=""
  for _ in $(seq 200); do
    sleep 0.2
    pgrep -f -- "$victim" | grep -vqx "$pid" && answers && { healed=yes; break; }
  done
  [ -n "$healed" ] || fail "not healed after kill -9 of: $victim"
  echo "healed after kill -9 of: $victim"
done

# kill -9 of everything, then down.
kill -9 "$world"
sleep 0.5
"$caravel" down --data-dir "$data" || fail "down"
pgrep -f -- "--data-dir $data" >/dev/null && fail "processes are left: $(pgrep -fa -- "--data-dir $data")"
[ "$(ip -o link | wc -l)" = "$links_before" ] || fail "network links are left"
[ "$(wc -l < /proc/mounts)" = "$mounts_before" ] || fail "mounts are left"
[ "$(nft list ruleset 2>/dev/null | wc -l)" = "$rules_before" ] || fail "nftables rules are left"
find /sys/fs/cgroup -maxdepth 2 -type d -name 'caravel-*' | grep -q . && fail "cgroups are left"
echo "passed"
