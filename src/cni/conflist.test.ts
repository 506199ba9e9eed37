import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  conflistName,
  ConflistError,
  holdsEntry,
  parseConflist,
  primaryConf,
  withEntry,
  withoutEntry,
} from './conflist.ts';

const entry = { type: 'aura-cni', name: 'aura-cni', ambient_enabled: true };
const list = (...types: string[]) =>
  JSON.stringify({
    cniVersion: '1.0.0',
    name: 'net',
    extra: { a: 1 },
    plugins: types.map((type) => ({ type })),
  });

test('our entry is put in last, once, and taken out again', () => {
  const parsed = parseConflist(list('bridge', 'portmap'), 'x');
  assert.equal(holdsEntry(parsed, entry), false);
  const chained = parseConflist(withEntry(parsed, entry, 'x'), 'x');
  assert.deepEqual(chained, { ...parsed, plugins: [{ type: 'bridge' }, { type: 'portmap' }, entry] });
  assert.equal(holdsEntry(chained, entry), true);
  assert.equal(withEntry(chained, entry, 'x'), withEntry(parsed, entry, 'x'));
  assert.deepEqual(JSON.parse(withoutEntry(chained) ?? ''), parsed);
  assert.equal(withoutEntry(parsed), undefined);
});

test('an entry that is old, doubled, or not last is no longer ours', () => {
  for (const plugins of [
    [{ type: 'bridge' }, { ...entry, ambient_enabled: false }],
    [{ type: 'bridge' }, entry, entry],
    [{ type: 'bridge' }, entry, { type: 'portmap' }],
    [{ type: 'bridge' }, { ...entry, type: 'istio-cni' }, entry],
  ]) {
    const parsed = { plugins };
    assert.equal(holdsEntry(parsed, entry), false);
    const types = parseConflist(withEntry(parsed, entry, 'x'), 'x').plugins.map(({ type }) => type);
    assert.equal(types.filter((type) => type === 'aura-cni' || type === 'istio-cni').length, 1);
    assert.equal(types.at(-1), 'aura-cni');
  }
});

test('a single plugin becomes a list of two', () => {
  const parsed = parseConflist('{"cniVersion":"0.3.1","name":"a","type":"calico","ipam":{}}', '10-a.conf');
  assert.deepEqual(JSON.parse(withEntry(parsed, entry, '10-a.conf')), {
    name: 'k8s-pod-network',
    cniVersion: '0.3.1',
    plugins: [{ name: 'a', type: 'calico', ipam: {} }, entry],
  });
  assert.equal(conflistName('10-a.conf'), '10-a.conflist');
  assert.equal(conflistName('10-a.conflist'), '10-a.conflist');
});

test('the file in use is the first valid one of others', () => {
  const files = [
    { name: '99-z.conflist', text: list('z') },
    { name: '02-istio-cni.conflist', text: list('bridge', 'aura-cni') },
    { name: '05-broken.conflist', text: '{' },
    { name: '06-own.conflist', text: list('istio-cni') },
    { name: '07-other.txt', text: list('t') },
    { name: '10-bridge.conf', text: '{"type":"bridge"}' },
  ];
  assert.equal(primaryConf(files, '02-istio-cni.conflist')?.name, '10-bridge.conf');
  assert.equal(primaryConf([], 'x'), undefined);
});

test('what a runtime would not take is refused by file', () => {
  const cases: [string, RegExp][] = [
    ['{', /f is not JSON/],
    ['[]', /f is not a JSON object/],
    ['{}', /f has neither "plugins" nor "type"/],
    ['{"plugins":[{}]}', /f has a plugin without a type/],
  ];
  for (const [text, message] of cases)
    assert.throws(
      () => parseConflist(text, 'f'),
      (error) => {
        assert.ok(error instanceof ConflistError);
        assert.match(error.message, message);
        return true;
      },
    );
  assert.throws(() => withEntry({ plugins: [entry] }, entry, 'f'), /no plugin that makes a network/);
});
