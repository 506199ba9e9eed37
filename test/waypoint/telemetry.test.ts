// What a waypoint tells of real traffic: metrics, access logs, spans; and what a Telemetry changes.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually, root } from '../lab/test-lab.ts';
import { seen, WaypointLab, type CallOptions } from './waypoint-lab.ts';

/** Takes spans over HTTP and gRPC, and tells their readable text. */
const collector = `
apiVersion: v1
kind: Namespace
metadata: { name: tools }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: collector, namespace: tools }
data:
  main.mjs: |
    import { createServer } from 'node:http';
    import grpc from '${root}/node_modules/@grpc/grpc-js/build/src/index.js';
    const got = { http: '', grpc: '' };
    createServer((request, response) => {
      if (request.method === 'GET') return response.end(got[request.url.slice(1)] ?? '');
      const parts = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', () => {
        got.http += Buffer.concat(parts).toString('latin1');
        response.setHeader('content-type', 'application/x-protobuf');
        response.end();
      });
    }).listen(4318);
    const bytes = (value) => value;
    const server = new grpc.Server();
    server.addService({ Export: { path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export', requestStream: false, responseStream: false, requestDeserialize: bytes, requestSerialize: bytes, responseSerialize: bytes, responseDeserialize: bytes } }, {
      Export: (call, answer) => { got.grpc += call.request.toString('latin1'); answer(null, Buffer.alloc(0)); },
    });
    server.bindAsync('0.0.0.0:4317', grpc.ServerCredentials.createInsecure(), () => {});
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: collector, namespace: tools }
spec:
  selector: { matchLabels: { app: collector } }
  template:
    metadata: { labels: { app: collector } }
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{ name: script, configMap: { name: collector } }]
      containers:
        - name: main
          image: none
          command: ['${process.execPath}', /script/main.mjs]
          volumeMounts: [{ name: script, mountPath: /script }]
          readinessProbe: { tcpSocket: { port: 4318 }, periodSeconds: 1 }
---
apiVersion: v1
kind: Service
metadata: { name: collector, namespace: tools }
spec: { selector: { app: collector }, ports: [{ name: grpc, port: 4317 }, { name: http, port: 4318 }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: istio, namespace: istio-system }
data:
  mesh: |
    extensionProviders:
      - name: spans-http
        opentelemetry: { service: collector.tools.svc.cluster.local, port: 4318, http: { path: /v1/traces } }
      - name: spans-grpc
        opentelemetry: { service: collector.tools.svc.cluster.local, port: 4317 }
      - name: json
        envoyFileAccessLog:
          path: /dev/stdout
          logFormat: { labels: { log: "json", code: "%RESPONSE_CODE%", path: "%REQ(:PATH)%", host: "%UPSTREAM_HOST%", mine: "%REQ(X-MINE)%" } }
`;

const telemetry = (spec: string): string => `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: { name: one, namespace: shop }
spec:
${spec}`;

describe('telemetry of a waypoint', () => {
  const mesh = new WaypointLab();
  before(() => mesh.start(collector));
  after(() => mesh[Symbol.asyncDispose]());

  const total = 'istio_requests_total';

  test('metrics of requests have all labels, once per request', async () => {
    const labels = { destination_service_name: 'app-v1', response_code: '418' };
    await mesh.call('http://app-v1/status/418');
    await mesh.call('http://app-v1.shop/status/418', { from: 'other' });
    const found = await eventually('the series', async () => {
      const all = await mesh.series(total, labels);
      return all.length === 2 ? all : undefined;
    });
    const { labels: own } = found.find(({ labels: { source_workload } }) => source_workload === 'client') ?? {
      labels: {},
    };
    assert.deepEqual(own, {
      reporter: 'waypoint',
      source_workload: 'client',
      source_canonical_service: 'client',
      source_canonical_revision: 'latest',
      source_workload_namespace: 'shop',
      source_principal: 'spiffe://cluster.local/ns/shop/sa/client',
      source_app: 'client',
      source_version: 'latest',
      source_cluster: 'Kubernetes',
      destination_workload: 'app-v1',
      destination_workload_namespace: 'shop',
      destination_principal: 'spiffe://cluster.local/ns/shop/sa/app-v1',
      destination_app: 'app',
      destination_version: 'v1',
      destination_service: 'app-v1.shop.svc.cluster.local',
      destination_canonical_service: 'app',
      destination_canonical_revision: 'v1',
      destination_service_name: 'app-v1',
      destination_service_namespace: 'shop',
      destination_cluster: 'Kubernetes',
      request_protocol: 'http',
      response_code: '418',
      grpc_response_status: '',
      response_flags: '-',
      connection_security_policy: 'mutual_tls',
    });
    assert.deepEqual(
      found.map(({ value }) => value),
      [1, 1],
    );
    const [other] = await mesh.series(total, { ...labels, source_workload: 'other' });
    assert.equal(other?.labels['source_principal'], 'spiffe://cluster.local/ns/elsewhere/sa/other');
    for (const histogram of [
      'istio_request_duration_milliseconds',
      'istio_request_bytes',
      'istio_response_bytes',
    ])
      assert.equal(await mesh.count(`${histogram}_count`, labels), 2, histogram);
  });

  test('metrics of TCP count connections and bytes', async () => {
    const labels = { destination_service_name: 'echo', request_protocol: 'tcp' };
    await mesh.run(['bash', '-c', 'exec 3<>/dev/tcp/echo/9000; head -1 <&3; echo 12345 >&3; head -1 <&3']);
    await eventually(
      'a closed connection',
      async () => (await mesh.count('istio_tcp_connections_closed_total', labels)) === 1,
    );
    assert.equal(await mesh.count('istio_tcp_connections_opened_total', labels), 1);
    assert.equal(await mesh.count('istio_tcp_received_bytes_total', labels), 6);
    assert.ok((await mesh.count('istio_tcp_sent_bytes_total', labels)) > 6);
  });

  test('gRPC has its status as label', async () => {
    await mesh.run([
      'bash',
      '-c',
      `printf '\\0\\0\\0\\0\\2hi' | curl -sS -m 10 --http2-prior-knowledge -H 'content-type: application/grpc' -H 'te: trailers' -H 'x-status: 9' --data-binary @- http://echo:9090/aura.echo.v1.Echo/Say`,
    ]);
    await eventually(
      'the series',
      async () =>
        (await mesh.count(total, {
          destination_service_name: 'echo',
          request_protocol: 'grpc',
          grpc_response_status: '9',
          response_code: '200',
        })) === 1,
    );
  });

  test('the access log is off, until a Telemetry wants it; a filter leaves lines out', async () => {
    await mesh.call('http://app-v1/get?before');
    const log = telemetry(`
  accessLogging: [{ providers: [{ name: envoy }], filter: { expression: "response.code >= 400" } }]`);
    await mesh.with(log, async () => {
      const line = await eventually('a line', async () => {
        await mesh.call('http://app-v1/status/404?wanted', {
          args: ['-H', 'user-agent: me', '-H', 'x-request-id: 11111111-2222-4333-8444-555555555555'],
        });
        return (await mesh.log()).split('\n').find((one) => one.includes('?wanted'));
      });
      assert.match(
        line,
        /^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] "GET \/status\/404\?wanted HTTP\/1\.1" 404 - via_upstream - "-" 0 0 \d+ \d+ "-" "me" "11111111-2222-4333-8444-555555555555" "app-v1" "10\.244\.1\.\d+:80" inbound-vip\|80\|http\|app-v1\.shop\.svc\.cluster\.local; \S+ \S+ 10\.244\.1\.\d+:\d+ \S+ \S+$/,
      );
      await mesh.call('http://app-v1/get?after');
      await mesh.call('http://app-v1/status/404?last');
      await mesh.logLine(['?last']);
      const all = await mesh.log();
      assert.ok(!all.includes('?before') && !all.includes('?after'));
    });
  });

  test('a provider’s own format is JSON with its labels', async () => {
    await mesh.with(telemetry('  accessLogging: [{ providers: [{ name: json }] }]'), async () => {
      const line = await eventually('a line', async () => {
        await mesh.call('http://app-v1/status/204?json', { args: ['-H', 'x-mine: "quoted"'] });
        return (await mesh.log()).split('\n').find((one) => one.includes('?json'));
      });
      const { host, ...rest } = JSON.parse(line) as Record<string, unknown>;
      assert.deepEqual(rest, { log: 'json', code: 204, path: '/status/204?json', mine: '"quoted"' });
      assert.match(String(host), /^10\.244\.1\.\d+:80$/);
    });
  });

  test('a Telemetry takes labels away, adds some, and switches metrics off', async () => {
    const change = telemetry(`
  metrics:
    - providers: [{ name: prometheus }]
      overrides:
        - match: { metric: REQUEST_COUNT }
          tagOverrides:
            request_method: { value: request.method }
            source_principal: { operation: REMOVE }
        - match: { metric: REQUEST_SIZE }
          disabled: true`);
    await mesh.with(change, async () => {
      const labels = { destination_service_name: 'app-v2', request_method: 'PUT' };
      const [found] = await eventually('the label', async () => {
        await mesh.call('http://app-v2/status/299', { args: ['-X', 'PUT'] });
        const all = await mesh.series(total, labels);
        return all.length > 0 ? all : undefined;
      });
      assert.equal(found?.labels['source_principal'], undefined);
      const sizes = await mesh.count('istio_request_bytes_count', { destination_service_name: 'app-v2' });
      await mesh.call('http://app-v2/status/299', { args: ['-X', 'PUT'] });
      assert.equal(
        await mesh.count('istio_request_bytes_count', { destination_service_name: 'app-v2' }),
        sizes,
      );
    });
  });

  test('trace headers go on to the application; without a provider nothing is changed', async () => {
    const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const headers = seen(
      await mesh.call('http://app-v1/get', {
        args: [
          '-H',
          `traceparent: ${parent}`,
          '-H',
          'tracestate: a=b',
          '-H',
          'x-b3-traceid: 463ac35c9f6413ad',
        ],
      }),
    ).headers;
    assert.equal(headers['traceparent'], parent);
    assert.equal(headers['tracestate'], 'a=b');
    assert.equal(headers['x-b3-traceid'], '463ac35c9f6413ad');
    assert.match(headers['x-request-id'] ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-/);
  });

  for (const [way, id] of [
    ['http', '1af7651916cd43dd8448eb211c80319c'],
    ['grpc', '2af7651916cd43dd8448eb211c80319c'],
  ] as const)
    test(`spans arrive at a collector over ${way}, with tags, below the client’s`, async () => {
      const tracing = telemetry(`
  tracing:
    - providers: [{ name: spans-${way} }]
      randomSamplingPercentage: 100
      customTags: { mine: { header: { name: x-mine } } }`);
      const options: CallOptions = {
        args: ['-H', `traceparent: 00-${id}-b7ad6b7169203331-01`, '-H', 'x-mine: my own tag'],
      };
      await mesh.with(tracing, async () => {
        const got = await eventually(
          'a span',
          async () => {
            const { headers } = seen(await mesh.call('http://app-v1/get?traced', options));
            assert.match(headers['traceparent'] ?? '', new RegExp(`^00-${id}-[0-9a-f]{16}-01$`));
            const { body } = await mesh.call(`http://collector.tools:4318/${way}`);
            const trace = Buffer.from(id, 'hex').toString('latin1');
            const text = Buffer.from(body, 'utf8').toString('utf8');
            return text.includes('my own tag') && text.includes(trace.slice(0, 1)) ? text : undefined;
          },
          40_000,
        );
        for (const word of [
          'http.status_code',
          'http://app-v1/get?traced',
          'guid:x-request-id',
          'istio.canonical_service',
          'istio.mesh_id',
          'istio.source_workload',
          'istio.destination_workload',
        ])
          assert.ok(got.includes(word), word);
      });
    });
});
