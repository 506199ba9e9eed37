// A server that is killed at any moment has lost nothing that it had acknowledged.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { configMaps, KubeClient } from '#/kube/index.ts';
import { startApiserver } from './server.ts';
import { eventually } from './test-server.ts';

const main = resolve(import.meta.dirname, '../cli/main.ts');

test('SIGKILL under load, several times', { timeout: 60_000 }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'aura-crash-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const kubeconfig = join(dir, 'kubeconfig');
  /** What was acknowledged: name → value, or undefined if it was deleted. */
  const acknowledged = new Map<string, string | undefined>();
  /** What was asked for when the server died: either outcome is right. */
  const unsure = new Set<string>();
  const start = async (): Promise<{ child: ChildProcess; client: KubeClient }> => {
    rmSync(kubeconfig, { force: true });
    const child = spawn(
      process.execPath,
      [
        main,
        'apiserver',
        '--listen',
        '127.0.0.1:0',
        '--data',
        join(dir, 'data'),
        '--kubeconfig',
        kubeconfig,
        '--log-level',
        'error',
      ],
      { stdio: 'ignore' },
    );
    const client = await eventually(() => {
      try {
        return KubeClient.fromKubeconfig(kubeconfig);
      } catch {
        return undefined;
      }
    }, 20_000);
    return { child, client };
  };
  for (let round = 0; round < 3; round++) {
    const { child, client } = await start();
    let writes = 0;
    const writer = async (id: number): Promise<void> => {
      for (let i = 0; ; i++) {
        const name = `w${id}-${i % 7}`;
        const known = acknowledged.get(name);
        const value = `${round}-${i}`;
        unsure.add(name);
        if (known === undefined) {
          await client.create(configMaps, 'default', {
            metadata: { name },
            data: { value, fill: 'x'.repeat(500) },
          });
          acknowledged.set(name, value);
        } else if (i % 5 === 4) {
          await client.delete(configMaps, 'default', name);
          acknowledged.set(name, undefined);
        } else {
          await client.patch(configMaps, 'default', name, { data: { value } }, 'merge');
          acknowledged.set(name, value);
        }
        unsure.delete(name);
        writes++;
      }
    };
    const writers = Array.from({ length: 6 }, (_, id) => writer(id).catch(() => {}));
    await eventually(() => (writes > 150 ? true : undefined), 20_000);
    const exited = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await exited;
    await Promise.all(writers);
    client.close();
    // What is there is looked at by a server of our own, on the same directory.
    const server = await startApiserver({
      host: '127.0.0.1',
      port: 0,
      dataDir: join(dir, 'data'),
      kubeconfig,
    });
    using reader = KubeClient.fromKubeconfig(kubeconfig);
    const { items } = await reader.list(configMaps, { namespace: 'default' });
    const found = new Map(items.map((item) => [item.metadata.name, item.data?.['value']]));
    for (const [name, value] of acknowledged) {
      if (unsure.has(name)) {
        acknowledged.set(name, found.get(name));
        continue;
      }
      assert.equal(found.get(name), value, `${name} after round ${round}`);
    }
    for (const name of unsure) acknowledged.set(name, found.get(name));
    unsure.clear();
    await server[Symbol.asyncDispose]();
  }
});
