#!/usr/bin/env python3
"""Aggregated API servers: a small extension server (wardle.example.com, as upstream's sample) behind an
APIService of a running `caravel server`, as upstream's conformance test "Aggregator Should be able to support
the 1.17 Sample API Server" does it. Needs python's standard library and openssl.
usage: aggregation_test.py [path to caravel]"""
import base64, http.client, http.server, json, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time

if not shutil.which('openssl'):
    print('skipped: openssl is missing')
    sys.exit(77)
CARAVEL = sys.argv[1] if len(sys.argv) > 1 else 'build-debug/caravel'
DIR = tempfile.mkdtemp(prefix='caravel-aggregation-')
GROUP, VERSION = 'wardle.example.com', 'v1alpha1'
BASE = f'/apis/{GROUP}/{VERSION}'


def openssl(*args):
    subprocess.run(['openssl', *args], check=True, capture_output=True, cwd=DIR)


def free_port():
    with socket.socket() as s:
        s.bind(('', 0))
        return s.getsockname()[1]


def own_address():
    """An address of this machine that an EndpointSlice may hold: loopback ones are refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(('192.0.2.1', 9))
            return s.getsockname()[0]
        except OSError:
            return None


def same(got, want, what):
    if got != want:
        raise AssertionError(f'{what}: wanted {want!r}, got {got!r}')
    print('ok', what)


def must(condition, what, *detail):
    if not condition:
        raise AssertionError(f'{what}: {detail}')
    print('ok', what)


def until(check, what, seconds=30):
    end = time.time() + seconds
    while True:
        got = check()
        if got:
            print('ok', what)
            return got
        if time.time() > end:
            raise AssertionError('not in time: ' + what)
        time.sleep(0.1)


SEEN, FLUNDERS, CHANGED = [], {}, threading.Condition()


class Wardle(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *a): pass

    def answer(self, body, code=200):
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, code, reason):
        self.answer({'kind': 'Status', 'apiVersion': 'v1', 'metadata': {}, 'status': 'Failure', 'message': reason, 'reason': reason, 'code': code}, code)

    def chunk(self, data):
        self.wfile.write(b'%x\r\n%s\r\n' % (len(data), data))
        self.wfile.flush()

    def serve(self):
        certificate = self.connection.getpeercert() or {}
        names = [v for part in certificate.get('subject', ()) for k, v in part if k == 'commonName']
        if names != ['front-proxy-client'] or not self.headers.get('X-Remote-User'):
            return self.refuse(401, 'Unauthorized')
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        SEEN.append((self.command, self.path, list(self.headers.items())))
        path, _, query = self.path.partition('?')
        if self.headers.get('Upgrade') == 'echo':
            self.connection.sendall(b'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
            self.connection.sendall(self.connection.recv(100).upper())
            self.close_connection = True
            return
        if path == BASE:
            return self.answer({'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': f'{GROUP}/{VERSION}', 'resources': [
                {'name': 'flunders', 'singularName': 'flunder', 'namespaced': True, 'kind': 'Flunder', 'shortNames': ['fl'],
                 'verbs': ['create', 'delete', 'get', 'list', 'watch']},
                {'name': 'flunders/status', 'singularName': '', 'namespaced': True, 'kind': 'Flunder', 'verbs': ['get']}]})
        if path == '/openapi/v3':
            return self.answer({'paths': {BASE[1:]: {'serverRelativeURL': f'/openapi/v3{BASE}?hash=1'}}})
        if path == '/openapi/v2':
            return self.answer({'swagger': '2.0', 'paths': {f'{BASE}/namespaces/{{namespace}}/flunders': {'get': {'responses': {}}}}, 'definitions': {}})
        if path == f'/openapi/v3{BASE}':
            return self.answer({'openapi': '3.0.0', 'info': {'title': 'wardle', 'version': '1'}, 'paths': {}})
        if path == f'{BASE}/namespaces/default/flunders':
            if self.command == 'POST':
                o = json.loads(body)
                o['metadata'].update(namespace='default', uid='u-' + o['metadata']['name'], resourceVersion='1')
                with CHANGED:
                    FLUNDERS[o['metadata']['name']] = o
                    CHANGED.notify_all()
                return self.answer(o, 201)
            if 'watch=' in query:
                self.send_response(200)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Transfer-Encoding', 'chunked')
                self.end_headers()
                sent = set()
                with CHANGED:
                    while len(sent) < 2:
                        for name in [n for n in FLUNDERS if n not in sent]:
                            sent.add(name)
                            self.chunk(json.dumps({'type': 'ADDED', 'object': FLUNDERS[name]}).encode() + b'\n')
                        if len(sent) < 2:
                            CHANGED.wait(20)
                return self.chunk(b'')
            return self.answer({'kind': 'FlunderList', 'apiVersion': f'{GROUP}/{VERSION}', 'metadata': {'resourceVersion': '7'}, 'items': list(FLUNDERS.values())})
        name = path.rsplit('/', 1)[-1]
        if path.startswith(f'{BASE}/namespaces/default/flunders/') and name in FLUNDERS:
            o = FLUNDERS.pop(name) if self.command == 'DELETE' else FLUNDERS[name]
            return self.answer(o)
        self.refuse(404, 'NotFound')

    do_GET = do_POST = do_DELETE = serve


API = free_port()
log = open(f'{DIR}/log', 'w')
server = subprocess.Popen([CARAVEL, 'server', '--data-dir', f'{DIR}/d', '--listen', f'127.0.0.1:{API}', '--hollow-nodes', '1'], stdout=log, stderr=log)


def admin_context():
    text = open(f'{DIR}/d/kubeconfig').read()
    for name, key in (('admin.crt', 'client-certificate-data'), ('admin.key', 'client-key-data')):
        with open(f'{DIR}/{name}', 'wb') as f:
            f.write(base64.b64decode(text.split(key + ':')[1].split()[0].strip('"')))
    c = ssl._create_unverified_context()
    c.load_cert_chain(f'{DIR}/admin.crt', f'{DIR}/admin.key')
    return c


def connect():
    return http.client.HTTPSConnection('127.0.0.1', API, context=CONTEXT, timeout=30)


def call(method, path, body=None, headers={}, content='application/json'):
    c = connect()
    c.request(method, path, json.dumps(body) if body is not None else None, {'Content-Type': content, 'Accept': 'application/json', **headers})
    r = c.getresponse()
    data = r.read()
    return r.status, json.loads(data) if 'json' in r.getheader('Content-Type', '') else data.decode(), r.headers


def get(path, **kw):
    status, data, _ = call('GET', path, **kw)
    if status != 200:
        raise AssertionError(f'GET {path} gave {status}: {data}')
    return data


def available(name):
    for c in get(f'/apis/apiregistration.k8s.io/v1/apiservices/{name}').get('status', {}).get('conditions', []):
        if c['type'] == 'Available':
            return c['status'], c['reason'], c['message']


try:
    for _ in range(300):
        if os.path.exists(f'{DIR}/d/kubeconfig'):
            break
        assert server.poll() is None, open(f'{DIR}/log').read()
        time.sleep(0.1)
    CONTEXT = admin_context()
    local = until(lambda: available('v1.apps'), 'built-in groups have APIServices')
    same(local, ('True', 'Local', 'Local APIServices are always available'), 'they are local')
    same(get('/apis/apiregistration.k8s.io/v1/apiservices/v1.apps')['metadata']['labels'], {'kube-aggregator.kubernetes.io/automanaged': 'onstart'}, 'and made at start')
    same(get('/apis/apiregistration.k8s.io/v1/apiservices/v2.autoscaling')['spec']['versionPriority'], 30, 'versions have their priority')

    published = get('/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication')['data']
    same(sorted(published), ['client-ca-file', 'requestheader-allowed-names', 'requestheader-client-ca-file', 'requestheader-extra-headers-prefix',
                             'requestheader-group-headers', 'requestheader-uid-headers', 'requestheader-username-headers'], 'the front proxy is published')
    with open(f'{DIR}/front.crt', 'w') as f:
        f.write(published['requestheader-client-ca-file'])

    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=wardle-ca')
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'w.key', '-out', 'w.csr', '-subj', '/CN=sample-api.default.svc')
    with open(f'{DIR}/san', 'w') as f:
        f.write('subjectAltName=DNS:sample-api.default.svc\n')
    openssl('x509', '-req', '-in', 'w.csr', '-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-out', 'w.crt', '-days', '2', '-extfile', 'san')
    wardle = http.server.ThreadingHTTPServer(('0.0.0.0', 0), Wardle)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f'{DIR}/w.crt', f'{DIR}/w.key')
    tls.load_verify_locations(f'{DIR}/front.crt')
    tls.verify_mode = ssl.CERT_REQUIRED
    wardle.socket = tls.wrap_socket(wardle.socket, server_side=True)
    port = wardle.server_address[1]
    threading.Thread(target=wardle.serve_forever, daemon=True).start()

    def bundle(file): return base64.b64encode(open(f'{DIR}/{file}', 'rb').read()).decode()
    status, made, _ = call('POST', '/apis/apiregistration.k8s.io/v1/apiservices', {
        'apiVersion': 'apiregistration.k8s.io/v1', 'kind': 'APIService', 'metadata': {'name': f'{VERSION}.{GROUP}'},
        'spec': {'service': {'namespace': 'default', 'name': 'sample-api', 'port': 7443}, 'group': GROUP, 'version': VERSION, 'caBundle': bundle('ca.crt'),
                 'groupPriorityMinimum': 2000, 'versionPriority': 200}})
    same(status, 201, 'an APIService is made')
    name = f'{VERSION}.{GROUP}'
    until(lambda: available(name) == ('False', 'ServiceNotFound', 'service/sample-api in "default" is not present'), 'its service is not there')
    status, text, headers = call('GET', f'{BASE}/namespaces/default/flunders')
    same((status, text, headers['Content-Type']), (503, 'service unavailable\n', 'text/plain; charset=utf-8'), 'requests are answered 503')
    must(GROUP in [g['name'] for g in get('/apis')['groups']], 'the group is listed all the same')

    address = own_address()
    spec = {'ports': [{'name': 'https', 'port': 7443, 'targetPort': port}]}
    call('POST', '/api/v1/namespaces/default/services', {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'sample-api'}, 'spec': spec})
    until(lambda: available(name)[1] == 'EndpointsNotFound', 'its service has no endpoints')
    if address:
        call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
            'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice', 'addressType': 'IPv4',
            'metadata': {'name': 'sample-api-1', 'labels': {'kubernetes.io/service-name': 'sample-api'}},
            'endpoints': [{'addresses': [address], 'conditions': {'ready': False}}], 'ports': [{'name': 'https', 'port': port}]})
        until(lambda: available(name) == ('False', 'MissingEndpoints', 'endpointslices for service/sample-api in "default" have no addresses with port name "https"'),
              'its endpoints are not ready')
        call('PATCH', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/sample-api-1', {'endpoints': [{'addresses': [address], 'conditions': {'ready': True}}]},
             content='application/merge-patch+json')
    else:
        print('this machine has loopback addresses only: the service is reached as an ExternalName')
        call('DELETE', '/api/v1/namespaces/default/services/sample-api')
        call('POST', '/api/v1/namespaces/default/services', {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'sample-api'},
                                                             'spec': {'type': 'ExternalName', 'externalName': 'localhost'}})
        call('PATCH', f'/apis/apiregistration.k8s.io/v1/apiservices/{name}', {'spec': {'service': {'port': port}}}, content='application/merge-patch+json')
    until(lambda: available(name) == ('True', 'Passed', 'all checks passed'), 'it is available')

    flunders = f'{BASE}/namespaces/default/flunders'
    status, made, _ = call('POST', flunders, {'apiVersion': f'{GROUP}/{VERSION}', 'kind': 'Flunder', 'metadata': {'name': 'one'}, 'spec': {}},
                           headers={'X-Remote-User': 'evil', 'X-Remote-Group': 'evil'})
    same((status, made['metadata']['uid']), (201, 'u-one'), 'a flunder is made')
    sent = {}
    for k, v in [s for s in SEEN if s[0] == 'POST'][-1][2]:
        sent.setdefault(k.lower(), []).append(v)
    same(sent['x-remote-user'], ['kubernetes-admin'], 'the service is told who asks, by us alone')
    same(sent['x-remote-group'], ['system:masters', 'system:authenticated'], 'and his groups')
    must('authorization' not in sent and any(k.startswith('x-remote-extra-authentication.kubernetes.io%2f') for k in sent), 'and what else is known', sent)
    same([i['metadata']['name'] for i in get(flunders)['items']], ['one'], 'flunders are listed')
    c = connect()
    c.request('GET', flunders + '?watch=1')
    r = c.getresponse()
    first = json.loads(r.readline())
    same((first['type'], first['object']['metadata']['name']), ('ADDED', 'one'), 'a watch is streamed')
    call('POST', flunders, {'apiVersion': f'{GROUP}/{VERSION}', 'kind': 'Flunder', 'metadata': {'name': 'two'}})
    same(json.loads(r.readline())['object']['metadata']['name'], 'two', 'as it goes on')
    same(r.read(), b'', 'until it ends')
    s = CONTEXT.wrap_socket(socket.create_connection(('127.0.0.1', API)))
    s.sendall(f'GET {flunders}/one/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n'.encode())
    head = s.recv(1000)
    must(head.startswith(b'HTTP/1.1 101'), 'an upgrade is passed on', head)
    s.sendall(b'hello')
    same(s.recv(100), b'HELLO', 'and its bytes')
    s.close()

    entry = [g for g in get('/apis')['groups'] if g['name'] == GROUP][0]
    same(entry['preferredVersion']['groupVersion'], f'{GROUP}/{VERSION}', 'the group has its version')
    names = [g['name'] for g in get('/apis')['groups']]
    same((names[0], names[-1]), ('apiregistration.k8s.io', GROUP), 'groups are in the order of their priorities')
    same(get(BASE)['resources'][0]['name'], 'flunders', 'its resources are listed')

    def merged():
        v2 = get('/apis', headers={'Accept': 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList'})
        v = [g for g in v2['items'] if g['metadata'].get('name') == GROUP][0]['versions'][0]
        return v if v['freshness'] == 'Current' else None
    version = until(merged, 'aggregated discovery has it, fresh')
    same((version['resources'][0]['resource'], version['resources'][0]['scope'], version['resources'][0]['subresources'][0]['subresource']), ('flunders', 'Namespaced', 'status'),
         'with its resources')
    must(BASE + '/namespaces/{namespace}/flunders' in get('/openapi/v2')['paths'], 'OpenAPI v2 has it')
    must(BASE[1:] in get('/openapi/v3')['paths'], 'OpenAPI v3 lists it')
    same(get('/openapi/v3' + BASE)['info']['title'], 'wardle', 'and passes it on')

    def dispatched():
        return sum(float(l.split()[-1]) for l in get('/metrics').splitlines() if l.startswith('apiserver_flowcontrol_dispatched_requests_total{'))
    before = dispatched()
    get(f'{BASE}/namespaces/default/flunders')
    must(dispatched() >= before + 2, 'requests to it pass priority and fairness')

    if shutil.which('kubectl'):
        def kubectl(*a): return subprocess.run(['kubectl', '--kubeconfig', f'{DIR}/d/kubeconfig', *a], capture_output=True, text=True)
        rows = kubectl('get', 'apiservices').stdout
        must([w for w in rows.splitlines() if w.split()[:3] == [name, 'default/sample-api', 'True']] and 'Local' in rows, 'kubectl get apiservices shows it', rows)
        must('one' in kubectl('get', 'fl').stdout, 'kubectl get finds flunders')

    call('PATCH', f'/apis/apiregistration.k8s.io/v1/apiservices/{name}', {'spec': {'caBundle': bundle('front.crt')}}, content='application/merge-patch+json')
    until(lambda: available(name)[:2] == ('False', 'FailedDiscoveryCheck'), 'a wrong caBundle is noticed')
    call('PATCH', f'/apis/apiregistration.k8s.io/v1/apiservices/{name}', {'spec': {'caBundle': None, 'insecureSkipTLSVerify': True}}, content='application/merge-patch+json')
    until(lambda: available(name)[1] == 'Passed', 'insecureSkipTLSVerify does without')

    crd = {'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'boats.sea.example.com'},
           'spec': {'group': 'sea.example.com', 'scope': 'Namespaced', 'names': {'plural': 'boats', 'kind': 'Boat'},
                    'versions': [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {'type': 'object'}}}]}}
    call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
    until(lambda: call('GET', '/apis/apiregistration.k8s.io/v1/apiservices/v1.sea.example.com')[0] == 200, 'a CRD gets an APIService')
    own = get('/apis/apiregistration.k8s.io/v1/apiservices/v1.sea.example.com')
    same((own['metadata']['labels'], own['spec']['groupPriorityMinimum'], own['spec']['versionPriority']),
         ({'kube-aggregator.kubernetes.io/automanaged': 'true'}, 1000, 100), 'as upstream makes it')
    call('DELETE', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.sea.example.com')
    until(lambda: call('GET', '/apis/apiregistration.k8s.io/v1/apiservices/v1.sea.example.com')[0] == 404, 'which goes with it')
    call('DELETE', f'/apis/apiregistration.k8s.io/v1/apiservices/{name}')
    until(lambda: call('GET', flunders)[0] == 404 and GROUP not in [g['name'] for g in get('/apis')['groups']], 'without its APIService the group is gone')
except BaseException:
    print(open(f'{DIR}/log').read()[-3000:])
    raise
finally:
    server.send_signal(signal.SIGTERM)
    server.wait(20)
    shutil.rmtree(DIR)
