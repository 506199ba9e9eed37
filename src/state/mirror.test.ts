import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MeshError } from '#/errors/index.ts';
import {
  destinationKey,
  hostnameKey,
  nameKey,
  peerKey,
  serviceKey,
  virtualAddresses,
  type GatewayAddress,
  type MeshKey,
  type Policy,
  type Service,
  type Workload,
} from '#/model/index.ts';
import { aPolicy, aService, aWorkload, gateway, ip, seededRandom } from '../../test/mesh-records.ts';
import { MeshStore, MirrorSource, MirrorView, type MirrorDelta, type MirrorRequest } from './index.ts';

/** A store, its source and a view, with messages that wait, as clones, until they are let through. */
class Pair implements Disposable {
  readonly store = new MeshStore({ node: 'node-1' });
  readonly deltas: MirrorDelta[] = [];
  readonly requests: MirrorRequest[] = [];
  readonly view: MirrorView;
  readonly source: MirrorSource;

  constructor(
    limit = 100,
    addresses: readonly (Workload | Service)[] = [],
    policies: readonly Policy[] = [],
  ) {
    this.store.apply({ addresses, policies });
    this.view = new MirrorView({
      node: 'node-1',
      limit,
      send: (request) => this.requests.push(structuredClone(request)),
    });
    this.source = new MirrorSource(this.store, (delta) => this.deltas.push(structuredClone(delta)), {
      hostnames: true,
    });
  }

  [Symbol.dispose](): void {
    this.source[Symbol.dispose]();
  }

  /** Lets one message through; false if there is none. */
  step(toView: boolean): boolean {
    const queue = toView ? this.deltas : this.requests;
    const message = queue.shift();
    if (message === undefined) return false;
    if (toView) this.view.receive(message as MirrorDelta);
    else this.source.receive(message as MirrorRequest);
    return true;
  }

  settle(): void {
    while (this.step(false) || this.step(true));
  }

  async ask(...keys: MeshKey[]): Promise<void> {
    const asked = this.view.ask(keys);
    this.settle();
    await asked;
  }
}

const names = (records: Iterable<{ name: string }>): string[] => [...records].map(({ name }) => name).sort();
const addressOf = (text: string): MeshKey => destinationKey('', ip(text));

/** All that a decision may read once a key is known, as plain data that can be compared. */
function answers(view: MeshStore | MirrorView, key: MeshKey): unknown {
  const service = (found: Service | undefined, depth: number): unknown =>
    found && {
      record: found,
      endpoints: view
        .endpoints(serviceKey(found))
        .workloads.map((workload) => ({
          workload,
          gateway: depth > 1 ? hop(workload.networkGateway, 1) : undefined,
        }))
        .sort((a, b) => (a.workload.uid < b.workload.uid ? -1 : 1)),
      waypoints:
        depth < 3
          ? []
          : [found.waypoint, ...found.weightedWaypoints.map(({ destination }) => destination)].map(
              (waypoint) => hop(waypoint, 2),
            ),
    };
  const workload = (found: Workload | undefined, depth: number): unknown =>
    found && {
      record: found,
      waypoint: depth > 2 ? hop(found.waypoint, 2) : undefined,
      gateway: depth > 1 ? hop(found.networkGateway, 1) : undefined,
    };
  const hop = (to: GatewayAddress | undefined, depth: number): unknown => {
    if (to === undefined) return undefined;
    const { destination } = to;
    if (destination.kind === 'address') return atAddress(destination.network, destination.ip, depth);
    const named = view.serviceByKey(`${destination.namespace}/${destination.hostname}`);
    return named ? service(named, depth) : workload(view.workloadByHostname(destination), depth);
  };
  const atAddress = (network: string, address: string, depth: number): unknown => ({
    workload: workload(view.workloadByAddress(network, ip(address)), depth),
    services:
      depth === 0
        ? []
        : ['a', 'b', 'x', undefined].map((ns) =>
            service(view.serviceByAddress(network, ip(address), ns), depth),
          ),
  });
  if (key.startsWith('host:'))
    return ['a', 'b', 'x', undefined].map((ns) => view.serviceByHostname(key.slice(5), ns));
  if (key.startsWith('name:'))
    return view.servicesByHostname(key.slice(5)).map((found) => ({
      record: found,
      endpoints:
        virtualAddresses(found).length > 0
          ? []
          : [...view.endpoints(serviceKey(found)).workloads].sort((a, b) => (a.uid < b.uid ? -1 : 1)),
    }));
  const [network, address] = key.slice(key.indexOf(':') + 1).split('/') as [string, string];
  return atAddress(network, address, key.startsWith('ip:') ? 3 : 0);
}

test('what is local is there unasked: workloads, their services, policies that can apply', () => {
  using pair = new Pair(
    100,
    [
      aWorkload('here', { services: { 'ns/svc': {} }, authorizationPolicies: ['x/listed', 'x/gone'] }),
      aWorkload('there', { node: 'node-2', namespace: 'far', services: { 'ns/svc': {} } }),
      aService('svc'),
      aService('unrelated'),
    ],
    [
      aPolicy('global', { scope: 'Global', namespace: 'root' }),
      aPolicy('mine', { scope: 'Namespace' }),
      aPolicy('far', { scope: 'Namespace', namespace: 'far' }),
      aPolicy('listed', { namespace: 'x' }),
      aPolicy('unlisted', { namespace: 'x' }),
    ],
  );
  pair.settle();
  const { view, store } = pair;
  const here = view.localWorkload({ namespace: 'ns', serviceAccount: 'default', name: 'here' }) as Workload;
  assert.deepEqual(names(view.servicesOf(here)), ['svc']);
  assert.deepEqual(view.size, {
    keys: 0,
    waiting: 0,
    evicted: 0,
    workloads: 1,
    services: 1,
    policies: 3,
    hostnames: 2,
  });
  const applying = () => {
    const { deny, unknown } = view.policiesFor(here);
    return [deny.map(({ policy }) => policy.name), unknown];
  };
  assert.deepEqual(applying(), [['mine', 'global', 'listed'], ['x/gone']]);

  store.apply({ policies: [aPolicy('gone', { namespace: 'x' }), aPolicy('other', { namespace: 'x' })] });
  pair.settle();
  assert.deepEqual(applying(), [['mine', 'global', 'gone', 'listed'], []]);
  store.apply({ removedPolicies: ['ns/mine', 'root/global'] });
  pair.settle();
  assert.deepEqual(applying(), [['gone', 'listed'], []]);

  store.apply({
    addresses: [aWorkload('there', { namespace: 'far' })],
    policies: [aPolicy('far2', { scope: 'Namespace', namespace: 'far' })],
  });
  pair.settle();
  assert.equal(view.size.policies, 4, 'a namespace that comes to this node brings its policies');
  store.apply({ removedNames: ['cluster1//Pod/far/there'], removedPolicies: ['far/far'] });
  pair.settle();
  assert.equal(view.size.policies, 2);
  assert.equal(view.size.workloads, 1);
});

test('an answer holds what a plan needs, and changes follow', async () => {
  using pair = new Pair(100, [
    aService('svc', { addresses: ['10.9.0.1'], waypoint: gateway('ns/waypoint') }),
    aService('waypoint', { ports: { 15008: 15008 } }),
    aWorkload('w1', { node: 'node-2', services: { 'ns/waypoint': {} } }),
    aWorkload('e1', {
      node: 'node-2',
      addresses: ['10.0.0.1'],
      services: { 'ns/svc': {} },
      networkGateway: gateway('far/1.1.1.1'),
    }),
    aWorkload('gw', { node: 'node-9', network: 'far', addresses: ['1.1.1.1'] }),
    aWorkload('unrelated', { node: 'node-2', addresses: ['10.0.0.7'] }),
  ]);
  pair.settle();
  const { view, store } = pair;
  const key = addressOf('10.9.0.1');
  assert.equal(view.knows(key), false);
  await pair.ask(key);
  assert.equal(view.knows(key), true);
  assert.deepEqual(names(view.endpoints('ns/svc').workloads), ['e1']);
  assert.deepEqual(names(view.endpoints('ns/waypoint').workloads), ['w1']);
  assert.equal(view.workloadByAddress('far', ip('1.1.1.1'))?.name, 'gw');
  assert.equal(view.workloadByUid('cluster1//Pod/ns/unrelated'), undefined);
  assert.deepEqual(pair.source.size, { keys: 1, workloads: 3, services: 2, policies: 0 });

  store.apply({ addresses: [aWorkload('unrelated', { node: 'node-2' })] });
  assert.equal(pair.deltas.length, 0, 'what was not asked for is not sent');
  store.apply({ addresses: [aWorkload('e2', { node: 'node-2', services: { 'ns/svc': {} } })] });
  assert.deepEqual(
    pair.deltas.map((delta) => names(delta.workloads)),
    [['e2']],
    'one endpoint more is one record more',
  );
  pair.settle();
  assert.deepEqual(names(view.endpoints('ns/svc').workloads), ['e1', 'e2']);

  store.apply({ addresses: [aService('svc', { addresses: ['10.9.0.2'] })] });
  pair.settle();
  assert.equal(view.serviceByAddress('', ip('10.9.0.1')), undefined);
  assert.deepEqual(
    pair.source.size,
    { keys: 1, workloads: 0, services: 0, policies: 0 },
    'nothing is there now',
  );
  store.apply({ addresses: [aService('new', { addresses: ['10.9.0.1'] })] });
  pair.settle();
  assert.equal(
    view.serviceByAddress('', ip('10.9.0.1'))?.hostname,
    'new',
    'an empty answer is kept up to date too',
  );
});

test('a name brings its services, and the endpoints of those without an address', async () => {
  using pair = new Pair(100, [
    aService('both', { addresses: ['10.9.0.1'], waypoint: gateway('ns/waypoint') }),
    aService('both', { namespace: 'other' }),
    aService('waypoint'),
    aWorkload('behind', { node: 'node-2', services: { 'ns/both': {} } }),
    aWorkload('headless', {
      node: 'node-2',
      services: { 'other/both': {} },
      networkGateway: gateway('far/1.1.1.1'),
    }),
    aWorkload('gw', { node: 'node-2', network: 'far', addresses: ['1.1.1.1'] }),
  ]);
  pair.settle();
  const { view, store, source } = pair;
  assert.deepEqual(
    ['both', 'waypoint', 'gone'].map((name) => view.hasHostname(name)),
    [true, true, false],
  );
  await pair.ask(nameKey('both'));
  assert.deepEqual(
    view.servicesByHostname('both').map(({ namespace }) => namespace),
    ['ns', 'other'],
  );
  assert.deepEqual(names(view.endpoints('other/both').workloads), ['headless']);
  assert.deepEqual(source.size, { keys: 1, workloads: 1, services: 2, policies: 0 }, 'and nothing else');

  store.apply({ addresses: [aService('both')] });
  pair.settle();
  assert.deepEqual(names(view.endpoints('ns/both').workloads), ['behind'], 'an address was lost');
  store.apply({ removedNames: ['ns/both', 'ns/waypoint'] });
  pair.settle();
  assert.deepEqual(
    ['both', 'waypoint'].map((name) => view.hasHostname(name)),
    [true, false],
  );
  assert.equal(view.size.hostnames, 1);
});

test('a view that is told no hostnames has none', () => {
  const store = new MeshStore();
  store.apply({ addresses: [aService('svc')] });
  const deltas: MirrorDelta[] = [];
  using _source = new MirrorSource(store, (delta) => deltas.push(delta));
  store.apply({ addresses: [aService('more')], removedNames: ['ns/svc'] });
  assert.deepEqual(
    deltas.map(({ hostnames, removedHostnames }) => [hostnames, removedHostnames]),
    [[[], []]],
  );
});

test('the limit pushes out the key used longest ago, and what only it needed', async () => {
  const pod = (i: number) => aWorkload(`p${i}`, { node: 'node-2', addresses: [`10.0.0.${i}`] });
  using pair = new Pair(2, [pod(1), pod(2), pod(3)]);
  const { view } = pair;
  await pair.ask(addressOf('10.0.0.1'));
  await pair.ask(addressOf('10.0.0.2'));
  assert.equal(view.knows(addressOf('10.0.0.1')), true, 'used');
  await pair.ask(addressOf('10.0.0.3'));
  assert.equal(view.knows(addressOf('10.0.0.2')), false);
  assert.equal(view.workloadByAddress('', ip('10.0.0.2')), undefined);
  assert.equal(view.workloadByAddress('', ip('10.0.0.1'))?.name, 'p1');
  assert.equal(view.size.evicted, 1);
  assert.equal(pair.source.size.keys, 2);
  await pair.ask(addressOf('10.0.0.2'));
  assert.equal(view.workloadByAddress('', ip('10.0.0.2'))?.name, 'p2');
});

test('many who wait for one key send one request; too many are refused', async () => {
  using pair = new Pair(2);
  const [a, b, c] = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map(addressOf) as [MeshKey, MeshKey, MeshKey];
  const waiting = [pair.view.ask([a, a]), pair.view.ask([a]), pair.view.ask([b])];
  assert.equal(pair.requests.length, 2);
  assert.equal(pair.view.size.waiting, 2);
  await assert.rejects(
    pair.view.ask([c]),
    (error) => error instanceof MeshError && error.code === 'OVER_LIMIT',
  );
  pair.settle();
  await Promise.all(waiting);
  await pair.ask(c);
  await pair.view.ask([c]);
  assert.equal(pair.requests.length, 0, 'what is known is not asked for');
});

test('text that is no key is answered with nothing', async () => {
  using pair = new Pair();
  await pair.ask('nonsense' as MeshKey, 'ip:' as MeshKey);
  assert.equal(pair.view.knows('nonsense' as MeshKey), true);
});

test('whatever happens, a view answers as the full store does', () => {
  let compared = 0;
  for (let seed = 1; seed <= 25; seed++) compared += wander(seed);
  assert.ok(compared > 3000, `only ${compared} answers were compared`);
});

/** A random walk of changes, questions and messages; the number of answers that were compared. */
function wander(seed: number): number {
  const random = seededRandom(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const some = <T>(values: readonly T[], share: number): T[] => values.filter(() => random() < share);
  const maybe = <T extends object>(share: number, value: T): Partial<T> => (random() < share ? value : {});
  const ips = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.1.0.1'];
  const keys = ['a/s1', 'b/s1', 'a/s2', 'b/s3'];
  const hops = ['10.0.0.1', 'far/10.0.0.2', '10.1.0.1', 'a/s1', 'a/s2', 'b/s3', 'a/host', 'b/gone'];
  const questions = [
    ...ips.flatMap((text) => [addressOf(text), peerKey('', ip(text)), destinationKey('far', ip(text))]),
    hostnameKey('s1'),
    hostnameKey('s2'),
    hostnameKey('gone'),
    nameKey('s1'),
    nameKey('s2'),
    nameKey('s3'),
  ];
  const aRandomWorkload = (): Workload =>
    aWorkload(`w${Math.floor(random() * 8)}`, {
      namespace: pick(['a', 'b']),
      node: pick(['node-1', 'node-2', 'node-3']),
      addresses: some(ips, 0.4),
      network: pick(['', '', 'far']),
      hostname: random() < 0.2 ? 'host' : '',
      protocol: pick(['TCP', 'HBONE']),
      status: pick(['Healthy', 'Healthy', 'Unhealthy']),
      networkMode: pick(['Standard', 'Standard', 'HostNetwork']),
      services: Object.fromEntries(some(keys, 0.4).map((key) => [key, {}])),
      authorizationPolicies: some(['a/p0', 'b/p1', 'a/p2', 'a/none'], 0.3),
      ...maybe(0.3, { waypoint: gateway(pick(hops)) }),
      ...maybe(0.3, { networkGateway: gateway(pick(hops)) }),
    });
  const aRandomService = (): Service => {
    const [namespace, hostname] = pick(keys).split('/') as [string, string];
    return aService(hostname, {
      namespace,
      addresses: some(ips, 0.3),
      cidrAddresses: some(['10.0.0.0/16', '10.0.0.0/8', '10.1.0.1/32', 'far/10.0.0.0/8'], 0.1),
      canonical: random() < 0.3,
      visibility: pick(['PUBLIC', 'PUBLIC', 'NAMESPACE']),
      loadBalancing: { healthPolicy: pick(['ONLY_HEALTHY', 'ALLOW_ALL']) },
      weightedWaypoints: some(hops, 0.1).map((hop) => ({ destination: gateway(hop), weight: 1 })),
      ...maybe(0.4, { waypoint: gateway(pick(hops)) }),
    });
  };
  const aRandomPolicy = (): Policy =>
    aPolicy(`p${Math.floor(random() * 4)}`, {
      namespace: pick(['a', 'b']),
      scope: pick(['Global', 'Namespace', 'WorkloadSelector']),
    });

  using pair = new Pair(
    pick([3, 8, 100]),
    Array.from({ length: 6 }, () => (random() < 0.5 ? aRandomWorkload() : aRandomService())),
  );
  const { store, view } = pair;
  const asked: Promise<void>[] = [];
  let compared = 0;
  for (let round = 0; round < 40; round++) {
    for (let i = 0; i < 4; i++) {
      const dice = random();
      if (dice < 0.5) {
        const present = [...store.workloads()].map(({ uid }) => uid);
        const policies = ['a/p0', 'a/p1', 'b/p0', 'b/p1', 'a/p2'];
        store.apply({
          removedNames: some([...present, ...keys], 0.1),
          removedPolicies: some(policies, 0.1),
          addresses: Array.from({ length: Math.floor(random() * 4) }, () =>
            random() < 0.6 ? aRandomWorkload() : aRandomService(),
          ),
          policies: Array.from({ length: Math.floor(random() * 2) }, aRandomPolicy),
        });
      } else if (dice < 0.8) {
        const wanted = [pick(questions), pick(questions)].filter(() => view.size.waiting < 2);
        asked.push(view.ask(wanted));
      } else pair.step(random() < 0.5);
    }
    if (random() < 0.5) continue;
    pair.settle();
    for (const key of questions) {
      if (!view.knows(key)) continue;
      compared++;
      assert.deepEqual(answers(view, key), answers(store, key), `seed ${seed}, round ${round}, ${key}`);
    }
    for (const hostname of ['s1', 's2', 's3', 'gone'])
      assert.equal(view.hasHostname(hostname), store.hasHostname(hostname), `seed ${seed}, round ${round}`);
    const byUid = (a: Workload, b: Workload): number => (a.uid < b.uid ? -1 : 1);
    const local = [...store.localWorkloads()].sort(byUid);
    assert.deepEqual([...view.localWorkloads()].sort(byUid), local, `seed ${seed}, round ${round}`);
    for (const workload of local) {
      const here = view.workloadByUid(workload.uid) as Workload;
      const keysOf = (of: MeshStore | MirrorView, record: Workload): unknown => {
        const { deny, unknown } = of.policiesFor(record);
        return [deny.map(({ policy }) => policy), unknown];
      };
      assert.deepEqual(keysOf(view, here), keysOf(store, workload), `seed ${seed}, round ${round}`);
      assert.deepEqual(view.servicesOf(here), store.servicesOf(workload));
    }
  }
  // Everything forgotten: only what is local stays.
  pair.settle();
  pair.source.receive({ ask: [], forget: questions });
  pair.settle();
  const stays = [...store.localWorkloads()];
  assert.equal(pair.source.size.workloads, stays.length, `seed ${seed}: records that nobody needs`);
  const listed = new Set(stays.flatMap((workload) => store.servicesOf(workload)));
  assert.equal(pair.source.size.services, listed.size, `seed ${seed}: services that nobody needs`);
  void Promise.allSettled(asked);
  return compared;
}
