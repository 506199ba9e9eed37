// The proxy's end of ZDS against a scripted agent, on a real socket, with real namespaces handed over as fds.
import assert from 'node:assert/strict';
import { mkdtempSync, openSync, closeSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { suite, test, type TestContext } from 'node:test';
import { createLogger, type Clock } from '#/kit/index.ts';
import {
  createNetns,
  deleteNetns,
  linuxKernel,
  SeqpacketServer,
  type Netns,
  type SeqpacketConnection,
} from '#/sys/index.ts';
import { decodeAck, decodeHello, encodeWorkloadRequest, type WorkloadRequest } from '#/wire/index.ts';
import { Pods } from './pods.ts';
import { runZdsClient, ZdsProtocolError } from './zds-client.ts';

const info = { name: 'web', namespace: 'shop', serviceAccount: 'web' };

/** The agent's end of one connection. */
class Agent {
  readonly connection: SeqpacketConnection;

  constructor(connection: SeqpacketConnection) {
    this.connection = connection;
  }

  async hello(): Promise<this> {
    const datagram = await this.connection.receive();
    assert.ok(datagram !== undefined);
    assert.equal(decodeHello(datagram.bytes), 1);
    return this;
  }

  /** Sends and waits for the answer: undefined for an Ack, else the refusal. */
  async say(request: WorkloadRequest | Uint8Array, ...fds: number[]): Promise<string | undefined> {
    const bytes = request instanceof Uint8Array ? request : encodeWorkloadRequest(request);
    await this.connection.send(bytes, fds);
    const answer = await this.connection.receive();
    assert.ok(answer !== undefined, 'the proxy hung up without an answer');
    return decodeAck(answer.bytes);
  }

  async add(uid: string, netns: Netns): Promise<string | undefined> {
    return await this.say({ kind: 'add', uid, info }, netns.fd);
  }

  async hungUp(): Promise<boolean> {
    return (await this.connection.receive()) === undefined;
  }
}

function fixture(t: TestContext) {
  const dir = mkdtempSync(`${tmpdir()}/aura-zds-client-`);
  const path = `${dir}/ztunnel.sock`;
  const namespaces: [string, Netns][] = [];
  const waiting: ((agent: Agent) => void)[] = [];
  const arrived: Agent[] = [];
  const running = new Map<string, bigint>();
  const failing = new Set<string>();
  const log: string[] = [];
  const connected: boolean[] = [];
  /** Delays before each attempt to connect; none is waited for, and the client is stopped at the limit. */
  const sleeps: number[] = [];
  const timers: { ms: number; fn: () => void }[] = [];
  const clock: Clock = {
    now: () => 0,
    sleep: async (ms, signal) => {
      sleeps.push(ms);
      if (sleeps.length >= 12) ending.abort();
      await new Promise((resolve) => setTimeout(resolve, 1));
      signal?.throwIfAborted();
    },
    after: (ms, fn) => {
      const timer = { ms, fn };
      timers.push(timer);
      return { [Symbol.dispose]: () => void timers.splice(timers.indexOf(timer), 1) };
    },
  };
  const logger = createLogger(
    { level: 'debug', format: 'plain', write: (line) => log.push(line.trimEnd()) },
    'zds',
  );
  const pods = new Pods(
    {
      start: (uid, _info, netns) => {
        if (failing.has(uid)) return Promise.reject(new Error('Address already in use'));
        running.set(uid, netns.inode);
        return Promise.resolve();
      },
      stop: (uid) => {
        running.delete(uid);
        return Promise.resolve();
      },
    },
    logger,
    clock,
  );
  const listen = (): SeqpacketServer =>
    new SeqpacketServer(path, {
      maxDatagram: 4096,
      onConnection: (connection) => {
        const agent = new Agent(connection);
        const waiter = waiting.shift();
        if (waiter === undefined) arrived.push(agent);
        else waiter(agent);
      },
    });
  let server = listen();
  const ending = new AbortController();
  const ended = runZdsClient(
    {
      path,
      pods,
      kernel: linuxKernel(),
      log: logger,
      clock,
      onConnected: (now) => connected.push(now),
    },
    ending.signal,
  );
  ended.catch(() => {});
  t.after(async () => {
    ending.abort();
    await ended.catch(() => {});
    await pods.close();
    server.close();
    for (const [file, netns] of namespaces) {
      netns[Symbol.dispose]();
      deleteNetns(file);
    }
    rmSync(dir, { recursive: true });
  });
  return {
    pods,
    running,
    failing,
    log,
    connected,
    sleeps,
    timers,
    ended,
    ending,
    netns: (name: string): Netns => {
      const file = `${dir}/${name}`;
      const netns = createNetns(file);
      namespaces.push([file, netns]);
      return netns;
    },
    /** The next connection, after its hello. */
    agent: async (): Promise<Agent> => {
      const here = arrived.shift();
      return await (here ?? (await new Promise<Agent>((resolve) => waiting.push(resolve)))).hello();
    },
    restart: (): void => {
      server.close();
      server = listen();
    },
  };
}

const openFds = (): number => readdirSync('/proc/self/fd').length;

suite('ZDS client', () => {
  test('hello, snapshot, additions and removals', async (t) => {
    const f = fixture(t);
    const agent = await f.agent();
    const [a, b] = [f.netns('a'), f.netns('b')];
    assert.equal(await agent.add('a', a), undefined);
    assert.deepEqual(f.connected, [], 'not ready before the snapshot is whole');
    assert.equal(await agent.say({ kind: 'keep', uid: 'elsewhere' }), undefined);
    assert.equal(await agent.say({ kind: 'snapshot-sent' }), undefined);
    assert.deepEqual(f.connected, [true]);
    assert.equal(await agent.add('b', b), undefined);
    assert.deepEqual([...f.running.keys()], ['a', 'b']);
    assert.equal(f.running.get('b'), b.inode);
    assert.equal(await agent.say({ kind: 'del', uid: 'a' }), undefined);
    assert.equal(await agent.say({ kind: 'del', uid: 'a' }), undefined, 'twice is no error');
    assert.deepEqual([...f.running.keys()], ['b']);
  });

  test('the agent is started again: proxies live on, are restarted in a new namespace, or go', async (t) => {
    const f = fixture(t);
    let agent = await f.agent();
    const [a, b, c] = [f.netns('a'), f.netns('b'), f.netns('c')];
    for (const [uid, netns] of [
      ['a', a],
      ['b', b],
      ['c', c],
    ] as const)
      assert.equal(await agent.add(uid, netns), undefined);
    await agent.say({ kind: 'snapshot-sent' });

    f.restart();
    agent = await f.agent();
    assert.equal(f.connected.at(-1), false, 'lost agent: not ready');
    assert.equal(f.running.size, 3, 'nothing is stopped because the agent is away');
    const started = f.pods.started;
    assert.equal(await agent.add('a', a), undefined);
    assert.equal(f.pods.started, started, 'the same pod is left alone');
    const renewed = f.netns('b2');
    assert.equal(await agent.add('b', renewed), undefined);
    assert.equal(await agent.say({ kind: 'snapshot-sent' }), undefined);
    assert.deepEqual(Object.fromEntries(f.running), { a: a.inode, b: renewed.inode });
    assert.equal(f.connected.at(-1), true);
  });

  test('a pod that cannot be started: refused, the connection stays, tried again every 5 s', async (t) => {
    const f = fixture(t);
    const agent = await f.agent();
    f.failing.add('a');
    assert.equal(
      await agent.add('a', f.netns('a')),
      'failed to start pod shop/web (a): Address already in use',
    );
    assert.equal(await agent.say({ kind: 'snapshot-sent' }), undefined);
    assert.equal(await agent.add('b', f.netns('b')), undefined);
    assert.deepEqual([f.pods.pending, f.pods.active], [1, 1]);
    assert.deepEqual(
      f.timers.map(({ ms }) => ms),
      [5000],
    );
    const retry = async (): Promise<void> => {
      const [timer] = f.timers.splice(0);
      timer?.fn();
      await new Promise((resolve) => setImmediate(resolve));
    };
    await retry();
    assert.equal(f.pods.pending, 1);
    f.failing.clear();
    await retry();
    assert.deepEqual([f.pods.pending, f.pods.active, f.timers.length], [0, 2, 0]);
  });

  const breaches: readonly (readonly [
    string,
    (agent: Agent, netns: Netns) => Promise<string | undefined>,
  ])[] = [
    ['a second SnapshotSent', (agent) => agent.say({ kind: 'snapshot-sent' })],
    ['Keep of a after the snapshot', (agent) => agent.say({ kind: 'keep', uid: 'a' })],
    ['Add of a without workload_info', (agent, { fd }) => agent.say({ kind: 'add', uid: 'a' }, fd)],
  ];
  for (const [name, breach] of breaches)
    test(`${name}: refused, and the program cannot go on`, async (t) => {
      const f = fixture(t);
      const agent = await f.agent();
      const netns = f.netns('a');
      await agent.say({ kind: 'snapshot-sent' });
      const fds = openFds();
      assert.equal(await breach(agent, netns), `the node agent broke the protocol: ${name}`);
      await assert.rejects(
        f.ended,
        (error) => error instanceof ZdsProtocolError && error.message.includes(name),
      );
      assert.ok(openFds() <= fds, 'no fd of the message is left');
    });

  const unreadable: readonly (readonly [
    string,
    (agent: Agent, fds: number[]) => Promise<string | undefined>,
    RegExp,
  ])[] = [
    ['garbage', (agent) => agent.say(Buffer.from('GET / HTTP/1.1\r\n')), /WorkloadRequest/],
    ['an empty message', (agent) => agent.say(Buffer.from([0x1a, 0x00, 0xff])), /./],
    ['a request without a kind', (agent) => agent.say(Buffer.from([0x7a, 0x00])), /payload: unknown request/],
    ['a uid that is empty', (agent) => agent.say({ kind: 'del', uid: '' }), /uid: is empty/],
    [
      'Add without an fd',
      (agent) => agent.say({ kind: 'add', uid: 'a', info }),
      /add came with 0 file descriptors instead of 1/,
    ],
    [
      'Add with two fds',
      (agent, fds) => agent.say({ kind: 'add', uid: 'a', info }, ...fds),
      /add came with 2 file descriptors instead of 1/,
    ],
    [
      'Del with an fd',
      (agent, fds) => agent.say({ kind: 'del', uid: 'a' }, fds[0] as number),
      /del came with 1 file descriptors instead of 0/,
    ],
  ];
  for (const [name, send, reason] of unreadable)
    test(`${name}: refused, and a new connection is made`, async (t) => {
      const f = fixture(t);
      let agent = await f.agent();
      const a = f.netns('a');
      await agent.add('a', a);
      await agent.say({ kind: 'snapshot-sent' });
      const fds = [openSync('/dev/null', 'r'), openSync('/dev/null', 'r')];
      t.after(() => fds.forEach((fd) => closeSync(fd)));
      const before = openFds();
      const refusal = await send(agent, fds);
      assert.match(refusal ?? '', /^the message cannot be read: /);
      assert.match(refusal ?? '', reason);
      assert.ok(await agent.hungUp());
      agent.connection.close();
      agent = await f.agent();
      assert.equal(openFds(), before, 'no fd of the message is left');
      assert.equal(f.running.get('a'), a.inode, 'the pod was not disturbed');
      await agent.add('a', a);
      assert.equal(await agent.say({ kind: 'snapshot-sent' }), undefined);
      assert.equal(f.connected.at(-1), true);
    });

  test('an fd that is no namespace: refused; the other pods are not disturbed', async (t) => {
    const f = fixture(t);
    const agent = await f.agent();
    const fd = openSync('/dev/null', 'r');
    t.after(() => closeSync(fd));
    const before = openFds();
    const refusal = await agent.say({ kind: 'add', uid: 'a', info }, fd);
    assert.match(refusal ?? '', /^failed to start pod shop\/web \(a\): .*is not a network namespace$/);
    assert.equal(openFds(), before);
    assert.equal(await agent.add('b', f.netns('b')), undefined);
    assert.equal(await agent.say({ kind: 'snapshot-sent' }), undefined);
    assert.deepEqual([...f.running.keys()], ['b']);
  });

  test('a message that does not fit: refused, and a new connection is made', async (t) => {
    const f = fixture(t);
    const agent = await f.agent();
    const refusal = await agent.say(new Uint8Array(1025));
    assert.match(
      refusal ?? '',
      /^the message cannot be read: .* a message of more than 1024 bytes was cut off$/,
    );
    await f.agent();
  });

  test('an agent that only sends garbage is met more and more seldom', async (t) => {
    const f = fixture(t);
    for (let i = 0; i < 8; i++) {
      const agent = await f.agent();
      await agent.say(Buffer.from([0xff]));
      agent.connection.close();
    }
    await f.agent();
    assert.deepEqual(f.sleeps, [10, 20, 40, 80, 160, 320, 640, 1280]);
  });

  test('ends when it is told to, also while it waits for a message', async (t) => {
    const f = fixture(t);
    const agent = await f.agent();
    await agent.say({ kind: 'snapshot-sent' });
    f.ending.abort();
    await f.ended;
    assert.equal(f.connected.at(-1), false);
    assert.ok(await agent.hungUp());
  });
});
