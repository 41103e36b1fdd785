#!/bin/bash
# Pod start time in the running platform: from `kubectl run` to Ready, image already there, ten pods one after another.
# usage: bench_pod_start.sh BUILD_DIR     starts a platform of its own when it may (root), else says why not
set -eu
caravel=$(realpath "$1/caravel")
[ "$(id -u)" = 0 ] || { echo "pod start: skipped, a world needs root"; exit 0; }
data=$(mktemp -d /var/tmp/caravel-bench.XXXXXX)
trap '"$caravel" down --data-dir "$data" >/dev/null 2>&1; rm -rf "$data"' EXIT
"$caravel" up --data-dir "$data" --no-flows -o json > "$data.json" || { cat "$data.json"; rm -f "$data.json"; exit 1; }
echo "up without flows: $(jq .seconds "$data.json") s, memory $(jq '.memoryBytes / 1048576 | floor' "$data.json") MB (target 600 MB, aim 250)"
rm -f "$data.json"
export KUBECONFIG=$("$caravel" kubeconfig --path --data-dir "$data")
times=()
for i in $(seq 10); do
  started=$(date +%s%N)
  kubectl run "start-$i" --image=caravel.local/busybox:latest --image-pull-policy=Never --restart=Never -- sleep 1000 >/dev/null
  kubectl wait --for=condition=Ready "pod/start-$i" --timeout=60s >/dev/null
  times+=($((($(date +%s%N) - started) / 1000000)))
done
sorted=($(printf '%s\n' "${times[@]}" | sort -n))
echo "pod start, kubectl run to Ready: median ${sorted[5]} ms, fastest ${sorted[0]} ms, slowest ${sorted[9]} ms (kubectl's own start included, twice)"
