// gRPC through our HTTP/2: @grpc/grpc-js asks our server, and our client asks a server of @grpc/grpc-js. Between them
// every exchange is handed on, as the waypoint does it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import type { ClientConnection, ServerExchange } from '../exchange.ts';
import { streamChannel } from '../h1/scripted-channel.ts';
import { until } from './channel-pair.ts';
import { h2Client } from './client.ts';
import { h2Server } from './server.ts';

const same = (bytes: Buffer): Buffer => bytes;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});

const service = {
  unary: method('Unary', false, false),
  list: method('List', false, true),
  collect: method('Collect', true, false),
  chat: method('Chat', true, true),
  never: method('Never', false, false),
};

let cancelled = 0;

const implementation: grpc.UntypedServiceImplementation = {
  unary(call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) {
    if (call.request.toString() === 'fail')
      done({ code: grpc.status.FAILED_PRECONDITION, details: 'not today: 100%', metadata: tagged('bad') });
    else done(null, call.request, tagged('good'));
  },
  list(call: grpc.ServerWritableStream<Buffer, Buffer>) {
    for (let i = 0; i < 200; i++) call.write(Buffer.alloc(5000, i));
    call.end(tagged('good'));
  },
  collect(call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) {
    let bytes = 0;
    call.on('data', (chunk: Buffer) => (bytes += chunk.length));
    call.on('end', () => done(null, Buffer.from(String(bytes))));
  },
  chat(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
    call.on('data', (chunk: Buffer) => call.write(chunk));
    call.on('end', () => call.end());
    call.on('cancelled', () => cancelled++);
  },
  never(call: grpc.ServerUnaryCall<Buffer, Buffer>) {
    call.on('cancelled', () => cancelled++);
  },
};

function tagged(value: string): grpc.Metadata {
  const metadata = new grpc.Metadata();
  metadata.set('x-tag', value);
  return metadata;
}

/** Hands an exchange on to the connection behind. What is blocked is held, one window of it at most. */
function forward(exchange: ServerExchange, upstream: ClientConnection): void {
  const asked = upstream.request(exchange.request, exchange.requestEnded, {
    inform: (status, headers) => exchange.inform(status, headers),
    head: (head, ended) => exchange.respond(head, ended),
    data(chunk) {
      exchange.write(chunk);
      asked.consumed(chunk.length);
    },
    end: (trailers) => exchange.end(trailers),
    failed: () => exchange.reset(),
    writable() {},
  });
  exchange.receiver = {
    data(chunk) {
      asked.write(chunk);
      exchange.consumed(chunk.length);
    },
    end: (trailers) => asked.end(trailers),
    failed: () => asked.reset(),
    writable() {},
  };
}

let client: grpc.Client;
const ends: (() => void)[] = [];

before(async () => {
  const theirs = new grpc.Server();
  theirs.addService(service, implementation);
  const port = await new Promise<number>((resolve, reject) => {
    theirs.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const socket = net.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const upstream = h2Client(streamChannel(socket), {}, { available() {}, closed() {} });
  await until(() => upstream.capacity > 0);
  const sockets = new Set<net.Socket>();
  const ours = net.createServer((accepted) => {
    sockets.add(accepted);
    h2Server(
      streamChannel(accepted),
      {},
      {
        request: (exchange) => forward(exchange, upstream),
        refused: ({ reason }) => assert.fail(reason),
        closed() {},
      },
    );
  });
  ours.listen(0, '127.0.0.1');
  await once(ours, 'listening');
  client = new grpc.Client(
    `127.0.0.1:${(ours.address() as net.AddressInfo).port}`,
    grpc.credentials.createInsecure(),
  );
  ends.push(
    () => client.close(),
    () => ours.close(),
    () => socket.destroy(),
    () => {
      for (const accepted of sockets) accepted.destroy();
    },
    () => theirs.forceShutdown(),
  );
});
after(() => {
  for (const end of ends) end();
});

interface Unary {
  readonly error: grpc.ServiceError | null;
  readonly value: string | undefined;
  readonly status: grpc.StatusObject;
}

function unary(name: keyof typeof service, message: string, options: grpc.CallOptions = {}): Promise<Unary> {
  return new Promise((resolve) => {
    let result: Omit<Unary, 'status'> | undefined;
    let status: grpc.StatusObject | undefined;
    const settle = (): void => {
      if (result !== undefined && status !== undefined) resolve({ ...result, status });
    };
    const call = client.makeUnaryRequest(
      service[name].path,
      same,
      same,
      Buffer.from(message),
      new grpc.Metadata(),
      options,
      (error, value) => {
        result = { error, value: value?.toString() };
        settle();
      },
    );
    call.on('status', (told) => {
      status = told;
      settle();
    });
  });
}

test('unary, with trailers', async () => {
  const { error, value, status } = await unary('unary', 'hello');
  assert.equal(error, null);
  assert.equal(value, 'hello');
  assert.deepEqual(status.metadata.get('x-tag'), ['good']);
});

test('an error of trailers only', async () => {
  const { error, status } = await unary('unary', 'fail');
  assert.equal(error?.code, grpc.status.FAILED_PRECONDITION);
  assert.equal(error.details, 'not today: 100%');
  assert.deepEqual(status.metadata.get('x-tag'), ['bad']);
});

test('a method that is not there', async () => {
  const call = new Promise<grpc.ServiceError | null>((resolve) => {
    client.makeUnaryRequest('/test.Echo/Other', same, same, Buffer.alloc(0), (error) => resolve(error));
  });
  assert.equal((await call)?.code, grpc.status.UNIMPLEMENTED);
});

test('a stream of the server', async () => {
  const call = client.makeServerStreamRequest(service.list.path, same, same, Buffer.alloc(0));
  let count = 0;
  for await (const message of call) {
    const bytes = message as Buffer;
    assert.equal(bytes.length, 5000);
    assert.equal(bytes[4999], count++ % 256);
  }
  assert.equal(count, 200);
});

test('a stream of the client', async () => {
  const answered = new Promise<Buffer | undefined>((resolve, reject) => {
    const call = client.makeClientStreamRequest(service.collect.path, same, same, (error, value?: Buffer) =>
      error === null ? resolve(value) : reject(error),
    );
    for (let i = 0; i < 100; i++) call.write(Buffer.alloc(3000));
    call.end();
  });
  assert.equal((await answered)?.toString(), '300000');
});

test('streams both ways, message by message', async () => {
  const call = client.makeBidiStreamRequest(service.chat.path, same, same);
  const got: string[] = [];
  call.on('data', (message: Buffer) => got.push(message.toString()));
  const status = once(call, 'status') as Promise<[grpc.StatusObject]>;
  for (let i = 0; i < 20; i++) {
    call.write(Buffer.from(`message ${i}`));
    await until(() => got.length === i + 1);
  }
  call.end();
  assert.equal((await status)[0].code, grpc.status.OK);
  assert.equal(got.at(-1), 'message 19');
});

test('a deadline, and a cancelled stream, reach the server', async () => {
  const count = cancelled;
  const { error } = await unary('never', 'x', { deadline: Date.now() + 200 });
  assert.equal(error?.code, grpc.status.DEADLINE_EXCEEDED);
  await until(() => cancelled === count + 1);
  const call = client.makeBidiStreamRequest(service.chat.path, same, same);
  call.on('error', () => {});
  call.write(Buffer.from('x'));
  await once(call, 'data');
  call.cancel();
  await until(() => cancelled === count + 2);
});

test('many calls at once', async () => {
  const all = await Promise.all(Array.from({ length: 300 }, (_, i) => unary('unary', `call ${i}`)));
  all.forEach(({ value }, i) => assert.equal(value, `call ${i}`));
});
