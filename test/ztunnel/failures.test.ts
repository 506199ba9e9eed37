// Every way in which a connection can fail to begin: one line, the right flag, and nothing left open.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { acceptTls } from '#/identity/index.ts';
import { defaultWindows, hboneServer } from '#/tunnel/index.ts';
import { gateway } from '../mesh-records.ts';
import type { MeshNode } from './mesh-node.ts';
import { unreachable } from './namespaces.ts';
import { Talk } from './talk.ts';
import { kernel, World, type Pod } from './world.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

suite('connections that come to nothing', () => {
  let world: World;
  let client: Pod;
  let web: Pod;

  /** Its connection waits in vain for 5 s, on a node of its own, while the other tests run. */
  let hidden: { readonly pod: Pod; readonly node: MeshNode; readonly talk: Talk };

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    web = await world.pod({ name: 'web', node: 'two' });
    const pod = await world.pod({ name: 'hidden', node: 'three' });
    world.tell({ removedWorkloads: [pod.workload.uid] });
    await world.settled();
    const talk = new Talk(kernel.connect({ netns: pod.netns, ip: web.ip, port: 8080 }));
    hidden = { pod, node: world.node('three'), talk };
    world.echo(web);
    await world.call(client, web.ip, 8080);
  });
  after(() => world[Symbol.asyncDispose]());

  /** A pod that the mesh takes for one of its own, but whose port 15008 is answered by the test. */
  async function pretender(name: string, answer: (socket: Socket) => void): Promise<Pod> {
    const pod = await world.pod({ name, node: 'two', plain: true, fields: { protocol: 'HBONE' } });
    world.listen(pod, 15008, answer);
    return pod;
  }

  type Row = readonly [
    name: string,
    prepare: () => Promise<{ readonly from?: Pod; readonly ip: string; readonly port?: number }>,
    error: RegExp,
    flag: string | undefined,
  ];
  const rows: readonly Row[] = [
    [
      'nothing listens on 15008 of the peer',
      async () => await world.pod({ name: 'bare', node: 'two', plain: true, fields: { protocol: 'HBONE' } }),
      /^connection failed: 10\.\S+:15008: Connection refused$/,
      'CONNECT',
    ],
    [
      'the peer cannot be reached',
      async () => {
        const pod = await world.pod({ name: 'far', node: 'two', plain: true, fields: { protocol: 'HBONE' } });
        await unreachable(pod.netns, 15008, 'icmp-host-unreachable');
        return pod;
      },
      /^connection failed: 10\.\S+:15008: No route to host$/,
      'CONNECT',
    ],
    [
      'the peer does not speak TLS',
      () => pretender('no-tls', (socket) => socket.resume().end('HTTP/1.1 400 Bad Request\r\n\r\n')),
      /^tls handshake error: /,
      'TLS_FAILURE',
    ],
    [
      'the peer hangs up during the hand-shake',
      () => pretender('hangs-up', (socket) => socket.destroy()),
      /^tls handshake error: /,
      'TLS_FAILURE',
    ],
    [
      'the peer is somebody else',
      async () => {
        const certificate = await world.certificate(world.identity(web));
        return await pretender('imposter', (socket) => {
          socket.pause();
          void acceptTls(socket, certificate).catch(() => {});
        });
      },
      /^identity verification error: peer did not present the expected SAN \(spiffe:\/\/cluster.local\/ns\/default\/sa\/imposter\), got spiffe:\/\/cluster.local\/ns\/default\/sa\/web$/,
      'TLS_FAILURE',
    ],
    [
      'the peer hangs up instead of an answer',
      () => speaking('silent', (socket) => socket.destroy()),
      /^http2: /,
      'H2_HANDSHAKE_FAILURE',
    ],
    [
      'the peer does not speak HTTP/2',
      () => speaking('http-1', (socket) => socket.resume().end('HTTP/1.1 200 OK\r\n\r\n')),
      /^http2: /,
      'H2_HANDSHAKE_FAILURE',
    ],
    [
      'the peer resets the stream',
      () => answering('resets', (stream) => stream.reset(2)),
      /^http2: reset by the peer: internal_?error$/i,
      'H2_HANDSHAKE_FAILURE',
    ],
    [
      'the peer refuses every stream',
      () => answering('refuses', (stream) => stream.reset(7)),
      /^the peer at 10\.\S+:15008 refuses new streams$/,
      'H2_HANDSHAKE_FAILURE',
    ],
    [
      'the peer answers with another status',
      () => answering('teapot', (stream) => stream.respond([[':status', '418']], true)),
      /^http status: 418$/,
      'CONNECT',
    ],
    [
      'the authority refuses a certificate',
      async () => {
        const from = await world.pod({ name: 'unsigned', node: 'one' });
        world.answer(world.identity(from), Promise.reject(new Error('PERMISSION_DENIED: not on this node')));
        return { from, ip: web.ip };
      },
      /^identity error: no certificate for spiffe:\/\/cluster.local\/ns\/default\/sa\/unsigned: PERMISSION_DENIED: not on this node$/,
      'IDENTITY_ERROR',
    ],
    [
      'a waypoint that is not known',
      async () => {
        world.service('guarded', '10.200.0.9', [web], { waypoint: gateway('default/wp.default.mesh') });
        return { ip: '10.200.0.9', port: 80 };
      },
      /^unknown waypoint: waypoint default\/wp.default.mesh/,
      undefined,
    ],
    [
      'a service without endpoints',
      async () => {
        world.service('empty', '10.200.0.8', []);
        return { ip: '10.200.0.8', port: 80 };
      },
      /^no healthy upstream: 10.200.0.8:80$/,
      undefined,
    ],
    [
      'an endpoint on another network',
      async () => {
        const pod = await world.pod({
          name: 'abroad',
          node: 'two',
          plain: true,
          fields: { protocol: 'HBONE' },
        });
        world.service('abroad', '10.200.0.7', [pod]);
        world.update(pod, { network: 'abroad', addresses: [] });
        return { ip: '10.200.0.7', port: 80 };
      },
      /./,
      undefined,
    ],
    [
      'plain TCP that is refused',
      async () => ({ ip: (await world.pod({ name: 'plain', node: 'two', plain: true })).ip, port: 1 }),
      /^connection failed: 10\.\S+:1: Connection refused$/,
      'CONNECT',
    ],
  ];

  /** Takes the hand-shake under its own name, then does as it is told with the TLS connection. */
  function speaking(name: string, use: (socket: Socket) => void): Promise<Pod> {
    return pretender(name, (socket) => {
      socket.pause();
      void world
        .certificate(world.identity(world.pods.get(name) as Pod))
        .then((certificate) => acceptTls(socket, certificate))
        .then(
          (secured) => use(secured.socket),
          () => {},
        );
    });
  }

  const answering = (
    name: string,
    answer: (stream: Parameters<NonNullable<Parameters<typeof hboneServer>[2]['request']>>[0]) => void,
  ): Promise<Pod> =>
    speaking(name, (socket) => {
      hboneServer(socket, defaultWindows, { request: answer, closed: () => {} });
    });

  for (const [name, prepare, error, flag] of rows)
    test(name, async () => {
      const { from = client, ip, port = 8080 } = await prepare();
      await world.settled();
      const node = world.node('one');
      const failed = (): Promise<number> =>
        flag === undefined
          ? Promise.resolve(0)
          : node.metric('istio_tcp_connections_failed_total', `response_flags="${flag}"`);
      const before = await failed();
      // The first may open what later ones find open.
      for (let attempt = 0; attempt < 2; attempt++) {
        const watch = node.watch();
        const talk = new Talk(world.connect(from, ip, port));
        talk.socket.write('hello');
        assert.equal(await talk.end(), 'ECONNRESET');
        await world.quiet();
        assert.equal(watch.lines.length, 1, watch.lines.join('\n'));
        const [line] = watch.lines;
        assert.match(/ error="(.*)"$/.exec(line ?? '')?.[1] ?? '', error);
        assert.match(
          line ?? '',
          flag === undefined
            ? /\twarn\taccess\tconnection failed\tsrc.addr=\S+ dst.addr=\S+ direction="outbound" error=/
            : /\terror\taccess\tconnection complete\t.* direction="outbound" bytes_sent=0 bytes_recv=0 duration=/,
        );
      }
      assert.equal(await failed(), before + (flag === undefined ? 0 : 2));
    });

  test('a pod that the control plane has not told of: refused after 5 s; once it has, served', async () => {
    assert.equal(await hidden.talk.end(7000), 'ECONNRESET');
    await hidden.node.settled();
    const refused = hidden.node.lines.filter((line) => line.includes('\taccess\t'));
    assert.equal(refused.length, 1, refused.join('\n'));
    assert.match(
      refused[0] ?? '',
      /\twarn\taccess\tconnection failed\t.* error="unknown source: the control plane has not told of pod default\/hidden"$/,
    );
    const answer = world.call(hidden.pod, web.ip, 8080);
    await pause(50);
    world.tell({ addresses: [hidden.pod.workload] });
    assert.match(await answer, /^web sees/);
  });

  test('nothing is left: no sockets, no descriptors', async () => {
    const sockets = () => world.node('one').metric('istio_tcp_sockets_open', 'source');
    await world.quiet();
    for (let i = 0; (await sockets()) > 0 && i < 100; i++) await pause(10);
    assert.equal(await sockets(), 0);
    const bad = ['bare', 'no-tls', 'hangs-up', 'imposter', 'silent', 'http-1', 'plain'];
    const burst = async (): Promise<number> => {
      await Promise.all(
        bad.flatMap((name) =>
          Array.from({ length: 10 }, () =>
            new Talk(world.connect(client, (world.pods.get(name) as Pod).ip, 8080)).end(),
          ),
        ),
      );
      await Promise.all(Array.from({ length: 30 }, () => world.call(client, web.ip, 8080)));
      await world.quiet();
      let open = Number.POSITIVE_INFINITY;
      for (let i = 0; i < 30; i++) {
        open = Math.min(open, readdirSync('/proc/self/fd').length);
        await pause(5);
      }
      return open;
    };
    const first = await burst();
    await burst();
    const third = await burst();
    assert.ok(third <= first + 2, `${first} descriptors after one round, ${third} after three`);
  });
});
