// Credentials, and the client, informers and leaders against a real server.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { startApiserver } from '#/apiserver/index.ts';
import {
  configMaps,
  fileToken,
  inClusterConfig,
  Informer,
  KubeClient,
  KubeError,
  LeaderElection,
  leases,
  loadKubeconfig,
  resourcePath,
  pods,
  nodes,
} from './index.ts';

function temporary(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'aura-kube-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const kubeconfig = (user: string, cluster = 'server: https://a:1'): string => `
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {${cluster}}}]
users: [{name: u, user: {${user}}}]
contexts: [{name: one, context: {cluster: c, user: u, namespace: ns}}, {name: two, context: {cluster: c, user: nobody}}]
current-context: one
`;

test('kubeconfigs', (t) => {
  const dir = temporary(t);
  const file = join(dir, 'config');
  const load = (text: string, context?: string) => {
    writeFileSync(file, text);
    return loadKubeconfig(file, context);
  };
  const plain = load(kubeconfig('token: abc', 'server: "https://a:1/", insecure-skip-tls-verify: true'));
  assert.deepEqual(
    [plain.server, plain.namespace, plain.token?.(), plain.insecureSkipTlsVerify],
    ['https://a:1', 'ns', 'abc', true],
  );
  writeFileSync(join(dir, 'ca.pem'), 'CA');
  const files = load(
    kubeconfig(
      `client-certificate-data: ${Buffer.from('CERT').toString('base64')}`,
      'server: "https://a:1", certificate-authority: ca.pem',
    ),
  );
  assert.deepEqual([files.ca, files.clientCert], ['CA', 'CERT']);
  assert.throws(() => load(kubeconfig('token: a'), 'two'), /users has no entry named "nobody"/);
  assert.throws(() => load(kubeconfig('token: a'), 'three'), /contexts has no entry named "three"/);
  assert.throws(
    () => load(kubeconfig('exec: {command: aws}')),
    /takes its credential from a plug-in program/,
  );
  assert.throws(() => loadKubeconfig(join(dir, 'none')), /ENOENT/);
  assert.throws(() => new KubeClient({ server: 'http://a', namespace: 'x' }), /must begin with https:\/\//);
});

test('in a pod: environment and files', (t) => {
  const dir = temporary(t);
  mkdirSync(join(dir, 'sa'));
  for (const [name, text] of [
    ['ca.crt', 'CA'],
    ['token', 'T1\n'],
    ['namespace', 'istio-system'],
  ] as const)
    writeFileSync(join(dir, 'sa', name), text);
  const config = inClusterConfig(
    { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' },
    join(dir, 'sa'),
  );
  assert.deepEqual(
    [config.server, config.ca, config.token?.(), config.namespace],
    ['https://[fd00::1]:6443', 'CA', 'T1', 'istio-system'],
  );
  assert.throws(() => inClusterConfig({}), /pass --kubeconfig FILE/);
});

test('a token file is read again when it has been replaced', (t) => {
  const path = join(temporary(t), 'token');
  writeFileSync(path, 'one');
  let now = 0;
  const token = fileToken(path, () => now);
  assert.equal(token(), 'one');
  writeFileSync(path, 'two');
  utimesSync(path, 2000, 2000);
  assert.equal(token(), 'one');
  now = 2000;
  assert.equal(token(), 'two');
});

test('paths', () => {
  assert.equal(resourcePath(pods, 'n', 'p', 'status'), '/api/v1/namespaces/n/pods/p/status');
  assert.equal(resourcePath(leases, undefined), '/apis/coordination.k8s.io/v1/leases');
  assert.equal(resourcePath(nodes, 'ignored', 'a/b'), '/api/v1/nodes/a%2Fb');
});

async function server(t: TestContext): Promise<{ client: KubeClient; kubeconfig: string }> {
  const dir = temporary(t);
  const file = join(dir, 'kubeconfig');
  const running = await startApiserver({
    host: '127.0.0.1',
    port: 0,
    dataDir: join(dir, 'data'),
    kubeconfig: file,
  });
  const client = KubeClient.fromKubeconfig(file);
  t.after(async () => {
    client.close();
    await running[Symbol.asyncDispose]();
  });
  return { client, kubeconfig: file };
}

test('errors are those of the server', async (t) => {
  const { client } = await server(t);
  await assert.rejects(client.get(configMaps, 'default', 'a'), (error: unknown) => {
    assert.ok(error instanceof KubeError);
    assert.deepEqual(
      [error.code, error.reason, error.message],
      [404, 'NotFound', 'configmaps "a" not found'],
    );
    return true;
  });
  assert.throws(() => client.get(configMaps, 'default', ''), /not an object's name/);
  await assert.rejects(client.get(configMaps, 'default', 'a', { signal: AbortSignal.abort() }), {
    name: 'AbortError',
  });
  const made = await client.ensure(configMaps, 'default', { metadata: { name: 'a' } });
  assert.equal(
    (await client.ensure(configMaps, 'default', { metadata: { name: 'a' } })).metadata.uid,
    made.metadata.uid,
  );
});

test('an informer follows a server through its restart', async (t) => {
  const dir = temporary(t);
  const file = join(dir, 'kubeconfig');
  const start = (port: number) =>
    startApiserver({ host: '127.0.0.1', port, dataDir: join(dir, 'data'), kubeconfig: file });
  let running = await start(0);
  const port = Number(new URL(running.url).port);
  using client = KubeClient.fromKubeconfig(file);
  const informer = new Informer(client, configMaps, { namespace: 'default', labelSelector: 'app=x' });
  const heard: string[] = [];
  informer.on('add', ({ metadata }) => heard.push(metadata.name));
  const stop = new AbortController();
  t.after(() => stop.abort());
  informer.start(stop.signal);
  await informer.synced;
  const make = (name: string) =>
    client.create(configMaps, 'default', { metadata: { name, labels: { app: 'x' } } });
  await make('a');
  await running[Symbol.asyncDispose]();
  running = await start(port);
  t.after(() => running[Symbol.asyncDispose]());
  await make('b');
  const end = Date.now() + 5000;
  while (!heard.includes('b') && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(heard, ['a', 'b']);
});

test('one of two leads; when it lets go, the other does', async (t) => {
  const { client } = await server(t);
  const make = (identity: string) =>
    new LeaderElection({
      client,
      namespace: 'default',
      name: 'lock',
      identity,
      leaseSeconds: 2,
      renewSeconds: 1,
      retrySeconds: 0.05,
    });
  const order: string[] = [];
  const stops = [new AbortController(), new AbortController()];
  const elections = [make('one'), make('two')];
  const runs = elections.map((election, i) =>
    election.run((stops[i] as AbortController).signal, async (leading) => {
      order.push(`${i} leads`);
      await new Promise<void>((resolve) =>
        leading.addEventListener('abort', () => resolve(), { once: true }),
      );
      order.push(`${i} stops`);
    }),
  );
  const wait = async (check: () => boolean): Promise<void> => {
    const end = Date.now() + 8000;
    while (!check()) {
      assert.ok(Date.now() < end, `in time: ${order.join(', ')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await wait(() => order.length === 1);
  const first = order[0] === '0 leads' ? 0 : 1;
  const other = 1 - first;
  assert.equal(elections[first]?.isLeader, true);
  assert.equal(elections[other]?.isLeader, false);
  // Released at the end, so the other need not wait for the lease to run out.
  (stops[first] as AbortController).abort();
  await wait(() => order.includes(`${other} leads`));
  assert.deepEqual(order, [`${first} leads`, `${first} stops`, `${other} leads`]);
  const lease = await client.get(leases, 'default', 'lock');
  assert.equal(lease.spec?.holderIdentity, other === 0 ? 'one' : 'two');
  assert.match(lease.spec?.renewTime ?? '', /\.\d{6}Z$/);
  // Whoever takes the lease away ends the leadership.
  await client.patch(
    leases,
    'default',
    'lock',
    { spec: { holderIdentity: 'thief', leaseDurationSeconds: 60 } },
    'merge',
  );
  await wait(() => order.includes(`${other} stops`));
  (stops[other] as AbortController).abort();
  await Promise.all(runs);
});
