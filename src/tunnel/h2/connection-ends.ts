// For tests: both ends of a connection in memory or on loopback, and a transport that is worked by hand.
import { once } from 'node:events';
import net from 'node:net';
import { Duplex, duplexPair } from 'node:stream';
import type { TestContext } from 'node:test';
import { H2Connection, type ConnectionHandlers } from './connection.ts';
import { flag } from './frames.ts';
import { HpackEncoder } from './hpack.ts';
import { connectRequest, lay, RecordingSink, smallSettings } from './scripted-peer.ts';
import type { SessionFailure } from './session-interface.ts';

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`still not so: ${condition}`);
    await turn();
  }
}

export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

export interface End {
  readonly connection: H2Connection;
  readonly sinks: RecordingSink[];
  readonly closed: (SessionFailure | undefined)[];
}

export function end(role: 'client' | 'server', transport: Duplex, sendBuffer = 50_000, hold = false): End {
  const sinks: RecordingSink[] = [];
  const closed: (SessionFailure | undefined)[] = [];
  const handlers: ConnectionHandlers = {
    request: (stream) => {
      sinks.push(new RecordingSink(stream, hold));
      stream.respond([[':status', '200']]);
    },
    closed: (failure) => closed.push(failure),
  };
  return {
    connection: new H2Connection(transport, { role, settings: smallSettings, sendBuffer }, handlers),
    sinks,
    closed,
  };
}

export function pair(t: TestContext, hold = false): { client: End; server: End } {
  const [a, b] = duplexPair();
  const both = { client: end('client', a), server: end('server', b, 50_000, hold) };
  t.after(() => {
    both.client.connection.destroy('the test is over');
    both.server.connection.destroy('the test is over');
  });
  return both;
}

export const ask = ({ connection }: End): RecordingSink =>
  new RecordingSink(connection.session.request(connectRequest));

/** A transport whose reader is us, by hand. */
export class Valve extends Duplex {
  readonly written: Buffer[] = [];
  open = true;
  #waiting: (() => void) | undefined;
  reads = 0;

  constructor(highWaterMark = 1000) {
    super({ highWaterMark });
  }

  override _read(): void {
    this.reads++;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(Buffer.from(chunk));
    if (this.open) done();
    else this.#waiting = done;
  }

  /** Everything that waits goes through. */
  async release(): Promise<void> {
    this.open = true;
    this.#waiting?.();
    this.#waiting = undefined;
    await turns(3);
  }
}

export const answer = (id: number): Buffer =>
  lay.headers(id, Buffer.from(new HpackEncoder().encode([[':status', '200']])), flag.endHeaders);

/** Two ends of a TCP connection. */
export async function sockets(t: TestContext): Promise<[net.Socket, net.Socket]> {
  const server = net.createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  const [near] = (await once(server, 'connection')) as [net.Socket];
  t.after(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return [near, far];
}
