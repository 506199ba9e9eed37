// Custom resources: definitions, checks, defaults, rules, columns, and the kinds that are there from the start.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  authorizationPolicies,
  customResourceDefinitions,
  defineResource,
  extensions,
  gateways,
  httpRoutes,
  isNotFound,
  peerAuthentications,
  serviceEntries,
  trafficPolicies,
  type DynamicObject,
  type KubeError,
} from '#/kube/index.ts';
import { eventually, sharedServer } from '../test-server.ts';

const shared = sharedServer();
const { fresh } = shared;

const policy = (name: string, spec: object) => ({ metadata: { name }, spec });

test('our own kinds are there, with their checks', async () => {
  const { client } = shared;
  const ns = await fresh();
  const targetRefs = [{ kind: 'Service', name: 'web' }];
  const limits = (spec: object) =>
    client.create(trafficPolicies, ns, policy('t', { targetRefs, ...spec }), { fieldValidation: 'Strict' });
  const extension = (spec: object) =>
    client.create(extensions, ns, policy('e', { targetRefs, ...spec }), { fieldValidation: 'Strict' });
  for (const [made, message] of [
    [() => limits({}), /the policy says nothing/],
    [() => limits({ localRateLimits: [{ maxTokens: 1 }] }), /interval: Required value/],
    [() => limits({ localRateLimits: [{ maxTokens: 1, interval: 'soon' }] }), /interval/],
    [() => limits({ maxRequestBodyBytes: 1, surprise: 1 }), /unknown field "spec.surprise"/],
    [
      () => limits({ maxRequestBodyBytes: 1, targetRefs: [{ kind: 'Pod', name: 'x' }] }),
      /Unsupported value: "Pod"/,
    ],
    [
      () => limits({ maxRequestBodyBytes: 1, targetRefs: [{ kind: 'Gateway', name: 'x' }] }),
      /the group must be/,
    ],
    [() => extension({}), /one of module and moduleFrom must be set/],
    [() => extension({ module: 'x', phase: 'FIRST' }), /Unsupported value: "FIRST"/],
  ] as const)
    await assert.rejects(made(), (error: KubeError) => {
      assert.match(error.message, message);
      return true;
    });
  const made = await extension({ module: 'export default {}', config: { any: [1] } });
  assert.deepEqual(made['spec'], {
    targetRefs: [{ group: '', kind: 'Service', name: 'web' }],
    module: 'export default {}',
    config: { any: [1] },
    phase: 'UNSPECIFIED',
    priority: 0,
    language: 'TypeScript',
    onFailure: 'Refuse',
    timeout: '100ms',
    memoryMb: 64,
  });
  await limits({ localRateLimits: [{ maxTokens: 1, interval: '1s', match: { method: 'GET' } }] });
});

test('the kinds of Istio and the Gateway API are there, with their checks', async () => {
  const { client } = shared;
  const ns = await fresh();
  const wrong = (made: Promise<unknown>, message: RegExp): Promise<void> =>
    assert.rejects(made, (error: KubeError) => {
      assert.match(error.message, message);
      return true;
    });
  const allow = (spec: object) =>
    client.create(authorizationPolicies, ns, policy('a', spec), { fieldValidation: 'Strict' });
  await wrong(
    allow({ action: 'PERMIT' }),
    /spec.action: Unsupported value: "PERMIT": supported values: "ALLOW", "DENY", "AUDIT", "CUSTOM"/,
  );
  await wrong(
    allow({ rules: [{ from: [{ source: { principal: ['x'] } }] }] }),
    /unknown field "spec.rules\[0\].from\[0\].source.principal"/,
  );
  await wrong(
    allow({ selector: { matchLabels: { a: 'b' } }, targetRefs: [{ kind: 'Gateway', group: '', name: 'x' }] }),
    /only one of selector, targetRef, targetRefs can be set/,
  );
  await wrong(allow({ rules: 'x' }), /spec.rules in body must be of type array: "string"/);
  await wrong(
    allow({ rules: [{ when: [{ values: ['x'] }] }] }),
    /spec.rules\[0\].when\[0\].key: Required value/,
  );
  const made = await allow({
    action: 'DENY',
    selector: { matchLabels: { app: 'x' } },
    rules: [{ from: [{ source: { principals: ['*'] } }] }],
  });
  assert.equal(made.metadata.generation, 1);
  await wrong(
    client.create(peerAuthentications, ns, policy('p', { portLevelMtls: { '80': { mode: 'DISABLE' } } })),
    /portLevelMtls requires selector/,
  );
  await wrong(
    client.create(serviceEntries, ns, policy('s', { hosts: ['*'] })),
    /a host cannot be the wildcard alone/,
  );
  await wrong(
    client.create(serviceEntries, ns, policy('s', { hosts: ['a.b'], ports: [{ number: 0, name: 'x' }] })),
    /spec.ports\[0\].number in body should be greater than or equal to 1/,
  );
  await wrong(
    client.create(
      gateways,
      ns,
      policy('g', {
        gatewayClassName: 'x',
        listeners: [
          { name: 'a', port: 80, protocol: 'HTTP' },
          { name: 'b', port: 80, protocol: 'HTTP' },
        ],
      }),
    ),
    /the combination of port, protocol and hostname must be unique/,
  );
  await wrong(
    client.create(
      gateways,
      ns,
      policy('g', {
        gatewayClassName: 'x',
        listeners: [
          { name: 'a', port: 80, protocol: 'HTTP' },
          { name: 'a', port: 81, protocol: 'HTTP' },
        ],
      }),
    ),
    /spec.listeners\[1\]: Duplicate value: {"name":"a"}/,
  );
});

test('defaults are filled in by the definition', async () => {
  const ns = await fresh();
  const route = await shared.client.create(
    httpRoutes,
    ns,
    policy('r', { parentRefs: [{ name: 'g' }], rules: [{ backendRefs: [{ name: 's', port: 80 }] }] }),
  );
  assert.deepEqual(route['spec'], {
    parentRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: 'g' }],
    rules: [
      {
        matches: [{ path: { type: 'PathPrefix', value: '/' } }],
        backendRefs: [{ group: '', kind: 'Service', name: 's', port: 80, weight: 1 }],
      },
    ],
  });
});

test('a gateway is pending until its controller has looked, and keeps what that says', async () => {
  const { client } = shared;
  const ns = await fresh();
  const listeners = [{ name: 'mesh', port: 15008, protocol: 'HBONE' }];
  const made = await client.create(
    gateways,
    ns,
    policy('g', { gatewayClassName: 'istio-waypoint', listeners }),
  );
  const types = (object: DynamicObject): string[] =>
    (object['status'] as { conditions: { type: string; status: string }[] }).conditions.map(
      ({ type, status }) => `${type}=${status}`,
    );
  assert.deepEqual(types(made), ['Accepted=Unknown', 'Programmed=Unknown']);
  const condition = {
    type: 'Accepted',
    status: 'True',
    reason: 'Accepted',
    message: '',
    lastTransitionTime: '2026-01-01T00:00:00Z',
  };
  await client.patch(gateways, ns, 'g', { status: { conditions: [condition] } }, 'apply', {
    subresource: 'status',
    fieldManager: 'me',
  });
  const changed = await client.patch(gateways, ns, 'g', { metadata: { labels: { a: 'b' } } }, 'merge');
  assert.deepEqual(types(changed), ['Accepted=True', 'Programmed=Unknown']);
});

test('one object shows in all versions', async () => {
  const { client } = shared;
  const ns = await fresh();
  await client.create(peerAuthentications, ns, policy('p', { mtls: { mode: 'STRICT' } }));
  const old = defineResource('security.istio.io/v1beta1', 'peerauthentications', 'PeerAuthentication');
  const seen = await client.get(old, ns, 'p');
  assert.deepEqual(
    [seen.apiVersion, seen['spec']],
    ['security.istio.io/v1beta1', { mtls: { mode: 'STRICT' } }],
  );
  await client.patch(old, ns, 'p', { spec: { mtls: { mode: 'PERMISSIVE' } } }, 'merge');
  assert.deepEqual((await client.get(peerAuthentications, ns, 'p'))['spec'], {
    mtls: { mode: 'PERMISSIVE' },
  });
});

test('objects from before a change of the stored version show in the right one', async () => {
  const { client } = shared;
  const ns = await fresh();
  const name = 'referencegrants.gateway.networking.k8s.io';
  const spec = {
    from: [{ group: '', kind: 'Service', namespace: 'a' }],
    to: [{ group: '', kind: 'Secret' }],
  };
  const beta = defineResource('gateway.networking.k8s.io/v1beta1', 'referencegrants', 'ReferenceGrant');
  const stable = { ...beta, version: 'v1' };
  await client.create(beta, ns, policy('old', spec));
  const definition = (await client.get(customResourceDefinitions, undefined, name)) as unknown as {
    spec: { versions: { name: string; storage: boolean }[] };
  };
  const versions = definition.spec.versions.map((version) => ({
    ...version,
    storage: version.name === 'v1',
  }));
  await client.patch(customResourceDefinitions, undefined, name, { spec: { versions } }, 'merge');
  await client.create(stable, ns, policy('new', spec));
  for (const resource of [beta, stable]) {
    const { items } = await client.list(resource, { namespace: ns });
    assert.deepEqual(
      items.map(({ apiVersion, metadata }) => `${metadata.name} ${apiVersion}`),
      ['new', 'old'].map((each) => `${each} gateway.networking.k8s.io/${resource.version}`),
    );
  }
});

test('a custom resource is replaced only with the version it was read at', async () => {
  const { client } = shared;
  const ns = await fresh();
  const made = await client.create(peerAuthentications, ns, policy('p', {}));
  const { resourceVersion: _rv, ...metadata } = made.metadata;
  await assert.rejects(
    client.replace(peerAuthentications, ns, 'p', { ...made, metadata }),
    /metadata.resourceVersion: Invalid value: 0: must be specified for an update/,
  );
  await client.replace(peerAuthentications, ns, 'p', made);
});

const widgets = defineResource('example.com/v1', 'widgets', 'Widget');

const definition = (schema: object, more: object = {}) => ({
  metadata: { name: 'widgets.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'widgets', kind: 'Widget', shortNames: ['wd'] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: schema,
              status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
            },
          },
        },
        subresources: {
          status: {},
          scale: { specReplicasPath: '.spec.size', statusReplicasPath: '.status.size' },
        },
        additionalPrinterColumns: [
          { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
          { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
        ],
        selectableFields: [{ jsonPath: '.spec.color' }],
        ...more,
      },
    ],
  },
});

const schema = {
  type: 'object',
  required: ['color'],
  properties: {
    color: { type: 'string', enum: ['red', 'green'] },
    size: { type: 'integer', minimum: 0, default: 3 },
    fixed: {
      type: 'string',
      'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'fixed is immutable' }],
    },
    ports: {
      type: 'array',
      items: {
        type: 'object',
        required: ['name'],
        properties: { name: { type: 'string' }, port: { 'x-kubernetes-int-or-string': true } },
      },
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
    },
    any: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    maybe: { type: 'string', nullable: true },
  },
  'x-kubernetes-validations': [
    {
      rule: 'self.size <= 10 || self.color == "red"',
      messageExpression: '"size " + string(self.size) + " is for red only"',
    },
  ],
};

test("a user's definition makes a kind, with all that comes with it", async () => {
  const { client } = shared;
  const ns = await fresh();
  const made = await client.create(customResourceDefinitions, undefined, definition(schema));
  const conditions = (made['status'] as { conditions: { type: string; status: string }[] }).conditions;
  assert.deepEqual(
    conditions.map(({ type, status }) => `${type}=${status}`),
    ['NamesAccepted=True', 'Established=True'],
  );
  const create = (name: string, spec: object) =>
    client.create(widgets, ns, policy(name, spec), { fieldValidation: 'Strict' });
  await assert.rejects(create('w', {}), /spec.color: Required value/);
  await assert.rejects(create('w', { color: 'blue' }), /spec.color: Unsupported value: "blue"/);
  await assert.rejects(
    create('w', { color: 'red', size: 1.5 }),
    /spec.size in body must be of type integer: "number"/,
  );
  await assert.rejects(create('w', { color: 'green', size: 11 }), /size 11 is for red only/);
  await assert.rejects(create('w', { color: 'red', extra: 1 }), /unknown field "spec.extra"/);
  const widget = await create('w', { color: 'red', size: 11, fixed: 'a', any: { thing: [1] }, maybe: null });
  assert.deepEqual(widget['spec'], { color: 'red', size: 11, fixed: 'a', any: { thing: [1] }, maybe: null });
  assert.deepEqual((await create('v', { color: 'green' }))['spec'], { color: 'green', size: 3 });
  await assert.rejects(
    client.patch(widgets, ns, 'w', { spec: { fixed: 'b' } }, 'merge'),
    /fixed is immutable/,
  );
  await assert.rejects(
    client.patch(widgets, ns, 'w', {}, 'strategic'),
    (error: KubeError) => error.code === 415,
  );
  const selected = await client.list(widgets, { namespace: ns, fieldSelector: 'spec.color=green' });
  assert.deepEqual(
    selected.items.map(({ metadata }) => metadata.name),
    ['v'],
  );
  // Status and spec are apart, and each counts or does not count as a new generation.
  const status = await client.patch(
    widgets,
    ns,
    'w',
    { spec: { size: 1 }, status: { size: 7, conditions: [{ type: 'Ready', status: 'True' }] } },
    'merge',
    { subresource: 'status' },
  );
  assert.deepEqual([status.metadata.generation, (status['spec'] as { size: number }).size], [1, 11]);
  const scale = (await shared.raw('GET', `/apis/example.com/v1/namespaces/${ns}/widgets/w/scale`)).json;
  assert.deepEqual([scale['spec'], scale['status']], [{ replicas: 11 }, { replicas: 7 }]);
  const table = (
    await shared.raw('GET', `/apis/example.com/v1/namespaces/${ns}/widgets`, {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    })
  ).json as unknown as { rows: { cells: unknown[] }[] };
  assert.deepEqual(
    table.rows.map(({ cells }) => cells),
    [
      ['v', 3, null],
      ['w', 11, 'True'],
    ],
  );
  const explained = (await shared.raw('GET', '/openapi/v3/apis/example.com/v1')).json as unknown as {
    components: { schemas: Record<string, unknown> };
  };
  assert.ok(explained.components.schemas['com.example.v1.Widget'] !== undefined);
  // Ports are owned by name.
  const apply = (ports: object[], manager: string): Promise<DynamicObject> =>
    client.patch(widgets, ns, 'v', { metadata: { name: 'v' }, spec: { ports } }, 'apply', {
      fieldManager: manager,
    });
  await apply([{ name: 'a', port: 80 }], 'one');
  const both = await apply([{ name: 'b', port: 'http' }], 'two');
  assert.equal((both['spec'] as { ports: unknown[] }).ports.length, 2);

  await client.delete(customResourceDefinitions, undefined, 'widgets.example.com');
  await eventually(async () =>
    (await client.find(customResourceDefinitions, undefined, 'widgets.example.com')) === undefined
      ? true
      : undefined,
  );
  await assert.rejects(client.list(widgets), isNotFound);
  // Its objects went with it.
  await client.create(customResourceDefinitions, undefined, definition(schema));
  assert.equal((await client.list(widgets)).items.length, 0);
  await client.delete(customResourceDefinitions, undefined, 'widgets.example.com');
});

test('an object that was sound stays writable when its definition becomes stricter', async () => {
  const { client } = shared;
  const ns = await fresh();
  await eventually(async () =>
    (await client.find(customResourceDefinitions, undefined, 'widgets.example.com')) === undefined
      ? true
      : undefined,
  );
  await client.create(customResourceDefinitions, undefined, definition(schema));
  await client.create(widgets, ns, policy('w', { color: 'green' }));
  const strict = structuredClone(schema);
  strict.properties.color.enum = ['red'];
  await client.patch(
    customResourceDefinitions,
    undefined,
    'widgets.example.com',
    { spec: definition(strict).spec },
    'merge',
  );
  const changed = await client.patch(widgets, ns, 'w', { spec: { size: 4 } }, 'merge');
  assert.equal((changed['spec'] as { size: number }).size, 4);
  await assert.rejects(client.create(widgets, ns, policy('x', { color: 'green' })), /Unsupported value/);
  await client.delete(customResourceDefinitions, undefined, 'widgets.example.com');
});

test('definitions that are not sound are refused by field', async () => {
  const { client } = shared;
  const make = (body: object) => client.create(customResourceDefinitions, undefined, body as never);
  await assert.rejects(
    make({ ...definition(schema), metadata: { name: 'other.example.com' } }),
    /metadata.name: Invalid value/,
  );
  await assert.rejects(
    make(definition({ properties: { a: { type: 'string' } } })),
    /schema.openAPIV3Schema.properties\[spec\].type: Required value/,
  );
  await assert.rejects(
    make(definition({ type: 'object', 'x-kubernetes-validations': [{ rule: 'self.foo(' }] })),
    /x-kubernetes-validations\[0\].rule: Invalid value: .*compilation failed/,
  );
  await assert.rejects(
    make(definition({ type: 'object', 'x-kubernetes-validations': [{ rule: 'nonsense(self)' }] })),
    /compilation failed/,
  );
  await assert.rejects(
    make({ ...definition(schema), spec: { ...definition(schema).spec, versions: [] } }),
    /must have at least one version/,
  );
});

test("upstream's definition takes the place of ours", async () => {
  const { client } = shared;
  const name = 'telemetries.telemetry.istio.io';
  const ours = await client.get(customResourceDefinitions, undefined, name);
  const { spec } = ours as unknown as { spec: object };
  const theirs = await client.create(customResourceDefinitions, undefined, {
    metadata: { name, labels: { app: 'istio-pilot' } },
    spec,
  });
  assert.equal(theirs.metadata.labels?.['app'], 'istio-pilot');
  // Only once: now it is somebody's.
  await client.patch(
    customResourceDefinitions,
    undefined,
    name,
    { spec: { names: { shortNames: ['tel'] } } },
    'merge',
  );
  await assert.rejects(
    client.create(customResourceDefinitions, undefined, { metadata: { name }, spec }),
    /already exists/,
  );
});
