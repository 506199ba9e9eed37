import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { json } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { credentials, makeGenericClientConstructor, Metadata, type ServiceError } from '@grpc/grpc-js';
import { echoService, startEcho, type EchoApp } from './echo.ts';
import type { EchoReport } from './http-echo.ts';

let app: EchoApp;
before(async () => {
  app = await startEcho({ host: '127.0.0.1', ports: { tcp: 0, http: 0, grpc: 0 }, podName: 'me' });
});
after(() => app[Symbol.asyncDispose]());

test('TCP speaks first, then echoes, also what comes last', async () => {
  const socket = connect(app.ports.tcp, '127.0.0.1');
  let text = '';
  socket.on('data', (data: Buffer) => (text += data.toString()));
  socket.end('hello');
  await once(socket, 'end');
  assert.equal(text, 'me\nhello');
});

test('HTTP echoes bodies', async () => {
  const response = await fetch(`http://127.0.0.1:${app.ports.http}/x`, { method: 'POST', body: 'hello' });
  assert.equal(await response.text(), 'hello');
  assert.equal(response.headers.get('x-pod'), 'me');
});

test('HTTP/1.1 and HTTP/2 report what they saw of a request without a body', async () => {
  const response = await fetch(`http://127.0.0.1:${app.ports.http}/x?y=1`, { headers: { 'x-a': 'b' } });
  const report = (await response.json()) as EchoReport;
  assert.deepEqual(
    [report.pod, report.version, report.protocol, report.method, report.path, report.headers['x-a']],
    ['me', 'v1', 'HTTP/1.1', 'GET', '/x?y=1', 'b'],
  );
  const session = connectHttp2(`http://127.0.0.1:${app.ports.http}`);
  try {
    const stream = session.request({ ':path': '/two', ':method': 'DELETE', ':authority': 'name' });
    const second = (await json(stream)) as EchoReport;
    assert.deepEqual(
      [second.protocol, second.method, second.path, second.host],
      ['HTTP/2.0', 'DELETE', '/two', 'name'],
    );
  } finally {
    session.close();
  }
});

test('HTTP fails as often as it is told, and recalls what it was told to remember', async () => {
  const url = `http://127.0.0.1:${app.ports.http}/`;
  const headers = { 'x-echo-fail': 'key 2 503', 'x-echo-remember': 'memory' };
  const statuses: number[] = [];
  for (let i = 0; i < 3; i++) statuses.push((await fetch(url, { headers })).status);
  assert.deepEqual(statuses, [503, 503, 200]);
  const kept = (await (await fetch(url, { headers: { 'x-echo-recall': 'memory' } })).json()) as unknown[];
  assert.equal(kept.length, 3);
  await assert.rejects(fetch(url, { headers: { 'x-echo-fail': 'cut 1 reset' } }));
  const set = await fetch(url, { headers: { 'x-echo-set-x-b': 'c', 'x-echo-status': '418' } });
  assert.deepEqual([set.status, set.headers.get('x-b')], [418, 'c']);
});

test('WebSocket echoes texts as texts and bytes as bytes', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${app.ports.http}/`);
  socket.binaryType = 'arraybuffer';
  await once(socket, 'open');
  const next = async (): Promise<unknown> => ((await once(socket, 'message')) as [{ data: unknown }])[0].data;
  const text = next();
  socket.send('grüß');
  assert.equal(await text, 'grüß');
  const bytes = next();
  socket.send(new Uint8Array([1, 2, 3]));
  assert.deepEqual(new Uint8Array((await bytes) as ArrayBuffer), new Uint8Array([1, 2, 3]));
  const closed = once(socket, 'close');
  socket.close();
  await closed;
});

interface EchoClient {
  Say(
    message: Buffer,
    metadata: Metadata,
    done: (error: ServiceError | null, answer?: Buffer) => void,
  ): unknown;
  Talk(): {
    write(message: Buffer): void;
    end(): void;
    on(event: 'data', listener: (message: Buffer) => void): void;
    on(event: 'end', listener: () => void): void;
  };
  close(): void;
}

test('gRPC echoes a call, a talk, and fails on demand', async () => {
  const Client = makeGenericClientConstructor(echoService, 'Echo');
  const client = new Client(
    `127.0.0.1:${app.ports.grpc}`,
    credentials.createInsecure(),
  ) as unknown as EchoClient;
  const say = (metadata: Metadata): Promise<Buffer | undefined> =>
    new Promise((resolve, reject) =>
      client.Say(Buffer.from('hello'), metadata, (error, answer) =>
        error === null ? resolve(answer) : reject(error),
      ),
    );
  try {
    assert.equal((await say(new Metadata()))?.toString(), 'hello');
    const failing = new Metadata();
    failing.set('x-status', '14');
    await assert.rejects(say(failing), (error: ServiceError) => error.code === 14);
    const call = client.Talk();
    const heard: string[] = [];
    call.on('data', (message) => heard.push(message.toString()));
    const ended = new Promise<void>((resolve) => call.on('end', resolve));
    call.write(Buffer.from('a'));
    call.write(Buffer.from('b'));
    call.end();
    await ended;
    assert.deepEqual(heard, ['a', 'b']);
  } finally {
    client.close();
  }
});
