// kubectl as a user runs it. Both the one of Debian 12 (1.20) and current ones must pass: what only the newer knows
// is left out, or asked for in both ways.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { configMaps, nodes, pods } from '#/kube/index.ts';
import { eventually, pod, sharedServer } from './test-server.ts';

const shared = sharedServer();
const { fresh } = shared;

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function kubectl(args: readonly string[], input?: string): Promise<Result> & { stop(): void } {
  const child = spawn('kubectl', ['--kubeconfig', shared.server.kubeconfig, ...args], {
    env: { PATH: process.env['PATH'], HOME: shared.dir },
    stdio: 'pipe',
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  child.stdin.end(input);
  const done = new Promise<Result>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? -1, out, err }));
  });
  return Object.assign(done, { stop: () => void child.kill('SIGINT') });
}

async function ok(args: readonly string[], input?: string): Promise<string> {
  const { code, out, err } = await kubectl(args, input);
  assert.equal(code, 0, `kubectl ${args.join(' ')}: ${err}`);
  return out;
}

const manifest = (replicas: number): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "nginx:1", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {mtls: {mode: STRICT}}
`;

test('apply, change, apply again, prune a field', async () => {
  const ns = await fresh();
  assert.match(
    await ok(['-n', ns, 'apply', '-f', '-'], manifest(2)),
    /deployment.apps\/web created\nservice\/web created\npeerauthentication.security.istio.io\/strict created/,
  );
  assert.match(
    await ok(['-n', ns, 'apply', '-f', '-'], manifest(2)),
    /deployment.apps\/web unchanged\nservice\/web unchanged/,
  );
  assert.match(await ok(['-n', ns, 'apply', '-f', '-'], manifest(3)), /deployment.apps\/web configured/);
  assert.equal(await ok(['-n', ns, 'get', 'deploy', 'web', '-o', 'jsonpath={.spec.replicas}']), '3');
  await ok(['-n', ns, 'apply', '-f', '-'], manifest(3).replace('  replicas: 3\n', ''));
  assert.equal(await ok(['-n', ns, 'get', 'deploy', 'web', '-o', 'jsonpath={.spec.replicas}']), '1');
});

test('apply on the server, with a conflict', async () => {
  const ns = await fresh();
  const apply = (replicas: number, ...more: string[]) =>
    kubectl(['-n', ns, 'apply', '--server-side', ...more, '-f', '-'], manifest(replicas));
  assert.match((await apply(2)).out, /deployment.apps\/web serverside-applied/);
  await ok(['-n', ns, 'scale', 'deploy', 'web', '--replicas=5']);
  const conflict = await apply(2);
  assert.notEqual(conflict.code, 0);
  assert.match(conflict.err, /Apply failed with 1 conflict: conflict with "kubectl.*".*: .spec.replicas/);
  assert.equal((await apply(2, '--force-conflicts')).code, 0);
});

test('errors name the object, the kind and the field', async () => {
  const ns = await fresh();
  const typo = await kubectl(
    ['-n', ns, 'apply', '-f', '-'],
    manifest(2).replace('replicas:', 'replicaz:').replace('mtls:', 'mtlz:'),
  );
  assert.notEqual(typo.code, 0);
  // 1.20 checks by the document it downloads, newer ones let the server check.
  assert.match(typo.err, /unknown field "(spec.)?replicaz"/);
  const kind = await kubectl(
    ['-n', ns, 'apply', '-f', '-'],
    'apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy\nmetadata: {name: x}\n',
  );
  assert.match(kind.err, /no matches for kind "AuthorisationPolicy" in version "security.istio.io\/v1"/);
  const missing = await kubectl(['-n', ns, 'get', 'pod', 'nobody']);
  assert.match(missing.err, /Error from server \(NotFound\): pods "nobody" not found/);
});

test('get in all its forms', async () => {
  const ns = await fresh();
  await ok(['-n', ns, 'apply', '-f', '-'], manifest(2));
  assert.match(
    await ok(['-n', ns, 'get', 'deploy,svc,pa']),
    /NAME +READY +UP-TO-DATE +AVAILABLE +AGE\ndeployment.apps\/web +0\/2/,
  );
  assert.match(await ok(['-n', ns, 'get', 'all']), /service\/web +ClusterIP +10\.96\./);
  assert.match(
    await ok(['-n', ns, 'get', 'deploy', '-o', 'wide']),
    /CONTAINERS +IMAGES +SELECTOR\nweb .* web +nginx:1 +app=web/,
  );
  assert.match(await ok(['-n', ns, 'get', 'pa', 'strict', '-o', 'yaml']), /mode: STRICT/);
  assert.match(await ok(['-n', ns, 'get', 'pa']), /NAME +MODE +AGE\nstrict +STRICT/);
  assert.equal(
    (
      await ok(['-n', ns, 'get', 'svc', '-o', 'custom-columns=N:.metadata.name,P:.spec.ports[0].port'])
    ).trim(),
    'N     P\nweb   80',
  );
  assert.equal(await ok(['-n', ns, 'get', 'svc', '-l', 'app=none', '-o', 'name']), '');
  assert.match(await ok(['-n', ns, 'get', 'deploy', '--sort-by=.metadata.name']), /web/);
  assert.match(await ok(['get', 'ns', '-o', 'json']), /"kind": "List"/);
});

test('create, label, annotate, patch, edit by replace, delete', async () => {
  const ns = await fresh();
  await ok(['-n', ns, 'create', 'configmap', 'a', '--from-literal=x=1']);
  await ok(['-n', ns, 'create', 'secret', 'generic', 's', '--from-literal=x=1']);
  await ok(['-n', ns, 'create', 'serviceaccount', 'sa']);
  await ok(['-n', ns, 'run', 'p', '--image=busybox']);
  await ok(['-n', ns, 'label', 'configmap', 'a', 'k=v']);
  assert.notEqual((await kubectl(['-n', ns, 'label', 'configmap', 'a', 'k=w'])).code, 0);
  await ok(['-n', ns, 'label', 'configmap', 'a', 'k=w', '--overwrite']);
  await ok(['-n', ns, 'annotate', 'configmap', 'a', 'n=1']);
  await ok(['-n', ns, 'patch', 'configmap', 'a', '-p', '{"data":{"name":"2"}}']);
  await ok(['-n', ns, 'patch', 'configmap', 'a', '--type=json', '-p', '[{"op":"remove","path":"/data/x"}]']);
  assert.equal(
    await ok(['-n', ns, 'get', 'cm', 'a', '-o', 'jsonpath={.data}{.metadata.labels}{.metadata.annotations}']),
    '{"name":"2"}{"k":"w"}{"n":"1"}',
  );
  await ok(['-n', ns, 'label', 'configmap', 'a', 'k-']);
  const text = await ok(['-n', ns, 'get', 'cm', 'a', '-o', 'yaml']);
  await ok(['-n', ns, 'replace', '-f', '-'], text.replace('name: "2"', 'name: "3"'));
  assert.equal((await shared.client.get(configMaps, ns, 'a')).data?.['name'], '3');
  assert.match(await ok(['-n', ns, 'delete', 'cm', 'a']), /configmap "a" deleted/);
  assert.match(await ok(['-n', ns, 'delete', 'pods', '--all']), /pod "p" deleted/);
  assert.match(await ok(['delete', 'ns', ns, '--wait=true', '--timeout=20s']), /namespace "test-.*" deleted/);
});

test('edit opens an editor and sends what it leaves', async () => {
  const ns = await fresh();
  await ok(['-n', ns, 'create', 'configmap', 'a', '--from-literal=x=before']);
  const editor = join(shared.dir, 'editor.sh');
  writeFileSync(editor, '#!/bin/sh\nsed -i s/before/after/ "$1"\n', { mode: 0o755 });
  const child = spawn('kubectl', ['--kubeconfig', shared.server.kubeconfig, '-n', ns, 'edit', 'cm', 'a'], {
    env: { PATH: process.env['PATH'], HOME: shared.dir, KUBE_EDITOR: editor },
    stdio: 'ignore',
  });
  assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0);
  assert.equal((await shared.client.get(configMaps, ns, 'a')).data?.['x'], 'after');
});

test('diff shows what would change, and nothing when nothing would', async () => {
  const ns = await fresh();
  await ok(['-n', ns, 'apply', '-f', '-'], manifest(2));
  const same = await kubectl(['-n', ns, 'diff', '-f', '-'], manifest(2));
  assert.deepEqual([same.code, same.out], [0, '']);
  const other = await kubectl(['-n', ns, 'diff', '-f', '-'], manifest(4));
  assert.equal(other.code, 1);
  assert.match(other.out, /-  replicas: 2\n\+  replicas: 4/);
});

test('get -w sees changes as they come', async () => {
  const ns = await fresh();
  const watching = kubectl(['-n', ns, 'get', 'pods', '-w', '--output-watch-events']);
  await new Promise((resolve) => setTimeout(resolve, 700));
  await shared.client.create(pods, ns, pod('p', 'n1'));
  await shared.client.patch(pods, ns, 'p', { status: { phase: 'Running' } }, 'merge', {
    subresource: 'status',
  });
  await shared.client.delete(pods, ns, 'p', { gracePeriodSeconds: 0 });
  await new Promise((resolve) => setTimeout(resolve, 500));
  watching.stop();
  const { out } = await watching;
  assert.match(out, /ADDED +p +0\/1 +Pending[^]*MODIFIED +p +0\/1 +Running[^]*DELETED +p +0\/1 +Running/);
});

test('wait and rollout status return when it is so', async () => {
  const ns = await fresh();
  const { client } = shared;
  await client.create(pods, ns, pod('p', 'n1'));
  const waiting = ok(['-n', ns, 'wait', '--for=condition=Ready', 'pod/p', '--timeout=20s']);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await client.patch(
    pods,
    ns,
    'p',
    { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
    'strategic',
    { subresource: 'status' },
  );
  assert.match(await waiting, /pod\/p condition met/);
  await ok(['-n', ns, 'apply', '-f', '-'], manifest(1));
  const rollout = ok(['-n', ns, 'rollout', 'status', 'deploy/web', '--timeout=20s']);
  const path = `/apis/apps/v1/namespaces/${ns}/deployments/web/status`;
  const status = {
    observedGeneration: 1,
    replicas: 1,
    updatedReplicas: 1,
    readyReplicas: 1,
    availableReplicas: 1,
  };
  await shared.raw('PATCH', path, {
    body: JSON.stringify({ status }),
    headers: { 'content-type': 'application/merge-patch+json' },
  });
  assert.match(await rollout, /deployment "web" successfully rolled out/);
});

test('describe, explain, api-resources, api-versions, version', async () => {
  const ns = await fresh();
  await ok(['-n', ns, 'apply', '-f', '-'], manifest(2));
  assert.match(await ok(['-n', ns, 'describe', 'deploy', 'web']), /Replicas: +2 desired/);
  assert.match(await ok(['-n', ns, 'describe', 'pa', 'strict']), /Mode: +STRICT/);
  assert.match(
    await ok(['explain', 'deployment.spec.template.spec.containers.ports']),
    /containerPort\s+<integer>/,
  );
  assert.match(
    await ok(['explain', 'authorizationpolicies.spec.rules', '--api-version=security.istio.io/v1']),
    /when\s+<\[\]Object>/,
  );
  assert.match(await ok(['api-resources']), /authorizationpolicies +ap +security.istio.io\/v1/);
  assert.match(await ok(['api-versions']), /gateway.networking.k8s.io\/v1\n/);
  assert.match(await ok(['version']), /v1\.36\.0\+aura/);
  assert.match(await ok(['auth', 'can-i', 'delete', 'pods']), /yes/);
});

test('logs without a kubelet say why', async () => {
  const ns = await fresh();
  await shared.client.create(pods, ns, pod('p'));
  const none = await kubectl(['-n', ns, 'logs', 'p']);
  assert.match(none.err, /pod p does not have a host assigned/);
  await shared.client.create(nodes, undefined, { metadata: { name: 'dead' } });
  await shared.client.patch(
    nodes,
    undefined,
    'dead',
    {
      status: {
        addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
        daemonEndpoints: { kubeletEndpoint: { Port: 1 } },
      },
    },
    'merge',
    { subresource: 'status' },
  );
  await shared.client.create(pods, ns, pod('q', 'dead'));
  const dead = await kubectl(['-n', ns, 'logs', 'q']);
  assert.match(dead.err, /the kubelet at 127.0.0.1:1 cannot be reached/);
  await eventually(() => true);
});
