import assert from 'node:assert/strict';
import { test } from 'node:test';
import { localReply } from './local-reply.ts';

const http = { grpc: false, method: 'GET' };
const grpc = { grpc: true, method: 'POST' };

test('a body has a type and a length; a type that is given holds', () => {
  const { head, body } = localReply({ status: 403, body: 'no', details: '' }, http);
  assert.equal(head.status, 403);
  assert.equal(head.contentLength, 2);
  assert.equal(head.headers.get('content-type'), 'text/plain');
  assert.equal(body.toString(), 'no');
  const json = { name: 'Content-Type', value: 'application/json' };
  const given = localReply({ status: 403, body: '{}', headers: [json], details: '' }, http);
  assert.deepEqual(given.head.headers.all('content-type'), ['application/json']);
});

test('several headers of one name stay', () => {
  const headers = ['a=1', 'b=2'].map((value) => ({ name: 'Set-Cookie', value }));
  const { head } = localReply({ status: 302, headers, details: '' }, http);
  assert.deepEqual(head.headers.all('set-cookie'), ['a=1', 'b=2']);
});

test('HEAD, 204 and 304 have no body', () => {
  const cases = [
    [403, 'HEAD', 2],
    [204, 'GET', undefined],
    [304, 'GET', 2],
  ] as const;
  for (const [status, method, length] of cases) {
    const { head, body } = localReply({ status, body: 'no', details: '' }, { grpc: false, method });
    assert.equal(body.length, 0);
    assert.equal(head.contentLength, length);
  }
});

test('a gRPC client gets its own kind of failure', () => {
  const { head, body } = localReply({ status: 403, body: 'nö 100%\n', details: '' }, grpc);
  assert.equal(head.status, 200);
  assert.equal(body.length, 0);
  assert.deepEqual(
    ['content-type', 'grpc-status', 'grpc-message'].map((name) => head.headers.get(name)),
    ['application/grpc', '7', 'n%C3%B6 100%25%0A'],
  );
  assert.equal(
    localReply({ status: 504, details: '', grpcStatus: 4 }, grpc).head.headers.get('grpc-status'),
    '4',
  );
});
