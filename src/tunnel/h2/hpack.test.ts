import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CompressionError, HeadersTooLarge, HpackDecoder, HpackEncoder, type HeaderList } from './hpack.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** `name: value` lines. */
const list = (text: string): HeaderList =>
  text
    .trim()
    .split('\n')
    .map((line) => {
      const at = line.indexOf(': ');
      return [line.slice(0, at).trim(), line.slice(at + 2)];
    });

/** The dynamic table, read back by index. */
function tableOf(decoder: HpackDecoder): HeaderList {
  const fields: HeaderList[number][] = [];
  for (let index = 62; ; index++) {
    try {
      fields.push(...decoder.decode(Buffer.from([0x80 | index])));
    } catch {
      return fields;
    }
  }
}

interface Step {
  readonly block: string;
  readonly headers: string;
  /** Newest first. */
  readonly table: string;
}

const request1 = `
:method: GET
:scheme: http
:path: /
:authority: www.example.com`;
const request2 = `${request1}
cache-control: no-cache`;
const request3 = `
:method: GET
:scheme: https
:path: /index.html
:authority: www.example.com
custom-key: custom-value`;
const requestTables = [
  ':authority: www.example.com',
  'cache-control: no-cache\n:authority: www.example.com',
  'custom-key: custom-value\ncache-control: no-cache\n:authority: www.example.com',
];

const date21 = 'date: Mon, 21 Oct 2013 20:13:21 GMT';
const date22 = 'date: Mon, 21 Oct 2013 20:13:22 GMT';
const location = 'location: https://www.example.com';
const cookie = 'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
const responses = [
  `:status: 302\ncache-control: private\n${date21}\n${location}`,
  `:status: 307\ncache-control: private\n${date21}\n${location}`,
  `:status: 200\ncache-control: private\n${date22}\n${location}\ncontent-encoding: gzip\n${cookie}`,
];
const responseTables = [
  `${location}\n${date21}\ncache-control: private\n:status: 302`,
  `:status: 307\n${location}\n${date21}\ncache-control: private`,
  `${cookie}\ncontent-encoding: gzip\n${date22}`,
];

/** RFC 7541, appendix C.2 to C.6. */
const examples: readonly { name: string; tableLimit?: number; steps: readonly Step[] }[] = [
  {
    name: 'C.2.1 literal with indexing',
    steps: [
      {
        block: '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
        headers: 'custom-key: custom-header',
        table: 'custom-key: custom-header',
      },
    ],
  },
  {
    name: 'C.2.2 literal without indexing',
    steps: [{ block: '040c 2f73 616d 706c 652f 7061 7468', headers: ':path: /sample/path', table: '' }],
  },
  {
    name: 'C.2.3 literal never indexed',
    steps: [{ block: '1008 7061 7373 776f 7264 0673 6563 7265 74', headers: 'password: secret', table: '' }],
  },
  { name: 'C.2.4 indexed', steps: [{ block: '82', headers: ':method: GET', table: '' }] },
  {
    name: 'C.3 requests without Huffman',
    steps: [
      {
        block: '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        headers: request1,
        table: requestTables[0] as string,
      },
      { block: '8286 84be 5808 6e6f 2d63 6163 6865', headers: request2, table: requestTables[1] as string },
      {
        block: '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
        headers: request3,
        table: requestTables[2] as string,
      },
    ],
  },
  {
    name: 'C.4 requests with Huffman',
    steps: [
      {
        block: '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        headers: request1,
        table: requestTables[0] as string,
      },
      { block: '8286 84be 5886 a8eb 1064 9cbf', headers: request2, table: requestTables[1] as string },
      {
        block: '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
        headers: request3,
        table: requestTables[2] as string,
      },
    ],
  },
  {
    name: 'C.5 responses without Huffman, table of 256 bytes',
    tableLimit: 256,
    steps: [
      {
        block: `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
          2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70
          6c65 2e63 6f6d`,
        headers: responses[0] as string,
        table: responseTables[0] as string,
      },
      { block: '4803 3330 37c1 c0bf', headers: responses[1] as string, table: responseTables[1] as string },
      {
        block: `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d
          54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049
          5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e
          3d31`,
        headers: responses[2] as string,
        table: responseTables[2] as string,
      },
    ],
  },
  {
    name: 'C.6 responses with Huffman, table of 256 bytes',
    tableLimit: 256,
    steps: [
      {
        block: `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
          2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
        headers: responses[0] as string,
        table: responseTables[0] as string,
      },
      { block: '4883 640e ffc1 c0bf', headers: responses[1] as string, table: responseTables[1] as string },
      {
        block: `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab
          77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f
          9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
        headers: responses[2] as string,
        table: responseTables[2] as string,
      },
    ],
  },
];

for (const { name, tableLimit, steps } of examples) {
  test(`RFC 7541 ${name}`, () => {
    const decoder = new HpackDecoder(64 * 1024, tableLimit);
    for (const step of steps) {
      assert.deepEqual(decoder.decode(hex(step.block)), list(step.headers));
      assert.deepEqual(tableOf(decoder), step.table === '' ? [] : list(step.table));
    }
  });
}

// C.1 has no blocks of its own: a size update carries an integer with a prefix of 5 bits, an index one of 7.
test('RFC 7541 C.1 integers', () => {
  const resized = new HpackDecoder(4096, 1337);
  assert.deepEqual(resized.decode(hex('2a')), [], '10 with 5 bits');
  assert.deepEqual(resized.decode(hex('3f9a0a')), [], '1337 with 5 bits');
  assert.throws(() => resized.decode(hex('3f9b0a')), /table size 1338 is over 1337/);
});

const malformed: readonly [name: string, block: string][] = [
  ['index 0', '80'],
  ['index beyond the tables', 'be'],
  ['name index beyond the tables', '7e 01 61'],
  ['huge index', 'ff ff ff ff 07'],
  ['integer without end', 'ff ff ff ff ff ff 00'],
  ['integer of zeros without end', 'ff 80 80 80 80 80 00'],
  ['integer cut off', 'ff'],
  ['name cut off', '40 05 61 62'],
  ['name missing', '40'],
  ['value missing', '40 01 61'],
  ['value cut off', '40 01 61 02 62'],
  ['value longer than any block', '40 01 61 7f ff ff ff 7f'],
  ['Huffman with bad padding', '40 81 00 01 61'],
  ['Huffman with the end of string', '40 84 ff ff ff ff 01 61'],
  ['table size over the limit', '3f e2 1f'],
  ['table size after a field', '82 20'],
];

for (const [name, block] of malformed) {
  test(`refused: ${name}`, () => {
    assert.throws(() => new HpackDecoder(4096).decode(hex(block)), CompressionError);
  });
}

test('a list that is too large leaves the table whole', () => {
  const decoder = new HpackDecoder(100);
  const encoder = new HpackEncoder();
  const big = encoder.encode([
    ['first', 'x'.repeat(60)],
    ['second', 'y'.repeat(60)],
  ]);
  assert.throws(() => decoder.decode(big), HeadersTooLarge);
  assert.deepEqual(decoder.decode(encoder.encode([['second', 'y'.repeat(60)]])), [
    ['second', 'y'.repeat(60)],
  ]);
});

test('the size of a list counts 32 bytes for each field', () => {
  const block = new HpackEncoder().encode([['ab', 'cd']]);
  assert.equal(new HpackDecoder(36).decode(block).length, 1);
  assert.throws(() => new HpackDecoder(35).decode(block), HeadersTooLarge);
});

test('an indexed field that is repeated without end keeps no memory', () => {
  const decoder = new HpackDecoder(16 * 1024);
  const encoder = new HpackEncoder();
  decoder.decode(encoder.encode([['name', 'v'.repeat(4000)]]));
  assert.throws(() => decoder.decode(Buffer.alloc(64 * 1024, 0xbe)), HeadersTooLarge);
});

test('dynamic table: the oldest go first, and an entry larger than the table empties it', () => {
  const decoder = new HpackDecoder(64 * 1024, 128);
  const add = (name: string, value: string) =>
    decoder.decode(
      Buffer.concat([
        hex('40'),
        Buffer.from([name.length]),
        Buffer.from(name),
        Buffer.from([value.length]),
        Buffer.from(value),
      ]),
    );
  add('a', '1'.repeat(31)); // 64 bytes
  add('b', '2'.repeat(31));
  assert.deepEqual(
    tableOf(decoder).map(([name]) => name),
    ['b', 'a'],
  );
  add('c', '');
  assert.deepEqual(
    tableOf(decoder).map(([name]) => name),
    ['c', 'b'],
  );
  add('d', '4'.repeat(100));
  assert.deepEqual(tableOf(decoder), []);
});

test('dynamic table: a name may be taken from the entry that makes room for itself', () => {
  const decoder = new HpackDecoder(64 * 1024, 64);
  decoder.decode(hex(`40 01 61 1f ${'31'.repeat(31)}`));
  assert.deepEqual(decoder.decode(hex(`7e 1f ${'32'.repeat(31)}`)), [['a', '2'.repeat(31)]]);
  assert.deepEqual(tableOf(decoder), [['a', '2'.repeat(31)]]);
});

test('dynamic table: a size update evicts, and 0 empties', () => {
  const decoder = new HpackDecoder(64 * 1024);
  const encoder = new HpackEncoder();
  decoder.decode(
    encoder.encode([
      ['a', '1'],
      ['b', '2'],
    ]),
  );
  decoder.decode(hex('3f 03')); // 34: one entry
  assert.deepEqual(tableOf(decoder), [['b', '2']]);
  decoder.decode(hex('20 3f e1 1f')); // 0, then 4096
  assert.deepEqual(tableOf(decoder), []);
});

test('encoder: what is repeated costs one byte', () => {
  const encoder = new HpackEncoder();
  const headers: HeaderList = [
    [':method', 'GET'],
    ['baggage', 'k8s.namespace.name=shop'],
  ];
  assert.ok(encoder.encode(headers).length > 20);
  assert.deepEqual(Buffer.from(encoder.encode(headers)), hex('82 be'));
});

test('encoder: what differs every time takes no place in the table', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(4096);
  decoder.decode(
    encoder.encode([
      [':authority', '10.0.0.1:80'],
      ['traceparent', '00-1-2-00'],
      ['forwarded', 'for="10.0.0.2:4000"'],
    ]),
  );
  assert.deepEqual(tableOf(decoder), []);
});

test('encoder: an entry that does not fit into the table is sent as it is', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(64 * 1024);
  const headers: HeaderList = [['large', 'x'.repeat(5000)]];
  assert.deepEqual(decoder.decode(encoder.encode(headers)), headers);
  assert.deepEqual(tableOf(decoder), []);
});

test('encoder: bytes over 127 survive', () => {
  const headers: HeaderList = [['x', Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join('')]];
  assert.deepEqual(new HpackDecoder(4096).decode(new HpackEncoder().encode(headers)), headers);
});

/** Leading size updates of a block. */
const updates = (limits: readonly number[]): string => {
  const encoder = new HpackEncoder();
  for (const limit of limits) encoder.setTableLimit(limit);
  return Buffer.from(encoder.encode([[':method', 'GET']])).toString('hex');
};

test('encoder: a change of the table size is announced once, with the lowest in between (RFC 7541, 4.2)', () => {
  assert.equal(updates([]), '82');
  assert.equal(updates([4096]), '82');
  assert.equal(updates([65536]), '82', 'more than we use');
  assert.equal(updates([0]), '2082');
  assert.equal(updates([100]), '3f4582');
  assert.equal(updates([0, 4096]), '203fe11f82');
  assert.equal(updates([100, 20, 50]), '343f1382');
  assert.equal(updates([100, 100]), '3f4582');
  const encoder = new HpackEncoder();
  encoder.setTableLimit(0);
  encoder.encode([]);
  assert.equal(Buffer.from(encoder.encode([[':method', 'GET']])).toString('hex'), '82');
});

test('encoder and decoder keep the same table through changes of its size', () => {
  let seed = 42;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(1024 * 1024);
  for (let round = 0; round < 2000; round++) {
    if (random(10) === 0) encoder.setTableLimit(random(3) === 0 ? 0 : random(5000));
    const headers = Array.from({ length: random(8) }, (): HeaderList[number] => [
      random(3) === 0 ? 'user-agent' : `name-${random(20)}`,
      'v'.repeat(random(40)) + String(random(30)),
    ]);
    assert.deepEqual(decoder.decode(encoder.encode(headers)), headers, `round ${round}`);
  }
});
