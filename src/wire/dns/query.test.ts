import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decode, encode, type DecodedPacket, type Packet } from 'dns-packet';
import {
  encodeDnsQuery,
  hostnameOf,
  nameOf,
  nameText,
  questionText,
  readDnsRequest,
  type DnsQuery,
  type DnsRequest,
} from '../index.ts';
import { corpus } from '../../../fuzz/fuzz.ts';

const query = (packet: Packet): DnsQuery => {
  const request = readDnsRequest(encode({ type: 'query', id: 7, ...packet }));
  assert.equal(request.kind, 'query');
  return (request as DnsRequest & { kind: 'query' }).query;
};
/** The library's types leave them out. */
const read = (bytes: Uint8Array) =>
  decode(Buffer.from(bytes)) as DecodedPacket & { readonly rcode: string; readonly opcode: string };
const opt = (fields: object = {}) =>
  ({ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [], ...fields }) as never;

suite('a request is read', () => {
  test('question and flags', () => {
    const { question, ...rest } = query({
      flags: 0x0110,
      questions: [{ type: 'AAAA', name: 'Web.default' }],
    });
    assert.deepEqual(rest, {
      id: 7,
      recursionDesired: true,
      authenticData: false,
      checkingDisabled: true,
    });
    assert.equal(Buffer.from(question.name).toString('latin1'), '\x03Web\x07default\x00');
    assert.deepEqual([question.type, question.class], [28, 1]);
  });

  test('what an OPT record says, wherever it stands among the additional records', () => {
    const questions = [{ type: 'A' as const, name: 'a' }];
    assert.deepEqual(query({ questions, additionals: [opt({ flags: 0x8000 })] }).extension, {
      payloadSize: 1232,
      version: 0,
      dnssecOk: true,
    });
    const more = { type: 'A', name: 'x', data: '10.0.0.1' } as const;
    assert.equal(
      query({ questions, additionals: [more, opt({ ednsVersion: 3 }), more] }).extension?.version,
      3,
    );
  });

  const outcomes: Readonly<Record<string, string>> = {
    empty: 'ignore',
    'header-cut': 'ignore',
    'counts-without-records': 'FORMERR',
    'query-a': 'query',
    'query-aaaa-mixed-case': 'query',
    'query-edns-cookie': 'query',
    'query-edns-dnssec': 'query',
    'query-https': 'query',
    'query-label-with-a-dot': 'query',
    'query-root': 'query',
    'query-trailing-bytes': 'query',
    'query-axfr': 'NOTIMP',
    'query-notify-opcode': 'NOTIMP',
    'query-label-of-64': 'FORMERR',
    'query-label-runs-out': 'FORMERR',
    'query-name-points-at-itself': 'FORMERR',
    'query-name-too-long': 'FORMERR',
    'query-no-question': 'FORMERR',
    'query-opt-among-answers': 'FORMERR',
    'query-two-opts': 'FORMERR',
    'query-two-questions': 'FORMERR',
    // Responses. Those that tell of an error may be refusals themselves.
    'answer-addresses': 'FORMERR',
    'answer-no-such-name': 'ignore',
    'answer-refused': 'ignore',
  };
  const messages = new Map(
    corpus({ name: 'dns-message' }).map(({ name, bytes }) => [name, Buffer.from(bytes)]),
  );
  for (const [name, expected] of Object.entries(outcomes))
    test(`${name}: ${expected}`, () => {
      const bytes = messages.get(name);
      assert.ok(bytes !== undefined, `no ${name} in the corpus`);
      const request = readDnsRequest(bytes);
      assert.equal(request.kind === 'refuse' ? request.code : request.kind, expected);
      if (request.kind !== 'refuse') return;
      const reply = read(request.reply);
      assert.deepEqual([reply.id, reply.type, reply.rcode], [bytes.readUInt16BE(0), 'response', expected]);
      assert.equal(reply.opcode, read(Buffer.concat([bytes.subarray(0, 4), Buffer.alloc(8)])).opcode);
    });
});

suite('a query of our own', () => {
  test('has the question byte for byte', () => {
    const { question } = query({ questions: [{ type: 'SRV', name: '_http._tcp.Web' }] });
    const { questions, id, flag_rd, flag_cd, additionals } = decode(
      Buffer.from(encodeDnsQuery(question, { id: 9, checkingDisabled: true })),
    );
    assert.deepEqual(questions, [{ type: 'SRV', name: '_http._tcp.Web', class: 'IN' }]);
    assert.deepEqual([id, flag_rd, flag_cd, additionals], [9, true, true, []]);
  });

  test('asks for what the client can take', () => {
    const { question } = query({ questions: [{ type: 'A', name: '.' }] });
    const bytes = encodeDnsQuery(question, {
      id: 1,
      checkingDisabled: false,
      extension: { payloadSize: 1232, dnssecOk: true },
    });
    const [record] = decode(Buffer.from(bytes)).additionals ?? [];
    assert.ok(record?.type === 'OPT');
    assert.deepEqual([record.udpPayloadSize, record.flag_do], [1232, true]);
  });
});

test('names and text', () => {
  for (const [text, hostname] of [
    ['\x00', ''],
    ['\x03Web\x07DEFAULT\x00', 'web.default'],
    ['\x01*\x03com\x00', '*.com'],
    ['\x05_http\x04_tcp\x00', '_http._tcp'],
    ['\x03a.b\x00', undefined],
    ['\x03a b\x00', undefined],
    ['\x02\xff\xfe\x00', undefined],
    ['\x01', undefined],
  ] as const)
    assert.equal(hostnameOf(Buffer.from(text, 'latin1')), hostname, JSON.stringify(text));
  assert.equal(Buffer.from(nameOf('Web.default')).toString('latin1'), '\x03Web\x07default\x00');
  assert.deepEqual([...nameOf('')], [0]);
  for (const [name, written] of [
    ['\x03Web\x07default\x00', 'Web.default.'],
    ['\x00', '.'],
    ['\x04a.b \x01\xff\x00', 'a\\046b\\032.\\255.'],
  ] as const)
    assert.equal(nameText(Buffer.from(name, 'latin1')), written);
  for (const bad of ['a..b', 'a b', 'x'.repeat(64), `${'x'.repeat(60)}.`.repeat(5)])
    assert.throws(() => nameOf(bad), RangeError);
});

test('the same question is the same text', () => {
  const text = (name: string, type: 'A' | 'AAAA' = 'A') =>
    questionText(query({ questions: [{ type, name }] }).question);
  assert.equal(text('WEB.a'), text('web.A'));
  assert.notEqual(text('web.a'), text('web.a', 'AAAA'));
  assert.notEqual(text('web.a'), text('weba'));
});
