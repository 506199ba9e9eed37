// Traffic through a waypoint, as the ambient suite of Istio has it: by address and name, from the same and another node,
// protocol by protocol, and what happens when waypoints come, go and change.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { controlPlane, seen, throughWaypoint, WaypointLab, worker } from './waypoint-lab.ts';

describe('traffic through a waypoint', () => {
  const mesh = new WaypointLab();
  before(() => mesh.start());
  after(() => mesh[Symbol.asyncDispose]());

  for (const [where, node] of [
    ['the same node', worker],
    ['another node', controlPlane],
  ] as const)
    test(`a service is called through its waypoint from ${where}, by address and by names`, async () => {
      const vip = (
        await mesh.lab.mustKubectl(['get', 'svc', '-n', 'shop', 'app-v1', '-o', 'jsonpath={.spec.clusterIP}'])
      ).trim();
      for (const host of [vip, 'app-v1', 'app-v1.shop', 'app-v1.shop.svc', 'app-v1.shop.svc.cluster.local']) {
        const call = await mesh.call(`http://${host}/get`, { node });
        assert.ok(throughWaypoint(call), host);
        assert.match(seen(call).pod, /^app-v1-/);
      }
    });
});
