import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HeaderMap, type RequestHead } from '#/http/index.ts';
import type { Ip } from '#/kit/index.ts';
import { identityOf, type ConnectionFacts } from '#/model/index.ts';
import type { TargetConfig } from '../config/target-config.ts';
import { prepareRequest } from './prepare-request.ts';

const facts: ConnectionFacts = {
  identity: identityOf('td', 'front', 'web'),
  source: { ip: '10.1.2.3' as Ip, port: 40_000 },
  destination: { ip: '10.9.0.1' as Ip, port: 80 },
  service: undefined,
  workload: undefined,
  sni: undefined,
};

function prepared(headers: readonly (readonly [string, string])[], forwardClientIdentity = false): HeaderMap {
  const head = { headers: HeaderMap.of(headers), scheme: 'http' } as unknown as RequestHead;
  const config: unknown = {
    tracing: undefined,
    forwardClientIdentity,
    localIdentity: identityOf('td', 'shop', 'waypoint'),
  };
  assert.equal(prepareRequest(head, facts, config as TargetConfig), undefined);
  return head.headers;
}

test('what only a proxy may say is taken from the client', () => {
  const headers = prepared([
    ['x-envoy-attempt-count', '9'],
    ['accept', '*/*'],
    ['x-envoy-original-path', '/a'],
    ['x-envoy-anything', 'x'],
    ['x-envoy-original-path', '/b'],
    ['x-forwarded-client-cert', 'URI=spiffe://td/ns/admin/sa/admin'],
    ['x-forwarded-client-cert', 'again'],
  ]);
  assert.deepEqual(
    headers.flat.filter((_, i) => i % 2 === 0),
    ['accept', 'x-request-id', 'x-forwarded-proto'],
  );
});

test('the application is told of the identity that was proven, if it is to be', () => {
  const headers = prepared([['x-forwarded-client-cert', 'URI=spiffe://td/ns/admin/sa/admin']], true);
  assert.deepEqual(headers.all('x-forwarded-client-cert'), [
    'By=spiffe://td/ns/shop/sa/waypoint;URI=spiffe://td/ns/front/sa/web',
  ]);
});

test('a request has one id', () => {
  const kept = '11111111-2222-4333-8444-555555555555';
  assert.equal(prepared([['x-request-id', kept]]).get('x-request-id'), kept);
  assert.match(prepared([]).get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
  const long = 'x'.repeat(5000);
  assert.notEqual(prepared([['x-request-id', long]]).get('x-request-id'), long);
});
