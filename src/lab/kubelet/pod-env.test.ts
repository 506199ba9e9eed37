import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod } from '#/kube/index.ts';
import { ConfigError, containerEnv, expand, parseQuantity, podField, type EnvContext } from './pod-env.ts';

const pod: Pod = {
  metadata: {
    name: 'p',
    namespace: 'ns',
    uid: 'u-1',
    labels: { app: 'web', 'a.b/c': 'd' },
    annotations: { note: 'x' },
  },
  spec: { containers: [], nodeName: 'n1', serviceAccountName: 'sa' },
};

const context: EnvContext = {
  pod,
  podIps: ['10.0.0.5', 'fd00::5'],
  hostIps: ['172.18.0.3'],
  capacity: { cpu: 2, memory: 4 * 2 ** 30 },
  configMap: (name) =>
    name === 'cm' ? { metadata: { name }, data: { key: 'value', other: 'o' } } : undefined,
  secret: (name) =>
    name === 's' ? { metadata: { name }, data: { pass: Buffer.from('hush').toString('base64') } } : undefined,
};

const env = (container: Partial<Container> & Record<string, unknown>) =>
  containerEnv(context, { name: 'c', ...container });

const fields: readonly (readonly [path: string, value: string])[] = [
  ['metadata.name', 'p'],
  ['metadata.namespace', 'ns'],
  ['metadata.uid', 'u-1'],
  ["metadata.labels['a.b/c']", 'd'],
  ["metadata.annotations['note']", 'x'],
  ["metadata.labels['none']", ''],
  ['spec.nodeName', 'n1'],
  ['spec.serviceAccountName', 'sa'],
  ['status.podIP', '10.0.0.5'],
  ['status.podIPs', '10.0.0.5,fd00::5'],
  ['status.hostIP', '172.18.0.3'],
];
for (const [path, value] of fields) test(`field ${path}`, () => assert.equal(podField(context, path), value));

test('a field that is none is named', () => {
  assert.throws(() => podField(context, 'spec.image'), /fieldPath "spec\.image"/);
});

test('values, references and earlier variables', () => {
  assert.deepEqual(
    env({
      envFrom: [{ prefix: 'CM_', configMapRef: { name: 'cm' } }],
      env: [
        { name: 'A', value: 'a' },
        { name: 'B', value: '$(A)/$(NONE)/$$(A)' },
        { name: 'K', valueFrom: { configMapKeyRef: { name: 'cm', key: 'key' } } },
        { name: 'P', valueFrom: { secretKeyRef: { name: 's', key: 'pass' } } },
        { name: 'O', valueFrom: { secretKeyRef: { name: 'none', key: 'x', optional: true } } },
        { name: 'N', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
        { name: 'CPU', valueFrom: { resourceFieldRef: { resource: 'limits.cpu' } } },
        { name: 'MEM', valueFrom: { resourceFieldRef: { resource: 'requests.memory' } } },
      ],
      resources: { requests: { memory: '64Mi' } },
    }),
    {
      CM_key: 'value',
      CM_other: 'o',
      A: 'a',
      B: 'a/$(NONE)/$(A)',
      K: 'value',
      P: 'hush',
      N: 'n1',
      CPU: '2',
      MEM: String(64 * 2 ** 20),
    },
  );
});

test('a reference that leads nowhere says where it leads', () => {
  const missing = (valueFrom: object) => () => env({ env: [{ name: 'X', valueFrom }] });
  assert.throws(
    missing({ configMapKeyRef: { name: 'no', key: 'k' } }),
    new ConfigError('configmap "no" not found'),
  );
  assert.throws(
    missing({ configMapKeyRef: { name: 'cm', key: 'k' } }),
    /couldn't find key k in ConfigMap ns\/cm/,
  );
  assert.throws(missing({ secretKeyRef: { name: 'no', key: 'k' } }), /secret "no" not found/);
});

test('expansion and quantities', () => {
  assert.equal(expand('$(A) $A $(B)', { A: '1' }), '1 $A $(B)');
  assert.deepEqual(['250m', '2', '1Gi', 'x'].map(parseQuantity), [0.25, 2, 2 ** 30, undefined]);
});
