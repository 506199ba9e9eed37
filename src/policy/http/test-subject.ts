// For the tests of this folder: a request with everything in it, and changes to it.
import type { Ip } from '#/kit/index.ts';
import {
  identityOf,
  type AuthenticatedToken,
  type ConnectionFacts,
  type HttpPolicy,
  type HttpPolicyRule,
  type HttpSubject,
  type RequestFacts,
} from '#/model/index.ts';

export interface SubjectChanges {
  readonly request?: Partial<RequestFacts>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly connection?: Partial<ConnectionFacts>;
  readonly remoteIp?: string;
  readonly token?: AuthenticatedToken;
}

export const token = (claims: Record<string, unknown> = {}): AuthenticatedToken => ({
  issuer: 'https://issuer.example/realm',
  subject: 'alice',
  claims: { iss: 'https://issuer.example/realm', sub: 'alice', ...claims },
});

export function subjectOf(changes: SubjectChanges = {}): HttpSubject {
  const headers = new Map(Object.entries({ 'x-token': 'secret-1', 'x-empty': '', ...changes.headers }));
  return {
    request: {
      method: 'GET',
      scheme: 'http',
      authority: 'shop.example:8080',
      path: '/api/items/7',
      query: 'a=1',
      headers,
      version: '1.1',
      grpc: false,
      ...changes.request,
    },
    connection: {
      identity: identityOf('td', 'front', 'web'),
      source: { ip: '10.1.2.3' as Ip, port: 40000 },
      destination: { ip: '10.9.0.1' as Ip, port: 80 },
      service: undefined,
      workload: undefined,
      sni: 'shop.example',
      ...changes.connection,
    },
    remoteIp: (changes.remoteIp ?? '192.0.2.7') as Ip,
    token: changes.token,
  };
}

export function policyOf(
  action: HttpPolicy['action'],
  rules: readonly Partial<HttpPolicyRule>[],
  more: Partial<HttpPolicy> = {},
): HttpPolicy {
  return {
    kind: 'http-policy',
    name: 'shop/rules',
    targets: [],
    action,
    rules: rules.map((rule) => ({ from: [], to: [], when: [], ...rule })),
    dryRun: false,
    ...more,
  };
}
