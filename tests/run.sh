#!/bin/sh
# Everything that CI runs: unit tests, then the end-to-end tests with real clients, through ctest. Then nothing may be
# left: no process of ours, namespace, mount, loop device, nftables rule, network link or cgroup that was not there before.
# usage: tests/run.sh BUILD_DIR
set -eu
build=${1:-build}
before=$(mktemp) after=$(mktemp)
trap 'rm -f "$before" "$after"' EXIT
"$(dirname "$0")/traces.sh" "$build" > "$before"
status=0
ctest --test-dir "$build" --output-on-failure --timeout 300 -j "$(nproc)" || status=$?
# What a dying process held goes a moment after it.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  "$(dirname "$0")/traces.sh" "$build" > "$after"
  left=$(LC_ALL=C comm -13 "$before" "$after")
  [ -n "$left" ] || exit $status
  sleep 1
done
echo "The tests left behind:"
echo "$left"
exit 1
