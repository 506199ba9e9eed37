// The targets of HTTP/1.1: whatever a peer sends, nothing is thrown, every byte's window is given back, the same is
// understood in whatever pieces the bytes come, and what is taken is the same after it has been written again.
import assert from 'node:assert/strict';
import { BodyReader } from '../src/http/h1/body-reader.ts';
import { HeadAssembler } from '../src/http/h1/head-assembler.ts';
import { readRequests } from '../src/http/h1/read-requests.ts';
import { chunkedBody, parseRequestHead, type RequestRules } from '../src/http/h1/request-head.ts';
import { requestText } from '../src/http/h1/request-text.ts';
import { Client } from '../src/http/h1/scripted-server.ts';
import { smugglingCorpus } from '../src/http/h1/smuggling-corpus.ts';
import {
  canonicalAuthority,
  canonicalPath,
  defaultHttpLimits,
  sniff,
  sniffMaxBytes,
  type PathNormalization,
} from '../src/http/index.ts';
import type { Random } from './random.ts';

const limits = { maxHeadBytes: 2000, maxHeaders: 20, maxTrailers: 5 };
const rules: RequestRules = { scheme: 'http', maxHeaders: 20, pathNormalization: 'BASE' };

/** The same cuts for the same input. */
function pieces(input: Uint8Array): Buffer[] {
  const all = Buffer.from(input);
  const cut: Buffer[] = [];
  for (let at = 0; at < all.length;) {
    const length = 1 + ((all[at] as number) % 7) * ((all.length >> 3) % 5);
    cut.push(all.subarray(at, at + length));
    at += length;
  }
  return cut;
}

export const seedH1Server = (random: Random): Uint8Array =>
  Buffer.from(random.pick(smugglingCorpus).bytes, 'latin1');

export function runH1Server(input: Uint8Array): void {
  const whole = readRequests([Buffer.from(input)], limits);
  const cut = readRequests(pieces(input), limits);
  assert.deepEqual(cut.lines, whole.lines);
  for (const { channel } of [whole, cut]) {
    channel.sink?.closed();
    assert.equal(channel.credited, channel.sent);
  }
  runAgain(Buffer.from(input));
}

/** A head that is taken, written for a server and read there, is the same. */
function runAgain(input: Buffer): void {
  const heads = new HeadAssembler(limits.maxHeadBytes, true);
  if (heads.add(input, 0) !== 'complete') return;
  const first = parseRequestHead(heads.bytes, heads.from, heads.to, rules);
  if (first.refusal !== undefined) return;
  const made = requestText(first.head, first.body === 0 && first.head.upgrade === undefined);
  assert.equal(made.failure, undefined);
  const text = Buffer.from(made.text ?? '', 'latin1');
  const second = parseRequestHead(text, 0, text.length, { ...rules, maxHeaders: 30 });
  // HTTP/1.0 may lack a Host; we send an empty one.
  if (second.refusal !== undefined) return assert.equal(first.head.authority, '');
  assert.equal(second.body, first.body);
  const { headers, ...rest } = second.head;
  const { headers: sent, ...expected } = first.head;
  assert.deepEqual(rest, { ...expected, version: '1.1' });
  assert.deepEqual(headers.flat, sent.flat);
}

const methods = ['GET', 'HEAD', 'POST'] as const;

export function runH1Client(input: Uint8Array): void {
  const method = methods[(input[0] ?? 0) % 3] as string;
  const bytes = input.subarray(1);
  const [whole, cut] = [[Buffer.from(bytes)], pieces(bytes)].map((sent) => {
    const client = new Client(limits, true);
    const answer = client.ask(
      { method, ...(input.length % 5 === 0 && { upgrade: 'websocket' }) },
      input.length % 5 !== 0,
    );
    client.flush();
    for (const piece of sent) {
      client.channel.send(piece);
      client.flush();
    }
    client.channel.sink?.ended();
    client.channel.sink?.closed();
    assert.equal(client.channel.credited, client.channel.sent);
    assert.equal(client.connection.capacity, 0);
    assert.equal(client.closed.length, 1);
    return answer.events.join('\n').replaceAll('\ndata ', '');
  });
  // A break behind a whole response may come in the same piece, or later.
  assert.equal(cut, whole);
}

export function runChunks(input: Uint8Array): void {
  const [whole, cut] = [[Buffer.from(input)], pieces(input)].map((sent) => {
    const reader = new BodyReader({ ...defaultHttpLimits, ...limits });
    reader.begin(chunkedBody);
    let told = '';
    for (const piece of sent) {
      reader.at = 0;
      for (;;) {
        const step = reader.next(piece);
        assert.ok(reader.at <= piece.length);
        if (step === 'data') told += piece.toString('latin1', reader.dataFrom, reader.dataTo);
        else if (step === 'more') break;
        else return `${told} ${step} ${reader.problem} ${JSON.stringify(reader.trailers?.flat)}`;
      }
      assert.equal(reader.at, piece.length);
    }
    return told;
  });
  assert.equal(cut, whole);
}

export function runSniff(input: Uint8Array): void {
  const last = sniff(input);
  let at = 0;
  while (at < input.length && sniff(input.subarray(0, at)).kind === 'need-more') at += 1 + (at >> 4);
  const first = sniff(input.subarray(0, at));
  if (first.kind !== 'need-more') assert.deepEqual(last, first);
  assert.notEqual(sniff(Buffer.concat([input, Buffer.alloc(sniffMaxBytes)])).kind, 'need-more');
}

const modes: readonly PathNormalization[] = ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'];

export function runPath(input: Uint8Array): void {
  const text = Buffer.from(input).toString('latin1');
  for (const mode of modes) {
    const { path, query } = canonicalPath(text, mode);
    if (path === undefined) continue;
    assert.match(path, /^\/[\x21-\x7e]*$/);
    assert.doesNotMatch(path, /[?#]/);
    assert.deepEqual(canonicalPath(query === undefined ? path : `${path}?${query}`, mode), { path, query });
    if (mode === 'NONE') continue;
    assert.doesNotMatch(
      path,
      /\\|\/\.{1,2}(\/|;|$)|%(?![0-9A-F]{2})|%(2D|2E|5F|7E|3\d|[46][1-9A-F]|[57][0-9A])/,
    );
    if (mode !== 'BASE') assert.ok(!path.includes('//'));
  }
  const { authority } = canonicalAuthority(text);
  if (authority === undefined) return;
  assert.match(authority, /^[a-z0-9._:[\]-]+$/);
  assert.deepEqual(canonicalAuthority(authority), { authority });
}
