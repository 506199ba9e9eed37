// TLS and HTTP/2 over a stream of an outer connection, as double HBONE needs it.
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { test, type TestContext } from 'node:test';
import { PatternCheck, pump } from './byte-pattern.ts';
import type { RecordingSink } from './scripted-peer.ts';
import { ask, end, sockets, until } from './connection-ends.ts';

/** TLS over both ends of a transport, hands shaken. */
async function tlsOver(t: TestContext, a: Duplex, b: Duplex): Promise<[tls.TLSSocket, tls.TLSSocket]> {
  // A shared key in place of certificates: what is tried here is how the bytes are read.
  const suite = { ciphers: 'PSK-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' } as const;
  const psk = Buffer.alloc(16, 1);
  const server = new tls.TLSSocket(a, {
    isServer: true,
    secureContext: tls.createSecureContext(suite),
    pskCallback: () => psk,
  } as tls.TLSSocketOptions);
  const client = tls.connect({
    socket: b,
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ psk, identity: 'test' }),
    ...suite,
  });
  t.after(() => {
    server.destroy();
    client.destroy();
  });
  await Promise.all([once(server, 'secure'), once(client, 'secureConnect')]);
  return [server, client];
}

/** Ends a stream's sink in a Duplex, as a tunnel inside a tunnel needs it. */
class StreamDuplex extends Duplex {
  #written: (() => void) | undefined;
  readonly #sink: RecordingSink;

  constructor(sink: RecordingSink) {
    super();
    this.#sink = sink;
    sink.data = (chunk) => {
      // Lent bytes are copied; TLS reads them at once, while the outer session is at work.
      this.push(Buffer.from(chunk));
      sink.stream.consumed(chunk.length);
    };
    sink.ended = () => this.push(null);
    sink.writable = () => this.#written?.();
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#sink.stream.write(chunk)) done();
    else this.#written = done;
  }

  override _final(done: () => void): void {
    this.#sink.stream.end();
    done();
  }
}

test('a tunnel in a tunnel: TLS and HTTP/2 over a stream of the outer one, and other streams beside it', async (t) => {
  const [server, client] = await tlsOver(t, ...(await sockets(t)));
  const outerServer = end('server', server);
  const outerClient = end('client', client);
  const asking = [ask(outerClient), ask(outerClient)];
  await until(() => outerServer.sinks.length === 2 && asking.every((sink) => sink.events.length > 0));
  const [innerServerTls, innerClientTls] = await tlsOver(
    t,
    new StreamDuplex(outerServer.sinks[0] as RecordingSink),
    new StreamDuplex(asking[0] as RecordingSink),
  );
  const innerServer = end('server', innerServerTls);
  const innerClient = end('client', innerClientTls);
  const inner = ask(innerClient);
  await until(() => innerServer.sinks.length === 1);
  const beside = asking[1] as RecordingSink;
  const checks = [innerServer.sinks[0], outerServer.sinks[1]].map((sink) => {
    const check = new PatternCheck();
    const { stream } = sink as RecordingSink;
    (sink as RecordingSink).data = (chunk) => {
      check.take(chunk);
      stream.consumed(chunk.length);
    };
    return check;
  });
  pump(inner.stream, inner, 2_000_000, 3000);
  pump(beside.stream, beside, 2_000_000, 3000);
  await until(() => checks.every((check) => check.at === 2_000_000));
});
