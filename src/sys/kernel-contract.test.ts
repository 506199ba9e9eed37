// What every Kernel does, tried on the real one (in namespaces of its own, as root) and on the fake twin.
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { FakeKernel } from './fake-kernel.ts';
import type { Kernel, Netns } from './kernel.ts';
import { linuxKernel } from './linux-kernel.ts';
import { createNetns, deleteNetns } from './netns-mount.ts';
import { sameNetns } from './netns.ts';
import { socketFd } from './socket-fd.ts';

interface World extends Disposable {
  readonly kernel: Kernel;
  /** Two namespaces with nothing but a loopback. */
  readonly a: Netns;
  readonly b: Netns;
}

function realWorld(): World {
  const directory = mkdtempSync(join(tmpdir(), 'kernel-contract-'));
  const paths = ['a', 'b'].map((name) => join(directory, name));
  const [a, b] = paths.map((path) => createNetns(path)) as [Netns, Netns];
  return {
    kernel: linuxKernel(),
    a,
    b,
    [Symbol.dispose]() {
      for (const netns of [a, b]) netns[Symbol.dispose]();
      for (const path of paths) deleteNetns(path);
      rmSync(directory, { recursive: true });
    },
  };
}

function fakeWorld(): World {
  const kernel = new FakeKernel();
  const [a, b] = [kernel.createNetns('a'), kernel.createNetns('b')];
  return {
    kernel,
    a,
    b,
    [Symbol.dispose]() {
      for (const netns of [a, b]) netns[Symbol.dispose]();
    },
  };
}

async function serve(fd: number, onConnection: (socket: Socket) => void = (s) => s.pipe(s)): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  server.listen({ fd });
  await once(server, 'listening');
  return server;
}

async function exchange(socket: Socket, text: string): Promise<string> {
  await once(socket, 'connect');
  socket.write(text);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  return answer.toString();
}

const isRoot = process.getuid?.() === 0;
const worlds: [string, () => World, false | string][] = [
  ['linux kernel', realWorld, isRoot ? false : 'namespaces need root'],
  ['fake kernel', fakeWorld, false],
];

for (const [name, make, skip] of worlds) {
  describe(name, { skip }, () => {
    test('a namespace is known by its identity, not by its fd', () => {
      using world = make();
      const { kernel, a, b } = world;
      using again = kernel.duplicateNetns(a);
      assert.notEqual(again.fd, a.fd);
      assert.ok(sameNetns(again, a));
      assert.ok(!sameNetns(a, b));
    });

    test('an fd that is no namespace is refused and closed', () => {
      using world = make();
      const fd = openSync('/dev/null', 'r');
      assert.throws(() => world.kernel.adoptNetns(fd), /is not a network namespace/);
      assert.throws(() => world.kernel.close(fd), /EBADF/);
      assert.throws(() => world.kernel.adoptNetns(fd), { name: 'SystemError', code: 'EBADF' });
    });

    test('a path that is not there is an error that names it', () => {
      using world = make();
      assert.throws(() => world.kernel.openNetns('/nowhere/ns'), /open \/nowhere\/ns: ENOENT/);
    });

    test('a disposed namespace cannot be entered', () => {
      using world = make();
      const gone = world.kernel.duplicateNetns(world.a);
      gone[Symbol.dispose]();
      gone[Symbol.dispose]();
      assert.throws(() => world.kernel.inNetns(gone, () => 1), /disposed/);
      assert.throws(() => world.kernel.tcpListener({ netns: gone, host: '::', port: 0 }), /disposed/);
    });

    test('inNetns gives the result, the error, and refuses asynchronous work', () => {
      using world = make();
      const { kernel, a, b } = world;
      assert.equal(
        kernel.inNetns(undefined, () => 1),
        1,
      );
      assert.equal(
        kernel.inNetns(a, () => kernel.inNetns(b, () => 2)),
        2,
      );
      assert.throws(
        () =>
          kernel.inNetns(a, () => {
            throw new Error('inner');
          }),
        /inner/,
      );
      assert.throws(() => kernel.inNetns(a, async () => {}), /asynchronous function/);
    });

    test('one port in two namespaces, each reached from its own', async () => {
      using world = make();
      const { kernel, a, b } = world;
      const fdA = kernel.tcpListener({ netns: a, host: '::', port: 15008 });
      const fdB = kernel.inNetns(b, () => kernel.tcpListener({ host: '::', port: 15008 }));
      await using serverA = await serve(fdA, (socket) => socket.end('a'));
      await using serverB = await serve(fdB, (socket) => socket.end('b'));
      assert.ok(serverA.listening && serverB.listening);
      for (const [netns, expected] of [
        [a, 'a'],
        [b, 'b'],
      ] as const) {
        const socket = kernel.connect({ netns, ip: '127.0.0.1', port: 15008 });
        const [data] = (await once(socket, 'data')) as [Buffer];
        assert.equal(data.toString(), expected);
        socket.destroy();
      }
    });

    test('a taken port is an error that names port, namespace and errno; SO_REUSEPORT shares it', () => {
      using world = make();
      const { kernel, a } = world;
      const first = kernel.tcpListener({ netns: a, host: '::', port: 15001 });
      assert.throws(() => kernel.tcpListener({ netns: a, host: '::', port: 15001 }), {
        name: 'SystemError',
        code: 'EADDRINUSE',
        syscall: 'bind',
        message: `bind [::]:15001 in netns ${a.label}: EADDRINUSE (address already in use)`,
      });
      kernel.close(first);
      const shared = { netns: a, host: '::', port: 15001, reusePort: true };
      for (const fd of [kernel.tcpListener(shared), kernel.tcpListener(shared)]) kernel.close(fd);
    });

    for (const [host, ip] of [
      ['::', '127.0.0.1'],
      ['::', '::1'],
      ['0.0.0.0', '127.0.0.1'],
      ['::1', '::1'],
    ] as const) {
      test(`both ends agree on the addresses: listener ${host}, client to ${ip}`, async () => {
        using world = make();
        const { kernel, a } = world;
        const fd = kernel.tcpListener({ netns: a, host, port: 0, backlog: 16, noDelay: true });
        const listening = kernel.localAddress(fd);
        assert.equal(listening.ip, host);
        const accepted = Promise.withResolvers<Socket>();
        await using _server = await serve(fd, (socket) => {
          accepted.resolve(socket);
          socket.pipe(socket);
        });
        const keepAlive = { timeSeconds: 180, intervalSeconds: 180, retries: 9 };
        const to = { ip, port: listening.port };
        const client = kernel.connect({ netns: a, ...to, noDelay: true, keepAlive, userTimeoutMs: 5000 });
        assert.equal(await exchange(client, 'hello'), 'hello');
        const clientFd = socketFd(client) as number;
        const serverFd = socketFd(await accepted.promise) as number;
        assert.deepEqual(kernel.peerAddress(clientFd), to);
        assert.deepEqual(kernel.localAddress(serverFd), to);
        assert.deepEqual(kernel.peerAddress(serverFd), kernel.localAddress(clientFd));
        assert.equal(kernel.peerAddress(serverFd).ip, ip);
        assert.equal(kernel.originalDestination(serverFd), undefined);
        client.destroy();
      });
    }

    test('the source address is the one asked for', async () => {
      using world = make();
      const { kernel, a } = world;
      const fd = kernel.tcpListener({ netns: a, host: '127.0.0.1', port: 0 });
      const { port } = kernel.localAddress(fd);
      const seen = Promise.withResolvers<string>();
      await using _server = await serve(fd, (socket) => {
        seen.resolve(kernel.peerAddress(socketFd(socket) as number).ip);
        socket.end();
      });
      const client = kernel.connect({ netns: a, ip: '127.0.0.1', port, bindIp: '127.9.9.9' });
      assert.equal(await seen.promise, '127.9.9.9');
      client.destroy();
    });

    test('tcpConnect is under way when it returns; a write tells when it is done', async () => {
      using world = make();
      const { kernel, a } = world;
      const listener = kernel.tcpListener({ netns: a, host: '::', port: 0 });
      const { port } = kernel.localAddress(listener);
      await using _server = await serve(listener);
      const fd = kernel.tcpConnect({ netns: a, ip: '127.0.0.1', port });
      assert.equal(kernel.peerAddress(fd).port, port);
      kernel.close(fd);
    });

    test('nobody listens: the error event says ECONNREFUSED with the address', async () => {
      using world = make();
      const socket = world.kernel.connect({ netns: world.a, ip: '127.0.0.1', port: 9 });
      const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNREFUSED');
      assert.match(error.message, /connect ECONNREFUSED 127\.0\.0\.1:9/);
    });

    test('addresses and ports are checked before the kernel sees them', () => {
      using world = make();
      const { kernel } = world;
      assert.throws(() => kernel.tcpListener({ host: 'localhost', port: 1 }), /'localhost' is not an IP/);
      assert.throws(() => kernel.udpSocket({ host: '::', port: 65536 }), /65536 is not a port/);
      assert.throws(() => kernel.connect({ ip: '10.0.0.256', port: 1 }), /is not an IP address/);
      assert.throws(() => kernel.connect({ ip: '10.0.0.1', port: -1 }), /-1 is not a port/);
      assert.throws(() => kernel.tcpConnect({ ip: 'localhost', port: 1 }), /is not an IP address/);
    });

    test('a datagram socket is bound in its namespace', async () => {
      using world = make();
      const { kernel, a } = world;
      const fd = kernel.udpSocket({ netns: a, host: '127.0.0.1', port: 15053 });
      assert.throws(() => kernel.udpSocket({ netns: a, host: '127.0.0.1', port: 15053 }), /EADDRINUSE/);
      assert.deepEqual(kernel.localAddress(fd), { ip: '127.0.0.1', port: 15053 });
      const socket = createSocket('udp4');
      socket.bind({ fd });
      const { port } = socket.address();
      socket.send('ping', port, '127.0.0.1');
      const [message] = (await once(socket, 'message')) as [Buffer];
      assert.equal(message.toString(), 'ping');
      socket.close();
    });

    test('a made but unused socket is closed by close, once', () => {
      using world = make();
      const fd = world.kernel.tcpSocket({ netns: world.a, family: 4, noDelay: true });
      world.kernel.close(fd);
      assert.throws(() => world.kernel.close(fd), { message: `close fd ${fd}: EBADF (bad file descriptor)` });
      assert.throws(() => world.kernel.localAddress(fd), /getsockname fd \d+: EBADF/);
      assert.throws(() => world.kernel.originalDestination(fd), /EBADF/);
    });

    test('the limit of open files is a number to plan with', () => {
      using world = make();
      assert.ok(world.kernel.raiseFileLimit() >= 1024);
    });
  });
}
