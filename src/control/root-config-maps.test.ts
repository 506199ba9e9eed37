import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#/kit/index.ts';
import { FakeApi } from './fake-api.ts';
import { RootConfigMaps } from './root-config-maps.ts';

const maps = '/api/v1/configmaps';

test('every namespace gets the root; what is deleted or changed is put right', async (t) => {
  const api = await new FakeApi().listen();
  const client = api.client();
  const stop = new AbortController();
  t.after(async () => {
    stop.abort();
    client.close();
    await api[Symbol.asyncDispose]();
  });
  const ca: { roots: string; crl?: string } = { roots: 'root 1' };
  const keeper = new RootConfigMaps({
    client,
    rootsPem: () => ca.roots,
    crlPem: () => ca.crl,
    log: silentLogger,
  });
  const data = (namespace: string, name = 'istio-ca-root-cert') => api.get(maps, namespace, name)?.['data'];
  const until = async (what: () => boolean) => {
    const end = Date.now() + 5000;
    while (!what()) {
      assert.ok(Date.now() < end, 'it did not happen in time');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  api.put(maps, {
    metadata: { name: 'istio-ca-root-cert', namespace: 'b' },
    data: { 'root-cert.pem': 'old', x: 'y' },
  });
  await keeper.start(stop.signal);
  for (const name of ['a', 'b', 'kube-system', 'kube-public', 'kube-node-lease', 'local-path-storage'])
    keeper.namespace(name, true);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(api.writes, [], 'who does not lead writes nothing');

  keeper.lead(stop.signal);
  await until(() => data('kube-system') !== undefined && (data('b') as { x?: string }).x === undefined);
  assert.deepEqual(data('a'), { 'root-cert.pem': 'root 1' });
  assert.deepEqual(data('b'), { 'root-cert.pem': 'root 1' });
  assert.deepEqual(api.get(maps, 'a', 'istio-ca-root-cert')?.metadata['labels'], {
    'istio.io/config': 'true',
  });
  assert.equal(data('kube-public'), undefined);
  assert.equal(data('kube-node-lease'), undefined);

  api.delete(maps, 'a', 'istio-ca-root-cert');
  await until(() => data('a') !== undefined);
  api.put(maps, {
    metadata: { name: 'istio-ca-root-cert', namespace: 'a' },
    data: { 'root-cert.pem': 'forged' },
  });
  await until(() => (data('a') as { 'root-cert.pem'?: string })['root-cert.pem'] === 'root 1');

  ca.roots = 'root 1 and 2';
  ca.crl = 'revoked';
  keeper.refresh();
  await until(() => data('a', 'istio-ca-crl') !== undefined && data('b', 'istio-ca-crl') !== undefined);
  await until(() => (data('b') as { 'root-cert.pem'?: string })['root-cert.pem'] === 'root 1 and 2');
  assert.deepEqual(data('a', 'istio-ca-crl'), { 'ca-crl.pem': 'revoked' });

  keeper.namespace('a', false);
  api.delete(maps, 'a', 'istio-ca-root-cert');
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(data('a'), undefined, 'a namespace that is gone gets nothing');
});
