// A load generator for the benches, run inside a client's pod: `node load.ts http1|grpc HOST PORT CONNECTIONS SECONDS
// [RATE]`. One request at a time on each connection; with a rate, so many a second over all. Prints JSON.
import { connect } from 'node:net';
import { h1Client, h2Client, HeaderMap, type ClientConnection, type RequestHead } from '#/http/index.ts';
import { SocketBytes } from './socket-bytes.ts';

const [kind, host, port, connections, seconds, rate] = process.argv.slice(2) as [
  'http1' | 'grpc',
  string,
  string,
  string,
  string,
  string | undefined,
];
const message = Buffer.concat([Buffer.from([0, 0, 0, 4, 0]), Buffer.alloc(1024, 'x')]);
const grpc = kind === 'grpc';
const latencies: number[] = [];
let failed = 0;
const endAt = performance.now() + Number(seconds) * 1000;

const head = (): RequestHead => ({
  version: grpc ? '2' : '1.1',
  method: grpc ? 'POST' : 'GET',
  scheme: 'http',
  authority: `${host}:${port}`,
  path: grpc ? '/bench.Echo/Echo' : '/',
  query: undefined,
  headers: new HeaderMap(
    grpc ? ['content-type', 'application/grpc', 'te', 'trailers'] : ['user-agent', 'bench'],
  ),
  upgrade: undefined,
  contentLength: undefined,
  expectsContinue: false,
});

function open(): Promise<ClientConnection> {
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), noDelay: true });
    socket.once('connect', () => {
      const make = grpc ? h2Client : h1Client;
      const connection: ClientConnection = make(
        new SocketBytes(socket),
        {},
        { available: () => resolve(connection), closed: () => {} },
      );
      if (connection.capacity > 0) resolve(connection);
    });
  });
}

/** One request, or its failure; never rejects. */
function ask(connection: ClientConnection): Promise<void> {
  return new Promise((resolve) => {
    const from = performance.now();
    const done = (good: boolean): void => {
      if (good) latencies.push(performance.now() - from);
      else failed++;
      resolve();
    };
    const exchange = connection.request(head(), !grpc, {
      inform: () => {},
      head: (response, ended) => {
        if (response.status !== 200) failed++;
        if (ended) done(response.status === 200);
      },
      data: (chunk) => exchange.consumed(chunk.length),
      end: () => done(true),
      failed: () => done(false),
      writable: () => {},
    });
    if (grpc) {
      exchange.write(message);
      exchange.end();
    }
  });
}

async function run(): Promise<void> {
  let connection = await open();
  const pauseMs = rate === undefined ? 0 : (Number(connections) * 1000) / Number(rate);
  let next = performance.now() + Math.random() * pauseMs;
  while (performance.now() < endAt) {
    if (pauseMs > 0) {
      const wait = next - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      next += pauseMs;
    }
    if (connection.capacity === 0) connection = await open();
    await ask(connection);
  }
}

const startedAt = performance.now();
await Promise.all(Array.from({ length: Number(connections) }, run));
const took = (performance.now() - startedAt) / 1000;
latencies.sort((a, b) => a - b);
const at = (share: number): number => (latencies[Math.floor(latencies.length * share)] ?? 0) * 1000;
console.log(
  JSON.stringify({
    total: latencies.length,
    perSecond: latencies.length / took,
    p50: at(0.5),
    p99: at(0.99),
    failed,
  }),
);
process.exit(0);
