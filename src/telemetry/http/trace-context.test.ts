import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../test/mesh-records.ts';
import {
  continueTrace,
  decideSampling,
  readTrace,
  readTraceState,
  traceHeaders,
  type IncomingTrace,
  type TraceFormat,
} from './index.ts';

const trace = '0af7651916cd43dd8448eb211c80319c';
const span = 'b7ad6b7169203331';
const headers = (values: Readonly<Record<string, string>>) => ({ get: (name: string) => values[name] });
const all: readonly TraceFormat[] = ['w3c', 'b3-single', 'b3'];

test('traceparent, strictly', () => {
  const parent = (traceparent: string) => readTrace(headers({ traceparent }), ['w3c']);
  const known = (sampled: boolean): IncomingTrace => ({ traceId: trace, spanId: span, sampled });
  const rows: readonly [string, IncomingTrace][] = [
    [`00-${trace}-${span}-01`, known(true)],
    [`00-${trace}-${span}-00`, known(false)],
    [`00-${trace}-${span}-03`, known(true)],
    [`00-${trace}-${span}-fe`, known(false)],
    [`cc-${trace}-${span}-01`, known(true)],
    [`cc-${trace}-${span}-01-what-comes`, known(true)],
    [`cc-${trace}-${span}-01.what`, {}],
    [`00-${trace}-${span}-01-more`, {}],
    [`00-${trace}-${span}-01-`, {}],
    [`ff-${trace}-${span}-01`, {}],
    [`00-${trace.toUpperCase()}-${span}-01`, {}],
    [`00-${'0'.repeat(32)}-${span}-01`, {}],
    [`00-${trace}-${'0'.repeat(16)}-01`, {}],
    [`00-${trace.slice(1)}-${span}-01`, {}],
    [`00-${trace}-${span}-1`, {}],
    [`00-${trace}-${span}`, {}],
    [` 00-${trace}-${span}-01`, {}],
    [`00-${trace}-${span}-01,00-${trace}-${span}-01`, {}],
    ['', {}],
    ['x'.repeat(100_000), {}],
  ];
  for (const [value, wanted] of rows) assert.deepEqual(parent(value), wanted, value.slice(0, 80));
});

test('tracestate is handed on only if it is well-formed', () => {
  const rows: readonly [string, string | undefined][] = [
    ['a=1', 'a=1'],
    ['rojo=00f067aa0ba902b7, congo=t61rcWkgMzE', 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE'],
    ['fw529a3039@dt=FfAK', 'fw529a3039@dt=FfAK'],
    ['a=1,,b=2', 'a=1,b=2'],
    ['a=1,a=2', undefined],
    ['A=1', undefined],
    ['a=', undefined],
    ['a', undefined],
    ['a=1=2', undefined],
    ['a=\u00e9', undefined],
    ['', undefined],
    [
      Array.from({ length: 32 }, (_, i) => `k${i}=v`).join(','),
      Array.from({ length: 32 }, (_, i) => `k${i}=v`).join(','),
    ],
    [Array.from({ length: 33 }, (_, i) => `k${i}=v`).join(','), undefined],
    [`a=${'x'.repeat(5000)}`, undefined],
  ];
  for (const [value, wanted] of rows) assert.equal(readTraceState(value), wanted, value.slice(0, 60));
});

test('B3 in one header', () => {
  const rows: readonly [string, IncomingTrace][] = [
    [`${trace}-${span}-1`, { traceId: trace, spanId: span, sampled: true }],
    [`${trace}-${span}-1-05e3ac9a4f6e3b90`, { traceId: trace, spanId: span, sampled: true }],
    [`${trace}-${span}-d`, { traceId: trace, spanId: span, sampled: true }],
    [`${trace}-${span}-0`, { traceId: trace, spanId: span, sampled: false }],
    [`${trace}-${span}`, { traceId: trace, spanId: span }],
    [`${span}-${span}-1`, { traceId: span, spanId: span, sampled: true }],
    [`${trace.toUpperCase()}-${span}-1`, { traceId: trace, spanId: span, sampled: true }],
    ['0', { sampled: false }],
    ['1', { sampled: true }],
    ['d', { sampled: true }],
    ['true', {}],
    ['x', {}],
    ['', {}],
    [trace, {}],
    [`${trace}-${span}-2`, {}],
    [`${trace}-${span}-1-zz`, {}],
    [`${trace}-${span}-1-05e3ac9a4f6e3b90-1`, {}],
    [`${trace}--1`, {}],
    [`${'0'.repeat(32)}-${span}-1`, {}],
    [`${trace}-${span}-1,${trace}-${span}-1`, {}],
  ];
  for (const [b3, wanted] of rows) assert.deepEqual(readTrace(headers({ b3 }), ['b3-single']), wanted, b3);
});

test('B3 in several headers', () => {
  const ids = { 'x-b3-traceid': trace, 'x-b3-spanid': span };
  const rows: readonly [Readonly<Record<string, string>>, IncomingTrace][] = [
    [
      { ...ids, 'x-b3-sampled': '1' },
      { traceId: trace, spanId: span, sampled: true },
    ],
    [
      { ...ids, 'x-b3-sampled': 'true' },
      { traceId: trace, spanId: span, sampled: true },
    ],
    [
      { ...ids, 'x-b3-sampled': 'false' },
      { traceId: trace, spanId: span, sampled: false },
    ],
    [
      { ...ids, 'x-b3-sampled': '0', 'x-b3-flags': '1' },
      { traceId: trace, spanId: span, sampled: true },
    ],
    [
      { ...ids, 'x-b3-sampled': 'd' },
      { traceId: trace, spanId: span },
    ],
    [
      { ...ids, 'x-b3-sampled': 'constructor' },
      { traceId: trace, spanId: span },
    ],
    [ids, { traceId: trace, spanId: span }],
    [{ 'x-b3-sampled': '0' }, { sampled: false }],
    [{ 'x-b3-traceid': trace, 'x-b3-sampled': '1' }, {}],
    [{ 'x-b3-spanid': span }, {}],
    [{ 'x-b3-traceid': `${trace},${trace}`, 'x-b3-spanid': span }, {}],
    [{ 'x-b3-traceid': 'zz', 'x-b3-spanid': span }, {}],
  ];
  for (const [values, wanted] of rows)
    assert.deepEqual(readTrace(headers(values), ['b3']), wanted, JSON.stringify(values));
});

test('the first format that is well-formed is taken', () => {
  const values = { traceparent: 'broken', b3: `${trace}-${span}-1` };
  assert.equal(readTrace(headers(values), all).traceId, trace);
  assert.deepEqual(readTrace(headers(values), ['w3c']), {});
});

test('what is written is read again, and nothing old stays beside it', () => {
  const ids = { traceId: () => 'f'.repeat(32), spanId: () => 'e'.repeat(16) };
  const next = continueTrace({ traceId: trace, spanId: span, state: 'a=1' }, true, ids);
  assert.deepEqual(next, {
    traceId: trace,
    spanId: ids.spanId(),
    parentSpanId: span,
    sampled: true,
    state: 'a=1',
  });
  for (const format of all) {
    const { set, remove } = traceHeaders(next, [format], all);
    const written = Object.fromEntries(set.map(({ name, value }) => [name, value]));
    const read = readTrace(headers(written), [format]);
    assert.equal(read.traceId, trace, format);
    assert.equal(read.spanId, ids.spanId(), format);
    assert.equal(read.sampled, true, format);
    for (const name of remove) assert.ok(!(name in written), name);
    assert.equal(remove.length + set.length, 8);
  }
  assert.deepEqual(traceHeaders(continueTrace({}, false, ids), ['w3c']), {
    set: [{ name: 'traceparent', value: `00-${ids.traceId()}-${ids.spanId()}-00` }],
    remove: ['tracestate'],
  });
  const short = continueTrace({ traceId: span, spanId: span }, true, ids);
  assert.equal(traceHeaders(short, ['w3c']).set[0]?.value, `00-${'0'.repeat(16)}${span}-${ids.spanId()}-01`);
});

test('the decision', () => {
  const rows: readonly [Partial<Parameters<typeof decideSampling>[0]>, boolean][] = [
    [{ incoming: { sampled: true }, percent: 0 }, true],
    [{ incoming: { sampled: false }, percent: 100 }, false],
    [{ percent: 100 }, true],
    [{ percent: 0 }, false],
    [{ percent: Number.NaN }, false],
    [{ percent: 1, random: () => 0.0099 }, true],
    [{ percent: 1, random: () => 0.0101 }, false],
    [{ percent: 0.5, random: () => 0.0049 }, true],
    [{ percent: 50, byRequestId: true, requestId: '00001387-0000-4000-8000-000000000000' }, true],
    [{ percent: 50, byRequestId: true, requestId: '00001388-0000-4000-8000-000000000000' }, false],
    [{ percent: 50, byRequestId: true, requestId: 'mine', random: () => 0.1 }, true],
    [
      {
        percent: 50,
        byRequestId: false,
        requestId: '00001388-0000-4000-8000-000000000000',
        random: () => 0.1,
      },
      true,
    ],
  ];
  for (const [input, wanted] of rows)
    assert.equal(
      decideSampling({
        incoming: {},
        percent: 1,
        requestId: undefined,
        byRequestId: false,
        random: () => 0.9,
        ...input,
      }),
      wanted,
      JSON.stringify(input),
    );
});

test('nothing that a client sends makes ids that are none', () => {
  const random = seededRandom(11);
  const alphabet = ['-', '0', '1', 'a', 'f', trace, span, '00', 'ff', ',', ' ', 'd', '\u0000', 'Z', '='];
  const word = () => {
    let text = '';
    for (let i = Math.floor(random() * 9); i >= 0; i--)
      text += alphabet[Math.floor(random() * alphabet.length)];
    return text;
  };
  for (let i = 0; i < 5000; i++) {
    const values = {
      traceparent: word(),
      tracestate: word(),
      b3: word(),
      'x-b3-traceid': word(),
      'x-b3-spanid': word(),
      'x-b3-sampled': word(),
    };
    const { traceId, spanId, state } = readTrace(headers(values), all);
    assert.equal(traceId === undefined, spanId === undefined);
    if (traceId !== undefined) assert.match(traceId, /^([0-9a-f]{16}|[0-9a-f]{32})$/);
    if (spanId !== undefined) assert.match(spanId, /^[0-9a-f]{16}$/);
    if (state !== undefined) assert.doesNotMatch(state, /\p{Cc}/u);
  }
});
