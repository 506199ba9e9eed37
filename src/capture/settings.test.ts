import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CaptureError,
  captureDefaults,
  ipset,
  nftAddProbe,
  parseIpset,
  parseNftSet,
  podRules,
  podSettings,
} from './index.ts';

test('annotations override the settings of the node', () => {
  const cases: [Record<string, string>, object][] = [
    [{}, {}],
    [{ 'ambient.istio.io/bypass-inbound-capture': 'true' }, { bypassInbound: true }],
    [{ 'ambient.istio.io/dns-capture': 'False' }, { dnsCapture: false }],
    [{ 'ambient.istio.io/dns-capture': '' }, {}],
    [{ 'istio.io/reroute-virtual-interfaces': 'eth1, eth2,,eth1' }, { rerouteInterfaces: ['eth1', 'eth2'] }],
  ];
  for (const [annotations, change] of cases)
    assert.deepEqual(podSettings(captureDefaults, annotations), { ...captureDefaults, ...change });
});

test('what cannot stand in a rule is refused by name', () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ 'ambient.istio.io/dns-capture': 'maybe' }, /dns-capture="maybe" is neither/],
    [{ 'ambient.istio.io/bypass-inbound-capture': '1' }, /bypass-inbound-capture="1"/],
    [{ 'istio.io/reroute-virtual-interfaces': 'eth0 -j ACCEPT' }, /"eth0 -j ACCEPT" cannot be rerouted/],
    [{ 'istio.io/reroute-virtual-interfaces': 'a\nCOMMIT' }, /cannot be rerouted/],
    [{ 'istio.io/reroute-virtual-interfaces': 'eth+' }, /cannot be rerouted/],
    [{ 'istio.io/reroute-virtual-interfaces': '-j' }, /cannot be rerouted/],
    [{ 'istio.io/reroute-virtual-interfaces': 'abcdefghijklmnop' }, /up to 15/],
    [
      { 'istio.io/reroute-virtual-interfaces': Array.from({ length: 65 }, (_, i) => `e${i}`).join(',') },
      /65 interfaces/,
    ],
  ];
  for (const [annotations, message] of cases)
    assert.throws(
      () => podSettings(captureDefaults, annotations),
      (error) => {
        assert.ok(error instanceof CaptureError);
        assert.match(error.message, message);
        return true;
      },
    );
  assert.throws(() => podRules({ ...captureDefaults, probeAddressV4: '::1' as never }, 4), CaptureError);
  assert.throws(() => podRules({ ...captureDefaults, probeAddressV6: '1.2.3.4' as never }, 6), CaptureError);
});

test('set members are read as the tools print them', () => {
  assert.deepEqual(
    parseIpset(
      'create istio-inpod-probes-v4 hash:ip family inet hashsize 1024 maxelem 65536 comment bucketsize 12 initval 0x1\n' +
        'add istio-inpod-probes-v4 10.0.0.5 comment "3ab72f78-8e2b"\nadd istio-inpod-probes-v4 10.0.0.6\n',
    ),
    [
      { ip: '10.0.0.5', uid: '3ab72f78-8e2b' },
      { ip: '10.0.0.6', uid: '' },
    ],
  );
  assert.deepEqual(
    parseNftSet(
      '{"nftables":[{"metainfo":{}},{"set":{"name":"x","elem":[{"elem":{"val":"10.0.0.5","comment":"u-1"}},"10.0.0.6"]}}]}',
    ),
    [
      { ip: '10.0.0.5', uid: 'u-1' },
      { ip: '10.0.0.6', uid: '' },
    ],
  );
  assert.throws(() => ipset.add(4, { ip: '10.0.0.1', uid: '"; flush' }), RangeError);
  assert.throws(() => nftAddProbe(4, { ip: '10.0.0.1', uid: 'a b' }), RangeError);
});
