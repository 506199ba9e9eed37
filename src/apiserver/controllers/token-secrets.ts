// Secrets that ask for a service account's token: the old way, which `istioctl create-remote-secret` and others still
// go. Such a token has no end of its own; it ends with its Secret or its account.
import type { Tokens } from '../auth/tokens.ts';
import { dig, type Item } from '../json.ts';
import type { Kind } from '../kinds/kind.ts';
import { parseStored, type Stored } from '../store/collection.ts';
import type { ControllerDeps } from './namespaces.ts';

const secretType = 'kubernetes.io/service-account-token';
const accountName = 'kubernetes.io/service-account.name';
const accountUid = 'kubernetes.io/service-account.uid';
/** Ten years: as near to no end as a token can say. */
const lifeSeconds = 315_360_000;

export class TokenSecrets {
  readonly #deps: ControllerDeps;
  readonly #tokens: Tokens;
  readonly #ca: string;

  constructor(deps: ControllerDeps, tokens: Tokens, ca: string) {
    this.#deps = deps;
    this.#tokens = tokens;
    this.#ca = ca;
  }

  start(): void {
    const { store } = this.#deps;
    const secrets = store.collection('secrets');
    store.onChange((collection, change) => {
      if (collection === secrets && change.type !== 'DELETED') this.#look(change.now);
      // The account may be made after the Secret that names it, and its Secrets go with it.
      if (collection.name === 'serviceaccounts' && change.type !== 'MODIFIED')
        for (const stored of secrets.list(change.now.namespace)) this.#look(stored);
    });
    for (const stored of secrets.list(undefined)) this.#look(stored);
  }

  #look(stored: Stored): void {
    if (stored.fields['type'] !== secretType || stored.deleting) return;
    // Not within the write that we hear of.
    queueMicrotask(() => this.#fill(stored));
  }

  #fill(before: Stored): void {
    const { store, registry, writer } = this.#deps;
    const stored = store.collection('secrets').get(before.namespace, before.name);
    if (stored === undefined) return;
    const kind = registry.ofCollection('secrets') as Kind;
    const secret = parseStored(stored);
    const name = secret.metadata.annotations?.[accountName] ?? '';
    const account = store.collection('serviceaccounts').get(stored.namespace, name);
    const uid = secret.metadata.annotations?.[accountUid];
    if (account === undefined || (uid !== undefined && uid !== account.uid)) {
      if (uid !== undefined) writer.remove(kind, stored);
      return;
    }
    if (dig(secret, 'data', 'token') !== undefined && uid === account.uid) return;
    const { token } = this.#tokens.issue(
      {
        namespace: stored.namespace,
        serviceAccount: { name, uid: account.uid },
        secret: { name: stored.name, uid: stored.uid },
      },
      [],
      lifeSeconds,
    );
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    writer.patchStored(kind, stored, (item: Item) => {
      item.metadata.annotations = { ...item.metadata.annotations, [accountUid]: account.uid };
      item['data'] = {
        ...(item['data'] as object | undefined),
        token: base64(token),
        'ca.crt': base64(this.#ca),
        namespace: base64(stored.namespace),
      };
    });
  }
}
