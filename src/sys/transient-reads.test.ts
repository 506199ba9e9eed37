import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import { TLSSocket } from 'node:tls';
import { readTransient } from './transient-reads.ts';

suite('reads into a shared buffer', () => {
  let server: ReturnType<typeof createServer>;
  const accepted: Socket[] = [];

  before(async () => {
    server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => accepted.push(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });

  async function pair(): Promise<{ client: Socket; socket: Socket }> {
    const client = connect({
      port: (server.address() as AddressInfo).port,
      host: '127.0.0.1',
      allowHalfOpen: true,
    });
    await Promise.all([once(client, 'connect'), once(server, 'connection')]);
    return { client, socket: accepted.at(-1) as Socket };
  }

  test('this Node can do it, and two sockets share the memory', async () => {
    const one = await pair();
    const two = await pair();
    const memory = new Set<ArrayBufferLike>();
    for (const { client, socket } of [one, two]) {
      const came = new Promise<void>((resolve) => {
        assert.equal(
          readTransient(socket, (chunk) => {
            memory.add(chunk.buffer);
            assert.equal(chunk.toString(), 'hello');
            resolve();
          }),
          true,
        );
      });
      socket.resume();
      client.write('hello');
      await came;
      client.destroy();
    }
    assert.equal(memory.size, 1);
  });

  test('all bytes come in order, then the end', async () => {
    const { client, socket } = await pair();
    const parts: Buffer[] = [];
    readTransient(socket, (chunk) => parts.push(Buffer.from(chunk)));
    socket.resume();
    const sent = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
    client.end(sent);
    await once(socket, 'end');
    assert.deepEqual(Buffer.concat(parts), sent);
    client.destroy();
  });

  test('a paused socket is not read', async () => {
    const { client, socket } = await pair();
    let count = 0;
    readTransient(socket, (chunk) => {
      count += chunk.length;
      socket.pause();
    });
    socket.resume();
    client.write(Buffer.alloc(4_000_000));
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.ok(count > 0 && count <= 64 * 1024, `${count} bytes were read`);
    socket.resume();
    client.destroy();
  });

  test('TLS over a stream of JavaScript keeps memory of its own', () => {
    const [inner] = duplexPair();
    const socket = new TLSSocket(inner, { isServer: false });
    assert.equal(
      readTransient(socket, () => {}),
      false,
    );
    socket.destroy();
  });
});
