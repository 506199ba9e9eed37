// Runs in a client's pod: takes orders as lines of JSON on its input, carries them out, and writes answers as lines.
// One program for all of a test's calls, since starting one for each would take most of the time.
import { Agent, request as httpRequest } from 'node:http';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { createInterface } from 'node:readline';
import { connect as connectTls } from 'node:tls';
import { credentials, makeGenericClientConstructor, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { Answer, Order } from './orders.ts';

const timeoutMs = 20_000;

const joined = (value: string | string[] | undefined): string =>
  Array.isArray(value) ? value.join(', ') : (value ?? '');

function headersOf(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, joined(value)]));
}

function http1(order: Order, agent: Agent | false): Promise<Answer> {
  return new Promise((done, fail) => {
    const request = httpRequest(
      order.url,
      { method: order.method ?? 'GET', headers: { ...order.headers }, agent, timeout: timeoutMs },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () =>
          done({ status: response.statusCode ?? 0, headers: headersOf(response.headers), body }),
        );
        response.on('error', fail);
      },
    );
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', fail);
    request.end(order.body);
  });
}

function http2(order: Order, session: ClientHttp2Session): Promise<Answer> {
  return new Promise((done, fail) => {
    const { host = new URL(order.url).host, ...headers } = order.headers ?? {};
    const { pathname, search } = new URL(order.url);
    const stream = session.request(
      {
        ':method': order.method ?? 'GET',
        ':path': `${pathname}${search}`,
        ':authority': host,
        ...headers,
      },
      { endStream: order.body === undefined },
    );
    let status = 0;
    let got: Record<string, string> = {};
    let body = '';
    stream.setEncoding('utf8');
    stream.setTimeout(timeoutMs, () => stream.destroy(new Error('timeout')));
    stream.on('response', (response) => {
      status = Number(response[':status']);
      got = headersOf(response);
    });
    stream.on('data', (chunk: string) => (body += chunk));
    stream.on('end', () => done({ status, headers: got, body }));
    stream.on('error', fail);
    if (order.body !== undefined) stream.end(order.body);
  });
}

async function overHttp2(order: Order): Promise<Answer[]> {
  const session = connectHttp2(new URL(order.url).origin);
  session.on('error', () => {});
  try {
    return await Promise.all(Array.from({ length: order.count ?? 1 }, () => http2(order, session)));
  } finally {
    session.destroy();
  }
}

interface Caller {
  call(
    message: Buffer,
    metadata: Metadata,
    options: object,
    done: (error: ServiceError | null, answer?: Buffer) => void,
  ): { on(event: 'metadata', listener: (metadata: Metadata) => void): void };
  close(): void;
}

const asIs = (bytes: Buffer): Buffer => bytes;

function grpcCall(client: Caller, order: Order): Promise<Answer> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(order.headers ?? {})) metadata.set(name, value);
  return new Promise((done) => {
    let headers: Record<string, string> = {};
    const options = { deadline: Date.now() + timeoutMs };
    const call = client.call(Buffer.from(order.body ?? 'hello'), metadata, options, (error, answer) => {
      const trailers = error?.metadata === undefined ? {} : metadataOf(error.metadata);
      done({
        status: error?.code ?? 0,
        headers: { ...trailers, ...headers },
        body: error?.details ?? answer?.toString() ?? '',
      });
    });
    call.on('metadata', (told) => (headers = metadataOf(told)));
  });
}

const metadataOf = (metadata: Metadata): Record<string, string> =>
  Object.fromEntries(
    Object.keys(metadata.getMap()).map((name) => [name, metadata.get(name).map(String).join(', ')]),
  );

async function grpc(order: Order): Promise<Answer[]> {
  const { host, pathname: path } = new URL(order.url);
  const Client = makeGenericClientConstructor(
    {
      call: {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      },
    },
    'Caller',
  );
  // Without a pool that is shared: each order has a connection of its own.
  const client = new Client(host, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config': '{}',
    'grpc.enable_retries': 0,
  }) as unknown as Caller;
  try {
    return await Promise.all(Array.from({ length: order.count ?? 1 }, () => grpcCall(client, order)));
  } finally {
    client.close();
  }
}

function webSocket(order: Order): Promise<Answer> {
  return new Promise((done, fail) => {
    const socket = new WebSocket(order.url.replace(/^http/, 'ws'));
    socket.addEventListener('open', () => socket.send(order.body ?? 'hello'));
    socket.addEventListener('message', ({ data }) => {
      done({ status: 101, headers: {}, body: String(data) });
      socket.close();
    });
    socket.addEventListener('error', () => fail(new Error('the WebSocket failed')));
  });
}

/** What the server says first, over TCP or in TLS. */
function stream(order: Order): Promise<Answer> {
  const { hostname, port } = new URL(order.url);
  return new Promise((done, fail) => {
    const socket =
      order.protocol === 'tls'
        ? connectTls({
            host: hostname,
            port: Number(port),
            servername: order.headers?.['host'] ?? '',
            rejectUnauthorized: false,
          })
        : connectTcp(Number(port), hostname);
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error('timeout')));
    socket.once('data', (data: Buffer) => {
      done({ status: 0, headers: {}, body: data.toString().trim() });
      socket.destroy();
    });
    socket.on('error', fail);
    socket.on('end', () => fail(new Error('closed')));
  });
}

async function repeat(order: Order, once: () => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  const lanes = Array.from({ length: Math.min(4, order.count ?? 1) }, async () => {
    while (answers.length < (order.count ?? 1)) {
      const at = answers.push({ status: 0, headers: {}, body: '' }) - 1;
      answers[at] = await once();
    }
  });
  await Promise.all(lanes);
  return answers;
}

async function carryOut(order: Order): Promise<readonly Answer[]> {
  switch (order.protocol ?? 'http1') {
    case 'h2c':
      return overHttp2(order);
    case 'grpc':
      return grpc(order);
    case 'websocket':
      return [await webSocket(order)];
    case 'tcp':
    case 'tls':
      return repeat(order, () => stream(order));
    case 'http1': {
      if (order.count === undefined) return [await http1(order, false)];
      const agent = new Agent({ keepAlive: true, maxSockets: 4 });
      try {
        return await repeat(order, () => http1(order, agent));
      } finally {
        agent.destroy();
      }
    }
  }
}

async function obey(line: string): Promise<void> {
  const { id, ...order } = JSON.parse(line) as Order & { readonly id: number };
  let answers: readonly Answer[];
  try {
    answers = await carryOut(order);
  } catch (error) {
    answers = [{ status: -1, headers: {}, body: String(error) }];
  }
  process.stdout.write(`${JSON.stringify({ id, answers })}\n`);
}

createInterface({ input: process.stdin })
  .on('line', (line) => void obey(line))
  .on('close', () => process.exit(0));
