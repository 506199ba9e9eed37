// The control plane's own TLS certificate, signed by its own CA: issued at start, at half of its life, and when the
// CA changes. gRPC takes it over for new connections.
import { experimental, type ServerCredentials } from '@grpc/grpc-js';
import { errorText } from '#/errors/index.ts';
import type { CertificateAuthority } from '#/identity/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';

type Provider = Parameters<typeof experimental.createCertificateProviderServerCredentials>[0];
type CaListener = Parameters<Provider['addCaCertificateListener']>[0];
type IdentityListener = Parameters<Provider['addIdentityCertificateListener']>[0];

export interface ServingOptions {
  readonly dnsNames: readonly string[];
  readonly ips: readonly string[];
  readonly log: Logger;
  readonly clock?: Clock;
}

/** The names under which proxies know a control plane in `namespace`. */
export function servingNames(namespace: string, domain: string, revision: string): readonly string[] {
  const services = ['istiod', 'istiod-remote', 'istio-pilot'];
  if (revision !== '' && revision !== 'default') services.push(`istiod-${revision}`);
  return [
    ...services.flatMap((name) => [`${name}.${namespace}.svc`, `${name}.${namespace}.svc.${domain}`]),
    'localhost',
  ];
}

export class ServingCertificate implements Disposable {
  readonly #options: ServingOptions;
  readonly #clock: Clock;
  readonly #caListeners = new Set<CaListener>();
  readonly #identityListeners = new Set<IdentityListener>();
  #material: { readonly certPem: string; readonly keyPem: string; readonly rootsPem: string } | undefined;
  #renewal: Disposable | undefined;

  constructor(options: ServingOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Issues a certificate. Throws if the CA cannot. */
  async issue(authority: CertificateAuthority): Promise<void> {
    const { dnsNames, ips } = this.#options;
    const issued = await authority.issueServing({ dnsNames, ips });
    this.#material = { ...issued, rootsPem: authority.rootsPem };
    for (const listener of this.#caListeners) listener({ caCertificate: Buffer.from(authority.rootsPem) });
    for (const listener of this.#identityListeners) listener(this.#pair());
    this.#renewal?.[Symbol.dispose]();
    const left = issued.notAfter - this.#clock.now();
    this.#renewAfter(left / 2, authority);
  }

  #renewAfter(ms: number, authority: CertificateAuthority): void {
    this.#renewal = this.#clock.after(Math.max(1000, ms), () => {
      this.issue(authority).catch((error: unknown) => {
        this.#options.log.error(`our own certificate was not renewed: ${errorText(error)}`);
        this.#renewAfter(60_000, authority);
      });
    });
  }

  get certPem(): string {
    return this.#material?.certPem ?? '';
  }

  /** Asks for a client certificate but takes clients without one: they may show a token instead. */
  credentials(): ServerCredentials {
    const provider: Provider = {
      addCaCertificateListener: (listener) => {
        this.#caListeners.add(listener);
        const roots = this.#material?.rootsPem;
        // Not at once: gRPC begins to listen to its own credentials only after this call.
        if (roots !== undefined) queueMicrotask(() => listener({ caCertificate: Buffer.from(roots) }));
      },
      removeCaCertificateListener: (listener) => void this.#caListeners.delete(listener),
      addIdentityCertificateListener: (listener) => {
        this.#identityListeners.add(listener);
        if (this.#material !== undefined) queueMicrotask(() => listener(this.#pair()));
      },
      removeIdentityCertificateListener: (listener) => void this.#identityListeners.delete(listener),
    };
    return experimental.createCertificateProviderServerCredentials(provider, provider, false);
  }

  #pair(): { certificate: Buffer; privateKey: Buffer } {
    const { certPem = '', keyPem = '' } = this.#material ?? {};
    return { certificate: Buffer.from(certPem), privateKey: Buffer.from(keyPem) };
  }

  [Symbol.dispose](): void {
    this.#renewal?.[Symbol.dispose]();
  }
}
