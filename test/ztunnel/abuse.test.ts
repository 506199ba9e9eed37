// What hostile peers and confused applications send: each gets a clear answer and one line in the log, and nobody
// else notices.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { after, afterEach, before, suite, test } from 'node:test';
import { CertificateAuthority } from '#/identity/index.ts';
import type { Identity } from '#/model/index.ts';
import { hboneClient, defaultWindows, connect as askTunnel, type H2Stream } from '#/tunnel/index.ts';
import type { LineWatch, MeshNode } from './mesh-node.ts';
import { blackHole } from './namespaces.ts';
import { askConnect, http2Over, hungUp, request, tlsIdentity, tlsOver } from './raw-peer.ts';
import { World, type Pod } from './world.ts';
import { Talk } from './talk.ts';

suite('abuse', () => {
  let world: World;
  let client: Pod;
  let outsider: Pod;
  let web: Pod;
  let node: MeshNode;
  let neighbour: Talk;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    outsider = await world.pod({ name: 'outsider', node: 'one', plain: true });
    web = await world.pod({ name: 'web', node: 'two' });
    world.echo(web);
    node = world.node('two');
    neighbour = await world.talk(client, web.ip);
  });
  after(() => world[Symbol.asyncDispose]());
  /** Waits until nothing is open on the node but the neighbour's connection. */
  async function quiet(): Promise<void> {
    for (let i = 0; (await node.connections()).length !== 1 && i < 500; i++)
      await new Promise((resolve) => setTimeout(resolve, 5));
    await world.settled();
    assert.equal((await node.connections()).length, 1);
  }
  const dialledHere: Socket[] = [];
  afterEach(async () => {
    for (const socket of dialledHere.splice(0)) socket.destroy();
    await quiet();
    await neighbour.echo('not disturbed');
  });

  function dialled(): Socket {
    const socket = world.connect(outsider, web.ip, 15008);
    dialledHere.push(socket);
    return socket;
  }
  const raw = (): Talk => new Talk(dialled());
  /** The line of a connection that came to nothing. */
  const refusal = async (watch: LineWatch): Promise<string> => {
    const line = await watch.one('connection failed');
    assert.match(
      line,
      new RegExp(
        `\twarn\taccess\tconnection failed\tsrc.addr=${outsider.ip}:\\d+ dst.addr=${web.ip}:15008 direction="inbound" error="`,
      ),
    );
    return /error="(.*)"$/.exec(line)?.[1] ?? '';
  };

  suite('that do not get as far as a request', () => {
    test('plain HTTP on 15008', async () => {
      const watch = node.watch();
      const talk = raw();
      talk.socket.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
      await talk.end(1000);
      assert.match(await refusal(watch), /^tls handshake error: /);
    });

    test('random bytes, a TLS record that lies about its length, a cut-off hello', async () => {
      for (const bytes of [
        Buffer.alloc(4096, 0x5a),
        Buffer.from('16030100ff0100', 'hex'),
        Buffer.from('1603010005010000010300', 'hex'),
      ]) {
        const watch = node.watch();
        const talk = raw();
        talk.socket.end(bytes);
        await talk.end(1000);
        assert.match(await refusal(watch), /^tls handshake error: /);
      }
    });

    test('a scan of the port', async () => {
      const watch = node.watch();
      const talk = raw();
      talk.socket.once('connect', () => talk.socket.destroy());
      assert.match(await refusal(watch), /^tls handshake error: /);
    });

    test('no certificate', async () => {
      const watch = node.watch();
      const tls = await tlsOver(dialled(), { rejectUnauthorized: false, ALPNProtocols: ['h2'] });
      await hungUp(tls);
      assert.match(await refusal(watch), /^tls handshake error: .*peer did not return a certificate/);
    });

    const bad: readonly (readonly [string, () => Promise<object>, RegExp])[] = [
      [
        'a certificate of a foreign authority',
        async () => {
          const foreign = await CertificateAuthority.selfSigned({ trustDomain: 'cluster.local' });
          return tlsIdentity(await world.issue(world.identity(client), foreign));
        },
        /^tls handshake error: /,
      ],
      [
        'another trust domain, signed by our own authority',
        async () =>
          tlsIdentity(await world.issue('spiffe://elsewhere/ns/a/sa/b' as Identity, world.authority)),
        /^tls handshake error: the peer's trust domain is elsewhere, not cluster.local \(spiffe:\/\/elsewhere\/ns\/a\/sa\/b\)$/,
      ],
      [
        'TLS 1.2',
        async () => ({
          ...tlsIdentity(await world.certificate(world.identity(client))),
          minVersion: 'TLSv1.2',
          maxVersion: 'TLSv1.2',
        }),
        /^tls handshake error: .*(unsupported protocol|version)/i,
      ],
      [
        'no ALPN',
        async () => ({ ...tlsIdentity(await world.certificate(world.identity(client))), ALPNProtocols: [] }),
        /^tls handshake error: the peer does not offer h2$/,
      ],
      [
        'HTTP/1.1 by ALPN',
        async () => ({
          ...tlsIdentity(await world.certificate(world.identity(client))),
          ALPNProtocols: ['http/1.1'],
        }),
        /^tls handshake error: /,
      ],
    ];
    for (const [name, options, reason] of bad)
      test(name, async () => {
        const watch = node.watch();
        await tlsOver(dialled(), { ...(await options()), rejectUnauthorized: false }).then(hungUp, () => {});
        assert.match(await refusal(watch), reason);
      });

    test('proven, but then it does not speak HTTP/2: only closed', async () => {
      const identity = tlsIdentity(await world.certificate(world.identity(client)));
      const watch = node.watch();
      const tls = await tlsOver(dialled(), identity);
      tls.write('GET / HTTP/1.1\r\nhost: web\r\n\r\n');
      await hungUp(tls);
      await node.settled();
      assert.deepEqual(watch.lines, []);
    });

    test('stalled hand-shakes go with their pod, each with its line', async () => {
      const victim = await world.pod({ name: 'victim', node: 'two' });
      const talks = Array.from({ length: 20 }, () => new Talk(world.connect(outsider, victim.ip, 15008)));
      for (const talk of talks) talk.socket.write(Buffer.from('1603010200', 'hex'));
      for (let i = 0; (await node.metric('istio_tcp_sockets_open', 'destination')) < 21 && i < 100; i++)
        await new Promise((resolve) => setTimeout(resolve, 5));
      const watch = node.watch();
      await node.workers.stop(victim.workload.uid);
      for (const talk of talks) await talk.end(1000);
      await node.settled();
      assert.equal((await watch.find('connection failed')).length, 20);
    });
  });

  suite('requests', () => {
    const session = async () => {
      const identity = tlsIdentity(await world.certificate(world.identity(client)));
      return await http2Over(dialled(), identity);
    };

    test('a CONNECT of another HTTP/2 implementation opens a tunnel', async () => {
      const peer = await session();
      const watch = node.watch();
      const { status, stream, headers } = await askConnect(peer, `${web.ip}:8080`, {
        baggage: 'k8s.cluster.name=c2,k8s.namespace.name=ns2,k8s.deployment.name=d2,service.name=s2',
      });
      assert.equal(status, 200);
      assert.equal(
        headers.baggage,
        'k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.pod.name=web,service.name=web,service.version=v1',
      );
      let got = '';
      stream.setEncoding('utf8').on('data', (chunk: string) => (got += chunk));
      stream.end('by hand');
      await new Promise((resolve) => stream.once('close', resolve));
      assert.equal(got, `web sees ${outsider.ip}\nby hand`);
      const line = await watch.one('connection complete');
      // The address says who it is; the certificate, what it may claim to be.
      assert.match(
        line,
        /src.workload="outsider" .*src.identity="spiffe:\/\/cluster.local\/ns\/default\/sa\/client"/,
      );
    });

    test('refused requests: status, and one line each', async () => {
      const peer = await session();
      const rows: readonly (readonly [Record<string, string>, number, RegExp])[] = [
        [{ ':method': 'GET', ':path': '/', ':scheme': 'https' }, 400, /^expected method CONNECT, got GET$/],
        [{ ':method': 'POST', ':path': '/x' }, 400, /^expected method CONNECT, got POST$/],
        [{ ':method': 'OPTIONS', ':path': '*' }, 400, /OPTIONS$/],
        [{ ':authority': `${client.ip}:8080` }, 400, new RegExp(`^ip mismatch: ${web.ip} != ${client.ip}$`)],
        [{ ':authority': '127.0.0.1:8080' }, 400, /^ip mismatch: /],
        [{ ':authority': '[::1]:8080' }, 400, /^ip mismatch: /],
        [{ ':authority': `${web.ip}:15001` }, 503, /^attempted recursive call to ourselves$/],
        [{ ':authority': `${web.ip}:15006` }, 503, /^attempted recursive call to ourselves$/],
        [{ ':authority': `${web.ip}:15008` }, 503, /^attempted recursive call to ourselves$/],
        [{ ':authority': web.ip }, 400, /^no valid authority pseudo header: /],
        [{ ':authority': `${web.ip}:` }, 400, /^no valid authority/],
        [{ ':authority': `${web.ip}:70000` }, 400, /^no valid authority/],
        [{ ':authority': `${web.ip}:-1` }, 400, /^no valid authority/],
        [{ ':authority': `${web.ip}:80a` }, 400, /^no valid authority/],
        [{ ':authority': ':8080' }, 400, /^no valid authority/],
        [{ ':authority': `user@${web.ip}:8080` }, 503, /^no service or workload for hostname: user@/],
        [{ ':authority': 'nobody.example:80' }, 503, /^no service or workload for hostname: nobody.example$/],
        [{ ':authority': '::1:8080' }, 400, /^no valid authority/],
        [{ ':authority': `${'x'.repeat(4000)}:80` }, 400, /^no valid authority pseudo header: x{300}$/],
        [{ ':method': 'X'.repeat(4000), ':path': '/' }, 400, /^expected method CONNECT, got X{20}$/],
      ];
      for (const [headers, status, reason] of rows) {
        const watch = node.watch();
        const answer = await request(peer, { ':method': 'CONNECT', ':authority': 'x:1', ...headers });
        assert.equal(answer.status, status, JSON.stringify(headers));
        assert.match(await refusal(watch), reason);
      }
      const { status } = await askConnect(peer, `${web.ip}:8080`);
      assert.equal(status, 200, 'the session goes on');
    });

    test('a port nobody listens on: 503, flag CONNECT', async () => {
      const peer = await session();
      const before = await node.metric('istio_tcp_connections_failed_total', '"CONNECT"');
      const { status } = await askConnect(peer, `${web.ip}:1`);
      assert.equal(status, 503);
      assert.equal(await node.metric('istio_tcp_connections_failed_total', '"CONNECT"'), before + 1);
    });

    test('headers that no sane peer sends do not reach the log as they are', async () => {
      const identity = tlsIdentity(await world.certificate(world.identity(client)));
      const tls = await tlsOver(dialled(), identity);
      const own = hboneClient(tls, defaultWindows, { closed: () => {} });
      const ask = (authority: string, ...headers: [string, string][]): Promise<string> =>
        new Promise((resolve) => {
          askTunnel(own, authority, headers, {
            opened: (stream) => {
              stream.reset(8);
              resolve('200');
            },
            refused: resolve,
            failed: ({ message }) => resolve(message),
          });
        });
      const watch = node.watch();
      for (const authority of ['a b:80', 'x"\ty=\\:1', 'x\u0000:1', '', 'é:1']) {
        const answer = await ask(authority);
        assert.ok(
          answer === '400' || answer === '503' || /reset|protocol/i.test(answer),
          `${authority}: ${answer}`,
        );
      }
      assert.equal(
        await ask(
          `${web.ip}:8080`,
          ['baggage', 'k8s.namespace.name="; evil=1,,=,k8s.cluster.name=\\'],
          ['forwarded', 'for="[;host=evil" dst.workload="x'],
          ['traceparent', 'zz'],
          ['x-forwarded-network', '"'],
        ),
        '200',
      );
      // A control character is malformed in any field (RFC 9113, 8.2.1).
      for (const name of ['baggage', 'x-forwarded-network'])
        assert.match(await ask(`${web.ip}:8080`, [name, 'a\u0007']), /protocol/i);
      await node.settled();
      for (const line of watch.lines) assert.match(line, /^[ -~\t]+ (error=".*"|duration="\d+ms")$/, line);
    });

    test('hundreds of requests that are taken back at once leave nothing open', async () => {
      const peer = await session();
      await blackHole(web.netns, 7070);
      const watch = node.watch();
      for (let round = 0; round < 5; round++) {
        const streams = Array.from({ length: 60 }, (_, i) =>
          peer.request({ ':method': 'CONNECT', ':authority': `${web.ip}:${i % 2 === 0 ? 7070 : 8080}` }),
        );
        await Promise.all(
          streams.map(
            (stream) =>
              new Promise<void>((resolve) => {
                stream.on('error', () => {});
                stream.once('close', () => resolve());
                setTimeout(() => stream.close(8), 1);
              }),
          ),
        );
      }
      for (let i = 0; (await node.connections()).length > 1 && i < 200; i++)
        await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal((await node.connections()).length, 1, 'only the neighbour');
      await node.settled();
      assert.equal(watch.lines.length, 300);
    });

    test('ended and taken back in one packet: a reset for the application, and no descriptor is left', async () => {
      const identity = tlsIdentity(await world.certificate(world.identity(client)));
      const fds = async (): Promise<number> => {
        await quiet();
        let least = Number.POSITIVE_INFINITY;
        for (let i = 0; i < 20; i++) {
          least = Math.min(least, readdirSync('/proc/self/fd').length);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        return least;
      };
      const seen: Promise<string>[] = [];
      const server = world.listen(web, 9090, (socket) => seen.push(new Talk(socket).end()));
      const burst = async (): Promise<void> => {
        const own = hboneClient(await tlsOver(dialled(), identity), defaultWindows, { closed: () => {} });
        const streams = await Promise.all(
          Array.from(
            { length: 30 },
            () =>
              new Promise<H2Stream>((resolve, reject) => {
                const failed = (why: unknown): void => reject(new Error(String(why)));
                askTunnel(own, `${web.ip}:9090`, [], { opened: resolve, refused: failed, failed });
              }),
          ),
        );
        for (const stream of streams) {
          stream.end();
          stream.reset(8);
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
        own.destroy('done');
      };
      await burst();
      const before = await fds();
      await burst();
      await burst();
      assert.ok((await fds()) <= before + 2);
      assert.deepEqual(new Set(await Promise.all(seen)), new Set(['ECONNRESET']));
      assert.equal(seen.length, 90);
      server.close();
    });

    test('more streams than are allowed at once: the rest is refused', async () => {
      const peer = await session();
      await new Promise((resolve) => peer.once('remoteSettings', resolve));
      const streams = Array.from({ length: 200 }, () => askConnect(peer, `${web.ip}:8080`));
      const answers = await Promise.all(streams);
      assert.ok(answers.every(({ status }) => status === 200));
      assert.equal((await node.connections()).length, 201);
    });
  });
});
