// As hostile.test.ts, for what waypoints work by: whatever stands in a field, there is an answer.
import { test } from 'node:test';
import { defaultSettings, type SourceObject } from '#/translate/index.ts';
import {
  analysisText,
  analyze,
  describePod,
  describeService,
  descriptionText,
  explainNamed,
  explanationText,
  MeshModel,
  objectDocument,
  TargetError,
} from './index.ts';

type Json = Readonly<Record<string, unknown>>;

const values: readonly unknown[] = [
  null,
  [],
  {},
  'text',
  '(',
  5,
  -1,
  [null],
  [{}],
  [[]],
  true,
  { a: ['b'] },
  ['*'],
];

const target = [{ group: '', kind: 'Service', name: 'web' }];
const backend = { name: 'web', port: 80 };
const metadata = { name: 'web', namespace: 'demo' };

const mesh: readonly (SourceObject & { readonly kind: string })[] = [
  {
    kind: 'Namespace',
    metadata: {
      name: 'demo',
      labels: { 'istio.io/dataplane-mode': 'ambient', 'istio.io/use-waypoint': 'wp' },
    },
  },
  {
    kind: 'Gateway',
    metadata: { name: 'wp', namespace: 'demo' },
    spec: {
      gatewayClassName: 'istio-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  },
  {
    kind: 'Deployment',
    metadata,
    spec: { template: { metadata: { labels: { app: 'web' } } } },
  },
  { kind: 'Service', metadata, spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80 }] } },
];

/** Objects that are well, each with the paths at which something else will stand. */
const objects: readonly { readonly kind: string; readonly spec: Json; readonly paths: readonly string[] }[] =
  [
    {
      kind: 'HTTPRoute',
      spec: {
        parentRefs: target,
        rules: [
          {
            matches: [{ path: { type: 'PathPrefix', value: '/a' }, headers: [{ name: 'x', value: 'y' }] }],
            filters: [{ type: 'RequestMirror', requestMirror: { backendRef: backend } }],
            backendRefs: [{ ...backend, weight: 1 }],
            timeouts: { request: '1s' },
            retry: { attempts: 1 },
          },
        ],
      },
      paths: [
        'parentRefs',
        'parentRefs.0',
        'rules',
        'rules.0',
        'rules.0.matches',
        'rules.0.matches.0.path',
        'rules.0.matches.0.path.value',
        'rules.0.matches.0.headers',
        'rules.0.filters',
        'rules.0.filters.0.requestMirror',
        'rules.0.backendRefs',
        'rules.0.backendRefs.0',
        'rules.0.backendRefs.0.weight',
        'rules.0.timeouts',
        'rules.0.retry',
      ],
    },
    {
      kind: 'VirtualService',
      spec: {
        hosts: ['web'],
        http: [
          {
            match: [{ uri: { regex: '/a.*' } }],
            route: [{ destination: { host: 'web', subset: 'v1' }, weight: 1 }],
            fault: { abort: { httpStatus: 500, percentage: { value: 1 } } },
          },
        ],
      },
      paths: [
        'hosts',
        'http',
        'http.0',
        'http.0.match',
        'http.0.match.0.uri',
        'http.0.route',
        'http.0.fault',
        'http.0.fault.abort',
      ],
    },
    {
      kind: 'DestinationRule',
      spec: {
        host: 'web',
        subsets: [{ name: 'v1', labels: { v: '1' } }],
        trafficPolicy: { loadBalancer: { simple: 'RANDOM' } },
      },
      paths: [
        'host',
        'subsets',
        'subsets.0',
        'subsets.0.labels',
        'trafficPolicy',
        'trafficPolicy.loadBalancer',
      ],
    },
    {
      kind: 'AuthorizationPolicy',
      spec: {
        targetRefs: target,
        rules: [
          { from: [{ source: { principals: ['*'] } }], when: [{ key: 'source.ip', values: ['1.1.1.1'] }] },
        ],
      },
      paths: [
        'targetRefs',
        'rules',
        'rules.0',
        'rules.0.from',
        'rules.0.from.0.source',
        'rules.0.when',
        'rules.0.when.0.key',
        'action',
        'provider',
      ],
    },
    {
      kind: 'RequestAuthentication',
      spec: { targetRefs: target, jwtRules: [{ issuer: 'https://x', jwks: '{"keys":[]}' }] },
      paths: [
        'targetRefs',
        'jwtRules',
        'jwtRules.0',
        'jwtRules.0.issuer',
        'jwtRules.0.jwks',
        'jwtRules.0.fromHeaders',
        'jwtRules.0.audiences',
      ],
    },
    {
      kind: 'Telemetry',
      spec: {
        accessLogging: [{ providers: [{ name: 'envoy' }] }],
        tracing: [{ providers: [{ name: 'x' }] }],
      },
      paths: [
        'accessLogging',
        'accessLogging.0',
        'accessLogging.0.providers',
        'tracing',
        'tracing.0',
        'metrics',
        'selector',
      ],
    },
    {
      kind: 'TrafficPolicy',
      spec: {
        targetRefs: target,
        localRateLimits: [{ maxTokens: 1, interval: '1s', match: { method: 'GET' } }],
      },
      paths: [
        'targetRefs',
        'localRateLimits',
        'localRateLimits.0',
        'localRateLimits.0.match',
        'externalProcessing',
        'maxRequestBodyBytes',
      ],
    },
    {
      kind: 'Extension',
      spec: { targetRefs: target, module: 'export default {}' },
      paths: ['targetRefs', 'module', 'moduleFrom', 'phase', 'config', 'priority'],
    },
  ];

function withValue(at: unknown, [step, ...rest]: readonly string[], value: unknown): unknown {
  if (step === undefined) return value;
  if (Array.isArray(at))
    return (at as unknown[]).map((item, i) => (String(i) === step ? withValue(item, rest, value) : item));
  const record = (at ?? {}) as Json;
  return { ...record, [step]: withValue(record[step], rest, value) };
}

test('objects of waypoints with fields of another shape', () => {
  for (const { kind, spec, paths } of objects)
    for (const path of paths)
      for (const value of values) {
        const bad = { kind, metadata, spec: withValue(spec, path.split('.'), value) as Json };
        const others = objects
          .filter((one) => one.kind !== kind)
          .map((one) => ({ kind: one.kind, metadata, spec: one.spec }));
        const model = new MeshModel({
          documents: [...mesh, ...others, bad].map((object) => objectDocument(object, object.kind)),
          settings: defaultSettings,
          enrolment: () => ({ enabled: true, by: 'namespace' }),
          live: false,
        });
        analysisText(analyze(model), 1);
        try {
          explanationText(
            explainNamed(model, {
              from: 'web',
              to: 'web:80',
              namespace: 'demo',
              http: { path: '/a', claims: {} },
            }),
          );
          descriptionText(describeService(model, 'demo', 'web'));
          descriptionText(describePod(model, 'demo', 'web'));
        } catch (error) {
          if (!(error instanceof TargetError)) throw error;
        }
      }
});
