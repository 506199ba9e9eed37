import assert from 'node:assert/strict';
import { test } from 'node:test';
import { anExchange, aTcpConnection } from '../../../test/exchange-records.ts';
import { compileAccessFilter, type AnyRecord } from './index.ts';

const failed = anExchange({
  responseCode: 503,
  flags: ['UH'],
  durationMs: 1500,
  grpcStatus: 14,
  request: { 'x-team': 'red' },
});

test('filters over the attributes of a request', () => {
  const rows: readonly [string, AnyRecord, boolean][] = [
    ['response.code >= 400', failed, true],
    ['response.code >= 400', anExchange(), false],
    ['response.code >= 400', aTcpConnection(), false],
    ['response.code >= 500 || request.url_path == "/ratings/0"', anExchange(), true],
    ['request.path == "/ratings/0?full=1" && request.query == "full=1"', anExchange(), true],
    ['request.method == "GET" && request.host == "server:9080" && request.scheme == "http"', failed, true],
    ['request.headers["x-team"] == "red"', failed, true],
    ['request.headers["X-Team"] == "red"', failed, true],
    ['request.headers["x-team"] == "red"', anExchange(), false],
    ['"x-team" in request.headers', failed, true],
    ['"x-team" in request.headers', anExchange(), false],
    ['has(response.grpc_status) && response.grpc_status == 14', failed, true],
    ['has(response.grpc_status)', anExchange(), false],
    ['request.duration > duration("1s")', failed, true],
    ['request.duration > duration("1s")', anExchange(), false],
    ['request.time < timestamp("2026-08-22T10:00:01Z")', failed, true],
    ['response.flags != 0', failed, true],
    ['response.flags != 0', anExchange(), false],
    ['connection.mtls == false', anExchange(), false],
    ['connection.mtls && source.principal.startsWith("spiffe://cluster.local/ns/default/")', failed, true],
    ['source.address == "10.244.1.22:38872" && destination.port == 9080', failed, true],
    ['upstream.port == 9080 && xds.route_name == "default"', failed, true],
    ['xds.cluster_name.startsWith("inbound-vip|9000|tcp")', aTcpConnection(), true],
    ['filter_state.downstream_peer.workload == "productpage-v1"', failed, true],
    ['upstream_peer.labels["app"] == "ratings"', failed, true],
    ['request.size + response.size == 1695', failed, true],
    ['request.useragent.matches("^curl/")', failed, true],
    ['request.useragent.matches("8[.]2")', failed, true],
    ['matches(request.useragent, "^wget")', failed, false],
    ['["^wget", "^curl"].exists(p, request.useragent.matches(p))', failed, true],
    ['request.headers["x-team"].matches(request.method)', failed, false],
    ['request.path == "a.matches(" || response.code == 503', failed, true],
    ['', failed, true],
  ];
  for (const [expression, record, wanted] of rows) {
    const filter = compileAccessFilter(expression);
    assert.equal(filter.problem, undefined, expression);
    assert.equal(filter.matches(record), wanted, expression);
  }
});

test('a filter that does not compile logs everything and says so', () => {
  for (const expression of [
    'response.code >=',
    'responses.code == 1',
    '1 + "a"',
    '"text"',
    'nope(request)',
    '('.repeat(200),
    'request.path.matches("(")',
    'request.path.matches("(a)\\\\1")',
    'request.path.matches("(?=a)")',
  ]) {
    const filter = compileAccessFilter(expression);
    assert.match(filter.problem ?? '', /everything/, expression);
    assert.equal(filter.matches(anExchange()), true, expression);
  }
});

test('no text of a client stalls a pattern', () => {
  const evil = anExchange({ request: { 'user-agent': `${'a'.repeat(50_000)}!` } });
  for (const expression of [
    'request.useragent.matches("^(a+)+$")',
    'matches(request.useragent, "^(a+)+$")',
    '["^(a+)+$"].exists(p, request.useragent.matches(p))',
    '[request.useragent].filter(x, x.matches("^(a+)+$")).size() > 0',
  ])
    assert.equal(compileAccessFilter(expression).matches(evil), false, expression);
});
