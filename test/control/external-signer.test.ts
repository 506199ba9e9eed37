// Certificates from a signer of the Kubernetes API, against the embedded one: its subresources for approval and status
// are what a real one has.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startApiserver } from '#/apiserver/index.ts';
import { CertificateAuthority, createCsr, parseCertificate } from '#/identity/index.ts';
import { defineResource, Informer, KubeClient, type KubeObject } from '#/kube/index.ts';
import { identityOf } from '#/model/index.ts';
import { KubernetesSigner } from '../../src/control/kubernetes-signer.ts';

interface SigningRequest extends KubeObject {
  readonly spec?: { readonly request?: string; readonly expirationSeconds?: number };
  readonly status?: {
    readonly conditions?: readonly { readonly type: string }[];
    readonly certificate?: string;
  };
}

const requests = defineResource<SigningRequest>(
  'certificates.k8s.io/v1',
  'certificatesigningrequests',
  'CertificateSigningRequest',
  'cluster',
);

test('a request is approved, signed by the signer and removed', async (t) => {
  const parts = new AsyncDisposableStack();
  t.after(() => parts.disposeAsync());
  const directory = mkdtempSync(join(tmpdir(), 'aura-signer-'));
  parts.defer(() => rmSync(directory, { recursive: true }));
  const kubeconfig = join(directory, 'kubeconfig');
  parts.use(
    await startApiserver({ host: '127.0.0.1', port: 0, dataDir: join(directory, 'data'), kubeconfig }),
  );
  const client = KubeClient.fromKubeconfig(kubeconfig);
  parts.defer(() => client.close());
  const authority = await CertificateAuthority.selfSigned({ trustDomain: 'outside' });
  const identity = identityOf('cluster.local', 'shop', 'web');

  // The signer: signs what is approved.
  const stop = new AbortController();
  parts.defer(() => stop.abort(new Error('the test has ended')));
  const informer = new Informer(client, requests);
  const sign = async ({ metadata, spec, status }: SigningRequest): Promise<void> => {
    const approved = status?.conditions?.some(({ type }) => type === 'Approved') === true;
    if (!approved || status?.certificate !== undefined) return;
    const csr = Buffer.from(spec?.request ?? '', 'base64').toString();
    const { chain } = await authority.sign(csr, identity, spec?.expirationSeconds ?? 0);
    const certificate = Buffer.from(chain[0] ?? '').toString('base64');
    await client.patch(requests, undefined, metadata.name, { status: { certificate } }, 'merge', {
      subresource: 'status',
    });
  };
  const failures: unknown[] = [];
  const changed = (request: SigningRequest) =>
    void sign(request).catch((error: unknown) => failures.push(error));
  informer.on('add', changed);
  informer.on('update', changed);
  informer.start(stop.signal);
  await informer.synced;

  const signer = new KubernetesSigner({
    client,
    signerName: 'example.com/mesh',
    rootsPem: authority.rootsPem,
    defaultTtlSeconds: 3600,
    maxTtlSeconds: 7200,
    timeoutMs: 30_000,
  });
  const { csrPem } = await createCsr(identity);
  const { chain } = await signer.sign(csrPem, identity, 1800);
  assert.deepEqual(failures, []);
  const leaf = parseCertificate(chain[0] ?? '');
  assert.equal(leaf.identity, identity);
  const minutes = (leaf.notAfter - leaf.notBefore) / 60_000;
  assert.ok(minutes >= 30 && minutes <= 33, `${minutes} minutes`);
  const deadline = Date.now() + 30_000;
  while ((await client.list(requests)).items.length > 0) {
    assert.ok(Date.now() < deadline, 'the request is removed');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});
