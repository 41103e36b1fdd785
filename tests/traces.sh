#!/bin/sh
# Prints what a platform leaves on a machine if it does not clean up, sorted, one thing a line: its processes, the
# namespaces that are not the machine's own, mounts, loop devices, network links, nftables rules, cgroups.
# usage: traces.sh BUILD_DIR
build=$(realpath "$1")
{
  pgrep -fa "$build/|caravel\\.local|caravel-e2e|containerd-shim|caravel-oci" | grep -v -e ctest -e "traces.sh" -e "run.sh" | sed 's/^/process /'
  # A namespace without a process is held by a mount (below).
  for p in /proc/[0-9]*; do
    for kind in net mnt pid user; do
      name=$(readlink "$p/ns/$kind" 2>/dev/null) && echo "namespace $name"
    done
  done | sort -u
  sed 's/^/mount /' /proc/mounts
  losetup -a 2>/dev/null | sed 's/^/loop device /'
  ip -o link 2>/dev/null | awk '{print "link " $2}'
  nft list ruleset 2>/dev/null | sed 's/^/nftables /'
  find /sys/fs/cgroup -maxdepth 3 -type d -name 'caravel*' 2>/dev/null | sed 's/^/cgroup /'
} | LC_ALL=C sort -u
