#!/usr/bin/env python3
"""Who may come in and what he may do: static tokens, an OpenID Connect issuer, webhooks for tokens and for
access, against a running `caravel server`. Needs python's standard library and openssl.
usage: authentication_test.py [path to caravel]"""
import base64, http.client, http.server, json, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time

if not shutil.which('openssl'):
    print('skipped: openssl is missing')
    sys.exit(77)
CARAVEL = sys.argv[1] if len(sys.argv) > 1 else 'build-debug/caravel'
DIR = tempfile.mkdtemp(prefix='caravel-authentication-')
b64 = lambda b: base64.urlsafe_b64encode(b).rstrip(b'=').decode()


def openssl(*args, data=None):
    return subprocess.run(['openssl', *args], input=data, check=True, capture_output=True, cwd=DIR).stdout


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def new_key(name):
    openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', name)
    modulus = openssl('rsa', '-in', name, '-noout', '-modulus').decode().strip().split('=')[1]
    return {'kty': 'RSA', 'use': 'sig', 'alg': 'RS256', 'kid': name, 'n': b64(bytes.fromhex(modulus)), 'e': 'AQAB'}


openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'web.key', '-out', 'web.crt', '-days', '2', '-subj', '/CN=localhost',
        '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1')
KEYS = [new_key('k1')]
WEB, API = free_port(), free_port()
ISSUER = f'https://localhost:{WEB}'
ASKED = {'jwks': 0, 'token': [], 'access': [], 'audit': []}


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *a): pass

    def answer(self, body, code=200):
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        if self.path == '/.well-known/openid-configuration':
            return self.answer({'issuer': ISSUER, 'jwks_uri': ISSUER + '/keys'})
        if self.path == '/keys':
            ASKED['jwks'] += 1
            return self.answer({'keys': KEYS})
        self.answer({}, 404)

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        if self.path.startswith('/audit'):
            ASKED['audit'] += review['items']
            return self.answer({})
        if self.path.startswith('/token'):
            ASKED['token'].append(review)
            if review['spec']['token'] == 'webhook-token':
                status = {'authenticated': True, 'user': {'username': 'hooked', 'uid': '9', 'groups': ['hooks'], 'extra': {'k': ['v']}}}
            else:
                status = {'authenticated': False, 'error': 'unknown to the webhook'}
        else:
            ASKED['access'].append(review)
            who, what = review['spec']['user'], review['spec'].get('resourceAttributes', {})
            if who == 'hooked' and what.get('resource') == 'configmaps':
                status = {'allowed': True, 'reason': 'the webhook says so'}
            else:
                status = {'allowed': False, 'denied': what.get('resource') == 'secrets', 'reason': 'the webhook does not know'}
        self.answer({'apiVersion': review['apiVersion'], 'kind': review['kind'], 'status': status})


web = http.server.ThreadingHTTPServer(('127.0.0.1', WEB), Web)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f'{DIR}/web.crt', f'{DIR}/web.key')
web.socket = context.wrap_socket(web.socket, server_side=True)
threading.Thread(target=web.serve_forever, daemon=True).start()

with open(f'{DIR}/tokens.csv', 'w') as f:
    f.write('static-token,jane,u-1,"devs,system:masters"\nplain-token,joe,u-2\n')
for hook in ('token', 'access', 'audit'):
    with open(f'{DIR}/{hook}.yaml', 'w') as f:
        json.dump({'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'users': [{'name': 'u', 'user': {}}],
                   'clusters': [{'name': 'c', 'cluster': {'server': f'{ISSUER}/{hook}', 'certificate-authority': f'{DIR}/web.crt'}}],
                   'contexts': [{'name': 'c', 'context': {'cluster': 'c', 'user': 'u'}}]}, f)
log = open(f'{DIR}/log', 'w')
server = subprocess.Popen([CARAVEL, 'server', '--data-dir', f'{DIR}/d', '--listen', f'127.0.0.1:{API}', '--no-controllers',
                           '--token-auth-file', f'{DIR}/tokens.csv', '--oidc-issuer-url', ISSUER, '--oidc-client-id', 'kube', '--oidc-ca-file', f'{DIR}/web.crt',
                           '--oidc-groups-claim', 'groups', '--oidc-required-claim', 'hd=acme', '--authentication-token-webhook-config-file', f'{DIR}/token.yaml',
                           '--authorization-mode', 'Node,RBAC,Webhook', '--authorization-webhook-config-file', f'{DIR}/access.yaml'], stdout=log, stderr=log)


def call(method, path, token=None, body=None):
    c = http.client.HTTPSConnection('127.0.0.1', API, context=ssl._create_unverified_context(), timeout=30)
    headers = {'Content-Type': 'application/json'}
    if token:
        headers['Authorization'] = 'Bearer ' + token
    c.request(method, path, json.dumps(body) if body else None, headers)
    r = c.getresponse()
    data = r.read()
    return r.status, json.loads(data) if 'json' in r.getheader('Content-Type', '') else data


def who(token):
    status, data = call('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', token, {'apiVersion': 'authentication.k8s.io/v1', 'kind': 'SelfSubjectReview'})
    return data['status']['userInfo'] if status == 201 else status


def id_token(kid='k1', **claims):
    claims = {'iss': ISSUER, 'aud': 'kube', 'sub': 'anna', 'exp': int(time.time()) + 60, 'hd': 'acme', 'groups': ['blue'], **claims}
    text = b64(json.dumps({'alg': 'RS256', 'kid': kid}).encode()) + '.' + b64(json.dumps(claims).encode())
    return text + '.' + b64(openssl('dgst', '-sha256', '-sign', kid, data=text.encode()))


def same(got, want, what):
    if got != want:
        raise AssertionError(f'{what}: wanted {want!r}, got {got!r}')
    print('ok', what)


try:
    for _ in range(300):
        if os.path.exists(f'{DIR}/d/kubeconfig'):
            break
        assert server.poll() is None, open(f'{DIR}/log').read()
        time.sleep(0.1)
    jane = who('static-token')
    same((jane['username'], jane['uid'], jane['groups']), ('jane', 'u-1', ['devs', 'system:masters', 'system:authenticated']), 'a static token is its line')
    same(call('GET', '/api/v1/namespaces', 'static-token')[0], 200, 'its groups count')
    same(call('GET', '/api/v1/namespaces', 'plain-token')[0], 403, 'a user without rights is refused')
    same(who('nobody-knows-this'), 401, 'an unknown token is refused')
    anna = who(id_token(jti='id-1'))
    same((anna['username'], anna['groups']), (ISSUER + '#anna', ['blue', 'system:authenticated']), 'an ID token is the user of its claims')
    same(anna['extra'], {'authentication.kubernetes.io/credential-id': ['JTI=id-1']}, 'its id is told')
    same(who(id_token(aud='other')), 401, 'an ID token for others is refused')
    same(who(id_token(exp=int(time.time()) - 10)), 401, 'an old ID token is refused')
    same(who(id_token(hd='evil')), 401, 'a required claim is required')
    same(ASKED['jwks'], 1, 'the keys are fetched once')
    KEYS.append(new_key('k2'))
    time.sleep(2.5)
    same(who(id_token('k2'))['username'], ISSUER + '#anna', 'a new key is fetched when a token names it')
    hooked = who('webhook-token')
    same((hooked['username'], hooked['uid'], hooked['groups'], hooked['extra']), ('hooked', '9', ['hooks', 'system:authenticated'], {'k': ['v']}), 'a webhook knows a token')
    reviews = len(ASKED['token'])
    who('webhook-token')
    same(len(ASKED['token']), reviews, 'its answer is kept')
    same((ASKED['token'][0]['apiVersion'], ASKED['token'][0]['kind']), ('authentication.k8s.io/v1', 'TokenReview'), 'it is sent a TokenReview')
    same(call('GET', '/api/v1/namespaces/default/configmaps', 'webhook-token')[0], 200, 'the access webhook allows')
    status, data = call('GET', '/api/v1/namespaces/default/pods', 'webhook-token')
    same((status, data['message']), (403, 'pods is forbidden: User "hooked" cannot list resource "pods" in API group "" in the namespace "default": the webhook does not know'), 'the access webhook refuses')
    attributes = ASKED['access'][-1]['spec']
    same((attributes['user'], attributes['resourceAttributes']), ('hooked', {'namespace': 'default', 'verb': 'list', 'version': 'v1', 'resource': 'pods'}), 'it is told what is asked')
    status, data = call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', 'static-token', {
        'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SubjectAccessReview', 'spec': {'user': 'hooked', 'resourceAttributes': {'resource': 'configmaps', 'verb': 'get', 'version': 'v1'}}})
    same((status, data['status']['allowed'], data['status']['reason']), (201, True, 'the webhook says so'), 'reviews ask it too')
    status, data = call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', 'static-token', {
        'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenReview', 'spec': {'token': id_token()}})
    same((data['status']['authenticated'], data['status']['user']['username']), (True, ISSUER + '#anna'), 'a TokenReview knows ID tokens')
    text = open(f'{DIR}/log').read()
    same([t for t in ('static-token', 'plain-token', 'webhook-token', 'nobody-knows-this') if t in text], [], 'no token is in the log')

    # Configurations that are followed when their files change, and audit events that go to a webhook.
    server.send_signal(signal.SIGTERM)
    server.wait(20)

    def write(name, what):
        with open(f'{DIR}/{name}.new', 'w') as f:
            f.write(what if isinstance(what, str) else json.dumps(what))
        os.rename(f'{DIR}/{name}.new', f'{DIR}/{name}')

    def until(check, what, seconds=30):
        end = time.time() + seconds
        while not check():
            if time.time() > end:
                raise AssertionError('not in time: ' + what + '\n' + open(f'{DIR}/log').read()[-2000:])
            time.sleep(0.1)
        print('ok', what)

    def issuer(prefix):
        return {'apiVersion': 'apiserver.config.k8s.io/v1', 'kind': 'AuthenticationConfiguration', 'jwt': [
            {'issuer': {'url': ISSUER, 'audiences': ['kube'], 'certificateAuthority': open(f'{DIR}/web.crt').read()},
             'claimMappings': {'username': {'claim': 'sub', 'prefix': prefix}}}]}

    def authorizers(*more):
        return {'apiVersion': 'apiserver.config.k8s.io/v1', 'kind': 'AuthorizationConfiguration', 'authorizers': [{'type': 'RBAC', 'name': 'rbac'}, *more]}

    def key(name):
        return {'aesgcm': {'keys': [{'name': name, 'secret': base64.b64encode(name.encode() * 16).decode()}]}}

    def encryption(*providers):
        return {'apiVersion': 'apiserver.config.k8s.io/v1', 'kind': 'EncryptionConfiguration', 'resources': [{'resources': ['secrets'], 'providers': [*providers, {'identity': {}}]}]}

    def reloads(kind, status):
        text = call('GET', '/metrics', 'static-token')[1].decode()
        return sum(float(l.split()[-1]) for l in text.splitlines() if l.startswith(f'apiserver_{kind}_config_controller_automatic_reloads_total{{status="{status}"'))

    write('authentication.yaml', issuer('one:'))
    write('authorization.yaml', authorizers())
    write('encryption.yaml', encryption(key('k1')))
    write('policy.yaml', {'apiVersion': 'audit.k8s.io/v1', 'kind': 'Policy', 'omitStages': ['RequestReceived'], 'rules': [{'level': 'Metadata', 'users': ['jane']}]})
    server = subprocess.Popen([CARAVEL, 'server', '--data-dir', f'{DIR}/d', '--listen', f'127.0.0.1:{API}', '--no-controllers', '--token-auth-file', f'{DIR}/tokens.csv',
                               '--authentication-config', f'{DIR}/authentication.yaml', '--authorization-config', f'{DIR}/authorization.yaml',
                               '--encryption-provider-config', f'{DIR}/encryption.yaml', '--encryption-provider-config-automatic-reload', 'true',
                               '--audit-policy-file', f'{DIR}/policy.yaml', '--audit-webhook-config-file', f'{DIR}/audit.yaml', '--audit-webhook-batch-max-wait', '1s'],
                              stdout=log, stderr=log)

    def up():
        assert server.poll() is None, open(f'{DIR}/log').read()[-2000:]
        try:
            return call('GET', '/readyz', 'static-token')[0] == 200
        except OSError:
            return False
    until(up, 'the server starts with configuration files')
    same(who(id_token())['username'], 'one:anna', 'an issuer of the configuration counts')
    write('authentication.yaml', issuer('two:'))
    until(lambda: who(id_token())['username'] == 'two:anna', 'a changed AuthenticationConfiguration holds')
    same(reloads('authentication', 'success'), 1, 'and is counted')
    write('authentication.yaml', 'kind: Nonsense\n')
    until(lambda: reloads('authentication', 'failure') == 1, 'a bad one is counted')
    same(who(id_token())['username'], 'two:anna', 'and changes nothing')
    same(call('GET', '/api/v1/namespaces/default/configmaps', id_token())[0], 403, 'RBAC alone refuses')
    write('authorization.yaml', authorizers({'type': 'Webhook', 'name': 'w', 'webhook': {
        'timeout': '3s', 'subjectAccessReviewVersion': 'v1', 'failurePolicy': 'NoOpinion', 'authorizedTTL': '1s', 'unauthorizedTTL': '1s',
        'connectionInfo': {'type': 'KubeConfigFile', 'kubeConfigFile': f'{DIR}/access.yaml'}}}))
    until(lambda: reloads('authorization', 'success') == 1, 'a changed AuthorizationConfiguration holds')
    before = len(ASKED['access'])
    call('GET', '/api/v1/namespaces/default/pods', id_token())
    same(len(ASKED['access']), before + 1, 'its webhook is asked')
    write('encryption.yaml', encryption(key('k2'), key('k1')))
    until(lambda: reloads('encryption', 'success') == 1, 'a changed EncryptionConfiguration holds')
    same(call('POST', '/api/v1/namespaces/default/secrets', 'static-token', {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': {'name': 's'}})[0], 201, 'and seals')
    until(lambda: any(e.get('objectRef', {}).get('name') == 's' and e['verb'] == 'create' for e in ASKED['audit']), 'the audit webhook is told of it')
    status, dump = call('GET', '/debug/api_priority_and_fairness/dump_priority_levels', 'static-token')
    same((status, dump.decode().split(',')[0]), (200, 'PriorityLevelName'), 'priority levels are shown')
finally:
    server.send_signal(signal.SIGTERM)
    server.wait(20)
    shutil.rmtree(DIR)
