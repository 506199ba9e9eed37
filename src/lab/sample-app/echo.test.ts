import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { credentials, makeGenericClientConstructor, Metadata, type ServiceError } from '@grpc/grpc-js';
import { echoService, startEcho, type EchoApp } from './echo.ts';

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
