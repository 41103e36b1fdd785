#!/bin/sh
# Everything that CI runs: unit tests, then the end-to-end tests with real clients, through ctest.
# usage: tests/run.sh BUILD_DIR
set -eu
build=${1:-build}
exec ctest --test-dir "$build" --output-on-failure --timeout 300 -j "$(nproc)"
