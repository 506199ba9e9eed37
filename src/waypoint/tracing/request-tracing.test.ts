import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Provider } from '#/model/index.ts';
import type { EffectiveTracing } from '#/telemetry/index.ts';
import { anExchange } from '../../../test/exchange-records.ts';
import { compileRequestTracing, type RequestTracing } from './index.ts';

const trace = '0af7651916cd43dd8448eb211c80319c';
const span = 'b7ad6b7169203331';
const own = 'e'.repeat(16);
const address = { hostname: 'collector.example', port: 4317 };
const otel: Provider = {
  kind: 'provider',
  name: 'otel',
  type: 'opentelemetry',
  address,
  headers: [],
  maxTagLength: 10,
};
const zipkin: Provider = { kind: 'provider', name: 'zipkin', type: 'zipkin', address, path: '', w3c: false };

const settings: EffectiveTracing = {
  provider: 'otel',
  samplingPercent: 100,
  reportSpans: true,
  propagate: true,
  byRequestId: true,
  istioTags: true,
  customTags: [],
};

function compile(
  fields: Partial<EffectiveTracing> = {},
  provider: Provider | undefined = otel,
): RequestTracing {
  const compiled = compileRequestTracing({ ...settings, ...fields }, provider, {
    ids: { traceId: () => 'f'.repeat(32), spanId: () => own },
    proxy: {
      canonicalService: 'waypoint',
      canonicalRevision: 'latest',
      namespace: 'default',
      clusterId: 'Kubernetes',
      meshId: 'cluster.local',
    },
    around: { environment: { POD: 'waypoint-1' } },
  });
  assert.ok('begin' in compiled);
  return compiled;
}

const headers = (values: Readonly<Record<string, string>>) => ({ get: (name: string) => values[name] });

test('a request in a trace: the context goes on, the span has the tags', () => {
  const tracing = compile();
  const begun = tracing.begin(headers({ traceparent: `00-${trace}-${span}-01`, tracestate: 'a=1' }), 'id');
  assert.deepEqual(begun.headers, {
    set: [
      { name: 'traceparent', value: `00-${trace}-${own}-01` },
      { name: 'tracestate', value: 'a=1' },
    ],
    remove: [],
  });
  const record = anExchange({ responseCode: 503, flags: ['UH'], originalPath: '/0123456789abc' });
  assert.deepEqual(tracing.finish(record, begun.trace), {
    traceId: trace,
    spanId: own,
    parentSpanId: span,
    state: 'a=1',
    name: 'server.default.svc.cluster.local:9080/*',
    startedAt: record.startedAt,
    durationMs: record.durationMs,
    error: true,
    tags: {
      component: 'proxy',
      'guid:x-request-id': '66401a61-0656-4838-9d84-df03448355f9',
      'http.url': 'http://server:9080/012345678',
      'http.method': 'GET',
      'http.protocol': 'HTTP/1.1',
      'http.status_code': '503',
      user_agent: 'curl/8.2.1',
      downstream_cluster: '-',
      'peer.address': '10.244.1.22',
      request_size: '12',
      response_size: '1683',
      response_flags: 'UH',
      upstream_cluster: 'inbound-vip|9080|http|server.default.svc.cluster.local;',
      'upstream_cluster.name': 'inbound-vip|9080|http|server.default.svc.cluster.local;',
      upstream_address: '10.244.1.24:9080',
      error: 'true',
      'istio.canonical_service': 'waypoint',
      'istio.canonical_revision': 'latest',
      'istio.mesh_id': 'cluster.local',
      'istio.namespace': 'default',
      'istio.cluster_id': 'Kubernetes',
      'istio.source_workload': 'productpage-v1',
      'istio.source_namespace': 'default',
      'istio.source_cluster_id': 'client-cluster',
      'istio.source_canonical_service': 'productpage',
      'istio.source_canonical_revision': 'v1',
      'istio.source_app': 'productpage',
      'istio.source_app_version': 'v1',
      'istio.source_workload_type': 'deployment',
      'istio.source_instance_name': 'productpage-1',
      'istio.destination_workload': 'ratings-v1',
      'istio.destination_namespace': 'default',
      'istio.destination_cluster_id': 'server-cluster',
      'istio.destination_canonical_service': 'ratings',
      'istio.destination_canonical_revision': 'v1',
      'istio.destination_app': 'ratings',
      'istio.destination_app_version': 'v1',
      'istio.destination_workload_type': 'deployment',
      'istio.destination_instance_name': 'ratings-1',
    },
  });
});

test('custom tags, and those of Istio left out', () => {
  const tracing = compile({
    istioTags: false,
    customTags: [
      { tag: 'l', kind: 'literal', value: 'v' },
      { tag: 'e', kind: 'environment', name: 'POD' },
      { tag: 'e2', kind: 'environment', name: 'NONE', fallback: 'none' },
      { tag: 'h', kind: 'header', name: 'X-Team' },
      { tag: 'h2', kind: 'header', name: 'x-none', fallback: 'none' },
      { tag: 'h3', kind: 'header', name: 'x-none' },
      { tag: 'f', kind: 'formatter', format: 'code %RESPONSE_CODE% %NOPE%' },
    ],
  });
  assert.match(tracing.problems.join(), /tag "f": %NOPE% is not/);
  const begun = tracing.begin(headers({}), undefined);
  const finished = tracing.finish(
    anExchange({ grpc: true, grpcStatus: 5, request: { 'x-team': 'r'.repeat(5000) } }),
    begun.trace,
  );
  const tags = finished?.tags ?? {};
  assert.deepEqual(
    ['l', 'e', 'e2', 'h2', 'h3', 'f', 'grpc.status_code', 'error', 'istio.namespace'].map((tag) => tags[tag]),
    ['v', 'waypoint-1', 'none', 'none', undefined, 'code 200 -', 'NOT_FOUND', 'true', undefined],
  );
  assert.equal(tags['h']?.length, 1024);
});

test('what is not sampled or not reported makes no span, but the context goes on', () => {
  const rows: readonly [Partial<EffectiveTracing>, string, boolean, string | undefined][] = [
    [{ samplingPercent: 0 }, '', false, `00-${'f'.repeat(32)}-${own}-00`],
    [{ samplingPercent: 0 }, `00-${trace}-${span}-01`, true, `00-${trace}-${own}-01`],
    [{ samplingPercent: 100 }, `00-${trace}-${span}-00`, false, `00-${trace}-${own}-00`],
    [{ reportSpans: false }, '', false, `00-${'f'.repeat(32)}-${own}-01`],
    [{ propagate: false }, '', true, undefined],
  ];
  for (const [fields, traceparent, reported, sent] of rows) {
    const tracing = compile(fields);
    const begun = tracing.begin(headers({ traceparent }), undefined);
    assert.equal(begun.headers?.set?.[0]?.value, sent);
    assert.equal(tracing.finish(anExchange(), begun.trace) !== undefined, reported, JSON.stringify(fields));
  }
});

test('Zipkin speaks B3, and W3C if asked', () => {
  const incoming = headers({ b3: `${trace}-${span}-1`, traceparent: `00-${'1'.repeat(32)}-${span}-01` });
  const names = (tracing: RequestTracing) => {
    const { headers: change, trace: found } = tracing.begin(incoming, undefined);
    assert.equal(found.traceId, trace);
    return [change?.set?.map(({ name }) => name), change?.remove];
  };
  const b3 = ['x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled'];
  assert.deepEqual(names(compile({}, zipkin)), [b3, ['b3', 'x-b3-flags']]);
  assert.deepEqual(names(compile({}, { ...zipkin, w3c: true })), [
    [...b3, 'traceparent'],
    ['tracestate', 'b3', 'x-b3-flags'],
  ]);
});

test('providers that take no spans', () => {
  const options = { ids: { traceId: () => '', spanId: () => '' }, proxy: {} as never };
  const problem = (provider: Provider | undefined) => {
    const compiled = compileRequestTracing(settings, provider, options);
    return 'problem' in compiled ? compiled.problem : '';
  };
  assert.match(problem(undefined), /"otel" is not known/);
  assert.match(problem({ kind: 'provider', name: 'p', type: 'prometheus' }), /does not take spans/);
});
