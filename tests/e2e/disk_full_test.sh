#!/bin/bash
# A full disk: writes are refused with a Status that says so, reads go on, and when there is room again writes work; what was
# acknowledged is there after kill -9.
# usage: disk_full_test.sh path/to/caravel
set -u
caravel=$(realpath "$1")
if [ -z "${CARAVEL_IN_NAMESPACE:-}" ]; then
  unshare -rm true 2>/dev/null || { echo "skipped: mount namespaces cannot be made here"; exit 77; }
  CARAVEL_IN_NAMESPACE=1 exec unshare -rm "$0" "$caravel"
fi
disk=$(mktemp -d /tmp/caravel-disk.XXXXXX)
mount -t tmpfs -o size=48m tmpfs "$disk" || { echo "skipped: a small disk cannot be mounted here"; rmdir "$disk"; exit 77; }
data=$disk/data
mkdir "$data"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cleanup() { kill -9 "$server" 2>/dev/null; wait "$server" 2>/dev/null; umount "$disk"; rmdir "$disk"; }
fail() { echo "FAILED: $*"; tail -n 5 /tmp/caravel-disk-log.$$; rm -f /tmp/caravel-disk-log.$$; cleanup; exit 1; }
start() {
  "$caravel" server --data-dir "$data" --listen 127.0.0.1:"$port" --no-controllers > /tmp/caravel-disk-log.$$ 2>&1 &
  server=$!
  for _ in $(seq 100); do api GET /readyz | grep -q '200$' && return; sleep 0.1; done
  fail "the server is not ready"
}
api() {  # method path [body]: the answer and its status
  curl -s -m 10 -w '\n%{http_code}' --cacert "$data/pki/ca.crt" --cert "$data/pki/admin.crt" --key "$data/pki/admin.key" -X "$1" "https://127.0.0.1:$port$2" ${3:+-H 'content-type: application/json' -d "$3"}
}
config_map() { echo "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"$1\"},\"data\":{\"k\":\"$(head -c 100000 /dev/zero | tr '\0' x)\"}}"; }
maps=/api/v1/namespaces/default/configmaps

start
api POST $maps "$(config_map before)" | grep -q '^201$' || fail "a write while there is room"
dd if=/dev/zero of="$disk/filler" bs=64k >/dev/null 2>&1  # until nothing is left
acknowledged=""
refused=""
for i in $(seq 600); do
  answer=$(api POST $maps "$(config_map "full-$i")")
  case "$(tail -n 1 <<< "$answer")" in
    201) acknowledged="$acknowledged full-$i" ;;
    500) refused=$answer; break ;;
    *) fail "a write on a full disk: $(head -c 500 <<< "$answer")" ;;
  esac
done
[ -n "$refused" ] || fail "no write was refused"
jq -e '.kind == "Status" and .reason == "InternalError" and (.message | test("disk full"))' <<< "$(sed '$d' <<< "$refused")" >/dev/null || fail "the refusal: $refused"
for i in $(seq 5); do api POST $maps "$(config_map "again-$i")" | grep -q '^500$' || fail "writes on a full disk are refused each time"; done
api GET $maps/before | grep -q '^200$' || fail "reads on a full disk"
api GET $maps/again-1 | grep -q '^404$' || fail "what was refused must not be seen"

rm "$disk/filler"
after=""
for _ in $(seq 50); do
  api POST $maps "$(config_map after)" | grep -q '^201$' && { after=yes; break; }
  sleep 0.1
done
[ -n "$after" ] || fail "no write after there is room again"

kill -9 "$server"
wait "$server" 2>/dev/null
start
for name in before $acknowledged after; do api GET $maps/"$name" | grep -q '^200$' || fail "the acknowledged write of $name is lost"; done
api POST $maps "$(config_map restarted)" | grep -q '^201$' || fail "a write after the restart"
rm -f /tmp/caravel-disk-log.$$
cleanup
echo "passed ($(wc -w <<< "$acknowledged") writes fitted, then each was refused until there was room)"
