import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger, systemClock } from '#/kit/index.ts';
import { MetricSet } from '#/telemetry/index.ts';
import { countExtensions, extensionFamilies } from './counters.ts';
import type { ExtensionHost } from './host.ts';
import { ExtensionHosts } from './hosts.ts';
import { extensionOf, requestInput } from './test-host.ts';

const says = (text: string): string =>
  `export default { onRequest(r, { config }) { return { status: 200, body: '${text}' + (config ?? '') } } }`;
const ask = (host: ExtensionHost): Promise<string | undefined> =>
  new Promise((resolve) =>
    host.call('onRequest', requestInput(), (result) => resolve(result.failure ?? result.reply?.body)),
  );

test('a change of module or settings is a new thread; one of place is not', async () => {
  const hosts = new ExtensionHosts(systemClock, silentLogger);
  try {
    const first = extensionOf(says('one'));
    const host = hosts.of(first);
    assert.equal(hosts.of(first), host);
    assert.equal(await ask(host), 'one');
    assert.equal(hosts.of({ ...first, priority: 7, targets: [{ kind: 'mesh' }] }), host);
    const configured = hosts.of({ ...first, config: '!' });
    assert.notEqual(configured, host);
    assert.equal(host.state, 'idle');
    assert.equal(await ask(configured), 'one!');
    configured.enter();
    const changed = hosts.of(extensionOf(says('two')));
    assert.equal(await ask(configured), 'one!');
    assert.equal(await ask(changed), 'two');
    configured.leave();
    assert.equal(configured.state, 'idle');
    hosts.retain(new Set());
    assert.equal(changed.state, 'idle');
    const [report] = hosts.report();
    assert.deepEqual(report, {
      name: 'shop/filter',
      calls: 4,
      failures: 0,
      timeouts: 0,
      restarts: 0,
      skipped: 0,
    });
  } finally {
    hosts.destroy();
  }
});

test('what cannot be loaded is a problem until it is corrected', async () => {
  const hosts = new ExtensionHosts(systemClock, silentLogger);
  try {
    await ask(hosts.of(extensionOf('export default 1')));
    const [problem] = hosts.problems();
    assert.equal(problem?.[0], 'extension:shop/filter');
    assert.match(problem?.[1][0] ?? '', /default export/);
    assert.equal(await ask(hosts.of(extensionOf(says('one')))), 'one');
    assert.deepEqual(hosts.problems(), []);
  } finally {
    hosts.destroy();
  }
});

test('counts of all workers are one series', () => {
  const metrics = new MetricSet(Object.values(extensionFamilies));
  const report = { name: 'shop/a', calls: 2, failures: 1, timeouts: 1, restarts: 1, skipped: 0 };
  countExtensions(metrics, [{ extensions: [report] }, { extensions: [report] }]);
  const calls = [...metrics.collect()].find(({ family }) => family === extensionFamilies.extensionCalls);
  assert.deepEqual(
    [...(calls?.samples ?? [])].map(({ value }) => value),
    [4],
  );
});
