// External authorization over HTTP: the request's head is sent to the service; 200 allows, 5xx is a failure, anything
// else is the client's answer.
import type { Provider } from '#/model/index.ts';
import type { AuthzAnswer, AuthzCall, AuthzRequest, BodyPrefix } from './authz-answer.ts';
import { CallFailure } from './call-failure.ts';
import { checkedEdits, checkedNames, isReserved, nameMatches, type HeaderEdit } from './header-edits.ts';
import type { HttpAnswer, HttpClients } from './http-clients.ts';

type HttpProvider = Extract<Provider, { readonly type: 'ext-authz-http' }>;

const noBody = Buffer.alloc(0);
/** Sent whether they are listed or not; Host, method and path as well. */
const alwaysSent = ['authorization'];
/** For the client, whether they are listed or not. */
const alwaysAnswered = ['location', 'www-authenticate'];
const removalList = 'x-envoy-auth-headers-to-remove';

export async function checkByHttp(
  clients: HttpClients,
  provider: HttpProvider,
  { request, body, signal }: AuthzCall,
): Promise<AuthzAnswer> {
  if (request === undefined) throw new CallFailure('protocol', 'it speaks HTTP, and the connection does not');
  const { facts } = request;
  const path = `${provider.pathPrefix}${facts.path}${facts.query === '' ? '' : `?${facts.query}`}`;
  const headers = headersToSend(provider, request, body);
  const call = { method: facts.method, path, headers, body: body?.bytes ?? noBody };
  return answerOf(provider, await clients.call(provider.address, call, provider.timeoutMs, signal));
}

function headersToSend(
  provider: HttpProvider,
  { facts, headers }: AuthzRequest,
  body: BodyPrefix | undefined,
): readonly string[] {
  const own = new Map(provider.additionalHeaders.map(({ name, value }) => [name.toLowerCase(), value]));
  if (body !== undefined) own.set('x-envoy-auth-partial-body', String(!body.complete));
  const sent = ['host', facts.authority];
  const { flat } = headers;
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = flat[i] as string;
    if (own.has(name) || isReserved(name)) continue;
    if (alwaysSent.includes(name) || nameMatches(provider.includeRequestHeaders, name))
      sent.push(name, flat[i + 1] as string);
  }
  for (const [name, value] of own) if (!isReserved(name)) sent.push(name, value);
  return sent;
}

function answerOf(provider: HttpProvider, { status, headers, body }: HttpAnswer): AuthzAnswer {
  if (status >= 500 || status < 200) throw new CallFailure('protocol', `it answered ${status}`);
  const pick = (patterns: readonly string[], action: HeaderEdit['action']): HeaderEdit[] => {
    const seen = new Set<string>();
    return headers.flatMap(([name, value]): HeaderEdit[] => {
      if (!nameMatches(patterns, name)) return [];
      // Several of one name: the first replaces, the others follow.
      const first = !seen.has(name);
      seen.add(name);
      return [{ name, value, action: first ? action : 'append' }];
    });
  };
  if (status === 200) {
    const requestHeaders = checkedEdits(pick(provider.headersToUpstreamOnAllow, 'set'));
    const listed = headers.flatMap(([name, value]) => (name === removalList ? value.split(',') : []));
    const removeRequestHeaders = checkedNames(listed);
    return {
      allow: true,
      failedOpen: false,
      requestHeaders,
      removeRequestHeaders,
      responseHeaders: checkedEdits(pick(provider.headersToDownstreamOnAllow, 'append')),
      clearRouteCache: provider.clearRouteCache && requestHeaders.length + removeRequestHeaders.length > 0,
    };
  }
  const patterns = provider.headersToDownstreamOnDeny;
  const answered = patterns.length === 0 ? ['*'] : [...patterns, ...alwaysAnswered];
  return {
    allow: false,
    status,
    headers: checkedEdits(pick(answered, 'append')).map(({ name, value }) => ({ name, value })),
    body,
    details: 'ext_authz_denied',
  };
}
