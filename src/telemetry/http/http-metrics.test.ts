import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Identity } from '#/model/index.ts';
import { aTcpConnection, anExchange, client, server } from '../../../test/exchange-records.ts';
import { aWorkload } from '../../../test/mesh-records.ts';
import { openMetrics } from '../index.ts';
import {
  compileMetricPlan,
  HttpMetrics,
  requestLabelNames,
  tcpLabelNames,
  type EffectiveTelemetry,
} from './index.ts';

const textOf = (metrics: HttpMetrics): string => [...openMetrics(metrics.collect())].join('');
const lines = (metrics: HttpMetrics, start: string): string[] =>
  textOf(metrics)
    .split('\n')
    .filter((line) => line.startsWith(start));

const parse = (line: string): Record<string, string> =>
  Object.fromEntries([...line.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, value]) => [key, value]));

const peers =
  'reporter="waypoint",source_workload="productpage-v1",source_canonical_service="productpage",source_canonical_revision="v1",source_workload_namespace="default",source_principal="spiffe://cluster.local/ns/default/sa/productpage",source_app="productpage",source_version="v1",source_cluster="client-cluster",destination_workload="ratings-v1",destination_workload_namespace="default",destination_principal="spiffe://cluster.local/ns/default/sa/ratings",destination_app="ratings",destination_version="v1",destination_service="server.default.svc.cluster.local",destination_canonical_service="ratings",destination_canonical_revision="v1",destination_service_name="server",destination_service_namespace="default",destination_cluster="server-cluster"';
const http = `${peers},request_protocol="http",response_code="200",grpc_response_status="",response_flags="-",connection_security_policy="mutual_tls"`;
const tcp = `${peers},request_protocol="tcp",response_flags="-",connection_security_policy="mutual_tls"`;

const bounds =
  '0.5 1 5 10 25 50 100 250 500 1000 2500 5000 10000 30000 60000 300000 600000 1800000 3600000 +Inf';
/** The lines of a histogram; `first`: the bounds that hold nothing. */
const histogram = (name: string, first: number, count: number, sum: number): string =>
  `${bounds
    .split(' ')
    .map((le, index) => `${name}_bucket{${http},le="${le}"} ${index < first ? 0 : count}\n`)
    .join('')}${name}_sum{${http}} ${sum}\n${name}_count{${http}} ${count}\n`;

test('the text of one kind of request and one of connection', () => {
  const metrics = new HttpMetrics();
  metrics.request(anExchange());
  metrics.request(anExchange());
  const connection = metrics.tcpOpened(aTcpConnection());
  connection.received(10);
  connection.received(5);
  connection.sent(7);
  connection.closed();
  connection.closed();
  assert.equal(
    textOf(metrics),
    `# HELP istio_requests Requests.\n# TYPE istio_requests counter\nistio_requests_total{${http}} 2\n` +
      '# HELP istio_request_duration_milliseconds Time from request to end of response.\n' +
      '# TYPE istio_request_duration_milliseconds histogram\n' +
      histogram('istio_request_duration_milliseconds', 4, 2, 22) +
      '# HELP istio_request_bytes Bytes of request bodies.\n# TYPE istio_request_bytes histogram\n' +
      histogram('istio_request_bytes', 4, 2, 24) +
      '# HELP istio_response_bytes Bytes of response bodies.\n# TYPE istio_response_bytes histogram\n' +
      histogram('istio_response_bytes', 10, 2, 3366) +
      `# HELP istio_tcp_connections_opened TCP connections opened.\n# TYPE istio_tcp_connections_opened counter\nistio_tcp_connections_opened_total{${tcp}} 1\n` +
      `# HELP istio_tcp_connections_closed TCP connections closed.\n# TYPE istio_tcp_connections_closed counter\nistio_tcp_connections_closed_total{${tcp}} 1\n` +
      `# HELP istio_tcp_received_bytes Bytes from client to server.\n# TYPE istio_tcp_received_bytes counter\nistio_tcp_received_bytes_total{${tcp}} 15\n` +
      `# HELP istio_tcp_sent_bytes Bytes from server to client.\n# TYPE istio_tcp_sent_bytes counter\nistio_tcp_sent_bytes_total{${tcp}} 7\n` +
      '# EOF\n',
  );
});

test('labels in order; what is missing is unknown', () => {
  const metrics = new HttpMetrics();
  const nobody = {
    source: undefined,
    destination: undefined,
    service: undefined,
    sourceIdentity: undefined,
  } as const;
  metrics.request(anExchange({ ...nobody, mutualTls: false, responseCode: 503, flags: ['UH', 'URX'] }));
  const labels = parse(lines(metrics, 'istio_requests_total')[0] ?? '');
  assert.deepEqual(Object.keys(labels), [...requestLabelNames]);
  assert.deepEqual(
    Object.entries(labels).filter(([, value]) => value !== 'unknown'),
    [
      ['reporter', 'waypoint'],
      ['request_protocol', 'http'],
      ['response_code', '503'],
      ['grpc_response_status', ''],
      ['response_flags', 'UH,URX'],
      ['connection_security_policy', 'none'],
    ],
  );
  metrics.tcpOpened(aTcpConnection()).closed(['UF']);
  const [closed] = lines(metrics, 'istio_tcp_connections_closed_total');
  assert.deepEqual(Object.keys(parse(closed ?? '')), [...tcpLabelNames]);
  assert.equal(parse(closed ?? '')['response_flags'], 'UF');
  const [opened] = lines(metrics, 'istio_tcp_connections_opened_total');
  assert.equal(parse(opened ?? '')['response_flags'], '-');
});

test('gRPC: status, messages, and numbers that are no status', () => {
  const metrics = new HttpMetrics();
  const grpc = (grpcStatus: number | undefined) =>
    metrics.request(anExchange({ grpc: true, grpcStatus, requestMessages: 2, responseMessages: 3 }));
  grpc(0);
  grpc(0);
  grpc(14);
  grpc(1e9);
  grpc(-5);
  grpc(undefined);
  const requests = lines(metrics, 'istio_requests_total');
  assert.deepEqual(
    requests.map((line) => [parse(line)['grpc_response_status'], line.split(' ').at(-1)]),
    [
      ['0', '2'],
      ['14', '1'],
      ['unknown', '2'],
      ['', '1'],
    ],
  );
  assert.ok(requests.every((line) => parse(line)['request_protocol'] === 'grpc'));
  assert.match(lines(metrics, 'istio_request_messages_total')[0] ?? '', / 4$/);
  assert.match(lines(metrics, 'istio_response_messages_total')[0] ?? '', / 6$/);
});

test('what workers drain adds up in the main thread', () => {
  const [worker, main] = [new HttpMetrics(), new HttpMetrics()];
  const direct = new HttpMetrics();
  const connections = [worker, direct].map((metrics) => metrics.tcpOpened(aTcpConnection()));
  for (let i = 0; i < 20; i++) {
    const record = anExchange({ durationMs: i * 40, responseCode: i % 3 === 0 ? 500 : 200 });
    worker.request(record);
    direct.request(record);
    for (const connection of connections) connection.sent(i);
    if (i % 4 === 0) main.merge(structuredClone(worker.drain()), i);
  }
  for (const connection of connections) connection.closed();
  main.merge(structuredClone(worker.drain()), 20);
  assert.deepEqual(textOf(main).split('\n').sort(), textOf(direct).split('\n').sort());
  assert.equal(worker.drain().series.length, 0);
  assert.equal(worker.size, 0);
  worker.request(anExchange());
  assert.equal(worker.drain().series.length, 1);
});

test('series are limited', () => {
  const metrics = new HttpMetrics({ limit: 3 });
  for (let i = 0; i < 10; i++) metrics.request(anExchange({ responseCode: 200 + i }));
  metrics.tcpOpened(aTcpConnection()).closed();
  assert.equal(metrics.size, 5);
  const rest = lines(metrics, 'istio_requests_total').filter((line) =>
    line.includes('response_code="unknown"'),
  );
  assert.match(rest.join(), /^istio_requests_total\{reporter="waypoint",source_workload="unknown".* 7$/);
  assert.match(textOf(metrics), /aura_metric_series_overflow_total 8\n/);
  const main = new HttpMetrics();
  main.merge(metrics.drain(), 0);
  assert.match(textOf(main), /aura_metric_series_overflow_total 8\n/);
});

test('series of workloads that are gone go after a while', () => {
  const [worker, main] = [new HttpMetrics(), new HttpMetrics()];
  worker.request(anExchange());
  worker.request(
    anExchange({ source: aWorkload('other'), sourceIdentity: 'spiffe://t/ns/a/sa/b' as Identity }),
  );
  main.merge(worker.drain(), 1000);
  const known = (uid: string) => uid === client.uid || uid === server.uid;
  assert.equal(main.expire(1000 + 899_999, known), 0);
  assert.equal(main.expire(1000 + 900_000, known), 1);
  assert.equal(main.size, 1);
  worker.request(anExchange());
  main.merge(worker.drain(), 950_000);
  assert.equal(
    main.expire(1_000_000, () => false),
    0,
  );
  assert.match(lines(main, 'istio_requests_total')[0] ?? '', / 2$/);
});

const plan = (...overrides: EffectiveTelemetry['metrics']['overrides']) =>
  compileMetricPlan({ metrics: { enabled: true, overrides } });

test('overrides of the Telemetry API', () => {
  const some = plan(
    { metric: 'ALL_METRICS', tags: [{ tag: 'source_principal', operation: 'REMOVE' }] },
    { metric: 'REQUEST_DURATION', disabled: true, tags: [] },
    {
      metric: 'REQUEST_COUNT',
      tags: [
        { tag: 'request_host', operation: 'UPSERT', value: 'request.host' },
        { tag: 'destination_version', operation: 'UPSERT', value: '"v" + string(destination.port)' },
        { tag: 'team', operation: 'UPSERT', value: 'request.headers["x-team"]' },
      ],
    },
    { metric: 'istio_request_bytes', disabled: true, tags: [] },
    { metric: 'REQUEST_SIZE', disabled: false, tags: [] },
  );
  assert.deepEqual(some.problems, []);
  const metrics = new HttpMetrics();
  metrics.request(anExchange({ request: { 'x-team': 'a"b' } }), some);
  metrics.request(anExchange(), some);
  metrics.request(anExchange(), some);
  const counted = lines(metrics, 'istio_requests_total');
  assert.deepEqual(
    counted.map((line) => [parse(line)['team'], line.split(' ').at(-1)]),
    [
      ['a\\"b', '1'],
      ['unknown', '2'],
    ],
  );
  assert.deepEqual(Object.keys(parse(counted[0] ?? '')), [
    ...requestLabelNames.filter((name) => name !== 'source_principal'),
    'request_host',
    'team',
  ]);
  assert.equal(parse(counted[0] ?? '')['destination_version'], 'v9080');
  assert.deepEqual(lines(metrics, 'istio_request_duration_milliseconds'), []);
  assert.match(lines(metrics, 'istio_request_bytes_count')[0] ?? '', / 3$/);
  assert.ok(!textOf(metrics).includes('source_principal'));
});

test('requests and connections whose labels come to be the same stay apart', () => {
  const names = [...requestLabelNames];
  const bare = plan({
    metric: 'ALL_METRICS',
    tags: names.map((tag) => ({ tag, operation: 'REMOVE' as const })),
  });
  const metrics = new HttpMetrics();
  metrics.request(anExchange(), bare);
  metrics.tcpOpened(aTcpConnection(), bare).closed();
  assert.deepEqual(lines(metrics, 'istio_requests_total'), ['istio_requests_total 1']);
  assert.deepEqual(lines(metrics, 'istio_tcp_connections_closed_total'), [
    'istio_tcp_connections_closed_total 1',
  ]);
});

test('metrics that are off, and overrides that say nothing sensible', () => {
  const metrics = new HttpMetrics();
  metrics.request(anExchange(), compileMetricPlan({ metrics: { enabled: false, overrides: [] } }));
  metrics.request(anExchange(), plan({ metric: 'ALL_METRICS', disabled: true, tags: [] }));
  assert.equal(textOf(metrics), '# EOF\n');
  const wrong = plan(
    { metric: 'NOPE', tags: [] },
    { metric: 'REQUEST_COUNT', tags: [{ tag: 'a', operation: 'UPSERT', value: 'request.' }] },
    { metric: 'REQUEST_COUNT', tags: [{ tag: 'bad-name', operation: 'UPSERT', value: 'request.host' }] },
  );
  assert.equal(wrong.problems.length, 3);
  metrics.request(anExchange(), wrong);
  assert.deepEqual(Object.keys(parse(lines(metrics, 'istio_requests_total')[0] ?? '')), [
    ...requestLabelNames,
  ]);
});
