// `aura waypoint` against the embedded API: lines, columns, exit codes, and what it leaves in the cluster.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startApiserver, type Apiserver } from '#/apiserver/index.ts';
import { gateways, KubeClient, namespaces } from '#/kube/index.ts';

let server: Apiserver;
let client: KubeClient;
const directory = mkdtempSync(join(tmpdir(), 'aura-waypoint-'));
const kubeconfig = join(directory, 'kubeconfig');

before(async () => {
  server = await startApiserver({ host: '127.0.0.1', port: 0, dataDir: join(directory, 'data'), kubeconfig });
  client = KubeClient.fromKubeconfig(kubeconfig);
});
after(async () => {
  client.close();
  await server[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function aura(...args: readonly string[]): Promise<Ran> {
  const main = join(import.meta.dirname, 'main.ts');
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [main, 'waypoint', ...args],
      { env: { ...process.env, KUBECONFIG: kubeconfig } },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    );
  });
}

const namespace = (name: string, labels: Record<string, string> = {}) =>
  client.ensure(namespaces, undefined, { metadata: { name, labels } });

const labelsOf = async (name: string) =>
  (await client.get(namespaces, undefined, name)).metadata.labels ?? {};

/** As the control plane does. */
const program = (where: string, name: string, programmed: 'True' | 'False', message = 'm') =>
  client.patch(
    gateways,
    where,
    name,
    {
      status: {
        addresses: [{ type: 'Hostname', value: `${name}.${where}.svc.cluster.local` }],
        conditions: ['Accepted', 'Programmed'].map((type) => ({
          type,
          status: type === 'Accepted' ? 'True' : programmed,
          reason: type === 'Accepted' ? 'Accepted' : programmed === 'True' ? 'Programmed' : 'Pending',
          message,
          lastTransitionTime: '2026-01-01T00:00:00Z',
        })),
      },
    },
    'merge',
    { subresource: 'status' },
  );

test('generate needs no cluster', async () => {
  const { code, out } = await aura('generate', '--for', 'all', '-r', 'canary', '--name', 'w', '-n', 'shop');
  assert.equal(code, 0);
  assert.equal(
    out,
    `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  labels:
    istio.io/rev: canary
    istio.io/waypoint-for: all
  name: w
  namespace: shop
spec:
  gatewayClassName: istio-waypoint
  listeners:
    - name: mesh
      port: 15008
      protocol: HBONE
`,
  );
  assert.ok(!(await aura('generate')).out.includes('namespace'));
});

test('what is no waypoint is refused, with what would be one', async () => {
  const type = await aura('generate', '--for', 'pods');
  assert.equal(type.code, 1);
  assert.equal(
    type.err,
    'aura: invalid traffic type: pods. Valid options are: [all none service workload]\n',
  );
  assert.match((await aura('generate', '--name', 'none')).err, /'none' is a reserved value/);
  const missing = await aura('apply', '-n', 'nowhere');
  assert.equal(missing.code, 1);
  assert.equal(missing.err, 'aura: namespace: nowhere not found; create it, or name another one with -n\n');
});

test('apply enrolls, and overwrites an enrolment only when told to', async () => {
  await namespace('one');
  const first = await aura('apply', '-n', 'one', '--enroll-namespace');
  assert.equal(first.code, 0, first.err);
  assert.equal(
    first.out,
    `⚠️ Warning: namespace is not enrolled in ambient. Consider running\t\`kubectl label namespace one istio.io/dataplane-mode=ambient\`
✅ waypoint one/waypoint applied
✅ namespace one labeled with "istio.io/use-waypoint: waypoint"
`,
  );
  assert.equal((await labelsOf('one'))['istio.io/use-waypoint'], 'waypoint');
  const made = await client.get(gateways, 'one', 'waypoint');
  assert.deepEqual(
    (made.metadata.managedFields as readonly { manager: string }[]).map(({ manager }) => manager),
    ['istioctl'],
  );
  const refused = await aura('apply', '-n', 'one', '--name', 'other', '--enroll-namespace');
  assert.equal(refused.code, 0);
  assert.equal(
    refused.out,
    '⚠️ Warning: namespace (one) already has an enrolled Waypoint. Consider adding the `--overwrite` flag to your apply command.\n',
  );
  assert.equal(await client.find(gateways, 'one', 'other'), undefined);
  const told = await aura('apply', '-n', 'one', '--name', 'other', '--enroll-namespace', '--overwrite');
  assert.match(told.out, /✅ namespace one labeled with "istio.io\/use-waypoint: other"/);
  assert.equal((await labelsOf('one'))['istio.io/use-waypoint'], 'other');
});

test('apply waits until it is ready, or says why it is not', async () => {
  await namespace('two', { 'istio.io/dataplane-mode': 'ambient' });
  const late = await aura('apply', '-n', 'two', '--wait', '--waypoint-timeout', '1ms');
  assert.equal(late.code, 1);
  assert.equal(late.out, '✅ waypoint two/waypoint applied\n');
  assert.match(
    late.err,
    /^aura: timed out while waiting for waypoint two\/waypoint: no control plane has looked at it/,
  );
  await program('two', 'waypoint', 'False', 'no pod is ready yet');
  assert.match(
    (await aura('apply', '-n', 'two', '-w', '--waypoint-timeout', '1ms')).err,
    /: no pod is ready yet; see the pods/,
  );
  await program('two', 'waypoint', 'True');
  const { code, out } = await aura('apply', '-n', 'two', '-w');
  assert.equal(code, 0);
  assert.equal(out, '✅ waypoint two/waypoint applied\n✅ waypoint two/waypoint is ready!\n');
});

test('list and status have the columns of istioctl', async () => {
  await namespace('three');
  assert.equal((await aura('list', '-n', 'three')).out, 'No waypoints found.\n');
  await client.create(gateways, 'three', {
    metadata: { name: 'ingress', namespace: 'three' },
    spec: { gatewayClassName: 'istio', listeners: [{ name: 'web', port: 80, protocol: 'HTTP' }] },
  });
  await aura('apply', '-n', 'three', '--name', 'b', '--for', 'all', '-r', 'canary');
  await aura('apply', '-n', 'three', '--name', 'a');
  await program('three', 'a', 'True', 'all is well');
  await program('three', 'b', 'False', 'no pod is ready yet');
  assert.equal(
    (await aura('list', '-n', 'three')).out,
    `NAME     REVISION     TRAFFIC TYPE     PROGRAMMED
a        default      none             True
b        canary       all              False
`,
  );
  const all = (await aura('list', '-A')).out;
  assert.match(all, /^NAMESPACE {5}NAME +REVISION +TRAFFIC TYPE +PROGRAMMED\n/);
  assert.match(all, /\nthree {9}a /);
  const json = JSON.parse((await aura('list', '-n', 'three', '-o', 'json')).out) as unknown[];
  assert.deepEqual(json[1], {
    namespace: 'three',
    name: 'b',
    revision: 'canary',
    trafficType: 'all',
    programmed: 'False',
  });
  const status = await aura('status', '-n', 'three', '--waypoint-timeout', '1ms');
  assert.equal(status.code, 1);
  assert.equal(
    status.out,
    `NAME     STATUS     TYPE           REASON         MESSAGE
a        True       Accepted       Accepted       all is well
a        True       Programmed     Programmed     all is well
b        True       Accepted       Accepted       no pod is ready yet
b        False      Programmed     Pending        no pod is ready yet
`,
  );
  assert.match(status.err, /timed out while waiting for waypoint three\/b: no pod is ready yet/);
  assert.equal((await aura('status', '-n', 'three', '--wait', 'false')).code, 0);
  assert.match(
    (await aura('status', '-n', 'three', '--wait=false', '-o', 'yaml')).out,
    /^- namespace: three\n/,
  );
});

test('delete by name, by revision, all; and a word to those who still use it', async () => {
  await namespace('four', { 'istio.io/use-waypoint': 'a' });
  for (const name of ['a', 'b', 'c']) await aura('apply', '-n', 'four', '--name', name);
  await aura('apply', '-n', 'four', '--name', 'd', '-r', 'canary');
  const named = await aura('delete', 'a', 'nobody', '-n', 'four');
  assert.equal(named.code, 0);
  assert.equal(named.out, 'waypoint four/a deleted\nwaypoint four/nobody not found\n');
  assert.match(
    named.err,
    /namespace four still uses waypoint four\/a: its traffic is refused until there is one again/,
  );
  assert.equal((await aura('delete', '-r', 'canary', '-n', 'four')).out, 'waypoint four/d deleted\n');
  assert.equal(
    (await aura('delete', '--all', '-n', 'four')).out,
    'waypoint four/b deleted\nwaypoint four/c deleted\n',
  );
  assert.equal((await aura('delete', '-n', 'four')).code, 1);
  assert.match(
    (await aura('delete', 'x', '--all', '-n', 'four')).err,
    /cannot specify waypoint names when deleting all/,
  );
});
