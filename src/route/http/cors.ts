// Cross-origin requests (Fetch, 3.2; Gateway API's CORS filter and VirtualService's corsPolicy).
import type { Cors, HeaderChange, HeaderValue, RequestFacts } from '#/model/index.ts';
import { compileText } from './http-match.ts';
import type { TextTest } from './regex.ts';

export interface CompiledCors {
  readonly cors: Cors;
  readonly origins: readonly TextTest[];
  readonly anyMethod: boolean;
  readonly anyHeader: boolean;
  readonly anyExposed: boolean;
}

export function compileCors(cors: Cors, problems: string[]): CompiledCors {
  const origins: TextTest[] = [];
  for (const origin of cors.origins) {
    const test =
      origin.kind === 'exact' && origin.value === '*'
        ? compileText({ kind: 'presence' })
        : compileText(origin);
    if (test === undefined) problems.push(`cors: an origin is not an RE2 pattern`);
    else origins.push(test);
  }
  return {
    cors,
    origins,
    anyMethod: cors.methods.includes('*'),
    anyHeader: cors.headers.includes('*'),
    anyExposed: cors.expose.includes('*'),
  };
}

function allowedOrigin({ origins }: CompiledCors, request: RequestFacts): string | undefined {
  const origin = request.headers.get('origin');
  if (origin === undefined || origin === '') return undefined;
  for (const test of origins) if (test(origin)) return origin;
  return undefined;
}

export const isPreflight = ({ method, headers }: RequestFacts): boolean =>
  method === 'OPTIONS' &&
  headers.get('origin') !== undefined &&
  (headers.get('access-control-request-method') ?? '') !== '';

// The origin is echoed, never `*`, so that one rule serves both kinds of requests; hence Vary, for caches.
function originHeaders({ cors }: CompiledCors, origin: string): HeaderValue[] {
  const headers: HeaderValue[] = [{ name: 'access-control-allow-origin', value: origin }];
  if (cors.credentials === true) headers.push({ name: 'access-control-allow-credentials', value: 'true' });
  return headers;
}

const varyOrigin: readonly HeaderValue[] = [{ name: 'vary', value: 'Origin' }];

/** With credentials a `*` is a plain name as well; which headers the response will have is not known here. */
const exposedHeaders = ({ cors, anyExposed }: CompiledCors): string =>
  anyExposed && cors.credentials !== true ? '*' : cors.expose.join(',');

/**
 * Answers a preflight: the headers of a 200. `forward`: it is not a preflight, or of an origin that is not allowed, which
 * goes on to the destination unless `forwardUnmatched` is false; then it is answered without any CORS header, so that
 * the browser refuses.
 */
export function answerPreflight(
  compiled: CompiledCors,
  request: RequestFacts,
): readonly HeaderValue[] | 'forward' {
  if (!isPreflight(request)) return 'forward';
  const { cors } = compiled;
  const origin = allowedOrigin(compiled, request);
  if (origin === undefined) return cors.forwardUnmatched === false ? [] : 'forward';
  const headers = originHeaders(compiled, origin);
  const say = (name: string, value: string | undefined): void => {
    if (value !== undefined && value !== '') headers.push({ name, value });
  };
  // `*` is a plain name to a browser that sends credentials (Fetch, 3.2.4): what was asked for is echoed instead.
  const echo = cors.credentials === true;
  const list = (any: boolean, values: readonly string[], asked: string): string | undefined =>
    any ? (echo ? request.headers.get(asked) : '*') : values.join(',');
  say(
    'access-control-allow-methods',
    list(compiled.anyMethod, cors.methods, 'access-control-request-method'),
  );
  say(
    'access-control-allow-headers',
    list(compiled.anyHeader, cors.headers, 'access-control-request-headers'),
  );
  if (cors.maxAgeSeconds !== undefined) say('access-control-max-age', `${cors.maxAgeSeconds}`);
  // Browsers look for it on the response itself; the Gateway API wants it here, too.
  say('access-control-expose-headers', exposedHeaders(compiled));
  headers.push(...varyOrigin);
  return headers;
}

/** What is put on the response to a request that goes on; undefined if its origin is not allowed or there is none. */
export function corsResponseHeaders(compiled: CompiledCors, request: RequestFacts): HeaderChange | undefined {
  const origin = allowedOrigin(compiled, request);
  if (origin === undefined) return undefined;
  const set = originHeaders(compiled, origin);
  const exposed = exposedHeaders(compiled);
  if (exposed !== '') set.push({ name: 'access-control-expose-headers', value: exposed });
  return { set, add: varyOrigin };
}
