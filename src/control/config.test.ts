import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseControlPlaneConfig, parseDuration } from './config.ts';

test("without anything, the configuration is upstream's", () => {
  const config = parseControlPlaneConfig({});
  assert.deepEqual(config.listen, { host: '::', plain: 15010, tls: 15012, monitoring: 15014, ready: 8080 });
  assert.equal(config.namespace, 'istio-system');
  assert.equal(config.mesh.clusterId, 'Kubernetes');
  assert.deepEqual(config.ca.tokenAudiences, ['istio-ca']);
  assert.deepEqual(config.ca.trustedNodeAccounts, ['istio-system/ztunnel']);
  assert.equal(config.ca.defaultTtlSeconds, 86_400);
  assert.equal(config.ca.maxTtlSeconds, 7_776_000);
  assert.deepEqual([config.xds.debounceAfterMs, config.xds.debounceMaxMs], [100, 10_000]);
  assert.equal(config.mesh.upstreamCompat, false);
});

test('the environment is read, and a flag wins over it', () => {
  const config = parseControlPlaneConfig(
    {
      POD_NAMESPACE: 'mesh',
      CLUSTER_ID: 'east',
      TRUST_DOMAIN: 'a.example',
      PILOT_DEBOUNCE_AFTER: '1s',
      PILOT_ENABLE_XDS_IDENTITY_CHECK: 'false',
      AURA_UPSTREAM_COMPAT: '1',
    },
    { trustDomain: 'b.example', secureGrpcPort: '0', grpcPort: 'off', servingName: ['x.example'] },
  );
  assert.equal(config.mesh.rootNamespace, 'mesh');
  assert.equal(config.mesh.clusterId, 'east');
  assert.equal(config.mesh.trustDomain, 'b.example');
  assert.deepEqual(config.ca.trustedNodeAccounts, ['mesh/ztunnel']);
  assert.equal(config.xds.debounceAfterMs, 1000);
  assert.equal(config.xds.identityCheck, false);
  assert.equal(config.mesh.upstreamCompat, true);
  assert.deepEqual([config.listen.plain, config.listen.tls], [undefined, 0]);
  assert.deepEqual(config.serving.dnsNames, ['x.example']);
});

test('what cannot be read is refused by name', () => {
  assert.throws(
    () => parseControlPlaneConfig({ PILOT_DEBOUNCE_AFTER: 'soon' }),
    /PILOT_DEBOUNCE_AFTER="soon"/,
  );
  assert.throws(() => parseControlPlaneConfig({ AMBIENT_ENABLE_STATUS: 'maybe' }), /AMBIENT_ENABLE_STATUS/);
  assert.throws(() => parseControlPlaneConfig({}, { httpPort: '70000' }), /--http-port/);
  assert.throws(() => parseControlPlaneConfig({}, { logLevel: 'loud' }), /loud/);
});

test('durations are as Go writes them', () => {
  assert.deepEqual(['100ms', '1.5s', '1h30m', '0', '', '5', '1d'].map(parseDuration), [
    100,
    1500,
    5_400_000,
    0,
    undefined,
    undefined,
    undefined,
  ]);
});
