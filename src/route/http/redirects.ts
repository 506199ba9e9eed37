// The Location of a redirect, as Gateway API says.
import type { HttpMatch, Redirect, RequestFacts } from '#/model/index.ts';
import { hostOf } from './match-input.ts';
import { compilePathRewrite, rewritePath, type PathRewriter } from './rewrites.ts';

export interface CompiledRedirect {
  readonly redirect: Redirect;
  readonly path?: PathRewriter;
}

export function compileRedirect(redirect: Redirect, problems: string[]): CompiledRedirect {
  const path = redirect.path && compilePathRewrite(redirect.path, problems);
  return { redirect, ...(path && { path }) };
}

const wellKnown = (scheme: string): number | undefined =>
  scheme === 'http' ? 80 : scheme === 'https' ? 443 : undefined;

/**
 * `port` is that of the listener: the port the client addressed. The redirect's own port, else the well-known one of its
 * scheme, else the listener's; left out where it is the scheme's own. The query is kept unless the new path has one.
 */
export function redirectLocation(
  { redirect, path }: CompiledRedirect,
  request: RequestFacts,
  match: HttpMatch | undefined,
  port: number,
): string {
  const scheme = redirect.scheme?.toLowerCase() ?? request.scheme;
  const host = redirect.hostname ?? hostOf(request.authority);
  const to = redirect.port ?? (redirect.scheme === undefined ? undefined : wellKnown(scheme)) ?? port;
  const authority = to === wellKnown(scheme) ? host : `${host}:${to}`;
  const rewritten = rewritePath(path, request.path, match);
  const target = rewritten === '*' ? '' : rewritten;
  const query = request.query === '' || target.includes('?') ? '' : `?${request.query}`;
  return `${scheme}://${authority}${target}${query}`;
}
