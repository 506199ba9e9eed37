import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createLogger, ManualClock } from '#/kit/index.ts';
import type { Netns } from '#/sys/index.ts';
import { Pods, type PodRunner } from './pods.ts';

const info = { name: 'web', namespace: 'shop', serviceAccount: 'web' };

let made = 0n;

interface FakeNetns extends Netns {
  readonly disposed: number;
}

/** `same`: a second handle on that namespace. */
function netns(same?: Netns): FakeNetns {
  const inode = same?.inode ?? ++made;
  let disposed = 0;
  return {
    fd: 1000,
    inode,
    dev: 1n,
    label: `ns ${inode}`,
    get disposed() {
      return disposed;
    },
    [Symbol.dispose]: () => {
      disposed++;
    },
  };
}

/** Notes what is asked of it; `settle` decides how a start ends. */
class ScriptedRunner implements PodRunner {
  readonly calls: string[] = [];
  readonly running = new Set<string>();
  #starts: { uid: string; resolve: () => void; reject: (error: Error) => void }[] = [];
  /** Starts wait for `settle` instead of succeeding. */
  held = false;
  failures = 0;

  start(uid: string, _info: unknown, { inode }: Netns): Promise<void> {
    this.calls.push(`start ${uid} ${inode}`);
    if (this.failures > 0) {
      this.failures--;
      return Promise.reject(new Error('Address already in use'));
    }
    this.running.add(uid);
    if (!this.held) return Promise.resolve();
    return new Promise((resolve, reject) => this.#starts.push({ uid, resolve, reject }));
  }

  stop(uid: string): Promise<void> {
    this.calls.push(`stop ${uid}`);
    this.running.delete(uid);
    return Promise.resolve();
  }

  settle(error?: Error): void {
    for (const { uid, resolve, reject } of this.#starts.splice(0)) {
      if (error === undefined) resolve();
      else {
        this.running.delete(uid);
        reject(error);
      }
    }
  }
}

function fixture() {
  const runner = new ScriptedRunner();
  const clock = new ManualClock();
  const log: string[] = [];
  const pods = new Pods(
    runner,
    createLogger({ level: 'info', format: 'plain', write: (line) => log.push(line) }, 'pods'),
    clock,
  );
  return { runner, clock, pods, log };
}

/** Lets every promise that can settle do so. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

const states = (pods: Pods): Record<string, string> =>
  Object.fromEntries(Array.from(pods.all(), ({ uid, state }) => [uid, state]));

suite('pods', () => {
  test('a snapshot: what it does not name is stopped', async () => {
    const { pods, runner } = fixture();
    const [a, b, c] = [netns(), netns(), netns()];
    pods.beginSnapshot();
    await pods.add('a', info, a);
    await pods.add('b', info, b);
    await pods.add('c', info, c);
    assert.equal(pods.synced, false);
    assert.equal(await pods.snapshotSent(), true);
    assert.equal(pods.synced, true);
    assert.equal(await pods.snapshotSent(), false, 'a second one is a breach');
    assert.equal(pods.keep('a'), false, 'keep belongs to a snapshot');

    pods.beginSnapshot();
    assert.equal(pods.synced, false);
    assert.equal(pods.keep('a'), true);
    await pods.add('b', info, netns(b));
    assert.equal(await pods.snapshotSent(), true);
    assert.deepEqual(states(pods), { a: 'Up', b: 'Up' });
    assert.deepEqual([...runner.running], ['a', 'b']);
    assert.equal(c.disposed, 1);
    assert.deepEqual([pods.started, pods.stopped, pods.active, pods.pending], [3, 1, 2, 0]);
  });

  test('the same pod again: nothing happens, and the second handle is closed', async () => {
    const { pods, runner } = fixture();
    const first = netns();
    const second = netns(first);
    await pods.add('a', info, first);
    await pods.add('a', info, second);
    assert.deepEqual(runner.calls, [`start a ${first.inode}`]);
    assert.deepEqual([first.disposed, second.disposed], [0, 1]);
  });

  test('the same pod in another namespace: stopped, then started there', async () => {
    const { pods, runner } = fixture();
    const [first, second] = [netns(), netns()];
    await pods.add('a', info, first);
    await pods.add('a', info, second);
    assert.deepEqual(runner.calls, [`start a ${first.inode}`, 'stop a', `start a ${second.inode}`]);
    assert.deepEqual([first.disposed, second.disposed], [1, 0]);
    assert.deepEqual([pods.started, pods.stopped, pods.active], [2, 1, 1]);
  });

  test('removal: stopped, namespace closed; of an unknown pod: nothing', async () => {
    const { pods, runner } = fixture();
    const only = netns();
    await pods.add('a', info, only);
    await pods.remove('a');
    await pods.remove('a');
    await pods.remove('b');
    assert.deepEqual(runner.calls, [`start a ${only.inode}`, 'stop a']);
    assert.equal(only.disposed, 1);
    assert.equal(pods.active, 0);
  });

  test('a start that fails is told, and tried again every 5 s until it succeeds', async () => {
    const { pods, runner, clock } = fixture();
    const only = netns();
    runner.failures = 3;
    await assert.rejects(pods.add('a', info, only), /Address already in use/);
    assert.deepEqual([states(pods), pods.pending, pods.active], [{ a: 'Pending' }, 1, 0]);
    clock.advance(4999);
    await turn();
    assert.equal(runner.calls.length, 1);
    for (const attempt of [2, 3, 4]) {
      clock.advance(attempt === 2 ? 1 : 5000);
      await turn();
      assert.equal(runner.calls.length, attempt);
    }
    assert.deepEqual(states(pods), { a: 'Up' });
    clock.advance(60_000);
    await turn();
    assert.equal(runner.calls.length, 4);
    assert.equal(only.disposed, 0);
    assert.deepEqual([pods.started, pods.stopped], [1, 0]);
  });

  test('a pending pod that is removed is not tried again, and does not count as stopped', async () => {
    const { pods, runner, clock } = fixture();
    const only = netns();
    runner.failures = 1;
    await assert.rejects(pods.add('a', info, only));
    await pods.remove('a');
    clock.advance(60_000);
    await turn();
    assert.deepEqual(runner.calls, [`start a ${only.inode}`, 'stop a']);
    assert.deepEqual([pods.stopped, only.disposed], [0, 1]);
  });

  test('the agent asks again while a retry is under way: one attempt for both', async () => {
    const { pods, runner, clock } = fixture();
    const only = netns();
    runner.failures = 1;
    await assert.rejects(pods.add('a', info, only));
    runner.held = true;
    clock.advance(5000);
    const again = pods.add('a', info, netns(only));
    assert.equal(runner.calls.length, 2);
    runner.settle();
    await again;
    assert.equal(runner.calls.length, 2);
    assert.deepEqual(states(pods), { a: 'Up' });
    assert.equal(pods.started, 1);
  });

  test('removed while it is being started: stopped after the attempt, not before', async () => {
    const { pods, runner } = fixture();
    const only = netns();
    runner.held = true;
    const adding = pods.add('a', info, only);
    const removing = pods.remove('a');
    await turn();
    assert.deepEqual(runner.calls, [`start a ${only.inode}`]);
    assert.equal(only.disposed, 0, 'the attempt still needs the namespace');
    runner.settle();
    await Promise.all([adding, removing]);
    assert.deepEqual(runner.calls, [`start a ${only.inode}`, 'stop a']);
    assert.deepEqual([[...runner.running], only.disposed, pods.started], [[], 1, 0]);
  });

  test('added in another namespace while a retry is under way: only the new one runs', async () => {
    const { pods, runner, clock } = fixture();
    const [first, second] = [netns(), netns()];
    runner.failures = 1;
    await assert.rejects(pods.add('a', info, first));
    runner.held = true;
    clock.advance(5000);
    const adding = pods.add('a', info, second);
    await turn();
    runner.settle();
    await turn();
    runner.settle();
    await adding;
    assert.deepEqual(runner.calls.slice(1), [`start a ${first.inode}`, 'stop a', `start a ${second.inode}`]);
    assert.deepEqual([...runner.running], ['a']);
    assert.deepEqual([first.disposed, second.disposed], [1, 0]);
  });

  test('a pod that its runner has lost is started again', async () => {
    const { pods, runner, clock } = fixture();
    const only = netns();
    let changes = 0;
    await pods.add('a', info, only);
    pods.onChange(() => {
      changes++;
    });
    pods.lost('a');
    pods.lost('a');
    pods.lost('unknown');
    assert.deepEqual([states(pods), pods.pending, changes], [{ a: 'Pending' }, 1, 1]);
    clock.advance(5000);
    await turn();
    assert.deepEqual([states(pods), runner.calls.length, changes], [{ a: 'Up' }, 2, 2]);
    assert.deepEqual([pods.started, pods.stopped], [2, 1]);
  });

  test('close: all stopped, no retry left', async () => {
    const { pods, runner, clock } = fixture();
    const [a, b] = [netns(), netns()];
    await pods.add('a', info, a);
    runner.failures = 1;
    await assert.rejects(pods.add('b', info, b));
    await pods.close();
    clock.advance(60_000);
    await turn();
    assert.deepEqual([a.disposed, b.disposed, [...pods.all()].length], [1, 1, 0]);
    assert.equal(runner.calls.filter((call) => call.startsWith('start')).length, 2);
  });

  test('log lines name the pod', async () => {
    const { pods, runner, log } = fixture();
    await pods.add('a', info, netns());
    await pods.remove('a');
    runner.failures = 1;
    await assert.rejects(pods.add('b', info, netns()));
    const said = log.map((line) => line.trimEnd().split('\t').slice(1).join('|'));
    assert.deepEqual(said, [
      'info|pods|pod received netns, starting proxy|uid=a pod=shop/web',
      'info|pods|pod delete request, shutting down proxy|uid=a',
      'info|pods|pod received netns, starting proxy|uid=b pod=shop/web',
      'error|pods|failed to start proxy|uid=b pod=shop/web error="Address already in use"',
    ]);
  });
});
