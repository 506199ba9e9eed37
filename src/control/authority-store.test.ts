import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { CertificateAuthority, type AuthorityFiles } from '#/identity/index.ts';
import { silentLogger, systemClock } from '#/kit/index.ts';
import { AuthorityStore, type AuthorityStoreOptions } from './authority-store.ts';
import { FakeApi } from './fake-api.ts';

const secrets = '/api/v1/secrets';

async function setUp(t: TestContext, change: Partial<AuthorityStoreOptions> = {}) {
  const api = await new FakeApi().listen();
  const client = api.client();
  const stop = new AbortController();
  t.after(async () => {
    stop.abort();
    client.close();
    await api[Symbol.asyncDispose]();
  });
  const log: string[] = [];
  const store = (more: Partial<AuthorityStoreOptions> = {}) =>
    new AuthorityStore({
      client,
      namespace: 'istio-system',
      directory: '/nonexistent',
      trustDomain: 'cluster.local',
      multiRoot: false,
      authority: {},
      log: { ...silentLogger, error: (message) => log.push(message) },
      ...change,
      ...more,
    });
  return { api, store, signal: stop.signal, log };
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

function secret(name: string, files: AuthorityFiles, more: Record<string, string> = {}) {
  return {
    metadata: { name, namespace: 'istio-system' },
    data: {
      'ca-cert.pem': base64(files.caCertPem),
      'ca-key.pem': base64(files.caKeyPem),
      'cert-chain.pem': base64(files.certChainPem),
      'root-cert.pem': base64(files.rootCertPem),
      ...more,
    },
  };
}

async function until(what: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!what()) {
    assert.ok(Date.now() < end, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('a root is made once, kept in its Secret, and taken by the next', async (t) => {
  const { api, store, signal } = await setUp(t);
  const [first, second] = [store(), store()];
  await Promise.all([first.start(signal), second.start(signal)]);
  assert.equal(first.current?.rootsPem, second.current?.rootsPem);
  assert.equal(first.source, 'self-signed');
  const kept = api.get(secrets, 'istio-system', 'istio-ca-secret');
  assert.equal(kept?.['type'], 'istio.io/ca-root');
  assert.deepEqual(Object.keys(kept?.['data'] as object).toSorted(byText), [
    'ca-cert.pem',
    'ca-key.pem',
    'cert-chain.pem',
    'key.pem',
    'root-cert.pem',
  ]);
});

const byText = (a: string, b: string) => (a < b ? -1 : 1);

test('a root in the last fifth of its life is renewed with the same key, for all replicas', async (t) => {
  let ahead = 0;
  const clock = { ...systemClock, now: () => Date.now() + ahead };
  const { store, signal } = await setUp(t, { authority: { clock } });
  const [leader, follower] = [store(), store()];
  await leader.start(signal);
  await follower.start(signal);
  const before = leader.current;
  assert.equal(await leader.rotateIfDue(), false);
  ahead = 9 * 365 * 86_400_000;
  assert.equal(await leader.rotateIfDue(), true);
  assert.notEqual(leader.current?.rootsPem, before?.rootsPem);
  assert.equal(leader.current?.files.caKeyPem, before?.files.caKeyPem);
  await until(() => follower.current?.rootsPem === leader.current?.rootsPem);
});

test('a plugged-in CA goes before a root of our own; its signer may change, its root may not', async (t) => {
  const { api, store, signal, log } = await setUp(t);
  const [a, b] = await Promise.all([1, 2].map(() => CertificateAuthority.selfSigned({ trustDomain: 'x' })));
  assert.ok(a !== undefined && b !== undefined);
  api.put(secrets, secret('cacerts', a.files, { 'ca-crl.pem': base64('crl 1') }));
  const one = store();
  await one.start(signal);
  assert.equal(one.source, 'cacerts');
  assert.equal(one.current?.rootsPem, a.rootsPem);
  assert.equal(one.crlPem, 'crl 1');
  let changes = 0;
  one.onChange(() => changes++);
  api.put(secrets, secret('cacerts', a.files, { 'ca-crl.pem': base64('crl 2') }));
  await until(() => one.crlPem === 'crl 2');
  assert.equal(changes, 1);
  api.put(secrets, secret('cacerts', b.files));
  await until(() => log.length > 0);
  assert.match(log[0] ?? '', /ISTIO_MULTIROOT_MESH/);
  assert.equal(one.current?.rootsPem, a.rootsPem);
});

test('with several roots allowed, one goes over to another by a bundle of both', async (t) => {
  const { api, store, signal, log } = await setUp(t, { multiRoot: true });
  const [a, b] = await Promise.all([1, 2].map(() => CertificateAuthority.selfSigned({ trustDomain: 'x' })));
  assert.ok(a !== undefined && b !== undefined);
  api.put(secrets, secret('cacerts', a.files));
  const one = store();
  await one.start(signal);
  api.put(secrets, secret('cacerts', b.files));
  await until(() => log.length === 1);
  assert.match(log[0] ?? '', /bundle of both/);
  const both = a.rootsPem + b.rootsPem;
  api.put(secrets, secret('cacerts', { ...a.files, rootCertPem: both }));
  await until(() => one.current?.rootsPem === both);
  api.put(secrets, secret('cacerts', { ...b.files, rootCertPem: both }));
  await until(() => one.current?.files.caKeyPem === b.files.caKeyPem);
  api.put(secrets, secret('cacerts', b.files));
  await until(() => one.current?.rootsPem === b.rootsPem);
});

test('files go before everything, are followed, and a broken change is not taken', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'aura-ca-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const { store, signal, log } = await setUp(t, { directory });
  const ca = await CertificateAuthority.selfSigned({ trustDomain: 'x' });
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  write('tls.crt', ca.files.caCertPem);
  write('tls.key', ca.files.caKeyPem);
  write('ca.crt', ca.files.rootCertPem);
  const one = store();
  await one.start(signal);
  assert.equal(one.source, 'files');
  write('tls.crt', 'not a certificate');
  await until(() => log.length > 0);
  assert.match(log[0] ?? '', /not used/);
  assert.equal(one.current?.rootsPem, ca.rootsPem);
  write('tls.crt', ca.files.caCertPem);
  write('ca-crl.pem', 'a list');
  await until(() => one.crlPem === 'a list');
});

test('plug-in material that is wrong from the start ends the start', async (t) => {
  const { api, store, signal } = await setUp(t);
  const ca = await CertificateAuthority.selfSigned({ trustDomain: 'x' });
  api.put(secrets, secret('cacerts', { ...ca.files, caKeyPem: 'nonsense' }));
  await assert.rejects(store().start(signal));
});
