import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '#/kit/index.ts';
import { ResolvedNames } from './resolved-names.ts';

function setUp() {
  const clock = new ManualClock();
  const asked: string[] = [];
  let records = [{ address: '192.0.2.1', ttl: 1 }];
  const names = new ResolvedNames(clock, (name) => {
    asked.push(name);
    return Promise.resolve(records);
  });
  return { clock, asked, names, answer: (next: typeof records) => (records = next) };
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a name is asked for once by many, and an address is none', async () => {
  const { names, asked } = setUp();
  assert.equal(names.knows('a.example'), false);
  await Promise.all([names.resolve(['a.example']), names.resolve(['a.example'])]);
  assert.deepEqual(asked, ['a.example']);
  assert.deepEqual(names.addresses('a.example'), ['192.0.2.1']);
  assert.equal(names.knows('192.0.2.7'), true);
  assert.deepEqual(names.addresses('192.0.2.7'), ['192.0.2.7']);
  assert.equal(names.version, 1);
});

test('what is in use is asked for again, what is not is forgotten', async () => {
  const { clock, names, asked, answer } = setUp();
  await names.resolve(['used.example', 'once.example']);
  assert.equal(names.knows('used.example'), true);
  clock.advance(5001);
  answer([{ address: '192.0.2.2', ttl: 1 }]);
  names.sweep();
  await turn();
  assert.deepEqual(asked, ['used.example', 'once.example', 'used.example']);
  assert.deepEqual(names.addresses('used.example'), ['192.0.2.2']);
  assert.equal(names.knows('once.example'), false);
});

test('a name that has no addresses any more keeps its last ones', async () => {
  const { clock, names, answer } = setUp();
  await names.resolve(['a.example']);
  names.knows('a.example');
  clock.advance(5001);
  answer([]);
  names.sweep();
  await turn();
  assert.deepEqual(names.addresses('a.example'), ['192.0.2.1']);
});
