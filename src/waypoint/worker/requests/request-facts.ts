// A request's head as decisions read it.
import type { RequestHead } from '#/http/index.ts';
import type { RequestFacts } from '#/model/index.ts';

export function requestFacts(head: RequestHead): RequestFacts {
  const contentType = head.headers.get('content-type');
  return {
    method: head.method,
    scheme: head.scheme,
    authority: head.authority,
    path: head.path,
    query: head.query ?? '',
    headers: head.headers,
    version: head.version,
    grpc:
      contentType !== undefined &&
      contentType.startsWith('application/grpc') &&
      (contentType.length === 16 || contentType.charCodeAt(16) === 43 || contentType.charCodeAt(16) === 59),
  };
}
