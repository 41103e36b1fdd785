#!/usr/bin/env python3
"""The API server, controllers and scheduler (`caravel server` with hollow nodes) against what upstream's
conformance suite checks where no real containers are needed. Each check is named after the suite's title.
Needs no root: python's standard library and openssl only. usage: conformance_test.py [path to caravel] [words of titles]
With CARAVEL_KUBECONFIG set it asks that server and starts none."""
import base64, http.client, json, os, random, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time, urllib.parse

CHECKS, NODES = [], 3


def check(title):
    return lambda f: CHECKS.append((title, f)) or f


class Bad(Exception):
    pass


def must(condition, *what):
    if not condition:
        raise Bad(' '.join(w if isinstance(w, str) else json.dumps(w)[:700] for w in what))


def same(got, want, what=''):
    must(got == want, f'{what}: wanted', want, 'got', got)


class Api:
    """One user's way to the server. A response is (status, decoded body or text, headers)."""

    def __init__(self, host, port, context, token=None):
        self.host, self.port, self.context, self.token = host, port, context, token
        self.local = threading.local()

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=timeout)

    def call(self, method, path, body=None, **kw):
        headers = {'Accept': kw.pop('accept', 'application/json')}
        headers.update(kw.pop('headers', {}))
        if self.token:
            headers['Authorization'] = 'Bearer ' + self.token
        content = kw.pop('content', 'application/json')
        if kw:
            path += ('&' if '?' in path else '?') + urllib.parse.urlencode(kw)
        if body is not None:
            headers['Content-Type'] = content
            if not isinstance(body, (str, bytes)):
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode()
        for attempt in (0, 1):
            c = getattr(self.local, 'c', None)
            if c is None:
                c = self.local.c = self.connect()
            try:
                c.request(method, path, body, headers)
                r = c.getresponse()
                data = r.read()
                break
            except (http.client.HTTPException, OSError):
                self.local.c = None
                if attempt:
                    raise
        got = {}
        for k, v in r.getheaders():
            got[k.lower()] = got[k.lower()] + '\n' + v if k.lower() in got else v
        if data and 'json' in r.getheader('content-type', ''):
            data = json.loads(data)
        return r.status, data, got

    def ok(self, method, path, body=None, **kw):
        status, data, _ = self.call(method, path, body, **kw)
        must(200 <= status < 300, method, path, f'gave {status}:', data if not isinstance(data, bytes) else data.decode(errors='replace'))
        return data

    def fails(self, code, reason, method, path, body=None, **kw):
        status, data, _ = self.call(method, path, body, **kw)
        must(status == code, method, path, f'gave {status}, not {code}:', data if not isinstance(data, bytes) else data.decode(errors='replace'))
        if reason:
            same(data.get('reason'), reason, path)
        return data

    def get(self, path, **kw): return self.ok('GET', path, **kw)
    def post(self, path, body, **kw): return self.ok('POST', path, body, **kw)
    def put(self, path, body, **kw): return self.ok('PUT', path, body, **kw)
    def delete(self, path, body=None, **kw): return self.ok('DELETE', path, body, **kw)
    def merge(self, path, body, **kw): return self.ok('PATCH', path, body, content='application/merge-patch+json', **kw)
    def strategic(self, path, body, **kw): return self.ok('PATCH', path, body, content='application/strategic-merge-patch+json', **kw)
    def jsonpatch(self, path, body, **kw): return self.ok('PATCH', path, body, content='application/json-patch+json', **kw)

    def apply(self, path, body, manager='tester', **kw):
        return self.ok('PATCH', path, body, content='application/apply-patch+yaml', fieldManager=manager, **kw)

    def watch(self, path, accept='application/json', **kw):
        return Watch(self, path, accept, kw)


class Watch:
    def __init__(self, api, path, accept, kw):
        self.c = api.connect(15)
        kw.setdefault('timeoutSeconds', 10)
        path += ('&' if '?' in path else '?') + urllib.parse.urlencode(dict(kw, watch='true'))
        headers = {'Accept': accept}
        if api.token:
            headers['Authorization'] = 'Bearer ' + api.token
        self.c.request('GET', path, headers=headers)
        self.r = self.c.getresponse()
        self.status = self.r.status
        self.events = []

    def next(self):
        """(type, object); None at the end."""
        line = self.r.readline()
        if not line:
            return None
        e = json.loads(line)
        self.events.append(e)
        return e['type'], e['object']

    def until(self, kind, test=lambda o: True):
        while True:
            e = self.next()
            must(e, 'the watch ended before', kind, 'came; it had', [x['type'] for x in self.events])
            if e[0] == kind and test(e[1]):
                return e[1]

    def close(self):
        self.r.close()
        self.c.close()


def wait(what, test, seconds=15):
    end = time.time() + seconds
    while True:
        got = test()
        if got:
            return got
        must(time.time() < end, 'did not happen in time:', what)
        time.sleep(0.05)


serial = 0


def fresh_namespace(k, **labels):
    name = f'ns-{os.getpid()}-{random.randrange(16**6):06x}'
    k.post('/api/v1/namespaces', {'metadata': {'name': name, 'labels': labels}})
    wait('default service account', lambda: k.call('GET', f'/api/v1/namespaces/{name}/serviceaccounts/default')[0] == 200)
    return name


def pod(name, **spec):
    labels = spec.pop('labels', {'app': name})
    return {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': name, 'labels': labels},
            'spec': dict({'containers': [{'name': 'c', 'image': 'nginx'}]}, **spec)}


def template(labels, image='nginx:1'):
    return {'metadata': {'labels': labels}, 'spec': {'containers': [{'name': 'c', 'image': image}], 'terminationGracePeriodSeconds': 0}}


def workload(kind, name, replicas=2, **spec):
    labels = {'app': name}
    s = dict({'selector': {'matchLabels': labels}, 'template': template(labels)}, **spec)
    if kind != 'DaemonSet':
        s['replicas'] = replicas
    if kind == 'StatefulSet':
        s.setdefault('serviceName', name)
    return {'apiVersion': 'apps/v1', 'kind': kind, 'metadata': {'name': name, 'labels': labels}, 'spec': s}


def crd(plural, kind, group='c.example.com', versions=None, scope='Namespaced', **schema):
    v = {'name': 'v1', 'served': True, 'storage': True, 'subresources': {'status': {}},
         'schema': {'openAPIV3Schema': dict({'type': 'object', 'properties': {
             'spec': {'type': 'object', 'properties': {'a': {'type': 'string'}, 'n': {'type': 'integer', 'minimum': 1}, 'l': {'type': 'array', 'items': {'type': 'string'}}}},
             'status': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}, **schema)}}
    return {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': f'{plural}.{group}'},
            'spec': {'group': group, 'scope': scope, 'names': {'plural': plural, 'singular': kind.lower(), 'kind': kind, 'listKind': kind + 'List'},
                     'versions': versions or [v]}}


CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'


def made_crd(k, body):
    k.post(CRDS, body)
    name = body['metadata']['name']
    wait(name + ' Established', lambda: any(c['type'] == 'Established' and c['status'] == 'True' for c in k.get(f'{CRDS}/{name}').get('status', {}).get('conditions', [])))
    return name


# --- one life for every kind ---

SAMPLES = [  # (list path, body, spec patch or None)
    ('/api/v1/namespaces/{ns}/configmaps', {'data': {'a': '1'}}),
    ('/api/v1/namespaces/{ns}/secrets', {'data': {'a': 'MQ=='}}),
    ('/api/v1/namespaces/{ns}/serviceaccounts', {}),
    ('/api/v1/namespaces/{ns}/podtemplates', {'template': template({'a': 'b'})}),
    ('/api/v1/namespaces/{ns}/limitranges', {'spec': {'limits': [{'type': 'Container', 'max': {'cpu': '2'}}]}}),
    ('/api/v1/namespaces/{ns}/resourcequotas', {'spec': {'hard': {'pods': '1k'}}}),
    ('/api/v1/namespaces/{ns}/endpoints', {'subsets': [{'addresses': [{'ip': '10.1.2.3'}], 'ports': [{'port': 80}]}]}),
    ('/api/v1/namespaces/{ns}/persistentvolumeclaims', {'spec': {'accessModes': ['ReadWriteOnce'], 'storageClassName': '', 'volumeName': 'none-such', 'resources': {'requests': {'storage': '1Gi'}}}}),
    ('/api/v1/namespaces/{ns}/replicationcontrollers', {'spec': {'replicas': 0, 'selector': {'a': 'b'}, 'template': template({'a': 'b'})}}),
    ('/api/v1/namespaces/{ns}/services', {'spec': {'ports': [{'port': 80}], 'selector': {'x': 'y'}}}),
    ('/api/v1/persistentvolumes', {'spec': {'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'hostPath': {'path': '/tmp/x'}, 'storageClassName': 'none'}}),
    ('/apis/apps/v1/namespaces/{ns}/controllerrevisions', {'revision': 1, 'data': {'x': 1}}),
    ('/apis/apps/v1/namespaces/{ns}/deployments', {'spec': {'replicas': 0, 'selector': {'matchLabels': {'a': 'd'}}, 'template': template({'a': 'd'})}}),
    ('/apis/apps/v1/namespaces/{ns}/replicasets', {'spec': {'replicas': 0, 'selector': {'matchLabels': {'a': 'r'}}, 'template': template({'a': 'r'})}}),
    ('/apis/apps/v1/namespaces/{ns}/statefulsets', {'spec': {'replicas': 0, 'serviceName': 's', 'selector': {'matchLabels': {'a': 's'}}, 'template': template({'a': 's'})}}),
    ('/apis/apps/v1/namespaces/{ns}/daemonsets', {'spec': {'selector': {'matchLabels': {'a': 'ds'}}, 'template': {'metadata': {'labels': {'a': 'ds'}}, 'spec': {'nodeSelector': {'no': 'where'}, 'containers': [{'name': 'c', 'image': 'i'}]}}}}),
    ('/apis/batch/v1/namespaces/{ns}/jobs', {'spec': {'suspend': True, 'template': {'spec': {'restartPolicy': 'Never', 'containers': [{'name': 'c', 'image': 'i'}]}}}}),
    ('/apis/batch/v1/namespaces/{ns}/cronjobs', {'spec': {'schedule': '0 0 1 1 *', 'suspend': True, 'jobTemplate': {'spec': {'template': {'spec': {'restartPolicy': 'Never', 'containers': [{'name': 'c', 'image': 'i'}]}}}}}}),
    ('/apis/autoscaling/v1/namespaces/{ns}/horizontalpodautoscalers', {'spec': {'maxReplicas': 3, 'scaleTargetRef': {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'none'}}}),
    ('/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers', {'spec': {'maxReplicas': 3, 'scaleTargetRef': {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'none'}}}),
    ('/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses', {'spec': {'defaultBackend': {'service': {'name': 'x', 'port': {'number': 80}}}}}),
    ('/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies', {'spec': {'podSelector': {}}}),
    ('/apis/networking.k8s.io/v1/ingressclasses', {'spec': {'controller': 'ex.io/c'}}),
    ('/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets', {'spec': {'minAvailable': 1, 'selector': {'matchLabels': {'a': 'b'}}}}),
    ('/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles', {'rules': [{'apiGroups': [''], 'resources': ['pods'], 'verbs': ['get']}]}),
    ('/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings', {'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'Role', 'name': 'r'}, 'subjects': [{'kind': 'User', 'name': 'u', 'apiGroup': 'rbac.authorization.k8s.io'}]}),
    ('/apis/rbac.authorization.k8s.io/v1/clusterroles', {'rules': []}),
    ('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'r'}}),
    ('/apis/storage.k8s.io/v1/storageclasses', {'provisioner': 'ex.io/p'}),
    ('/apis/storage.k8s.io/v1/csidrivers', {'spec': {'attachRequired': False}}),
    ('/apis/storage.k8s.io/v1/csinodes', {'spec': {'drivers': []}}),
    ('/apis/storage.k8s.io/v1/namespaces/{ns}/csistoragecapacities', {'storageClassName': 'x', 'capacity': '1Gi'}),
    ('/apis/storage.k8s.io/v1/volumeattachments', {'spec': {'attacher': 'ex.io', 'nodeName': 'n', 'source': {'persistentVolumeName': 'pv'}}}),
    ('/apis/storage.k8s.io/v1/volumeattributesclasses', {'driverName': 'ex.io', 'parameters': {'a': 'b'}}),
    ('/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations', {'webhooks': []}),
    ('/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', {'webhooks': []}),
    ('/apis/coordination.k8s.io/v1/namespaces/{ns}/leases', {'spec': {'holderIdentity': 'me', 'leaseDurationSeconds': 30}}),
    ('/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices', {'addressType': 'IPv4', 'endpoints': [{'addresses': ['10.9.9.9']}], 'ports': []}),
    ('/apis/node.k8s.io/v1/runtimeclasses', {'handler': 'runc'}),
    ('/apis/scheduling.k8s.io/v1/priorityclasses', {'value': 5}),
    ('/apis/certificates.k8s.io/v1/certificatesigningrequests', 'csr'),
    ('/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas', {'spec': {'matchingPrecedence': 9000, 'priorityLevelConfiguration': {'name': 'exempt'}}}),
    ('/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations', {'spec': {'type': 'Limited', 'limited': {'nominalConcurrencyShares': 2, 'limitResponse': {'type': 'Reject'}}}}),
    ('/apis/networking.k8s.io/v1/servicecidrs', {'spec': {'cidrs': ['10.240.0.0/24']}}),
    ('/apis/networking.k8s.io/v1/ipaddresses', 'ip'),
    ('/apis/resource.k8s.io/v1/deviceclasses', {'spec': {'selectors': [{'cel': {'expression': 'true'}}]}}),
    ('/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaims', {'spec': {'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'd'}}]}}}),
    ('/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaimtemplates', {'spec': {'spec': {'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'd'}}]}}}}),
    ('/apis/resource.k8s.io/v1/resourceslices', {'spec': {'driver': 'ex.io', 'nodeName': 'n', 'pool': {'name': 'p', 'generation': 1, 'resourceSliceCount': 1}}}),
    ('/api/v1/namespaces/{ns}/events', {'involvedObject': {'kind': 'Pod', 'namespace': '{ns}', 'name': 'x'}, 'reason': 'R', 'message': 'm', 'type': 'Normal'}),
    ('/apis/events.k8s.io/v1/namespaces/{ns}/events', {'regarding': {'kind': 'Pod', 'namespace': '{ns}', 'name': 'x'}, 'reason': 'R', 'note': 'm', 'type': 'Normal', 'action': 'Do', 'reportingController': 'ex.io/c', 'reportingInstance': 'i', 'eventTime': '2026-01-01T00:00:00.000000Z'}),
    ('/apis/apiregistration.k8s.io/v1/apiservices', 'apiservice'),
]


def csr_request():
    d = tempfile.mkdtemp()
    try:
        subprocess.run(['openssl', 'req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', d + '/k', '-out', d + '/r', '-subj', '/CN=e2e-user'], check=True, capture_output=True)
        return base64.b64encode(open(d + '/r', 'rb').read()).decode()
    finally:
        shutil.rmtree(d)


def builtin(path):
    return path.startswith('/api/') or path.split('/')[2] in ('apps', 'batch', 'autoscaling', 'policy') or path.split('/')[2].endswith('.k8s.io')


def life(k, ns, listing, body):
    listing = listing.format(ns=ns)
    plural = listing.split('/')[-1]
    name = 'life-' + plural[:20] + f'-{random.randrange(16**5):05x}'
    if body == 'csr':
        body = {'spec': {'request': csr_request(), 'signerName': 'ex.io/none', 'usages': ['client auth']}}
    elif body == 'ip':
        name = '172.20.255.7'
        body = {'metadata': {'labels': {'ipaddress.kubernetes.io/managed-by': 'me'}}, 'spec': {'parentRef': {'resource': 'services', 'namespace': ns, 'name': 'none'}}}
    elif body == 'apiservice':
        name = 'v1.life.example.com'
        body = {'spec': {'group': 'life.example.com', 'version': 'v1', 'groupPriorityMinimum': 1, 'versionPriority': 1, 'insecureSkipTLSVerify': True, 'service': {'name': 'none', 'namespace': ns}}}
    body = json.loads(json.dumps(body).replace('{ns}', ns))
    body.setdefault('metadata', {}).update(name=name)
    body['metadata'].setdefault('labels', {}).update(life='one', test=name[-5:])
    sel = 'test=' + name[-5:]
    one = listing + '/' + name
    o = k.post(listing, body)
    must(o.get('kind') and o.get('apiVersion'), 'kind and apiVersion are missing', o)
    for f in ('uid', 'resourceVersion', 'creationTimestamp', 'managedFields'):
        must(o['metadata'].get(f), 'metadata.' + f, 'is missing', o)
    k.fails(409, 'AlreadyExists', 'POST', listing, body)
    same(k.get(one)['metadata']['uid'], o['metadata']['uid'], 'uid')
    w = k.watch(listing, resourceVersion=o['metadata']['resourceVersion'], labelSelector=sel, timeoutSeconds=14)  # a ServiceCIDR takes ten seconds to go
    k.merge(one, {'metadata': {'annotations': {'patched': 'yes'}}})
    w.until('MODIFIED', lambda x: x['metadata'].get('annotations', {}).get('patched') == 'yes')
    for _ in range(20):
        o = k.get(one)
        o['metadata']['annotations']['put'] = 'yes'
        s, r, _h = k.call('PUT', one, o)
        if s != 409:
            break
    same(s, 200, f'PUT {one}: {r}')
    same(r['metadata']['annotations']['put'], 'yes', 'PUT')
    stale = dict(o, metadata=dict(o['metadata'], resourceVersion='1'))
    k.fails(409, 'Conflict', 'PUT', one, stale)
    ls = k.get(listing, labelSelector=sel)
    same(len(ls['items']), 1, 'list by label')
    names = [bool(x in ls['items'][0]) for x in ('kind', 'apiVersion')]
    same(names, [False, False] if builtin(listing) else [True, True], 'an item of a built-in kind does not name its kind')
    must('/namespaces/' not in listing or len(k.get(re.sub('/namespaces/[^/]+', '', listing), labelSelector=sel)['items']) == 1, 'list of all namespaces')
    t = k.get(listing, labelSelector=sel, accept='application/json;as=Table;v=v1;g=meta.k8s.io')
    same(t['kind'], 'Table', 'as=Table')
    old = k.get(listing, labelSelector=sel, accept='application/json;as=Table;v=v1beta1;g=meta.k8s.io')
    ageless = lambda table: [c for c in table['rows'][0]['cells'] if not re.fullmatch(r'(\d+[smhd])+', str(c))]  # an age grows between two requests
    same([old['apiVersion'], old['rows'][0]['object']['apiVersion'], ageless(old)], ['meta.k8s.io/v1beta1', 'meta.k8s.io/v1beta1', ageless(t)], 'the older version')
    k.fails(406, 'NotAcceptable', 'GET', listing, None, accept='application/json;as=Table;v=v2;g=meta.k8s.io')
    same(len(t['rows'][0]['cells']), len(t['columnDefinitions']), 'cells')
    m = k.get(one, accept='application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io')
    same((m['kind'], m['metadata']['name']), ('PartialObjectMetadata', name), 'metadata only')
    if k.call('GET', one + '/status')[0] == 200:
        s = k.merge(one + '/status', {'metadata': {'annotations': {'viastatus': 'yes'}}})
        same(s['metadata']['annotations'].get('viastatus'), 'yes', 'annotation by status patch')
        s = k.get(one + '/status')
        same(k.call('PUT', one + '/status', s)[0] in (200, 409), True, 'PUT of status')
    dry = k.apply(one, {'apiVersion': o['apiVersion'], 'kind': o['kind'], 'metadata': {'name': name, 'labels': {'applied': 'yes'}}}, dryRun='All')
    same(dry['metadata']['labels'].get('applied'), 'yes', 'dry-run apply')
    must('applied' not in k.get(one)['metadata']['labels'], 'dry run was stored')
    k.delete(listing, labelSelector=sel)
    w.until('DELETED')
    w.close()
    k.fails(404, 'NotFound', 'GET', one)
    same(k.get(listing, labelSelector=sel)['items'], [], 'after deletecollection')


@check('every kind: create, get, list, watch, patch, update, status, table, apply, deletecollection')
def _(k):
    ns = fresh_namespace(k)
    bad = []
    for listing, body in SAMPLES:
        try:
            life(k, ns, listing, body)
        except Exception as e:
            bad.append(f'{listing.split("/namespaces/{ns}/")[0]} {listing.split("/")[-1]}: {type(e).__name__ if not isinstance(e, Bad) else ""} {e}')
    must(not bad, '\n     '.join([''] + bad))


@check('every kind is in SAMPLES or has a check of its own')
def _(k):
    seen = {s[0].replace('/namespaces/{ns}', '') for s in SAMPLES}
    seen |= {f'/api/v1/{r}' for r in 'pods nodes namespaces componentstatuses bindings'.split()}
    missing = []
    for gv in ['/api/v1'] + ['/apis/' + v['groupVersion'] for g in k.get('/apis')['groups'] for v in g['versions']]:
        if 'example.com' in gv:
            continue
        for r in k.get(gv)['resources']:
            if '/' not in r['name'] and 'list' in r['verbs'] and f"{gv}/{r['name']}" not in seen:
                missing.append(f"{gv}/{r['name']}")
    missing = [m for m in missing if not m.endswith(('customresourcedefinitions', 'policies', 'policybindings'))]
    must(not missing, 'without a check', missing)


# --- api-machinery ---

@check('Discovery should validate PreferredVersion for each APIGroup')
def _(k):
    groups = k.get('/apis')
    same(groups['kind'], 'APIGroupList', 'kind')
    for g in groups['groups']:
        status, one, _h = k.call('GET', '/apis/' + g['name'])
        if status == 404 and g['name'] not in [x['name'] for x in k.get('/apis')['groups']]:
            continue  # the last definition of an earlier check has just gone
        same(one['kind'], 'APIGroup', 'kind')
        same(one['preferredVersion'], g['preferredVersion'], g['name'])
        must(g['preferredVersion'] in g['versions'], 'preferred is none of', g)
        for v in g['versions']:
            status, l, _h = k.call('GET', '/apis/' + v['groupVersion'])
            if status == 404 and g['name'] not in [x['name'] for x in k.get('/apis')['groups']]:
                continue
            same((l['kind'], l['groupVersion']), ('APIResourceList', v['groupVersion']), 'list')
    same([v['version'] for g in groups['groups'] if g['name'] == 'autoscaling' for v in g['versions']], ['v2', 'v1'], 'autoscaling')
    same(k.get('/api')['versions'], ['v1'], '/api')
    must('/apis/apps/v1' in k.get('/')['paths'], 'paths')
    v = k.get('/version')
    must(v['major'] == '1' and v['minor'].rstrip('+') == '36' and v['gitVersion'].startswith('v1.36'), 'version', v)


@check('AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers')
def _(k):
    for path in ('/api', '/apis'):
        for v in ('v2', 'v2beta1'):
            s, d, h = k.call('GET', path, accept=f'application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList,application/json')
            if v == 'v2beta1' and d['kind'] in ('APIVersions', 'APIGroupList'):
                continue
            same((s, d['kind'], d['apiVersion']), (200, 'APIGroupDiscoveryList', 'apidiscovery.k8s.io/' + v), path)
            must('as=APIGroupDiscoveryList' in h['content-type'], 'content type', h)
            must(h.get('etag'), 'etag', h)
            same(k.call('GET', path, accept=f'application/json;g=apidiscovery.k8s.io;v={v};as=APIGroupDiscoveryList', headers={'If-None-Match': h['etag']})[0], 304, 'if-none-match')
            must('Accept' in h.get('vary', ''), 'Vary: Accept', h)
    d = k.get('/apis', accept='application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList')
    apps = [g for g in d['items'] if g['metadata']['name'] == 'apps'][0]
    dep = [r for r in apps['versions'][0]['resources'] if r['resource'] == 'deployments'][0]
    same(sorted(s['subresource'] for s in dep['subresources']), ['scale', 'status'], 'subresources')
    same(dep['scope'], 'Namespaced', 'scope')
    names = {g['metadata']['name'] for g in d['items']}
    must({'apiextensions.k8s.io', 'apiregistration.k8s.io', 'apps', 'batch'} <= names, 'groups', sorted(names))


@check('Servers with support for Table transformation should return a 406 for a backend which does not implement metadata')
def _(k):
    body = {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SelfSubjectAccessReview', 'spec': {'nonResourceAttributes': {'path': '/', 'verb': 'get'}}}
    k.fails(406, 'NotAcceptable', 'POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', body, accept='application/json;as=Table;v=v1;g=meta.k8s.io')


@check('Servers with support for API chunking should return chunks of results, and continue after compaction')
def _(k):
    ns = fresh_namespace(k)
    path = f'/api/v1/namespaces/{ns}/podtemplates'
    for i in range(12):
        k.post(path, {'metadata': {'name': f't-{i:03}'}, 'template': template({'a': 'b'})})
    first = k.get(path, limit=5)
    same(len(first['items']), 5, 'page')
    same(first['metadata'].get('remainingItemCount'), 7, 'remaining')
    _, message, _ = k.call('GET', path, accept='application/vnd.kubernetes.protobuf', limit=5)
    must(b'\x20\x07' in message[:400], 'remainingItemCount (field 4 of ListMeta) in protobuf', message[:400].hex())
    k.post(path, {'metadata': {'name': 't-999'}, 'template': template({'a': 'b'})})
    second = k.get(path, limit=5, **{'continue': first['metadata']['continue']})
    third = k.get(path, limit=5, **{'continue': second['metadata']['continue']})
    same([len(second['items']), len(third['items'])], [5, 2], 'the snapshot')
    same(third['metadata'].get('continue', ''), '', 'the end')
    same(first['metadata']['resourceVersion'], third['metadata']['resourceVersion'], 'one revision')
    k.fails(400, 'BadRequest', 'GET', path, **{'continue': 'nonsense'})
    k.fails(400, 'BadRequest', 'GET', path, resourceVersion='5', **{'continue': first['metadata']['continue']})


@check('Watchers should observe add, update, delete and selector exit in order; restart from a version')
def _(k):
    ns = fresh_namespace(k)
    path = f'/api/v1/namespaces/{ns}/configmaps'
    rv = k.get(path)['metadata']['resourceVersion']
    a = k.watch(path, resourceVersion=rv, labelSelector='w=a')
    both = k.watch(path, resourceVersion=rv, labelSelector='w in (a,b)')
    k.post(path, {'metadata': {'name': 'x', 'labels': {'w': 'a'}}})
    k.merge(path + '/x', {'data': {'m': '1'}})
    k.merge(path + '/x', {'metadata': {'labels': {'w': 'b'}}})
    last = k.merge(path + '/x', {'metadata': {'labels': {'w': 'a'}}})
    k.delete(path + '/x')
    got = [a.next() for _ in range(5)]
    same([e[0] for e in got], ['ADDED', 'MODIFIED', 'DELETED', 'ADDED', 'DELETED'], 'selector')
    same(got[2][1]['metadata']['labels']['w'], 'a', 'the state before it left')
    must(got[2][1]['metadata']['resourceVersion'] != got[1][1]['metadata']['resourceVersion'], 'stamped')
    same([both.next()[0] for _ in range(5)], ['ADDED', 'MODIFIED', 'MODIFIED', 'MODIFIED', 'DELETED'], 'both')
    again = k.watch(path, resourceVersion=last['metadata']['resourceVersion'])
    same(again.next()[0], 'DELETED', 'from the last version')
    for w in (a, both, again):
        w.close()


@check('watch: timeouts, bookmarks, sendInitialEvents, expired and future versions')
def _(k):
    ns = fresh_namespace(k)
    path = f'/api/v1/namespaces/{ns}/configmaps'
    k.post(path, {'metadata': {'name': 'x'}})
    w = k.watch(path, timeoutSeconds=1, allowWatchBookmarks='true', sendInitialEvents='true', resourceVersionMatch='NotOlderThan')
    got = []
    while (e := w.next()):
        got.append(e)
    must(len(got) >= 3 and got[0][0] == 'ADDED', 'events', [g[0] for g in got])
    marks = [o for t, o in got if t == 'BOOKMARK' and o['metadata'].get('annotations', {}).get('k8s.io/initial-events-end') == 'true']
    same(len(marks), 1, 'initial-events-end')
    same((marks[0]['kind'], marks[0]['apiVersion']), ('ConfigMap', 'v1'), 'a bookmark names its kind')
    k.fails(422, 'Invalid', 'GET', path, watch='true', sendInitialEvents='true', allowWatchBookmarks='true')
    k.fails(422, 'Invalid', 'GET', path, resourceVersionMatch='Exact')
    k.fails(422, 'Invalid', 'GET', path, resourceVersion='0', resourceVersionMatch='Exact')
    k.fails(422, 'Invalid', 'GET', path, resourceVersion='5', resourceVersionMatch='Sometimes')
    k.fails(400, 'BadRequest', 'GET', path, resourceVersion='abc')
    k.fails(504, 'Timeout', 'GET', path, resourceVersion=str(10**12))
    w = k.watch(path, timeoutSeconds=1, resourceVersion='0')
    same(w.next()[0], 'ADDED', 'version 0 shows the state')
    t = k.watch(path, accept='application/json;as=Table;v=v1;g=meta.k8s.io', timeoutSeconds=2, resourceVersion='0', includeObject='Object')
    e = t.next()
    same((e[1]['kind'], e[1]['rows'][0]['object']['kind']), ('Table', 'ConfigMap'), 'tables in a watch')
    must(e[1]['columnDefinitions'], 'the first table has columns', e)
    k.post(path, {'metadata': {'name': 'later-table'}})
    later = t.until('ADDED', lambda o: o['rows'][0]['object']['metadata']['name'] == 'later-table')
    same(later['columnDefinitions'], None, 'columns of later tables')
    p = k.watch(path, accept='application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io', timeoutSeconds=2)
    same(p.next()[1]['kind'], 'PartialObjectMetadata', 'metadata in a watch')


@check('field selectors per kind')
def _(k):
    ns = fresh_namespace(k)
    base = f'/api/v1/namespaces/{ns}'
    k.post(base + '/secrets', {'metadata': {'name': 's1'}, 'type': 'ex.io/t', 'data': {}})
    k.post(base + '/configmaps', {'metadata': {'name': 'c1'}})
    k.post(base + '/pods', pod('p1', nodeName='hollow-00000'))
    k.post(base + '/events', {'metadata': {'name': 'e1'}, 'involvedObject': {'kind': 'Pod', 'namespace': ns, 'name': 'p1'}, 'reason': 'Because', 'message': 'm', 'type': 'Warning', 'source': {'component': 'me'}})
    for path, sel, n in [('secrets', 'type=ex.io/t', 1), ('secrets', 'type!=ex.io/t', 0), ('configmaps', 'metadata.name=c1', 1), ('configmaps', 'metadata.name!=c1,metadata.namespace=' + ns, 1),
                         ('pods', 'spec.nodeName=hollow-00000', 1), ('pods', 'spec.restartPolicy=Always', 1), ('pods', 'spec.schedulerName=default-scheduler', 1),
                         ('pods', 'spec.serviceAccountName=default', 1), ('pods', 'status.phase!=Failed', 1), ('pods', 'spec.hostNetwork=false', 1),
                         ('pods', 'status.nominatedNodeName=', 1),
                         ('events', 'involvedObject.name=p1,type=Warning,reason=Because', 1), ('events', 'involvedObject.kind=Node', 0), ('events', 'source=me', 1), ('events', 'reportingComponent=me', 0)]:
        same(len(k.get(f'{base}/{path}', fieldSelector=sel)['items']), n, f'{path} {sel}')
    same(len(k.get('/api/v1/nodes', fieldSelector='spec.unschedulable=false')['items']), NODES, 'nodes')
    must(len(k.get('/api/v1/namespaces', fieldSelector='status.phase=Active')['items']) >= 4, 'namespaces')
    same(len(k.get('/api/v1/namespaces', fieldSelector='metadata.name=' + ns)['items']), 1, 'namespaces')
    for p in ('/api/v1/replicationcontrollers?fieldSelector=status.replicas=0', '/apis/apps/v1/replicasets?fieldSelector=status.replicas=0', '/apis/batch/v1/jobs?fieldSelector=status.successful=0',
              '/apis/certificates.k8s.io/v1/certificatesigningrequests?fieldSelector=spec.signerName=x', '/api/v1/services?fieldSelector=spec.type=ClusterIP', '/api/v1/services?fieldSelector=spec.clusterIP=None',
              '/apis/events.k8s.io/v1/events?fieldSelector=regarding.kind=Pod', '/apis/events.k8s.io/v1/events?fieldSelector=reportingController=x', '/apis/events.k8s.io/v1/events?fieldSelector=reason=Because'):
        k.get(p)
    m = k.fails(400, 'BadRequest', 'GET', base + '/configmaps', fieldSelector='data.x=1')['message']
    must('is not a known field selector: only "metadata.name", "metadata.namespace"' in m, m)
    k.fails(400, 'BadRequest', 'GET', base + '/configmaps', labelSelector='a in (')


@check('FieldValidation should detect unknown and duplicate fields of typed objects')
def _(k):
    ns = fresh_namespace(k)
    path = f'/apis/apps/v1/namespaces/{ns}/deployments'
    text = '''{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","unknownMeta":1},"spec":{"unknown1":"v","unknownDupe":"a","unknownDupe":"b","paused":true,"paused":false,
      "selector":{"matchLabels":{"a":"b"}},"replicas":0,"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","unknownNested":"x","imagePullPolicy":"Always","imagePullPolicy":"Never"}]}}}}'''
    m = k.fails(400, 'BadRequest', 'POST', path, text, fieldValidation='Strict')['message']
    for want in ('strict decoding error: ', 'unknown field "metadata.unknownMeta"', 'unknown field "spec.unknown1"', 'duplicate field "spec.unknownDupe"', 'unknown field "spec.unknownDupe"', 'duplicate field "spec.paused"',
                 'unknown field "spec.template.spec.containers[0].unknownNested"', 'duplicate field "spec.template.spec.containers[0].imagePullPolicy"'):
        must(want in m, 'missing', want, 'in', m)
    m = k.fails(400, 'BadRequest', 'POST', path, '{"metadata":{"name":"o"},"spec":{"unknownField":"foo","replicas":2,"replicas":3}}', fieldValidation='Strict')['message']
    must('strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"' in m, 'the order of the document', m)
    s, d, h = k.call('POST', path, text, fieldValidation='Warn')
    same(s, 201, 'Warn')
    must('299 - "unknown field \\"spec.unknown1\\""' in h.get('warning', ''), 'warnings', h)
    must('duplicate field \\"spec.paused\\"' in h.get('warning', ''), 'warnings', h)
    s, d, h = k.call('PATCH', path + '/d', '{"spec":{"foo":"bar","paused":true,"paused":false}}', content='application/merge-patch+json', fieldValidation='Strict')
    must(s == 422 or s == 400, 'merge patch', s, d)
    must('unknown field "spec.foo"' in d['message'] and 'duplicate field "spec.paused"' in d['message'], d['message'])
    s, d, h = k.call('PATCH', path + '/d', '{"spec":{"foo":"bar"}}', content='application/strategic-merge-patch+json', fieldValidation='Strict')
    must(s >= 400 and 'unknown field "spec.foo"' in d['message'], 'strategic', s, d)
    s, d, h = k.call('PATCH', path + '/d', '[{"op":"add","path":"/spec/foo","value":1}]', content='application/json-patch+json', fieldValidation='Strict')
    must(s >= 400 and 'unknown field "spec.foo"' in d['message'], 'json patch', s, d)
    y = 'apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\nspec:\n  paused: true\n  paused: true\n  foo: 1\n'
    s, d, h = k.call('PATCH', path + '/d', y, content='application/apply-patch+yaml', fieldManager='m', fieldValidation='Strict')
    must(s >= 400 and ('foo' in d['message'] or 'paused' in d['message']), 'apply', s, d)
    s, d, h = k.call('PATCH', path + '/d', {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'd'}, 'spec': {'foo': 1}}, content='application/apply-patch+yaml', fieldManager='m')
    must('.spec.foo: field not declared in schema' in d['message'], 'apply', s, d)
    s, d, h = k.call('PATCH', path + '/d', '{"spec":{"foo":"bar"}}', content='application/merge-patch+json', fieldValidation='Ignore')
    same((s, 'warning' in h), (200, False), 'Ignore')
    k.fails(422, 'Invalid', 'POST', path, text, fieldValidation='Sometimes')
    s, d, h = k.call('POST', path, 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: y}\nspec:\n  paused: true\n  paused: false\n  bar: 1\n', content='application/yaml', fieldValidation='Strict')
    must(s == 400 and 'key "paused" already set in map' in d['message'], 'yaml', s, d)


@check('FieldValidation of custom resources')
def _(k):
    name = made_crd(k, crd('fvs', 'Fv'))
    ns = fresh_namespace(k)
    path = f'/apis/c.example.com/v1/namespaces/{ns}/fvs'
    text = '{"apiVersion":"c.example.com/v1","kind":"Fv","metadata":{"name":"x","unknownMeta":1},"spec":{"a":"1","a":"2","foo":true}}'
    m = k.fails(400, 'BadRequest', 'POST', path, text, fieldValidation='Strict')['message']
    for want in ('strict decoding error: ', 'unknown field "metadata.unknownMeta"', 'unknown field "spec.foo"', 'duplicate field "spec.a"'):
        must(want in m, 'missing', want, 'in', m)
    s, d, h = k.call('POST', path, text, fieldValidation='Warn')
    must(s == 201 and 'unknown field \\"spec.foo\\"' in h['warning'] and 'foo' not in d['spec'], 'Warn', s, d, h)
    k.fails(415, 'UnsupportedMediaType', 'PATCH', path + '/x', '{}', content='application/strategic-merge-patch+json')
    k.fails(422, 'Invalid', 'PATCH', path + '/x', {'spec': {'n': 0}}, content='application/merge-patch+json')
    k.delete(f'{CRDS}/{name}')
    wait('CRD gone', lambda: k.call('GET', path)[0] == 404)


@check('server-side apply: conflicts, force, shared ownership, removal, upgrade from client-side')
def _(k):
    ns = fresh_namespace(k)
    path = f'/apis/apps/v1/namespaces/{ns}/deployments/a'
    base = {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'a', 'labels': {'x': '1'}},
            'spec': {'replicas': 0, 'selector': {'matchLabels': {'a': 'b'}}, 'template': {'metadata': {'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i', 'ports': [{'containerPort': 80}]}]}}}}
    s, o, _ = k.call('PATCH', path, base, content='application/apply-patch+yaml', fieldManager='one')
    same(s, 201, 'create by apply')
    same([(m['manager'], m['operation']) for m in o['metadata']['managedFields']], [('one', 'Apply')], 'managers')
    same(k.apply(path, base, 'one')['metadata']['resourceVersion'], o['metadata']['resourceVersion'], 'nothing changes')
    c = k.fails(500, '', 'POST', f'/api/v1/namespaces/{ns}/configmaps', {'metadata': {'name': 'cm', 'resourceVersion': '1'}})
    same(c['message'], 'resourceVersion should not be set on objects to be created', 'a version at creation')
    two = {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'a', 'labels': {'x': '2'}}, 'spec': {'replicas': 0}}
    c = k.fails(409, 'Conflict', 'PATCH', path, two, content='application/apply-patch+yaml', fieldManager='two')
    same([(x['reason'], x['field']) for x in c['details']['causes']], [('FieldManagerConflict', '.metadata.labels.x')], 'causes')
    same(c['details']['causes'][0]['message'], 'conflict with "one"', 'message')
    same(c['message'], 'Apply failed with 1 conflict: conflict with "one": .metadata.labels.x', 'message')
    o = k.apply(path, two, 'two', force='true')
    same(o['metadata']['labels']['x'], '2', 'forced')
    k.apply(path, dict(base, metadata={'name': 'a'}), 'one')
    o = k.apply(path, {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'a'}}, 'two')
    must('x' not in o['metadata'].get('labels', {}), 'a field without owner goes', o['metadata'])
    same(o['spec']['replicas'], 0, 'a shared field stays')
    must('two' not in [m['manager'] for m in o['metadata']['managedFields']], 'an empty manager goes')
    k.fails(422, 'Invalid', 'PATCH', path, base, content='application/apply-patch+yaml')
    c = k.fails(422, None, 'PATCH', path, {'spec': {}}, content='application/merge-patch+json', force='true')
    must('PatchOptions' in json.dumps(c), 'force is for apply', c)
    k.strategic(path, {'spec': {'template': {'spec': {'containers': [{'name': 'c', 'image': 'other'}]}}}}, fieldManager='kubectl-edit')
    c = k.fails(409, 'Conflict', 'PATCH', path, base, content='application/apply-patch+yaml', fieldManager='one')
    must('.spec.template.spec.containers[name="c"].image' in c['message'] and 'conflict with "kubectl-edit" using apps/v1' in c['message'], c['message'])
    st = k.apply(path + '/status', {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'a'}, 'status': {'conditions': [{'type': 'Mine', 'status': 'True'}]}}, 'st')
    must(any(x['type'] == 'Mine' for x in st['status']['conditions']), 'status applied', st['status'])
    same([m.get('subresource') for m in st['metadata']['managedFields'] if m['manager'] == 'st'], ['status'], 'subresource')
    # Defaults are added to what was applied, whatever room its objects have.
    for port in ({'port': 8080}, {'port': 8080, 'protocol': 'UDP'}, {'port': 8080, 'protocol': 'UDP', 'name': 'p'}, {'port': 8080, 'protocol': 'UDP', 'name': 'p', 'appProtocol': 'http'}):
        name = 's%d' % len(port)
        sv = k.apply(f'/api/v1/namespaces/{ns}/services/{name}', {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name}, 'spec': {'ports': [port]}})
        same(sv['spec']['ports'], [dict({'protocol': 'TCP', 'targetPort': 8080}, **port)], 'ports')


@check('strategic merge directives')
def _(k):
    ns = fresh_namespace(k)
    path = f'/apis/apps/v1/namespaces/{ns}/deployments'
    d = workload('Deployment', 'sm', 0)
    d['spec']['template']['spec'].update({'containers': [{'name': 'a', 'image': 'a', 'env': [{'name': 'X', 'value': '1'}, {'name': 'Y', 'value': '2'}], 'args': ['1', '2']}, {'name': 'b', 'image': 'b'}], 'volumes': [{'name': 'v', 'emptyDir': {}}]})
    k.post(path, d)
    path += '/sm'
    c = lambda o: o['spec']['template']['spec']
    sp = lambda s: k.strategic(path, {'spec': {'template': {'spec': s}}})
    o = sp({'containers': [{'name': 'a', 'env': [{'name': 'X', '$patch': 'delete'}]}]})
    same([e['name'] for e in c(o)['containers'][0]['env']], ['Y'], 'delete in a nested list')
    o = sp({'containers': [{'name': 'b', '$patch': 'delete'}]})
    same([e['name'] for e in c(o)['containers']], ['a'], '$patch: delete')
    o = sp({'$setElementOrder/containers': [{'name': 'z'}, {'name': 'a'}], 'containers': [{'name': 'z', 'image': 'z'}]})
    same([e['name'] for e in c(o)['containers']], ['z', 'a'], '$setElementOrder')
    o = sp({'volumes': [{'name': 'v', '$retainKeys': ['name', 'configMap'], 'configMap': {'name': 'cm'}}]})
    must('emptyDir' not in c(o)['volumes'][0], '$retainKeys', c(o)['volumes'])
    o = sp({'containers': [{'$patch': 'replace'}, {'name': 'only', 'image': 'i'}]})
    same([e['name'] for e in c(o)['containers']], ['only'], '$patch: replace')
    o = k.strategic(path, {'spec': {'strategy': {'$retainKeys': ['type'], 'type': 'Recreate'}}})
    same(o['spec']['strategy'], {'type': 'Recreate'}, 'strategy')
    o = k.strategic(path, {'metadata': {'finalizers': ['ex.io/a', 'ex.io/b']}})
    o = k.strategic(path, {'metadata': {'$deleteFromPrimitiveList/finalizers': ['ex.io/a']}})
    same(o['metadata']['finalizers'], ['ex.io/b'], '$deleteFromPrimitiveList')
    k.merge(path, {'metadata': {'finalizers': None}})
    o = k.merge(path, {'metadata': {'labels': {'app': None}}})
    must('labels' not in o['metadata'] or 'app' not in o['metadata']['labels'], 'null deletes')
    k.fails(422, 'Invalid', 'PATCH', path, [{'op': 'test', 'path': '/spec/replicas', 'value': 9}], content='application/json-patch+json')
    k.fails(415, 'UnsupportedMediaType', 'PATCH', path, '{}', content='application/json')


@check('what cannot be read is refused in words that name the reason: bodies, patches, applied configurations')
def _(k):
    ns = fresh_namespace(k)
    base = f'/api/v1/namespaces/{ns}/configmaps'
    k.post(base, {'metadata': {'name': 'c'}, 'data': {'k': 'v'}})
    one = base + '/c'

    def says(code, want, method, path, body, **kw):
        got = k.fails(code, None, method, path, body, **kw)['message']
        must(want in got, path, body, 'wanted', want, 'got', got)
    json_patch, merge, strategic, apply = ('application/' + t for t in ('json-patch+json', 'merge-patch+json', 'strategic-merge-patch+json', 'apply-patch+yaml'))
    # Bodies.
    says(400, 'converting (v1.Pod) to (core.ConfigMap): unknown conversion', 'POST', base, {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'x'}})
    says(400, 'no kind "Zork" is registered for version "v1" in scheme', 'POST', base, {'apiVersion': 'v1', 'kind': 'Zork', 'metadata': {'name': 'x'}})
    says(400, 'json: cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta', 'POST', base, {'metadata': 'x'})
    says(400, 'the name of the object (c based on URL) was undeterminable: name must be provided', 'PUT', one, {'data': {}})
    # JSON patches: what is not there can be replaced and copied.
    k.call('PATCH', one, [{'op': 'replace', 'path': '/data/new', 'value': 'x'}], content=json_patch)
    same(k.get(one)['data'], {'k': 'v', 'new': 'x'})
    same(k.jsonpatch(one, [{'op': 'copy', 'from': '/data/none', 'path': '/data/new'}], dryRun='All')['data'].get('new'), '')
    says(422, 'no kind "Zork" is registered', 'PATCH', one, [{'op': 'replace', 'path': '/kind', 'value': 'Zork'}], content=json_patch)
    says(400, 'json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string', 'PATCH', one, [{'op': 1, 'path': '/x'}], content=json_patch)
    says(422, 'json: cannot unmarshal number into Go struct field ConfigMap.data of type string', 'PATCH', one, {'data': {'k': 5}}, content=merge)
    says(422, 'Invalid value: "map[data:map[k:5]]": cannot convert int64 to string', 'PATCH', one, {'data': {'k': 5}}, content=strategic)
    same(k.strategic(one, {'kind': 'Zork'})['kind'], 'ConfigMap')
    config = {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'c'}}
    says(500, '(/c; /v1, Kind=ConfigMap): .data.k: expected string, got &value.valueUnstructured{Value:5}', 'PATCH', one, dict(config, data={'k': 5}), content=apply, fieldManager='m')
    says(400, 'invalid object type: /v1, Kind=Zork', 'PATCH', one, dict(config, kind='Zork'), content=apply, fieldManager='m')
    # Versions that are no numbers: lists say that the request is bad, storage says it otherwise.
    says(400, 'invalid resource version: resourceVersion: Invalid value: "abc"', 'GET', base + '?resourceVersion=abc', None)
    says(500, 'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax', 'GET', base + '?watch=1&resourceVersion=abc', None)
    says(415, 'the body of the request was in an unknown format', 'DELETE', one, '{}', content='text/plain')


@check('managedFields: who makes a map or list owns it, atomic structs are owned whole, what the server allocates is nobody\'s')
def _(k):
    ns = fresh_namespace(k)
    def fields(o):
        return next(m['fieldsV1'] for m in o['metadata']['managedFields'] if m['manager'] == 'maker')
    made = k.post(f'/api/v1/namespaces/{ns}/configmaps', {'metadata': {'name': 'c', 'labels': {'a': 'b'}}, 'data': {'k': 'v'}}, fieldManager='maker')
    same(fields(made), {'f:data': {'.': {}, 'f:k': {}}, 'f:metadata': {'f:labels': {'.': {}, 'f:a': {}}}})
    made = k.post(f'/api/v1/namespaces/{ns}/services', {'metadata': {'name': 's'}, 'spec': {'selector': {'a': 'b'}, 'ports': [{'port': 80}]}}, fieldManager='maker')
    same(sorted(fields(made)['f:spec']), ['f:internalTrafficPolicy', 'f:ports', 'f:selector', 'f:sessionAffinity', 'f:type'])
    spec = {'selector': {'matchLabels': {'a': 'b'}}, 'template': {'metadata': {'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}}
    made = k.post(f'/apis/apps/v1/namespaces/{ns}/deployments', {'metadata': {'name': 'd'}, 'spec': dict(spec, replicas=0)}, fieldManager='maker')
    same(fields(made)['f:spec']['f:selector'], {})
    same(fields(made)['f:spec']['f:strategy'], {'f:rollingUpdate': {'.': {}, 'f:maxSurge': {}, 'f:maxUnavailable': {}}, 'f:type': {}})
    must('creationTimestamp' not in made['spec']['template']['metadata'], made['spec']['template'])


@check('generateName, dry run, preconditions, immutable ConfigMap and Secret')
def _(k):
    ns = fresh_namespace(k)
    path = f'/api/v1/namespaces/{ns}/configmaps'
    o = k.post(path, {'metadata': {'generateName': 'gen-'}})
    must(re.fullmatch('gen-[bcdfghjklmnpqrstvwxz2456789]{5}', o['metadata']['name']), o['metadata']['name'])
    o = k.post(path, {'metadata': {'generateName': 'g' * 70}})
    same(len(o['metadata']['name']), 63, 'cut to 63')
    k.post(path, {'metadata': {'name': 'dry'}}, dryRun='All')
    k.fails(404, 'NotFound', 'GET', path + '/dry')
    k.fails(422, 'Invalid', 'POST', path, {'metadata': {'name': 'dry'}}, dryRun='Some')
    for kind, field in (('configmaps', {'data': {'a': 'b'}}), ('secrets', {'stringData': {'a': 'b'}})):
        p = f'/api/v1/namespaces/{ns}/{kind}'
        k.post(p, dict(field, metadata={'name': 'im'}, immutable=True))
        e = k.fails(422, 'Invalid', 'PATCH', p + '/im', {'data': {'a': 'Yw=='}}, content='application/merge-patch+json')
        must('field is immutable when `immutable` is set' in e['message'], e['message'])
        k.fails(422, 'Invalid', 'PATCH', p + '/im', {'immutable': False}, content='application/merge-patch+json')
        k.merge(p + '/im', {'metadata': {'labels': {'still': 'free'}}})
    k.fails(422, 'Invalid', 'POST', path, {'metadata': {'name': 'x'}, 'data': {'': 'empty key'}})
    k.fails(422, 'Invalid', 'POST', path, {'metadata': {'name': 'x'}, 'data': {'a': '1'}, 'binaryData': {'a': 'MQ=='}})
    k.fails(422, 'Invalid', 'POST', path, {'metadata': {'name': 'Upper'}})
    k.fails(409, 'Conflict', 'DELETE', path + '/im', {'preconditions': {'uid': 'other'}})
    k.fails(409, 'Conflict', 'DELETE', path + '/im', {'preconditions': {'resourceVersion': '1'}})
    k.delete(path + '/im', dryRun='All')
    s = k.delete(path + '/im')
    same((s['kind'], s['status'], s['details']['name'], s['details']['kind']), ('Status', 'Success', 'im', 'configmaps'), 'answer of a delete')
    rv = k.post(path, {'metadata': {'name': 'same'}, 'data': {'a': 'b'}})['metadata']['resourceVersion']
    same(k.merge(path + '/same', {'data': {'a': 'b'}})['metadata']['resourceVersion'], rv, 'an update that changes nothing')


@check('Garbage collector: background, orphan, foreground, two owners, cycle')
def _(k):
    ns = fresh_namespace(k)
    cms = f'/api/v1/namespaces/{ns}/configmaps'

    def owned(name, *owners, block=True):
        return k.post(cms, {'metadata': {'name': name, 'ownerReferences': [
            {'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': o['metadata']['name'], 'uid': o['metadata']['uid'], 'controller': i == 0, 'blockOwnerDeletion': block} for i, o in enumerate(owners)]}})
    gone = lambda n: lambda: k.call('GET', f'{cms}/{n}')[0] == 404
    a = owned('bg'); owned('bg-child', a)
    k.delete(cms + '/bg', {'propagationPolicy': 'Background'})
    wait('background child gone', gone('bg-child'))
    a = owned('or'); owned('or-child', a)
    k.delete(cms + '/or', {'propagationPolicy': 'Orphan'})
    wait('orphaned owner gone', gone('or'))
    same(k.get(cms + '/or-child')['metadata'].get('ownerReferences', []), [], 'an orphan has no owners')
    a = owned('fg'); owned('fg-child', a)
    k.merge(cms + '/fg-child', {'metadata': {'finalizers': ['ex.io/hold']}})
    k.delete(cms + '/fg', {'propagationPolicy': 'Foreground'})
    wait('foreground child is deleted first', lambda: k.get(cms + '/fg-child')['metadata'].get('deletionTimestamp'))
    o = k.get(cms + '/fg')
    must('foregroundDeletion' in o['metadata']['finalizers'] and o['metadata']['deletionTimestamp'], 'the owner waits')
    k.merge(cms + '/fg-child', {'metadata': {'finalizers': None}})
    wait('foreground owner gone', gone('fg'))
    a = owned('t1'); b = owned('t2'); owned('t-child', a, b)
    k.delete(cms + '/t1', {'propagationPolicy': 'Background'})
    wait('the reference to the gone owner is removed', lambda: len(k.get(cms + '/t-child')['metadata']['ownerReferences']) == 1)
    a = owned('c1'); b = owned('c2', a)
    k.merge(cms + '/c1', {'metadata': {'ownerReferences': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'c2', 'uid': b['metadata']['uid'], 'blockOwnerDeletion': True}]}})
    k.delete(cms + '/c1', {'propagationPolicy': 'Foreground'})
    wait('a cycle goes', lambda: gone('c1')() and gone('c2')())
    k.post(cms, {'metadata': {'name': 'lost', 'ownerReferences': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'never', 'uid': 'no-such-uid'}]}})
    wait('a child of nobody goes', gone('lost'))


@check('Namespaces: update, status, patch, finalizer, removal of what is in them')
def _(k):
    ns = fresh_namespace(k)
    one = '/api/v1/namespaces/' + ns
    same(k.get(one)['metadata']['labels']['kubernetes.io/metadata.name'], ns, 'label')
    same(k.get(one)['spec']['finalizers'], ['kubernetes'], 'finalizers')
    k.merge(one, {'metadata': {'labels': {'p': 'q'}}})
    o = k.get(one)
    o['metadata']['labels']['u'] = 'v'
    k.put(one, o)
    k.merge(one + '/status', {'status': {'conditions': [{'type': 'Mine', 'status': 'True', 'reason': 'E2E', 'message': 'm'}]}})
    o = k.get(one + '/status')
    o['status']['conditions'].append({'type': 'More', 'status': 'True', 'reason': 'E2E', 'message': 'm'})
    same(sorted(c['type'] for c in k.put(one + '/status', o)['status']['conditions']), ['Mine', 'More'], 'conditions')
    k.merge(one, {'metadata': {'finalizers': ['ex.io/hold']}})
    k.post(one + '/configmaps', {'metadata': {'name': 'x', 'finalizers': ['ex.io/keep']}})
    k.post(one + '/pods', pod('p'))
    k.post(one + '/services', {'metadata': {'name': 's'}, 'spec': {'ports': [{'port': 1}]}})
    d = k.delete(one)
    same((d['kind'], d['status']['phase']), ('Namespace', 'Terminating'), 'what delete answers')
    e = k.fails(403, 'Forbidden', 'POST', one + '/configmaps', {'metadata': {'name': 'late'}})
    must('because it is being terminated' in e['message'] and e['details']['causes'][0]['reason'] == 'NamespaceTerminating', e)
    wait('pods and services go', lambda: not k.get(one + '/pods')['items'] and not k.get(one + '/services')['items'])
    wait('conditions tell why', lambda: {c['type']: c['status'] for c in k.get(one)['status'].get('conditions', [])}.get('NamespaceFinalizersRemaining') == 'True')
    cs = {c['type']: c for c in k.get(one)['status']['conditions']}
    same(cs['NamespaceContentRemaining']['reason'], 'SomeResourcesRemain', 'reason')
    must('ex.io/keep in 1 resource instances' in cs['NamespaceFinalizersRemaining']['message'], cs)
    k.merge(one + '/configmaps/x', {'metadata': {'finalizers': None}})
    wait('only the finalizer is left', lambda: not k.get(one)['spec'].get('finalizers'), 30)
    k.merge(one, {'metadata': {'finalizers': None}})
    wait('gone', lambda: k.call('GET', one)[0] == 404)
    k.fails(403, 'Forbidden', 'DELETE', '/api/v1/namespaces/default')
    e = k.fails(404, 'NotFound', 'POST', one + '/configmaps', {'metadata': {'name': 'late'}})
    same(e['message'], f'namespaces "{ns}" not found', 'message')


@check('OrderedNamespaceDeletion namespace deletion should delete pod first')
def _(k):
    ns = fresh_namespace(k)
    one = '/api/v1/namespaces/' + ns
    p = pod('p')
    p['metadata']['finalizers'] = ['ex.io/hold']
    k.post(one + '/pods', p)
    k.post(one + '/configmaps', {'metadata': {'name': 'kept'}})
    k.delete(one)
    wait('the controller has looked', lambda: 'NamespaceDeletionContentFailure' in json.dumps(k.get(one)['status']))
    wait('the pod goes', lambda: k.get(one + '/pods/p')['metadata'].get('deletionTimestamp'))
    time.sleep(1.5)
    same(k.get(one + '/configmaps/kept')['metadata']['name'], 'kept', 'what the pod may need stays')
    k.merge(one + '/pods/p', {'metadata': {'finalizers': None}})
    wait('everything goes', lambda: k.call('GET', one)[0] == 404, 40)


@check('CustomResourceDefinition: lifecycle, status, defaulting, versions, scale, selectable fields, columns, OpenAPI')
def _(k):
    schema = {'type': 'object', 'properties': {
        'spec': {'type': 'object', 'properties': {'size': {'type': 'integer', 'default': 1, 'description': 'how big it is'}, 'color': {'type': 'string'}, 'free': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True},
                 'port': {'x-kubernetes-int-or-string': True}, 'embedded': {'type': 'object', 'x-kubernetes-embedded-resource': True, 'x-kubernetes-preserve-unknown-fields': True}}},
        'status': {'type': 'object', 'properties': {'size': {'type': 'integer'}, 'sel': {'type': 'string'}}}}}
    v = lambda n, **kw: dict({'name': n, 'served': True, 'storage': False, 'schema': {'openAPIV3Schema': schema}}, **kw)
    sub = {'status': {}, 'scale': {'specReplicasPath': '.spec.size', 'statusReplicasPath': '.status.size', 'labelSelectorPath': '.status.sel'}}
    body = crd('boxes', 'Box', versions=[v('v1', storage=True, subresources=sub, selectableFields=[{'jsonPath': '.spec.color'}], additionalPrinterColumns=[{'name': 'Size', 'type': 'integer', 'jsonPath': '.spec.size'}]),
                                         v('v1beta1', deprecated=True, deprecationWarning='v1beta1 is old'), v('v2alpha1', served=False)])
    body['spec']['names'].update(shortNames=['bx'], categories=['all'])
    name = made_crd(k, body)
    o = k.get(f'{CRDS}/{name}')
    cs = {c['type']: (c['status'], c['reason']) for c in o['status']['conditions']}
    same(cs.get('NamesAccepted'), ('True', 'NoConflicts'), 'NamesAccepted')
    same(cs.get('Established'), ('True', 'InitialNamesAccepted'), 'Established')
    same((o['status']['storedVersions'], o['status']['acceptedNames']['plural'], o['spec']['conversion']), (['v1'], 'boxes', {'strategy': 'None'}), 'status')
    wait('discovery', lambda: any(g['name'] == 'c.example.com' for g in k.get('/apis')['groups']))
    same([x['version'] for g in k.get('/apis')['groups'] if g['name'] == 'c.example.com' for x in g['versions']], ['v1', 'v1beta1'], 'served versions')
    agg = k.get('/apis', accept='application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList')
    must('boxes' in json.dumps([g for g in agg['items'] if g['metadata']['name'] == 'c.example.com']), 'aggregated discovery')
    ns = fresh_namespace(k)
    path = f'/apis/c.example.com/v1/namespaces/{ns}/boxes'
    o = k.post(path, {'apiVersion': 'c.example.com/v1', 'kind': 'Box', 'metadata': {'name': 'b', 'labels': {'l': 'b'}}, 'spec': {'color': 'red', 'free': {'x': {'y': 1}}, 'junk': 1, 'port': 'http'}, 'status': {'size': 9}, 'other': 1})
    same((o['spec'], 'status' in o, 'other' in o), ({'color': 'red', 'free': {'x': {'y': 1}}, 'port': 'http', 'size': 1}, False, False), 'defaults and pruning')
    same(o['metadata']['generation'], 1, 'generation')
    same(k.merge(path + '/b', {'metadata': {'labels': {'a': 'b'}}})['metadata']['generation'], 1, 'labels do not count')
    same(k.merge(path + '/b', {'spec': {'size': 2}, 'status': {'size': 7}})['metadata']['generation'], 2, 'spec counts')
    must('status' not in k.get(path + '/b'), 'the main endpoint ignores status')
    o = k.merge(path + '/b/status', {'spec': {'size': 99}, 'status': {'size': 2, 'sel': 'a=b'}})
    same((o['spec']['size'], o['status']['size'], o['metadata']['generation']), (2, 2, 2), 'status endpoint')
    sc = k.get(path + '/b/scale')
    same((sc['kind'], sc['apiVersion'], sc['spec']['replicas'], sc['status']), ('Scale', 'autoscaling/v1', 2, {'replicas': 2, 'selector': 'a=b'}), 'scale')
    same(k.merge(path + '/b/scale', {'spec': {'replicas': 5}})['spec']['replicas'], 5, 'scale patch')
    sc = k.get(path + '/b/scale')
    sc['spec']['replicas'] = 6
    k.put(path + '/b/scale', sc)
    same(k.get(path + '/b')['spec']['size'], 6, 'scaled')
    same(len(k.get(path, fieldSelector='spec.color=red')['items']), 1, 'selectable field')
    same(len(k.get(path, fieldSelector='spec.color=blue')['items']), 0, 'selectable field')
    t = k.get(path, accept='application/json;as=Table;v=v1;g=meta.k8s.io')
    same([c['name'] for c in t['columnDefinitions']], ['Name', 'Size'], 'columns')
    same(t['rows'][0]['cells'], ['b', 6], 'cells')
    s, o, h = k.call('GET', path.replace('/v1/', '/v1beta1/') + '/b')
    same((s, o['apiVersion']), (200, 'c.example.com/v1beta1'), 'the other version')
    must('v1beta1 is old' in h.get('warning', ''), 'deprecation', h)
    same(k.call('GET', path.replace('/v1/', '/v2alpha1/'))[0], 404, 'a version that is not served')
    k.fails(422, 'Invalid', 'PATCH', path + '/b', {'spec': {'size': 'big'}}, content='application/merge-patch+json')
    ref = k.get('/openapi/v3')['paths']['apis/c.example.com/v1']['serverRelativeURL']
    doc = k.get(ref)
    must('how big it is' in json.dumps(doc) and 'com.example.c.v1.Box' in doc['components']['schemas'], 'OpenAPI v3')
    must('com.example.c.v1.Box' in k.get('/openapi/v2')['definitions'], 'OpenAPI v2')
    open_name = made_crd(k, crd('frees', 'Free', group='free.example.com', **{'x-kubernetes-preserve-unknown-fields': True}))
    wait('OpenAPI v2 of a kind that keeps every field', lambda: k.get('/openapi/v2')['definitions'].get('com.example.free.v1.Free'))
    free = k.get('/openapi/v2')['definitions']['com.example.free.v1.Free']
    same((free['type'], 'properties' in free, 'x-kubernetes-preserve-unknown-fields' in free), ('object', False, False), 'kubectl would take properties for all there are')
    k.delete(f'{CRDS}/{open_name}')
    k.merge(f'{CRDS}/{name}/status', {'status': {'conditions': [{'type': 'StatusUpdated', 'status': 'True', 'reason': 'E2E', 'message': 'm', 'lastTransitionTime': '2026-01-01T00:00:00Z'}]}})
    must('StatusUpdated' in json.dumps(k.get(f'{CRDS}/{name}/status')['status']), 'status of the definition')
    w = k.watch(path, resourceVersion=k.get(path)['metadata']['resourceVersion'])
    k.delete(f'{CRDS}/{name}')
    w.until('DELETED')
    w.close()
    wait('gone', lambda: k.call('GET', f'{CRDS}/{name}')[0] == 404 and k.call('GET', path)[0] == 404)
    wait('openapi forgets', lambda: 'apis/c.example.com/v1' not in k.get('/openapi/v3')['paths'])
    bad = crd('bads', 'Bad')
    bad['metadata']['name'] = 'wrong.c.example.com'
    e = k.fails(422, 'Invalid', 'POST', CRDS, bad)
    must('must be spec.names.plural+"."+spec.group' in e['message'], e['message'])
    bad = crd('bads', 'Bad')
    del bad['spec']['versions'][0]['schema']
    must('spec.versions[0].schema.openAPIV3Schema: Required value' in k.fails(422, 'Invalid', 'POST', CRDS, bad)['message'], 'schema')


@check('CustomResourceValidationRules: rules above the cost limit are refused')
def _(k):
    rule = {'type': 'array', 'items': {'type': 'string'}, 'x-kubernetes-validations': [{'rule': "self.all(s, s == 'string constant')"}]}
    body = crd('costs', 'Cost', properties={'spec': {'type': 'object', 'properties': {'x': {'type': 'array', 'items': rule}}}})
    must('exceeds budget by factor of more than 100x' in k.fails(422, 'Invalid', 'POST', CRDS, body)['message'], 'unbounded')
    rule['maxItems'] = 10
    rule['items']['maxLength'] = 20
    body['spec']['versions'][0]['schema']['openAPIV3Schema']['properties']['spec']['properties']['x']['maxItems'] = 10
    name = made_crd(k, body)
    path = f'/apis/c.example.com/v1/namespaces/{fresh_namespace(k)}/costs'
    e = k.fails(422, 'Invalid', 'POST', path, {'apiVersion': 'c.example.com/v1', 'kind': 'Cost', 'metadata': {'name': 'a'}, 'spec': {'x': [['other']]}})
    must('spec.x[0]: Invalid value: "array": failed rule' in e['message'], e['message'])
    k.delete(f'{CRDS}/{name}')


@check('what a schema says about values of maps names them as fields')
def _(k):
    body = crd('maps', 'Map', properties={'spec': {'type': 'object', 'properties': {'m': {'type': 'object', 'maxProperties': 5, 'additionalProperties': {
        'type': 'integer', 'maximum': 3, 'x-kubernetes-validations': [{'rule': 'self != 2'}]}}}}})
    name = made_crd(k, body)
    path = f'/apis/c.example.com/v1/namespaces/{fresh_namespace(k)}/maps'
    thing = lambda v: {'apiVersion': 'c.example.com/v1', 'kind': 'Map', 'metadata': {'name': 'a'}, 'spec': {'m': {'foo': v}}}
    must('spec.m.foo: Invalid value: 5: spec.m.foo in body should be less than or equal to 3' in k.fails(422, 'Invalid', 'POST', path, thing(5))['message'], 'schema')
    must('spec.m[foo]: Invalid value' in k.fails(422, 'Invalid', 'POST', path, thing(2))['message'], 'rule')
    k.delete(f'{CRDS}/{name}')


@check('OpenAPI v2 and v3 describe every kind')
def _(k):
    v2 = k.get('/openapi/v2')
    same(v2['swagger'], '2.0', 'swagger')
    kinds = {(g['group'], g['version'], g['kind']) for d in v2['definitions'].values() for g in d.get('x-kubernetes-group-version-kind', [])}
    v3 = k.get('/openapi/v3')['paths']
    for gv in ['api/v1'] + ['apis/' + v['groupVersion'] for g in k.get('/apis')['groups'] for v in g['versions']]:
        must(gv in v3, 'no OpenAPI v3 for', gv)
        s, doc, h = k.call('GET', v3[gv]['serverRelativeURL'])
        same((s, doc['openapi'][:2]), (200, '3.'), gv)
        must('immutable' in h.get('cache-control', ''), 'a hashed document is immutable', h)
        kinds3 = {g['kind'] for d in doc['components']['schemas'].values() for g in d.get('x-kubernetes-group-version-kind', [])}
        group, version = ([''] + gv.split('/')[1:])[-2:] if gv != 'api/v1' else ('', 'v1')
        for r in k.get('/' + gv)['resources']:
            if '/' not in r['name']:
                must(r['kind'] in kinds3, 'v3', gv, 'lacks', r['kind'])
                must((group, version, r['kind']) in kinds, 'v2 lacks', gv, r['kind'])
                must(f"/{gv}/{'namespaces/{namespace}/' if r['namespaced'] else ''}{r['name']}" in doc['paths'], 'v3 lacks the path of', r['name'])
    s, body, h = k.call('GET', '/openapi/v2', accept='application/com.github.proto-openapi.spec.v2@v1.0+protobuf')
    must(s == 406 or 'protobuf' in h['content-type'], 'protobuf is answered as such or refused', s, h)


@check('Events and events.k8s.io: one store, two forms')
def _(k):
    ns = fresh_namespace(k)
    new, old = f'/apis/events.k8s.io/v1/namespaces/{ns}/events', f'/api/v1/namespaces/{ns}/events'
    k.post(new, {'metadata': {'name': 'n'}, 'eventTime': '2026-01-01T00:00:00.123456Z', 'reportingController': 'ex.io/c', 'reportingInstance': 'i', 'action': 'Do', 'reason': 'R', 'regarding': {'kind': 'Pod', 'namespace': ns, 'name': 'p'}, 'note': 'hello', 'type': 'Normal'})
    o = k.get(old + '/n')
    same((o['message'], o['involvedObject']['name'], o['reportingComponent'], o['eventTime']), ('hello', 'p', 'ex.io/c', '2026-01-01T00:00:00.123456Z'), 'core form')
    k.merge(old + '/n', {'series': {'count': 2, 'lastObservedTime': '2026-01-02T00:00:00.000000Z'}})
    same(k.get(new + '/n')['series']['count'], 2, 'series')
    k.post(old, {'metadata': {'name': 'o'}, 'involvedObject': {'kind': 'Pod', 'namespace': ns, 'name': 'p'}, 'reason': 'R', 'message': 'old', 'type': 'Warning', 'firstTimestamp': '2026-01-01T00:00:00Z', 'lastTimestamp': '2026-01-01T00:00:00Z', 'count': 1, 'source': {'component': 'c'}})
    o = k.get(new + '/o')
    same((o['note'], o['deprecatedCount'], o['deprecatedSource']['component']), ('old', 1, 'c'), 'new form')
    same([e['metadata']['name'] for e in k.get(old, fieldSelector='source=ex.io/c')['items']], ['n'], 'source of the new form')
    same([e['metadata']['name'] for e in k.get(old, fieldSelector='source=c')['items']], ['o'], 'source of the old form')
    same([e['metadata']['name'] for e in k.get(new, fieldSelector='reportingController=ex.io/c')['items']], ['n'], 'reportingController')
    k.fails(422, 'Invalid', 'POST', new, {'metadata': {'name': 'bad'}, 'regarding': {'namespace': ns}, 'reason': 'R', 'type': 'Odd', 'eventTime': '2026-01-01T00:00:00.000000Z'})
    k.delete(new, labelSelector='')
    same(k.get(old)['items'], [], 'deletecollection')


# --- auth ---

def jwt(token):
    part = token.split('.')[1]
    return json.loads(base64.urlsafe_b64decode(part + '=' * (-len(part) % 4)))


@check('ServiceAccounts: lifecycle, TokenRequest, issuer discovery, kube-root-ca.crt')
def _(k):
    ns = fresh_namespace(k)
    base = f'/api/v1/namespaces/{ns}'
    wait('kube-root-ca.crt', lambda: k.call('GET', base + '/configmaps/kube-root-ca.crt')[0] == 200)
    must('BEGIN CERTIFICATE' in k.get(base + '/configmaps/kube-root-ca.crt')['data']['ca.crt'], 'ca.crt')
    k.delete(base + '/configmaps/kube-root-ca.crt')
    wait('it comes back', lambda: k.call('GET', base + '/configmaps/kube-root-ca.crt')[0] == 200)
    k.merge(base + '/configmaps/kube-root-ca.crt', {'data': {'ca.crt': 'junk'}})
    wait('it is corrected', lambda: 'BEGIN' in k.get(base + '/configmaps/kube-root-ca.crt')['data']['ca.crt'])
    k.delete(base + '/serviceaccounts/default')
    wait('default comes back', lambda: k.call('GET', base + '/serviceaccounts/default')[0] == 200)
    sa = k.post(base + '/serviceaccounts', {'metadata': {'name': 'robot'}, 'automountServiceAccountToken': False})
    t = k.post(base + '/serviceaccounts/robot/token', {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenRequest', 'spec': {'audiences': ['a1'], 'expirationSeconds': 3600}})
    same(t['spec']['expirationSeconds'], 3600, 'expiration')
    must(t['status']['expirationTimestamp'], 'expirationTimestamp')
    c = jwt(t['status']['token'])
    issuer = k.get('/.well-known/openid-configuration')
    same((c['sub'], c['aud'], c['iss'], c['kubernetes.io']['serviceaccount'], c['kubernetes.io']['namespace']), (f'system:serviceaccount:{ns}:robot', ['a1'], issuer['issuer'], {'name': 'robot', 'uid': sa['metadata']['uid']}, ns), 'claims')
    must({'jwks_uri', 'response_types_supported', 'subject_types_supported', 'id_token_signing_alg_values_supported'} <= set(issuer), 'issuer document', issuer)
    s, keys, h = k.call('GET', '/openid/v1/jwks')
    must(s == 200 and keys['keys'][0]['kid'] and h['content-type'] == 'application/jwk-set+json', 'keys', h)
    r = k.post('/apis/authentication.k8s.io/v1/tokenreviews', {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenReview', 'spec': {'token': t['status']['token'], 'audiences': ['a1']}})
    must(r['status']['authenticated'] and r['status']['audiences'] == ['a1'], 'review', r['status'])
    r = k.post('/apis/authentication.k8s.io/v1/tokenreviews', {'spec': {'token': t['status']['token'], 'audiences': ['other']}})
    same(r['status']['error'], '[invalid bearer token, token audiences ["a1"] is invalid for the target audiences ["other"]]', 'other audience')
    # A token of an object lives as long as the object, whose uid need not be given.
    secret = k.post(base + '/secrets', {'metadata': {'name': 'holder'}})
    t = k.post(base + '/serviceaccounts/robot/token', {'spec': {'boundObjectRef': {'kind': 'Secret', 'apiVersion': 'v1', 'name': 'holder'}}})
    same(jwt(t['status']['token'])['kubernetes.io']['secret'], {'name': 'holder', 'uid': secret['metadata']['uid']}, 'bound to')
    k.as_token(t['status']['token']).get('/api')
    k.delete(base + '/secrets/holder')
    r = k.post('/apis/authentication.k8s.io/v1/tokenreviews', {'spec': {'token': t['status']['token']}})
    same(r['status']['error'], '[invalid bearer token, service account token has been invalidated]', 'of what is gone')
    e = k.fails(400, 'BadRequest', 'POST', base + '/serviceaccounts/robot/token', {'spec': {'boundObjectRef': {'kind': 'ConfigMap', 'apiVersion': 'v1', 'name': 'x'}}})
    same(e['message'], 'cannot bind token to object of type /v1, Kind=ConfigMap')
    e = k.fails(422, 'Invalid', 'POST', base + '/serviceaccounts/robot/token', {'spec': {'expirationSeconds': 2**32 + 1}})
    must('may not specify a duration larger than 2^32 seconds' in e['message'], e['message'])
    k.fails(422, 'Invalid', 'POST', base + '/serviceaccounts/robot/token', {'spec': {'audiences': [], 'expirationSeconds': 60}})
    t = k.post(base + '/serviceaccounts/robot/token', {'spec': {}})
    robot = k.as_token(t['status']['token'])
    me = robot.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'})['status']['userInfo']
    same((me['username'], me['groups']), (f'system:serviceaccount:{ns}:robot', ['system:serviceaccounts', f'system:serviceaccounts:{ns}', 'system:authenticated']), 'who am I')
    must(me['extra']['authentication.kubernetes.io/credential-id'][0].startswith('JTI='), me)
    e = robot.fails(403, 'Forbidden', 'GET', base + '/pods')
    same(e['message'], f'pods is forbidden: User "system:serviceaccount:{ns}:robot" cannot list resource "pods" in API group "" in the namespace "{ns}"', 'refusal')
    k.post(f'/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings', {'metadata': {'name': 'v'}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'view'}, 'subjects': [{'kind': 'ServiceAccount', 'name': 'robot', 'namespace': ns}]})
    robot.get(base + '/pods')
    robot.fails(403, 'Forbidden', 'GET', base + '/secrets')
    e = robot.fails(403, 'Forbidden', 'POST', f'/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles', {'metadata': {'name': 'x'}, 'rules': []})
    k.delete(base + '/serviceaccounts/robot')
    robot.fails(401, 'Unauthorized', 'GET', base + '/pods')
    k.as_token('nonsense').fails(401, 'Unauthorized', 'GET', '/api')
    k.anonymous.fails(403, 'Forbidden', 'GET', '/api/v1/pods')
    same(k.anonymous.call('GET', '/version')[0], 200, 'anonymous /version')


@check('SubjectReview, SubjectAccessReview and impersonation')
def _(k):
    ns = fresh_namespace(k)
    h = {'Impersonate-User': 'jane', 'Impersonate-Group': 'devs', 'Impersonate-Extra-Example.com%2fscope': 'x'}
    me = k.post('/apis/authentication.k8s.io/v1/selfsubjectreviews', {}, headers=h)['status']['userInfo']
    same((me['username'], me['groups'], me['extra']), ('jane', ['devs', 'system:authenticated'], {'example.com/scope': ['x']}), 'impersonation')
    k.fails(403, 'Forbidden', 'GET', '/api/v1/pods', headers=h)
    ask = lambda **kw: k.post('/apis/authorization.k8s.io/v1/subjectaccessreviews', {'spec': dict({'user': 'jane', 'resourceAttributes': {'verb': 'get', 'resource': 'pods', 'namespace': ns}}, **kw)})['status']
    same(ask()['allowed'], False, 'jane may not')
    k.post(f'/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings', {'metadata': {'name': 'v'}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'view'}, 'subjects': [{'kind': 'Group', 'name': 'devs', 'apiGroup': 'rbac.authorization.k8s.io'}]})
    r = ask(groups=['devs'])
    must(r['allowed'] and r['reason'].startswith('RBAC: allowed by RoleBinding "v/'), r)
    k.get(f'/api/v1/namespaces/{ns}/pods', headers=h)
    same(k.post(f'/apis/authorization.k8s.io/v1/namespaces/{ns}/localsubjectaccessreviews', {'spec': {'user': 'x', 'groups': ['devs'], 'resourceAttributes': {'verb': 'get', 'resource': 'pods', 'namespace': ns}}})['status']['allowed'], True, 'local')
    rules = k.post('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {'spec': {'namespace': ns}}, headers=h)['status']
    must(any('pods' in r['resources'] for r in rules['resourceRules']) and rules['nonResourceRules'], 'rules')
    same(k.post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {'spec': {'nonResourceAttributes': {'path': '/metrics', 'verb': 'get'}}}, headers=h)['status']['allowed'], False, 'paths')
    k.fails(422, 'Invalid', 'POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {'spec': {'user': 'x'}})
    e = k.fails(403, 'Forbidden', 'POST', f'/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles', {'metadata': {'name': 'up'}, 'rules': [{'apiGroups': [''], 'resources': ['secrets'], 'verbs': ['*']}]}, headers={'Impersonate-User': 'admin-ish', 'Impersonate-Group': 'rbacers'})
    k.post('/apis/rbac.authorization.k8s.io/v1/namespaces/' + ns + '/roles', {'metadata': {'name': 'rb'}, 'rules': [{'apiGroups': ['rbac.authorization.k8s.io'], 'resources': ['roles', 'rolebindings'], 'verbs': ['create', 'get', 'update', 'patch']}]})
    k.post('/apis/rbac.authorization.k8s.io/v1/namespaces/' + ns + '/rolebindings', {'metadata': {'name': 'rb'}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'Role', 'name': 'rb'}, 'subjects': [{'kind': 'User', 'name': 'sly', 'apiGroup': 'rbac.authorization.k8s.io'}]})
    e = k.fails(403, 'Forbidden', 'POST', f'/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles', {'metadata': {'name': 'up'}, 'rules': [{'apiGroups': [''], 'resources': ['secrets'], 'verbs': ['get']}]}, headers={'Impersonate-User': 'sly'})
    must('attempting to grant RBAC permissions not currently held' in e['message'], e['message'])
    k.fails(403, 'Forbidden', 'POST', f'/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings', {'metadata': {'name': 'up'}, 'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'ClusterRole', 'name': 'cluster-admin'}, 'subjects': []}, headers={'Impersonate-User': 'sly'})
    e = k.fails(422, 'Invalid', 'PATCH', f'/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings/rb', {'roleRef': {'name': 'other'}}, content='application/merge-patch+json')
    must('cannot change roleRef' in e['message'], e['message'])


@check('Certificates API: create, approval, status, and a certificate that works')
def _(k):
    path = '/apis/certificates.k8s.io/v1/certificatesigningrequests'
    name = f'csr-{random.randrange(16**6):06x}'
    o = k.post(path, {'metadata': {'name': name}, 'spec': {'request': csr_request(), 'signerName': 'kubernetes.io/kube-apiserver-client', 'expirationSeconds': 3600, 'usages': ['client auth']}})
    must(o['spec']['username'] and o['spec']['groups'], 'who asked', o['spec'])
    o = k.get(f'{path}/{name}/approval')
    o['status'] = {'conditions': [{'type': 'Approved', 'status': 'True', 'reason': 'E2E', 'message': 'ok'}]}
    o = k.put(f'{path}/{name}/approval', o)
    must(o['status']['conditions'][0].get('lastUpdateTime'), 'times are set', o['status'])
    wait('certificate', lambda: k.get(f'{path}/{name}')['status'].get('certificate'))
    k.fails(422, 'Invalid', 'PATCH', f'{path}/{name}/approval', {'status': {'conditions': []}}, content='application/merge-patch+json')
    k.merge(f'{path}/{name}/status', {'metadata': {'annotations': {'s': 'x'}}})
    e = k.fails(422, 'Invalid', 'POST', path, {'metadata': {'name': name + 'b'}, 'spec': {'request': 'bm9uc2Vuc2U=', 'signerName': 'kubernetes.io/kube-apiserver-client', 'usages': ['client auth']}})
    must('PEM block type must be CERTIFICATE REQUEST' in e['message'], e['message'])
    k.delete(f'{path}/{name}')


# --- node, pods ---

@check('Pods: lifecycle, status patch, QoS, eviction, resize, ephemeral containers, graceful delete, binding')
def _(k):
    ns = fresh_namespace(k)
    base = f'/api/v1/namespaces/{ns}/pods'
    o = k.post(base, pod('p', terminationGracePeriodSeconds=30, containers=[{'name': 'c', 'image': 'nginx', 'resources': {'requests': {'cpu': '100m', 'memory': '10Mi'}, 'limits': {'cpu': '100m', 'memory': '10Mi'}}}]))
    same(o['status'], {'phase': 'Pending', 'qosClass': 'Guaranteed'}, 'status of a new pod')
    wait('running', lambda: k.get(base + '/p')['status']['phase'] == 'Running')
    o = k.get(base + '/p')
    same({c['type'] for c in o['status']['conditions']} >= {'PodScheduled', 'Initialized', 'ContainersReady', 'Ready'}, True, 'conditions')
    must(o['spec']['nodeName'] and o['spec']['tolerations'] and o['spec']['serviceAccountName'] == 'default', 'admission')
    must(any('projected' in v for v in o['spec']['volumes']), 'token volume')
    e = k.fails(422, 'Invalid', 'PATCH', base + '/p', {'spec': {'hostname': 'x'}}, content='application/merge-patch+json')
    must('pod updates may not change fields other than' in e['message'], e['message'])
    sysctls = [{'name': n, 'value': '1'} for n in ('foo-', 'kernel.shmmax', 'safe-and-unsafe', 'bar..')]
    e = k.fails(422, 'Invalid', 'POST', base, pod('sysctls', securityContext={'sysctls': sysctls}))
    same([c['field'] for c in e['details']['causes']], ['spec.securityContext.sysctls[0].name', 'spec.securityContext.sysctls[3].name'], 'invalid sysctls')
    k.strategic(base + '/p', {'spec': {'containers': [{'name': 'c', 'image': 'other'}]}})
    k.strategic(base + '/p/status', {'status': {'conditions': [{'type': 'ex.io/gate', 'status': 'True'}]}})
    k.strategic(base + '/p/ephemeralcontainers', {'spec': {'ephemeralContainers': [{'name': 'dbg', 'image': 'busybox'}]}})
    same(k.get(base + '/p')['spec']['ephemeralContainers'][0]['terminationMessagePath'], '/dev/termination-log', 'defaults')
    k.fails(422, 'Invalid', 'PATCH', base + '/p', {'spec': {'ephemeralContainers': [{'name': 'e2', 'image': 'x'}]}}, content='application/strategic-merge-patch+json')
    k.fails(422, 'Invalid', 'PATCH', base + '/p', {'spec': {'containers': [{'name': 'c', 'resources': {'requests': {'cpu': '50m'}}}]}}, content='application/strategic-merge-patch+json')
    r = k.strategic(base + '/p/resize', {'spec': {'containers': [{'name': 'c', 'resources': {'requests': {'cpu': '50m'}, 'limits': {'cpu': '50m'}}}]}})
    same(r['spec']['containers'][0]['resources']['requests']['cpu'], '50m', 'resize')
    k.fails(422, 'Invalid', 'PATCH', base + '/p/resize', {'spec': {'containers': [{'name': 'c', 'resources': {'limits': {'memory': None}, 'requests': {'memory': None}}}]}}, content='application/strategic-merge-patch+json')
    w = k.watch(base, resourceVersion=k.get(base)['metadata']['resourceVersion'])
    d = k.delete(base + '/p', gracePeriodSeconds='5')
    same((d['kind'], d['metadata']['deletionGracePeriodSeconds']), ('Pod', 5), 'the first delete marks')
    k.delete(base + '/p', gracePeriodSeconds='0')
    w.until('DELETED', lambda x: x['metadata']['name'] == 'p')
    w.close()
    k.post(base, pod('ev'))
    wait('running', lambda: k.get(base + '/ev')['status']['phase'] == 'Running')
    pdb = f'/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets'
    k.post(pdb, {'metadata': {'name': 'b'}, 'spec': {'minAvailable': 1, 'selector': {'matchLabels': {'app': 'ev'}}}})
    wait('the budget is counted', lambda: k.get(pdb + '/b')['status'].get('currentHealthy') == 1)
    st = k.get(pdb + '/b')['status']
    same((st['disruptionsAllowed'], st['desiredHealthy'], st['expectedPods'], st['observedGeneration']), (0, 1, 1, 1), 'status')
    ev = {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': 'ev', 'namespace': ns}}
    s, e, h = k.call('POST', base + '/ev/eviction', ev)
    same((s, e['reason'], e['details']['causes'][0]['reason']), (429, 'TooManyRequests', 'DisruptionBudget'), 'blocked')
    same(e['message'], "Cannot evict pod as it would violate the pod's disruption budget.", 'message')
    k.merge(pdb + '/b', {'spec': {'minAvailable': 0}})
    wait('allowed', lambda: k.get(pdb + '/b')['status']['disruptionsAllowed'] == 1)
    same(k.post(base + '/ev/eviction', ev)['status'], 'Success', 'evicted')
    wait('marked', lambda: k.call('GET', base + '/ev')[0] == 404 or any(c['type'] == 'DisruptionTarget' and c['reason'] == 'EvictionByEvictionAPI' for c in k.get(base + '/ev')['status']['conditions']))
    k.post(base, pod('gated', schedulingGates=[{'name': 'ex.io/g'}]))
    same(k.get(base + '/gated')['status']['conditions'][0]['reason'], 'SchedulingGated', 'gated')
    k.merge(base + '/gated', {'spec': {'schedulingGates': None}})
    wait('scheduled', lambda: k.get(base + '/gated')['spec'].get('nodeName'))
    k.post(base, pod('bind', schedulerName='nobody'))
    k.post(base + '/bind/binding', {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': 'bind'}, 'target': {'kind': 'Node', 'name': 'hollow-00001'}})
    same(k.get(base + '/bind')['spec']['nodeName'], 'hollow-00001', 'bound')
    k.fails(409, 'Conflict', 'POST', base + '/bind/binding', {'metadata': {'name': 'bind'}, 'target': {'kind': 'Node', 'name': 'hollow-00002'}})
    for name, want, res in (('q1', 'BestEffort', {}), ('q2', 'Burstable', {'requests': {'cpu': '1m'}})):
        same(k.post(base, pod(name, containers=[{'name': 'c', 'image': 'i', 'resources': res}]))['status']['qosClass'], want, 'qos')
    e = k.fails(422, 'Invalid', 'POST', base, pod('x', containers=[{'name': 'C_', 'image': ''}], restartPolicy='Sometimes'))
    for want in ('spec.containers[0].name: Invalid value: "C_"', 'spec.containers[0].image: Required value', 'spec.restartPolicy: Unsupported value: "Sometimes"'):
        must(want in e['message'], want, 'not in', e['message'])
    k.delete(base, gracePeriodSeconds='0')
    wait('deletecollection', lambda: not k.get(base)['items'])


@check('Node: lifecycle, status, taints; Lease; RuntimeClass; PriorityClass')
def _(k):
    o = k.post('/api/v1/nodes', {'metadata': {'name': 'e2e-fake', 'labels': {'x': 'y'}}, 'spec': {'unschedulable': True}, 'status': {'capacity': {'cpu': '1'}}})
    must(any(t['key'] == 'node.kubernetes.io/not-ready' for t in o['spec']['taints']), 'a new node is tainted', o['spec'])
    k.strategic('/api/v1/nodes/e2e-fake/status', {'status': {'conditions': [{'type': 'Ready', 'status': 'True', 'reason': 'e2e'}]}})
    k.merge('/api/v1/nodes/e2e-fake', {'metadata': {'annotations': {'a': 'b'}}})
    same(len(k.get('/api/v1/nodes', fieldSelector='spec.unschedulable=true')['items']), 1, 'selector')
    k.delete('/api/v1/nodes', labelSelector='x=y')
    k.fails(404, 'NotFound', 'GET', '/api/v1/nodes/e2e-fake')
    same(len(k.get('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases')['items']), NODES, 'node leases')
    ns = fresh_namespace(k)
    name = f'rc-{random.randrange(16**5):05x}'
    k.post('/apis/node.k8s.io/v1/runtimeclasses', {'metadata': {'name': name}, 'handler': 'h', 'overhead': {'podFixed': {'cpu': '10m'}}, 'scheduling': {'nodeSelector': {'a': 'b'}}})
    p = k.post(f'/api/v1/namespaces/{ns}/pods', pod('r', runtimeClassName=name))
    same((p['spec']['overhead'], p['spec']['nodeSelector']), ({'cpu': '10m'}, {'a': 'b'}), 'RuntimeClass admission')
    e = k.fails(403, 'Forbidden', 'POST', f'/api/v1/namespaces/{ns}/pods', pod('r2', runtimeClassName='none-such'))
    k.fails(422, 'Invalid', 'PATCH', '/apis/node.k8s.io/v1/runtimeclasses/' + name, {'handler': 'other'}, content='application/merge-patch+json')
    k.delete('/apis/node.k8s.io/v1/runtimeclasses/' + name)
    pc = '/apis/scheduling.k8s.io/v1/priorityclasses'
    k.post(pc, {'metadata': {'name': name}, 'value': 77})
    p = k.post(f'/api/v1/namespaces/{ns}/pods', pod('pr', priorityClassName=name))
    same((p['spec']['priority'], p['spec']['preemptionPolicy']), (77, 'PreemptLowerPriority'), 'PriorityClass admission')
    e = k.fails(403, 'Forbidden', 'POST', f'/api/v1/namespaces/{ns}/pods', pod('r2', priorityClassName='none-such'))
    same(e['message'], 'pods "r2" is forbidden: no PriorityClass with name none-such was found', 'message')
    e = k.fails(422, 'Invalid', 'PATCH', f'{pc}/{name}', {'value': 78}, content='application/merge-patch+json')
    e = k.fails(422, 'Invalid', 'PATCH', f'{pc}/{name}', {'value': 78}, content='application/merge-patch+json')
    must('may not be changed in an update' in e['message'], e['message'])
    k.delete(f'{pc}/{name}')
    same({c['metadata']['name']: c['value'] for c in k.get(pc)['items']}.get('system-node-critical'), 2000001000, 'system classes')
    k.fails(422, 'Invalid', 'POST', pc, {'metadata': {'name': name}, 'value': 2000000000})


@check('LimitRange should create defaults and enforce limits')
def _(k):
    ns = fresh_namespace(k)
    k.post(f'/api/v1/namespaces/{ns}/limitranges', {'metadata': {'name': 'l'}, 'spec': {'limits': [{'type': 'Container', 'min': {'cpu': '50m', 'memory': '100Mi'}, 'max': {'cpu': '500m'}, 'default': {'cpu': '500m', 'memory': '500Mi'}, 'defaultRequest': {'cpu': '100m', 'memory': '200Mi'}}]}})
    pods = f'/api/v1/namespaces/{ns}/pods'
    r = k.post(pods, pod('d'))['spec']['containers'][0]['resources']
    same(r, {'limits': {'cpu': '500m', 'memory': '500Mi'}, 'requests': {'cpu': '100m', 'memory': '200Mi'}}, 'defaults')
    e = k.fails(403, 'Forbidden', 'POST', pods, pod('low', containers=[{'name': 'c', 'image': 'i', 'resources': {'requests': {'cpu': '10m'}}}]))
    must('minimum cpu usage per Container is 50m, but request is 10m' in e['message'], e['message'])
    e = k.fails(403, 'Forbidden', 'POST', pods, pod('high', containers=[{'name': 'c', 'image': 'i', 'resources': {'limits': {'cpu': '600m'}}}]))
    must('maximum cpu usage per Container is 500m, but limit is 600m' in e['message'], e['message'])


# --- apps ---

def ready(k, path, n):
    wait(f'{path} has {n} ready', lambda: (lambda o: o['status'].get('readyReplicas', 0) == n and o['status'].get('observedGeneration') == o['metadata']['generation'] and (o['kind'] == 'ReplicaSet' or o['status'].get('updatedReplicas', 0) == n) and o['status'].get('replicas', n) == n)(k.get(path)), 25)


@check('Deployment: rolling, recreate, history limit, scale, lifecycle, status, rollback')
def _(k):
    ns = fresh_namespace(k)
    base = f'/apis/apps/v1/namespaces/{ns}'
    k.post(base + '/deployments', workload('Deployment', 'd', 2, revisionHistoryLimit=1))
    ready(k, base + '/deployments/d', 2)
    cs = {c['type']: (c['status'], c['reason']) for c in k.get(base + '/deployments/d')['status']['conditions']}
    same(cs, {'Available': ('True', 'MinimumReplicasAvailable'), 'Progressing': ('True', 'NewReplicaSetAvailable')}, 'conditions')
    for i in (2, 3):
        k.strategic(base + '/deployments/d', {'spec': {'template': {'spec': {'containers': [{'name': 'c', 'image': f'nginx:{i}'}]}}}})
        ready(k, base + '/deployments/d', 2)
        same(k.get(base + '/deployments/d')['metadata']['annotations']['deployment.kubernetes.io/revision'], str(i), 'revision')
    wait('history limit', lambda: len(k.get(base + '/replicasets', labelSelector='app=d')['items']) == 2)
    s = k.get(base + '/deployments/d/scale')
    same((s['spec'], s['status']), ({'replicas': 2}, {'replicas': 2, 'selector': 'app=d'}), 'scale')
    s['spec']['replicas'] = 4
    k.put(base + '/deployments/d/scale', s)
    ready(k, base + '/deployments/d', 4)
    k.merge(base + '/deployments/d/scale', {'spec': {'replicas': 1}})
    ready(k, base + '/deployments/d', 1)
    s = k.strategic(base + '/deployments/d/status', {'status': {'conditions': [{'type': 'Mine', 'status': 'False', 'reason': 'E2E', 'message': 'm'}]}})
    must(any(c['type'] == 'Mine' for c in s['status']['conditions']), 'status patch')
    k.merge(base + '/deployments/d', {'spec': {'strategy': {'type': 'Recreate', 'rollingUpdate': None}, 'template': {'metadata': {'labels': {'v': '4'}}}}})
    ready(k, base + '/deployments/d', 1)
    e = k.fails(422, 'Invalid', 'PATCH', base + '/deployments/d', {'spec': {'selector': {'matchLabels': {'x': 'y'}}}}, content='application/merge-patch+json')
    must('field is immutable' in e['message'], e['message'])
    k.delete(base + '/deployments', labelSelector='app=d')
    wait('everything goes', lambda: not k.get(base + '/replicasets')['items'] and not k.get(f'/api/v1/namespaces/{ns}/pods')['items'], 25)


@check('ReplicaSet: adopt and release, scale, status, deletecollection')
def _(k):
    ns = fresh_namespace(k)
    base, pods = f'/apis/apps/v1/namespaces/{ns}/replicasets', f'/api/v1/namespaces/{ns}/pods'
    k.post(pods, pod('orphan', labels={'app': 'rs'}))
    k.post(base, workload('ReplicaSet', 'rs', 1))
    wait('adopted', lambda: k.get(pods + '/orphan')['metadata'].get('ownerReferences', [{}])[0].get('name') == 'rs')
    k.merge(pods + '/orphan', {'metadata': {'labels': {'app': 'free'}}})
    wait('released', lambda: not k.get(pods + '/orphan')['metadata'].get('ownerReferences'))
    ready(k, base + '/rs', 1)
    k.merge(base + '/rs/scale', {'spec': {'replicas': 2}})
    ready(k, base + '/rs', 2)
    k.merge(base + '/rs/status', {'status': {'conditions': [{'type': 'Mine', 'status': 'True'}]}})
    k.delete(base, labelSelector='app=rs')
    wait('gone', lambda: not k.get(base)['items'])


@check('StatefulSet: order, scale subresource, rolling update, partition, rollback, recreated pods, status')
def _(k):
    ns = fresh_namespace(k)
    base, pods = f'/apis/apps/v1/namespaces/{ns}/statefulsets', f'/api/v1/namespaces/{ns}/pods'
    k.post(base, workload('StatefulSet', 's', 3))
    ready(k, base + '/s', 3)
    items = sorted(k.get(pods)['items'], key=lambda p: p['metadata']['creationTimestamp'] + p['metadata']['name'])
    same([p['metadata']['name'] for p in items], ['s-0', 's-1', 's-2'], 'names')
    same((items[0]['metadata']['labels']['apps.kubernetes.io/pod-index'], items[0]['metadata']['labels']['statefulset.kubernetes.io/pod-name'], items[0]['spec']['hostname'], items[0]['spec'].get('subdomain')), ('0', 's-0', 's-0', 's'), 'identity')
    o = k.get(base + '/s')
    first = o['status']['currentRevision']
    same(o['status']['updateRevision'], first, 'revisions')
    k.merge(base + '/s', {'spec': {'updateStrategy': {'type': 'RollingUpdate', 'rollingUpdate': {'partition': 2}}, 'template': {'metadata': {'labels': {'v': '2'}}}}})
    hashes = lambda: [k.call('GET', f'{pods}/s-{i}')[1]['metadata'].get('labels', {}).get('controller-revision-hash', '') for i in range(3)]
    wait('only the last is new', lambda: (lambda h: h[0] == h[1] == first and h[2] not in (first, ''))(hashes()))
    same(len(k.get(f'/apis/apps/v1/namespaces/{ns}/controllerrevisions')['items']), 2, 'revisions')
    k.merge(base + '/s', {'spec': {'updateStrategy': {'rollingUpdate': {'partition': 0}}}})
    wait('all are new', lambda: (lambda h: first not in h and '' not in h)(hashes()), 25)
    wait('status follows', lambda: (lambda s: s['currentRevision'] == s['updateRevision'] != first and s['readyReplicas'] == 3)(k.get(base + '/s')['status']))
    uid = k.get(pods + '/s-1')['metadata']['uid']
    k.delete(pods + '/s-1', gracePeriodSeconds='0')
    wait('recreated', lambda: k.call('GET', pods + '/s-1')[1].get('metadata', {}).get('uid', uid) != uid)
    same(k.merge(base + '/s/scale', {'spec': {'replicas': 1}})['spec']['replicas'], 1, 'scale patch')
    wait('scaled in', lambda: [p['metadata']['name'] for p in k.get(pods)['items']] == ['s-0'], 25)
    k.merge(base + '/s/status', {'status': {'conditions': [{'type': 'Mine', 'status': 'True'}]}})
    e = k.fails(422, 'Invalid', 'PATCH', base + '/s', {'spec': {'serviceName': 'other'}}, content='application/merge-patch+json')
    must('updates to statefulset spec for fields other than' in e['message'], e['message'])
    k.delete(base, labelSelector='app=s')


@check('DaemonSet: run, retry, rolling update, rollback, status, ControllerRevisions')
def _(k):
    ns = fresh_namespace(k)
    base, pods = f'/apis/apps/v1/namespaces/{ns}/daemonsets', f'/api/v1/namespaces/{ns}/pods'
    k.post(base, workload('DaemonSet', 'ds'))
    done = lambda: (lambda s: s.get('numberReady') == NODES == s.get('desiredNumberScheduled') == s.get('updatedNumberScheduled') and s['observedGeneration'] == k.get(base + '/ds')['metadata']['generation'])(k.get(base + '/ds')['status'])
    wait('one on each node', done)
    same(len({p['spec']['nodeName'] for p in k.get(pods)['items']}), NODES, 'nodes')
    p = k.get(pods)['items'][0]
    k.merge(f"{pods}/{p['metadata']['name']}/status", {'status': {'phase': 'Failed'}})
    wait('a failed pod is replaced', lambda: k.call('GET', f"{pods}/{p['metadata']['name']}")[0] == 404)
    k.merge(base + '/ds', {'spec': {'template': {'metadata': {'labels': {'v': '2'}}}}})
    wait('updated', done, 25)
    revs = k.get(f'/apis/apps/v1/namespaces/{ns}/controllerrevisions', labelSelector='app=ds')['items']
    same(sorted(r['revision'] for r in revs), [1, 2], 'revisions')
    must(all(r['metadata']['ownerReferences'][0]['kind'] == 'DaemonSet' for r in revs), 'owners')
    old = [r for r in revs if r['revision'] == 1][0]
    k.strategic(base + '/ds', old['data'])
    wait('rolled back', done, 25)
    wait('the old revision is the newest', lambda: k.get(f"/apis/apps/v1/namespaces/{ns}/controllerrevisions/{old['metadata']['name']}")['revision'] == 3)
    k.merge(base + '/ds/status', {'status': {'conditions': [{'type': 'Mine', 'status': 'True'}]}})
    k.delete(base, labelSelector='app=ds')
    wait('gone', lambda: not k.get(pods)['items'])


# --- network ---

@check('Services: types, affinity, status, node ports, EndpointSlices, mirroring')
def _(k):
    ns = fresh_namespace(k)
    base = f'/api/v1/namespaces/{ns}'
    k.post(base + '/pods', pod('b', labels={'app': 'web'}, containers=[{'name': 'c', 'image': 'i', 'ports': [{'name': 'http', 'containerPort': 8080}]}]))
    o = k.post(base + '/services', {'metadata': {'name': 's'}, 'spec': {'selector': {'app': 'web'}, 'ports': [{'name': 'h', 'port': 80, 'targetPort': 'http'}, {'name': 'u', 'port': 80, 'protocol': 'UDP'}]}})
    sp = o['spec']
    same((sp['type'], sp['sessionAffinity'], sp['internalTrafficPolicy'], sp['ipFamilies'], sp['ipFamilyPolicy'], sp['clusterIPs']), ('ClusterIP', 'None', 'Cluster', ['IPv4'], 'SingleStack', [sp['clusterIP']]), 'defaults')
    wait('slice', lambda: any(e for s in k.get(f'/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices', labelSelector='kubernetes.io/service-name=s')['items'] for e in s.get('endpoints') or []))
    sl = k.get(f'/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices', labelSelector='kubernetes.io/service-name=s')['items']
    sl = [x for x in sl if x.get('endpoints')][0]
    same((sl['addressType'], sl['metadata']['labels']['endpointslice.kubernetes.io/managed-by'], {p['name']: p['port'] for p in sl['ports']}), ('IPv4', 'endpointslice-controller.k8s.io', {'h': 8080, 'u': 80}), 'slice')
    same(sl['endpoints'][0]['targetRef']['name'], 'b', 'target')
    wait('endpoints', lambda: k.call('GET', base + '/endpoints/s')[1].get('subsets'))
    changed = 'endpoints.kubernetes.io/last-change-trigger-time'
    must(re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', sl['metadata'].get('annotations', {}).get(changed, '')), 'when it changed', sl['metadata'])
    same(sorted(k.get(base + '/endpoints/s')['metadata']['labels']), ['endpoints.kubernetes.io/managed-by'], 'labels of the endpoints')
    k.merge(base + '/services/s', {'metadata': {'labels': {'team': 'a'}}})
    wait('labels follow', lambda: k.get(base + '/endpoints/s')['metadata']['labels'].get('team') == 'a')
    k.merge(base + '/services/s', {'metadata': {'labels': {'team': None}}})
    wait('and go', lambda: 'team' not in k.get(base + '/endpoints/s')['metadata']['labels'])
    t = lambda spec: k.merge(base + '/services/s', {'spec': spec})['spec']
    sp2 = t({'type': 'NodePort'})
    must(all(30000 <= p['nodePort'] <= 32767 for p in sp2['ports']), 'node ports', sp2)
    same(sp2['externalTrafficPolicy'], 'Cluster', 'policy')
    must(k.call('POST', base + '/services', {'metadata': {'name': 'clash'}, 'spec': {'type': 'NodePort', 'ports': [{'port': 1, 'nodePort': sp2['ports'][0]['nodePort']}]}})[1]['message'].endswith('provided port is already allocated'), 'clash')
    sp2 = t({'sessionAffinity': 'ClientIP'})
    same(sp2['sessionAffinityConfig']['clientIP']['timeoutSeconds'], 10800, 'affinity')
    must('sessionAffinityConfig' not in t({'sessionAffinity': 'None', 'sessionAffinityConfig': None}), 'affinity off')
    sp2 = t({'type': 'LoadBalancer'})
    same(sp2['allocateLoadBalancerNodePorts'], True, 'load balancer')
    st = k.merge(base + '/services/s/status', {'status': {'loadBalancer': {'ingress': [{'ip': '203.0.113.1'}]}}})
    same(st['status']['loadBalancer']['ingress'][0]['ipMode'], 'VIP', 'ipMode')
    sp2 = t({'type': 'ExternalName', 'externalName': 'example.com', 'clusterIP': None, 'clusterIPs': None, 'selector': None, 'ports': None})
    must('clusterIP' not in sp2 and 'ports' not in sp2, 'ExternalName', sp2)
    sp2 = t({'type': 'ClusterIP', 'externalName': None, 'ports': [{'port': 80}]})
    must(sp2['clusterIP'].startswith('172.20.'), 'back', sp2)
    e = k.fails(422, 'Invalid', 'PATCH', base + '/services/s', {'spec': {'clusterIP': '172.20.1.1', 'clusterIPs': ['172.20.1.1']}}, content='application/merge-patch+json')
    must('field is immutable' in e['message'] or 'may not change once set' in e['message'], e['message'])
    e = k.fails(422, 'Invalid', 'POST', base + '/services', {'metadata': {'name': 'out'}, 'spec': {'clusterIP': '9.9.9.9', 'ports': [{'port': 1}]}})
    must('failed to allocate IP 9.9.9.9: the provided network does not match the current range' in e['message'] or 'the provided IP (9.9.9.9) is not in the valid range' in e['message'], e['message'])
    k.delete(base + '/services', labelSelector='')
    same(k.get(base + '/services')['items'], [], 'deletecollection')
    k.post(base + '/services', {'metadata': {'name': 'm'}, 'spec': {'ports': [{'port': 80}]}})
    k.post(base + '/endpoints', {'metadata': {'name': 'm'}, 'subsets': [{'addresses': [{'ip': '10.1.2.3'}], 'ports': [{'port': 80}]}]})
    slices = f'/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices'
    wait('mirrored', lambda: [s for s in k.get(slices, labelSelector='kubernetes.io/service-name=m,endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io')['items'] if s['endpoints'][0]['addresses'] == ['10.1.2.3']])
    k.merge(base + '/endpoints/m', {'subsets': [{'addresses': [{'ip': '10.2.3.4'}], 'ports': [{'port': 80}]}]})
    wait('mirrored again', lambda: [s for s in k.get(slices, labelSelector='kubernetes.io/service-name=m')['items'] if s['endpoints'][0]['addresses'] == ['10.2.3.4']])
    k.post(base + '/endpoints', {'metadata': {'name': 'alone'}, 'subsets': [{'addresses': [{'ip': '10.1.2.4'}], 'ports': [{'port': 80}]}]})
    k.merge(base + '/endpoints/m', {'subsets': [{'addresses': [{'ip': f'10.7.{i // 250}.{i % 250 + 1}'} for i in range(1003)], 'ports': [{'port': 80}]}]})
    wait('too many to mirror', lambda: [e for e in k.get(base + '/events')['items'] if e['reason'] == 'TooManyAddressesToMirror' and e['message'] ==
                                        'A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 3 addresses were skipped'])
    k.delete(base + '/endpoints/m')
    wait('mirror gone', lambda: not k.get(slices, labelSelector='kubernetes.io/service-name=m')['items'])
    k.post(base + '/endpoints', {'metadata': {'name': 'm'}, 'subsets': [{'addresses': [{'ip': '10.1.2.3'}], 'ports': [{'port': 80}]}]})
    k.delete(base + '/services/m')
    wait('endpoints go with their Service, whoever made them', lambda: k.call('GET', base + '/endpoints/m')[0] == 404)
    k.get(base + '/endpoints/alone')  # never had one
    kub = k.get('/api/v1/namespaces/default/services/kubernetes')
    same((kub['spec']['clusterIP'], kub['spec']['ports'][0]['port']), ('172.20.0.1', 443), 'kubernetes')
    must(k.get('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes')['endpoints'] and k.get('/api/v1/namespaces/default/endpoints/kubernetes')['subsets'], 'its endpoints')


@check('Ingress, IngressClass defaults; NetworkPolicy; FlowSchemas and PriorityLevels are bootstrapped')
def _(k):
    ns = fresh_namespace(k)
    ing = f'/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses'
    e = k.fails(422, 'Invalid', 'POST', ing, {'metadata': {'name': 'x'}, 'spec': {}})
    must('either `defaultBackend` or `rules` must be specified' in e['message'], e['message'])
    k.post(ing, {'metadata': {'name': 'i'}, 'spec': {'rules': [{'host': 'a.b', 'http': {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {'service': {'name': 's', 'port': {'number': 80}}}}]}}]}})
    same(k.merge(ing + '/i/status', {'status': {'loadBalancer': {'ingress': [{'ip': '169.1.1.1'}]}}})['status']['loadBalancer']['ingress'][0]['ip'], '169.1.1.1', 'status')
    names = {o['metadata']['name'] for o in k.get('/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas')['items']}
    must({'exempt', 'catch-all', 'global-default', 'system-nodes', 'system-node-high', 'probes', 'workload-leader-election', 'system-leader-election', 'endpoint-controller', 'kube-controller-manager', 'kube-scheduler', 'kube-system-service-accounts', 'service-accounts'} <= names, 'flow schemas', sorted(names))
    levels = {o['metadata']['name'] for o in k.get('/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations')['items']}
    must({'exempt', 'catch-all', 'global-default', 'leader-election', 'node-high', 'system', 'workload-high', 'workload-low'} <= levels, 'levels', sorted(levels))
    s, d, h = k.call('GET', '/api/v1/namespaces')
    must('x-kubernetes-pf-flowschema-uid' in h and 'x-kubernetes-pf-prioritylevel-uid' in h, 'headers', h)


@check('API priority and fairness should ensure that requests can be classified and limited')
def _(k):
    api = '/apis/flowcontrol.apiserver.k8s.io/v1'
    name = f'apf-{random.randrange(16**5):05x}'
    level = k.post(api + '/prioritylevelconfigurations', {'metadata': {'name': name}, 'spec': {'type': 'Limited', 'limited': {'nominalConcurrencyShares': 1, 'limitResponse': {'type': 'Reject'}}}})
    same(level['spec']['limited']['lendablePercent'], 0, 'defaults')
    schema = k.post(api + '/flowschemas', {'metadata': {'name': name}, 'spec': {'matchingPrecedence': 1000, 'priorityLevelConfiguration': {'name': name}, 'distinguisherMethod': {'type': 'ByUser'}, 'rules': [
        {'subjects': [{'kind': 'Group', 'group': {'name': name}}], 'nonResourceRules': [{'verbs': ['*'], 'nonResourceURLs': ['*']}], 'resourceRules': [{'verbs': ['list'], 'apiGroups': [''], 'resources': ['namespaces'], 'clusterScope': True, 'namespaces': ['*']}]}]}})
    # Impersonation is after classification, so a token that is of the group asks.
    ns = fresh_namespace(k)
    k.post(f'/api/v1/namespaces/{ns}/serviceaccounts', {'metadata': {'name': 'r'}})
    robot = k.as_token(k.post(f'/api/v1/namespaces/{ns}/serviceaccounts/r/token', {'spec': {}})['status']['token'])
    k.merge(f'{api}/flowschemas/{name}', {'spec': {'rules': [{'subjects': [{'kind': 'ServiceAccount', 'serviceAccount': {'namespace': ns, 'name': 'r'}}], 'nonResourceRules': [{'verbs': ['*'], 'nonResourceURLs': ['*']}]}]}})
    s, d, h = robot.call('GET', '/version')
    same((h['x-kubernetes-pf-flowschema-uid'], h['x-kubernetes-pf-prioritylevel-uid']), (schema['metadata']['uid'], level['metadata']['uid']), 'classified')
    k.delete(f'{api}/flowschemas/{name}')
    k.delete(f'{api}/prioritylevelconfigurations/{name}')
    s, d, h = robot.call('GET', '/version')
    same(h['x-kubernetes-pf-flowschema-uid'], k.get(api + '/flowschemas/service-accounts')['metadata']['uid'], 'back to the default')


@check('IPAddresses and ServiceCIDRs')
def _(k):
    ns = fresh_namespace(k)
    net = '/apis/networking.k8s.io/v1'
    svc = f'/api/v1/namespaces/{ns}/services'
    default = k.get(net + '/servicecidrs/kubernetes')
    same((default['spec']['cidrs'], default['status']['conditions'][0]['status']), (['172.20.0.0/16'], 'True'), 'the default range')
    wait('its finalizer', lambda: 'networking.k8s.io/service-cidr-finalizer' in k.get(net + '/servicecidrs/kubernetes')['metadata'].get('finalizers', []))
    ip = k.post(svc, {'metadata': {'name': 's'}, 'spec': {'ports': [{'port': 80}]}})['spec']['clusterIP']
    o = k.get(f'{net}/ipaddresses/{ip}')
    same(o['spec']['parentRef'], {'resource': 'services', 'namespace': ns, 'name': 's'}, 'parent')
    same(o['metadata']['labels'], {'ipaddress.kubernetes.io/ip-family': 'IPv4', 'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io'}, 'labels')
    k.delete(f'{net}/ipaddresses/{ip}')
    wait('it is repaired', lambda: k.call('GET', f'{net}/ipaddresses/{ip}')[0] == 200)
    k.delete(svc + '/s')
    same(k.call('GET', f'{net}/ipaddresses/{ip}')[0], 404, 'gone with its service')
    third = random.randrange(256)
    k.post(net + '/servicecidrs', {'metadata': {'name': ns}, 'spec': {'cidrs': [f'10.99.{third}.0/28']}})
    wait('ready', lambda: any(c['type'] == 'Ready' and c['status'] == 'True' for c in k.get(f'{net}/servicecidrs/{ns}').get('status', {}).get('conditions', [])))
    k.post(svc, {'metadata': {'name': 'm'}, 'spec': {'clusterIP': f'10.99.{third}.3', 'ports': [{'port': 80}]}})
    k.fails(422, 'Invalid', 'PATCH', f'{net}/servicecidrs/{ns}', {'spec': {'cidrs': ['10.98.0.0/24']}}, content='application/merge-patch+json')
    k.delete(f'{net}/servicecidrs/{ns}')
    wait('held', lambda: any(c['reason'] == 'Terminating' for c in k.get(f'{net}/servicecidrs/{ns}')['status']['conditions']))
    k.delete(svc + '/m')
    wait('gone', lambda: k.call('GET', f'{net}/servicecidrs/{ns}')[0] == 404, 20)
    for bad, why in [([], 'at least one CIDR required'), (['10.0.0.1/24'], 'must be in canonical form'), (['10.0.0.0/24', '10.1.0.0/24'], 'no more than one IP for each IP family'), (['x'], 'must be a valid CIDR value')]:
        m = k.fails(422, 'Invalid', 'POST', net + '/servicecidrs', {'metadata': {'name': 'bad'}, 'spec': {'cidrs': bad}})['message']
        must(why in m, why, m)


@check('componentstatuses, and scales as tables')
def _(k):
    s, d, h = k.call('GET', '/api/v1/componentstatuses')
    same((s, sorted(o['metadata']['name'] for o in d['items'])), (200, ['controller-manager', 'etcd-0', 'scheduler']), 'list')
    must('ComponentStatus is deprecated' in h.get('warning', ''), 'warning', h)
    same(k.get('/api/v1/componentstatuses/scheduler')['conditions'], [{'type': 'Healthy', 'status': 'True', 'message': 'ok'}], 'one')
    k.fails(404, 'NotFound', 'GET', '/api/v1/componentstatuses/none')
    k.fails(405, 'MethodNotAllowed', 'DELETE', '/api/v1/componentstatuses/scheduler')
    ns = fresh_namespace(k)
    k.post(f'/apis/apps/v1/namespaces/{ns}/deployments', workload('Deployment', 'd', 0))
    t = k.get(f'/apis/apps/v1/namespaces/{ns}/deployments/d/scale', accept='application/json;as=Table;v=v1;g=meta.k8s.io')
    same([c['name'] for c in t['columnDefinitions']], ['Name', 'Desired', 'Available', 'Age'], 'columns')
    same(t['rows'][0]['cells'][:3], ['d', 0, 0], 'cells')


# --- HTTP ---

@check('HTTP: sizes, bombs, depth, duplicates, encodings, methods, paths, health, metrics')
def _(k):
    ns = fresh_namespace(k)
    path = f'/api/v1/namespaces/{ns}/configmaps'
    s, d, h = k.call('POST', path, '{"metadata":{"name":"big"},"data":{"a":"' + 'x' * (3 << 20) + '"}}')
    same((s, d['reason']), (413, 'RequestEntityTooLarge'), '3 MiB')
    s, d, h = k.call('POST', path, {'metadata': {'name': 'big'}, 'data': {'a': 'x' * ((1 << 20) + 1)}})
    must(s == 422 and 'Too long: may not be more than 1048576 bytes' in d['message'], 'a ConfigMap of 1 MiB', s, str(d)[:300])
    bomb = 'a: &a [' + ','.join(['x'] * 10) + ']\n' + ''.join(f'{chr(98 + i)}: &{chr(98 + i)} [{",".join(["*" + chr(97 + i)] * 10)}]\n' for i in range(8))
    s, d, h = k.call('POST', path, bomb, content='application/yaml')
    must(s in (400, 413), 'YAML bomb', s)
    s, d, h = k.call('POST', path, '{"a":' * 20000 + '1' + '}' * 20000)
    same(s, 400, 'deep JSON')
    s, d, h = k.call('POST', path, b'{"metadata":{"name":"u"},"data":{"a":"\xff\xfe"}}')
    must(s < 500, 'invalid UTF-8', s)
    k.fails(400, 'BadRequest', 'POST', path, '{')
    k.fails(400, 'BadRequest', 'POST', path, '')
    k.fails(400, 'BadRequest', 'POST', path, {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 'x'}})
    k.fails(400, 'BadRequest', 'POST', path, {'apiVersion': 'v2', 'kind': 'ConfigMap', 'metadata': {'name': 'x'}})
    k.fails(415, 'UnsupportedMediaType', 'POST', path, 'x', content='text/plain')
    k.fails(406, 'NotAcceptable', 'GET', path, accept='text/html')
    e = k.fails(404, 'NotFound', 'GET', path + '/none')
    same((e['message'], e['details'], e['code']), ('configmaps "none" not found', {'name': 'none', 'kind': 'configmaps'}, 404), 'not found')
    e = k.call('GET', '/apis/none.io/v1/things')
    same(e[:2], (404, b'404 page not found\n'), 'no group')
    same(k.call('GET', '/none', accept='*/*')[:2], (404, b'404 page not found\n'), 'no path')
    same(k.fails(404, 'NotFound', 'GET', '/api/v1/things')['details'], {}, 'no resource')
    e = k.fails(422, 'Invalid', 'PATCH', path + '/kube-root-ca.crt', [{'op': 'zork', 'path': '/a'}], content='application/json-patch+json')
    same(e.get('details'), {}, 'unknown operation')
    same(k.fails(415, 'UnsupportedMediaType', 'PATCH', path + '/kube-root-ca.crt', '{}', content='text/plain')['message'], '415: Unsupported Media Type', 'patch type')
    same(k.fails(400, 'BadRequest', 'GET', path, timeout='5')['message'], 'invalid timeout specified in the request URL - time: missing unit in duration "5"', 'timeout')
    same('apiVersion' in k.get('/api/v1'), False, 'apiVersion of the oldest resource list')
    k.fails(405, 'MethodNotAllowed', 'PUT', path, {'metadata': {'name': 'x'}})
    k.fails(405, 'MethodNotAllowed', 'POST', path + '/x', {'metadata': {'name': 'x'}})
    s, d, h = k.call('GET', '/healthz', accept='*/*')
    same((s, d), (200, b'ok'), '/healthz')
    for p in ('healthz', 'livez', 'readyz'):
        s, d, h = k.call('GET', f'/{p}?verbose', accept='*/*')
        must(s == 200 and b'[+]ping ok' in d and b'[+]etcd ok' in d and b'poststarthook/rbac/bootstrap-roles ok' in d and d.endswith(f'{p} check passed\n'.encode()), p, d.decode())
        for name in ('log', 'poststarthook/start-apiserver-admission-initializer', 'poststarthook/generic-apiserver-start-informers', 'poststarthook/start-apiextensions-informers',
                     'poststarthook/start-apiextensions-controllers', 'poststarthook/crd-informer-synced', 'poststarthook/bootstrap-controller', 'poststarthook/start-system-namespaces-controller',
                     'poststarthook/start-service-ip-repair-controllers', 'poststarthook/scheduling/bootstrap-system-priority-classes', 'poststarthook/start-cluster-authentication-info-controller',
                     'poststarthook/start-kube-aggregator-informers', 'poststarthook/apiservice-registration-controller', 'poststarthook/apiservice-status-local-available-controller',
                     'poststarthook/apiservice-status-remote-available-controller', 'poststarthook/kube-apiserver-autoregistration', 'autoregister-completion',
                     'poststarthook/apiservice-openapi-controller', 'poststarthook/storage-readiness'):
            must(f'[+]{name} ok\n'.encode() in d, p, 'lacks', name)
        s, d, h = k.call('GET', f'/{p}?verbose&exclude=etcd', accept='*/*')
        must(b'[+]etcd excluded: ok' in d, p + ' exclude', d.decode())
        same(k.call('GET', f'/{p}/ping', accept='*/*')[:2], (200, b'ok'), p + '/ping')
        same(k.call('GET', f'/{p}/none-such', accept='*/*')[0], 404, p + '/none-such')
    text = k.call('GET', '/metrics', accept='*/*')[1].decode()
    for name in ('apiserver_request_total', 'apiserver_request_duration_seconds_bucket', 'apiserver_current_inflight_requests', 'apiserver_storage_objects', 'apiserver_longrunning_requests', 'kubernetes_build_info', 'apiserver_response_sizes_bucket', 'apiserver_registered_watchers', 'apiserver_flowcontrol_current_executing_requests', 'apiserver_request_sli_duration_seconds_bucket', 'apiserver_resource_objects', 'process_resident_memory_bytes', 'process_start_time_seconds', 'process_open_fds', 'etcd_request_duration_seconds_bucket', 'etcd_requests_total{operation="create",group="",resource="configmaps"}', 'etcd_requests_total{operation="delete",group="apps",resource="deployments"}'):
        must(name in text, '/metrics lacks', name)
    text = k.call('GET', '/metrics/slis', accept='*/*')[1].decode()
    must('kubernetes_healthcheck{name="ping",type="livez"} 1' in text, '/metrics/slis', text[:500])
    must(re.search(r'kubernetes_healthchecks_total{name="etcd",type="readyz",status="success"} [1-9]', text), '/metrics/slis', text[:500])
    s, d, h = k.call('GET', path, headers={'Audit-ID': 'my-audit-id'})
    same(h['audit-id'], 'my-audit-id', 'audit id is echoed')


# --- the run ---

def client(kubeconfig, directory):
    text = open(kubeconfig).read()
    field = lambda name: re.search(name + r': *(\S+)', text).group(1)
    files = {}
    for name in ('certificate-authority-data', 'client-certificate-data', 'client-key-data'):
        files[name] = os.path.join(directory, name)
        with open(os.open(files[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 'wb') as f:
            f.write(base64.b64decode(field(name)))
    context = ssl.create_default_context(cafile=files['certificate-authority-data'])
    anonymous = ssl.create_default_context(cafile=files['certificate-authority-data'])
    context.load_cert_chain(files['client-certificate-data'], files['client-key-data'])
    url = urllib.parse.urlparse(field('server'))
    k = Api(url.hostname, url.port, context)
    k.as_token = lambda token: Api(url.hostname, url.port, anonymous, token)
    k.anonymous = Api(url.hostname, url.port, anonymous)
    return k


def run(k, words):
    failures = []
    for title, f in CHECKS:
        if words and not any(w.lower() in title.lower() for w in words):
            continue
        start = time.time()
        try:
            f(k)
            print(f'ok   {title} ({time.time() - start:.1f} s)', flush=True)
        except Exception as e:
            failures.append(title)
            print(f'FAIL {title}: {"" if isinstance(e, Bad) else repr(type(e).__name__) + " at line " + str(e.__traceback__.tb_next and e.__traceback__.tb_next.tb_lineno)} {e}', flush=True)
    print(f'{len(failures)} failed' if failures else 'all passed')
    return 1 if failures else 0


def main():
    if not shutil.which('openssl'):
        print('skipped: no openssl on this machine')
        return 77
    caravel, words = (sys.argv[1:2] or ['build/caravel'])[0], sys.argv[2:]
    directory = tempfile.mkdtemp(prefix='caravel-conformance-')
    server = None
    try:
        config = os.environ.get('CARAVEL_KUBECONFIG')
        if not config:
            with socket.socket() as s:
                s.bind(('127.0.0.1', 0))
                port = s.getsockname()[1]
            config = directory + '/data/kubeconfig'
            with open(directory + '/log', 'wb') as log:
                server = subprocess.Popen([caravel, 'server', '--data-dir', directory + '/data', '--listen', f'127.0.0.1:{port}', '--hollow-nodes', str(NODES)], stdout=log, stderr=log)
            wait('the server writes its kubeconfig', lambda: server.poll() is None and os.path.exists(config) and os.path.getsize(config), 30)
        k = client(config, directory)
        wait('nodes are ready', lambda: k.call('GET', '/readyz')[0] == 200 and len(k.get('/api/v1/nodes')['items']) == NODES, 30)
        return run(k, words)
    finally:
        if server:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
