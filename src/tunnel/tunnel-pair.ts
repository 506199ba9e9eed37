// For tests: both ends of a tunnel in memory, and TCP connections on loopback.
import net from 'node:net';
import { duplexPair } from 'node:stream';
import type { ConnectionHandlers, H2Connection } from './h2/connection.ts';
import { connectRequest, RecordingSink } from './h2/scripted-peer.ts';
import type { SessionFailure } from './h2/session-interface.ts';
import type { H2Stream } from './h2/stream.ts';
import { defaultWindows, hboneClient, hboneServer, type WindowSettings } from './hbone.ts';

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Waits, turn by turn. Throws after 5 s. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`still not so: ${condition}`);
    await turn();
  }
}

/** Lets what is under way arrive. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

export class TunnelPair implements Disposable {
  readonly client: H2Connection;
  readonly server: H2Connection;
  readonly clientClosed: (SessionFailure | undefined)[] = [];
  readonly serverClosed: (SessionFailure | undefined)[] = [];
  readonly requests: H2Stream[] = [];
  /** The client's session takes no more streams, or is closed. */
  onClientLeaves: (() => void) | undefined;

  /** @param onRequest by default, keeps the stream in `requests` and answers nothing */
  constructor(
    onRequest: NonNullable<ConnectionHandlers['request']> = (stream) => this.requests.push(stream),
    windows: WindowSettings = defaultWindows,
  ) {
    const [a, b] = duplexPair();
    this.client = hboneClient(a, windows, {
      goingAway: () => this.onClientLeaves?.(),
      closed: (failure) => {
        this.clientClosed.push(failure);
        this.onClientLeaves?.();
      },
    });
    this.server = hboneServer(b, windows, {
      request: onRequest,
      closed: (failure) => this.serverClosed.push(failure),
    });
  }

  /** A stream that is open, with a sink that writes down on both ends. */
  async open(hold = false): Promise<{ near: RecordingSink; far: RecordingSink }> {
    const count = this.requests.length;
    const near = new RecordingSink(this.client.session.request(connectRequest), hold);
    await until(() => this.requests.length > count);
    const stream = this.requests[count] as H2Stream;
    const far = new RecordingSink(stream, hold);
    stream.respond([[':status', '200']]);
    await until(() => near.events.length > 0);
    near.events.length = 0;
    return { near, far };
  }

  [Symbol.dispose](): void {
    this.client.destroy('the test is over');
    this.server.destroy('the test is over');
  }
}

/** Bytes that the session has credited to its connection so far. */
export function countCredit(connection: H2Connection): () => number {
  const { session } = connection;
  const credit = session.creditConnection.bind(session);
  let total = 0;
  session.creditConnection = (bytes) => {
    total += bytes;
    credit(bytes);
  };
  return () => total;
}

/** The two ends of a TCP connection on loopback, half-open allowed, neither of them read. */
export async function socketPair(): Promise<[near: net.Socket, far: net.Socket]> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  near.pause();
  await new Promise<void>((resolve) => near.once('connect', resolve));
  const far = await accepted;
  server.close();
  return [near, far];
}

/** What happens to a socket, written down. */
export class SocketLog {
  readonly events: string[] = [];
  readonly socket: net.Socket;
  text = '';
  bytes = 0;

  constructor(socket: net.Socket, read = true) {
    this.socket = socket;
    socket.on('error', (error: NodeJS.ErrnoException) => this.events.push(error.code ?? error.message));
    socket.on('end', () => this.events.push('end'));
    socket.on('close', () => this.events.push('close'));
    if (read) this.read();
  }

  read(): void {
    this.socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (this.bytes < 100_000) this.text += chunk.toString('latin1');
    });
    this.socket.resume();
  }
}
