// Endpoints for tests, and how often each is picked.
import type { TrafficSettings } from '#/model/index.ts';
import { seededRandom } from '../../../../test/mesh-records.ts';
import { Balancer, type PickRequest } from './balancer.ts';
import type { Candidate } from './candidate.ts';

/** `region/zone/subzone`. */
export function locality(text: string) {
  const [region = '', zone = '', subzone = ''] = text.split('/');
  return { region, zone, subzone };
}

export const candidate = (uid: string, more: Partial<Candidate> = {}): Candidate => ({
  uid,
  locality: locality('r/z/s'),
  weight: 1,
  healthy: true,
  activeRequests: 0,
  ...more,
});

export const here = { locality: locality('r/z/s'), network: 'n', clusterId: 'c', node: 'node-1' };

export function balancerOf(
  candidates: readonly Candidate[],
  settings: TrafficSettings = {},
  service?: ConstructorParameters<typeof Balancer>[1],
): Balancer {
  const balancer = new Balancer(settings, service, here);
  for (const one of candidates) balancer.put(one);
  return balancer;
}

/** Shares of the picks, by uid; `none` for no pick. */
export function shares(
  balancer: Balancer,
  draws = 10_000,
  request: (i: number) => PickRequest = () => ({}),
  now = 0,
): Record<string, number> {
  const random = seededRandom(11);
  const seen: Record<string, number> = {};
  for (let i = 0; i < draws; i++) {
    const uid = balancer.pick(request(i), random, now)?.uid ?? 'none';
    seen[uid] = (seen[uid] ?? 0) + 1 / draws;
  }
  return seen;
}
