import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Provider, Target, Telemetry } from '#/model/index.ts';
import { anExchange } from '../../../test/exchange-records.ts';
import {
  compileAccessLogs,
  effectiveTelemetry,
  type EffectiveTelemetry,
  type TelemetryMesh,
  type TelemetryTarget,
} from './index.ts';

const target: TelemetryTarget = {
  gateway: 'infra/waypoint',
  service: 'shop/cart.shop.svc.cluster.local',
  workload: { uid: 'c//Pod/shop/cart-1', namespace: 'shop' },
};
const mesh: TelemetryMesh = {
  accessLogFile: '',
  defaultProviders: { accessLogging: ['file'], metrics: [], tracing: ['otel'] },
};

const server = { mode: 'CLIENT_AND_SERVER', providers: [] } as const;

function aTelemetry(name: string, one: Target, fields: Partial<Telemetry>): Telemetry {
  return { kind: 'telemetry', name, targets: [one], accessLogs: [], metrics: [], tracing: [], ...fields };
}
const root = { kind: 'mesh' } as const;
const namespace = (name: string): Target => ({ kind: 'namespace', namespace: name });
const cart: Target = { kind: 'service', service: 'shop/cart.shop.svc.cluster.local' };
const waypoint: Target = { kind: 'waypoint', gateway: 'infra/waypoint' };

const effective = (...resources: Telemetry[]): EffectiveTelemetry =>
  effectiveTelemetry(resources, target, mesh);

test('without resources the mesh decides', () => {
  assert.deepEqual(effective(), {
    accessLogs: [{ provider: 'file' }],
    metrics: { enabled: true, overrides: [] },
    tracing: {
      provider: 'otel',
      samplingPercent: 1,
      reportSpans: true,
      propagate: true,
      byRequestId: true,
      istioTags: true,
      customTags: [],
    },
  });
  const bare: TelemetryMesh = {
    accessLogFile: '/dev/stdout',
    defaultProviders: { accessLogging: [], metrics: ['stackdriver'], tracing: [] },
  };
  assert.deepEqual(effectiveTelemetry([], target, bare), {
    accessLogs: [{ provider: '' }],
    metrics: { enabled: false, overrides: [] },
    tracing: undefined,
  });
});

test('access logs: the narrowest resource has the last word', () => {
  const log = (name: string, where: Target, ...accessLogs: Telemetry['accessLogs']) =>
    aTelemetry(name, where, { accessLogs });
  const rows: readonly [string, readonly Telemetry[], readonly object[]][] = [
    [
      'a filter for the mesh',
      [log('r/a', root, { ...server, filter: 'x' })],
      [{ provider: 'file', filter: 'x' }],
    ],
    ['off', [log('r/a', root, { ...server, disabled: true })], []],
    [
      'off in the mesh, on in the namespace',
      [log('r/a', root, { ...server, disabled: true }), log('shop/a', namespace('shop'), server)],
      [{ provider: 'file' }],
    ],
    [
      "off in the waypoint's namespace, a filter in the service's",
      [
        log('shop/a', namespace('shop'), { ...server, filter: 'y' }),
        log('infra/a', namespace('infra'), { ...server, disabled: true }),
      ],
      [{ provider: 'file', filter: 'y' }],
    ],
    [
      'another namespace',
      [log('x/a', namespace('x'), { ...server, disabled: true })],
      [{ provider: 'file' }],
    ],
    [
      'other providers for the service',
      [log('shop/a', cart, { ...server, providers: ['b', 'a'] })],
      [{ provider: 'a' }, { provider: 'b' }],
    ],
    [
      'providers of the waypoint, a filter for the service',
      [
        log('shop/a', cart, { ...server, filter: 'z' }),
        log('infra/a', waypoint, { ...server, providers: ['b'] }),
      ],
      [{ provider: 'b', filter: 'z' }],
    ],
    [
      'one provider of two off',
      [
        log('r/a', root, { ...server, providers: ['file', 'b'] }),
        log(
          'shop/a',
          namespace('shop'),
          { mode: 'SERVER', providers: ['file'], disabled: true },
          { ...server, providers: ['b'] },
        ),
      ],
      [{ provider: 'b' }],
    ],
    [
      'clients only',
      [log('r/a', root, { ...server, mode: 'CLIENT', disabled: true })],
      [{ provider: 'file' }],
    ],
    [
      'two on one level: the first by name',
      [log('shop/b', cart, { ...server, filter: 'b' }), log('shop/a', cart, { ...server, filter: 'a' })],
      [{ provider: 'file', filter: 'a' }],
    ],
  ];
  for (const [name, resources, wanted] of rows)
    assert.deepEqual(effective(...resources).accessLogs, wanted, name);
});

test('metrics: overrides apply in order, of prometheus and for servers', () => {
  const metrics = (
    where: Target,
    providers: string[],
    ...overrides: Telemetry['metrics'][number]['overrides']
  ) => aTelemetry('n/n', where, { metrics: [{ providers, overrides }] });
  const tags = [{ tag: 'a', operation: 'REMOVE' }] as const;
  const found = effective(
    metrics(cart, [], { metric: 'REQUEST_COUNT', mode: 'SERVER', tags }),
    metrics(root, ['prometheus'], {
      metric: 'ALL_METRICS',
      mode: 'CLIENT_AND_SERVER',
      disabled: true,
      tags: [],
    }),
    metrics(root, ['stackdriver', 'other'], { metric: 'REQUEST_SIZE', mode: 'SERVER', tags }),
    metrics(waypoint, [], { metric: 'REQUEST_SIZE', mode: 'CLIENT', tags }),
  ).metrics;
  assert.deepEqual(found.overrides, [
    { metric: 'ALL_METRICS', disabled: true, tags: [] },
    { metric: 'REQUEST_COUNT', tags },
  ]);
  const mine: Provider = { kind: 'provider', name: 'mine', type: 'prometheus' };
  const named = [metrics(cart, ['mine'])];
  assert.equal(effectiveTelemetry(named, target, mesh, [mine]).metrics.enabled, true);
  assert.equal(effectiveTelemetry(named, target, mesh).metrics.enabled, false);
});

test('tracing: each setting from the narrowest that has it', () => {
  const tracing = (where: Target, fields: Partial<Telemetry['tracing'][number]>) =>
    aTelemetry('n/n', where, { tracing: [{ ...server, customTags: [], ...fields }] });
  const tag = { tag: 't', kind: 'literal', value: 'v' } as const;
  const found = effective(
    tracing(cart, { samplingPercent: 50 }),
    tracing(root, { providers: ['zipkin'], samplingPercent: 10, customTags: [tag], istioTags: false }),
    tracing(namespace('shop'), { disableSpanReporting: true }),
    tracing(waypoint, { mode: 'CLIENT', samplingPercent: 3 }),
  ).tracing;
  assert.deepEqual(found, {
    provider: 'zipkin',
    samplingPercent: 50,
    reportSpans: false,
    propagate: true,
    byRequestId: true,
    istioTags: false,
    customTags: [tag],
  });
});

test('the logs that are written', () => {
  const providers = new Map<string, Provider>([
    [
      'a',
      { kind: 'provider', name: 'a', type: 'file-access-log', path: '/var/log/a', text: '%RESPONSE_CODE%\n' },
    ],
    [
      'b',
      {
        kind: 'provider',
        name: 'b',
        type: 'file-access-log',
        path: '',
        labels: { code: '%RESPONSE_CODE% %X%' },
      },
    ],
    ['p', { kind: 'provider', name: 'p', type: 'prometheus' }],
  ]);
  const logs = compileAccessLogs(
    {
      accessLogs: [
        { provider: '' },
        { provider: 'a', filter: 'response.code >= 400' },
        { provider: 'b', filter: 'response.code >=' },
        { provider: 'envoy' },
        { provider: 'gone' },
        { provider: 'p' },
      ],
    },
    providers,
    { accessLogFile: '/dev/stderr', accessLogFormat: '{"m":"%REQ(:METHOD)%"}', accessLogEncoding: 'JSON' },
  );
  const lines: string[] = [];
  logs.log(anExchange(), (path, line) => lines.push(`${path} ${line}`));
  logs.log(anExchange({ responseCode: 404 }), (path, line) => lines.push(`${path} ${line}`));
  assert.deepEqual(lines, [
    '/dev/stderr {"m":"GET"}',
    '/dev/stdout {"code":"200 -"}',
    '/dev/stdout {"m":"GET"}',
    '/dev/stderr {"m":"GET"}',
    '/var/log/a 404',
    '/dev/stdout {"code":"404 -"}',
    '/dev/stdout {"m":"GET"}',
  ]);
  assert.equal(logs.problems.length, 4);
  assert.match(
    logs.problems.join('\n'),
    /provider "b": %X% is not.*\n.*everything is logged.*\nprovider "gone" is not known.*\nprovider "p" of type prometheus/,
  );
});
