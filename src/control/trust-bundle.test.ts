import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '#/kit/index.ts';
import { FakeApi } from './fake-api.ts';
import { paths, setUp, until } from './fake-world.ts';
import { TrustBundle, trustBundleName } from './trust-bundle.ts';

const path = '/apis/certificates.k8s.io/v1beta1/clustertrustbundles';

const bundleOf = (api: FakeApi): unknown =>
  (api.get(path, undefined, trustBundleName)?.['spec'] as { trustBundle?: string } | undefined)?.trustBundle;

test('the roots are in a ClusterTrustBundle instead of ConfigMaps, where that is enabled', async (t) => {
  const { api, roots } = await setUp(t, { env: { ENABLE_CLUSTER_TRUST_BUNDLE_API: 'true' } });
  await until(() => bundleOf(api) === roots);
  const spec = api.get(path, undefined, trustBundleName)?.['spec'];
  assert.deepEqual(spec, { signerName: 'istio.io/istiod-ca', trustBundle: roots });
  assert.equal(api.get(paths.configMaps, 'shop', 'istio-ca-root-cert'), undefined);
});

test('a bundle that was changed or deleted is put right, and follows the roots', async (t) => {
  await using api = await new FakeApi().listen();
  using client = api.client();
  const stop = new AbortController();
  t.after(() => stop.abort(new Error('the test has ended')));
  let roots = 'one';
  const log: string[] = [];
  const bundle = new TrustBundle({
    client,
    rootsPem: () => roots,
    log: createLogger({ level: 'info', format: 'plain', write: (line) => log.push(line) }, 'test'),
    lookMs: 10,
  });
  api.down = true;
  bundle.lead(stop.signal);
  await until(() => log.some((line) => line.includes('was not written')));
  api.down = false;
  await until(() => bundleOf(api) === 'one');
  api.delete(path, undefined, trustBundleName);
  await until(() => bundleOf(api) === 'one');
  roots = 'two';
  bundle.refresh();
  await until(() => bundleOf(api) === 'two');
  assert.equal(log.filter((line) => line.includes('was not written')).length, 1);
});
