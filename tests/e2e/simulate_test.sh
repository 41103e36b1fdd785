#!/bin/bash
# `caravel simulate`: a scenario file gives the same bytes every time, as text and as JSON; another seed is another
# run; mistakes are named. Needs no root. usage: tests/e2e/simulate_test.sh [path to caravel]
set -u
caravel=$(realpath "${1:-build/caravel}")
cd "$(dirname "$0")/../.."
dir=$(mktemp -d /tmp/caravel-simulate-XXXXXX)
trap 'rm -rf "$dir"' EXIT
failures=0
check() {
  local name=$1
  shift
  if "$@"; then echo "ok   $name"; else echo "FAIL $name"; failures=$((failures + 1)); fi
}
differ() { ! cmp -s <(sed 's/"seed":[0-9]*//' "$1") <(sed 's/"seed":[0-9]*//' "$2"); }

# Long scenarios are played for their first hour: enough to differ, short on a slow machine.
for file in examples/simulate/*.yaml; do
  name=$(basename "$file" .yaml)
  hour=
  grep -Eq '^duration: [0-9]{2,}h' "$file" && hour="--duration 1h"
  for n in 1 2; do
    timeout 100 "$caravel" simulate "$file" $hour -o json >"$dir/$name-$n.json" || { echo "FAIL simulate $file"; failures=$((failures + 1)); }
    timeout 100 "$caravel" simulate "$file" --duration 10m >"$dir/$name-$n.txt"
  done
  check "$name: JSON, byte for byte" cmp "$dir/$name-1.json" "$dir/$name-2.json"
  check "$name: text, byte for byte" cmp "$dir/$name-1.txt" "$dir/$name-2.txt"
  check "$name: is JSON with a timeline" python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); assert d["timeline"] and d["availability"]' "$dir/$name-1.json"
done

# Times are told in whole seconds: only a scenario whose machines fail shows that starts took another time.
timeout 100 "$caravel" simulate examples/simulate/zone-loss.yaml -o json --seed 77 >"$dir/other.json"
check "another seed is another run" differ "$dir/zone-loss-1.json" "$dir/other.json"

echo 'timeline: [{at: soon, failNode: hollow-00000}]' >"$dir/wrong.yaml"
"$caravel" simulate "$dir/wrong.yaml" >"$dir/out" 2>"$dir/error"
check "a mistake fails" [ $? != 0 ]
check "and is named" grep -q 'timeline\[0\].at: "soon" is not a duration' "$dir/error"
[ "$failures" = 0 ]
