// What a program written against @kubernetes/client-node does: client_node_test.sh runs it.
// Each step is printed; the first that fails ends the run.
import assert from 'node:assert/strict'
import * as k8s from '@kubernetes/client-node'

const kc = new k8s.KubeConfig()
kc.loadFromDefault()
const core = kc.makeApiClient(k8s.CoreV1Api)
const apps = kc.makeApiClient(k8s.AppsV1Api)
const custom = kc.makeApiClient(k8s.CustomObjectsApi)
const extensions = kc.makeApiClient(k8s.ApiextensionsV1Api)
const namespace = 'client-node'
const as = (type) => k8s.setHeaderOptions('Content-Type', type)
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

async function until(what, test, seconds = 20) {
  for (const end = Date.now() + seconds * 1000; ;) {
    const got = await test()
    if (got) return got
    assert.ok(Date.now() < end, `did not happen in time: ${what}`)
    await sleep(50)
  }
}
async function refused(code, reason, call) {
  const e = await call().then(() => null, (e) => e)
  assert.ok(e, `was not refused with ${code}`)
  assert.equal(e.code, code)
  assert.equal(JSON.parse(e.body).reason, reason)
}
const steps = []
const step = (title, run) => steps.push([title, run])
const deployment = (replicas) => ({
  apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web', namespace, labels: { app: 'web' } },
  spec: { replicas, selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels: { app: 'web' } }, spec: { terminationGracePeriodSeconds: 0, containers: [{ name: 'web', image: 'nginx:1', ports: [{ containerPort: 80 }] }] } } },
})

step('version, groups, resources, nodes', async () => {
  const version = await kc.makeApiClient(k8s.VersionApi).getCode()
  assert.match(version.gitVersion, /^v1\.36\./)
  const groups = await kc.makeApiClient(k8s.ApisApi).getAPIVersions()
  assert.ok(groups.groups.some((g) => g.name === 'apps' && g.preferredVersion.version === 'v1'))
  const list = await until('two nodes', async () => { const l = await core.listNode(); return l.items.length === 2 && l })
  assert.ok(list.metadata.resourceVersion)
  assert.ok(list.items[0].metadata.creationTimestamp instanceof Date)
})

step('namespace, create, read, conflict, replace, status', async () => {
  await core.createNamespace({ body: { metadata: { name: namespace } } })
  await until('its default service account', () => core.readNamespacedServiceAccount({ name: 'default', namespace }).then(() => true, () => false))
  const made = await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c' }, data: { a: '1' }, binaryData: { b: 'AAEC' } } })
  assert.equal((await core.readNamespacedConfigMap({ name: 'c', namespace })).metadata.uid, made.metadata.uid)
  await refused(409, 'AlreadyExists', () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c' } } }))
  made.data.a = '2'
  const put = await core.replaceNamespacedConfigMap({ name: 'c', namespace, body: made })
  assert.notEqual(put.metadata.resourceVersion, made.metadata.resourceVersion)
  await refused(409, 'Conflict', () => core.replaceNamespacedConfigMap({ name: 'c', namespace, body: made }))
  await refused(404, 'NotFound', () => core.readNamespacedConfigMap({ name: 'none', namespace }))
  await refused(422, 'Invalid', () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'NOT A NAME' } } }))
})

step('the four kinds of patch', async () => {
  const one = { name: 'c', namespace }
  assert.equal((await core.patchNamespacedConfigMap({ ...one, body: { data: { m: 'merge' } } }, as(k8s.PatchStrategy.MergePatch))).data.m, 'merge')
  assert.equal((await core.patchNamespacedConfigMap({ ...one, body: [{ op: 'replace', path: '/data/m', value: 'json' }] }, as(k8s.PatchStrategy.JsonPatch))).data.m, 'json')
  assert.equal((await core.patchNamespacedConfigMap({ ...one, body: { data: { m: null } } }, as(k8s.PatchStrategy.StrategicMergePatch))).data.m, undefined)
  const applied = await core.patchNamespacedConfigMap({ ...one, fieldManager: 'node', force: true, body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' }, data: { s: 'applied' } } }, as(k8s.PatchStrategy.ServerSideApply))
  assert.equal(applied.data.s, 'applied')
  assert.ok(applied.metadata.managedFields.some((f) => f.manager === 'node' && f.operation === 'Apply'))
})

step('watch: added, modified, deleted in order, and a watch from a version', async () => {
  const path = `/api/v1/namespaces/${namespace}/secrets`
  const seen = []
  const start = (await core.listNamespacedSecret({ namespace })).metadata.resourceVersion
  const watch = await new k8s.Watch(kc).watch(path, { resourceVersion: start, allowWatchBookmarks: true }, (type, o) => seen.push([type, o.metadata.name]), () => {})
  await core.createNamespacedSecret({ namespace, body: { metadata: { name: 's' }, stringData: { k: 'v' } } })
  await core.patchNamespacedSecret({ name: 's', namespace, body: { metadata: { labels: { l: 'x' } } } }, as(k8s.PatchStrategy.MergePatch))
  await core.deleteNamespacedSecret({ name: 's', namespace })
  await until('three events', () => seen.filter((e) => e[0] !== 'BOOKMARK').length === 3)
  assert.deepEqual(seen.filter((e) => e[0] !== 'BOOKMARK').map((e) => e[0]), ['ADDED', 'MODIFIED', 'DELETED'])
  watch.abort()
  const old = []
  const again = await new k8s.Watch(kc).watch(path, { resourceVersion: start, timeoutSeconds: 1 }, (type) => old.push(type), () => {})
  await until('the same again', () => old.length >= 3)
  again.abort()
})

step('informer: its cache follows a deployment to running pods', async () => {
  const seen = { add: 0, update: 0, delete: 0 }
  const informer = k8s.makeInformer(kc, `/api/v1/namespaces/${namespace}/pods`, () => core.listNamespacedPod({ namespace, labelSelector: 'app=web' }), 'app=web')
  for (const event of Object.keys(seen)) informer.on(event, () => ++seen[event])
  informer.on('error', (e) => { if (e.type !== 'aborted') throw e })
  await informer.start()
  await apps.createNamespacedDeployment({ namespace, body: deployment(3) })
  await until('three pods are ready', () => informer.list().filter((p) => p.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')).length === 3)
  const scale = await apps.readNamespacedDeploymentScale({ name: 'web', namespace })
  assert.deepEqual([scale.spec.replicas, scale.status.selector], [3, 'app=web'])
  scale.spec.replicas = 1
  delete scale.metadata.resourceVersion // whatever the controller writes meanwhile
  await apps.replaceNamespacedDeploymentScale({ name: 'web', namespace, body: scale })
  await until('two are gone', () => informer.list().length === 1 && seen.delete >= 2)
  assert.ok(seen.add >= 3 && seen.update >= 3)
  await informer.stop()
})

step('chunked lists', async () => {
  for (let i = 0; i < 7; ++i) await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: `page-${i}`, labels: { page: 'yes' } } } })
  const names = []
  let next
  do {
    const page = await core.listNamespacedConfigMap({ namespace, limit: 3, _continue: next })
    names.push(...page.items.map((o) => o.metadata.name))
    next = page.metadata._continue
  } while (next)
  assert.equal(names.filter((n) => n.startsWith('page-')).length, 7)
  await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: 'page=yes' })
  assert.equal((await core.listNamespacedConfigMap({ namespace, labelSelector: 'page=yes' })).items.length, 0)
})

step('generic objects', async () => {
  const objects = k8s.KubernetesObjectApi.makeApiClient(kc)
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'generic', namespace }, data: { a: 'b' } }
  await objects.create(body)
  assert.equal((await objects.read(body)).data.a, 'b')
  await objects.patch({ ...body, data: { a: 'c' } })
  await objects.delete(body)
})

step('token of a service account: what it may and may not', async () => {
  await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'robot' } } })
  const token = (await core.createNamespacedServiceAccountToken({ name: 'robot', namespace, body: { spec: { audiences: [], expirationSeconds: 600 } } })).status.token
  const mine = new k8s.KubeConfig()
  mine.loadFromOptions({ clusters: kc.clusters, users: [{ name: 'robot', token }], contexts: [{ name: 'c', cluster: kc.clusters[0].name, user: 'robot' }], currentContext: 'c' })
  const robot = mine.makeApiClient(k8s.CoreV1Api)
  await refused(403, 'Forbidden', () => robot.listNamespacedPod({ namespace }))
  await kc.makeApiClient(k8s.RbacAuthorizationV1Api).createNamespacedRoleBinding({ namespace, body: { metadata: { name: 'v' }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' }, subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace }] } })
  assert.ok((await robot.listNamespacedPod({ namespace })).items.length > 0)
  const me = await mine.makeApiClient(k8s.AuthenticationV1Api).createSelfSubjectReview({ body: {} })
  assert.equal(me.status.userInfo.username, `system:serviceaccount:${namespace}:robot`)
  const may = await kc.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({ body: { spec: { resourceAttributes: { verb: 'delete', resource: 'nodes' } } } })
  assert.equal(may.status.allowed, true)
})

// The shape of cert-manager's Certificate: columns, conditions, nested lists, bounds, selectable fields, a rule.
const certificates = {
  metadata: { name: 'certificates.example.io' },
  spec: {
    group: 'example.io', scope: 'Namespaced', names: { plural: 'certificates', singular: 'certificate', kind: 'Certificate', listKind: 'CertificateList', shortNames: ['cert', 'certs'], categories: ['example'] },
    versions: [{
      name: 'v1', served: true, storage: true, subresources: { status: {} },
      selectableFields: [{ jsonPath: '.spec.issuerRef.name' }],
      additionalPrinterColumns: [
        { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' }, { name: 'Secret', type: 'string', jsonPath: '.spec.secretName' },
        { name: 'Issuer', type: 'string', jsonPath: '.spec.issuerRef.name', priority: 1 }, { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }],
      schema: { openAPIV3Schema: { type: 'object', required: ['spec'], properties: {
        spec: { type: 'object', required: ['issuerRef', 'secretName'], properties: {
          secretName: { type: 'string' }, commonName: { type: 'string', maxLength: 64 }, dnsNames: { type: 'array', items: { type: 'string' } }, duration: { type: 'string' }, revisionHistoryLimit: { type: 'integer', format: 'int32', minimum: 1 },
          issuerRef: { type: 'object', required: ['name'], properties: { name: { type: 'string' }, kind: { type: 'string', default: 'Issuer' }, group: { type: 'string' } } },
          privateKey: { type: 'object', properties: { algorithm: { type: 'string', enum: ['RSA', 'ECDSA', 'Ed25519'] }, size: { type: 'integer' } }, 'x-kubernetes-validations': [{ rule: "!has(self.size) || !has(self.algorithm) || self.algorithm != 'Ed25519'", message: 'Ed25519 keys have no size' }] },
          usages: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' } } },
        status: { type: 'object', properties: { notAfter: { type: 'string', format: 'date-time' }, revision: { type: 'integer' },
          conditions: { type: 'array', 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'], items: { type: 'object', required: ['type', 'status'], properties: { type: { type: 'string' }, status: { type: 'string', enum: ['True', 'False', 'Unknown'] }, reason: { type: 'string' }, message: { type: 'string' }, lastTransitionTime: { type: 'string', format: 'date-time' } } } } } } } } },
    }],
  },
}
step('a CustomResourceDefinition: installed, used, validated, watched, removed', async () => {
  // As it is written: the typed call has other names for default, enum and x-kubernetes-*.
  await custom.createClusterCustomObject({ group: 'apiextensions.k8s.io', version: 'v1', plural: 'customresourcedefinitions', body: { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', ...certificates } })
  await until('Established', async () => (await extensions.readCustomResourceDefinition({ name: 'certificates.example.io' })).status?.conditions?.some((c) => c.type === 'Established' && c.status === 'True'))
  const where = { group: 'example.io', version: 'v1', namespace, plural: 'certificates' }
  const body = { apiVersion: 'example.io/v1', kind: 'Certificate', metadata: { name: 'site' }, spec: { secretName: 'site-tls', dnsNames: ['a.example'], issuerRef: { name: 'le' }, usages: ['server auth'] } }
  const seen = []
  const watch = await new k8s.Watch(kc).watch(`/apis/example.io/v1/namespaces/${namespace}/certificates`, {}, (type) => seen.push(type), () => {})
  assert.equal((await custom.createNamespacedCustomObject({ ...where, body })).spec.issuerRef.kind, 'Issuer')
  for (const bad of [{ privateKey: { algorithm: 'DSA' } }, { revisionHistoryLimit: 0 }, { usages: ['x', 'x'] }, { privateKey: { algorithm: 'Ed25519', size: 256 } }, { secretName: 5 }])
    await refused(422, 'Invalid', () => custom.createNamespacedCustomObject({ ...where, body: { ...body, metadata: { name: 'bad' }, spec: { ...body.spec, ...bad } } }))
  const one = { ...where, name: 'site' }
  await custom.patchNamespacedCustomObjectStatus({ ...one, body: { status: { revision: 1, conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' }] } } }, as(k8s.PatchStrategy.MergePatch))
  assert.equal((await custom.getNamespacedCustomObject(one)).status.conditions[0].status, 'True')
  assert.equal((await custom.listNamespacedCustomObject({ ...where, fieldSelector: 'spec.issuerRef.name=le' })).items.length, 1)
  await custom.deleteNamespacedCustomObject(one)
  await until('its events', () => ['ADDED', 'MODIFIED', 'DELETED'].every((t) => seen.includes(t)))
  watch.abort()
  await extensions.deleteCustomResourceDefinition({ name: 'certificates.example.io' })
  await until('it is gone', () => extensions.readCustomResourceDefinition({ name: 'certificates.example.io' }).then(() => false, (e) => e.code === 404))
})

step('logs, exec and metrics of nodes without containers are refused as errors, not as hangs', async () => {
  const pod = (await core.listNamespacedPod({ namespace })).items[0].metadata.name
  const e = await core.readNamespacedPodLog({ name: pod, namespace }).then(() => null, (e) => e)
  assert.ok(e && e.code >= 400 && e.code < 600)
  const failed = await new k8s.Exec(kc).exec(namespace, pod, 'web', ['true'], null, null, null, false).then(() => null, (e) => e)
  assert.ok(failed, 'exec without containers')
})

step('events, quota, eviction, and the end of the namespace', async () => {
  const events = await kc.makeApiClient(k8s.EventsV1Api).listNamespacedEvent({ namespace })
  assert.ok(events.items.some((e) => e.reason === 'Scheduled'))
  const pod = (await core.listNamespacedPod({ namespace })).items[0].metadata.name
  await core.createNamespacedPodEviction({ name: pod, namespace, body: { metadata: { name: pod, namespace } } })
  await core.deleteNamespace({ name: namespace })
  await until('the namespace is gone', () => core.readNamespace({ name: namespace }).then(() => false, (e) => e.code === 404), 30)
})

for (const [title, run] of steps) {
  const begin = Date.now()
  try {
    await run()
  } catch (e) {
    console.log(`FAIL ${title}: ${e.stack ?? e}`)
    process.exit(1)
  }
  console.log(`ok   ${title} (${((Date.now() - begin) / 1000).toFixed(1)} s)`)
}
console.log('all passed')
process.exit(0)
