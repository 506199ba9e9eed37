import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import type { Provider } from '#/model/index.ts';
import { protoFields, texts } from '../../../test/proto-fields.ts';
import { providerExporter, type FinishedSpan, type SpanReporter } from './index.ts';

const reporter: SpanReporter = {
  serviceName: 'waypoint.default',
  attributes: { 'k8s.namespace.name': 'default' },
  ip: '10.0.0.9',
};

const span: FinishedSpan = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  parentSpanId: '00f067aa0ba902b7',
  state: 'a=1',
  name: 'cart.shop.svc.cluster.local:80/*',
  startedAt: 1_787_392_800_123.456,
  durationMs: 11.5,
  error: true,
  tags: { 'http.status_code': '503' },
};

/** One exported batch, read back from the wire. */
function readRequest(bytes: Uint8Array) {
  const resourceSpans = protoFields(bytes).get(1)?.[0] as Uint8Array;
  const resource = protoFields(protoFields(resourceSpans).get(1)?.[0] as Uint8Array);
  const scope = protoFields(protoFields(resourceSpans).get(2)?.[0] as Uint8Array);
  const pairs = (fields: ReturnType<typeof protoFields>, field: number) =>
    Object.fromEntries(
      (fields.get(field) ?? []).map((pair) => {
        const { 1: key, 2: value } = Object.fromEntries(protoFields(pair as Uint8Array)) as Record<
          number,
          unknown[]
        >;
        return [texts(key?.[0]), texts(protoFields(value?.[0] as Uint8Array).get(1)?.[0])];
      }),
    );
  return {
    resource: pairs(resource, 1),
    spans: (scope.get(2) ?? []).map((bytesOfSpan) => {
      const fields = protoFields(bytesOfSpan as Uint8Array);
      const hex = (field: number) => Buffer.from(fields.get(field)?.[0] as Uint8Array).toString('hex');
      const status = fields.get(15)?.[0];
      return {
        traceId: hex(1),
        spanId: hex(2),
        state: texts(fields.get(3)?.[0]),
        parentSpanId: hex(4),
        name: texts(fields.get(5)?.[0]),
        kind: fields.get(6)?.[0],
        start: fields.get(7)?.[0],
        end: fields.get(8)?.[0],
        tags: pairs(fields, 9),
        status: status instanceof Uint8Array ? protoFields(status).get(3)?.[0] : undefined,
      };
    }),
  };
}

const wanted = {
  resource: { 'service.name': 'waypoint.default', 'k8s.namespace.name': 'default' },
  spans: [
    {
      traceId: span.traceId,
      spanId: span.spanId,
      state: 'a=1',
      parentSpanId: span.parentSpanId,
      name: span.name,
      kind: 2n,
      start: 1_787_392_800_123_456_000n,
      end: 1_787_392_800_134_956_000n,
      tags: span.tags,
      status: 2n,
    },
  ],
};

interface Call {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** An HTTP collector on loopback; answers with the statuses in turn, then with the last one. */
async function httpCollector(...statuses: number[]) {
  const calls: Call[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      calls.push({ url: request.url, headers: request.headers, body: Buffer.concat(chunks) });
      response.writeHead(statuses[Math.min(calls.length, statuses.length) - 1] ?? 200).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { calls, address: { hostname: '127.0.0.1', port: (server.address() as AddressInfo).port } };
}

const otel = (address: { hostname: string; port: number }, fields: { httpPath?: string } = {}): Provider => ({
  kind: 'provider',
  name: 'otel',
  type: 'opentelemetry',
  address,
  headers: [{ name: 'X-Tenant', value: 'red' }],
  maxTagLength: 0,
  ...fields,
});

test('OTLP over HTTP', async () => {
  const { calls, address } = await httpCollector(200);
  const exporter = providerExporter(otel(address, { httpPath: '/v1/traces' }), reporter);
  await exporter?.export([span]);
  await exporter?.close();
  const [call] = calls;
  assert.equal(call?.url, '/v1/traces');
  assert.equal(call?.headers['content-type'], 'application/x-protobuf');
  assert.equal(call?.headers['x-tenant'], 'red');
  assert.deepEqual(readRequest(call?.body ?? Buffer.alloc(0)), wanted);
});

test('OTLP over HTTP: a refusal rejects', async () => {
  const { address } = await httpCollector(400);
  const exporter = providerExporter(otel(address, { httpPath: 'v1/traces' }), reporter);
  await assert.rejects(async () => exporter?.export([span]));
  await exporter?.close();
});

test('OTLP over gRPC', async () => {
  const calls: { readonly body: Buffer; readonly tenant: unknown }[] = [];
  const server = new Server();
  server.addService(
    {
      export: {
        path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
        requestStream: false,
        responseStream: false,
        requestSerialize: (value: Buffer) => value,
        requestDeserialize: (value: Buffer) => value,
        responseSerialize: (value: Buffer) => value,
        responseDeserialize: (value: Buffer) => value,
      },
    },
    {
      export: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        calls.push({ body: call.request, tenant: call.metadata.get('x-tenant')[0] });
        answer(null, Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  after(() => server.forceShutdown());
  const exporter = providerExporter(otel({ hostname: '127.0.0.1', port }), reporter);
  await exporter?.export([span]);
  await exporter?.export([span, span]);
  await exporter?.close();
  assert.equal(calls[0]?.tenant, 'red');
  assert.deepEqual(readRequest(calls[0]?.body ?? Buffer.alloc(0)), wanted);
  assert.equal(readRequest(calls[1]?.body ?? Buffer.alloc(0)).spans.length, 2);
});

test('Zipkin', async () => {
  const { calls, address } = await httpCollector(202, 500);
  const zipkin: Provider = { kind: 'provider', name: 'z', type: 'zipkin', address, path: '', w3c: false };
  const exporter = providerExporter(zipkin, reporter);
  await exporter?.export([span]);
  assert.equal(calls[0]?.url, '/api/v2/spans');
  assert.deepEqual(JSON.parse(String(calls[0]?.body)), [
    {
      traceId: span.traceId,
      id: span.spanId,
      parentId: span.parentSpanId,
      name: span.name,
      kind: 'SERVER',
      timestamp: 1_787_392_800_123_456,
      duration: 11_500,
      localEndpoint: { serviceName: 'waypoint.default', ipv4: '10.0.0.9' },
      tags: span.tags,
    },
  ]);
  await assert.rejects(async () => exporter?.export([span, span]), /answered 500 to 2 spans/);
  await exporter?.close();
});

test('other providers take no spans', () => {
  assert.equal(providerExporter({ kind: 'provider', name: 'p', type: 'prometheus' }, reporter), undefined);
});
