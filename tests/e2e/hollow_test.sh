#!/bin/bash
# `caravel up --hollow` without privileges: control plane, GitOps and scaling flows with simulated nodes;
# kill -9 of each process heals, data is kept, nothing is left behind.
# usage: hollow_test.sh path/to/caravel
set -u
caravel=$(realpath "$1")
data=$(mktemp -d /var/tmp/caravel-hollow.XXXXXX)
as="" owner=$(id -u)
if [ "$owner" = 0 ]; then
  # As nobody, if that user may read the checkout; else as root, which is no harder to please.
  if setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$caravel" 2>/dev/null; then
    as="setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=$data" owner=65534
    chown 65534:65534 "$data"
  fi
fi
cleanup() { $as "$caravel" down --data-dir "$data" >/dev/null 2>&1; rm -rf "$data" "$data.json"; }
trap cleanup EXIT
fail() {
  echo "FAILED: $*"
  tail -n 5 "$data"/world/logs/*.log 2>/dev/null
  exit 1
}
cd /

if [ -n "$as" ]; then
  # Without --hollow: one document that says why and what to do.
  $as "$caravel" up --data-dir "$data" -o json > "$data.json" 2>/dev/null && fail "a whole world came up without root"
  jq -e '.error | contains("caravel up --hollow")' "$data.json" >/dev/null || fail "the refusal: $(cat "$data.json")"
fi

$as "$caravel" up --hollow --data-dir "$data" -o json > "$data.json" || { cat "$data.json"; fail "caravel up --hollow"; }
jq -r '.flows | to_entries[] | "\(.key): ok=\(.value.ok) \(.value.seconds)s \(.value.detail)"' "$data.json"
jq -e '.flows | .deployment.ok and .scaling.ok and .traffic.skipped and .certificate.skipped' "$data.json" >/dev/null || fail "a flow"
echo "total $(jq .seconds "$data.json") s, memory $(jq .memoryBytes "$data.json") bytes"

export KUBECONFIG=$("$caravel" kubeconfig --path --data-dir "$data")
[ "$(stat -c %a "$KUBECONFIG")" = 600 ] || fail "the kubeconfig can be read by others"
[ "$(kubectl get nodes -o name | wc -l)" = 3 ] || fail "three nodes expected after scaling back"
$as "$caravel" status --data-dir "$data" -o json | jq -e '.hollow and ([.processes[].ready] | all)' >/dev/null || fail "status"

# A user of its own: known by name, with no rights until RBAC gives some.
"$caravel" kubeconfig --data-dir "$data" --user alice --group dev > "$data/alice" || fail "kubeconfig --user"
[ "$(KUBECONFIG=$data/alice kubectl auth whoami -o jsonpath='{.status.userInfo.username}')" = alice ] || fail "alice is not alice"
KUBECONFIG=$data/alice kubectl get pods >/dev/null 2>&1 && fail "alice may list pods"

# kill -9 of any one process heals.
uid=$(kubectl -n demo get configmap page -o jsonpath='{.metadata.uid}')
for victim in server cloud git argocd karpenter hollow-nodes; do
  pid=$(jq ".processes.\"$victim\".pid" "$data/world/status.json")
  kill -9 "$pid" || fail "no process $victim"
  healed=""
  for _ in $(seq 100); do
    sleep 0.1
    new=$(jq ".processes.\"$victim\" | select(.ready) | .pid" "$data/world/status.json" 2>/dev/null)
    [ -n "$new" ] && [ "$new" != "$pid" ] && [ "$(kubectl -n demo get configmap page -o jsonpath='{.metadata.uid}' 2>/dev/null)" = "$uid" ] && { healed=yes; break; }
  done
  [ -n "$healed" ] || fail "not healed after kill -9 of $victim"
done
kubectl -n demo scale deployment web --replicas 4 >/dev/null || fail "scale"
sleep 0.5
# Argo CD heals what was changed by hand, so the pods are three again.
for _ in $(seq 100); do
  [ "$(kubectl -n demo get deployment web -o jsonpath='{.spec.replicas}/{.status.readyReplicas}')" = 3/3 ] && break
  sleep 0.2
done
[ "$(kubectl -n demo get deployment web -o jsonpath='{.spec.replicas}/{.status.readyReplicas}')" = 3/3 ] || fail "self-heal after the kills"

# Down, up again: the data is there. Then kill -9 of everything.
$as "$caravel" down --data-dir "$data" || fail "down"
$as "$caravel" up --hollow --no-flows --data-dir "$data" -o json > /dev/null || fail "up on kept data"
[ "$(kubectl -n demo get configmap page -o jsonpath='{.metadata.uid}')" = "$uid" ] || fail "the data was not kept"
kill -9 "$(cut -d' ' -f1 "$data/world/world.pid")"
sleep 0.5
$as "$caravel" down --data-dir "$data" || fail "down after kill -9"
pgrep -f -- "$data" >/dev/null && fail "processes are left: $(pgrep -fa -- "$data")"
echo "passed"
