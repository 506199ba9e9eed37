import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LoadBalancing, LocalityBalancing } from '#/model/index.ts';
import { levelLoads } from './level-loads.ts';
import { localityMatches } from './placement.ts';
import { balancerOf, candidate, locality, shares } from './test-candidates.ts';

const outliers = { intervalMs: 1, baseEjectionMs: 1, maxEjectionPercent: 100, minHealthPercent: 0 };

const places = ['r/z/s', 'r/z/t', 'r/y/s', 'q/z/s', 'p/z/s'];
const everywhere = () => places.map((place) => candidate(place, { locality: locality(place) }));

test('patterns of localities', () => {
  const rows: readonly [string, string, boolean][] = [
    ['r/z/s', 'r/z/s', true],
    ['r/z/s', 'r/z/t', false],
    ['r/z/*', 'r/z/t', true],
    ['r/*', 'r/z/t', true],
    ['r', 'r/z/t', true],
    ['*', 'r/z/t', true],
    ['r/*', 'q/z/t', false],
  ];
  for (const [pattern, place, wanted] of rows)
    assert.equal(localityMatches(pattern, locality(place)), wanted, `${pattern} ${place}`);
});

/** Who gets traffic while those before are gone, one after the other. */
function order(settings: LocalityBalancing, list = everywhere()): string {
  const balancer = balancerOf(list, { locality: settings, outliers });
  const steps: string[] = [];
  for (let i = 0; i < list.length && balancer.size > 0; i++) {
    const drawn = Object.keys(shares(balancer, 300)).toSorted();
    if (drawn.includes('none')) break;
    steps.push(drawn.join('+'));
    for (const uid of drawn) balancer.remove(uid);
  }
  return steps.join(' ');
}

test('failover: the same subzone, zone, region, then the region of the rule, then any', () => {
  assert.equal(order({ enabled: true }), 'r/z/s r/z/t r/y/s p/z/s+q/z/s');
  assert.equal(order({ enabled: true, failover: [{ from: 'r', to: 'p' }] }), 'r/z/s r/z/t r/y/s p/z/s q/z/s');
  assert.equal(order({ enabled: false }), 'p/z/s+q/z/s+r/y/s+r/z/s+r/z/t');
});

test('failover by labels, in their order', () => {
  const list = [
    candidate('both', { network: 'n', clusterId: 'c' }),
    candidate('network', { network: 'n', clusterId: 'd' }),
    candidate('cluster', { network: 'm', clusterId: 'c' }),
    candidate('neither', { network: 'm', clusterId: 'd' }),
  ];
  const enabled = true;
  assert.equal(
    order({ enabled, failoverPriority: ['topology.istio.io/network', 'topology.istio.io/cluster'] }, list),
    'both network cluster+neither',
  );
  assert.equal(
    order({ enabled, failoverPriority: ['topology.istio.io/network=m'] }, list),
    'cluster+neither both+network',
  );
  assert.equal(order({ enabled, failoverPriority: ['version'] }, list), 'both+cluster+neither+network');
});

test('without outlier detection localities do not matter, as upstream', () => {
  const balancer = balancerOf(everywhere(), { locality: { enabled: true } });
  assert.equal(Object.keys(shares(balancer, 1000)).length, 5);
});

test('distribute: shares by locality; what no rule names gets nothing', () => {
  const distribute = [
    { from: 'q/*', to: [{ locality: 'q/*', weight: 100 }] },
    {
      from: 'r/*',
      to: [
        { locality: 'r/*', weight: 20 },
        { locality: 'r/y/*', weight: 10 },
        { locality: 'q/z/s', weight: 70 },
      ],
    },
  ];
  const balancer = balancerOf(everywhere(), { locality: { enabled: true, distribute } });
  const drawn = shares(balancer);
  const wanted = { 'r/z/s': 0.1, 'r/z/t': 0.1, 'r/y/s': 0.1, 'q/z/s': 0.7 };
  assert.deepEqual(Object.keys(drawn).toSorted(), Object.keys(wanted).toSorted());
  for (const [uid, share] of Object.entries(wanted))
    assert.ok(Math.abs((drawn[uid] ?? 0) - share) < 0.02, uid);
  balancer.setHealthy('q/z/s', false);
  assert.equal(shares(balancer)['q/z/s'], undefined);
});

test("the service's own wish, by scopes", () => {
  const wish = (mode: LoadBalancing['mode'], ...routingPreference: LoadBalancing['routingPreference']) =>
    Object.keys(
      shares(
        balancerOf(
          everywhere().filter(({ uid }) => uid !== 'r/z/s'),
          {},
          { mode, routingPreference, healthPolicy: 'ONLY_HEALTHY' },
        ),
        500,
      ),
    )
      .toSorted()
      .join('+');
  assert.equal(wish('FAILOVER', 'REGION', 'ZONE', 'SUBZONE'), 'r/z/t');
  assert.equal(wish('FAILOVER', 'SUBZONE'), 'p/z/s+q/z/s+r/y/s');
  assert.equal(wish('STRICT', 'REGION', 'ZONE', 'SUBZONE'), 'none');
  assert.equal(wish('STRICT', 'REGION'), 'r/y/s+r/z/t');
  assert.equal(wish('UNSPECIFIED', 'REGION'), 'p/z/s+q/z/s+r/y/s+r/z/t');
});

test('levels: full at 71 % healthy, then the next takes what is left', () => {
  const loads = (panicPercent: number, ...levels: [number, number][]) =>
    levelLoads(
      levels.map(([healthy, total]) => ({ healthy, total })),
      panicPercent,
    ).map(({ load, panic }) => `${Math.round(load * 100)}${panic ? '!' : ''}`);
  const rows: readonly [number, [number, number][], string][] = [
    [
      50,
      [
        [100, 100],
        [100, 100],
      ],
      '100 0',
    ],
    [
      50,
      [
        [72, 100],
        [100, 100],
      ],
      '100 0',
    ],
    [
      50,
      [
        [71, 100],
        [100, 100],
      ],
      '99 1',
    ],
    [
      50,
      [
        [50, 100],
        [100, 100],
      ],
      '70 30',
    ],
    [
      50,
      [
        [0, 100],
        [100, 100],
      ],
      '0 100',
    ],
    [
      50,
      [
        [0, 0],
        [100, 100],
      ],
      '0 100',
    ],
    [
      50,
      [
        [25, 100],
        [25, 100],
      ],
      '50! 50!',
    ],
    [
      0,
      [
        [25, 100],
        [25, 100],
      ],
      '50 50',
    ],
    [
      50,
      [
        [5, 100],
        [65, 100],
      ],
      '7! 93',
    ],
    [
      50,
      [
        [0, 100],
        [0, 300],
      ],
      '25! 75!',
    ],
    [
      0,
      [
        [0, 100],
        [0, 300],
      ],
      '0 0',
    ],
    [50, [[0, 0]], '0'],
    [50, [], ''],
  ];
  for (const [panicPercent, levels, wanted] of rows)
    assert.equal(loads(panicPercent, ...levels).join(' '), wanted, JSON.stringify(levels));
});
