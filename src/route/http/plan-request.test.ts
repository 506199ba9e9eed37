import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cors, DestinationPolicy, HttpRule } from '#/model/index.ts';
import { seededRandom } from '../../../test/mesh-records.ts';
import { DestinationSettings } from './destination-settings.ts';
import { mirrorAuthority } from './mirrors.ts';
import { planRequest, type RequestView } from './plan-request.ts';
import { compileRetry, defaultRetry } from './retry.ts';
import { HttpRouteTables } from './route-table.ts';
import {
  aRequest,
  aRoute,
  aRule,
  aSubject,
  elements,
  exact,
  regex,
  service,
  toBackend,
  type RequestParts,
} from './test-requests.ts';

const meshRetry = compileRetry(defaultRetry);

function view(
  rules: readonly HttpRule[] | undefined,
  policies: readonly DestinationPolicy[] = [],
): RequestView & { readonly routes: HttpRouteTables } {
  const routes = new HttpRouteTables();
  if (rules !== undefined) routes.put(aRoute('r', rules));
  const settings = new DestinationSettings();
  for (const policy of policies) settings.put(policy);
  return { routes, settings, gateway: 'ns/waypoint', defaultRetry: meshRetry };
}

function plan(
  rule: Partial<HttpRule> | undefined,
  line = 'GET /a',
  parts: RequestParts = {},
  more: { policies?: readonly DestinationPolicy[]; random?: () => number; port?: number } = {},
) {
  const rules = rule && [aRule('rule', [{ path: elements('/a') }], rule)];
  return planRequest(
    aSubject(aRequest(line, parts), more.port),
    view(rules, more.policies),
    more.random ?? (() => 0.5),
  );
}

const withoutPolicy = { responseHeaders: [], mirrors: [], requestHeaders: [], settings: {} };

test('no routes: the service itself, with the retries of the mesh', () => {
  assert.deepEqual(plan(undefined), {
    kind: 'forward',
    destination: { service, port: 80 },
    authority: 'svc.ns.svc.cluster.local',
    path: '/a',
    retry: meshRetry,
    ...withoutPolicy,
  });
});

test('no service: the workload as addressed', () => {
  const { request, connection } = aSubject(aRequest('GET /a'));
  const made = planRequest(
    { request, connection: { ...connection, service: undefined } },
    view([]),
    () => 0.5,
  );
  assert.ok(made.kind === 'forward');
  assert.equal(made.destination, undefined);
});

test('answers of the waypoint itself', () => {
  const grpc = { grpc: true };
  const rows: readonly [Partial<HttpRule>, string, RequestParts, string][] = [
    [{}, 'GET /b', {}, '404 - NR route_not_found'],
    [{}, 'GET /b', grpc, '404 12 NR route_not_found'],
    [{ action: { kind: 'forward', destinations: [] } }, 'GET /a', {}, '500 - - direct_response'],
    [{ action: toBackend('x', 0) }, 'GET /a', {}, '500 - - direct_response'],
    [{ action: toBackend('x', 0) }, 'GET /a', grpc, '500 2 - direct_response'],
    [
      { action: { kind: 'forward', destinations: [{ weight: 1, broken: 'no such service' }] } },
      'GET /a',
      {},
      '500 - NC cluster_not_found',
    ],
    [
      {
        action: {
          kind: 'forward',
          destinations: [{ weight: 1, destination: { service, port: 80, subset: 'v9' } }],
        },
      },
      'GET /a',
      {},
      '503 - NC cluster_not_found',
    ],
    [
      { rewrite: { path: { kind: 'regex', pattern: '(', substitution: '' } } },
      'GET /a',
      {},
      '500 - NC cluster_not_found',
    ],
    [{ action: { kind: 'respond', response: { status: 418 } } }, 'GET /a', {}, '418 - - direct_response'],
    [{ fault: { abort: { fraction: 1, httpStatus: 418 } } }, 'GET /a', {}, '418 - FI fault_filter_abort'],
    [{ fault: { abort: { fraction: 1, httpStatus: 503 } } }, 'GET /a', grpc, '503 14 FI fault_filter_abort'],
    [{ fault: { abort: { fraction: 1, grpcStatus: 7 } } }, 'GET /a', grpc, '200 7 FI fault_filter_abort'],
  ];
  for (const [rule, line, parts, wanted] of rows) {
    const made = plan(rule, line, parts);
    assert.ok(made.kind === 'respond');
    assert.equal(`${made.status} ${made.grpcStatus ?? '-'} ${made.flag} ${made.reason}`, wanted);
  }
});

test('a call that no backend of a GRPCRoute can take is UNAVAILABLE', () => {
  const backends = [
    { kind: 'forward', destinations: [] },
    { kind: 'forward', destinations: [{ weight: 1, broken: 'no such service' }] },
  ] as const;
  for (const action of backends)
    for (const [protocol, status] of [
      ['grpc', 14],
      ['http', 2],
    ] as const) {
      const made = view([]);
      made.routes.put({ ...aRoute('r', [aRule('rule', [], { action })]), protocol });
      const answer = planRequest(aSubject(aRequest('POST /a', { grpc: true })), made, () => 0.5);
      assert.ok(answer.kind === 'respond');
      assert.deepEqual([answer.status, answer.grpcStatus], [500, status]);
    }
});

test('faults are drawn by their fractions, the delay apart from the abort', () => {
  const random = seededRandom(2);
  const seen: Record<string, number> = {};
  const fault = { delay: { fraction: 0.3, ms: 7 }, abort: { fraction: 0.1, httpStatus: 500 } };
  for (let i = 0; i < 10_000; i++) {
    const made = plan({ fault }, 'GET /a', {}, { random });
    const key = `${made.kind} ${made.delayMs ?? 0}`;
    seen[key] = (seen[key] ?? 0) + 1;
  }
  for (const [key, share] of Object.entries({
    'forward 0': 0.63,
    'forward 7': 0.27,
    'respond 0': 0.07,
    'respond 7': 0.03,
  }))
    assert.ok(Math.abs((seen[key] as number) / 10_000 - share) < 0.02, `${key} ${seen[key]}`);
});

test('a redirect', () => {
  const made = plan(
    {
      action: {
        kind: 'redirect',
        redirect: { status: 301, scheme: 'https', path: { kind: 'prefix', value: '/n' } },
      },
      responseHeaders: { set: [{ name: 'x', value: 'y' }] },
    },
    'GET /a/b?c=d',
    { authority: 'h:8080' },
  );
  assert.deepEqual(made, {
    kind: 'redirect',
    status: 301,
    location: 'https://h/n/b?c=d',
    responseHeaders: [{ set: [{ name: 'x', value: 'y' }] }],
    routeName: 'rule',
  });
});

test('forward: all that a rule can say', () => {
  const mirror = { service: 'ns/mirror', port: 81 };
  const made = plan(
    {
      requestHeaders: { set: [{ name: 'host', value: 'by-header' }] },
      responseHeaders: { remove: ['server'] },
      rewrite: { path: { kind: 'prefix', value: '/n' } },
      timeoutMs: 100,
      retry: { attempts: 3, on: ['5xx'], statuses: [], perTryTimeoutMs: 10, avoidPrevious: false },
      mirrors: [
        { destination: mirror, fraction: 1 },
        { destination: mirror, fraction: 0.4 },
      ],
      fault: { delay: { fraction: 1, ms: 5 } },
    },
    'GET /a/b?c=d',
  );
  assert.ok(made.kind === 'forward');
  assert.equal(made.authority, 'by-header');
  assert.equal(made.path, '/n/b');
  assert.equal(made.timeoutMs, 100);
  assert.equal(made.delayMs, 5);
  assert.equal(made.retry?.attempts, 3);
  assert.equal(made.retry?.perTryTimeoutMs, 10);
  assert.deepEqual(made.mirrors, [mirror]);
  assert.deepEqual(made.responseHeaders, [{ remove: ['server'] }]);
  const noRetry = plan({ retry: { attempts: 0, on: [], statuses: [], avoidPrevious: false } });
  assert.equal(noRetry.kind === 'forward' && noRetry.retry, undefined);
  assert.equal(mirrorAuthority('h:80'), 'h-shadow:80');
  assert.equal(mirrorAuthority('h'), 'h-shadow');
});

test('settings: of the service, the port, the subset and its port', () => {
  const limits = (n: number) => ({ maxRequests: n });
  const policy: DestinationPolicy = {
    kind: 'destination-policy',
    name: 'ns/dr',
    service,
    settings: { limits: limits(1), proxyProtocol: 'V1' },
    ports: [{ port: 81, settings: { limits: limits(2) } }],
    subsets: [
      { name: 'v1', settings: { limits: limits(3) } },
      { name: 'v2', ports: [{ port: 81, settings: { limits: limits(4) } }] },
    ],
  };
  const other: DestinationPolicy = { ...policy, name: 'ns/other', settings: {}, subsets: [{ name: 'v3' }] };
  const settings = new DestinationSettings();
  settings.put(other);
  settings.put(policy);
  const rows: readonly [number, string | undefined, number | undefined][] = [
    [80, undefined, 1],
    [81, undefined, 2],
    [80, 'v1', 3],
    [81, 'v1', 3],
    [80, 'v2', 1],
    [81, 'v2', 4],
    [80, 'v3', 1],
    [80, 'v4', undefined],
  ];
  for (const [port, subset, wanted] of rows) {
    const made = settings.resolve({ service, port, ...(subset !== undefined && { subset }) });
    assert.equal(made?.limits?.maxRequests, wanted, `${port} ${subset}`);
    if (made !== undefined) {
      assert.equal(made.proxyProtocol, 'V1');
      assert.equal(
        settings.resolve({ service, port, ...(subset !== undefined && { subset }) }),
        made,
        'kept',
      );
    }
  }
  settings.remove('ns/dr');
  assert.equal(settings.resolve({ service, port: 80, subset: 'v1' }), undefined);
  assert.deepEqual(settings.resolve({ service, port: 80 }), {});
  settings.remove('ns/other');
  assert.deepEqual(settings.resolve({ service, port: 80 }), {});
});

const corsRule: Cors = {
  origins: [exact('https://a.com'), regex('https://[a-z]+\\.b\\.com')],
  methods: ['GET', 'PUT'],
  headers: ['x-a', 'x-b'],
  expose: ['x-c'],
  maxAgeSeconds: 60,
};

test('preflights', () => {
  const ask = (origin: string, cors: Partial<Cors> = {}, headers: Record<string, string> = {}) => {
    const made = plan({ cors: { ...corsRule, ...cors } }, 'OPTIONS /a', {
      headers: { origin, 'access-control-request-method': 'PUT', ...headers },
    });
    if (made.kind !== 'respond') return made.kind;
    assert.equal(made.status, 200);
    return Object.fromEntries(
      made.headers.map(({ name, value }) => [name.replace('access-control-', ''), value]),
    );
  };
  const plain = {
    'allow-origin': 'https://a.com',
    'allow-methods': 'GET,PUT',
    'allow-headers': 'x-a,x-b',
    'max-age': '60',
    'expose-headers': 'x-c',
    vary: 'Origin',
  };
  assert.deepEqual(ask('https://a.com'), plain);
  assert.deepEqual(ask('https://x.b.com'), { ...plain, 'allow-origin': 'https://x.b.com' });
  assert.equal(ask('https://evil.com'), 'forward');
  assert.equal(ask('https://x.b.com.evil.com'), 'forward');
  assert.equal(ask('https://a.com', {}, { 'access-control-request-method': '' }), 'forward');
  assert.deepEqual(ask('https://evil.com', { forwardUnmatched: false }), {});
  assert.deepEqual(ask('https://evil.com', { origins: [exact('*')], headers: [] }), {
    'allow-origin': 'https://evil.com',
    'allow-methods': 'GET,PUT',
    'max-age': '60',
    'expose-headers': 'x-c',
    vary: 'Origin',
  });
  const star = { methods: ['*'], headers: ['*'] };
  assert.deepEqual(ask('https://a.com', star), { ...plain, 'allow-methods': '*', 'allow-headers': '*' });
  assert.deepEqual(
    ask('https://a.com', { ...star, credentials: true }, { 'access-control-request-headers': 'x-q' }),
    { ...plain, 'allow-credentials': 'true', 'allow-methods': 'PUT', 'allow-headers': 'x-q' },
  );
});

test('responses to requests of another origin', () => {
  const ask = (origin: string, cors: Partial<Cors> = {}) =>
    plan({ cors: { ...corsRule, ...cors } }, 'GET /a', { headers: { origin } }).responseHeaders;
  assert.deepEqual(ask('https://evil.com'), []);
  assert.deepEqual(ask('https://a.com', { credentials: true }), [
    {
      set: [
        { name: 'access-control-allow-origin', value: 'https://a.com' },
        { name: 'access-control-allow-credentials', value: 'true' },
        { name: 'access-control-expose-headers', value: 'x-c' },
      ],
      add: [{ name: 'vary', value: 'Origin' }],
    },
  ]);
  assert.deepEqual(plan({ cors: corsRule }).responseHeaders, []);
  const allowed = plan({ cors: corsRule }, 'GET /a', { headers: { origin: 'https://a.com' } });
  assert.ok(allowed.kind === 'forward');
  assert.deepEqual([allowed.errorHeaders], allowed.responseHeaders);
});

test('a trace says why', () => {
  const trace: string[] = [];
  const made = planRequest(
    aSubject(aRequest('GET /a')),
    view([aRule('canary', [{ path: elements('/a') }])]),
    () => 0.5,
    trace,
  );
  assert.deepEqual(made.because, [
    'HTTPRoute/ns/r rule 0 (canary) matches GET /a',
    'forwarded to ns/canary port 80',
  ]);
});
