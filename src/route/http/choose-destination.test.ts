import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../test/mesh-records.ts';
import { chooseDestination, compileDestinations } from './choose-destination.ts';

const destination = (name: string) => ({ service: `ns/${name}`, port: 80 });

function shares(weights: readonly (readonly [string | undefined, number])[], draws = 20_000) {
  const choices = compileDestinations(
    weights.map(([name, weight]) => ({
      weight,
      ...(name !== undefined && { destination: destination(name) }),
    })),
    {},
    [],
  );
  const random = seededRandom(3);
  const seen: Record<string, number> = {};
  for (let i = 0; i < draws; i++) {
    const choice = chooseDestination(choices, random);
    const name = choice === undefined ? 'none' : (choice.reference.destination?.service ?? 'broken');
    seen[name] = (seen[name] ?? 0) + 1;
  }
  return seen;
}

test('shares follow the weights, broken references have theirs', () => {
  const seen = shares([
    ['a', 90],
    ['b', 9],
    [undefined, 1],
    ['never', 0],
  ]);
  assert.ok(Math.abs((seen['ns/a'] as number) / 20_000 - 0.9) < 0.01);
  assert.ok(Math.abs((seen['ns/b'] as number) / 20_000 - 0.09) < 0.01);
  assert.ok(Math.abs((seen['broken'] as number) / 20_000 - 0.01) < 0.005);
  assert.equal(seen['ns/never'], undefined);
});

test('no weight, no destination', () => {
  assert.deepEqual(shares([], 1), { none: 1 });
  assert.deepEqual(shares([['a', 0]], 1), { none: 1 });
  assert.deepEqual(
    shares(
      [
        ['a', 0],
        ['b', 0],
      ],
      1,
    ),
    { none: 1 },
  );
  assert.deepEqual(
    shares(
      [
        ['a', 0],
        ['b', 1],
      ],
      9,
    ),
    { 'ns/b': 9 },
  );
});

test('the edge of the random numbers', () => {
  const choices = compileDestinations(
    [
      { destination: destination('a'), weight: 1 },
      { destination: destination('b'), weight: 0 },
    ],
    {},
    [],
  );
  assert.equal(chooseDestination(choices, () => 1)?.reference.destination?.service, 'ns/a');
});

test('what the rule and the reference add', () => {
  const [choice] = compileDestinations(
    [
      {
        destination: destination('a'),
        weight: 1,
        requestHeaders: { set: [{ name: 'b', value: '2' }] },
        mirrors: [{ destination: destination('m2'), fraction: 1 }],
        rewrite: { authority: 'own' },
      },
    ],
    {
      requestHeaders: { set: [{ name: 'a', value: '1' }] },
      mirrors: [{ destination: destination('m1'), fraction: 1 }],
      rewrite: { authority: 'rule', path: { kind: 'full', value: '/x' } },
    },
    [],
  ).choices;
  assert.deepEqual(choice?.requestHeaders, [
    { set: [{ name: 'a', value: '1' }] },
    { set: [{ name: 'b', value: '2' }] },
  ]);
  assert.deepEqual(
    choice?.mirrors.map((mirror) => mirror.destination.service),
    ['ns/m1', 'ns/m2'],
  );
  assert.equal(choice?.rewrite?.authority, 'own');
  assert.equal(choice?.rewrite?.path?.('/y', undefined), '/x');
});
