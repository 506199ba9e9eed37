// A client that breaks rules, floods, stalls or trickles: it loses a stream, or its own connection, and what is held
// for it has a bound. The client is a script.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { HpackDecoder, HpackEncoder, h2Error, type HeaderList } from '#/tunnel/index.ts';
import { flag, frameType, preface } from '../../tunnel/h2/frames.ts';
import { describeFrame, frame, lay, parseFrames, u32 } from '../../tunnel/h2/scripted-peer.ts';
import type { ByteChannel, ByteSink, ServerConnection } from '../index.ts';
import { HeaderMap } from '../header-map.ts';
import { RecordingServer, settle } from './channel-pair.ts';
import type { H2Options } from './options.ts';
import { h2Server } from './server.ts';

const endBoth = flag.endHeaders | flag.endStream;
const get: HeaderList = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'shop.test'],
];

class Script implements ByteChannel {
  sink: ByteSink | undefined;
  readonly clock = new ManualClock();
  readonly serving = new RecordingServer();
  readonly connection: ServerConnection;
  readonly encoder = new HpackEncoder();
  readonly decoder = new HpackDecoder(1024 * 1024);
  output: Buffer[] = [];
  takes = true;
  written = 0;
  consumedBytes = 0;
  fed = 0;
  ends = 0;
  resets: number[] = [];

  constructor(options: H2Options = {}) {
    this.connection = h2Server(this, { clock: this.clock, ...options }, this.serving);
    this.feed(preface, lay.settings(), lay.settingsAck());
  }

  write(chunk: Buffer): boolean {
    this.written += chunk.length;
    this.output.push(Buffer.from(chunk));
    return this.takes;
  }

  end(): void {
    this.ends++;
  }

  reset(code: number): void {
    this.resets.push(code);
  }

  consumed(bytes: number): void {
    this.consumedBytes += bytes;
  }

  feed(...frames: readonly Buffer[]): void {
    for (const bytes of frames) {
      this.fed += bytes.length;
      this.sink?.data(bytes);
    }
  }

  ask(id: number, headers: HeaderList = get, flags: number = endBoth): void {
    this.feed(lay.headers(id, Buffer.from(this.encoder.encode(headers)), flags));
  }

  /** What was answered, in words, without the greeting. */
  async sent(): Promise<string[]> {
    await settle();
    const frames = parseFrames(Buffer.concat(this.output));
    this.output = [];
    return frames
      .filter(({ type }) => type !== frameType.settings && type !== frameType.windowUpdate)
      .map((sent) =>
        sent.type === frameType.headers
          ? `${describeFrame(sent)} ${this.decoder.decode(sent.payload)[0]?.[1]}`
          : describeFrame(sent),
      );
  }
}

const post = (...more: HeaderList): HeaderList => [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'shop.test'],
  ...more,
];

/** Broken rules of one request: RST_STREAM with PROTOCOL_ERROR, told for the log, and the connection goes on. */
const malformed: readonly [name: string, headers: HeaderList, flags?: number][] = [
  ['an upper case name', post(['X-A', 'b'])],
  ['connection', post(['connection', 'close'])],
  ['keep-alive', post(['keep-alive', '1'])],
  ['proxy-connection', post(['proxy-connection', 'close'])],
  ['transfer-encoding', post(['transfer-encoding', 'chunked'])],
  ['upgrade', post(['upgrade', 'h2c'])],
  ['te that is not trailers', post(['te', 'gzip'])],
  ['a pseudo header after a regular one', [...post(['x', 'y']), [':path', '/']]],
  ['a pseudo header twice', [[':method', 'GET'], ...get]],
  ['a pseudo header that is not known', [[':version', '1'], ...get]],
  ['a pseudo header of an answer', [[':status', '200'], ...get]],
  ['no method', get.slice(1)],
  ['no scheme', get.filter(([name]) => name !== ':scheme')],
  ['no path', get.filter(([name]) => name !== ':path')],
  ['an empty path', [...get.filter(([name]) => name !== ':path'), [':path', '']]],
  ['a protocol without CONNECT', [[':protocol', 'websocket'], ...get]],
  [
    'a protocol without a path',
    [
      [':method', 'CONNECT'],
      [':protocol', 'websocket'],
      [':authority', 'a'],
    ],
  ],
  ['a line break in a value', post(['x', 'a\r\nb: c'])],
  ['NUL in a value', post(['x', 'a\0b'])],
  ['another control character in a value', post(['x', 'a\x1bb'])],
  ['a blank before a value', post(['x', ' a'])],
  ['a blank behind a value', post(['x', 'a\t'])],
  ['a blank in a name', post(['x y', 'a'])],
  ['a colon in a name', post(['x:', 'a'])],
  ['an empty name', post(['', 'a'])],
  ['a Host that is not the authority', post(['host', 'other.test'])],
  ['a length without a body', post(['content-length', '3'])],
];

for (const [name, headers, flags] of malformed)
  test(`malformed: ${name}`, async () => {
    const script = new Script();
    script.ask(1, headers, flags);
    script.ask(3);
    assert.deepEqual(await script.sent(), [`rstStream 1 ${h2Error.protocolError}`]);
    assert.equal(script.serving.refusals.length, 1);
    assert.equal(script.serving.refusals[0]?.status, undefined);
    assert.equal(script.serving.exchanges.length, 1);
  });

test('what breaks a request later: it fails as a protocol error, and nobody else notices', async () => {
  const later: readonly ((script: Script) => void)[] = [
    (s) => s.ask(1, [['x', 'y']], flag.endHeaders),
    (s) => s.ask(1, [[':path', '/']], endBoth),
    (s) => s.ask(1, [['X', 'y']], endBoth),
    (s) => s.ask(1, [['connection', 'close']], endBoth),
    (s) =>
      s.ask(
        1,
        Array.from({ length: 101 }, () => ['x', 'y'] as const),
      ),
    (s) => s.feed(lay.data(1, 'more than four')),
    (s) => s.feed(lay.data(1, 'abc', true)),
    (s) => s.feed(lay.credit(1, 0)),
    (s) => s.feed(lay.credit(1, 0x7fffffff)),
  ];
  for (const [i, act] of later.entries()) {
    const script = new Script();
    script.ask(1, post(['content-length', '4']), flag.endHeaders);
    script.ask(3);
    act(script);
    assert.equal(script.serving.receivers[0]?.failure?.kind, 'protocol', String(i));
    assert.match((await script.sent())[0] ?? '', /^rstStream 1 [13]$/);
    assert.deepEqual(script.serving.receivers[1]?.events, []);
    assert.equal(script.serving.closedCount, 0);
  }
});

test('a head that is too large is answered 431, a bad one 400', async () => {
  const script = new Script({ limits: { maxHeadBytes: 4000, maxHeaders: 20 } });
  script.ask(1, post(['x', 'y'.repeat(5000)]));
  script.ask(3, post(...Array.from({ length: 21 }, () => ['x', 'y'] as const)));
  script.ask(5, [...get.filter(([name]) => name !== ':path'), [':path', '/a%00']], flag.endHeaders);
  script.ask(7);
  assert.deepEqual(await script.sent(), [
    'headers 1 end 431',
    'headers 3 end 431',
    'headers 5 end 400',
    `rstStream 5 ${h2Error.noError}`,
  ]);
  assert.deepEqual(
    script.serving.refusals.map(({ status, line }) => `${status} ${line}`),
    ['431 POST /', '431 POST /', '400 GET /a%00'],
  );
  assert.equal(script.serving.exchanges.length, 1);
});

/** Floods: the connection ends with ENHANCE_YOUR_CALM, long before the flood does. */
const floods: readonly [name: string, send: (script: Script, i: number) => void][] = [
  ['PING', (s) => s.feed(lay.ping())],
  ['SETTINGS', (s) => s.feed(lay.settings())],
  ['PRIORITY', (s) => s.feed(frame(frameType.priority, 0, 1, [0, 0, 0, 0, 1]))],
  ['unknown frames', (s) => s.feed(frame(0x42, 0, 0, [1]))],
  ['empty DATA', (s) => s.feed(lay.data(1, ''))],
  ['small credit', (s) => s.feed(lay.credit(0, 1))],
  [
    'rapid reset',
    (s, i) => {
      s.ask(2 * i + 3, get, flag.endHeaders);
      s.feed(lay.reset(2 * i + 3, h2Error.cancel));
    },
  ],
  [
    'resets that we are made to send',
    (s, i) => {
      s.ask(2 * i + 3, get, flag.endHeaders);
      s.feed(lay.credit(2 * i + 3, 0));
    },
  ],
  ['malformed requests', (s, i) => s.ask(2 * i + 3, [['x', 'y']])],
  [
    'CONTINUATION',
    (s, i) =>
      s.feed(
        i === 0
          ? lay.headers(3, Buffer.alloc(0), 0)
          : lay.continuation(3, Buffer.alloc(i % 2 === 0 ? 0 : 1), 0),
      ),
  ],
];

for (const [name, send] of floods)
  test(`a flood of ${name} ends its connection`, async () => {
    const script = new Script();
    script.ask(1, post(), flag.endHeaders);
    let count = 0;
    while (script.serving.closedCount === 0 && count < 5000) send(script, count++);
    assert.ok(count < 2100, `${count} of them`);
    assert.equal(script.serving.receivers[0]?.failure?.kind, 'protocol');
    assert.equal(script.serving.refusals.at(-1)?.status, undefined);
    assert.match(
      (await script.sent()).at(-1) ?? '',
      new RegExp(`^goaway .* code ${h2Error.enhanceYourCalm}$`),
    );
    assert.equal(script.ends, 1);
    script.clock.advance(5000);
    assert.deepEqual(script.resets, [h2Error.cancel], 'the channel is not left open');
    assert.equal(script.consumedBytes, script.fed);
  });

test('what looks like a flood, and is use', async () => {
  const script = new Script();
  for (let i = 0; i < 20_000; i++) {
    const id = 2 * i + 1;
    script.ask(id);
    const exchange = script.serving.exchanges[i];
    exchange?.respond({ status: 200, headers: new HeaderMap(), contentLength: undefined }, false);
    exchange?.write(Buffer.from('x'));
    script.feed(lay.credit(0, 1), lay.ping());
    if (i % 2 === 0) exchange?.end();
    else script.feed(lay.reset(id, h2Error.cancel));
    if (i % 1000 === 0) await script.sent();
  }
  assert.equal(script.serving.closedCount, 0);
});

test('allowances grow back with time', () => {
  const script = new Script();
  for (let second = 0; second < 100; second++) {
    for (let i = 0; i < 100; i++) script.feed(lay.ping());
    script.clock.advance(1000);
  }
  assert.equal(script.serving.closedCount, 0);
});

test('a client that does not read is not read either, and holds little', async () => {
  const script = new Script({ sendBuffer: 1000, flood: { maxEmptyFrames: 1e9 } });
  await script.sent();
  script.takes = false;
  for (let i = 0; i < 2000; i++) script.feed(lay.ping());
  await settle();
  assert.ok(script.consumedBytes < script.fed);
  // The window of the outer channel is what bounds it: what was fed and not consumed.
  script.takes = true;
  script.sink?.writable();
  await settle();
  assert.equal(script.consumedBytes, script.fed);
});

test('an answer that nobody takes: the writer waits, one chunk is held, and its end has a limit', async () => {
  const script = new Script({ flushTimeoutMs: 10_000 });
  script.ask(1);
  const [exchange] = script.serving.exchanges;
  exchange?.respond({ status: 200, headers: new HeaderMap(), contentLength: undefined }, false);
  assert.equal(exchange?.write(Buffer.alloc(100_000)), false);
  await settle();
  assert.ok(script.written < 66_000);
  exchange?.end();
  script.clock.advance(9000);
  assert.equal(script.connection.openExchanges, 1);
  script.clock.advance(10_000);
  assert.equal(script.connection.openExchanges, 0);
  assert.equal((await script.sent()).at(-1), `rstStream 1 ${h2Error.cancel}`);
  assert.equal(script.serving.closedCount, 0);
});

test('a header block that does not come to its end, and a preface that does not come', async () => {
  const slow = new Script({ limits: { headTimeoutMs: 1000 } });
  slow.ask(1, get, flag.endHeaders);
  slow.clock.advance(10_000);
  assert.equal(slow.serving.closedCount, 0);
  slow.feed(lay.headers(3, Buffer.from(slow.encoder.encode(get)), 0));
  slow.clock.advance(2000);
  assert.equal(slow.serving.closedCount, 1);
  const silent = new Script();
  silent.serving.closedCount = 0;
  const clock = new ManualClock();
  const serving = new RecordingServer();
  h2Server(silent, { clock }, serving);
  clock.advance(130_000);
  assert.equal(serving.closedCount, 1);
  assert.match(serving.refusals[0]?.reason ?? '', /SETTINGS/);
});

test('bytes that are no HTTP/2 end the connection', async () => {
  const serving = new RecordingServer();
  const script = new Script();
  h2Server(script, {}, serving);
  script.sink?.data(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  assert.equal(serving.closedCount, 1);
  assert.match(serving.refusals[0]?.reason ?? '', /does not speak HTTP\/2/);
});

test('windows: more data than they allow', async () => {
  const stream = new Script({ windows: { streamWindow: 65_535 } });
  stream.serving.hold = true;
  stream.ask(1, post(), flag.endHeaders);
  for (let i = 0; i < 5; i++) stream.feed(lay.data(1, Buffer.alloc(16_000)));
  assert.deepEqual((await stream.sent()).slice(-1), [`rstStream 1 ${h2Error.flowControlError}`]);
  assert.equal(stream.serving.closedCount, 0);
  const whole = new Script({ windows: { streamWindow: 65_535, connectionWindow: 65_535 } });
  whole.serving.hold = true;
  for (const id of [1, 3]) {
    whole.ask(id, post(), flag.endHeaders);
    for (let i = 0; i < 3; i++) whole.feed(lay.data(id, Buffer.alloc(16_000)));
  }
  assert.equal(whole.serving.closedCount, 1);
  const over = new Script();
  over.feed(frame(frameType.windowUpdate, 0, 0, u32(0x7fffffff)));
  assert.equal(over.serving.closedCount, 1);
});
