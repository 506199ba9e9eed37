import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  defaultNetworkConfig,
  parseNetworkConfig,
  pluginComplaint,
  readNetworkConfig,
} from './network-plugins.ts';

test('the first file by name is in force, one that is broken is passed over', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'aura-cni-'));
  t.after(() => rmSync(dir, { recursive: true }));
  assert.throws(() => readNetworkConfig(dir), /no network configuration in/);
  writeFileSync(join(dir, '00-broken.conf'), '{');
  assert.throws(() => readNetworkConfig(dir), /no valid network configuration in .*00-broken\.conf/);
  writeFileSync(join(dir, '10-aura-lab.conflist'), defaultNetworkConfig(['10.244.1.0/24']));
  writeFileSync(join(dir, 'notes.txt'), 'no');
  assert.equal(readNetworkConfig(dir).name, 'aura-lab');
  writeFileSync(join(dir, '02-first.conflist'), '{"name":"first","plugins":[{"type":"x"}]}');
  assert.equal(readNetworkConfig(dir).name, 'first');
});

test('a single plugin is a chain of one', () => {
  const config = parseNetworkConfig('{"name":"n","type":"bridge","cniVersion":"1.0.0"}');
  assert.deepEqual(
    config.plugins.map(({ type }) => type),
    ['bridge'],
  );
  assert.throws(() => parseNetworkConfig('{"plugins":[{"type":"x"}]}'), /no name/);
  assert.throws(() => parseNetworkConfig('{"name":"n","plugins":[{}]}'), /without a type/);
});

test('each range of a node becomes one of the pods’ addresses', () => {
  const config = parseNetworkConfig(defaultNetworkConfig(['10.244.1.0/24', 'fd00:10:244:1::/64']));
  const ipam = config.plugins[0]?.['ipam'] as { ranges: { subnet: string }[][] };
  assert.deepEqual(
    ipam.ranges.map(([range]) => range?.subnet),
    ['10.244.1.0/24', 'fd00:10:244:1::/64'],
  );
});

test('a plugin’s own words are kept, also when it breaks the protocol', () => {
  const said = (stdout: string, stderr = '') => pluginComplaint({ code: 1, stdout, stderr });
  assert.equal(said('{"code":100,"msg":"no","details":"really"}'), 'no: really');
  assert.equal(said('', 'panic: x'), 'panic: x');
  assert.equal(said(''), 'exit code 1');
});
