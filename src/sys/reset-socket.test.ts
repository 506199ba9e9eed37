import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { resetSocket } from './reset-socket.ts';
import { socketFd } from './socket-fd.ts';

suite('reset', () => {
  let server: Server;
  const accepted: ((socket: Socket) => void)[] = [];

  before(async () => {
    server = createServer({ allowHalfOpen: true }, (socket) => accepted.shift()?.(socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(() => server.close());

  async function pair(): Promise<{ here: Socket; there: Socket; seen: Promise<string> }> {
    const arrived = new Promise<Socket>((resolve) => accepted.push(resolve));
    const there = connect({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      allowHalfOpen: true,
    });
    const seen = new Promise<string>((resolve) => {
      there.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
      there.on('end', () => resolve('end'));
    });
    const here = await arrived;
    here.on('error', (error) => assert.fail(error));
    return { here, there, seen };
  }

  const rows: readonly (readonly [string, (here: Socket, there: Socket) => void | Promise<void>])[] = [
    ['at once', () => {}],
    ['in the turn in which it was ended', (here) => void here.end()],
    ['in the turn in which it was ended with a last word', (here) => void here.end('bye')],
    [
      'with more to write than the other takes',
      async (here, there) => {
        there.pause();
        for (let i = 0; i < 200; i++) here.write(Buffer.alloc(65_536));
        here.end();
        await new Promise((resolve) => setTimeout(resolve, 20));
        there.resume();
      },
    ],
  ];
  for (const [name, first] of rows)
    test(name, async () => {
      const { here, there, seen } = await pair();
      there.resume();
      await first(here, there);
      const fd = socketFd(here) as number;
      const closed = new Promise((resolve) => here.once('close', resolve));
      const inode = readlinkSync(`/proc/self/fd/${fd}`);
      resetSocket(here);
      resetSocket(here);
      await closed;
      assert.equal(await seen, 'ECONNRESET');
      let now = '';
      try {
        now = readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        // Closed, as it should be.
      }
      assert.notEqual(now, inode);
    });

  test('after its end has gone out, and while it connects', async () => {
    const { here, there, seen } = await pair();
    here.end();
    there.resume();
    assert.equal(await seen, 'end');
    const reset = new Promise<string>((resolve) =>
      there.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? '')),
    );
    resetSocket(here);
    there.write('x');
    assert.match(await reset, /ECONNRESET|EPIPE/);

    const connecting = connect((server.address() as AddressInfo).port, '127.0.0.1');
    accepted.push((socket) => socket.on('error', () => {}).destroy());
    const closed = new Promise((resolve) => connecting.once('close', resolve));
    resetSocket(connecting);
    await closed;
  });
});
