// What operators ask of a mesh that runs, by the commands they type: the answers are compared with what connections
// really get, and with proxies that are really behind.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cgroupRoot } from '#/lab/index.ts';
import { eventually, root, TestLab } from './test-lab.ts';

const version = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;
const nodes = ['ambient-control-plane', 'ambient-worker', 'ambient-worker2'];

interface Proxy {
  readonly name: string;
  readonly node: string;
  readonly type: string;
  readonly version: string;
  readonly status: string;
  readonly controlPlane: string;
  readonly types: readonly { readonly type: string; readonly status: string }[];
}

interface Explanation {
  readonly verdict: string;
  readonly paths: readonly {
    readonly endpoints: readonly string[];
    readonly verdict: string;
    readonly security: string;
    readonly hops: readonly {
      readonly at: string;
      readonly node: string;
      readonly decision: string;
      readonly nextHop?: string;
      readonly policies?: readonly { readonly policy: string; readonly matched: boolean }[];
    }[];
  }[];
  readonly differences: readonly { readonly about: string; readonly reason: string }[];
}

describe('questions to a mesh that runs', () => {
  const lab = new TestLab();
  const json = async <T>(...args: string[]): Promise<T> =>
    JSON.parse(await lab.must(...args, '-o', 'json')) as T;
  const explain = (from: string, to: string, namespace = 'ambient-demo') =>
    json<Explanation>('explain', from, to, '-n', namespace);
  const proxies = () => json<readonly Proxy[]>('proxy-status');
  const call = async (where: string, url: string): Promise<boolean> =>
    (await lab.exec(where, 'curl', '-sS', '-m', '5', '-o', '/dev/null', '--fail', url)).code === 0;

  before(async () => {
    await lab.up('-f', 'samples/ambient-demo.yaml', '-f', 'samples/tour/clients.yaml');
    await lab.mustKubectl(['label', 'namespace', 'ambient-demo', 'istio.io/dataplane-mode=ambient']);
    await lab.mustKubectl(['apply', '-f', join(root, 'samples/tour/deny-guest.yaml')]);
    await eventually('the guest to be refused', async () => {
      const { verdict, differences } = await explain('guest', 'httpbin:80');
      return verdict === 'refused' && differences.length === 0;
    });
  });
  after(() => lab[Symbol.asyncDispose]());

  test('version: the command, the control plane and the proxies of all nodes', async () => {
    assert.deepEqual((await lab.must('version')).trim().split('\n'), [
      `client version: ${version}`,
      `control plane version: ${version}`,
      `data plane version: ${version} (3 proxies)`,
    ]);
    const all = await json<{
      clientVersion: string;
      meshVersion: readonly { component: string; version: string }[];
      dataPlaneVersion: readonly { version: string; proxies: number }[];
    }>('version');
    assert.equal(all.clientVersion, version);
    assert.deepEqual(all.dataPlaneVersion, [{ version, proxies: 3 }]);
    assert.match(all.meshVersion[0]?.component ?? '', /^istiod-/);
  });

  test('proxy-status: a ztunnel per node, with all it is subscribed to', async () => {
    await eventually('all in step', async () => (await proxies()).every(({ status }) => status === 'SYNCED'));
    const all = await proxies();
    assert.deepEqual(all.map(({ node }) => node).toSorted(), nodes);
    for (const proxy of all) {
      assert.deepEqual([proxy.type, proxy.version], ['ztunnel', version]);
      assert.match(proxy.name, /^ztunnel-[^.]+\.istio-system$/);
      assert.match(proxy.controlPlane, /^istiod-/);
      assert.deepEqual(proxy.types.map(({ type }) => type).toSorted(), ['WADS', 'WDS']);
    }
    const [header, ...rows] = (await lab.must('proxy-status')).trimEnd().split('\n');
    assert.match(header ?? '', /^NAME +TYPE +CLUSTER +NODE +ISTIOD +VERSION +STATUS +SUBSCRIBED TYPES$/);
    assert.equal(rows.length, 3);
    assert.ok(rows.every((row) => /SYNCED +2 \(WADS,WDS\)$/.test(row)));
    const one = await lab.must('proxy-status', all[0]?.name ?? '');
    assert.ok(one.includes(all[0]?.name ?? '?') && !one.includes(all[1]?.name ?? '?'));
    const none = await lab.aura('proxy-status', 'nosuch');
    assert.deepEqual([none.code, none.stderr.trim()], [1, 'aura: no proxy nosuch is connected']);
  });

  test('explain says what a connection gets: let through, refused, in plain text', async () => {
    const near = 'ds/debug';
    const rows: readonly [
      where: string,
      from: string,
      namespace: string,
      verdict: string,
      security: string,
    ][] = [
      [`-n ambient-demo ${near} --node ambient-worker`, near, 'ambient-demo', 'allowed', 'mutual TLS'],
      ['-n ambient-demo guest', 'guest', 'ambient-demo', 'refused', 'mutual TLS'],
      ['-n outside outsider', 'outsider', 'outside', 'allowed', 'plain'],
    ];
    for (const [where, from, namespace, verdict, security] of rows) {
      const told = await explain(from, 'httpbin.ambient-demo:80', namespace);
      assert.equal(told.verdict, verdict, from);
      assert.deepEqual(told.differences, [], from);
      assert.equal(told.paths.flatMap(({ endpoints }) => endpoints).length, 2, `${from}: both endpoints`);
      for (const path of told.paths)
        if (verdict === 'allowed')
          assert.equal(path.security === 'plain' ? 'plain' : 'mutual TLS', security, from);
      const got = await call(where, 'http://httpbin.ambient-demo/get');
      assert.equal(got, verdict === 'allowed', `${from} really`);
    }
  });

  test('explain shows each hop and the policy that decides', async () => {
    const { paths } = await explain('guest', 'httpbin:80');
    const hops = paths[0]?.hops ?? [];
    assert.deepEqual(
      hops.map(({ at }) => at),
      ['client', 'destination'],
    );
    assert.match(hops[0]?.nextHop ?? '', /^10\.244\.[12]\.\d+:15008$/);
    assert.deepEqual(
      hops[1]?.policies?.map(({ policy, matched }) => ({ policy, matched })),
      [{ policy: 'ambient-demo/deny-guest', matched: true }],
    );
    const text = await lab.must('explain', 'guest', 'httpbin:80', '-n', 'ambient-demo');
    assert.match(text, /^REFUSED: .*explicitly denied by: ambient-demo\/deny-guest/);
    assert.match(text, /narrow or remove rule 1 of DENY policy ambient-demo\/deny-guest/);
    const refused = await lab.aura('explain', 'guest', 'httpbin:80', '-n', 'ambient-demo', '--exit-code');
    assert.equal(refused.code, 3);
    const unknown = await lab.aura('explain', 'nosuch', 'httpbin:80', '-n', 'ambient-demo');
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /no pod or service ambient-demo\/nosuch.*pod\/guest/);
  });

  test('describe: a service with its endpoints and policies, a pod with its identity', async () => {
    const service = await lab.must('describe', 'service', 'httpbin', '-n', 'ambient-demo');
    const ip = await lab.mustKubectl([
      'get',
      'service',
      'httpbin',
      '-n',
      'ambient-demo',
      '-o',
      'jsonpath={.spec.clusterIP}',
    ]);
    for (const pattern of [
      /^Name: +httpbin\.ambient-demo\.svc\.cluster\.local$/m,
      new RegExp(`^Addresses: +${ip.trim().replaceAll('.', '\\.')}$`, 'm'),
      /^Endpoints \(2 of 2 ready\):$/m,
      /pod ambient-demo\/httpbin-\S+ +10\.244\.1\.\d+ +node ambient-worker +ready, in the mesh$/m,
      /pod ambient-demo\/httpbin-\S+ +10\.244\.2\.\d+ +node ambient-worker2 +ready, in the mesh$/m,
      /DENY +ambient-demo\/deny-guest \(workload, 2 of 2 pods\)/,
    ])
      assert.match(service, pattern);
    const guest = await lab.must('describe', 'pod', 'guest', '-n', 'ambient-demo');
    assert.match(guest, /^In the mesh: +yes: captured/m);
    assert.match(guest, /^Identity: +spiffe:\/\/cluster\.local\/ns\/ambient-demo\/sa\/guest-sa$/m);
    const outsider = await lab.must('describe', 'pod', 'outsider', '-n', 'outside');
    assert.match(outsider, /^In the mesh: +NO: no label istio\.io\/dataplane-mode=ambient selects it$/m);
    assert.equal((await lab.aura('describe', 'pod', 'nosuch')).code, 1);
  });

  test('a proxy that does not take what it is sent is shown as behind, and explain says so', async () => {
    const behind = (await proxies()).find(({ node }) => node === 'ambient-worker2')?.name ?? '';
    const pid = await programOf(lab, behind.split('.')[0] ?? '');
    process.kill(pid, 'SIGSTOP');
    try {
      await lab.mustKubectl(['delete', '-f', join(root, 'samples/tour/deny-guest.yaml')]);
      await eventually('it to be stale', async () => {
        const all = await proxies();
        return (
          all.find(({ name }) => name === behind)?.status === 'STALE' &&
          all.filter(({ status }) => status === 'SYNCED').length === 2
        );
      });
      assert.equal((await lab.aura('proxy-status', '--exit-code')).code, 3);
      const { verdict, differences } = await explain('guest', 'httpbin:80');
      assert.equal(verdict, 'allowed');
      assert.deepEqual(differences, [{ about: behind, reason: 'it has not acknowledged the last push yet' }]);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await eventually(
      'it to catch up',
      async () => (await lab.aura('proxy-status', '--exit-code')).code === 0,
    );
    assert.deepEqual((await explain('guest', 'httpbin:80')).differences, []);
    await eventually('the guest to get through', () => call('-n ambient-demo guest', 'http://httpbin/get'));
  });
});

/** The process of a pod of the mesh, by its container's cgroup. */
async function programOf(lab: TestLab, pod: string): Promise<number> {
  const { stdout } = await lab.exec(
    `-n istio-system ${pod}`,
    'sh',
    '-c',
    'grep ^0:: /proc/self/cgroup | cut -d: -f3',
  );
  const found = readFileSync(join(cgroupRoot(), stdout.trim(), 'cgroup.procs'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map(Number)
    .find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('main.ts'));
  assert.ok(found !== undefined, `a program in ${pod}`);
  return found;
}
