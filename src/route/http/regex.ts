// Regular expressions of routes. The pattern is the operator's, the text is the client's: RE2 takes linear time, so no
// text can stall a worker. The syntax is that of Envoy, which takes RE2 as well.
import { RE2JS } from 're2js';

/** Whether the whole text matches. */
export type TextTest = (text: string) => boolean;

/** A longer pattern is refused: its automaton would be large. Kubernetes' schemas allow 1 024 for paths, 4 096 for headers. */
const longestPattern = 4096;

function compile(pattern: string): RE2JS | undefined {
  if (pattern.length > longestPattern) return undefined;
  try {
    return RE2JS.compile(pattern, RE2JS.DOTALL);
  } catch {
    return undefined;
  }
}

/**
 * What every matching text begins with, as far as it is easily told: comparing it spares most texts the automaton, and
 * a table with a thousand expressions a thousand of them.
 */
export function literalStart(pattern: string): string {
  if (pattern.includes('|')) return '';
  const from = pattern.startsWith('^') ? 1 : 0;
  let end = from;
  while (end < pattern.length && /[A-Za-z0-9/_-]/.test(pattern[end] as string)) end++;
  // The last character may be repeated, or absent.
  if (end > from && /[*?{+]/.test(pattern[end] ?? '')) end--;
  return pattern.slice(from, end);
}

/** A test of the whole text; undefined if the pattern is not RE2 syntax. */
export function compileRegex(pattern: string): TextTest | undefined {
  const regex = compile(pattern);
  if (regex === undefined) return undefined;
  const start = literalStart(pattern);
  return (text) => text.startsWith(start) && regex.testExact(text);
}

/**
 * Replaces every match, as Envoy's regex rewrite: `\1` to `\9` stand for groups, `\0` for the match, `\\` for a backslash.
 * Undefined if the pattern is not RE2 syntax or the substitution names a group that there is not.
 */
export function compileSubstitution(
  pattern: string,
  substitution: string,
): ((text: string) => string) | undefined {
  const regex = compile(pattern);
  if (regex === undefined) return undefined;
  const parts: (string | number)[] = [];
  for (let i = 0; i < substitution.length; i++) {
    const char = substitution[i] as string;
    if (char !== '\\') {
      parts.push(char);
      continue;
    }
    const next = substitution[++i];
    if (next === '\\') parts.push('\\');
    else if (next !== undefined && next >= '0' && next <= '9') {
      if (Number(next) > regex.groupCount()) return undefined;
      parts.push(Number(next));
    } else return undefined;
  }
  const replace = (...groups: readonly unknown[]): string => {
    let out = '';
    for (const part of parts)
      if (typeof part === 'string') out += part;
      else {
        const group = groups[part];
        if (typeof group === 'string') out += group;
      }
    return out;
  };
  return (text) => regex.matcher(text).replaceAll(replace);
}
