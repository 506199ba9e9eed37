import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { XdsResource } from './resource-source.ts';
import { ResourceTable, resourceVersion } from './resource-table.ts';

const resource = (name: string, text = name, more: Partial<XdsResource> = {}): XdsResource => {
  const bytes = Buffer.from(text);
  return { name, version: resourceVersion(bytes), resource: bytes, ...more };
};

test('a version is XXH64 with seed 0, in 16 digits', () => {
  for (const [text, version] of [
    ['', 'ef46db3751d8e999'],
    ['a', 'd24ec4f1a98c6e5b'],
    ['abc', '44bc2cf5ad770999'],
    ['Nobody inspects the spammish repetition', 'fbcea83c8a378bf1'],
  ] as const)
    assert.equal(resourceVersion(Buffer.from(text)), version);
});

suite('a table', () => {
  test('reports only what has really changed, once per application', () => {
    const table = new ResourceTable();
    const seen: string[][] = [];
    using _ = table.onChange((changed) => seen.push([...changed]));
    table.apply({ upserts: [resource('a'), resource('b')] });
    table.apply({ upserts: [resource('a'), resource('b', 'new')], removed: ['none'] });
    table.apply({ upserts: [resource('a')] });
    table.apply({ removed: ['b', 'b'] });
    assert.deepEqual(seen, [['a', 'b'], ['b'], ['b']]);
    assert.equal(table.size, 1);
    assert.equal(table.get('b'), undefined);
  });

  test('sees a change of bytes where there are no versions, and of aliases and groups', () => {
    const table = new ResourceTable();
    const one = resource('a', 'x', { version: '' });
    assert.equal(table.apply({ upserts: [one] }).size, 1);
    assert.equal(table.apply({ upserts: [{ ...one }] }).size, 0);
    assert.equal(table.apply({ upserts: [resource('a', 'y', { version: '' })] }).size, 1);
    assert.equal(table.apply({ upserts: [resource('a', 'y')] }).size, 1);
    assert.equal(table.apply({ upserts: [resource('a', 'y', { aliases: ['/1'] })] }).size, 1);
    assert.equal(table.apply({ upserts: [resource('a', 'y', { aliases: ['/1'], groups: ['g'] })] }).size, 1);
    assert.equal(table.apply({ upserts: [resource('a', 'y', { aliases: ['/1'], groups: ['g'] })] }).size, 0);
  });

  test('stops reporting to who has left', () => {
    const table = new ResourceTable();
    const seen: string[] = [];
    table.onChange((changed) => seen.push(...changed))[Symbol.dispose]();
    table.apply({ upserts: [resource('a')] });
    assert.deepEqual(seen, []);
  });

  test('finds by name first, then by alias, all that have it', () => {
    const table = new ResourceTable();
    table.apply({ upserts: [resource('ns/a', 'a', { aliases: ['n/10.0.0.1'] })] });
    const names = (name: string) => table.lookup(name).map((found) => found.name);
    assert.deepEqual(names('n/10.0.0.1'), ['ns/a']);
    // The index is made at the first look-up and kept afterwards.
    table.apply({ upserts: [resource('ns/b', 'b', { aliases: ['n/10.0.0.1', 'ns/a'] })] });
    assert.deepEqual(names('n/10.0.0.1'), ['ns/a', 'ns/b']);
    assert.deepEqual(names('ns/a'), ['ns/a']);
    table.apply({ upserts: [resource('ns/b', 'b2')] });
    assert.deepEqual(names('n/10.0.0.1'), ['ns/a']);
    table.apply({ removed: ['ns/a'] });
    assert.deepEqual(names('n/10.0.0.1'), []);
    assert.deepEqual(names('nobody'), []);
  });

  test('knows the members of a group', () => {
    const table = new ResourceTable();
    table.apply({
      upserts: [resource('w1', 'x', { groups: ['ns/a', 'ns/b'] }), resource('w2', 'x', { groups: ['ns/a'] })],
    });
    const names = (group: string) => table.members(group).map((found) => found.name);
    assert.deepEqual(names('ns/a'), ['w1', 'w2']);
    table.apply({ upserts: [resource('w1', 'x', { groups: ['ns/b'] })] });
    assert.deepEqual(names('ns/a'), ['w2']);
    assert.deepEqual(names('ns/b'), ['w1']);
  });
});
