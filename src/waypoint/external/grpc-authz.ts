// External authorization by envoy.service.auth.v3.Authorization.
import type { SocketAddress } from '#/kit/index.ts';
import type { Provider } from '#/model/index.ts';
import { checkMethod, headerOption } from '#/wire/index.ts';
import type { AuthzAnswer, AuthzCall, AuthzRequest, BodyPrefix } from './authz-answer.ts';
import { CallFailure } from './call-failure.ts';
import type { ExternalChannels } from './channels.ts';
import { checkedEdits, checkedNames } from './header-edits.ts';

type GrpcProvider = Extract<Provider, { readonly type: 'ext-authz-grpc' }>;
type CheckRequestInit = Parameters<typeof checkMethod.request.encode>[0];
type CheckResponse = ReturnType<typeof checkMethod.response.decode>;

export async function checkByGrpc(
  channels: ExternalChannels,
  provider: GrpcProvider,
  call: AuthzCall,
): Promise<AuthzAnswer> {
  const request = checkRequest(provider, call);
  const response = await channels.unary(
    provider.address,
    checkMethod,
    request,
    provider.timeoutMs,
    call.signal,
  );
  return answerOf(provider, response);
}

const socket = ({ ip, port }: SocketAddress) =>
  ({
    address: {
      case: 'socketAddress',
      value: { address: ip, portSpecifier: { case: 'portValue', value: port } },
    },
  }) as const;

/** Header values are bytes; protobuf has text. */
const asText = (value: string): string => Buffer.from(value, 'latin1').toString('utf8');

function checkRequest(provider: GrpcProvider, { request, connection, body }: AuthzCall): CheckRequestInit {
  return {
    attributes: {
      source: { address: socket(connection.source), principal: connection.identity ?? '' },
      destination: { address: socket(connection.destination) },
      ...(request !== undefined && { request: { http: httpAttributes(provider, request, body) } }),
      ...(connection.sni !== undefined && { tlsSession: { sni: connection.sni } }),
    },
  };
}

function httpAttributes(provider: GrpcProvider, request: AuthzRequest, body: BodyPrefix | undefined) {
  const { facts } = request;
  const path = facts.query === '' ? facts.path : `${facts.path}?${facts.query}`;
  const headers: Record<string, string> = {
    ':authority': facts.authority,
    ':method': facts.method,
    ':path': path,
    ':scheme': facts.scheme,
  };
  for (const name of new Set(request.headers.flat.filter((_, i) => i % 2 === 0)))
    headers[name] = asText(request.headers.get(name) ?? '');
  if (body !== undefined) headers['x-envoy-auth-partial-body'] = String(!body.complete);
  const pack = provider.includeBody?.packAsBytes === true;
  return {
    id: request.id ?? '',
    method: facts.method,
    headers,
    path,
    host: facts.authority,
    scheme: facts.scheme,
    size: BigInt(request.contentLength ?? -1),
    protocol: `HTTP/${facts.version}`,
    ...(body !== undefined && (pack ? { rawBody: body.bytes } : { body: body.bytes.toString('utf8') })),
  };
}

function answerOf(provider: GrpcProvider, { status, httpResponse }: CheckResponse): AuthzAnswer {
  if (status === undefined || status.code === 0) {
    // An answer that says denied, under a status that says allowed, is no permission.
    if (httpResponse.case === 'deniedResponse')
      throw new CallFailure('protocol', 'the answer allows and denies at once');
    const ok = httpResponse.case === 'okResponse' ? httpResponse.value : undefined;
    const requestHeaders = checkedEdits(ok?.headers.map(headerOption) ?? []);
    const removeRequestHeaders = checkedNames(ok?.headersToRemove ?? []);
    return {
      allow: true,
      failedOpen: false,
      requestHeaders,
      removeRequestHeaders,
      responseHeaders: checkedEdits(ok?.responseHeadersToAdd.map(headerOption) ?? []),
      clearRouteCache: provider.clearRouteCache && requestHeaders.length + removeRequestHeaders.length > 0,
    };
  }
  const denied = httpResponse.case === 'deniedResponse' ? httpResponse.value : undefined;
  const code = denied?.status?.code ?? 0;
  return {
    allow: false,
    status: code >= 200 && code <= 599 ? code : 403,
    headers: checkedEdits(denied?.headers.map(headerOption) ?? []).map(({ name, value }) => ({
      name,
      value,
    })),
    body: Buffer.from(denied?.body ?? '', 'utf8'),
    details: 'ext_authz_denied',
  };
}
