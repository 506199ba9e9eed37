// Answers that the waypoint gives itself.
import { HeaderMap, type ResponseHead } from '#/http/index.ts';
import { grpcStatusOf } from '#/route/index.ts';
import type { Reply } from './request-filter.ts';

/** gRPC's percent-encoding of a message (printable ASCII without %). */
const grpcMessage = (text: string): string =>
  text.replace(/[^ -$&-~]/gu, (char) =>
    Array.from(Buffer.from(char), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );

export interface LocalReply {
  readonly head: ResponseHead;
  readonly body: Buffer;
}

/** A gRPC client gets 200 with the status in the headers (trailers-only); a HEAD request gets no body. */
export function localReply(
  reply: Reply,
  request: { readonly grpc: boolean; readonly method: string },
): LocalReply {
  const headers = new HeaderMap();
  const body = Buffer.from(reply.body ?? '');
  if (request.grpc && reply.status !== 200) {
    headers.add('content-type', 'application/grpc');
    headers.add('grpc-status', String(reply.grpcStatus ?? grpcStatusOf(reply.status)));
    if (body.length > 0) headers.add('grpc-message', grpcMessage(reply.body ?? ''));
    for (const { name, value } of reply.headers ?? []) headers.set(name.toLowerCase(), value);
    headers.set('server', 'istio-envoy');
    return { head: { status: 200, headers, contentLength: undefined }, body: Buffer.alloc(0) };
  }
  if (reply.grpcStatus !== undefined && request.grpc) headers.add('grpc-status', String(reply.grpcStatus));
  if (body.length > 0) headers.add('content-type', 'text/plain');
  for (const { name, value } of reply.headers ?? [])
    if (name.toLowerCase() === 'content-type') headers.set('content-type', value);
    else headers.add(name.toLowerCase(), value);
  headers.set('server', 'istio-envoy');
  const bodiless = request.method === 'HEAD' || reply.status === 204 || reply.status === 304;
  return {
    head: { status: reply.status, headers, contentLength: reply.status === 204 ? undefined : body.length },
    body: bodiless ? Buffer.alloc(0) : body,
  };
}
