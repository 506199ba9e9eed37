// Where the CA's key and certificates come from, and how they change while we run: plug-in files, the Secret
// `cacerts`, or a root of our own in the Secret `istio-ca-secret`. A change that would cut off proxies which trust the
// old root alone is refused.
import { X509Certificate } from 'node:crypto';
import { readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { errorText } from '#/errors/index.ts';
import {
  CertificateAuthority,
  splitPem,
  type AuthorityFiles,
  type AuthorityOptions,
} from '#/identity/index.ts';
import { systemClock, type Clock, type Logger } from '#/kit/index.ts';
import {
  Informer,
  isAlreadyExists,
  isConflict,
  secrets,
  type KubeClient,
  type Secret,
} from '#/kube/index.ts';

export const selfSignedSecret = 'istio-ca-secret';
export const plugInSecret = 'cacerts';

export interface AuthorityStoreOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Directory of plug-in files. */
  readonly directory: string;
  readonly trustDomain: string;
  /** Take a bundle of roots that contains, or is contained in, the one at hand. */
  readonly multiRoot: boolean;
  readonly authority: AuthorityOptions;
  readonly log: Logger;
  readonly clock?: Clock;
}

export type AuthoritySource = 'files' | 'cacerts' | 'self-signed';

interface Material {
  readonly files: AuthorityFiles;
  readonly crlPem: string | undefined;
}

/** The files of either layout; undefined if neither is there. `text` gives a file's contents. */
function materialFrom(text: (name: string) => string | undefined): Material | undefined {
  const crlPem = text('ca-crl.pem');
  const caCertPem = text('ca-cert.pem');
  const caKeyPem = text('ca-key.pem');
  if (caCertPem !== undefined && caKeyPem !== undefined)
    return {
      files: {
        caCertPem,
        caKeyPem,
        certChainPem: text('cert-chain.pem') ?? '',
        rootCertPem: text('root-cert.pem') ?? caCertPem,
      },
      crlPem,
    };
  const chain = text('tls.crt');
  const key = text('tls.key');
  const root = text('ca.crt');
  if (chain === undefined || key === undefined || root === undefined) return undefined;
  return { files: { caCertPem: chain, caKeyPem: key, certChainPem: chain, rootCertPem: root }, crlPem };
}

function fromSecret(secret: Secret | undefined): Material | undefined {
  return materialFrom((name) => {
    const value = secret?.data?.[name];
    return value === undefined || value === '' ? undefined : Buffer.from(value, 'base64').toString();
  });
}

function fromDirectory(directory: string): Material | undefined {
  return materialFrom((name) => {
    try {
      return readFileSync(join(directory, name), 'utf8');
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw error;
    }
  });
}

const publicKeys = (pem: string): ReadonlySet<string> =>
  new Set(
    splitPem(pem).map((each) =>
      new X509Certificate(each).publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
    ),
  );

export class AuthorityStore {
  readonly #options: AuthorityStoreOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #listeners = new Set<() => void>();
  #current: CertificateAuthority | undefined;
  #source: AuthoritySource = 'self-signed';
  #crlPem: string | undefined;
  #applied = '';
  /** Changes are taken one after another. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: AuthorityStoreOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
  }

  get current(): CertificateAuthority | undefined {
    return this.#current;
  }

  get source(): AuthoritySource {
    return this.#source;
  }

  /** Revocation list to be handed to the proxies. */
  get crlPem(): string | undefined {
    return this.#crlPem;
  }

  /** Calls back after each change. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Loads or makes the CA, and follows it until the signal aborts. Throws if plug-in material is there but wrong. */
  async start(signal: AbortSignal): Promise<void> {
    const { directory, client, namespace } = this.#options;
    const files = fromDirectory(directory);
    if (files !== undefined) {
      this.#source = 'files';
      await this.#take(files, 'first');
      this.#followDirectory(signal);
      return;
    }
    const plugged = fromSecret(
      await this.#patiently(() => client.find(secrets, namespace, plugInSecret), signal),
    );
    if (plugged !== undefined) {
      this.#source = 'cacerts';
      await this.#take(plugged, 'first');
      this.#followSecret(plugInSecret, signal);
      return;
    }
    await this.#take(await this.#patiently(() => this.#ownRoot(), signal), 'first');
    this.#followSecret(selfSignedSecret, signal);
  }

  /** The leader's duty, now and then: renews a root of our own in the last fifth of its life, with the same key. */
  async rotateIfDue(): Promise<boolean> {
    const { client, namespace, trustDomain, authority } = this.#options;
    const current = this.#current;
    if (this.#source !== 'self-signed' || current === undefined || !current.dueForRotation) return false;
    const next = await CertificateAuthority.selfSigned({
      ...authority,
      trustDomain,
      keyPem: current.files.caKeyPem,
    });
    const secret = await client.get(secrets, namespace, selfSignedSecret);
    try {
      await client.replace(secrets, namespace, selfSignedSecret, { ...secret, data: secretData(next.files) });
    } catch (error) {
      if (isConflict(error)) return false;
      throw error;
    }
    this.#log.info('renewed the root certificate, with the same key', { secret: selfSignedSecret });
    await this.#take({ files: next.files, crlPem: undefined }, 'change');
    return true;
  }

  async #patiently<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        this.#log.warn(`the CA's Secret cannot be read or made: ${errorText(error)}`);
        await this.#clock.sleep(1000, signal);
      }
    }
  }

  /** The root in the Secret; a new one if there is none. Of two replicas at once, the second takes the first's. */
  async #ownRoot(): Promise<Material> {
    const { client, namespace, trustDomain, authority } = this.#options;
    const found = fromSecret(await client.find(secrets, namespace, selfSignedSecret));
    if (found !== undefined) return found;
    const made = await CertificateAuthority.selfSigned({ ...authority, trustDomain });
    try {
      await client.create(secrets, namespace, {
        metadata: { name: selfSignedSecret, namespace },
        type: 'istio.io/ca-root',
        data: secretData(made.files),
      });
      this.#log.info('made a root certificate', { secret: `${namespace}/${selfSignedSecret}`, trustDomain });
      return { files: made.files, crlPem: undefined };
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const other = fromSecret(await client.get(secrets, namespace, selfSignedSecret));
      if (other === undefined)
        throw new Error(`the Secret ${namespace}/${selfSignedSecret} has no ca-cert.pem and ca-key.pem`, {
          cause: error,
        });
      return other;
    }
  }

  #followSecret(name: string, signal: AbortSignal): void {
    const informer = new Informer(this.#options.client, secrets, {
      namespace: this.#options.namespace,
      fieldSelector: `metadata.name=${name}`,
      log: this.#log,
      clock: this.#clock,
    });
    const changed = (secret: Secret) => {
      if (secret.metadata.name === name) this.#changed(() => fromSecret(secret), `Secret ${name}`);
    };
    informer.on('add', changed);
    informer.on('update', changed);
    informer.on('delete', () =>
      this.#log.error(`the Secret ${name} was deleted; the CA at hand is kept until we end`),
    );
    informer.start(signal);
  }

  #followDirectory(signal: AbortSignal): void {
    const { directory } = this.#options;
    let timer: Disposable | undefined;
    const watcher = watch(directory, { persistent: false }, () => {
      timer?.[Symbol.dispose]();
      // Several files change together.
      timer = this.#clock.after(100, () => this.#changed(() => fromDirectory(directory), directory));
    });
    watcher.on('error', (error) =>
      this.#log.error(`${directory} is not followed any more: ${errorText(error)}`),
    );
    signal.addEventListener('abort', () => {
      timer?.[Symbol.dispose]();
      watcher.close();
    });
  }

  #changed(read: () => Material | undefined, what: string): void {
    this.#turn = this.#turn.then(async () => {
      try {
        const material = read();
        if (material === undefined)
          this.#log.error(`${what} has no complete CA any more; the one at hand is kept`);
        else await this.#take(material, 'change');
      } catch (error) {
        this.#log.error(`the new CA of ${what} is not used: ${errorText(error)}`);
      }
    });
  }

  async #take(material: Material, when: 'first' | 'change'): Promise<void> {
    const content = JSON.stringify(material);
    if (content === this.#applied) return;
    const next = await CertificateAuthority.fromPem(material.files, this.#options.authority);
    if (when === 'change') this.#checkRoots(next);
    this.#current = next;
    this.#crlPem = material.crlPem;
    this.#applied = content;
    if (when === 'change') this.#log.info('the CA has changed', { source: this.#source });
    for (const listener of this.#listeners) listener();
  }

  /** Throws if proxies that trust the roots at hand would not trust what is signed from now on. */
  #checkRoots(next: CertificateAuthority): void {
    const old = this.#current;
    if (old === undefined) return;
    const before = publicKeys(old.rootsPem);
    const after = publicKeys(next.rootsPem);
    const overlap = before.isSubsetOf(after) || after.isSubsetOf(before);
    if (before.size === after.size && overlap) return;
    if (!this.#options.multiRoot)
      throw new Error(
        'its roots are others; set ISTIO_MULTIROOT_MESH to go over by a bundle of both, or restart',
      );
    if (!overlap)
      throw new Error(
        'its roots neither contain the ones at hand nor are among them: go over by a bundle of both',
      );
  }
}

function secretData(files: AuthorityFiles): Readonly<Record<string, string>> {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return {
    'ca-cert.pem': base64(files.caCertPem),
    'ca-key.pem': base64(files.caKeyPem),
    'cert-chain.pem': base64(files.certChainPem),
    'root-cert.pem': base64(files.rootCertPem),
    'key.pem': '',
  };
}
