import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  nameKey,
  serviceKey,
  type EndpointSet,
  type MeshKey,
  type NameAnswer,
  type NamePlan,
  type NameView,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { aService, aWorkload, ip, seededRandom } from '../../test/mesh-records.ts';
import { planName, type NameSettings } from './name.ts';

class View implements NameView {
  readonly #services: readonly Service[];
  readonly #workloads: readonly Workload[];
  readonly unknown = new Set<MeshKey>();

  constructor(services: readonly Service[], workloads: readonly Workload[] = []) {
    this.#services = services;
    this.#workloads = workloads;
  }

  hasHostname(hostname: string): boolean {
    return this.servicesByHostname(hostname).length > 0;
  }

  knows(key: MeshKey): boolean {
    return !this.unknown.has(key);
  }

  servicesByHostname(hostname: string): readonly Service[] {
    return this.#services.filter((service) => service.hostname === hostname);
  }

  endpoints(key: string): EndpointSet {
    const workloads = this.#workloads.filter(({ services }) => services[key] !== undefined);
    return { workloads, evenlyWeighted: true, has: (uid) => workloads.some((one) => one.uid === uid) };
  }
}

const settings: NameSettings = { domain: 'cluster.local', ipv6: true };
const client = aWorkload('client');

function plan(
  name: string,
  view: NameView,
  options: { family?: 4 | 6; client?: Workload } & Partial<NameSettings> = {},
): NamePlan {
  const { family = 4, client: asks = client, ...rest } = options;
  return planName({ client: asks, name, family }, view, { ...settings, ...rest }, seededRandom(1));
}

/** `outcome service addresses (canonical name)`, or the kind of plan. */
function text(found: NamePlan): string {
  if (found.kind !== 'answer') return found.kind;
  const { outcome, service, addresses, canonicalName } = found;
  const alias = canonicalName === undefined ? '' : ` as ${canonicalName}`;
  return [outcome, serviceKey(service), [...addresses].sort().join()].join(' ').trim() + alias;
}

const web = aService('web.ns.svc.cluster.local', { addresses: ['10.9.0.1', 'fd00::9:1'] });
const both = { addresses: ['10.0.0.1', 'fd00::1'] };
const headless = aService('db.ns.svc.cluster.local');
const dbPods = [
  aWorkload('db-0', { ...both, services: { 'ns/db.ns.svc.cluster.local': {} } }),
  aWorkload('db-1', { addresses: ['10.0.0.2', '10.0.0.3'], services: { 'ns/db.ns.svc.cluster.local': {} } }),
  aWorkload('db-2', { addresses: ['10.0.0.2'], services: { 'ns/db.ns.svc.cluster.local': {} } }),
  aWorkload('other', { addresses: ['10.0.0.4'] }),
];

suite('what a name stands for', () => {
  type Row = readonly [
    what: string,
    name: string,
    services: readonly Service[],
    expected: string,
    options?: Parameters<typeof plan>[2],
  ];
  const external = (fields: Parameters<typeof aService>[1] = {}) =>
    aService('api.example.com', { addresses: ['240.0.0.1'], ...fields });
  const anywhere = aService('*.example.com', { addresses: ['240.0.0.9'] });
  const rows: readonly Row[] = [
    ['a full name', 'web.ns.svc.cluster.local', [web], 'found ns/web.ns.svc.cluster.local 10.9.0.1'],
    ['a short name', 'web', [web], 'found ns/web.ns.svc.cluster.local 10.9.0.1'],
    ['a short name with its namespace', 'web.ns', [web], 'found ns/web.ns.svc.cluster.local 10.9.0.1'],
    ['a short name with svc', 'web.ns.svc', [web], 'found ns/web.ns.svc.cluster.local 10.9.0.1'],
    ['a short name elsewhere', 'web', [web], 'forward', { client: aWorkload('x', { namespace: 'other' }) }],
    ['a name the mesh does not have', 'example.com', [web, external()], 'forward'],
    ['the root', '', [web], 'forward'],
    ['the other family', 'web', [web], 'found ns/web.ns.svc.cluster.local fd00::9:1', { family: 6 }],
    [
      'another cluster domain',
      'web.ns.svc.mesh',
      [aService('web.ns.svc.mesh', { addresses: ['10.9.0.1'] })],
      'found ns/web.ns.svc.mesh 10.9.0.1',
      { domain: 'mesh' },
    ],
    [
      'a search domain too many',
      'web.ns.ns.svc.cluster.local',
      [web],
      'found ns/web.ns.svc.cluster.local 10.9.0.1 as web.ns',
    ],
    [
      'an external name with a search domain',
      'api.example.com.svc.cluster.local',
      [external()],
      'found ns/api.example.com 240.0.0.1 as api.example.com',
    ],
    ['a wildcard', 'x.y.example.com', [anywhere], 'found ns/*.example.com 240.0.0.9'],
    ['a wildcard does not cover its own end', 'example.com', [anywhere], 'forward'],
    [
      'a wildcard with a search domain: no alias',
      'x.example.com.cluster.local',
      [anywhere],
      'found ns/*.example.com 240.0.0.9',
    ],
    [
      'an exact name before a wildcard',
      'api.example.com',
      [anywhere, external()],
      'found ns/api.example.com 240.0.0.1',
    ],
    [
      'a longer wildcard before a shorter one',
      'a.b.example.com',
      [anywhere, aService('*.b.example.com', { addresses: ['240.0.0.8'] })],
      'found ns/*.b.example.com 240.0.0.8',
    ],
    ['no address, not of Kubernetes', 'api.example.com', [external({ addresses: [] })], 'forward'],
    [
      'no address, but a wildcard that has one',
      'api.example.com',
      [external({ addresses: [] }), anywhere],
      'found ns/*.example.com 240.0.0.9',
    ],
    [
      'only a range of addresses',
      'api.example.com',
      [external({ addresses: [], cidrAddresses: ['/10.0.0.0/8'] })],
      'forward',
    ],
    [
      'a range of one address',
      'api.example.com',
      [external({ addresses: [], cidrAddresses: ['/240.0.0.7/32'] })],
      'found ns/api.example.com 240.0.0.7',
    ],
    [
      'headless: an address of each endpoint',
      'db',
      [headless],
      'found ns/db.ns.svc.cluster.local 10.0.0.1,10.0.0.2',
    ],
    [
      'headless, the other family',
      'db',
      [headless],
      'found ns/db.ns.svc.cluster.local fd00::1',
      { family: 6 },
    ],
    [
      'headless without endpoints',
      'none',
      [aService('none.ns.svc.cluster.local')],
      'none ns/none.ns.svc.cluster.local',
    ],
    [
      'headless, IPv4 only',
      'db',
      [{ ...headless, ipFamilies: 'IPV4_ONLY' }],
      'other-family ns/db.ns.svc.cluster.local',
      { family: 6 },
    ],
    [
      'headless, IPv6 only',
      'db',
      [{ ...headless, ipFamilies: 'IPV6_ONLY' }],
      'other-family ns/db.ns.svc.cluster.local',
    ],
    [
      'headless, dual',
      'db',
      [{ ...headless, ipFamilies: 'DUAL' }],
      'found ns/db.ns.svc.cluster.local fd00::1',
      { family: 6 },
    ],
    ['a pod of a headless service', 'db-0.db.ns.svc.cluster.local', [headless], 'forward'],
    ['IPv6 is off', 'web', [web], 'other-family ns/web.ns.svc.cluster.local', { family: 6, ipv6: false }],
    [
      'IPv6 is off, IPv4 goes on',
      'web',
      [web],
      'found ns/web.ns.svc.cluster.local 10.9.0.1',
      { ipv6: false },
    ],
    ['no address of the family', 'api.example.com', [external()], 'none ns/api.example.com', { family: 6 }],
    [
      'addresses of other networks only',
      'api.example.com',
      [external({ addresses: ['far/240.0.0.1'] })],
      'none ns/api.example.com',
    ],
    [
      "addresses of the client's network",
      'api.example.com',
      [external({ addresses: ['far/240.0.0.1', '240.0.0.2'] })],
      'found ns/api.example.com 240.0.0.1',
      { client: aWorkload('x', { network: 'far' }) },
    ],
    [
      'visible only elsewhere',
      'api.example.com',
      [external({ namespace: 'a', visibility: 'NAMESPACE' })],
      'forward',
    ],
    [
      'visible here only',
      'api.example.com',
      [external({ visibility: 'NAMESPACE' })],
      'found ns/api.example.com 240.0.0.1',
    ],
  ];
  for (const [what, name, services, expected, options] of rows)
    test(what, () => assert.equal(text(plan(name, new View(services, dbPods), options)), expected));
});

suite('several services of one name', () => {
  const of = (namespace: string, fields: Parameters<typeof aService>[1] = {}) =>
    aService('api.example.com', { namespace, addresses: ['240.0.0.1'], ...fields });
  const chosen = (services: readonly Service[], preferredNamespace?: string): string =>
    (plan('api.example.com', new View(services), { preferredNamespace }) as NameAnswer).service.namespace;

  test("the client's namespace, then canonical, then the preferred namespace, then the first", () => {
    const all = [of('a'), of('b'), of('c', { canonical: true }), of('ns')];
    assert.equal(chosen(all, 'b'), 'ns');
    assert.equal(chosen(all.slice(0, 3), 'b'), 'c');
    assert.equal(chosen(all.slice(0, 2), 'b'), 'b');
    assert.equal(chosen(all.slice(0, 2), 'gone'), 'a');
    assert.equal(chosen(all.slice(0, 2)), 'a');
  });

  test('what cannot answer, or may not be seen, is not chosen', () => {
    assert.equal(chosen([of('a'), of('ns', { addresses: [] })]), 'a');
    assert.equal(chosen([of('a', { canonical: true, visibility: 'NAMESPACE' }), of('b')]), 'b');
  });
});

test('the order is random', () => {
  const view = new View([
    aService('many.ns.svc.cluster.local', { addresses: ['10.9.0.1', '10.9.0.2', '10.9.0.3'] }),
  ]);
  const random = seededRandom(3);
  const seen = new Map<string, number>();
  for (let i = 0; i < 600; i++) {
    const found = planName({ client, name: 'many', family: 4 }, view, settings, random);
    const order = (found as NameAnswer).addresses.join();
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  assert.equal(seen.size, 6);
  for (const [order, count] of seen) assert.ok(count > 60, `${order}: ${count} of 600`);
});

test('only what exists is fetched, all of it at once', () => {
  const view = new View([
    web,
    aService('web', { addresses: [], namespace: 'x' }),
    aService('*.cluster.local', { addresses: [ip('240.0.0.1')] }),
  ]);
  view.unknown.add(nameKey('web')).add(nameKey('web.ns.svc.cluster.local')).add(nameKey('*.cluster.local'));
  assert.deepEqual(plan('web', view), {
    kind: 'needs',
    keys: ['web', 'web.ns.svc.cluster.local', '*.cluster.local'].map(nameKey),
  });
  assert.equal(plan('a.b.c.d.example.com', view).kind, 'forward');
});
