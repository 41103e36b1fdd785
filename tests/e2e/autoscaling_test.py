#!/usr/bin/env python3
"""HorizontalPodAutoscalers with kubectl: pods of hollow nodes, and a small aggregated server that serves metrics.k8s.io,
custom.metrics.k8s.io and external.metrics.k8s.io with the figures that this script sets.
Needs kubectl, openssl and python's standard library.
usage: autoscaling_test.py [path to caravel]"""
import datetime, http.server, json, os, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time
from urllib.parse import parse_qs, urlparse

for tool in ('kubectl', 'openssl'):
    if not shutil.which(tool):
        print(f'skipped: {tool} is missing')
        sys.exit(77)
CARAVEL = sys.argv[1] if len(sys.argv) > 1 else 'build-debug/caravel'
DIR = tempfile.mkdtemp(prefix='caravel-autoscaling-')
FIGURES = {'cpu': {}, 'http_requests': 0, 'hits': 0, 'queue': []}  # millicores by app; per pod; of the Service; by queue
GROUPS = {'metrics.k8s.io': 'v1beta1', 'custom.metrics.k8s.io': 'v1beta2', 'external.metrics.k8s.io': 'v1beta1'}


def free_port():
    with socket.socket() as s:
        s.bind(('', 0))
        return s.getsockname()[1]


API = free_port()
log = open(f'{DIR}/log', 'w')
server = subprocess.Popen([CARAVEL, 'server', '--data-dir', f'{DIR}/d', '--listen', f'127.0.0.1:{API}', '--hollow-nodes', '2'], stdout=log, stderr=log)


def run(*args, text=None):
    return subprocess.run(['kubectl', '--kubeconfig', f'{DIR}/d/kubeconfig', *args], capture_output=True, text=True, input=text)


def kubectl(*args, text=None):
    r = run(*args, text=text)
    if r.returncode:
        raise AssertionError(f'kubectl {" ".join(args)}: {r.stderr}')
    return r.stdout


def apply(*objects):
    kubectl('apply', '-f', '-', text=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects}))


def get(kind, name): return json.loads(kubectl('get', kind, name, '-o', 'json'))


def until(check, what, seconds=60):
    end, got = time.time() + seconds, None
    while time.time() < end:
        got = check()
        if got:
            print('ok', what)
            return got
        time.sleep(0.3)
    print(kubectl('get', 'hpa,deployments', '-A'), kubectl('get', 'hpa', '-o', 'yaml'))
    raise AssertionError('not in time: ' + what)


def same(got, want, what):
    if got != want:
        raise AssertionError(f'{what}: wanted {want!r}, got {got!r}')
    print('ok', what)


def condition(name, kind):
    for c in get('hpa', name).get('status', {}).get('conditions', []):
        if c['type'] == kind:
            return c['status'], c['reason'], c['message']


def replicas(kind, name): return get(kind, name)['spec'].get('replicas')


def events(name): return kubectl('get', 'events', '--field-selector', f'involvedObject.name={name},involvedObject.kind=HorizontalPodAutoscaler', '-o',
                                 'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}')


class Metrics(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *a): pass

    def answer(self, body, code=200):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urlparse(self.path)
        parts = url.path.strip('/').split('/')
        selector = parse_qs(url.query).get('labelSelector', [''])[0]
        now = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
        if len(parts) == 3:
            return self.answer({'kind': 'APIResourceList', 'apiVersion': 'v1', 'groupVersion': '/'.join(parts[1:]), 'resources': []})
        if len(parts) < 5:
            return self.answer({'kind': 'Status', 'status': 'Failure', 'reason': 'NotFound', 'code': 404, 'message': 'not found'}, 404)
        group, rest = parts[1], parts[5:]
        app = dict(kv.split('=') for kv in selector.split(',') if '=' in kv).get('app', '')

        def pods(): return kubectl('get', 'pods', '-l', selector, '-o', 'name').replace('pod/', '').split()
        if group == 'metrics.k8s.io':
            used = FIGURES['cpu'].get(app)
            items = [] if used is None else [{'metadata': {'name': p, 'namespace': parts[4]}, 'timestamp': now, 'window': '1s',
                                              'containers': [{'name': 'main', 'usage': {'cpu': f'{used}m', 'memory': '10Mi'}}]} for p in pods()]
            return self.answer({'kind': 'PodMetricsList', 'apiVersion': 'metrics.k8s.io/v1beta1', 'metadata': {}, 'items': items})

        def value(kind, name, metric, v): return {'describedObject': {'kind': kind, 'namespace': parts[4], 'name': name}, 'metric': {'name': metric}, 'timestamp': now, 'value': v}
        if group == 'custom.metrics.k8s.io' and rest[0] == 'pods':
            items = [value('Pod', p, rest[2], str(FIGURES[rest[2]])) for p in pods()]
        elif group == 'custom.metrics.k8s.io':
            items = [value('Service', rest[1], rest[2], str(FIGURES[rest[2]]))]
        else:
            items = [{'metricName': rest[0], 'metricLabels': {}, 'timestamp': now, 'value': v} for v in FIGURES[rest[0]]]
        self.answer({'kind': 'MetricValueList', 'apiVersion': f'{group}/{parts[2]}', 'metadata': {}, 'items': items})


def serve_metrics():
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', 'k', '-out', 'c', '-days', '2', '-subj', '/CN=metrics'], check=True, capture_output=True, cwd=DIR)
    httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Metrics)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f'{DIR}/c', f'{DIR}/k')
    httpd.socket = tls.wrap_socket(httpd.socket, server_side=True)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    apply({'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'metrics', 'namespace': 'kube-system'}, 'spec': {'type': 'ExternalName', 'externalName': 'localhost'}},
          *[{'apiVersion': 'apiregistration.k8s.io/v1', 'kind': 'APIService', 'metadata': {'name': f'{v}.{g}'},
             'spec': {'service': {'namespace': 'kube-system', 'name': 'metrics', 'port': httpd.server_address[1]}, 'group': g, 'version': v, 'insecureSkipTLSVerify': True,
                      'groupPriorityMinimum': 100, 'versionPriority': 100}} for g, v in GROUPS.items()])
    kubectl('wait', '--for=condition=Available', '--timeout=30s', *[f'apiservice/{v}.{g}' for g, v in GROUPS.items()])


def deployment(name, n):
    return {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': name, 'namespace': 'default'},
            'spec': {'replicas': n, 'selector': {'matchLabels': {'app': name}}, 'template': {'metadata': {'labels': {'app': name}}, 'spec': {
                'containers': [{'name': 'main', 'image': 'nginx', 'resources': {'requests': {'cpu': '100m'}}}]}}}}


def autoscaler(name, target, metrics, most=10, **spec):
    return {'apiVersion': 'autoscaling/v2', 'kind': 'HorizontalPodAutoscaler', 'metadata': {'name': name, 'namespace': 'default'},
            'spec': {'scaleTargetRef': target, 'minReplicas': 1, 'maxReplicas': most, 'metrics': metrics, **spec}}


AT_ONCE = {'scaleDown': {'stabilizationWindowSeconds': 0}}

try:
    for _ in range(300):
        if os.path.exists(f'{DIR}/d/kubeconfig') and run('get', 'namespace', 'default').returncode == 0:
            break
        assert server.poll() is None, open(f'{DIR}/log').read()
        time.sleep(0.1)
    apply(deployment('web', 1), deployment('api', 2), {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'api', 'namespace': 'default'}, 'spec': {'ports': [{'port': 80}]}})
    kubectl('autoscale', 'deployment', 'web', '--max=6', '--cpu-percent=50')
    absent = 'unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)'
    same(until(lambda: condition('web', 'ScalingActive'), 'an autoscaler without metrics server says something'),
         ('False', 'FailedGetResourceMetric', f'the HPA was unable to compute the replica count: failed to get cpu utilization: {absent}'), 'namely what is missing')
    same(condition('web', 'AbleToScale'), ('True', 'SucceededGetScale', "the HPA controller was able to get the target's current scale"), 'it can scale')
    until(lambda: f'FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: {absent}'
          in events('web'), 'and an event says so')

    FIGURES['cpu']['web'] = 100
    serve_metrics()
    kubectl('patch', 'hpa', 'web', '--type=merge', '-p', json.dumps({'spec': {'behavior': AT_ONCE}}))
    until(lambda: replicas('deployment', 'web') == 6, 'twice the target doubles, up to the maximum', 90)
    until(lambda: condition('web', 'ScalingLimited') == ('True', 'TooManyReplicas', 'the desired replica count is more than the maximum replica count'), 'which limits it')
    until(lambda: get('hpa', 'web')['status']['currentReplicas'] == 6, 'the status has the replicas')
    same(condition('web', 'ScalingActive'),
         ('True', 'ValidMetricFound', 'the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)'), 'the metric is named')
    same('SuccessfulRescale: New size: 2; reason: cpu resource utilization (percentage of request) above target' in events('web'), True, 'an event tells of the first step')
    row = kubectl('get', 'hpa', 'web').splitlines()[1].split()
    same(row[:7], ['web', 'Deployment/web', 'cpu:', '100%/50%', '1', '6', '6'], 'kubectl get hpa shows it')
    old = json.loads(kubectl('get', '--raw', '/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/web'))
    same((old['spec']['targetCPUUtilizationPercentage'], old['status']['currentCPUUtilizationPercentage']), (50, 100), 'autoscaling/v1 shows the same object')
    FIGURES['cpu']['web'] = 10
    until(lambda: replicas('deployment', 'web') == 1, 'idle pods go', 90)
    same('reason: All metrics below target' in events('web'), True, 'and an event tells why')

    FIGURES.update(http_requests=20, hits=100)
    target = {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'api'}
    apply(autoscaler('api', target, [
        {'type': 'Pods', 'pods': {'metric': {'name': 'http_requests'}, 'target': {'type': 'AverageValue', 'averageValue': '10'}}},
        {'type': 'Object', 'object': {'metric': {'name': 'hits'}, 'describedObject': {'apiVersion': 'v1', 'kind': 'Service', 'name': 'api'}, 'target': {'type': 'Value', 'value': '100'}}}],
        most=4, behavior=AT_ONCE))
    until(lambda: replicas('deployment', 'api') == 4, 'a metric of the pods decides')
    status = until(lambda: (lambda s: s if s.get('currentReplicas') == 4 else None)(get('hpa', 'api')['status']), 'until the maximum')['currentMetrics']
    same((status[0]['pods']['current'], status[1]['object']['current']), ({'averageValue': '20'}, {'value': '100'}), 'both metrics are in the status')

    apply({'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': 'farms.example.com'},
           'spec': {'group': 'example.com', 'scope': 'Namespaced', 'names': {'plural': 'farms', 'singular': 'farm', 'kind': 'Farm'},
                    'versions': [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}},
                                  'subresources': {'status': {}, 'scale': {'specReplicasPath': '.spec.replicas', 'statusReplicasPath': '.status.replicas', 'labelSelectorPath': '.status.selector'}}}]}})
    kubectl('wait', '--for=condition=Established', '--timeout=30s', 'crd/farms.example.com')
    FIGURES['queue'] = ['9', '6']
    until(lambda: run('apply', '-f', '-', text=json.dumps({'apiVersion': 'example.com/v1', 'kind': 'Farm', 'metadata': {'name': 'cows', 'namespace': 'default'}, 'spec': {'replicas': 1}}))
          .returncode == 0, 'a custom resource with scale is made')
    kubectl('patch', 'farm', 'cows', '--subresource=status', '--type=merge', '-p', '{"status": {"replicas": 1, "selector": "app=cows"}}')
    apply(autoscaler('cows', {'apiVersion': 'example.com/v1', 'kind': 'Farm', 'name': 'cows'},
                     [{'type': 'External', 'external': {'metric': {'name': 'queue'}, 'target': {'type': 'AverageValue', 'averageValue': '5'}}}]))
    until(lambda: replicas('farm', 'cows') == 3, 'an external metric scales a custom resource')
    same('SuccessfulRescale: New size: 3; reason: external metric queue(nil) above target' in events('cows'), True, 'with its event')

    apply(autoscaler('lost', {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'nobody'}, [{'type': 'Resource', 'resource': {'name': 'cpu', 'target': {'type': 'Utilization', 'averageUtilization': 5}}}]))
    same(until(lambda: condition('lost', 'AbleToScale'), 'a target that is not there is said'),
         ('False', 'FailedGetScale', 'the HPA controller was unable to get the target\'s current scale: deployments.apps "nobody" not found'), 'as upstream does')
    apply(autoscaler('twin', {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'api'}, [{'type': 'Resource', 'resource': {'name': 'cpu', 'target': {'type': 'Utilization', 'averageUtilization': 5}}}]))
    until(lambda: (condition('twin', 'ScalingActive') or ' ' * 2)[1] == 'AmbiguousSelector', 'two autoscalers of the same pods are refused')
except BaseException:
    print(open(f'{DIR}/log').read()[-3000:])
    raise
finally:
    server.send_signal(signal.SIGTERM)
    server.wait(20)
    shutil.rmtree(DIR)
