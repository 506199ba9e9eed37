import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeService, Pod } from '#/kube/index.ts';
import { slicesFor } from './endpoint-slices.ts';

const service = (spec: Partial<KubeService['spec']> = {}): KubeService => ({
  metadata: { name: 'web', namespace: 'ns', uid: 'u' },
  spec: {
    selector: { app: 'web' },
    ipFamilies: ['IPv4'],
    ports: [{ name: 'http', port: 80, targetPort: 'web' }],
    ...spec,
  },
});

const pod = (
  name: string,
  ip: string,
  port: number,
  extra: { ready?: boolean; ending?: boolean } = {},
): Pod => ({
  metadata: {
    name,
    namespace: 'ns',
    labels: { app: 'web' },
    ...(extra.ending === true ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
  },
  spec: { nodeName: 'n1', containers: [{ name: 'c', ports: [{ name: 'web', containerPort: port }] }] },
  status: {
    phase: 'Running',
    podIPs: [{ ip }],
    conditions: [{ type: 'Ready', status: extra.ready === false ? 'False' : 'True' }],
  },
});

const nodes = new Map();

test('named ports are looked up in each pod, equal ones share a slice', () => {
  const slices = slicesFor(
    service(),
    [pod('a', '10.0.0.1', 8080), pod('b', '10.0.0.2', 8080), pod('c', '10.0.0.3', 9090)],
    nodes,
  );
  assert.deepEqual(
    slices?.map(({ ports, endpoints }) => [
      ports?.[0]?.port,
      endpoints?.map(({ addresses }) => addresses[0]),
    ]),
    [
      [8080, ['10.0.0.1', '10.0.0.2']],
      [9090, ['10.0.0.3']],
    ],
  );
  assert.equal(new Set(slices?.map(({ metadata }) => metadata.name)).size, 2);
});

test('conditions tell ready, serving and terminating apart', () => {
  const [slice] =
    slicesFor(
      service(),
      [
        pod('a', '10.0.0.1', 80),
        pod('b', '10.0.0.2', 80, { ready: false }),
        pod('c', '10.0.0.3', 80, { ending: true }),
      ],
      nodes,
    ) ?? [];
  assert.deepEqual(
    slice?.endpoints?.map(({ conditions }) => conditions),
    [
      { ready: true, serving: true, terminating: false },
      { ready: false, serving: false, terminating: false },
      { ready: false, serving: true, terminating: true },
    ],
  );
});

test('a service without pods has one empty slice, one without a selector none of ours', () => {
  assert.equal(slicesFor(service(), [], nodes)?.[0]?.endpoints?.length, 0);
  const { selector: _, ...spec } = service().spec;
  assert.equal(slicesFor({ ...service(), spec }, [], nodes), undefined);
});

test('one slice per family, of the addresses of that family', () => {
  const dual = pod('a', '10.0.0.1', 80);
  const both: Pod = { ...dual, status: { ...dual.status, podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] } };
  const slices = slicesFor(service({ ipFamilies: ['IPv6', 'IPv4'] }), [both], nodes);
  assert.deepEqual(
    slices?.map(({ addressType, endpoints }) => [addressType, endpoints?.[0]?.addresses[0]]),
    [
      ['IPv6', 'fd00::1'],
      ['IPv4', '10.0.0.1'],
    ],
  );
});

test('a slice holds a hundred endpoints', () => {
  const pods = Array.from({ length: 250 }, (_, i) => pod(`p${i}`, `10.0.${i >> 8}.${i & 255}`, 80));
  assert.deepEqual(
    slicesFor(service(), pods, nodes)?.map(({ endpoints }) => endpoints?.length),
    [100, 100, 50],
  );
});
