// Shapes of built-in kinds: decoding, defaults, required fields, and the protobuf form.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Item, JsonObject } from '../json.ts';
import { applyDefaults, decodeItem } from './decode.ts';
import { ProtobufReader } from './protobuf.ts';
import { requiredCauses } from './required.ts';
import { loadBuiltinTypes, type Schema } from './schema.ts';

const types = loadBuiltinTypes();
const schemaOf = (name: string): Schema => types.get(name) as Schema;
const item = (kind: string, more: object): Item => ({
  kind,
  apiVersion: 'v1',
  metadata: { name: 'x' },
  ...more,
});

test('every type of the table is there', () => {
  assert.ok(types.size > 400);
  for (const [name, schema] of types) assert.ok(schema.properties !== undefined, name);
});

const decoded: [string, string, object, object | RegExp][] = [
  [
    'numbers as quantities',
    'Pod',
    { spec: { containers: [{ name: 'c', resources: { limits: { cpu: 1, memory: '1Gi' } } }] } },
    { spec: { containers: [{ name: 'c', resources: { limits: { cpu: '1', memory: '1Gi' } } }] } },
  ],
  [
    'a wrong quantity',
    'Pod',
    { spec: { containers: [{ resources: { limits: { cpu: 'much' } } }] } },
    /quantities must match/,
  ],
  [
    'ports by number and by name',
    'Service',
    {
      spec: {
        ports: [
          { port: 1, targetPort: 'http' },
          { port: 2, targetPort: 2 },
        ],
      },
    },
    {
      spec: {
        ports: [
          { port: 1, targetPort: 'http' },
          { port: 2, targetPort: 2 },
        ],
      },
    },
  ],
  [
    'a port that is neither',
    'Service',
    { spec: { ports: [{ port: 1, targetPort: 1.5 }] } },
    /of type IntOrString/,
  ],
  [
    'nulls as not set',
    'Pod',
    { spec: { nodeName: null, containers: [{ name: 'c', env: null }] } },
    { spec: { containers: [{ name: 'c' }] } },
  ],
  ['null in a map of strings', 'ConfigMap', { data: { a: null } }, { data: { a: '' } }],
  ['a number that is too large', 'Deployment', { spec: { replicas: 3e9 } }, /spec.replicas of type int32/],
  ['a fraction', 'Deployment', { spec: { replicas: 1.5 } }, /spec.replicas of type int32/],
  [
    'text for a boolean',
    'Pod',
    { spec: { hostNetwork: 'true' } },
    /cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool/,
  ],
  ['bytes that are not base64', 'Secret', { data: { a: '%' } }, /data.a: illegal base64 data/],
  [
    'a time that is none',
    'Lease',
    { spec: { renewTime: 'yesterday' } },
    /spec.renewTime: parsing time "yesterday"/,
  ],
];

for (const [name, kind, body, wanted] of decoded)
  test(`decodes ${name}`, () => {
    const target = item(kind, structuredClone(body));
    if (wanted instanceof RegExp) assert.throws(() => decodeItem(target, schemaOf(kind)), wanted);
    else {
      assert.deepEqual(decodeItem(target, schemaOf(kind)).unknown, []);
      assert.deepEqual(target, item(kind, wanted));
    }
  });

test('unknown fields are taken out and named, up to a limit', () => {
  const target = item('Pod', { spec: { containers: [{ name: 'c', imag: 'x' }], nodename: 'n' }, extra: {} });
  assert.deepEqual(decodeItem(target, schemaOf('Pod')).unknown.sort(), [
    'extra',
    'spec.containers[0].imag',
    'spec.nodename',
  ]);
  assert.deepEqual(target, item('Pod', { spec: { containers: [{ name: 'c' }] } }));
  const many = item('ConfigMap', Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`f${i}`, i])));
  assert.equal(decodeItem(many, schemaOf('ConfigMap')).unknown.length, 32);
});

test('defaults go where there is something to fill', () => {
  const pod = {
    spec: {
      containers: [{ name: 'c', ports: [{ containerPort: 80 }], readinessProbe: { httpGet: { port: 80 } } }],
    },
  } as JsonObject;
  applyDefaults(pod, schemaOf('Pod'));
  const [container] = (pod['spec'] as { containers: JsonObject[] }).containers;
  assert.deepEqual(container?.['ports'], [{ containerPort: 80, protocol: 'TCP' }]);
  assert.deepEqual(container?.['readinessProbe'], {
    httpGet: { port: 80, path: '/', scheme: 'HTTP' },
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  });
  assert.equal(container?.['livenessProbe'], undefined);
});

test('required fields are missed by path, and never in the status', () => {
  const causes = requiredCauses(
    item('Pod', { spec: { containers: [], volumes: [{}] }, status: { conditions: [{}] } }),
    schemaOf('Pod'),
  );
  assert.deepEqual(
    causes.map(({ field }) => field),
    ['spec.volumes[0].name'],
  );
});

/** A message by hand: fields as [number, wire value]. */
function message(...fields: [number, bigint | string | Buffer][]): Buffer {
  const varint = (value: bigint): Buffer => {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, value);
    for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
    bytes.push(Number(rest));
    return Buffer.from(bytes);
  };
  return Buffer.concat(
    fields.map(([number, value]) => {
      if (typeof value === 'bigint') return Buffer.concat([varint(BigInt(number << 3)), varint(value)]);
      const body = typeof value === 'string' ? Buffer.from(value) : value;
      return Buffer.concat([varint(BigInt((number << 3) | 2)), varint(BigInt(body.length)), body]);
    }),
  );
}

const reader = new ProtobufReader(types);
const envelope = (apiVersion: string, kind: string, raw: Buffer): Buffer =>
  Buffer.concat([Buffer.from('k8s\0'), message([1, message([1, apiVersion], [2, kind])], [2, raw])]);

test('protobuf: maps, lists, times, numbers or text, inlined messages, zeros that mean nothing', () => {
  const owner = message([1, 'Node'], [3, 'n'], [6, 0n]);
  const time = message([1, 1767225600n]);
  const label = (key: string, value: string): [number, Buffer] => [11, message([1, key], [2, value])];
  const meta = message([1, 'p'], [2, ''], [8, time], label('app', 'x'), label('b', ''), [13, owner]);
  const port = message([1, 0n], [2, 8080n]);
  const handler = message([2, message([1, '/ready'], [2, port])]);
  const probe = message([1, handler], [2, 0n], [3, 5n]);
  const container = message(
    [1, 'c'],
    [2, 'image'],
    [3, 'sh'],
    [3, '-c'],
    [6, message([3, 80n], [2, 0n])],
    [11, probe],
  );
  const volume = message([1, 'v'], [2, message([2, message([1, ''])])]);
  const spec = message([2, container], [4, 0n], [1, volume]);
  const bytes = envelope('v1', 'Pod', message([1, meta], [2, spec]));
  const opened = reader.envelope(bytes);
  assert.deepEqual([opened.apiVersion, opened.kind], ['v1', 'Pod']);
  assert.deepEqual(reader.decode(opened, 'Pod'), {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name: 'p',
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { app: 'x', b: '' },
      ownerReferences: [{ kind: 'Node', name: 'n', controller: false }],
    },
    spec: {
      containers: [
        {
          name: 'c',
          image: 'image',
          command: ['sh', '-c'],
          ports: [{ containerPort: 80 }],
          readinessProbe: { httpGet: { path: '/ready', port: 8080 }, timeoutSeconds: 5 },
        },
      ],
      terminationGracePeriodSeconds: 0,
      volumes: [{ name: 'v', emptyDir: {} }],
    },
  });
});

test('protobuf: quantities, negative numbers, microtimes and bytes', () => {
  const lease = message(
    [1, message([1, 'l'])],
    [2, message([1, ''], [2, -1n], [4, message([1, 1n], [2, 5_000n])])],
  );
  assert.deepEqual(
    reader.decode(reader.envelope(envelope('coordination.k8s.io/v1', 'Lease', lease)), 'Lease')['spec'],
    {
      holderIdentity: '',
      leaseDurationSeconds: -1,
      renewTime: '1970-01-01T00:00:01.000005Z',
    },
  );
  const secret = message([2, message([1, 'k'], [2, Buffer.from([0, 255])])]);
  assert.deepEqual(reader.decode(reader.envelope(envelope('v1', 'Secret', secret)), 'Secret')['data'], {
    k: 'AP8=',
  });
});

test('protobuf: bytes that are none are a 400, and never hang', () => {
  assert.throws(() => reader.envelope(Buffer.from('nonsense')), /not in the protobuf form/);
  const good = envelope(
    'v1',
    'Pod',
    message([1, message([1, 'p'], [11, message([1, 'a'], [2, 'b'])])], [2, message([2, message([1, 'c'])])]),
  );
  let seed = 1;
  const random = (): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;
  let refused = 0;
  for (let i = 0; i < 3000; i++) {
    const bytes = Buffer.from(good);
    for (let n = 0; n < 3; n++)
      bytes[4 + Math.floor(random() * (bytes.length - 4))] = Math.floor(random() * 256);
    try {
      reader.decode(reader.envelope(bytes.subarray(0, 4 + Math.floor(random() * bytes.length))), 'Pod');
    } catch (error) {
      refused++;
      assert.equal((error as { code?: number }).code, 400, String(error));
    }
  }
  assert.ok(refused > 100);
});
