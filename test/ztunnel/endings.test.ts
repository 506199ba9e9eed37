// How connections end: each half by itself, by reset, with a reader that does not read. Each gives one line per proxy.
import assert from 'node:assert/strict';
import type { Server, Socket } from 'node:net';
import { after, afterEach, before, suite, test } from 'node:test';
import { Talk } from './talk.ts';
import { World, type Pod } from './world.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for the next connection that the server takes, and keeps it from being answered. */
function nextConnection(world: World, pod: Pod, port: number): { server: Server; socket: Promise<Socket> } {
  const { promise, resolve } = Promise.withResolvers<Socket>();
  return { server: world.listen(pod, port, resolve), socket: promise };
}

suite('endings', () => {
  let world: World;
  let client: Pod;
  let web: Pod;
  let outsider: Pod;
  let port = 20_000;

  before(async () => {
    world = await World.make();
    client = await world.pod({ name: 'client', node: 'one' });
    web = await world.pod({ name: 'web', node: 'two' });
    outsider = await world.pod({ name: 'outsider', node: 'one', plain: true });
    world.echo(web);
    await world.call(client, web.ip, 8080);
  });
  after(() => world[Symbol.asyncDispose]());

  const paths: readonly (readonly [string, () => Pod, () => Pod, lines: number])[] = [
    ['through a tunnel', () => client, () => web, 2],
    ['from outside the mesh', () => outsider, () => web, 1],
    ['to outside the mesh', () => client, () => outsider, 1],
  ];
  for (const [name, from, to, lines] of paths)
    suite(name, () => {
      let clientSide: Talk;
      let serverSide: Talk;
      let watches: { readonly lines: readonly string[] }[];
      let server: Server;

      async function open(): Promise<void> {
        await world.quiet();
        watches = ['one', 'two'].map((node) => world.node(node).watch());
        const next = nextConnection(world, to(), ++port);
        server = next.server;
        clientSide = new Talk(world.connect(from(), to().ip, port));
        clientSide.socket.write('hello');
        serverSide = new Talk(await next.socket);
        await serverSide.until(() => serverSide.received === 'hello');
      }
      afterEach(() => server.close());

      /** The lines of the connection, one per proxy, and nothing is open. */
      async function told(pattern: RegExp): Promise<void> {
        await world.quiet();
        const said = watches.flatMap((watch) => watch.lines);
        assert.equal(said.length, lines, said.join('\n'));
        for (const line of said) assert.match(line, pattern);
      }

      test('the client ends first and still gets its answer', async () => {
        await open();
        clientSide.socket.end(', all');
        assert.equal(await serverSide.end(), 'end');
        assert.equal(serverSide.received, 'hello, all');
        await pause(20);
        assert.equal(clientSide.outcome, undefined);
        serverSide.socket.write('an ');
        await pause(5);
        serverSide.socket.end('answer');
        assert.equal(await clientSide.end(), 'end');
        assert.equal(clientSide.received, 'an answer');
        await told(/\tinfo\taccess\tconnection complete\t.* bytes_sent=\d+ bytes_recv=\d+ duration="\d+ms"$/);
      });

      test('the server ends first and still gets the rest', async () => {
        await open();
        serverSide.socket.end('bye');
        assert.equal(await clientSide.end(), 'end');
        assert.equal(clientSide.received, 'bye');
        await pause(20);
        clientSide.socket.write(', and');
        await serverSide.until(() => serverSide.received === 'hello, and');
        clientSide.socket.end(' more');
        assert.equal(await serverSide.end(), 'end');
        assert.equal(serverSide.received, 'hello, and more');
        await told(/\tinfo\taccess\tconnection complete\t/);
      });

      test('a reset by the client reaches the server as a reset', async () => {
        await open();
        clientSide.socket.resetAndDestroy();
        assert.equal(await serverSide.end(), 'ECONNRESET');
        await told(/\tinfo\taccess\tconnection complete\t/);
      });

      test('a reset by the server reaches the client as a reset', async () => {
        await open();
        serverSide.socket.resetAndDestroy();
        assert.equal(await clientSide.end(), 'ECONNRESET');
        await told(/\tinfo\taccess\tconnection complete\t/);
      });

      test('a reset after a half has ended', async () => {
        await open();
        clientSide.socket.end();
        assert.equal(await serverSide.end(), 'end');
        serverSide.socket.resetAndDestroy();
        assert.equal(await clientSide.end(), 'ECONNRESET');
        await told(/\tconnection complete\t/);
      });

      for (const reader of ['client', 'server'] as const)
        test(`a ${reader} that does not read: the other is stopped, then all arrives`, async () => {
          await open();
          const [slow, fast] = reader === 'client' ? [clientSide, serverSide] : [serverSide, clientSide];
          slow.socket.pause();
          const size = 96 * 1024 * 1024;
          fast.socket.end(Buffer.alloc(size, 'x'));
          let accepted = -1;
          while (accepted !== fast.socket.bytesWritten - fast.socket.writableLength) {
            accepted = fast.socket.bytesWritten - fast.socket.writableLength;
            await pause(150);
          }
          const taken = await inKernel(fast.socket, size);
          assert.ok(taken < 48 * 1024 * 1024, `${taken} bytes were taken for a reader that does not read`);
          let got = slow.received.length;
          slow.socket.removeAllListeners('data');
          slow.socket.on('data', (chunk: string) => (got += chunk.length));
          slow.socket.resume();
          assert.equal(await slow.end(15_000), 'end');
          assert.equal(got, size + (reader === 'server' ? 5 : 0));
          slow.socket.end();
          await told(/\tinfo\taccess\tconnection complete\t/);
        });
    });

  test('hundreds of connections of one client that are reset do not disturb another on the same session', async () => {
    const neighbour = await world.talk(client, web.ip);
    for (let round = 0; round < 10; round++) {
      const talks = await Promise.all(Array.from({ length: 40 }, () => world.talk(client, web.ip)));
      for (const talk of talks) talk.socket.resetAndDestroy();
      await neighbour.echo(`round ${round}`);
    }
    neighbour.socket.end();
    assert.equal(await neighbour.end(), 'end');
    await world.quiet();
  });
});

/** Bytes of a large write that the process has handed to the kernel. */
async function inKernel(socket: Socket, size: number): Promise<number> {
  await pause(0);
  const { writeQueueSize } = (socket as unknown as { _handle: { writeQueueSize: number } })._handle;
  return size - writeQueueSize;
}
