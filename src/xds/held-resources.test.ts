import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decodeDeltaResponse, encodeRemovals, encodeResourceEntry } from '#/wire/index.ts';
import { HeldResources, type Push, type Rejection } from './held-resources.ts';

const entry = (name: string, version = '1', typeUrl = 't') =>
  encodeResourceEntry({ name, version, typeUrl, resource: Buffer.from(name) });
const response = (entries: readonly Uint8Array[], removed: readonly string[] = []) =>
  decodeDeltaResponse(Buffer.concat([...entries, encodeRemovals(removed)]));

function harness(onDemand = false) {
  const held = new HeldResources('t', onDemand);
  const pushes: Push[] = [];
  const take = (
    entries: readonly Uint8Array[],
    removed: readonly string[] = [],
    rejections: readonly Rejection[] = [],
  ) =>
    held.take(response(entries, removed), (push) => {
      pushes.push(push);
      return rejections;
    }).error;
  return { held, pushes, take, versions: () => held.firstRequest(true).initialResourceVersions };
}

suite('a push', () => {
  test('is handed over and accepted, and its versions are told at the next connection', () => {
    const { take, pushes, versions } = harness();
    assert.equal(take([entry('a'), entry('b')]), undefined);
    assert.equal(take([entry('a', '2')], ['b']), undefined);
    assert.deepEqual(
      pushes.map(({ first, upserts, removed }) => [
        first,
        upserts.map(({ name, version }) => `${name}@${version}`),
        removed,
      ]),
      [
        [true, ['a@1', 'b@1'], []],
        [false, ['a@2'], ['b']],
      ],
    );
    assert.deepEqual(versions(), { a: '2' });
  });

  test('is rejected by name; what is rejected keeps its last good version, or none', () => {
    const { take, versions } = harness();
    take([entry('a')]);
    const error = take(
      [entry('a', '2'), entry('b'), entry('c')],
      [],
      [
        { name: 'a', reason: 'bad port' },
        { name: 'b', reason: 'bad range' },
      ],
    );
    assert.equal(error, 'a: bad port; b: bad range');
    assert.deepEqual(versions(), { a: '1', c: '1' });
  });

  test('with a resource of another type, of none or without a name is rejected for that one', () => {
    const { take, pushes } = harness();
    const bare = Buffer.from('1203 1a0161'.replace(' ', ''), 'hex');
    assert.equal(
      take([entry('a'), entry('x', '1', 'other'), bare, entry('')]),
      'x: expected t, got other; a: expected t, got nothing; : a resource without a name',
    );
    assert.deepEqual(
      pushes[0]?.upserts.map(({ name }) => name),
      ['a'],
    );
  });

  test('whose handler throws is rejected as a whole', () => {
    const { held, versions } = harness();
    const { error } = held.take(response([entry('a'), entry('b')]), () => {
      throw new Error('out of order');
    });
    assert.equal(error, 'a: out of order; b: out of order');
    assert.deepEqual(versions(), {});
    const bare = held.take(response([], ['a']), () => {
      throw new Error('out of order');
    });
    assert.equal(bare.error, 'out of order');
  });

  test('with very many faults is answered in a bounded text', () => {
    const { take } = harness();
    const rejections = Array.from({ length: 10_000 }, (_, i) => ({ name: `name-${i}`, reason: 'bad' }));
    const error = take([], [], rejections);
    assert.ok(error !== undefined && error.length < 33_000);
    assert.match(error, /^name-0: bad; name-1: bad; .*; and \d+ more$/);
    assert.match(take([], [], [{ name: 'n', reason: 'x'.repeat(100_000) }]) ?? '', /^n: x+…; and 1 more$/);
  });
});

suite('the first request', () => {
  test('of a wildcard type names nothing', () => {
    assert.deepEqual(harness().held.firstRequest(true), {
      typeUrl: 't',
      resourceNamesSubscribe: [],
      resourceNamesUnsubscribe: [],
      initialResourceVersions: {},
    });
  });

  test('of an on-demand type takes "*" and gives it back, and names what is wanted', () => {
    const { held } = harness(true);
    assert.deepEqual(held.want(['a', 'b', 'a']), ['a', 'b']);
    assert.deepEqual(held.want(['b', 'c']), ['c']);
    assert.deepEqual(held.unwant(['a', 'x']), ['a']);
    const { resourceNamesSubscribe, resourceNamesUnsubscribe } = held.firstRequest(true);
    assert.deepEqual([resourceNamesSubscribe, resourceNamesUnsubscribe], [['*', 'b', 'c'], ['*']]);
  });

  test('does not tell versions that would not fit; then all that is not sent again is gone', () => {
    const { held, take, pushes, versions } = harness();
    const many = Array.from({ length: 40_000 }, (_, i) => entry(`${'n'.repeat(70)}${i}`));
    take(many);
    assert.deepEqual(versions(), {});
    take(many.slice(0, 39_998));
    assert.deepEqual(
      pushes[1]?.removed.map((name) => name.replaceAll('n', '')),
      ['39998', '39999'],
    );
    assert.equal(held.size, 39_998);
    // Only the first response after a connection tells everything.
    take([entry('a')]);
    assert.deepEqual(pushes[2]?.removed, []);
  });

  test('can be made without versions, when a server has refused them', () => {
    const { held, take, pushes } = harness();
    take([entry('a'), entry('b')]);
    assert.deepEqual(held.firstRequest(false).initialResourceVersions, {});
    take([entry('a')], ['b']);
    assert.deepEqual(pushes[1]?.removed, ['b']);
  });
});
