#!/bin/sh
# Installs the given Debian packages, asking the package manager only for those that are missing, and a
# kubectl where the machine has none.
set -eu
command -v dpkg-query >/dev/null || { echo "deps: this needs a Debian 12 machine (no dpkg here); install by hand: $*" >&2; exit 1; }
if [ "$(id -u)" = 0 ]; then sudo=""; else
  command -v sudo >/dev/null || { echo "deps: installing packages needs root; run as root or install sudo" >&2; exit 1; }
  sudo="sudo"
fi
command -v kubectl >/dev/null || set -- "$@" kubernetes-client
missing=""
for p in "$@"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || { echo "deps: everything is installed"; exit 0; }
echo "deps: installing$missing"
# Services of these packages (nginx, haproxy, containerd) must not start on this machine: Caravel runs its own.
policy=/usr/sbin/policy-rc.d
made_policy=""
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
  $sudo chmod 755 $policy
  made_policy=1
fi
status=0
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null || true
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/tmp/caravel-deps.$$ 2>&1 || status=$?
[ -z "$made_policy" ] || $sudo rm -f $policy
if [ $status != 0 ]; then
  tail -20 /tmp/caravel-deps.$$ >&2
  echo "deps: apt-get could not install the packages above (see /tmp/caravel-deps.$$)" >&2
  exit $status
fi
rm -f /tmp/caravel-deps.$$
