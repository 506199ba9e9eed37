import assert from 'node:assert/strict';
import { test } from 'node:test';
import { anExchange, aTcpConnection } from '../../../test/exchange-records.ts';
import { seededRandom } from '../../../test/mesh-records.ts';
import {
  compileJsonFormat,
  compileMeshFormat,
  compileTextFormat,
  istioJsonLabels,
  istioTextFormat,
  type AnyRecord,
} from './index.ts';

const istio = compileTextFormat(`${istioTextFormat}\n`);
const istioJson = compileJsonFormat(istioJsonLabels);

test("Istio's text line", () => {
  const rows: readonly [string, AnyRecord, string][] = [
    [
      'answered',
      anExchange({ request: { 'x-forwarded-for': '10.0.0.9' } }),
      '[2026-08-22T10:00:00.123Z] "GET /ratings/0?full=1 HTTP/1.1" 200 - via_upstream - "-" 12 1683 11 10 "10.0.0.9" "curl/8.2.1" "66401a61-0656-4838-9d84-df03448355f9" "server:9080" "10.244.1.24:9080" inbound-vip|9080|http|server.default.svc.cluster.local; 10.244.2.7:40112 10.96.138.243:9080 10.244.1.22:38872 - default',
    ],
    [
      'rewritten, denied',
      anExchange({
        path: '/v2',
        originalPath: '/v1?q',
        responseCode: 403,
        responseCodeDetails: 'rbac_access_denied_matched_policy[ns/deny all]',
        flags: ['UAEX'],
        upstreamHost: undefined,
        upstreamLocalAddress: undefined,
        upstreamServiceMs: undefined,
        upstreamCluster: undefined,
        durationMs: 0.2,
      }),
      '[2026-08-22T10:00:00.123Z] "GET /v1?q HTTP/1.1" 403 UAEX rbac_access_denied_matched_policy[ns/deny_all] - "-" 12 1683 0 - "-" "curl/8.2.1" "66401a61-0656-4838-9d84-df03448355f9" "server:9080" "-" - - 10.96.138.243:9080 10.244.1.22:38872 - default',
    ],
    [
      'failed',
      anExchange({
        responseCode: 503,
        flags: ['URX', 'UF'],
        responseCodeDetails: 'upstream_reset_before_response_started{connection_failure}',
        upstreamTransportFailureReason: 'connection refused',
      }),
      '[2026-08-22T10:00:00.123Z] "GET /ratings/0?full=1 HTTP/1.1" 503 URX,UF upstream_reset_before_response_started{connection_failure} - "connection refused" 12 1683 11 10 "-" "curl/8.2.1" "66401a61-0656-4838-9d84-df03448355f9" "server:9080" "10.244.1.24:9080" inbound-vip|9080|http|server.default.svc.cluster.local; 10.244.2.7:40112 10.96.138.243:9080 10.244.1.22:38872 - default',
    ],
    [
      'TCP',
      aTcpConnection({ requestedServerName: 'db.example' }),
      '[2026-08-22T10:00:00.123Z] "- - -" 0 - - - "-" 12 1683 11 - "-" "-" "-" "-" "10.244.1.24:9080" inbound-vip|9000|tcp|server.default.svc.cluster.local; 10.244.2.7:40112 10.96.138.243:9080 10.244.1.22:38872 db.example -',
    ],
  ];
  for (const [name, record, line] of rows) assert.equal(istio.line(record), line, name);
  assert.deepEqual(istio.problems, []);
});

test("Istio's JSON line", () => {
  assert.deepEqual(istioJson.problems, []);
  assert.equal(
    istioJson.line(anExchange()),
    '{"authority":"server:9080","bytes_received":12,"bytes_sent":1683,"connection_termination_details":null,"downstream_local_address":"10.96.138.243:9080","downstream_remote_address":"10.244.1.22:38872","duration":11,"method":"GET","path":"/ratings/0?full=1","protocol":"HTTP/1.1","request_id":"66401a61-0656-4838-9d84-df03448355f9","requested_server_name":null,"response_code":200,"response_code_details":"via_upstream","response_flags":"-","route_name":"default","start_time":"2026-08-22T10:00:00.123Z","upstream_cluster":"inbound-vip|9080|http|server.default.svc.cluster.local;","upstream_host":"10.244.1.24:9080","upstream_local_address":"10.244.2.7:40112","upstream_service_time":"10","upstream_transport_failure_reason":null,"user_agent":"curl/8.2.1","x_forwarded_for":null}',
  );
});

test('operators', () => {
  const record = anExchange({
    request: { a: '1', 'x-long': 'abcdefgh' },
    response: { server: 's' },
    trailers: { get: (name) => (name === 'grpc-status' ? '3' : undefined) },
    grpcStatus: 3,
    requestMs: 1.5,
    responseMs: 9.5,
    flags: ['UH', 'DC'],
  });
  const rows: readonly [string, string][] = [
    ['%%', '%'],
    ['%REQ(A)%', '1'],
    ['%REQ(B?A)%', '1'],
    ['%REQ(B?C)%', '-'],
    ['%REQ(x-long):3%', 'abc'],
    ['%REQ(:SCHEME)%://%REQ(Host)%', 'http://server:9080'],
    ['%REQ_WITHOUT_QUERY(:PATH)%', '/ratings/0'],
    ['%QUERY_PARAM(full)%', '1'],
    ['%RESP(Server)%', 's'],
    ['%TRAILER(grpc-status)%', '3'],
    [
      '%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%',
      'InvalidArgument INVALID_ARGUMENT 3 3',
    ],
    ['%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%', 'UH,DC NoHealthyUpstream,DownstreamConnectionTermination'],
    ['%REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%', '1 9 2'],
    ['%START_TIME(%Y/%m/%d %T.%3f %s)%', '2026/08/22 10:00:00.123 1787392800'],
    ['%START_TIME(%a %e %b %I:%M:%E6S %p %j)%', 'Sat 22 Aug 10:00:00.123456 AM 234'],
    ['%DYNAMIC_METADATA(com.test:key):5%', '-'],
    ['%FILTER_STATE(upstream_peer:PLAIN)%', '-'],
    [
      '%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_SUBJECT%',
      'spiffe://cluster.local/ns/default/sa/productpage -',
    ],
    ['%UPSTREAM_PEER_URI_SAN%', 'spiffe://cluster.local/ns/default/sa/ratings'],
    ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%', '10.244.1.22 9080'],
    ['%CEL(request.headers["a"] + (response.code >= 200 ? "+" : "-"))%', '1+'],
    ['%CEL(request.headers["b"])%', '-'],
    ['%HOSTNAME% %ENVIRONMENT(POD)%', 'waypoint-1 p'],
    ['plain text', 'plain text'],
    ['', ''],
  ];
  for (const [format, line] of rows) {
    const compiled = compileTextFormat(format, { hostname: 'waypoint-1', environment: { POD: 'p' } });
    assert.deepEqual(compiled.problems, [], format);
    assert.equal(compiled.line(record), line, format);
  }
});

test('what a format says wrong is told, and the line is written', () => {
  const rows: readonly [string, RegExp, string][] = [
    ['%NOPE%', /%NOPE% is not a known operator/, '-'],
    ['a %NOPE(x)% b', /%NOPE% is not a known operator/, 'a - b'],
    ['%REQ%', /%REQ% needs the name of a header/, '-'],
    ['%REQ(a b)%', /%REQ% needs the name/, '-'],
    ['%REQ(A?B?C)%', /%REQ% needs the name/, '-'],
    ['%DURATION(x)%', /%DURATION% takes no arguments/, '-'],
    ['%START_TIME(%Q)%', /"%Q" is not known/, '-'],
    ['%GRPC_STATUS(HEX)%', /CAMEL_STRING/, '-'],
    ['%CEL(request.)%', /%CEL% does not compile/, '-'],
    ['%CEL(nope.x)%', /%CEL% does not compile.*nope/, '-'],
    ['50% of', /"% of" is not an operator/, '50% of'],
    ['%lower%', /"%lower%" is not an operator/, '%lower%'],
    ['%constructor%', /not an operator/, '%constructor%'],
    ['%REQ(A)', /not an operator/, '%REQ(A)'],
  ];
  for (const [format, problem, line] of rows) {
    const compiled = compileTextFormat(format);
    assert.match(compiled.problems.join('; '), problem, format);
    assert.equal(compiled.line(anExchange()), line, format);
  }
});

test('nobody forges a field or a line', () => {
  const evil = anExchange({
    request: { 'user-agent': 'x" 200 - "\n[2026] "GET', 'x-forwarded-for': 'a\\" b\u2028\u0007' },
    requestedServerName: 'a b\nc',
  });
  const line = istio.line(evil);
  assert.ok(line.includes('"x\\" 200 - \\"\\n[2026] \\"GET"'), line);
  assert.ok(line.includes('"a\\\\\\" b\\u{2028}\\u{7}"'), line);
  assert.ok(line.includes(' a_b_c default'), line);
  assert.equal(JSON.parse(istioJson.line(evil)).user_agent, 'x" 200 - "\n[2026] "GET');
});

test('labels give JSON with types', () => {
  const format = compileJsonFormat({
    z: '%RESPONSE_CODE%',
    a: 'code %RESPONSE_CODE%, %REQ(NONE)%',
    n: '%REQ(NONE)%',
    nested: { list: ['%DURATION%', 1, true, null], text: 'say "hi"' },
  });
  assert.equal(
    format.line(anExchange()),
    '{"a":"code 200, -","n":null,"nested":{"list":[11,1,true,null],"text":"say \\"hi\\""},"z":200}',
  );
});

test("the mesh's format", () => {
  const line = (accessLogEncoding: 'TEXT' | 'JSON', accessLogFormat: string) => {
    const format = compileMeshFormat({ accessLogEncoding, accessLogFormat });
    return [format.line(anExchange()), ...format.problems];
  };
  assert.deepEqual(line('TEXT', ''), [istio.line(anExchange())]);
  assert.deepEqual(line('JSON', ''), [istioJson.line(anExchange())]);
  assert.deepEqual(line('TEXT', '%REQ(:METHOD)%\n'), ['GET']);
  assert.deepEqual(line('JSON', '{"m": "%REQ(:METHOD)%"}'), ['{"m":"GET"}']);
  assert.equal(line('JSON', '%REQ(:METHOD)%').length, 2);
});

test('any format compiles, and any line is one line', () => {
  const random = seededRandom(7);
  const pieces = [
    '%',
    '%%',
    '%REQ(',
    ')',
    ':',
    '5',
    'A?B',
    '%START_TIME(',
    '%Y',
    'DURATION',
    '%CEL(',
    '"',
    '\n',
    '{',
    'é',
    ' ',
  ];
  for (let i = 0; i < 3000; i++) {
    let format = '';
    for (let j = 0; j < 8; j++) format += pieces[Math.floor(random() * pieces.length)];
    const line = compileTextFormat(format).line(anExchange());
    assert.equal(typeof line, 'string');
    JSON.parse(compileJsonFormat({ format }).line(anExchange()));
  }
});
