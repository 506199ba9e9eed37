// The targets of HTTP/2: whatever a peer sends, a session throws nothing, tells each of its streams one end, is either
// alive or closed once, holds no more than its limits, and understands the same in whatever pieces the bytes come.
import assert from 'node:assert/strict';
import { flag, h2Error, preface } from '../src/tunnel/h2/frames.ts';
import { HeadersTooLarge } from '../src/tunnel/h2/hpack.ts';
import { connectRequest, drained, frame, lay, parseFrames } from '../src/tunnel/h2/scripted-peer.ts';
import {
  CompressionError,
  H2Session,
  HpackDecoder,
  HpackEncoder,
  type HeaderList,
  type H2Stream,
  type SessionSettings,
  type StreamFailure,
  type StreamSink,
} from '../src/tunnel/index.ts';
import type { Random } from './random.ts';

type Role = 'client' | 'server';

const settings: SessionSettings = {
  streamWindow: 100_000,
  connectionWindow: 200_000,
  maxFrameSize: 16_384,
  maxHeaderListSize: 4096,
  maxConcurrentStreams: 8,
};
const outputLimit = 100_000;
const answer = Buffer.alloc(50_000, 'a');

/** Writes down what a stream is told, and behaves in one of a few ways, by its number. */
class FuzzedSink implements StreamSink {
  readonly stream: H2Stream;
  readonly #way: number;
  log = '';
  bytes = 0;
  held = 0;
  over = false;

  constructor(stream: H2Stream) {
    this.stream = stream;
    this.#way = (stream.id >> 1) % 4;
    stream.sink = this;
  }

  #told(event: string): void {
    assert.ok(!this.over, `${event} after the end of stream ${this.stream.id}`);
    this.log += ` ${event}`;
  }

  headers(headers: HeaderList): void {
    this.#told(`headers ${JSON.stringify(headers)}`);
    if (this.#way === 3) this.stream.reset(h2Error.cancel);
  }

  data(chunk: Buffer): void {
    assert.ok(!this.over && chunk.length > 0);
    this.bytes += chunk.length;
    if (this.#way === 2) this.held += chunk.length;
    else this.stream.consumed(chunk.length);
  }

  ended(): void {
    this.#told(`ended after ${this.bytes}`);
    if (this.#way === 1) this.stream.end();
  }

  writable(): void {
    assert.ok(!this.over);
  }

  closed(reason?: StreamFailure): void {
    this.#told(`closed after ${this.bytes} ${reason?.kind} ${reason?.code}`);
    this.over = true;
    this.stream.consumed(this.held);
    this.held = 0;
  }
}

/** Feeds a session in pieces of this size; returns all that was told. */
function feed(role: Role, input: Uint8Array, size: number): string {
  const sinks: FuzzedSink[] = [];
  let closed = 0;
  let end = 'alive';
  const session = new H2Session(
    role,
    settings,
    {
      flush() {},
      request: (stream, headers, ended) => {
        const sink = new FuzzedSink(stream);
        sinks.push(sink);
        sink.log = `${stream.id} request ${JSON.stringify(headers)} ${ended}`;
        stream.respond([[':status', '200']]);
        if (stream.id % 3 === 0) stream.write(answer);
      },
      closed: (failure) => {
        closed++;
        end = `closed ${failure?.code} ${failure?.message}`;
      },
    },
    outputLimit,
  );
  const read = (bytes: Uint8Array): void => {
    // Lent bytes: whoever keeps them reads zeros.
    const lent = Buffer.from(bytes);
    session.receive(lent);
    lent.fill(0);
  };
  if (role === 'server') read(preface);
  else for (let i = 0; i < 4; i++) sinks.push(new FuzzedSink(session.request(connectRequest)));
  for (let at = 0; at < input.length; at += size) {
    read(input.subarray(at, at + size));
    assert.equal(closed, session.closed ? 1 : 0);
    assert.ok(
      session.output.size < 2 * outputLimit + 4 * input.length + 1000,
      `${session.output.size} bytes wait`,
    );
    assert.ok(session.streams.size <= (role === 'server' ? settings.maxConcurrentStreams : 4));
  }
  parseFrames(drained(session.output));
  session.setCongested(false);
  session.close(h2Error.noError, 'the input is over');
  assert.equal(session.streams.size, 0);
  assert.equal(closed, 1);
  parseFrames(drained(session.output));
  for (const sink of sinks) {
    assert.ok(sink.over, `stream ${sink.stream.id} was told no end`);
    assert.ok(sink.bytes <= input.length);
    assert.equal(sink.stream.pending.length, 0);
  }
  return [end, ...sinks.map((sink) => sink.log)].join('\n');
}

export function runH2(role: Role, input: Uint8Array): void {
  const whole = feed(role, input, Math.max(1, input.length));
  const first = 1 + ((input[input.length >> 1] ?? 0) % 30);
  assert.equal(feed(role, input, first), whole, `in pieces of ${first}`);
}

/** A conversation of frames that mostly follow the rules. */
export function seedH2(role: Role, random: Random): Uint8Array {
  const encoder = new HpackEncoder();
  const frames = [lay.settings([3, random.below(200)], [4, random.below(100_000)])];
  let next = 1;
  const someStream = (): number => 1 + 2 * random.below(Math.max(1, role === 'server' ? next >> 1 : 4));
  const block = (headers: HeaderList): Buffer => Buffer.from(encoder.encode(headers));
  const head = (id: number, headers: HeaderList, end: boolean): void => {
    const whole = block(headers);
    const flags = end ? flag.endStream : 0;
    if (random.oneIn(3)) {
      const cut = random.below(whole.length + 1);
      frames.push(lay.headers(id, whole.subarray(0, cut), flags), lay.continuation(id, whole.subarray(cut)));
    } else frames.push(lay.headers(id, whole, flags | flag.endHeaders));
  };
  const kinds: readonly (() => unknown)[] = [
    () => {
      if (role === 'client')
        head(someStream(), [[':status', random.pick(['200', '103', '403'])]], random.oneIn(3));
      else {
        head(next, [...connectRequest, ['x-name', `value ${random.below(5)}`]], random.oneIn(4));
        next += 2;
      }
    },
    () => frames.push(lay.data(someStream(), random.bytes(random.below(200)), random.oneIn(4))),
    () => frames.push(lay.paddedData(someStream(), 'padded', random.below(20), random.oneIn(4))),
    () => head(someStream(), [['x-trailer', 'y']], !random.oneIn(4)),
    () => frames.push(lay.credit(random.oneIn(2) ? 0 : someStream(), 1 + random.below(100_000))),
    () => frames.push(lay.reset(someStream(), random.below(14))),
    () => frames.push(lay.ping(random.oneIn(2))),
    () => frames.push(lay.settings([random.below(8), random.below(70_000)])),
    () => frames.push(lay.settingsAck()),
    () =>
      frames.push(
        frame(random.below(256), random.below(256), random.below(9), random.bytes(random.below(20))),
      ),
    () => random.oneIn(8) && frames.push(lay.goaway(random.below(9), random.below(14))),
  ];
  for (let count = 3 + random.below(20); count > 0; count--) {
    // Openings come as often as all the rest.
    if (random.oneIn(2)) kinds[0]?.();
    else random.pick(kinds)();
  }
  return new Uint8Array(Buffer.concat(frames));
}

const listLimit = 2048;

/** The input twice, so that the second time meets the table that the first one made. */
export function runHpack(input: Uint8Array): void {
  const decoder = new HpackDecoder(listLimit);
  const encoder = new HpackEncoder();
  const again = new HpackDecoder(listLimit);
  for (let round = 0; round < 2; round++) {
    let headers: HeaderList;
    try {
      headers = decoder.decode(input);
    } catch (error) {
      if (error instanceof HeadersTooLarge) continue;
      if (error instanceof CompressionError) return;
      throw error;
    }
    const size = headers.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
    assert.ok(size <= listLimit);
    assert.deepEqual(again.decode(encoder.encode(headers)), headers);
  }
}

export function seedHpack(random: Random): Uint8Array {
  const encoder = new HpackEncoder();
  if (random.oneIn(4)) encoder.setTableLimit(random.below(5000));
  const names = ['baggage', 'x-a', ':method', 'forwarded', 'user-agent'];
  const values = ['', 'CONNECT', 'k8s.namespace.name=shop', 'x'.repeat(100), '\xe9\xff'];
  const headers = Array.from({ length: random.below(10) }, (): HeaderList[number] => [
    random.pick(names),
    random.pick(values),
  ]);
  return new Uint8Array(encoder.encode(headers));
}
