import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoutingScope, Workload } from '#/model/index.ts';
import { MeshStore } from '#/state/index.ts';
import { aService, aWorkload, seededRandom } from '../../test/mesh-records.ts';
import { chooseEndpoint, localityRank } from './load-balance.ts';

const here = { region: 'r', zone: 'z', subzone: 's' };
const source = aWorkload('source', {
  network: 'n',
  node: 'node-1',
  clusterId: 'c',
  locality: here,
});
const endpoint = (name: string, fields: Parameters<typeof aWorkload>[1] = {}): Workload =>
  aWorkload(name, {
    addresses: ['10.0.0.1'],
    network: 'n',
    node: 'node-2',
    clusterId: 'c',
    locality: here,
    services: { 'ns/svc': {} },
    ...fields,
  });

function shares(
  endpoints: readonly Workload[],
  loadBalancing: NonNullable<Parameters<typeof aService>[1]>['loadBalancing'] = {},
  draws = 300,
): Record<string, number> {
  const service = aService('svc', { loadBalancing });
  const store = new MeshStore();
  store.apply({ addresses: [service, ...endpoints] });
  const random = seededRandom(5);
  const seen: Record<string, number> = {};
  for (let i = 0; i < draws; i++) {
    const chosen = chooseEndpoint({ source, service, port: 80, mode: 'standard' }, store, random);
    const name = chosen?.workload.name ?? 'none';
    seen[name] = (seen[name] ?? 0) + 1;
  }
  return seen;
}

const names = (seen: Record<string, number>): string => Object.keys(seen).sort().join(' ');

test('by chance, weighted by capacity', () => {
  const even = shares([endpoint('a'), endpoint('b')]);
  assert.ok((even['a'] ?? 0) > 110 && (even['b'] ?? 0) > 110, JSON.stringify(even));
  const uneven = shares([endpoint('a', { capacity: 9 }), endpoint('b')]);
  assert.ok((uneven['a'] ?? 0) > 240 && (uneven['b'] ?? 0) > 5, JSON.stringify(uneven));
  assert.deepEqual(shares([endpoint('a', { capacity: 0 }), endpoint('b')]), { b: 300 });
  assert.deepEqual(shares([endpoint('a', { capacity: 0 })]), { none: 300 });
  assert.deepEqual(shares([]), { none: 300 });
});

test('many endpoints are chosen from as fairly as few', () => {
  const many = Array.from({ length: 40 }, (_, i) =>
    endpoint(`e${i}`, i % 2 === 0 ? {} : { addresses: [], networkGateway: undefined as never }),
  );
  const seen = shares(many, {}, 8000);
  assert.equal(Object.keys(seen).length, 20, 'those without an address never');
  for (const [name, count] of Object.entries(seen))
    assert.ok(count > 300 && count < 500, `${name}: ${count}`);
  const none = Array.from({ length: 40 }, (_, i) => endpoint(`e${i}`, { addresses: [] }));
  assert.deepEqual(shares(none), { none: 300 });
});

test('how near an endpoint is', () => {
  const rows: readonly [
    string,
    'STRICT' | 'FAILOVER',
    readonly RoutingScope[],
    Workload,
    number | undefined,
  ][] = [
    ['all match', 'FAILOVER', ['REGION', 'ZONE', 'SUBZONE'], endpoint('a'), 3],
    ['until the first mismatch', 'FAILOVER', ['REGION', 'NODE', 'ZONE'], endpoint('a'), 1],
    ['none', 'FAILOVER', ['NODE', 'REGION'], endpoint('a'), 0],
    ['node', 'FAILOVER', ['NODE'], endpoint('a', { node: 'node-1' }), 1],
    ['cluster', 'FAILOVER', ['CLUSTER'], endpoint('a', { clusterId: 'x' }), 0],
    ['network, not first', 'FAILOVER', ['REGION', 'NETWORK', 'ZONE'], endpoint('a', { network: 'x' }), 1],
    ['network first: a match comes before all', 'FAILOVER', ['NETWORK', 'REGION', 'ZONE'], endpoint('a'), 5],
    [
      'network first: a match without the others',
      'FAILOVER',
      ['NETWORK', 'REGION', 'ZONE'],
      endpoint('a', { locality: { region: '', zone: '', subzone: '' } }),
      3,
    ],
    [
      'network first: a mismatch goes on',
      'FAILOVER',
      ['NETWORK', 'REGION', 'ZONE'],
      endpoint('a', { network: 'x' }),
      2,
    ],
    ['strict, all', 'STRICT', ['REGION', 'ZONE'], endpoint('a'), 2],
    ['strict, not all', 'STRICT', ['REGION', 'NODE'], endpoint('a'), undefined],
    [
      'strict, network first, mismatch',
      'STRICT',
      ['NETWORK', 'REGION'],
      endpoint('a', { network: 'x' }),
      undefined,
    ],
  ];
  for (const [name, mode, routingPreference, workload, wanted] of rows)
    assert.equal(
      localityRank({ mode, routingPreference, healthPolicy: 'ONLY_HEALTHY' }, source, workload),
      wanted,
      name,
    );
});

test('modes choose among the nearest', () => {
  const near = endpoint('near', { node: 'node-1' });
  const zone = endpoint('zone');
  const far = endpoint('far', { locality: { region: 'r', zone: 'other', subzone: '' } });
  const scopes: RoutingScope[] = ['REGION', 'ZONE', 'NODE'];
  const all = [far, zone, near];
  assert.equal(names(shares(all)), 'far near zone');
  assert.equal(names(shares(all, { mode: 'FAILOVER', routingPreference: scopes })), 'near');
  assert.equal(names(shares([far, zone], { mode: 'FAILOVER', routingPreference: scopes })), 'zone');
  assert.equal(names(shares([far], { mode: 'FAILOVER', routingPreference: scopes })), 'far');
  assert.equal(names(shares(all, { mode: 'STRICT', routingPreference: scopes })), 'near');
  assert.equal(names(shares([far, zone], { mode: 'STRICT', routingPreference: scopes })), 'none');
});

test('an unhealthy endpoint takes part only where the service allows all', () => {
  const sick = endpoint('sick', { status: 'Unhealthy' });
  assert.equal(names(shares([sick, endpoint('well')])), 'well');
  assert.equal(names(shares([sick], { healthPolicy: 'ALLOW_ALL' })), 'sick');
});

test('which endpoints can serve a port', () => {
  const service = aService('svc', { ports: { 80: 8080, 90: 0 } });
  const tunnel = { applicationTunnel: { protocol: 'PROXY', port: 15088 } } as const;
  const rows: readonly [string, Workload, number, 'standard' | 'waypoint', number | undefined][] = [
    ["the service's port", endpoint('e'), 80, 'standard', 8080],
    [
      "the endpoint's own port first",
      endpoint('e', { services: { 'ns/svc': { 80: 1234 } } }),
      80,
      'standard',
      1234,
    ],
    [
      'a named port that the endpoint has',
      endpoint('e', { services: { 'ns/svc': { 90: 9 } } }),
      90,
      'standard',
      9,
    ],
    ['a named port that it has not', endpoint('e'), 90, 'standard', undefined],
    ['no such port', endpoint('e'), 70, 'standard', undefined],
    [
      'no such port, though the endpoint has it',
      endpoint('e', { services: { 'ns/svc': { 70: 7 } } }),
      70,
      'standard',
      undefined,
    ],
    ['a tunnel does not help a client', endpoint('e', tunnel), 70, 'standard', undefined],
    ['a waypoint with a tunnel needs no port', endpoint('e', tunnel), 15008, 'waypoint', 15008],
    ['a waypoint without one does', endpoint('e'), 15008, 'waypoint', undefined],
    ['no address', endpoint('e', { addresses: [] }), 80, 'standard', undefined],
    ['a name instead', endpoint('e', { addresses: [], hostname: 'h' }), 80, 'standard', 8080],
  ];
  for (const [name, workload, port, mode, wanted] of rows) {
    const store = new MeshStore();
    store.apply({ addresses: [service, workload] });
    const chosen = chooseEndpoint({ source, service, port, mode }, store, () => 0);
    assert.equal(chosen?.port, wanted, name);
  }
});
