// The target of requests over HTTP/2: whatever a client sends, nothing is thrown, every byte's window is given back,
// each exchange is told one end, a head that is taken keeps the rules of heads, and the pieces do not matter.
import assert from 'node:assert/strict';
import { ManualClock } from '../src/kit/index.ts';
import {
  canonicalAuthority,
  HeaderMap,
  h2Server,
  isWrittenByCodec,
  type ByteChannel,
  type ByteSink,
  type RequestHead,
  type ServerExchange,
  validHeaderName,
  validHeaderValue,
} from '../src/http/index.ts';
import { flag, h2Error, preface } from '../src/tunnel/h2/frames.ts';
import { lay } from '../src/tunnel/h2/scripted-peer.ts';
import { HpackEncoder, type HeaderList, type TurnTask } from '../src/tunnel/index.ts';
import type { Random } from './random.ts';

class Channel implements ByteChannel {
  sink: ByteSink | undefined;
  written = 0;
  credited = 0;
  over = 0;

  write(chunk: Buffer): boolean {
    this.written += chunk.length;
    return true;
  }

  end(): void {}

  reset(): void {
    this.over++;
  }

  consumed(bytes: number): void {
    this.credited += bytes;
  }
}

function checkHead(head: RequestHead): void {
  assert.equal(canonicalAuthority(head.authority).authority, head.authority);
  assert.ok(head.path.startsWith('/') || (head.path === '*' && head.method === 'OPTIONS'));
  assert.ok(head.method !== 'CONNECT' || head.upgrade !== undefined);
  const { flat } = head.headers;
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    assert.ok(validHeaderName(name) && !isWrittenByCodec(name), name);
    assert.ok(validHeaderValue(flat[i + 1] as string));
  }
  assert.ok(flat.filter((text, i) => i % 2 === 0 && text === 'cookie').length <= 1);
}

function serve(exchange: ServerExchange, told: string[]): () => boolean {
  const { request } = exchange;
  checkHead(request);
  const number = told.push(JSON.stringify({ ...request, headers: request.headers.flat })) - 1;
  let bytes = 0;
  let ended = exchange.requestEnded;
  let failed = false;
  exchange.receiver = {
    data(chunk) {
      assert.ok(!ended && !failed);
      bytes += chunk.length;
      exchange.consumed(chunk.length);
    },
    end(trailers) {
      assert.ok(!ended && !failed);
      ended = true;
      if (request.contentLength !== undefined) assert.equal(bytes, request.contentLength);
      told[number] += ` ended ${bytes} ${JSON.stringify(trailers?.flat)}`;
      exchange.end(trailers);
    },
    failed(failure) {
      assert.ok(!failed);
      failed = true;
      told[number] += ` failed ${failure.kind}`;
    },
    writable() {},
  };
  // The answer to HEAD is over with its head.
  const early = request.path.length % 3 === 0 || request.method === 'HEAD';
  exchange.respond({ status: 200, headers: new HeaderMap(), contentLength: undefined }, early);
  if (!early && ended) exchange.end();
  return () => ended || failed || early;
}

function feed(input: Uint8Array, size: number): string {
  const channel = new Channel();
  const clock = new ManualClock();
  const tasks: TurnTask[] = [];
  const told: string[] = [];
  const ends: (() => boolean)[] = [];
  let closed = 0;
  const limits = { maxHeadBytes: 4096, maxHeaders: 20, maxTrailers: 5, maxConcurrentStreams: 8 };
  const flood = { maxEmptyFrames: 50, maxPrematureResets: 10 };
  const connection = h2Server(
    channel,
    { clock, limits, flood, atEndOfTurn: (task) => tasks.push(task) },
    {
      request: (exchange) => ends.push(serve(exchange, told)),
      refused: (refusal) => told.push(JSON.stringify(refusal)),
      closed: () => closed++,
    },
  );
  let fed = 0;
  const send = (bytes: Uint8Array): void => {
    const lent = Buffer.from(bytes);
    fed += lent.length;
    channel.sink?.data(lent);
    lent.fill(0);
  };
  send(preface);
  for (let at = 0; at < input.length; at += size) send(input.subarray(at, at + size));
  assert.ok(connection.openExchanges <= 8);
  connection.destroy();
  clock.advance(10_000_000);
  for (const task of tasks) task.endOfTurn();
  assert.equal(closed, 1);
  assert.equal(channel.credited, fed);
  assert.equal(connection.openExchanges, 0);
  for (const over of ends) assert.ok(over(), 'an exchange was told no end');
  return told.join('\n');
}

export function runH2Requests(input: Uint8Array): void {
  const whole = feed(input, Math.max(1, input.length));
  const size = 1 + ((input[input.length >> 1] ?? 0) % 30);
  assert.equal(feed(input, size), whole, `in pieces of ${size}`);
}

const spoiled: readonly (readonly [string, string])[] = [
  [':path', '/twice'],
  [':protocol', 'websocket'],
  ['host', 'other.test'],
  ['host', 'shop.test'],
  ['content-length', '3'],
  ['content-length', '+3'],
  ['transfer-encoding', 'chunked'],
  ['connection', 'close'],
  ['te', 'gzip'],
  ['te', 'trailers'],
  ['X-Upper', 'a'],
  ['x', ' a'],
  ['x', 'a\nb'],
  ['cookie', 'a=1'],
  ['cookie', 'b=2'],
  ['expect', '100-continue'],
  ['trailer', 'x'],
];

export function seedH2Requests(random: Random): Uint8Array {
  const encoder = new HpackEncoder();
  const frames = [lay.settings()];
  const block = (headers: HeaderList): Buffer => Buffer.from(encoder.encode(headers));
  for (let id = 1, count = random.below(8); count >= 0; count--, id += 2) {
    const paths = ['/', '/a/../b?c', '/%7e', '/%zz', '*', '', 'http://a/'];
    const head: HeaderList[number][] = [
      [':method', random.pick(['GET', 'POST', 'HEAD', 'OPTIONS', 'CONNECT'])],
      [':scheme', random.pick(['http', 'https'])],
      [':path', random.pick(paths)],
      [':authority', random.pick(['shop.test', 'Shop.Test:80', '[::1]', 'a@b'])],
    ];
    if (random.oneIn(3)) head.splice(random.below(5), random.below(2), random.pick(spoiled));
    while (random.oneIn(2)) head.push(random.pick(spoiled));
    const end = random.oneIn(2) ? flag.endStream : 0;
    frames.push(lay.headers(id, block(head), flag.endHeaders | end));
    if (end === 0 && !random.oneIn(4)) frames.push(lay.data(id, random.bytes(random.below(6))));
    if (end === 0 && random.oneIn(3)) frames.push(lay.data(id, '', true));
    else if (end === 0 && random.oneIn(2))
      frames.push(
        lay.headers(id, block([['x-sum', '1'], random.pick(spoiled)]), flag.endHeaders | flag.endStream),
      );
    if (random.oneIn(4)) frames.push(lay.reset(id, h2Error.cancel), lay.credit(0, 1), lay.ping());
  }
  return new Uint8Array(Buffer.concat(frames));
}
