// `aura demo`, which is what `npm run demo` runs: the whole tour as a program, and what is left when it is ended.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { aura, eventually, hostNetwork, TestLab } from './test-lab.ts';

test('plays nine steps, exits with 0, leaves nothing', async () => {
  await using lab = new TestLab();
  const host = await hostNetwork();
  const result = await lab.aura('demo');
  assert.equal(result.code, 0, `${result.stdout}\n${result.stderr}`);
  assert.deepEqual(
    [...result.stdout.matchAll(/^== (\d)\. /gm)].map((match) => match[1]),
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
  );
  assert.match(result.stdout, /on the wire: GET \/get HTTP\/1\.1/);
  assert.match(result.stdout, /REDIRECT --to-ports 15001/);
  assert.match(result.stdout, /on the wire: .*\.15008: Flags/);
  assert.match(
    result.stdout,
    /error="connection closed due to policy rejection: explicitly denied by: ambient-demo\/deny-guest"/,
  );
  assert.match(result.stdout, /The tour is over: every check held/);
  assert.deepEqual(await lab.leftovers(), []);
  assert.equal(await hostNetwork(), host);
});

test('ended by Ctrl-C in the middle, it takes its lab down', async () => {
  await using lab = new TestLab();
  const child = spawn(aura, ['demo'], {
    env: { ...process.env, ...lab.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  const ended = new Promise<number | null>((done) => child.on('close', done));
  await eventually('the third step', () => output.includes('== 3.'), 60_000);
  // As a terminal does: to the whole group.
  process.kill(-(child.pid as number), 'SIGINT');
  assert.equal(await ended, 130);
  assert.match(output, /SIGINT: taking the lab down/);
  assert.deepEqual(await lab.leftovers(), []);
});

test('killed in the middle, down cleans; a user’s own lab is not touched', async () => {
  await using lab = new TestLab();
  const child = spawn(aura, ['demo'], {
    env: { ...process.env, ...lab.env },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  const ended = new Promise((done) => child.on('close', done));
  await eventually('the first step', () => output.includes('== 1.'), 60_000);
  process.kill(-(child.pid as number), 'SIGKILL');
  await ended;
  assert.notDeepEqual(await lab.leftovers(), []);
  await lab.must('lab', 'down');
  assert.deepEqual(await lab.leftovers(), []);
  await lab.up('--no-mesh', '--nodes', '1');
  const refused = await lab.aura('demo');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /there is a lab in .*, and the tour would take it down/);
  assert.match(await lab.must('lab', 'status'), /ready: running/);
});
