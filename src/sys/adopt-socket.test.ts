import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { adoptSocket } from './adopt-socket.ts';
import { holdForEnd } from './hold-for-end.ts';
import { socketFd } from './socket-fd.ts';
import { connectAtOnce, tcpSocket } from './tcp.ts';

suite('a socket made of a connected fd', () => {
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));

  before(() => new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve)));
  after(() => void server.close());

  function dialed(to = server): Socket {
    const fd = tcpSocket({ family: 4 });
    assert.equal(connectAtOnce(fd, '127.0.0.1', (to.address() as AddressInfo).port), true);
    const socket = adoptSocket(fd, true);
    assert.equal(socketFd(socket), fd);
    assert.equal(socket.connecting, false);
    return socket;
  }

  async function all(socket: Socket): Promise<string> {
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    return text;
  }

  // The first shows Node's class of handles, the later ones use it.
  for (const name of ['the first', 'the second', 'the third'])
    test(`${name} is a socket like any other: bytes, both ends, close`, async () => {
      const socket = dialed();
      assert.equal(socket.constructor.name, 'Socket');
      assert.equal(socket.remotePort, (server.address() as AddressInfo).port);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.end('hello');
      assert.equal(await all(socket), 'hello');
      await closed;
      assert.equal(socketFd(socket), undefined);
    });

  test('nothing is read before it is resumed', async () => {
    const socket = dialed();
    socket.write('early');
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(socket.bytesRead, 0);
    socket.end();
    assert.equal(await all(socket), 'early');
  });

  test('held for the end: all bytes arrive, and the end', async () => {
    for (const length of [1, 5_000_000]) {
      const socket = dialed();
      holdForEnd(socket);
      socket.end('x'.repeat(length));
      assert.equal((await all(socket)).length, length);
    }
  });

  test('held, and closed with nothing left to read: no reset', async (t) => {
    const events: (string | undefined)[] = [];
    const polite = createServer({ allowHalfOpen: true }, (socket) => {
      let text = '';
      socket.on('error', (error: NodeJS.ErrnoException) => events.push(error.code));
      socket.on('data', (chunk) => (text += String(chunk)));
      socket.on('end', () => events.push(text));
      socket.on('close', () => events.push('close'));
      socket.end();
    });
    t.after(() => polite.close());
    await new Promise<void>((resolve) => void polite.listen(0, '127.0.0.1', resolve));
    const socket = dialed(polite);
    const ended = once(socket, 'end');
    socket.resume();
    await ended;
    holdForEnd(socket);
    socket.write('last words');
    socket.destroy();
    while (events.at(-1) !== 'close') await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(events, ['last words', 'close']);
  });
});
