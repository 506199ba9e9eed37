import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ip } from '#/kit/index.ts';
import { destinationKey, hostnameKey, nameKey, parseMeshKey, peerKey } from './mesh-view.ts';

test('keys are read back, whatever the network is called', () => {
  for (const network of ['', 'net', 'a/b:c'])
    for (const ip of ['10.0.0.1', 'fd00::1'] as Ip[]) {
      assert.deepEqual(parseMeshKey(destinationKey(network, ip)), { kind: 'ip', network, ip });
      assert.deepEqual(parseMeshKey(peerKey(network, ip)), { kind: 'peer', network, ip });
    }
  assert.deepEqual(parseMeshKey(hostnameKey('a.b')), { kind: 'host', hostname: 'a.b' });
  assert.deepEqual(parseMeshKey(nameKey('*.b')), { kind: 'name', hostname: '*.b' });
});

test('other text is no key', () => {
  for (const text of [
    '',
    'ip:',
    'ip:10.0.0.1',
    'ip:net/',
    'host:',
    'name:',
    'svc:a/b',
    '10.0.0.1',
    'constructor:a/b',
  ])
    assert.equal(parseMeshKey(text), undefined, text);
});
