# Caravel: the four commands a newcomer needs. `make help` lists them all.
BUILD ?= build
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

PACKAGES := \
  g++ cmake ninja-build ccache mold pkg-config \
  libssl-dev libnghttp2-dev librocksdb-dev libgit2-dev libnftables-dev libre2-dev libyaml-dev zlib1g-dev libjemalloc-dev \
  libgtest-dev \
  containerd runc haproxy nginx-light pebble git curl ca-certificates openssl jq \
  nftables iproute2 busybox-static procps tzdata python3 wrk etcd-server

help:           ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

deps:           ## install the Debian packages that building and running need
	@tools/install-deps.sh $(PACKAGES)

configure: $(BUILD)/build.ninja
$(BUILD)/build.ninja:
	cmake --preset release -B $(BUILD)

build: configure ## compile $(BUILD)/caravel and the tests
	ninja -C $(BUILD)

program: configure  ## compile build/caravel alone, without the tests
	ninja -C $(BUILD) caravel

up: deps program  ## install, build, start the platform, drive the four flows, print what happened
	$(SUDO) $(BUILD)/caravel up

down:           ## stop the platform; data stays
	$(SUDO) $(BUILD)/caravel down

test: build     ## everything that CI runs
	tests/run.sh $(BUILD)

bench: build    ## the benchmarks, with the targets beside the figures
	tests/bench.sh $(BUILD)

lint: configure ## format and static checks
	@tools/install-deps.sh clang-format-16
	tests/lint.sh $(BUILD)

asan:           ## tests with the address and undefined-behaviour sanitizers
	cmake --preset asan && ninja -C build-asan && ctest --test-dir build-asan --output-on-failure -LE e2e

tsan:           ## tests with the thread sanitizer
	cmake --preset tsan && ninja -C build-tsan && ctest --test-dir build-tsan --output-on-failure -LE e2e

FUZZ_SECONDS ?= 60
fuzz:           ## every fuzz target under libFuzzer for FUZZ_SECONDS each; findings stay in build-fuzz/
	@tools/install-deps.sh clang-16 libclang-rt-16-dev
	cmake --preset fuzz
	tests/fuzz.sh build-fuzz $(FUZZ_SECONDS)

clean:          ## remove the build
	rm -rf $(BUILD)

.PHONY: help deps configure build program up down test bench lint asan tsan fuzz clean
