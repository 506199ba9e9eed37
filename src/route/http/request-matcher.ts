// A match on its own, for what is not a route: limits of rate name their requests in the same words.
import type { HttpMatch, RequestFacts } from '#/model/index.ts';
import { elementsMatch, compileMatch } from './http-match.ts';
import { MatchInput } from './match-input.ts';

export interface RequestMatcher {
  matches(request: RequestFacts, port: number): boolean;
  /** Set if a pattern cannot be compiled: then nothing matches. */
  readonly problem?: string;
}

/** Absent: every request. */
export function compileRequestMatcher(match: HttpMatch | undefined): RequestMatcher {
  if (match === undefined) return { matches: () => true };
  const compiled = compileMatch(match);
  if (typeof compiled === 'string') return { matches: () => false, problem: compiled };
  const { path, tests } = compiled;
  return {
    matches(request, port) {
      if (path.kind === 'exact' && request.path !== path.value) return false;
      if (path.kind === 'prefix' && !request.path.startsWith(path.value)) return false;
      if (path.kind === 'elements' && !elementsMatch(request.path, path.value)) return false;
      const input = new MatchInput(request, port);
      for (const test of tests) if (!test(input)) return false;
      return true;
    },
  };
}
