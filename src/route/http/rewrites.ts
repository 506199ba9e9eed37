// Changes of a request on its way: headers, path, host.
import type { HeaderChange, HttpMatch, PathRewrite, Rewrite } from '#/model/index.ts';
import { elementsMatch } from './http-match.ts';
import { compileSubstitution } from './regex.ts';

/** What headers need to be changed; names in lower case. The header map of the codecs has this shape. */
export interface ChangeableHeaders {
  set(name: string, value: string): void;
  add(name: string, value: string): void;
  delete(name: string): void;
}

/** Host and :authority are no headers here: see `authorityChange`. */
const isAuthority = (name: string): boolean => name === 'host' || name === ':authority';

// A route must not be able to break the framing, nor to change what the proxy itself derives.
const untouchable = (name: string): boolean =>
  name.startsWith(':') || name === 'host' || name === 'content-length' || name === 'transfer-encoding';

/** Removes, then sets, then adds, as Envoy does; change after change. */
export function changeHeaders(headers: ChangeableHeaders, changes: readonly HeaderChange[]): void {
  for (const change of changes) {
    for (const name of change.remove ?? []) {
      const lower = name.toLowerCase();
      if (!untouchable(lower)) headers.delete(lower);
    }
    for (const { name, value } of change.set ?? []) {
      const lower = name.toLowerCase();
      if (!untouchable(lower)) headers.set(lower, value);
    }
    for (const { name, value } of change.add ?? []) {
      const lower = name.toLowerCase();
      if (!untouchable(lower)) headers.add(lower, value);
    }
  }
}

/** The last Host or :authority that is set: upstream lets a header change rewrite the host. */
export function authorityChange(changes: readonly HeaderChange[]): string | undefined {
  let found: string | undefined;
  for (const { set } of changes)
    for (const { name, value } of set ?? []) if (isAuthority(name.toLowerCase())) found = value;
  return found;
}

/** From the path (without query) and the match that it was found by, to the new path. */
export type PathRewriter = (path: string, match: HttpMatch | undefined) => string;

/** `*` of OPTIONS (RFC 9110, 7.1) is no path, and stays. */
export const rewritePath = (
  rewriter: PathRewriter | undefined,
  path: string,
  match: HttpMatch | undefined,
): string => (rewriter === undefined || path === '*' ? path : rewriter(path, match));

export interface CompiledRewrite {
  readonly authority?: string;
  readonly path?: PathRewriter;
}

const rooted = (path: string): string => (path.startsWith('/') ? path : `/${path}`);

const trimmed = (path: string): string => {
  let end = path.length;
  while (end > 0 && path[end - 1] === '/') end--;
  return path.slice(0, end);
};

/**
 * Gateway API: the prefix is whole elements, and slashes at the end of prefix and replacement do not count:
 * `/foo/bar` with `/foo` → `/xyz/` is `/xyz/bar`, `/foo` with `/foo` → `` is `/`, `/foo/` with `/foo` → `/xyz` is `/xyz/`.
 */
function replaceElements(path: string, prefix: string, replacement: string): string {
  const matched = trimmed(prefix);
  const rest = elementsMatch(path, matched) ? path.slice(matched.length) : path;
  return rooted(trimmed(replacement) + rest);
}

/**
 * VirtualService: as texts. An exact or regular path is replaced as a whole, as in Envoy. Envoy makes `//x` of `/a/x`
 * with `/a` → `/`, and `/bx` of `/x` with `/` → `/b`; policies of the next hop may read such paths otherwise than we
 * do, and nobody means them, so the parts are joined with one slash.
 */
function replaceText(path: string, match: HttpMatch | undefined, replacement: string): string {
  const matched = match?.path;
  switch (matched?.kind) {
    case 'elements':
      return replaceElements(path, matched.value, replacement);
    case undefined:
    case 'presence':
      return replaceElements(path, '/', replacement);
    case 'prefix': {
      if (matched.value === '/' || matched.value === '') return replaceElements(path, '/', replacement);
      const rest = path.slice(matched.value.length);
      return rooted(
        replacement.endsWith('/') && rest.startsWith('/') ? replacement + rest.slice(1) : replacement + rest,
      );
    }
    case 'exact':
    case 'regex':
    case 'suffix':
      return rooted(replacement);
  }
}

/** Undefined and a text in `problems`: the pattern cannot be compiled. */
export function compilePathRewrite(rewrite: PathRewrite, problems: string[]): PathRewriter | undefined {
  switch (rewrite.kind) {
    case 'full': {
      const path = rooted(rewrite.value);
      return () => path;
    }
    case 'prefix':
      return (path, match) => replaceText(path, match, rewrite.value);
    case 'regex': {
      const replace = compileSubstitution(rewrite.pattern, rewrite.substitution);
      if (replace === undefined) {
        problems.push(
          `path rewrite: ${JSON.stringify(rewrite.pattern)} with ${JSON.stringify(rewrite.substitution)} is not an RE2 pattern with its substitution`,
        );
        return undefined;
      }
      return (path) => rooted(replace(path));
    }
  }
}

export function compileRewrite(rewrite: Rewrite, problems: string[]): CompiledRewrite | undefined {
  const path = rewrite.path && compilePathRewrite(rewrite.path, problems);
  if (path === undefined && rewrite.authority === undefined) return undefined;
  return {
    ...(rewrite.authority !== undefined && { authority: rewrite.authority }),
    ...(path && { path }),
  };
}
