import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ip } from '../../../test/mesh-records.ts';
import {
  appendForwardedFor,
  forwardedClient,
  forwardedProto,
  idSource,
  keepRequestId,
  requestIdShare,
} from './index.ts';

test('the client behind trusted proxies', () => {
  const rows: readonly [string | undefined, number, string][] = [
    [undefined, 1, 'peer'],
    ['1.1.1.1', 0, 'peer'],
    ['1.1.1.1', 1, '1.1.1.1'],
    ['9.9.9.9, 1.1.1.1', 1, '1.1.1.1'],
    ['9.9.9.9, 1.1.1.1 ,2.2.2.2', 2, '1.1.1.1'],
    ['9.9.9.9', 2, 'peer'],
    [',', 1, 'peer'],
    [',', 2, 'peer'],
    ['', 1, 'peer'],
    ['unknown', 1, 'peer'],
    ['2001:db8::1', 1, '2001:db8::1'],
    ['[2001:db8::1]', 1, '2001:db8::1'],
    ['[2001:db8::1]:443', 1, '2001:db8::1'],
    ['1.1.1.1:443', 1, '1.1.1.1'],
    ['1.1.1.1', 1000, 'peer'],
    [`${'1.1.1.1,'.repeat(100_000)}2.2.2.2`, 1, '2.2.2.2'],
  ];
  for (const [header, hops, wanted] of rows)
    assert.equal(
      forwardedClient(header, ip('10.0.0.1'), hops),
      wanted === 'peer' ? '10.0.0.1' : wanted,
      `${header?.slice(0, 60)} ${hops}`,
    );
});

test('what the next one is told', () => {
  assert.equal(appendForwardedFor(undefined, ip('10.0.0.1')), '10.0.0.1');
  assert.equal(appendForwardedFor(' ', ip('10.0.0.1')), '10.0.0.1');
  assert.equal(appendForwardedFor('1.1.1.1', ip('10.0.0.1')), '1.1.1.1,10.0.0.1');
  assert.equal(appendForwardedFor('1'.repeat(5000), ip('10.0.0.1')), '10.0.0.1');
  assert.equal(forwardedProto('https', 'http'), 'https');
  assert.equal(forwardedProto('gopher', 'http'), 'http');
  assert.equal(forwardedProto(undefined, 'https'), 'https');
});

test('ids', () => {
  const ids = idSource();
  const seen = new Set<string>();
  for (let i = 0; i < 2000; i++) {
    const [request, trace, span] = [ids.requestId(), ids.traceId(), ids.spanId()];
    assert.match(request, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.match(trace, /^[0-9a-f]{32}$/);
    assert.match(span, /^[0-9a-f]{16}$/);
    seen.add(request).add(trace).add(span);
  }
  assert.equal(seen.size, 6000);
  assert.match(idSource((bytes) => bytes.fill(0)).traceId(), /[1-9]/);
});

test("a client's request id", () => {
  for (const id of ['66401a61-0656-4838-9d84-df03448355f9', '01J5ZQ', 'a.b:c/d=@+_'])
    assert.equal(keepRequestId(id), id);
  for (const id of [undefined, '', 'a b', 'a"b', 'a,b', 'a\nb', 'é', 'x'.repeat(129)])
    assert.equal(keepRequestId(id), undefined);
  assert.equal(requestIdShare('0000270f-0000-4000-8000-000000000000'), 9999);
  assert.equal(requestIdShare('00002710-0000-4000-8000-000000000000'), 0);
  assert.equal(requestIdShare('0000271-0000'), undefined);
});
