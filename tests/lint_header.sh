#!/bin/sh
# A header must compile alone, seeing only what its layer may see.
# usage: tests/lint_header.sh BUILD_DIR src/LAYER/HEADER.h
layer=$(echo "$2" | cut -d/ -f2)
[ -d "$1/layers/$layer" ] || exit 0
said=$(echo "#include \"${2#src/}\"" | ${CXX:-c++} -std=c++20 -fsyntax-only -I"$1/layers/$layer" -I"$1/generated" -x c++ - 2>&1) && exit 0
echo "$2 does not stand alone:"
echo "$said" | head -5
exit 1
