import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { suite, test } from 'node:test';
import { LogOutput } from './log-output.ts';

/** A reader that takes what was written only when told. */
class SlowReader extends Writable {
  readonly got: string[] = [];
  #next: (() => void) | undefined;

  constructor() {
    super({ decodeStrings: false, highWaterMark: 16 });
  }

  override _write(chunk: string, _encoding: string, done: () => void): void {
    this.#next = () => {
      this.got.push(chunk);
      done();
    };
  }

  async readAll(): Promise<void> {
    while (this.#next !== undefined) {
      const next = this.#next;
      this.#next = undefined;
      next();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

suite('log output', () => {
  test('lines beyond the limit are lost, counted, and told of once', async () => {
    const reader = new SlowReader();
    const output = new LogOutput(reader, 'plain');
    output.write('first\n');
    for (let i = 0; i < 9_999; i++) output.write(`${i}\n`);
    output.write('lost\n');
    output.write('lost\nlost\n', 2);
    assert.equal(output.droppedTotal, 3);
    await reader.readAll();
    output.write('after\n');
    output.write('and on\n');
    await reader.readAll();
    assert.equal(reader.got.length, 10_002);
    assert.equal(reader.got[0], 'first\n');
    assert.match(
      reader.got[10_000] ?? '',
      /^\S+Z\twarn\tlog\tlines were lost because the log was not read fast enough\tcount=3\nafter\n$/,
    );
    assert.equal(reader.got[10_001], 'and on\n');
    assert.equal(output.droppedTotal, 3);
  });

  test('in JSON, what tells of lost lines is JSON too', async () => {
    const reader = new SlowReader();
    const output = new LogOutput(reader, 'json');
    output.write('{}\n'.repeat(10_000), 10_000);
    output.write('{}\n');
    await reader.readAll();
    output.write('{}\n');
    await reader.readAll();
    const [notice] = (reader.got[1] ?? '').split('\n');
    assert.deepEqual(
      Object.entries(JSON.parse(notice ?? '') as Record<string, unknown>).filter(([name]) => name !== 'time'),
      Object.entries({
        level: 'warn',
        scope: 'log',
        message: 'lines were lost because the log was not read fast enough',
        count: 1,
      }),
    );
  });

  test('one text of more lines than the limit is taken when nothing waits', async () => {
    const reader = new SlowReader();
    const output = new LogOutput(reader, 'plain');
    output.write('x\n'.repeat(20_000), 20_000);
    await reader.readAll();
    assert.equal(reader.got.length, 1);
    assert.equal(output.droppedTotal, 0);
  });

  test('flush waits for what was written', async () => {
    const reader = new SlowReader();
    const output = new LogOutput(reader, 'plain');
    output.write('a\n');
    let flushed = false;
    const flushing = output.flush().then(() => {
      flushed = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(flushed, false);
    await reader.readAll();
    await flushing;
    assert.deepEqual(reader.got, ['a\n', '']);
  });

  test('a reader that is stuck does not keep the program from ending', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const output = new LogOutput(new SlowReader(), 'plain');
    output.write('a\n');
    const flushing = output.flush();
    t.mock.timers.tick(1000);
    await flushing;
  });

  test('a reader that is gone: nothing is thrown, nothing is waited for', async () => {
    const broken = new Writable({ write: (_chunk, _encoding, done) => done(new Error('EPIPE')) });
    const output = new LogOutput(broken, 'plain');
    output.write('a\n');
    await output.flush();
    output.write('b\n');
    await output.flush();
  });
});
