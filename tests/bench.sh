#!/bin/sh
# Runs the benchmarks; each prints its target beside its figure.
# usage: tests/bench.sh BUILD_DIR
set -eu
build=${1:-build}
ran=0
for b in "$build"/*_bench; do
  [ -x "$b" ] || continue
  echo "== $(basename "$b")"
  "$b"
  ran=$((ran + 1))
done
[ -x tests/bench_api.sh ] && tests/bench_api.sh "$build"
[ $ran -gt 0 ] || echo "no benchmark programs in $build; build them with ninja -C $build"
