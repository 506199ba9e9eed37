// Tells an application which tenant a request is for, so that it need not know tokens or identities. The tenant is the
// claim `tenant` of the client's token, else what the configuration says of the client's namespace. What a client says
// of itself in that header never passes.
import type { ExtensionModule } from '../../src/waypoint/extensions/module-types.ts';

interface Config {
  /** Default: x-tenant. */
  readonly header?: string;
  /** Tenants by namespace of the client. */
  readonly namespaces?: Readonly<Record<string, string>>;
  /** Refuse requests that are for no tenant. */
  readonly required?: boolean;
}

/** spiffe://<trust domain>/ns/<namespace>/sa/<account> */
const namespaceOf = (identity: string | undefined): string | undefined => {
  const parts = identity?.split('/') ?? [];
  return parts[3] === 'ns' ? parts[4] : undefined;
};

const filter: ExtensionModule<Config | null> = {
  onRequest(request, { config, claims, identity, log }) {
    const header = config?.header ?? 'x-tenant';
    request.headers.delete(header);
    const claim = claims?.['tenant'];
    const namespace = namespaceOf(identity);
    const tenant =
      typeof claim === 'string'
        ? claim
        : namespace === undefined
          ? undefined
          : config?.namespaces?.[namespace];
    if (tenant !== undefined) {
      request.headers.set(header, tenant);
      return undefined;
    }
    if (config?.required !== true) return undefined;
    log(`no tenant for ${identity ?? 'a client without identity'}`, 'warn');
    return { status: 403, headers: { 'content-type': 'text/plain' }, body: 'no tenant\n' };
  },
};

export default filter;
