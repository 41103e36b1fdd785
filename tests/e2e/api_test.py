#!/usr/bin/env python3
"""More of upstream's conformance suite that needs no containers: every kind's status and collections, quotas,
disruption budgets, discovery of custom resources, and the corners of the wire. Runs like conformance_test.py.
usage: api_test.py [path to caravel] [words of titles]"""
import copy, sys

import conformance_test
from conformance_test import *

CHECKS.clear()
MERGE, JSON, SMP = 'application/merge-patch+json', 'application/json-patch+json', 'application/strategic-merge-patch+json'
CONDITION = {'type': 'StatusUpdate', 'status': 'True', 'reason': 'E2E', 'message': 'Set from e2e test', 'lastTransitionTime': '2026-01-01T00:00:00Z'}

# What a client may say in the status of each kind, and a change of its spec that /status must not take over.
STATUSES = [
    ('/api/v1/namespaces/{ns}/pods', pod('s', schedulerName='nobody')['spec'], {'conditions': [{'type': 'StatusUpdate', 'status': 'True'}]}, {'activeDeadlineSeconds': 77}),
    ('/api/v1/namespaces/{ns}/replicationcontrollers', {'replicas': 0, 'selector': {'a': 'b'}, 'template': template({'a': 'b'})}, {'conditions': [CONDITION]}, {'replicas': 7}),
    ('/api/v1/namespaces/{ns}/resourcequotas', {'hard': {'pods': '3'}}, {'hard': {'pods': '3', 'secrets': '5'}}, {'hard': {'pods': '99'}}),
    ('/api/v1/namespaces/{ns}/services', {'ports': [{'port': 80}], 'type': 'LoadBalancer'}, {'conditions': [CONDITION], 'loadBalancer': {'ingress': [{'ip': '203.0.113.1'}]}}, {'publishNotReadyAddresses': True}),
    ('/api/v1/namespaces/{ns}/persistentvolumeclaims', {'accessModes': ['ReadWriteOnce'], 'storageClassName': '', 'volumeName': 'none', 'resources': {'requests': {'storage': '1Gi'}}}, {'conditions': [dict(CONDITION, type='FileSystemResizePending')]}, {'volumeName': 'other'}),
    ('/api/v1/persistentvolumes', {'capacity': {'storage': '1Gi'}, 'accessModes': ['ReadWriteOnce'], 'hostPath': {'path': '/tmp/x'}, 'storageClassName': 'none'}, {'message': 'StatusUpdate', 'reason': 'E2E'}, {'persistentVolumeReclaimPolicy': 'Delete'}),
    ('/apis/apps/v1/namespaces/{ns}/deployments', {'replicas': 0, 'selector': {'matchLabels': {'a': 'd'}}, 'template': template({'a': 'd'})}, {'conditions': [CONDITION]}, {'replicas': 7}),
    ('/apis/apps/v1/namespaces/{ns}/replicasets', {'replicas': 0, 'selector': {'matchLabels': {'a': 'r'}}, 'template': template({'a': 'r'})}, {'conditions': [CONDITION]}, {'replicas': 7}),
    ('/apis/apps/v1/namespaces/{ns}/statefulsets', {'replicas': 0, 'serviceName': 's', 'selector': {'matchLabels': {'a': 's'}}, 'template': template({'a': 's'})}, {'conditions': [CONDITION]}, {'replicas': 7}),
    ('/apis/apps/v1/namespaces/{ns}/daemonsets', {'selector': {'matchLabels': {'a': 'ds'}}, 'template': {'metadata': {'labels': {'a': 'ds'}}, 'spec': {'nodeSelector': {'no': 'where'}, 'containers': [{'name': 'c', 'image': 'i'}]}}}, {'conditions': [CONDITION]}, {'minReadySeconds': 7}),
    ('/apis/batch/v1/namespaces/{ns}/cronjobs', {'schedule': '0 0 1 1 *', 'suspend': True, 'jobTemplate': {'spec': {'template': {'spec': {'restartPolicy': 'Never', 'containers': [{'name': 'c', 'image': 'i'}]}}}}}, {'lastScheduleTime': '2026-01-01T00:00:00Z'}, {'schedule': '1 1 1 1 *'}),
    ('/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers', {'maxReplicas': 3, 'scaleTargetRef': {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'name': 'none'}}, {'conditions': [dict(CONDITION, type='ScalingLimited')], 'desiredReplicas': 0}, {'maxReplicas': 9}),
    ('/apis/networking.k8s.io/v1/namespaces/{ns}/ingresses', {'defaultBackend': {'service': {'name': 'x', 'port': {'number': 80}}}}, {'loadBalancer': {'ingress': [{'ip': '169.1.1.1'}]}}, {'defaultBackend': {'service': {'name': 'y', 'port': {'number': 80}}}}),
    ('/apis/networking.k8s.io/v1/servicecidrs', {'cidrs': ['10.241.0.0/24']}, {'conditions': [CONDITION]}, {'cidrs': ['10.242.0.0/24']}),
    ('/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets', {'minAvailable': 1, 'selector': {'matchLabels': {'a': 'b'}}}, {'conditions': [CONDITION], 'currentHealthy': 0, 'desiredHealthy': 0, 'disruptionsAllowed': 0, 'expectedPods': 0}, {'minAvailable': 5}),
    ('/apis/storage.k8s.io/v1/volumeattachments', {'attacher': 'ex.io', 'nodeName': 'n', 'source': {'persistentVolumeName': 'pv'}}, {'attached': True}, {'attacher': 'other.io'}),
    ('/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas', {'matchingPrecedence': 9000, 'priorityLevelConfiguration': {'name': 'exempt'}}, {'conditions': [CONDITION]}, {'matchingPrecedence': 77}),
    ('/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations', {'type': 'Limited', 'limited': {'nominalConcurrencyShares': 2, 'limitResponse': {'type': 'Reject'}}}, {'conditions': [CONDITION]}, {'limited': {'nominalConcurrencyShares': 77}}),
    ('/apis/resource.k8s.io/v1/namespaces/{ns}/resourceclaims', {'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'd'}}]}}, {'allocation': {'devices': {'results': [{'request': 'r', 'driver': 'ex.io', 'pool': 'p', 'device': 'd'}]}}}, None),
    ('/apis/certificates.k8s.io/v1/certificatesigningrequests', 'csr', {'conditions': [dict(CONDITION, type='Failed')]}, {'signerName': 'other.io/x'}),
    ('/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies', {'matchConstraints': {'resourceRules': [{'apiGroups': ['x'], 'apiVersions': ['v1'], 'operations': ['CREATE'], 'resources': ['xs']}]}, 'validations': [{'expression': 'true'}]}, {'conditions': [CONDITION]}, {'failurePolicy': 'Ignore'}),
]


def contains(got, want):
    if isinstance(want, dict):
        return isinstance(got, dict) and all(k in got and contains(got[k], v) for k, v in want.items())
    if isinstance(want, list):
        return isinstance(got, list) and all(any(contains(g, w) for g in got) for w in want)
    return got == want


def status_life(k, ns, listing, spec, status, other_spec):
    listing = listing.format(ns=ns)
    name = f'st-{random.randrange(16**6):06x}'
    if spec == 'csr':
        spec = {'request': csr_request(), 'signerName': 'ex.io/none', 'usages': ['client auth']}
    k.post(listing, {'metadata': {'name': name}, 'spec': spec})
    one, st = f'{listing}/{name}', f'{listing}/{name}/status'
    same(k.get(st)['metadata']['name'], name, 'GET of status')
    before = k.get(one)
    if other_spec:
        def both():
            o = k.get(st)
            o['spec'] = dict(o['spec'], **copy.deepcopy(other_spec))
            o['status'] = dict(o.get('status', {}), **copy.deepcopy(status))
            o['metadata'].setdefault('annotations', {})['put'] = 'yes'
            s, r, _ = k.call('PUT', st, o)
            must(s in (200, 409), 'PUT of status', s, r)
            return r if s == 200 else None
        r = wait('the PUT of status', both)
        must(contains(r['status'], status), 'status after PUT', r['status'])
        same(r['spec'], before['spec'], 'PUT of status must leave the spec')
        same(r['metadata'].get('generation'), before['metadata'].get('generation'), 'generation after a change of status')
    r = k.merge(st, {'status': status, 'metadata': {'annotations': {'patched': 'yes'}}})
    must(contains(r['status'], status), 'status after PATCH', r['status'])
    same(r['metadata']['annotations'].get('patched'), 'yes', 'annotation by PATCH')
    r = k.jsonpatch(st, [{'op': 'add', 'path': '/metadata/annotations/json', 'value': 'yes'}])
    same(r['metadata']['annotations'].get('json'), 'yes', 'JSON patch of status')
    r = k.strategic(st, {'metadata': {'annotations': {'strategic': 'yes'}}})
    same(r['metadata']['annotations'].get('strategic'), 'yes', 'strategic patch of status')
    # The other way round: the main endpoint does not take a status.
    had = k.get(one).get('status')
    r = k.merge(one, {'status': None, 'metadata': {'labels': {'main': 'yes'}}})
    must(not status or contains(r.get('status', {}), {f: had[f] for f in status if f in had and f != 'conditions'}), 'the main endpoint changed the status', r.get('status'))
    k.fails(405, 'MethodNotAllowed', 'DELETE', st)
    k.fails(405, 'MethodNotAllowed', 'POST', st, before)
    k.delete(one, {'gracePeriodSeconds': 0})


@check('/status of every kind: get, update, patch; the spec stays')
def _(k):
    ns = fresh_namespace(k)
    bad = []
    for row in STATUSES:
        try:
            status_life(k, ns, *row)
        except Exception as e:
            bad.append(f'{row[0].split("/")[-1]}: {type(e).__name__ if not isinstance(e, Bad) else ""} {e}')
    must(not bad, '\n     '.join([''] + bad))
    seen = {r[0].replace('/namespaces/{ns}', '') for r in STATUSES} | {f'/api/v1/{r}' for r in ('namespaces', 'nodes')}
    seen |= {'/apis/batch/v1/jobs', '/apis/apiregistration.k8s.io/v1/apiservices', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', '/apis/autoscaling/v1/horizontalpodautoscalers'}
    missing = []
    for gv in ['/api/v1'] + ['/apis/' + v['groupVersion'] for g in k.get('/apis')['groups'] for v in g['versions'] if 'example.com' not in g['name']]:
        missing += [f"{gv}/{r['name']}" for r in k.get(gv)['resources'] if r['name'].endswith('/status') and f"{gv}/{r['name'][:-7]}" not in seen]
    must(not missing, 'no check of', missing)


@check('Collections: deletecollection with options, selectors, dry run, propagation; across namespaces is refused')
def _(k):
    ns = fresh_namespace(k)
    path = f'/api/v1/namespaces/{ns}/configmaps'
    for i in range(5):
        k.post(path, {'metadata': {'name': f'c{i}', 'labels': {'odd': str(i % 2)}}})
    k.delete(path, dryRun='All', labelSelector='odd=1')
    same(len(k.get(path, labelSelector='odd=1')['items']), 2, 'a dry run deletes nothing')
    gone = k.delete(path, labelSelector='odd=1')
    same(gone['kind'], 'ConfigMapList', 'the answer')
    same(sorted(o['metadata']['name'] for o in gone['items']), ['c1', 'c3'], 'what is gone')
    gone = k.delete(path, fieldSelector='metadata.name=c0')
    same([o['metadata']['name'] for o in gone['items']], ['c0'], 'by field')
    k.fails(405, 'MethodNotAllowed', 'DELETE', '/api/v1/configmaps')
    k.fails(400, 'BadRequest', 'DELETE', path, labelSelector='a in (')
    k.fails(422, 'Invalid', 'DELETE', path, {'kind': 'DeleteOptions', 'apiVersion': 'v1', 'propagationPolicy': 'Sideways'})
    e = k.fails(400, 'BadRequest', 'DELETE', path + '/c2', {'kind': 'Pod', 'apiVersion': 'v1'})


@check('ResourceQuota: status, lifecycle, counting of kinds, scopes')
def _(k):
    ns = fresh_namespace(k)
    base = f'/api/v1/namespaces/{ns}'
    q = base + '/resourcequotas'
    hard = {'configmaps': '4', 'secrets': '3', 'services': '3', 'services.nodeports': '1', 'services.loadbalancers': '1', 'pods': '5', 'cpu': '1', 'memory': '500Mi', 'ephemeral-storage': '50Gi',
            'replicationcontrollers': '2', 'persistentvolumeclaims': '2', 'requests.storage': '10Gi', 'gold.storageclass.storage.k8s.io/persistentvolumeclaims': '1',
            'count/replicasets.apps': '2', 'resourcequotas': '1', 'requests.example.com/dongle': '3'}
    k.post(q, {'metadata': {'name': 'q'}, 'spec': {'hard': hard}})
    used = lambda: k.get(q + '/q').get('status', {}).get('used', {})
    wait('status is calculated', lambda: used().get('resourcequotas') == '1' and k.get(q + '/q')['status']['hard'] == hard)
    start = used()
    k.post(base + '/services', {'metadata': {'name': 'cluster'}, 'spec': {'ports': [{'port': 80}]}})
    k.post(base + '/services', {'metadata': {'name': 'node'}, 'spec': {'type': 'NodePort', 'ports': [{'port': 80}]}})
    wait('services count', lambda: (lambda u: (u['services'], u['services.nodeports']) == ('2', '1'))(used()))
    e = k.fails(403, 'Forbidden', 'POST', base + '/services', {'metadata': {'name': 'lb'}, 'spec': {'type': 'LoadBalancer', 'ports': [{'port': 80}]}})
    must('exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1' in e['message'], e['message'])
    for s in ('cluster', 'node'):
        k.delete(f'{base}/services/{s}')
    wait('services are given back', lambda: used()['services'] == start['services'] and used()['services.nodeports'] == '0')
    for plural, body in (('configmaps', {}), ('secrets', {}), ('replicationcontrollers', {'spec': {'replicas': 0, 'selector': {'a': 'b'}, 'template': template({'a': 'b'})}})):
        k.post(f'{base}/{plural}', dict(body, metadata={'name': 'one'}))
        wait(plural + ' counts', lambda: int(used()[plural]) == int(start[plural]) + 1)
        k.delete(f'{base}/{plural}/one')
        wait(plural + ' is given back', lambda: used()[plural] == start[plural])
    rs = f'/apis/apps/v1/namespaces/{ns}/replicasets'
    k.post(rs, workload('ReplicaSet', 'r', 0))
    wait('replica sets count', lambda: used()['count/replicasets.apps'] == '1')
    k.delete(rs + '/r')
    k.post(base + '/persistentvolumeclaims', {'metadata': {'name': 'c'}, 'spec': {'accessModes': ['ReadWriteOnce'], 'storageClassName': 'gold', 'resources': {'requests': {'storage': '1Gi'}}}})
    wait('claims count', lambda: (lambda u: (u['persistentvolumeclaims'], u['requests.storage'], u['gold.storageclass.storage.k8s.io/persistentvolumeclaims']) == ('1', '1Gi', '1'))(used()))
    res = lambda cpu, memory, **more: {'containers': [{'name': 'c', 'image': 'i', 'resources': {'requests': dict({'cpu': cpu, 'memory': memory, 'ephemeral-storage': '30Gi'}, **more), 'limits': dict(more)}}]}
    k.post(base + '/pods', pod('fits', **res('500m', '252Mi', **{'example.com/dongle': '2'})))
    wait('pods count', lambda: (lambda u: (u['pods'], u['cpu'], u['memory'], u['requests.example.com/dongle']) == ('1', '500m', '252Mi', '2'))(used()))
    e = k.fails(403, 'Forbidden', 'POST', base + '/pods', pod('fat', **res('600m', '100Mi')))
    must(e['message'].startswith('pods "fat" is forbidden: exceeded quota: q, requested: cpu=600m,ephemeral-storage=30Gi, used: cpu=500m,ephemeral-storage=30Gi, limited: cpu=1,ephemeral-storage=50Gi'), e['message'])
    e = k.fails(403, 'Forbidden', 'POST', base + '/pods', pod('vague'))
    must('failed quota: q: must specify cpu for: c; memory for: c' in e['message'], e['message'])
    k.delete(base + '/pods/fits', {'gracePeriodSeconds': 0})
    wait('pods are given back', lambda: used()['pods'] == '0' and used()['cpu'] == '0')
    same(k.merge(q + '/q', {'spec': {'hard': {'pods': '9'}}})['spec']['hard']['pods'], '9', 'patch')
    wait('the new limit shows', lambda: k.get(q + '/q')['status']['hard']['pods'] == '9')
    k.fails(422, 'Invalid', 'POST', q, {'metadata': {'name': 'bad'}, 'spec': {'hard': {'pods': '-1'}}})
    k.delete(q, labelSelector='')
    for name, scopes in (('terminating', ['Terminating']), ('not-terminating', ['NotTerminating']), ('best-effort', ['BestEffort']), ('not-best-effort', ['NotBestEffort'])):
        k.post(q, {'metadata': {'name': name}, 'spec': {'hard': {'pods': '5'}, 'scopes': scopes}})
    k.post(q, {'metadata': {'name': 'high'}, 'spec': {'hard': {'pods': '1'}, 'scopeSelector': {'matchExpressions': [{'scopeName': 'PriorityClass', 'operator': 'In', 'values': ['e2e-high']}]}}})
    count = lambda: {o['metadata']['name']: o.get('status', {}).get('used', {}).get('pods') for o in k.get(q)['items']}
    wait('the scoped quotas are there', lambda: set(count().values()) == {'0'})
    k.post(base + '/pods', pod('long'))
    wait('a long best-effort pod', lambda: count() == {'terminating': '0', 'not-terminating': '1', 'best-effort': '1', 'not-best-effort': '0', 'high': '0'})
    k.post(base + '/pods', pod('short', activeDeadlineSeconds=3600, **res('1m', '1Mi')))
    wait('a short burstable pod', lambda: count() == {'terminating': '1', 'not-terminating': '1', 'best-effort': '1', 'not-best-effort': '1', 'high': '0'})
    k.post('/apis/scheduling.k8s.io/v1/priorityclasses', {'metadata': {'name': 'e2e-high'}, 'value': 10})
    k.post(base + '/pods', pod('urgent', priorityClassName='e2e-high'))
    wait('by priority class', lambda: count()['high'] == '1')
    k.fails(403, 'Forbidden', 'POST', base + '/pods', pod('urgent2', priorityClassName='e2e-high'))
    k.delete('/apis/scheduling.k8s.io/v1/priorityclasses/e2e-high')


@check('DisruptionController: budgets follow pods, block evictions until they allow them, list and delete collections')
def _(k):
    ns = fresh_namespace(k)
    pdbs, pods = f'/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets', f'/api/v1/namespaces/{ns}/pods'
    k.post(pdbs, {'metadata': {'name': 'b', 'labels': {'l': 'b'}}, 'spec': {'selector': {'matchLabels': {'app': 'w'}}, 'minAvailable': 3}})
    k.post(f'/apis/apps/v1/namespaces/{ns}/replicasets', workload('ReplicaSet', 'w', 3))
    wait('three are healthy', lambda: (lambda s: (s.get('currentHealthy'), s.get('disruptionsAllowed'), s.get('expectedPods')) == (3, 0, 3))(k.get(pdbs + '/b')['status']))
    name = k.get(pods)['items'][0]['metadata']['name']
    eviction = {'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': name, 'namespace': ns}}
    e = k.fails(429, 'TooManyRequests', 'POST', f'{pods}/{name}/eviction', eviction)
    same((e['message'], e['details']['causes'][0]['reason']), ("Cannot evict pod as it would violate the pod's disruption budget.", 'DisruptionBudget'), 'refusal')
    same(e['details']['causes'][0]['message'], 'The disruption budget b needs 3 healthy pods and has 3 currently', 'cause')
    k.merge(pdbs + '/b', {'spec': {'minAvailable': 2}})
    wait('one may go', lambda: k.get(pdbs + '/b')['status']['disruptionsAllowed'] == 1)
    cs = {c['type']: (c['status'], c['reason']) for c in k.get(pdbs + '/b')['status']['conditions']}
    same(cs.get('DisruptionAllowed'), ('True', 'SufficientPods'), 'condition')
    k.post(f'{pods}/{name}/eviction', eviction)
    wait('it goes', lambda: k.call('GET', f'{pods}/{name}')[0] == 404 or k.get(f'{pods}/{name}')['metadata'].get('deletionTimestamp'))
    k.merge(pdbs + '/b', {'spec': {'minAvailable': None, 'maxUnavailable': '34%'}})
    wait('by percentage', lambda: (lambda s: s['desiredHealthy'] == 1 and s['disruptionsAllowed'] == 2)(k.get(pdbs + '/b')['status']))
    k.fails(422, 'Invalid', 'PATCH', pdbs + '/b', {'spec': {'minAvailable': 1}}, content=MERGE)
    must(len(k.get('/apis/policy/v1/poddisruptionbudgets', labelSelector='l=b')['items']) >= 1, 'across namespaces')
    k.delete(pdbs, labelSelector='l=b')
    same(k.get(pdbs)['items'], [], 'deletecollection')


@check('CustomResourceDefinition: published OpenAPI follows renames, unserved versions and several kinds; discovery; watch')
def _(k):
    g = f'g{random.randrange(16**5):05x}.example.com'
    rev = '.'.join(reversed(g.split('.')))
    v = lambda n, **kw: dict({'name': n, 'served': True, 'storage': False, 'schema': {'openAPIV3Schema': {'type': 'object', 'properties': {'spec': {'type': 'object', 'description': 'spec of ' + n, 'properties': {'bars': {'type': 'array', 'description': 'List of Bars', 'items': {'type': 'object', 'required': ['name'], 'properties': {'name': {'type': 'string', 'description': 'Name of Bar.'}, 'age': {'type': 'string'}}}}}}}}}}, **kw)
    w = k.watch(CRDS, resourceVersion=k.get(CRDS)['metadata']['resourceVersion'])
    name = made_crd(k, crd('foos', 'Foo', group=g, versions=[v('v2', storage=True), v('v3')]))
    w.until('ADDED', lambda o: o['metadata']['name'] == name)
    w.until('MODIFIED', lambda o: o['metadata']['name'] == name)
    defs = lambda: k.get('/openapi/v2')['definitions']
    wait('both versions', lambda: {f'{rev}.v2.Foo', f'{rev}.v3.Foo'} <= set(defs()))
    d = defs()[f'{rev}.v2.Foo']
    same(d['x-kubernetes-group-version-kind'], [{'group': g, 'version': 'v2', 'kind': 'Foo'}], 'group, version, kind')
    same(d['properties']['spec']['properties']['bars']['items']['required'], ['name'], 'required')
    must('apiVersion' in d['properties'] and d['properties']['metadata'].get('$ref', '').endswith('ObjectMeta') or 'allOf' in str(d['properties']['metadata']), 'metadata', d['properties']['metadata'])
    must(f'{rev}.v2.FooList' in defs(), 'the list')
    k.jsonpatch(f'{CRDS}/{name}', [{'op': 'replace', 'path': '/spec/versions/1/name', 'value': 'v4'}])
    wait('v3 became v4', lambda: (lambda d: f'{rev}.v4.Foo' in d and f'{rev}.v3.Foo' not in d and f'{rev}.v2.Foo' in d)(defs()))
    k.jsonpatch(f'{CRDS}/{name}', [{'op': 'replace', 'path': '/spec/versions/1/served', 'value': False}])
    wait('v4 is not served', lambda: f'{rev}.v4.Foo' not in defs() and k.call('GET', f'/apis/{g}/v4/foos')[0] == 404)
    other = made_crd(k, crd('bazes', 'Baz', group=g, versions=[v('v2', storage=True)]))
    wait('two kinds of one version', lambda: f'{rev}.v2.Baz' in defs() and f'{rev}.v2.Foo' in defs())
    same(sorted(r['name'] for r in k.get(f'/apis/{g}/v2')['resources']), ['bazes', 'foos'], 'discovery')
    status, _, h = k.call('GET', '/openapi/v3')
    doc = k.get(k.get('/openapi/v3')['paths'][f'apis/{g}/v2']['serverRelativeURL'])
    must(f'/apis/{g}/v2/namespaces/{{namespace}}/foos/{{name}}' in doc['paths'], 'path', list(doc['paths'])[:3])
    clash = crd('foos2', 'Foo', group=g, versions=[v('v2', storage=True)])
    k.post(CRDS, clash)
    wait('a kind that is taken', lambda: {c['type']: (c['status'], c['reason']) for c in k.get(f"{CRDS}/{clash['metadata']['name']}").get('status', {}).get('conditions', [])}.get('NamesAccepted') == ('False', 'KindConflict'))
    for n in (name, other, clash['metadata']['name']):
        k.delete(f'{CRDS}/{n}')
    w.until('DELETED')
    w.close()
    wait('the group is gone', lambda: k.call('GET', f'/apis/{g}')[0] == 404)


@check('CustomResources: defaulting of stored objects, ratcheting, CEL rules, list types, int-or-string, nullable, quotas and owners')
def _(k):
    g = f'h{random.randrange(16**5):05x}.example.com'
    body = crd('things', 'Thing', group=g)
    schema = body['spec']['versions'][0]['schema']['openAPIV3Schema']
    schema['properties']['spec'] = {'type': 'object', 'properties': {
        'a': {'type': 'string'}, 'set': {'type': 'array', 'x-kubernetes-list-type': 'set', 'items': {'type': 'string'}},
        'map': {'type': 'array', 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['k'], 'items': {'type': 'object', 'required': ['k'], 'properties': {'k': {'type': 'string'}, 'v': {'type': 'integer'}}}},
        'nul': {'type': 'string', 'nullable': True}, 'size': {'x-kubernetes-int-or-string': True}, 'enum': {'type': 'string', 'enum': ['x', 'y']}, 'pat': {'type': 'string', 'pattern': '^a+$', 'maxLength': 3}},
        'x-kubernetes-validations': [{'rule': "!has(self.enum) || self.enum != 'y' || has(self.a)", 'message': 'y needs a'}]}
    name = made_crd(k, body)
    ns = fresh_namespace(k)
    path = f'/apis/{g}/v1/namespaces/{ns}/things'
    put = lambda spec, n='x': k.call('POST', path, {'apiVersion': g + '/v1', 'kind': 'Thing', 'metadata': {'name': n}, 'spec': spec})
    wait('served', lambda: k.call('GET', path)[0] == 200)
    for spec, want in [({'set': ['a', 'a']}, 'Duplicate value: "a"'), ({'map': [{'k': '1'}, {'k': '1'}]}, 'Duplicate value: {"k":"1"}'), ({'map': [{'v': 1}]}, 'spec.map[0].k: Required value'),
                       ({'enum': 'z'}, 'spec.enum: Unsupported value: "z": supported values: "x", "y"'), ({'pat': 'b'}, "spec.pat: Invalid value: \"b\": spec.pat in body should match '^a+$'"),
                       ({'pat': 'aaaa'}, 'spec.pat: Too long: may not be more than 3 bytes'), ({'enum': 'y'}, 'spec: Invalid value: "object": y needs a'), ({'size': 1.5}, 'spec.size'), ({'a': 1}, 'spec.a: Invalid value: "integer": spec.a in body must be of type string: "integer"'), ({'a': None}, None)]:
        s, d, _ = put(spec, 'x')
        if want is None:
            same(s, 201, 'null without nullable is dropped')
            must('a' not in d['spec'], 'dropped', d['spec'])
            k.delete(path + '/x')
        else:
            must(s == 422 and want in d['message'], 'wanted', want, 'got', s, str(d.get('message'))[:400])
    s, d, _ = put({'nul': None, 'size': '5', 'enum': 'x', 'map': [{'k': '1', 'v': 1}]})
    same((s, d['spec'].get('nul', 'absent')), (201, None), 'nullable')
    # The schema becomes stricter: what was stored may stay as it is.
    k.jsonpatch(f'{CRDS}/{name}', [{'op': 'replace', 'path': '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/enum/enum', 'value': ['y']},
                                   {'op': 'add', 'path': '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/d', 'value': {'type': 'integer', 'default': 5}}])
    wait('defaults reach stored objects', lambda: k.get(path + '/x')['spec'].get('d') == 5)
    k.merge(path + '/x', {'metadata': {'labels': {'still': 'here'}}})
    k.merge(path + '/x', {'spec': {'a': 'z'}})
    s, d, _ = k.call('PATCH', path + '/x', {'spec': {'enum': 'w'}}, content=MERGE)
    same(s, 422, 'a new bad value')
    o = k.apply(path + '/x', {'apiVersion': g + '/v1', 'kind': 'Thing', 'metadata': {'name': 'x'}, 'spec': {'map': [{'k': '2', 'v': 2}]}}, 'm2')
    same(sorted(m['k'] for m in o['spec']['map']), ['1', '2'], 'apply merges by key')
    same(len([1 for m in o['metadata']['managedFields'] if m['manager'] == 'm2' and m['operation'] == 'Apply']), 1, 'manager')
    k.delete(f'{CRDS}/{name}')


@check('EndpointSlice and Endpoints of services: API, one slice per service, kubernetes in default, addresses follow pods')
def _(k):
    ns = fresh_namespace(k)
    base, slices = f'/api/v1/namespaces/{ns}', f'/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices'
    ep = {'apiVersion': 'v1', 'kind': 'Endpoints', 'metadata': {'name': 'e', 'labels': {'l': 'static'}}, 'subsets': [{'addresses': [{'ip': '10.0.0.24'}], 'ports': [{'name': 'http', 'port': 80, 'protocol': 'TCP'}]}]}
    w = k.watch(base + '/endpoints', labelSelector='l=static', resourceVersion=k.get(base + '/endpoints')['metadata']['resourceVersion'])
    k.post(base + '/endpoints', ep)
    w.until('ADDED')
    o = k.get(base + '/endpoints/e')
    o['metadata']['labels']['l2'] = 'x'
    k.put(base + '/endpoints/e', o)
    w.until('MODIFIED')
    k.strategic(base + '/endpoints/e', {'metadata': {'labels': {'l3': 'y'}}, 'subsets': [{'addresses': [{'ip': '10.0.0.25'}], 'ports': [{'name': 'http-test', 'port': 8080}]}]})
    w.until('MODIFIED')
    k.delete(base + '/endpoints', labelSelector='l=static')
    w.until('DELETED')
    w.close()
    k.fails(422, 'Invalid', 'POST', base + '/endpoints', dict(ep, metadata={'name': 'bad'}, subsets=[{'addresses': [{'ip': 'nonsense'}], 'ports': [{'port': 80}]}]))
    e = k.fails(422, 'Invalid', 'POST', slices, {'metadata': {'name': 'bad'}, 'addressType': 'IPv4', 'endpoints': [{'addresses': ['x']}], 'ports': []})
    must('endpoints[0].addresses[0]' in e['message'], e['message'])
    k.fails(422, 'Invalid', 'POST', slices, {'metadata': {'name': 'bad'}, 'addressType': 'Sideways', 'endpoints': []})
    k.post(base + '/services', {'metadata': {'name': 's'}, 'spec': {'selector': {'app': 'p'}, 'ports': [{'name': 'a', 'port': 80, 'targetPort': 8080}]}})
    mine = lambda: k.get(slices, labelSelector='kubernetes.io/service-name=s')['items']
    wait('an empty slice', lambda: len(mine()) == 1)
    k.post(base + '/pods', pod('p', labels={'app': 'p'}))
    ready = lambda: [e for s in mine() for e in s.get('endpoints') or [] if e['conditions'].get('ready')]
    e = wait('the pod is an endpoint', ready)[0]
    same((e['targetRef']['name'], e['conditions']['serving'], e['conditions']['terminating']), ('p', True, False), 'endpoint')
    must(e['nodeName'].startswith('hollow-'), 'node', e)
    same(mine()[0]['metadata']['ownerReferences'][0]['kind'], 'Service', 'owner')
    k.delete(base + '/services/s')
    wait('the slice goes with its service', lambda: not mine())


@check('Server-side apply: create, lists, ownership over subresources, list of managers, dry run, missing manager, ignored system fields')
def _(k):
    ns = fresh_namespace(k)
    path = f'/apis/apps/v1/namespaces/{ns}/deployments/d'
    d = dict(workload('Deployment', 'd', 1))
    o = k.apply(path, d, 'a')
    f = o['metadata']['managedFields'][0]
    same((f['apiVersion'], f['fieldsType'], f['operation']), ('apps/v1', 'FieldsV1', 'Apply'), 'entry')
    must('f:containers' in json.dumps(f['fieldsV1']) and 'k:{\\"name\\":\\"c\\"}' in json.dumps(f['fieldsV1']), 'keys', f['fieldsV1'])
    k.merge(path + '/scale', {'spec': {'replicas': 2}}, fieldManager='scaler')
    mf = k.get(path)['metadata']['managedFields']
    must(any(m['manager'] == 'scaler' and m.get('subresource') == 'scale' for m in mf), 'scale is owned through its subresource', [(m['manager'], m.get('subresource')) for m in mf])
    e = k.fails(409, 'Conflict', 'PATCH', path, dict(d, spec=dict(d['spec'], replicas=3)), content='application/apply-patch+yaml', fieldManager='a')
    must(re.search('conflict with "scaler" with subresource "scale" using apps/v1 at 20.*Z: .spec.replicas', e['message']), e['message'])
    two = {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'd'}, 'spec': {'template': {'spec': {'containers': [{'name': 'side', 'image': 'x'}], 'tolerations': [{'key': 'k', 'operator': 'Exists'}]}}}}
    o = k.apply(path, two, 'b')
    same([c['name'] for c in o['spec']['template']['spec']['containers']], ['c', 'side'], 'both containers')
    o = k.apply(path, {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'd'}}, 'b')
    same([c['name'] for c in o['spec']['template']['spec']['containers']], ['c'], 'b lets go')
    must('tolerations' not in o['spec']['template']['spec'], 'an atomic list goes with its owner')
    s, r, _ = k.call('PATCH', path, dict(d, metadata={'name': 'd', 'managedFields': [{'manager': 'x', 'operation': 'Apply', 'apiVersion': 'apps/v1', 'fieldsType': 'FieldsV1', 'fieldsV1': {}}]}), content='application/apply-patch+yaml', fieldManager='a')
    must(s == 400 and 'metadata.managedFields must be nil' in r['message'], 'managedFields in a configuration', s, r)
    s, r, _ = k.call('PATCH', path, {'kind': 'Deployment', 'metadata': {'name': 'd'}}, content='application/apply-patch+yaml', fieldManager='a')
    must(s == 400, 'no apiVersion', s, r)
    s, r, _ = k.call('PATCH', path, dict(d, metadata={'name': 'other'}), content='application/apply-patch+yaml', fieldManager='a')
    must(s == 400 and 'does not match the name on the URL' in r['message'] or 'must match' in r['message'], 'name', s, r)
    # A client may clear the record.
    for _ in range(20):  # the Deployment controller may write its status in between, which begins a new record
        o = k.merge(path, {'metadata': {'managedFields': [{}]}})
        same(o['metadata'].get('managedFields'), None, 'cleared')
        o = k.apply(path, dict(d, spec=dict(d['spec'], replicas=1)), 'a', force='true')
        if not any(m['manager'] == 'deployment-controller' for m in o['metadata']['managedFields']):
            break
    must(any(m['manager'] == 'before-first-apply' for m in o['metadata']['managedFields']), 'what was there belongs to before-first-apply', [m['manager'] for m in o['metadata']['managedFields']])
    cm = f'/api/v1/namespaces/{ns}/configmaps/c'
    k.apply(cm, {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'c'}, 'data': {'a': '1'}}, 'm', dryRun='All')
    k.fails(404, 'NotFound', 'GET', cm)
    s, r, _ = k.call('PATCH', cm, {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': 'c', 'resourceVersion': '5'}, 'data': {'a': '1'}}, content='application/apply-patch+yaml', fieldManager='m')
    must(s in (404, 409), 'apply with a version creates nothing', s, r)
    s, r, _ = k.call('PATCH', cm, {'data': {'a': '1'}}, content=MERGE)
    same(s, 404, 'a merge patch creates nothing')


@check('dynamic resources: round trips and validation of DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice')
def _(k):
    ns = fresh_namespace(k)
    api = '/apis/resource.k8s.io/v1'
    claims = f'{api}/namespaces/{ns}/resourceclaims'
    ok = {'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'd', 'count': 2, 'allocationMode': 'ExactCount', 'selectors': [{'cel': {'expression': 'device.driver == "ex.io"'}}], 'tolerations': [{'key': 'k', 'operator': 'Exists', 'effect': 'NoSchedule'}]}}],
                      'constraints': [{'requests': ['r'], 'matchAttribute': 'ex.io/numa'}], 'config': [{'requests': ['r'], 'opaque': {'driver': 'ex.io', 'parameters': {'any': {'thing': [1]}}}}]}}
    o = k.post(claims, {'metadata': {'name': 'c'}, 'spec': ok})
    same(o['spec'], ok, 'round trip')
    o = k.post(claims, {'metadata': {'name': 'd'}, 'spec': {'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'd'}}]}}})
    same(o['spec']['devices']['requests'][0]['exactly'], {'deviceClassName': 'd', 'count': 1, 'allocationMode': 'ExactCount'}, 'defaults')
    e = k.fails(422, 'Invalid', 'PATCH', claims + '/c', {'spec': {'devices': {'requests': [{'name': 'q', 'exactly': {'deviceClassName': 'd'}}]}}}, content=MERGE)
    must('field is immutable' in e['message'], e['message'])
    for spec, want in [({'devices': {'requests': [{'name': 'R_', 'exactly': {'deviceClassName': 'd'}}]}}, 'spec.devices.requests[0].name: Invalid value'),
                       ({'devices': {'requests': [{'name': 'r'}]}}, 'spec.devices.requests[0]: Required value'),
                       ({'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'd'}}, {'name': 'r', 'exactly': {'deviceClassName': 'd'}}]}}, 'spec.devices.requests[1].name: Duplicate value: "r"'),
                       ({'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'd', 'allocationMode': 'Some'}}]}}, 'allocationMode: Unsupported value: "Some"'),
                       ({'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': ''}}]}}, 'deviceClassName: Required value'),
                       ({'devices': {'requests': [{'name': 'r', 'exactly': {'deviceClassName': 'd', 'selectors': [{'cel': {'expression': 'nonsense('}}]}}]}}, 'selectors[0].cel.expression: Invalid value')]:
        m = k.fails(422, 'Invalid', 'POST', claims, {'metadata': {'name': 'bad'}, 'spec': spec})['message']
        must(want in m, 'wanted', want, 'got', m)
    slices = api + '/resourceslices'
    name = f'slice-{random.randrange(16**5):05x}'
    spec = {'driver': 'ex.io', 'nodeName': 'n', 'pool': {'name': 'p', 'generation': 1, 'resourceSliceCount': 1}, 'devices': [{'name': 'd0', 'attributes': {'model': {'string': 'A'}, 'numa': {'int': 1}, 'on': {'bool': True}, 'v': {'version': '1.0.0'}}, 'capacity': {'memory': {'value': '80Gi'}}}]}
    o = k.post(slices, {'metadata': {'name': name}, 'spec': spec})
    same(o['spec'], spec, 'round trip of a slice')
    same(len(k.get(slices, fieldSelector='spec.driver=ex.io,spec.nodeName=n')['items']), 1, 'by driver and node')
    same(k.get(slices, accept='application/json;as=Table;v=v1;g=meta.k8s.io', fieldSelector='metadata.name=' + name)['rows'][0]['cells'][:4], [name, 'n', 'ex.io', 'p'], 'cells')
    for change, want in [({'nodeName': None}, 'spec: Required value'), ({'driver': 'Bad_'}, 'spec.driver: Invalid value'), ({'devices': [{'name': 'x'}, {'name': 'x'}]}, 'spec.devices[1].name: Duplicate value: "x"')]:
        bad = {f: v for f, v in dict(spec, **change).items() if v is not None}
        m = k.fails(422, 'Invalid', 'POST', slices, {'metadata': {'name': 'bad'}, 'spec': bad})['message']
        must(want in m, 'wanted', want, 'got', m)
    k.fails(422, 'Invalid', 'PATCH', f'{slices}/{name}', {'spec': {'driver': 'other.io'}}, content=MERGE)
    k.delete(f'{slices}/{name}')
    classes = api + '/deviceclasses'
    k.fails(422, 'Invalid', 'POST', classes, {'metadata': {'name': 'bad'}, 'spec': {'selectors': [{}]}})
    k.fails(422, 'Invalid', 'POST', classes, {'metadata': {'name': 'bad'}, 'spec': {'selectors': [{'cel': {'expression': ''}}]}})


@check('validation of API objects without containers: FlowSchema, PriorityLevel, Lease, EndpointSlice, CSI kinds, webhooks, ControllerRevision')
def _(k):
    ns = fresh_namespace(k)
    flow, coord, store, reg = '/apis/flowcontrol.apiserver.k8s.io/v1', f'/apis/coordination.k8s.io/v1/namespaces/{ns}/leases', '/apis/storage.k8s.io/v1', '/apis/admissionregistration.k8s.io/v1'
    rows = [
        (flow + '/flowschemas', {'spec': {'matchingPrecedence': 0, 'priorityLevelConfiguration': {'name': 'x'}}}, None),
        (flow + '/flowschemas', {'spec': {'matchingPrecedence': 20000, 'priorityLevelConfiguration': {'name': 'x'}}}, 'spec.matchingPrecedence: Invalid value: 20000: must be within [1, 10000]'),
        (flow + '/flowschemas', {'spec': {'priorityLevelConfiguration': {}}}, 'spec.priorityLevelConfiguration.name: Required value'),
        (flow + '/flowschemas', {'spec': {'priorityLevelConfiguration': {'name': 'x'}, 'rules': [{'subjects': [], 'resourceRules': []}]}}, 'spec.rules[0].subjects: Required value'),
        (flow + '/prioritylevelconfigurations', {'spec': {'type': 'Strange'}}, 'spec.type: Unsupported value: "Strange": supported values: "Exempt", "Limited"'),
        (flow + '/prioritylevelconfigurations', {'spec': {'type': 'Limited'}}, 'spec.limited: Required value'),
        (flow + '/prioritylevelconfigurations', {'spec': {'type': 'Limited', 'limited': {'nominalConcurrencyShares': -1, 'limitResponse': {'type': 'Reject'}}}}, 'nominalConcurrencyShares: Invalid value: -1'),
        (flow + '/prioritylevelconfigurations', {'spec': {'type': 'Limited', 'limited': {'lendablePercent': 101, 'limitResponse': {'type': 'Reject'}}}}, 'lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive'),
        (coord, {'spec': {'leaseDurationSeconds': 0}}, 'spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0'),
        (coord, {'spec': {'leaseTransitions': -1}}, 'spec.leaseTransitions: Invalid value: -1'),
        (store + '/csinodes', {'spec': {'drivers': [{'name': 'ex.io', 'nodeID': ''}]}}, 'spec.drivers[0].nodeID: Required value'),
        (store + '/csidrivers', {'spec': {'volumeLifecycleModes': ['Sometimes']}}, 'spec.volumeLifecycleModes[0]: Unsupported value: "Sometimes"'),
        (f'{store}/namespaces/{ns}/csistoragecapacities', {'storageClassName': ''}, 'storageClassName'),
        (store + '/volumeattributesclasses', {'driverName': ''}, 'driverName: Required value'),
        (store + '/volumeattributesclasses', {'driverName': 'ex.io', 'parameters': {}}, 'parameters: Required value'),
        (store + '/storageclasses', {'provisioner': ''}, 'provisioner: Required value'),
        (store + '/storageclasses', {'provisioner': 'x', 'reclaimPolicy': 'Recycle'}, 'reclaimPolicy: Unsupported value'),
        (f'/apis/apps/v1/namespaces/{ns}/controllerrevisions', {'revision': -1, 'data': {'a': 1}}, 'revision: Invalid value: -1'),
        (f'/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers', {'spec': {'maxReplicas': 0, 'scaleTargetRef': {'kind': 'D', 'name': 'x'}}}, 'spec.maxReplicas: Required value: must be set and greater than 0'),
        (f'/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers', {'spec': {'minReplicas': 5, 'maxReplicas': 2, 'scaleTargetRef': {'kind': 'D', 'name': 'x'}}}, 'spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`'),
        (f'/api/v1/namespaces/{ns}/limitranges', {'spec': {'limits': [{'type': 'Container', 'max': {'cpu': '1'}, 'min': {'cpu': '2'}}]}}, 'min value 2 is greater than max value 1'),
        (f'/api/v1/namespaces/{ns}/resourcequotas', {'spec': {'hard': {'pods': 'x'}}}, None),
        (f'/api/v1/namespaces/{ns}/podtemplates', {'template': {'spec': {'containers': []}}}, 'template.spec.containers: Required value'),
        ('/apis/rbac.authorization.k8s.io/v1/clusterroles', {'rules': [{'verbs': [], 'apiGroups': [''], 'resources': ['pods']}]}, 'rules[0].verbs: Required value: verbs must contain at least one value'),
        ('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {'roleRef': {'apiGroup': 'rbac.authorization.k8s.io', 'kind': 'Thing', 'name': 'x'}}, 'roleRef.kind: Unsupported value: "Thing"'),
        ('/apis/certificates.k8s.io/v1/certificatesigningrequests', {'spec': {'request': 'eHg=', 'signerName': 'ex.io/x', 'usages': ['client auth']}}, 'spec.request: Invalid value'),
        ('/apis/certificates.k8s.io/v1/certificatesigningrequests', {'spec': {'signerName': 'nodomain', 'usages': []}}, 'spec.signerName: Invalid value'),
        (f'/apis/policy/v1/namespaces/{ns}/poddisruptionbudgets', {'spec': {'minAvailable': '1x'}}, 'spec.minAvailable: Invalid value'),
        ('/apis/apiregistration.k8s.io/v1/apiservices', {'spec': {'group': 'g.io', 'version': 'v1', 'groupPriorityMinimum': 0, 'versionPriority': 1}}, 'spec.groupPriorityMinimum: Invalid value'),
    ]
    bad = []
    for path, body, want in rows:
        s, d, _ = k.call('POST', path, dict({'metadata': {'name': 'bad-' + f'{random.randrange(16**6):06x}'}}, **body))
        got = d.get('message', '') if isinstance(d, dict) else str(d)
        if want is None:
            if path.endswith('flowschemas') and s != 201 or path.endswith('resourcequotas') and s not in (400, 422):
                bad.append(f'{path.split("/")[-1]} {json.dumps(body)}: {s} {got}')
        elif s != 422 or want not in got:
            bad.append(f'{path.split("/")[-1]}: wanted {want}, got {s} {got[:300]}')
    must(not bad, '\n     '.join([''] + bad))


@check('restart of a watch: DELETED is not lost, bookmarks move on, an old version is Expired; WatchList')
def _(k):
    ns = fresh_namespace(k)
    path = f'/api/v1/namespaces/{ns}/configmaps'
    first = k.post(path, {'metadata': {'name': 'a'}})['metadata']['resourceVersion']
    k.merge(path + '/a', {'data': {'x': '1'}})
    k.delete(path + '/a')
    w = k.watch(path, resourceVersion=first, timeoutSeconds=2)
    same([w.next()[0], w.next()[0]], ['MODIFIED', 'DELETED'], 'from the first version')
    w = k.watch(path, resourceVersion='1', timeoutSeconds=2)
    e = w.next()
    if e and e[0] == 'ERROR':
        same((e[1]['code'], e[1]['reason']), (410, 'Expired'), 'too old')
    w = k.watch(f'/api/v1/namespaces/{ns}/secrets', timeoutSeconds=1, allowWatchBookmarks='true')
    got = []
    while (x := w.next()):
        got.append(x)
    marks = [o for t, o in got if t == 'BOOKMARK']
    must(marks and int(marks[-1]['metadata']['resourceVersion']) >= int(first), 'a bookmark at the end of the time', [t for t, _ in got])
    many = k.watch(f'/api/v1/namespaces/{ns}/configmaps', timeoutSeconds=2, sendInitialEvents='true', resourceVersionMatch='NotOlderThan', allowWatchBookmarks='true', resourceVersion='0')
    kinds = [e[0] for e in iter(many.next, None)]
    must('BOOKMARK' in kinds, kinds)
    s, d, _ = k.call('GET', path, sendInitialEvents='true')
    must(s == 422 and 'sendInitialEvents is forbidden for list' in d['message'], 'sendInitialEvents without watch', s, d)


if __name__ == '__main__':
    sys.exit(main())
