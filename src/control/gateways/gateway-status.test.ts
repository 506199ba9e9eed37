import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeService } from '#/kube/index.ts';
import type { Gateway } from './gateway-object.ts';
import { gatewayStatus, type StatusInput } from './gateway-status.ts';

const gateway = (spec: Partial<Gateway['spec']> = {}, more: Partial<Gateway> = {}): Gateway => ({
  metadata: { name: 'w', namespace: 'n', generation: 3 },
  spec: {
    gatewayClassName: 'istio-waypoint',
    listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    ...spec,
  },
  ...more,
});

const service = (
  spec: KubeService['spec'] = {},
  ingress?: readonly { ip?: string; hostname?: string }[],
): KubeService => ({
  metadata: { name: 'w', namespace: 'n' },
  spec: { type: 'ClusterIP', clusterIP: '10.0.0.1', clusterIPs: ['10.0.0.1', 'fd00::1'], ...spec },
  ...(ingress === undefined ? {} : { status: { loadBalancer: { ingress } } }),
});

const running = {
  metadata: { name: 'w' },
  spec: { selector: {}, template: { spec: { containers: [] } } },
  status: { availableReplicas: 1 },
};

function statusOf(input: Partial<StatusInput>) {
  const status = gatewayStatus({
    gateway: gateway(),
    service: service(),
    deployment: running,
    clusterDomain: 'cluster.local',
    addressSuffices: false,
    nowMs: 0,
    ...input,
  });
  return {
    addresses: status.addresses.map(({ value }) => value),
    conditions: status.conditions.map(({ type, status: holds, reason }) => `${type} ${holds} ${reason}`),
    status,
  };
}

const hostname = 'w.n.svc.cluster.local';
const ready = ['Accepted True Accepted', 'Programmed True Programmed'];

for (const [title, input, addresses, conditions] of [
  ['a waypoint that runs', {}, [hostname, '10.0.0.1', 'fd00::1'], ready],
  [
    'no pod is ready: it keeps its address, so that nobody goes round it',
    { deployment: undefined },
    [hostname, '10.0.0.1', 'fd00::1'],
    ['Accepted True Accepted', 'Programmed False Pending'],
  ],
  [
    'no pod is ready, as upstream',
    { deployment: undefined, addressSuffices: true },
    [hostname, '10.0.0.1', 'fd00::1'],
    ready,
  ],
  [
    'no Service yet',
    { service: undefined },
    [],
    ['Accepted True Accepted', 'Programmed False AddressNotAssigned'],
  ],
  [
    'a headless Service',
    { service: service({ clusterIP: 'None', clusterIPs: ['None'] }) },
    [],
    ['Accepted True Accepted', 'Programmed False AddressNotAssigned'],
  ],
  [
    'a load balancer without its address',
    { service: service({ type: 'LoadBalancer' }, []) },
    [],
    ['Accepted True Accepted', 'Programmed False AddressNotAssigned'],
  ],
  [
    'a load balancer',
    { service: service({ type: 'LoadBalancer' }, [{ ip: '192.0.2.1' }, { hostname: 'lb.example' }]) },
    [hostname, 'lb.example', '192.0.2.1'],
    ready,
  ],
  [
    'a Service of somebody else',
    { gateway: gateway({ addresses: [{ type: 'Hostname', value: 'other' }] }), deployment: undefined },
    ['other.n.svc.cluster.local', '10.0.0.1', 'fd00::1'],
    ready,
  ],
  [
    'parameters that cannot be used',
    { problem: { condition: 'Accepted', reason: 'InvalidParameters', message: 'why' } },
    [hostname, '10.0.0.1', 'fd00::1'],
    ['Accepted False InvalidParameters', 'Programmed False Invalid'],
  ],
  [
    'no listener of a waypoint',
    { gateway: gateway({ listeners: [{ name: 'web', port: 80, protocol: 'HTTP' }] }) },
    [hostname, '10.0.0.1', 'fd00::1'],
    ['Accepted False ListenersNotValid', 'Programmed True Programmed'],
  ],
] as const satisfies readonly (readonly [
  string,
  Partial<StatusInput>,
  readonly string[],
  readonly string[],
])[])
  test(title, () => {
    const found = statusOf(input);
    assert.deepEqual(found.addresses, addresses);
    assert.deepEqual(found.conditions, conditions);
  });

test('the message of a programmed waypoint names its Service as upstream does', () => {
  assert.equal(
    statusOf({}).status.conditions[1]?.message,
    'Resource programmed, assigned to service(s) w.n.svc.cluster.local:15008',
  );
});

test('each listener is told what is wrong with it', () => {
  const listeners = [
    { name: 'mesh', port: 15008, protocol: 'HBONE' },
    { name: 'web', port: 80, protocol: 'HTTP' },
    { name: 'kinds', port: 15008, protocol: 'HBONE', allowedRoutes: { kinds: [{ kind: 'HTTPRoute' }] } },
  ];
  const found = statusOf({ gateway: gateway({ listeners }) }).status.listeners;
  assert.deepEqual(
    found.map(({ name, attachedRoutes, supportedKinds, conditions }) => [
      name,
      attachedRoutes,
      supportedKinds.length,
      ...conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
    ]),
    [
      [
        'mesh',
        0,
        0,
        'Accepted True Accepted',
        'Conflicted False NoConflicts',
        'Programmed True Programmed',
        'ResolvedRefs True ResolvedRefs',
      ],
      [
        'web',
        0,
        0,
        'Accepted False UnsupportedProtocol',
        'Conflicted False NoConflicts',
        'Programmed False Invalid',
        'ResolvedRefs True ResolvedRefs',
      ],
      [
        'kinds',
        0,
        0,
        'Accepted True Accepted',
        'Conflicted False NoConflicts',
        'Programmed True Programmed',
        'ResolvedRefs False InvalidRouteKinds',
      ],
    ],
  );
});

test('a condition keeps the time at which it turned', () => {
  const before = statusOf({}).status;
  const later = statusOf({ gateway: gateway({}, { status: before }), nowMs: 60_000 }).status;
  assert.deepEqual(later, before);
  const turned = statusOf({
    gateway: gateway({}, { status: before }),
    nowMs: 60_000,
    deployment: undefined,
  }).status;
  assert.deepEqual(
    turned.conditions.map(({ lastTransitionTime }) => lastTransitionTime),
    ['1970-01-01T00:00:00Z', '1970-01-01T00:01:00Z'],
  );
});
