// SPIFFE identities. One parser; everything else passes the branded string.

/** `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`, exactly. */
export type Identity = string & { readonly identity: unique symbol };

export interface IdentityParts {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

const shape = /^spiffe:\/\/([^/]+)\/ns\/([^/]+)\/sa\/([^/]+)$/;

/** Strict: five parts, none empty. Undefined for anything else. */
export function parseIdentity(uri: string): Identity | undefined {
  return shape.test(uri) ? (uri as Identity) : undefined;
}

export function identityParts(identity: Identity): IdentityParts {
  const [, trustDomain, namespace, serviceAccount] = shape.exec(identity) as unknown as [
    string,
    string,
    string,
    string,
  ];
  return { trustDomain, namespace, serviceAccount };
}

export function identityOf(trustDomain: string, namespace: string, serviceAccount: string): Identity {
  const identity = parseIdentity(`spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`);
  if (identity === undefined)
    throw new TypeError(
      `not an identity: trust domain "${trustDomain}", namespace "${namespace}", service account "${serviceAccount}"`,
    );
  return identity;
}
