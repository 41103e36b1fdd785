#!/bin/sh
# Builds and runs the benchmarks; each prints its target beside its figure. What was learnt is in docs/benchmarks.md.
# usage: tests/bench.sh BUILD_DIR
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
ninja -C "$build" caravel api_bench scheduler_bench scale_bench day_bench
echo "== API server"
"$build/api_bench" "$build/caravel"
echo "== scheduler"
"$build/scheduler_bench"
echo "== simulated clusters"
"$build/scale_bench"
"$build/day_bench" examples/simulate/day.yaml
echo "== platform"
tests/bench_pod_start.sh "$build"
