#!/bin/sh
# Runs each fuzz program for some seconds. The corpus stays in BUILD_DIR/corpus/NAME; an input that crashes or breaks a
# promise is BUILD_DIR/NAME-crash-HASH, and `BUILD_DIR/NAME FILE` plays it again.
# usage: tests/fuzz.sh BUILD_DIR SECONDS [NAME...]
set -eu
cd "$(dirname "$0")/.."
build=${1:?usage: tests/fuzz.sh BUILD_DIR SECONDS [NAME...]}
seconds=${2:?usage: tests/fuzz.sh BUILD_DIR SECONDS [NAME...]}
shift 2
[ $# -gt 0 ] || set -- $(git ls-files 'src/*_fuzz.cc' | sed 's|.*/||; s|\.cc$||')
ninja -C "$build" "$@"
status=0
for name in "$@"; do
  mkdir -p "$build/corpus/$name"
  if "$build/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
      -artifact_prefix="$build/$name-" "$build/corpus/$name" > "$build/$name.log" 2>&1; then
    echo "$name: ok, $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log") inputs in $seconds s"
  else
    echo "$name: FAILED, the end of $build/$name.log:"
    tail -15 "$build/$name.log"
    status=1
  fi
done
exit $status
