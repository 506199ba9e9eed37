import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice, KubeService } from '#/kube/index.ts';
import { answerQuestion, type ZoneView } from './cluster-zone.ts';

const services: readonly KubeService[] = [
  {
    metadata: { name: 'web', namespace: 'shop' },
    spec: {
      clusterIP: '10.96.1.1',
      clusterIPs: ['10.96.1.1', 'fd00::1'],
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }, { port: 81 }],
    },
  },
  {
    metadata: { name: 'db', namespace: 'shop' },
    spec: { clusterIP: 'None', clusterIPs: ['None'], ports: [{ name: 'sql', port: 5432 }] },
  },
  { metadata: { name: 'empty', namespace: 'shop' }, spec: { clusterIP: 'None' } },
  {
    metadata: { name: 'alias', namespace: 'shop' },
    spec: { type: 'ExternalName', externalName: 'web.shop.svc.cluster.local' },
  },
  {
    metadata: { name: 'away', namespace: 'shop' },
    spec: { type: 'ExternalName', externalName: 'example.com' },
  },
];

const slices: Readonly<Record<string, readonly EndpointSlice[]>> = {
  db: [
    {
      metadata: { name: 'db-1', namespace: 'shop' },
      addressType: 'IPv4',
      ports: [{ name: 'sql', port: 5432, protocol: 'TCP' }],
      endpoints: [
        { addresses: ['10.0.0.1'], hostname: 'db-0', conditions: { ready: true } },
        { addresses: ['10.0.0.2'], conditions: { ready: true } },
        { addresses: ['10.0.0.3'], conditions: { ready: false } },
      ],
    },
  ],
};

const view: ZoneView = {
  service: (namespace, name) =>
    services.find(({ metadata }) => metadata.namespace === namespace && metadata.name === name),
  slices: (_, name) => slices[name] ?? [],
  hasNamespace: (name) => name === 'shop',
};

const ask = (name: string, type = 'A') => answerQuestion(view, 'cluster.local', { name, type });
const data = (name: string, type = 'A') =>
  ask(name, type).answers.map((answer) => ('data' in answer ? answer.data : undefined));

const table: readonly (readonly [name: string, type: string, expected: readonly unknown[] | 'NXDOMAIN'])[] = [
  ['web.shop.svc.cluster.local', 'A', ['10.96.1.1']],
  ['WEB.Shop.svc.cluster.local.', 'A', ['10.96.1.1']],
  ['web.shop.svc.cluster.local', 'AAAA', ['fd00::1']],
  ['web.shop.svc.cluster.local', 'MX', []],
  ['nosuch.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['web.nosuch.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['shop.svc.cluster.local', 'A', []],
  ['nosuch.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['svc.cluster.local', 'A', []],
  ['cluster.local', 'A', []],
  ['example.com', 'A', 'NXDOMAIN'],
  ['web.shop', 'A', 'NXDOMAIN'],
  ['db.shop.svc.cluster.local', 'A', ['10.0.0.1', '10.0.0.2']],
  ['db-0.db.shop.svc.cluster.local', 'A', ['10.0.0.1']],
  ['10-0-0-2.db.shop.svc.cluster.local', 'A', ['10.0.0.2']],
  ['10-0-0-3.db.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['empty.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['x.web.shop.svc.cluster.local', 'A', 'NXDOMAIN'],
  ['alias.shop.svc.cluster.local', 'A', ['web.shop.svc.cluster.local', '10.96.1.1']],
  ['away.shop.svc.cluster.local', 'A', ['example.com']],
  ['10-1-2-3.shop.pod.cluster.local', 'A', ['10.1.2.3']],
  ['fd00--1.shop.pod.cluster.local', 'AAAA', ['fd00::1']],
  ['10-1-2-3.nosuch.pod.cluster.local', 'A', 'NXDOMAIN'],
  ['dns-version.cluster.local', 'TXT', ['1.1.0']],
];

for (const [name, type, expected] of table)
  test(`${name} ${type}`, () => {
    const answer = ask(name, type);
    if (expected === 'NXDOMAIN') assert.equal(answer.rcode, 'NXDOMAIN');
    else {
      assert.equal(answer.rcode, 'NOERROR');
      assert.deepEqual(data(name, type), expected);
    }
  });

test('SRV: a named port of a service, and each endpoint of a headless one', () => {
  const service = ask('_http._tcp.web.shop.svc.cluster.local', 'SRV');
  assert.deepEqual(service.answers, [
    {
      type: 'SRV',
      name: '_http._tcp.web.shop.svc.cluster.local',
      ttl: 5,
      data: { port: 80, target: 'web.shop.svc.cluster.local', priority: 0, weight: 100 },
    },
  ]);
  assert.equal(service.additionals.length, 2);
  const headless = data('_sql._tcp.db.shop.svc.cluster.local', 'SRV') as { target: string }[];
  assert.deepEqual(
    headless.map(({ target }) => target),
    ['db-0.db.shop.svc.cluster.local', '10-0-0-2.db.shop.svc.cluster.local'],
  );
  assert.equal(ask('_none._tcp.web.shop.svc.cluster.local', 'SRV').rcode, 'NXDOMAIN');
});
