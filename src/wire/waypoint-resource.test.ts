import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseCidr, type Cidr } from '#/kit/index.ts';
import type { WaypointResource } from '#/model/index.ts';
import { create, toBinary } from '@bufbuild/protobuf';
import { ResourceSchema } from './gen/aura/waypoint/v1/resource_pb.ts';
import { decodeWaypointResource, encodeWaypointResource } from './waypoint-resource.ts';
import { WireError } from './wire-error.ts';

const web = 'shop/web.shop.svc.cluster.local';
const retry = { attempts: 2, on: ['connect-failure'], statuses: [503], avoidPrevious: true };
const destination = { service: web, port: 80, subset: 'v1' };
const match = {
  path: { kind: 'elements', value: '/a' },
  method: { kind: 'exact', value: 'GET' },
  headers: [{ name: 'x', match: { kind: 'presence' } }],
} as const;
const targets = [
  { kind: 'service', service: web },
  { kind: 'workload', uid: 'u' },
  { kind: 'waypoint', gateway: 'shop/w' },
  { kind: 'all-waypoints' },
  { kind: 'namespace', namespace: 'shop' },
  { kind: 'mesh' },
] as const;
const address = { hostname: 'authz.shop.svc.cluster.local', port: 9000 };

const resources: readonly WaypointResource[] = [
  {
    kind: 'http-route',
    name: 'HTTPRoute/shop/r',
    parents: [
      { kind: 'service', service: web, port: 80 },
      { kind: 'waypoint', gateway: 'shop/w' },
    ],
    hostnames: ['*.example.com'],
    order: { createdAt: 1_700_000_000_000, namespace: 'shop', name: 'r' },
    precedence: 'specificity',
    protocol: 'http',
    rules: [
      {
        name: 'first',
        matches: [match],
        action: {
          kind: 'forward',
          destinations: [
            { destination, weight: 1, mirrors: [{ destination, fraction: 0.5 }] },
            { broken: 'there is no Service shop/x', weight: 0 },
          ],
        },
        requestHeaders: { set: [{ name: 'a', value: 'b' }], remove: ['c'] },
        rewrite: { authority: 'x', path: { kind: 'regex', pattern: '/(.*)', substitution: '/\\1' } },
        cors: { origins: [{ kind: 'regex', value: '.*' }], methods: [], headers: [], expose: [] },
        fault: { delay: { fraction: 1, ms: 5 }, abort: { fraction: 0.1, grpcStatus: 14 } },
        timeoutMs: 1500,
        retry,
      },
      {
        matches: [],
        action: { kind: 'redirect', redirect: { status: 302, path: { kind: 'full', value: '/' } } },
      },
      { matches: [], action: { kind: 'respond', response: { status: 503, body: 'no' } } },
    ],
  },
  {
    kind: 'tcp-route',
    name: 'TLSRoute/shop/t',
    parents: [{ kind: 'service', service: web }],
    sniHosts: ['web.example.com'],
    order: { createdAt: 0, namespace: 'shop', name: 't' },
    destinations: [{ destination, weight: 1 }],
  },
  {
    kind: 'destination-policy',
    name: `shop/dr/${web}`,
    service: web,
    settings: {
      balancing: {
        kind: 'hash',
        ring: 'maglev',
        minimumRingSize: 1024,
        by: { kind: 'cookie', name: 'c', ttlSeconds: 0, attributes: [{ name: 'Secure' }] },
      },
      locality: { enabled: true, distribute: [{ from: 'a/*', to: [{ locality: 'b', weight: 100 }] }] },
      limits: { maxConnections: 4, http2Keepalive: { intervalMs: 1, timeoutMs: 2 } },
      outliers: { intervalMs: 10_000, baseEjectionMs: 30_000, maxEjectionPercent: 10, minHealthPercent: 0 },
      tls: {
        mode: 'MUTUAL',
        subjectAltNames: [],
        certificatePem: 'c',
        keyPem: 'k',
        insecureSkipVerify: false,
      },
    },
    ports: [{ port: 80, settings: { balancing: { kind: 'random' } } }],
    subsets: [{ name: 'v1' }, { name: 'v2', settings: { proxyProtocol: 'V2' } }],
  },
  { kind: 'subset-members', name: `${web}/v1`, service: web, subset: 'v1', workloads: ['a', 'b'] },
  {
    kind: 'http-policy',
    name: 'shop/p',
    targets,
    action: 'Deny',
    rules: [
      {
        from: [{ ipBlocks: { values: [parseCidr('10.0.0.0/8') as Cidr], notValues: [] } }],
        to: [
          { paths: { values: [{ kind: 'template', value: '/a/{*}' }], notValues: [{ kind: 'presence' }] } },
        ],
        when: [{ key: 'request.headers[x]', values: ['1'], notValues: [] }],
      },
    ],
    dryRun: false,
  },
  {
    kind: 'request-authentication',
    name: 'shop/jwt',
    targets,
    rules: [
      {
        issuer: 'https://issuer',
        audiences: ['a'],
        jwksUri: 'https://issuer/keys',
        from: { headers: [{ name: 'x-jwt', prefix: '' }], params: [], cookies: [] },
        outputClaimToHeaders: [{ header: 'x-sub', claim: 'sub' }],
        forwardOriginalToken: false,
        timeoutMs: 5000,
        spaceDelimitedClaims: ['scope'],
      },
    ],
  },
  {
    kind: 'telemetry',
    name: 'shop/t',
    targets,
    accessLogs: [{ providers: ['envoy'], mode: 'SERVER', filter: 'response.code >= 400', disabled: false }],
    metrics: [
      {
        providers: [],
        overrides: [{ metric: 'ALL_METRICS', mode: 'CLIENT', tags: [{ tag: 'x', operation: 'REMOVE' }] }],
      },
    ],
    tracing: [
      {
        providers: [],
        mode: 'CLIENT_AND_SERVER',
        samplingPercent: 0.5,
        customTags: [{ tag: 'a', kind: 'header', name: 'x', fallback: 'y' }],
      },
    ],
  },
  {
    kind: 'provider',
    name: 'authz',
    type: 'ext-authz-http',
    address,
    timeoutMs: 600_000,
    failOpen: false,
    statusOnError: 403,
    includeBody: { maxBytes: 8192, allowPartial: true, packAsBytes: false },
    clearRouteCache: false,
    pathPrefix: '/check',
    includeRequestHeaders: ['x-*'],
    additionalHeaders: [{ name: 'a', value: 'b' }],
    headersToUpstreamOnAllow: [],
    headersToDownstreamOnAllow: [],
    headersToDownstreamOnDeny: [],
  },
  {
    kind: 'provider',
    name: 'log',
    type: 'file-access-log',
    path: '/dev/stdout',
    labels: { a: '%PROTOCOL%' },
  },
  { kind: 'provider', name: 'prometheus', type: 'prometheus' },
  { kind: 'provider', name: 'zipkin', type: 'zipkin', address, path: '/api/v2/spans', w3c: true },
  {
    kind: 'waypoint-mesh',
    name: 'mesh',
    trustDomain: 'cluster.local',
    trustDomainAliases: ['old'],
    rootNamespace: 'istio-system',
    meshId: 'cluster.local',
    defaultRetry: retry,
    accessLogFile: '',
    accessLogFormat: '',
    accessLogEncoding: 'TEXT',
    defaultProviders: { accessLogging: [], metrics: ['prometheus'], tracing: [] },
    connectTimeoutMs: 10_000,
    hboneIdleTimeoutMs: 3_600_000,
  },
  {
    kind: 'traffic-policy',
    name: 'shop/limits',
    targets,
    localRateLimits: [
      { maxTokens: 10, tokensPerFill: 10, intervalMs: 1000, per: 'waypoint', match, status: 429 },
    ],
    globalRateLimits: [
      {
        server: address,
        domain: 'shop',
        descriptors: [[{ kind: 'remote-address' }, { kind: 'generic-key', key: 'k', value: 'v' }]],
        timeoutMs: 20,
        failOpen: false,
      },
    ],
    externalProcessing: {
      server: address,
      timeoutMs: 200,
      failOpen: false,
      requestHeaders: true,
      responseHeaders: false,
      requestBody: 'BUFFERED',
      responseBody: 'NONE',
    },
    maxRequestBodyBytes: 1024,
  },
  {
    kind: 'extension',
    name: 'shop/e',
    targets,
    phase: 'AUTHZ',
    priority: -5,
    module: 'export default {}',
    language: 'javascript',
    config: { deep: [1, { a: null }] },
    onFailure: 'refuse',
    timeoutMs: 100,
    memoryMb: 64,
  },
];

suite('a waypoint resource comes back as it was', () => {
  for (const resource of resources)
    test(`${resource.kind} ${resource.name}`, () =>
      assert.deepEqual(decodeWaypointResource(encodeWaypointResource(resource)), resource));
});

const raw = (kind: string, body: unknown): Uint8Array =>
  toBinary(
    ResourceSchema,
    create(ResourceSchema, { kind, body: typeof body === 'string' ? body : JSON.stringify(body) }),
  );

const members = { kind: 'subset-members', name: 'x/v1', service: 'x', subset: 'v1', workloads: [] };

test('fields that are not known are passed over', () => {
  const resource = { ...members, later: { a: 1 } };
  assert.deepEqual(decodeWaypointResource(raw('subset-members', resource)), members);
});

suite('what cannot be understood in full is refused by name', () => {
  const route = resources[0] as Extract<WaypointResource, { kind: 'http-route' }>;
  const cases: readonly [string, Uint8Array, resource: string, field: string][] = [
    ['another kind', raw('udp-route', members), '', 'kind'],
    ['no JSON', raw('provider', '{'), 'provider', ''],
    ['no object', raw('provider', 'null'), 'provider:', ''],
    ['an empty message', new Uint8Array(), '', 'kind'],
    ['no message', Uint8Array.of(0xff), '', ''],
    ['a kind that the body denies', raw('telemetry', members), 'telemetry:x/v1', 'kind'],
    [
      'a field that is missing',
      raw('subset-members', { ...members, subset: undefined }),
      'subset-members:x/v1',
      'subset',
    ],
    [
      'a text among numbers',
      raw('subset-members', { ...members, workloads: ['a', 7] }),
      'subset-members:x/v1',
      'workloads[1]',
    ],
    [
      'a value deep inside',
      raw('http-route', { ...route, rules: [route.rules[1], { ...route.rules[0], timeoutMs: -1 }] }),
      'http-route:HTTPRoute/shop/r',
      'rules[1].timeoutMs',
    ],
    [
      'a range that is none',
      raw('http-policy', {
        ...resources[4],
        rules: [{ from: [{ ipBlocks: { values: ['10.0.0.0/99'], notValues: [] } }], to: [], when: [] }],
      }),
      'http-policy:shop/p',
      'rules[0].from[0].ipBlocks.values[0]',
    ],
  ];
  for (const [what, bytes, resource, field] of cases)
    test(what, () =>
      assert.throws(
        () => decodeWaypointResource(bytes),
        (error: unknown) => {
          assert.ok(error instanceof WireError);
          assert.deepEqual([error.resource, error.field], [resource, field]);
          return true;
        },
      ),
    );
});

test('a name in JSON cannot reach a prototype', () => {
  const body = `{"kind":"provider","name":"log","type":"file-access-log","path":"p","labels":{"__proto__":"x"}}`;
  const decoded = decodeWaypointResource(raw('provider', body)) as { readonly labels?: object };
  assert.equal(Object.getPrototypeOf(decoded.labels), Object.prototype);
});
