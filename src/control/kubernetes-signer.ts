// Certificates of workloads from a signer of the Kubernetes API, in the place of our own CA: each request becomes a
// CertificateSigningRequest that we approve, read and delete. Signers copy what a request asks for, so it must ask for
// the caller's identity and for nothing else, and what comes back is looked at again.
import { readFileSync } from 'node:fs';
import { errorText } from '#/errors/index.ts';
import { parseCertificate, requireExactRequest, SigningError, splitPem } from '#/identity/index.ts';
import { systemClock, type Clock } from '#/kit/index.ts';
import { defineResource, type KubeClient, type KubeObject } from '#/kube/index.ts';
import type { Identity } from '#/model/index.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

interface SigningRequest extends KubeObject {
  readonly spec: unknown;
  readonly status?: { readonly certificate?: string; readonly conditions?: readonly Condition[] };
}

const requests = defineResource<SigningRequest>(
  'certificates.k8s.io/v1',
  'certificatesigningrequests',
  'CertificateSigningRequest',
  'cluster',
);

export interface KubernetesSignerOptions {
  readonly client: KubeClient;
  /** `example.com/mesh` */
  readonly signerName: string;
  /** PEM of the roots under which it signs. */
  readonly rootsPem: string;
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
  readonly clock?: Clock;
  /** Milliseconds until a signer that does not sign is given up. Default 10 s. */
  readonly timeoutMs?: number;
}

/** The API takes no less. */
const leastSeconds = 600;

export class KubernetesSigner {
  readonly rootsPem: string;
  readonly #options: KubernetesSignerOptions;
  readonly #clock: Clock;

  constructor(options: KubernetesSignerOptions) {
    this.#options = options;
    this.rootsPem = options.rootsPem;
    this.#clock = options.clock ?? systemClock;
  }

  /** As CertificateAuthority.sign: the leaf, each intermediate, the roots unsplit. Throws SigningError. */
  async sign(
    csrPem: string,
    identity: Identity,
    ttlSeconds: number,
  ): Promise<{ readonly chain: readonly string[] }> {
    const { client, defaultTtlSeconds, maxTtlSeconds } = this.#options;
    const ttl = ttlSeconds <= 0 ? defaultTtlSeconds : ttlSeconds;
    if (!(ttl <= maxTtlSeconds))
      throw new SigningError(
        'ttl',
        `requested TTL ${ttl} s is greater than the maximum of ${maxTtlSeconds} s`,
      );
    await requireExactRequest(csrPem, identity);
    const name = `csr-workload-${crypto.randomUUID()}`;
    try {
      const pem = await this.#signed(name, csrPem, identity, Math.max(leastSeconds, Math.round(ttl)));
      const [leaf, ...rest] = splitPem(pem);
      if (leaf === undefined || parseCertificate(leaf).identity !== identity)
        throw new Error(`what was signed is no certificate of ${identity}`);
      const roots = new Set(splitPem(this.rootsPem));
      return { chain: [leaf, ...rest.filter((one) => !roots.has(one)), this.rootsPem] };
    } catch (error) {
      throw new SigningError('not-ready', `signer ${this.#options.signerName}: ${errorText(error)}`, {
        cause: error,
      });
    } finally {
      // Left behind, it is removed by Kubernetes itself after a while.
      client.delete(requests, undefined, name).catch(() => {});
    }
  }

  async #signed(name: string, csrPem: string, identity: Identity, seconds: number): Promise<string> {
    const { client, signerName, timeoutMs = 10_000 } = this.#options;
    const made = await client.create(requests, undefined, {
      metadata: { name },
      spec: {
        request: Buffer.from(csrPem).toString('base64'),
        signerName,
        expirationSeconds: seconds,
        usages: ['digital signature', 'key encipherment', 'server auth', 'client auth'],
      },
    });
    const approval = {
      type: 'Approved',
      status: 'True',
      reason: 'MeshIdentity',
      message: `the caller has shown that it is ${identity}`,
    };
    await client.replace(
      requests,
      undefined,
      name,
      { ...made, status: { ...made.status, conditions: [approval] } },
      { subresource: 'approval' },
    );
    const end = this.#clock.now() + timeoutMs;
    for (let wait = 20; ; wait = Math.min(500, wait * 2)) {
      const { status } = await client.get(requests, undefined, name);
      if (status?.certificate !== undefined && status.certificate !== '')
        return Buffer.from(status.certificate, 'base64').toString('utf8');
      const refused = status?.conditions?.find(({ type }) => type === 'Denied' || type === 'Failed');
      if (refused !== undefined)
        throw new Error(`${refused.type}: ${refused.message ?? refused.reason ?? 'no reason given'}`);
      if (this.#clock.now() >= end) throw new Error(`nothing was signed within ${timeoutMs} ms`);
      await this.#clock.sleep(wait);
    }
  }
}

/** The text of the first file that is there. Throws if none is. */
export function firstFile(files: readonly string[]): string {
  for (const file of files) {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      if ((error as { code?: string }).code !== 'ENOENT') throw error;
    }
  }
  throw new Error(
    `the roots of the external signer are in none of ${files.join(', ')}; set AURA_EXTERNAL_CA_ROOT`,
  );
}
