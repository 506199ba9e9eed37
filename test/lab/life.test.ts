// How labs begin and end: side by side, interrupted, killed, half-built.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { cgroupRoot, killCgroup } from '#/lab/index.ts';
import { aura, eventually, hostNetwork, runProgram, TestLab } from './test-lab.ts';

/** Starts the command and ends it by `signal` after `ms`; resolves when it is gone. */
function interrupted(
  lab: TestLab,
  args: readonly string[],
  ms: number,
  signal: NodeJS.Signals,
): Promise<void> {
  return new Promise((done) => {
    const child = spawn(aura, args, { env: { ...process.env, ...lab.env }, stdio: 'ignore', detached: true });
    const timer = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    }, ms);
    child.on('close', () => {
      clearTimeout(timer);
      done();
    });
  });
}

describe('a lab that was interrupted', () => {
  for (const [signal, moments] of [
    ['SIGKILL', [60, 200, 500, 1200]],
    ['SIGINT', [150, 800]],
  ] as const)
    test(`up ended by ${signal}: the next down cleans, or the next up finishes`, async () => {
      const host = await hostNetwork();
      for (const [i, ms] of moments.entries()) {
        await using lab = new TestLab();
        await interrupted(lab, ['lab', 'up', '--no-mesh', '--nodes', '2'], ms, signal);
        if (i % 2 === 0) {
          await lab.must('lab', 'down');
          assert.deepEqual(await lab.leftovers(), [], `after ${ms} ms`);
        } else {
          await lab.up('--no-mesh', '--nodes', '2');
          assert.match(await lab.must('lab', 'status'), /ready: running/);
        }
      }
      assert.equal(await hostNetwork(), host);
    });

  test('down ended by SIGKILL: the next down finishes', async () => {
    await using lab = new TestLab();
    await lab.up('--no-mesh', '--nodes', '2');
    await interrupted(lab, ['lab', 'down'], 130, 'SIGKILL');
    await lab.must('lab', 'down');
    assert.deepEqual(await lab.leftovers(), []);
  });

  test('a lab whose state file is gone is still found and removed', async () => {
    await using lab = new TestLab();
    await lab.up('--no-mesh', '--nodes', '1');
    rmSync(lab.paths.config);
    await lab.must('lab', 'down');
    assert.deepEqual(await lab.leftovers(), []);
  });

  test('a state file that is none is not followed', async () => {
    await using lab = new TestLab();
    mkdirSync(lab.paths.home, { recursive: true });
    writeFileSync(lab.paths.config, 'no state');
    for (const command of ['up', 'down', 'status'])
      assert.match((await lab.aura('lab', command)).stderr, /is not a lab's state file/);
    rmSync(lab.paths.config);
  });

  test('a folder with somebody else’s files is not taken, and nothing in it is removed', async () => {
    await using lab = new TestLab();
    const theirs = join(lab.paths.home, 'pods', 'mine.txt');
    mkdirSync(join(lab.paths.home, 'pods'), { recursive: true });
    writeFileSync(theirs, 'mine');
    assert.match(
      (await lab.aura('lab', 'up', '--no-mesh')).stderr,
      /has files that are not a lab's \(pods\)/,
    );
    await lab.must('lab', 'down');
    assert.ok(existsSync(theirs));
  });

  test('what is not the lab’s stays in its folder', async () => {
    await using lab = new TestLab();
    await lab.up('--no-mesh', '--nodes', '1');
    const mine = join(lab.paths.home, 'my-notes.txt');
    writeFileSync(mine, 'mine');
    await lab.must('lab', 'down');
    assert.ok(existsSync(mine));
  });

  test('two commands on one lab do not mix', async () => {
    await using lab = new TestLab();
    const first = lab.aura('lab', 'up', '--no-mesh', '--nodes', '1');
    await eventually('the lock', () => existsSync(lab.paths.lock));
    assert.match((await lab.aura('lab', 'down')).stderr, /'aura lab up' \(pid \d+\) is working on this lab/);
    assert.equal((await first).code, 0);
  });
});

test('two labs run side by side, each with its own network and objects', async () => {
  await using one = new TestLab('one');
  await using other = new TestLab('other');
  await Promise.all([
    one.up('--no-mesh', '--nodes', '1'),
    other.up('--no-mesh', '--nodes', '1', '--ip-families', 'ipv6'),
  ]);
  assert.notEqual(one.paths.id, other.paths.id);
  await one.mustKubectl(['create', 'namespace', 'only-here']);
  assert.equal((await other.kubectl(['get', 'namespace', 'only-here'])).code, 1);
  await other.must('lab', 'down');
  assert.deepEqual(await other.leftovers(), []);
  assert.match(await one.must('lab', 'status'), /ready: running/);
});

test('IPv6 alone: names, services and addresses', async () => {
  await using lab = new TestLab();
  await lab.up('--no-mesh', '--ip-families', 'ipv6', '-f', 'samples/ambient-demo.yaml');
  const answer = await lab.curl('-n ambient-demo ds/debug --node ambient-worker', 'http://httpbin/ip');
  assert.match(String(answer['origin']), /^fd00:10:244:1::/);
  assert.doesNotMatch(await lab.mustKubectl(['get', 'pods', '-A', '-o', 'wide']), /10\.244\./);
});

test('the programs of a lab that were killed come back, and pods do not notice', async (t) => {
  await using lab = new TestLab();
  await lab.up('--no-mesh', '-f', 'samples/ambient-demo.yaml');
  const debug = '-n ambient-demo ds/debug --node ambient-worker';
  const restarts = (): Promise<string> =>
    lab.mustKubectl([
      'get',
      'pods',
      '-A',
      '-o',
      'jsonpath={.items[*].status.containerStatuses[*].restartCount}',
    ]);
  const uids = (): Promise<string> =>
    lab.mustKubectl(['get', 'pods', '-A', '-o', 'jsonpath={.items[*].metadata.uid}']);
  const before = { restarts: await restarts(), uids: await uids() };

  await t.test("the lab's own process", async () => {
    const pid = await lab.supervisor();
    process.kill(pid, 'SIGKILL');
    // While it is away: calls, exec and logs go on.
    await lab.curl(debug, 'http://httpbin/ip');
    assert.match(await lab.must('lab', 'logs', 'deploy/httpbin', '-n', 'ambient-demo'), /listening on/);
    await eventually('a new process', async () =>
      (await lab.pids('lab-supervisor', lab.paths.home)).some((one) => one !== pid),
    );
    await eventually('the lab to be ready', async () => (await lab.aura('lab', 'status')).code === 0);
    assert.deepEqual({ restarts: await restarts(), uids: await uids() }, before);
  });

  await t.test("the shell that watches over the lab's own process", async () => {
    const pid = await lab.supervisor();
    const { stdout } = await runProgram('ps', ['-o', 'ppid=', '-p', String(pid)]);
    process.kill(Number(stdout), 'SIGKILL');
    await eventually('a new process', async () =>
      (await lab.pids('lab-supervisor', lab.paths.home)).some((one) => one !== pid),
    );
    await eventually('the lab to be ready', async () => (await lab.aura('lab', 'status')).code === 0);
    process.kill(await lab.supervisor(), 'SIGKILL');
    await eventually('the lab to be ready again', async () => (await lab.aura('lab', 'status')).code === 0);
    assert.deepEqual({ restarts: await restarts(), uids: await uids() }, before);
  });

  await t.test('the API server', async () => {
    const [pid] = await lab.pids('apiserver', lab.paths.apiData);
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await lab.curl(debug, 'http://httpbin/ip');
    await eventually('the API', async () => (await lab.kubectl(['get', 'nodes'])).code === 0);
    await lab.mustKubectl(['create', 'namespace', 'after-the-crash']);
    assert.equal(await uids(), before.uids);
  });

  await t.test('both at once, and a container meanwhile', async () => {
    const [api] = await lab.pids('apiserver', lab.paths.apiData);
    process.kill(await lab.supervisor(), 'SIGKILL');
    process.kill(api ?? -1, 'SIGKILL');
    // Inside the container: ends the sample application, whose shell writes down how.
    await lab.exec(
      '-n ambient-demo deploy/httpbin',
      'sh',
      '-c',
      'kill -9 $(ss -ltnpH "sport = :80" | grep -o "pid=[0-9]*" | cut -d= -f2)',
    );
    await eventually(
      'one restart, seen by the API',
      async () => (await restarts()).split(' ').filter((count) => count === '1').length === 1,
    );
    await eventually('both replicas ready', async () =>
      (await lab.mustKubectl(['get', 'deploy', '-n', 'ambient-demo', 'httpbin'])).includes('2/2'),
    );
  });

  await t.test('everything at once: the next up brings it back', async () => {
    killCgroup(join(cgroupRoot(), lab.paths.cgroup));
    assert.match((await lab.aura('lab', 'status')).stdout, /stopped/);
    await lab.up();
    assert.equal(await uids(), before.uids);
    await eventually(
      'calls',
      async () => (await lab.exec(debug, 'curl', '-sS', '-m', '3', 'http://httpbin/ip')).code === 0,
    );
  });
});
