// The path of a request in one spelling, before anything looks at it: what policies and routes judge is what the
// server gets. Modes and their effects are those of Istio's MeshConfig `pathNormalization`; where a path would still
// be read in two ways, it is refused.

/** DEFAULT of Istio is BASE. */
export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';

export type CanonicalPath =
  | { readonly path: string; readonly query: string | undefined; readonly reason?: never }
  | { readonly path?: never; readonly query?: never; readonly reason: string };

/** Nothing to do: characters of paths (RFC 3986, 3.3) but `%`, no empty segment, none that begins with a dot. */
const canonical = /^\/(?:(?:[\w~!$&'()*+,;=:@-][\w.~!$&'()*+,;=:@-]*)(?:\/(?![/.])|$))*$/;
const query = /^[\x21\x22\x24-\x7e]*$/;
const visible = /^[\x21-\x7e]*$/;
const unreserved = /[A-Za-z0-9\-._~]/;
const badPercent = /%(?![0-9A-Fa-f]{2})/;
/** Not of a URI, and sent by browsers nevertheless: their encoded form stands for both. */
const toEncode = /["<>[\]^`{|}]/g;
/** A dot segment for servers that cut parameters off (`/..;a/`), or that decode slashes later (`/..%2F`). */
const hiddenDots = /(?:^|\/|%2F|%5C)\.{1,2}(?:;|%3B|%2F|%5C)|(?:%2F|%5C)\.{1,2}(?:\/|$)/;

/**
 * @param target origin-form: path and query as they were sent; latin1
 * @returns `reason` for a target that is to be answered 400
 */
export function canonicalPath(target: string, mode: PathNormalization = 'BASE'): CanonicalPath {
  const mark = target.indexOf('?');
  const raw = mark < 0 ? target : target.slice(0, mark);
  const rest = mark < 0 ? undefined : target.slice(mark + 1);
  if (rest !== undefined && !query.test(rest))
    return {
      reason: rest.includes('#') ? 'the target has a fragment' : 'the query has an invalid character',
    };
  if (canonical.test(raw)) return { path: raw, query: rest };
  if (raw.includes('#')) return { reason: 'the target has a fragment' };
  if (!visible.test(raw)) return { reason: 'the path has an invalid character' };
  const first = raw.charCodeAt(0);
  if (first !== 0x2f && first !== 0x5c) return { reason: 'the path does not begin with a slash' };
  if (raw.includes('%00')) return { reason: 'the path has an encoded NUL' };
  if (mode === 'NONE')
    return first === 0x2f ? { path: raw, query: rest } : { reason: 'the path does not begin with a slash' };
  return normalized(raw, rest, mode);
}

function normalized(raw: string, rest: string | undefined, mode: PathNormalization): CanonicalPath {
  if (badPercent.test(raw)) return { reason: 'the path has an invalid percent-encoding' };
  let path = mode === 'DECODE_AND_MERGE_SLASHES' ? raw.replaceAll(/%(?:2f|5c)/gi, '/') : raw;
  path = path.replaceAll(/%[0-9A-Fa-f]{2}/g, canonicalEncoding).replaceAll('\\', '/');
  path = path.replaceAll(toEncode, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  if (hiddenDots.test(path)) return { reason: 'the path has a dot segment in disguise' };
  path = withoutDotSegments(path);
  if (mode !== 'BASE') path = path.replaceAll(/\/{2,}/g, '/');
  return { path, query: rest };
}

/** Once: `%2561` stays, so that nothing is decoded twice. */
function canonicalEncoding(encoding: string): string {
  const char = String.fromCharCode(Number.parseInt(encoding.slice(1), 16));
  return unreserved.test(char) ? char : encoding.toUpperCase();
}

/** RFC 3986, 5.2.4; `..` at the root stays there. Empty segments are kept. */
function withoutDotSegments(path: string): string {
  if (!path.includes('/.')) return path;
  const segments = path.split('/');
  const kept: string[] = [];
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] as string;
    const last = i === segments.length - 1;
    if (segment === '..') kept.pop();
    else if (segment !== '.') {
      kept.push(segment);
      continue;
    }
    if (last) kept.push('');
  }
  return `/${kept.join('/')}`;
}
