import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceKey, type Service, type Workload } from '#/model/index.ts';
import { aPolicy, aService, aWorkload, ip, seededRandom } from '../../test/mesh-records.ts';
import { MeshStore, type MeshChanges } from './index.ts';

function storeOf(...addresses: (Workload | Service)[]): MeshStore {
  const store = new MeshStore({ node: 'node-1' });
  store.apply({ addresses });
  return store;
}

const uids = (workloads: Iterable<Workload>): string[] => [...workloads].map(({ name }) => name).sort();

test('workloads are found by uid, by address and by hostname', () => {
  const store = storeOf(
    aWorkload('a', { addresses: ['10.0.0.1', 'fd00::1'], network: 'n' }),
    aWorkload('h', { addresses: ['10.0.0.2'], networkMode: 'HostNetwork' }),
    aWorkload('e', { hostname: 'example.org' }),
  );
  assert.equal(store.workloadByUid('cluster1//Pod/ns/a')?.name, 'a');
  assert.equal(store.workloadByAddress('n', ip('10.0.0.1'))?.name, 'a');
  assert.equal(store.workloadByAddress('n', ip('fd00::1'))?.name, 'a');
  assert.equal(store.workloadByAddress('', ip('10.0.0.1')), undefined, 'on another network');
  assert.equal(
    store.workloadByAddress('', ip('10.0.0.2')),
    undefined,
    'the host has the address, not the pod',
  );
  assert.equal(store.workloadByUid('cluster1//Pod/ns/h')?.name, 'h');
  assert.equal(store.workloadByHostname({ namespace: 'ns', hostname: 'example.org' })?.name, 'e');
  assert.equal(store.workloadByHostname({ namespace: 'x', hostname: 'example.org' }), undefined);

  store.apply({ addresses: [aWorkload('a', { addresses: ['10.0.0.9'] })] });
  assert.equal(store.workloadByAddress('n', ip('10.0.0.1')), undefined, 'the old address is gone');
  assert.equal(store.workloadByAddress('', ip('10.0.0.9'))?.name, 'a');
  assert.equal(store.size.workloads, 3);
});

test('of several workloads on one address, pods come first, then HBONE', () => {
  const entry = aWorkload('entry', { addresses: ['10.0.0.1'], uid: 'c/we/ns/entry' });
  const meshed = { ...entry, uid: 'c/we/ns/meshed', name: 'meshed', protocol: 'HBONE' } as const;
  const pod = aWorkload('pod', { addresses: ['10.0.0.1'] });
  const meshedPod = aWorkload('z-pod', { addresses: ['10.0.0.1'], protocol: 'HBONE' });
  const all = [entry, meshed, pod, meshedPod];
  const best = (records: readonly Workload[]) =>
    storeOf(...records).workloadByAddress('', ip('10.0.0.1'))?.name;
  assert.equal(best(all), 'z-pod');
  assert.equal(best(all.toReversed()), 'z-pod');
  assert.equal(best([entry, meshed, pod]), 'pod');
  assert.equal(best([entry, meshed]), 'meshed');
  const store = storeOf(...all);
  for (const left of ['z-pod', 'pod', 'meshed', 'entry']) {
    const found = store.workloadByAddress('', ip('10.0.0.1'));
    assert.equal(found?.name, left);
    store.apply({ removedNames: [found.uid] });
  }
  assert.equal(store.workloadByAddress('', ip('10.0.0.1')), undefined);
});

test('pods of this node are found by the names of the node agent', () => {
  const name = { namespace: 'ns', serviceAccount: 'default', name: 'a' };
  const store = storeOf(
    aWorkload('a'),
    aWorkload('b', { node: 'node-2' }),
    aWorkload('c', { serviceAccount: 'other' }),
  );
  assert.equal(store.localWorkload(name)?.name, 'a');
  assert.equal(store.localWorkload({ ...name, name: 'b' }), undefined, 'on another node');
  assert.equal(store.localWorkload({ ...name, serviceAccount: 'other' }), undefined);
  assert.deepEqual(uids(store.localWorkloads()), ['a', 'c']);
  const identity = (sa: string) => `spiffe://cluster.local/ns/ns/sa/${sa}` as never;
  assert.equal(store.hasLocalIdentity(identity('other')), true);
  store.apply({ removedNames: ['cluster1//Pod/ns/c'] });
  assert.equal(store.hasLocalIdentity(identity('other')), false);
  const anywhere = new MeshStore();
  anywhere.apply({ addresses: [aWorkload('b', { node: 'node-2' })] });
  assert.equal(anywhere.localWorkload({ ...name, name: 'b' })?.name, 'b', 'without a node all are local');
});

test('of several services on one address: visible, own namespace, canonical, first', () => {
  const on = (namespace: string, fields: Parameters<typeof aService>[1] = {}) =>
    aService('svc', { namespace, addresses: ['10.9.0.1'], ...fields });
  const find = (services: readonly Service[], namespace?: string) => {
    const [forward, backward] = [services, services.toReversed()].map(
      (order) => storeOf(...order).serviceByAddress('', ip('10.9.0.1'), namespace)?.namespace,
    );
    assert.equal(forward, backward, 'whatever the order of arrival');
    return forward;
  };
  const services = [on('a'), on('b', { canonical: true }), on('c'), on('d', { visibility: 'NAMESPACE' })];
  assert.equal(find(services, 'c'), 'c');
  assert.equal(find(services, 'd'), 'd');
  assert.equal(find(services, 'x'), 'b');
  assert.equal(find(services), 'b');
  assert.equal(find([on('c'), on('a')], 'x'), 'a');
  assert.equal(find([on('d', { visibility: 'NAMESPACE' })], 'x'), undefined);
  assert.equal(find([on('d', { visibility: 'NAMESPACE' })]), 'd', 'who asks for nobody sees all');

  const store = storeOf(...services);
  assert.equal(store.serviceByHostname('svc', 'c')?.namespace, 'c');
  assert.equal(store.serviceByHostname('svc', 'x')?.namespace, 'b');
  assert.equal(store.serviceByHostname('gone'), undefined);
});

test('ranges come after exact addresses: own namespace, longest, canonical', () => {
  const range = (hostname: string, cidr: string, fields: Parameters<typeof aService>[1] = {}) =>
    aService(hostname, { namespace: 'x', cidrAddresses: [cidr], ...fields });
  const find = (address: string, services: readonly Service[], namespace = 'client') =>
    storeOf(...services).serviceByAddress('', ip(address), namespace)?.hostname;
  const wide = range('wide', '10.0.0.0/8');
  const narrow = range('narrow', '10.1.0.0/16');
  assert.equal(find('10.1.2.3', [wide, narrow]), 'narrow');
  assert.equal(find('10.2.2.3', [wide, narrow]), 'wide');
  assert.equal(find('11.2.2.3', [wide, narrow]), undefined);
  assert.equal(
    find('10.1.2.3', [{ ...wide, namespace: 'client' }, narrow]),
    'wide',
    'own namespace before length',
  );
  assert.equal(find('10.1.2.3', [narrow, range('other', '10.1.0.0/16', { canonical: true })]), 'other');
  assert.equal(
    find('10.1.2.3', [narrow, range('other', '10.1.0.0/16')]),
    'narrow',
    'by key, whatever the order',
  );
  assert.equal(find('10.1.2.3', [narrow, aService('exact', { addresses: ['10.1.2.3'] })]), 'exact');
  assert.equal(
    find('10.1.2.3', [narrow, aService('exact', { addresses: ['10.1.2.3'], visibility: 'NAMESPACE' })]),
    'narrow',
    'an exact one that is not visible is a miss',
  );
  assert.equal(find('10.1.2.3', [range('hidden', '10.1.0.0/16', { visibility: 'NAMESPACE' })]), undefined);
  assert.equal(
    find('10.1.2.3', [range('single', '10.1.2.3/32'), { ...narrow, namespace: 'client' }]),
    'single',
  );
  assert.equal(find('fd00::1', [range('v6', 'fd00::/8'), wide]), 'v6');

  const store = storeOf(wide, narrow);
  store.apply({ removedNames: ['x/narrow'] });
  assert.equal(store.serviceByAddress('', ip('10.1.2.3'))?.hostname, 'wide');
  store.apply({ addresses: [range('wide', '12.0.0.0/8')] });
  assert.equal(store.serviceByAddress('', ip('10.1.2.3')), undefined);
  assert.equal(store.serviceByAddress('', ip('12.1.2.3'))?.hostname, 'wide');
});

test('endpoints may come before their service, and outlive it', () => {
  const pod = aWorkload('pod', { services: { 'ns/svc': { 80: 1 } } });
  const store = storeOf(pod);
  assert.deepEqual([...store.stagedServices()], [['ns/svc', [pod]]]);
  assert.equal(store.endpoints('ns/svc').workloads.length, 0);
  store.apply({ addresses: [aService('svc')] });
  assert.deepEqual(uids(store.endpoints('ns/svc').workloads), ['pod']);
  assert.equal(store.endpoints('ns/svc').has(pod.uid), true);
  assert.deepEqual([...store.stagedServices()], []);
  store.apply({ removedNames: ['ns/svc'] });
  assert.deepEqual(uids(store.endpoints('ns/svc').workloads), []);
  store.apply({ addresses: [aService('svc', { ports: { 80: 9 } })] });
  assert.deepEqual(uids(store.endpoints('ns/svc').workloads), ['pod'], 'they were never taken back');
  store.apply({ addresses: [aWorkload('pod')] });
  assert.deepEqual(uids(store.endpoints('ns/svc').workloads), [], 'no longer listed');
  store.apply({ addresses: [pod] });
  store.apply({ removedNames: [pod.uid] });
  assert.deepEqual(uids(store.endpoints('ns/svc').workloads), []);
});

test('unhealthy endpoints take part only where the service allows all', () => {
  const sick = aWorkload('sick', { status: 'Unhealthy', services: { 'ns/svc': {} } });
  const allowing = aService('svc', { loadBalancing: { healthPolicy: 'ALLOW_ALL' } });
  const store = storeOf(aService('svc'), sick, aWorkload('well', { services: { 'ns/svc': {} } }));
  const now = () => uids(store.endpoints('ns/svc').workloads);
  assert.deepEqual(now(), ['well']);
  store.apply({ addresses: [allowing] });
  assert.deepEqual(now(), ['sick', 'well']);
  store.apply({ addresses: [aService('svc')] });
  assert.deepEqual(now(), ['well']);
  store.apply({ addresses: [{ ...sick, status: 'Healthy' }] });
  assert.deepEqual(now(), ['sick', 'well']);
  store.apply({ addresses: [sick] });
  assert.deepEqual(now(), ['well'], 'one that falls ill leaves');
  assert.deepEqual(uids(store.members('ns/svc')), ['sick', 'well']);
});

test('long lists of endpoints stay in step', () => {
  const random = seededRandom(3);
  const store = storeOf(aService('svc'));
  const wanted = new Map<string, Workload>();
  for (let i = 0; i < 600; i++) {
    const name = `e${Math.floor(random() * 60)}`;
    const workload = aWorkload(name, {
      services: { 'ns/svc': {} },
      capacity: random() < 0.1 ? 2 : 1,
    });
    if (random() < 0.4) {
      store.apply({ removedNames: [workload.uid] });
      wanted.delete(workload.uid);
    } else {
      store.apply({ addresses: [workload] });
      wanted.set(workload.uid, workload);
    }
    const set = store.endpoints('ns/svc');
    assert.deepEqual(new Set(set.workloads), new Set(wanted.values()));
    assert.equal(
      set.evenlyWeighted,
      [...wanted.values()].every(({ capacity }) => capacity === 1),
    );
  }
});

test('policies by reach, and those that are listed but not known', () => {
  const workload = aWorkload('w', { authorizationPolicies: ['ns/selected', 'ns/gone', 'root/everywhere'] });
  const store = storeOf(workload, aWorkload('other', { namespace: 'x' }));
  const keys = (of: Workload) => {
    const { deny, allow, unknown } = store.policiesFor(of);
    return { asked: [...deny, ...allow].map(({ key }) => key), unknown };
  };
  assert.deepEqual(keys(aWorkload('none')), { asked: [], unknown: [] });
  store.apply({
    policies: [
      aPolicy('selected'),
      aPolicy('not-selected'),
      aPolicy('of-namespace', { scope: 'Namespace' }),
      aPolicy('elsewhere', { scope: 'Namespace', namespace: 'x' }),
      aPolicy('everywhere', { scope: 'Global', namespace: 'root' }),
    ],
  });
  assert.deepEqual(keys(workload), {
    asked: ['ns/of-namespace', 'ns/selected', 'root/everywhere'],
    unknown: ['ns/gone'],
  });
  assert.equal(store.policiesFor(workload), store.policiesFor(workload), 'made once');
  store.apply({ policies: [aPolicy('of-namespace', { scope: 'WorkloadSelector' })] });
  assert.deepEqual(keys(workload).asked, ['ns/selected', 'root/everywhere']);
  store.apply({ removedPolicies: ['root/everywhere', 'ns/selected'], policies: [aPolicy('gone')] });
  assert.deepEqual(keys(workload), { asked: ['ns/gone'], unknown: ['ns/selected', 'root/everywhere'] });
});

test('a removed name is a workload first, then a service', () => {
  const store = storeOf(aWorkload('w', { uid: 'ns/both' }), aService('both'));
  store.apply({ removedNames: ['ns/both', 'unknown'] });
  assert.equal(store.size.workloads, 0);
  assert.equal(store.size.services, 1);
  store.apply({ removedNames: ['ns/both'] });
  assert.equal(store.size.services, 0);
});

test('listeners hear of a batch once, when all of it holds', () => {
  const store = storeOf(aWorkload('a', { addresses: ['10.0.0.1'] }));
  const heard: MeshChanges[] = [];
  using _ = store.onChange((changes) => {
    assert.equal(store.workloadByAddress('', ip('10.0.0.2'))?.name, 'b');
    heard.push(changes);
  });
  const b = aWorkload('b', { addresses: ['10.0.0.2'] });
  store.apply({
    removedNames: ['cluster1//Pod/ns/a'],
    addresses: [aService('svc'), aWorkload('b'), b],
    policies: [aPolicy('p')],
  });
  assert.equal(heard.length, 1);
  assert.deepEqual([...(heard[0]?.workloads.keys() ?? [])], ['cluster1//Pod/ns/a', b.uid]);
  assert.deepEqual(heard[0]?.workloads.get(b.uid), { before: undefined, after: b });
  assert.deepEqual([...(heard[0]?.services.keys() ?? [])], ['ns/svc']);
  assert.deepEqual([...(heard[0]?.policies.keys() ?? [])], ['ns/p']);
  store.apply({ removedNames: ['nothing'], addresses: [b] });
  assert.equal(heard.length, 1, 'nothing changed, nobody is told');
});

test('answers depend on the records alone, not on how they came', () => {
  const random = seededRandom(11);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const store = new MeshStore({ node: 'node-1' });
  const workloads = new Map<string, Workload>();
  const services = new Map<string, Service>();
  const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];
  const keys = ['a/s1', 'b/s1', 'a/s2'];
  for (let i = 0; i < 400; i++) {
    const removed: string[] = [];
    const added: (Workload | Service)[] = [];
    for (let j = 0; j < 3; j++)
      if (random() < 0.3) {
        const gone = pick([...workloads.keys(), ...services.keys(), 'none']);
        removed.push(gone);
        workloads.delete(gone);
        services.delete(gone);
      }
    for (let j = 0; j < 3; j++)
      if (random() < 0.6) {
        const workload = aWorkload(`w${Math.floor(random() * 6)}`, {
          addresses: addresses.filter(() => random() < 0.4),
          protocol: pick(['TCP', 'HBONE']),
          status: pick(['Healthy', 'Unhealthy']),
          services: Object.fromEntries(keys.filter(() => random() < 0.4).map((key) => [key, {}])),
        });
        workloads.set(workload.uid, workload);
        added.push(workload);
      } else {
        const [namespace, hostname] = pick(keys).split('/') as [string, string];
        const service = aService(hostname, {
          namespace,
          addresses: addresses.filter(() => random() < 0.3),
          cidrAddresses: random() < 0.2 ? ['10.0.0.0/8'] : [],
          canonical: random() < 0.3,
          visibility: pick(['PUBLIC', 'PUBLIC', 'NAMESPACE']),
          loadBalancing: { healthPolicy: pick(['ONLY_HEALTHY', 'ALLOW_ALL']) },
        });
        services.set(serviceKey(service), service);
        added.push(service);
      }
    store.apply({ removedNames: removed, addresses: added });
    if (i % 10 !== 0) continue;
    const fresh = new MeshStore({ node: 'node-1' });
    fresh.apply({ addresses: [...workloads.values(), ...services.values()].toReversed() });
    assert.deepEqual(answers(store), answers(fresh), `after ${i} changes`);
  }
  function answers(of: MeshStore) {
    return {
      size: of.size,
      at: addresses.map((address) => of.workloadByAddress('', ip(address))?.uid),
      services: addresses.flatMap((address) =>
        ['a', 'b', 'x', undefined].map((ns) => {
          const found = of.serviceByAddress('', ip(address), ns);
          return found && serviceKey(found);
        }),
      ),
      endpoints: keys.map((key) => uids(of.endpoints(key).workloads)),
      members: keys.map((key) => uids(of.members(key))),
      staged: [...of.stagedServices()].map(([key]) => key).sort(),
      local: uids(of.localWorkloads()),
    };
  }
});
