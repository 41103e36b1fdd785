#!/bin/sh
# Static checks: formatting (.clang-format), headers that stand alone, shell scripts that parse, files within their size.
# usage: tests/lint.sh BUILD_DIR
set -eu
cd "$(dirname "$0")/.."
status=0
# Formatting. The version matters: others break lines elsewhere.
if command -v clang-format-16 >/dev/null; then
  git ls-files 'src/*.cc' 'src/*.h' | xargs clang-format-16 --dry-run --Werror 2>/tmp/lint.$$ || { grep error: /tmp/lint.$$ | head -20; echo "clang-format-16 -i FILE puts it right"; status=1; }
else
  echo "clang-format-16 is not installed: apt-get install clang-format-16"
  status=1
fi
# A file of more than 800 lines wants to be two.
for f in $(git ls-files 'src/*.cc' 'src/*.h'); do
  lines=$(wc -l < "$f")
  [ "$lines" -le 800 ] || { echo "$f has $lines lines; split it by concept (at most 800)"; status=1; }
done
# The right side is read from memory that the insertion on the left may free: copy it first.
if git ls-files 'src/*.cc' 'src/*.h' | xargs grep -nE '(^|[^][A-Za-z0-9_.>)])([A-Za-z_][A-Za-z0-9_]*(\["[^"]*"\])*)\["[^"]*"\] = \2\["[^"]*"\];'; then
  echo 'x["a"] = x["b"] reads what it may have freed; write x["a"] = Value(std::as_const(x)["b"]) or copy it before'
  status=1
fi
# Every folder says what it is for.
for d in src/*/; do
  [ -e "$d/README.md" ] || { echo "$d has no README.md"; status=1; }
done
for f in tests/*.sh tests/e2e/*.sh tools/*.sh .ci/run; do
  [ ! -e "$f" ] || bash -n "$f" || status=1
done
# Every header includes what it needs.
git ls-files 'src/*.h' | xargs -P "$(nproc)" -n 1 tests/lint_header.sh "${1:-build}" || status=1
rm -f /tmp/lint.$$
exit $status
