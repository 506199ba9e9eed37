// Two replicas as processes, one killed without warning under load.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { startApiserver } from '#/apiserver/index.ts';
import { createCsr } from '#/identity/index.ts';
import { configMaps, KubeClient, leases, namespaces, pods, secrets, serviceAccounts } from '#/kube/index.ts';
import { identityOf } from '#/model/index.ts';
import { addressTypeUrl } from '#/wire/index.ts';
import { RawClient } from '../../src/control/raw-client.ts';

interface Replica {
  readonly child: ChildProcess;
  readonly port: number;
}

async function replica(name: string, kubeconfig: string): Promise<Replica> {
  const flags = ['--secure-grpc-port', '--monitoring-port', '--http-port'].flatMap((flag) => [flag, '0']);
  const main = join(import.meta.dirname, '../../src/cli/main.ts');
  const child = spawn(
    process.execPath,
    [main, 'control-plane', '--host', '127.0.0.1', '--grpc-port', 'off', ...flags],
    {
      env: {
        ...process.env,
        KUBECONFIG: kubeconfig,
        POD_NAME: name,
        PILOT_DEBOUNCE_AFTER: '10ms',
        PILOT_DEBOUNCE_MAX: '50ms',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const ended = once(child, 'exit').then(([code]) =>
    Promise.reject(new Error(`${name} has ended with ${code}`)),
  );
  ended.catch(() => {});
  const serving = new Promise<number>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const port = /\tserving\t.*xds=([0-9]+)/.exec(line)?.[1];
      if (port !== undefined) resolve(Number(port));
    });
  });
  return { child, port: await Promise.race([serving, ended]) };
}

async function until<T>(ms: number, ask: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    assert.ok(Date.now() < end, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test('one of two replicas is killed under load: one retry is enough, and no state is lost', async (t) => {
  const parts = new AsyncDisposableStack();
  t.after(() => parts.disposeAsync());
  const directory = mkdtempSync(join(tmpdir(), 'aura-failover-'));
  parts.defer(() => rmSync(directory, { recursive: true }));
  const kubeconfig = join(directory, 'kubeconfig');
  parts.use(
    await startApiserver({ host: '127.0.0.1', port: 0, dataDir: join(directory, 'data'), kubeconfig }),
  );
  const client = KubeClient.fromKubeconfig(kubeconfig);
  parts.defer(() => client.close());
  for (const name of ['istio-system', 'shop']) {
    await client.ensure(namespaces, undefined, { metadata: { name } });
    await client.ensure(serviceAccounts, name, { metadata: { name: 'ztunnel', namespace: name } });
  }
  const make = (namespace: string, name: string) =>
    client.create(pods, namespace, {
      metadata: { name, namespace },
      spec: { nodeName: 'n1', serviceAccountName: 'ztunnel', containers: [{ name: 'a', image: 'none' }] },
    });
  const address = (name: string, ready: boolean) =>
    client.patch(
      pods,
      'shop',
      name,
      {
        status: {
          phase: 'Running',
          podIP: '10.0.0.1',
          conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
        },
      },
      'merge',
      { subresource: 'status' },
    );
  const ztunnel = await make('istio-system', 'ztunnel-a');
  for (let i = 0; i < 20; i++) {
    await make('shop', `app-${i}`);
    await address(`app-${i}`, true);
  }
  const replicas = await Promise.all(['istiod-1', 'istiod-2'].map((name) => replica(name, kubeconfig)));
  for (const { child } of replicas)
    parts.defer(async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
    });
  const holder = async () =>
    (await client.find(leases, 'istio-system', 'istio-namespace-controller-election'))?.spec?.holderIdentity;
  const leader = await until(10_000, async () => (await holder()) || undefined);
  const killed = leader === 'istiod-1' ? 0 : 1;
  const secret = await client.get(secrets, 'istio-system', 'istio-ca-secret');
  const roots = Buffer.from(secret.data?.['root-cert.pem'] ?? '', 'base64').toString();
  const { token } = await client.createToken('istio-system', 'ztunnel', ['istio-ca'], 3600, {
    name: 'ztunnel-a',
    uid: ztunnel.metadata.uid ?? '',
  });
  const connect = (at: number) =>
    parts.use(
      new RawClient({
        address: `127.0.0.1:${replicas[at]?.port}`,
        roots,
        headers: { authorization: `Bearer ${token}` },
      }),
    );
  const clients = [connect(0), connect(1)] as const;

  // Load: certificates and changes of pods, all the time.
  const app = identityOf('cluster.local', 'shop', 'ztunnel');
  const { csrPem } = await createCsr(app);
  const request = { csr: csrPem, ttlSeconds: 3600, impersonatedIdentity: app };
  let running = true;
  let issued = 0;
  const lost: unknown[] = [];
  const load = Array.from({ length: 4 }, async (_, n) => {
    for (let i = n; running; i++) {
      // A service's address leads to either replica; who fails turns to the other, once.
      const first = clients[(i % 2) as 0 | 1];
      const second = clients[((i + 1) % 2) as 0 | 1];
      try {
        await first.certificate(request).catch(() => second.certificate(request));
        issued++;
      } catch (error) {
        lost.push(error);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  const churn = (async () => {
    for (let i = 0; running; i++) {
      await address(`app-${i % 20}`, i % 40 < 20);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();

  const stream = clients[killed].stream();
  stream.subscribe();
  const held = new Map((await stream.next()).resources.map(({ name, version }) => [name, version]));
  const take = async (from: typeof stream) => {
    const response = await from.next();
    for (const { name, version } of response.resources) held.set(name, version);
    for (const name of response.removedResources) held.delete(name);
  };
  for (let i = 0; i < 5; i++) await take(stream);
  const killedAt = Date.now();
  replicas[killed]?.child.kill('SIGKILL');
  await assert.rejects(async () => {
    for (;;) await take(stream);
  });
  const before = held.size;
  const other = clients[(1 - killed) as 0 | 1].stream();
  other.subscribe(addressTypeUrl, Object.fromEntries(held));
  const again = await other.next();
  assert.deepEqual(again.removedResources, [], 'nothing is lost');
  assert.ok(again.resources.length < before, 'what is known already is not sent again');
  for (let i = 0; i < 5; i++) await take(other);

  // What the dead one led is taken over when its lease has run out.
  await client.ensure(namespaces, undefined, { metadata: { name: 'late' } });
  await until(30_000, () => client.find(configMaps, 'late', 'istio-ca-root-cert'));
  assert.ok(Date.now() - killedAt < 25_000, 'a lease lasts 15 s');
  running = false;
  await Promise.all([...load, churn]);
  other.end();
  assert.deepEqual(lost, [], 'no certificate request failed for longer than one retry');
  assert.ok(issued > 50, `only ${issued} certificates were issued`);
});
