// The fake API's rules without its server: which object a path means, what a selector selects, what a patch gives.

export interface FakeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    [field: string]: unknown;
  };
  [field: string]: unknown;
}

export interface Target {
  /** `/api/v1/pods`: the collection, whatever the namespace. */
  readonly collection: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

export const status = (code: number, reason: string, message: string) => ({
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  code,
  reason,
  message,
});

/** JSON merge patch (RFC 7396). */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}

export function target(path: string): Target | undefined {
  const match =
    /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+)(?=\/[^/]+))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(
      path,
    );
  if (match === null) return undefined;
  const [, root, namespace, plural, name, subresource] = match;
  return {
    collection: `${root}/${plural}`,
    namespace,
    name: name === undefined ? undefined : decodeURIComponent(name),
    subresource,
  };
}

export function selector(query: URLSearchParams): (object: FakeObject) => boolean {
  const terms = [
    ...(query.get('labelSelector') ?? '').split(',').map((term) => ({ term, label: true })),
    ...(query.get('fieldSelector') ?? '').split(',').map((term) => ({ term, label: false })),
  ].filter(({ term }) => term !== '');
  return (object) =>
    terms.every(({ term, label }) => {
      const [, key = '', operator, wanted] = /^([^!=]+)(!?=)(.*)$/.exec(term) ?? [];
      const labels = object.metadata['labels'] as Record<string, string> | undefined;
      const value = label
        ? labels?.[key]
        : key === 'metadata.name'
          ? object.metadata.name
          : object.metadata.namespace;
      return operator === '=' ? value === wanted : value !== wanted;
    });
}

export const knownPlurals = [
  'gatewayclasses',
  'gateways',
  'serviceentries',
  'workloadentries',
  'authorizationpolicies',
  'peerauthentications',
  'requestauthentications',
  'httproutes',
  'grpcroutes',
  'tcproutes',
  'tlsroutes',
  'virtualservices',
  'destinationrules',
  'telemetries',
  'trafficpolicies',
  'extensions',
];

export function patched(old: FakeObject, body: unknown, applies: boolean): FakeObject {
  const next = merge(old, body) as FakeObject;
  if (!applies) return next;
  const before = (old['status'] as { conditions?: { type: string }[] } | undefined)?.conditions ?? [];
  const given = (body as { status?: { conditions?: { type: string }[] } }).status?.conditions;
  if (given === undefined) return next;
  const kept = before.filter(({ type }) => !given.some((one) => one.type === type));
  return { ...next, status: { ...(next['status'] as object), conditions: [...kept, ...given] } };
}
