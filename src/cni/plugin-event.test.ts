import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddEvent, pluginIps } from './plugin-event.ts';

test("addresses are written as Go's encoder writes them", () => {
  assert.deepEqual(
    pluginIps([
      { address: '10.244.1.5/24', gateway: '10.244.1.1', interface: 2 },
      { address: 'fd00::5/64' },
      { address: '10.0.0.1/31', interface: 0 },
    ]),
    [
      { Interface: 2, Address: { IP: '10.244.1.5', Mask: '////AA==' }, Gateway: '10.244.1.1' },
      { Interface: null, Address: { IP: 'fd00::5', Mask: '//////////8AAAAAAAAAAA==' }, Gateway: '' },
      { Interface: 0, Address: { IP: '10.0.0.1', Mask: '/////g==' }, Gateway: '' },
    ],
  );
  for (const address of ['10.0.0.1', '10.0.0.1/33', '/24', 'fd00::1/129', '10.0.0.1/x'])
    assert.throws(() => pluginIps([{ address }]), /ips\[0\]\.address/, address);
});

test('an event comes back as it was sent', () => {
  const event = {
    Netns: '/var/run/netns/x',
    PodName: 'p',
    PodNamespace: 'n',
    IPs: pluginIps([{ address: '10.0.0.1/24' }]),
  };
  assert.deepEqual(parseAddEvent(JSON.stringify({ ...event, Extra: 1 })), event);
  assert.deepEqual(parseAddEvent('{"Netns":"a","PodName":"p","PodNamespace":"n","IPs":null}').IPs, []);
});

test('garbage is refused by field', () => {
  const cases: [string, RegExp][] = [
    ['', /not JSON/],
    ['\u0000\u0001', /not JSON/],
    ['[]', /not a JSON object/],
    ['{}', /Netns is not/],
    ['{"Netns":"a","PodName":7}', /PodName is not/],
    ['{"Netns":"a","PodName":"p","PodNamespace":""}', /PodNamespace is not/],
    [`{"Netns":"${'a'.repeat(5000)}"}`, /Netns is longer/],
    ['{"Netns":"a","PodName":"p","PodNamespace":"n","IPs":{}}', /IPs is not a list/],
    ['{"Netns":"a","PodName":"p","PodNamespace":"n","IPs":[1]}', /IPs\[0\]\.Address\.IP/],
    [
      `{"Netns":"a","PodName":"p","PodNamespace":"n","IPs":${JSON.stringify(Array(65).fill({}))}}`,
      /65 entries/,
    ],
  ];
  for (const [text, message] of cases) assert.throws(() => parseAddEvent(text), message);
});
