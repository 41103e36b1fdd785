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
fail() { echo "FAILED: $*"; tail -n 5 "$data"/world/logs/*.log 2>/dev/null; exit 1; }

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

"$caravel" down --data-dir "$data" || fail "down"
pgrep -f -- "--data-dir $data" >/dev/null && fail "processes are left: $(pgrep -fa -- "--data-dir $data")"
[ "$(ip -o link | wc -l)" = "$links_before" ] || fail "network links are left"
[ "$(wc -l < /proc/mounts)" = "$mounts_before" ] || fail "mounts are left"
[ "$(nft list ruleset 2>/dev/null | wc -l)" = "$rules_before" ] || fail "nftables rules are left"
find /sys/fs/cgroup -maxdepth 2 -type d -name 'caravel-*' | grep -q . && fail "cgroups are left"
echo "passed"
