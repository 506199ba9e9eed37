import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { status as grpcStatus } from '@grpc/grpc-js';
import { CertificateAuthority, createCsr, parseCertificate, splitPem } from '#/identity/index.ts';
import { identityOf, type Identity } from '#/model/index.ts';
import { FakeApi, type FakeObject } from './fake-api.ts';
import { paths, refusedWith, setUp, until } from './fake-world.ts';
import { KubernetesSigner } from './kubernetes-signer.ts';

const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const identity = identityOf('cluster.local', 'shop', 'web');

/** Signs what has been approved, for the name that the request asks for, as signers do. */
function signer(
  t: TestContext,
  api: FakeApi,
  answer: (request: FakeObject) => Promise<Record<string, unknown> | undefined>,
): { readonly seen: FakeObject[] } {
  const seen: FakeObject[] = [];
  const done = new Set<string>();
  const timer = setInterval(() => {
    for (const request of api.list(path)) {
      const conditions = (request['status'] as { conditions?: { type: string }[] } | undefined)?.conditions;
      if (done.has(request.metadata.name) || conditions?.some(({ type }) => type === 'Approved') !== true)
        continue;
      done.add(request.metadata.name);
      seen.push(request);
      void answer(request).then((status) => {
        // Its caller may have given up and taken it away.
        const left = api.get(path, undefined, request.metadata.name) !== undefined;
        if (left && status !== undefined) api.put(path, { ...request, status: { conditions, ...status } });
      });
    }
  }, 5);
  t.after(() => clearInterval(timer));
  return { seen };
}

const signedBy =
  (authority: CertificateAuthority, name: Identity = identity) =>
  async (request: FakeObject) => {
    const { request: csr } = request['spec'] as { request: string };
    const { chain } = await authority.sign(Buffer.from(csr, 'base64').toString(), name, 3600);
    return { certificate: Buffer.from(chain[0] ?? '').toString('base64') };
  };

async function fixture(t: TestContext, timeoutMs = 5000) {
  const api = await new FakeApi().listen();
  t.after(() => api[Symbol.asyncDispose]());
  const client = api.client();
  t.after(() => client.close());
  const authority = await CertificateAuthority.selfSigned({ trustDomain: 'outside' });
  const kubernetes = new KubernetesSigner({
    client,
    signerName: 'example.com/mesh',
    rootsPem: authority.rootsPem,
    defaultTtlSeconds: 3600,
    maxTtlSeconds: 7200,
    timeoutMs,
  });
  return { api, authority, kubernetes };
}

test('a request is approved, signed and taken away again', async (t) => {
  const { api, authority, kubernetes } = await fixture(t);
  const { seen } = signer(t, api, signedBy(authority));
  const { csrPem } = await createCsr(identity);
  const { chain } = await kubernetes.sign(csrPem, identity, 0);
  assert.equal(chain.length, 2);
  assert.equal(parseCertificate(chain[0] ?? '').identity, identity);
  assert.equal(chain[1], authority.rootsPem);
  const { request, ...spec } = (seen[0]?.['spec'] ?? {}) as Record<string, unknown>;
  assert.equal(Buffer.from(request as string, 'base64').toString(), csrPem);
  assert.deepEqual(spec, {
    signerName: 'example.com/mesh',
    expirationSeconds: 3600,
    usages: ['digital signature', 'key encipherment', 'server auth', 'client auth'],
  });
  await until(() => api.list(path).length === 0);
});

test('a request for another name, or for longer than allowed, is never made', async (t) => {
  const { api, kubernetes } = await fixture(t);
  const { csrPem } = await createCsr(identityOf('cluster.local', 'shop', 'other'));
  await assert.rejects(kubernetes.sign(csrPem, identity, 0), { kind: 'csr' });
  await assert.rejects(kubernetes.sign('garbage', identity, 0), { kind: 'csr' });
  const own = await createCsr(identity);
  await assert.rejects(kubernetes.sign(own.csrPem, identity, 7201), { kind: 'ttl' });
  assert.deepEqual(api.writes, []);
});

test('a signer that refuses, signs another name or says nothing gives an error with the reason', async (t) => {
  const { api, authority, kubernetes } = await fixture(t, 300);
  const { csrPem } = await createCsr(identity);
  const answers: ((request: FakeObject) => Promise<Record<string, unknown> | undefined>)[] = [
    () => Promise.resolve({ conditions: [{ type: 'Failed', status: 'True', message: 'not today' }] }),
    signedBy(authority, identityOf('cluster.local', 'shop', 'other')),
    () => Promise.resolve(undefined),
  ];
  signer(t, api, (request) => answers.shift()?.(request) ?? Promise.resolve(undefined));
  for (const message of [
    /example\.com\/mesh: Failed: not today/,
    /no certificate of/,
    /nothing was signed within/,
  ])
    await assert.rejects(kubernetes.sign(csrPem, identity, 0), { kind: 'not-ready', message });
  await until(() => api.list(path).length === 0);
});

test('the whole program hands out the signer’s certificates and tells its roots', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'aura-signer-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const authority = await CertificateAuthority.selfSigned({ trustDomain: 'outside' });
  const file = join(directory, 'root-cert.pem');
  writeFileSync(file, authority.rootsPem);
  const { api, client, roots } = await setUp(t, {
    env: {
      EXTERNAL_CA: 'ISTIOD_RA_KUBERNETES_API',
      K8S_SIGNER: 'example.com/mesh',
      AURA_EXTERNAL_CA_ROOT: file,
    },
  });
  signer(t, api, signedBy(authority));
  const { csrPem } = await createCsr(identity);
  const chain = await client().certificate({ csr: csrPem, ttlSeconds: 0, impersonatedIdentity: identity });
  assert.equal(parseCertificate(chain[0] ?? '').identity, identity);
  assert.equal(chain.at(-1), authority.rootsPem, 'peers are trusted by the signer’s roots alone');
  const told = () =>
    (
      api.get(paths.configMaps, 'shop', 'istio-ca-root-cert')?.['data'] as Record<string, string> | undefined
    )?.['root-cert.pem'] ?? '';
  await until(() => splitPem(told()).length === 2);
  assert.deepEqual(new Set(splitPem(told())), new Set([...splitPem(roots), ...splitPem(authority.rootsPem)]));
  const other = await createCsr(identityOf('cluster.local', 'shop', 'far'));
  await assert.rejects(
    client().certificate({ csr: other.csrPem, ttlSeconds: 0, impersonatedIdentity: identity }),
    refusedWith(grpcStatus.INVALID_ARGUMENT),
  );
});
