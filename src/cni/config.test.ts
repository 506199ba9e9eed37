import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCniAgentConfig } from './config.ts';
import { defaultSelectors } from './selection.ts';

test('defaults need nothing but the name of the node', () => {
  const config = parseCniAgentConfig({ NODE_NAME: 'n1' });
  assert.equal(config.systemNamespace, 'istio-system');
  assert.equal(config.runDir, '/var/run/istio-cni');
  assert.equal(config.ztunnelSocket, '/var/run/ztunnel/ztunnel.sock');
  assert.deepEqual(config.excludeNamespaces, ['kube-system']);
  assert.deepEqual(config.selectors, defaultSelectors);
  assert.equal(config.capture.dnsCapture, true);
  assert.equal(config.capture.ipv6, true);
  assert.equal(config.reconcileOnStart, true);
  assert.equal(config.install.detectionRetry, true);
  assert.deepEqual([config.healthPort, config.metricsPort], [8000, 15014]);
  assert.equal(config.iptables, undefined);
});

test("upstream's names are read", () => {
  const config = parseCniAgentConfig({
    NODE_NAME: 'n1',
    POD_NAMESPACE: 'mesh',
    AMBIENT_DNS_CAPTURE: 'FALSE',
    AMBIENT_IPV6: '0',
    NATIVE_NFTABLES: 'true',
    FORCE_IPTABLES_BINARY: 'legacy',
    EXCLUDE_NAMESPACES: 'a, b,',
    HOST_PROBE_SNAT_IP: '169.254.1.1',
    ENABLE_AMBIENT_DETECTION_RETRY: 'false',
    AMBIENT_ENABLEMENT_SELECTOR: '- podSelector:\n    matchLabels: {a: b}\n',
    ZTUNNEL_UDS_ADDRESS: '/x/z.sock',
    CNI_AGENT_RUN_DIR: '/x/run',
    MONITORING_PORT: '0',
  });
  assert.equal(config.systemNamespace, 'mesh');
  assert.equal(config.capture.dnsCapture, false);
  assert.equal(config.capture.ipv6, false);
  assert.equal(config.capture.probeAddressV4, '169.254.1.1');
  assert.equal(config.iptables, 'legacy');
  assert.deepEqual(config.excludeNamespaces, ['a', 'b']);
  assert.equal(config.install.detectionRetry, false);
  assert.deepEqual(config.selectors, [{ podSelector: { matchLabels: { a: 'b' } } }]);
  assert.equal(config.metricsPort, 0);
});

test('a bad value is refused by its name', () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ NODE_NAME: '' }, /NODE_NAME is not set/],
    [{ AMBIENT_IPV6: 'maybe' }, /AMBIENT_IPV6="maybe": must be true or false/],
    [{ MONITORING_PORT: '70000' }, /MONITORING_PORT="70000"/],
    [{ HOST_PROBE_SNAT_IP: 'x' }, /HOST_PROBE_SNAT_IP="x": must be an IP/],
    [{ HOST_PROBE_SNAT_IP: '::1' }, /not an IPv4 address/],
    [{ FORCE_IPTABLES_BINARY: 'ebtables' }, /must be one of , nft, legacy/],
    [{ LOG_LEVEL: 'loud' }, /LOG_LEVEL="loud"/],
    [{ AMBIENT_ENABLEMENT_SELECTOR: 'a: [' }, /AMBIENT_ENABLEMENT_SELECTOR is not YAML/],
    [{ AMBIENT_ENABLEMENT_SELECTOR: 'a: b' }, /AMBIENT_ENABLEMENT_SELECTOR is not a list/],
  ];
  for (const [env, message] of cases)
    assert.throws(() => parseCniAgentConfig({ NODE_NAME: 'n1', ...env }), message);
});
