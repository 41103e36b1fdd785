#!/bin/bash
# The API server, controllers and scheduler (`caravel server`) with the real kubectl and curl, on hollow
# nodes. Needs no root. usage: tests/e2e/apiserver_test.sh [path to caravel]
set -u
caravel=${1:-build/caravel}
command -v kubectl >/dev/null || { echo "skipped: no kubectl on this machine"; exit 77; }
dir=$(mktemp -d /tmp/caravel-apiserver-XXXXXX)
port=$((20000 + RANDOM % 20000))
failures=0
"$caravel" server --data-dir "$dir/data" --listen 127.0.0.1:$port --hollow-nodes 3 >"$dir/log" 2>&1 &
server=$!
finish() {
  kill "$server" 2>/dev/null
  wait "$server" 2>/dev/null
  [ "$failures" = 0 ] || { echo "--- the server's log ends:"; tail -20 "$dir/log"; }
  rm -rf "$dir"
}
trap finish EXIT
export KUBECONFIG=$dir/data/kubeconfig
for _ in $(seq 100); do [ -s "$KUBECONFIG" ] && break; sleep 0.1; done
[ -s "$KUBECONFIG" ] || { echo "FAIL: the server did not get ready"; cat "$dir/log"; exit 1; }
url=https://127.0.0.1:$port

# expect NAME PATTERN COMMAND...: the output (both streams) holds the extended regular expression.
expect() {
  local name=$1 pattern=$2 out
  shift 2
  out=$(timeout 60 "$@" 2>&1)
  if grep -Eq -- "$pattern" <<<"$out"; then
    echo "ok   $name"
  else
    echo "FAIL $name: no match for /$pattern/ in:"; head -20 <<<"$out" | sed 's/^/     /'
    failures=$((failures + 1))
  fi
}
k() { kubectl "$@"; }
export -f k

cat >"$dir/app.yaml" <<'EOF'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
EOF
cat >"$dir/crd.yaml" <<'EOF'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.ex.io}
spec:
  group: ex.io
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [size], properties: {size: {type: integer, minimum: 1, description: how big}, color: {type: string, default: red}}}
EOF
printf 'apiVersion: ex.io/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 3}\n' >"$dir/widget.yaml"
printf 'apiVersion: ex.io/v1\nkind: Widget\nmetadata: {name: b}\nspec: {size: 0}\n' >"$dir/small.yaml"
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndat: {a: b}\n' >"$dir/typo.yaml"

expect "version"               'Server Version: v1\.36' kubectl version
expect "namespaces"            'kube-system +Active' kubectl get namespaces
expect "nodes join"            'condition met' kubectl wait --for=condition=Ready node --all --timeout=30s
expect "the kubernetes Service" '172\.20\.0\.1' kubectl get service kubernetes
expect "default account"       'default' bash -c 'for i in $(seq 50); do kubectl get sa default -o name 2>/dev/null && break; sleep 0.1; done'
expect "api-resources"         'deployments +deploy +apps/v1' kubectl api-resources
expect "api-versions"          'rbac.authorization.k8s.io/v1' kubectl api-versions
expect "explain"               'FIELD: replicas <integer>' kubectl explain deployment.spec.replicas
expect "apply creates"         'deployment.apps/web created' kubectl apply -f "$dir/app.yaml"
expect "rollout"               'successfully rolled out' kubectl rollout status deployment/web --timeout=60s
expect "apply again"           'deployment.apps/web unchanged' kubectl apply -f "$dir/app.yaml"
expect "pods wide"             '1/1 +Running .* hollow-0000' kubectl get pods -o wide
expect "endpoints"             '80 +[0-9.]+,[0-9.]+' kubectl get endpointslices -l kubernetes.io/service-name=web
expect "describe"              'ScalingReplicaSet|deployment-controller' kubectl describe deployment web
expect "scale"                 'scaled' kubectl scale deployment/web --replicas=5
expect "wait for five"         'condition met' kubectl wait --for=jsonpath='{.status.readyReplicas}'=5 deployment/web --timeout=30s
expect "set image"             'image updated' kubectl set image deployment/web c=nginx:2
expect "rollout of the image"  'successfully rolled out' kubectl rollout status deployment/web --timeout=60s
expect "history"               '^2 ' kubectl rollout history deployment/web
expect "undo"                  'rolled back' kubectl rollout undo deployment/web
expect "label"                 'labeled' kubectl label deployment web tier=front
expect "annotate"              'annotated' kubectl annotate deployment web note=hi
expect "json patch"            'patched' kubectl patch deployment web --type=json -p '[{"op":"add","path":"/metadata/labels/x","value":"y"}]'
expect "merge patch"           'patched' kubectl patch deployment web --type=merge -p '{"metadata":{"labels":{"x":null}}}'
expect "strategic patch"       'patched' kubectl patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"busybox"}]}}}}'
expect "two containers"        '^c side$|^side c$' kubectl get deployment web -o 'jsonpath={.spec.template.spec.containers[*].name}'
expect "diff"                  'replicas: 3' kubectl diff -f "$dir/app.yaml"
expect "apply conflicts"       'conflict' kubectl apply --server-side -f "$dir/app.yaml"
expect "forced apply"          'serverside-applied' kubectl apply --server-side --force-conflicts -f "$dir/app.yaml"
expect "dry run"               'configmap/dry created \(server dry run\)' kubectl create configmap dry --dry-run=server
expect "dry run left nothing"  'not found' kubectl get configmap dry
expect "strict fields"         'strict decoding error: unknown field "dat"' kubectl apply -f "$dir/typo.yaml"
node=$(kubectl get pods -o 'jsonpath={.items[0].spec.nodeName}')  # where pods are just now depends on the rollouts above
expect "field selector"        "$node" kubectl get pods --field-selector "spec.nodeName=$node" -o wide
expect "sort and columns"      'NAME +NODE' kubectl get pods --sort-by=.metadata.name -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName
expect "eviction by drain"     'node/hollow-00002 drained' kubectl drain hollow-00002 --force --ignore-daemonsets --timeout=30s
expect "CRD"                   'created' kubectl apply -f "$dir/crd.yaml"
expect "CRD established"       'condition met' kubectl wait --for=condition=Established crd/widgets.ex.io --timeout=10s
expect "custom resource"       'widget.ex.io/a created' kubectl apply -f "$dir/widget.yaml"
expect "its columns"           'a +3' kubectl get wd
expect "its default"           '^red$' kubectl get wd a -o 'jsonpath={.spec.color}'
expect "its validation"        'spec.size.*greater than or equal to 1' kubectl apply -f "$dir/small.yaml"
expect "its explanation"       'size.*integer.*required' kubectl explain widget.spec
expect "CRD removal"           'deleted' kubectl delete crd widgets.ex.io --timeout=20s
expect "admin may"             '^yes' kubectl auth can-i '*' '*'
expect "jane may not"          '^no' kubectl auth can-i list secrets --as jane
expect "whoami"                'kubernetes-admin' kubectl auth whoami
token=$(kubectl create token default)
expect "token"                 '^eyJ' echo "$token"
expect "token is forbidden"    'User \\"system:serviceaccount:default:default\\" cannot list' curl -sk -H "Authorization: Bearer $token" $url/api/v1/pods
expect "bad token"             '"code": ?401' curl -sk -H "Authorization: Bearer x" $url/api/v1/pods
expect "anonymous"             'system:anonymous' curl -sk $url/api/v1/pods
expect "ready"                 '^ok$' curl -sk $url/readyz
expect "unknown path"          '"code": ?404|forbidden' curl -sk $url/nonsense
expect "namespace goes"        'deleted' bash -c 'kubectl create namespace n && kubectl -n n create configmap x && kubectl delete namespace n --timeout=30s'
expect "foreground deletion"   'deleted' kubectl delete deployment web --cascade=foreground --timeout=30s
expect "all pods go"           'No resources found' bash -c 'for i in $(seq 100); do kubectl get pods 2>&1 | grep -q "No resources" && break; sleep 0.1; done; kubectl get pods'

# kubectl edit: a change, none, and one that the server refuses and the editor is shown again.
printf '#!/bin/sh\nexec sed -i "$EDIT" "$1"\n' >"$dir/editor"
chmod +x "$dir/editor"
export KUBE_EDITOR=$dir/editor TMPDIR=$dir
kubectl create configmap edited --from-literal=a=one >/dev/null
expect "edit: saved"           'configmap/edited edited'          env EDIT='s/a: one/a: two/' kubectl edit configmap edited
expect "edit: stored"          '^two$'                            kubectl get configmap edited -o 'jsonpath={.data.a}'
expect "edit: nothing changed" 'Edit cancelled, no changes made'  env EDIT='' kubectl edit configmap edited
printf '#!/bin/sh\ngrep -q "^# .*must be no more than 253" "$1" && sed -n "s/^# /told: /p" "$1" >&2\nsed -i "s/^  a: .*/  $(printf %%0254d 0 | tr 0 k): x/" "$1"\n' >"$dir/editor"
expect "edit: refused, told, kept aside" 'kubectl-edit-.*yaml' kubectl edit configmap edited
expect "edit: nothing is lost" '^two$'                            kubectl get configmap edited -o 'jsonpath={.data.a}'
unset KUBE_EDITOR TMPDIR

# get --watch: what is there, then each change, as rows.
timeout 4 kubectl get configmap edited --watch -o custom-columns=NAME:.metadata.name,A:.data.a >"$dir/watched" 2>/dev/null &
watching=$!
sleep 1
kubectl patch configmap edited --type merge -p '{"data":{"a":"three"}}' >/dev/null
kubectl delete configmap edited >/dev/null
wait "$watching"
expect "get --watch: rows as they change" 'edited two edited three edited three' sh -c "tail -n +2 '$dir/watched' | xargs echo"

# kill -9: what was acknowledged is there afterwards.
kubectl create configmap kept --from-literal=a=b >/dev/null
kill -9 "$server"; wait "$server" 2>/dev/null
expect "a second start"        'ready' bash -c "'$caravel' server --data-dir '$dir/data' --listen 127.0.0.1:$port >>'$dir/log' 2>&1 & echo \$! >'$dir/pid'; for i in \$(seq 100); do curl -sk $url/readyz | grep -q ok && break; sleep 0.1; done; echo ready"
server=$(cat "$dir/pid")
expect "survives kill -9"      '^b$' kubectl get configmap kept -o 'jsonpath={.data.a}'
expect "one process only"      'in use by another process' timeout 10 "$caravel" server --data-dir "$dir/data" --listen 127.0.0.1:$((port + 1))

[ "$failures" = 0 ] && echo "all passed" || { echo "$failures failed"; exit 1; }
