import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decode, encode, type DecodedPacket, type Packet } from 'dns-packet';
import type { Ip } from '#/kit/index.ts';
import { corpus } from '../../../fuzz/fuzz.ts';
import {
  datagramLimit,
  dnsCode,
  dnsFailure,
  encodeDnsReply,
  localDnsAnswer,
  readDnsAnswer,
  readDnsRequest,
  type DnsAnswer,
  type DnsQuery,
} from '../index.ts';

const opt = (fields: object = {}) =>
  ({ type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0, options: [], ...fields }) as never;

function ask(name: string, type: 'A' | 'AAAA' | 'TXT' | 'NS' = 'A', extra: Packet = {}): DnsQuery {
  const request = readDnsRequest(
    encode({ type: 'query', id: 0x1234, flags: 0x100, questions: [{ name, type }], ...extra }),
  );
  assert.ok(request.kind === 'query');
  return request.query;
}

/** The library's types leave it out. */
type Decoded = DecodedPacket & { readonly rcode: string };
const read = (bytes: Uint8Array): Decoded => decode(Buffer.from(bytes)) as Decoded;
const reply = (query: DnsQuery, answer: DnsAnswer, limit?: number, age?: number): Decoded =>
  read(encodeDnsReply(query, answer, limit, age));

const plain = (packet: DecodedPacket) =>
  (packet.answers ?? []).map((record) =>
    'data' in record ? [record.name, record.type, record.data] : record.type,
  );

const messages = new Map(
  corpus({ name: 'dns-message' }).map(({ name, bytes }) => [name, Buffer.from(bytes)]),
);
function answerIn(name: string, query: DnsQuery): DnsAnswer | undefined {
  const bytes = messages.get(name);
  assert.ok(bytes !== undefined, `no ${name} in the corpus`);
  return readDnsAnswer(bytes, 0x1234, query.question);
}
function answered(name: string, query: DnsQuery): DnsAnswer {
  const answer = answerIn(name, query);
  assert.ok(answer !== undefined, `${name} is refused`);
  return answer;
}

suite('an answer of our own', () => {
  const addresses = (count: number) =>
    Array.from({ length: count }, (_, i) => `10.0.${i >> 8}.${i & 255}` as Ip);

  test('addresses under the name as it was asked for', () => {
    const query = ask('Web.Default');
    const packet = reply(query, localDnsAnswer(query.question, { addresses: addresses(2), ttlSeconds: 30 }));
    assert.deepEqual(packet.questions, [{ name: 'Web.Default', type: 'A', class: 'IN' }]);
    assert.deepEqual(plain(packet), [
      ['Web.Default', 'A', '10.0.0.0'],
      ['Web.Default', 'A', '10.0.0.1'],
    ]);
    const { id, rcode, flag_aa, flag_ra, flag_rd, flag_tc, flag_ad, additionals } = packet;
    assert.deepEqual(
      { id, rcode, flag_aa, flag_ra, flag_rd, flag_tc, flag_ad, additionals },
      {
        id: 0x1234,
        rcode: 'NOERROR',
        flag_aa: true,
        flag_ra: true,
        flag_rd: true,
        flag_tc: false,
        flag_ad: false,
        additionals: [],
      },
    );
    assert.deepEqual(
      packet.answers?.map((record) => 'ttl' in record && record.ttl),
      [30, 30],
    );
  });

  test('an alias, and the addresses under what it stands for', () => {
    const query = ask('web.default.svc.cluster.local', 'AAAA');
    const answer = localDnsAnswer(query.question, {
      canonicalName: 'web',
      addresses: ['fd00::1' as Ip],
      ttlSeconds: 30,
    });
    assert.deepEqual(plain(reply(query, answer)), [
      ['web.default.svc.cluster.local', 'CNAME', 'web'],
      ['web', 'AAAA', 'fd00::1'],
    ]);
  });

  test('none: no error, no record', () => {
    const query = ask('web');
    const packet = reply(query, localDnsAnswer(query.question, { addresses: [], ttlSeconds: 30 }));
    assert.deepEqual([packet.rcode, packet.answers, packet.flag_aa], ['NOERROR', [], true]);
  });

  test('too many for a datagram: those that fit, and TC', () => {
    const query = ask('web.default');
    const answer = localDnsAnswer(query.question, { addresses: addresses(100), ttlSeconds: 30 });
    const bytes = encodeDnsReply(query, answer, datagramLimit(query));
    assert.equal(bytes.length, 29 + 30 * 16);
    const packet = read(bytes);
    assert.deepEqual([packet.flag_tc, packet.answers?.length], [true, 30]);
    const larger = ask('web.default', 'A', { additionals: [opt({ udpPayloadSize: 4000 })] });
    const whole = reply(larger, answer, datagramLimit(larger));
    assert.deepEqual([whole.flag_tc, whole.answers?.length], [false, 100]);
  });

  test('too many for any message: those that fit', () => {
    const query = ask('web.default', 'A', { additionals: [opt()] });
    const bytes = encodeDnsReply(
      query,
      localDnsAnswer(query.question, { addresses: addresses(5000), ttlSeconds: 30 }),
    );
    const packet = read(bytes);
    assert.deepEqual([packet.flag_tc, packet.answers?.length], [false, Math.floor((65_535 - 11 - 29) / 16)]);
  });
});

suite('EDNS is echoed', () => {
  for (const [asked, told, limit] of [
    [1, 512, 512],
    [512, 512, 512],
    [1232, 1232, 1232],
    [65_535, 65_535, 4096],
  ] as const)
    test(`payload ${asked}: ${told}`, () => {
      const query = ask('web', 'A', { additionals: [opt({ udpPayloadSize: asked, flags: 0x8000 })] });
      assert.equal(datagramLimit(query), limit);
      const [record] = reply(query, dnsFailure(query.question, dnsCode.SERVFAIL)).additionals ?? [];
      assert.ok(record?.type === 'OPT');
      assert.deepEqual([record.udpPayloadSize, record.flag_do, record.ednsVersion], [told, true, 0]);
    });

  test('without it 512 bytes, and no OPT record', () => {
    const query = ask('web');
    assert.equal(datagramLimit(query), 512);
    assert.deepEqual(reply(query, dnsFailure(query.question, dnsCode.SERVFAIL)).additionals, []);
  });

  test('a version that nobody knows: BADVERS', () => {
    const query = ask('web', 'A', { additionals: [opt({ ednsVersion: 1 })] });
    const packet = reply(query, dnsFailure(query.question, dnsCode.BADVERS));
    const [record] = packet.additionals ?? [];
    assert.ok(record?.type === 'OPT');
    assert.deepEqual([packet.rcode, record.extendedRcode, record.ednsVersion], ['NOERROR', 1, 0]);
  });
});

suite("a name server's answer", () => {
  const rows: readonly [file: string, query: DnsQuery, life: number, records: unknown][] = [
    [
      'answer-addresses',
      ask('EXAMPLE.com'),
      60,
      [
        ['example.com', 'A', '192.0.2.1'],
        ['example.com', 'A', '192.0.2.2'],
      ],
    ],
    [
      'answer-alias-edns',
      ask('www.example.com'),
      300,
      [
        ['www.example.com', 'CNAME', 'example.com'],
        ['example.com', 'A', '192.0.2.1'],
      ],
    ],
    [
      'answer-compressed',
      ask('example.com'),
      300,
      [
        ['EXAMPLE.com', 'CNAME', 'www.EXAMPLE.com'],
        ['www.EXAMPLE.com', 'A', '192.0.2.1'],
      ],
    ],
    ['answer-opt-before-glue', ask('example.com', 'NS'), 5, [['example.com', 'NS', 'ns.example.com']]],
    ['answer-no-such-name', ask('nope.example.com'), 120, []],
    ['answer-refused', ask('example.com'), 0, []],
  ];
  for (const [file, query, life, records] of rows)
    test(`${file} is passed on, and lives ${life} s`, () => {
      const answer = answered(file, query);
      assert.equal(answer.lifeSeconds, life);
      const asked = file === 'answer-compressed' ? ask('EXAMPLE.com') : query;
      const packet = reply(asked, answer);
      assert.deepEqual(plain(packet), records);
      assert.deepEqual([packet.flag_aa, packet.flag_ra, packet.additionals], [false, true, []]);
    });

  test('NXDOMAIN stays, with its authority', () => {
    const packet = reply(ask('nope.example.com'), answered('answer-no-such-name', ask('nope.example.com')));
    assert.deepEqual([packet.rcode, packet.authorities?.map(({ type }) => type)], ['NXDOMAIN', ['SOA']]);
  });

  test('TTLs grow shorter, not less than nothing', () => {
    const query = ask('example.com');
    const answer = answered('answer-addresses', query);
    const ttls = (age: number) =>
      reply(query, answer, undefined, age).answers?.map((record) => 'ttl' in record && record.ttl);
    assert.deepEqual(
      [ttls(0), ttls(50), ttls(100)],
      [
        [300, 60],
        [250, 10],
        [200, 0],
      ],
    );
    assert.deepEqual(ttls(0), [300, 60]);
  });

  test('the mark of a checked answer is for those who asked for it', () => {
    const bytes = encode({
      type: 'response',
      id: 0x1234,
      flags: 0x1a0,
      questions: [{ name: 'a', type: 'A' }],
    });
    const answer = readDnsAnswer(bytes, 0x1234, ask('a').question) as DnsAnswer;
    assert.deepEqual(
      [
        ask('a'),
        ask('a', 'A', { flags: 0x20 }),
        ask('a', 'A', { additionals: [opt({ flags: 0x8000 })] }),
      ].map((query) => reply(query, answer).flag_ad),
      [false, true, true],
    );
  });

  test('what is no answer to the question, or malformed, is refused', () => {
    for (const [file, query] of [
      ['answer-addresses', ask('example.org')],
      ['answer-addresses', ask('example.com', 'AAAA')],
      ['answer-pointer-forward', ask('example.com')],
      ['answer-pointer-into-header', ask('example.com')],
      ['answer-data-runs-out', ask('example.com')],
      ['query-a', ask('web.default.svc.cluster.local')],
      ['empty', ask('a')],
    ] as const)
      assert.equal(answerIn(file, query), undefined, file);
    const bytes = messages.get('answer-addresses') as Buffer;
    assert.equal(readDnsAnswer(bytes, 0x1235, ask('example.com').question), undefined, 'another id');
    for (let length = 0; length < bytes.length; length++)
      assert.equal(
        readDnsAnswer(bytes.subarray(0, length), 0x1234, ask('example.com').question),
        undefined,
        `cut to ${length} bytes`,
      );
  });

  test('a server that has more to say than it could: TC is passed on, and nothing is kept', () => {
    const bytes = Buffer.from(messages.get('answer-addresses') as Buffer);
    bytes.writeUInt16BE(bytes.readUInt16BE(2) | 0x200, 2);
    const query = ask('example.com');
    const answer = readDnsAnswer(bytes, 0x1234, query.question) as DnsAnswer;
    assert.deepEqual([answer.lifeSeconds, reply(query, answer).flag_tc], [0, true]);
  });
});
