// The program as a whole, without a control plane: how it starts, what it answers on its own ports, and every way in
// which it ends.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { Writable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { SeqpacketServer, createNetns, deleteNetns, type SeqpacketConnection } from '#/sys/index.ts';
import { decodeAck, encodeWorkloadRequest, type WorkloadRequest } from '#/wire/index.ts';
import { parseZtunnelConfig, startZtunnel, type RunningZtunnel } from '#/ztunnel/index.ts';

const info = { name: 'web', namespace: 'shop', serviceAccount: 'web' };

async function fixture(t: TestContext, env: Record<string, string> = {}) {
  const dir = mkdtempSync(`${tmpdir()}/aura-program-`);
  const path = `${dir}/ztunnel.sock`;
  const arrived = Promise.withResolvers<SeqpacketConnection>();
  const agent = new SeqpacketServer(path, { onConnection: arrived.resolve });
  const netns = createNetns(`${dir}/pod`);
  let log = '';
  const out = new Writable({
    decodeStrings: false,
    write: (chunk: string, _encoding, done) => {
      log += chunk;
      done();
    },
  });
  t.after(() => {
    agent.close();
    netns[Symbol.dispose]();
    deleteNetns(`${dir}/pod`);
    rmSync(dir, { recursive: true });
  });
  const start = (more: Record<string, string> = {}): Promise<RunningZtunnel> =>
    startZtunnel(
      parseZtunnelConfig({
        XDS_ADDRESS: '',
        NODE_NAME: 'node',
        ISTIO_META_ISTIO_VERSION: '1.2.3',
        AUTH_TOKEN: 'very-secret',
        ADMIN_PORT: '0',
        STATS_PORT: '0',
        READINESS_PORT: '0',
        INPOD_UDS: path,
        ZTUNNEL_WORKER_THREADS: '1',
        ...env,
        ...more,
      }),
      { out },
    );
  const say = async (request: WorkloadRequest, ...fds: number[]): Promise<string | undefined> => {
    const connection = await arrived.promise;
    await connection.send(encodeWorkloadRequest(request), fds);
    const answer = await connection.receive();
    return answer === undefined ? 'hung up' : decodeAck(answer.bytes);
  };
  const get = async (port: number, path: string, method = 'GET'): Promise<[number, string]> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return [response.status, await response.text()];
  };
  return {
    start,
    say,
    get,
    netns,
    hello: async () => (await arrived.promise).receive(),
    log: () => log,
  };
}

/** Threads of this process, once those of the pool are there. */
async function threads(): Promise<number> {
  await Promise.all(Array.from({ length: 8 }, () => stat('/')));
  return readdirSync('/proc/self/task').length;
}

test('starts, becomes ready with the first snapshot, serves a pod, and ends when told', async (t) => {
  const f = await fixture(t);
  const program = await f.start();
  const ready = () => f.get(program.readinessPort, '/healthz/ready');
  await f.hello();
  assert.deepEqual(await ready(), [500, 'not ready, pending: workload proxy manager\n']);
  assert.equal(await f.say({ kind: 'add', uid: 'uid-1', info }, f.netns.fd), undefined);
  assert.equal((await ready())[0], 500);
  assert.equal(await f.say({ kind: 'snapshot-sent' }), undefined);
  assert.deepEqual(await ready(), [200, 'ready\n']);

  const [status, metrics] = await f.get(program.metricsPort, '/stats/prometheus');
  assert.equal(status, 200);
  for (const line of [
    'istio_build{component="ztunnel",tag="1.2.3"} 1',
    'workload_manager_active_proxy_count 1',
    'workload_manager_pending_proxy_count 0',
    'workload_manager_proxies_started_total 1',
    'workload_manager_proxies_stopped_total 0',
    '# TYPE workload_manager_proxies_started counter',
  ])
    assert.ok(metrics.split('\n').includes(line), `${line} in\n${metrics}`);
  assert.match(metrics, /^process_open_fds [1-9]\d*$/m);
  assert.match(metrics, /^process_max_fds [1-9]\d*$/m);
  assert.match(metrics, /# EOF\n$/);

  const dump = JSON.parse((await f.get(program.adminPort, '/config_dump'))[1]) as Record<string, unknown>;
  assert.deepEqual(Object.keys(dump).sort(), [
    'certificates',
    'config',
    'policies',
    'services',
    'stagedServices',
    'staticConfig',
    'version',
    'workloadState',
    'workloads',
  ]);
  assert.deepEqual(dump.workloadState, {
    'uid-1': { state: 'Up', connections: { inbound: [], outbound: [] }, info },
  });
  assert.ok(!JSON.stringify(dump).includes('very-secret'));
  assert.ok(!f.log().includes('very-secret'));

  assert.deepEqual(await f.get(program.adminPort, '/quitquitquit', 'POST'), [200, 'shutdown now\n']);
  await program.done;
  await program[Symbol.asyncDispose]();
  assert.match(f.log(), /\tinfo\tapp\tshutdown: draining connections\tdeadline_ms=5000\n/);
  assert.match(f.log(), /\tinfo\tapp\tshutdown: complete\n/);
  assert.doesNotMatch(f.log(), /\terror\t/);
  await assert.rejects(f.get(program.readinessPort, '/healthz/ready'));
});

test('told to end twice: the second changes nothing', async (t) => {
  const f = await fixture(t);
  const program = await f.start();
  program.shutdown();
  program.shutdown();
  await program.done;
  await program[Symbol.asyncDispose]();
  assert.equal(f.log().split('shutdown: draining').length, 2);
});

for (const name of ['ADMIN_PORT', 'STATS_PORT', 'READINESS_PORT'])
  test(`${name} is taken: says so, and leaves nothing running`, async (t) => {
    const f = await fixture(t);
    const taken = createServer().listen(0, '::');
    const loopback = await new Promise<number>((resolve) =>
      taken.once('listening', () => resolve((taken.address() as AddressInfo).port)),
    );
    t.after(() => taken.close());
    const before = await threads();
    await assert.rejects(
      f.start({ [name]: String(loopback) }),
      new RegExp(`cannot listen on \\S+ port ${loopback}`),
    );
    assert.ok((await threads()) <= before, 'a data worker was left');
  });

test('an agent that breaks the protocol ends the program', async (t) => {
  const f = await fixture(t);
  const before = await threads();
  const program = await f.start();
  const ended = assert.rejects(program.done, /the node agent broke the protocol: a second SnapshotSent/);
  await f.hello();
  assert.equal(await f.say({ kind: 'add', uid: 'uid-1', info }, f.netns.fd), undefined);
  assert.equal(await f.say({ kind: 'snapshot-sent' }), undefined);
  assert.match((await f.say({ kind: 'snapshot-sent' })) ?? '', /^the node agent broke the protocol: /);
  await ended;
  assert.match(
    f.log(),
    /\terror\tapp\tcannot go on\terror="the node agent broke the protocol: a second SnapshotSent"\n/,
  );
  assert.ok((await threads()) <= before);
  await assert.rejects(f.get(program.readinessPort, '/healthz/ready'));
  await program[Symbol.asyncDispose]();
});
