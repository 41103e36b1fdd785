#!/bin/bash
# The JavaScript client (@kubernetes/client-node) against a server with hollow nodes: what client_node.mjs does.
# The package is taken from CARAVEL_NODE_MODULES, else from a cache, else from the npm registry.
# usage: client_node_test.sh path/to/caravel
set -u
caravel=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
version=1.4.0
for tool in node npm; do
  command -v $tool >/dev/null || { echo "skipped: there is no $tool"; exit 77; }
done
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || { echo "skipped: node $(node --version) is too old, the client needs 18"; exit 77; }
modules=${CARAVEL_NODE_MODULES:-}
if [ -z "$modules" ]; then
  cache=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/caravel/client-node-$version
  modules=$cache/node_modules
  if [ ! -d "$modules/@kubernetes/client-node" ]; then
    mkdir -p "$cache"
    timeout 240 npm install --prefix "$cache" --no-audit --no-fund --silent "@kubernetes/client-node@$version" >/dev/null 2>&1 ||
      { rm -rf "$cache"; echo "skipped: npm cannot fetch @kubernetes/client-node"; exit 77; }
  fi
fi
data=$(mktemp -d /var/tmp/caravel-client-node.XXXXXX)
port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })')
"$caravel" server --data-dir "$data" --listen 127.0.0.1:"$port" --hollow-nodes 2 > "$data/log" 2>&1 &
server=$!
trap 'kill $server; wait $server 2>/dev/null; rm -rf "$data"' EXIT
for _ in $(seq 150); do [ -s "$data/kubeconfig" ] && break; sleep 0.1; done
ln -s "$modules" "$data/node_modules"
cp "$here/client_node.mjs" "$data/"
KUBECONFIG=$data/kubeconfig node "$data/client_node.mjs" || { tail -n 5 "$data/log"; exit 1; }
