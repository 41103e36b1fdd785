#!/usr/bin/env python3
"""Webhooks of admission and conversion against a real HTTPS server with a certificate of its own, and admission
policies, through `caravel server`. Named after the titles of upstream's conformance suite.
Needs no root: python's standard library and openssl only. usage: webhook_test.py [path to caravel] [words of titles]"""
import base64, http.server, json, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from conformance_test import Bad, client, must, same, wait

CHECKS = []
ADMISSION = '/apis/admissionregistration.k8s.io/v1'
CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
MAPS = '/api/v1/namespaces/default/configmaps'
HOST = {}   # url and certificate authority of the webhook server


def check(title):
    return lambda f: CHECKS.append((title, f)) or f


# ---- the webhooks ----

def allow(_):
    return {'allowed': True}


def deny(message):
    return lambda _: {'allowed': False, 'status': {'message': message}}


def patched(*operations):
    return {'allowed': True, 'patchType': 'JSONPatch', 'patch': base64.b64encode(json.dumps(operations).encode()).decode()}


def add_data(key, needs):
    def answer(q):
        if (q['object'].get('data') or {}).get(needs) == 'yes':
            return patched({'op': 'add', 'path': '/data/' + key, 'value': 'yes'})
        return {'allowed': True}
    return answer


def deny_marked(q):
    data = (q['object'] or q['oldObject'] or {}).get('data') or {}
    if data.get('webhook-e2e-test') == 'webhook-disallow':
        return {'allowed': False, 'status': {'reason': 'the configmap contains unwanted key and value'}}
    return {'allowed': True}


def add_init_container(q):
    return patched({'op': 'add', 'path': '/spec/initContainers', 'value': [{'name': 'webhook-added-init-container', 'image': 'webhook-added-image'}]})


def slow(q):
    time.sleep(5)
    return {'allowed': True}


def convert(review):
    out = []
    for o in review['request']['objects']:
        o = dict(o)
        want = review['request']['desiredAPIVersion']
        o['apiVersion'] = want
        if want.endswith('/v2') and 'hostPort' in o:
            host, port = o.pop('hostPort').split(':')
            o['host'], o['port'] = host, port
        elif want.endswith('/v1') and 'host' in o:
            o['hostPort'] = o.pop('host') + ':' + o.pop('port')
        out.append(o)
    return {'convertedObjects': out, 'result': {'status': 'Success'}}


ANSWERS = {'/allow': allow, '/always-deny': deny('this webhook denies all requests'), '/configmaps': deny_marked, '/slow': slow, '/init': add_init_container,
           '/attach': lambda q: deny(f"attaching to pod '{q['name']}' is not allowed")(q), '/one': add_data('mutation-stage-1', 'mutation-start'),
           '/two': add_data('mutation-stage-2', 'mutation-stage-1')}


class Webhooks(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        path = self.path.split('?')[0]
        if path == '/convert':
            response = convert(review)
        elif path in ANSWERS:
            response = ANSWERS[path](review['request'])
        else:
            self.send_response(404)
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        response['uid'] = review['request']['uid']
        body = json.dumps({'kind': review['kind'], 'apiVersion': review['apiVersion'], 'response': response}).encode()
        try:
            self.send_response(200)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # the API server did not wait

    def log_message(self, *_):
        pass


def start_webhooks(directory):
    def openssl(*a):
        subprocess.run(['openssl', *a], cwd=directory, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=webhook-ca', '-days', '2')
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'tls.key', '-out', 'tls.csr', '-subj', '/CN=webhook')
    with open(directory + '/names', 'w') as f:
        f.write('subjectAltName=DNS:localhost,DNS:e2e-test-webhook.default.svc,IP:127.0.0.1\n')
    openssl('x509', '-req', '-in', 'tls.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-out', 'tls.crt', '-days', '2', '-extfile', 'names')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory + '/tls.crt', directory + '/tls.key')
    server = http.server.ThreadingHTTPServer(('0.0.0.0', 0), Webhooks)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open(directory + '/ca.crt', 'rb') as f:
        HOST['ca'] = base64.b64encode(f.read()).decode()
    HOST['port'] = server.server_address[1]


# ---- the checks ----

def hook(path, rules=None, ca=True, **more):
    config = {'url': f'https://127.0.0.1:{HOST["port"]}{path}'}
    if ca:
        config['caBundle'] = HOST['ca']
    rule = rules or {'operations': ['CREATE', 'UPDATE'], 'apiGroups': [''], 'apiVersions': ['v1'], 'resources': ['configmaps']}
    return dict({'name': path[1:] + '.k8s.io', 'clientConfig': config, 'rules': [rule], 'sideEffects': 'None', 'admissionReviewVersions': ['v1', 'v1beta1'],
                 'matchConditions': [{'name': 'only-marked', 'expression': "!has(object.metadata) || object.metadata.name.startsWith('e2e-')"}] if not rules else []}, **more)


class configured:
    """Webhooks in force for the time of a `with`."""

    def __init__(self, k, kind, *webhooks):
        self.k, self.path = k, f'{ADMISSION}/{kind}webhookconfigurations'
        k.post(self.path, {'metadata': {'name': 'e2e-test'}, 'webhooks': list(webhooks)})

    def __enter__(self): return self.path + '/e2e-test'
    def __exit__(self, *_): self.k.delete(self.path)


def config_map(name, **data):
    return {'metadata': {'name': name}, 'data': {k.replace('_', '-'): v for k, v in data.items()}}


@check('should be able to deny pod and configmap creation')
def _(k):
    with configured(k, 'validating', hook('/configmaps')):
        d = k.fails(400, 'the configmap contains unwanted key and value', 'POST', MAPS, config_map('e2e-bad', webhook_e2e_test='webhook-disallow'))
        same(d['message'], 'admission webhook "configmaps.k8s.io" denied the request: the configmap contains unwanted key and value')
        k.post(MAPS, config_map('e2e-good'))
        k.fails(400, None, 'PUT', MAPS + '/e2e-good', config_map('e2e-good', webhook_e2e_test='webhook-disallow'))
        k.fails(400, None, 'PATCH', MAPS + '/e2e-good', {'data': {'webhook-e2e-test': 'webhook-disallow'}}, content='application/merge-patch+json')
    k.delete(MAPS + '/e2e-good')


@check('should be able to deny attaching pod')
def _(k):
    rule = {'operations': ['CONNECT'], 'apiGroups': [''], 'apiVersions': ['v1'], 'resources': ['pods/attach']}
    with configured(k, 'validating', hook('/attach', rule)):
        d = k.fails(400, None, 'POST', '/api/v1/namespaces/default/pods/to-be-attached-pod/attach?container=c')
        must("attaching to pod 'to-be-attached-pod' is not allowed" in d['message'], d)


@check('should unconditionally reject operations on fail closed webhook')
def _(k):
    with configured(k, 'validating', hook('/allow', ca=False)):
        d = k.fails(500, 'InternalError', 'POST', MAPS, config_map('e2e-closed'))
        must(d['message'].startswith(f'Internal error occurred: failed calling webhook "allow.k8s.io": failed to call webhook: Post "https://127.0.0.1:{HOST["port"]}/allow?timeout=10s": '), d['message'])


@check('should honor timeout')
def _(k):
    with configured(k, 'validating', hook('/slow', timeoutSeconds=1)):
        start = time.time()
        d = k.fails(500, 'InternalError', 'POST', MAPS, config_map('e2e-slow'))
        must('/slow?timeout=1s": context deadline exceeded' in d['message'] and time.time() - start < 4, d['message'])
    with configured(k, 'validating', hook('/slow', timeoutSeconds=1, failurePolicy='Ignore')):
        k.post(MAPS, config_map('e2e-slow'))
    k.delete(MAPS + '/e2e-slow')


@check('should mutate configmap; should mutate pod and apply defaults after mutation')
def _(k):
    with configured(k, 'mutating', hook('/one'), hook('/two')):
        same(k.post(MAPS, config_map('e2e-mutated', mutation_start='yes'))['data'], {'mutation-start': 'yes', 'mutation-stage-1': 'yes', 'mutation-stage-2': 'yes'})
    k.delete(MAPS + '/e2e-mutated')
    rule = {'operations': ['CREATE'], 'apiGroups': [''], 'apiVersions': ['v1'], 'resources': ['pods']}
    with configured(k, 'mutating', hook('/init', rule)):
        pod = k.post('/api/v1/namespaces/default/pods', {'metadata': {'name': 'e2e-pod'}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}})
        same(pod['spec']['initContainers'][0]['terminationMessagePolicy'], 'File')
        k.delete('/api/v1/namespaces/default/pods/e2e-pod', gracePeriodSeconds=0)


@check('patching/updating a validating webhook should work')
def _(k):
    with configured(k, 'validating', hook('/configmaps')) as path:
        def rule(operations):
            return [{'op': 'replace', 'path': '/webhooks/0/rules/0/operations', 'value': operations}]
        bad = config_map('e2e-updated', webhook_e2e_test='webhook-disallow')
        k.fails(400, None, 'POST', MAPS, bad)
        k.jsonpatch(path, rule(['UPDATE']))
        k.post(MAPS, bad)
        k.delete(MAPS + '/e2e-updated')
        k.jsonpatch(path, rule(['CREATE']))
        k.fails(400, None, 'POST', MAPS, bad)


@check('should not be able to mutate or prevent deletion of webhook configuration objects')
def _(k):
    rule = {'operations': ['*'], 'apiGroups': ['admissionregistration.k8s.io'], 'apiVersions': ['*'], 'resources': ['*']}
    with configured(k, 'validating', hook('/always-deny', rule)):
        k.post(ADMISSION + '/mutatingwebhookconfigurations', {'metadata': {'name': 'dummy'}})
        k.delete(ADMISSION + '/mutatingwebhookconfigurations/dummy')


@check('should reach a webhook through its service')
def _(k):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(('192.0.2.1', 9))   # sends nothing; tells this host's own address
            address = s.getsockname()[0]
        except OSError:
            address = socket.gethostbyname(socket.gethostname())
    if address.startswith('127.'):
        print('     skipped: this host has no address but loopback, which endpoints may not have')
        return
    service = '/api/v1/namespaces/default/services'
    k.post(service, {'metadata': {'name': 'e2e-test-webhook'}, 'spec': {'ports': [{'port': 8443, 'targetPort': HOST['port']}]}})
    k.post('/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
           {'metadata': {'name': 'e2e-test-webhook-1', 'labels': {'kubernetes.io/service-name': 'e2e-test-webhook'}}, 'addressType': 'IPv4',
            'endpoints': [{'addresses': [address]}], 'ports': [{'name': '', 'port': HOST['port']}]})
    w = hook('/configmaps')
    w['clientConfig'] = {'service': {'namespace': 'default', 'name': 'e2e-test-webhook', 'path': '/configmaps', 'port': 8443}, 'caBundle': HOST['ca']}
    with configured(k, 'validating', w):
        k.fails(400, 'the configmap contains unwanted key and value', 'POST', MAPS, config_map('e2e-bad', webhook_e2e_test='webhook-disallow'))
        k.post(MAPS, config_map('e2e-served'))
    k.delete(service + '/e2e-test-webhook')


@check('should be able to convert from CR v1 to CR v2; should be able to convert a non homogeneous list of CRs')
def _(k):
    def version(name, storage, *fields):
        return {'name': name, 'served': True, 'storage': storage, 'schema': {'openAPIV3Schema': {'type': 'object', 'properties': {f: {'type': 'string'} for f in fields}}}}
    crd = {'metadata': {'name': 'testcrs.stable.example.com'},
           'spec': {'group': 'stable.example.com', 'scope': 'Namespaced', 'names': {'plural': 'testcrs', 'kind': 'TestCr'},
                    'versions': [version('v1', True, 'hostPort'), version('v2', False, 'host', 'port')],
                    'conversion': {'strategy': 'Webhook', 'webhook': {'conversionReviewVersions': ['v1', 'v1beta1'],
                                                                     'clientConfig': {'url': f'https://127.0.0.1:{HOST["port"]}/convert', 'caBundle': HOST['ca']}}}}}
    k.post(CRDS, crd)
    v1, v2 = (f'/apis/stable.example.com/{v}/namespaces/default/testcrs' for v in ('v1', 'v2'))
    wait('the resource is served', lambda: k.call('GET', v2)[0] == 200, 10)
    k.post(v1, {'apiVersion': 'stable.example.com/v1', 'kind': 'TestCr', 'metadata': {'name': 'a'}, 'hostPort': 'localhost:8080'})
    got = k.get(v2 + '/a')
    same((got['host'], got['port']), ('localhost', '8080'))
    k.jsonpatch(CRDS + '/testcrs.stable.example.com', [{'op': 'replace', 'path': '/spec/versions/0/storage', 'value': False}, {'op': 'replace', 'path': '/spec/versions/1/storage', 'value': True}])
    wait('v2 is a stored version', lambda: k.get(CRDS + '/testcrs.stable.example.com')['status']['storedVersions'] == ['v1', 'v2'], 10)
    k.post(v2, {'apiVersion': 'stable.example.com/v2', 'kind': 'TestCr', 'metadata': {'name': 'b'}, 'host': 'x', 'port': '1'})
    same([i['host'] for i in k.get(v2)['items']], ['localhost', 'x'])
    same([i['hostPort'] for i in k.get(v1)['items']], ['localhost:8080', 'x:1'])
    k.delete(CRDS + '/testcrs.stable.example.com')


@check('should validate against a Deployment; should allow expressions to refer variables')
def _(k):
    policies, bindings = ADMISSION + '/validatingadmissionpolicies', ADMISSION + '/validatingadmissionpolicybindings'
    k.post(policies, {'metadata': {'name': 'e2e-policy'}, 'spec': {
        'matchConstraints': {'resourceRules': [{'apiGroups': ['apps'], 'apiVersions': ['v1'], 'operations': ['CREATE', 'UPDATE'], 'resources': ['deployments']}]},
        'variables': [{'name': 'replicas', 'expression': 'object.spec.replicas'}, {'name': 'oddReplicas', 'expression': 'variables.replicas % 2 == 1'}],
        'validations': [{'expression': 'variables.replicas > 1'}, {'expression': 'variables.oddReplicas'}]}})
    k.post(bindings, {'metadata': {'name': 'e2e-binding'}, 'spec': {'policyName': 'e2e-policy', 'validationActions': ['Deny']}})

    def deployment(name, n):
        return {'metadata': {'name': name}, 'spec': {'replicas': n, 'selector': {'matchLabels': {'a': 'b'}}, 'template': {'metadata': {'labels': {'a': 'b'}}, 'spec': {'containers': [{'name': 'c', 'image': 'i'}]}}}}
    path = '/apis/apps/v1/namespaces/default/deployments'
    d = k.fails(422, 'Invalid', 'POST', path, deployment('one', 1))
    same(d['message'], 'deployments.apps "one" is forbidden: ValidatingAdmissionPolicy \'e2e-policy\' with binding \'e2e-binding\' denied request: failed expression: variables.replicas > 1')
    k.fails(422, 'Invalid', 'POST', path, deployment('two', 2))
    k.post(path, deployment('three', 3))
    k.delete(path + '/three')
    k.delete(bindings)
    k.delete(policies)


@check('should support ValidatingAdmissionPolicy API operations')
def _(k):
    path = ADMISSION + '/validatingadmissionpolicies'
    made = k.post(path, {'metadata': {'name': 'e2e-api', 'labels': {'special': 'x'}}, 'spec': {
        'matchConstraints': {'resourceRules': [{'apiGroups': ['apps'], 'apiVersions': ['v1'], 'operations': ['CREATE'], 'resources': ['deployments']}]},
        'validations': [{'expression': 'object.spec.replicas > 100', 'messageExpression': "'should scale to more than ' + string(100)"}]}})
    same(made['spec']['matchConstraints']['matchPolicy'], 'Equivalent')
    wait('the policy is observed', lambda: k.get(path + '/e2e-api').get('status', {}).get('observedGeneration') == 1, 5)
    patched_status = k.merge(path + '/e2e-api/status', {'metadata': {'annotations': {'patched': 'true'}}, 'status': {'conditions': [
        {'type': 'StatusPatched', 'status': 'True', 'reason': 'E2E', 'message': 'Set by an e2e test', 'lastTransitionTime': '2026-01-01T00:00:00Z'}]}})
    same(patched_status['status']['conditions'][0]['reason'], 'E2E')
    same(k.get(path + '/e2e-api/status')['status']['conditions'][0]['message'], 'Set by an e2e test')
    k.merge(path + '/e2e-api', {'metadata': {'annotations': {'again': 'true'}}})
    same(len(k.get(path, labelSelector='special=x')['items']), 1)
    k.delete(path, labelSelector='special=x')
    same(k.get(path, labelSelector='special=x')['items'], [])


def run(k, words):
    failures = []
    for title, f in CHECKS:
        if words and not all(w in title for w in words):
            continue
        start = time.time()
        try:
            f(k)
            print(f'ok   {title} ({time.time() - start:.1f} s)', flush=True)
        except Exception as e:
            failures.append(title)
            print(f'FAIL {title}: {"" if isinstance(e, Bad) else type(e).__name__} {e}', flush=True)
    print(f'{len(failures)} failed' if failures else 'all passed')
    return 1 if failures else 0


def main():
    if not shutil.which('openssl'):
        print('skipped: no openssl on this machine')
        return 77
    caravel, words = (sys.argv[1:2] or ['build/caravel'])[0], sys.argv[2:]
    directory = tempfile.mkdtemp(prefix='caravel-webhook-')
    server = None
    try:
        start_webhooks(directory)
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        config = directory + '/data/kubeconfig'
        with open(directory + '/log', 'wb') as log:
            server = subprocess.Popen([caravel, 'server', '--data-dir', directory + '/data', '--listen', f'127.0.0.1:{port}', '--hollow-nodes', '1'], stdout=log, stderr=log)
        wait('the server writes its kubeconfig', lambda: server.poll() is None and os.path.exists(config) and os.path.getsize(config), 30)
        k = client(config, directory)
        wait('the server is ready', lambda: k.call('GET', '/readyz')[0] == 200 and k.call('GET', '/api/v1/namespaces/default/serviceaccounts/default')[0] == 200, 30)
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
