import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { sendDatagram } from './datagram.ts';
import { libc } from './libc.ts';
import { SeqpacketConnection } from './seqpacket-connection.ts';
import { SeqpacketServer, type SeqpacketServerOptions } from './seqpacket-server.ts';
import { seqpacketSocket, unixAddress } from './unix-address.ts';

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString();

class Pair implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'seqpacket-'));
  readonly path = join(this.directory, 's.sock');
  readonly accepted = Promise.withResolvers<SeqpacketConnection>();
  readonly server: SeqpacketServer;

  constructor(options: Partial<SeqpacketServerOptions> = {}) {
    this.server = new SeqpacketServer(this.path, {
      onConnection: (connection) => this.accepted.resolve(connection),
      ...options,
    });
  }

  async connect(options = {}): Promise<[SeqpacketConnection, SeqpacketConnection]> {
    const client = await SeqpacketConnection.connect(this.path, options);
    return [client, await this.accepted.promise];
  }

  [Symbol.dispose](): void {
    this.server.close();
    rmSync(this.directory, { recursive: true });
  }
}

test('messages keep their borders and their order', async () => {
  using pair = new Pair();
  const [client, server] = await pair.connect();
  const waiting = server.receive();
  await client.send(Buffer.from('one'));
  await client.send(Buffer.from('two'));
  assert.equal(text((await waiting)?.bytes), 'one');
  assert.equal(text((await server.receive())?.bytes), 'two');
  await server.send(Buffer.from('back'));
  assert.equal(text((await client.receive())?.bytes), 'back');
  client.close();
});

test('an fd arrives as another number of the same file, close-on-exec', async () => {
  using pair = new Pair();
  const [client, server] = await pair.connect();
  const fd = openSync('/dev/null', 'r');
  await client.send(Buffer.from('x'), [fd, fd]);
  const received = await server.receive();
  assert.equal(received?.fds.length, 2);
  for (const one of received?.fds ?? []) {
    assert.notEqual(one, fd);
    assert.equal(fstatSync(one).rdev, fstatSync(fd).rdev);
    closeSync(one);
  }
  closeSync(fd);
  client.close();
});

test('either side closing ends a waiting receive with undefined', async () => {
  using pair = new Pair();
  const [client, server] = await pair.connect();
  const [atClient, atServer] = [client.receive(), server.receive()];
  client.close();
  client.close();
  assert.equal(await atClient, undefined);
  assert.equal(await atServer, undefined);
  assert.equal(await client.receive(), undefined);
  await assert.rejects(server.send(Buffer.from('x')), { code: 'EPIPE' });
  await assert.rejects(client.send(Buffer.from('x')), /the connection is closed/);
});

test('what was sent before the end is still received, also when the peer left much unread', async () => {
  using pair = new Pair();
  const [client, server] = await pair.connect();
  await server.send(Buffer.from('never read'));
  await client.send(Buffer.from('last words'));
  client.close();
  assert.equal(text((await server.receive())?.bytes), 'last words');
  assert.equal(await server.receive(), undefined);
});

test('a message that is cut off is an error, its fds are closed, and the connection goes on', async () => {
  using pair = new Pair({ maxDatagram: 16 });
  const [client, server] = await pair.connect({ maxDatagram: 1000 });
  const fd = openSync('/dev/null', 'r');
  const count = readdirSync('/proc/self/fd').length;
  await client.send(Buffer.alloc(17), [fd]);
  await assert.rejects(server.receive(), /more than 16 bytes was cut off/);
  assert.equal(readdirSync('/proc/self/fd').length, count);
  await client.send(Buffer.alloc(16, 'y'));
  assert.equal((await server.receive())?.bytes.length, 16);
  closeSync(fd);
  client.close();
});

test('more fds than a message carries are an error on either side, and none stays open', async () => {
  using pair = new Pair();
  const fd = openSync('/dev/null', 'r');
  const tooMany = Array.from({ length: 17 }, () => fd);
  // A peer with a will of its own, hence by hand.
  const address = unixAddress(pair.path);
  const raw = seqpacketSocket();
  assert.equal(libc.connect(raw, address, address.length), 0);
  const server = await pair.accepted.promise;
  const count = readdirSync('/proc/self/fd').length;
  assert.equal(sendDatagram(raw, Buffer.from('x'), tooMany), 0);
  await assert.rejects(server.receive(), /more than 16 fds was cut off/);
  assert.equal(readdirSync('/proc/self/fd').length, count);
  await assert.rejects(server.send(Buffer.from('x'), tooMany), /17 fds; a message carries 16/);
  libc.close(raw);
  closeSync(fd);
});

test('empty and oversized messages are refused by the sender', async () => {
  using pair = new Pair();
  const [client] = await pair.connect();
  await assert.rejects(client.send(new Uint8Array(0)), /0 bytes; a message has 1–1024/);
  await assert.rejects(client.send(new Uint8Array(1025)), RangeError);
  client.close();
});

test('a peer that does not read: messages wait, up to a limit, then arrive in order', async () => {
  using pair = new Pair();
  const [client, server] = await pair.connect();
  const payload = Buffer.alloc(1024);
  const sent: Promise<void>[] = [];
  let refused: Error | undefined;
  for (let i = 0; refused === undefined && i < 5000; i++) {
    payload.writeUInt32LE(i);
    sent.push(client.send(payload));
    await Promise.race([
      (sent.at(-1) as Promise<void>).catch((error: Error) => (refused = error)),
      new Promise(setImmediate),
    ]);
  }
  assert.match(String(refused), /100 messages wait; the peer does not read/);
  for (let i = 0; i < sent.length - 1; i++)
    assert.equal(Buffer.from((await server.receive())?.bytes ?? []).readUInt32LE(), i);
  await Promise.all(sent.slice(0, -1));
  client.close();
});

test('messages that wait at close are rejected', async () => {
  using pair = new Pair();
  const [client] = await pair.connect();
  const outcomes: Promise<string>[] = [];
  for (let i = 0; i < 400; i++)
    outcomes.push(
      client.send(Buffer.alloc(1024)).then(
        () => 'sent',
        (error: Error) => error.message,
      ),
    );
  client.close();
  assert.ok((await Promise.all(outcomes)).some((outcome) => outcome.includes('the connection was closed')));
});

test('only one receive at a time', async () => {
  using pair = new Pair();
  const [client] = await pair.connect();
  const first = client.receive();
  await assert.rejects(client.receive(), /another receive waits/);
  client.close();
  await first;
});

test('the server knows its peer, and the file has the mode asked for', async () => {
  using pair = new Pair({ mode: 0o666 });
  const [client, server] = await pair.connect();
  assert.equal(server.peerCredentials().pid, process.pid);
  assert.equal(client.peerCredentials().uid, process.getuid?.());
  assert.equal(statSync(pair.path).mode & 0o777, 0o666);
  client.close();
  assert.throws(() => client.peerCredentials(), /EBADF/);
});

test('one connection more than the limit is turned away; when one ends, there is room', async () => {
  const refused: string[] = [];
  const accepted: SeqpacketConnection[] = [];
  using pair = new Pair({
    maxConnections: 1,
    onConnection: (connection) => accepted.push(connection),
    onRefused: (error) => refused.push(error.message),
  });
  const first = await SeqpacketConnection.connect(pair.path);
  const second = await SeqpacketConnection.connect(pair.path);
  assert.equal(await second.receive(), undefined);
  assert.match(refused[0] ?? '', /has 1 connections already/);
  accepted[0]?.close();
  assert.equal(pair.server.connections, 0);
  const third = await SeqpacketConnection.connect(pair.path);
  await third.send(Buffer.from('in'));
  assert.equal(await first.receive(), undefined);
  while (accepted.length < 2) await new Promise(setImmediate);
  assert.equal(text((await accepted[1]?.receive())?.bytes), 'in');
  for (const connection of [first, second, third]) connection.close();
});

test('a stale file is replaced; a living listener, or a file of another kind, is not', async () => {
  using pair = new Pair();
  const options = { onConnection: () => {} };
  assert.throws(() => new SeqpacketServer(pair.path, options), /in use: another process listens there/);
  const stale = join(pair.directory, 'stale.sock');
  const address = unixAddress(stale);
  const dead = seqpacketSocket();
  assert.equal(libc.bind(dead, address, address.length), 0);
  libc.close(dead);
  using server = new SeqpacketServer(stale, options);
  assert.ok(existsSync(stale));
  server.close();
  server.close();
  assert.ok(!existsSync(stale));
  writeFileSync(stale, 'precious');
  assert.throws(() => new SeqpacketServer(stale, options), /exists and is not a socket/);
});

test('a server that was replaced does not take away the file of its successor', () => {
  using pair = new Pair();
  unlinkSync(pair.path);
  using successor = new SeqpacketServer(pair.path, { onConnection: () => {} });
  pair.server.close();
  assert.ok(existsSync(pair.path));
  successor.close();
});

test('paths that Linux does not take are errors that say why', async () => {
  const long = `/tmp/${'x'.repeat(103)}`;
  await assert.rejects(SeqpacketConnection.connect(long), /has 108 bytes; Linux allows 107/);
  await assert.rejects(SeqpacketConnection.connect('a\0b'), /is not a path for a socket/);
  await assert.rejects(SeqpacketConnection.connect('/nowhere/s.sock'), {
    message: 'connect /nowhere/s.sock: ENOENT (no such file or directory)',
  });
});

test('when all is closed nothing is left: no fd, and the process ends by itself', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'seqpacket-end-'));
  const script = `
    const { SeqpacketServer, SeqpacketConnection } = await import(${JSON.stringify(import.meta.resolve('./index.ts'))});
    const { readdirSync } = await import('node:fs');
    const count = () => readdirSync('/proc/self/fd').length;
    const before = count();
    const server = new SeqpacketServer(process.argv[1], {
      onConnection: async (c) => { const m = await c.receive(); await c.send(m.bytes); await c.receive(); c.close(); server.close(); },
    });
    const client = await SeqpacketConnection.connect(process.argv[1]);
    await client.send(Buffer.from('x'));
    await client.receive();
    client.close();
    process.on('beforeExit', () => console.log(before - count()));`;
  const run = promisify(execFile);
  const path = join(directory, 's.sock');
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script, path], {
    timeout: 9000,
  });
  assert.equal(stdout.trim(), '0');
  rmSync(directory, { recursive: true });
});

test('process.exit and the end of a worker do not wait for a receive', async () => {
  using pair = new Pair({ onConnection: () => {} });
  const script = `
    import(${JSON.stringify(import.meta.resolve('./index.ts'))}).then(async ({ SeqpacketConnection }) => {
      const connection = await SeqpacketConnection.connect(${JSON.stringify(pair.path)});
      void connection.receive();
      const { parentPort } = require('node:worker_threads');
      if (parentPort === null) setTimeout(() => process.exit(7), 20);
      else parentPort.postMessage('waits');
    });`;
  await assert.rejects(promisify(execFile)(process.execPath, ['-e', script], { timeout: 9000 }), { code: 7 });
  const worker = new Worker(script, { eval: true });
  await once(worker, 'message');
  await worker.terminate();
});
