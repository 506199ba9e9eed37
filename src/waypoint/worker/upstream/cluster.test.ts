import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, type Ip } from '#/kit/index.ts';
import type { TrafficSettings } from '#/model/index.ts';
import { Cluster, type ChosenEndpoint, type ListedEndpoint, type PickFailure } from './cluster.ts';
import type { Tunnels } from './open-channel.ts';

const limits = {
  maxHeadBytes: 10_000,
  maxHeaders: 100,
  maxTrailers: 100,
  maxConcurrentStreams: 100,
  headTimeoutMs: 1000,
  idleTimeoutMs: 100_000,
};
const place = { locality: { region: '', zone: '', subzone: '' } };

const endpoint = (uid: string, healthy = true): ListedEndpoint => ({
  uid,
  workload: undefined,
  to: { address: { ip: '10.0.0.1' as Ip, port: 80 } },
  weight: 1,
  healthy,
});

function clusterOf(settings: TrafficSettings, endpoints: readonly ListedEndpoint[]): Cluster {
  const cluster = new Cluster(settings, undefined, {
    // No connection is opened here.
    tunnels: {} as Tunnels,
    limits,
    clock: new ManualClock(),
    here: place,
    declared: undefined,
  });
  cluster.update(endpoints, 0);
  return cluster;
}

const anyone = { hash: undefined, setCookie: undefined, avoid: undefined, addressed: undefined };

function chosen(picked: ChosenEndpoint | PickFailure): ChosenEndpoint {
  assert.ok(!('kind' in picked), 'message' in picked ? picked.message : '');
  return picked;
}

test('so many retries may be under way, and no more until one is over', () => {
  const cluster = clusterOf({ limits: { maxRetries: 2 } }, [endpoint('a')]);
  const first = cluster.admitRetry();
  assert.ok(first !== undefined && cluster.admitRetry() !== undefined);
  assert.equal(cluster.admitRetry(), undefined);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.ok(cluster.admitRetry() !== undefined, 'a place that is given back twice is one place');
  assert.equal(cluster.admitRetry(), undefined);
});

test('so many requests may be open', () => {
  const cluster = clusterOf({ limits: { maxRequests: 1 } }, [endpoint('a')]);
  const one = chosen(cluster.choose(anyone, 0));
  one.begin();
  assert.deepEqual(cluster.choose(anyone, 0), {
    kind: 'overflow',
    message: 'the limit of requests is reached',
  });
  one.finish({ kind: 'response', status: 200 });
  one.finish({ kind: 'response', status: 200 });
  chosen(cluster.choose(anyone, 0));
  assert.equal('kind' in cluster.choose(anyone, 0), true);
});

test('an endpoint that fails in a row is left out, and comes back', () => {
  const outliers = {
    consecutive5xx: 2,
    intervalMs: 1000,
    baseEjectionMs: 1000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
  };
  const cluster = clusterOf({ outliers }, [endpoint('a'), endpoint('b')]);
  const uids = (): Set<string> => {
    const seen = new Set<string>();
    for (let i = 0; i < 50; i++) {
      const one = chosen(cluster.choose(anyone, 0));
      one.begin();
      one.finish({ kind: 'abandoned' });
      seen.add(one.uid);
    }
    return seen;
  };
  assert.deepEqual(uids(), new Set(['a', 'b']));
  for (let i = 0; i < 100; i++) {
    const one = chosen(cluster.choose(anyone, 0));
    one.begin();
    one.finish({ kind: 'response', status: one.uid === 'a' ? 503 : 200 });
  }
  assert.deepEqual(uids(), new Set(['b']));
  cluster.tick(performance.now() + 60_000);
  cluster.tick(performance.now() + 120_000);
  assert.deepEqual(uids(), new Set(['a', 'b']));
});

test('nobody there, nobody well', () => {
  assert.deepEqual(clusterOf({}, []).choose(anyone, 0), {
    kind: 'none',
    message: 'the destination has no endpoint',
  });
  const ill = clusterOf({}, [endpoint('a', false)]);
  assert.deepEqual(ill.choose(anyone, 0), { kind: 'none', message: 'none of 1 endpoints is healthy' });
});
