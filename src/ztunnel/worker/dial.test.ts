import assert from 'node:assert/strict';
import { connect, createServer, Socket, type AddressInfo } from 'node:net';
import { suite, test, type TestContext } from 'node:test';
import type { MeshError } from '#/errors/index.ts';
import { ManualClock } from '#/kit/index.ts';
import type { Kernel, Netns, TcpConnectOptions } from '#/sys/index.ts';
import { at } from '../../../test/mesh-records.ts';
import { connectTimeoutMs, dial, type Dialer, type DialTarget } from './dial.ts';
import { PodSockets } from './pod-sockets.ts';

const netns = {} as Netns;

function fixture(
  make: (options: TcpConnectOptions) => Socket,
  atOnce: () => Socket | undefined = () => assert.fail('only applications are dialled at once'),
) {
  const asked: TcpConnectOptions[] = [];
  const clock = new ManualClock();
  const sockets = new PodSockets();
  const kernel = {
    connect: (options: TcpConnectOptions) => {
      asked.push(options);
      return make(options);
    },
    connectAtOnce: (options: TcpConnectOptions) => {
      asked.push(options);
      return atOnce();
    },
  } as Kernel;
  const keepAlive = { timeSeconds: 1, intervalSeconds: 2, retries: 3 };
  const dialer: Dialer = { kernel, clock, mark: 1337, keepAlive, userTimeoutMs: 9000, sockets };
  const outcomes: (Socket | MeshError)[] = [];
  const start = (kind: DialTarget['kind'] = 'remote'): Disposable | undefined =>
    dial(
      dialer,
      { netns, to: at('10.0.0.2:80'), from: '10.0.0.1', kind },
      (socket) => outcomes.push(socket),
      (error) => outcomes.push(error),
    );
  return { asked, clock, sockets, outcomes, start };
}

const code = (outcome: Socket | MeshError | undefined): [string, string] => {
  assert.ok(outcome !== undefined && !(outcome instanceof Socket));
  return [outcome.code, outcome.message];
};

async function listening(t: TestContext): Promise<number> {
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

suite('dial', () => {
  test('marked, from the given address, kept alive; paused when connected, and the timer is off', async (t) => {
    const port = await listening(t);
    const f = fixture(() => connect(port, '127.0.0.1'));
    f.start();
    while (f.outcomes.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [socket] = f.outcomes;
    assert.ok(socket instanceof Socket && socket.isPaused());
    assert.deepEqual(f.asked, [
      {
        netns,
        ip: '10.0.0.2',
        port: 80,
        mark: 1337,
        noDelay: true,
        keepAlive: { timeSeconds: 1, intervalSeconds: 2, retries: 3 },
        userTimeoutMs: 9000,
        bindIp: '10.0.0.1',
      },
    ]);
    f.clock.advance(60_000);
    assert.equal(f.outcomes.length, 1);
    assert.equal(f.sockets.size, 1);
    socket.destroy();
    await f.sockets.whenEmpty();
  });

  test('an application: connected before it returns, without keepalive; refused the same way', async () => {
    const ready = new Socket();
    const f = fixture(
      () => assert.fail('not at once'),
      () => ready,
    );
    assert.equal(f.start('application'), undefined);
    assert.deepEqual(f.outcomes, [ready]);
    assert.equal(f.asked[0]?.keepAlive, undefined);
    assert.equal(f.sockets.size, 1);
    ready.destroy();
    await f.sockets.whenEmpty();
    const refused = fixture(
      () => assert.fail('not at once'),
      () => {
        throw Object.assign(new Error('connect 10.0.0.2:80: ECONNREFUSED'), {
          code: 'ECONNREFUSED',
          syscall: 'connect',
        });
      },
    );
    assert.equal(refused.start('application'), undefined);
    assert.deepEqual(code(refused.outcomes[0]), [
      'CONNECT_FAILED',
      'connection failed: 10.0.0.2:80: Connection refused',
    ]);
  });

  test('an application that does not answer at once is waited for', async (t) => {
    const port = await listening(t);
    const f = fixture(
      () => connect(port, '127.0.0.1'),
      () => undefined,
    );
    assert.notEqual(f.start('application'), undefined);
    assert.deepEqual(f.outcomes, []);
    while (f.outcomes.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [socket] = f.outcomes as unknown[];
    assert.ok(socket instanceof Socket);
    socket.destroy();
  });

  const refusals: readonly (readonly [string, string])[] = [
    ['ECONNREFUSED', 'Connection refused'],
    ['EHOSTUNREACH', 'No route to host'],
    ['ENETUNREACH', 'Network is unreachable'],
    ['ETIMEDOUT', 'Connection timed out'],
    ['EPERM', 'connect EPERM'],
  ];
  for (const [errno, text] of refusals)
    test(`refused by ${errno}`, async () => {
      const error = Object.assign(new Error(`connect ${errno}`), { code: errno });
      const f = fixture(() => new Socket().destroy(error));
      f.start();
      await f.sockets.whenEmpty();
      assert.deepEqual(code(f.outcomes[0]), ['CONNECT_FAILED', `connection failed: 10.0.0.2:80: ${text}`]);
      assert.equal(f.outcomes.length, 1);
    });

  test('no answer within 10 s: NetworkPolicy is hinted at for tunnels only', async () => {
    for (const [hbone, expected] of [
      [false, ['CONNECT_FAILED', 'connection failed: 10.0.0.2:80: no answer within 10 s']],
      [true, ['CONNECT_TIMEOUT', 'connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008']],
    ] as const) {
      const f = fixture(() => new Socket());
      f.start(hbone ? 'hbone' : 'remote');
      f.clock.advance(connectTimeoutMs - 1);
      assert.deepEqual(f.outcomes, []);
      f.clock.advance(1);
      assert.deepEqual(code(f.outcomes[0]), expected);
      await f.sockets.whenEmpty();
      assert.equal(f.outcomes.length, 1);
    }
  });

  test('a socket that cannot be bound: told before it returns, nothing left', () => {
    const f = fixture(() => {
      throw new Error('bind 10.0.0.1:0: EADDRNOTAVAIL');
    });
    f.start()?.[Symbol.dispose]();
    assert.deepEqual(code(f.outcomes[0]), [
      'CONNECT_FAILED',
      'connection failed: bind 10.0.0.1:0: EADDRNOTAVAIL',
    ]);
    assert.equal(f.sockets.size, 0);
  });

  test('given up: no outcome, the socket is closed', async (t) => {
    const port = await listening(t);
    const f = fixture(() => connect(port, '127.0.0.1'));
    f.start()?.[Symbol.dispose]();
    await f.sockets.whenEmpty();
    f.clock.advance(60_000);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(f.outcomes, []);
  });
});
