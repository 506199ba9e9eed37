// The fields of `from`: who sent the request, and from where.
import type { HttpSource, ServiceAccountMatch, StringMatch } from '#/model/index.ts';
import { anyText, fieldsOf, rangeShape, showMatch, textShape, type Field, type FieldShape } from './field.ts';
import type { HttpView } from './http-view.ts';

export const nobody = '(no identity)';
const scheme = 'spiffe://';

/**
 * Principals are written without `spiffe://`; with it they mean the same. A trust domain of the mesh, and
 * `cluster.local` as the name of whatever the mesh's is, stand for every trust domain of the mesh.
 */
export function principalShape(name: string, trustDomains: readonly string[]): FieldShape<StringMatch> {
  const shape = textShape(name, (view) => view.principal, { missing: nobody });
  return {
    ...shape,
    any: (matches) => shape.any(matches.flatMap((match) => expand(withoutScheme(match), trustDomains))),
  };
}

function withoutScheme(match: StringMatch): StringMatch {
  return (match.kind === 'exact' || match.kind === 'prefix') && match.value.startsWith(scheme)
    ? { ...match, value: match.value.slice(scheme.length) }
    : match;
}

function expand(match: StringMatch, trustDomains: readonly string[]): readonly StringMatch[] {
  if (match.kind !== 'exact' && match.kind !== 'prefix') return [match];
  const slash = match.value.indexOf('/');
  if (slash < 0 || trustDomains.length === 0) return [match];
  const domain = match.value.slice(0, slash);
  if (domain !== 'cluster.local' && !trustDomains.includes(domain)) return [match];
  return trustDomains.map((own) => ({ ...match, value: own + match.value.slice(slash) }));
}

export const namespaceShape = (name: string): FieldShape<StringMatch> =>
  textShape(name, (view) => (view.principal === undefined ? undefined : view.namespace), { missing: nobody });

/** A trust domain of the mesh stands for all of them, as upstream. */
export function trustDomainShape(name: string, trustDomains: readonly string[]): FieldShape<StringMatch> {
  const shape = textShape(name, (view) => (view.principal === undefined ? undefined : view.trustDomain), {
    missing: nobody,
  });
  return {
    ...shape,
    any: (matches) =>
      shape.any(
        matches.flatMap((match) =>
          match.kind === 'exact' && trustDomains.includes(match.value)
            ? trustDomains.map((value) => ({ kind: 'exact' as const, value }))
            : [match],
        ),
      ),
  };
}

export const serviceAccountShape = (name: string): FieldShape<ServiceAccountMatch> => ({
  name,
  any: (matches) => (view) => {
    if (view.principal === undefined) return false;
    for (const match of matches)
      if (match.serviceAccount === view.serviceAccount && match.namespace === view.namespace) return true;
    return false;
  },
  show: ({ namespace, serviceAccount }) => `${namespace}/${serviceAccount}`,
  got: (view) => (view.principal === undefined ? nobody : `${view.namespace}/${view.serviceAccount}`),
});

/**
 * `issuer/subject`. The last slash divides them, since an issuer is often a URL; each half is compared by itself, so
 * that no other split of the same text can match. A token without a subject has no request principal.
 */
export const requestPrincipalShape = (name: string): FieldShape<StringMatch> => ({
  name,
  httpOnly: true,
  needsToken: true,
  any(matches) {
    const tests = matches.map(requestPrincipalTest);
    return ({ token }) => {
      if (token === undefined || token.issuer === '' || token.subject === '') return false;
      for (const test of tests) if (test(token.issuer, token.subject)) return true;
      return false;
    };
  },
  show: showMatch,
  got: ({ token }) => (token === undefined ? '(no token)' : `${token.issuer}/${token.subject}`),
});

function requestPrincipalTest(match: StringMatch): (issuer: string, subject: string) => boolean {
  if (match.kind === 'presence') return () => true;
  const written = showMatch(match);
  const slash = written.lastIndexOf('/');
  const one = (half: string): ((text: string) => boolean) => {
    if (half === '*') return () => true;
    if (match.kind === 'suffix' && half.startsWith('*'))
      return anyText([{ kind: 'suffix', value: half.slice(1) }]);
    if (match.kind === 'prefix' && half.endsWith('*'))
      return anyText([{ kind: 'prefix', value: half.slice(0, -1) }]);
    return anyText([{ kind: 'exact', value: half }]);
  };
  // Without a slash: `*text` is the end of the subject, `text*` the beginning of the issuer.
  if (slash < 0 && match.kind === 'suffix') {
    const ends = one(written);
    return (_, subject) => ends(subject);
  }
  if (slash < 0 && match.kind === 'prefix') return one(written);
  if (slash < 0) return () => false;
  const issuers = one(written.slice(0, slash));
  const subjects = one(written.slice(slash + 1));
  return (issuer, subject) => issuers(issuer) && subjects(subject);
}

const sourceIp = (view: HttpView): string => view.connection.source.ip;
const remoteIp = (view: HttpView): string => view.remoteIp;

export const sourceIpShape = (name: string) => rangeShape(name, (view) => view.sourceBytes, sourceIp);
export const remoteIpShape = (name: string) => rangeShape(name, (view) => view.remoteBytes, remoteIp);

/** Cheapest first. */
export function sourceFields(source: HttpSource, trustDomains: readonly string[]): Field[] {
  return [
    ...fieldsOf(principalShape('principals', trustDomains), source.principals),
    ...fieldsOf(namespaceShape('namespaces'), source.namespaces),
    ...fieldsOf(serviceAccountShape('serviceAccounts'), source.serviceAccounts),
    ...fieldsOf(trustDomainShape('trustDomains', trustDomains), source.trustDomains),
    ...fieldsOf(requestPrincipalShape('requestPrincipals'), source.requestPrincipals),
    ...fieldsOf(sourceIpShape('ipBlocks'), source.ipBlocks),
    ...fieldsOf(remoteIpShape('remoteIpBlocks'), source.remoteIpBlocks),
  ];
}
