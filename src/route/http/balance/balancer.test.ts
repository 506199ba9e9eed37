import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Balancing, TrafficSettings } from '#/model/index.ts';
import { seededRandom } from '../../../../test/mesh-records.ts';
import { mix } from './hash.ts';
import { balancerOf, candidate, here, locality, shares } from './test-candidates.ts';
import { Balancer } from './balancer.ts';

const hashBy = (ring: 'ring-hash' | 'maglev', minimumRingSize = 1024): Balancing => ({
  kind: 'hash',
  ring,
  minimumRingSize,
  by: { kind: 'source-ip' },
});
const outliers = (minHealthPercent = 0): TrafficSettings => ({
  outliers: { intervalMs: 1, baseEjectionMs: 1, maxEjectionPercent: 100, minHealthPercent },
});
const kinds: readonly Balancing[] = [
  { kind: 'least-request' },
  { kind: 'random' },
  { kind: 'round-robin' },
  { kind: 'passthrough' },
  hashBy('ring-hash', 8192),
  hashBy('maglev'),
];
const byHash = (i: number) => ({ hash: mix(i * 7919) });
const near = (actual: number | undefined, wanted: number, within: number, what: string) =>
  assert.ok(Math.abs((actual ?? 0) - wanted) <= within, `${what}: ${actual}, not ${wanted}`);

test('every kind follows the weights, and leaves out the unhealthy', () => {
  for (const balancing of kinds) {
    const name = balancing.kind === 'hash' ? balancing.ring : balancing.kind;
    const even = shares(
      balancerOf(
        ['a', 'b', 'c', 'd'].map((uid) => candidate(uid)),
        { balancing },
      ),
      10_000,
      byHash,
    );
    for (const uid of ['a', 'b', 'c', 'd']) near(even[uid], 0.25, 0.03, `${name} ${uid}`);
    const uneven = balancerOf(
      [candidate('a', { weight: 6 }), candidate('b', { weight: 3 }), candidate('c', { weight: 1 })],
      { balancing },
    );
    const drawn = shares(uneven, 10_000, byHash);
    near(drawn['a'], 0.6, 0.04, `${name} a`);
    near(drawn['b'], 0.3, 0.04, `${name} b`);
    near(drawn['c'], 0.1, 0.04, `${name} c`);
    uneven.setHealthy('a', false);
    const left = shares(uneven, 10_000, byHash);
    assert.equal(left['a'], undefined, name);
    near(left['b'], 0.75, 0.15, `${name} b without a`);
    uneven.setHealthy('a', true);
    near(shares(uneven, 10_000, byHash)['a'], 0.6, 0.04, `${name} a is back`);
  }
});

test('nobody, and nobody healthy', () => {
  for (const balancing of kinds) {
    const balancer = balancerOf([], { balancing });
    assert.equal(
      balancer.pick(byHash(1), () => 0.5, 0),
      undefined,
    );
    balancer.put(candidate('a', { healthy: false }));
    assert.equal(
      balancer.pick(byHash(1), () => 0.5, 0),
      undefined,
    );
    balancer.remove('a');
    assert.equal(balancer.size, 0);
  }
});

test('weights of zero get nothing while others have some', () => {
  for (const balancing of kinds) {
    const drawn = shares(
      balancerOf([candidate('a'), candidate('zero', { weight: 0 })], { balancing }),
      1000,
      byHash,
    );
    assert.deepEqual(Object.keys(drawn), ['a'], JSON.stringify(balancing));
    const all = shares(balancerOf([candidate('zero', { weight: 0 })], { balancing }), 10, byHash);
    assert.deepEqual(Object.keys(all), ['zero']);
  }
});

test('round robin: in turn, and weighted within a few at any time', () => {
  const turns = balancerOf(
    ['a', 'b', 'c'].map((uid) => candidate(uid)),
    {
      balancing: { kind: 'round-robin' },
    },
  );
  const picks = Array.from({ length: 6 }, () => turns.pick({}, () => 0.5, 0)?.uid);
  assert.deepEqual(picks, ['a', 'b', 'c', 'a', 'b', 'c']);
  const weighted = balancerOf([candidate('a', { weight: 5 }), candidate('b', { weight: 1 })], {
    balancing: { kind: 'round-robin' },
  });
  let b = 0;
  for (let i = 1; i <= 600; i++) {
    if (weighted.pick({}, () => 0.5, 0)?.uid === 'b') b++;
    assert.ok(Math.abs(b - i / 6) < 4, `after ${i}: ${b}`);
  }
});

test('least request: the busy one gets less, and with two always the idle one of a pair', () => {
  const list = ['a', 'b', 'c', 'd'].map((uid) => candidate(uid));
  (list[0] as (typeof list)[number]).activeRequests = 10;
  const drawn = shares(balancerOf(list));
  near(drawn['a'], 1 / 16, 0.02, 'only if both draws are a');
  const loaded = balancerOf([
    candidate('big', { weight: 4, activeRequests: 4 }),
    candidate('small', { weight: 1, activeRequests: 4 }),
  ]);
  near(shares(loaded)['small'], 1 / 25, 0.02, 'small is busier for its weight');
});

test('consistent hashing: the same hash, the same endpoint; few move when one comes or goes', () => {
  for (const ring of ['ring-hash', 'maglev'] as const) {
    const uids = Array.from({ length: 20 }, (_, i) => `pod-${i}`);
    const balancer = balancerOf(
      uids.map((uid) => candidate(uid)),
      { balancing: hashBy(ring, 8192) },
    );
    const other = balancerOf(
      uids.toReversed().map((uid) => candidate(uid)),
      { balancing: hashBy(ring, 8192) },
    );
    const at = (which: Balancer, now = 0) =>
      Array.from({ length: 2000 }, (_, i) => which.pick(byHash(i), Math.random, now)?.uid);
    const before = at(balancer);
    assert.deepEqual(before, at(balancer));
    assert.deepEqual(before, at(other), 'whatever order they came in');
    balancer.setHealthy('pod-3', false);
    const without = at(balancer);
    before.forEach((uid, i) => {
      if (uid !== 'pod-3') assert.equal(without[i], uid, 'the others stay');
      else assert.notEqual(without[i], 'pod-3');
    });
    assert.ok(new Set(without.filter((_, i) => before[i] === 'pod-3')).size > 3, 'its requests spread');
    balancer.setHealthy('pod-3', true);
    balancer.remove('pod-3');
    assert.ok(!at(balancer, 1).includes('pod-3'), 'gone at once, though the table is built later');
    const rebuilt = at(balancer, 1000);
    const moved = rebuilt.filter((uid, i) => before[i] !== 'pod-3' && uid !== before[i]).length;
    assert.ok(moved < 2000 * 0.08, `${ring}: ${moved} moved`);
  }
});

test('a retry looks for another endpoint, and takes the same one rather than none', () => {
  const balancer = balancerOf([candidate('a'), candidate('b')]);
  const drawn = shares(balancer, 1000, () => ({ avoid: new Set(['a']) }));
  near(drawn['b'], 1, 0.06, 'five attempts');
  const only = balancerOf([candidate('a')]);
  assert.equal(only.pick({ avoid: new Set(['a']) }, Math.random, 0)?.uid, 'a');
});

test('passthrough: the endpoint that was addressed, else any', () => {
  const balancer = balancerOf([candidate('a'), candidate('b')], { balancing: { kind: 'passthrough' } });
  assert.deepEqual(Object.keys(shares(balancer, 100, () => ({ addressed: 'b' }))), ['b']);
  assert.equal(Object.keys(shares(balancer, 100, () => ({ addressed: 'gone' }))).length, 2);
});

test('panic: below the threshold the unhealthy are used as well', () => {
  const list = ['a', 'b', 'c', 'd'].map((uid, i) => candidate(uid, { healthy: i === 0 }));
  const calm = balancerOf(
    list.map((one) => ({ ...one })),
    outliers(0),
  );
  assert.deepEqual(Object.keys(shares(calm, 100)), ['a']);
  assert.equal(calm.panicking, false);
  const panic = balancerOf(
    list.map((one) => ({ ...one })),
    outliers(50),
  );
  assert.equal(panic.panicking, true);
  assert.equal(Object.keys(shares(panic, 1000)).length, 4);
  panic.setHealthy('b', true);
  assert.equal(panic.panicking, false, '50 % is not below 50 %');
  const dead = balancerOf([candidate('a', { healthy: false })], outliers(50));
  assert.equal(dead.pick({}, Math.random, 0)?.uid, 'a');
});

test('warm-up: a newcomer gets a growing share', () => {
  const warmup = { durationMs: 1000, minimumPercent: 10, aggression: 1 };
  for (const kind of ['round-robin', 'random'] as const) {
    const list = [candidate('old'), candidate('old2'), candidate('new', { since: 0 })];
    const balancer = balancerOf(list, { warmup, balancing: { kind } });
    const at = (now: number) => shares(balancer, 10_000, undefined, now)['new'] ?? 0;
    if (kind === 'random') {
      near(at(100), 1 / 3, 0.03, 'random takes no notice, as upstream');
      continue;
    }
    assert.ok(at(0) < 0.12);
    assert.ok(at(100) < at(500) && at(500) < at(900));
    near(at(1000), 1 / 3, 0.02, 'warm');
  }
  const alone = balancerOf([candidate('new', { since: 0 })], { warmup });
  assert.equal(alone.pick({}, () => 0.99, 0)?.uid, 'new');
});

test('endpoints that come, go and change in any order: only those there and healthy are picked', () => {
  for (const balancing of kinds) {
    const random = seededRandom(23);
    const balancer = new Balancer({ balancing }, undefined, here);
    const usable = new Map<string, boolean>();
    for (let step = 0; step < 600; step++) {
      const uid = `p${Math.floor(random() * 12)}`;
      const draw = random();
      if (draw < 0.4) {
        const healthy = random() < 0.8;
        balancer.put(
          candidate(uid, { healthy, weight: 1 + Math.floor(random() * 3), locality: locality('r/z/s') }),
        );
        usable.set(uid, healthy);
      } else if (draw < 0.6) {
        balancer.remove(uid);
        usable.delete(uid);
      } else if (usable.has(uid)) {
        const healthy = random() < 0.5;
        balancer.setHealthy(uid, healthy);
        usable.set(uid, healthy);
      }
      const picked = balancer.pick({ hash: mix(step) }, random, step * 10)?.uid;
      if (picked === undefined) assert.ok(![...usable.values()].includes(true), `${balancing.kind} ${step}`);
      else assert.equal(usable.get(picked), true, `${balancing.kind} ${step}`);
    }
    assert.equal(balancer.size, usable.size);
  }
});
