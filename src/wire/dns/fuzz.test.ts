// Whatever bytes come: the parsers end, never throw, and what they let through can be written and read again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../test/mesh-records.ts';
import { dnsCorpus } from '../../../test/dns-corpus.ts';
import {
  datagramLimit,
  encodeDnsQuery,
  encodeDnsReply,
  hostnameOf,
  questionText,
  readDnsAnswer,
  readDnsRequest,
  type DnsQuery,
  type DnsQuestion,
} from '../index.ts';

const seeds = [...dnsCorpus()];

/** As both a request and an answer. */
function tryBytes(bytes: Uint8Array, name: string): void {
  const request = readDnsRequest(bytes);
  if (request.kind === 'query') {
    const { query } = request;
    const again = readDnsRequest(
      encodeDnsQuery(query.question, { id: query.id, checkingDisabled: query.checkingDisabled }),
    );
    assert.ok(again.kind === 'query', name);
    assert.equal(questionText(again.query.question), questionText(query.question), name);
    hostnameOf(query.question.name);
  } else if (request.kind === 'refuse') assert.equal(request.reply.length, 12, name);
  const question = questionIn(bytes);
  if (question === undefined) return;
  const id = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
  const answer = readDnsAnswer(bytes, id, question);
  if (answer === undefined) return;
  for (const extension of [undefined, { payloadSize: 600, version: 0, dnssecOk: false }]) {
    const query: DnsQuery = {
      id,
      question,
      recursionDesired: true,
      authenticData: false,
      checkingDisabled: false,
      ...(extension && { extension }),
    };
    for (const age of [0, 1000]) {
      const reply = encodeDnsReply(query, answer, datagramLimit(query), age);
      assert.ok(reply.length <= datagramLimit(query) || answer.ends.length === 0, name);
      const read = readDnsAnswer(reply, id, question);
      assert.ok(read !== undefined, name);
      assert.ok(read.answers <= answer.answers && read.ends.length <= answer.ends.length, name);
    }
  }
}

/** The question of any message, so that answers get past the comparison. */
function questionIn(bytes: Uint8Array): DnsQuestion | undefined {
  const copy = Uint8Array.from(bytes);
  if (copy.length < 12) return undefined;
  copy.set([0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 2);
  const request = readDnsRequest(copy);
  return request.kind === 'query' ? request.query.question : undefined;
}

for (const [name, bytes] of seeds) test(`seed ${name}`, () => tryBytes(bytes, name));

test('mutated seeds', () => {
  const seed = 20_260_823;
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const until = Date.now() + 5000;
  for (let round = 0; round < 50_000 && Date.now() < until; round++) {
    const [name, original] = seeds[below(seeds.length)] as (typeof seeds)[number];
    let bytes = Buffer.from(original);
    for (let changes = 1 + below(4); changes > 0 && bytes.length > 0; changes--)
      switch (below(5)) {
        case 0:
          bytes[below(bytes.length)] = below(256);
          break;
        case 1:
          bytes[below(bytes.length)] = [0, 0x3f, 0x40, 0xc0, 0xff][below(5)] as number;
          break;
        case 2:
          bytes = bytes.subarray(0, below(bytes.length + 1));
          break;
        case 3: {
          const at = below(bytes.length);
          bytes = Buffer.concat([
            bytes.subarray(0, at),
            Buffer.alloc(below(20), below(256)),
            bytes.subarray(at),
          ]);
          break;
        }
        default: {
          const [, other] = seeds[below(seeds.length)] as (typeof seeds)[number];
          bytes = Buffer.concat([
            bytes.subarray(0, below(bytes.length)),
            other.subarray(below(other.length + 1)),
          ]);
        }
      }
    tryBytes(bytes, `seed ${seed}, round ${round}, from ${name}: ${bytes.toString('hex')}`);
  }
});
