import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CommandError, checkCommand, outputLimit, runCommand } from './command.ts';
import { fakeCommands } from './fake-command.ts';
import { processUsage } from './process-usage.ts';

test('output, error output, exit code and input', async () => {
  const script = 'read line; echo "got $line"; echo oops >&2; exit 3';
  assert.deepEqual(await runCommand(['sh', '-c', script], { input: 'hello\n' }), {
    code: 3,
    stdout: 'got hello\n',
    stderr: 'oops\n',
  });
});

test('a command ended by a signal has the code that a shell would show', async () => {
  assert.equal((await runCommand(['sh', '-c', 'kill -TERM $$'])).code, 143);
});

test('input that nobody reads is no error', async () => {
  assert.equal((await runCommand(['true'], { input: 'x'.repeat(1_000_000) })).code, 0);
});

test('the environment is the one given, or a plain one', async () => {
  const { stdout } = await runCommand(['/usr/bin/env'], { env: { A: 'b' } });
  assert.equal(stdout, 'A=b\n');
  assert.match((await runCommand(['env'])).stdout, /^PATH=.*\/usr\/sbin/m);
});

test('a missing command is an error that names it, and the Debian package where one is known', async () => {
  await assert.rejects(runCommand(['no-such-command', '-x']), {
    name: 'CommandError',
    message: "no-such-command -x: command 'no-such-command' not found",
  });
  await assert.rejects(runCommand(['iptables'], { env: { PATH: '/nowhere' } }), {
    message: "iptables: command 'iptables' not found; install the Debian package iptables",
  });
});

test('after the timeout the command and its children are killed', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'command-'));
  const file = join(directory, 'pid');
  const script = 'sleep 60 & echo $! > "$0"; wait';
  await assert.rejects(
    runCommand(['sh', '-c', script, file], { timeoutMs: 200 }),
    (error) => error instanceof CommandError && /killed: not finished after 200 ms/.test(error.message),
  );
  const pid = Number(readFileSync(file, 'utf8'));
  rmSync(directory, { recursive: true });
  // Killed, but perhaps not yet buried by its new parent.
  for (let i = 0; i < 1000 && (processUsage(pid)?.rssBytes ?? 0) > 0; i++)
    await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok((processUsage(pid)?.rssBytes ?? 0) === 0);
});

test('too much output is an error, not a full memory', async () => {
  await assert.rejects(runCommand(['yes']), new RegExp(`more than ${outputLimit} bytes on stdout`));
});

test('an abort kills the command', async () => {
  const controller = new AbortController();
  const running = runCommand(['sleep', '60'], { signal: controller.signal });
  controller.abort(new Error('enough'));
  await assert.rejects(running, /killed: aborted/);
  await assert.rejects(runCommand(['true'], { signal: controller.signal }), /enough/);
});

test('checkCommand gives the output, or the reason that the command printed', async () => {
  assert.equal(await checkCommand(['echo', 'fine']), 'fine\n');
  await assert.rejects(checkCommand(['sh', '-c', 'echo bad >&2; exit 2']), {
    message: 'sh -c echo bad >&2; exit 2: exit code 2: bad',
  });
});

test('an empty command is a mistake of the caller', async () => {
  await assert.rejects(runCommand([]), /needs a program/);
});

test('the fake records what was asked and answers as told', async () => {
  const fake = fakeCommands((argv) => (argv[0] === 'ip' ? { stdout: 'lo' } : { code: 1 }));
  assert.deepEqual(await fake.run(['ip', 'link']), { code: 0, stdout: 'lo', stderr: '' });
  assert.equal((await fake.run(['x'])).code, 1);
  assert.deepEqual(
    fake.calls.map((call) => call.argv.join(' ')),
    ['ip link', 'x'],
  );
});
