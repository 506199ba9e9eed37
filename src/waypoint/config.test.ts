import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gatewayKey, parseWaypointConfig } from './config.ts';

const least = {
  POD_NAME: 'waypoint-1',
  POD_NAMESPACE: 'shop',
  SERVICE_ACCOUNT: 'waypoint',
  INSTANCE_IP: '10.1.0.9',
};

test('the least that the Deployment sets, and what holds then', () => {
  const config = parseWaypointConfig(least);
  assert.equal(gatewayKey(config), 'shop/waypoint');
  assert.deepEqual(config.ports, {
    hbone: 15008,
    admin: 15000,
    metrics: 15020,
    envoyMetrics: 15090,
    readiness: 15021,
  });
  assert.equal(config.http.maxHeadBytes, 60 * 1024);
  assert.equal(config.http.headTimeoutMs, 60_000);
  assert.equal(config.bodyTimeoutMs, 60_000);
  assert.ok(config.workers >= 1 && config.workers <= 2);
  assert.equal(config.forwardClientIdentity, false);
});

for (const name of Object.keys(least))
  test(`without ${name} it does not start`, () => {
    const { [name as keyof typeof least]: _none, ...rest } = least;
    assert.throws(() => parseWaypointConfig(rest), new RegExp(`${name} is not set`));
  });

test('what is set holds; what cannot be is refused by name', () => {
  const config = parseWaypointConfig({
    ...least,
    GATEWAY_NAME: 'gw',
    ISTIO_META_WORKLOAD_NAME: 'gw-waypoint',
    HTTP_BODY_TIMEOUT: '3s',
    WAYPOINT_WORKER_THREADS: '3',
    MAX_CONNECTIONS: '7',
  });
  assert.equal(gatewayKey(config), 'shop/gw');
  assert.equal(config.serviceName, 'gw-waypoint');
  assert.equal(config.bodyTimeoutMs, 3000);
  assert.equal(config.workers, 3);
  assert.equal(config.maxConnections, 7);
  for (const [name, value] of [
    ['MAX_CONNECTIONS', '0'],
    ['HBONE_PORT', '70000'],
    ['HTTP_HEADERS_TIMEOUT', 'soon'],
    ['WAYPOINT_WORKER_THREADS', '-1'],
  ] as const)
    assert.throws(() => parseWaypointConfig({ ...least, [name]: value }), new RegExp(name));
});
